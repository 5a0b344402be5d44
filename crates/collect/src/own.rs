//! Farol's own figures (`farol_*`), as an ordinary collector: `app` keeps the board, the collector
//! reads it.

use std::sync::{Arc, Mutex, PoisonError};

use farol_model::{Labels, Lane, Metric, Sample, Stream, Text, Timestamp};

use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

mod alerting;
mod notifying;
mod treating;

pub use alerting::{AlertingFigures, GroupFigures, MutedFigures};
pub use notifying::{ChannelFigures, NotifyingFigures};
pub use treating::{RemedyFigures, TreatingFigures};

const BUILD_INFO: &str = "farol_build_info";
const LANE_INTERVAL: &str = "farol_lane_interval_seconds";
const TICKS: &str = "farol_ticks_total";
const TICKS_SKIPPED: &str = "farol_ticks_skipped_total";
const TICK_DURATION: &str = "farol_tick_duration_seconds";
const APPLY_DURATION: &str = "farol_apply_duration_seconds";
const JOURNAL_BYTES: &str = "farol_journal_bytes";
const JOURNAL_SEGMENTS: &str = "farol_journal_segments";
const JOURNAL_LINES: &str = "farol_journal_lines_total";
const JOURNAL_FAILURES: &str = "farol_journal_append_failures_total";
const JOURNAL_DAMAGED: &str = "farol_journal_damaged_lines_total";
const JOURNAL_UNJOURNALED: &str = "farol_journal_unjournaled_snapshots_total";
const JOURNAL_DEGRADED: &str = "farol_journal_degraded";
const JOURNAL_SYNCED: &str = "farol_journal_last_sync_timestamp_seconds";
const STORE_SERIES: &str = "farol_store_series";
const STORE_HEAD_SERIES: &str = "farol_store_head_series";
const STORE_HEAD_SAMPLES: &str = "farol_store_head_samples";
const STORE_BLOCKS: &str = "farol_store_blocks";
const STORE_BLOCK_SAMPLES: &str = "farol_store_block_samples";
const STORE_BYTES: &str = "farol_store_bytes";
const STORE_MAX_BYTES: &str = "farol_store_max_bytes";
const STORE_OLDEST: &str = "farol_store_oldest_sample_timestamp_seconds";
const STORE_HELD: &str = "farol_store_held_snapshots_total";
const STORE_OVER_LIMIT: &str = "farol_store_over_limit_samples_total";
const STORE_FOLDED: &str = "farol_store_folded_samples_total";
const STORE_REPEATED: &str = "farol_store_repeated_samples_total";
const STORE_DAMAGED: &str = "farol_store_damaged_parts_total";
const STORE_LAST_BLOCK: &str = "farol_store_last_block_timestamp_seconds";
const STORE_REPLAYED: &str = "farol_store_replayed_records";
const STORE_REPLAY_SECONDS: &str = "farol_store_replay_duration_seconds";
const STORE_LAG: &str = "farol_store_lag_seconds";
const STORE_UPKEEP_FAILURES: &str = "farol_store_upkeep_failures_total";
const STORE_DEGRADED: &str = "farol_store_degraded";
const RELOAD_SUCCEEDED: &str = "farol_config_last_reload_successful";
const RELOAD_AT: &str = "farol_config_last_reload_success_timestamp_seconds";

const FOLLOWED_LINES: &str = "farol_follow_lines_total";
const FOLLOWED_INCOMPLETE: &str = "farol_follow_incomplete_lines_total";
const FOLLOWED_REPEATED: &str = "farol_follow_repeated_lines_total";
const FOLLOWED_DAMAGED: &str = "farol_follow_damaged_parts_total";
const FOLLOWED_GAPS: &str = "farol_follow_gaps_total";
const FOLLOWER_STORE_BYTES: &str = "farol_follow_store_bytes";
const FOLLOWER_STORE_DEGRADED: &str = "farol_follow_store_degraded";
const FOLLOWER_STORE_MAX_BYTES: &str = "farol_follow_store_max_bytes";
const FOLLOWER_STORE_NEWEST: &str = "farol_follow_store_newest_timestamp_seconds";
const FOLLOWER_STORE_REPLAYED: &str = "farol_follow_store_replayed_records";
const FOLLOWER_STORE_SERIES: &str = "farol_follow_store_series";

