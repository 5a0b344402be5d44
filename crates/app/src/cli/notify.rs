//! `farol notify`: tries a notifier, or shows what it would say. No running Farol is needed: what fires
//! is read from its journal.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{Arg, ArgMatches, Command};
use farol_alert::{
    AlertRule, Notice, Reason, Rule, RuleSet, dispatch,
    template::{Context, Template},
};
use farol_disk::{Disk, RealDisk};
use farol_model::{Alert, Labels, Memory, Phase, Text, Timestamp};
use farol_wire::yaml::nearest;

use super::{Out, complain};
use crate::{
    channels, clock,
    config::{self, Config, Notifier},
    rule_files,
};

pub(super) fn configure(command: Command) -> Command {
    let name = Arg::new("NAME").required(true).help("The notifier's name in the configuration");
    let test = Command::new("test")
        .about("Send a test message through a notifier now, and say what its receiver answered");
    let rule = Arg::new("RULE").required(true).help("The name of an alerting rule");
    let channel = Arg::new("channel")
        .long("channel")
        .value_name("NAME")
        .help("Only what this notifier would send; else each of them");
    let preview = Command::new("preview")
        .about("Show as JSON what is sent of this rule's alerts that fire, or else would be, and send nothing");
    command
        .subcommand_required(true)
        .subcommand(config::add_flags(test.arg(name)))
        .subcommand(config::add_flags(preview.arg(rule).arg(channel)))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (command, matches) = matches.subcommand().context("no subcommand")?;
    let config = config::from_process(config::flags_from(matches))?.config;
    match command {
        "test" => test(&config, given(matches, "NAME"), out),
        _ => preview(&config, given(matches, "RULE"), matches.get_one::<String>("channel"), out),
    }
}

fn given<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}

fn test(config: &Config, name: &str, out: &mut Out) -> anyhow::Result<ExitCode> {
    let notifier = notifier(config, name)?;
    let notice = Notice {
        channel: notifier.name.clone(),
        group: Text::from_static("{}:{alertname=\"FarolTest\"}"),
        group_labels: Labels::from([("alertname", "FarolTest")]),
        ..notice(clock::now(), vec![Arc::new(test_alert(config, clock::now()))])
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the network")?;
    let mut all_well = true;
    for mut sender in channels::senders(config, notifier)? {
        match runtime.block_on(sender.send(&notice)) {
            Ok(sent) => {
                let id = sent.message.map(|id| format!(" (message {id})")).unwrap_or_default();
                out.line(format!("{name}: the receiver has taken the test message{id}"));
            }
            Err(error) => {
                all_well = false;
                complain(format!("{name}: {}", error.reason().as_str()));
            }
        }
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rule may be misspelt, or its file not be among those of the configuration.
fn unknown(rule: &str, rules: &RuleSet) -> String {
    let mut known: Vec<&str> = rules
        .rules()
        .filter_map(|(_, rule)| match rule {
            Rule::Alert(rule) => Some(&*rule.name),
            Rule::Record(_) => None,
        })
        .collect();
    known.dedup();
    match nearest(rule, known.iter().copied()) {
        Some(nearest) => format!("there is no alerting rule {rule:?}; did you mean {nearest:?}?"),
        None => format!("there is no alerting rule {rule:?}, only {}", known.join(", ")),
    }
}

fn preview(
    config: &Config,
    rule: &str,
    channel: Option<&String>,
    out: &mut Out,
) -> anyhow::Result<ExitCode> {
    let rules = rule_files::load(&config.rules)?;
    let alerts: Vec<Alert> = rules
        .rules()
        .filter_map(|(group, found)| match found {
            Rule::Alert(found) if *found.name == *rule => {
                Some(made_up(config, &group.name, found, clock::now()))
            }
            Rule::Alert(_) | Rule::Record(_) => None,
        })
        .collect();
    if alerts.is_empty() {
        bail!(unknown(rule, &rules));
    }
    let firing = firing(config, rule);
    let logs = config.logs.display();
    let shown = match firing.len() {
        0 => {
            complain(format!(
                "{rule} does not fire by the journal in {logs}: this is made up, with a value of no meaning"
            ));
            alerts.into_iter().map(Arc::new).collect()
        }
        count => {
            complain(format!("{rule} fires by the journal in {logs}: {count} of its alerts"));
            firing
        }
    };
    let memory = Memory {
        alerts: shown.into_iter().map(|alert| (alert.key(), alert)).collect(),
        ..Memory::default()
    };
    let notifiers: Vec<&Notifier> = match channel {
        Some(name) => vec![notifier(config, name)?],
        None => config.notifiers.iter().collect(),
    };
    if notifiers.is_empty() {
        bail!("no notifier is configured (notify: in the configuration)");
    }
    let mut messages = BTreeMap::new();
    for notifier in notifiers {
        messages.insert(notifier.name.as_str(), previews(config, notifier, &memory)?);
    }
    out.line(serde_json::to_string_pretty(&messages)?);
    Ok(ExitCode::SUCCESS)
}

/// One message for each group of the alerts that the notifier is told of.
fn previews(
    config: &Config,
    notifier: &Notifier,
    memory: &Memory,
) -> anyhow::Result<Vec<serde_json::Value>> {
    let senders = channels::senders(config, notifier)?;
    let name = &notifier.name;
    let (Some(sender), false) = (senders.first(), notifier.is_heartbeat()) else {
        complain(format!("{name}: a heartbeat tells of no alert"));
        return Ok(Vec::new());
    };
    let groups = dispatch::groups(memory, &channels::route(notifier, &config.alerts));
    if groups.is_empty() {
        complain(format!("{name}: is not told of it, by its `match`"));
    }
    let now = clock::now();
    let one = |(group, group_labels, mut alerts): (Text, Labels, Vec<Arc<Alert>>)| {
        alerts.sort_by_key(|alert| alert.fired_at);
        let truncated = alerts.len().saturating_sub(dispatch::MOST_ALERTS);
        alerts.truncate(dispatch::MOST_ALERTS);
        let notice = notice(now, alerts);
        sender.preview(&Notice { channel: name.clone(), group, group_labels, truncated, ..notice })
    };
    Ok(groups.into_iter().map(one).collect())
}

/// The alerts of the rule that fire. A journal that cannot be read knows of none.
fn firing(config: &Config, rule: &str) -> Vec<Arc<Alert>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let memory = match farol_journal::recall(&disk, &config.logs) {
        Ok(recalled) => recalled.memory,
        Err(error) => {
            complain(format!("the journal cannot be read: {error}"));
            Memory::default()
        }
    };
    let is_meant = |alert: &Arc<Alert>| alert.phase == Phase::Firing && alert.name() == rule;
    memory.alerts.into_values().filter(is_meant).collect()
}

fn notifier<'a>(config: &'a Config, name: &str) -> anyhow::Result<&'a Notifier> {
    let found = config.notifiers.iter().find(|notifier| *notifier.name == *name);
    found.with_context(|| {
        let names: Vec<&str> =
            config.notifiers.iter().map(|notifier| notifier.name.as_str()).collect();
        match names.is_empty() {
            true => "no notifier is configured (notify: in the configuration)".to_owned(),
            false => format!("there is no notifier {name:?}, only {}", names.join(", ")),
        }
    })
}

