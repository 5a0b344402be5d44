//! `farol rules check [FILES…]`: what would be refused, before a running Farol is told to reload.
//!
//! Files are checked as they are, wherever they are to be used; the rules of the configuration with
//! the remedies that they name.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::{ArgMatches, Command};
use farol_alert::{CheckedFile, Defaults, RuleSet};

use super::{
    super::{Out, complain, running},
    read,
};
use crate::{config, remedies, rule_files};

pub(super) fn configure(command: Command) -> Command {
    running::configure(command.arg(read::argument().help(
        "Files of rules. All that belong together, so that farol_rules find the rules they name \
         [default: the rules of the configuration]",
    )))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let (checked, strangers) = match matches.get_many::<PathBuf>("files") {
        Some(_) => (RuleSet::check(&read::given(matches)?, &Defaults::default()), Vec::new()),
        None => {
            let config = config::from_process(config::flags_from(matches))?.config;
            let texts = rule_files::texts(&config.rules)?;
            let checked = RuleSet::check(&texts, &rule_files::defaults(&config.rules));
            let strangers = remedies::strangers(&checked.set, &config);
            (checked, strangers)
        }
    };
    let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
    for error in &checked.errors {
        *wrong.entry(&error.file).or_default() += 1;
        complain(error.to_string());
    }
    for file in &checked.files {
        let verdict = match wrong.get(file.path.as_str()) {
            None => format!("SUCCESS: {}", found(file)),
            Some(errors) => format!("FAILED: {}", counted(*errors, "error", "errors")),
        };
        out.line(format!("{}: {verdict}", file.path));
    }
    for stranger in &strangers {
        complain(stranger);
    }
    if checked.files.is_empty() {
        out.line("no rules: rules.stock is off, and rules.files names no file");
    }
    Ok(if wrong.is_empty() && strangers.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn found(file: &CheckedFile) -> String {
    match (file.rules, file.entries) {
        (0, entries @ 1..) => format!("{} found", counted(entries, "entry", "entries")),
        (rules, _) => format!("{} found", counted(rules, "rule", "rules")),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
