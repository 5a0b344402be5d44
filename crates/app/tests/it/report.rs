//! Hours that are over are summed up, also those that were missed, and told by `farol report`.

use serde_json::Value;

use crate::world::{Farol, eventually, farol, journal_lines, repository};

const HOUR: i64 = 3_600_000;

#[test]
fn hours_that_were_missed_are_summed_up_at_the_start_once_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let now = farol::clock::now().as_millis();
    let running = now.div_euclid(HOUR) * HOUR;
    // A machine that ran for three hours, until an hour before this one began.
    let start = farol::clock::rfc3339(farol_model::Timestamp::from_millis(running - 4 * HOUR));
    let recorded = repository().join("fixtures/hosts/vm");
    let place = folder.path();
    let (data, logs) = (place.join("data"), place.join("logs"));
    let (said, error, code) = farol(&[
        "simulate",
        "--from",
        recorded.to_str().unwrap(),
        "--start",
        &start,
        "--for",
        "3h",
        "--interval",
        "10s",
        "--slow-interval",
        "1m",
        "--wander",
        "3",
        "--host-name",
        "vm",
        "--data",
        data.to_str().unwrap(),
        "--logs",
        logs.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(0), "{said}{error}");

    let summaries = || {
        let lines = journal_lines(&logs, "events", false);
        lines.into_iter().filter(|line| line["kind"] == "summary").collect::<Vec<Value>>()
    };
    for _ in 0..2 {
        let farol = Farol::start_in(place, "run", &["--host-name", "vm"]);
        eventually("the missed hours are summed up", || summaries().len() >= 3);
        assert_eq!(farol.stop(), Some(0));
    }
    let summaries = summaries();
    let hours: Vec<&str> = summaries.iter().filter_map(|line| line["hour"].as_str()).collect();
    let expected: Vec<String> = [4, 3, 2]
        .map(|back| farol_model::Timestamp::from_millis(running - back * HOUR))
        .map(farol::clock::rfc3339)
        .to_vec();
    assert_eq!(hours, expected, "each once, the oldest first");
    for summary in &summaries {
        let memory = &summary["signs"]["memory_percent"];
        assert_eq!(memory["samples"], 360, "{summary}");
        let [min, mean, p95, max] =
            ["min", "mean", "p95", "max"].map(|name| memory[name].as_f64().unwrap());
        assert!(0.0 < min && min <= mean && mean <= max && min <= p95 && p95 <= max, "{memory}");
    }

    let report = |format: &str| {
        let logs = logs.to_str().unwrap();
        let (text, error, code) =
            farol(&["report", "--since", "6h", "--format", format, "--logs", logs]);
        assert_eq!(code, Some(0), "{error}");
        text
    };
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    let told = json["hours"].as_array().unwrap();
    let summed = told.iter().filter(|hour| hour["signs"]["memory_percent"]["mean"].is_number());
    assert_eq!(summed.count(), 3, "{json:#}");
    assert!(report("text").starts_with("Report of vm"));
    assert!(report("markdown").contains("| hour"));
}
