//! What the core remembers of alerts, silences, messages and treatments, and how it gets into the
//! events journal.
//!
//! Every record is folded into [`Memory`] whether or not it could be written: while the disk is full
//! people are still told. What could not be written waits in a bounded ring and follows, in order, as
//! soon as there is room. Each segment of the events begins with the whole of what was remembered, and
//! so does each hour: a start reads no further back.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use farol_alert::{GroupResult, Rule, RuleSet};
use farol_collect::own;
use farol_journal::{Journal, JournalError};
use farol_model::{Memory, Phase, Record, State, Stream, Text, Timestamp, Verdict};
use tokio::sync::watch;

/// Records that wait for room on the disk; beyond it the oldest are dropped, and counted.
const MOST_WAITING: usize = 1000;
/// How often the whole is written down besides at each beginning of a segment.
const STATE_EVERY: Duration = Duration::from_secs(60 * 60);
/// So many evaluations may be missed before the state is called unknown.
const MISSED_EVALUATIONS: u32 = 3;
/// Rules that are evaluated slowly are still given so much.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Remembered {
    memory: Memory,
    published: watch::Sender<Arc<Memory>>,
    waiting: VecDeque<Record>,
    dropped: u64,
    /// When the whole was written down last.
    written: Option<Timestamp>,
    rules: Arc<RuleSet>,
    /// The names of the notifiers.
    channels: Vec<Text>,
    evaluated: Option<Timestamp>,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered::new(Memory::default(), watch::channel(Arc::default()).0)
    }
}

impl Remembered {
    pub(super) fn new(memory: Memory, published: watch::Sender<Arc<Memory>>) -> Remembered {
        let written = None;
        let remembered = Remembered {
            memory,
            published,
            waiting: VecDeque::new(),
            dropped: 0,
            written,
            rules: Arc::default(),
            channels: Vec::new(),
            evaluated: None,
        };
        remembered.publish();
        remembered
    }

    pub(super) fn publish(&self) {
        self.published.send_replace(Arc::new(self.memory.clone()));
    }

    /// The machine that the memory is of.
    pub(super) fn name(&mut self, host: &Text) {
        if self.memory.host != *host {
            self.memory.host = host.clone();
        }
    }

    /// What of it is told as Farol's own figures.
    pub(super) fn note_figures(&self, figures: &mut own::AlertingFigures) {
        let count =
            |phase| self.memory.alerts.values().filter(|alert| alert.phase == phase).count();
        figures.pending = count(Phase::Pending) as u64;
        figures.firing = count(Phase::Firing) as u64;
        figures.waiting = self.waiting.len() as u64;
        figures.dropped = self.dropped;
    }

    /// Folds the record and writes it, after those that still wait. An error means that it waits.
    pub(super) fn remember(
        &mut self,
        mut journal: Option<&mut Journal>,
        record: Record,
    ) -> Result<(), JournalFault> {
        self.begin_segment_if_due(journal.as_deref_mut(), record.at());
        self.memory.apply(&record);
        self.write(journal, record)
    }

    /// The same for one that must not be acted on unless it is written: on an error it is forgotten, and
    /// nothing that waits makes room for it.
    pub(super) fn remember_or_refuse(
        &mut self,
        journal: Option<&mut Journal>,
        record: Record,
    ) -> Result<(), JournalFault> {
        let journal = journal.ok_or(JournalFault::Closed)?;
        self.catch_up(Some(&mut *journal))?;
        if journal.begins_segment(Stream::Events, record.at()) {
            self.write_state(journal, record.at())?;
        }
        journal.append(&record)?;
        self.memory.apply(&record);
        Ok(())
    }

    /// The whole goes before the record that it does not hold yet. If there is no room for it there is
    /// none for the record either, which then says so.
    fn begin_segment_if_due(&mut self, journal: Option<&mut Journal>, at: Timestamp) {
        if let Some(journal) = journal
            && self.waiting.is_empty()
            && journal.begins_segment(Stream::Events, at)
        {
            self.write_state(journal, at).ok();
        }
    }

    /// Before a record that is not folded: what waits, and the whole if the record begins a segment.
    pub(super) fn write_before(&mut self, journal: &mut Journal, at: Timestamp) {
        self.catch_up(Some(journal)).ok();
        self.begin_segment_if_due(Some(journal), at);
    }

