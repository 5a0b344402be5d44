//! Which series are meant: `{job="node",__name__=~"node_cpu.*"}` in parts.

use std::fmt;

use farol_model::Text;
use regex::{Regex, RegexBuilder};

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

/// What a pattern may take in memory: its like is seldom over some kilobytes.
const PATTERN_BYTES: usize = 1 << 20;
const PATTERN_BYTES_EACH: usize = 64;

/// The pattern of a whole text, `.` matching newlines too. What would take too much is refused.
pub fn anchored(pattern: &str) -> Result<Regex, MatchError> {
    // By itself first: `a)|(b` would close the group that anchors it.
    compiled(pattern)?;
    compiled(&format!("^(?s:{pattern})$"))
}

fn compiled(pattern: &str) -> Result<Regex, MatchError> {
    let most = PATTERN_BYTES + PATTERN_BYTES_EACH * pattern.len();
    let built = RegexBuilder::new(pattern).size_limit(most).build();
    built.map_err(|error| MatchError(error.to_string()))
}

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
            Op::Matches | Op::MatchesNot => Some(anchored(&value)?),
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
