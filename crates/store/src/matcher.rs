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
    pattern: Option<Pattern>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// `a|b|c`, sorted: nothing needs to be compiled for these, and the index knows them.
    Words(Box<[Text]>),
    Regex(Regex),
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
            Op::Matches | Op::MatchesNot => Some(Pattern::read(&value)?),
        };
        Ok(Matcher { name, op, value, pattern })
    }

    pub fn equal(name: impl Into<Text>, value: impl Into<Text>) -> Matcher {
        Matcher { name: name.into(), op: Op::Equal, value: value.into(), pattern: None }
    }

    /// All the values that it matches, if they can be told.
    pub(crate) fn values(&self) -> Option<&[Text]> {
        match (self.op, &self.pattern) {
            (Op::Equal, _) => Some(std::slice::from_ref(&self.value)),
            (Op::Matches, Some(Pattern::Words(words))) => Some(words),
            _ => None,
        }
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

impl Pattern {
    fn read(pattern: &str) -> Result<Pattern, MatchError> {
        // Grafana writes the values of a variable in brackets.
        let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let words = inner.unwrap_or(pattern);
        if words.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']) {
            return anchored(pattern).map(Pattern::Regex);
        }
        let mut words: Vec<Text> = words.split('|').map(Text::from).collect();
        words.sort_unstable();
        words.dedup();
        Ok(Pattern::Words(words.into()))
    }

    fn is_match(&self, value: &str) -> bool {
        match self {
            Pattern::Words(words) => words.binary_search_by(|word| (**word).cmp(value)).is_ok(),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_match_what_the_pattern_of_them_matches() {
        let values = ["", "a", "b", "ab", "a|b", "(a)", "é", "A", "a\nb", "x-y", "#", " "];
        for pattern in ["", "a", "a|b", "b|a|b", "(a|b)", "a|", "|", "()", "é|x-y", "a\nb", "#| "]
        {
            let words = Matcher::new("label", Op::Matches, pattern).unwrap();
            assert!(words.values().is_some(), "{pattern:?}");
            let regex = anchored(pattern).unwrap();
            for value in values {
                assert_eq!(words.is_match(value), regex.is_match(value), "{pattern:?} {value:?}");
            }
        }
        for pattern in ["a.c", "(a|b)(c)", "a|b+", "^a", "\\."] {
            assert!(Matcher::new("label", Op::Matches, pattern).unwrap().values().is_none());
        }
        for pattern in ["(a", "a)", ")a(", "a)|(b"] {
            assert!(Matcher::new("label", Op::Matches, pattern).is_err(), "{pattern:?}");
        }
    }
}
