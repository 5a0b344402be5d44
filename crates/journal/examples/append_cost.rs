//! What an append costs: median microseconds for snapshots of 600 and of 3,000 series of which a
//! third changes each second, on the real disk, in a folder given as the argument (or `.`).
//!
//! `cargo run --release -p farol-journal --example append_cost /tmp`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures with the real clock, prints, and stops where it fails"
)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use farol_disk::RealDisk;
use farol_journal::{Item, Journal, Reader, Settings, StartAt};
use farol_model::{Labels, Lane, Record, Sample, Snapshot, State, Stream, Text, Timestamp};

const SECONDS: i64 = 900;

fn main() {
    let folder = std::env::args_os().nth(1).map_or(PathBuf::from("."), PathBuf::from);
    println!("series  full us  sparse us  sparse p99 us  line bytes  replay us/line");
    for series in [600, 3000] {
        let dir = folder.join(format!("append-cost-{series}-{}", std::process::id()));
        measure(series, &dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn measure(series: usize, dir: &Path) {
    let settings = Settings { reserve_bytes: 0, segment_bytes: 1 << 30, ..Settings::default() };
    let mut journal = Journal::open(Arc::new(RealDisk), dir, settings).unwrap();
    let names = universe(series);
    let mut full = Vec::new();
    let mut sparse = Vec::new();
    for second in 0..SECONDS {
        let record = snapshot(&names, second);
        let start = Instant::now();
        journal.append(&record).unwrap();
        let took = start.elapsed();
        if second % 60 == 0 { full.push(took) } else { sparse.push(took) }
    }
    full.sort();
    sparse.sort();
    let bytes = journal.head(Stream::Metrics).offset / SECONDS as u64;
    println!(
        "{series:6}  {:7.1}  {:9.1}  {:13.1}  {bytes:10}  {:14.1}",
        micros(full[full.len() / 2]),
        micros(sparse[sparse.len() / 2]),
        micros(sparse[sparse.len() * 99 / 100]),
        micros(replay(dir)) / SECONDS as f64,
    );
}

fn replay(dir: &Path) -> Duration {
    let start = Instant::now();
    let mut reader =
        Reader::open(Arc::new(RealDisk), dir, Stream::Metrics, StartAt::Oldest).unwrap();
    let mut lines = 0;
    while let Some(item) = reader.next().unwrap() {
        assert!(matches!(item, Item::Line(_)));
        lines += 1;
    }
    assert_eq!(lines, SECONDS);
    start.elapsed()
}

fn universe(series: usize) -> Vec<(Text, Labels)> {
    let one = |at: usize| {
        let name = Text::from(format!("node_family_{:03}_seconds_total", at / 8));
        let cpu = (at % 8).to_string();
        (name, Labels::from([("cpu", cpu.as_str()), ("mode", "idle")]))
    };
    let mut all: Vec<_> = (0..series).map(one).collect();
    for (at, (name, labels)) in all.iter_mut().enumerate() {
        // Families share their name, as collectors' do; some have no labels.
        *name = Text::from(name.as_str());
        if at % 40 == 0 {
            *labels = Labels::empty();
        }
    }
    all
}

fn snapshot(names: &[(Text, Labels)], second: i64) -> Record {
    let value = |at: usize| match at % 3 {
        0 => 1234.56 + second as f64 * (at as f64 + 0.37),
        1 => at as f64 * 1024.0,
        _ => at as f64 / 8.0,
    };
    let sample = |(at, (name, labels)): (usize, &(Text, Labels))| Sample {
        name: name.clone(),
        labels: labels.clone(),
        value: value(at),
    };
    Record::Snapshot(Arc::new(Snapshot {
        at: Timestamp::from_millis(1_795_305_600_000 + second * 1000),
        interval: Duration::from_secs(1),
        lane: Lane::Fast,
        host: Text::from_static("host"),
        state: State::Unknown,
        summary: vec![(Text::from_static("cpu_percent"), 12.345_678); 20],
        samples: names.iter().enumerate().map(sample).collect(),
        top: Vec::new(),
        outcomes: Vec::new(),
    }))
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
