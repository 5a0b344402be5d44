//! What the tests share: a store in memory, records to apply, and answers made comparable.

use std::{path::Path, sync::Arc, time::Duration};

use farol_disk::{Disk, MemoryDisk};
use farol_model::{
    Batch, Event, Labels, Lane, Position, Record, Sample, Series, Snapshot, State, Stream, Text,
    Timestamp,
};
use farol_store::{
    Config, Matcher, Opened, Point, Range, Reader, Report, Selection, SeriesKey, Store, Upkeep,
};
use proptest::prelude::ProptestConfig;

use crate::model::{Answers, Model, plain_bits};

pub(crate) const DIR: &str = "/store";
/// 2026-11-22T00:00:00Z
pub(crate) const DAY: i64 = 1_795_305_600_000;
pub(crate) const SECOND: i64 = 1000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const WINDOW: i64 = 15 * MINUTE;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAYS: i64 = 24 * HOUR;

/// A record as the journal would hand it over.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) position: Position,
    pub(crate) record: Record,
    pub(crate) complete: bool,
}

/// A number of cases or rounds: the short form in `make test`, the full one in `make torture`.
#[expect(clippy::disallowed_methods, reason = "the tests' own switch, no configuration")]
pub(crate) fn rounds(short: usize, full: usize) -> usize {
    if std::env::var_os("FAROL_TORTURE").is_some() { full } else { short }
}

/// So many cases in `make test`; in `make torture` as many as it asks for.
pub(crate) fn cases(short: u32) -> ProptestConfig {
    let full = ProptestConfig::default();
    let cases = rounds(short as usize, full.cases as usize);
    ProptestConfig { cases: u32::try_from(cases).unwrap(), ..full }
}

/// Keeps everything, so that only what a test is about is ever removed.
pub(crate) fn config() -> Config {
    let retention = Duration::from_secs(200 * 365 * 24 * 60 * 60);
    Config { retention, max_bytes: 1 << 40, ..Config::new(DIR) }
}

