//! The pure step: what one evaluation found, against the alerts as they stand, gives their turns.
//!
//! Two things are not as in Prometheus, both on purpose. Time in which nobody looked (a stop, a
//! suspended machine, a clock that was set) counts neither towards firing nor towards being over.
//! And an alert whose series are missing is not over: nothing is known of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use farol_model::{Alert, AlertKey, Phase, Text, Timestamp, Transition, Turn, fingerprint};

use crate::{
    AlertRule, Found, Group, Missing, Rule, RuleResult, RuleSet, Standing, rules::Flapping,
};

/// Where a rule does not say what is too often.
pub const FLAPPING: Flapping = Flapping {
    firings: 6,
    within: Duration::from_secs(60 * 60),
    settle: Duration::from_secs(10 * 60),
};

/// So many beginnings of an alert are remembered at most, however many a rule asks for.
pub const MOST_FIRINGS: usize = 100;

/// Brings `alerts` (all alerts known, of which only this rule's are touched) to what `result` says and
/// returns the turns that are to be remembered. `every` is how far apart evaluations are at present: much
/// longer gaps are time that nobody saw. No clock, no store, no network.
pub fn step(
    host: &Text,
    group: &Group,
    rule: &AlertRule,
    alerts: &mut BTreeMap<AlertKey, Arc<Alert>>,
    result: &RuleResult,
    every: Duration,
    now: Timestamp,
) -> Vec<Transition> {
    // Nobody could look: what is not known takes no turn, and the time until somebody can is unseen.
    let Ok(found) = &result.found else { return Vec::new() };
    let mut step = Step { host, group, rule, every, now, turns: Vec::new() };
    let mut held = BTreeSet::new();
    for found in found {
        let key = key_of(group, rule, fingerprint(&found.labels));
        let alert = step.holds(alerts.get(&key).map(|alert| &**alert), found);
        alerts.insert(key.clone(), Arc::new(alert));
        held.insert(key);
    }
    let others: Vec<(AlertKey, Standing)> = alerts
        .range(keys_of(group, rule))
        .filter(|(key, alert)| alert.phase != Phase::Ended && !held.contains(key))
        .filter_map(|(key, alert)| Some((key.clone(), standing(alert, found, result)?)))
        .collect();
    for (key, standing) in others {
        let Some(alert) = alerts.remove(&key) else { continue };
        if let Some(alert) = step.holds_no_more(Alert::clone(&alert), standing) {
            alerts.insert(key, Arc::new(alert));
        }
    }
    step.turns
}

/// Ends the alerts of rules that are no longer there: nobody would ever look at them again.
pub fn retire(
    host: &Text,
    alerts: &mut BTreeMap<AlertKey, Arc<Alert>>,
    rules: &RuleSet,
    now: Timestamp,
) -> Vec<Transition> {
    let mut known: BTreeSet<(&Text, &Text)> = BTreeSet::new();
    for group in &rules.groups {
        for rule in &group.rules {
            if let Rule::Alert(rule) = rule {
                known.insert((&group.name, &rule.id));
            }
        }
    }
    let is_orphan = |(key, alert): &(&AlertKey, &Arc<Alert>)| {
        alert.phase != Phase::Ended && !known.contains(&(&key.group, &key.rule))
    };
    let orphans: Vec<AlertKey> =
        alerts.iter().filter(is_orphan).map(|(key, _)| key.clone()).collect();
    let mut turns = Vec::new();
    for key in orphans {
        let Some(alert) = alerts.remove(&key) else { continue };
        let mut alert = Alert::clone(&alert);
        alert.seen_at = now;
        let (turn, stays) = end(&mut alert, now);
        let alert = Arc::new(alert);
        let reason = Some(Text::from_static("the rule was removed"));
        turns.push(Transition {
            at: now,
            host: host.clone(),
            turn,
            reason,
            alert: Arc::clone(&alert),
        });
        if stays {
            alerts.insert(key, alert);
        }
    }
    turns
}

fn key_of(group: &Group, rule: &AlertRule, fingerprint: u64) -> AlertKey {
    AlertKey { group: group.name.clone(), rule: rule.id.clone(), fingerprint }
}

/// Of all alerts of the rule.
pub(crate) fn keys_of(group: &Group, rule: &AlertRule) -> RangeInclusive<AlertKey> {
    key_of(group, rule, 0)..=key_of(group, rule, u64::MAX)
}

