//! What the events journal adds up to: alerts, silences, who was told, what was tried.
//!
//! [`Memory::apply`] is a pure fold. Its sum is itself a record, so that a reader begins with the
//! newest one and folds what follows. Records that the sum holds already do no harm when they follow
//! it: such are those that had to wait for room on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    Action, ActionStep, Alert, AlertKey, Delivered, Delivery, Episode, Judgement, Labels, Phase,
    Record, Silence, Text, Timestamp, Transition, Turn,
};

/// Alerts and silences that are held; a memory is one line of the journal.
pub const MOST_ALERTS: usize = 10_000;
const MOST_SILENCES: usize = 10_000;
/// Bytes that the alerts' texts have together: the line must not become longer than a reader takes.
const MOST_BYTES: usize = 16 << 20;
/// Of one remedy: its runs, and the episodes answered whose alert is not held any more.
const MOST_RUNS: usize = 100;
/// Of one remedy: whether its last runs helped.
const MOST_JUDGEMENTS: usize = 10;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// An alert that is over is held so long: who was told of it may have to wait, and it may flap.
const KEEP_ENDED: Duration = DAY;
/// So long Alertmanager holds a silence that has expired.
const KEEP_SILENCES: Duration = Duration::from_secs(120 * 3600);
/// A group that has nothing more to tell.
const KEEP_GROUPS: Duration = DAY;
/// A month's budget must be countable.
const KEEP_RUNS: Duration = Duration::from_secs(32 * 24 * 3600);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// When it was written down; of the last record that it holds.
    pub at: Timestamp,
    pub host: Text,
    pub alerts: BTreeMap<AlertKey, Arc<Alert>>,
    pub silences: BTreeMap<Text, Silence>,
    pub channels: BTreeMap<Text, Channel>,
    pub remedies: BTreeMap<Text, Remedy>,
    /// The beginning of the newest hour that has its [`Summary`](crate::Summary).
    pub last_summary: Option<Timestamp>,
}

/// What a notifier has told, and when it may speak again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channel {
    pub not_before: Option<Timestamp>,
    pub disabled: Option<Text>,
    /// By the group's key.
    pub groups: BTreeMap<Text, Told>,
}

/// The last message about one group of alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub at: Timestamp,
    /// The id that the receiver gave it.
    pub message: Option<Text>,
    /// The episodes it has told, and whether it has told their end. One that was given up counts as told.
    pub episodes: BTreeMap<Episode, bool>,
}

/// What a policy asks of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedy {
    /// When it was run (an intent without a known outcome counts), the oldest first, bounded.
    pub runs: Vec<Timestamp>,
    /// An intent whose outcome is not known yet.
    pub open: Option<Action>,
    /// The last step taken.
    pub last: Option<Action>,
    /// Episodes for which it was run, refused or rehearsed already: each is answered once.
    pub answered: BTreeMap<Episode, Timestamp>,
    /// Whether its last runs helped, the oldest first, bounded. A run whose outcome is not known did not.
    pub judged: Vec<(Timestamp, Judgement)>,
}

/// Why a notifier is disabled, for people: without the mark of the settings that it was made with.
pub fn without_mark(reason: &str) -> &str {
    reason.split_once(" [settings ").map_or(reason, |(said, _)| said)
}

