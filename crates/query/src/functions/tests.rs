//! The functions over a range, each against one that goes over every window's samples.

use proptest::prelude::*;

use super::*;
use crate::{ABSENT, Metric, Span, Steps, is_absent, notes::Notes};

struct Run {
    out: Vec<f64>,
    notes: Vec<String>,
    failure: Option<String>,
}

/// A function over samples at all steps, with scalars that are the same at each.
fn run(
    name: &str,
    samples: &[(i64, f64)],
    steps: Steps,
    range: i64,
    scalars: &[f64],
    metric: &str,
) -> Run {
    let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
    let ends: Vec<i64> = steps.times().collect();
    let bounds: Vec<(u32, u32)> = ends
        .iter()
        .map(|end| {
            let from = times.partition_point(|time| *time <= end - range);
            let to = times.partition_point(|time| time <= end);
            (from as u32, to as u32)
        })
        .collect();
    let scalars: Vec<Vec<f64>> = scalars.iter().map(|scalar| vec![*scalar; steps.count]).collect();
    let metric = Metric::new(metric.into(), farol_model::Labels::empty());
    let mut out = vec![ABSENT; steps.count];
    let mut notes = Notes::new("");
    let mut windows = Windows {
        times: &times,
        values: &values,
        range,
        metric: &metric,
        span: Span::default(),
        bounds: &bounds,
        steps,
        ends: &ends,
        scalars: &scalars,
        scalar_spans: &vec![Span::default(); scalars.len()],
        out: &mut out,
        notes: &mut notes,
        goes_on: &mut || true,
        failure: None,
    };
    let Body::Window(body) = Function::find(name).unwrap().body else { panic!("{name}") };
    body(&mut windows);
    let failure = windows.failure.take();
    Run { out, notes: notes.into_list().into_iter().map(|note| note.text).collect(), failure }
}

/// Of one window that is `(0, end]`.
fn one(name: &str, samples: &[(i64, f64)], end: i64) -> f64 {
    run(name, samples, Steps::one(end), end, &[], "m_total").out[0]
}

const NAN: f64 = f64::NAN;

#[test]
fn a_rate_is_extrapolated_no_further_than_is_likely() {
    let full = [(10_000, 0.0), (20_000, 10.0), (30_000, 20.0), (40_000, 30.0)];
    for (name, samples, end, expected) in [
        // To both edges: 10 s before, and exactly the end.
        ("delta", &full[..], 40_000, 40.0),
        // A counter that was 0 at its first sample does not begin before it.
        ("increase", &full, 40_000, 30.0),
        ("rate", &full, 40_000, 0.75),
        // The end is too far: half an interval.
        ("increase", &full, 60_000, 35.0),
        // 11 s are still near enough (1.1 of an interval is not).
        ("increase", &full, 50_999, 40.999),
        ("increase", &full[..1], 40_000, ABSENT),
        // A reset: 5 and 3 since then.
        ("increase", &[(10_000, 100.0), (20_000, 105.0), (30_000, 3.0)], 30_000, 12.0),
    ] {
        let got = one(name, samples, end);
        assert!(
            (got - expected).abs() < 1e-9 || (is_absent(got) && is_absent(expected)),
            "{name} {samples:?}: {got}, not {expected}"
        );
    }
}

#[test]
fn a_metric_that_is_not_named_like_a_counter_is_remarked_on() {
    let samples = [(1, 1.0), (2, 2.0)];
    let told = |name, metric| run(name, &samples, Steps::one(5), 5, &[], metric).notes.len();
    assert_eq!(told("rate", "temperature"), 1);
    assert_eq!(told("increase", "temperature"), 1);
    assert_eq!(told("delta", "temperature"), 0);
    assert_eq!(told("irate", "temperature"), 0);
    assert_eq!(told("rate", "seconds_bucket"), 0);
    assert_eq!(told("rate", ""), 0);
    let alone = run("rate", &samples, Steps::one(1), 5, &[], "temperature");
    assert!(alone.notes.is_empty(), "without a value there is nothing to remark on");
}

#[test]
fn the_last_two_samples_make_the_instant_rate() {
    let samples = [(1000, 7.0), (2000, 10.0), (4000, 4.0)];
    assert_eq!(one("irate", &samples, 3000), 3.0);
    assert_eq!(one("irate", &samples, 4000), 2.0);
    assert_eq!(one("idelta", &samples, 4000), -6.0);
    assert!(is_absent(one("irate", &samples, 1000)));
}

