//! Carries out a file's commands and compares.

use std::fmt::Write as _;

use farol_model::Timestamp;
use farol_query::{
    Answer, Data, EvalError, Expr, Level, Metric, Steps, Type, instant, is_absent, parse, pretty,
    range,
};
use farol_store::Reader;

use crate::{
    script::{Command, Eval, Expected, Row, Values, When},
    world::{Line, World, options},
};

/// How many cases there were.
pub(crate) fn run(name: &str, commands: &[Command], failures: &mut Vec<String>) -> usize {
    let mut lines: Vec<Line> = Vec::new();
    let mut world = World::new(&lines);
    let mut cases = 0;
    for command in commands {
        match command {
            Command::Clear => lines.clear(),
            Command::Load(more) => {
                lines.extend_from_slice(more);
                world = World::new(&lines);
            }
            Command::Eval(eval) => {
                cases += 1;
                if lines.is_empty() {
                    world = World::new(&lines);
                }
                if let Err(problem) = case(&world.reader(), eval) {
                    failures.push(format!("{name}:{}: {}\n{problem}", eval.line, eval.expr));
                }
            }
        }
    }
    cases
}

fn case(reader: &Reader, eval: &Eval) -> Result<(), String> {
    let expr = match parse(&eval.expr) {
        Ok(expr) => expr,
        Err(error) => return failure(eval, &error.to_string()),
    };
    let answer = match ask(reader, &expr, &eval.expr, eval.when) {
        Ok(answer) => answer,
        Err(error) => return failure(eval, &error.to_string()),
    };
    compare(eval, &answer)?;
    for (how, text) in [("printed", expr.to_string()), ("laid out", pretty(&expr))] {
        let again = parse(&text).map_err(|error| format!("  {how} as\n{text}\n  it is {error}"))?;
        let answer = ask(reader, &again, &text, eval.when)
            .map_err(|error| format!("  {how} as\n{text}\n  it fails: {error}"))?;
        values_only(eval, &answer).map_err(|error| format!("  {how} as\n{text}\n{error}"))?;
    }
    if let When::At(at) = eval.when {
        in_a_range(reader, &expr, eval, at)?;
    }
    Ok(())
}

fn ask(reader: &Reader, expr: &Expr, text: &str, when: When) -> Result<Answer, EvalError> {
    match when {
        When::At(at) => instant(reader, expr, Timestamp::from_millis(at), &options(text)),
        When::Range { start, end, step } => {
            range(reader, expr, Steps::new(start, end, step), &options(text))
        }
    }
}

fn failure(eval: &Eval, error: &str) -> Result<(), String> {
    match &eval.expected {
        Expected::Failure(part) if error.contains(part) => Ok(()),
        Expected::Failure(part) => Err(format!("  expected to fail with: {part}\n  came: {error}")),
        _ => Err(format!("  failed: {error}")),
    }
}

fn compare(eval: &Eval, answer: &Answer) -> Result<(), String> {
    values_only(eval, answer)?;
    let came: Vec<(&str, &str)> =
        answer.notes.iter().map(|note| (level(note.level), note.text.as_str())).collect();
    let is_expected = |(level, text): &(&str, &str)| {
        eval.notes.iter().any(|(want, part)| want == level && text.contains(part.as_str()))
    };
    let has_come = |(want, part): &(String, String)| {
        came.iter().any(|(level, text)| want == level && text.contains(part.as_str()))
    };
    if came.iter().all(is_expected) && eval.notes.iter().all(has_come) {
        return Ok(());
    }
    Err(format!("  expected the remarks {:?}\n  came: {came:?}", eval.notes))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Warning => "warn",
        Level::Info => "info",
    }
}

/// A series of an answer, in the same shape for every kind of answer.
type Found = (Vec<(String, String)>, Vec<(i64, f64)>);

