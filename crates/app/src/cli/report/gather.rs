//! What a report is made of, read from the events.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use farol_disk::Disk;
use farol_journal::{Item, Reader, StartAt};
use farol_model::{
    Action, ActionStep, Alert, Delivered, Delivery, Episode, Judgement, Labels, Phase, Record,
    State, Stream, Summary, Text, Timestamp, without_mark,
};

const HOUR_MILLIS: i64 = 3_600_000;
/// Rows of one table; what is beyond is counted and left out.
const MOST_ROWS: usize = 10_000;

/// The time that is reported on, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

impl Span {
    /// The beginnings of the hours that it touches.
    pub(super) fn hours(self) -> impl Iterator<Item = Timestamp> {
        let first = self.since.as_millis().div_euclid(HOUR_MILLIS);
        let end = self.until.as_millis().saturating_sub(1).div_euclid(HOUR_MILLIS);
        (first..=end).map(|hour| Timestamp::from_millis(hour.saturating_mul(HOUR_MILLIS)))
    }

    fn holds(self, at: Timestamp) -> bool {
        self.since <= at && at < self.until
    }
}

#[derive(Debug)]
pub(super) struct Report {
    pub(super) span: Span,
    pub(super) host: Text,
    /// Each hour, the oldest first.
    pub(super) hours: Vec<(Timestamp, Hour)>,
    /// The oldest first.
    pub(super) episodes: Vec<(Episode, EpisodeRow)>,
    pub(super) runs: Vec<Run>,
    pub(super) channels: BTreeMap<Text, ChannelRow>,
    pub(super) damaged: u64,
    /// Episodes and runs beyond what is held.
    pub(super) left_out: u64,
}

#[derive(Debug)]
pub(super) enum Hour {
    Summed(Box<Summary>),
    /// It is not over yet.
    Running,
    /// Nobody watched, or it is not summed up yet.
    Missing,
}

/// One firing of one alert.
#[derive(Debug)]
pub(super) struct EpisodeRow {
    pub(super) labels: Labels,
    pub(super) summary: Option<Text>,
    /// None while it fires.
    pub(super) ended_at: Option<Timestamp>,
    /// The notifiers that told of it.
    pub(super) told: BTreeSet<Text>,
}

impl EpisodeRow {
    pub(super) fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or_default()
    }
}

/// One run of one treatment, or one that was refused or rehearsed.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: Text,
    pub(super) at: Timestamp,
    pub(super) remedy: Text,
    pub(super) alertname: Option<Text>,
    pub(super) outcome: Outcome,
    pub(super) judgement: Option<Judgement>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Refused(Text),
    Rehearsed(Text),
    Running(Text),
    Succeeded(Text),
    Failed(Text),
    Unknown,
}

/// Messages to one notifier.
#[derive(Debug, Default)]
pub(super) struct ChannelRow {
    pub(super) sent: u64,
    pub(super) put_off: u64,
    pub(super) given_up: u64,
    /// Why the last one was not sent.
    pub(super) trouble: Option<Text>,
}

pub(super) fn gather(disk: &Arc<dyn Disk>, logs: &Path, span: Span) -> anyhow::Result<Report> {
    let start = StartAt::Day(span.since);
    let mut reader = Reader::open(Arc::clone(disk), logs, Stream::Events, start)?;
    let mut gathering = Gathering::new(span);
    while let Some(item) = reader.next()? {
        if let Item::Line(line) = item {
            gathering.take(&line.record);
        }
    }
    Ok(gathering.report(reader.stats().damaged))
}

struct Gathering {
    span: Span,
    host: Text,
    summaries: BTreeMap<Timestamp, Box<Summary>>,
    episodes: BTreeMap<Episode, EpisodeRow>,
    told: BTreeMap<Episode, BTreeSet<Text>>,
    /// By id, in the order in which they began.
    runs: Vec<Run>,
    places: BTreeMap<Text, usize>,
    channels: BTreeMap<Text, ChannelRow>,
    left_out: u64,
}