/// What is known of an alert that was not found. None of one that the evaluation did not know of: it
/// began while that was under way.
fn standing(alert: &Alert, found: &[Found], result: &RuleResult) -> Option<Standing> {
    let gone = result.gone.iter().find(|gone| gone.series == alert.series);
    // Its series holds under other labels (a rendered one has changed): that is another alert.
    let renamed = || found.iter().any(|found| found.series == alert.series);
    gone.map(|gone| gone.standing).or_else(|| renamed().then_some(Standing::Recovered))
}

/// Ends it, whatever it is, and says which turn that is and whether it is still to be remembered.
fn end(alert: &mut Alert, now: Timestamp) -> (Turn, bool) {
    alert.keeping_since = None;
    alert.missing_since = None;
    if alert.phase == Phase::Pending {
        // An earlier episode stays in memory as it was.
        let had_fired = alert.ended_at.is_some();
        if had_fired {
            alert.phase = Phase::Ended;
        }
        return (Turn::Dropped, had_fired);
    }
    alert.phase = Phase::Ended;
    alert.ended_at = Some(now);
    alert.is_flapping = false;
    (Turn::Resolved, true)
}

struct Step<'a> {
    host: &'a Text,
    group: &'a Group,
    rule: &'a AlertRule,
    every: Duration,
    now: Timestamp,
    turns: Vec<Transition>,
}

