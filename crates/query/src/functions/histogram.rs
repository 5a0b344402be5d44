//! Classic histograms: quantiles and fractions of buckets by `le`.

use std::collections::HashMap;

use farol_model::{Labels, Text};

use super::remark;
use crate::{
    ABSENT, Metric, Series, Span,
    eval::{Calling, EvalError, Value},
    is_absent,
    notes::Notes,
};

pub(super) fn fraction(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let (lower, upper) = (calling.scalar(0).to_vec(), calling.scalar(1).to_vec());
    let span = calling.exprs[2].span;
    let steps = calling.steps.count;
    let (context, vector) = calling.into_context_and_vector();
    let mut answers = Vec::new();
    for histogram in histograms(&vector, span, &mut context.notes) {
        context.work(steps.saturating_mul(histogram.buckets.len()))?;
        answers.push(histogram.at_each_step(steps, |step, buckets| {
            fraction_between(lower[step], upper[step], buckets)
        }));
    }
    Ok(Value::Vector(answers))
}

/// There are none here.
pub(super) fn of_native(_: Calling<'_, '_>) -> Result<Value, EvalError> {
    Ok(Value::Vector(Vec::new()))
}

pub(super) fn quantile(calling: Calling<'_, '_>) -> Result<Value, EvalError> {
    let quantiles = calling.scalar(0).to_vec();
    let (quantile_span, span) = (calling.exprs[0].span, calling.exprs[1].span);
    let steps = calling.steps.count;
    let (context, vector) = calling.into_context_and_vector();
    remark_on_quantiles(&quantiles, quantile_span, &mut context.notes);
    let mut answers = Vec::new();
    for histogram in histograms(&vector, span, &mut context.notes) {
        context.work(steps.saturating_mul(histogram.buckets.len()))?;
        let mut was_forced = false;
        answers.push(histogram.at_each_step(steps, |step, buckets| {
            let (value, forced) = quantile_of(quantiles[step], buckets);
            was_forced |= forced;
            value
        }));
        if was_forced {
            let text = format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                of_metric(&histogram.metric.name)
            );
            context.notes.inform(span, &text);
        }
    }
    Ok(Value::Vector(answers))
}

fn remark_on_quantiles(quantiles: &[f64], span: Span, notes: &mut Notes<'_>) {
    let mut told = 0.5f64;
    for quantile in quantiles {
        if !(0.0..=1.0).contains(quantile) && quantile.to_bits() != told.to_bits() {
            notes.warn(span, &remark::quantile_out_of_range(*quantile));
            told = *quantile;
        }
    }
}

fn of_metric(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" for metric name {name:?}") }
}

/// The series of one histogram, by their upper bounds.
struct Histogram<'v> {
    metric: Metric,
    buckets: Vec<(f64, &'v [f64])>,
}