impl Memory {
    /// Takes in one record; those of other streams change nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::State(memory) => *self = Memory::clone(memory),
            Record::Alert(transition) => self.turned(transition),
            Record::Silence(silence) => {
                self.silences.insert(silence.id.clone(), silence.clone());
            }
            Record::Delivery(delivery) => self.told(delivery),
            Record::Action(action) => self.acted(action),
            Record::Summary(summary) => {
                self.last_summary = self.last_summary.max(Some(summary.hour));
            }
            Record::Snapshot(_) | Record::Event(_) | Record::Received(_) | Record::Recorded(_) => {
                return;
            }
        }
        self.at = self.at.max(record.at());
    }

    fn turned(&mut self, transition: &Transition) {
        let alert = &transition.alert;
        // What was pending, and had never fired, is forgotten.
        if transition.turn == Turn::Dropped && alert.phase == Phase::Pending {
            self.alerts.remove(&alert.key());
        } else {
            self.alerts.insert(alert.key(), Arc::clone(alert));
        }
    }

    fn told(&mut self, delivery: &Delivery) {
        let channel = self.channels.entry(delivery.channel.clone()).or_default();
        match &delivery.outcome {
            Delivered::Sent { message } => {
                // It has answered: it is there, and what it forbade is over.
                channel.disabled = None;
                channel.not_before = channel.not_before.filter(|until| *until > delivery.at);
                channel.has_told(delivery, message.as_ref());
            }
            Delivered::Dead { .. } => channel.has_told(delivery, None),
            Delivered::Later { until, .. } => {
                // Whoever may be asked later is not gone: its settings have changed.
                channel.disabled = None;
                channel.not_before = Some(*until);
            }
            Delivered::Disabled { reason } => channel.disabled = Some(reason.clone()),
        }
    }

    fn acted(&mut self, action: &Action) {
        let remedy = self.remedies.entry(action.remedy.clone()).or_default();
        match &action.step {
            ActionStep::Intended { .. } => {
                remedy.was_run(action.at);
                remedy.open = Some(action.clone());
                remedy.has_answered(action);
            }
            ActionStep::Refused { .. } | ActionStep::Rehearsed { .. } => {
                remedy.has_answered(action);
            }
            ActionStep::Finished { .. } => {
                remedy.open.take_if(|open| open.id == action.id);
            }
            ActionStep::Unknown => {
                remedy.open.take_if(|open| open.id == action.id);
                remedy.was_judged(action, Judgement::Unknown);
            }
            ActionStep::Judged { judgement, .. } => remedy.was_judged(action, *judgement),
        }
        remedy.last = Some(action.clone());
    }
}

impl Channel {
    /// A message without an id clears none: the receiver gives one only where it can be changed.
    fn has_told(&mut self, delivery: &Delivery, message: Option<&Text>) {
        if delivery.group.is_empty() {
            return;
        }
        let told = self.groups.entry(delivery.group.clone()).or_default();
        // Not the later of the two: with a clock that was set back it would be told again and again.
        told.at = delivery.at;
        if let Some(message) = message {
            told.message = Some(message.clone());
        }
        for (episode, ended) in &delivery.episodes {
            *told.episodes.entry(*episode).or_default() |= ended;
        }
    }
}

impl Remedy {
    fn was_run(&mut self, at: Timestamp) {
        if let Err(place) = self.runs.binary_search(&at) {
            self.runs.insert(place, at);
        }
        let surplus = self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.drain(..surplus);
    }

    fn has_answered(&mut self, action: &Action) {
        if let Some((_, episode)) = &action.alert {
            self.answered.insert(*episode, action.at);
        }
    }

    /// A record that is read twice counts once.
    fn was_judged(&mut self, action: &Action, judgement: Judgement) {
        if self.judged.contains(&(action.at, judgement)) {
            return;
        }
        self.judged.push((action.at, judgement));
        let surplus = self.judged.len().saturating_sub(MOST_JUDGEMENTS);
        self.judged.drain(..surplus);
    }
}

/// What [`Memory::prune`] let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Whose time had come.
    pub expired: usize,
    /// For want of room: more than is held.
    pub dropped: usize,
}

impl Memory {
    /// Lets go what nobody will ask for again, and what is above the bounds. `channels` are those
    /// that exist: what they have not been told yet is held longer than what they know.
    pub fn prune(&mut self, now: Timestamp, channels: &[Text]) -> Pruned {
        let mut pruned = Pruned::default();
        self.prune_alerts(now, channels, &mut pruned);
        self.prune_silences(now, &mut pruned);
        let held: BTreeSet<Episode> =
            self.alerts.values().filter_map(|alert| alert.episode()).collect();
        self.prune_channels(now, channels, &held);
        for remedy in self.remedies.values_mut() {
            remedy.prune(now, &held);
        }
        pruned
    }