    fn write(&mut self, journal: Option<&mut Journal>, record: Record) -> Result<(), JournalFault> {
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(record);
        self.catch_up(journal)
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn catch_up(&mut self, journal: Option<&mut Journal>) -> Result<(), JournalFault> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let journal = journal.ok_or(JournalFault::Closed)?;
        while let Some(record) = self.waiting.front() {
            let at = record.at();
            if journal.begins_segment(Stream::Events, at) {
                self.write_state(journal, at)?;
            }
            let Some(record) = self.waiting.front() else { break };
            match journal.append(record) {
                // It would be too long a line whenever it is tried: the others go on.
                Err(error) if error.is_refused() => {
                    tracing::error!(%error, "a record cannot be journaled");
                    self.dropped += 1;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// The whole, if it was not written down for an hour.
    pub(super) fn write_state_if_due(
        &mut self,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<(), JournalFault> {
        let is_due = self.written.is_none_or(|written| {
            now.since(written) >= STATE_EVERY || written.since(now) >= STATE_EVERY
        });
        // What waits is folded already, and would be folded twice by who reads it after this.
        if is_due && self.waiting.is_empty() {
            self.write_state(journal, now)?;
        }
        Ok(())
    }

    /// The whole once more, if there is an alert that a start must know more of than its last turn.
    pub(super) fn write_at_stop(&mut self, journal: &mut Journal, now: Timestamp) {
        let is_needed = self.memory.alerts.values().any(|alert| alert.phase != Phase::Ended);
        if is_needed
            && self.waiting.is_empty()
            && let Err(error) = self.write_state(journal, now)
        {
            tracing::debug!(%error, "what is remembered could not be written at the stop");
        }
    }

    fn write_state(&mut self, journal: &mut Journal, now: Timestamp) -> Result<(), JournalFault> {
        let state = Memory { at: now, ..self.memory.clone() };
        journal.append(&Record::State(Arc::new(state)))?;
        self.written = Some(now);
        Ok(())
    }

    /// Forgets what is over and was told to all who are to be told.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.dropped += self.memory.prune(now, &self.channels).dropped as u64;
    }

    /// Takes other rules; the alerts of those that are gone end.
    pub(super) fn load(
        &mut self,
        rules: Arc<RuleSet>,
        channels: Vec<Text>,
        host: &Text,
        now: Timestamp,
    ) -> Vec<Record> {
        self.channels = channels;
        let ended = farol_alert::retire(host, &mut self.memory.alerts, &rules, now);
        self.rules = rules;
        self.evaluated = None;
        ended.into_iter().map(Record::Alert).collect()
    }

    /// What one evaluation of a group has found, as turns of its alerts.
    pub(super) fn evaluated(
        &mut self,
        result: &GroupResult,
        host: &Text,
        now: Timestamp,
    ) -> Vec<Record> {
        // Of a reload's old rules: they may be no more.
        if !self.rules.groups.iter().any(|group| Arc::ptr_eq(group, &result.group)) {
            return Vec::new();
        }
        self.evaluated = Some(now);
        let mut turns = Vec::new();
        for (rule, found) in result.group.rules.iter().zip(&result.rules) {
            let Rule::Alert(rule) = rule else { continue };
            let alerts = &mut self.memory.alerts;
            let (every, at) = (result.every, result.at);
            turns.extend(farol_alert::step(host, &result.group, rule, alerts, found, every, at));
        }
        turns.into_iter().map(Record::Alert).collect()
    }

    /// The machine's state, and why. Without evaluations that are young nothing may be called stable.
    pub(super) fn verdict(&self, now: Timestamp) -> Verdict {
        let unknown =
            |reason| Verdict { state: State::Unknown, reasons: vec![Text::from_static(reason)] };
        let Some(interval) = self.rules.groups.iter().map(|group| group.interval).min() else {
            return unknown(NO_RULES);
        };
        let Some(evaluated) = self.evaluated else {
            return unknown("the rules have not been evaluated yet");
        };
        let patience = (interval * MISSED_EVALUATIONS).max(LEAST_PATIENCE);
        if now.since(evaluated) > patience || evaluated.since(now) > patience {
            return unknown("the rules are not being evaluated");
        }
        farol_alert::verdict(&self.memory)
    }
}

pub(super) const NO_RULES: &str = "no rules loaded";

/// Why a record is not in the journal.
#[derive(Debug)]
pub(super) enum JournalFault {
    /// It could not be opened yet.
    Closed,
    Failed(JournalError),
}

impl From<JournalError> for JournalFault {
    fn from(error: JournalError) -> JournalFault {
        JournalFault::Failed(error)
    }
}

impl std::fmt::Display for JournalFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JournalFault::Closed => f.write_str("the journal is not open"),
            JournalFault::Failed(error) => error.fmt(f),
        }
    }
}
