//! `rules` and `alerts`: what is watched for, and what was found.

use std::time::Duration;

use farol_alert::{AlertRule, Group, RecordRule, Rule, board::Run};
use farol_model::{Alert, Memory, Phase};
use farol_store::Matcher;
use serde_json::{Map, Value, json};

use super::{
    Asked,
    error::ApiError,
    params::Params,
    status::{rfc3339, success},
};

pub(super) fn alerts(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let memory = asked.site.memory.borrow().clone();
    let alerts: Vec<Value> =
        memory.alerts.values().filter(|a| is_active(a)).map(|a| shown(a)).collect();
    Ok(success(&json!({ "alerts": alerts })))
}

pub(super) fn rules(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let wanted = Wanted::read(asked)?;
    let board = (asked.site.rules)();
    let memory = asked.site.memory.borrow().clone();
    let mut groups = Vec::new();
    let mut next = None;
    for (group, run) in board.rules.groups.iter().zip(&board.runs) {
        if !wanted.wants_group(group) {
            continue;
        }
        let Some(shown) = shown_group(group, run.as_ref(), &memory, &wanted) else { continue };
        if wanted.group_limit > 0 && groups.len() == wanted.group_limit {
            next = Some(token(group));
            break;
        }
        groups.push(shown);
    }
    if let (Some(from), false) = (wanted.from, wanted.started.get()) {
        let why = format!("invalid group_next_token '{from}'. were rule groups changed?");
        return Err(ApiError::bad(why));
    }
    let mut data = Map::new();
    data.insert("groups".into(), groups.into());
    if let Some(next) = next {
        data.insert("groupNextToken".into(), next.into());
    }
    Ok(success(&data.into()))
}

/// What is asked for; an empty list is all.
struct Wanted<'a> {
    kind: Option<&'a str>,
    names: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    selectors: Vec<Vec<Matcher>>,
    without_alerts: bool,
    group_limit: usize,
    /// Groups before it were shown already.
    from: Option<&'a str>,
    started: std::cell::Cell<bool>,
}

impl<'a> Wanted<'a> {
    fn read(asked: &Asked<'a>) -> Result<Wanted<'a>, ApiError> {
        let params: &Params = asked.params;
        let kind = params.get("type");
        if kind.is_some_and(|kind| !["alert", "record"].contains(&kind)) {
            let why = format!("not supported value {:?}", kind.unwrap_or_default());
            return Err(ApiError::parameter("type", why));
        }
        let without_alerts = match params.get("exclude_alerts") {
            None => false,
            Some(text) => text.parse().map_err(|_| {
                ApiError::parameter("exclude_alerts", format!("{text:?} is not true or false"))
            })?,
        };
        let group_limit = params.limit("group_limit")?;
        let from = params.get("group_next_token");
        if from.is_some() && group_limit == 0 {
            let why = "group_limit needs to be set in order to paginate over the groups";
            return Err(ApiError::bad(why));
        }
        Ok(Wanted {
            kind,
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            selectors: params.selectors(asked.ticket)?,
            without_alerts,
            group_limit,
            from,
            started: std::cell::Cell::new(from.is_none()),
        })
    }

    fn wants_group(&self, group: &Group) -> bool {
        if !self.started.get() && self.from == Some(token(group).as_str()) {
            self.started.set(true);
        }
        let is_named = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        self.started.get()
            && is_named(&self.groups, &group.name)
            && is_named(&self.files, &group.file)
    }

    fn wants_rule(&self, rule: &Rule) -> bool {
        let (kind, name) = match rule {
            Rule::Alert(rule) => ("alert", &rule.name),
            Rule::Record(rule) => ("record", &rule.name),
        };
        let is_kind = self.kind.is_none_or(|wanted| wanted == kind);
        let is_named = self.names.is_empty() || self.names.contains(&name.as_str());
        is_kind && is_named && self.is_selected(rule)
    }

    fn is_selected(&self, rule: &Rule) -> bool {
        let matches = |matcher: &Matcher| matcher.is_match(label_of(rule, &matcher.name));
        self.selectors.is_empty()
            || self.selectors.iter().any(|selector| selector.iter().all(matches))
    }
}

/// As it stands in the rule, a template unread.
fn label_of<'a>(rule: &'a Rule, name: &str) -> &'a str {
    let found = match rule {
        Rule::Alert(rule) => {
            rule.labels.iter().find(|(held, _)| *held == *name).map(|(_, text)| text.text.as_str())
        }
        Rule::Record(rule) => {
            rule.labels.iter().find(|(held, _)| *held == *name).map(|(_, text)| text.as_str())
        }
    };
    found.unwrap_or_default()
}

/// Names a group for who pages through them.
fn token(group: &Group) -> String {
    format!("{};{}", group.file, group.name)
}

