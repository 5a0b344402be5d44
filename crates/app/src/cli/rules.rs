//! `farol rules check`: files of rules, looked at without a running Farol.

use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgMatches, Command};

use super::Out;

mod check;
mod read;

pub(super) fn configure(command: Command) -> Command {
    let check = Command::new("check").about(
        "Read files of rules and say what is wrong with them: Prometheus' groups, and farol_rules",
    );
    command.subcommand_required(true).subcommand(check::configure(check))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (_, matches) = matches.subcommand().context("no subcommand")?;
    check::run(matches, out)
}
