//! Damage is named, costs only what it hit, and nothing is deleted: what is on the disk is judged,
//! never trusted, and a value that was never stored is never answered.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::MemoryDisk;
use farol_model::Timestamp;
use farol_store::{BlockReport, Importer, Opened, Store, StoreError, is_stale, verify};

use crate::{
    model::Answers,
    scene::{
        Applied, DAY, DAYS, DIR, HOUR, MINUTE, Pair, answers, assert_same, config, files, key,
        ordinary, replay, rounds, whole,
    },
};

const INTERVAL: i64 = 5 * MINUTE;

/// A good store with a block of every kind, and what it answers.
struct Scene {
    files: Vec<(PathBuf, Vec<u8>)>,
    history: Vec<Applied>,
    truth: Answers,
    blocks: Vec<Block>,
}

#[derive(Clone)]
struct Block {
    path: PathBuf,
    kind: &'static str,
    good: Vec<u8>,
    oldest: i64,
    newest: i64,
}

fn scene() -> Scene {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    import(&disk, &mut pair);
    for n in 0..330 {
        pair.apply(ordinary(DAY + n * INTERVAL, INTERVAL), true);
    }
    for _ in 0..6 {
        pair.round();
    }
    pair.assert_equal("the scene");
    let reports = verify(&disk, Path::new(DIR)).unwrap();
    let mut kinds: Vec<_> = reports.iter().map(|report| report.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["15m", "15s", "24h", "2h", "5m", "import"], "{reports:?}");
    let blocks = reports.iter().map(|report| block(&disk, report)).collect();
    let truth = pair.model.all(None);
    Scene { files: files(&disk), history: pair.history, truth, blocks }
}

fn import(disk: &MemoryDisk, pair: &mut Pair) {
    let mut importer = Importer::new(Arc::new(disk.clone()), &config()).unwrap();
    for name in ["old_a", "old_b"] {
        let old = key(name, [("from", "elsewhere")]);
        let series = importer.series(old.name.clone(), old.labels.clone());
        for n in 0..60 {
            let at = DAY - 9 * DAYS + n * MINUTE;
            importer.push(series, Timestamp::from_millis(at), (n * n) as f64 / 4.0).unwrap();
            pair.model.import(old.clone(), at, (n * n) as f64 / 4.0);
        }
    }
    importer.finish().unwrap();
}

fn block(disk: &MemoryDisk, report: &BlockReport) -> Block {
    assert!(report.damage.is_empty(), "{report:?}");
    let path = Path::new(DIR).join(&report.file);
    let good = disk.get(&path).unwrap();
    assert_eq!(good.len() as u64, report.bytes);
    let oldest = report.oldest.unwrap().as_millis();
    let newest = report.newest.unwrap().as_millis();
    Block { path, kind: report.kind, good, oldest, newest }
}

impl Scene {
    /// The store with one file changed.
    fn with(&self, block: &Block, bytes: &[u8]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        for (path, good) in &self.files {
            disk.put(path, good.clone());
        }
        disk.put(&block.path, bytes.to_vec());
        disk
    }

    /// All that is promised of a store with a file that is not what it should be.
    fn check(&self, block: &Block, bytes: &[u8], story: &str) {
        let story = &format!("{} ({}): {story}", block.path.display(), block.kind);
        let disk = self.with(block, bytes);
        assert_verify_names(&disk, block, story);
        let before = disk.paths();
        let opened = Store::open_read_only(Arc::new(disk.clone()), config()).unwrap();
        self.check_answers(opened, block, &format!("{story}, read only"));
        assert_eq!(disk.paths(), before, "{story}: a reader renames nothing");
        let opened = Store::open(Arc::new(disk.clone()), config()).unwrap();
        let store = self.check_answers(opened, block, story);
        // Nothing that could not be read whole is merged away.
        store.upkeep().round();
        let held = |path: &PathBuf| disk.get(path).is_some_and(|held| held == bytes);
        assert!(disk.paths().iter().any(held), "{story}: the file is gone");
        assert_verify_names(&disk, block, &format!("{story}, afterwards"));
    }

    fn check_answers(&self, opened: Opened, block: &Block, story: &str) -> Store {
        let set_aside: Vec<_> = opened
            .set_aside
            .iter()
            .map(|(path, error)| (path.clone(), error.to_string()))
            .collect();
        let store = replay(opened, &self.history);
        let mut selection = store.reader().select(&[], whole(), None);
        let found = answers(&mut selection, whole());
        let lost = self.compare(&found, block, story);
        let mut told: Vec<_> = selection.damage().iter().map(ToString::to_string).collect();
        told.extend(
            set_aside.into_iter().map(|(path, error)| format!("{}: {error}", path.display())),
        );
        let name = block.path.file_name().unwrap().to_str().unwrap();
        assert!(told.iter().all(|told| told.contains(name)), "{story}: {told:?}");
        assert!(!lost || !told.is_empty(), "{story}: lost without a word");
        assert_eq!(told.is_empty(), store.stats().damaged == 0, "{story}: counted");
        store
    }

