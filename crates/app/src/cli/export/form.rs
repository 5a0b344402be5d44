//! The forms that an export can have: series with their samples to text.

use farol_store::{Point, SeriesKey};
use farol_wire::exposition::{Format, HistoryEncoder, end, write_label_set, write_value};
use serde_json::{Map, Value};

use crate::clock;

#[derive(Debug)]
pub(super) enum Form {
    OpenMetrics(HistoryEncoder),
    /// `name,labels,timestamp,value`.
    Csv,
    /// As VictoriaMetrics' `/api/v1/export` writes and `/api/v1/import` reads.
    JsonLines,
}

impl Form {
    pub(super) fn of(name: &str) -> Form {
        match name {
            "csv" => Form::Csv,
            "jsonl" => Form::JsonLines,
            _ => Form::OpenMetrics(HistoryEncoder::new(farol_collect::describe)),
        }
    }

    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        match self {
            Form::Csv => out.extend_from_slice(b"name,labels,timestamp,value\n"),
            Form::OpenMetrics(_) | Form::JsonLines => {}
        }
    }

    /// Some of a series' samples; the series are given in their order, and so are the samples.
    pub(super) fn piece(&mut self, series: &SeriesKey, points: &[Point], out: &mut Vec<u8>) {
        match self {
            Form::OpenMetrics(encoder) => {
                encoder.begin(&series.name, &series.labels, out);
                for point in points {
                    encoder.sample(point.at, point.value, out);
                }
            }
            Form::Csv => csv_rows(series, points, out),
            Form::JsonLines => json_line(series, points, out),
        }
    }

    pub(super) fn end(&self, out: &mut Vec<u8>) {
        match self {
            Form::OpenMetrics(_) => end(Format::OpenMetrics, out),
            Form::Csv | Form::JsonLines => {}
        }
    }
}

/// A field with quotes in it stands in quotes, and its own are doubled.
fn csv_rows(series: &SeriesKey, points: &[Point], out: &mut Vec<u8>) {
    let mut labels = Vec::new();
    write_label_set(&series.labels, &mut labels);
    let mut head = series.name.as_bytes().to_vec();
    head.push(b',');
    if !labels.is_empty() {
        head.push(b'"');
        for byte in labels {
            head.push(byte);
            if byte == b'"' {
                head.push(b'"');
            }
        }
        head.push(b'"');
    }
    head.push(b',');
    for point in points {
        out.extend_from_slice(&head);
        out.extend_from_slice(clock::rfc3339(point.at).as_bytes());
        out.push(b',');
        write_value(point.value, out);
        out.push(b'\n');
    }
}

fn json_line(series: &SeriesKey, points: &[Point], out: &mut Vec<u8>) {
    let name = ("__name__".to_owned(), Value::from(series.name.as_str()));
    let labels =
        series.labels.iter().map(|(name, value)| (name.to_string(), Value::from(&**value)));
    let metric: Map<String, Value> = std::iter::once(name).chain(labels).collect();
    out.extend_from_slice(b"{\"metric\":");
    out.extend_from_slice(Value::Object(metric).to_string().as_bytes());
    out.extend_from_slice(b",\"values\":[");
    separated(points, out, |point, out| json_value(point.value, out));
    out.extend_from_slice(b"],\"timestamps\":[");
    separated(points, out, |point, out| {
        out.extend_from_slice(point.at.as_millis().to_string().as_bytes());
    });
    out.extend_from_slice(b"]}\n");
}

fn separated(points: &[Point], out: &mut Vec<u8>, write: impl Fn(&Point, &mut Vec<u8>)) {
    for (index, point) in points.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(point, out);
    }
}

/// JSON has no number for these; VictoriaMetrics writes and reads them so.
fn json_value(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        write_value(value, out);
    } else if value.is_nan() {
        out.extend_from_slice(b"null");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

#[cfg(test)]
mod tests {
    use farol_model::{Labels, Timestamp};

    use super::*;

    fn text(form: &str) -> String {
        let mut form = Form::of(form);
        let point = |millis, value| Point { at: Timestamp::from_millis(millis), value };
        let series = |name: &str, labels| SeriesKey { name: name.into(), labels };
        let mut out = Vec::new();
        form.begin(&mut out);
        let odd = series("a", Labels::from([("p", "x,\"y\"\n"), ("q", "1")]));
        form.piece(
            &odd,
            &[point(1_700_000_000_250, 0.5), point(1_700_000_001_000, f64::NAN)],
            &mut out,
        );
        form.piece(&odd, &[point(1_700_000_002_000, f64::INFINITY)], &mut out);
        let load = series("node_load1", Labels::empty());
        form.piece(&load, &[point(1_700_000_000_000, -2.0)], &mut out);
        form.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn openmetrics_has_each_family_once_with_the_type_that_is_known() {
        let expected = r#"# TYPE a unknown
a{p="x,\"y\"\n",q="1"} 0.5 1700000000.25
a{p="x,\"y\"\n",q="1"} NaN 1700000001
a{p="x,\"y\"\n",q="1"} +Inf 1700000002
"#;
        let written = text("openmetrics");
        assert!(written.starts_with(expected), "{written}");
        assert!(written.contains("\n# TYPE node_load1 gauge\nnode_load1 -2 1700000000\n"));
        assert!(written.ends_with("\n# EOF\n"));
    }

    #[test]
    fn csv_has_a_row_for_each_sample() {
        let expected = r#"name,labels,timestamp,value
a,"{p=""x,\""y\""\n"",q=""1""}",2023-11-14T22:13:20.250Z,0.5
a,"{p=""x,\""y\""\n"",q=""1""}",2023-11-14T22:13:21.000Z,NaN
a,"{p=""x,\""y\""\n"",q=""1""}",2023-11-14T22:13:22.000Z,+Inf
node_load1,,2023-11-14T22:13:20.000Z,-2
"#;
        assert_eq!(text("csv"), expected);
    }

    #[test]
    fn json_lines_are_objects_of_bounded_length() {
        let expected = r#"{"metric":{"__name__":"a","p":"x,\"y\"\n","q":"1"},"values":[0.5,null],"timestamps":[1700000000250,1700000001000]}
{"metric":{"__name__":"a","p":"x,\"y\"\n","q":"1"},"values":["Infinity"],"timestamps":[1700000002000]}
{"metric":{"__name__":"node_load1"},"values":[-2],"timestamps":[1700000000000]}
"#;
        assert_eq!(text("jsonl"), expected);
    }
}
