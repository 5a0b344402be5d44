//! `farol health`: one line and an exit code, for a container's or a service's health check.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Out, running};

pub(super) fn configure(command: Command) -> Command {
    running::configure(command)
}

/// 0 when well; 1 when data is stale, the writer is degraded, or nothing is known yet; 3 when no
/// Farol answers.
pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let health = running::health(&running::place(matches)?)?;
    let word = |key: &str| health[key].as_str().unwrap_or("?").to_owned();
    let mut line = format!("{} {}", word("status"), word("state"));
    if let Some(reason) = health["reason"].as_str() {
        line.push_str(&format!(": {reason}"));
    }
    out.line(line);
    Ok(if health["status"] == "ok" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
