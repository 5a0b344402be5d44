//! `farol run`, `farol collect`, `farol serve`.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::Out;
use crate::{
    config,
    run::{self, Shape},
};

pub(super) fn configure(command: Command) -> Command {
    config::add_flags(command)
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    run::run(Shape::Run, config::flags_from(matches), out)
}

pub(super) fn collect(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    run::run(Shape::Collect, config::flags_from(matches), out)
}

pub(super) fn serve(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    run::run(Shape::Serve, config::flags_from(matches), out)
}
