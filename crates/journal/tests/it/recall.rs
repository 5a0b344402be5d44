//! What the events add up to: whatever the machine stops at, no more is recalled than was remembered,
//! and nothing that was synced is missing.

use std::{path::Path, sync::Arc};

use farol_disk::{CrashDisk, Disk, Fault, MemoryDisk};
use farol_journal::{Journal, Retention, Settings, recall, upkeep};
use farol_model::{
    Action, ActionStep, Alert, Delivered, Delivery, Labels, Lane, Memory, Phase, Record, Snapshot,
    State, Stream, Text, Timestamp, Transition, Turn,
};

use crate::history::{DIR, at, event, open, ordinary, small_settings};

fn alert(number: i64, phase: Phase) -> Alert {
    Alert {
        group: Text::from_static("host"),
        rule: Text::from_static("HostCpuHigh"),
        labels: Labels::from([("alertname", "HostCpuHigh"), ("cpu", &(number % 3).to_string())]),
        annotations: Labels::empty(),
        series: Labels::empty(),
        value: number as f64,
        phase,
        active_at: at(number),
        fired_at: Some(at(number - number % 3)),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: at(number),
        ended_at: None,
        firings: vec![at(number)],
        is_flapping: false,
        remedy: None,
    }
}

/// A kill in the midst of an hour must not make an alert begin anew that has been pending for long.
#[test]
fn an_alert_was_seen_for_as_long_as_the_machine_s_state_was_known() {
    let disk = CrashDisk::new();
    let mut journal = open(&disk, &small_settings());
    let pending = |number, phase| {
        Record::Alert(Transition {
            at: at(number),
            host: Text::from_static("pi"),
            turn: Turn::Pending,
            reason: None,
            alert: Arc::new(alert(number, phase)),
        })
    };
    journal.append(&pending(0, Phase::Pending)).unwrap();
    journal.append(&pending(1, Phase::Ended)).unwrap();
    let seen = |disk: &CrashDisk| -> Vec<Timestamp> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let memory = recall(&disk, Path::new(DIR)).unwrap().memory;
        let mut seen: Vec<Timestamp> = memory.alerts.values().map(|alert| alert.seen_at).collect();
        seen.sort();
        seen
    };
    assert_eq!(seen(&disk), [at(0), at(1)]);
    for (second, state) in [(900, State::Stable), (1800, State::Warning), (1900, State::Unknown)] {
        let Record::Snapshot(snapshot) = ordinary(Lane::Fast, second) else {
            unreachable!("it makes no other")
        };
        let snapshot = Snapshot { state, ..Snapshot::clone(&snapshot) };
        journal.append(&Record::Snapshot(Arc::new(snapshot))).unwrap();
    }
    assert_eq!(seen(&disk), [at(1), at(1800)]);
}

/// One record of each kind that is folded, and one that is not.
fn record(number: i64) -> Record {
    let host = Text::from_static("pi");
    let alert = alert(number, Phase::Firing);
    let episode = alert.episode().unwrap();
    match number % 4 {
        0 => event(number, "nothing to remember"),
        1 => Record::Alert(Transition {
            at: at(number),
            host,
            turn: Turn::Firing,
            reason: None,
            alert: Arc::new(alert),
        }),
        2 => Record::Delivery(Delivery {
            at: at(number),
            host,
            channel: Text::from_static("team"),
            group: Text::from_static("{}:{}"),
            episodes: vec![(episode, number % 8 == 2)],
            attempts: 1,
            outcome: Delivered::Sent { message: Some(number.to_string().into()) },
        }),
        _ => Record::Action(Action {
            at: at(number),
            host,
            id: number.to_string().into(),
            remedy: Text::from_static("cleanup"),
            alert: Some((Text::from_static("HostCpuHigh"), episode)),
            step: ActionStep::Intended { what: Text::from_static("remove what is old") },
        }),
    }
}

/// As a core does it: the sum goes first into each segment.
fn append(journal: &mut Journal, memory: &mut Memory, record: &Record) -> Option<()> {
    if journal.begins_segment(Stream::Events, record.at()) {
        let state = Memory { at: record.at(), ..memory.clone() };
        journal.append(&Record::State(Arc::new(state))).ok()?;
    }
    journal.append(record).ok()?;
    memory.apply(record);
    Some(())
}

fn settings() -> Settings {
    Settings { segment_bytes: 3000, ..small_settings() }
}