/// At one step: how many observations were at most so large.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// Series that differ only in `le`, in the order in which their first ones come.
fn histograms<'v>(vector: &'v [Series], span: Span, notes: &mut Notes<'_>) -> Vec<Histogram<'v>> {
    let mut places: HashMap<(Text, Labels), usize> = HashMap::new();
    let mut histograms: Vec<Histogram<'v>> = Vec::new();
    for series in vector {
        let le = series.metric.get("le");
        let Some(upper) = upper_bound(le) else {
            let name = of_metric(&series.metric.name);
            notes.warn(
                span,
                &format!("bucket label \"le\" is missing or has a malformed value of {le:?}{name}"),
            );
            continue;
        };
        let labels = series.metric.only(|label| label != "le");
        let name = series.metric.name.clone();
        let place = *places.entry((name.clone(), labels.clone())).or_insert_with(|| {
            let metric = Metric { name, labels, drops_name: true };
            histograms.push(Histogram { metric, buckets: Vec::new() });
            histograms.len() - 1
        });
        histograms[place].buckets.push((upper, &series.values));
    }
    for histogram in &mut histograms {
        histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    histograms
}

fn upper_bound(le: &str) -> Option<f64> {
    let bound: f64 = le.parse().ok()?;
    // Digits that come to infinity are too many of them.
    let is_meant = bound.is_finite() || le.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    (is_meant && !bound.is_nan()).then_some(bound)
}

impl Histogram<'_> {
    /// `value_of` the buckets that there are at a step, rising, no bound twice.
    fn at_each_step(
        &self,
        steps: usize,
        mut value_of: impl FnMut(usize, &mut Vec<Bucket>) -> f64,
    ) -> Series {
        let mut series = Series { metric: self.metric.clone(), values: vec![ABSENT; steps] };
        let mut buckets: Vec<Bucket> = Vec::with_capacity(self.buckets.len());
        for (step, value) in series.values.iter_mut().enumerate() {
            buckets.clear();
            for (upper, counts) in &self.buckets {
                let count = counts[step];
                match buckets.last_mut() {
                    _ if is_absent(count) => {}
                    Some(last) if last.upper == *upper => last.count += count,
                    _ => buckets.push(Bucket { upper: *upper, count }),
                }
            }
            if !buckets.is_empty() {
                *value = value_of(step, &mut buckets);
            }
        }
        series
    }
}

/// Where in its buckets a histogram has so much of its observations below, as if they were spread
/// evenly within each; and whether counts had to be put right.
fn quantile_of(quantile: f64, buckets: &mut [Bucket]) -> (f64, bool) {
    if quantile.is_nan() {
        return (f64::NAN, false);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, false);
    }
    let [.., below, last] = buckets else { return (f64::NAN, false) };
    if last.upper != f64::INFINITY {
        return (f64::NAN, false);
    }
    let highest = below.upper;
    let was_forced = make_rising(buckets);
    let finite = &buckets[..buckets.len() - 1];
    let observations = buckets[buckets.len() - 1].count;
    if observations == 0.0 {
        return (f64::NAN, false);
    }
    let rank = quantile * observations;
    let place = first_with(finite, rank);
    let value = match finite.get(place) {
        None => highest,
        Some(bucket) if place == 0 && bucket.upper <= 0.0 => bucket.upper,
        Some(bucket) => {
            let before = match place {
                0 => Bucket { upper: 0.0, count: 0.0 },
                _ => finite[place - 1],
            };
            let share = (rank - before.count) / (bucket.count - before.count);
            before.upper + (bucket.upper - before.upper) * share
        }
    };
    (value, was_forced)
}

/// The first bucket whose count reaches the rank, by halving: with counts that are not numbers it is
/// the same one that Prometheus finds.
fn first_with(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Counts rise with their bounds. What computing with floats has made of equal ones is made equal
/// again; a real decrease is taken away and told.
fn make_rising(buckets: &mut [Bucket]) -> bool {
    const TOLERANCE: f64 = 1e-12;
    let mut was_forced = false;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if almost_equal(before, bucket.count, TOLERANCE) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            was_forced = true;
        } else {
            before = bucket.count;
        }
    }
    was_forced
}

/// Whether two numbers that differ do so by less than such a part of them.
fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

/// The share of the observations between two values.
fn fraction_between(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last().filter(|last| last.upper == f64::INFINITY) else {
        return f64::NAN;
    };
    let all = last.count;
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, all, buckets) - rank_of(lower, all, buckets)) / all
}

