//! `farol rules`: files of rules, looked at without a running Farol.

use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgMatches, Command};

use super::Out;

mod check;
mod read;
mod replay;
mod test;

pub(super) fn configure(command: Command) -> Command {
    let check = Command::new("check").about(
        "Read files of rules and say what is wrong with them: Prometheus' groups, and farol_rules",
    );
    let test = Command::new("test").about(
        "Run unit tests of rules, in the format of `promtool test rules`, with its verdicts",
    );
    let replay = Command::new("replay").about(
        "Evaluate rules over the stored history and tell what would have fired, from when to when",
    );
    command
        .subcommand_required(true)
        .subcommand(check::configure(check))
        .subcommand(test::configure(test))
        .subcommand(replay::configure(replay))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (name, matches) = matches.subcommand().context("no subcommand")?;
    match name {
        "test" => test::run(matches, out),
        "replay" => replay::run(matches, out),
        _ => check::run(matches, out),
    }
}
