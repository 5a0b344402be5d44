//! PromQL: from a text to an answer out of the store.
//!
//! [`parse()`] makes an [`Expr`] in which everything has its place in the text and every type is
//! right; [`instant`] and [`range`] evaluate it over a [`Reader`](farol_store::Reader), a range
//! series by series over all steps at once. The semantics are those of Prometheus 3 for floats and
//! classic histograms. This crate reads no clock: the time, and whether to go on, come in with the
//! question.

mod answer;
mod ast;
mod duration;
mod eval;
mod functions;
mod labels;
mod lex;
mod notes;
mod number;
mod parse;
mod print;
mod reference;
mod steps;
mod sum;

pub use answer::{Answer, Data, Series, Stats};
pub use ast::{
    Aggregate, Aggregation, At, Binary, BinaryOp, Bool, Card, DurationExpr, DurationOp, Expr,
    Grouping, Kind, Matching, Modifiers, Selector, Sign, Span, Subquery, Type,
};
pub use duration::{DurationError, parse_duration, print_duration};
pub use eval::{EvalError, Limits, Options, Stop, instant, range};
pub use functions::{FUNCTIONS, Function};
pub use labels::Metric;
pub use notes::{Level, Note};
pub use number::print_number;
pub use parse::{ParseError, parse, parse_selector};
pub use print::pretty;
pub use reference::reference_markdown;
pub use steps::Steps;

/// Stands for "no value" at a step. No computed value has these bits: arithmetic makes a signalling
/// NaN a quiet one, and a selector takes the marker for the end of its series.
pub const ABSENT: f64 = farol_store::STALE;

pub fn is_absent(value: f64) -> bool {
    farol_store::is_stale(value)
}