/// Nothing for a group of which no rule is wanted.
fn shown_group(
    group: &Group,
    run: Option<&Run>,
    memory: &Memory,
    wanted: &Wanted<'_>,
) -> Option<Value> {
    let mut rules = Vec::new();
    for (place, rule) in group.rules.iter().enumerate() {
        if !wanted.wants_rule(rule) {
            continue;
        }
        let outcome = run.and_then(|run| run.rules.get(place));
        let mut shown = match rule {
            Rule::Alert(rule) => alerting(group, rule, run, memory, wanted.without_alerts),
            Rule::Record(rule) => recording(rule),
        };
        add_outcome(&mut shown, run, outcome);
        rules.push(Value::Object(shown));
    }
    if rules.is_empty() {
        return None;
    }
    Some(json!({
        "name": group.name.as_str(),
        "file": group.file.as_str(),
        "interval": seconds(group.interval),
        "limit": group.limit,
        "rules": rules,
        "evaluationTime": run.map_or(0.0, |run| run.took.as_secs_f64()),
        "lastEvaluation": run.map_or_else(never, |run| rfc3339(run.at)),
    }))
}

fn alerting(
    group: &Group,
    rule: &AlertRule,
    run: Option<&Run>,
    memory: &Memory,
    without_alerts: bool,
) -> Map<String, Value> {
    let of_rule = |alert: &&std::sync::Arc<Alert>| {
        alert.group == group.name && alert.rule == rule.id && is_active(alert)
    };
    let active: Vec<_> = memory.alerts.values().filter(of_rule).collect();
    let state = match active.iter().map(|alert| alert.phase).max() {
        Some(Phase::Firing) => "firing",
        Some(_) => "pending",
        None if run.is_none() => "unknown",
        None => "inactive",
    };
    let text = |pairs: &[(farol_model::Text, farol_alert::Template)]| -> Value {
        let pair = |(name, text): &(farol_model::Text, farol_alert::Template)| {
            (name.to_string(), Value::from(text.text.as_str()))
        };
        Value::Object(pairs.iter().map(pair).collect())
    };
    let mut shown = object(json!({
        "type": "alerting",
        "state": state,
        "name": rule.name.as_str(),
        "query": rule.text.as_str(),
        "duration": seconds(rule.hold),
        "keepFiringFor": seconds(rule.keep_firing),
        "labels": text(&rule.labels),
        "annotations": text(&rule.annotations),
    }));
    if !without_alerts {
        shown.insert("alerts".into(), active.iter().map(|alert| self::shown(alert)).collect());
    }
    shown
}

fn recording(rule: &RecordRule) -> Map<String, Value> {
    let labels =
        rule.labels.iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str())));
    object(json!({
        "type": "recording",
        "name": rule.name.as_str(),
        "query": rule.text.as_str(),
        "labels": Value::Object(labels.collect()),
    }))
}

fn add_outcome(
    shown: &mut Map<String, Value>,
    run: Option<&Run>,
    outcome: Option<&(Duration, Option<String>)>,
) {
    let health = match outcome {
        None => "unknown",
        Some((_, Some(_))) => "err",
        Some((_, None)) => "ok",
    };
    shown.insert("health".into(), health.into());
    if let Some((_, Some(error))) = outcome {
        shown.insert("lastError".into(), error.as_str().into());
    }
    let took = outcome.map_or(0.0, |(took, _)| took.as_secs_f64());
    shown.insert("evaluationTime".into(), took.into());
    let at = run.map_or_else(never, |run| rfc3339(run.at));
    shown.insert("lastEvaluation".into(), at.into());
}

/// Go's time before all others.
fn never() -> Option<String> {
    Some("0001-01-01T00:00:00Z".to_owned())
}

fn is_active(alert: &Alert) -> bool {
    alert.phase != Phase::Ended
}

fn shown(alert: &Alert) -> Value {
    let pairs = |labels: &farol_model::Labels| -> Value {
        let pair = |(name, value): (&farol_model::Text, &farol_model::Text)| {
            (name.to_string(), Value::from(value.as_str()))
        };
        Value::Object(labels.iter().map(pair).collect())
    };
    let mut shown = object(json!({
        "labels": pairs(&alert.labels),
        "annotations": pairs(&alert.annotations),
        "state": if alert.phase == Phase::Firing { "firing" } else { "pending" },
        "activeAt": rfc3339(alert.active_at),
    }));
    if let Some(since) = alert.keeping_since {
        shown.insert("keepFiringSince".into(), rfc3339(since).into());
    }
    shown.insert("value".into(), exponent(alert.value).into());
    shown.into()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn seconds(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => duration.as_secs().into(),
        _ => duration.as_secs_f64().into(),
    }
}

/// As Go's `%e` has it with as many digits as are needed: `1e+00`, `9.25e+01`.
fn exponent(value: f64) -> String {
    if !value.is_finite() {
        let mut text = Vec::new();
        farol_query::print_number(value, &mut text);
        return String::from_utf8_lossy(&text).into_owned();
    }
    let text = format!("{value:e}");
    let Some((digits, power)) = text.split_once('e') else { return text };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_an_exponent_of_two_digits_at_least() {
        for (value, expected) in [
            (0.0, "0e+00"),
            (1.0, "1e+00"),
            (92.5, "9.25e+01"),
            (-0.000_12, "-1.2e-04"),
            (1e300, "1e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(exponent(value), expected);
        }
    }
}
