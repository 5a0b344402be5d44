//! A power failure, an error or a full disk at every single operation of the upkeep and of imports:
//! with the journal applied again the answers are those of the plain model, and the work that was
//! interrupted is finished later.

use std::{path::Path, sync::Arc, time::Duration};

use farol_disk::{CrashDisk, Fault};
use farol_model::Timestamp;
use farol_store::{Config, Importer, Store, StoreError};

use crate::{
    model::{Answers, Model},
    scene::{
        Applied, DAY, DAYS, DIR, HOUR, MINUTE, WINDOW, all, apply, assert_same, assert_tidy,
        config, differences, key, numbered, open, ordinary, position, received, reopen, replay,
        rounds, settle,
    },
};

/// What happens in a life, in order.
#[derive(Clone, Debug)]
enum Act {
    Apply(Box<Applied>),
    Round,
    Import,
    Restart,
}

/// Long before everything else, in two days.
const IMPORTED: [i64; 2] = [DAY - 30 * DAYS, DAY - 28 * DAYS];

/// Windows of three samples in several slots of three days, cut and merged as they pass.
fn story() -> Vec<Act> {
    let hours = [2.0, 2.25, 3.75, 9.0, 10.0, 10.25, 24.5, 25.75, 26.0, 28.5, 49.0, 49.25, 51.0];
    let starts = hours.map(|hours| DAY + (hours * HOUR as f64) as i64);
    let windows = starts.into_iter().chain((0..5).map(|n| DAY + 52 * HOUR + n * WINDOW));
    let mut acts = Vec::new();
    let mut number = 0;
    for (place, start) in windows.enumerate() {
        for minute in [1, 2, 3] {
            let record = ordinary(start + minute * MINUTE, MINUTE);
            let position = position(&record, number);
            number += 1;
            acts.push(Act::Apply(Box::new(Applied { position, record, complete: true })));
        }
        match place {
            6 => acts.push(Act::Import),
            11 => acts.push(Act::Restart),
            _ => {}
        }
        acts.push(Act::Round);
    }
    acts
}

/// Samples that are sent, as another program does: each time some of now, some again, and some of days
/// ago; few snapshots between them.
fn story_of_received() -> Vec<Act> {
    let mut acts = Vec::new();
    let mut number = 0;
    let mut add = |record, acts: &mut Vec<Act>| {
        let position = position(&record, number);
        number += 1;
        acts.push(Act::Apply(Box::new(Applied { position, record, complete: true })));
    };
    for place in 0..26_i64 {
        let now = DAY + 20 * HOUR + place * 20 * MINUTE;
        let points = |start: i64| (0..4).map(move |n| (start + n * MINUTE, (n + place) as f64));
        let ended = [(now + 4 * MINUTE, farol_store::STALE)];
        let sent = vec![
            (key("sent", [("a", "1")]), points(now).chain(points(now - 20 * MINUTE)).collect()),
            (key("sent", [("a", "2")]), points(now).chain(ended).collect()),
            (key("old", [("from", "sender")]), points(DAY - 2 * DAYS + place * MINUTE).collect()),
        ];
        add(received(now, sent), &mut acts);
        if place % 5 == 0 {
            add(ordinary(now, MINUTE), &mut acts);
        }
        if place == 15 {
            acts.push(Act::Restart);
        }
        acts.push(Act::Round);
    }
    acts
}

