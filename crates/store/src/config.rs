//! What a store is told.

use std::{path::PathBuf, time::Duration};

use farol_disk::Access;
use farol_model::{Labels, Sample, Snapshot, Text};

#[derive(Clone, Debug)]
pub struct Config {
    /// The store's own folder; nobody else writes there.
    pub dir: PathBuf,
    /// How long raw samples are kept, in recorded time.
    pub retention: Duration,
    /// How long down-sampled days are kept, by [`Tier`](crate::Tier).
    pub tier_retention: [Duration; 2],
    /// Everything in the folder together never exceeds this.
    pub max_bytes: u64,
    pub access: Access,
    /// The most series one window may have; the samples of further ones are counted and not stored.
    pub max_series: usize,
    /// The label `job` of the host's series.
    pub job: Text,
    /// Further samples that a snapshot yields, from its rows (`farol_collect` knows their names).
    pub rows: fn(&Snapshot) -> Vec<Sample>,
    /// The most series that rows may make in one window; what is beyond them is added up under
    /// `folded`.
    pub max_row_series: usize,
    pub folded: Labels,
}

impl Config {
    pub fn new(dir: impl Into<PathBuf>) -> Config {
        Config {
            dir: dir.into(),
            retention: Duration::from_secs(14 * 24 * 60 * 60),
            tier_retention: [30, 2 * 365].map(|days| Duration::from_secs(days * 24 * 60 * 60)),
            max_bytes: 1 << 30,
            access: Access::default(),
            max_series: 200_000,
            job: Text::from_static("node"),
            rows: |_| Vec::new(),
            max_row_series: 500,
            folded: Labels::from([("name", "other")]),
        }
    }
}
