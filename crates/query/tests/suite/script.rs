//! Reads a file of the suite into commands; knows nothing of how they are carried out.

use farol_query::ABSENT;

use crate::world::Line;

#[derive(Debug)]
pub(crate) enum Command {
    Clear,
    Load(Vec<Line>),
    Eval(Eval),
}

#[derive(Debug)]
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) when: When,
    pub(crate) expr: String,
    pub(crate) expected: Expected,
    pub(crate) is_ordered: bool,
    /// The remarks that come with the answer, all of them: `warn` or `info`, and a part of the text.
    pub(crate) notes: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Debug)]
pub(crate) enum Expected {
    /// A part of the message.
    Failure(String),
    Scalar(f64),
    Text(String),
    Series(Vec<Row>),
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) values: Values,
}

#[derive(Debug)]
pub(crate) enum Values {
    /// One a step.
    Steps(Vec<f64>),
    /// `1@30s`: samples with their times in milliseconds.
    Points(Vec<(i64, f64)>),
}

/// Every error has the file and the line.
pub(crate) fn read(name: &str, text: &str) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let failed = |problem: String| format!("{name}:{}: {problem}", at + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut block = Vec::new();
        while let Some((at, line)) = lines.next_if(|(_, line)| line.starts_with(' ')) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with("# ") {
                block.push((at + 1, line));
            }
        }
        let command = match line.split_once(' ').unwrap_or((line, "")) {
            ("clear", "") => Command::Clear,
            ("load", rest) => load(rest, &block).map_err(failed)?,
            ("eval", rest) => Command::Eval(eval(at + 1, rest, &block).map_err(failed)?),
            _ => return Err(failed(format!("no command: {line}"))),
        };
        commands.push(command);
    }
    Ok(commands)
}

fn load(rest: &str, block: &[(usize, &str)]) -> Result<Command, String> {
    let (step, from) = match rest.split_once(" from ") {
        Some((step, from)) => (duration(step)?, duration(from)?),
        None => (duration(rest)?, 0),
    };
    let mut lines = Vec::new();
    for (at, line) in block {
        let in_line = |problem: String| format!("(line {at}) {problem}");
        let (labels, rest) = metric(line).map_err(in_line)?;
        let values = values(rest).map_err(in_line)?;
        let times = (0..).map(|place: i64| from + place * step);
        // `_` is no sample; a stale marker is one.
        let samples = times.zip(values).filter_map(|(at, value)| Some((at, value.sample()?)));
        lines.push(Line { labels, samples: samples.collect() });
    }
    Ok(Command::Load(lines))
}

fn eval(line: usize, rest: &str, block: &[(usize, &str)]) -> Result<Eval, String> {
    let (when, expr) = when(rest)?;
    let mut expr = expr.to_owned();
    let mut is_ordered = false;
    let mut notes = Vec::new();
    let mut expected = None;
    let mut rows = Vec::new();
    for (at, line) in block {
        let in_line = |problem: String| format!("(line {at}) {problem}");
        if let Some(more) = line.strip_prefix("| ") {
            expr.push('\n');
            expr.push_str(more);
        } else if let Some(what) = line.strip_prefix("expect ") {
            match what.split_once(' ').unwrap_or((what, "")) {
                ("ordered", "") => is_ordered = true,
                ("fail", rest) => {
                    let part = rest.strip_prefix("msg:").unwrap_or(rest).trim();
                    expected = Some(Expected::Failure(part.to_owned()));
                }
                (level @ ("warn" | "info"), rest) => {
                    let part = rest.strip_prefix("msg:").unwrap_or(rest).trim();
                    notes.push((level.to_owned(), part.to_owned()));
                }
                _ => return Err(in_line(format!("cannot expect `{what}`"))),
            }
        } else if line.starts_with('"') {
            let (text, _) = quoted(line).map_err(in_line)?;
            expected = Some(Expected::Text(text));
        } else if let Some(value) = number(line) {
            expected = Some(Expected::Scalar(value));
        } else {
            rows.push(row(line).map_err(in_line)?);
        }
    }
    let expected = expected.unwrap_or(Expected::Series(rows));
    Ok(Eval { line, when, expr, expected, is_ordered, notes })
}