/// All sums that the records have had, the empty one first. A sum's time is when it was written.
fn sums(records: &[Record]) -> Vec<Memory> {
    let mut memory = Memory::default();
    let mut sums = vec![Memory::default()];
    for record in records {
        memory.apply(record);
        sums.push(Memory { at: Timestamp::default(), ..memory.clone() });
    }
    sums
}

fn recalled(disk: &(impl Disk + Clone + 'static)) -> Memory {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Memory { at: Timestamp::default(), ..recall(&disk, Path::new(DIR)).unwrap().memory }
}

#[derive(Default)]
struct Done {
    appended: Vec<Record>,
    synced: usize,
}

/// Two lives of one machine, with what the first remembered recalled by the second.
fn live(disk: &CrashDisk) -> Done {
    let mut done = Done::default();
    for life in 0..2 {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let Ok(recalled) = recall(&shared, Path::new(DIR)) else { return done };
        let Ok(mut journal) = Journal::open(Arc::clone(&shared), DIR, settings()) else {
            return done;
        };
        let mut memory = recalled.memory;
        for number in 0..24 {
            let record = record(life * 24 + number);
            if append(&mut journal, &mut memory, &record).is_none() {
                return done;
            }
            done.appended.push(record);
            if number % 3 == 2 {
                if journal.sync().is_err() {
                    return done;
                }
                done.synced = done.appended.len();
            }
        }
        upkeep(disk, Path::new(DIR), &settings(), journal.open_segments());
    }
    done
}

#[test]
fn what_is_recalled_after_a_crash_is_what_was_remembered_at_some_moment_after_the_last_sync() {
    let rehearsal = CrashDisk::new();
    let done = live(&rehearsal);
    assert_eq!(recalled(&rehearsal), sums(&done.appended)[48]);
    let operations = rehearsal.operations();
    assert!(operations > 60, "the story is too short to test much: {operations}");
    let all: Vec<Record> = (0..48).map(record).collect();
    let sums = sums(&all);
    for stop in 0..operations {
        let disk = CrashDisk::new();
        disk.fail_at(stop, Fault::Stop);
        let done = live(&disk);
        for seed in stop * 4..stop * 4 + 4 {
            let found = recalled(&disk.crash(seed));
            // The line whose append was interrupted may be there all the same.
            let last = (done.appended.len() + 1).min(all.len());
            let possible = &sums[done.synced..=last];
            assert!(possible.contains(&found), "stop {stop}, seed {seed}: {found:?}");
        }
    }
}

#[test]
fn a_sum_that_is_damaged_is_made_up_for_by_the_one_before() {
    let disk = MemoryDisk::new();
    let mut journal = open(&disk, &settings());
    let mut memory = Memory::default();
    let records: Vec<Record> = (0..30).map(record).collect();
    for record in &records {
        append(&mut journal, &mut memory, record).unwrap();
    }
    let newest = journal.head(Stream::Events).segment;
    assert!(newest > 2, "{newest}");
    let path = Path::new(DIR).join(format!("events-2026-11-22-{newest:010}.jsonl"));
    let mut bytes = disk.get(&path).unwrap();
    assert!(bytes.starts_with(b"{\"seq\":0"));
    bytes[200] ^= 1;
    disk.put(&path, bytes);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = recall(&shared, Path::new(DIR)).unwrap();
    assert_eq!(found.stats.damaged, 1);
    assert_eq!(recalled(&disk), sums(&records)[30]);
}

#[test]
fn events_without_any_sum_are_all_folded_and_none_is_an_empty_memory() {
    let disk = MemoryDisk::new();
    assert_eq!(recalled(&disk), Memory::default());
    let mut journal = open(&disk, &settings());
    let records: Vec<Record> = (0..30).map(record).collect();
    for record in &records {
        journal.append(record).unwrap();
    }
    assert_eq!(recalled(&disk), sums(&records)[30]);
}

#[test]
fn what_retention_took_is_in_the_sum_that_is_left() {
    let disk = MemoryDisk::new();
    let mut settings = settings();
    *settings.retention_mut(Stream::Events) = Retention { days: 1000, bytes: 3000 };
    let mut journal = open(&disk, &settings);
    let mut memory = Memory::default();
    let records: Vec<Record> = (0..40).map(record).collect();
    for record in &records {
        append(&mut journal, &mut memory, record).unwrap();
    }
    let report = upkeep(&disk, Path::new(DIR), &settings, journal.open_segments());
    assert!(!report.removed.is_empty());
    assert_eq!(recalled(&disk), sums(&records)[40]);
}
