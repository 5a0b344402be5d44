//! A full disk: nothing breaks, the events still find room, and life goes on when there is space.

use farol_disk::CrashDisk;
use farol_journal::{JournalError, Retention, Settings, upkeep};
use farol_model::{Lane, Stream};

use crate::history::{
    DIR, event, names, open, ordinary, plain_all, read_all, small_settings, whole,
};

const RESERVE: u64 = 8192;

fn with_reserve() -> Settings {
    Settings { reserve_bytes: RESERVE, ..small_settings() }
}

#[test]
fn a_full_disk_refuses_and_forgets_the_line_and_takes_it_again_when_there_is_space() {
    let disk = CrashDisk::new();
    let mut journal = open(&disk, &small_settings());
    let records: Vec<_> = (0..6).map(|second| ordinary(Lane::Fast, second)).collect();
    journal.append(&records[0]).unwrap();
    for room in [0, 1, 100] {
        disk.set_room(Some(room));
        let head = journal.head(Stream::Metrics);
        let error = journal.append(&records[1]).unwrap_err();
        assert!(matches!(&error, JournalError::Full { .. }), "{error}");
        assert!(error.to_string().contains("metrics-2026-11-22-0000000001.jsonl"), "{error}");
        assert_eq!(journal.head(Stream::Metrics), head, "cut back to the last good line");
    }
    assert_eq!(journal.stats().unwrap().failed_appends, 3);
    disk.set_room(None);
    for record in &records[1..] {
        journal.append(record).unwrap();
    }
    assert_eq!(whole(&read_all(&disk, Stream::Metrics)), plain_all(&records));
    assert_eq!(names(&disk), ["metrics-2026-11-22-0000000001.jsonl"], "the same segment");
}

#[test]
fn the_events_get_the_reserve_and_it_comes_back() {
    let disk = CrashDisk::new();
    let mut journal = open(&disk, &with_reserve());
    assert!(journal.stats().unwrap().reserve);
    journal.append(&ordinary(Lane::Fast, 0)).unwrap();
    disk.set_room(Some(0));
    assert!(journal.append(&ordinary(Lane::Fast, 1)).is_err(), "metrics do not get it");
    journal.append(&event(1, "the disk is full")).unwrap();
    assert!(!journal.stats().unwrap().reserve);
    assert_eq!(whole(&read_all(&disk, Stream::Events)).len(), 1);

    let still_full = upkeep(&disk, DIR.as_ref(), &with_reserve(), journal.open_segments());
    assert!(still_full.errors.is_empty(), "{:?}", still_full.errors);
    assert!(!journal.stats().unwrap().reserve, "not taken while there is little space");
    disk.set_room(None);
    upkeep(&disk, DIR.as_ref(), &with_reserve(), journal.open_segments());
    assert!(journal.stats().unwrap().reserve);
}

#[test]
fn what_the_reserve_left_is_the_events_alone_until_there_is_room_for_another() {
    let disk = CrashDisk::new();
    let mut journal = open(&disk, &with_reserve());
    journal.append(&ordinary(Lane::Fast, 0)).unwrap();
    disk.set_room(Some(0));
    journal.append(&event(1, "the disk is full")).unwrap();
    for room in [RESERVE - 1000, 2 * RESERVE - 1] {
        disk.set_room(Some(room));
        let error = journal.append(&ordinary(Lane::Fast, 2)).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(error.to_string().contains("left is for the events"), "{error}");
        journal.append(&event(2, "and so it stays")).unwrap();
    }
    disk.set_room(Some(2 * RESERVE));
    journal.append(&ordinary(Lane::Fast, 3)).unwrap();
    assert!(journal.stats().unwrap().reserve, "it is there again first");
}

#[test]
fn retention_makes_room_before_anything_fails() {
    let disk = CrashDisk::new();
    let mut settings = small_settings();
    let mut journal = open(&disk, &settings);
    for second in 0..59 {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    drop(journal);
    let before = names(&disk).len();
    assert!(before > 4);
    *settings.retention_mut(Stream::Metrics) = Retention { days: 7, bytes: 9000 };
    let mut journal = open(&disk, &settings);
    disk.set_room(Some(0));
    journal.append(&ordinary(Lane::Fast, 70)).unwrap();
    assert!(names(&disk).len() < before);
}

#[test]
fn a_journal_opens_on_a_full_disk() {
    let disk = CrashDisk::new();
    disk.set_room(Some(0));
    let mut journal = open(&disk, &with_reserve());
    assert!(journal.append(&event(0, "no room at all")).unwrap_err().is_full());
    disk.set_room(None);
    journal.append(&event(1, "room")).unwrap();
}
