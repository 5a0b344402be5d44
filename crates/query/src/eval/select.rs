//! From selectors to series: what was there at each step, and what is in each window.

use farol_model::Timestamp;
use farol_store::{Point, Range, Samples};

use crate::{
    At, Data, DurationExpr, DurationOp, Expr, Kind, Metric, Modifiers, Selector, Series, Sign,
    Span, Steps, Subquery,
    eval::{
        Context, EvalError, Value,
        past::{Figure, Stored},
        windows,
    },
    is_absent,
};

/// What a selector is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Values,
    /// When each sample was taken, in seconds.
    Times,
}

/// The range of a function: where it is written, and the samples that it may use.
pub(super) struct Ranged {
    pub span: Span,
    /// In milliseconds.
    pub range: i64,
    /// When each step's window ends.
    pub ends: Vec<i64>,
    source: Source,
    scratch: Samples,
    /// When the samples were taken for which `bounds` were found.
    times: Vec<i64>,
    pub bounds: Vec<(u32, u32)>,
    next: usize,
}

enum Source {
    Stored(Stored),
    /// The values of a subquery and its steps.
    Computed {
        series: std::vec::IntoIter<Series>,
        steps: Steps,
    },
}

impl Context<'_> {
    pub(super) fn selector(
        &mut self,
        selector: &Selector,
        steps: Steps,
        wanted: Wanted,
    ) -> Result<Vec<Series>, EvalError> {
        let ends = self.ends(&selector.modifiers, steps)?;
        let lookback = self.options.lookback;
        let mut stored = self.select(selector, &ends, lookback, Figure::Last)?;
        let mut samples = Samples::default();
        let mut found = Vec::new();
        for index in 0..stored.series().len() {
            stored.columns(index, &mut samples);
            if samples.times.is_empty() {
                continue;
            }
            self.hold(steps.count as u64 + samples.times.len() as u64)?;
            self.work(steps.count + samples.times.len())?;
            let key = &stored.series()[index];
            let metric = Metric::new(key.name.clone(), key.labels.clone());
            let mut series = Series::absent(metric, steps.count);
            let used = last_values(&samples, &ends, lookback, wanted, &mut series.values);
            self.release(samples.times.len() as u64);
            self.stats.samples += used;
            if used > 0 {
                found.push(series);
            } else {
                self.release(steps.count as u64);
            }
        }
        self.tell_damage(&stored);
        Ok(found)
    }

    /// 1 at each step whose window has samples.
    pub(super) fn present(&mut self, expr: &Expr, steps: Steps) -> Result<Vec<Series>, EvalError> {
        let mut ranged = self.ranged(expr, steps, Figure::Last)?;
        let mut found = Vec::new();
        while let Some((metric, _)) = self.next_series(&mut ranged)? {
            self.hold(steps.count as u64)?;
            let mut series = Series::absent(metric, steps.count);
            for (value, (first, end)) in series.values.iter_mut().zip(&ranged.bounds) {
                if first < end {
                    *value = 1.0;
                }
            }
            found.push(series);
        }
        Ok(found)
    }

    /// The answer to an instant question about a range.
    pub(super) fn matrix(&mut self, expr: &Expr, at: i64) -> Result<Data, EvalError> {
        let mut ranged = self.ranged(expr, Steps::one(at), Figure::Last)?;
        let mut found = Vec::new();
        while let Some((metric, samples)) = self.next_series(&mut ranged)? {
            let (first, end) = ranged.bounds[0];
            let points: Vec<Point> =
                samples.points().skip(first as usize).take((end - first) as usize).collect();
            self.hold(points.len() as u64)?;
            found.push((metric.finished(), points));
            ranged.give_back(samples);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Data::Matrix(found))
    }

    /// The windows of a range selector or a subquery.
    pub(super) fn ranged(
        &mut self,
        expr: &Expr,
        steps: Steps,
        figure: Figure,
    ) -> Result<Ranged, EvalError> {
        let (modifiers, range) = match &expr.kind {
            Kind::Paren(inner) => return self.ranged(inner, steps, figure),
            Kind::Range { selector, range } => (&selector.modifiers, range),
            Kind::Subquery(subquery) => (&subquery.modifiers, &subquery.range),
            _ => unreachable!("the parser lets only ranges be where ranges belong"),
        };
        let range = self.positive(range, "range")?;
        let ends = self.ends(modifiers, steps)?;
        let source = match &expr.kind {
            Kind::Subquery(subquery) => self.subquery(subquery, range, &ends)?,
            Kind::Range { selector, .. } => {
                Source::Stored(self.select(selector, &ends, range, figure)?)
            }
            _ => unreachable!("matched above"),
        };
        Ok(Ranged {
            span: expr.span,
            range,
            ends,
            source,
            scratch: Samples::default(),
            times: Vec::new(),
            bounds: Vec::new(),
            next: 0,
        })
    }

    /// The next series that has samples in a window, without stale markers; its `bounds` stand in
    /// `ranged`. Give the samples back for the next ones to take their place.
    pub(super) fn next_series(
        &mut self,
        ranged: &mut Ranged,
    ) -> Result<Option<(Metric, Samples)>, EvalError> {
        let mut samples = std::mem::take(&mut ranged.scratch);
        loop {
            let metric = match &mut ranged.source {
                Source::Stored(stored) => {
                    let Some(key) = stored.series().get(ranged.next) else {
                        self.tell_damage(stored);
                        return Ok(None);
                    };
                    let metric = Metric::new(key.name.clone(), key.labels.clone());
                    stored.columns(ranged.next, &mut samples);
                    ranged.next += 1;
                    metric
                }
                Source::Computed { series, steps } => {
                    let Some(series) = series.next() else { return Ok(None) };
                    samples.clear();
                    samples.times.extend(steps.times());
                    samples.values = series.values;
                    series.metric
                }
            };
            without_markers(&mut samples);
            self.work(samples.times.len() + ranged.ends.len())?;
            if samples.times.is_empty() {
                continue;
            }
            // Series of one lane were taken at the same times.
            if samples.times != ranged.times || ranged.bounds.is_empty() {
                ranged.times.clone_from(&samples.times);
                windows::bounds_of(&samples.times, &ranged.ends, ranged.range, &mut ranged.bounds);
            }
            let in_windows: u64 =
                ranged.bounds.iter().map(|(first, end)| u64::from(end - first)).sum();
            if in_windows == 0 {
                continue;
            }
            self.stats.samples += in_windows;
            self.hold(samples.times.len() as u64)?;
            self.release(samples.times.len() as u64);
            return Ok(Some((metric, samples)));
        }
    }

    /// Evaluated at multiples of its step, so that all windows share their values.
    fn subquery(
        &mut self,
        subquery: &Subquery,
        range: i64,
        ends: &[i64],
    ) -> Result<Source, EvalError> {
        let step = match &subquery.step {
            Some(step) => self.positive(step, "subquery step")?,
            None => self.options.subquery_step.max(1),
        };
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return Ok(Source::Computed { series: Vec::new().into_iter(), steps: Steps::one(0) });
        };
        let start = first.saturating_sub(range);
        // The first multiple after the start, which does not belong to the window.
        let start = start.div_euclid(step).saturating_add(1).saturating_mul(step);
        let steps = Steps::new(start, *last, step);
        if steps.count == 0 {
            return Ok(Source::Computed { series: Vec::new().into_iter(), steps });
        }
        self.hold(steps.count as u64)?;
        self.release(steps.count as u64);
        let series = match self.eval(&subquery.expr, steps)? {
            Value::Vector(series) => series,
            Value::Scalar(values) => vec![Series { metric: Metric::default(), values }],
            Value::Text(_) => unreachable!("the parser lets no text be a subquery"),
        };
        Ok(Source::Computed { series: series.into_iter(), steps })
    }

    /// When each step looks: after `offset` and `@`.
    fn ends(&self, modifiers: &Modifiers, steps: Steps) -> Result<Vec<i64>, EvalError> {
        let offset = match &modifiers.offset {
            Some(offset) => self.millis(offset)?,
            None => 0,
        };
        let fixed = modifiers.at.map(|at| match at {
            At::Time(millis) => millis,
            At::Start => self.question.start,
            At::End => self.question.end,
        });
        let end = |step| fixed.unwrap_or(step).saturating_sub(offset);
        Ok(steps.times().map(end).collect())
    }

    /// The series that may have samples up to so long before these times.
    fn select(
        &mut self,
        selector: &Selector,
        ends: &[i64],
        before: i64,
        figure: Figure,
    ) -> Result<Stored, EvalError> {
        let (first, last) = (ends.first().copied(), ends.last().copied());
        // The start itself does not belong to a window.
        let start = first.unwrap_or(0).saturating_sub(before).saturating_add(1);
        let range = Range {
            start: Timestamp::from_millis(start),
            end: Timestamp::from_millis(last.unwrap_or(0)),
        };
        let stored =
            Stored::select(self.reader, &selector.matchers, range, self.options.now, figure);
        let found = stored.series().len();
        self.stats.series += found as u64;
        let most = self.options.limits.series;
        if found > most {
            return Err(EvalError::TooLarge(format!(
                "a selector matches {found} series, more than the limit of {most}; add matchers, or raise query.max_series"
            )));
        }
        Ok(stored)
    }

    /// What is left is answered, and that it is not all is said.
    fn tell_damage(&mut self, stored: &Stored) {
        for error in stored.damage() {
            self.notes.say(&error.to_string());
        }
    }

    fn positive(&self, duration: &DurationExpr, what: &str) -> Result<i64, EvalError> {
        match self.millis(duration)? {
            millis if millis > 0 => Ok(millis),
            _ => Err(EvalError::Failed(format!("the {what} must be longer than 0"))),
        }
    }

    fn millis(&self, duration: &DurationExpr) -> Result<i64, EvalError> {
        let seconds = self.seconds(duration);
        // Beyond it a window would begin before any time there is.
        match seconds.is_finite() && seconds.abs() < MOST_SECONDS {
            true => Ok((seconds * 1000.0).round() as i64),
            false => Err(EvalError::Failed("a duration is out of range".to_owned())),
        }
    }

    fn seconds(&self, duration: &DurationExpr) -> f64 {
        match duration {
            DurationExpr::Number(number) => *number,
            DurationExpr::Fixed { millis, .. } => *millis as f64 / 1000.0,
            DurationExpr::Signed { sign: Sign::Plus, inner } | DurationExpr::Paren(inner) => {
                self.seconds(inner)
            }
            DurationExpr::Signed { sign: Sign::Minus, inner } => -self.seconds(inner),
            DurationExpr::Step => self.question.step as f64 / 1000.0,
            DurationExpr::Range => {
                self.question.end.saturating_sub(self.question.start) as f64 / 1000.0
            }
            DurationExpr::Min(a, b) => self.seconds(a).min(self.seconds(b)),
            DurationExpr::Max(a, b) => self.seconds(a).max(self.seconds(b)),
            DurationExpr::Binary { op, left, right } => {
                let (left, right) = (self.seconds(left), self.seconds(right));
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Subtract => left - right,
                    DurationOp::Multiply => left * right,
                    DurationOp::Divide => left / right,
                    DurationOp::Modulo => left % right,
                    DurationOp::Power => left.powf(right),
                }
            }
        }
    }
}