/// The first about these alerts; whose it is, and of which group, is still to be said.
fn notice(at: Timestamp, alerts: Vec<Arc<Alert>>) -> Notice {
    Notice {
        channel: Text::EMPTY,
        group: Text::EMPTY,
        group_labels: Labels::empty(),
        alerts,
        truncated: 0,
        reason: Reason::First,
        message: None,
        at,
    }
}

fn test_alert(config: &Config, now: Timestamp) -> Alert {
    let labels = Labels::from([
        ("alertname", "FarolTest"),
        ("instance", &*config.host_name),
        ("severity", "info"),
    ]);
    let annotations = Labels::from([
        ("summary", "A test message of Farol"),
        ("description", "Somebody has run `farol notify test`. Nothing is wrong."),
    ]);
    alert("test", "FarolTest", labels, annotations, 1.0, now)
}

/// As if the rule fired for this machine: its own labels and texts, with a value of no meaning.
fn made_up(config: &Config, group: &Text, rule: &AlertRule, now: Timestamp) -> Alert {
    const VALUE: f64 = 42.0;
    let (host, job) = (&*config.host_name, &*config.store.job);
    let series = Labels::from([("instance", host), ("job", job)]);
    let context = Context {
        labels: &series,
        value: VALUE,
        external_labels: &Labels::empty(),
        external_url: config.web.external_url.as_deref().unwrap_or_default(),
        query: &|_| Ok(Vec::new()),
    };
    let expanded = |pairs: &[(Text, Template)]| -> Vec<(Text, Text)> {
        let one = |(name, template): &(Text, Template)| {
            (name.clone(), Text::from(template.expand(&context)))
        };
        pairs.iter().map(one).collect()
    };
    let mut labels = expanded(&rule.labels);
    for (name, value) in [("alertname", &*rule.name), ("instance", host), ("job", job)] {
        if !labels.iter().any(|(known, _)| known.as_str() == name) {
            labels.push((name.into(), value.into()));
        }
    }
    let annotations = Labels::new(expanded(&rule.annotations));
    alert(group, &rule.id, Labels::new(labels), annotations, VALUE, now)
}

fn alert(
    group: &str,
    rule: &str,
    labels: Labels,
    annotations: Labels,
    value: f64,
    now: Timestamp,
) -> Alert {
    Alert {
        group: group.into(),
        rule: rule.into(),
        labels,
        annotations,
        series: Labels::empty(),
        value,
        phase: Phase::Firing,
        active_at: now,
        fired_at: Some(now),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: now,
        ended_at: None,
        firings: vec![now],
        is_flapping: false,
        remedy: None,
    }
}