/// What `farol serve` says of its own reading, live: the rest of its `farol_*` is the writer's.
pub const FOLLOWER_METRICS: &[Metric] = &[
    Metric::counter(FOLLOWED_DAMAGED, "", "Damaged parts of the journal that were skipped."),
    Metric::counter(FOLLOWED_GAPS, "", "Times that segments of the journal were missing."),
    Metric::counter(
        FOLLOWED_INCOMPLETE,
        "",
        "Journal lines without their full line, from which nothing was taken.",
    ),
    Metric::counter(FOLLOWED_LINES, "", "Good journal lines read."),
    Metric::counter(FOLLOWED_REPEATED, "", "Journal lines that were repeats and were dropped."),
    Metric::gauge(FOLLOWER_STORE_BYTES, "bytes", "Bytes of its own store, which may be in memory."),
    Metric::gauge(
        FOLLOWER_STORE_DEGRADED,
        "",
        "Whether its own store cannot be written (1), so that history is missing, or is (0).",
    ),
    Metric::gauge(FOLLOWER_STORE_MAX_BYTES, "bytes", "Bytes that its own store never exceeds."),
    Metric::gauge(
        FOLLOWER_STORE_NEWEST,
        "seconds",
        "Unix time of the newest snapshot that its own store has taken.",
    ),
    Metric::gauge(
        FOLLOWER_STORE_REPLAYED,
        "",
        "Records that its own store took from the journal at the start, once it has them all.",
    ),
    Metric::gauge(FOLLOWER_STORE_SERIES, "", "Series in its own store."),
];

/// A follower's figures, as samples sorted by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    pub lines: u64,
    pub incomplete: u64,
    pub repeated: u64,
    pub damaged: u64,
    pub gaps: u64,
}

impl Followed {
    pub fn samples(&self) -> Vec<Sample> {
        let rows = [
            (FOLLOWED_DAMAGED, self.damaged),
            (FOLLOWED_GAPS, self.gaps),
            (FOLLOWED_INCOMPLETE, self.incomplete),
            (FOLLOWED_LINES, self.lines),
            (FOLLOWED_REPEATED, self.repeated),
        ];
        rows.into_iter().map(|(name, value)| sample(name, value)).collect()
    }
}

fn sample(name: &'static str, value: u64) -> Sample {
    Sample { name: Text::from_static(name), labels: Labels::empty(), value: value as f64 }
}

