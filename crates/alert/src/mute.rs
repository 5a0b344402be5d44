//! Why a firing alert is not told: a silence, a graver alert of the same thing, or quiet hours.
//!
//! What is muted is recorded as ever. It is told when the mute ends, if it still fires.

use std::collections::BTreeMap;

use farol_model::{Alert, Memory, Phase, Text, Timestamp, fingerprint};

use crate::{Matcher, Routing, Window, matcher::all_match, windows};

/// While an alert that matches `source` fires, those that match `target` and agree in `equal` are not told.
#[derive(Clone, Debug)]
pub struct Inhibition {
    pub source: Vec<Matcher>,
    pub target: Vec<Matcher>,
    pub equal: Equal,
}

/// In what two alerts must agree for one to mute the other.
#[derive(Clone, Debug)]
pub enum Equal {
    /// In their name and in the labels of the series that their rules found.
    Series,
    /// In these labels; one that both lack is equal.
    Labels(Vec<Text>),
}

/// Quiet hours: alerts that the matchers match are not told while the window is open.
#[derive(Clone, Debug)]
pub struct Quiet {
    pub window: Window,
    /// All must match; none is every alert.
    pub matchers: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Muted {
    pub by: Muter,
    /// Until when, as far as time alone decides it.
    pub until: Option<Timestamp>,
}

/// All that mutes an alert, for who asks why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasons {
    /// The silences' ids.
    pub silences: Vec<Text>,
    /// The fingerprints of the alerts that mute it, bounded.
    pub inhibitors: Vec<u64>,
    /// The windows' names.
    pub quiet: Vec<Text>,
}

impl Reasons {
    pub fn is_muted(&self) -> bool {
        !(self.silences.is_empty() && self.inhibitors.is_empty() && self.quiet.is_empty())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Muter {
    /// The silence's id.
    Silence(Text),
    /// The fingerprints of the alerts that mute it, bounded.
    Inhibited(Vec<u64>),
    /// The window's name.
    Quiet(Text),
}

/// A list is for a person to read.
const MOST_INHIBITORS: usize = 10;

/// What mutes `alert` at `now`. For many alerts of one memory, make [`Mutes`] once.
pub fn muted(memory: &Memory, routing: &Routing, alert: &Alert, now: Timestamp) -> Option<Muted> {
    Mutes::new(memory, routing, now).of(alert)
}

/// Everything that mutes at one moment.
#[derive(Debug)]
pub struct Mutes<'a> {
    silences: Vec<ActiveSilence>,
    inhibitions: Vec<Sources<'a>>,
    quiet: Vec<(&'a Quiet, Option<Timestamp>)>,
}

#[derive(Debug)]
struct ActiveSilence {
    id: Text,
    matchers: Vec<Matcher>,
    ends_at: Timestamp,
}

/// The firing alerts that mute others by one rule, by what the others must agree in.
#[derive(Debug)]
struct Sources<'a> {
    rule: &'a Inhibition,
    by_agreement: BTreeMap<Vec<&'a str>, Vec<&'a Alert>>,
}

impl<'a> Mutes<'a> {
    pub fn new(memory: &'a Memory, routing: &'a Routing, now: Timestamp) -> Mutes<'a> {
        let active = memory.silences.values().filter(|silence| {
            silence.starts_at <= now && now < silence.ends_at && !silence.matchers.is_empty()
        });
        let silences = active.map(|silence| ActiveSilence {
            id: silence.id.clone(),
            matchers: silence.matchers.iter().cloned().map(Matcher::trusted).collect(),
            ends_at: silence.ends_at,
        });
        let open = routing.quiet.iter().filter(|quiet| windows::is_open(&quiet.window, now));
        Mutes {
            silences: silences.collect(),
            inhibitions: routing.inhibitions.iter().map(|rule| sources(rule, memory)).collect(),
            quiet: open.map(|quiet| (quiet, windows::next_change(&quiet.window, now))).collect(),
        }
    }

    pub fn of(&self, alert: &Alert) -> Option<Muted> {
        self.silence_of(alert).or_else(|| self.inhibitor_of(alert)).or_else(|| self.quiet_of(alert))
    }

