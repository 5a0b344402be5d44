//! The stock rules, read and tested by Prometheus' own tool.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    export::Peer,
    world::{Farol, eventually, needs, run, try_get, write},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/prometheus/rules")
}

/// The rule files or their tests, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "yml")).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[test]
fn the_stock_rules_load_in_prometheus_and_fire_as_their_tests_say() {
    let tests = folder().join("tests");
    for (verb, files) in [("check", files(&folder())), ("test", files(&tests))] {
        let (said, errors, code) =
            run(Command::new(needs("promtool")).args([verb, "rules"]).args(files));
        assert_eq!(code, Some(0), "promtool {verb} rules: {said}{errors}");
    }
}

/// A rule that is not shown firing may never fire; one that is not shown at rest may always.
#[test]
fn each_stock_alert_is_tested_firing_and_at_rest() {
    let named = |text: &str, key: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|name| name.trim().to_owned()).collect()
    };
    for path in files(&folder()) {
        let alerts = named(&fs::read_to_string(&path).unwrap(), "- alert:");
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let tests = fs::read_to_string(folder().join(format!("tests/{stem}_test.yml"))).unwrap();
        let (mut firing, mut at_rest) = (BTreeSet::new(), BTreeSet::new());
        for case in tests.split("  - name:").skip(1) {
            let which = if case.contains("exp_alerts: []") { &mut at_rest } else { &mut firing };
            which.extend(named(case, "alertname:"));
        }
        assert_eq!(alerts, firing, "{}: firing", path.display());
        assert_eq!(alerts, at_rest, "{}: at rest", path.display());
    }
}

/// A rule about a name that nobody emits looks like a rule, and never fires.
#[test]
fn the_stock_rules_ask_for_metrics_that_farol_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Names that the kernel makes up (meminfo, vmstat) stand in what recorded machines yield.
    let mut offered = fs::read_to_string(root.join("docs/reference/metrics.md")).unwrap();
    for host in fs::read_dir(root.join("fixtures/hosts")).unwrap() {
        let yields = fs::read_to_string(host.unwrap().path().join("expected.prom"));
        offered.push_str(&yields.unwrap_or_default());
    }
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let mut offered: BTreeSet<&str> = offered.split(|char| !is_part(char)).collect();
    let texts: Vec<(PathBuf, String)> = files(&folder())
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    let lines = texts.iter().flat_map(|(_, text)| text.lines());
    offered.extend(lines.filter_map(|line| line.trim().strip_prefix("- record: ")));
    let mut asked = 0;
    for (path, text) in &texts {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        for word in lines.flat_map(|line| line.split(|char| !is_part(char))) {
            if ["node_", "farol_", "monitoring_", "instance:"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
            {
                assert!(offered.contains(word), "{}: {word}", path.display());
                asked += 1;
            }
        }
    }
    assert!(asked > 20, "{asked} names asked for");
}

/// On the same rules: what the pages of dashboards read is there, and of the same kind.
#[test]
fn rules_and_alerts_are_told_in_the_shape_that_prometheus_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("shape.yml");
    write(
        &rules,
        "groups:
  - name: shape
    interval: 1s
    limit: 7
    rules:
      - {record: 'one:sum', expr: vector(1), labels: {team: a}}
      - {alert: Firing, expr: vector(1) > 0, labels: {severity: info}, annotations: {summary: s}}
      - {alert: Pending, expr: vector(2) > 0, for: 1h, keep_firing_for: 2m}
      - {alert: Inactive, expr: vector(0) > 0}
",
    );
    let config = folder.path().join("farol.yml");
    let shown = rules.display();
    write(&config, &format!("rules: {{stock: false, files: ['{shown}']}}\n"));
    let theirs = folder.path().join("prometheus.yml");
    write(&theirs, &format!("rule_files: ['{shown}']\n"));
    let prometheus = Peer::start(
        needs("prometheus"),
        &[
            format!("--config.file={}", theirs.display()),
            format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()),
        ],
    );
    let farol = Farol::start_in(folder.path(), "run", &["--config.file", config.to_str().unwrap()]);
    let told = |address: &str, path: &str| -> Value {
        let answer = try_get(address, path, &[]).map(|answer| answer.text()).unwrap_or_default();
        serde_json::from_str(&answer).unwrap_or_default()
    };
    for address in [&prometheus.address, &farol.address] {
        eventually("both evaluate", || {
            let alerts = told(address, "/api/v1/alerts");
            alerts["data"]["alerts"].as_array().is_some_and(|alerts| alerts.len() == 2)
        });
    }
    for path in ["/api/v1/rules", "/api/v1/rules?type=alert", "/api/v1/alerts"] {
        let mut ours = told(&farol.address, path);
        let mut theirs = told(&prometheus.address, path);
        // Neither promises an order.
        for told in [&mut ours, &mut theirs] {
            if let Some(alerts) = told["data"]["alerts"].as_array_mut() {
                alerts.sort_by_key(|alert| alert["labels"].to_string());
            }
        }
        has_all_of("", &theirs, &ours);
    }
}

/// Each member that they have we have, and of the same type; texts that are no time, no number and no
/// path are the same.
fn has_all_of(path: &str, theirs: &Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                let ours = ours.get(key).unwrap_or_else(|| panic!("{path}: we have no {key}"));
                has_all_of(&format!("{path}/{key}"), value, ours);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{path}");
            for (place, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                has_all_of(&format!("{path}/{place}"), theirs, ours);
            }
        }
        (Value::Number(_), Value::Number(_)) if path.ends_with("/evaluationTime") => {}
        (Value::String(_), Value::String(time))
            if path.ends_with("/lastEvaluation") || path.ends_with("/activeAt") =>
        {
            time.parse::<jiff::Timestamp>().unwrap_or_else(|why| panic!("{path}: {why}"));
        }
        (theirs, ours) => assert_eq!(theirs, ours, "{path}"),
    }
}
