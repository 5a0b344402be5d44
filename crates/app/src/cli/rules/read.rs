//! Files of rules that the command line names.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgMatches, value_parser};

use crate::config;

/// Far more than anyone writes by hand.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

pub(super) fn argument() -> Arg {
    Arg::new("files").value_name("FILES").num_args(1..).value_parser(value_parser!(PathBuf))
}

/// Each with its text.
pub(super) fn given(matches: &ArgMatches) -> anyhow::Result<Vec<(String, String)>> {
    let paths = matches.get_many::<PathBuf>("files").unwrap_or_default();
    paths.map(|path| Ok((path.display().to_string(), read(path)?))).collect()
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let bytes = config::read_file(path, MOST_BYTES + 1)
        .with_context(|| format!("{shown} cannot be read"))?;
    anyhow::ensure!(bytes.len() as u64 <= MOST_BYTES, "{shown} has more than {MOST_BYTES} bytes");
    String::from_utf8(bytes).with_context(|| format!("{shown} is not UTF-8"))
}
