//! What holds of every question, whatever it is: it is read as it is printed, it keeps to its limits,
//! it stops when it is told to, and a step of a range is what is answered at that time.

use std::{cell::Cell, collections::BTreeMap};

use farol_model::Timestamp;
use farol_query::{
    Answer, Data, EvalError, Limits, Metric, Options, Steps, Stop, Type, instant, is_absent, parse,
    pretty, range,
};
use farol_store::Reader;

use crate::{
    generate::{SPAN, START, Source, Tree},
    world::options,
};

const LIMITS: Limits = Limits { samples: 60_000, series: 40, steps: 60 };

/// Panics where something does not hold.
pub(crate) fn ask(reader: &Reader, tree: &Tree, source: &mut Source<'_>) {
    let text = tree.text();
    let expr = parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let printed = expr.to_string();
    for again in [&printed, &pretty(&expr)] {
        let expr = parse(again).unwrap_or_else(|error| panic!("{text}\n{again}\n{error}"));
        assert_eq!(expr.to_string(), printed, "{text}\n{again}");
    }
    // What a difference would be taken apart into.
    for part in tree.smaller().iter().take(10) {
        let part = part.text();
        assert!(parse(&part).is_ok(), "{part}\nof {text}");
    }
    let options = Options { limits: LIMITS, ..options(&text) };
    let start = START + source.below(SPAN as usize / 1000) as i64 * 1000;
    let step = [1, 10_000, 60_000, 300_000, 7_777][source.below(5)];
    let steps = Steps::new(start, start + step * source.below(40) as i64, step);
    let place = source.below(steps.count);
    let at = Timestamp::from_millis(steps.at(place));
    let once = instant(reader, &expr, at, &options);
    within_limits(&text, &once);
    if matches!(expr.type_of(), Type::Scalar | Type::Vector) {
        let all = range(reader, &expr, steps, &options);
        within_limits(&text, &all);
        // Sorting is for instants alone: what is taken or added up after it depends on it.
        let of_the_question = ["start()", "end()", "step()", "range()", "sort"];
        if let (Ok(once), Ok(all)) = (&once, &all)
            && !of_the_question.iter().any(|part| text.contains(part))
        {
            let (once, all) = (values(once, 0), values(all, place));
            assert!(equal(&once, &all), "{text}\nat {at:?} of {steps:?}\n{once:?}\n{all:?}");
        }
    }
    let left = Cell::new(source.below(50));
    let was_told = Cell::new(false);
    let watch = || match left.get() {
        0 => {
            was_told.set(true);
            Some(Stop::Canceled)
        }
        more => {
            left.set(more - 1);
            None
        }
    };
    let stopped = instant(reader, &expr, at, &Options { watch: &watch, ..options });
    assert!(!was_told.get() || stopped.is_err(), "{text}\nwent on");
}

fn within_limits(text: &str, answer: &Result<Answer, EvalError>) {
    let Ok(answer) = answer else { return };
    assert!(answer.stats.peak_samples <= LIMITS.samples, "{text}\n{:?}", answer.stats);
    match &answer.data {
        Data::Vector { samples, .. } => {
            assert!(samples.iter().all(|(_, value)| !is_absent(*value)), "{text}");
            assert!(samples.iter().all(|(metric, _)| !metric.drops_name), "{text}");
        }
        Data::Steps { steps, series } => {
            for series in series {
                assert_eq!(series.values.len(), steps.count, "{text}");
                assert!(series.values.iter().any(|value| !is_absent(*value)), "{text}");
                assert!(!series.metric.drops_name, "{text}");
            }
        }
        Data::Matrix(series) => {
            for (_, points) in series {
                assert!(points.is_sorted_by(|a, b| a.at < b.at), "{text}");
            }
        }
        Data::Scalar { .. } | Data::Text { .. } => {}
    }
}

fn values(answer: &Answer, place: usize) -> BTreeMap<Metric, f64> {
    match &answer.data {
        Data::Scalar { value, .. } => BTreeMap::from([(Metric::default(), *value)]),
        Data::Vector { samples, .. } => samples.iter().cloned().collect(),
        Data::Steps { series, .. } => {
            let at_place =
                series.iter().map(|series| (series.metric.clone(), series.values[place]));
            at_place.filter(|(_, value)| !is_absent(*value)).collect()
        }
        Data::Matrix(_) | Data::Text { .. } => BTreeMap::new(),
    }
}

/// Bit for bit: it is the same computation.
fn equal(a: &BTreeMap<Metric, f64>, b: &BTreeMap<Metric, f64>) -> bool {
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(*a.1, *b.1))
}
