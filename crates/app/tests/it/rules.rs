//! The stock rules, read and tested by Prometheus' own tool.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::world::{needs, run};

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
