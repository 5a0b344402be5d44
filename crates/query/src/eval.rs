//! From an expression and a reader to an answer.
//!
//! An expression is evaluated over all steps at once: its value is a row of numbers for each series,
//! [`ABSENT`] where a series has none. What is the same at every step is evaluated once.

use std::fmt;

use farol_model::{Text, Timestamp};
use farol_store::Reader;

use crate::{Answer, Expr, Metric, Series, Span, Stats, Steps, notes::Notes};

/// What goes with a question besides the expression.
pub struct Options<'a> {
    /// The expression's text: remarks say where in it.
    pub query: &'a str,
    /// How far back a selector looks for its sample, in milliseconds.
    pub lookback: i64,
    /// The step of a subquery that names none, in milliseconds.
    pub subquery_step: i64,
    /// A series that has been silent until now has ended; none in the past of a store at rest.
    pub now: Option<Timestamp>,
    pub limits: Limits,
    /// Asked again and again: whether to give up.
    pub watch: &'a (dyn Fn() -> Option<Stop> + 'a),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values in memory at once.
    pub samples: u64,
    /// Series that one selector may find.
    pub series: usize,
    /// Steps of a range question.
    pub steps: usize,
}

/// Why a question is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    TimedOut,
    Canceled,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum EvalError {
    /// The question itself makes no sense: Prometheus' `bad_data`.
    Bad(String),
    /// It began and could not go on, or it is too large: Prometheus' `execution`.
    Failed(String),
    Stopped(Stop),
}

/// Evaluates at one time.
pub fn instant(
    reader: &Reader,
    expr: &Expr,
    at: Timestamp,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    let _ = (reader, expr, at, options);
    todo!()
}

/// Evaluates at all steps; the expression must be a scalar or an instant vector.
pub fn range(
    reader: &Reader,
    expr: &Expr,
    steps: Steps,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    let _ = (reader, expr, steps, options);
    todo!()
}

/// What an expression comes to, over all steps.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Series>),
    Text(Text),
}

/// What all parts of one evaluation share.
pub(crate) struct Context<'a> {
    pub reader: &'a Reader,
    pub options: &'a Options<'a>,
    pub notes: Notes<'a>,
    pub stats: Stats,
}

/// A function that is given whole values.
pub(crate) struct Calling<'c, 'a> {
    pub context: &'c mut Context<'a>,
    pub steps: Steps,
    pub span: Span,
    /// As they were written.
    pub exprs: &'c [Expr],
    /// A range comes as a vector: 1 at each step whose window has samples.
    pub args: Vec<Value>,
}

/// The samples of one series, and its windows at all steps: what a function over a range works with.
pub(crate) struct Windows<'w, 'q> {
    /// Rising, without stale markers.
    pub times: &'w [i64],
    pub values: &'w [f64],
    /// In milliseconds.
    pub range: i64,
    pub metric: &'w Metric,
    /// Where the range is written.
    pub span: Span,
    /// For each step the samples in its window.
    pub bounds: &'w [(u32, u32)],
    /// The steps as they are asked for, before `offset` and `@`.
    pub steps: Steps,
    /// When each window ends: the end belongs to it, its start does not.
    pub ends: &'w [i64],
    /// The arguments besides the range, in their order, a value for each step.
    pub scalars: &'w [Vec<f64>],
    /// For each step; ABSENT at first.
    pub out: &'w mut [f64],
    pub notes: &'w mut Notes<'q>,
}

/// One window that has samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'w> {
    /// Which step.
    pub step: usize,
    /// The time of the evaluation, in milliseconds.
    pub at: i64,
    /// Excluded.
    pub start: i64,
    /// Included.
    pub end: i64,
    pub times: &'w [i64],
    pub values: &'w [f64],
}

impl Windows<'_, '_> {
    /// Fills in `out` for each window that has samples; ABSENT leaves a step without a value.
    pub(crate) fn each(&mut self, mut value_of: impl FnMut(Window<'_>) -> f64) {
        let _ = &mut value_of;
        todo!()
    }

    /// An argument besides the range, at a step.
    pub(crate) fn scalar(&self, argument: usize, step: usize) -> f64 {
        self.scalars[argument][step]
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Bad(text) | EvalError::Failed(text) => f.write_str(text),
            EvalError::Stopped(Stop::TimedOut) => {
                f.write_str("query timed out in expression evaluation")
            }
            EvalError::Stopped(Stop::Canceled) => {
                f.write_str("query was canceled in expression evaluation")
            }
        }
    }
}

impl std::error::Error for EvalError {}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("query", &self.query).finish_non_exhaustive()
    }
}
