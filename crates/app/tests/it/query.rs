//! `farol query`: the same answer from a running Farol and from the files of a stopped one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{Farol, eventually, farol, repository, write};

/// Noon, in seconds.
const NOON: i64 = 1_772_366_400;

/// A stopped Farol: ten minutes of counters and gauges, imported, with a gap in the middle.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let mut text = String::new();
        for at in (0..=600).step_by(10).map(|second| NOON + second) {
            let second = at - NOON;
            text.push_str(&format!("up{{job=\"node\"}} 1 {at}\n"));
            if !(200..400).contains(&second) {
                text.push_str(&format!("load{{job=\"node\",at=\"b,\\\"c\\\"\"}} {second} {at}\n"));
            }
            for (cpu, rate) in [(0, 0.5), (1, 0.25)] {
                let value = second as f64 * rate;
                text.push_str(&format!("cpu_seconds_total{{cpu=\"{cpu}\"}} {value} {at}\n"));
            }
        }
        text.push_str("# EOF\n");
        let file = place.folder.path().join("given.txt");
        write(&file, &text);
        // So that it stays the same day for ever.
        let keep = ["--store.retention", "3650d"];
        let given = ["import", "--format", "openmetrics", file.to_str().unwrap()];
        let (_, complained, code) = place.farol(&[&given[..], &keep].concat());
        assert_eq!((code, complained.as_str()), (Some(0), ""));
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn farol(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let (data, logs) = (self.data(), self.folder.path().join("logs"));
        let folders = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
        farol(&[arguments, &folders].concat())
    }

    /// What it answers; it must not complain.
    fn query(&self, expression: &str, arguments: &[&str]) -> String {
        let all = [&["query", expression], arguments].concat();
        let (text, complained, code) = self.farol(&all);
        assert_eq!((code, complained.as_str()), (Some(0), ""), "{expression}");
        text
    }
}

const AT_THE_END: [&str; 2] = ["--time", "2026-03-01T12:10:00Z"];
const COURSE: [&str; 6] =
    ["--start", "2026-03-01T12:00:00Z", "--end", "2026-03-01T12:10:00Z", "--step", "2m"];

#[test]
fn a_table_has_a_line_for_each_value() {
    let place = Place::new();
    assert_eq!(
        place.query("sort_desc(cpu_seconds_total / 600)", &AT_THE_END),
        "VALUE  SERIES\n  0.5  {cpu=\"0\"}\n 0.25  {cpu=\"1\"}\n"
    );
    assert_eq!(place.query("1 + 1", &AT_THE_END), "2\n");
    assert_eq!(place.query("'a text'", &AT_THE_END), "a text\n");
    assert_eq!(
        place.query("cpu_seconds_total{cpu='1'}[21s]", &AT_THE_END),
        "TIME                      VALUE  SERIES\n\
         2026-03-01T12:09:40.000Z    145  cpu_seconds_total{cpu=\"1\"}\n\
         2026-03-01T12:09:50.000Z  147.5  cpu_seconds_total{cpu=\"1\"}\n\
         2026-03-01T12:10:00.000Z    150  cpu_seconds_total{cpu=\"1\"}\n"
    );
    assert_eq!(
        place.query("load > 100", &COURSE),
        "TIME                      VALUE  SERIES\n\
         2026-03-01T12:02:00.000Z    120  load{at=\"b,\\\"c\\\"\",job=\"node\"}\n\
         2026-03-01T12:04:00.000Z    190  load{at=\"b,\\\"c\\\"\",job=\"node\"}\n\
         2026-03-01T12:06:00.000Z    190  load{at=\"b,\\\"c\\\"\",job=\"node\"}\n\
         2026-03-01T12:08:00.000Z    480  load{at=\"b,\\\"c\\\"\",job=\"node\"}\n\
         2026-03-01T12:10:00.000Z    600  load{at=\"b,\\\"c\\\"\",job=\"node\"}\n"
    );
}

#[test]
fn csv_has_a_column_for_each_label() {
    let place = Place::new();
    assert_eq!(
        place.query("load or cpu_seconds_total", &[&AT_THE_END[..], &["--format", "csv"]].concat()),
        "time,value,__name__,at,cpu,job\n\
         2026-03-01T12:10:00.000Z,600,load,\"b,\"\"c\"\"\",,node\n\
         2026-03-01T12:10:00.000Z,300,cpu_seconds_total,,0,\n\
         2026-03-01T12:10:00.000Z,150,cpu_seconds_total,,1,\n"
    );
    assert_eq!(
        place.query("sum(up)", &[&COURSE[..4], &["--step", "10m", "--format", "csv"]].concat()),
        "time,value\n2026-03-01T12:00:00.000Z,1\n2026-03-01T12:10:00.000Z,1\n"
    );
}

#[test]
fn a_chart_has_a_blank_where_nothing_was() {
    let place = Place::new();
    let course = [&COURSE[..4], &["--step", "10s", "--format", "spark"]].concat();
    // So short a window that the gap is one.
    let text = place.query("last_over_time(load[15s])", &course);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["MIN", "MAX", "LAST", "SERIES"]);
    let chart: String = lines[1].chars().take_while(|char| !char.is_ascii_digit()).collect();
    assert_eq!(chart.split_whitespace().count(), 2, "two stretches: {text}");
    assert!(chart.trim().starts_with('▁') && chart.trim().ends_with('█'), "{text}");
    let figures = lines[1].trim_start_matches(|char: char| !char.is_ascii_digit());
    assert!(figures.starts_with("0  600   600  load{"), "{text}");
}

