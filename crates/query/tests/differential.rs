//! Random expressions over random series, asked of this evaluator and of Debian's Prometheus 2.42.
//! What the two define otherwise is not asked: `generate::EXCLUDED` and `EXCUSED` say what and why.
//!
//! `FAROL_SEED` repeats a run, `FAROL_EXPRESSIONS` says how many; both are printed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test starts its peer, talks with it, and panics where it fails"
)]

#[path = "common/bounded.rs"]
mod bounded;
#[path = "common/generate.rs"]
mod generate;
#[path = "differential/peer.rs"]
mod peer;
#[path = "common/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use farol_model::Timestamp;
use farol_query::{Answer, Data, Metric, Steps, Type, instant, is_absent, parse, range};
use farol_store::Reader;

use crate::{
    generate::{Dialect, Exactness, SPAN, START, Source, Tree, expression, series},
    peer::Peer,
    world::{World, options},
};

/// What the peer may refuse and this does not, where a selector or `or` brings several names together: names are taken
/// away at the end here, and what is a duplicate there still has its name.
const EXCUSED: &[&str] = &[
    "vector cannot contain metrics with the same labelset",
    "multiple matches for labels: grouping labels must ensure unique matches",
];

/// So many expressions are asked of the same series.
const OF_ONE_WORLD: usize = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_expressions_answer_as_prometheus_does() {
    let is_long = std::env::var_os("FAROL_TORTURE").is_some();
    let count = number("FAROL_EXPRESSIONS").unwrap_or(if is_long { 20_000 } else { 1000 }) as usize;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = number("FAROL_SEED").unwrap_or(u64::from(now.subsec_nanos()));
    println!("FAROL_SEED={seed} FAROL_EXPRESSIONS={count}");
    let most = number("FAROL_DIFFERENCES").unwrap_or(1) as usize;
    let mut differences = Vec::new();
    let mut tally = Tally::default();
    let mut done = 0;
    while done < count && differences.len() < most {
        let mut source = Source::seeded(seed.wrapping_add(done as u64));
        let lines = series(&mut source);
        let peer = Peer::start(&lines);
        let world = World::new(&lines);
        let mut bench = Bench { peer, reader: world.reader(), tally: Tally::default() };
        for _ in 0..OF_ONE_WORLD.min(count - done) {
            let tree = expression(&mut source, Dialect::Shared);
            let when = when(&mut source);
            if let Err(difference) = bench.compare(&tree, when) {
                let text = bench.shrunk(tree, when, difference);
                println!("{text}");
                differences.push(text);
                if differences.len() >= most {
                    break;
                }
            }
        }
        tally.add(&bench.tally);
        done += OF_ONE_WORLD;
    }
    println!("{tally:?}");
    assert!(
        differences.is_empty(),
        "FAROL_SEED={seed} FAROL_EXPRESSIONS={count}\n{}",
        differences.join("\n")
    );
    // Nothing that answers nothing would ever differ.
    assert!(tally.with_values * 3 > tally.asked, "too many answers are empty: {tally:?}");
}

/// The whole language, asked of this evaluator alone; the fuzz target `promql_eval` does the same.
#[test]
fn whatever_is_asked_keeps_to_its_limits_and_a_step_is_its_instant() {
    let is_long = std::env::var_os("FAROL_TORTURE").is_some();
    let count = if is_long { 100_000 } else { 3000 };
    let seed = number("FAROL_SEED").unwrap_or(1);
    let mut world = World::new(&[]);
    for n in 0..count {
        let mut source = Source::seeded(seed.wrapping_mul(1_000_003).wrapping_add(n));
        if n % 500 == 0 {
            world = World::new(&series(&mut source));
        }
        // Half of them as a fuzzer would: from bytes that end.
        let bytes: Vec<u8> = (0..source.below(200)).map(|_| source.below(256) as u8).collect();
        let mut source = if n % 2 == 0 { source } else { Source::of(&bytes) };
        let tree = expression(&mut source, Dialect::Whole);
        bounded::ask(&world.reader(), &tree, &mut source);
    }
}

#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    with_values: usize,
    both_fail: usize,
    excused: usize,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.asked += other.asked;
        self.with_values += other.with_values;
        self.both_fail += other.both_fail;
        self.excused += other.excused;
    }
}

#[derive(Clone, Copy, Debug)]
struct When {
    start: i64,
    step: i64,
    count: usize,
}

/// Three seconds past a multiple of ten: no sample, and no step of a subquery, is on a window's edge.
fn when(source: &mut Source<'_>) -> When {
    let start =
        START + 3000 + source.below(usize::try_from(SPAN / 10_000).unwrap()) as i64 * 10_000;
    let step = [10, 30, 60, 300][source.below(4)] * 1000;
    When { start, step, count: 2 + source.below(30) }
}

type Points = Vec<(i64, f64)>;
/// Series by their labels as text; a scalar is one without any.
pub(crate) type Found = BTreeMap<String, Points>;

struct Bench {
    peer: Peer,
    reader: Reader,
    tally: Tally,
}

impl Bench {
    /// At the first step, and over all of them.
    fn compare(&mut self, tree: &Tree, when: When) -> Result<(), String> {
        let text = tree.text();
        self.compare_at(&text, tree, when, true)?;
        if tree.kind != Type::Matrix {
            self.compare_at(&text, tree, when, false)?;
        }
        Ok(())
    }

