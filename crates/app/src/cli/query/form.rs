//! The forms that an answer can have at the terminal.

use std::collections::BTreeSet;

use farol_model::{Labels, Text, Timestamp};
use farol_query::{Answer, Data, Metric, is_absent, print_number};
use farol_web::{Cost, data_of};

use super::super::Out;
use crate::clock;

mod spark;

#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// A line for each value.
    Table,
    /// `data` of the HTTP API's answer, byte for byte.
    Json,
    /// `time,value` and a column for each label.
    Csv,
    /// A line for each series.
    Spark { width: usize },
}

impl Form {
    /// `width` is that of the terminal.
    pub(super) fn of(name: &str, width: Option<usize>) -> Form {
        match name {
            "json" => Form::Json,
            "csv" => Form::Csv,
            "spark" => Form::Spark { width: width.unwrap_or(WIDTH_ELSEWHERE) },
            _ => Form::Table,
        }
    }

    /// Only JSON has a place for what the question has cost.
    pub(super) fn write(self, answer: &Answer, cost: Option<Cost>, out: &mut Out) {
        match (self, &answer.data) {
            (Form::Json, _) => {
                out.bytes(&data_of(answer, cost));
                out.line("");
            }
            (Form::Table, Data::Scalar { value, .. }) => out.line(number(*value)),
            (Form::Table, Data::Text { text, .. }) => out.line(plain(text)),
            (Form::Table, data) => table(data, out),
            (Form::Csv, data) => csv(data, out),
            (Form::Spark { width }, Data::Steps { series, .. }) => {
                let lines: Vec<_> =
                    series.iter().map(|one| (&one.values[..], name_of(&one.metric))).collect();
                spark::lines(&lines, width, |line| out.line(line));
            }
            (Form::Spark { .. }, data) => table(data, out),
        }
    }
}

/// Where no terminal says how wide it is.
const WIDTH_ELSEWHERE: usize = 100;

pub(super) fn is_empty(data: &Data) -> bool {
    match data {
        Data::Scalar { .. } | Data::Text { .. } => false,
        Data::Vector { samples, .. } => samples.is_empty(),
        Data::Matrix(series) => series.is_empty(),
        Data::Steps { series, .. } => series.is_empty(),
    }
}

/// Each value with its series and time, in the answer's order.
fn each_value(data: &Data, mut each: impl FnMut(usize, &Metric, i64, f64)) {
    match data {
        Data::Scalar { at, value } => each(0, &Metric::default(), *at, *value),
        Data::Text { .. } => {}
        Data::Vector { at, samples } => {
            for (place, (metric, value)) in samples.iter().enumerate() {
                each(place, metric, *at, *value);
            }
        }
        Data::Matrix(series) => {
            for (place, (metric, points)) in series.iter().enumerate() {
                for point in points {
                    each(place, metric, point.at.as_millis(), point.value);
                }
            }
        }
        Data::Steps { steps, series } => {
            for (place, one) in series.iter().enumerate() {
                for (at, value) in steps.times().zip(&one.values) {
                    if !is_absent(*value) {
                        each(place, &one.metric, at, *value);
                    }
                }
            }
        }
    }
}

fn metrics(data: &Data) -> Vec<&Metric> {
    match data {
        Data::Scalar { .. } | Data::Text { .. } => Vec::new(),
        Data::Vector { samples, .. } => samples.iter().map(|(metric, _)| metric).collect(),
        Data::Matrix(series) => series.iter().map(|(metric, _)| metric).collect(),
        Data::Steps { series, .. } => series.iter().map(|one| &one.metric).collect(),
    }
}

/// The value comes before the series, whose name may be longer than the line.
fn table(data: &Data, out: &mut Out) {
    if is_empty(data) {
        return;
    }
    let mut widest = VALUE.len();
    each_value(data, |_, _, _, value| widest = widest.max(number(value).len()));
    let names: Vec<String> = metrics(data).into_iter().map(name_of).collect();
    let has_times = !matches!(data, Data::Vector { .. });
    // What stands under it is as wide as every time is.
    let time = |text: &str| if has_times { format!("{text:TIME_WIDTH$}  ") } else { String::new() };
    out.line(format!("{}{VALUE:>widest$}  SERIES", time("TIME")));
    each_value(data, |place, _, at, value| {
        let at = if has_times { time(&written(at)) } else { String::new() };
        let name = names.get(place).map_or("", String::as_str);
        out.line(format!("{at}{:>widest$}  {name}", number(value)).trim_end());
    });
}