/// What `farol serve` says of its own store, sorted by name: `farol_store_*` is the writer's.
pub fn follower_store_samples(figures: &StoreFigures) -> Vec<Sample> {
    let held = figures.held.as_ref();
    let newest = figures.newest_applied.map(|at| at.as_millis().div_euclid(1000));
    let newest = newest.and_then(|seconds| u64::try_from(seconds).ok());
    let rows = [
        (FOLLOWER_STORE_BYTES, held.map(|held| held.bytes)),
        (FOLLOWER_STORE_DEGRADED, Some(u64::from(figures.fault.is_some()))),
        (FOLLOWER_STORE_MAX_BYTES, Some(figures.max_bytes)),
        (FOLLOWER_STORE_NEWEST, newest),
        (FOLLOWER_STORE_REPLAYED, figures.replay.map(|replay| replay.records)),
        (FOLLOWER_STORE_SERIES, held.map(|held| held.series)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some(sample(name, value?))).collect()
}

pub const METRICS: &[Metric] = &[
    Metric::gauge(BUILD_INFO, "", "What this program was built from; the value is always 1."),
    Metric::gauge(LANE_INTERVAL, "seconds", "Time between two ticks of the lane."),
    Metric::counter(TICKS, "", "Ticks of the lane that were collected."),
    Metric::counter(
        TICKS_SKIPPED,
        "",
        "Ticks of the lane that were skipped because the one before was not yet applied.",
    ),
    Metric::gauge(TICK_DURATION, "seconds", "How long collecting the lane's last tick took."),
    Metric::gauge(
        APPLY_DURATION,
        "seconds",
        "How long journaling and publishing the lane's last tick took.",
    ),
    Metric::gauge(JOURNAL_BYTES, "bytes", "Bytes of the stream on disk, closed segments included."),
    Metric::gauge(JOURNAL_SEGMENTS, "", "Segments of the stream on disk."),
    Metric::counter(JOURNAL_LINES, "", "Lines appended to the stream since the start."),
    Metric::counter(JOURNAL_FAILURES, "", "Appends to the stream that failed since the start."),
    Metric::counter(
        JOURNAL_DAMAGED,
        "",
        "Damaged lines found in closed journal segments, each once.",
    ),
    Metric::counter(
        JOURNAL_UNJOURNALED,
        "",
        "Snapshots that were published but could not be journaled.",
    ),
    Metric::gauge(
        JOURNAL_DEGRADED,
        "",
        "Whether what is collected is not (fully) being journaled (1) or is (0).",
    ),
    Metric::gauge(JOURNAL_SYNCED, "seconds", "When the journal was last synced to disk."),
    Metric::gauge(
        STORE_SERIES,
        "",
        "Series in the store, those of the windows in memory and those in blocks.",
    ),
    Metric::gauge(STORE_HEAD_SERIES, "", "Series of the windows in memory."),
    Metric::gauge(STORE_HEAD_SAMPLES, "", "Samples in memory that are in no block yet."),
    Metric::gauge(STORE_BLOCKS, "", "Blocks of the store on disk."),
    Metric::gauge(STORE_BLOCK_SAMPLES, "", "Samples in blocks."),
    Metric::gauge(STORE_BYTES, "bytes", "Bytes of the store on disk."),
    Metric::gauge(STORE_MAX_BYTES, "bytes", "Bytes that the store never exceeds."),
    Metric::gauge(STORE_OLDEST, "seconds", "When the oldest sample in the store was taken."),
    Metric::counter(
        STORE_HELD,
        "",
        "Snapshots that were not stored because the store held their time already.",
    ),
    Metric::counter(
        STORE_OVER_LIMIT,
        "",
        "Samples that were not stored because there were too many series at once.",
    ),
    Metric::counter(
        STORE_FOLDED,
        "",
        "Samples of the largest processes that were added up under one name, as they had too many.",
    ),
    Metric::counter(
        STORE_REPEATED,
        "",
        "Received samples that were dropped because their series had another at the same time.",
    ),
    Metric::counter(STORE_DAMAGED, "", "Damaged parts of the store that were met and left out."),
    Metric::gauge(STORE_LAST_BLOCK, "seconds", "When the store last wrote a block."),
    Metric::gauge(
        STORE_REPLAYED,
        "",
        "Records that the store took from the journal when it was opened.",
    ),
    Metric::gauge(STORE_REPLAY_SECONDS, "seconds", "How long that took."),
    Metric::gauge(
        STORE_LAG,
        "seconds",
        "How far the newest snapshot in the store is behind the newest one in the journal.",
    ),
    Metric::counter(
        STORE_UPKEEP_FAILURES,
        "",
        "What failed when blocks were written, merged or removed; it is tried again.",
    ),
    Metric::gauge(
        STORE_DEGRADED,
        "",
        "Whether the store cannot be written (1), so that history is missing until it can, or is (0).",
    ),
    Metric::gauge(
        RELOAD_SUCCEEDED,
        "",
        "Whether the last reading of the configuration succeeded (1) or not (0).",
    ),
    Metric::gauge(RELOAD_AT, "seconds", "When the configuration was last read successfully."),
    Metric::gauge(alerting::ALERTS, "", "Alerts by their phase: pending or firing."),
    Metric::gauge(
        alerting::MUTED,
        "",
        "Firing alerts that are not told, by what mutes them: silence, inhibition or quiet_hours; the first of these counts.",
    ),
    Metric::gauge(alerting::SILENCES, "", "Silences in force."),
    Metric::gauge(
        alerting::WAITING,
        "",
        "Events that are known and wait for room on the disk to be journaled.",
    ),
    Metric::counter(
        alerting::DROPPED,
        "",
        "Events that were never journaled because the disk stayed full.",
    ),
    Metric::counter(alerting::EVALUATIONS, "", "Evaluations of a group of rules."),
    Metric::counter(
        alerting::MISSED,
        "",
        "Evaluations of a group of rules that were left out because the one before was late.",
    ),
    Metric::counter(alerting::FAILURES, "", "Rules of a group that could not be evaluated."),
    Metric::gauge(alerting::LAST, "seconds", "What the last evaluation of a group of rules took."),
    Metric::counter(
        notifying::ATTEMPTS,
        "",
        "Attempts to tell a notifier's receiver something, by what became of them.",
    ),
    Metric::counter(notifying::DEAD, "", "Messages that were given up."),
    Metric::gauge(notifying::QUEUED, "", "Messages that are due and not delivered yet."),
    Metric::gauge(
        notifying::OLDEST,
        "seconds",
        "How long ago what the oldest due message tells has happened.",
    ),
    Metric::gauge(
        notifying::LATENCY,
        "seconds",
        "Between what the last message told and the receiver's answer to it.",
    ),
    Metric::gauge(
        notifying::DISABLED,
        "",
        "Whether the receiver does not exist (1), so that it is not asked until the notifier's settings change, or does (0).",
    ),
    Metric::counter(
        treating::RUNS,
        "",
        "Runs of a remedy, by how they ended: ok, failed, or unknown, as Farol ended before they did.",
    ),
    Metric::counter(
        treating::REFUSALS,
        "",
        "Times that a remedy was called for and was not run, for want of a right or by its policy.",
    ),
    Metric::gauge(treating::LAST_RUN, "seconds", "When the remedy was last run."),
];

pub const ENTRY: Entry = Entry {
    name: "farol",
    about: "Farol's own figures: ticks, journal, store, reloads",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Own,
    reads: &[],
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
    /// Found in closed segments, when they are compressed.
    pub journal_damaged_lines: u64,
    /// Snapshots published but not journaled (disk full or failing).
    pub journal_unjournaled: u64,
    pub journal_degraded: bool,
    pub journal_last_sync: Option<Timestamp>,
    /// The time of the snapshot that was journaled last.
    pub journal_newest: Option<Timestamp>,
    /// `None` where there is no store.
    pub store: Option<StoreFigures>,
    pub alerting: AlertingFigures,
    /// Empty where nobody is told of alerts.
    pub notifying: NotifyingFigures,
    /// Empty where no remedy may run and none was called for.
    pub remedies: TreatingFigures,
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

#[derive(Clone, Debug, Default)]
pub struct StoreFigures {
    pub max_bytes: u64,
    /// Why there is no history at the moment.
    pub fault: Option<String>,
    /// `None` before it could be opened.
    pub held: Option<StoreHoldings>,
    /// The time of the snapshot that was applied last.
    pub newest_applied: Option<Timestamp>,
    pub last_block: Option<Timestamp>,
    /// What was taken from the journal when the store was opened, once it was.
    pub replay: Option<Replay>,
    pub upkeep_failures: u64,
}

/// What a store says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreHoldings {
    pub series: u64,
    pub head_series: u64,
    pub head_samples: u64,
    pub blocks: u64,
    pub block_samples: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
    pub held_snapshots: u64,
    pub over_limit_samples: u64,
    pub folded_samples: u64,
    pub repeated_samples: u64,
    pub damaged_parts: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Replay {
    pub records: u64,
    pub seconds: f64,
}

impl Board {
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn figures(&self) -> Figures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Own { board: Arc::clone(&options.own) }))
}

