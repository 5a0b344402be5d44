//! Functions: their arguments are evaluated here, their bodies are in `functions`.

use crate::{
    Expr, Function, Kind, Metric, Series, Span, Steps, Type,
    eval::{Context, EvalError, Stop, Value, Windows, past::Figure, select::Wanted},
    functions::Body,
    is_absent,
};

/// A function that is given whole values.
pub(crate) struct Calling<'c, 'a> {
    pub context: &'c mut Context<'a>,
    pub steps: Steps,
    /// As they were written.
    pub exprs: &'c [Expr],
    /// A range comes as a vector: 1 at each step whose window has samples.
    pub args: Vec<Value>,
}

impl Context<'_> {
    pub(super) fn call(
        &mut self,
        function: &Function,
        args: &[Expr],
        steps: Steps,
    ) -> Result<Value, EvalError> {
        if function.name == "timestamp"
            && let [arg] = args
            && let Kind::Selector(selector) = &without_parens(arg).kind
        {
            let mut series = self.selector(selector, steps, Wanted::Times)?;
            series.iter_mut().for_each(|series| series.metric.drops_name = true);
            return Ok(Value::Vector(series));
        }
        match function.body {
            Body::Value(body) => self.call_on_values(function, body, args, steps),
            Body::Window(body) => self.call_on_windows(function, body, args, steps),
            Body::Whole(body) => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.eval(arg, steps)?);
                }
                body(Calling { context: self, steps, exprs: args, args: values })
            }
        }
    }

    fn call_on_values(
        &mut self,
        function: &Function,
        body: fn(f64, &[f64]) -> f64,
        args: &[Expr],
        steps: Steps,
    ) -> Result<Value, EvalError> {
        let mut vector = match args.first() {
            Some(arg) => self.vector(arg, steps)?,
            // `hour()` is `hour(vector(time()))`.
            None => vec![Series { metric: Metric::default(), values: seconds(steps) }],
        };
        let scalars = self.scalars(args.get(1..).unwrap_or_default(), steps)?;
        let mut now = vec![0.0; scalars.len()];
        for series in &mut vector {
            self.work(steps.count)?;
            series.metric.drops_name |= !function.keeps_name;
            for (step, value) in series.values.iter_mut().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                for (scalar, row) in now.iter_mut().zip(&scalars) {
                    *scalar = row[step];
                }
                *value = body(*value, &now);
            }
        }
        Ok(Value::Vector(vector))
    }

    fn call_on_windows(
        &mut self,
        function: &Function,
        body: fn(&mut Windows<'_, '_>),
        args: &[Expr],
        steps: Steps,
    ) -> Result<Value, EvalError> {
        let place = args.iter().position(|arg| arg.type_of() == Type::Matrix);
        let range = &args[place.expect("the parser lets no call be without its range")];
        let others: Vec<&Expr> = args.iter().filter(|arg| arg.type_of() != Type::Matrix).collect();
        let scalar_spans: Vec<Span> = others.iter().map(|arg| arg.span).collect();
        let scalars = self.scalars(others, steps)?;
        let mut ranged = self.ranged(range, steps, Figure::for_function(function.name))?;
        let mut found = Vec::new();
        while let Some((mut metric, samples)) = self.next_series(&mut ranged)? {
            self.hold(steps.count as u64)?;
            let mut out = vec![crate::ABSENT; steps.count];
            let mut stopped: Option<Stop> = None;
            let watch = self.options.watch;
            let mut goes_on = || {
                stopped = watch();
                stopped.is_none()
            };
            let mut windows = Windows {
                times: &samples.times,
                values: &samples.values,
                range: ranged.range,
                metric: &metric,
                span: ranged.span,
                bounds: &ranged.bounds,
                steps,
                ends: &ranged.ends,
                scalars: &scalars,
                scalar_spans: &scalar_spans,
                out: &mut out,
                notes: &mut self.notes,
                goes_on: &mut goes_on,
                failure: None,
            };
            body(&mut windows);
            let (has_any, failure) = (windows.has_any(), windows.failure.take());
            if let Some(stop) = stopped {
                return Err(EvalError::Stopped(stop));
            }
            if let Some(failure) = failure {
                return Err(EvalError::Failed(failure));
            }
            ranged.give_back(samples);
            if has_any {
                metric.drops_name |= !function.keeps_name;
                found.push(Series { metric, values: out });
            } else {
                self.release(steps.count as u64);
            }
        }
        Ok(Value::Vector(found))
    }

    fn scalars<'e>(
        &mut self,
        args: impl IntoIterator<Item = &'e Expr>,
        steps: Steps,
    ) -> Result<Vec<Vec<f64>>, EvalError> {
        args.into_iter().map(|arg| self.scalar(arg, steps)).collect()
    }

    pub(super) fn scalar(&mut self, expr: &Expr, steps: Steps) -> Result<Vec<f64>, EvalError> {
        match self.eval(expr, steps)? {
            Value::Scalar(values) => Ok(values),
            Value::Vector(_) | Value::Text(_) => unreachable!("the parser has checked the types"),
        }
    }

    pub(super) fn vector(&mut self, expr: &Expr, steps: Steps) -> Result<Vec<Series>, EvalError> {
        match self.eval(expr, steps)? {
            Value::Vector(series) => Ok(series),
            Value::Scalar(_) | Value::Text(_) => unreachable!("the parser has checked the types"),
        }
    }
}

fn without_parens(expr: &Expr) -> &Expr {
    match &expr.kind {
        Kind::Paren(inner) => without_parens(inner),
        _ => expr,
    }
}

/// The time of each step.
fn seconds(steps: Steps) -> Vec<f64> {
    steps.times().map(|time| time as f64 / 1000.0).collect()
}
