//! Back-fill: what is imported is there with the rest, or not at all.

use std::sync::Arc;

use farol_disk::{Disk, MemoryDisk};
use farol_model::{Labels, Lane, Text, Timestamp};
use farol_store::{Imported, Importer, STALE, SeriesKey, Store, StoreError};
use proptest::{collection::vec, prelude::*};

use crate::{
    model::plain_bits,
    scene::{
        DAY, DAYS, HOUR, MINUTE, Pair, SECOND, all, assert_same, assert_tidy, cases, config, files,
        key, ordinary, replay, sample, settle, snapshot,
    },
};

fn importer(disk: &MemoryDisk) -> Importer {
    Importer::new(Arc::new(disk.clone()), &config()).unwrap()
}

fn push(importer: &mut Importer, key: &SeriesKey, at: i64, value: f64) {
    let series = importer.series(key.name.clone(), key.labels.clone());
    importer.push(series, Timestamp::from_millis(at), value).unwrap();
}

fn import(disk: &MemoryDisk, pair: &mut Pair, samples: &[(SeriesKey, i64, f64)]) -> Imported {
    let mut importer = importer(disk);
    for (key, at, value) in samples {
        push(&mut importer, key, *at, *value);
        pair.model.import(key.clone(), *at, *value);
    }
    importer.finish().unwrap()
}

/// A day of derived samples, some still in memory.
fn a_day(disk: &MemoryDisk) -> Pair {
    let mut pair = Pair::new(disk, &config());
    for n in 0..24 * 12 {
        pair.apply(ordinary(DAY + n * 5 * MINUTE, 5 * MINUTE), true);
        if n % 50 == 0 {
            pair.round();
        }
    }
    pair
}

#[test]
fn what_is_imported_far_in_the_past_is_visible_after_a_round_and_after_a_restart() {
    let disk = MemoryDisk::new();
    let mut pair = a_day(&disk);
    let old = key("old_total", [("from", "elsewhere")]);
    let samples: Vec<_> = (0..3000)
        .map(|n| (old.clone(), DAY - 700 * DAYS + n * HOUR, n as f64))
        .chain([(old.clone(), 0, 1.0), (old.clone(), -5, 2.0)])
        .collect();
    let imported = import(&disk, &mut pair, &samples);
    assert_eq!((imported.series, imported.samples, imported.repeated), (1, 3002, 0));
    assert_eq!(imported.oldest, Some(Timestamp::from_millis(-5)));
    assert_eq!(imported.newest, Some(Timestamp::from_millis(DAY - 700 * DAYS + 2999 * HOUR)));
    assert!(!imported.files.is_empty() && imported.bytes > 0);
    let report = pair.round();
    assert_eq!(report.imported.len(), imported.files.len());
    pair.assert_equal("after a round");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("after a restart");
    drop(pair);
    assert_tidy(&disk, "imported");
}

#[test]
fn a_store_that_is_opened_takes_in_what_came_while_it_was_closed() {
    let disk = MemoryDisk::new();
    let mut pair = a_day(&disk);
    let old = key("old", []);
    import(&disk, &mut pair, &[(old, DAY - DAYS, 1.5)]);
    let mut pair = pair.restart(&disk, &config());
    pair.assert_equal("opened");
    assert!(pair.round().imported.is_empty(), "already taken in");
    pair.assert_equal("after a round");
}

#[test]
fn an_import_into_an_empty_folder_is_there_when_a_store_is_made_of_it() {
    let disk = MemoryDisk::new();
    let mut first = importer(&disk);
    let old = key("old", [("a", "b")]);
    push(&mut first, &old, DAY, 1.0);
    first.finish().unwrap();
    let pair = Pair::new(&disk, &config());
    let found = all(&pair.store, Some(DAY + 900 * DAYS));
    assert_eq!(found[&old].iter().collect::<Vec<_>>(), [(&DAY, &1.0_f64.to_bits())]);
    assert_eq!(found.len(), 1, "no ends are computed for what is imported");
}

/// Nothing is derived from what was imported: not an end, and not that a window is held.
#[test]
fn a_window_with_imported_samples_still_takes_derived_ones() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    let load = key("load", [("instance", "host"), ("job", "node")]);
    let samples: Vec<_> =
        (0..15).map(|n| (load.clone(), DAY + n * MINUTE + 30 * SECOND, n as f64)).collect();
    import(&disk, &mut pair, &samples);
    pair.round();
    for n in 0..150 {
        pair.apply(ordinary(DAY + n * MINUTE, MINUTE), true);
    }
    assert_eq!(pair.store.stats().held, 0);
    pair.round();
    pair.assert_equal("both");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("both, restarted");
}

#[test]
fn of_two_samples_at_one_time_one_is_kept() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for n in 0..150 {
        pair.apply(ordinary(DAY + n * MINUTE, MINUTE), true);
    }
    pair.round();
    let size = key("size_bytes", [("instance", "host"), ("job", "node"), ("mountpoint", "/")]);
    let mut importer = importer(&disk);
    for n in [3, 3, 70, 149] {
        push(&mut importer, &size, DAY + n * MINUTE, 7.0);
    }
    let imported = importer.finish().unwrap();
    assert_eq!((imported.samples, imported.repeated), (3, 1));
    for story in ["running", "restarted"] {
        drop(pair.upkeep.round());
        let mut found = all(&pair.store, None);
        let points = found.get_mut(&size).unwrap();
        for n in [3, 70, 149] {
            let bits = points.get_mut(&(DAY + n * MINUTE)).unwrap();
            assert!([7.0_f64.to_bits(), 1e12_f64.to_bits()].contains(bits), "{story}");
            *bits = 1e12_f64.to_bits();
        }
        assert_same(&found, &pair.model.all(None), story);
        pair = pair.restart(&disk, &config());
    }
}

