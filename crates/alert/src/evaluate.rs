//! From a group and the store to what each of its rules found.

use std::{sync::Arc, time::Duration};

use farol_model::{Labels, Timestamp};

use crate::Group;

/// What one evaluation of one group found; plain data for [`step`](crate::step()).
#[derive(Clone, Debug)]
pub struct GroupResult {
    pub group: Arc<Group>,
    pub at: Timestamp,
    pub took: Duration,
    /// One for each rule of the group, in its order.
    pub rules: Vec<RuleResult>,
}

#[derive(Clone, Debug)]
pub struct RuleResult {
    pub took: Duration,
    /// Of an alerting rule: what its expression holds for, rendered. An error says why it could not be
    /// evaluated: then nothing is known, and no alert of it takes a turn.
    pub found: Result<Vec<Found>, String>,
    /// Of the alerts that were active and whose series are not among `found`: what else is known.
    pub gone: Vec<Gone>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The labels of the expression's result.
    pub series: Labels,
    pub value: f64,
    /// With `alertname` and the rule's own, rendered.
    pub labels: Labels,
    pub annotations: Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Gone {
    pub series: Labels,
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its series are there, and what the rule calls recovered holds.
    Recovered,
    /// Its series are there, and it has not come down to the recovery level yet.
    NotYet,
    /// Nothing is known of its series.
    Missing,
}
