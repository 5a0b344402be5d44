//! `farol report`: what the events of some hours say, for a person, a program or a page.
//!
//! It reads the journal's folder, beside a running Farol or without one. What the journal does not say
//! is not made up: an hour without its summary is named as one.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use farol_disk::{Disk, RealDisk};
use farol_model::Timestamp;

use super::{Out, complain, moment, running};
use crate::{clock, config};

mod form;
mod gather;

use gather::Span;

/// Ten years: a slip of the hand, and not a report.
const MOST_HOURS: i64 = 10 * 366 * 24;

pub(super) fn configure(command: Command) -> Command {
    let since = Arg::new("since")
        .long("since")
        .value_name("TIME")
        .default_value("24h")
        .help(format!("From when on: {}", moment::HELP));
    let until = Arg::new("until")
        .long("until")
        .value_name("TIME")
        .help("Up to when, written in the same way; now unless given");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(["text", "json", "markdown"])
        .default_value("text")
        .help("How it is written");
    running::configure(command.arg(since).arg(until).arg(format))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let logs = config::from_process(config::flags_from(matches))?.config.logs;
    let folder = logs.display();
    anyhow::ensure!(
        !matches!(logs.try_exists(), Ok(false)),
        "there is no folder {folder}; name the journal's with --logs, or --data"
    );
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let report = gather::gather(&disk, &logs, span(matches, clock::now())?)?;
    let text = match matches.get_one::<String>("format").map(String::as_str) {
        Some("json") => form::json(&report),
        Some("markdown") => form::markdown(&report),
        _ => form::text(&report),
    };
    out.bytes(text.as_bytes());
    if report.damaged > 0 {
        complain(format!(
            "farol: {} damaged lines were left out; `farol journal verify` names them",
            report.damaged
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn span(matches: &ArgMatches, now: Timestamp) -> anyhow::Result<Span> {
    let text = |flag: &str| matches.get_one::<String>(flag).map(String::as_str);
    let since = moment::parse("--since", text("since").unwrap_or("24h"), now)?;
    let until = match text("until") {
        Some(until) => moment::parse("--until", until, now)?,
        None => now,
    };
    anyhow::ensure!(since < until, "--since lies after --until: there is nothing between");
    let span = Span { since, until, now };
    anyhow::ensure!(
        span.hours().count() <= usize::try_from(MOST_HOURS).unwrap_or(usize::MAX),
        "--since lies more than ten years back"
    );
    Ok(span)
}

#[cfg(test)]
mod tests;
