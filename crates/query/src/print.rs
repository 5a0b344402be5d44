//! Expressions as text: in one line (`Display`), and over several.

use std::fmt;

use crate::Expr;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

/// As Prometheus' `format_query` lays it out: what does not fit into a line is indented by two blanks
/// a level.
pub fn pretty(expr: &Expr) -> String {
    let _ = expr;
    todo!()
}
