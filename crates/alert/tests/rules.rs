//! What a file of rules comes to, and what is wrong with one.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads the files of the repository and panics where it fails"
)]

use std::{path::Path, time::Duration};

use farol_alert::{Defaults, Missing, Recovery, Rule, RuleSet};

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn parsed(files: &[(&str, &str)]) -> RuleSet {
    RuleSet::parse(files, &Defaults::default()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn wrong(files: &[(&str, &str)]) -> Vec<String> {
    let errors = RuleSet::parse(files, &Defaults::default()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_stock_rules_are_read() {
    let folder = repository().join("infra/prometheus/rules");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (host, farol) = (read("host.yml"), read("farol.yml"));
    let set = parsed(&[("host.yml", &host), ("farol.yml", &farol)]);
    assert!(set.rules().count() > 20);
    let (group, Rule::Alert(rule)) = set.rules().next().unwrap() else { panic!("an alert") };
    assert_eq!(group.interval, Duration::from_secs(60));
    assert_eq!(rule.id, "HostCpuBusy{severity=\"warning\"}");
    assert_eq!(rule.hold, Duration::from_secs(15 * 60));
}

const RULES: &str = r#"
groups:
  - name: host
    interval: 15s
    limit: 10
    labels: {team: ops, severity: info}
    rules:
      - record: instance:load:ratio
        expr: node_load1 / 4
      - alert: Disk
        expr: |-
          100 * used / size > 80
          and size < 8 * 1024 ^ 3
        for: 5m
        keep_firing_for: 1m
        labels: {severity: warning}
        annotations: {summary: "{{ $value }} %"}
      - alert: Disk
        expr: (free < 8 * 1024 ^ 3)
        labels: {severity: critical}
"#;

#[test]
fn our_file_says_more_of_the_rules_it_names() {
    let ours = r#"
farol_rules:
  - {alert: Disk, severity: warning, recover_level: 75, missing: fire}
  - alert: Disk
    group: host
    labels: {severity: critical}
    recover_level: 10e9
    flapping: {firings: 4, within: 1h, settle: 10m}
  - {alert: Disk, remedy: cleanup_temp_files}
"#;
    // The order of the files does not matter.
    let set = parsed(&[("farol-rules.yml", ours), ("host.yml", RULES)]);
    let alerts: Vec<_> = set
        .rules()
        .filter_map(|(_, rule)| match rule {
            Rule::Alert(rule) => Some(rule),
            Rule::Record(_) => None,
        })
        .collect();
    assert_eq!(alerts[0].id, "Disk{severity=\"warning\",team=\"ops\"}");
    assert_eq!(alerts[0].missing, Missing::Fire);
    let Some(Recovery::Level { level, text, .. }) = &alerts[0].recovery else { panic!() };
    assert_eq!(*level, 75.0);
    assert_eq!(text, "100 * used / size > 75\nand size < 8 * 1024 ^ 3");
    let Some(Recovery::Level { text, .. }) = &alerts[1].recovery else { panic!() };
    assert_eq!(text, "(free < 10000000000)");
    assert_eq!(alerts[1].flapping.unwrap().firings, 4);
    assert!(alerts.iter().all(|rule| rule.remedy.as_deref() == Some("cleanup_temp_files")));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let errors = wrong(&[
        ("a.yml", "groups:\n- name: a\n  rule: []\n- name: a\n  limit: x\n"),
        ("b.yml", "a: ["),
    ]);
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert_eq!(errors[0], "a.yml:3:3: unknown key \"rule\" in a group; did you mean \"rules\"?");
}

/// `UPDATE=1` writes what is said now beside each file; whoever does so reads it.
#[test]
fn each_bad_file_is_refused_in_the_expected_words() {
    let folder = repository().join("fixtures/bad_rules");
    let beside = std::fs::read_to_string(folder.join("beside/host.yml")).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".yml"))
        .collect();
    names.sort();
    assert!(names.len() > 40);
    let mut wrong_words = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(folder.join(&name)).unwrap();
        let found =
            wrong(&[("beside/host.yml", beside.as_str()), (&name, text.as_str())]).join("\n");
        let expected_file = folder.join(name.replace(".yml", ".expected"));
        #[expect(clippy::disallowed_methods, reason = "whoever changes a message asks for it")]
        let is_update = std::env::var_os("UPDATE").is_some();
        if is_update {
            std::fs::write(&expected_file, format!("{found}\n")).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if expected.trim_end() != found {
            wrong_words.push(format!("{name}\n  expected: {expected}\n  found: {found}"));
        }
    }
    assert!(wrong_words.is_empty(), "{}", wrong_words.join("\n"));
}
