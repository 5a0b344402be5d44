//! What a group has to know of its last evaluation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use farol_model::{Alert, AlertKey, Labels, Phase, STALE, Series, Text, Timestamp};

use crate::{Group, Rule};

/// Held by who evaluates the group again and again; lost with the process, which costs a stale marker
/// and nothing else.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    rules: Vec<RuleState>,
    /// Series of rules that are no longer there: they end at the next occasion.
    orphans: BTreeSet<(Text, Labels)>,
}

#[derive(Clone, Debug, Default)]
struct RuleState {
    /// The series that a recording rule came to.
    recorded: BTreeSet<Labels>,
    /// The series that an alerting rule spoke of, with their values, if it asks for it.
    present: BTreeMap<Labels, f64>,
    /// Of the series `ALERTS` and `ALERTS_FOR_STATE`.
    alerts: BTreeSet<(Text, Labels)>,
}

const ALERTS: Text = Text::from_static("ALERTS");
const ALERTS_FOR_STATE: Text = Text::from_static("ALERTS_FOR_STATE");

impl GroupState {
    /// After a reload: what the same rules have come to under the old group.
    pub fn moved(self, from: &Group, to: &Group) -> GroupState {
        let GroupState { rules, mut orphans } = self;
        let mut old: Vec<(&Rule, RuleState)> = from.rules.iter().zip(rules).collect();
        let take = |rule: &Rule| {
            let place = old.iter().position(|(old, _)| is_same(old, rule));
            place.map(|place| old.remove(place).1).unwrap_or_default()
        };
        let rules = to.rules.iter().map(take).collect();
        for (rule, state) in old {
            orphans.extend(state.series(rule));
        }
        GroupState { rules, orphans }
    }

    /// When the whole group is no longer there: the ends of its series.
    pub fn ended(self, group: &Group, at: Timestamp) -> Vec<Series> {
        let mut all = self.orphans;
        for (rule, state) in group.rules.iter().zip(self.rules) {
            all.extend(state.series(rule));
        }
        let at = group.asked_at(at);
        all.into_iter().map(|(name, labels)| stale(name, labels, at)).collect()
    }

    /// The samples of `ALERTS` and `ALERTS_FOR_STATE` for a group's alerts after their turns, and the
    /// ends of those that were there before and are no more. To be recorded as a rule's results are.
    pub fn alert_series(
        &mut self,
        group: &Group,
        alerts: &BTreeMap<AlertKey, Arc<Alert>>,
        at: Timestamp,
    ) -> Vec<Series> {
        let places = 0..group.rules.len();
        let mut series: Vec<Series> =
            places.flat_map(|place| self.alert_series_of(place, group, alerts, at)).collect();
        let at = group.asked_at(at);
        let orphans = std::mem::take(&mut self.orphans).into_iter();
        series.extend(orphans.map(|(name, labels)| stale(name, labels, at)));
        series
    }

    /// The same of one rule.
    pub(crate) fn alert_series_of(
        &mut self,
        place: usize,
        group: &Group,
        alerts: &BTreeMap<AlertKey, Arc<Alert>>,
        at: Timestamp,
    ) -> Vec<Series> {
        let Rule::Alert(rule) = &group.rules[place] else { return Vec::new() };
        let at = group.asked_at(at);
        let mut now = BTreeMap::new();
        for alert in super::active(group, rule, alerts) {
            let state = match alert.phase {
                Phase::Pending => "pending",
                Phase::Firing => "firing",
                Phase::Ended => continue,
            };
            let state = [("alertstate".into(), state.into())];
            now.insert((ALERTS, super::with_labels(&alert.labels, state)), 1.0);
            let since = alert.active_at.as_seconds().floor();
            now.insert((ALERTS_FOR_STATE, alert.labels.clone()), since);
        }
        let keys = now.keys().cloned().collect();
        let before = std::mem::replace(&mut self.rule(place).alerts, keys);
        let ended = before.into_iter().filter(|key| !now.contains_key(key));
        let ended: Vec<Series> = ended.map(|(name, labels)| stale(name, labels, at)).collect();
        let series = now.into_iter().map(|((name, labels), value)| Series {
            name,
            labels,
            points: vec![(at, value)],
        });
        series.chain(ended).collect()
    }

    pub(super) fn recorded(&mut self, place: usize) -> &mut BTreeSet<Labels> {
        &mut self.rule(place).recorded
    }

    pub(super) fn present(&mut self, place: usize) -> &mut BTreeMap<Labels, f64> {
        &mut self.rule(place).present
    }

    fn rule(&mut self, place: usize) -> &mut RuleState {
        if self.rules.len() <= place {
            self.rules.resize_with(place + 1, RuleState::default);
        }
        &mut self.rules[place]
    }
}

impl RuleState {
    /// All that it came to.
    fn series(self, rule: &Rule) -> impl Iterator<Item = (Text, Labels)> {
        let name = rule.name().clone();
        let recorded = self.recorded.into_iter().map(move |labels| (name.clone(), labels));
        recorded.chain(self.alerts)
    }
}

/// Whether what the one came to is what the other would have come to.
fn is_same(old: &Rule, new: &Rule) -> bool {
    match (old, new) {
        (Rule::Record(old), Rule::Record(new)) => old.name == new.name && old.labels == new.labels,
        (Rule::Alert(old), Rule::Alert(new)) => old.id == new.id && old.text == new.text,
        (Rule::Record(_), Rule::Alert(_)) | (Rule::Alert(_), Rule::Record(_)) => false,
    }
}

fn stale(name: Text, labels: Labels, at: Timestamp) -> Series {
    Series { name, labels, points: vec![(at, STALE)] }
}
