//! Compression and retention, and what is left when they are interrupted.

use std::path::Path;

use farol_disk::{Disk, MemoryDisk};
use farol_journal::{Retention, Settings, upkeep};
use farol_model::{Lane, Stream};

use crate::history::{DIR, lines, memory, names, open, ordinary, read_all, small_settings, whole};

const DAY: i64 = 86_400;

fn days(disk: &MemoryDisk, settings: &Settings, days: impl Iterator<Item = i64>) {
    let mut journal = open(disk, settings);
    for day in days {
        journal.append(&ordinary(Lane::Fast, day * DAY)).unwrap();
    }
}

fn round(disk: &MemoryDisk, settings: &Settings) -> farol_journal::UpkeepReport {
    let journal = open(disk, settings);
    upkeep(disk, Path::new(DIR), settings, journal.open_segments())
}

#[test]
fn days_beyond_the_retention_go_and_the_newest_stays() {
    let disk = memory();
    let mut settings = small_settings();
    settings.retention_mut(Stream::Metrics).days = 3;
    days(&disk, &settings, 0..10);
    let report = round(&disk, &settings);
    assert_eq!(report.removed.len(), 6);
    let left = names(&disk);
    assert_eq!(left.first().unwrap(), "metrics-2026-11-28-0000000007.jsonl.zst");
    assert_eq!(left.last().unwrap(), "metrics-2026-12-01-0000000010.jsonl");
    settings.retention_mut(Stream::Metrics).bytes = 0;
    round(&disk, &settings);
    assert_eq!(names(&disk), ["metrics-2026-12-01-0000000010.jsonl"]);
}

#[test]
fn bytes_beyond_the_retention_go_oldest_first() {
    let disk = memory();
    let mut settings = Settings { compression: None, ..small_settings() };
    days(&disk, &settings, 0..10);
    let total: u64 = disk.list(Path::new(DIR)).unwrap().iter().map(|entry| entry.len).sum();
    *settings.retention_mut(Stream::Metrics) = Retention { days: 1000, bytes: total * 11 / 20 };
    let report = round(&disk, &settings);
    assert_eq!(report.removed.len(), 5);
    assert!(report.bytes[0] <= total * 11 / 20);
    assert!(report.removed.is_sorted());
}

#[test]
fn a_clock_that_was_wrong_for_a_moment_costs_nothing() {
    let disk = memory();
    let mut settings = small_settings();
    settings.retention_mut(Stream::Metrics).days = 7;
    days(&disk, &settings, [0, 1, -20_000, 2, 9_000, 3].into_iter());
    let report = round(&disk, &settings);
    assert!(report.removed.is_empty(), "{:?}", report.removed);
    assert_eq!(whole(&read_all(&disk, Stream::Metrics)).len(), 6);
}

#[test]
fn with_both_files_present_the_plain_one_wins_and_upkeep_settles_it() {
    let disk = memory();
    let settings = small_settings();
    days(&disk, &settings, 0..3);
    let plain = disk.get(&Path::new(DIR).join("metrics-2026-11-22-0000000001.jsonl")).unwrap();
    round(&disk, &settings);
    let packed_name = "metrics-2026-11-22-0000000001.jsonl.zst";
    let good = disk.get(&Path::new(DIR).join(packed_name)).unwrap();
    for packed in [good.clone(), good[..good.len() / 2].to_vec(), Vec::new()] {
        disk.put(&Path::new(DIR).join("metrics-2026-11-22-0000000001.jsonl"), plain.clone());
        disk.put(&Path::new(DIR).join(packed_name), packed);
        disk.put(&Path::new(DIR).join(format!("{packed_name}.tmp")), b"half".to_vec());
        assert_eq!(lines(&read_all(&disk, Stream::Metrics)).len(), 3);
        let report = round(&disk, &settings);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert_eq!(disk.get(&Path::new(DIR).join(packed_name)).unwrap(), good);
        assert_eq!(names(&disk).len(), 3);
        assert_eq!(lines(&read_all(&disk, Stream::Metrics)).len(), 3);
    }
}

#[test]
fn damage_in_a_closed_segment_is_counted_once() {
    let disk = memory();
    let settings = small_settings();
    days(&disk, &settings, 0..3);
    let path = Path::new(DIR).join("metrics-2026-11-22-0000000001.jsonl");
    let mut plain = disk.get(&path).unwrap();
    plain[40] ^= 1;
    plain.extend_from_slice(b"{\"seq\":9,\"ts");
    disk.put(&path, plain);
    let packed = "metrics-2026-11-22-0000000001.jsonl.zst".to_owned();
    assert_eq!(round(&disk, &settings).damaged, [(packed, 2)]);
    assert_eq!(round(&disk, &settings).damaged, []);
}

#[test]
fn a_packed_segment_is_an_ordinary_zstd_file() {
    let disk = memory();
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let mut journal = open(&disk, &settings);
    for second in 0..650 {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    drop(journal);
    open(&disk, &settings).append(&ordinary(Lane::Fast, 700)).unwrap();
    let name = "metrics-2026-11-22-0000000001.jsonl";
    let plain = disk.get(&Path::new(DIR).join(name)).unwrap();
    round(&disk, &settings);
    let packed = disk.get(&Path::new(DIR).join(format!("{name}.zst"))).unwrap();
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), plain);
    assert!(packed.len() * 4 < plain.len());
}
