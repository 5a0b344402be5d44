//! What is wrong, since when, who was told of it, and what was tried against it.
//!
//! All of it is plain data that the events journal holds. [`Memory`](crate::Memory) is what one gets
//! who reads these records one after the other.

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use crate::{Labels, State, Text, Timestamp};

/// Of one rule and one label set. `rule` is the rule's id: its name and the labels that it adds, so
/// that the warning and the critical rule of one name are two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub group: Text,
    pub rule: Text,
    /// Of the alert's labels, as [`fingerprint`] makes it.
    pub fingerprint: u64,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Its expression holds, not yet for as long as the rule asks.
    Pending,
    Firing,
    /// It has fired and is over; kept until all who were told of it know, and to see it flap.
    Ended,
}

/// One alert as it stands. A time is that of an evaluation, never of a clock read here.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub group: Text,
    /// The rule's id, see [`AlertKey`].
    pub rule: Text,
    /// With `alertname`, and most often `severity`.
    pub labels: Labels,
    pub annotations: Labels,
    /// The labels of the expression's result: by them the alert is found again at the next evaluation.
    pub series: Labels,
    pub value: f64,
    pub phase: Phase,
    /// Since when its expression holds.
    pub active_at: Timestamp,
    /// Since when it fires; with the fingerprint it names this episode. While it is pending again: of
    /// the episode before, as is `ended_at`.
    pub fired_at: Option<Timestamp>,
    /// Since when it is at rest while it fires on (`keep_firing_for`, a recovery level, flapping), moved on
    /// by what nobody saw.
    pub keeping_since: Option<Timestamp>,
    /// Since when nothing is known of its series: it neither holds nor is over.
    pub missing_since: Option<Timestamp>,
    /// Milliseconds since `active_at` in which nobody looked (a stop, a clock that was set): they do
    /// not count as held. Negative after the clock was set back.
    pub unseen: i64,
    /// The evaluation that saw it last.
    pub seen_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// When its last episodes began to fire, the oldest first, bounded.
    pub firings: Vec<Timestamp>,
    pub is_flapping: bool,
    /// The remedy that its rule names.
    pub remedy: Option<Text>,
}

impl Alert {
    pub fn key(&self) -> AlertKey {
        AlertKey {
            group: self.group.clone(),
            rule: self.rule.clone(),
            fingerprint: fingerprint(&self.labels),
        }
    }

    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or_default()
    }

    pub fn severity(&self) -> Option<&str> {
        self.labels.get("severity")
    }

    /// The state that it puts the machine into while it fires. What says no severity is a warning.
    pub fn state(&self) -> State {
        match self.severity() {
            Some("critical" | "page") => State::Critical,
            Some("info" | "none") => State::Stable,
            _ => State::Warning,
        }
    }

    pub fn episode(&self) -> Option<Episode> {
        Some(Episode { fingerprint: fingerprint(&self.labels), fired_at: self.fired_at? })
    }
}

/// One firing of one alert, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Episode {
    pub fingerprint: u64,
    pub fired_at: Timestamp,
}

/// The FNV-1a hash over the sorted labels by which Alertmanager names an alert.
pub fn fingerprint(labels: &Labels) -> u64 {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    const SEPARATOR: u8 = 255;
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    labels.iter().fold(OFFSET, |hash, (name, value)| {
        let hash = name.bytes().fold(hash, mix);
        let hash = value.bytes().fold(mix(hash, SEPARATOR), mix);
        mix(hash, SEPARATOR)
    })
}

/// What became of an alert at one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    Pending,
    Firing,
    /// Its expression holds no more; `keep_firing_for` or the recovery level keeps it firing.
    Keeping,
    /// Its expression holds again while it was kept.
    Resumed,
    /// Nothing is known of its series any more; it fires on.
    Missing,
    /// It is over. From `Pending` it was never told.
    Resolved,
    /// It changes so often that it is held until it has come to rest.
    Flapping,
    /// It was pending and holds no more. It is forgotten, unless it had fired before: then it is
    /// [`Phase::Ended`] again.
    Dropped,
}

