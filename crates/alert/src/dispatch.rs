//! Which messages are due: a pure function of what is remembered, the routing and the time.
//!
//! Alerts that agree in the labels of `group_by` are one message. A new group waits `group_wait` from
//! its oldest alert, so that what breaks together is told together; a group of which something is
//! told waits `group_interval` until a change is told, and is told again unchanged after
//! `repeat_interval`. The end of an episode is told only if the episode was: what fired and ended
//! before its message was due is recorded and not told.
//!
//! Times are compared with the time given. Something that lies further in the future than its own
//! wait was dated by a clock that has been set back since: it is due.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use farol_model::{Alert, Channel, Episode, Labels, Memory, Phase, Text, Timestamp, Told};

use crate::{Inhibition, Matcher, Mutes, Quiet, matcher::all_match, mute::Equal};

/// How alerts find their channels, and what keeps them from being told.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    pub routes: Vec<Route>,
    pub inhibitions: Vec<Inhibition>,
    pub quiet: Vec<Quiet>,
}

/// What one channel is told, and how often.
#[derive(Clone, Debug)]
pub struct Route {
    pub channel: Text,
    /// All must match; none is every alert.
    pub matchers: Vec<Matcher>,
    /// Labels by which alerts are put into one message; `...` is all of them.
    pub group_by: Vec<Text>,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
    /// Whether the end of an episode is told.
    pub send_resolved: bool,
}

impl Route {
    /// With Alertmanager's times.
    pub fn new(channel: impl Into<Text>) -> Route {
        Route {
            channel: channel.into(),
            matchers: Vec::new(),
            group_by: vec![Text::from_static("alertname")],
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 60 * 60),
            send_resolved: true,
        }
    }
}

/// A critical alert mutes the warnings of the same name about the same series, and a warning what is
/// only for information.
pub fn default_inhibitions() -> Vec<Inhibition> {
    let severity = |value: &'static str| {
        Matcher::trusted(farol_model::SilenceMatcher {
            name: Text::from_static("severity"),
            value: Text::from_static(value),
            is_regex: true,
            is_equal: true,
        })
    };
    [("critical|page", "warning|info|none"), ("warning", "info|none")]
        .map(|(source, target)| Inhibition {
            source: vec![severity(source)],
            target: vec![severity(target)],
            equal: Equal::Series,
        })
        .into()
}

/// One message that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub channel: Text,
    /// Names the group in the records: `{}:{alertname="X"}` as Alertmanager writes it.
    pub group: Text,
    pub group_labels: Labels,
    /// At most [`MOST_ALERTS`]. Firing ones first, the oldest first; an ended one is told as resolved.
    pub alerts: Vec<Arc<Alert>>,
    /// How many more the group holds. Those of them that are not told yet are in the next message.
    pub truncated: usize,
    pub reason: Reason,
    /// The earlier message about this group, if its receiver gave it an id and it is not closed.
    pub message: Option<Text>,
    pub at: Timestamp,
}

impl Notice {
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.phase == Phase::Firing)
    }
}

/// Why a message is due, in Alertmanager's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    First,
    New,
    Resolved,
    AllResolved,
    Repeat,
}

impl Reason {
    pub const fn name(self) -> &'static str {
        match self {
            Reason::First => "first notification",
            Reason::New => "new alerts in group",
            Reason::Resolved => "new resolved alerts",
            Reason::AllResolved => "all alerts resolved",
            Reason::Repeat => "repeat interval elapsed",
        }
    }
}

/// What is due now, the oldest first, and when to look again if nothing else happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Due {
    pub notices: Vec<Notice>,
    pub next: Option<Timestamp>,
}

/// One message names no more alerts than this.
pub const MOST_ALERTS: usize = 200;

/// A group is not repeated more often, whatever is set.
const LEAST_REPEAT: Duration = Duration::from_secs(1);