    fn prune_alerts(&mut self, now: Timestamp, channels: &[Text], pruned: &mut Pruned) {
        let before = self.alerts.len();
        self.alerts.retain(|_, alert| match (alert.phase, alert.ended_at) {
            (Phase::Ended, Some(ended)) => now.since(ended) < KEEP_ENDED,
            // Dropped while it was pending: nobody was told of it.
            (Phase::Ended, None) => false,
            (Phase::Pending | Phase::Firing, _) => true,
        });
        pruned.expired += before - self.alerts.len();
        let mut bytes: usize = self.alerts.values().map(|alert| weight(alert)).sum();
        if self.alerts.len() <= MOST_ALERTS && bytes <= MOST_BYTES {
            return;
        }
        let mut order: Vec<(AlertKey, usize)> =
            self.alerts.iter().map(|(key, alert)| (key.clone(), weight(alert))).collect();
        order.sort_by_cached_key(|(key, _)| self.alerts.get(key).map(|a| self.worth(a, channels)));
        for (key, weight) in order {
            if self.alerts.len() <= MOST_ALERTS && bytes <= MOST_BYTES {
                break;
            }
            self.alerts.remove(&key);
            bytes = bytes.saturating_sub(weight);
            pruned.dropped += 1;
        }
    }

    /// What is dropped first is worth least: what is over and told, what is over, what is pending.
    fn worth(&self, alert: &Alert, channels: &[Text]) -> (u8, Timestamp) {
        match alert.phase {
            Phase::Ended => {
                let is_told = channels.iter().all(|channel| self.knows_end(channel, alert));
                (u8::from(!is_told), alert.ended_at.unwrap_or_default())
            }
            Phase::Pending => (2, alert.active_at),
            Phase::Firing => (3, alert.active_at),
        }
    }

    fn knows_end(&self, channel: &Text, alert: &Alert) -> bool {
        let (Some(channel), Some(episode)) = (self.channels.get(channel), alert.episode()) else {
            return false;
        };
        channel.groups.values().any(|told| told.episodes.get(&episode) == Some(&true))
    }

    fn prune_silences(&mut self, now: Timestamp, pruned: &mut Pruned) {
        let before = self.silences.len();
        self.silences.retain(|_, silence| now.since(silence.ends_at) < KEEP_SILENCES);
        pruned.expired += before - self.silences.len();
        let surplus = self.silences.len().saturating_sub(MOST_SILENCES);
        if surplus == 0 {
            return;
        }
        let mut order: Vec<(Timestamp, Text)> =
            self.silences.values().map(|held| (held.ends_at, held.id.clone())).collect();
        order.sort();
        for (_, id) in order.iter().take(surplus) {
            self.silences.remove(id);
        }
        pruned.dropped += surplus;
    }

    /// An episode whose alert is not held any more can be told no more.
    fn prune_channels(&mut self, now: Timestamp, channels: &[Text], held: &BTreeSet<Episode>) {
        for channel in self.channels.values_mut() {
            channel.groups.retain(|_, told| {
                let is_late = now.since(told.at) >= KEEP_GROUPS;
                told.episodes.retain(|episode, ended| {
                    held.contains(episode) || (!is_late && (!*ended || now.since(told.at) < HOUR))
                });
                !told.episodes.is_empty() || !is_late
            });
        }
        self.channels.retain(|name, channel| {
            channels.contains(name)
                || channel.groups.values().any(|told| now.since(told.at) < KEEP_GROUPS)
        });
    }
}

/// Bytes of an alert's texts.
fn weight(alert: &Alert) -> usize {
    let of_labels = |labels: &Labels| -> usize {
        labels.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    [&alert.labels, &alert.annotations, &alert.series].into_iter().map(of_labels).sum()
}

impl Remedy {
    fn prune(&mut self, now: Timestamp, held: &BTreeSet<Episode>) {
        self.runs.retain(|run| now.since(*run) < KEEP_RUNS);
        self.answered.retain(|episode, at| held.contains(episode) || now.since(*at) < KEEP_RUNS);
        // Each is answered once as long as its alert is there, however many there are.
        let mut gone: Vec<(Timestamp, Episode)> = self
            .answered
            .iter()
            .filter(|(episode, _)| !held.contains(episode))
            .map(|(episode, at)| (*at, *episode))
            .collect();
        gone.sort();
        let surplus = gone.len().saturating_sub(MOST_RUNS);
        for (_, episode) in gone.iter().take(surplus) {
            self.answered.remove(episode);
        }
    }
}
