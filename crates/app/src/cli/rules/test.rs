//! `farol rules test FILES…`: unit tests as `promtool test rules` runs them, with its output and its
//! exit codes.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ArgMatches, Command};
use farol_alert::{
    RuleSet,
    rules::Defaults,
    unit_test::{self, Manner, UnitTests},
};

use super::{
    super::{Out, complain},
    read,
};

pub(super) fn configure(command: Command) -> Command {
    command.arg(
        read::argument()
            .required(true)
            .help("Files of tests, in promtool's format: each names the files of rules it tries"),
    )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let mut has_failed = false;
    for path in matches.get_many::<PathBuf>("files").unwrap_or_default() {
        out.line(format!("Unit Testing:  {}", path.display()));
        let failures = failures(path);
        if failures.is_empty() {
            out.line("  SUCCESS");
        } else {
            has_failed = true;
            // What was said before stands before it, wherever the two go.
            out.flush();
            complain("  FAILED:");
            for failure in failures {
                complain(failure);
            }
        }
        out.line("");
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn failures(path: &Path) -> Vec<String> {
    let read = read_all(path);
    read.map_or_else(|errors| errors, |(tests, rules, manner)| tests.run(&rules, manner))
}

fn read_all(path: &Path) -> Result<(UnitTests, RuleSet, Manner), Vec<String>> {
    let one = |error: anyhow::Error| vec![format!("{error:#}")];
    let all = |errors: Vec<farol_alert::RuleError>| -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    };
    let text = read::read(path).map_err(one)?;
    let tests = unit_test::read(&path.display().to_string(), &text).map_err(all)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for pattern in &tests.rule_files {
        for path in find(folder, pattern).map_err(one)? {
            files.push((path.display().to_string(), read::read(&path).map_err(one)?));
        }
    }
    let checked = RuleSet::check(&files, &Defaults::default());
    if !checked.errors.is_empty() {
        return Err(all(checked.errors));
    }
    let is_ours = checked.files.iter().any(|file| file.entries > 0);
    let manner = if is_ours { Manner::Farol } else { Manner::Prometheus };
    Ok((tests, checked.set, manner))
}

/// As promtool: patterns are seen from the folder of the file of tests.
fn find(folder: &Path, pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    let whole = folder.join(pattern);
    let shown = whole.display().to_string();
    let found: Vec<PathBuf> = glob::glob(&shown)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        complain(format!("  WARNING: no file match pattern {shown}"));
    }
    Ok(found)
}