struct Own {
    board: Arc<Board>,
}

impl Collector for Own {
    fn collect(&mut self, _host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        push_all(out, &self.board.figures());
        Ok(())
    }
}

/// The same without a tick, sorted by name: for a process in which no collector runs.
pub fn samples(figures: &Figures) -> Vec<Sample> {
    let mut out = Scrape::new();
    push_all(&mut out, figures);
    let mut samples = out.samples().to_vec();
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

fn push_all(out: &mut Scrape, figures: &Figures) {
    push_build(out, figures);
    for lane in Lane::ALL {
        push_lane(out, lane, &figures.lanes[lane.index()]);
    }
    for (stream, journal) in Stream::ALL.into_iter().zip(&figures.journal) {
        push_stream(out, stream, journal);
    }
    push_journal(out, figures);
    if let Some(store) = &figures.store {
        push_store(out, store, figures.journal_newest);
    }
    push_config(out, figures);
    alerting::push(out, &figures.alerting);
    notifying::push(out, &figures.notifying);
    treating::push(out, &figures.remedies);
}

fn push_build(out: &mut Scrape, figures: &Figures) {
    // Without a version nobody has filled in the board yet.
    if !figures.version.is_empty() {
        let labels = [
            ("version", figures.version),
            ("revision", figures.revision),
            ("rustversion", figures.rust_version),
        ];
        out.push(BUILD_INFO, &labels, 1.0);
    }
}

/// A lane without an interval does not run.
fn push_lane(out: &mut Scrape, lane: Lane, figures: &LaneFigures) {
    if figures.interval_seconds <= 0.0 {
        return;
    }
    let label = [("lane", lane.name())];
    out.push(LANE_INTERVAL, &label, figures.interval_seconds);
    out.push(TICKS, &label, figures.ticks as f64);
    out.push(TICKS_SKIPPED, &label, figures.skipped as f64);
    if let Some(seconds) = figures.tick_seconds {
        out.push(TICK_DURATION, &label, rounded(seconds));
    }
    if let Some(seconds) = figures.apply_seconds {
        out.push(APPLY_DURATION, &label, rounded(seconds));
    }
}

/// A stream without a segment is not in use, unless it could not get one.
fn push_stream(out: &mut Scrape, stream: Stream, figures: &JournalFigures) {
    if figures.segments == 0 && figures.failed_appends == 0 {
        return;
    }
    let label = [("stream", stream.name())];
    out.push(JOURNAL_BYTES, &label, figures.bytes as f64);
    out.push(JOURNAL_SEGMENTS, &label, figures.segments as f64);
    out.push(JOURNAL_LINES, &label, figures.lines as f64);
    out.push(JOURNAL_FAILURES, &label, figures.failed_appends as f64);
}

fn push_journal(out: &mut Scrape, figures: &Figures) {
    out.push(JOURNAL_DAMAGED, &[], figures.journal_damaged_lines as f64);
    out.push(JOURNAL_UNJOURNALED, &[], figures.journal_unjournaled as f64);
    out.push(JOURNAL_DEGRADED, &[], f64::from(u8::from(figures.journal_degraded)));
    if let Some(at) = figures.journal_last_sync {
        out.push(JOURNAL_SYNCED, &[], at.as_seconds());
    }
}

fn push_store(out: &mut Scrape, figures: &StoreFigures, journaled: Option<Timestamp>) {
    out.push(STORE_DEGRADED, &[], f64::from(u8::from(figures.fault.is_some())));
    out.push(STORE_MAX_BYTES, &[], figures.max_bytes as f64);
    out.push(STORE_UPKEEP_FAILURES, &[], figures.upkeep_failures as f64);
    if let Some(held) = &figures.held {
        push_holdings(out, held);
    }
    if let Some(at) = figures.last_block {
        out.push(STORE_LAST_BLOCK, &[], at.as_seconds());
    }
    if let Some(replay) = figures.replay {
        out.push(STORE_REPLAYED, &[], replay.records as f64);
        out.push(STORE_REPLAY_SECONDS, &[], rounded(replay.seconds));
    }
    if let (Some(journaled), Some(applied)) = (journaled, figures.newest_applied) {
        out.push(STORE_LAG, &[], journaled.since(applied).as_secs_f64());
    }
}

fn push_holdings(out: &mut Scrape, held: &StoreHoldings) {
    let rows = [
        (STORE_SERIES, held.series),
        (STORE_HEAD_SERIES, held.head_series),
        (STORE_HEAD_SAMPLES, held.head_samples),
        (STORE_BLOCKS, held.blocks),
        (STORE_BLOCK_SAMPLES, held.block_samples),
        (STORE_BYTES, held.bytes),
        (STORE_HELD, held.held_snapshots),
        (STORE_OVER_LIMIT, held.over_limit_samples),
        (STORE_FOLDED, held.folded_samples),
        (STORE_REPEATED, held.repeated_samples),
        (STORE_DAMAGED, held.damaged_parts),
    ];
    for (name, value) in rows {
        out.push(name, &[], value as f64);
    }
    if let Some(at) = held.oldest {
        out.push(STORE_OLDEST, &[], at.as_seconds());
    }
}

fn push_config(out: &mut Scrape, figures: &Figures) {
    if let Some(succeeded) = figures.config_reload_succeeded {
        out.push(RELOAD_SUCCEEDED, &[], f64::from(u8::from(succeeded)));
    }
    if let Some(at) = figures.config_reload_at {
        out.push(RELOAD_AT, &[], at.as_seconds());
    }
}

/// To 0.1 ms: finer digits are noise, and they cost most of a compressed journal line.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_yields_series() {
        let (board, names) = collected(|_| {});
        assert_eq!(names, [JOURNAL_DAMAGED, JOURNAL_UNJOURNALED, JOURNAL_DEGRADED]);
        assert_eq!(board.figures().version, "");
    }

    #[test]
    fn lanes_and_streams_in_use_yield_theirs() {
        let (_, names) = collected(|figures| {
            figures.version = "0.1.0";
            figures.lanes[Lane::Fast.index()] = LaneFigures {
                interval_seconds: 1.0,
                tick_seconds: Some(0.001_234),
                ..LaneFigures::default()
            };
            figures.journal[0].segments = 2;
            figures.config_reload_succeeded = Some(true);
        });
        assert_eq!(
            names,
            [
                BUILD_INFO,
                LANE_INTERVAL,
                TICKS,
                TICKS_SKIPPED,
                TICK_DURATION,
                JOURNAL_BYTES,
                JOURNAL_SEGMENTS,
                JOURNAL_LINES,
                JOURNAL_FAILURES,
                JOURNAL_DAMAGED,
                JOURNAL_UNJOURNALED,
                JOURNAL_DEGRADED,
                RELOAD_SUCCEEDED,
            ]
        );
    }

    #[test]
    fn a_store_yields_what_is_known_of_it() {
        let at = Timestamp::from_millis;
        let (_, names) = collected(|figures| {
            figures.store =
                Some(StoreFigures { fault: Some("locked".into()), ..Default::default() });
        });
        let before_it_is_open = [STORE_DEGRADED, STORE_MAX_BYTES, STORE_UPKEEP_FAILURES];
        assert_eq!(names[3..], before_it_is_open);

        let (board, _) = collected(|figures| {
            figures.journal_newest = Some(at(5000));
            figures.store = Some(StoreFigures {
                held: Some(StoreHoldings {
                    series: 517,
                    oldest: Some(at(1000)),
                    ..Default::default()
                }),
                newest_applied: Some(at(3000)),
                replay: Some(Replay { records: 7, seconds: 0.25 }),
                ..Default::default()
            });
        });
        let samples = samples(&board.figures());
        let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
        assert_eq!(value(STORE_LAG), 2.0);
        assert_eq!((value(STORE_SERIES), value(STORE_OLDEST)), (517.0, 1.0));
        assert_eq!((value(STORE_REPLAYED), value(STORE_REPLAY_SECONDS)), (7.0, 0.25));
        assert!(samples.is_sorted_by(|a, b| a.name <= b.name));
    }

    #[test]
    fn a_server_says_of_its_store_what_is_its_own() {
        let held = StoreHoldings { series: 9, bytes: 100, ..StoreHoldings::default() };
        let figures = StoreFigures {
            max_bytes: 64,
            held: Some(held),
            newest_applied: Some(Timestamp::from_millis(7_500)),
            replay: Some(Replay { records: 3, seconds: 0.5 }),
            ..StoreFigures::default()
        };
        let told: Vec<(Text, f64)> = follower_store_samples(&figures)
            .into_iter()
            .map(|sample| (sample.name, sample.value))
            .collect();
        let expected = [
            (FOLLOWER_STORE_BYTES, 100.0),
            (FOLLOWER_STORE_DEGRADED, 0.0),
            (FOLLOWER_STORE_MAX_BYTES, 64.0),
            (FOLLOWER_STORE_NEWEST, 7.0),
            (FOLLOWER_STORE_REPLAYED, 3.0),
            (FOLLOWER_STORE_SERIES, 9.0),
        ];
        assert_eq!(told, expected.map(|(name, value)| (Text::from_static(name), value)));
    }

    #[test]
    fn durations_are_rounded_to_a_tenth_of_a_millisecond() {
        assert_eq!(rounded(0.001_234), 0.0012);
        assert_eq!(rounded(0.000_04), 0.0);
    }

    fn collected(change: impl FnOnce(&mut Figures)) -> (Arc<Board>, Vec<String>) {
        let board = Arc::new(Board::default());
        board.update(change);
        let mut out = Scrape::new();
        Own { board: Arc::clone(&board) }.collect(&Host::local(), &mut out).unwrap();
        let names = out.samples().iter().map(|sample| sample.name.as_str().to_owned()).collect();
        (board, names)
    }
}
