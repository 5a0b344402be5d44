//! Prometheus' rule files, unchanged, and beside them our own file that names a rule and says more
//! of it: how it recovers, what a missing series means, which remedy it calls for.

use std::{fmt, sync::Arc, time::Duration};

use farol_model::Text;
use farol_query::Expr;

use crate::Template;

mod extension;
pub(crate) mod fields;
mod files;
mod level;

pub use level::{compared, fires_above, with_level};

/// All groups of all files, in the order of the files and in each file.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub groups: Vec<Arc<Group>>,
}

/// What a group goes by that does not say it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub interval: Duration,
    pub query_offset: Duration,
}

impl Default for Defaults {
    /// Prometheus'.
    fn default() -> Defaults {
        Defaults { interval: Duration::from_secs(60), query_offset: Duration::ZERO }
    }
}

/// What is wrong with a file of rules, and where; both counted from 1, (0, 0) is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleError {
    pub file: Text,
    pub line: usize,
    pub column: usize,
    /// Lower case, no full stop.
    pub problem: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {}", self.file, self.problem),
            (line, column) => write!(f, "{}:{line}:{column}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for RuleError {}

/// What could be read of some files, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub set: RuleSet,
    /// In the order of the files.
    pub files: Vec<CheckedFile>,
    /// File by file; then what only shows when all of them are read together.
    pub errors: Vec<RuleError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: Text,
    /// Rules in Prometheus' groups.
    pub rules: usize,
    /// Entries of ours.
    pub entries: usize,
}

impl RuleSet {
    /// Reads the files (each a path and its text) and lays ours over Prometheus'. All that is wrong is
    /// told at once.
    pub fn parse<P: AsRef<str>, T: AsRef<str>>(
        files: &[(P, T)],
        defaults: &Defaults,
    ) -> Result<RuleSet, Vec<RuleError>> {
        let Checked { set, errors, .. } = RuleSet::check(files, defaults);
        if errors.is_empty() { Ok(set) } else { Err(errors) }
    }

    /// The same, with what each file holds.
    pub fn check<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)], defaults: &Defaults) -> Checked {
        let mut checked = Checked::default();
        let (mut groups, mut entries) = (Vec::new(), Vec::new());
        for (path, text) in files {
            let mut file = files::read(path.as_ref(), text.as_ref(), defaults);
            checked.files.push(CheckedFile {
                path: path.as_ref().into(),
                rules: file.groups.iter().map(|group| group.rules.len()).sum(),
                entries: file.entries.len(),
            });
            checked.errors.append(&mut file.errors);
            groups.append(&mut file.groups);
            entries.append(&mut file.entries);
        }
        files::refuse_twins(&groups, &mut checked.errors);
        extension::apply(&entries, &mut groups, &mut checked.errors);
        checked.set.groups = groups.into_iter().map(Arc::new).collect();
        checked
    }

    pub fn rules(&self) -> impl Iterator<Item = (&Arc<Group>, &Rule)> {
        self.groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
    }
}

#[derive(Clone, Debug)]
pub struct Group {
    /// The file's path as it was given.
    pub file: Text,
    /// Unique in its file.
    pub name: Text,
    pub interval: Duration,
    pub query_offset: Duration,
    /// The most alerts or series that a rule may yield; 0 is no limit.
    pub limit: usize,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub enum Rule {
    Alert(Box<AlertRule>),
    Record(Box<RecordRule>),
}

#[derive(Clone, Debug)]
pub struct AlertRule {
    /// The name and the labels that the rule adds, as `HostCpuHigh{severity="warning"}`: unique in its group.
    pub id: Text,
    pub name: Text,
    pub expr: Expr,
    /// The expression as it was written; what [`Expr`]'s spans point into.
    pub text: Text,
    pub hold: Duration,
    pub keep_firing: Duration,
    /// The group's labels and the rule's own.
    pub labels: Vec<(Text, Template)>,
    pub annotations: Vec<(Text, Template)>,
    pub recovery: Option<Recovery>,
    pub missing: Missing,
    pub flapping: Option<Flapping>,
    pub remedy: Option<Text>,
    /// Where the rule stands in its file.
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug)]
pub struct RecordRule {
    pub name: Text,
    pub expr: Expr,
    pub text: Text,
    /// The group's labels and the rule's own; an empty one takes the label away.
    pub labels: Vec<(Text, Text)>,
    pub line: usize,
    pub column: usize,
}

impl Rule {
    pub fn name(&self) -> &Text {
        match self {
            Rule::Alert(rule) => &rule.name,
            Rule::Record(rule) => &rule.name,
        }
    }

    pub fn expr(&self) -> (&Expr, &Text) {
        match self {
            Rule::Alert(rule) => (&rule.expr, &rule.text),
            Rule::Record(rule) => (&rule.expr, &rule.text),
        }
    }
}

/// When a firing alert is over, if not as soon as its expression holds no more.
#[derive(Clone, Debug)]
pub enum Recovery {
    /// While this expression (the rule's own with another number) returns the alert's series, it fires on.
    Level { level: f64, holds: Expr, text: Text },
    /// Once this expression returns the alert's series, it is over.
    Expr { expr: Expr, text: Text },
}

/// What a firing alert does when nothing is known of its series any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// It fires on: missing data alone never resolves an alert.
    #[default]
    Keep,
    /// It is over, while there are others that its rule speaks of. Without them it fires on: it may be
    /// the collector that is gone.
    Resolve,
    /// It is over, whatever else is gone: as in Prometheus, for the unit tests of its rules. No file
    /// can say so.
    Over,
    /// It fires on, and a series that was there at the last evaluation and is missing fires as well.
    Fire,
}

/// So many beginnings within so long, and the alert is held firing until it has been at rest for `settle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    pub firings: usize,
    pub within: Duration,
    pub settle: Duration,
}
