//! What it takes to read a store: a month of one series at several intervals, and six hours of many.
//! Wall time, through the `Reader`, from the files' pages in memory to points. `make bench` prints it;
//! with QUICK=1 three days stand for the month.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use farol_disk::{Disk, RealDisk};
use farol_model::{
    Labels, Lane, Position, Record, Sample, Snapshot, State, Stream, Text, Timestamp,
};
use farol_store::{Config, Matcher, Op, Range, Reader, Store};

const START: i64 = 1_767_225_600_000;
const DAY: i64 = 24 * 60 * 60;
const RUNS: usize = 21;

fn main() {
    let days = if is_quick() { 3 } else { 30 };
    for interval in [1, 5, 15] {
        let written = Written::new(&["node_memory_MemAvailable_bytes"], days * DAY, interval);
        let one = Matcher::equal("__name__", "node_memory_MemAvailable_bytes");
        written.report(&format!("{days} days of one series at {interval} s, ms"), &one, 1);
    }
    let names: Vec<String> = (0..500).map(|number| format!("metric_{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let written = Written::new(&names, DAY / 4, 5);
    for (series, pattern) in [(1, "metric_001"), (50, "metric_.0."), (500, "metric_.*")] {
        let matcher = Matcher::new("__name__", Op::Matches, pattern).expect("a good pattern");
        written.report(&format!("6 h of {series} of 500 series at 5 s, ms"), &matcher, series);
    }
}

#[expect(clippy::disallowed_methods, reason = "no program's setting, but how long to measure")]
fn is_quick() -> bool {
    std::env::var_os("QUICK").is_some()
}

/// A store on disk, as a running Farol would have written it.
struct Written {
    _folder: tempfile::TempDir,
    /// Keeps the lock; what is in its head is read too.
    _store: Store,
    reader: Reader,
    ticks: i64,
}

impl Written {
    fn new(names: &[&str], seconds: i64, interval: i64) -> Written {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = open(folder.path());
        let mut upkeep = store.upkeep();
        let mut series = Series::new(names);
        let ticks = seconds / interval;
        for tick in 0..ticks {
            let at = Timestamp::from_millis(START + tick * interval * 1000);
            let interval = Duration::from_secs(interval.unsigned_abs());
            let offset = tick.unsigned_abs() * 100;
            let position = Position { stream: Stream::Metrics, segment: 1, offset };
            store.apply(position, &series.snapshot(at, interval), true);
            if at.as_millis() % 900_000 == 0 {
                let report = upkeep.round();
                assert!(report.errors.is_empty(), "{:?}", report.errors);
            }
        }
        upkeep.round();
        let reader = store.reader();
        Written { _folder: folder, _store: store, reader, ticks }
    }

    fn report(&self, what: &str, matcher: &Matcher, series: usize) {
        let mut times: Vec<f64> = (0..RUNS).map(|_| self.read(matcher, series)).collect();
        times.sort_by(f64::total_cmp);
        let (least, middle, most) = (times[0], times[RUNS / 2], times[RUNS - 1]);
        println!("{what}: {middle:.2} ({least:.2}..{most:.2})");
    }

    /// All samples of all series that match; milliseconds.
    fn read(&self, matcher: &Matcher, series: usize) -> f64 {
        let lap = lap();
        let range =
            Range { start: Timestamp::from_millis(0), end: Timestamp::from_millis(i64::MAX) };
        let mut selection = self.reader.select(std::slice::from_ref(matcher), range, None);
        let mut read = 0;
        for index in 0..selection.series().len() {
            selection.pieces(index, 8192, |points| read += points.len());
        }
        let took = lap.elapsed().as_secs_f64() * 1e3;
        assert_eq!(selection.series().len(), series);
        assert_eq!(read as i64, series as i64 * self.ticks);
        assert!(selection.damage().is_empty());
        took
    }
}

fn open(dir: &Path) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config =
        Config { retention: Duration::from_secs(90 * DAY.unsigned_abs()), ..Config::new(dir) };
    Store::open(disk, config).expect("a store in a temporary folder").store
}

/// Series like a machine's: of six, three stand still, one is memory in pages, one counts, and one has
/// new digits at each tick.
struct Series {
    names: Vec<Text>,
    values: Vec<f64>,
    random: u64,
}

impl Series {
    fn new(names: &[&str]) -> Series {
        let names: Vec<Text> = names.iter().map(|name| Text::from(*name)).collect();
        Series { values: vec![4096.0 * 250_000.0; names.len()], names, random: 1 }
    }

    fn snapshot(&mut self, at: Timestamp, interval: Duration) -> Record {
        for (index, value) in self.values.iter_mut().enumerate() {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = (self.random >> 40) as f64 / f64::from(1_u32 << 24);
            match index % 6 {
                0 => *value = (*value + ((draw - 0.5) * 200.0).round() * 4096.0).max(0.0),
                1 => *value += (draw * 1000.0).floor(),
                2 => *value = (draw * 1e6).round() / 1e4,
                _ => {}
            }
        }
        let samples = self.names.iter().zip(&self.values);
        let samples = samples.map(|(name, value)| Sample {
            name: name.clone(),
            labels: Labels::empty(),
            value: *value,
        });
        Record::Snapshot(Arc::new(Snapshot {
            at,
            interval,
            lane: Lane::Fast,
            host: Text::from_static("bench"),
            state: State::Unknown,
            summary: Vec::new(),
            samples: samples.collect(),
            top: Vec::new(),
            outcomes: Vec::new(),
        }))
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is its own clock")]
fn lap() -> Instant {
    Instant::now()
}
