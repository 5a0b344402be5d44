//! A selector of series on the command line; an error shows the column.

use std::fmt;

use farol_query::{ParseError, parse_selector};
use farol_store::Matcher;

/// Why a text is no selector.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    selector: String,
    error: ParseError,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { column, problem, .. } = &self.error;
        // A pointer into several lines would point nowhere.
        if self.selector.chars().any(char::is_control) {
            return self.error.fmt(f);
        }
        write!(f, "column {column}: {problem}\n    {}\n    {:>column$}", self.selector, "^")
    }
}

impl std::error::Error for Wrong {}

/// At least one of the matchers does not match the empty string: else every series would be meant.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, Wrong> {
    parse_selector(text).map_err(|error| Wrong { selector: text.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_shown_with_its_column() {
        let shown = parse("a{b=c}").unwrap_err().to_string();
        let problem = "unexpected \"c\" in label matching, expected the label's value in quotes";
        assert_eq!(shown, format!("column 5: {problem}\n    a{{b=c}}\n        ^"));
        let shown = parse("a{b=\"é\" c}").unwrap_err().to_string();
        assert!(shown.ends_with("\n    a{b=\"é\" c}\n            ^"), "{shown}");
        let shown = parse("a{\nb}").unwrap_err().to_string();
        assert!(shown.starts_with("2:2: ") && !shown.contains('^'), "{shown}");
    }
}