fn stories() -> [(&'static str, Vec<Act>); 2] {
    [("lanes", story()), ("received", story_of_received())]
}

fn history(acts: &[Act]) -> Vec<Applied> {
    fn applied(act: &Act) -> Option<Applied> {
        match act {
            Act::Apply(applied) => Some(Applied::clone(applied)),
            Act::Round | Act::Import | Act::Restart => None,
        }
    }
    acts.iter().filter_map(applied).collect()
}

fn model(history: &[Applied]) -> Model {
    let mut model = Model::default();
    for applied in history {
        model.apply(&applied.record, applied.complete);
    }
    model
}

fn with_import(model: &Model) -> Model {
    with_days(model, &IMPORTED)
}

/// A day of an import is one file.
fn with_days(model: &Model, days: &[i64]) -> Model {
    let mut model = model.clone();
    for (at, value) in imported_points(days) {
        model.import(key("old", [("from", "elsewhere")]), at, value);
    }
    model
}

fn imported_points(days: &[i64]) -> Vec<(i64, f64)> {
    let points = |start: i64| (0..20).map(move |n| (start + n * MINUTE, n as f64 / 4.0));
    days.iter().copied().flat_map(points).collect()
}

fn import(disk: &CrashDisk) -> Result<(), StoreError> {
    let mut importer = Importer::new(Arc::new(disk.clone()), &config())?;
    let old = key("old", [("from", "elsewhere")]);
    let series = importer.series(old.name, old.labels);
    for (at, value) in imported_points(&IMPORTED) {
        importer.push(series, Timestamp::from_millis(at), value)?;
    }
    importer.finish().map(drop)
}

/// What a life managed to do.
#[derive(Debug, Default)]
struct Done {
    applied: Vec<Applied>,
    import: Option<Result<(), StoreError>>,
}

impl Done {
    /// What the store may answer: of an import that failed each day is there whole, or not at all.
    fn truths(&self, model: &Model) -> Vec<Model> {
        match self.import {
            None => vec![model.clone()],
            Some(Ok(())) => vec![with_import(model)],
            Some(Err(_)) => {
                let day = |day: i64| with_days(model, &[day]);
                vec![model.clone(), day(IMPORTED[0]), day(IMPORTED[1]), with_import(model)]
            }
        }
    }
}

/// Lives until something fails, as it does for ever once the machine has stopped.
fn live(disk: &CrashDisk, config: &Config, acts: &[Act]) -> Done {
    let mut done = Done::default();
    let Ok(opened) = Store::open(Arc::new(disk.clone()), config.clone()) else { return done };
    let mut store = opened.store;
    let mut upkeep = store.upkeep();
    for act in acts {
        match act {
            Act::Apply(applied) => {
                apply(&mut store, applied);
                done.applied.push(Applied::clone(applied));
            }
            Act::Round => {
                if !upkeep.round().errors.is_empty() {
                    break;
                }
            }
            Act::Import => {
                done.import = Some(import(disk));
                if matches!(done.import, Some(Err(_))) {
                    break;
                }
            }
            Act::Restart => {
                drop((store, upkeep));
                let Ok(opened) = Store::open(Arc::new(disk.clone()), config.clone()) else {
                    return done;
                };
                store = replay(opened, &done.applied);
                upkeep = store.upkeep();
            }
        }
    }
    done
}

fn assert_one_of(found: &Answers, truths: &[Model], story: &str) {
    let tries: Vec<_> = truths.iter().map(|truth| differences(found, &truth.all(None))).collect();
    let best = tries.iter().min_by_key(|differences| differences.len()).unwrap();
    assert!(best.is_empty(), "{story}\n{}", best.join("\n"));
}

/// Every operation of a story in turn; in the short form every few, from another start for each test.
fn operations(total: u64, short_step: usize) -> impl Iterator<Item = u64> {
    (0..total).step_by(rounds(short_step, 1))
}

#[test]
fn a_power_failure_at_any_operation_loses_and_invents_nothing() {
    for (of, acts) in stories() {
        let rehearsal = CrashDisk::new();
        let whole = live(&rehearsal, &config(), &acts);
        assert_eq!(whole.applied.len(), history(&acts).len());
        let total = rehearsal.operations();
        assert!(total > 100, "the story is too short to test much: {total}");
        for stop in operations(total, 1) {
            let disk = CrashDisk::new();
            disk.fail_at(stop, Fault::Stop);
            let done = live(&disk, &config(), &acts);
            let model = model(&done.applied);
            for seed in stop * 2..stop * 2 + 2 {
                let story = format!("{of}, stop {stop}, seed {seed}");
                check_after(&disk.crash(seed), &done, &model, &story);
            }
        }
    }
}

fn check_after(disk: &CrashDisk, done: &Done, model: &Model, story: &str) {
    let truths = done.truths(model);
    let store = reopen(disk, &config(), &done.applied);
    assert_one_of(&all(&store, None), &truths, story);
    settle(&store, story);
    assert_one_of(&all(&store, None), &truths, &format!("{story}, work finished"));
    drop(store);
    assert_tidy(disk.memory(), story);
    let store = reopen(disk, &config(), &done.applied);
    assert_one_of(&all(&store, None), &truths, &format!("{story}, opened again"));
    if done.import.is_some() {
        // Whoever imports once more has all of it, and nothing twice.
        import(disk).unwrap();
        settle(&store, story);
        let truth = with_import(model).all(None);
        assert_same(&all(&store, None), &truth, &format!("{story}, imported again"));
    }
}

/// The same with so little kept that whole blocks go while others are made.
#[test]
fn a_power_failure_while_old_blocks_go_costs_only_whole_old_windows() {
    let config = Config { retention: Duration::from_secs(3 * 60 * 60), ..config() };
    let acts: Vec<_> = story().into_iter().filter(|act| !matches!(act, Act::Import)).collect();
    let rehearsal = CrashDisk::new();
    live(&rehearsal, &config, &acts);
    let kept = model(&history(&acts)).windows();
    let in_the_end = windows_of(&all(&open(&rehearsal, &config).store, None));
    assert!(in_the_end.len() < kept.len() / 2, "too little goes: {in_the_end:?}");
    for stop in operations(rehearsal.operations(), 1) {
        let disk = CrashDisk::new();
        disk.fail_at(stop, Fault::Stop);
        let done = live(&disk, &config, &acts);
        let model = model(&done.applied);
        for seed in stop * 2..stop * 2 + 2 {
            let story = format!("stop {stop}, seed {seed}");
            let disk = disk.crash(seed);
            let store = reopen(&disk, &config, &done.applied);
            assert_whole_windows(&all(&store, None), &model, &story);
            settle(&store, &story);
            assert_whole_windows(&all(&store, None), &model, &format!("{story}, work finished"));
            drop(store);
            assert_tidy(disk.memory(), &story);
        }
    }
}

/// Windows may be missing, the oldest first; those that are there are whole.
fn assert_whole_windows(found: &Answers, model: &Model, story: &str) {
    let present = windows_of(found);
    let expected = model.windows();
    let newest = expected.last();
    assert_eq!(present.last(), newest, "{story}: the newest is gone");
    let oldest_kept = present.first();
    // Blocks of a merge go together, so that what goes is a beginning.
    let missing: Vec<_> = expected.difference(&present).collect();
    assert!(missing.iter().all(|window| Some(*window) < oldest_kept), "{story}: {missing:?}");
    assert_same(found, &model.only(&present).all(None), story);
    // Whoever is younger than the retention stays.
    let Some(newest) = newest else { return };
    let young = expected.iter().filter(|window| *window + 12 > *newest);
    for window in young {
        assert!(present.contains(window), "{story}: {window} is young and gone");
    }
}

/// The windows of the samples, markers aside: a marker may lie in the window after.
fn windows_of(answers: &Answers) -> std::collections::BTreeSet<i64> {
    let points = answers.values().flatten();
    let samples = points.filter(|(_, bits)| !farol_store::is_stale(f64::from_bits(**bits)));
    samples.map(|(at, _)| crate::model::window(*at)).collect()
}

/// Goes on after errors, as the program does: opens again, imports again.
fn live_on(disk: &CrashDisk, acts: &[Act], story: &str) -> Store {
    let start = || {
        let open = || Store::open(Arc::new(disk.clone()), config());
        open().or_else(|_| open()).unwrap()
    };
    let mut store = start().store;
    let mut upkeep = store.upkeep();
    let mut applied = Vec::new();
    for act in acts {
        match act {
            Act::Apply(record) => {
                apply(&mut store, record);
                applied.push(Applied::clone(record));
            }
            Act::Round => drop(upkeep.round()),
            Act::Import => {
                if import(disk).is_err() {
                    import(disk).unwrap_or_else(|error| panic!("{story}: {error}"));
                }
            }
            Act::Restart => {
                drop((store, upkeep));
                store = replay(start(), &applied);
                upkeep = store.upkeep();
            }
        }
    }
    store
}

#[test]
fn an_input_output_error_at_any_operation_is_made_good_later() {
    for (of, acts) in stories() {
        let truth = match acts.iter().any(|act| matches!(act, Act::Import)) {
            true => with_import(&model(&history(&acts))),
            false => model(&history(&acts)),
        };
        let rehearsal = CrashDisk::new();
        live_on(&rehearsal, &acts, "rehearsal");
        for failing in operations(rehearsal.operations(), 1) {
            let story = format!("{of}, failing {failing}");
            let disk = CrashDisk::new();
            disk.fail_at(failing, Fault::Io);
            let store = live_on(&disk, &acts, &story);
            settle(&store, &story);
            assert_same(&all(&store, None), &truth.all(None), &story);
            drop(store);
            assert_tidy(disk.memory(), &story);
            let store = reopen(&disk, &config(), &history(&acts));
            assert_same(&all(&store, None), &truth.all(None), &format!("{story}, opened again"));
        }
    }
}

#[test]
fn an_error_is_told_with_the_file_it_is_about() {
    let acts = story();
    let rehearsal = CrashDisk::new();
    live(&rehearsal, &config(), &acts);
    let mut told = 0;
    for failing in operations(rehearsal.operations(), 7) {
        let disk = CrashDisk::new();
        disk.fail_at(failing, Fault::Io);
        let Ok(opened) = Store::open(Arc::new(disk.clone()), config()) else { continue };
        let mut store = opened.store;
        let mut upkeep = store.upkeep();
        for act in &acts {
            match act {
                Act::Apply(record) => apply(&mut store, record),
                Act::Round => {
                    let errors = upkeep.round().errors;
                    told += errors.len();
                    for error in errors {
                        assert!(matches!(error, StoreError::Io { .. }), "{failing}: {error:?}");
                        assert!(error.to_string().contains(DIR), "{failing}: {error}");
                    }
                }
                Act::Import | Act::Restart => {}
            }
        }
    }
    assert!(told > 5, "only {told}");
}

#[test]
fn a_full_disk_costs_nothing_and_the_work_goes_on_when_there_is_room() {
    let acts: Vec<_> = story().into_iter().filter(|act| !matches!(act, Act::Import)).collect();
    goes_on_on_a_full_disk(&acts);
}

#[test]
fn a_full_disk_costs_nothing_of_what_was_received() {
    goes_on_on_a_full_disk(&story_of_received());
}

fn goes_on_on_a_full_disk(acts: &[Act]) {
    let history = history(acts);
    let truth = model(&history);
    let rehearsal = CrashDisk::new();
    live(&rehearsal, &config(), acts);
    let needed = rehearsal.memory().used();
    let mut told = 0;
    for room in (0..needed).step_by(rounds(211, 7)) {
        let disk = CrashDisk::new();
        disk.set_room(Some(room));
        let story = format!("room for {room}");
        let mut store = live_through_full(&disk, acts, &mut told);
        assert_same(&all(&store, None), &truth.all(None), &story);
        drop(store);
        store = reopen(&disk, &config(), &history);
        assert_same(&all(&store, None), &truth.all(None), &format!("{story}, opened again"));
        disk.set_room(None);
        settle(&store, &story);
        assert_same(&all(&store, None), &truth.all(None), &format!("{story}, with room again"));
        drop(store);
        assert_tidy(disk.memory(), &story);
    }
    assert!(told > 20, "only {told}");
}

/// Every error must be the one that people understand.
fn live_through_full(disk: &CrashDisk, acts: &[Act], told: &mut usize) -> Store {
    let mut store = open(disk, &config()).store;
    let mut upkeep = store.upkeep();
    for act in acts {
        match act {
            Act::Apply(record) => apply(&mut store, record),
            Act::Round => {
                let errors = upkeep.round().errors;
                *told += errors.len();
                let full = |error: &StoreError| matches!(error, StoreError::Full { .. });
                assert!(errors.iter().all(full), "{errors:?}");
            }
            Act::Import | Act::Restart => {}
        }
    }
    store
}

/// The machine stops again and again while it is still mending what the last stop left.
#[test]
fn stop_after_stop_comes_to_the_same_end() {
    let acts = story();
    let history = history(&acts);
    let truth = model(&history);
    for first in (0..200).step_by(rounds(23, 1)) {
        let mut disk = CrashDisk::new();
        for life in 0..6 {
            disk.fail_at(first / 2 + 7 * life, Fault::Stop);
            let acts: Vec<_> =
                acts.iter().filter(|act| !matches!(act, Act::Import)).cloned().collect();
            live(&disk, &config(), &acts);
            disk = disk.crash(first * 10 + life);
        }
        let story = format!("first {first}");
        let store = reopen(&disk, &config(), &history);
        settle(&store, &story);
        assert_same(&all(&store, None), &truth.all(None), &story);
        drop(store);
        assert_tidy(disk.memory(), &story);
    }
}

#[test]
fn leftovers_of_an_interrupted_write_are_cleared_and_never_read() {
    let disk = CrashDisk::new();
    let history = numbered((0..8).map(|n| ordinary(DAY + n * WINDOW, MINUTE)));
    let store = reopen(&disk, &config(), &history);
    settle(&store, "written");
    drop(store);
    let block = disk.memory().paths().into_iter().find(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name != "lock" && path.parent() == Some(Path::new(DIR))
    });
    let block = block.unwrap();
    let mut half = disk.memory().get(&block).unwrap();
    half.truncate(half.len() / 2);
    let mut leftover = block.into_os_string();
    leftover.push(".tmp");
    disk.put(Path::new(&leftover), half);
    let store = reopen(&disk, &config(), &history);
    settle(&store, "leftover");
    assert_same(&all(&store, None), &model(&history).all(None), "leftover");
    drop(store);
    assert!(disk.memory().get(Path::new(&leftover)).is_none());
}
