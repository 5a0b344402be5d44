//! `farol silence add | list | expire`: what is not to be told for a while.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_alert::Matcher;
use farol_model::Timestamp;
use serde_json::{Value, json};

use super::{Out, moment, running};
use crate::{
    clock,
    config::{self, show_duration},
    control,
};

pub(super) fn configure(command: Command) -> Command {
    command
        .subcommand_required(true)
        .subcommand(add_command())
        .subcommand(running::configure(
            Command::new("list")
                .about("Show the silences that are active or will be")
                .arg(matchers("Only those with such a matcher").required(false))
                .arg(
                    Arg::new("expired")
                        .long("expired")
                        .action(ArgAction::SetTrue)
                        .help("Those that are over too, as long as they are remembered"),
                )
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_name("FORMAT")
                        .value_parser(["text", "json"])
                        .default_value("text")
                        .help("For people, or as Alertmanager's API has it"),
                ),
        ))
        .subcommand(running::configure(
            Command::new("expire").about("End silences now").arg(
                Arg::new("id")
                    .value_name("ID")
                    .required(true)
                    .num_args(1..)
                    .help("As `farol silence list` shows it"),
            ),
        ))
}

fn add_command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let add = Command::new("add")
        .about("Do not tell of matching alerts for a while; they are recorded all the same")
        .arg(matchers("All must match: alertname=HostDiskUsed, instance=~\"web.*\", severity!=critical").required(true))
        .arg(text("for", "SPAN", "How long, such as 2h").required(true))
        .arg(text(
            "start",
            "TIME",
            "From when on: a span from now such as 1h, or a time such as 2026-11-22T10:00:00Z [default: now]",
        ))
        .arg(text("comment", "TEXT", "Why"))
        .arg(text("author", "NAME", "Who [default: the user that asks]"));
    running::configure(add)
}

fn matchers(help: &'static str) -> Arg {
    Arg::new("matcher").value_name("MATCHER").num_args(1..).help(help)
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    match name {
        "add" => add(matches, out),
        "list" => list(matches, out),
        _ => expire(matches, out),
    }
}

fn add(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let long = text("for").unwrap_or_default();
    let long =
        config::parse_duration(long).map_err(|why| anyhow::anyhow!("--for {long:?} {why}"))?;
    let start = text("start").map(|start| begin(start, now)).transpose()?.unwrap_or(now);
    let author = text("author").map_or_else(|| user(&config::environment()), str::to_owned);
    let matchers = read_matchers(matches)?;
    let matchers = matchers.iter().map(|matcher| {
        let written = matcher.written();
        json!({
            "name": written.name.as_str(),
            "value": written.value.as_str(),
            "isRegex": written.is_regex,
            "isEqual": written.is_equal,
        })
    });
    let silence = json!({
        "matchers": matchers.collect::<Value>(),
        "startsAt": clock::rfc3339(start),
        "endsAt": clock::rfc3339(start.plus(long)),
        "createdBy": author,
        "comment": text("comment").unwrap_or_default(),
    });
    let id =
        running::ask_by(matches, control::Command::SilenceAdd, &json!({ "silence": silence }))?;
    out.line(id.as_str().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// A span is one from now on: a silence begins no earlier.
fn begin(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    match config::parse_duration(text) {
        Ok(span) => Ok(now.plus(span)),
        Err(_) => moment::parse("--start", text, now),
    }
}

/// Who is behind `sudo` is meant.
fn user(environment: &BTreeMap<String, String>) -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| environment.get(name));
    named.cloned().unwrap_or_else(|| "farol".to_owned())
}

fn read_matchers(matches: &ArgMatches) -> anyhow::Result<Vec<Matcher>> {
    let given = matches.get_many::<String>("matcher").unwrap_or_default();
    given.map(|text| Matcher::read(text).map_err(anyhow::Error::msg)).collect()
}

