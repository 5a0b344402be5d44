//! What is known of the rules besides the alerts themselves: for pages and the API.

use std::{sync::Arc, time::Duration};

use farol_model::Timestamp;

use crate::{GroupResult, RuleSet};

/// The rules that are loaded, and how evaluating them went.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub rules: Arc<RuleSet>,
    /// In the order of the groups.
    pub runs: Vec<Option<Run>>,
}

/// The last evaluation of a group.
#[derive(Clone, Debug)]
pub struct Run {
    pub at: Timestamp,
    pub took: Duration,
    /// For each rule how long it took, and why it has failed if it has.
    pub rules: Vec<(Duration, Option<String>)>,
}

impl Board {
    pub fn new(rules: Arc<RuleSet>) -> Board {
        let runs = vec![None; rules.groups.len()];
        Board { rules, runs }
    }

    /// Takes in the evaluation of the group at this place.
    pub fn note(&mut self, place: usize, result: &GroupResult) {
        let rule = |rule: &crate::RuleResult| (rule.took, rule.found.as_ref().err().cloned());
        if let Some(run) = self.runs.get_mut(place) {
            *run = Some(Run {
                at: result.at,
                took: result.took,
                rules: result.rules.iter().map(rule).collect(),
            });
        }
    }
}
