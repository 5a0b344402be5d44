//! What the journal remembers, and where in the journal it stands.

use std::sync::Arc;

use crate::{Batch, Snapshot, Text, Timestamp};

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
}

impl Record {
    pub const fn stream(&self) -> Stream {
        match self {
            Record::Snapshot(_) => Stream::Metrics,
            Record::Event(_) => Stream::Events,
            Record::Received(_) => Stream::Received,
        }
    }

    pub fn at(&self) -> Timestamp {
        match self {
            Record::Snapshot(snapshot) => snapshot.at,
            Record::Event(event) => event.at,
            Record::Received(batch) => batch.at,
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
