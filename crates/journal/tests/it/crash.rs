//! A power failure at every single operation: what was synced is there, and what was not shows as
//! nothing worse than a torn end.

use std::path::Path;

use farol_disk::{CrashDisk, Fault};
use farol_journal::{Item, Journal, Settings, upkeep};
use farol_model::{Lane, Position, Record, Stream};

use crate::history::{
    DIR, Plain, event, open, ordinary, plain, plain_all, raws, read_all, small_settings,
};

/// What a run managed to do before the machine stopped.
#[derive(Default)]
struct Done {
    appended: Vec<(Position, Record)>,
    /// So many of them were there when the last successful sync began.
    synced: usize,
}

/// A short life: ticks of both lanes, events, syncs, rotations, upkeep, a restart.
fn live(disk: &CrashDisk) -> Done {
    let mut done = Done::default();
    for life in 0..2 {
        let Ok(mut journal) = Journal::open(
            std::sync::Arc::new(disk.clone()),
            DIR,
            Settings { segment_bytes: 2500, reserve_bytes: 4096, ..small_settings() },
        ) else {
            return done;
        };
        if one_life(disk, &mut journal, life * 1000, &mut done).is_none() {
            return done;
        }
    }
    done
}

fn one_life(disk: &CrashDisk, journal: &mut Journal, from: i64, done: &mut Done) -> Option<()> {
    for step in 0..12 {
        let lane = if step % 4 == 3 { Lane::Slow } else { Lane::Fast };
        append(journal, ordinary(lane, from + step), done)?;
        if step % 5 == 0 {
            append(journal, event(from + step, "something"), done)?;
        }
        if step % 3 == 2 {
            let before = done.appended.len();
            journal.sync().ok()?;
            done.synced = before;
        }
        if step == 8 {
            let open = journal.open_segments();
            upkeep(disk, Path::new(DIR), &small_settings(), open);
        }
    }
    Some(())
}

fn append(journal: &mut Journal, record: Record, done: &mut Done) -> Option<()> {
    let position = journal.append(&record).ok()?;
    done.appended.push((position, record));
    Some(())
}

#[test]
fn no_synced_line_is_lost_whatever_operation_the_machine_stops_at() {
    let rehearsal = CrashDisk::new();
    live(&rehearsal);
    let operations = rehearsal.operations();
    assert!(operations > 60, "the story is too short to test much: {operations}");
    for stop in 0..operations {
        let disk = CrashDisk::new();
        disk.fail_at(stop, Fault::Stop);
        let done = live(&disk);
        for seed in stop * 4..stop * 4 + 4 {
            check_after(&disk.crash(seed), &done, &format!("stop {stop}, seed {seed}"));
        }
    }
}

fn check_after(disk: &CrashDisk, done: &Done, story: &str) {
    for stream in [Stream::Metrics, Stream::Events] {
        let of_stream = |(position, _): &&(Position, Record)| position.stream == stream;
        let appended: Vec<_> = done.appended.iter().filter(of_stream).collect();
        let synced = done.appended[..done.synced].iter().filter(of_stream).count();
        check_stream(disk, stream, &appended, synced, story);
    }
    // Life goes on: nothing old is touched, and the new is found behind it.
    let before = read_all(disk, Stream::Metrics);
    let mut journal = open(disk, &small_settings());
    let fresh = ordinary(Lane::Fast, 5000);
    journal.append(&fresh).unwrap();
    let after = read_all(disk, Stream::Metrics);
    assert!(raws(&after).starts_with(&raws(&before)), "{story}");
    let Some(Item::Line(last)) = after.last() else { panic!("{story}: {after:?}") };
    assert_eq!(plain(&last.record), plain(&fresh), "{story}");
}

fn check_stream(
    disk: &CrashDisk,
    stream: Stream,
    appended: &[&(Position, Record)],
    synced: usize,
    story: &str,
) {
    let expected: Vec<Plain> = plain_all(appended.iter().map(|(_, record)| record));
    let mut found = Vec::new();
    for item in read_all(disk, stream) {
        match item {
            Item::Line(line) => {
                let place = appended.iter().position(|(position, _)| *position == line.position);
                // The line whose append was interrupted may be there, without our knowing.
                let Some(place) = place else { continue };
                assert!(line.complete, "{story}: {line:?}");
                assert_eq!(plain(&line.record), expected[place], "{story}");
                found.push(place);
            }
            Item::Damage(damage) => {
                let last_synced = appended[..synced].last().map(|(position, _)| *position);
                assert!(Some(damage.position) > last_synced, "{story}: {damage:?}");
            }
            Item::Gap(gap) => {
                let lost =
                    appended.iter().position(|(position, _)| position.segment >= gap.expected);
                assert!(lost.is_none_or(|place| place >= synced), "{story}: {gap:?}");
            }
        }
    }
    let all_synced: Vec<usize> = (0..synced).collect();
    assert!(found.starts_with(&all_synced), "{story}: {stream:?} has only {found:?}");
}

#[test]
fn an_input_output_error_at_any_operation_costs_at_most_its_own_record() {
    let rehearsal = CrashDisk::new();
    live_on(&rehearsal);
    for failing in 0..rehearsal.operations() {
        let disk = CrashDisk::new();
        disk.fail_at(failing, Fault::Io);
        let appended = live_on(&disk);
        for stream in [Stream::Metrics, Stream::Events] {
            let ours = appended.iter().filter(|record| record.stream() == stream);
            let lines = read_all(&disk, stream).into_iter().filter_map(|item| match item {
                Item::Line(line) => Some(plain(&line.record)),
                Item::Damage(_) | Item::Gap(_) => None,
            });
            assert_eq!(lines.collect::<Vec<_>>(), plain_all(ours), "failing {failing}");
        }
        assert!(appended.len() >= 23, "failing {failing}: only {} appended", appended.len());
    }
}

/// Goes on after errors, as the program does; returns what was appended.
fn live_on(disk: &CrashDisk) -> Vec<Record> {
    let settings = Settings { segment_bytes: 2500, ..small_settings() };
    let mut journal = open(disk, &settings);
    let mut appended = Vec::new();
    for step in 0..20 {
        let mut records = vec![ordinary(Lane::Fast, step)];
        if step % 5 == 0 {
            records.push(event(step, "something"));
        }
        for record in records {
            if journal.append(&record).is_ok() {
                appended.push(record);
            }
        }
        if step % 3 == 2 {
            drop(journal.sync());
        }
        if step % 7 == 6 {
            upkeep(disk, Path::new(DIR), &settings, journal.open_segments());
        }
    }
    appended
}
