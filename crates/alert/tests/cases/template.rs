//! Reads `template.txt`: what a template comes to. The same cases are given to Prometheus' own tool.

/// One case. The alert's labels are those given, `__name__="sample"` and `case`, its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Prometheus 2.42 does not know it.
    pub(crate) is_newer: bool,
    pub(crate) value: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) template: String,
    pub(crate) expected: String,
}

/// `== name`, lines `value:` and `label:`, the template, and behind `=>` what it comes to. `⏎` at the
/// end of a line stands for nothing, so that spaces before it are seen.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut is_expected = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let is_newer = name.ends_with(" (newer)");
            let value = "1".to_owned();
            cases.push(Case { name: name.to_owned(), is_newer, value, ..Case::default() });
            is_expected = false;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(value) = line.strip_prefix("value: ") {
            case.value = value.to_owned();
        } else if let Some((name, value)) =
            line.strip_prefix("label: ").and_then(|pair| pair.split_once('='))
        {
            case.labels.push((name.to_owned(), value.to_owned()));
        } else if let Some(expected) = line.strip_prefix("=>") {
            case.expected = expected.strip_prefix(' ').unwrap_or(expected).replace('⏎', "");
            is_expected = true;
        } else {
            let part = if is_expected { &mut case.expected } else { &mut case.template };
            if is_expected || !part.is_empty() {
                part.push('\n');
            }
            part.push_str(&line.replace('⏎', ""));
        }
    }
    for case in &mut cases {
        // The blank line before the next case.
        case.expected = case.expected.trim_end_matches('\n').to_owned();
    }
    cases
}

/// What `query` answers in all cases: name, labels, value.
pub(crate) const SERIES: &[(&str, &[(&str, &str)], f64)] = &[
    ("metric", &[("instance", "b"), ("job", "node")], 21.0),
    ("metric", &[("instance", "a"), ("job", "node")], 11.5),
    ("single", &[("__value__", "text"), ("instance", "c")], 3.0),
];

pub(crate) const EXTERNAL_LABELS: &[(&str, &str)] = &[("region", "eu"), ("zone", "1")];

pub(crate) const EXTERNAL_URL: &str = "http://testhost:9090/path/prefix";
