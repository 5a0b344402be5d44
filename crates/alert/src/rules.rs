//! Prometheus' rule files, unchanged, and beside them our own file that names a rule and says more
//! of it: how it recovers, what a missing series means, which remedy it calls for.

use std::{sync::Arc, time::Duration};

use farol_model::{Labels, Text};
use farol_query::Expr;

use crate::Template;

/// All groups of all files, in the order of the files and in each file.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub groups: Vec<Arc<Group>>,
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
    Alert(AlertRule),
    Record(RecordRule),
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
}

#[derive(Clone, Debug)]
pub struct RecordRule {
    pub name: Text,
    pub expr: Expr,
    pub text: Text,
    pub labels: Labels,
    pub line: usize,
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
    Resolve,
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
