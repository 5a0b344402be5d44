//! The configuration: defaults < file < environment < flags, read once and checked whole.
//!
//! `settings` is the one table from which the keys, the environment variables, the flags, the
//! reference page and the example file all come. [`load`] is a function of its [`Inputs`]; only
//! [`environment`] and [`read_file`] touch the process and the disk. All problems of all sources
//! are reported at once, each with its place; no message and no dump holds a secret's value.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

pub use problem::{Problem, Problems, Source};
pub use types::{
    Collectors, Config, Format, Group, Journal, Labels, Level, Log, Pattern, Probe, Probes,
    Retention, Target, Web,
};

mod problem;
mod types;

/// All that a configuration depends on.
pub struct Inputs<'a> {
    /// Flag names without dashes and their values, in the order of the command line.
    pub flags: Vec<(String, String)>,
    pub environment: BTreeMap<String, String>,
    pub facts: Facts<'a>,
}

/// Says nothing: the environment may hold secrets.
impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// What the machine says; passed in so that a test can be any machine.
pub struct Facts<'a> {
    /// Whether the process is root.
    pub root: bool,
    /// Reads a file, but no more than so many bytes of it.
    pub read: &'a dyn Fn(&Path, u64) -> io::Result<Vec<u8>>,
    /// Whether this is a folder that the process may write into.
    pub writable: &'a dyn Fn(&Path) -> bool,
    /// The name the machine calls itself, asked of the procfs at this path.
    pub host_name: &'a dyn Fn(&Path) -> Option<String>,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A configuration that is whole and right.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub effective: Effective,
    /// Sentences for the log: names going away, variables that look like a typing mistake.
    pub warnings: Vec<String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Every setting with the value it has and where that came from: `farol config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: &'static str,
    /// Secrets are shown as `<redacted>`.
    pub shown: String,
    /// `default`, `farol.yml:12`, `environment FAROL_INTERVAL`, `flag --listen`.
    pub origin: String,
}
