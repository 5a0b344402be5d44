//! An hour as the store has it: figures only of what there are samples of.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::{sync::Arc, time::Duration};

use farol_alert::summary::summarise;
use farol_disk::MemoryDisk;
use farol_model::{
    Batch, Labels, Lane, Position, Record, Sample, Series, Snapshot, State, Stream, Summary, Text,
    Timestamp,
};
use farol_store::{Config, Store};

const HOUR: i64 = 1_795_341_600_000;

struct Host {
    store: Store,
    line: u64,
}

impl Host {
    fn new() -> Host {
        let disk = Arc::new(MemoryDisk::new());
        Host { store: Store::open(disk, Config::new("/store")).unwrap().store, line: 0 }
    }

    /// One tick of ten seconds, so many of them after the hour's beginning.
    fn tick(&mut self, tick: i64, signs: &[(&'static str, f64)]) {
        let mut samples: Vec<Sample> = signs
            .iter()
            .map(|(name, value)| Sample {
                name: Text::from_static(name),
                labels: Labels::empty(),
                value: *value,
            })
            .collect();
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        let snapshot = Snapshot {
            at: Timestamp::from_millis(HOUR + tick * 10_000),
            interval: Duration::from_secs(10),
            lane: Lane::Fast,
            host: "pi".into(),
            state: State::Unknown,
            summary: Vec::new(),
            samples,
            top: Vec::new(),
            outcomes: Vec::new(),
        };
        self.apply(Stream::Metrics, &Record::Snapshot(Arc::new(snapshot)));
    }

    fn apply(&mut self, stream: Stream, record: &Record) {
        self.line += 1;
        let at = Position { stream, segment: 1, offset: self.line };
        self.store.apply(at, record, true);
    }

    fn summary(&self) -> Option<Summary> {
        let (hour, at) = (Timestamp::from_millis(HOUR), Timestamp::from_millis(HOUR + 3_660_000));
        summarise(&self.store.reader(), &"pi".into(), hour, at)
    }
}

fn states(summary: &Summary) -> Vec<(&'static str, u32)> {
    summary.states.iter().map(|(state, seconds)| (state.name(), *seconds)).collect()
}

#[test]
fn a_whole_hour_has_its_signs_and_all_its_seconds_and_nothing_of_its_neighbours() {
    let mut host = Host::new();
    for tick in -10..370 {
        let inside = (0..360).contains(&tick);
        let cpu = if inside { (tick % 10) as f64 } else { 1000.0 };
        let state = if tick < 300 { 0.0 } else { 2.0 };
        host.tick(
            tick,
            &[("monitoring_cpu_percent", cpu), ("monitoring_state", state), ("node_load1", 7.0)],
        );
    }
    let summary = host.summary().unwrap();
    assert_eq!(summary.hour, Timestamp::from_millis(HOUR));
    let [(name, cpu)] = &summary.signs[..] else { panic!("{summary:?}") };
    assert_eq!(*name, "cpu_percent");
    assert!((cpu.mean - 4.5).abs() < 1e-9);
    assert_eq!((cpu.min, cpu.max, cpu.p95, cpu.samples), (0.0, 9.0, 9.0, 360));
    assert_eq!(states(&summary), [("STABLE", 3000), ("CRITICAL", 600)]);
}

#[test]
fn what_was_not_watched_is_missing_to_3600_and_not_made_up() {
    let mut host = Host::new();
    // Ten minutes, a stop of twenty, another ten in which the state is not known at first.
    for tick in 0..60 {
        host.tick(tick, &[("monitoring_cpu_percent", 10.0), ("monitoring_state", 1.0)]);
    }
    for tick in 180..210 {
        host.tick(tick, &[("monitoring_cpu_percent", 30.0)]);
    }
    for tick in 210..240 {
        host.tick(tick, &[("monitoring_cpu_percent", 30.0), ("monitoring_state", 0.0)]);
    }
    let summary = host.summary().unwrap();
    assert_eq!(summary.signs[0].1.samples, 120);
    assert_eq!(summary.signs[0].1.mean, 20.0);
    let seconds: u32 = summary.states.iter().map(|(_, seconds)| seconds).sum();
    assert!((900..=930).contains(&seconds), "{summary:?}");
}

#[test]
fn an_hour_of_which_there_is_nothing_has_no_summary() {
    let mut host = Host::new();
    assert_eq!(host.summary(), None);
    host.tick(400, &[("monitoring_cpu_percent", 10.0)]);
    assert_eq!(host.summary(), None, "that is the next hour's");
    host.tick(10, &[("node_load1", 1.0)]);
    assert_eq!(host.summary(), None, "no vital sign");
}

#[test]
fn what_another_machine_has_sent_is_not_of_this_one() {
    let mut host = Host::new();
    let batch = Batch {
        at: Timestamp::from_millis(HOUR + 1000),
        series: vec![Series {
            name: "monitoring_cpu_percent".into(),
            labels: Labels::from([("instance", "other:8000")]),
            points: vec![(Timestamp::from_millis(HOUR + 1000), 99.0)],
        }],
    };
    host.apply(Stream::Received, &Record::Received(Arc::new(batch)));
    assert_eq!(host.summary(), None);
}
