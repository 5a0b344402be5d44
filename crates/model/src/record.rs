//! What the journal remembers, and where in the journal it stands.

use std::sync::Arc;

use crate::{
    Action, Batch, Delivery, Memory, Silence, Snapshot, Summary, Text, Timestamp, Transition,
};

/// The journal's four kinds of file, each with its own retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Metrics,
    Events,
    Logs,
    Received,
}

impl Stream {
    pub const ALL: [Stream; 4] = [Stream::Metrics, Stream::Events, Stream::Logs, Stream::Received];

    pub const fn name(self) -> &'static str {
        match self {
            Stream::Metrics => "metrics",
            Stream::Events => "events",
            Stream::Logs => "logs",
            Stream::Received => "received",
        }
    }

    pub fn from_name(name: &str) -> Option<Stream> {
        Stream::ALL.into_iter().find(|stream| stream.name() == name)
    }
}

/// Everything the program remembers. A new kind of memory is a new variant, nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Snapshot(Arc<Snapshot>),
    Event(Event),
    /// Samples that another program has sent.
    Received(Arc<Batch>),
    /// What recording rules have computed.
    Recorded(Arc<Batch>),
    /// An alert's turn.
    Alert(Transition),
    Silence(Silence),
    Delivery(Delivery),
    Action(Action),
    /// A full hour.
    Summary(Summary),
    /// What all events before add up to: the first record of each segment of the events, and hourly.
    State(Arc<Memory>),
}

impl Record {
    pub const fn stream(&self) -> Stream {
        match self {
            Record::Snapshot(_) => Stream::Metrics,
            Record::Event(_)
            | Record::Alert(_)
            | Record::Silence(_)
            | Record::Delivery(_)
            | Record::Action(_)
            | Record::Summary(_)
            | Record::State(_) => Stream::Events,
            Record::Received(_) | Record::Recorded(_) => Stream::Received,
        }
    }

    pub fn at(&self) -> Timestamp {
        match self {
            Record::Snapshot(snapshot) => snapshot.at,
            Record::Event(event) => event.at,
            Record::Received(batch) | Record::Recorded(batch) => batch.at,
            Record::Alert(transition) => transition.at,
            Record::Silence(silence) => silence.at,
            Record::Delivery(delivery) => delivery.at,
            Record::Action(action) => action.at,
            Record::Summary(summary) => summary.at,
            Record::State(memory) => memory.at,
        }
    }
}

/// Something that happened to Farol itself: started, stopped, reloaded, a gap in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub host: Text,
    /// One word: `started`, `stopped`, `reloaded`, `imported`, `gap`.
    pub event: Text,
    /// A sentence for a person.
    pub message: Text,
    /// Further facts, by name.
    pub fields: Vec<(Text, Text)>,
}

/// Where a line begins: stream, segment, and offset in the *uncompressed* segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub stream: Stream,
    pub segment: u64,
    pub offset: u64,
}
