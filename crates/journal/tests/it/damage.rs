//! Damage is skipped, counted and named; nothing that was not written is ever stated.

use std::path::{Path, PathBuf};

use farol_disk::MemoryDisk;
use farol_journal::{Damage, Decoder, Item, Settings, upkeep};
use farol_model::{Lane, Record, Stream};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::history::{
    DIR, Plain, drain, lines, memory, open, ordinary, plain, plain_all, read_all, small_settings,
};

const FIRST: &str = "metrics-2026-11-22-0000000001.jsonl";

/// A segment of a full line and sparse ones, closed by a restart.
fn scene(seconds: i64, settings: &Settings) -> (MemoryDisk, Vec<Record>) {
    let disk = memory();
    let records: Vec<_> = (0..seconds).map(|second| ordinary(Lane::Fast, second)).collect();
    let mut journal = open(&disk, settings);
    for record in &records {
        journal.append(record).unwrap();
    }
    drop(journal);
    open(&disk, settings).append(&ordinary(Lane::Fast, 100_000)).unwrap();
    (disk, records)
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn damages(items: &[Item]) -> Vec<&Damage> {
    fn damage(item: &Item) -> Option<&Damage> {
        match item {
            Item::Damage(damage) => Some(damage),
            Item::Line(_) | Item::Gap(_) => None,
        }
    }
    items.iter().filter_map(damage).collect()
}

/// Everything stated must be true: a whole snapshot equals the written one, a part of one states
/// only what was written at that time.
fn assert_true(items: &[Item], expected: &[Plain], story: &str) -> usize {
    let mut whole = 0;
    for line in lines(items) {
        let said = plain(&line.record);
        let Plain::Snapshot(said) = said else { panic!("{story}") };
        let truth = expected.iter().find_map(|truth| match truth {
            Plain::Snapshot(truth) if truth.at == said.at => Some(truth),
            Plain::Snapshot(_) | Plain::Event(_) | Plain::Received(..) => None,
        });
        let truth = truth.unwrap_or_else(|| panic!("{story}: never written: {line:?}"));
        assert!(said.samples.iter().all(|sample| truth.samples.contains(sample)), "{story}");
        assert!(!line.complete || said.samples == truth.samples, "{story}: {line:?}");
        whole += usize::from(line.complete);
    }
    whole
}

#[test]
fn one_flipped_bit_anywhere_states_nothing_wrong_and_costs_one_line() {
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let (disk, mut records) = scene(4, &settings);
    records.push(ordinary(Lane::Fast, 100_000));
    let expected = plain_all(&records);
    let good = disk.get(&path(FIRST)).unwrap();
    let sound = read_all(&disk, Stream::Metrics);
    assert_eq!(lines(&sound).len(), 5);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        disk.put(&path(FIRST), bytes);
        let items = read_all(&disk, Stream::Metrics);
        let story = format!("byte {at}");
        assert_true(&items, &expected, &story);
        // A lost newline makes one bad line of two.
        assert!(lines(&items).len() >= 3, "{story}");
        assert!(!damages(&items).is_empty(), "{story}");
        for damage in damages(&items) {
            assert_eq!(damage.file, FIRST);
            assert!(!damage.what.is_empty());
        }
    }
}

#[test]
fn without_its_base_a_sparse_line_states_only_what_it_names() {
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let (disk, records) = scene(63, &settings);
    let mut bytes = disk.get(&path(FIRST)).unwrap();
    bytes[30] ^= 1;
    disk.put(&path(FIRST), bytes);
    let items = read_all(&disk, Stream::Metrics);
    let expected = plain_all(&records);
    let complete: Vec<_> = lines(&items).iter().map(|line| line.complete).collect();
    let withheld = complete.iter().filter(|complete| !**complete).count();
    assert_eq!(withheld, 59, "until the next full line");
    assert!(complete[59..].iter().all(|complete| *complete));
    let Record::Snapshot(part) = &lines(&items)[0].record else { panic!() };
    assert_eq!(part.samples.len(), 1, "the one value that changed");
    assert_true(&items[..items.len() - 1], &expected, "base damaged");
}