#[test]
fn an_expression_that_is_none_is_shown_with_its_column() {
    let place = Place::new();
    let (text, complained, code) = place.farol(&["query", "rate(cpu_seconds_total)"]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    let lines: Vec<&str> = complained.lines().collect();
    assert!(lines[0].starts_with("farol: column 6: "), "{complained}");
    assert_eq!(lines[1..], ["    rate(cpu_seconds_total)", "         ^"], "{complained}");
    let (_, complained, code) = place.farol(&["query", "load[5m]", "--range", "1h"]);
    assert_eq!(code, Some(1));
    assert!(complained.contains("must be Scalar or instant Vector"), "{complained}");
    let (_, complained, code) = place.farol(&["query", "up", "--format", "spark"]);
    assert_eq!(code, Some(1));
    assert!(complained.contains("--range"), "{complained}");
    let (_, complained, code) = place.farol(&["query", "up * on () up{job=''}", "--time", "x"]);
    assert_eq!(code, Some(1));
    assert!(complained.contains("--time \"x\""), "{complained}");
}

#[test]
fn an_empty_answer_says_so_and_is_no_failure() {
    let place = Place::new();
    for (arguments, said) in [
        (&["query", "nothing"][..], "no such series"),
        // All of it was months ago.
        (&["query", "up"], "no such series"),
        (&["query", "up == 0", AT_THE_END[0], AT_THE_END[1]], "none has a value"),
    ] {
        let (text, complained, code) = place.farol(arguments);
        assert_eq!((code, text.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(complained.contains(said), "{arguments:?}: {complained}");
    }
}

#[test]
fn what_the_answer_remarks_and_costs_goes_to_standard_error() {
    let place = Place::new();
    let (text, complained, code) =
        place.farol(&["query", "rate(load[5m])", "--stats", AT_THE_END[0], AT_THE_END[1]]);
    assert_eq!(code, Some(0));
    assert!(text.contains("VALUE  SERIES\n"), "{text}");
    assert!(complained.contains("PromQL info: ") && complained.contains("(1:6)"), "{complained}");
    assert!(complained.contains("1 series, "), "{complained}");
}

#[test]
fn a_question_is_held_to_the_settings() {
    let place = Place::new();
    let refused = |arguments: &[&str]| {
        let all = [&["query", "{job='node'}"], arguments, &AT_THE_END].concat();
        let (_, complained, code) = place.farol(&all);
        assert_eq!(code, Some(1));
        complained
    };
    assert!(refused(&["--query.max-series", "1"]).contains("series"), "one of two");
    let (text, _, _) = place.farol(&[
        "query",
        "up",
        "--query.lookback-delta",
        "1s",
        "--time",
        "2026-03-01T12:10:05Z",
    ]);
    assert_eq!(text, "", "the last sample is five seconds old");
}

/// Values, not the times that the question took.
fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn json_is_what_the_http_api_answers_running_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let farol =
        Farol::start_in(folder.path(), "run", &["--interval", "100ms", "--slow-interval", "100ms"]);
    farol.wait_until_ready();
    let place = folder.path();
    eventually("a quarter of a minute of samples", || {
        let text = asked(place, "count_over_time(up[1m])", &["--format", "csv"]);
        text.lines()
            .nth(1)
            .is_some_and(|row| row.split(',').nth(1).unwrap().parse::<f64>().unwrap() > 20.0)
    });
    // What is over does not change any more, whoever is asked.
    let at = farol::clock::now().as_millis() as f64 / 1000.0 - 1.0;
    for query in ["node_load1", "sum(node_cpu_seconds_total)by(mode)", "up[1s]", "1", "farol_top"] {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let over_http = farol.get(&format!("/api/v1/query?query={encoded}&time={at:.3}")).text();
        let over_http = data(&over_http)["data"].clone();
        let time = format!("{at:.3}");
        let arguments = ["--time", &time, "--format", "json"];
        assert_eq!(data(&asked(place, query, &arguments)), over_http, "{query}, running");
    }
    let time = format!("{at:.3}");
    let arguments = ["--time", &time, "--format", "json"];
    let running = asked(place, "node_memory_MemTotal_bytes", &arguments);
    assert_eq!(farol.stop(), Some(0));
    assert_eq!(asked(place, "node_memory_MemTotal_bytes", &arguments), running, "stopped");
    let with_stats = asked(place, "up", &[&arguments[..], &["--stats"]].concat());
    assert!(data(&with_stats)["stats"]["samples"]["totalQueryableSamples"].as_u64().unwrap() > 0);
}

fn asked(folder: &Path, query: &str, arguments: &[&str]) -> String {
    let (data, logs) = (folder.join("data"), folder.join("logs"));
    let folders = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
    let (text, complained, code) = farol(&[&["query", query], arguments, &folders].concat());
    assert_eq!(code, Some(0), "{query}: {complained}");
    text
}

#[test]
fn a_simulated_machine_is_asked_as_its_collectors_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let machine = repository().join("fixtures/hosts/laptop");
    let (_, complained, code) = farol(&[
        "simulate",
        "--from",
        machine.to_str().unwrap(),
        "--for",
        "10m",
        "--start",
        "2026-03-01T12:00:00Z",
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    let logs = data.join("logs");
    let ask = |query: &str| {
        let folders = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
        let at = ["query", query, "--time", "2026-03-01T12:05:00Z"];
        farol(&[&at[..], &folders].concat()).0
    };
    assert_eq!(ask("count(count by (cpu) (node_cpu_seconds_total))"), "VALUE  SERIES\n    8  {}\n");
    // The rows of `top` are series too.
    assert!(ask("topk(3, farol_top_resident_bytes)").lines().count() > 1);
    assert!(
        ask("node_hwmon_fan_rpm * on (chip) group_left (chip_name) node_hwmon_chip_names")
            .contains("chip_name=\"thinkpad\"")
    );
}
