//! `farol config`: each effective value and where it came from. Secrets stay hidden.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::Out;
use crate::config;

pub(super) fn configure(command: Command) -> Command {
    config::add_flags(command)
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let loaded = config::from_process(config::flags_from(matches))?;
    let rows = &loaded.effective.rows;
    let widest = |of: fn(&config::Row) -> usize| rows.iter().map(of).max().unwrap_or(0).min(48);
    let (keys, values) = (widest(|row| row.key.len()), widest(|row| row.shown.len()));
    for config::Row { key, shown, origin } in rows {
        out.line(format!("{key:<keys$}  {shown:<values$}  {origin}"));
    }
    Ok(ExitCode::SUCCESS)
}