#[test]
fn numbers_that_are_none_do_not_hide_those_that_are() {
    let samples = [(1, NAN), (2, 3.0), (3, NAN), (4, 1.0), (5, NAN)];
    assert_eq!(one("max_over_time", &samples, 5), 3.0);
    assert_eq!(one("min_over_time", &samples, 5), 1.0);
    assert_eq!(one("ts_of_max_over_time", &samples, 5), 0.002);
    assert!(one("max_over_time", &samples[..1], 5).is_nan());
    assert!(!is_absent(one("max_over_time", &samples[..1], 5)));
    assert!(one("sum_over_time", &samples, 5).is_nan());
    assert_eq!(one("changes", &[(1, NAN), (2, NAN), (3, 1.0), (4, NAN)], 5), 2.0);
    assert_eq!(one("resets", &[(1, 2.0), (2, NAN), (3, 1.0), (4, 0.0)], 5), 1.0);
}

#[test]
fn a_mean_is_found_though_the_sum_is_too_large() {
    let large = [(1, f64::MAX), (2, f64::MAX), (3, f64::MAX)];
    assert_eq!(one("avg_over_time", &large, 5), f64::MAX);
    assert_eq!(one("sum_over_time", &large, 5), f64::INFINITY);
    let endless = [(1, f64::INFINITY), (2, 1.0)];
    assert_eq!(one("avg_over_time", &endless, 5), f64::INFINITY);
    let opposite = [(1, f64::INFINITY), (2, f64::NEG_INFINITY)];
    assert!(one("avg_over_time", &opposite, 5).is_nan());
}

#[test]
fn a_quantile_out_of_range_is_told_and_a_factor_out_of_range_ends_it() {
    let samples = [(1, 1.0), (2, 2.0), (3, 4.0)];
    let quantile = |q| run("quantile_over_time", &samples, Steps::one(5), 5, &[q], "m");
    assert_eq!(quantile(0.75).out, [3.0]);
    assert!(quantile(0.75).notes.is_empty());
    assert_eq!(quantile(-1.0).out, [f64::NEG_INFINITY]);
    assert_eq!(
        quantile(1.5).notes,
        ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:1)"]
    );
    assert!(quantile(NAN).out[0].is_nan());
    let smooth = |sf, tf| {
        run("double_exponential_smoothing", &samples, Steps::one(5), 5, &[sf, tf], "m").failure
    };
    assert_eq!(smooth(0.5, 0.5), None);
    assert_eq!(
        smooth(1.0, 0.5).unwrap(),
        "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000"
    );
    assert_eq!(
        smooth(0.5, -0.25).unwrap(),
        "invalid trend factor. Expected: 0 < tf < 1, got: -0.250000"
    );
}

#[test]
fn a_prediction_is_for_so_long_after_the_evaluation() {
    let samples = [(0, 0.0), (10_000, 10.0), (20_000, 20.0)];
    let run = run("predict_linear", &samples, Steps::one(30_000), 60_000, &[5.0], "m");
    assert_eq!(run.out, [35.0]);
}

/// One at a time, as Prometheus does it.
fn slow(name: &str, window: &[(i64, f64)]) -> f64 {
    let values: Vec<f64> = window.iter().map(|sample| sample.1).collect();
    let mut sum = crate::sum::Kahan::default();
    values.iter().for_each(|value| sum.add(*value));
    let best = |beats: fn(f64, f64) -> bool| {
        let mut best = window[0];
        for sample in window {
            if beats(sample.1, best.1) || best.1.is_nan() {
                best = *sample;
            }
        }
        best
    };
    match name {
        "sum_over_time" => sum.value(),
        "avg_over_time" => sum.sum / values.len() as f64 + sum.lost / values.len() as f64,
        "count_over_time" => values.len() as f64,
        "max_over_time" => best(|a, b| a > b).1,
        "min_over_time" => best(|a, b| a < b).1,
        "ts_of_max_over_time" => best(|a, b| a >= b).0 as f64 / 1000.0,
        "ts_of_min_over_time" => best(|a, b| a <= b).0 as f64 / 1000.0,
        "first_over_time" => values[0],
        "last_over_time" => values[values.len() - 1],
        "ts_of_first_over_time" => window[0].0 as f64 / 1000.0,
        "ts_of_last_over_time" => window[window.len() - 1].0 as f64 / 1000.0,
        "present_over_time" => 1.0,
        "changes" => values.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64,
        "resets" => values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64,
        _ => panic!("{name}"),
    }
}

