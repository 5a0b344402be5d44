//! Our own file: entries that name a rule of Prometheus' files and say more of it.

use std::{collections::HashMap, time::Duration};

use farol_model::Text;
use farol_query::Expr;
use farol_wire::yaml::{Mark, Node, nearest, quoted};

use super::{
    AlertRule, Flapping, Group, Missing, Recovery, Rule, RuleError,
    fields::{Fields, Reader},
    level::with_level,
};

/// One entry; it holds for every rule that it names.
#[derive(Debug)]
pub(super) struct Entry {
    file: Text,
    mark: Mark,
    group: Option<Text>,
    alert: Text,
    /// All of them are among the rule's own labels.
    labels: Vec<(Text, Text)>,
    level: Option<f64>,
    recover_expr: Option<(Expr, Text)>,
    missing: Option<Missing>,
    flapping: Option<Flapping>,
    remedy: Option<Text>,
}

const KEYS: &[&str] = &[
    "group",
    "alert",
    "severity",
    "labels",
    "recover_level",
    "recover_expr",
    "missing",
    "flapping",
    "remedy",
];

pub(super) fn entries(reader: &mut Reader, node: Option<&Node>) -> Vec<Entry> {
    let items = reader.items(node, "\"farol_rules\"");
    items.iter().filter_map(|node| entry(reader, node)).collect()
}

fn entry(reader: &mut Reader, node: &Node) -> Option<Entry> {
    let fields = reader.fields(node, "an entry of farol_rules", KEYS)?;
    let alert: Option<Text> = reader.text(&fields, "alert").map(Text::from);
    if alert.is_none() {
        reader.complain(fields.mark, "an entry names the alert that it is about: write alert");
    }
    // An unknown key was told of already.
    if fields.are_known() && KEYS.iter().skip(4).all(|key| fields.get(key).is_none()) {
        let problem = format!("the entry says nothing of it; write {}", either(&KEYS[4..]));
        reader.complain(fields.mark, problem);
    }
    let level = reader.number(&fields, "recover_level", "number");
    if let (Some(level), Some(node)) = (level, fields.get("recover_level"))
        && !f64::is_finite(level)
    {
        reader.complain(node.mark, "recover_level: an infinity is no level");
    }
    let recover_expr = reader.expression(&fields, "recover_expr");
    if let (Some(_), Some(mark)) = (fields.get("recover_level"), fields.key("recover_expr")) {
        reader.complain(mark, "either recover_level or recover_expr, not both");
    }
    let entry = Entry {
        file: reader.file.clone(),
        mark: fields.mark,
        group: reader.text(&fields, "group").map(Text::from),
        alert: alert.clone().unwrap_or_default(),
        labels: labels(reader, &fields),
        level,
        recover_expr,
        missing: missing(reader, &fields),
        flapping: flapping(reader, &fields),
        remedy: reader.text(&fields, "remedy").map(Text::from),
    };
    alert.is_some().then_some(entry)
}

fn labels(reader: &mut Reader, fields: &Fields<'_>) -> Vec<(Text, Text)> {
    let mut labels = Vec::new();
    if let Some(severity) = reader.text(fields, "severity") {
        labels.push(("severity".into(), severity.into()));
    }
    let Some(node) = fields.get("labels") else { return labels };
    for (key, node) in reader.pairs(node, "\"labels\"").unwrap_or_default() {
        let what = format!("the label {}", quoted(&key.text));
        if let Some(value) = reader.scalar(node, &what) {
            labels.push((key.text.as_str().into(), value.into()));
        }
    }
    labels
}

fn missing(reader: &mut Reader, fields: &Fields<'_>) -> Option<Missing> {
    const WORDS: &[(&str, Missing)] =
        &[("keep", Missing::Keep), ("resolve", Missing::Resolve), ("fire", Missing::Fire)];
    let given = reader.text(fields, "missing")?;
    let row = WORDS.iter().find(|(word, _)| *word == given);
    if row.is_none() {
        let words = WORDS.iter().map(|(word, _)| *word);
        let mut problem = format!("missing: {} is none of keep, resolve, fire", quoted(given));
        if let Some(word) = nearest(given, words) {
            problem.push_str(&format!("; did you mean {word:?}?"));
        }
        reader.complain(fields.get("missing")?.mark, problem);
    }
    row.map(|(_, missing)| *missing)
}

