//! From an expression and a reader to an answer.
//!
//! An expression is evaluated over all steps at once: its value is a row of numbers for each series,
//! [`ABSENT`] where a series has none. What is the same at every step is evaluated once.

use std::fmt;

use farol_model::{Text, Timestamp};
use farol_store::Reader;

use crate::{
    ABSENT, Answer, Data, Expr, Kind, Metric, Series, Sign, Stats, Steps, Type, is_absent,
    notes::Notes,
};

mod aggregate;
mod binary;
mod call;
mod finish;
mod invariant;
mod past;
mod select;
mod windows;

pub(crate) use call::Calling;
pub(crate) use finish::SAME_LABELS;
pub(crate) use windows::Windows;

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
    /// It began and could not go on: Prometheus' `execution`.
    Failed(String),
    /// It would take more than one of the limits: `execution` as well.
    TooLarge(String),
    Stopped(Stop),
}

/// Evaluates at one time.
pub fn instant(
    reader: &Reader,
    expr: &Expr,
    at: Timestamp,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    let at = at.as_millis();
    let mut context = Context::new(reader, options, Question { start: at, end: at, step: 0 });
    let data = match expr.type_of() {
        Type::Matrix => context.matrix(expr, at)?,
        Type::Scalar | Type::Vector | Type::Text => match context.eval(expr, Steps::one(at))? {
            Value::Scalar(values) => Data::Scalar { at, value: values[0] },
            Value::Text(text) => Data::Text { at, text },
            Value::Vector(series) => finish::vector(series, at)?,
        },
    };
    Ok(context.answer(data))
}

/// Evaluates at all steps; the expression must be a scalar or an instant vector.
pub fn range(
    reader: &Reader,
    expr: &Expr,
    steps: Steps,
    options: &Options<'_>,
) -> Result<Answer, EvalError> {
    match expr.type_of() {
        Type::Scalar | Type::Vector => {}
        other @ (Type::Matrix | Type::Text) => {
            return Err(EvalError::Bad(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                other.name()
            )));
        }
    }
    if steps.count > options.limits.steps.saturating_add(1) {
        return Err(EvalError::Bad(format!(
            "exceeded maximum resolution of {} points per timeseries; try a larger step",
            options.limits.steps
        )));
    }
    let question = Question { start: steps.start, end: steps.end, step: steps.step };
    let mut context = Context::new(reader, options, question);
    let series = match context.eval(expr, steps)? {
        Value::Scalar(values) => vec![Series { metric: Metric::default(), values }],
        Value::Vector(series) => finish::steps(series)?,
        Value::Text(_) => unreachable!("a text was refused by its type"),
    };
    Ok(context.answer(Data::Steps { steps, series }))
}

/// What an expression comes to, over all steps.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Series>),
    Text(Text),
}

/// The times that were asked for, for `@ start()`, `@ end()`, `step()` and `range()`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub start: i64,
    pub end: i64,
    /// 0 for an instant question.
    pub step: i64,
}

/// What all parts of one evaluation share.
pub(crate) struct Context<'a> {
    pub reader: &'a Reader,
    pub options: &'a Options<'a>,
    pub question: Question,
    pub notes: Notes<'a>,
    pub stats: Stats,
    /// Values in memory.
    held: u64,
    /// Work since the watch was last asked.
    work: usize,
}

/// So much work, in samples, goes by before the watch is asked again.
const WORK: usize = 1 << 16;

