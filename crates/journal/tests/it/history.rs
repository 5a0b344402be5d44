//! Histories to write, and the plain model to compare with.

use std::{path::Path, sync::Arc, time::Duration};

use farol_disk::{Disk, MemoryDisk};
use farol_journal::{Item, Journal, Line, Reader, Retention, Settings, StartAt};
use farol_model::{
    Batch, Collected, Event, Labels, Lane, Outcome, Position, Record, Sample, Series, Snapshot,
    State, Stream, Text, Timestamp, TopProcess, canonical,
};

pub(crate) const DIR: &str = "/logs";
/// 2026-11-22T10:00:00Z
pub(crate) const START: i64 = 1_795_341_600_000;

pub(crate) fn small_settings() -> Settings {
    Settings {
        segment_bytes: 4000,
        reserve_bytes: 0,
        retention: [Retention { days: 1000, bytes: u64::MAX }; 4],
        ..Settings::default()
    }
}

pub(crate) fn open(disk: &(impl Disk + Clone + 'static), settings: &Settings) -> Journal {
    Journal::open(Arc::new(disk.clone()), DIR, settings.clone()).unwrap()
}

pub(crate) fn memory() -> MemoryDisk {
    MemoryDisk::new()
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1000)
}

/// A few series: alone, labelled, and of a family with both; with labels that need escapes.
pub(crate) fn universe() -> Vec<(Text, Labels)> {
    let series: [(&str, Labels); 10] = [
        ("a_total", Labels::from([("cpu", "0"), ("mode", "idle")])),
        ("a_total", Labels::from([("cpu", "0"), ("mode", "user")])),
        ("a_total", Labels::from([("cpu", "1"), ("mode", "idle")])),
        ("both", Labels::empty()),
        ("both", Labels::from([("x", "y")])),
        ("load1", Labels::empty()),
        ("od\"d\\name", Labels::from([("quo\"ted", "a\"b\\c\nd,e=\"f\"")])),
        ("temp", Labels::from([("chip", "k10\u{1F525}"), ("sensor", "")])),
        ("temp", Labels::from([("chip", "{}[],:\t\u{1}")])),
        ("up", Labels::empty()),
    ];
    series.into_iter().map(|(name, labels)| (Text::from(name), labels)).collect()
}

/// One row with everything, and one with what every row has.
pub(crate) fn two_processes() -> Vec<TopProcess> {
    let text = |text: &'static str| Some(Text::from_static(text));
    vec![
        TopProcess {
            pid: 812,
            name: Text::from_static("mysqld"),
            user: text("mysql"),
            unit: text("mysql.service"),
            container: text("4c0f"),
            command: text("/usr/sbin/\"mysqld\""),
            cpu_ratio: Some(0.25),
            resident_bytes: 412_090_368,
            read_bytes_per_second: Some(0),
            written_bytes_per_second: Some(u64::MAX),
        },
        TopProcess { pid: 2, name: Text::from_static("kthreadd"), ..TopProcess::default() },
    ]
}

pub(crate) fn snapshot(lane: Lane, at: Timestamp, samples: Vec<Sample>) -> Record {
    snapshot_with_top(lane, at, samples, Vec::new())
}

pub(crate) fn snapshot_with_top(
    lane: Lane,
    at: Timestamp,
    samples: Vec<Sample>,
    top: Vec<TopProcess>,
) -> Record {
    Record::Snapshot(Arc::new(Snapshot {
        at,
        interval: Duration::from_millis(if lane == Lane::Fast { 500 } else { 10_000 }),
        lane,
        host: Text::from_static("farol-host"),
        state: State::Warning,
        summary: vec![
            (Text::from_static("cpu_percent"), 12.25),
            (Text::from_static("latency_ms"), f64::NAN),
        ],
        samples,
        top,
        outcomes: vec![
            Outcome {
                collector: Text::from_static("cpu"),
                took: Duration::from_micros(17),
                result: Collected::Complete,
            },
            Outcome {
                collector: Text::from_static("hwmon"),
                took: Duration::from_micros(3),
                result: Collected::Absent("no \"sensor\" here".to_string()),
            },
            Outcome {
                collector: Text::from_static("netdev"),
                took: Duration::ZERO,
                result: Collected::Partial(vec!["eth0".to_string(), "eth1\n".to_string()]),
            },
        ],
    }))
}

/// The n-th snapshot of an ordinary machine: one value moves, the others stand.
pub(crate) fn ordinary(lane: Lane, seconds: i64) -> Record {
    let value = |place: usize| if place == 0 { seconds as f64 } else { place as f64 / 4.0 };
    let samples = universe()
        .into_iter()
        .enumerate()
        .map(|(place, (name, labels))| Sample { name, labels, value: value(place) })
        .collect();
    snapshot(lane, at(seconds), samples)
}

