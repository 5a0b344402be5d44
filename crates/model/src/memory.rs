//! What the events journal adds up to: alerts, silences, who was told, what was tried.
//!
//! [`Memory::apply`] is a pure fold. Its sum is itself a record, so that a reader begins with the
//! newest one and folds what follows.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Action, Alert, AlertKey, Delivery, Episode, Record, Silence, Text, Timestamp};

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

    pub fn prune(&mut self, _now: Timestamp, _channels: &[Text]) {}

    fn told(&mut self, _delivery: &Delivery) {}

    fn acted(&mut self, _action: &Action) {}
}
