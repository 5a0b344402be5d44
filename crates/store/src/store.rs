//! The store as its one writer holds it: applies records, in the journal's order.

use std::{path::PathBuf, sync::Arc};

use farol_disk::Disk;
use farol_model::{Position, Record, Timestamp};

use crate::{Config, Reader, StoreError, Upkeep};

#[derive(Debug)]
pub struct Store {}

#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    /// From here on the journal is to be applied again; from its beginning if there is none.
    pub replay_from: Option<Position>,
    /// Files that could not be used, with the reasons; a writer has renamed them to `*.damaged`.
    pub set_aside: Vec<(PathBuf, StoreError)>,
}

/// What a store holds and has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that have samples in a head, a block or both.
    pub series: u64,
    /// Those of the windows in memory.
    pub head_series: u64,
    pub head_samples: u64,
    pub blocks: u64,
    pub block_samples: u64,
    /// Everything in the folder.
    pub bytes: u64,
    /// Snapshots not stored because their time was already held.
    pub held: u64,
    /// Samples not stored because their window had `max_series`.
    pub over_limit: u64,
    /// Samples of rows that were added up under `folded`.
    pub folded: u64,
    /// Damaged parts met so far: files set aside and chunks that could not be read.
    pub damaged: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

impl Store {
    /// Opens the store for writing, under its lock.
    pub fn open(disk: Arc<dyn Disk>, config: Config) -> Result<Opened, StoreError> {
        let _ = (disk, config);
        todo!()
    }

    /// Opens it to look at: no lock, nothing is renamed or removed, and what is applied stays in memory.
    pub fn open_read_only(disk: Arc<dyn Disk>, config: Config) -> Result<Opened, StoreError> {
        let _ = (disk, config);
        todo!()
    }

    /// The same call live and in replay. `complete` is false for a snapshot whose full line is
    /// missing: it states nothing about the series that it does not name.
    pub fn apply(&mut self, at: Position, record: &Record, complete: bool) {
        let _ = (at, record, complete);
        todo!()
    }

    pub fn reader(&self) -> Reader {
        todo!()
    }

    /// The work on immutable windows and blocks, for a thread of its own; one at a time.
    pub fn upkeep(&self) -> Upkeep {
        todo!()
    }

    pub fn stats(&self) -> Stats {
        todo!()
    }
}