impl Turn {
    pub const ALL: [Turn; 8] = [
        Turn::Pending,
        Turn::Firing,
        Turn::Keeping,
        Turn::Resumed,
        Turn::Missing,
        Turn::Resolved,
        Turn::Flapping,
        Turn::Dropped,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Turn::Pending => "pending",
            Turn::Firing => "firing",
            Turn::Keeping => "keeping",
            Turn::Resumed => "resumed",
            Turn::Missing => "missing",
            Turn::Resolved => "resolved",
            Turn::Flapping => "flapping",
            Turn::Dropped => "dropped",
        }
    }

    pub fn from_name(name: &str) -> Option<Turn> {
        Turn::ALL.into_iter().find(|turn| turn.name() == name)
    }
}

/// The whole alert as it stands after its turn: a reader needs no line before.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub at: Timestamp,
    pub host: Text,
    pub turn: Turn,
    /// Why, where the rule alone does not say it (`the rule was removed`).
    pub reason: Option<Text>,
    pub alert: Arc<Alert>,
}

/// One matcher of a silence, as Alertmanager has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceMatcher {
    pub name: Text,
    pub value: Text,
    pub is_regex: bool,
    pub is_equal: bool,
}

impl SilenceMatcher {
    pub const fn sign(&self) -> &'static str {
        match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        }
    }
}

/// As Alertmanager writes it: `instance=~"web.*"`.
impl fmt::Display for SilenceMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.sign())?;
        write_quoted(f, &self.value)
    }
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Alerts that all matchers match are recorded and not told. An expired one has `ends_at` in the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When it was made or changed last.
    pub at: Timestamp,
    pub host: Text,
    pub id: Text,
    pub matchers: Vec<SilenceMatcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: Text,
    pub comment: Text,
}

/// What became of one message to one channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub at: Timestamp,
    pub host: Text,
    /// The notifier's name.
    pub channel: Text,
    /// The key of the group of alerts that the message is about; empty when the channel as a whole is meant.
    pub group: Text,
    /// What the message told: an episode, and whether it told its end.
    pub episodes: Vec<(Episode, bool)>,
    pub attempts: u32,
    pub outcome: Delivered,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Delivered {
    /// The receiver has it. With the id that it gave the message, by which it can be changed.
    Sent { message: Option<Text> },
    /// Not before `until` may the channel be asked again. Synced before anything else is sent there.
    Later { until: Timestamp, reason: Text },
    /// Given up.
    Dead { reason: Text },
    /// The receiver has said that it does not exist: it is not asked again until its settings change.
    Disabled { reason: Text },
}

/// A step of one run of one remedy.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub at: Timestamp,
    pub host: Text,
    /// Of the run; the steps of one run share it.
    pub id: Text,
    pub remedy: Text,
    /// The alert's name and episode; none when a person asked.
    pub alert: Option<(Text, Episode)>,
    pub step: ActionStep,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ActionStep {
    /// The policy, a missing right or a missing setting forbids it.
    Refused { reason: Text },
    /// A dry run: what it would have done.
    Rehearsed { summary: Text, output: Text },
    /// About to run: on the disk before anything is done.
    Intended { what: Text },
    /// It has ended by itself or was ended.
    Finished { ok: bool, summary: Text, output: Text, took: Duration },
    /// Some seconds later: has the alert's value come back?
    Judged { judgement: Judgement, before: Option<f64>, after: Option<f64> },
    /// The program ended between the intent and the outcome: nobody knows. It is not tried again.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    Recovered,
    Better,
    Unchanged,
    Worse,
    Unknown,
}

impl Judgement {
    pub const ALL: [Judgement; 5] = [
        Judgement::Recovered,
        Judgement::Better,
        Judgement::Unchanged,
        Judgement::Worse,
        Judgement::Unknown,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Judgement::Recovered => "recovered",
            Judgement::Better => "better",
            Judgement::Unchanged => "unchanged",
            Judgement::Worse => "worse",
            Judgement::Unknown => "unknown",
        }
    }

    pub fn from_name(name: &str) -> Option<Judgement> {
        Judgement::ALL.into_iter().find(|judgement| judgement.name() == name)
    }
}

/// A full hour of the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// When it was computed.
    pub at: Timestamp,
    pub host: Text,
    /// The hour's beginning.
    pub hour: Timestamp,
    /// By the short names of the vital signs (`cpu_percent`), sorted.
    pub signs: Vec<(Text, SignSummary)>,
    /// Seconds in each state, in the order of [`State::ALL`]; what is missing to 3600 was not watched.
    pub states: Vec<(State, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignSummary {
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    pub p95: f64,
    /// Of how many samples.
    pub samples: u32,
}
