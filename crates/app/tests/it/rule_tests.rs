//! `farol rules test` beside `promtool test rules`: the same files, the same verdicts.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::world::{FAROL, needs, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/prometheus/rules")
}

fn tests() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("tests")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Which cases failed (name, alert and time), and the exit code.
fn verdict(program: &str, file: &Path) -> (BTreeSet<(String, String)>, Option<i32>) {
    let verb = if program == FAROL { ["rules", "test"] } else { ["test", "rules"] };
    let (said, errors, code) = run(Command::new(program).args(verb).arg(file));
    let mut name = String::new();
    let mut failed = BTreeSet::new();
    for line in errors.lines().chain(said.lines()).map(str::trim) {
        if let Some(named) = line.strip_prefix("name: ") {
            name = named.trim_end_matches(',').to_owned();
        }
        if line.starts_with("alertname: ") || line.starts_with("expr: ") {
            failed.insert((name.clone(), line.trim_end_matches([',', ' ']).to_owned()));
        }
    }
    assert_eq!(code != Some(0), !failed.is_empty(), "{program}: {said}{errors}");
    (failed, code)
}

#[test]
fn the_stock_rules_pass_their_tests_in_both() {
    for file in tests() {
        assert_eq!(verdict(needs("promtool"), &file).1, Some(0), "{}", file.display());
        assert_eq!(verdict(FAROL, &file).1, Some(0), "{}", file.display());
    }
}

/// Each expected alert is changed; each series is; one is expected too many: both name the same cases.
#[test]
fn tests_that_are_broken_fail_in_both_and_in_the_same_cases() {
    let scratch = tempfile::tempdir().unwrap();
    for file in tests() {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap();
        let rules = folder().display().to_string();
        let text = text.replace("rule_files: [..", &format!("rule_files: [{rules}"));
        for (broken, from, to) in [
            ("severity", "severity: \"", "severity: \"not-"),
            ("annotation", "summary: \"", "summary: \"Not "),
            ("instance", "instance=\"pi\"", "instance=\"pie\""),
            ("more", "exp_alerts: []", "exp_alerts: [{exp_labels: {a: b}}]"),
        ] {
            let copy = scratch.path().join(format!("{broken}_{}", name.display()));
            fs::write(&copy, text.replace(from, to)).unwrap();
            let theirs = verdict(needs("promtool"), &copy);
            let ours = verdict(FAROL, &copy);
            assert_eq!(ours, theirs, "{broken} in {}", name.display());
            assert_eq!(theirs.1, Some(1), "{broken} in {}", name.display());
        }
    }
}

/// What promtool refuses is refused, and in the same way.
#[test]
fn what_is_no_file_of_tests_is_refused_by_both() {
    let scratch = tempfile::tempdir().unwrap();
    let rules = scratch.path().join("rules.yml");
    fs::write(&rules, "groups: [{name: g, rules: [{record: r, expr: 'x + y'}]}]\n").unwrap();
    for (name, text) in [
        ("an unknown key", "rule_files: [rules.yml]\nsurprise: 1\ntests: []\n"),
        ("no values", "tests: [{input_series: [{series: x, values: one}]}]\n"),
        ("no series", "tests: [{input_series: [{series: 'x{', values: 1}]}]\n"),
        ("no alert's name", "tests: [{interval: 1m, alert_rule_test: [{eval_time: 1m}]}]\n"),
        ("a group twice", "group_eval_order: [a, a]\ntests: []\n"),
        (
            "a rule that cannot be evaluated",
            "rule_files: [rules.yml]\ntests: [{interval: 1m, input_series: [{series: 'x{a=\"1\"}', \
             values: 1}, {series: 'x{a=\"1\", b=\"\"}', values: 2}, {series: 'y{a=\"1\"}', values: 1}], \
             promql_expr_test: [{expr: 'x +', eval_time: 1m}]}]\n",
        ),
        (
            "an expression that is none",
            "tests: [{interval: 1m, promql_expr_test: [{expr: 'x +', eval_time: 1m}]}]\n",
        ),
    ] {
        let file = scratch.path().join("test.yml");
        fs::write(&file, text).unwrap();
        let program = |program: &mut Command| {
            let (_, _, code) = run(program.arg(&file));
            code
        };
        let theirs = program(Command::new(needs("promtool")).args(["test", "rules"]));
        let ours = program(Command::new(FAROL).args(["rules", "test"]));
        assert_eq!((ours, theirs), (Some(1), Some(1)), "{name}");
    }
}

