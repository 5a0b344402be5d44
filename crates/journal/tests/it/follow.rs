//! Following a journal that is being written, rotated, compressed and retained.

use std::{path::Path, sync::Arc};

use farol_disk::{Access, Disk, RealDisk};
use farol_journal::{
    Gap, Item, Journal, JournalError, Reader, Retention, Settings, StartAt, full_line, upkeep,
};
use farol_model::{Lane, Position, Stream};

use crate::history::{
    DIR, Plain, at, drain, event, lines, memory, names, open, ordinary, plain, plain_all, read_all,
    reader, small_settings, whole,
};

#[test]
fn a_follower_misses_nothing_through_rotation_and_compression() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let settings = small_settings();
    let mut journal = Journal::open(disk.clone(), folder.path(), settings.clone()).unwrap();
    let mut follower =
        Reader::open(disk.clone(), folder.path(), Stream::Metrics, StartAt::Oldest).unwrap();
    let mut late =
        Reader::open(disk.clone(), folder.path(), Stream::Metrics, StartAt::Oldest).unwrap();
    let mut written = Vec::new();
    let mut seen = Vec::new();
    let mut seen_late: Vec<Plain> = Vec::new();
    for second in 0..200 {
        let record = ordinary(if second % 7 == 0 { Lane::Slow } else { Lane::Fast }, second);
        journal.append(&record).unwrap();
        written.push(plain(&record));
        if second % 3 != 0 {
            seen.extend(whole(&drain(&mut follower)));
        }
        if second % 2 == 0
            && let Some(item) = late.next().unwrap()
        {
            seen_late.extend(whole(&[item]));
        }
        if second % 20 == 19 {
            let report = upkeep(disk.as_ref(), folder.path(), &settings, journal.open_segments());
            assert!(report.errors.is_empty(), "{:?}", report.errors);
        }
    }
    seen.extend(whole(&drain(&mut follower)));
    seen_late.extend(whole(&drain(&mut late)));
    assert_eq!(seen, written);
    assert_eq!(seen_late, written);
    let position = follower.position().unwrap();
    assert_eq!(position, journal.head(Stream::Metrics));
}

