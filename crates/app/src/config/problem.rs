//! What is wrong with a configuration, and where: sentences a person can act on.

use std::{fmt, path::PathBuf};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A place in a file; both counted from 1. Line 0 is the file as a whole.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Environment(String),
    /// The flag's name without its dashes.
    Flag(String),
    /// Not given. The text says how the default came about, if there is anything to say.
    Default(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Source::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag --{name}"),
            Source::Default("") => f.write_str("default"),
            Source::Default(why) => write!(f, "default ({why})"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub source: Source,
    /// The setting's key, or "" where no setting is to blame.
    pub key: String,
    /// Lower case, no full stop. Never holds the value of a secret.
    pub sentence: String,
    /// The valid word nearest to the one given.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            // What was given nowhere has no place to name.
            Source::Default(_) => f.write_str(&self.sentence)?,
            source => write!(f, "{source}: {}", self.sentence)?,
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

/// All that is wrong, in the order of the file, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// More are counted, not shown: a file of the wrong kind is not worth a thousand lines.
    const SHOWN: usize = 50;
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(Problems::SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(Problems::SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}
