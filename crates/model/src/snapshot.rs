//! What one tick of one lane yields, and what the program currently holds to be true.

use std::{sync::Arc, time::Duration};

use crate::{Labels, Text, Timestamp, TopProcess};

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
    /// The largest processes, in the lane whose collector looks for them.
    pub top: Vec<TopProcess>,
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

    /// The newest of the fresh snapshots, or of all when none is: after the clock was set back, one
    /// from before has the latest time and says nothing about now.
    pub fn newest(&self, now: Timestamp) -> Option<&Arc<Snapshot>> {
        let newest = self.fresh(now).max_by_key(|snapshot| snapshot.at);
        newest.or_else(|| self.lanes.iter().flatten().max_by_key(|snapshot| snapshot.at))
    }

    /// The lanes' snapshots that are young enough to be served at `now`.
    pub fn fresh(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Snapshot>> {
        self.lanes.iter().flatten().filter(move |snapshot| !snapshot.is_stale(now))
    }
}

impl Snapshot {
    /// Whether it is too old to be called current. One that is dated as far ahead is from before
    /// the clock was set back: it would otherwise look young until the clock has caught up.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        // The interval may come from a file.
        let patience = self.interval.saturating_mul(Current::STALE_INTERVALS);
        now.since(self.at) > patience || self.at.since(now) > patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(lane: Lane, at: i64, interval: Duration) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            at: Timestamp::from_millis(at),
            interval,
            lane,
            host: Text::default(),
            state: State::Unknown,
            summary: Vec::new(),
            samples: Vec::new(),
            top: Vec::new(),
            outcomes: Vec::new(),
        })
    }

    #[test]
    fn a_snapshot_is_current_for_three_intervals_on_either_side_of_the_clock() {
        let snapshot = snapshot(Lane::Fast, 100_000, Duration::from_secs(1));
        let is_stale = |now| snapshot.is_stale(Timestamp::from_millis(now));
        assert!(!is_stale(103_000) && is_stale(103_001));
        assert!(!is_stale(97_000) && is_stale(96_999), "the clock was set back");
    }

    #[test]
    fn an_interval_without_end_is_no_reason_to_panic() {
        let snapshot = snapshot(Lane::Fast, 0, Duration::MAX);
        assert!(!snapshot.is_stale(Timestamp::from_millis(i64::MAX)));
    }

    #[test]
    fn after_the_clock_was_set_back_the_newest_is_the_one_taken_since() {
        let second = Duration::from_secs(1);
        let before = snapshot(Lane::Slow, 86_400_000, second * 10);
        let since = snapshot(Lane::Fast, 1000, second);
        let mut current = Current::default();
        current.lanes[Lane::Slow.index()] = Some(before.clone());
        assert_eq!(current.newest(Timestamp::from_millis(1000)), Some(&before));
        current.lanes[Lane::Fast.index()] = Some(since.clone());
        assert_eq!(current.newest(Timestamp::from_millis(1000)), Some(&since));
    }
}
