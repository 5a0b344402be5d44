//! Farol's own figures (`farol_*`), as an ordinary collector: `app` keeps the board, the collector
//! reads it.

use std::sync::{Arc, Mutex, PoisonError};

use farol_model::{Labels, Lane, Metric, Sample, Stream, Text, Timestamp};

use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

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
const RELOAD_SUCCEEDED: &str = "farol_config_last_reload_successful";
const RELOAD_AT: &str = "farol_config_last_reload_success_timestamp_seconds";

const FOLLOWED_LINES: &str = "farol_follow_lines_total";
const FOLLOWED_INCOMPLETE: &str = "farol_follow_incomplete_lines_total";
const FOLLOWED_REPEATED: &str = "farol_follow_repeated_lines_total";
const FOLLOWED_DAMAGED: &str = "farol_follow_damaged_parts_total";
const FOLLOWED_GAPS: &str = "farol_follow_gaps_total";

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
        let sample = |(name, value): (&'static str, u64)| Sample {
            name: Text::from_static(name),
            labels: Labels::empty(),
            value: value as f64,
        };
        rows.into_iter().map(sample).collect()
    }
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
        RELOAD_SUCCEEDED,
        "",
        "Whether the last reading of the configuration succeeded (1) or not (0).",
    ),
    Metric::gauge(RELOAD_AT, "seconds", "When the configuration was last read successfully."),
];

pub const ENTRY: Entry = Entry {
    name: "farol",
    about: "Farol's own figures: ticks, journal, reloads",
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

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Own { board: Arc::clone(&options.own) }))
}

struct Own {
    board: Arc<Board>,
}

impl Collector for Own {
    fn collect(&mut self, _host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let figures = self.board.figures();
        push_build(out, &figures);
        for lane in Lane::ALL {
            push_lane(out, lane, &figures.lanes[lane.index()]);
        }
        for (stream, journal) in Stream::ALL.into_iter().zip(&figures.journal) {
            push_stream(out, stream, journal);
        }
        push_journal(out, &figures);
        push_config(out, &figures);
        Ok(())
    }
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