pub(crate) fn event(seconds: i64, message: &str) -> Record {
    Record::Event(Event {
        at: at(seconds),
        host: Text::from_static("farol-host"),
        event: Text::from_static("started"),
        message: Text::from(message),
        fields: vec![(Text::from("version"), Text::from("0.1.0\n"))],
    })
}

pub(crate) type PlainSeries = Vec<(Text, Labels, Vec<(Timestamp, u64)>)>;

/// What a reader may rely on of a record: samples in a settled order, NaN made comparable, only
/// outcomes that say something, without their duration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain {
    Snapshot(Box<PlainSnapshot>),
    Received(Timestamp, PlainSeries),
    Event(Event),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PlainSnapshot {
    pub(crate) at: Timestamp,
    interval: Duration,
    lane: Lane,
    host: Text,
    state: State,
    summary: Vec<(Text, u64)>,
    pub(crate) samples: Vec<(Text, Labels, u64)>,
    /// The ratio apart, made comparable.
    top: Vec<(TopProcess, Option<u64>)>,
    outcomes: Vec<(Text, Collected)>,
}

pub(crate) fn plain(record: &Record) -> Plain {
    let snapshot = match record {
        Record::Event(event) => return Plain::Event(event.clone()),
        Record::Received(batch) => return Plain::Received(batch.at, plain_series(batch)),
        Record::Snapshot(snapshot) => snapshot,
        _ => unreachable!("this test writes none"),
    };
    let outcomes = snapshot.outcomes.iter().filter(|o| o.result != Collected::Complete);
    let summary = snapshot.summary.iter();
    let samples = snapshot.samples.iter();
    let mut samples: Vec<_> =
        samples.map(|s| (s.name.clone(), s.labels.clone(), bits(s.value))).collect();
    samples.sort();
    Plain::Snapshot(Box::new(PlainSnapshot {
        at: snapshot.at,
        interval: snapshot.interval,
        lane: snapshot.lane,
        host: snapshot.host.clone(),
        state: snapshot.state,
        summary: summary.map(|(name, value)| (name.clone(), bits(*value))).collect(),
        samples,
        top: snapshot.top.iter().map(plain_process).collect(),
        outcomes: outcomes.map(|o| (o.collector.clone(), o.result.clone())).collect(),
    }))
}

/// To the bit: a stale marker is no other NaN.
fn plain_series(batch: &Batch) -> PlainSeries {
    let points = |series: &Series| {
        series.points.iter().map(|(at, value)| (*at, canonical(*value).to_bits())).collect()
    };
    let plain = |series: &Series| (series.name.clone(), series.labels.clone(), points(series));
    batch.series.iter().map(plain).collect()
}

fn plain_process(process: &TopProcess) -> (TopProcess, Option<u64>) {
    (TopProcess { cpu_ratio: None, ..process.clone() }, process.cpu_ratio.map(bits))
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

pub(crate) fn plain_all<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Plain> {
    records.into_iter().map(plain).collect()
}

pub(crate) fn reader(
    disk: &(impl Disk + Clone + 'static),
    stream: Stream,
    from: StartAt,
) -> Reader {
    Reader::open(Arc::new(disk.clone()), DIR, stream, from).unwrap()
}

pub(crate) fn drain(reader: &mut Reader) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        items.push(item);
    }
    items
}

pub(crate) fn read_all(disk: &(impl Disk + Clone + 'static), stream: Stream) -> Vec<Item> {
    drain(&mut reader(disk, stream, StartAt::Oldest))
}

pub(crate) fn lines(items: &[Item]) -> Vec<&Line> {
    fn line(item: &Item) -> Option<&Line> {
        match item {
            Item::Line(line) => Some(line),
            Item::Damage(_) | Item::Gap(_) => None,
        }
    }
    items.iter().filter_map(line).collect()
}

/// Where the lines are and what they are, byte for byte.
pub(crate) fn raws(items: &[Item]) -> Vec<(Position, Vec<u8>)> {
    lines(items).into_iter().map(|line| (line.position, line.raw.clone())).collect()
}

/// All items must be whole lines: their records.
pub(crate) fn whole(items: &[Item]) -> Vec<Plain> {
    let record = |item: &Item| match item {
        Item::Line(line) if line.complete => plain(&line.record),
        other => panic!("not a whole line: {other:?}"),
    };
    items.iter().map(record).collect()
}

pub(crate) fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names: Vec<_> =
        disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}
