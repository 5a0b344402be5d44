//! `farol remedy list | run | history`: what may be run against alerts, and what has been.

use std::{process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_disk::{Disk, RealDisk};
use farol_journal::{Item, Reader, StartAt};
use farol_model::{Record, Stream, Timestamp};
use serde_json::{Value, json};

use super::{Out, moment, running};
use crate::{clock, config, control, remedies};

pub(super) fn configure(command: Command) -> Command {
    command
        .subcommand_required(true)
        .subcommand(with_format(running::configure(
            Command::new("list").about("Show the remedies, what they may do, and when again"),
        )))
        .subcommand(running::configure(
            Command::new("run")
                .about("Run a remedy now, in the running Farol, by its policy")
                .arg(Arg::new("name").value_name("NAME").required(true).help("Of the remedy"))
                .arg(flag("dry-run", "Say what it would do, and do nothing"))
                .arg(flag("force", "Pass over its pause, its budget, its hours and its rest")),
        ))
        .subcommand(with_format(running::configure(
            Command::new("history")
                .about("Show what was run, rehearsed and refused, from the journal")
                .arg(
                    Arg::new("since")
                        .long("since")
                        .value_name("TIME")
                        .help(format!("Only what is younger: {} [default: 7d]", moment::HELP)),
                )
                .arg(Arg::new("name").value_name("NAME").help("Only of this remedy")),
        )))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn with_format(command: Command) -> Command {
    command.arg(
        Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .default_value("text")
            .help("For people, or for programs"),
    )
}

fn is_json(matches: &ArgMatches) -> bool {
    matches.get_one::<String>("format").is_some_and(|format| format == "json")
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    match name {
        "list" => list(matches, out),
        "run" => run_one(matches, out),
        _ => history(matches, out),
    }
}

fn list(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let remedies = running::ask_by(matches, control::Command::RemedyList, &json!({}))?;
    if is_json(matches) {
        out.line(serde_json::to_string_pretty(&remedies)?);
        return Ok(ExitCode::SUCCESS);
    }
    for remedy in remedies.as_array().into_iter().flatten() {
        out.line(listed(remedy));
    }
    Ok(ExitCode::SUCCESS)
}

/// Its name and state; what it does; when; what is missing.
fn listed(remedy: &Value) -> String {
    let text = |name: &str| remedy[name].as_str().unwrap_or_default();
    let is = |name: &str| remedy[name].as_bool().unwrap_or_default();
    let mode = match (is("isRunning"), is("dryRun")) {
        (true, _) => "running",
        (false, true) => "dry run",
        (false, false) => "active",
    };
    let (name, treatment) = (text("name"), text("treatment"));
    let kind = if name == treatment { String::new() } else { format!(" ({treatment})") };
    let last = match remedy["lastRun"].as_str() {
        Some(last) => format!("last run {last}"),
        None => "never run".to_owned(),
    };
    let next = match (is("granted"), is("dryRun"), remedy["nextAllowed"].as_str()) {
        (false, ..) => text("notGranted").to_owned(),
        (true, true, _) => "only says what it would do".to_owned(),
        (true, false, None) => "may run now".to_owned(),
        (true, false, Some(next)) => format!("may run again {next}"),
    };
    format!("{name}{kind}  {mode}\n  {}\n  {last}; {next}", text("what"))
}

/// Between two looks at what has become of it.
const LOOK: Duration = Duration::from_millis(200);

fn run_one(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let name = matches.get_one::<String>("name").map(String::as_str).unwrap_or_default();
    let arguments = json!({
        "name": name,
        "dryRun": matches.get_flag("dry-run"),
        "force": matches.get_flag("force"),
    });
    let begun = running::ask_by(matches, control::Command::RemedyRun, &arguments)?;
    let id = begun["id"].as_str().unwrap_or_default();
    if begun["isRehearsal"] == true && !matches.get_flag("dry-run") {
        out.line(format!("{name} runs dry, as dry_run is not false in its configuration"));
    }
    out.flush();
    loop {
        let remedies = running::ask_by(matches, control::Command::RemedyList, &json!({}))?;
        let remedy = remedies.as_array().into_iter().flatten().find(|row| row["name"] == name);
        let Some(remedy) = remedy else { anyhow::bail!("{name} is not configured any more") };
        let last = &remedy["last"];
        match last["step"].as_str() {
            Some("rehearsed" | "finished" | "judged" | "unknown") if last["id"] == id => {
                out.line(last["text"].as_str().unwrap_or_default());
                if let Some(output) = last["output"].as_str().filter(|output| !output.is_empty()) {
                    out.line(output.trim_end());
                }
                let failed = last["ok"] == false;
                return Ok(ExitCode::from(u8::from(failed)));
            }
            _ => {}
        }
        #[expect(clippy::disallowed_methods, reason = "a command that waits is ended by Ctrl-C")]
        thread::sleep(LOOK);
    }
}

fn history(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let since = matches.get_one::<String>("since").map_or("7d", String::as_str);
    let since = moment::parse("--since", since, clock::now())?;
    let name = matches.get_one::<String>("name");
    let folder = config::from_process(config::flags_from(matches))?.config.logs;
    if matches!(folder.try_exists(), Ok(false)) {
        let folder = folder.display();
        anyhow::bail!("there is no folder {folder}; name the journal's with --logs, or --data");
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut reader = Reader::open(disk, &folder, Stream::Events, StartAt::Day(since))?;
    let mut is_empty = true;
    while let Some(item) = reader.next()?
        && out.is_open()
    {
        let Item::Line(line) = item else { continue };
        let Record::Action(action) = &line.record else { continue };
        if action.at < since || name.is_some_and(|name| action.remedy != name.as_str()) {
            continue;
        }
        is_empty = false;
        let step = remedies::show(action);
        match is_json(matches) {
            true => out.line(step.to_string()),
            false => out.line(told(&step, action.at)),
        }
    }
    if is_empty && !is_json(matches) {
        out.line("nothing was run, rehearsed or refused");
    }
    Ok(ExitCode::SUCCESS)
}

/// One line, in columns; what a program has written is in the JSON.
fn told(step: &Value, at: Timestamp) -> String {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let who = step["alert"].as_str().unwrap_or("(a person)");
    let failed = if step["ok"] == false { "FAILED: " } else { "" };
    let (at, remedy, what) = (clock::rfc3339(at), text("remedy"), text("step"));
    format!("{at}  {remedy:<18}  {who:<18}  {what:<9}  {failed}{}", text("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_listed_with_what_is_missing() {
        let remedy = json!({
            "name": "free", "treatment": "cleanup_temp_files", "what": "delete files",
            "dryRun": true, "granted": false,
            "notGranted": "not granted: x; run farol as root", "lastRun": null,
            "nextAllowed": "2026-01-04T00:00:00.000Z", "isRunning": false,
        });
        let expected = "free (cleanup_temp_files)  dry run\n  delete files\n  never run; \
                        not granted: x; run farol as root";
        assert_eq!(listed(&remedy), expected);
    }

    #[test]
    fn a_step_is_told_in_one_line() {
        let step = json!({
            "remedy": "free", "alert": "Full", "step": "finished", "ok": false, "text": "no disk",
        });
        let expected = "1970-01-01T00:00:00.000Z  free                Full                \
                        finished   FAILED: no disk";
        assert_eq!(told(&step, Timestamp::default()), expected);
    }
}