impl Step<'_> {
    fn holds(&mut self, before: Option<&Alert>, found: &Found) -> Alert {
        let active = before.filter(|alert| alert.phase != Phase::Ended);
        let Some(active) = active else {
            let mut alert = self.begun(before, found);
            if !self.rule.hold.is_zero() {
                self.take(Turn::Pending, None, &alert);
            }
            self.ripen(&mut alert);
            return alert;
        };
        let mut alert = active.clone();
        self.look(&mut alert);
        alert.annotations = found.annotations.clone();
        alert.series = found.series.clone();
        alert.value = found.value;
        alert.remedy = self.rule.remedy.clone();
        let was_kept = alert.keeping_since.take().is_some();
        let was_missing = alert.missing_since.take().is_some();
        if was_kept || was_missing {
            self.take(Turn::Resumed, None, &alert);
        }
        self.ripen(&mut alert);
        alert
    }

    /// None when there is nothing to remember of it.
    fn holds_no_more(&mut self, mut alert: Alert, standing: Standing) -> Option<Alert> {
        let seen = self.look(&mut alert);
        let is_pending = alert.phase == Phase::Pending;
        match (standing, self.rule.missing) {
            (Standing::Missing | Standing::Silent, Missing::Keep)
            | (Standing::Silent, Missing::Resolve)
                if is_pending =>
            {
                self.end(alert, Some("nothing is known of its series any more"))
            }
            (Standing::Missing | Standing::Silent, Missing::Keep | Missing::Fire)
            | (Standing::Silent, Missing::Resolve) => {
                self.misses(&mut alert, seen);
                self.ripen(&mut alert);
                Some(alert)
            }
            (Standing::Missing, Missing::Resolve)
            | (Standing::Missing | Standing::Silent, Missing::Over) => {
                let reason = "nothing is known of its series any more, which its rule calls over";
                self.rests(alert, Some(reason))
            }
            (Standing::NotYet, _) if !is_pending => {
                self.keeps(&mut alert, self.now);
                Some(alert)
            }
            (Standing::NotYet | Standing::Recovered, _) => self.rests(alert, None),
        }
    }

    /// A new episode. It inherits when the earlier ones began, and tells of the last until it fires.
    fn begun(&self, before: Option<&Alert>, found: &Found) -> Alert {
        Alert {
            group: self.group.name.clone(),
            rule: self.rule.id.clone(),
            labels: found.labels.clone(),
            annotations: found.annotations.clone(),
            series: found.series.clone(),
            value: found.value,
            phase: Phase::Pending,
            active_at: self.now,
            fired_at: before.and_then(|alert| alert.fired_at),
            keeping_since: None,
            missing_since: None,
            unseen: 0,
            seen_at: self.now,
            ended_at: before.and_then(|alert| alert.ended_at),
            firings: before.map(|alert| alert.firings.clone()).unwrap_or_default(),
            is_flapping: false,
            remedy: self.rule.remedy.clone(),
        }
    }

    /// Takes note that it was looked at, and returns how many milliseconds it was seen since the last
    /// look: what is longer than a few evaluations, or negative, nobody saw.
    fn look(&self, alert: &mut Alert) -> i64 {
        let gap = self.now.as_millis().saturating_sub(alert.seen_at.as_millis());
        alert.seen_at = self.now;
        if (0..=most_between_looks(self.every)).contains(&gap) {
            return gap;
        }
        alert.unseen = alert.unseen.saturating_add(gap);
        move_on(&mut alert.keeping_since, gap);
        0
    }

    /// Fires it if it has been seen holding for as long as the rule asks.
    fn ripen(&mut self, alert: &mut Alert) {
        let held = elapsed(alert.active_at, self.now).saturating_sub(alert.unseen);
        if alert.phase != Phase::Pending || held < millis(self.rule.hold) {
            return;
        }
        alert.phase = Phase::Firing;
        alert.fired_at = Some(self.now);
        alert.ended_at = None;
        let flapping = self.rule.flapping.unwrap_or(FLAPPING);
        let within = 0..=millis(flapping.within);
        alert.firings.retain(|fired_at| within.contains(&elapsed(*fired_at, self.now)));
        alert.firings.push(self.now);
        let surplus = alert.firings.len().saturating_sub(MOST_FIRINGS);
        alert.firings.drain(..surplus);
        self.take(Turn::Firing, None, alert);
        if alert.firings.len() >= flapping.firings.clamp(2, MOST_FIRINGS) {
            alert.is_flapping = true;
            let times = alert.firings.len();
            let within = farol_query::print_duration(millis(flapping.within));
            self.take(Turn::Flapping, Some(format!("fired {times} times within {within}")), alert);
        }
    }

    /// It fires on, though nothing is known of it: that is no rest.
    fn misses(&mut self, alert: &mut Alert, seen: i64) {
        move_on(&mut alert.keeping_since, seen);
        if alert.missing_since.is_none() {
            alert.missing_since = Some(self.now);
            self.take(Turn::Missing, None, alert);
        }
    }

    /// It fires on, and has been at rest since `since`.
    fn keeps(&mut self, alert: &mut Alert, since: Timestamp) {
        let is_new = alert.keeping_since.is_none() || alert.missing_since.is_some();
        alert.keeping_since = Some(since);
        alert.missing_since = None;
        if is_new {
            self.take(Turn::Keeping, None, alert);
        }
    }

    /// It is over, unless it has to be so for a while.
    fn rests(&mut self, mut alert: Alert, reason: Option<&str>) -> Option<Alert> {
        let flapping = self.rule.flapping.unwrap_or(FLAPPING);
        let settle = if alert.is_flapping { flapping.settle } else { Duration::ZERO };
        let wait = self.rule.keep_firing.max(settle);
        let since = alert.keeping_since.unwrap_or(self.now);
        let is_over = elapsed(since, self.now) >= millis(wait);
        if is_over || alert.phase == Phase::Pending {
            return self.end(alert, reason);
        }
        self.keeps(&mut alert, since);
        Some(alert)
    }

    fn end(&mut self, mut alert: Alert, reason: Option<&str>) -> Option<Alert> {
        let (turn, stays) = end(&mut alert, self.now);
        self.take(turn, reason.map(str::to_owned), &alert);
        stays.then_some(alert)
    }

    fn take(&mut self, turn: Turn, reason: Option<String>, alert: &Alert) {
        self.turns.push(Transition {
            at: self.now,
            host: self.host.clone(),
            turn,
            reason: reason.map(Text::from),
            alert: Arc::new(alert.clone()),
        });
    }
}

/// A few missed evaluations are no blindness; neither is a minute.
fn most_between_looks(every: Duration) -> i64 {
    const LEAST: i64 = 60_000;
    millis(every).saturating_mul(3).max(LEAST)
}

fn move_on(time: &mut Option<Timestamp>, by: i64) {
    *time = time.map(|time| Timestamp::from_millis(time.as_millis().saturating_add(by)));
}

/// Signed: the clock may have been set back.
fn elapsed(since: Timestamp, now: Timestamp) -> i64 {
    now.as_millis().saturating_sub(since.as_millis())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
