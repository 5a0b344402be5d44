//! One file: Prometheus' groups, or entries of ours.

use std::{collections::HashMap, time::Duration};

use farol_model::Text;
use farol_wire::yaml::{self, Content, Mark, Node, quoted};

use super::{
    AlertRule, Defaults, Group, Missing, RecordRule, Rule, RuleError,
    extension::{self, Entry},
    fields::{Fields, Reader, is_label_name, is_metric_name},
};
use crate::Template;

/// What a file holds, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) groups: Vec<Group>,
    pub(super) entries: Vec<Entry>,
    pub(super) errors: Vec<RuleError>,
}

pub(super) fn read(path: &str, text: &str, defaults: &Defaults) -> Read {
    let mut reader = Reader { file: path.into(), errors: Vec::new() };
    let (root, faults) = yaml::parse(text);
    let is_whole = faults.is_empty();
    reader.faults(faults);
    let mut read = Read::default();
    // What a broken text comes to would only be told what it lacks.
    if (is_whole || root.content != Content::Empty)
        && let Some(top) = reader.fields(&root, "a file of rules", &["groups", "farol_rules"])
    {
        if let (Some(_), Some(mark)) = (top.key("groups"), top.key("farol_rules")) {
            reader.complain(
                mark,
                "a file holds either groups or farol_rules; put farol_rules into a file of its own",
            );
        }
        read.groups = groups(&mut reader, top.get("groups"), defaults);
        read.entries = extension::entries(&mut reader, top.get("farol_rules"));
    }
    reader.errors.sort();
    read.errors = reader.errors;
    read
}

fn groups(reader: &mut Reader, node: Option<&Node>, defaults: &Defaults) -> Vec<Group> {
    let mut lines = HashMap::new();
    let mut groups = Vec::new();
    for node in reader.items(node, "\"groups\"") {
        let Some(group) = group(reader, node, defaults) else { continue };
        if let Some(line) = lines.insert(group.name.clone(), node.mark.line) {
            let name = quoted(&group.name);
            let problem = format!("the group {name} was already given in line {line}");
            reader.complain(node.mark, problem);
        }
        groups.push(group);
    }
    groups
}

const GROUP_KEYS: &[&str] = &["name", "interval", "limit", "query_offset", "labels", "rules"];

fn group(reader: &mut Reader, node: &Node, defaults: &Defaults) -> Option<Group> {
    let fields = reader.fields(node, "a group", GROUP_KEYS)?;
    let name = reader.text(&fields, "name").unwrap_or_default();
    if name.is_empty() {
        reader.complain(fields.mark, "a group needs a name");
    }
    let interval = reader.duration(&fields, "interval").filter(|interval| !interval.is_zero());
    let query_offset = reader.duration(&fields, "query_offset");
    let limit: Option<i64> = reader.number(&fields, "limit", "whole number");
    let labels = labels(reader, &fields, Names::Labels);
    let rules = reader.items(fields.get("rules"), "\"rules\"");
    let rules = rules.iter().filter_map(|node| rule(reader, node, &labels)).collect();
    Some(Group {
        file: reader.file.clone(),
        name: name.into(),
        interval: interval.unwrap_or(defaults.interval),
        query_offset: query_offset.unwrap_or(defaults.query_offset),
        // As in Prometheus, what is below nothing is no limit.
        limit: usize::try_from(limit.unwrap_or(0)).unwrap_or(0),
        rules,
    })
}

const RULE_KEYS: &[&str] =
    &["alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"];

fn rule(reader: &mut Reader, node: &Node, group_labels: &[Pair]) -> Option<Rule> {
    let fields = reader.fields(node, "a rule", RULE_KEYS)?;
    let name = |reader: &mut Reader, key| {
        reader.text(&fields, key).filter(|name| !name.is_empty()).map(Text::from)
    };
    let (alert, record) = (name(reader, "alert"), name(reader, "record"));
    if fields.get("expr").is_none() {
        reader.complain(fields.mark, "a rule needs an expr");
    }
    let expr = reader.expression(&fields, "expr");
    match (alert, record) {
        (Some(alert), None) => alerting(reader, &fields, alert, expr, group_labels),
        (None, Some(record)) => recording(reader, &fields, record, expr, group_labels),
        (Some(_), Some(_)) => {
            reader.complain(fields.mark, "a rule either alerts or records; two rules do both");
            None
        }
        (None, None) => {
            reader.complain(fields.mark, "a rule needs a name: write alert or record");
            None
        }
    }
}

type Parsed = Option<(farol_query::Expr, Text)>;