/// What `channel` is to be told at `now`. A channel that is not in the routing is told nothing.
///
/// A notice stays due until a record of its delivery is in `memory`.
pub fn due(memory: &Memory, routing: &Routing, channel: &str, now: Timestamp) -> Due {
    let Some(route) = routing.routes.iter().find(|route| route.channel == channel) else {
        return Due::default();
    };
    let unknown = Channel::default();
    let told = memory.channels.get(channel).unwrap_or(&unknown);
    if told.disabled.is_some() {
        return Due::default();
    }
    let mutes = Mutes::new(memory, routing, now);
    let mut ready: Vec<(Timestamp, Notice)> = Vec::new();
    let mut next: Option<Timestamp> = None;
    for (key, labels, alerts) in groups(memory, route) {
        let group = GroupState::new(route, told.groups.get(&key), &mutes, alerts, now);
        next = earlier(next, group.look_again(route, now));
        let Some((since, reason)) = group.due(route, now) else { continue };
        ready.push((since, group.notice(route, key, labels, reason, now)));
    }
    ready.sort_by(|a, b| (a.0, &a.1.group).cmp(&(b.0, &b.1.group)));
    match told.not_before {
        Some(until) if until > now => {
            let waits = !ready.is_empty();
            let next = if waits { Some(until) } else { next.map(|next| next.max(until)) };
            Due { notices: Vec::new(), next }
        }
        Some(_) | None => {
            Due { notices: ready.into_iter().map(|(_, notice)| notice).collect(), next }
        }
    }
}

/// The alerts of a channel that fire or have fired, in groups: the group's key and labels.
pub fn groups(memory: &Memory, route: &Route) -> Vec<(Text, Labels, Vec<Arc<Alert>>)> {
    let mut groups: BTreeMap<Labels, Vec<Arc<Alert>>> = BTreeMap::new();
    for alert in memory.alerts.values() {
        if alert.phase != Phase::Pending && all_match(&route.matchers, &alert.labels) {
            groups.entry(group_labels(route, &alert.labels)).or_default().push(Arc::clone(alert));
        }
    }
    groups.into_iter().map(|(labels, alerts)| (group_key(&labels), labels, alerts)).collect()
}

fn group_labels(route: &Route, labels: &Labels) -> Labels {
    if route.group_by.iter().any(|name| name == "...") {
        return labels.clone();
    }
    let named = |name: &Text| Some((name.clone(), labels.get(name)?.into()));
    Labels::new(route.group_by.iter().filter_map(named).collect())
}

/// As Alertmanager writes it: the matchers of a route that has none, and the group's labels.
fn group_key(labels: &Labels) -> Text {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            farol_model::SilenceMatcher {
                name: name.clone(),
                value: value.clone(),
                is_regex: false,
                is_equal: true,
            }
            .to_string()
        })
        .collect();
    format!("{{}}:{{{}}}", pairs.join(", ")).into()
}

/// What is to be said of one group of alerts.
struct GroupState<'a> {
    told: Option<&'a Told>,
    /// Whether something that was told is neither over nor told to be: the message stands open.
    is_open: bool,
    /// Firing, not muted, not told.
    untold: Vec<Arc<Alert>>,
    /// Firing, not muted, told.
    known: Vec<Arc<Alert>>,
    /// Ended, told as firing, not yet as ended.
    ended: Vec<Arc<Alert>>,
    /// When the mute of one ends that would be told otherwise.
    unmuted_at: Option<Timestamp>,
}