/// How many observations were below a value, as if they were spread evenly within each bucket.
fn rank_of(value: f64, all: f64, buckets: &[Bucket]) -> f64 {
    let mut below = 0.0;
    let mut bound = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        let rank = if bound >= value {
            below
        } else if bucket.upper <= value {
            (below, bound) = (bucket.count, bucket.upper);
            continue;
        } else if bound == f64::NEG_INFINITY {
            bucket.count
        } else {
            below + (bucket.count - below) * (value - bound) / (bucket.upper - bound)
        };
        return if rank > all { all } else { rank };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let even = [(0.1, 10.0), (0.2, 20.0), (1.0, 30.0), (INF, 40.0)];
        let negative = [(-2.0, 4.0), (-1.0, 8.0), (INF, 8.0)];
        for (pairs, quantile, expected) in [
            (&even[..], 0.25, 0.1),
            (&even, 0.125, 0.05),
            (&even, 0.375, 0.15000000000000002),
            (&even, 0.9, 1.0),
            (&even, 1.0, 1.0),
            (&even, 0.0, 0.0),
            (&even, -0.1, -INF),
            (&even, 1.1, INF),
            (&even, f64::NAN, f64::NAN),
            (&negative, 0.5, -2.0),
            (&negative, 0.75, -1.5),
            (&even[..3], 0.5, f64::NAN),
            (&even[3..], 0.5, f64::NAN),
            (&[(1.0, 0.0), (INF, 0.0)], 0.5, f64::NAN),
        ] {
            let (value, was_forced) = quantile_of(quantile, &mut buckets(pairs));
            assert!(
                value == expected || (value.is_nan() && expected.is_nan()),
                "{quantile}: {value}"
            );
            assert!(!was_forced);
        }
    }

    #[test]
    fn a_decrease_is_told_and_a_rounding_is_not() {
        let (value, was_forced) =
            quantile_of(0.5, &mut buckets(&[(1.0, 10.0), (2.0, 8.0), (3.0, 10.0), (INF, 10.0)]));
        assert_eq!((value, was_forced), (0.5, true));
        let rounded = [(1.0, 10.0), (2.0, 10.0 - 1e-14), (3.0, 10.0 + 1e-14), (INF, 10.0)];
        assert_eq!(quantile_of(1.0, &mut buckets(&rounded)), (1.0, false));
    }

    #[test]
    fn counts_that_are_not_numbers_end_in_no_number_and_in_no_panic() {
        for place in 0..3 {
            let mut with_nan = buckets(&[(1.0, 1.0), (2.0, 2.0), (INF, 3.0)]);
            with_nan[place].count = f64::NAN;
            quantile_of(0.5, &mut with_nan.clone());
            fraction_between(0.5, 1.5, &with_nan);
        }
    }

    #[test]
    fn fractions_are_what_lies_between() {
        let even = [(1.0, 10.0), (2.0, 20.0), (4.0, 30.0), (INF, 40.0)];
        for (lower, upper, expected) in [
            (0.0, 1.0, 0.25),
            (-INF, INF, 1.0),
            (0.5, 1.5, 0.25),
            (3.0, 5.0, 0.125),
            (2.0, 2.0, 0.0),
            (3.0, 2.0, 0.0),
            (-3.0, 0.0, 0.0),
            (4.0, INF, 0.25),
        ] {
            let got = fraction_between(lower, upper, &buckets(&even));
            assert_eq!(got, expected, "{lower}..{upper}");
        }
        assert!(fraction_between(f64::NAN, 1.0, &buckets(&even)).is_nan());
        assert!(fraction_between(0.0, 1.0, &buckets(&even[..3])).is_nan());
        let negative = buckets(&[(-1.0, 5.0), (1.0, 10.0), (INF, 10.0)]);
        assert_eq!(rank_of(-7.0, 10.0, &negative), 5.0);
        assert_eq!(rank_of(0.0, 10.0, &negative), 7.5);
    }

    #[test]
    fn a_bound_is_a_number_as_go_reads_it() {
        assert_eq!(upper_bound("0.5"), Some(0.5));
        assert_eq!(upper_bound("1e3"), Some(1000.0));
        assert_eq!(upper_bound("+Inf"), Some(INF));
        for bad in ["", "abc", "NaN", "1e400", "1,5", " 1"] {
            assert_eq!(upper_bound(bad), None, "{bad:?}");
        }
    }
}