#[test]
fn an_importer_that_is_dropped_leaves_nothing() {
    let disk = MemoryDisk::new();
    let mut pair = a_day(&disk);
    settle(&pair.store, "a day");
    let before = files(&disk);
    let mut importer = importer(&disk);
    let series = importer.series(Text::from_static("old"), Labels::empty());
    // Enough that some of it may have been written in between.
    for n in 0..200_000 {
        importer.push(series, Timestamp::from_millis(n * 15 * SECOND), n as f64).unwrap();
    }
    drop(importer);
    assert!(pair.round().imported.is_empty());
    pair.assert_equal("dropped");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("dropped, restarted");
    assert_eq!(files(&disk), before);
}

#[test]
fn an_import_without_samples_is_none() {
    let disk = MemoryDisk::new();
    let mut importer = importer(&disk);
    importer.series(Text::from_static("old"), Labels::empty());
    assert_eq!(importer.finish().unwrap(), Imported::default());
    assert!(files(&disk).is_empty());
}

#[test]
fn the_same_series_has_the_same_number() {
    let mut importer = importer(&MemoryDisk::new());
    let labels = || Labels::from([("b", "2"), ("a", "1")]);
    let first = importer.series(Text::from_static("x"), labels());
    let other = importer.series(Text::from_static("x"), Labels::empty());
    assert_ne!(first, other);
    assert_eq!(importer.series(Text::from("x".to_string()), labels()), first);
}

#[test]
fn a_reader_beside_the_writer_does_not_move_what_is_incoming() {
    let disk = MemoryDisk::new();
    let mut importer = importer(&disk);
    push(&mut importer, &key("old", []), DAY, 1.0);
    importer.finish().unwrap();
    let before = disk.paths();
    let opened = Store::open_read_only(Arc::new(disk.clone()), config()).unwrap();
    drop(replay(opened, &[]));
    assert_eq!(disk.paths(), before);
}

/// So that what one has left half written can be told from what is at work.
#[test]
fn a_second_import_at_the_same_time_is_refused_and_told_why() {
    let disk = MemoryDisk::new();
    let first = importer(&disk);
    let error = Importer::new(Arc::new(disk.clone()), &config()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }), "{error:?}");
    drop(first);
    importer(&disk);
}

#[test]
fn one_import_after_another_adds_to_it() {
    let disk = MemoryDisk::new();
    let mut pair = a_day(&disk);
    for name in ["a", "b", "a"] {
        let key = key(name, []);
        let hours = if name == "a" { 0 } else { 5 };
        let at = |n: i64| DAY - DAYS + hours * HOUR + n * MINUTE;
        let samples: Vec<_> = (0..100).map(|n| (key.clone(), at(n), n as f64)).collect();
        import(&disk, &mut pair, &samples);
        pair.round();
        pair.assert_equal(name);
    }
    settle(&pair.store, "all");
    pair.assert_equal("all");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("restarted");
    drop(pair);
    assert_tidy(&disk, "all");
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn samples_in_any_order_beside_and_between_derived_ones_are_all_found(
        samples in vec((0..4_usize, -40..40_i64, 0..400_i64, any::<f64>()), 1..400),
        rounds in any::<bool>(),
    ) {
        let disk = MemoryDisk::new();
        let mut pair = Pair::new(&disk, &config());
        for n in 0..200 {
            // A series that comes and goes, so that there are ends among what is imported.
            let mut samples = vec![sample("x", [("s", "0")], n as f64)];
            if n % 7 < 5 {
                samples.push(sample("x", [("s", "1")], n as f64 / 2.0));
            }
            pair.apply(snapshot(Lane::Fast, DAY + n * 10 * MINUTE, 5 * MINUTE, "host", samples), true);
            if rounds && n % 20 == 0 {
                pair.round();
            }
        }
        let names = ["0", "1", "2", "3"];
        let mut seen = std::collections::BTreeSet::new();
        let mut importer = importer(&disk);
        let mut pushed = 0;
        for (series, hours, seconds, value) in samples {
            let key = key("x", [("s", names[series]), ("job", "node"), ("instance", "host")]);
            // Odd milliseconds: never the time of a derived one.
            let at = DAY + hours * HOUR + seconds * 7 * SECOND + 1;
            let value = if plain_bits(value) == STALE.to_bits() { 0.0 } else { value };
            let fresh = seen.insert((series, at));
            if fresh {
                push(&mut importer, &key, at, value);
                pair.model.import(key, at, value);
                pushed += 1;
            }
        }
        let imported = importer.finish().unwrap();
        prop_assert_eq!((imported.samples, imported.repeated), (pushed, 0));
        for file in &imported.files {
            prop_assert!(disk.open(file).is_ok(), "{:?}", file);
        }
        pair.round();
        pair.assert_equal("after a round");
        let pair = pair.restart(&disk, &config());
        pair.assert_equal("restarted");
        drop(pair);
        assert_tidy(&disk, "restarted");
    }
}
