//! What one tick of one lane yields, and what the program currently holds to be true.

use std::{sync::Arc, time::Duration};

use crate::{Labels, Text, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: Text,
    pub labels: Labels,
    pub value: f64,
}

/// Collectors tick in one of two lanes: `Fast` is what is cheap, `Slow` what can hang or costs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    Fast,
    Slow,
}

impl Lane {
    pub const ALL: [Lane; 2] = [Lane::Fast, Lane::Slow];

    pub const fn name(self) -> &'static str {
        match self {
            Lane::Fast => "fast",
            Lane::Slow => "slow",
        }
    }

    pub fn from_name(name: &str) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.name() == name)
    }

    pub const fn index(self) -> usize {
        match self {
            Lane::Fast => 0,
            Lane::Slow => 1,
        }
    }
}

/// How one collector's run ended. Every reason is a sentence a person can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    Complete,
    /// The machine does not have it (no sensor, module not loaded): normal, and never a 0.
    Absent(String),
    /// Some of it could be read; the reasons name the rest.
    Partial(Vec<String>),
    Failed(String),
}

impl Collected {
    /// The word used in the journal's `errors`, in `/health` and on screens.
    pub const fn word(&self) -> &'static str {
        match self {
            Collected::Complete => "complete",
            Collected::Absent(_) => "absent",
            Collected::Partial(_) => "partial",
            Collected::Failed(_) => "failed",
        }
    }

    pub fn reasons(&self) -> &[String] {
        match self {
            Collected::Complete => &[],
            Collected::Absent(reason) | Collected::Failed(reason) => std::slice::from_ref(reason),
            Collected::Partial(reasons) => reasons,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub collector: Text,
    pub took: Duration,
    pub result: Collected,
}

/// The one-word judgement of the machine. Until rules exist it is `Unknown`, never `Stable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    #[default]
    Unknown,
    Stable,
    Warning,
    Critical,
}

impl State {
    pub const ALL: [State; 4] = [State::Unknown, State::Stable, State::Warning, State::Critical];

    pub const fn name(self) -> &'static str {
        match self {
            State::Unknown => "UNKNOWN",
            State::Stable => "STABLE",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
        }
    }

    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A state and why it is so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    pub reasons: Vec<Text>,
}

/// One tick of one lane. A tick always yields one, perhaps with failures in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// On the lane's own grid: a multiple of `interval`.
    pub at: Timestamp,
    pub interval: Duration,
    pub lane: Lane,
    pub host: Text,
    pub state: State,
    /// The vital signs by short name (`cpu_percent`): all lanes' latest, filled in by the core,
    /// so that every journal line carries all of them.
    pub summary: Vec<(Text, f64)>,
    /// Sorted by name; the samples of one family stand together.
    pub samples: Vec<Sample>,
    /// All of them in a fresh snapshot; only those not `Complete` in one read from a journal.
    pub outcomes: Vec<Outcome>,
}

/// Whether the journal's writer is well; in `farol serve` it is judged from the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// Why what is collected is not (fully) being written, if it is not.
    pub degraded: Option<Text>,
    /// Snapshots that were published but could not be journaled since the start.
    pub unjournaled: u64,
}

/// What is true now, as far as the program knows. Published whole after every applied record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Current {
    pub host: Text,
    pub verdict: Verdict,
    /// The newest snapshot of each lane, by `Lane::index`.
    pub lanes: [Option<Arc<Snapshot>>; 2],
    pub writer: Writer,
}

impl Current {
    /// Data older than this many intervals is not served as if it were current.
    pub const STALE_INTERVALS: u32 = 3;

    pub fn newest(&self) -> Option<&Arc<Snapshot>> {
        self.lanes.iter().flatten().max_by_key(|snapshot| snapshot.at)
    }

    /// The lanes' snapshots that are young enough to be served at `now`.
    pub fn fresh(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.lanes.iter().flatten().filter(move |snapshot| !snapshot.is_stale(now))
    }
}

impl Snapshot {
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.since(self.at) > self.interval * Current::STALE_INTERVALS
    }
}
