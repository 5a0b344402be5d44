//! From tokens to an expression whose types are right. Every error has its place, and says what was
//! expected there.

use std::fmt;

use farol_store::Matcher;

use crate::{Expr, Span};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Both from 1, the column in characters.
    pub line: usize,
    pub column: usize,
    pub span: Span,
    /// Without the place.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.problem)
    }
}

impl std::error::Error for ParseError {}

pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let _ = text;
    todo!()
}

/// A selector of series alone, as in `match[]`: no modifiers.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let _ = text;
    todo!()
}