fn list(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let filters = read_matchers(matches)?;
    let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
    let silences =
        running::ask_by(matches, control::Command::SilenceList, &json!({ "filter": filters }))?;
    let mut silences = silences.as_array().cloned().unwrap_or_default();
    if !matches.get_flag("expired") {
        silences.retain(|silence| silence["status"]["state"] != "expired");
    }
    if matches.get_one::<String>("format").is_some_and(|format| format == "json") {
        out.line(serde_json::to_string_pretty(&silences)?);
        return Ok(ExitCode::SUCCESS);
    }
    if silences.is_empty() {
        out.line("no silences");
    }
    let now = clock::now();
    for silence in &silences {
        out.line(written(silence, now));
    }
    Ok(ExitCode::SUCCESS)
}

/// Two lines: which and until when; what, by whom and why.
fn written(silence: &Value, now: Timestamp) -> String {
    let text = |name: &str| silence[name].as_str().unwrap_or_default();
    let time = |name: &str| {
        let parsed = text(name).parse::<jiff::Timestamp>().ok();
        parsed.map(|at| Timestamp::from_millis(at.as_millisecond())).unwrap_or_default()
    };
    let (starts, ends) = (time("startsAt"), time("endsAt"));
    let span = |span: Duration| show_duration(round(span));
    let state = match silence["status"]["state"].as_str() {
        Some("active") => {
            format!("active for {} more, until {}", span(ends.since(now)), text("endsAt"))
        }
        Some("pending") => {
            format!("begins in {}, until {}", span(starts.since(now)), text("endsAt"))
        }
        _ => format!("over since {}", text("endsAt")),
    };
    let matchers = silence["matchers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let matchers = matchers.iter().map(|matcher| {
        let text = |name: &str| matcher[name].as_str().unwrap_or_default().into();
        let is = |name: &str| matcher[name].as_bool().unwrap_or_default();
        farol_model::SilenceMatcher {
            name: text("name"),
            value: text("value"),
            is_regex: is("isRegex"),
            is_equal: is("isEqual"),
        }
        .to_string()
    });
    let matchers = matchers.collect::<Vec<_>>().join(" ");
    let (by, comment) = (text("createdBy"), text("comment"));
    let why = if comment.is_empty() { String::new() } else { format!(": {comment}") };
    format!("{}  {state}\n  {matchers}  by {by}{why}", text("id"))
}

/// To minutes, where minutes are what people ask about.
fn round(span: Duration) -> Duration {
    let step = if span < Duration::from_secs(120) { 1 } else { 60 };
    let steps = span.as_millis().div_ceil(step * 1000);
    Duration::from_secs(u64::try_from(steps * step).unwrap_or(u64::MAX))
}

fn expire(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    for id in matches.get_many::<String>("id").unwrap_or_default() {
        running::ask_by(matches, control::Command::SilenceExpire, &json!({ "id": id }))?;
        out.line(format!("expired {id}"));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_span_from_now_or_a_time() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let read = |text| begin(text, now).unwrap().as_millis();
        assert_eq!(read("1h30m"), 1_700_005_400_000);
        assert_eq!(read("2023-11-14T22:13:21Z"), 1_700_000_001_000);
        assert!(begin("tomorrow", now).unwrap_err().to_string().contains("--start"));
    }

    #[test]
    fn a_silence_is_told_in_two_lines() {
        let silence = json!({
            "id": "1", "status": { "state": "active" }, "createdBy": "ana", "comment": "works",
            "startsAt": "2023-11-14T22:13:20.000Z", "endsAt": "2023-11-14T23:13:20.000Z",
            "matchers": [{ "name": "a", "value": "b", "isRegex": true, "isEqual": false }],
        });
        let now = Timestamp::from_millis(1_700_000_000_000);
        assert_eq!(
            written(&silence, now),
            "1  active for 1h more, until 2023-11-14T23:13:20.000Z\n  a!~\"b\"  by ana: works"
        );
    }
}
