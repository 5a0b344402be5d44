//! Everything is bounded: bytes at every moment, ages by what was recorded, series, windows in
//! memory, and the time that many series take.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use farol_disk::{Access, Disk, Entry, File, Lock, MemoryDisk};
use farol_model::{Labels, Lane, Record, Sample, Snapshot, Text, TopProcess};
use farol_store::{Config, is_stale};

use crate::{
    model::{Answers, window},
    scene::{
        DAY, DAYS, HOUR, MINUTE, Pair, SECOND, WINDOW, all, assert_same, config, key, metrics,
        open, ordinary, reopen, round, rounds, sample, snapshot,
    },
};

/// A disk in memory that notes the most it ever held, looking after every operation.
#[derive(Clone, Debug, Default)]
struct Watched {
    memory: MemoryDisk,
    most: Arc<AtomicU64>,
}

impl Watched {
    fn look(&self) {
        self.most.fetch_max(self.memory.used(), Ordering::Relaxed);
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Disk for Watched {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.memory.create_new(path, access)?;
        self.look();
        Ok(Arc::new(WatchedFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.memory.open(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.memory.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.memory.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.memory.sync_folder(folder)
    }

    fn create_folder_all(&self, folder: &Path) -> io::Result<()> {
        self.memory.create_folder_all(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.memory.lock(path)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.memory.free_space(folder)
    }
}

#[derive(Debug)]
struct WatchedFile {
    disk: Watched,
    file: Arc<dyn File>,
}

impl File for WatchedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.append(bytes)?;
        self.disk.look();
        Ok(written)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)?;
        self.disk.look();
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.file.preallocate(len)?;
        self.disk.look();
        Ok(())
    }
}

/// Values that no codec can make small.
fn noise(at: i64, interval: i64, series: usize) -> Record {
    let value = |n: usize| {
        let mut bits = (at.cast_unsigned() ^ (n as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from_bits((bits ^ (bits >> 29)) >> 2)
    };
    let samples = (0..series).map(|n| numbered("noise", n, value(n)));
    snapshot(Lane::Fast, at, interval, "host", samples.collect())
}

fn numbered(name: &'static str, number: usize, value: f64) -> Sample {
    let number = number.to_string();
    let labels = Labels::from([("n", number.as_str())]);
    Sample { name: Text::from_static(name), labels, value }
}

fn samples(answers: &Answers) -> impl Iterator<Item = i64> {
    let points = answers.values().flatten();
    points.filter(|(_, bits)| !is_stale(f64::from_bits(**bits))).map(|(at, _)| *at)
}

#[test]
fn the_folder_never_exceeds_its_bytes_and_keeps_the_newest() {
    for max_bytes in [rounds(150_000, 100_000), rounds(250_000, 1_500_000)] {
        let max_bytes = max_bytes as u64;
        let disk = Watched::default();
        let bounded = Config { max_bytes, ..config() };
        let mut pair = Pair::new(&disk, &bounded);
        let interval = 15 * SECOND;
        let mut at = DAY;
        while pair.model.samples() * 8 < 10 * max_bytes {
            for _ in 0..60 {
                pair.apply(noise(at, interval, 20), true);
                at += interval;
            }
            pair.round();
            assert!(disk.memory.used() <= max_bytes);
        }
        assert!(disk.most() <= max_bytes, "{} of {max_bytes}", disk.most());
        assert!(disk.memory.used() > max_bytes / 3, "only {} are used", disk.memory.used());
        assert!(pair.store.stats().bytes <= max_bytes);
        let found = all(&pair.store, None);
        let most = pair.model.windows().len() / 2;
        assert_suffix(&found, &pair, most, "in the end");
        let pair = pair.restart(&disk, &bounded);
        assert_suffix(&all(&pair.store, None), &pair, most, "restarted");
        assert!(disk.most() <= max_bytes, "{} of {max_bytes}", disk.most());
    }
}

/// Whole windows, from some time on all that were applied; at least the newest few.
fn assert_suffix(found: &Answers, pair: &Pair, most: usize, story: &str) {
    let present = samples(found).map(window).collect();
    assert_same(found, &pair.model.only(&present).all(None), story);
    let expected: Vec<_> = pair.model.windows().into_iter().collect();
    let present: Vec<_> = present.into_iter().collect();
    assert!(expected.ends_with(&present), "{story}: {present:?} of {expected:?}");
    assert!((6..=most).contains(&present.len()), "{story}: {}", present.len());
}

/// For a merged block there is no room even without what is older: that stays.
#[test]
fn nothing_is_removed_for_what_does_not_fit_anyway() {
    let bounded = Config { max_bytes: 150_000, ..config() };
    let mut pair = Pair::new(&MemoryDisk::new(), &bounded);
    // A window of one slot, all of the next, and the beginning of a third.
    for n in (0..60).chain(8 * 60..16 * 60 + 120) {
        pair.apply(noise(DAY + n * 15 * SECOND, 15 * SECOND, 20), true);
    }
    let report = pair.round();
    assert_eq!((report.removed, report.merged), (Vec::<String>::new(), Vec::new()));
    pair.assert_equal("all of it");
}

/// A store that was given less is brought down by whole blocks, and not by all of them.
#[test]
fn a_lower_limit_takes_the_oldest_away_when_it_is_set() {
    let disk = Watched::default();
    let mut pair = Pair::new(&disk, &config());
    for n in 0..60 * 20 {
        pair.apply(noise(DAY + n * 15 * SECOND, 15 * SECOND, 20), true);
    }
    pair.round();
    let before = disk.memory.used();
    let bounded = Config { max_bytes: before * 2 / 3, ..config() };
    let mut pair = pair.restart(&disk, &bounded);
    pair.round();
    assert!(disk.memory.used() <= before * 2 / 3);
    assert_suffix(&all(&pair.store, None), &pair, 14, "lowered");
}

#[test]
fn samples_beyond_the_retention_go_by_whole_blocks_and_the_younger_stay() {
    let disk = MemoryDisk::new();
    let kept = Config { retention: Duration::from_secs(6 * 60 * 60), ..config() };
    let mut pair = Pair::new(&disk, &kept);
    for n in 0..3 * 24 * 12 {
        let at = DAY + n * 5 * MINUTE;
        pair.apply(ordinary(at, 5 * MINUTE), true);
        if n % 7 == 0 {
            pair.round();
            let found = all(&pair.store, None);
            let present = samples(&found).map(window).collect();
            assert_same(&found, &pair.model.only(&present).all(None), "whole windows");
            let missing = pair.model.times().into_iter().filter(|t| !present.contains(&window(*t)));
            assert!(missing.into_iter().all(|missing| missing <= at - 6 * HOUR), "{n}");
        }
    }
    let oldest = samples(&all(&pair.store, None)).min().unwrap();
    let newest = pair.model.times().last().copied().unwrap();
    // A block goes as a whole: at most the largest one is there longer than it must.
    assert!(oldest >= newest - 6 * HOUR - 25 * HOUR, "{}", (newest - oldest) / HOUR);
}

/// What is counted is what was recorded: while a machine is off, nothing grows old.
#[test]
fn a_machine_that_was_off_for_a_year_has_lost_nothing() {
    let disk = MemoryDisk::new();
    let kept = Config { retention: Duration::from_secs(2 * 24 * 60 * 60), ..config() };
    let mut pair = Pair::new(&disk, &kept);
    for year in 0..2 {
        for n in 0..15 * 12 {
            pair.apply(ordinary(DAY + year * 365 * DAYS + n * 5 * MINUTE, 5 * MINUTE), true);
        }
        pair.round();
        pair.assert_equal("15 hours of two days");
    }
    let mut pair = pair.restart(&disk, &kept);
    pair.round();
    pair.assert_equal("restarted");
}

#[test]
fn the_newest_derived_block_is_never_removed() {
    let disk = MemoryDisk::new();
    let none = Config { retention: Duration::ZERO, ..config() };
    let mut pair = Pair::new(&disk, &config());
    for n in 0..30 {
        pair.apply(ordinary(DAY + n * 5 * MINUTE, 5 * MINUTE), true);
    }
    pair.round();
    let written = pair.store.stats().blocks;
    assert!(written > 2);
    let pair = pair.restart(&disk, &none);
    let mut upkeep = pair.store.upkeep();
    for _ in 0..3 {
        upkeep.round();
    }
    let blocks = pair.store.stats().blocks;
    assert!((1..=2).contains(&blocks), "{blocks}");
    let newest = pair.model.times().into_iter().max();
    assert_eq!(samples(&all(&pair.store, None)).max(), newest);
}

/// A board without a battery boots in 1970 or 2040 and is set right after a while, or never.
#[test]
fn a_clock_that_was_wrong_loses_nothing_before_and_nothing_after() {
    let boots = [0, -400 * DAYS, DAY - 3 * HOUR, DAY + 14 * 365 * DAYS];
    let set_right = [Some(3 * MINUTE), Some(5 * HOUR), None];
    for boot in boots {
        for wrong_for in set_right {
            let story = format!("boot in {boot}, set right after {wrong_for:?}");
            wrong_clock(boot, wrong_for, &story);
        }
    }
}

fn wrong_clock(boot: i64, wrong_for: Option<i64>, story: &str) {
    let disk = MemoryDisk::new();
    let kept = Config { retention: Duration::from_secs(3 * 24 * 60 * 60), ..config() };
    let mut pair = Pair::new(&disk, &kept);
    run(&mut pair, DAY, 20 * HOUR);
    let before = pair.model.all(None);
    let mut pair = pair.restart(&disk, &kept);
    run(&mut pair, boot, wrong_for.unwrap_or(12 * HOUR));
    pair.assert_equal(story);
    if let Some(wrong_for) = wrong_for {
        run(&mut pair, DAY + 21 * HOUR + wrong_for, 12 * HOUR);
        pair.assert_equal(story);
        let newest = DAY + 33 * HOUR + wrong_for - MINUTE;
        assert!(samples(&all(&pair.store, None)).any(|at| at == newest), "{story}");
    }
    let mut pair = pair.restart(&disk, &kept);
    pair.round();
    pair.assert_equal(&format!("{story}, restarted"));
    let found = all(&pair.store, None);
    for (key, points) in &before {
        let values = points.iter().filter(|(_, bits)| !is_stale(f64::from_bits(**bits)));
        for (at, bits) in values {
            assert_eq!(found[key].get(at), Some(bits), "{story}: {key:?} at {at}");
        }
    }
}

/// Whole windows of the minutes from `from` on.
fn run(pair: &mut Pair, from: i64, length: i64) {
    for n in 0..length / MINUTE {
        pair.apply(ordinary(from + n * MINUTE, MINUTE), true);
        if n % 60 == 59 {
            pair.round();
        }
    }
    pair.round();
}

/// Days of a wrong clock are days of the retention, no more: what is old by what was recorded goes,
/// though the clock says that it is of the future.
#[test]
fn a_clock_that_stays_wrong_does_not_keep_everything_for_ever() {
    for boot in [0, DAY + 14 * 365 * DAYS] {
        let disk = MemoryDisk::new();
        let kept = Config { retention: Duration::from_secs(24 * 60 * 60), ..config() };
        let mut pair = Pair::new(&disk, &kept);
        run(&mut pair, DAY, 12 * HOUR);
        run(&mut pair, boot, 4 * DAYS);
        let found = all(&pair.store, None);
        let newest = boot + 4 * DAYS - MINUTE;
        assert!(samples(&found).any(|at| at == newest), "boot in {boot}: the newest");
        let count = samples(&found).count();
        let all = usize::try_from(pair.model.samples()).unwrap();
        assert!(count < all * 3 / 4, "boot in {boot}: {count} of {all}");
    }
}

#[test]
fn series_beyond_the_limit_of_a_window_are_counted_and_not_stored() {
    let disk = MemoryDisk::new();
    let few = Config { max_series: 10, ..config() };
    let mut pair = Pair::new(&disk, &few);
    for n in 0..10 {
        pair.apply(noise(DAY + n * MINUTE, MINUTE, 30), true);
    }
    let found = all(&pair.store, None);
    assert_eq!(found.len(), 10);
    assert!(found.values().all(|points| points.len() == 10));
    let truth = pair.model.all(None);
    assert!(found.iter().all(|(key, points)| truth.get(key) == Some(points)), "true values");
    assert_eq!(pair.store.stats().over_limit, 21 * 10);
    // Another window has its own.
    pair.apply(ordinary(DAY + WINDOW, MINUTE), true);
    let series: std::collections::BTreeSet<_> = found.into_keys().collect();
    let later = all(&pair.store, None).into_keys().filter(|key| !series.contains(key)).count();
    assert!(later >= 4, "{later}");
    let again = reopen(&MemoryDisk::new(), &few, &pair.history);
    assert_same(&all(&again, None), &all(&pair.store, None), "derived anew");
}

/// Two rows for each process, as the product has them.
fn rows(snapshot: &Snapshot) -> Vec<Sample> {
    let row = |process: &TopProcess| {
        let labels = || Labels::from([("name", process.name.as_str())]);
        [
            Sample {
                name: Text::from_static("process_bytes"),
                labels: labels(),
                value: process.resident_bytes as f64,
            },
            Sample {
                name: Text::from_static("process_ratio"),
                labels: labels(),
                value: process.cpu_ratio.unwrap_or(0.0),
            },
        ]
    };
    snapshot.top.iter().flat_map(row).collect()
}

fn with_processes(at: i64, names: impl Iterator<Item = usize>) -> Record {
    let Record::Snapshot(snapshot) = snapshot(Lane::Slow, at, MINUTE, "host", Vec::new()) else {
        panic!()
    };
    let process = |number: usize| TopProcess {
        name: Text::from(format!("p{number:04}")),
        resident_bytes: 1000 + number as u64,
        cpu_ratio: Some(0.25),
        ..TopProcess::default()
    };
    let mut snapshot = Arc::unwrap_or_clone(snapshot);
    snapshot.top = names.map(process).collect();
    Record::Snapshot(Arc::new(snapshot))
}

#[test]
fn rows_beyond_their_limit_are_added_up_under_one_name_and_counted() {
    let disk = MemoryDisk::new();
    let config = Config { rows, max_row_series: 6, ..config() };
    let mut pair = Pair::new(&disk, &config);
    for n in 0..5_usize {
        // Each time another process in front: rows come and go.
        pair.apply(with_processes(DAY + n as i64 * MINUTE, n..n + 10), true);
    }
    let story = |story: &str, answers: &Answers| {
        let series = answers.len();
        assert!((6..=8).contains(&series), "{story}: {series}");
        for n in 0..5_i64 {
            let at = DAY + n * MINUTE;
            let sum = |name: &str| -> f64 {
                let of_name = answers.iter().filter(|(key, _)| key.name == name);
                let values = of_name.filter_map(|(_, points)| points.get(&at));
                values.map(|bits| f64::from_bits(*bits)).filter(|value| !value.is_nan()).sum()
            };
            let bytes: u64 = (n..n + 10).map(|number| 1000 + number.unsigned_abs()).sum();
            assert_eq!(sum("process_bytes"), bytes as f64, "{story}: {n}");
            assert_eq!(sum("process_ratio"), 2.5, "{story}: {n}");
        }
        let other = [("instance", "host"), ("job", "node"), ("name", "other")];
        assert!(answers.contains_key(&key("process_bytes", other)), "{story}");
        assert!(answers.contains_key(&key("process_ratio", other)), "{story}");
    };
    story("in memory", &all(&pair.store, None));
    assert!(pair.store.stats().folded >= 5 * 2 * 7, "{}", pair.store.stats().folded);
    for n in 1..=5 {
        pair.apply(ordinary(DAY + n * WINDOW, MINUTE), true);
    }
    pair.round();
    let only_rows = |answers: Answers| -> Answers {
        answers.into_iter().filter(|(key, _)| key.name.starts_with("process")).collect()
    };
    story("in a block", &only_rows(all(&pair.store, None)));
    let pair = pair.restart(&disk, &config);
    story("restarted", &only_rows(all(&pair.store, None)));
}

#[test]
fn rows_are_stored_like_samples_and_end_like_them() {
    let config = Config { rows, ..config() };
    let mut pair = Pair::new(&MemoryDisk::new(), &config);
    pair.apply(with_processes(DAY, 1..3), true);
    pair.apply(with_processes(DAY + MINUTE, 2..3), true);
    let found = all(&pair.store, None);
    let gone =
        &found[&key("process_bytes", [("instance", "host"), ("job", "node"), ("name", "p0001")])];
    let points: Vec<_> = gone.iter().map(|(at, bits)| (*at, *bits)).collect();
    let stale = farol_store::STALE.to_bits();
    assert_eq!(points, [(DAY, 1001_f64.to_bits()), (DAY + MINUTE, stale)]);
    assert_eq!(found.len(), 4);
}

#[test]
fn a_fifth_window_closes_the_one_that_was_touched_the_longest_ago() {
    let mut pair = Pair::new(&MemoryDisk::new(), &config());
    let mut touch = |window: i64, minute: i64| {
        pair.apply(ordinary(DAY + window * WINDOW + minute * MINUTE, MINUTE), true);
        pair.store.stats().held
    };
    for window in [3, 0, 2, 1] {
        assert_eq!(touch(window, 0), 0);
    }
    // All four still take.
    for window in [0, 1, 2, 3] {
        assert_eq!(touch(window, 1), 0);
    }
    assert_eq!(touch(9, 0), 0);
    assert_eq!(touch(0, 2), 1, "closed");
    for window in [1, 2, 3, 9] {
        assert_eq!(touch(window, 3), 1, "open: {window}");
    }
    pair.assert_equal("in the end");
}

#[test]
fn a_window_that_a_hundred_records_have_passed_by_is_closed() {
    for passing in [99, 100] {
        let mut pair = Pair::new(&MemoryDisk::new(), &config());
        pair.apply(ordinary(DAY, SECOND), true);
        for n in 0..passing {
            pair.apply(ordinary(DAY + WINDOW + n * SECOND, SECOND), true);
        }
        pair.apply(ordinary(DAY + SECOND, SECOND), true);
        assert_eq!(pair.store.stats().held, u64::from(passing == 100), "{passing}");
        pair.assert_equal("in the end");
        let written = pair.round().written.len();
        assert_eq!(written, usize::from(passing == 100), "{passing}");
    }
}

#[test]
fn a_snapshot_that_is_not_later_than_the_last_of_its_lane_is_held() {
    let mut pair = Pair::new(&MemoryDisk::new(), &config());
    let at = |lane, second: i64, value: f64| {
        let samples = vec![sample(lane_name(lane), [], value)];
        snapshot(lane, DAY + second * SECOND, SECOND, "host", samples)
    };
    for (lane, second, held) in [
        (Lane::Fast, 10, 0_u32),
        (Lane::Slow, 5, 0),
        (Lane::Fast, 10, 1),
        (Lane::Fast, 9, 2),
        (Lane::Slow, 6, 2),
        (Lane::Slow, 6, 3),
        (Lane::Fast, 11, 3),
    ] {
        pair.apply(at(lane, second, f64::from(held)), true);
        assert_eq!(pair.store.stats().held, u64::from(held));
    }
    pair.assert_equal("in the end");
}

fn lane_name(lane: Lane) -> &'static str {
    if lane == Lane::Fast { "quick" } else { "slow" }
}

/// In each window's index for free, they are chunks once there are several values.
#[test]
fn series_that_move_once_a_window_are_merged() {
    let mut store = open(&MemoryDisk::new(), &config()).store;
    for n in 0..8 * 2 + 101_i64 {
        // Two rows a window; then the next slot, until the last window is over.
        let (at, count) = match n {
            0..16 => (n / 2 * WINDOW + n % 2 * MINUTE, 6000),
            _ => (2 * HOUR + (n - 16) * SECOND, 1),
        };
        let value = ((n / 2) as f64).sqrt();
        let samples = (0..count).map(|series| numbered("many", series, value)).collect();
        let record = snapshot(Lane::Fast, DAY + at, MINUTE, "host", samples);
        store.apply(metrics(n.unsigned_abs()), &record, true);
    }
    assert_eq!(round(&mut store.upkeep()).merged.len(), 1);
}

/// Ten times the series may take ten times as long, and some more; not a hundred times.
#[test]
fn a_hundred_thousand_series_in_one_window_take_no_quadratic_time() {
    let count = 100_000;
    let few = time_of(count / 10);
    let many = time_of(count);
    assert!(many < few * 40 + Duration::from_secs(2), "{few:?} for {}, {many:?}", count / 10);
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn time_of(series: usize) -> Duration {
    let samples: Vec<_> = (0..series).map(|n| numbered("many", n, n as f64)).collect();
    let mut store = open(&MemoryDisk::new(), &config()).store;
    let starts = std::time::Instant::now();
    for n in 0..3 {
        let record = snapshot(Lane::Fast, DAY + n * SECOND, SECOND, "host", samples.clone());
        store.apply(metrics(n.unsigned_abs()), &record, true);
    }
    for n in 1..=4_i64 {
        store.apply(metrics(100 + n.unsigned_abs()), &ordinary(DAY + n * WINDOW, MINUTE), true);
    }
    round(&mut store.upkeep());
    let stats = store.stats();
    assert_eq!((stats.over_limit, stats.block_samples), (0, 3 * (series as u64 + 1)));
    let found = all(&store, None);
    assert!(found.len() > series);
    starts.elapsed()
}