pub(crate) fn open(disk: &(impl Disk + Clone + 'static), config: &Config) -> Opened {
    Store::open(Arc::new(disk.clone()), config.clone()).unwrap()
}

pub(crate) fn apply(store: &mut Store, applied: &Applied) {
    store.apply(applied.position, &applied.record, applied.complete);
}

/// Applies what the store does not have, as it says itself.
pub(crate) fn replay(opened: Opened, history: &[Applied]) -> Store {
    let is_wanted = |applied: &&Applied| {
        let from = opened.replays_from(applied.position.stream);
        from.is_none_or(|from| applied.position >= from)
    };
    let wanted: Vec<&Applied> = history.iter().filter(is_wanted).collect();
    let mut store = opened.store;
    let mut upkeep = store.upkeep();
    for applied in wanted {
        apply(&mut store, applied);
        // As whoever replays much does: memory holds so many windows and no more.
        if upkeep.waiting() >= 200 {
            round(&mut upkeep);
        }
    }
    store
}

/// Opens the store, which must be undamaged, and applies what it does not have.
pub(crate) fn reopen(
    disk: &(impl Disk + Clone + 'static),
    config: &Config,
    history: &[Applied],
) -> Store {
    let opened = open(disk, config);
    assert!(opened.set_aside.is_empty(), "{:?}", opened.set_aside);
    replay(opened, history)
}

/// A round in which nothing may go wrong.
pub(crate) fn round(upkeep: &mut Upkeep) -> Report {
    let report = upkeep.round();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    report
}

/// Rounds until nothing is left to do; what they write is of no matter here.
pub(crate) fn settle(store: &Store, story: &str) {
    let mut upkeep = store.upkeep();
    let mut last = Report::default();
    for _ in 0..20 {
        last = upkeep.round();
        assert!(last.errors.is_empty(), "{story}: {:?}", last.errors);
        if is_idle(&last) {
            return;
        }
    }
    panic!("{story}: the upkeep finds no end: {last:?}");
}

fn is_idle(report: &Report) -> bool {
    let all = [&report.written, &report.merged, &report.removed, &report.imported];
    all.into_iter().all(Vec::is_empty)
}

/// A store that runs beside its model. Dropped, it can be opened again.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) store: Store,
    pub(crate) upkeep: Upkeep,
    pub(crate) model: Model,
    pub(crate) history: Vec<Applied>,
}

impl Pair {
    pub(crate) fn new(disk: &(impl Disk + Clone + 'static), config: &Config) -> Pair {
        let store = open(disk, config).store;
        let upkeep = store.upkeep();
        Pair { store, upkeep, model: Model::default(), history: Vec::new() }
    }

    pub(crate) fn apply(&mut self, record: Record, complete: bool) {
        let position = position(&record, self.history.len());
        let applied = Applied { position, record, complete };
        apply(&mut self.store, &applied);
        self.model.apply(&applied.record, complete);
        self.history.push(applied);
    }

    pub(crate) fn round(&mut self) -> Report {
        round(&mut self.upkeep)
    }

    /// Stops the program and starts it again.
    pub(crate) fn restart(self, disk: &(impl Disk + Clone + 'static), config: &Config) -> Pair {
        let Pair { store, upkeep, model, history } = self;
        drop((store, upkeep));
        let store = reopen(disk, config, &history);
        Pair { upkeep: store.upkeep(), store, model, history }
    }

    pub(crate) fn assert_equal(&self, story: &str) {
        assert_same(&all(&self.store, None), &self.model.all(None), story);
    }
}

/// Increasing, in segments of a few records.
pub(crate) fn position(record: &Record, number: usize) -> Position {
    let number = number as u64;
    let stream = record.stream();
    Position { stream, segment: 1 + number / 40, offset: number % 40 * 1000 }
}

pub(crate) fn numbered(records: impl IntoIterator<Item = Record>) -> Vec<Applied> {
    let number = |(number, record): (usize, Record)| Applied {
        position: position(&record, number),
        record,
        complete: true,
    };
    records.into_iter().enumerate().map(number).collect()
}

pub(crate) fn snapshot(
    lane: Lane,
    at: i64,
    interval: i64,
    host: &str,
    samples: Vec<Sample>,
) -> Record {
    Record::Snapshot(Arc::new(Snapshot {
        at: Timestamp::from_millis(at),
        interval: Duration::from_millis(interval.unsigned_abs()),
        lane,
        host: Text::from(host),
        state: State::Unknown,
        summary: Vec::new(),
        samples,
        top: Vec::new(),
        outcomes: Vec::new(),
    }))
}

/// A snapshot of the fast lane, of a few series whose values follow from the time.
pub(crate) fn ordinary(at: i64, interval: i64) -> Record {
    let moving = (at / interval) as f64;
    let samples = vec![
        sample("load", [], (moving * 7.0) % 100.0 / 4.0),
        sample("reads_total", [("device", "sda")], moving * 512.0),
        sample("reads_total", [("device", "sdb")], moving.sqrt()),
        sample("size_bytes", [("mountpoint", "/")], 1e12),
    ];
    snapshot(Lane::Fast, at, interval, "host", samples)
}

pub(crate) fn sample<const N: usize>(
    name: &'static str,
    labels: [(&str, &str); N],
    value: f64,
) -> Sample {
    Sample { name: Text::from_static(name), labels: Labels::from(labels), value }
}

pub(crate) fn key<const N: usize>(name: &'static str, labels: [(&str, &str); N]) -> SeriesKey {
    SeriesKey { name: Text::from_static(name), labels: Labels::from(labels) }
}

pub(crate) fn event(at: i64) -> Record {
    Record::Event(Event {
        at: Timestamp::from_millis(at),
        host: Text::from_static("host"),
        event: Text::from_static("started"),
        message: Text::from_static("something happened"),
        fields: Vec::new(),
    })
}

/// Samples that came at this time, each with its own; the series say from whom.
pub(crate) fn received(at: i64, series: Vec<(SeriesKey, Vec<(i64, f64)>)>) -> Record {
    let series = series.into_iter().map(|(key, points)| {
        let points = points.into_iter().map(|(at, value)| (Timestamp::from_millis(at), value));
        Series { name: key.name, labels: key.labels, points: points.collect() }
    });
    Record::Received(Batch { at: Timestamp::from_millis(at), series: series.collect() }.into())
}

pub(crate) fn range(start: i64, end: i64) -> Range {
    Range { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
}

pub(crate) fn whole() -> Range {
    range(i64::MIN, i64::MAX)
}

/// All that the store answers; it must know of no damage.
pub(crate) fn all(store: &Store, now: Option<i64>) -> Answers {
    ask(&store.reader(), &[], whole(), now)
}

pub(crate) fn ask(
    reader: &Reader,
    matchers: &[Matcher],
    range: Range,
    now: Option<i64>,
) -> Answers {
    let mut selection = reader.select(matchers, range, now.map(Timestamp::from_millis));
    let answers = answers(&mut selection, range);
    assert!(selection.damage().is_empty(), "{:?}", selection.damage());
    answers
}

/// The answers of a selection, which must be in order and within the range. That a series may be
/// found and have no samples is part of the promise.
pub(crate) fn answers(selection: &mut Selection, range: Range) -> Answers {
    let series = selection.series().to_vec();
    assert!(series.is_sorted_by(|a, b| a < b), "not sorted: {series:?}");
    let mut found = Answers::new();
    for (index, key) in series.into_iter().enumerate() {
        let mut points: Vec<Point> = Vec::new();
        selection.samples(index, &mut points);
        assert!(points.is_sorted_by(|a, b| a.at < b.at), "not in order: {key:?} {points:?}");
        assert_eq!(in_pieces(selection, index), bits(&points), "in pieces: {key:?}");
        let inside = |point: &Point| range.start <= point.at && point.at <= range.end;
        assert!(points.iter().all(inside), "beyond {range:?}: {key:?} {points:?}");
        if !points.is_empty() {
            let bits = |point: Point| (point.at.as_millis(), plain_bits(point.value));
            found.insert(key, points.into_iter().map(bits).collect());
        }
    }
    found
}

/// The same points, read piece by piece, in as many pieces as there can be.
fn in_pieces(selection: &mut Selection, index: usize) -> Vec<(i64, u64)> {
    let mut points = Vec::new();
    selection.pieces(index, 1, |piece| points.extend(bits(piece)));
    points
}

fn bits(points: &[Point]) -> Vec<(i64, u64)> {
    points.iter().map(|point| (point.at.as_millis(), point.value.to_bits())).collect()
}

/// Compares, and shows only where it differs.
pub(crate) fn assert_same(found: &Answers, expected: &Answers, story: &str) {
    let differences = differences(found, expected);
    assert!(differences.is_empty(), "{story}\n{}", differences.join("\n"));
}

/// The first differences, in words.
pub(crate) fn differences(found: &Answers, expected: &Answers) -> Vec<String> {
    let empty = std::collections::BTreeMap::new();
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        let (found, expected) =
            (found.get(key).unwrap_or(&empty), expected.get(key).unwrap_or(&empty));
        let times: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
        let differing = times.into_iter().filter(|at| found.get(at) != expected.get(at));
        differences.extend(differing.map(|at| {
            let value = |bits: Option<&u64>| bits.map(|bits| said(*bits));
            format!(
                "{} {:?} at {at} (window {}): {:?}, should be {:?}",
                key.name,
                key.labels,
                crate::model::window(*at),
                value(found.get(at)),
                value(expected.get(at))
            )
        }));
    }
    differences.truncate(12);
    differences
}

fn said(bits: u64) -> String {
    let value = f64::from_bits(bits);
    if farol_store::is_stale(value) { "stale".to_string() } else { format!("{value:?}") }
}

/// All files of the store with their contents, the lock aside.
pub(crate) fn files(disk: &MemoryDisk) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let paths = disk.paths().into_iter().filter(|path| !is_lock(path));
    paths.map(|path| (path.clone(), disk.get(&path).unwrap())).collect()
}

fn is_lock(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "lock")
}

/// In the end every file must be a good block: nothing half-written may be left anywhere.
pub(crate) fn assert_tidy(disk: &MemoryDisk, story: &str) {
    let reports = farol_store::verify(disk, Path::new(DIR)).unwrap();
    for report in &reports {
        assert!(report.damage.is_empty(), "{story}: {report:?}");
    }
    let mut known: Vec<_> =
        reports.iter().map(|report| Path::new(DIR).join(&report.file)).collect();
    known.sort();
    let found: Vec<_> = files(disk).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, known, "{story}");
}

pub(crate) fn metrics(number: u64) -> Position {
    Position { stream: Stream::Metrics, segment: number, offset: 0 }
}