const VALUE: &str = "VALUE";
const TIME_WIDTH: usize = "2026-11-22T10:15:00.250Z".len();

fn csv(data: &Data, out: &mut Out) {
    if let Data::Text { at, text } = data {
        out.line("time,value");
        out.line(format!("{},{}", written(*at), field(text)));
        return;
    }
    let metrics = metrics(data);
    let has_names = metrics.iter().any(|one| !name(one).is_empty());
    let labels: BTreeSet<&Text> =
        metrics.iter().flat_map(|metric| metric.labels.iter()).map(|(label, _)| label).collect();
    let columns: Vec<&str> = has_names
        .then_some(NAME)
        .into_iter()
        .chain(labels.iter().map(|text| text.as_str()))
        .collect();
    let mut head = String::from("time,value");
    for column in &columns {
        head.push(',');
        head.push_str(&field(column));
    }
    out.line(head);
    let mut series = (usize::MAX, String::new());
    each_value(data, |place, metric, at, value| {
        if series.0 != place {
            series.0 = place;
            series.1.clear();
            for column in &columns {
                series.1.push(',');
                let value = if *column == NAME { name(metric) } else { metric.get(column) };
                series.1.push_str(&field(value));
            }
        }
        out.line(format!("{},{}{}", written(at), number(value), series.1));
    });
}

const NAME: &str = "__name__";

/// In quotes where it must be, with quotes doubled.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn written(millis: i64) -> String {
    clock::rfc3339(Timestamp::from_millis(millis))
}

fn number(value: f64) -> String {
    let mut bytes = Vec::new();
    print_number(value, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is left of it at the end.
fn name(metric: &Metric) -> &str {
    if metric.drops_name { "" } else { &metric.name }
}

/// As PromQL would select it, and nothing by which a foreign label could steer the terminal.
fn name_of(metric: &Metric) -> String {
    let mut text = String::new();
    let name = name(metric);
    let is_plain = is_name(name, ':');
    if is_plain {
        text.push_str(name);
    }
    let quoted = (!is_plain && !name.is_empty()).then(|| quoted(name));
    let labels = labels_of(&metric.labels);
    let parts: Vec<String> = quoted.into_iter().chain(labels).collect();
    if !parts.is_empty() || text.is_empty() {
        text.push('{');
        text.push_str(&parts.join(","));
        text.push('}');
    }
    text
}

fn labels_of(labels: &Labels) -> impl Iterator<Item = String> {
    labels.iter().map(|(label, value)| match is_name(label, '_') {
        true => format!("{label}={}", quoted(value)),
        false => format!("{}={}", quoted(label), quoted(value)),
    })
}

fn is_name(text: &str, also: char) -> bool {
    let is_in_name = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == also;
    !text.is_empty()
        && !text.starts_with(|char: char| char.is_ascii_digit())
        && text.chars().all(is_in_name)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Characters that a terminal would obey are written as escapes.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => plain.push_str("\\n"),
            '\t' => plain.push_str("\\t"),
            '\r' => plain.push_str("\\r"),
            char if char.is_control() => plain.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => plain.push(char),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_named_as_they_would_be_selected() {
        let named = |name: &str, labels| name_of(&Metric::new(name.into(), labels));
        assert_eq!(named("up", Labels::empty()), "up");
        assert_eq!(named("", Labels::empty()), "{}");
        assert_eq!(named("", Labels::from([("a", "b")])), "{a=\"b\"}");
        assert_eq!(
            named("a:b", Labels::from([("b.c", "x\"y\\z\n"), ("d", "\u{1b}[2J")])),
            "a:b{\"b.c\"=\"x\\\"y\\\\z\\n\",d=\"\\u001b[2J\"}"
        );
        assert_eq!(named("my.name", Labels::from([("a", "b")])), "{\"my.name\",a=\"b\"}");
    }

    #[test]
    fn a_field_stands_in_quotes_only_where_it_must() {
        assert_eq!(field("a b"), "a b");
        assert_eq!(field("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