fn flapping(reader: &mut Reader, fields: &Fields<'_>) -> Option<Flapping> {
    let node = fields.get("flapping")?;
    let fields = reader.fields(node, "\"flapping\"", &["firings", "within", "settle"])?;
    let firings: Option<usize> = reader.number(&fields, "firings", "whole number");
    let within = reader.duration(&fields, "within");
    let settle = reader.duration(&fields, "settle");
    for key in ["firings", "within", "settle"] {
        if fields.get(key).is_none() {
            reader.complain(fields.mark, format!("flapping needs {key}, as in {EXAMPLE}"));
        }
    }
    if firings.is_some_and(|firings| !(2..=MOST_FIRINGS).contains(&firings)) {
        let problem = format!("flapping: firings must be from 2 to {MOST_FIRINGS}");
        reader.complain(fields.get("firings")?.mark, problem);
    }
    for (key, given) in [("within", within), ("settle", settle)] {
        if given == Some(Duration::ZERO) {
            reader
                .complain(fields.get(key)?.mark, format!("flapping: {key} must be longer than 0"));
        }
    }
    Some(Flapping { firings: firings?, within: within?, settle: settle? })
}

const EXAMPLE: &str = "{firings: 4, within: 1h, settle: 10m}";

/// An alert remembers no more beginnings than this many.
const MOST_FIRINGS: usize = 20;

/// Lays the entries over the rules that they name.
pub(super) fn apply(entries: &[Entry], groups: &mut [Group], errors: &mut Vec<RuleError>) {
    // Which key of which rule was given where: what is said twice is said by mistake.
    let mut given = HashMap::new();
    for entry in entries {
        let mut complain = |problem| {
            let (file, Mark { line, column }) = (entry.file.clone(), entry.mark);
            errors.push(RuleError { file, line, column, problem });
        };
        let mut is_known = false;
        for (place, rule) in alerts(groups) {
            if !entry.names(&place, rule) {
                continue;
            }
            is_known = true;
            for key in entry.keys() {
                let key = (place.clone(), rule.id.clone(), key);
                let before = given.insert(key, (entry.file.clone(), entry.mark.line));
                if let Some((file, line)) = before {
                    complain(format!("the same was already said of {} ({file}:{line})", rule.id));
                }
            }
            if let Err(problem) = entry.lay_over(rule) {
                complain(format!("{}: {problem}", rule.id));
            }
        }
        if !is_known {
            complain(unknown(entry, groups));
        }
    }
}

fn alerts(groups: &mut [Group]) -> impl Iterator<Item = (Text, &mut AlertRule)> {
    groups.iter_mut().flat_map(|group| {
        let name = group.name.clone();
        let alerts = group.rules.iter_mut().filter_map(|rule| match rule {
            Rule::Alert(rule) => Some(&mut **rule),
            Rule::Record(_) => None,
        });
        alerts.map(move |rule| (name.clone(), rule))
    })
}

impl Entry {
    fn names(&self, group: &Text, rule: &AlertRule) -> bool {
        let has = |(name, value): &(Text, Text)| {
            let of_rule = rule.labels.iter().find(|(found, _)| found == name);
            of_rule.is_some_and(|(_, template)| template.text == *value)
        };
        rule.name == self.alert
            && self.group.as_ref().is_none_or(|given| given == group)
            && self.labels.iter().all(has)
    }

    /// What it says of a rule.
    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let rows = [
            ("recovery", self.level.is_some() || self.recover_expr.is_some()),
            ("missing", self.missing.is_some()),
            ("flapping", self.flapping.is_some()),
            ("remedy", self.remedy.is_some()),
        ];
        rows.into_iter().filter_map(|(key, is_given)| is_given.then_some(key))
    }

    fn lay_over(&self, rule: &mut AlertRule) -> Result<(), String> {
        if let Some(level) = self.level {
            let (text, holds) = with_level(&rule.expr, &rule.text, level)
                .map_err(|problem| format!("recover_level: {problem}"))?;
            rule.recovery = Some(Recovery::Level { level, holds, text: text.into() });
        }
        if let Some((expr, text)) = &self.recover_expr {
            rule.recovery = Some(Recovery::Expr { expr: expr.clone(), text: text.clone() });
        }
        rule.missing = self.missing.unwrap_or(rule.missing);
        rule.flapping = self.flapping.or(rule.flapping);
        rule.remedy = self.remedy.clone().or_else(|| rule.remedy.take());
        Ok(())
    }
}

/// No rule is named: by its name, its group or its labels.
fn unknown(entry: &Entry, groups: &mut [Group]) -> String {
    let alert = quoted(&entry.alert);
    let ids: Vec<(Text, Text, Text)> =
        alerts(groups).map(|(group, rule)| (group, rule.name.clone(), rule.id.clone())).collect();
    let of_name: Vec<String> = ids
        .iter()
        .filter(|(_, name, _)| *name == entry.alert)
        .map(|(group, _, id)| format!("{id} in the group {}", quoted(group)))
        .collect();
    if !of_name.is_empty() {
        return format!(
            "no rule {alert} has this group or these labels; there is {}",
            of_name.join(", ")
        );
    }
    match nearest(&entry.alert, ids.iter().map(|(_, name, _)| name.as_str())) {
        Some(known) => format!("there is no alert {alert}; did you mean {known:?}?"),
        None => format!("there is no alert {alert} in the files of rules"),
    }
}

fn either(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}
