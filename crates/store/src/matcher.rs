//! Which series are meant: `{job="node",__name__=~"node_cpu.*"}` in parts.

use std::fmt;

use farol_model::Text;
use regex::Regex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Equal,
    NotEqual,
    Matches,
    MatchesNot,
}

/// A condition on one label; a label that is not there has the value `""`. The metric's name is the
/// label `__name__`.
#[derive(Clone, Debug)]
pub struct Matcher {
    pub name: Text,
    pub op: Op,
    pub value: Text,
    pattern: Option<Regex>,
}

#[derive(Clone, Debug)]
pub struct MatchError(String);

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MatchError {}

impl Matcher {
    /// Patterns are those of the `regex` crate, anchored at both ends, `.` matching newlines too.
    pub fn new(
        name: impl Into<Text>,
        op: Op,
        value: impl Into<Text>,
    ) -> Result<Matcher, MatchError> {
        let (name, value) = (name.into(), value.into());
        let pattern = match op {
            Op::Equal | Op::NotEqual => None,
            Op::Matches | Op::MatchesNot => {
                // By itself first: `a)|(b` would close the group that anchors it.
                Regex::new(&value).map_err(|error| MatchError(error.to_string()))?;
                let anchored = format!("^(?s:{value})$");
                Some(Regex::new(&anchored).map_err(|error| MatchError(error.to_string()))?)
            }
        };
        Ok(Matcher { name, op, value, pattern })
    }

    pub fn equal(name: impl Into<Text>, value: impl Into<Text>) -> Matcher {
        Matcher { name: name.into(), op: Op::Equal, value: value.into(), pattern: None }
    }

    pub fn is_match(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (Op::Equal, _) => self.value == value,
            (Op::NotEqual, _) => self.value != value,
            (Op::Matches, Some(pattern)) => pattern.is_match(value),
            (Op::MatchesNot, Some(pattern)) => !pattern.is_match(value),
            (Op::Matches | Op::MatchesNot, None) => false,
        }
    }
}