    /// Whether anything of the file is missing. What is there must be true, and everything else whole:
    /// markers within a few intervals of the file's ends may differ, as its neighbours are gone.
    fn compare(&self, found: &Answers, block: &Block, story: &str) -> bool {
        let border = 4 * INTERVAL;
        let near = (block.oldest - border)..=(block.newest + border);
        let inside = block.oldest..=block.newest;
        for (key, points) in found {
            for (at, bits) in points {
                let truth = self.truth.get(key).and_then(|points| points.get(at));
                let end = is_stale(f64::from_bits(*bits)) && near.contains(at);
                assert!(end || truth == Some(bits), "{story}: {key:?} at {at} was never stored");
            }
        }
        let mut lost = false;
        for (key, points) in &self.truth {
            for (at, bits) in points {
                let is_there = found.get(key).and_then(|points| points.get(at)) == Some(bits);
                lost |= !is_there;
                let may_miss =
                    inside.contains(at) || is_stale(f64::from_bits(*bits)) && near.contains(at);
                assert!(is_there || may_miss, "{story}: {key:?} at {at} is missing");
            }
        }
        lost
    }
}

fn assert_verify_names(disk: &MemoryDisk, block: &Block, story: &str) {
    let reports = verify(disk, Path::new(DIR)).unwrap();
    let name = block.path.file_name().unwrap().to_str().unwrap();
    let about: Vec<_> = reports.iter().filter(|report| report.file.contains(name)).collect();
    let named = about.iter().any(|report| !report.damage.is_empty());
    assert!(named, "{story}: not named by verify: {about:?}");
    let others = reports.iter().filter(|report| !report.file.contains(name));
    assert!(others.into_iter().all(|report| report.damage.is_empty()), "{story}");
}

/// All positions at both ends, where headers and footers are, and some of those between.
fn positions(len: usize, edge: usize, between: usize) -> impl Iterator<Item = usize> {
    let step = (len / between).max(1);
    let is_chosen = move |at: &usize| *at < edge || *at + edge >= len || at.is_multiple_of(step);
    (0..len).filter(is_chosen)
}

fn edges() -> (usize, usize) {
    (rounds(20, usize::MAX / 2), rounds(16, usize::MAX / 2))
}

#[test]
fn one_flipped_bit_anywhere_is_named_and_costs_only_what_it_hit() {
    let scene = scene();
    let (edge, between) = edges();
    for block in one_of_each_kind(&scene) {
        for at in positions(block.good.len(), edge, between) {
            let mut bytes = block.good.clone();
            bytes[at] ^= 1 << (at % 8);
            scene.check(&block, &bytes, &format!("byte {at} of {}", bytes.len()));
        }
    }
}

/// The first of each: the others differ only in their times.
fn one_of_each_kind(scene: &Scene) -> Vec<Block> {
    let mut blocks = BTreeMap::new();
    for block in &scene.blocks {
        blocks.entry(block.kind).or_insert_with(|| block.clone());
    }
    assert_eq!(blocks.len(), 6);
    blocks.into_values().collect()
}

#[test]
fn a_damaged_chunk_costs_one_series_and_not_its_neighbours() {
    let scene = scene();
    let day = scene.blocks.iter().find(|block| block.kind == "24h").unwrap();
    let samples = |answers: &Answers| -> BTreeMap<_, _> {
        answers.iter().map(|(key, points)| (key.clone(), points.len())).collect()
    };
    let all = samples(&scene.truth);
    // Somewhere there is a byte that costs just one of the five.
    let costs_one = (0..day.good.len()).step_by(29).any(|at| {
        let mut bytes = day.good.clone();
        bytes[at] ^= 0x20;
        let disk = scene.with(day, &bytes);
        let opened = Store::open_read_only(Arc::new(disk), config()).unwrap();
        let store = replay(opened, &scene.history);
        let mut selection = store.reader().select(&[], whole(), None);
        let left = samples(&answers(&mut selection, whole()));
        let fewer = all.iter().filter(|(key, count)| left.get(*key) != Some(*count)).count();
        fewer == 1
    });
    assert!(costs_one);
}

#[test]
fn a_file_that_was_cut_is_named_and_the_rest_serves() {
    let scene = scene();
    let (edge, between) = edges();
    for block in one_of_each_kind(&scene) {
        for len in positions(block.good.len(), edge / 2, between) {
            scene.check(&block, &block.good[..len], &format!("cut to {len}"));
        }
    }
}

