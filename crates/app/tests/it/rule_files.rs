//! `farol rules check` beside Prometheus' own tool: the same files are taken, the same are refused,
//! and the same templates come to the same words.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::world::{farol, needs, repository, run, write};

#[path = "../../../alert/tests/cases/template.rs"]
mod cases;

use cases::{Case, EXTERNAL_LABELS, EXTERNAL_URL, SERIES, cases};

fn rule_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "yml")).collect();
    files.sort();
    files
}

fn promtool(verb: &str, files: &[PathBuf]) -> (String, bool) {
    let (said, errors, code) =
        run(Command::new(needs("promtool")).args([verb, "rules"]).args(files));
    (format!("{said}{errors}"), code == Some(0))
}

fn check(files: &[&Path]) -> (String, String, Option<i32>) {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    farol(&[&["rules", "check"], &files[..]].concat())
}

#[test]
fn good_files_are_counted_as_prometheus_counts_them() {
    let stock = rule_files(&repository().join("infra/prometheus/rules"));
    let files: Vec<&Path> = stock.iter().map(PathBuf::as_path).collect();
    let (said, complained, code) = check(&files);
    assert_eq!((complained.as_str(), code), ("", Some(0)));
    for (path, line) in stock.iter().zip(said.lines()) {
        let verdict = line.strip_prefix(&format!("{}: ", path.display())).unwrap();
        if verdict.contains("rule") {
            let (theirs, is_good) = promtool("check", std::slice::from_ref(path));
            assert!(is_good && theirs.contains(verdict), "{line}: {theirs}");
        }
    }
}