#[test]
fn a_damaged_frame_costs_only_itself() {
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let (disk, mut records) = scene(700, &settings);
    records.push(ordinary(Lane::Fast, 100_000));
    let expected = plain_all(&records);
    let journal = open(&disk, &settings);
    let report = upkeep(&disk, Path::new(DIR), &settings, journal.open_segments());
    assert_eq!(report.compressed, [format!("{FIRST}.zst")]);
    let packed = path(&format!("{FIRST}.zst"));
    let good = disk.get(&packed).unwrap();
    assert_eq!(lines(&read_all(&disk, Stream::Metrics)).len(), 701);
    for at in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        disk.put(&packed, bytes);
        let items = read_all(&disk, Stream::Metrics);
        let story = format!("byte {at}");
        assert_true(&items, &expected, &story);
        let served = lines(&items).len();
        assert!(served >= 401, "{story}: only {served}");
        assert!(served == 701 || !damages(&items).is_empty(), "{story}: lost without a word");
        let positions: Vec<_> = lines(&items).iter().map(|line| line.position).collect();
        assert!(positions.is_sorted(), "{story}");
    }
}

#[test]
fn a_cut_file_is_torn_at_its_end_and_says_so() {
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    for compressed in [false, true] {
        let (disk, mut records) = scene(20, &settings);
        records.push(ordinary(Lane::Fast, 100_000));
        let expected = plain_all(&records);
        let mut name = FIRST.to_string();
        if compressed {
            let journal = open(&disk, &settings);
            upkeep(&disk, Path::new(DIR), &settings, journal.open_segments());
            name.push_str(".zst");
        }
        let good = disk.get(&path(&name)).unwrap();
        for len in (0..good.len()).step_by(23) {
            disk.put(&path(&name), good[..len].to_vec());
            let items = read_all(&disk, Stream::Metrics);
            assert_true(&items, &expected, &format!("{name} cut to {len}"));
            assert!(damages(&items).len() <= 2);
            assert!(damages(&items).iter().all(|damage| damage.file == name));
        }
    }
}

#[test]
fn a_repeated_line_is_dropped_and_counted() {
    let settings = Settings { segment_bytes: 1 << 20, ..small_settings() };
    let (disk, records) = scene(3, &settings);
    let mut bytes = disk.get(&path(FIRST)).unwrap();
    bytes.extend_from_within(..);
    disk.put(&path(FIRST), bytes);
    let mut reader = crate::history::reader(&disk, Stream::Metrics, farol_journal::StartAt::Oldest);
    let items = drain(&mut reader);
    assert_eq!(lines(&items).len(), records.len() + 1);
    assert_eq!(reader.stats().repeats, 3);
    assert!(damages(&items).is_empty());
}

#[test]
fn a_line_of_a_later_version_is_named_and_skipped() {
    let disk = memory();
    let mut line = br#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"omen""#.to_vec();
    let crc = crc32fast::hash(&line);
    line.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}\n").as_bytes());
    disk.put(&path(FIRST), line);
    let items = read_all(&disk, Stream::Metrics);
    assert_eq!(items.len(), 1);
    assert!(damages(&items)[0].what.contains("omen"), "{items:?}");
}

proptest! {
    /// A checksum can be right by chance or by malice: what is then read is judged, not trusted.
    #[test]
    fn a_line_changed_beneath_a_right_checksum_never_panics(
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let (disk, _) = scene(3, &small_settings());
        let file = disk.get(&path(FIRST)).unwrap();
        let mut decoder = Decoder::new();
        for line in file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut body = line[..line.len() - 18].to_vec();
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            body.truncate(cut.map_or(body.len(), |cut| cut.index(body.len())));
            let crc = crc32fast::hash(&body);
            body.extend_from_slice(format!(",\"crc\":\"{crc:08x}\"}}").as_bytes());
            drop(decoder.decode(&body));
            drop(decoder.decode(line));
        }
    }

    #[test]
    fn arbitrary_bytes_as_a_file_are_read_to_the_end(bytes in vec(any::<u8>(), 0..2000)) {
        for name in [FIRST.to_string(), format!("{FIRST}.zst")] {
            let disk = memory();
            disk.put(&path(&name), bytes.clone());
            prop_assert!(lines(&read_all(&disk, Stream::Metrics)).is_empty());
        }
    }
}
