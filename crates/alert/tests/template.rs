//! What templates come to: the cases stand in `cases/template.txt`.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

use farol_alert::{
    Template,
    template::{Context, Sample},
};
use farol_model::Labels;

#[path = "cases/template.rs"]
mod cases;

use cases::{Case, EXTERNAL_LABELS, EXTERNAL_URL, SERIES, cases};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// Answers the few questions of the cases.
fn query(expression: &str) -> Result<Vec<Sample>, String> {
    let (name, matcher) = expression.split_once('{').unwrap_or((expression, ""));
    let named = SERIES.iter().filter(|(found, _, _)| *found == name);
    let instance = matcher.split('\'').nth(1);
    let asked = named.filter(|(_, labels, _)| {
        instance.is_none_or(|instance| labels.contains(&("instance", instance)))
    });
    match expression {
        "1 + 1" => Ok(vec![Sample { labels: Labels::empty(), value: 2.0 }]),
        "up +" => Err("no expression".to_owned()),
        _ => Ok(asked
            .map(|(name, pairs, value)| {
                let all = [&[("__name__", *name)], *pairs].concat();
                Sample { labels: labels(&all), value: *value }
            })
            .collect()),
    }
}

fn rendered(number: usize, case: &Case) -> String {
    let template = match Template::parse(&case.template) {
        Ok(template) => template,
        Err(error) => return format!("error {error}"),
    };
    let id = number.to_string();
    let mut pairs = vec![("__name__", "sample"), ("case", &id)];
    pairs.extend(case.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let context = Context {
        labels: &labels(&pairs),
        value: case.value.parse().unwrap(),
        external_labels: &labels(EXTERNAL_LABELS),
        external_url: EXTERNAL_URL,
        query: &query,
    };
    template.render(&context).unwrap_or_else(|error| format!("error at run {error}"))
}

#[test]
fn each_template_comes_to_what_its_case_says() {
    let cases = cases(include_str!("cases/template.txt"));
    let newer = cases.iter().filter(|case| case.is_newer).count();
    assert!(cases.len() > 50 && newer * 10 < cases.len(), "{newer} of {}", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let found = rendered(10 + number, case);
        if found != case.expected {
            wrong
                .push(format!("{}\n  expected: {}\n  found:    {found}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn error_of(text: &str) -> String {
    let case = Case { template: text.to_owned(), value: "1".to_owned(), ..Case::default() };
    rendered(0, &case)
}

#[test]
fn no_template_runs_away() {
    let many = r#"{{ range 5000 }}{{ range 5000 }}x{{ end }}{{ end }}"#;
    let long = r#"{{ range 5000 }}a line that is not so very short{{ end }}"#;
    let doubling = r#"{{ $x := "0123456789" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}"#;
    let nested = r#"{{ $x := args 1 2 }}{{ range 100 }}{{ $x = args $x $x }}{{ end }}{{ $x }}"#;
    let endless = r#"{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}"#;
    let asking = r#"{{ range 100 }}{{ query "metric" | len }}{{ end }}"#;
    let wide = r#"{{ printf "%99999999d" 1 }}"#;
    let replacing = r#"{{ $x := "a" }}{{ range 15 }}{{ $x = print $x $x }}{{ end }}{{ reReplaceAll "a+" "$0$0$0$0$0$0$0$0$0$0" $x }}"#;
    let patterns = r#"{{ range 5000 }}{{ match "a{1,99}" "a" }}{{ end }}"#;
    let large = r#"{{ match "a{1000}{1000}" "a" }}"#;
    for (text, expected) in [
        (many, "steps"),
        (long, "writes more than"),
        (doubling, "makes a text of more than"),
        (nested, "more than 1000 values"),
        (endless, "more than 30 deep"),
        (asking, "more than 20 queries"),
        (wide, "more than 1000"),
        (replacing, "makes a text of more than"),
        (patterns, "steps"),
        (large, "no regular expression"),
    ] {
        let error = error_of(text);
        assert!(error.starts_with("error at run ") && error.contains(expected), "{text}: {error}");
    }
    for (open, close) in
        [("{{ if true }}", "{{ end }}"), ("{{ (", ""), ("{{ define \"x\" }}", "{{ end }}")]
    {
        let text = format!("{}{}", open.repeat(200), close.repeat(200));
        assert!(error_of(&text).starts_with("error 1:"), "{}", error_of(&text));
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(200), ")".repeat(200));
    assert!(error_of(&deep).contains("nests deeper than"), "{}", error_of(&deep));
}
