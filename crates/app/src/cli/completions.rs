//! `farol completions SHELL`.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Out;

pub(super) fn configure(command: Command) -> Command {
    command.arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let shell = *matches.get_one::<Shell>("shell").expect("clap requires it");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "farol", &mut script);
    out.bytes(&script);
    Ok(ExitCode::SUCCESS)
}