#[test]
fn whatever_is_found_in_place_of_a_file_does_no_harm() {
    let scene = scene();
    for block in &scene.blocks {
        let good = &block.good;
        scene.check(block, b"", "emptied");
        scene.check(block, b"not a block at all\n", "a text");
        scene.check(block, &vec![0; good.len()], "zeros");
        scene.check(block, &vec![0xff; good.len()], "ones");
        scene.check(block, &[good.as_slice(), b"\0"].concat(), "a byte more");
        scene.check(block, &[good.as_slice(), good].concat(), "twice");
        let mut turned = good.clone();
        turned.reverse();
        scene.check(block, &turned, "backwards");
        let mut last_sector_zero = good.clone();
        let from = good.len().saturating_sub(512);
        last_sector_zero[from..].fill(0);
        scene.check(block, &last_sector_zero, "a last sector that was never written");
    }
}

/// A good block under the name of another states wrong times: it must be found out, or be harmless.
#[test]
fn a_block_under_the_name_of_another_states_nothing_wrong() {
    let scene = scene();
    let by_kind = one_of_each_kind(&scene);
    for block in &by_kind {
        for other in by_kind.iter().filter(|other| other.kind != block.kind) {
            let disk = scene.with(block, &other.good);
            let opened = Store::open(Arc::new(disk), config()).unwrap();
            let store = replay(opened, &scene.history);
            let found = answers(&mut store.reader().select(&[], whole(), None), whole());
            scene.compare(&found, block, &format!("{} as {}", other.kind, block.kind));
        }
    }
}

#[test]
fn files_that_are_not_the_stores_are_left_alone() {
    let scene = scene();
    let disk = MemoryDisk::new();
    for (path, good) in &scene.files {
        disk.put(path, good.clone());
    }
    let strangers = ["README", "notes.txt", "x.block.bak", "lost+found.damaged"];
    for name in strangers {
        disk.put(&Path::new(DIR).join(name), name.as_bytes().to_vec());
    }
    let opened = Store::open(Arc::new(disk.clone()), config()).unwrap();
    let store = replay(opened, &scene.history);
    store.upkeep().round();
    let found = answers(&mut store.reader().select(&[], whole(), None), whole());
    assert_same(&found, &scene.truth, "with strangers");
    for name in strangers {
        let held = disk.get(&Path::new(DIR).join(name));
        assert_eq!(held.as_deref(), Some(name.as_bytes()), "{name}");
    }
}

/// What could not be read stays out of the way of what comes: the window's journal applied again is
/// stored anew beside it.
#[test]
fn a_window_whose_block_is_damaged_is_derived_again_from_the_journal() {
    let scene = scene();
    let derived = |block: &&Block| ["15m", "2h", "24h"].contains(&block.kind);
    for block in scene.blocks.iter().filter(derived) {
        let disk = scene.with(block, &block.good[..block.good.len() - 1]);
        let mut opened = Store::open(Arc::new(disk.clone()), config()).unwrap();
        assert_eq!(opened.set_aside.len(), 1);
        opened.replay_from = None;
        let store = replay(opened, &scene.history);
        let mut upkeep = store.upkeep();
        for _ in 0..4 {
            upkeep.round();
        }
        let found = answers(&mut store.reader().select(&[], whole(), None), whole());
        assert_same(&found, &scene.truth, &format!("{} derived again", block.path.display()));
    }
}

#[test]
fn a_second_writer_is_refused_and_told_which_file_is_locked() {
    let disk = MemoryDisk::new();
    let first = Store::open(Arc::new(disk.clone()), config()).unwrap();
    let error = Store::open(Arc::new(disk.clone()), config()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(DIR), "{error}");
    Store::open_read_only(Arc::new(disk.clone()), config()).unwrap();
    drop(first);
    Store::open(Arc::new(disk), config()).unwrap();
}

#[test]
fn verify_counts_what_is_there() {
    let scene = scene();
    let disk = MemoryDisk::new();
    for (path, good) in &scene.files {
        disk.put(path, good.clone());
    }
    let store = Store::open(Arc::new(disk.clone()), config()).unwrap().store;
    let stats = store.stats();
    let mut reports = verify(&disk, Path::new(DIR)).unwrap();
    let bytes: u64 = reports.iter().map(|report| report.bytes).sum();
    assert_eq!(bytes, stats.bytes);
    // What was down-sampled is counted apart.
    reports.retain(|report| !["15s", "5m"].contains(&report.kind));
    assert_eq!(reports.iter().map(|report| report.samples).sum::<u64>(), stats.block_samples);
    assert_eq!(reports.len() as u64, stats.blocks);
    let oldest = reports.iter().filter_map(|report| report.oldest).min();
    let newest = reports.iter().filter_map(|report| report.newest).max();
    assert_eq!((oldest, newest), (stats.oldest, stats.newest));
    assert!(newest.unwrap().as_millis() > DAY + 24 * HOUR);
}