#[test]
fn bad_files_are_refused_with_their_place_as_prometheus_refuses_them() {
    let folder = repository().join("fixtures/bad_rules");
    let beside = folder.join("beside/host.yml");
    for path in rule_files(&folder) {
        let (said, complained, code) = check(&[&beside, &path]);
        assert_eq!(code, Some(1), "{}", path.display());
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        // The expected words name the file alone.
        let file_name = path.file_name().unwrap().to_str().unwrap();
        let folder_name = format!("{}/", folder.display());
        assert_eq!(complained.replace(&folder_name, ""), expected, "{file_name}");
        let errors = expected.lines().count();
        let plural = if errors == 1 { "error" } else { "errors" };
        let verdict = format!("{}: FAILED: {errors} {plural}\n", path.display());
        assert!(said.ends_with(&verdict), "{said}");
        let text = fs::read_to_string(&path).unwrap();
        let is_taken = text.starts_with("# promtool accepts it\n");
        let (theirs, is_good) = promtool("check", std::slice::from_ref(&path));
        assert_eq!(is_good, is_taken, "{file_name}: {theirs}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (_, complained, code) = check(&[Path::new("/nowhere/rules.yml")]);
    assert_eq!(code, Some(1));
    assert!(complained.contains("/nowhere/rules.yml cannot be read"), "{complained}");
}

/// One alert for each case: its template is an annotation.
fn rules_of(numbered: &[(usize, &Case)]) -> String {
    let rules: Vec<_> = numbered
        .iter()
        .map(|(number, case)| {
            json!({
                "alert": format!("Case{number}"),
                "expr": format!("sample{{case=\"{number}\"}}"),
                "annotations": {"text": case.template},
            })
        })
        .collect();
    json!({"groups": [{"name": "cases", "rules": rules}]}).to_string()
}

fn tests_of(numbered: &[(usize, &Case)]) -> String {
    let object = |pairs: &[(&str, &str)]| -> serde_json::Map<String, serde_json::Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    };
    let series = |name: &str, labels: &[(&str, &str)], value: &str| {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        json!({"series": format!("{name}{{{}}}", labels.join(",")), "values": value})
    };
    let mut input: Vec<_> = SERIES
        .iter()
        .map(|(name, labels, value)| series(name, labels, &value.to_string()))
        .collect();
    let mut expectations = Vec::new();
    for (number, case) in numbered {
        let number = number.to_string();
        let mut labels = vec![("case", number.as_str())];
        labels.extend(case.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        input.push(series("sample", &labels, &case.value));
        expectations.push(json!({
            "eval_time": "0s",
            "alertname": format!("Case{number}"),
            "exp_alerts": [{"exp_labels": object(&labels), "exp_annotations": {"text": case.expected}}],
        }));
    }
    let test = json!({
        "interval": "1m",
        "external_labels": object(EXTERNAL_LABELS),
        "external_url": EXTERNAL_URL,
        "input_series": input,
        "alert_rule_test": expectations,
    });
    json!({"rule_files": ["rules.yml"], "tests": [test]}).to_string()
}

#[test]
fn templates_come_to_what_prometheus_makes_of_them() {
    let all = cases(include_str!("../../../alert/tests/cases/template.txt"));
    let numbered = all.iter().enumerate().map(|(at, case)| (10 + at, case));
    let asked: Vec<(usize, &Case)> = numbered.filter(|(_, case)| !case.is_newer).collect();
    let (wrong, good): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(_, case)| case.expected.starts_with("error "));
    let (late, early): (Vec<_>, Vec<_>) =
        wrong.into_iter().partition(|(_, case)| case.expected.starts_with("error at run "));
    assert!(good.len() > 40 && early.len() > 10 && late.len() > 5);
    let folder = tempfile::tempdir().unwrap();
    let (rules, tests) = (folder.path().join("rules.yml"), folder.path().join("tests.yml"));

    write(&rules, &rules_of(&good));
    write(&tests, &tests_of(&good));
    let (said, is_good) = promtool("test", std::slice::from_ref(&tests));
    assert!(is_good, "{said}");

    write(&rules, &rules_of(&early));
    let (said, is_good) = promtool("check", std::slice::from_ref(&rules));
    assert!(!is_good);
    for (number, case) in &early {
        assert!(said.contains(&format!("\"Case{number}\"")), "{}: {said}", case.name);
    }

    // What each comes to is shown because none is expected; the words after the beginning are ours.
    write(&rules, &rules_of(&late));
    write(&tests, &tests_of(&late));
    let (said, _) = promtool("test", std::slice::from_ref(&tests));
    let errors = said.matches("text=\"<error expanding template:").count();
    assert_eq!(errors, late.len(), "{said}");
}

#[test]
fn without_files_the_configured_rules_are_checked_and_a_remedy_that_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("farol.yml");
    let shown = folder.path().display();
    write(&config, &format!("rules: {{files: ['{shown}/*.rules']}}\n"));
    let ask = |arguments: &[&str]| {
        let config = ["--config.file", config.to_str().unwrap()];
        farol(&[arguments, &config[..]].concat())
    };
    write(
        &folder.path().join("own.rules"),
        "groups: [{name: g, rules: [{alert: Odd, expr: up == 0}]}]\n",
    );
    let (said, complained, code) = ask(&["rules", "check"]);
    assert_eq!((complained.as_str(), code), ("", Some(0)));
    assert!(said.contains("stock/host.yml: SUCCESS"), "{said}");
    assert!(said.contains("own.rules: SUCCESS: 1 rule found"), "{said}");

    let extension = |remedy| format!("farol_rules: [{{alert: Odd, remedy: {remedy}}}]\n");
    let path = folder.path().join("treat.rules");
    write(&path, &extension("reap_zombies"));
    assert_eq!(ask(&["rules", "check"]).2, Some(0), "it is built in");
    write(&path, &extension("pray"));
    let data = folder.path().join("data").display().to_string();
    let run = ["run", "--listen", "127.0.0.1:0", "--data", &data, "--logs", &data];
    for arguments in [&["rules", "check"][..], &["check"], &run] {
        let (_, complained, code) = ask(arguments);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(
            complained
                .contains("the alert Odd names the remedy \"pray\", which does not exist; known: ")
                && complained.contains("reap_zombies"),
            "{arguments:?}: {complained}"
        );
    }
}