fn values_only(eval: &Eval, answer: &Answer) -> Result<(), String> {
    let rows = match (&eval.expected, &answer.data) {
        (Expected::Scalar(want), Data::Scalar { value, .. }) if same(*want, *value) => {
            return Ok(());
        }
        (Expected::Text(want), Data::Text { text, .. }) if want == text.as_str() => return Ok(()),
        (Expected::Series(rows), Data::Vector { .. } | Data::Matrix(_) | Data::Steps { .. }) => {
            rows
        }
        (want, came) => return Err(format!("  expected {want:?}\n  came: {came:?}")),
    };
    let mut want: Vec<Found> = rows.iter().map(|row| wanted(eval, row)).collect();
    let mut came = found(&answer.data);
    if let Data::Steps { .. } = &answer.data
        && !came.is_sorted_by(|a, b| key(&a.0) < key(&b.0))
    {
        return Err(format!("  series out of order:\n{}", shown(&came)));
    }
    if !eval.is_ordered {
        want.sort_by(|a, b| a.0.cmp(&b.0));
        came.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let equal = want.len() == came.len()
        && want
            .iter()
            .zip(&came)
            .all(|(want, came)| want.0 == came.0 && points_same(&want.1, &came.1));
    match equal {
        true => Ok(()),
        false => Err(format!("  expected:\n{}  came:\n{}", shown(&want), shown(&came))),
    }
}

/// A series without a name comes before those that have one.
fn key(labels: &[(String, String)]) -> (&str, Vec<&(String, String)>) {
    let name = labels.iter().find(|(label, _)| label == "__name__");
    (
        name.map_or("", |(_, name)| name),
        labels.iter().filter(|(label, _)| label != "__name__").collect(),
    )
}

fn wanted(eval: &Eval, row: &Row) -> Found {
    let times: Vec<i64> = match eval.when {
        When::At(at) => vec![at],
        When::Range { start, end, step } => Steps::new(start, end, step).times().collect(),
    };
    let points = match &row.values {
        Values::Points(points) => points.clone(),
        Values::Steps(values) => {
            // One too many is a mistake in the file, and must not be equal to anything.
            let times = times.iter().copied().chain([i64::MAX; 3]);
            times.zip(values.iter().copied()).filter(|(_, value)| !is_absent(*value)).collect()
        }
    };
    (row.labels.clone(), points)
}

fn found(data: &Data) -> Vec<Found> {
    match data {
        Data::Vector { at, samples } => {
            samples.iter().map(|(metric, value)| (labels(metric), vec![(*at, *value)])).collect()
        }
        Data::Matrix(series) => series
            .iter()
            .map(|(metric, points)| {
                let points = points.iter().map(|point| (point.at.as_millis(), point.value));
                (labels(metric), points.collect())
            })
            .collect(),
        Data::Steps { steps, series } => series
            .iter()
            .map(|series| {
                assert_eq!(series.values.len(), steps.count, "a value for each step");
                let points = steps.times().zip(series.values.iter().copied());
                (labels(&series.metric), points.filter(|(_, value)| !is_absent(*value)).collect())
            })
            .collect(),
        Data::Scalar { .. } | Data::Text { .. } => Vec::new(),
    }
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    let owned = |(name, value): (&farol_model::Text, &farol_model::Text)| {
        (name.as_str().to_owned(), value.as_str().to_owned())
    };
    let mut labels: Vec<_> = metric.labels.iter().map(owned).collect();
    if !metric.name.is_empty() {
        labels.push(("__name__".to_owned(), metric.name.as_str().to_owned()));
    }
    labels.sort();
    labels
}

fn points_same(a: &[(i64, f64)], b: &[(i64, f64)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
}

/// NaN is NaN; otherwise equal but for the last digits, which the order of a sum decides.
fn same(a: f64, b: f64) -> bool {
    assert!(!is_absent(a) && !is_absent(b), "what is not there is left out");
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

fn shown(found: &[Found]) -> String {
    let mut text = String::new();
    if found.is_empty() {
        text.push_str("    nothing\n");
    }
    for (labels, points) in found {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(text, "    {{{}}}", labels.join(",")).unwrap();
        for (at, value) in points {
            write!(text, " {value}@{}", *at as f64 / 1000.0).unwrap();
        }
        text.push('\n');
    }
    text
}

/// What is true at a time is true at that step of a range, whatever comes before and after it.
fn in_a_range(reader: &Reader, expr: &Expr, eval: &Eval, at: i64) -> Result<(), String> {
    let depends_on_the_question = ["start()", "end()", "step()", "range()"];
    if !matches!(expr.type_of(), Type::Scalar | Type::Vector)
        || depends_on_the_question.iter().any(|part| eval.expr.contains(part))
    {
        return Ok(());
    }
    let steps = Steps::new(at - 60_000, at + 60_000, 60_000);
    let answer = range(reader, expr, steps, &options(&eval.expr))
        .map_err(|error| format!("  over three steps it fails: {error}"))?;
    let mut came = found(&answer.data);
    for (_, points) in &mut came {
        points.retain(|(time, _)| *time == at);
    }
    came.retain(|(_, points)| !points.is_empty());
    let mut want = match &eval.expected {
        Expected::Series(rows) => rows.iter().map(|row| wanted(eval, row)).collect(),
        Expected::Scalar(value) => vec![(Vec::new(), vec![(at, *value)])],
        Expected::Text(_) | Expected::Failure(_) => return Ok(()),
    };
    want.sort_by(|a, b| a.0.cmp(&b.0));
    came.sort_by(|a, b| a.0.cmp(&b.0));
    let equal = want.len() == came.len()
        && want
            .iter()
            .zip(&came)
            .all(|(want, came)| want.0 == came.0 && points_same(&want.1, &came.1));
    match equal {
        true => Ok(()),
        false => Err(format!(
            "  as the middle of three steps, expected:\n{}  came:\n{}",
            shown(&want),
            shown(&came)
        )),
    }
}
