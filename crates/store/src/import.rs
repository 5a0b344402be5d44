//! Back-fill: samples from elsewhere, written as blocks of their own that a store then takes in.

use std::{path::PathBuf, sync::Arc};

use farol_disk::{Access, Disk};
use farol_model::{Labels, Text, Timestamp};

use crate::StoreError;

/// Gathers samples and writes them as blocks into the store's folder for incoming ones. Needs no lock:
/// a running store takes them in with its next round of upkeep, another when it is opened.
#[derive(Debug)]
pub struct Importer {}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub files: Vec<PathBuf>,
    pub series: u64,
    pub samples: u64,
    /// Samples left out because their series had another at the same time.
    pub repeated: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

impl Importer {
    /// `dir` is the store's folder.
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        access: Access,
    ) -> Result<Importer, StoreError> {
        let _ = (disk, dir.into(), access);
        todo!()
    }

    /// The number of a series for `push`; the same series has the same number.
    pub fn series(&mut self, name: Text, labels: Labels) -> u32 {
        let _ = (name, labels);
        todo!()
    }

    /// In any order; what memory cannot hold is written in between.
    pub fn push(&mut self, series: u32, at: Timestamp, value: f64) -> Result<(), StoreError> {
        let _ = (series, at, value);
        todo!()
    }

    /// Writes the rest, and only then makes all of it visible. Dropped before, it leaves nothing.
    pub fn finish(self) -> Result<Imported, StoreError> {
        todo!()
    }
}
