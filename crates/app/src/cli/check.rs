//! `farol check`: reads the configuration and builds everything it asks for, then stops.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::{Out, complain};
use crate::{
    channels, config, door,
    parts::{self, Boards},
    remedies, rule_files, run,
};

pub(super) fn configure(command: Command) -> Command {
    config::add_flags(command)
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let loaded = match config::from_process(config::flags_from(matches)) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    parts::plans(&loaded.config, &Boards::default())?;
    run::group_id(&loaded.config)?;
    channels::check(&loaded.config)?;
    let rules = rule_files::load(&loaded.config.rules)?;
    remedies::check(&rules, &loaded.config)?;
    let opened = match door::open(&loaded.config) {
        Ok(opened) => opened,
        Err(problems) => {
            complain(problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    let doubts = parts::doubts(&loaded);
    for warning in loaded.warnings.iter().chain(&opened.warnings).chain(&doubts) {
        complain(format!("warning: {warning}"));
    }
    let file = loaded.file.map_or("no file, defaults".into(), |file| file.display().to_string());
    out.line(format!("configuration is good ({file})"));
    Ok(ExitCode::SUCCESS)
}