    pub fn reasons(&self, alert: &Alert) -> Reasons {
        let silences = self.silences.iter();
        let silences = silences.filter(|held| all_match(&held.matchers, &alert.labels));
        let quiet = self.quiet.iter().map(|(quiet, _)| *quiet);
        let quiet = quiet.filter(|quiet| all_match(&quiet.matchers, &alert.labels));
        Reasons {
            silences: silences.map(|silence| silence.id.clone()).collect(),
            inhibitors: self.inhibitors_of(alert),
            quiet: quiet.map(|quiet| quiet.window.name.clone()).collect(),
        }
    }

    /// What keeps the end of a told episode back. A silence does not: who was told that it is wrong
    /// is told that it is over. Quiet hours do, unless the earlier message can be changed, which
    /// wakes nobody.
    pub fn of_end(&self, alert: &Alert, can_edit: bool) -> Option<Muted> {
        let quiet = || if can_edit { None } else { self.quiet_of(alert) };
        self.inhibitor_of(alert).or_else(quiet)
    }

    /// Of several, the one that ends last.
    fn silence_of(&self, alert: &Alert) -> Option<Muted> {
        let matching = self.silences.iter().filter(|held| all_match(&held.matchers, &alert.labels));
        let silence = matching.max_by_key(|silence| silence.ends_at)?;
        let by = Muter::Silence(silence.id.clone());
        Some(Muted { by, until: Some(silence.ends_at) })
    }

    fn inhibitor_of(&self, alert: &Alert) -> Option<Muted> {
        let inhibitors = self.inhibitors_of(alert);
        let is_inhibited = !inhibitors.is_empty();
        is_inhibited.then_some(Muted { by: Muter::Inhibited(inhibitors), until: None })
    }

    fn inhibitors_of(&self, alert: &Alert) -> Vec<u64> {
        let inhibitors = self.inhibitions.iter().flat_map(|sources| sources.inhibitors_of(alert));
        let inhibitors = inhibitors.map(|source| fingerprint(&source.labels));
        inhibitors.take(MOST_INHIBITORS).collect()
    }

    fn quiet_of(&self, alert: &Alert) -> Option<Muted> {
        let mut matching =
            self.quiet.iter().filter(|(quiet, _)| all_match(&quiet.matchers, &alert.labels));
        let (quiet, until) = matching.next()?;
        Some(Muted { by: Muter::Quiet(quiet.window.name.clone()), until: *until })
    }
}

fn sources<'a>(rule: &'a Inhibition, memory: &'a Memory) -> Sources<'a> {
    let firing = memory.alerts.values().filter(|alert| alert.phase == Phase::Firing);
    let mut by_agreement: BTreeMap<Vec<&str>, Vec<&Alert>> = BTreeMap::new();
    for alert in firing.filter(|alert| all_match(&rule.source, &alert.labels)) {
        by_agreement.entry(agreement(&rule.equal, alert)).or_default().push(alert);
    }
    Sources { rule, by_agreement }
}

impl Sources<'_> {
    fn inhibitors_of<'a>(&'a self, alert: &'a Alert) -> impl Iterator<Item = &'a Alert> {
        let is_target = all_match(&self.rule.target, &alert.labels);
        let agreeing =
            is_target.then(|| self.by_agreement.get(&agreement(&self.rule.equal, alert))).flatten();
        // Two that are both source and target do not mute each other: nobody would be told.
        let is_source = is_target && all_match(&self.rule.source, &alert.labels);
        let is_itself = |source: &Alert| {
            source.rule == alert.rule
                && source.group == alert.group
                && source.labels == alert.labels
        };
        agreeing.into_iter().flatten().copied().filter(move |source| {
            let is_mutual = is_source && all_match(&self.rule.target, &source.labels);
            !is_itself(source) && !is_mutual
        })
    }
}

fn agreement<'a>(equal: &'a Equal, alert: &'a Alert) -> Vec<&'a str> {
    match equal {
        Equal::Labels(names) => {
            names.iter().map(|name| alert.labels.get(name).unwrap_or_default()).collect()
        }
        Equal::Series => {
            let series = alert.series.iter().filter(|(name, _)| !is_aside(name));
            let series = series.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
            std::iter::once(alert.name()).chain(series).collect()
        }
    }
}

/// The name of the metric that a rule asks and the severity that it gives say nothing of the thing itself.
fn is_aside(name: &str) -> bool {
    matches!(name, "__name__" | "severity")
}
