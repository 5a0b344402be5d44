//! What the events journal adds up to: alerts, silences, who was told, what was tried.
//!
//! [`Memory::apply`] is a pure fold. Its sum is itself a record, so that a reader begins with the
//! newest one and folds what follows.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Action, ActionStep, Alert, AlertKey, Delivery, Episode, Judgement, Record, Silence, Text,
    Timestamp,
};

/// Of one remedy: its runs.
const MOST_RUNS: usize = 100;
/// Of one remedy: whether its last runs helped.
const MOST_JUDGEMENTS: usize = 10;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// When it was written down; of the last record that it holds.
    pub at: Timestamp,
    pub host: Text,
    pub alerts: BTreeMap<AlertKey, Arc<Alert>>,
    pub silences: BTreeMap<Text, Silence>,
    pub channels: BTreeMap<Text, Channel>,
    pub remedies: BTreeMap<Text, Remedy>,
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

impl Memory {
    /// Takes in one record; those of other streams change nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::State(memory) => *self = Memory::clone(memory),
            Record::Alert(transition) => {
                self.alerts.insert(transition.alert.key(), Arc::clone(&transition.alert));
            }
            Record::Silence(silence) => {
                self.silences.insert(silence.id.clone(), silence.clone());
            }
            Record::Delivery(delivery) => self.told(delivery),
            Record::Action(action) => self.acted(action),
            Record::Snapshot(_)
            | Record::Event(_)
            | Record::Received(_)
            | Record::Recorded(_)
            | Record::Summary(_) => return,
        }
        self.at = self.at.max(record.at());
    }

    fn told(&mut self, _delivery: &Delivery) {}

    fn acted(&mut self, action: &Action) {
        let remedy = self.remedies.entry(action.remedy.clone()).or_default();
        match &action.step {
            ActionStep::Intended { .. } => {
                remedy.runs.push(action.at);
                let surplus = remedy.runs.len().saturating_sub(MOST_RUNS);
                remedy.runs.drain(..surplus);
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

impl Remedy {
    fn has_answered(&mut self, action: &Action) {
        if let Some((_, episode)) = &action.alert {
            self.answered.insert(*episode, action.at);
        }
    }

    fn was_judged(&mut self, action: &Action, judgement: Judgement) {
        self.judged.push((action.at, judgement));
        let surplus = self.judged.len().saturating_sub(MOST_JUDGEMENTS);
        self.judged.drain(..surplus);
    }
}
