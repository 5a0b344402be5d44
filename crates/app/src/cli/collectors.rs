//! `farol collectors`: what there is to collect.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use farol_collect::COLLECTORS;

use super::Out;

pub(super) fn configure(command: Command) -> Command {
    command.arg(
        Arg::new("metrics")
            .long("metrics")
            .action(ArgAction::SetTrue)
            .help("Also each metric with its type and meaning"),
    )
}

fn row(name: &str, on: &str, lane: &str, about: &str) -> String {
    format!("{name:<14}{on:<9}{lane:<6}{about}")
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    out.line(row("COLLECTOR", "DEFAULT", "LANE", "WHAT IT YIELDS"));
    for entry in COLLECTORS {
        let on = if entry.on { "on" } else { "off" };
        let (name, lane, about) = (entry.name, entry.lane.name(), entry.about);
        out.line(row(name, on, lane, about));
        if matches.get_flag("metrics") {
            for metric in entry.metrics {
                let kind = format!("{:?}", metric.kind).to_lowercase();
                out.line(format!("    {:<52}{kind:<9}{}", metric.name, metric.help));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