impl<'a> Context<'a> {
    fn new(reader: &'a Reader, options: &'a Options<'a>, question: Question) -> Context<'a> {
        let notes = Notes::new(options.query);
        Context { reader, options, question, notes, stats: Stats::default(), held: 0, work: 0 }
    }

    fn answer(self, data: Data) -> Answer {
        Answer { data, notes: self.notes.into_list(), stats: self.stats }
    }

    pub(crate) fn eval(&mut self, expr: &Expr, steps: Steps) -> Result<Value, EvalError> {
        self.check()?;
        let before = self.held;
        let value = if steps.count > 1 && invariant::is_worth_once(expr) {
            let once = self.eval_kind(expr, Steps::one(steps.start))?;
            self.hold(once.size().saturating_mul(steps.count as u64))?;
            once.spread(steps.count)
        } else {
            self.eval_kind(expr, steps)?
        };
        // What was needed on the way is gone.
        self.held = before;
        self.hold(value.size())?;
        Ok(value)
    }

    fn eval_kind(&mut self, expr: &Expr, steps: Steps) -> Result<Value, EvalError> {
        match &expr.kind {
            Kind::Number { value, .. } => {
                self.hold(steps.count as u64)?;
                Ok(Value::Scalar(vec![*value; steps.count]))
            }
            Kind::Text(text) => Ok(Value::Text(text.clone())),
            Kind::Paren(inner) => self.eval(inner, steps),
            Kind::Unary { sign, expr } => Ok(signed(*sign, self.eval(expr, steps)?)),
            Kind::Binary(binary) => self.binary(binary, steps),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, steps),
            Kind::Call { function, args } => self.call(function, args, steps),
            Kind::Selector(selector) => {
                self.selector(selector, steps, select::Wanted::Values).map(Value::Vector)
            }
            Kind::Range { .. } | Kind::Subquery(_) => self.present(expr, steps).map(Value::Vector),
        }
    }

    /// Takes note that so many more values are in memory.
    pub(crate) fn hold(&mut self, values: u64) -> Result<(), EvalError> {
        self.held = self.held.saturating_add(values);
        self.stats.peak_samples = self.stats.peak_samples.max(self.held);
        if self.held <= self.options.limits.samples {
            return Ok(());
        }
        Err(EvalError::TooLarge(format!(
            "query processing would load too many samples into memory: more than {}; ask for less time, fewer series or a larger step, or raise query.max_samples",
            self.options.limits.samples
        )))
    }

    /// Values that are no longer in memory.
    pub(crate) fn release(&mut self, values: u64) {
        self.held = self.held.saturating_sub(values);
    }

    /// Takes note of work, and from time to time asks whether to go on.
    #[inline]
    pub(crate) fn work(&mut self, amount: usize) -> Result<(), EvalError> {
        self.work += amount;
        if self.work < WORK {
            return Ok(());
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), EvalError> {
        self.work = 0;
        match (self.options.watch)() {
            Some(stop) => Err(EvalError::Stopped(stop)),
            None => Ok(()),
        }
    }
}

fn signed(sign: Sign, value: Value) -> Value {
    match (sign, value) {
        (Sign::Minus, Value::Scalar(values)) => {
            Value::Scalar(values.into_iter().map(|value| -value).collect())
        }
        (Sign::Minus, Value::Vector(mut vector)) => {
            for series in &mut vector {
                series.metric.drops_name = true;
                for value in &mut series.values {
                    if !is_absent(*value) {
                        *value = -*value;
                    }
                }
            }
            Value::Vector(vector)
        }
        (Sign::Plus, value) | (Sign::Minus, value @ Value::Text(_)) => value,
    }
}

impl Value {
    /// How many values that is in memory.
    fn size(&self) -> u64 {
        match self {
            Value::Scalar(values) => values.len() as u64,
            Value::Vector(vector) => vector.iter().map(|series| series.values.len() as u64).sum(),
            Value::Text(_) => 1,
        }
    }

    /// What is the same at every step.
    fn spread(self, count: usize) -> Value {
        match self {
            Value::Scalar(values) => Value::Scalar(vec![values[0]; count]),
            Value::Vector(mut vector) => {
                for series in &mut vector {
                    series.values = vec![series.values[0]; count];
                }
                Value::Vector(vector)
            }
            text @ Value::Text(_) => text,
        }
    }
}

impl Series {
    /// Without any value.
    pub(crate) fn absent(metric: Metric, steps: usize) -> Series {
        Series { metric, values: vec![ABSENT; steps] }
    }

    pub(crate) fn has_any(&self) -> bool {
        self.values.iter().any(|value| !is_absent(*value))
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Bad(text) | EvalError::Failed(text) | EvalError::TooLarge(text) => {
                f.write_str(text)
            }
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
