//! `farol rules check FILES…`: what would be refused, before a running Farol is told to reload.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{ArgMatches, Command};
use farol_alert::{CheckedFile, Defaults, RuleSet};

use super::{
    super::{Out, complain},
    read,
};

pub(super) fn configure(command: Command) -> Command {
    command.arg(read::argument().required(true).help(
        "Files of rules. All that belong together, so that farol_rules find the rules they name",
    ))
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let checked = RuleSet::check(&read::given(matches)?, &Defaults::default());
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
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
