//! A store for rules that are tried out: what is recorded into it, it has, and nothing else holds it.

use farol_model::{Batch, Position, Record, Series, Stream, Timestamp};
use farol_store::{Reader, Store};

/// Takes results of rules as the journal would bring them.
#[derive(Debug)]
pub struct Scratch {
    store: Store,
    reader: Reader,
    /// Of the next batch, as if in a journal.
    offset: u64,
    taken: u64,
}

/// Samples: what memory has room for, 16 bytes each.
const MOST_SAMPLES: u64 = 4_000_000;

impl Scratch {
    /// Over a store that keeps what is applied to it in memory.
    pub fn over(store: Store) -> Scratch {
        let reader = store.reader();
        Scratch { store, reader, offset: 0, taken: 0 }
    }

    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    pub fn record(&mut self, series: Vec<Series>) -> Result<(), String> {
        // All at one time, so that nothing of it is put on a disk.
        let batch = Batch { at: Timestamp::default(), series };
        self.taken = self.taken.saturating_add(batch.samples() as u64);
        if self.taken > MOST_SAMPLES {
            return Err(format!("more than {MOST_SAMPLES} samples: there is no room for them"));
        }
        let position = Position { stream: Stream::Received, segment: 0, offset: self.offset };
        self.offset += 1;
        self.store.apply(position, &Record::Recorded(batch.into()), true);
        Ok(())
    }
}