/// Some three hundred years.
const MOST_SECONDS: f64 = 1e10;

impl Ranged {
    /// Memory for the next series.
    pub(super) fn give_back(&mut self, samples: Samples) {
        self.scratch = samples;
    }
}

/// The last sample at each step, if it is not too old; how many steps have one.
fn last_values(
    samples: &Samples,
    ends: &[i64],
    lookback: i64,
    wanted: Wanted,
    into: &mut [f64],
) -> u64 {
    let (times, values) = (&samples.times[..], &samples.values[..]);
    let mut after = 0;
    let mut used = 0;
    for (out, end) in into.iter_mut().zip(ends) {
        while times.get(after).is_some_and(|time| time <= end) {
            after += 1;
        }
        let Some(last) = after.checked_sub(1) else { continue };
        if times[last] > end.saturating_sub(lookback) && !is_absent(values[last]) {
            used += 1;
            *out = match wanted {
                Wanted::Values => values[last],
                Wanted::Times => times[last] as f64 / 1000.0,
            };
        }
    }
    used
}

fn without_markers(samples: &mut Samples) {
    if !samples.values.iter().any(|value| is_absent(*value)) {
        return;
    }
    let mut kept = 0;
    for place in 0..samples.values.len() {
        if !is_absent(samples.values[place]) {
            samples.values[kept] = samples.values[place];
            samples.times[kept] = samples.times[place];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.times.truncate(kept);
}