/// Recording rules, a chain of them, an expression tested, staleness, templates of the test's own URL.
#[test]
fn recorded_chains_and_expressions_are_judged_alike() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("rules.yml"), RULES).unwrap();
    let file = scratch.path().join("test.yml");
    fs::write(&file, TESTS).unwrap();
    for program in [needs("promtool"), FAROL] {
        let (failed, code) = verdict(program, &file);
        assert_eq!((failed, code), (BTreeSet::new(), Some(0)), "{program}");
    }
}

const RULES: &str = r#"
groups:
  - name: second
    rules:
      - record: job:rate:max
        expr: max(job:rate)
        labels: {level: "top"}
  - name: first
    rules:
      - record: job:rate
        expr: sum by (job) (x)
      - alert: High
        expr: job:rate > 10
        for: 2m
        keep_firing_for: 3m
        labels: {level: '{{ if gt $value 50.0 }}page{{ else }}ticket{{ end }}'}
        annotations: {summary: '{{ $labels.job }} at {{ $value }} in {{ $externalLabels.place }}, see {{ $externalURL }}'}
      - alert: Gone
        expr: absent(x{job="b"})
"#;

const TESTS: &str = r#"
rule_files: ["rul*.yml"]
evaluation_interval: 1m
group_eval_order: [first, second]
tests:
  - name: chain
    interval: 1m
    external_labels: {place: "cellar"}
    external_url: "http://farol.example"
    input_series:
      - {series: 'x{job="a",i="1"}', values: '0+5x5 0x10'}
      - {series: 'x{job="a",i="2"}', values: '0+1x5 stale'}
      - {series: 'x{job="b"}', values: '1 _x3 7x2'}
    promql_expr_test:
      - {expr: 'job:rate', eval_time: 3m, exp_samples: [{labels: 'job:rate{job="a"}', value: 18}, {labels: 'job:rate{job="b"}', value: 1}]}
      - {expr: 'job:rate:max', eval_time: 5m, exp_samples: [{labels: 'job:rate:max{level="top"}', value: 30}]}
      - {expr: 'count(x)', eval_time: 6m, exp_samples: [{labels: '{}', value: 2}]}
      - {expr: 'ALERTS', eval_time: 3m, exp_samples: [{labels: 'ALERTS{alertname="High",alertstate="pending",job="a",level="ticket"}', value: 1}]}
      - {expr: 'ALERTS_FOR_STATE{alertname="High"}', eval_time: 4m, exp_samples: [{labels: 'ALERTS_FOR_STATE{alertname="High",job="a",level="ticket"}', value: 120}]}
      - {expr: 'time() * 2', eval_time: 4m, exp_samples: [{value: 480}]}
      - {expr: 'job:rate', eval_time: 16m, exp_samples: [{labels: 'job:rate{job="a"}', value: 0}]}
      - {expr: 'job:rate{job="b"}', eval_time: 16m, exp_samples: []}
    alert_rule_test:
      - {eval_time: 3m, alertname: High}
      - eval_time: 4m30s
        alertname: High
        exp_alerts:
          - exp_labels: {job: a, level: ticket}
            exp_annotations: {summary: 'a at 24 in cellar, see http://farol.example'}
      - eval_time: 8m
        alertname: High
        exp_alerts:
          - exp_labels: {job: a, level: ticket}
            exp_annotations: {summary: 'a at 30 in cellar, see http://farol.example'}
      - {eval_time: 9m, alertname: High}
      - {eval_time: 10m, alertname: Gone}
      - {eval_time: 12m, alertname: Gone, exp_alerts: [{exp_labels: {job: b}}]}
"#;