const BY_WINDOW: [&str; 14] = [
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "max_over_time",
    "min_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "first_over_time",
    "last_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "present_over_time",
    "changes",
    "resets",
];

/// Whole numbers, halves, decimals; every fourth time the same again.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-5i32..5).prop_map(f64::from),
        (0i64..1 << 50).prop_map(|whole| whole as f64),
        (-1000i32..1000).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        Just(-0.0),
    ]
}

proptest! {
    #[test]
    fn all_windows_at_once_are_what_each_is_by_itself(
        gaps in prop::collection::vec((1i64..30, value()), 1..80),
        (range, step, start) in (1i64..200, 1i64..60, -20i64..200),
    ) {
        let mut time = 0;
        let samples: Vec<(i64, f64)> = gaps
            .into_iter()
            .map(|(gap, value)| {
                time += gap;
                (time, value)
            })
            .collect();
        let steps = Steps::new(start, start + 39 * step, step);
        for name in BY_WINDOW {
            let got = run(name, &samples, steps, range, &[], "m").out;
            for (end, got) in steps.times().zip(got) {
                let window: Vec<(i64, f64)> = samples
                    .iter()
                    .copied()
                    .filter(|(time, _)| *time > end - range && *time <= end)
                    .collect();
                let expected = if window.is_empty() { ABSENT } else { slow(name, &window) };
                prop_assert_eq!(got.to_bits(), expected.to_bits(), "{} at {}", name, end);
            }
        }
    }

    #[test]
    fn growth_is_the_same_with_and_without_a_list_of_resets(
        values in prop::collection::vec(value(), 2..60),
        range in 2i64..40,
    ) {
        let samples: Vec<(i64, f64)> =
            values.iter().enumerate().map(|(place, value)| (place as i64 * 1000, *value)).collect();
        let steps = Steps::new(0, 59_000, 1000);
        let all = run("increase", &samples, steps, range * 1000, &[], "m_total").out;
        for (place, end) in steps.times().enumerate() {
            let own: Vec<(i64, f64)> = samples
                .iter()
                .copied()
                .filter(|(time, _)| *time > end - range * 1000 && *time <= end)
                .collect();
            let mut grown = 0.0;
            if let [first, .., last] = own[..] {
                grown = last.1 - first.1;
                for pair in own.windows(2) {
                    if pair[1].1 < pair[0].1 {
                        grown += pair[0].1;
                    }
                }
            }
            let alone = run("increase", &own, Steps::one(end), range * 1000, &[], "m_total").out[0];
            prop_assert_eq!(all[place].to_bits(), alone.to_bits());
            prop_assert_eq!(grown > 0.0, alone > 0.0);
        }
    }
}

#[test]
fn no_function_over_a_range_panics_on_what_is_no_number() {
    let odd = [NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, f64::MIN, 1.0];
    let samples: Vec<(i64, f64)> = odd
        .iter()
        .chain(odd.iter().rev())
        .enumerate()
        .map(|(place, value)| (place as i64, *value))
        .collect();
    for function in FUNCTIONS {
        let Body::Window(_) = function.body else { continue };
        for scalar in [0.5, NAN, f64::INFINITY, -1.0] {
            for range in [1, 2, 5, 100] {
                let steps = Steps::new(-3, 21, 1);
                run(function.name, &samples, steps, range, &[scalar, scalar], "m");
                run(function.name, &[], steps, range, &[scalar, scalar], "m");
            }
        }
    }
}

#[test]
fn no_function_of_a_value_panics_on_what_is_no_number() {
    for function in FUNCTIONS {
        let Body::Value(body) = function.body else { continue };
        for value in [NAN, f64::INFINITY, -f64::INFINITY, -0.0, 1e300, -1e300, 253_402_300_800.0] {
            body(value, &[1.0, 2.0][..function.args.len().saturating_sub(1)]);
            body(value, &[NAN, NAN][..function.args.len().saturating_sub(1)]);
        }
    }
}

#[test]
fn the_table_is_sorted_for_looking_up() {
    assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
}
