//! The rules to evaluate: those that are part of the program, and the files of the configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use farol_alert::{RuleSet, rules::Defaults};

use crate::config::{self, Rules};

/// Ours, as they also load in Prometheus, and what only Farol is told of them.
const STOCK: &[(&str, &str)] = &[
    ("stock/host.yml", include_str!("../../../infra/prometheus/rules/host.yml")),
    ("stock/usage.yml", include_str!("../../../infra/prometheus/rules/usage.yml")),
    ("stock/farol.yml", include_str!("../../../infra/prometheus/rules/farol.yml")),
    ("stock/recovery.yml", include_str!("../../../infra/prometheus/recovery.yml")),
];
/// A larger file is none of rules.
const LARGEST_FILE: u64 = 4 << 20;
/// So many files are read of all patterns together.
const MOST_FILES: usize = 1000;

/// Reads and checks them all; an error names each thing that is wrong.
pub fn load(config: &Rules) -> anyhow::Result<RuleSet> {
    parse(&texts(config)?, config)
}

/// Those that are part of the program, if they are wanted, and those of the configuration: each path
/// and text.
pub fn texts(config: &Rules) -> anyhow::Result<Vec<(String, String)>> {
    let mut files: Vec<(String, String)> = Vec::new();
    if config.stock {
        files.extend(stock().map(|(path, text)| (path.to_owned(), text.to_owned())));
    }
    for path in find(&config.files)? {
        files.push((path.display().to_string(), read(&path)?));
    }
    Ok(files)
}

pub fn parse(files: &[(String, String)], config: &Rules) -> anyhow::Result<RuleSet> {
    RuleSet::parse(files, &defaults(config)).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", errors.join("\n"))
    })
}

pub fn defaults(config: &Rules) -> Defaults {
    Defaults { interval: config.interval, ..Defaults::default() }
}

/// The files that are part of the program: name and text.
pub fn stock() -> impl Iterator<Item = (&'static str, &'static str)> {
    STOCK.iter().copied()
}

/// In order of their names; a path without a pattern that does not exist is an error.
fn find(patterns: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for pattern in patterns {
        let text = pattern.to_str().context("rules.files: a path is not text")?;
        let shown = pattern.display();
        if !text.contains(['*', '?', '[']) {
            found.push(pattern.clone());
            continue;
        }
        let paths = glob::glob(text).with_context(|| format!("rules.files: {shown}"))?;
        let before = found.len();
        for path in paths {
            found.push(path.with_context(|| format!("rules.files: {shown}"))?);
            if found.len() > MOST_FILES {
                bail!("rules.files: {shown}: more than {MOST_FILES} files; name them more closely");
            }
        }
        if found.len() == before {
            tracing::warn!("rules.files: {shown}: no file fits");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

pub fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let bytes = config::read_file(path, LARGEST_FILE + 1)
        .with_context(|| format!("cannot read the rules in {shown}"))?;
    if bytes.len() as u64 > LARGEST_FILE {
        bail!("{shown}: more than {LARGEST_FILE} bytes are too many for a file of rules");
    }
    String::from_utf8(bytes).with_context(|| format!("{shown}: is not UTF-8"))
}