impl Gathering {
    fn new(span: Span) -> Gathering {
        Gathering {
            span,
            host: Text::EMPTY,
            summaries: BTreeMap::new(),
            episodes: BTreeMap::new(),
            told: BTreeMap::new(),
            runs: Vec::new(),
            places: BTreeMap::new(),
            channels: BTreeMap::new(),
            left_out: 0,
        }
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::Alert(transition) => {
                self.host = transition.host.clone();
                self.alert(&transition.alert);
            }
            Record::State(memory) => {
                memory.alerts.values().for_each(|alert| self.alert(alert));
                for (channel, told) in &memory.channels {
                    for episode in told.groups.values().flat_map(|told| told.episodes.keys()) {
                        self.tell(*episode, channel);
                    }
                }
            }
            Record::Delivery(delivery) => self.delivery(delivery),
            Record::Action(action) => self.action(action),
            Record::Summary(summary) => {
                self.host = summary.host.clone();
                let end = summary.hour.as_millis().saturating_add(HOUR_MILLIS);
                if summary.hour < self.span.until && end > self.span.since.as_millis() {
                    self.summaries.insert(summary.hour, Box::new(summary.clone()));
                }
            }
            Record::Event(event) => self.host = event.host.clone(),
            Record::Silence(_)
            | Record::Snapshot(_)
            | Record::Received(_)
            | Record::Recorded(_) => {}
        }
    }

    /// While an alert is pending again, what it says of an episode is of the one before; its texts are
    /// of the one that may begin.
    fn alert(&mut self, alert: &Alert) {
        let Some(episode) = alert.episode() else { return };
        let ended_at = alert.ended_at.filter(|_| alert.phase != Phase::Firing);
        let is_over_before = ended_at.is_some_and(|ended| ended < self.span.since);
        if episode.fired_at >= self.span.until || is_over_before {
            self.episodes.remove(&episode);
            return;
        }
        if self.episodes.len() == MOST_ROWS && !self.episodes.contains_key(&episode) {
            self.left_out += 1;
            return;
        }
        let summary = alert.annotations.get("summary").map(Text::from);
        let held = self.episodes.get(&episode).filter(|_| alert.phase == Phase::Pending);
        let row = EpisodeRow {
            labels: alert.labels.clone(),
            summary: held.map_or(summary, |held| held.summary.clone()),
            ended_at: ended_at.filter(|ended| *ended < self.span.until),
            told: BTreeSet::new(),
        };
        self.episodes.insert(episode, row);
    }

    fn tell(&mut self, episode: Episode, channel: &Text) {
        if self.told.len() < 2 * MOST_ROWS || self.told.contains_key(&episode) {
            self.told.entry(episode).or_default().insert(channel.clone());
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        if matches!(delivery.outcome, Delivered::Sent { .. }) && delivery.at < self.span.until {
            for (episode, _) in &delivery.episodes {
                self.tell(*episode, &delivery.channel);
            }
        }
        if !self.span.holds(delivery.at) {
            return;
        }
        let row = self.channels.entry(delivery.channel.clone()).or_default();
        match &delivery.outcome {
            Delivered::Sent { .. } => row.sent += 1,
            Delivered::Later { reason, .. } => {
                row.put_off += 1;
                row.trouble = Some(reason.clone());
            }
            Delivered::Dead { reason } => {
                row.given_up += 1;
                row.trouble = Some(reason.clone());
            }
            Delivered::Disabled { reason } => {
                row.given_up += 1;
                row.trouble = Some(without_mark(reason).into());
            }
        }
    }

    /// A run belongs to the span in which it began.
    fn action(&mut self, action: &Action) {
        if let Some(run) = self.places.get(&action.id).and_then(|place| self.runs.get_mut(*place)) {
            return run.step(&action.step);
        }
        if !self.span.holds(action.at) {
            return;
        }
        if self.runs.len() == MOST_ROWS {
            self.left_out += 1;
            return;
        }
        let mut run = Run {
            id: action.id.clone(),
            at: action.at,
            remedy: action.remedy.clone(),
            alertname: action.alert.as_ref().map(|(name, _)| name.clone()),
            outcome: Outcome::Unknown,
            judgement: None,
        };
        run.step(&action.step);
        self.places.insert(action.id.clone(), self.runs.len());
        self.runs.push(run);
    }

    fn report(mut self, damaged: u64) -> Report {
        let span = self.span;
        let hours = span.hours().map(|hour| {
            let end = hour.as_millis().saturating_add(HOUR_MILLIS);
            let summed = self.summaries.remove(&hour).map(Hour::Summed);
            let is_over = end <= span.now.as_millis();
            (hour, summed.unwrap_or(if is_over { Hour::Missing } else { Hour::Running }))
        });
        let hours = hours.collect();
        let mut episodes: Vec<(Episode, EpisodeRow)> = self.episodes.into_iter().collect();
        episodes.sort_by_key(|(episode, _)| episode.fired_at);
        for (episode, row) in &mut episodes {
            row.told = self.told.remove(episode).unwrap_or_default();
        }
        Report {
            span,
            host: self.host,
            hours,
            episodes,
            runs: self.runs,
            channels: self.channels,
            damaged,
            left_out: self.left_out,
        }
    }
}

impl Run {
    fn step(&mut self, step: &ActionStep) {
        self.outcome = match step {
            ActionStep::Refused { reason } => Outcome::Refused(reason.clone()),
            ActionStep::Rehearsed { summary, .. } => Outcome::Rehearsed(summary.clone()),
            ActionStep::Intended { what } => Outcome::Running(what.clone()),
            ActionStep::Finished { ok: true, summary, .. } => Outcome::Succeeded(summary.clone()),
            ActionStep::Finished { ok: false, summary, .. } => Outcome::Failed(summary.clone()),
            ActionStep::Unknown => Outcome::Unknown,
            ActionStep::Judged { judgement, .. } => {
                self.judgement = Some(*judgement);
                return;
            }
        };
    }
}

impl Report {
    /// Seconds in each state, of all hours that are summed up.
    pub(super) fn states(&self) -> Vec<(State, u64)> {
        let of = |state: State| -> u64 {
            let hours = self.hours.iter().filter_map(|(_, hour)| match hour {
                Hour::Summed(summary) => Some(&summary.states),
                Hour::Running | Hour::Missing => None,
            });
            let states = hours.flatten().filter(|(held, _)| *held == state);
            states.map(|(_, seconds)| u64::from(*seconds)).sum()
        };
        let all = State::ALL.into_iter().map(|state| (state, of(state)));
        all.filter(|(_, seconds)| *seconds > 0).collect()
    }
}
