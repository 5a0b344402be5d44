//! Arbitrary text as a file of rules (Prometheus' or ours, beside a good one) and as a template: it is
//! read or its errors have their places, and what was read is rendered within its bounds.

#![no_main]

use farol_alert::{
    Defaults, Rule, RuleSet, Template,
    template::{Context, Sample},
};
use farol_model::Labels;
use libfuzzer_sys::fuzz_target;

const BESIDE: &str = include_str!("../../fixtures/bad_rules/beside/host.yml");

fuzz_target!(|text: &str| {
    if let Ok(template) = Template::parse(text) {
        render(&template);
    }
    match RuleSet::parse(&[("beside.yml", BESIDE), ("fuzzed.yml", text)], &Defaults::default()) {
        Ok(set) => {
            let alerts = set.rules().filter_map(|(_, rule)| match rule {
                Rule::Alert(rule) => Some(rule),
                Rule::Record(_) => None,
            });
            for alert in alerts {
                alert.labels.iter().chain(&alert.annotations).for_each(|(_, text)| render(text));
            }
        }
        Err(errors) => {
            for error in errors {
                assert!(!error.problem.is_empty() && (error.line == 0) == (error.column == 0));
                drop(error.to_string());
            }
        }
    }
});

fn render(template: &Template) {
    let labels = Labels::from([("instance", "web:9100"), ("job", "node")]);
    let query = |_: &str| Ok(vec![Sample { labels: labels.clone(), value: 1.5 }; 3]);
    let context = Context {
        labels: &labels,
        value: 1234.5,
        external_labels: &Labels::empty(),
        external_url: "http://localhost:9100/farol",
        query: &query,
    };
    if let Ok(text) = template.render(&context) {
        assert!(text.len() <= 64 * 1024);
    }
}