fn when(rest: &str) -> Result<(When, &str), String> {
    let mut words = rest.splitn(2, ' ');
    let kind = words.next().unwrap_or("");
    let rest = words.next().unwrap_or("");
    let word = |rest: &'_ str| -> Result<(String, usize), String> {
        let end = rest.find(' ').ok_or("the question is cut short")?;
        Ok((rest[..end].to_owned(), end + 1))
    };
    match kind {
        "instant" => {
            let rest = rest.strip_prefix("at ").ok_or("expected `at TIME`")?;
            let (at, len) = word(rest)?;
            Ok((When::At(duration(&at)?), &rest[len..]))
        }
        "range" => {
            let rest = rest.strip_prefix("from ").ok_or("expected `from TIME`")?;
            let (start, len) = word(rest)?;
            let rest = rest[len..].strip_prefix("to ").ok_or("expected `to TIME`")?;
            let (end, len) = word(rest)?;
            let rest = rest[len..].strip_prefix("step ").ok_or("expected `step DURATION`")?;
            let (step, len) = word(rest)?;
            let (start, end, step) = (duration(&start)?, duration(&end)?, duration(&step)?);
            Ok((When::Range { start, end, step }, &rest[len..]))
        }
        _ => Err(format!("expected `instant` or `range`, not `{kind}`")),
    }
}

fn row(line: &str) -> Result<Row, String> {
    let (labels, rest) = metric(line)?;
    if rest.contains('@') {
        let point = |word: &str| {
            let (value, at) = word.split_once('@').ok_or(format!("no time in `{word}`"))?;
            let value = number(value).ok_or(format!("no number: {value}"))?;
            Ok((duration(at)?, value))
        };
        let points = rest.split_whitespace().map(point).collect::<Result<_, String>>()?;
        return Ok(Row { labels, values: Values::Points(points) });
    }
    let steps = values(rest)?.into_iter().map(|value| value.sample().unwrap_or(ABSENT));
    Ok(Row { labels, values: Values::Steps(steps.collect()) })
}

/// `name{label="value",…}` and what comes after it. The name may stand in the braces, quoted.
fn metric(line: &str) -> Result<(Vec<(String, String)>, &str), String> {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if !name.is_empty() {
        labels.push(("__name__".to_owned(), name.to_owned()));
    }
    let Some(inside) = rest.strip_prefix('{') else { return Ok((labels, rest)) };
    rest = inside;
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            return Ok((labels, after));
        }
        let (label, after) = match rest.starts_with('"') {
            true => quoted(rest)?,
            false => {
                let end = rest.find('=').ok_or("expected `label=`")?;
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        match after.strip_prefix('=') {
            Some(after) => {
                let (value, after) = quoted(after)?;
                labels.push((label, value));
                rest = after;
            }
            None => {
                labels.push(("__name__".to_owned(), label));
                rest = after;
            }
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let inside = text.strip_prefix('"').ok_or(format!("expected a quoted text: {text}"))?;
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &inside[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(format!("a quote is open: {text}"))
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Missing,
    Stale,
    Value(f64),
}

impl Item {
    fn sample(self) -> Option<f64> {
        match self {
            Item::Missing => None,
            Item::Stale => Some(ABSENT),
            Item::Value(value) => Some(value),
        }
    }
}

/// `1 2 _ _x3 stale NaN 0+10x10 5x2`: `x10` says ten more.
fn values(text: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for word in text.split_whitespace() {
        if let Some(times) = word.strip_prefix("_x") {
            let times: usize = times.parse().map_err(|_| format!("how many times: {word}"))?;
            items.extend(vec![Item::Missing; times]);
            continue;
        }
        match word {
            "_" => items.push(Item::Missing),
            "stale" => items.push(Item::Stale),
            _ => items.extend(progression(word)?.into_iter().map(Item::Value)),
        }
    }
    Ok(items)
}

fn progression(word: &str) -> Result<Vec<f64>, String> {
    let wrong = || format!("no value: {word}");
    let split = word.rsplit_once('x').filter(|(start, _)| *start != "0" && !start.is_empty());
    let Some((start, times)) = split else { return Ok(vec![number(word).ok_or_else(wrong)?]) };
    let times: u32 = times.parse().map_err(|_| wrong())?;
    // The sign between the two is not the first one's, nor that of an exponent.
    let place = start
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !start[..*at].ends_with('e'));
    let (first, growth) = match place {
        Some((at, _)) => (&start[..at], &start[at..]),
        None => (start, "0"),
    };
    let first = number(first).ok_or_else(wrong)?;
    let growth = number(growth).ok_or_else(wrong)?;
    Ok((0..=times).map(|n| if n == 0 { first } else { first + growth * f64::from(n) }).collect())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Inf" | "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.contains(['i', 'n', 'I', 'N']) => None,
        _ => text.parse().ok(),
    }
}

/// Milliseconds of `1h5m`, of plain seconds (`90`, `0.5`), or of either with a sign.
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("no duration: {text}");
    if let Some(text) = text.strip_prefix('-') {
        return Ok(-duration(text)?);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let mut millis = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let length = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        millis += count * length;
        rest = &rest[unit..];
    }
    Ok(millis)
}