#[test]
fn a_follower_that_is_overtaken_by_retention_names_the_gap() {
    let disk = memory();
    let mut settings = small_settings();
    *settings.retention_mut(Stream::Metrics) = Retention { days: 7, bytes: 9000 };
    settings.compression = None;
    let mut journal = open(&disk, &settings);
    journal.append(&ordinary(Lane::Fast, 0)).unwrap();
    let mut follower = reader(&disk, Stream::Metrics, StartAt::Oldest);
    assert_eq!(drain(&mut follower).len(), 1);
    for second in 1..60 {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    upkeep(&disk, Path::new(DIR), &settings, journal.open_segments());
    let items = drain(&mut follower);
    let gap = items.iter().find_map(|item| match item {
        Item::Gap(gap) => Some(*gap),
        Item::Line(_) | Item::Damage(_) => None,
    });
    let Some(Gap { expected: 2, found, .. }) = gap else { panic!("{gap:?}") };
    assert!(found > 2);
    assert_eq!(follower.stats().gaps, 1);
    let last = lines(&items).last().map(|line| plain(&line.record));
    assert_eq!(last, Some(plain(&ordinary(Lane::Fast, 59))));
}

#[test]
fn half_a_line_is_not_a_line_yet_and_may_be_written_anew() {
    let disk = memory();
    disk.create_folder_all(Path::new(DIR)).unwrap();
    let path = Path::new(DIR).join("events-2026-11-22-0000000001.jsonl");
    let file = disk.create_new(&path, Access::default()).unwrap();
    let mut follower = reader(&disk, Stream::Events, StartAt::Oldest);
    let first = full_line(&event(0, "one that is cut back after a short write"), 0);
    file.append(&first[..first.len() / 2]).unwrap();
    assert_eq!(follower.next().unwrap(), None);
    assert_eq!(follower.unfinished(), first.len() as u64 / 2);
    file.truncate(0).unwrap();
    let second = event(1, "another, in the same place");
    file.append(&full_line(&second, 0)).unwrap();
    assert_eq!(whole(&drain(&mut follower)), [plain(&second)]);
    assert_eq!(follower.stats().damaged, 0);
}

#[test]
fn following_from_the_end_gives_only_what_comes_and_it_is_whole() {
    let disk = memory();
    let mut journal = open(&disk, &Settings { segment_bytes: 1 << 20, ..small_settings() });
    for second in 0..5 {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    let mut follower = reader(&disk, Stream::Metrics, StartAt::End);
    assert!(drain(&mut follower).is_empty());
    assert_eq!(follower.position(), Some(journal.head(Stream::Metrics)));
    let next = ordinary(Lane::Fast, 5);
    journal.append(&next).unwrap();
    assert_eq!(whole(&drain(&mut follower)), [plain(&next)]);
}

#[test]
fn the_newest_segment_is_a_quick_way_to_the_newest_snapshots() {
    let disk = memory();
    let mut journal = open(&disk, &small_settings());
    for second in 0..30 {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    let items = drain(&mut reader(&disk, Stream::Metrics, StartAt::NewestSegment));
    assert!(lines(&items).len() < 30);
    let last = lines(&items).last().map(|line| plain(&line.record));
    assert_eq!(last, Some(plain(&ordinary(Lane::Fast, 29))));
}

#[test]
fn a_question_about_a_day_reads_no_earlier_day() {
    let disk = memory();
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let mut journal = open(&disk, &settings);
    let day = 24 * 3600;
    for second in [0, day, 2 * day] {
        journal.append(&ordinary(Lane::Fast, second)).unwrap();
    }
    let since =
        |second| lines(&drain(&mut reader(&disk, Stream::Metrics, StartAt::Day(at(second))))).len();
    assert_eq!([since(-day), since(0), since(day + 60), since(3 * day)], [3, 3, 2, 0]);
    journal.append(&ordinary(Lane::Fast, 3 * day)).unwrap();
    assert_eq!(since(3 * day), 1);
}

#[test]
fn a_reader_may_come_before_the_journal() {
    let disk = memory();
    let mut follower = reader(&disk, Stream::Events, StartAt::End);
    assert_eq!(follower.next().unwrap(), None);
    assert_eq!(follower.position(), None);
    open(&disk, &small_settings()).append(&event(0, "first")).unwrap();
    assert_eq!(drain(&mut follower).len(), 1);
}

#[test]
fn a_cursor_into_a_journal_that_was_begun_anew_starts_over_with_a_gap() {
    let disk = memory();
    open(&disk, &small_settings()).append(&event(0, "new")).unwrap();
    let old = Position { stream: Stream::Events, segment: 57, offset: 1234 };
    let items = drain(&mut reader(&disk, Stream::Events, StartAt::Position(old)));
    assert!(matches!(items[0], Item::Gap(Gap { expected: 57, found: 1, .. })), "{items:?}");
    assert_eq!(lines(&items).len(), 1);
}

#[test]
fn a_second_writer_is_refused_and_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let first = Journal::open(disk.clone(), folder.path(), small_settings()).unwrap();
    let refused = Journal::open(disk.clone(), folder.path(), small_settings()).unwrap_err();
    assert!(matches!(refused, JournalError::Locked { .. }));
    let words = refused.to_string();
    assert!(words.contains("writer.lock") && words.contains("choose another folder"), "{words}");
    drop(first);
    Journal::open(disk, folder.path(), small_settings()).unwrap();
}

#[test]
fn segments_follow_days_and_restarts_and_survive_a_clock_that_steps() {
    let disk = memory();
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let mut journal = open(&disk, &settings);
    let hour = 3600;
    // Late evening; the slow lane's tick of before midnight arrives after it; then the clock is
    // set back by weeks and forward again.
    let seconds = [0, 14 * hour, 14 * hour - 5, 14 * hour + 1, -30 * 24 * hour, 15 * hour];
    let records: Vec<_> = seconds.iter().map(|s| ordinary(Lane::Fast, *s)).collect();
    for record in &records {
        journal.append(record).unwrap();
    }
    drop(journal);
    open(&disk, &settings).append(&ordinary(Lane::Fast, 15 * hour + 1)).unwrap();
    assert_eq!(
        names(&disk),
        [
            "metrics-2026-10-23-0000000003.jsonl",
            "metrics-2026-11-22-0000000001.jsonl",
            "metrics-2026-11-23-0000000002.jsonl",
            "metrics-2026-11-23-0000000004.jsonl",
            "metrics-2026-11-23-0000000005.jsonl",
        ]
    );
    let read = whole(&read_all(&disk, Stream::Metrics));
    assert_eq!(read[..records.len()], plain_all(&records));
    assert_eq!(at(0).as_millis() % 86_400_000, 10 * 3_600_000);
}

#[test]
fn a_sync_from_another_thread_covers_what_was_appended() {
    let disk = farol_disk::CrashDisk::new();
    let mut journal = open(&disk, &small_settings());
    let syncer = journal.syncer();
    journal.append(&event(0, "kept")).unwrap();
    assert!(syncer.is_dirty());
    std::thread::spawn(move || syncer.sync().unwrap()).join().unwrap();
    for seed in 0..20 {
        let items = read_all(&disk.crash(seed), Stream::Events);
        assert_eq!(whole(&items).len(), 1);
    }
}

#[test]
fn a_follower_finds_the_journal_that_was_emptied_and_begun_anew_under_it() {
    for segments_before in [1, 3] {
        let disk = memory();
        for second in 0..segments_before {
            open(&disk, &small_settings()).append(&ordinary(Lane::Fast, second)).unwrap();
        }
        let mut follower = reader(&disk, Stream::Metrics, StartAt::Oldest);
        drain(&mut follower);
        for name in names(&disk) {
            disk.remove(&Path::new(DIR).join(name)).unwrap();
        }
        assert!(drain_patiently(&mut follower).is_empty(), "there is nothing new yet");
        let mut journal = open(&disk, &small_settings());
        for second in 10..12 {
            journal.append(&ordinary(Lane::Fast, second)).unwrap();
        }
        let items = drain_patiently(&mut follower);
        let seen: Vec<Plain> = lines(&items).iter().map(|line| plain(&line.record)).collect();
        let written = [ordinary(Lane::Fast, 10), ordinary(Lane::Fast, 11)];
        assert_eq!(seen, plain_all(&written), "after {segments_before} segments");
        journal.append(&ordinary(Lane::Fast, 12)).unwrap();
        assert_eq!(whole(&drain_patiently(&mut follower)).len(), 1, "and follows it");
    }
}

/// What comes in several looks: not everything is believed at the first.
fn drain_patiently(follower: &mut Reader) -> Vec<Item> {
    (0..6).flat_map(|_| drain(follower)).collect()
}
