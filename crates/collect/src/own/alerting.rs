//! What Farol says of its alerting: rules, alerts, and what of it waits to be written down.

use std::collections::BTreeMap;

use farol_model::Text;

use crate::Scrape;

pub(super) const ALERTS: &str = "farol_alerts";
pub(super) const MUTED: &str = "farol_alerts_muted";
pub(super) const SILENCES: &str = "farol_silences";
pub(super) const WAITING: &str = "farol_journal_waiting_events";
pub(super) const DROPPED: &str = "farol_journal_dropped_events_total";
pub(super) const EVALUATIONS: &str = "farol_rule_group_evaluations_total";
pub(super) const MISSED: &str = "farol_rule_group_evaluations_missed_total";
pub(super) const FAILURES: &str = "farol_rule_evaluation_failures_total";
pub(super) const LAST: &str = "farol_rule_group_last_duration_seconds";

#[derive(Clone, Debug, Default)]
pub struct AlertingFigures {
    pub pending: u64,
    pub firing: u64,
    /// Firing and not told; each is counted once.
    pub muted: MutedFigures,
    /// In force.
    pub silences: u64,
    pub waiting: u64,
    pub dropped: u64,
    /// By the name of the group.
    pub groups: BTreeMap<Text, GroupFigures>,
}

/// By what it is that mutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MutedFigures {
    pub silence: u64,
    pub inhibition: u64,
    pub quiet_hours: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct GroupFigures {
    pub evaluations: u64,
    pub missed: u64,
    pub failures: u64,
    pub last_seconds: f64,
}

/// Where no rules are evaluated there is nothing to say.
pub(super) fn push(out: &mut Scrape, figures: &AlertingFigures) {
    if figures.groups.is_empty() {
        return;
    }
    out.push(ALERTS, &[("phase", "firing")], figures.firing as f64);
    out.push(ALERTS, &[("phase", "pending")], figures.pending as f64);
    let MutedFigures { silence, inhibition, quiet_hours } = figures.muted;
    for (by, count) in
        [("inhibition", inhibition), ("quiet_hours", quiet_hours), ("silence", silence)]
    {
        out.push(MUTED, &[("by", by)], count as f64);
    }
    out.push(SILENCES, &[], figures.silences as f64);
    out.push(WAITING, &[], figures.waiting as f64);
    out.push(DROPPED, &[], figures.dropped as f64);
    for (name, value) in [
        (EVALUATIONS, (|group| group.evaluations as f64) as fn(&GroupFigures) -> f64),
        (MISSED, |group| group.missed as f64),
        (FAILURES, |group| group.failures as f64),
        (LAST, |group| super::rounded(group.last_seconds)),
    ] {
        for (group, figures) in &figures.groups {
            out.push(name, &[("rule_group", group)], value(figures));
        }
    }
}