    fn compare_at(
        &mut self,
        text: &str,
        tree: &Tree,
        when: When,
        at_once: bool,
    ) -> Result<(), String> {
        // Renamed since.
        let theirs = text.replace("double_exponential_smoothing", "holt_winters");
        let end = when.start + when.step * (when.count as i64 - 1);
        let theirs = match at_once {
            true => self.peer.instant(&theirs, when.start),
            false => self.peer.range(&theirs, when.start, end, when.step),
        };
        let ours = self.ours(text, when, end, at_once);
        self.tally.asked += 1;
        let story = if at_once { "at once" } else { "over all steps" };
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                self.tally.with_values += usize::from(!theirs.is_empty());
                match same(&ours, &theirs, tree.exactness) {
                    true => Ok(()),
                    false => Err(differing(story, &ours, &theirs)),
                }
            }
            (Err(_), Err(_)) => {
                self.tally.both_fail += 1;
                Ok(())
            }
            (Ok(_), Err(error)) if is_excused(text, &error) => {
                self.tally.excused += 1;
                Ok(())
            }
            (Ok(ours), Err(error)) => {
                Err(format!("{story} Prometheus fails: {error}\n  here:\n{}", shown(&ours)))
            }
            (Err(error), Ok(theirs)) => {
                Err(format!("{story} this fails: {error}\n  Prometheus:\n{}", shown(&theirs)))
            }
        }
    }

    fn ours(&self, text: &str, when: When, end: i64, at_once: bool) -> Result<Found, String> {
        let expr = parse(text).map_err(|error| error.to_string())?;
        let options = options(text);
        let answer = match at_once {
            true => instant(&self.reader, &expr, Timestamp::from_millis(when.start), &options),
            false => {
                let steps = Steps::new(when.start, end, when.step);
                range(&self.reader, &expr, steps, &options)
            }
        };
        answer.map(|answer| found(&answer)).map_err(|error| error.to_string())
    }

    /// The smallest part that still differs.
    fn shrunk(&mut self, tree: Tree, when: When, difference: String) -> String {
        let whole = tree.text();
        let (mut tree, mut difference) = (tree, difference);
        for _ in 0..50 {
            let next = tree.smaller().into_iter().take(300).find_map(|smaller| {
                if smaller.kind == Type::Text || smaller.text().len() >= tree.text().len() {
                    return None;
                }
                let difference = self.compare(&smaller, when).err()?;
                Some((smaller, difference))
            });
            let Some(next) = next else { break };
            (tree, difference) = next;
        }
        let at = when.start as f64 / 1000.0;
        let step = when.step / 1000;
        let mut text = format!("{whole}\nshrunk to\n{}\n", tree.text());
        write!(text, "time {at} step {step} count {}\n{difference}", when.count).unwrap();
        text
    }
}

fn is_excused(text: &str, error: &str) -> bool {
    let has_several_names = text.contains("__name__=~") || text.contains(" or ");
    has_several_names && EXCUSED.iter().any(|part| error.contains(part))
}

fn found(answer: &Answer) -> Found {
    let mut found = Found::new();
    match &answer.data {
        Data::Scalar { at, value } => drop(found.insert("{}".to_owned(), vec![(*at, *value)])),
        Data::Text { .. } => {}
        Data::Vector { at, samples } => {
            for (metric, value) in samples {
                found.insert(key(metric), vec![(*at, *value)]);
            }
        }
        Data::Matrix(series) => {
            for (metric, points) in series {
                let points = points.iter().map(|point| (point.at.as_millis(), point.value));
                found.insert(key(metric), points.collect());
            }
        }
        Data::Steps { steps, series } => {
            for series in series {
                let points = steps.times().zip(series.values.iter().copied());
                let points = points.filter(|(_, value)| !is_absent(*value));
                found.insert(key(&series.metric), points.collect());
            }
        }
    }
    found
}

fn key(metric: &Metric) -> String {
    let mut labels: Vec<(&str, &str)> =
        metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if !metric.name.is_empty() {
        labels.push(("__name__", &metric.name));
    }
    labels_text(labels)
}

pub(crate) fn labels_text(mut labels: Vec<(&str, &str)>) -> String {
    labels.sort_unstable();
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(","))
}

fn same(ours: &Found, theirs: &Found, exactness: Exactness) -> bool {
    let values = theirs.values().flatten().map(|(_, value)| value.abs());
    let largest = values.filter(|value| value.is_finite()).fold(1.0, f64::max);
    let near = |a: f64, b: f64| match exactness {
        _ if a == b || (a.is_nan() && b.is_nan()) => true,
        Exactness::Exact | Exactness::Same => false,
        // What is left of a difference of large numbers is as exact as these.
        Exactness::Loose => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-12 * largest,
    };
    let points_near = |a: &Points, b: &Points| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| a.0 == b.0 && points_near(a.1, b.1))
}

/// Of series that differ.
fn differing(story: &str, ours: &Found, theirs: &Found) -> String {
    let only = |a: &Found, b: &Found| -> Found {
        let differs = |(key, points): &(&String, &Points)| {
            b.get(*key).is_none_or(|other| format!("{other:?}") != format!("{points:?}"))
        };
        a.iter()
            .filter(differs)
            .map(|(key, points)| (key.clone(), points.clone()))
            .take(3)
            .collect()
    };
    format!(
        "{story}: {} series here, {} there\n  here:\n{}  Prometheus:\n{}",
        ours.len(),
        theirs.len(),
        shown(&only(ours, theirs)),
        shown(&only(theirs, ours))
    )
}

fn shown(found: &Found) -> String {
    let mut text = String::new();
    for (labels, points) in found.iter().take(5) {
        write!(text, "    {labels}").unwrap();
        for (at, value) in points.iter().take(40) {
            write!(text, " {value}@{}", *at as f64 / 1000.0).unwrap();
        }
        text.push('\n');
    }
    text
}