fn alerting(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: Text,
    expr: Parsed,
    group_labels: &[Pair],
) -> Option<Rule> {
    let hold = reader.duration(fields, "for").unwrap_or(Duration::ZERO);
    let keep_firing = reader.duration(fields, "keep_firing_for").unwrap_or(Duration::ZERO);
    let own = labels(reader, fields, Names::Labels);
    let labels = over(group_labels, own);
    let id = id(&name, &labels);
    let annotations = labels_of(reader, fields.get("annotations"), Names::Annotations);
    let labels = templates(reader, "label", labels);
    let annotations = templates(reader, "annotation", annotations);
    let (expr, text) = expr?;
    Some(Rule::Alert(Box::new(AlertRule {
        id,
        name,
        expr,
        text,
        hold,
        keep_firing,
        labels,
        annotations,
        recovery: None,
        missing: Missing::default(),
        flapping: None,
        remedy: None,
        line: fields.mark.line,
        column: fields.mark.column,
    })))
}

fn recording(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: Text,
    expr: Parsed,
    group_labels: &[Pair],
) -> Option<Rule> {
    if !is_metric_name(&name) {
        let mark = fields.get("record").map_or(fields.mark, |node| node.mark);
        let problem = format!(
            "{} is no name for a metric: letters, digits, _ and :, not a digit first",
            quoted(&name)
        );
        reader.complain(mark, problem);
    }
    for key in ["for", "keep_firing_for", "annotations"] {
        if fields.get(key).is_some() {
            let mark = fields.key(key).unwrap_or(fields.mark);
            reader.complain(mark, format!("a recording rule has no {key}; it is for alerts"));
        }
    }
    let own = labels(reader, fields, Names::Labels);
    let labels = over(group_labels, own).into_iter().map(|pair| (pair.name, pair.value)).collect();
    let (expr, text) = expr?;
    let Mark { line, column } = fields.mark;
    Some(Rule::Record(Box::new(RecordRule { name, expr, text, labels, line, column })))
}

/// A label or an annotation as it was written.
#[derive(Clone, Debug)]
struct Pair {
    name: Text,
    value: Text,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Labels,
    Annotations,
}

fn labels(reader: &mut Reader, fields: &Fields<'_>, names: Names) -> Vec<Pair> {
    labels_of(reader, fields.get("labels"), names)
}

/// Sorted by name, as labels are.
fn labels_of(reader: &mut Reader, node: Option<&Node>, names: Names) -> Vec<Pair> {
    let Some(node) = node else { return Vec::new() };
    let (whole, one) = match names {
        Names::Labels => ("\"labels\"", "a label"),
        Names::Annotations => ("\"annotations\"", "an annotation"),
    };
    let mut pairs = Vec::new();
    for (key, node) in reader.pairs(node, whole).unwrap_or_default() {
        let name = key.text.as_str();
        if !is_label_name(name) {
            let problem = format!(
                "{} is no name for {one}: letters, digits and _, not a digit first",
                quoted(name)
            );
            reader.complain(key.mark, problem);
        } else if names == Names::Labels && name == "__name__" {
            reader.complain(key.mark, "a rule cannot set __name__; record names the metric");
        }
        let what = format!("{one}, here {},", quoted(name));
        let Some(value) = reader.scalar(node, &what) else { continue };
        let mark = if node.content == Content::Empty { key.mark } else { node.mark };
        pairs.push(Pair { name: name.into(), value: value.into(), mark });
    }
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

/// The group's labels with the rule's own over them.
fn over(group: &[Pair], own: Vec<Pair>) -> Vec<Pair> {
    let is_own = |pair: &&Pair| own.iter().any(|own| own.name == pair.name);
    let mut pairs: Vec<Pair> = group.iter().filter(|pair| !is_own(pair)).cloned().collect();
    pairs.extend(own);
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

fn id(name: &str, labels: &[Pair]) -> Text {
    if labels.is_empty() {
        return name.into();
    }
    let pairs: Vec<String> =
        labels.iter().map(|Pair { name, value, .. }| format!("{name}={value:?}")).collect();
    format!("{name}{{{}}}", pairs.join(",")).into()
}

fn templates(reader: &mut Reader, what: &str, pairs: Vec<Pair>) -> Vec<(Text, Template)> {
    let mut templates = Vec::new();
    for Pair { name, value, mark } in pairs {
        match Template::parse(&value) {
            Ok(template) => templates.push((name, template)),
            Err(error) => reader.complain(mark, format!("{what} {name}: {error}")),
        }
    }
    templates
}

/// An alert is remembered by its group's name and its rule's id, so there may be only one of both.
pub(super) fn refuse_twins(groups: &[Group], errors: &mut Vec<RuleError>) {
    let mut seen: HashMap<(&Text, &Text), (&Text, usize)> = HashMap::new();
    for group in groups {
        for rule in &group.rules {
            let Rule::Alert(rule) = rule else { continue };
            let before = seen.insert((&group.name, &rule.id), (&group.file, rule.line));
            let Some((file, line)) = before else { continue };
            let problem = format!(
                "{} stands in the group {} already ({file}:{line}); give the two a label that tells \
                 them apart",
                rule.id,
                quoted(&group.name)
            );
            let (line, column) = (rule.line, rule.column);
            errors.push(RuleError { file: group.file.clone(), line, column, problem });
        }
    }
}
