//! `farol rules replay`: what would have fired on the stored history.
//!
//! It looks at the store as `farol query` does, beside a running Farol and without disturbing it. What
//! recording rules come to stays in its memory, laid over the history.

use std::{fmt::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use farol_alert::{
    EvalOptions, Group, RuleSet,
    replay::{Fired, Replayed, Span, replay},
    scratch::Scratch,
};
use farol_disk::{Disk, RealDisk};
use farol_model::{Labels, Timestamp};
use farol_query::{Stop, print_duration};
use farol_web::Queries;

use super::{
    super::{Out, complain, moment, running},
    read,
};
use crate::{
    clock,
    config::{self, Config},
    look, rule_files,
};

pub(super) fn configure(command: Command) -> Command {
    let since = Arg::new("since")
        .long("since")
        .value_name("TIME")
        .default_value("7d")
        .help(format!("Where to begin: {}", moment::HELP));
    let until = Arg::new("until")
        .long("until")
        .value_name("TIME")
        .help(format!("Where to end instead of now: {}", moment::HELP));
    let step = Arg::new("step")
        .long("step")
        .value_name("SPAN")
        .help("Evaluate every group so often, instead of in its own interval");
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("SPAN")
        .default_value("10m")
        .help("Stop after so long, and tell what was found until then");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(["text", "json"]))
        .default_value("text")
        .help("A line for each alert, or all of them as JSON");
    running::configure(
        command
            .arg(read::argument().help(
                "Files of rules, all that belong together [default: the rules of the configuration]",
            ))
            .args([since, until, step, timeout, format]),
    )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let config = config::from_process(config::flags_from(matches))?.config;
    let now = clock::now();
    let text = |name: &str| matches.get_one::<String>(name);
    let moment = |name: &str| {
        text(name).map(|text| moment::parse(&format!("--{name}"), text, now)).transpose()
    };
    let from = moment("since")?.context("--since has a default")?;
    let span = Span { from, to: moment("until")?.unwrap_or(now) };
    anyhow::ensure!(span.from < span.to, "--since is not before --until, or before now");
    let mut rules = rules(matches, &config)?;
    if let Some(interval) = positive(matches, "step")? {
        let slower = |group: &Arc<Group>| Arc::new(Group { interval, ..Group::clone(group) });
        rules.groups = rules.groups.iter().map(slower).collect();
    }
    let patience = positive(matches, "timeout")?.context("--timeout has a default")?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let looked = look::look(&disk, &config)?;
    for damage in &looked.damage {
        complain(format!("farol: {damage}"));
    }
    let mut scratch = Scratch::over(looked.store);
    let span = within_history(span, &scratch);
    let replayed = replayed(&rules, &mut scratch, span, &config, now, patience)?;
    if text("format").is_some_and(|format| format == "json") {
        out.line(json(&replayed.fired, span));
    } else {
        for fired in &replayed.fired {
            out.line(line(fired, span.to));
        }
    }
    out.flush();
    tell(&replayed, span, patience);
    match out.failure() {
        Some(error) => Err(error).context("standard output"),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn rules(matches: &ArgMatches, config: &Config) -> anyhow::Result<RuleSet> {
    match matches.get_many::<PathBuf>("files") {
        Some(_) => rule_files::parse(&read::given(matches)?, &config.rules),
        None => rule_files::load(&config.rules),
    }
}

fn positive(matches: &ArgMatches, name: &str) -> anyhow::Result<Option<Duration>> {
    let Some(text) = matches.get_one::<String>(name) else { return Ok(None) };
    let span =
        config::parse_duration(text).map_err(|why| anyhow::anyhow!("--{name} {text:?} {why}"))?;
    anyhow::ensure!(!span.is_zero(), "--{name} {text}: some time must pass");
    Ok(Some(span))
}

/// Before the first sample there is nothing to evaluate.
fn within_history(span: Span, scratch: &Scratch) -> Span {
    let oldest = scratch.reader().oldest().unwrap_or(span.to);
    let from = span.from.max(oldest).min(span.to);
    if from > span.from {
        complain(format!("farol: the history begins at {}", clock::rfc3339(from)));
    }
    Span { from, ..span }
}

fn replayed(
    rules: &RuleSet,
    scratch: &mut Scratch,
    span: Span,
    config: &Config,
    now: Timestamp,
    patience: Duration,
) -> anyhow::Result<Replayed> {
    let lap = clock::lap();
    let watch = || (lap.elapsed() > patience).then_some(Stop::TimedOut);
    let step = Duration::from_millis(Queries::SUBQUERY_STEP.unsigned_abs());
    let options = EvalOptions {
        external_labels: &Labels::empty(),
        external_url: "",
        lookback: config.query.lookback_delta,
        subquery_step: step,
        now: Some(now),
        round: Duration::ZERO,
        limits: config.query.limits(),
        watch: &watch,
        lap: &|| Duration::ZERO,
    };
    replay(rules, scratch, span, &options).map_err(|problem| anyhow::anyhow!(problem))
}

/// What is not about one alert, beside the output.
fn tell(replayed: &Replayed, span: Span, patience: Duration) {
    for (rule, (times, problem)) in &replayed.errors {
        complain(format!("farol: {rule} could not be evaluated {times} times, at last: {problem}"));
    }
    if let Some(at) = replayed.stopped_at {
        let (patience, at) = (config::show_duration(patience), clock::rfc3339(at));
        complain(format!(
            "farol: stopped at {at} after {patience}; --timeout allows more, --step asks for less"
        ));
    }
    let episodes = match replayed.fired.len() {
        1 => "1 alert".to_owned(),
        many => format!("{many} alerts"),
    };
    let (from, to) = (clock::rfc3339(span.from), clock::rfc3339(span.to));
    complain(format!(
        "farol: {episodes} from {from} to {to}, {} pending at the end, in {} evaluations",
        replayed.pending, replayed.evaluations
    ));
}

/// `FROM  TO  FOR  NAME{labels}  VALUE`
fn line(fired: &Fired, end: Timestamp) -> String {
    let from = clock::rfc3339(fired.from);
    let to = fired.to.map_or_else(|| "(still firing)".to_owned(), clock::rfc3339);
    let length = fired.to.unwrap_or(end).since(fired.from);
    let length = print_duration(i64::try_from(length.as_millis()).unwrap_or(i64::MAX));
    let mut text = format!("{from}  {to:<24}  {length:>8}  {}", named(&fired.labels));
    let mut value = Vec::new();
    farol_query::print_number(fired.value, &mut value);
    text.push_str("  ");
    text.push_str(&String::from_utf8_lossy(&value));
    text
}

fn named(labels: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels.iter().filter(|(name, _)| name.as_str() != "alertname") {
        let comma = if text.is_empty() { "" } else { "," };
        // A text takes everything.
        write!(text, "{comma}{name}={value:?}").ok();
    }
    format!("{}{{{text}}}", labels.get("alertname").unwrap_or_default())
}

fn json(fired: &[Fired], span: Span) -> String {
    let object = |labels: &Labels| {
        let pairs = labels.iter().map(|(name, value)| (name.to_string(), value.as_str().into()));
        serde_json::Value::Object(pairs.collect())
    };
    let alerts = fired.iter().map(|fired| {
        let mut value = Vec::new();
        farol_query::print_number(fired.value, &mut value);
        serde_json::json!({
            "group": fired.group.as_str(),
            "labels": object(&fired.labels),
            "annotations": object(&fired.annotations),
            "activeAt": clock::rfc3339(fired.active_at),
            "from": clock::rfc3339(fired.from),
            "to": fired.to.map(clock::rfc3339),
            "value": String::from_utf8_lossy(&value),
        })
    });
    serde_json::json!({
        "from": clock::rfc3339(span.from),
        "to": clock::rfc3339(span.to),
        "alerts": alerts.collect::<Vec<_>>(),
    })
    .to_string()
}
