//! `farol reload`: the running Farol reads its configuration again; a bad one changes nothing.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Out, running};
use crate::control::{self, AskError};

pub(super) fn configure(command: Command) -> Command {
    running::configure(command)
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let place = running::place(matches)?;
    match running::ask(&place, control::Command::Reload) {
        Ok(_) => {
            out.line("reloaded");
            Ok(ExitCode::SUCCESS)
        }
        Err(AskError::Refused(reason)) => anyhow::bail!("{reason}"),
        Err(AskError::NotRunning(error)) => {
            anyhow::bail!("{}", running::no_answer(&place.socket, &error, &[]))
        }
    }
}
