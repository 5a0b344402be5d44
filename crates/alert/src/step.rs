//! The pure step: what one evaluation found, against the alerts as they stand, gives their turns.

use std::{collections::BTreeMap, sync::Arc};

use farol_model::{Alert, AlertKey, Text, Timestamp, Transition};

use crate::{AlertRule, Group, RuleResult};

/// Brings `alerts` (all alerts known, of which only this rule's are touched) to what `result` says and
/// returns the turns that are to be remembered. No clock, no store, no network.
pub fn step(
    _host: &Text,
    _group: &Group,
    _rule: &AlertRule,
    _alerts: &mut BTreeMap<AlertKey, Arc<Alert>>,
    _result: &RuleResult,
    _now: Timestamp,
) -> Vec<Transition> {
    Vec::new()
}

/// Ends the alerts whose rule is no longer loaded.
pub fn retire(
    _host: &Text,
    _rules: &crate::RuleSet,
    _alerts: &mut BTreeMap<AlertKey, Arc<Alert>>,
    _now: Timestamp,
) -> Vec<Transition> {
    Vec::new()
}