impl<'a> GroupState<'a> {
    fn new(
        route: &Route,
        told: Option<&'a Told>,
        mutes: &Mutes<'_>,
        alerts: Vec<Arc<Alert>>,
        now: Timestamp,
    ) -> GroupState<'a> {
        let mut group = GroupState {
            told,
            is_open: false,
            untold: Vec::new(),
            known: Vec::new(),
            ended: Vec::new(),
            unmuted_at: None,
        };
        for alert in alerts {
            // Nobody could record that one without an episode was told.
            let Some(episode) = alert.episode() else { continue };
            let has_told_end = told.and_then(|told| has_told_end(told, episode));
            let muted = match (alert.phase, has_told_end) {
                (Phase::Firing, _) => {
                    group.is_open |= has_told_end == Some(false);
                    mutes.of(&alert)
                }
                (Phase::Ended, Some(false)) if route.send_resolved => {
                    group.is_open = true;
                    mutes.of_end(&alert, told.is_some_and(|told| told.message.is_some()))
                }
                (Phase::Ended | Phase::Pending, _) => continue,
            };
            if let Some(muted) = muted {
                let until = muted.until.filter(|until| *until > now);
                // What was told already is told again no sooner than it would be without the mute.
                let until = match (alert.phase, has_told_end, told) {
                    (Phase::Firing, Some(_), Some(told)) => {
                        until.map(|until| until.max(wait(told.at, repeat(route), now)))
                    }
                    _ => until,
                };
                group.unmuted_at = earlier(group.unmuted_at, until);
                continue;
            }
            match (alert.phase, has_told_end) {
                (Phase::Ended, _) => group.ended.push(alert),
                (_, Some(_)) => group.known.push(alert),
                (_, None) => group.untold.push(alert),
            }
        }
        group.untold.sort_by_key(|alert| alert.fired_at);
        group.known.sort_by_key(|alert| alert.fired_at);
        group.ended.sort_by_key(|alert| alert.ended_at);
        group
    }

    /// Since when a message is due, and why.
    fn due(&self, route: &Route, now: Timestamp) -> Option<(Timestamp, Reason)> {
        let changed = self.changed_at(route, now).filter(|at| *at <= now);
        let repeated = || self.repeated_at(route, now).filter(|at| *at <= now);
        changed.map(|at| (at, self.reason())).or_else(|| Some((repeated()?, Reason::Repeat)))
    }

    /// When something could become due that is not due at `now`.
    fn look_again(&self, route: &Route, now: Timestamp) -> Option<Timestamp> {
        let times = [self.changed_at(route, now), self.repeated_at(route, now), self.unmuted_at];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }

    fn changed_at(&self, route: &Route, now: Timestamp) -> Option<Timestamp> {
        let begun = self.untold.first().and_then(|alert| alert.fired_at);
        let ended = self.ended.first().and_then(|alert| alert.ended_at);
        let gathered = wait(earlier(begun, ended)?, route.group_wait, now);
        match self.told {
            Some(told) if self.is_open => {
                Some(gathered.max(wait(told.at, route.group_interval, now)))
            }
            Some(_) | None => Some(gathered),
        }
    }

    fn repeated_at(&self, route: &Route, now: Timestamp) -> Option<Timestamp> {
        self.known.first()?;
        Some(wait(self.told?.at, repeat(route), now))
    }

    fn reason(&self) -> Reason {
        match (self.is_open, self.untold.is_empty(), self.known.is_empty()) {
            (false, _, _) => Reason::First,
            (true, false, _) => Reason::New,
            (true, true, false) => Reason::Resolved,
            (true, true, true) => Reason::AllResolved,
        }
    }

    fn notice(
        self,
        route: &Route,
        group: Text,
        group_labels: Labels,
        reason: Reason,
        now: Timestamp,
    ) -> Notice {
        let message = self.told.filter(|_| self.is_open).and_then(|told| told.message.clone());
        let (mut firing, mut ended) = (self.untold, self.ended);
        firing.extend(self.known);
        let all = firing.len() + ended.len();
        // Each kind has at least half of the room, so that neither hides the other.
        ended.truncate(MOST_ALERTS - firing.len().min(MOST_ALERTS / 2));
        firing.truncate(MOST_ALERTS - ended.len());
        firing.sort_by_key(|alert| alert.fired_at);
        ended.sort_by_key(|alert| Reverse(alert.ended_at));
        let alerts: Vec<Arc<Alert>> = firing.into_iter().chain(ended).collect();
        Notice {
            channel: route.channel.clone(),
            group,
            group_labels,
            truncated: all - alerts.len(),
            alerts,
            reason,
            message,
            at: now,
        }
    }
}

/// What the channel knows of an alert: nothing, that it fires (false), or that it is over. One that
/// ended and fires again before its end was told has never ended for the channel.
fn has_told_end(told: &Told, episode: Episode) -> Option<bool> {
    let first = Episode { fired_at: Timestamp::from_millis(i64::MIN), ..episode };
    let (last, has_ended) = told.episodes.range(first..=episode).next_back()?;
    (*last == episode || !has_ended).then_some(*has_ended)
}

fn repeat(route: &Route) -> Duration {
    route.repeat_interval.max(route.group_interval).max(LEAST_REPEAT)
}

/// When a wait that began at `since` is over.
fn wait(since: Timestamp, duration: Duration, now: Timestamp) -> Timestamp {
    let is_set_back = since > now.plus(duration);
    if is_set_back { now } else { since.plus(duration) }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
