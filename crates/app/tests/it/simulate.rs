//! `farol simulate`: recorded machines, the real journal and store, and a time of their own.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use farol_disk::{Disk, RealDisk};
use farol_journal::{Item, Reader, StartAt};
use farol_model::{Lane, Record, Sample, Snapshot, Stream};
use farol_store::{Config, Matcher, Opened, Range, Store};

use crate::world::{farol, repository};

/// Noon, in milliseconds.
const NOON: i64 = 1_772_366_400_000;

#[test]
fn a_simulated_day_is_read_back_with_its_times() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["--start", "2026-03-01T12:00:00Z", "--interval", "10s", "--slow-interval", "1m"];
    let said = simulate(folder.path(), &["vm"], "24h", &arguments);
    // Beside them two events, started and stopped, and each hour what all events add up to.
    assert!(said.starts_with("10080 snapshots, 10106 lines, "), "{said}");

    let snapshots = snapshots(&folder.path().join("logs"));
    for (lane, seconds, count) in [(Lane::Fast, 10, 8640), (Lane::Slow, 60, 1440)] {
        let of_lane: Vec<_> = snapshots.iter().filter(|snapshot| snapshot.lane == lane).collect();
        let times = of_lane.iter().map(|snapshot| snapshot.at.as_millis());
        assert!(times.eq((0..count).map(|tick| NOON + tick * seconds * 1000)), "{lane:?}");
        assert!(of_lane.iter().all(|snapshot| snapshot.host == "vm"));
        let interval = Duration::from_secs(seconds.unsigned_abs());
        assert!(of_lane.iter().all(|snapshot| snapshot.interval == interval));
        assert!(of_lane.iter().all(|snapshot| snapshot.samples.len() > 100));
    }
    assert!(stored(folder.path(), "up").into_iter().eq((0..8640).map(|tick| NOON + tick * 10_000)));
    // Upkeep has run beside it: the day that was over is compressed, the one under way is not.
    let names = files(&folder.path().join("logs")).into_keys();
    let metrics: Vec<String> = names.filter(|name| name.starts_with("metrics-")).collect();
    let expected =
        ["metrics-2026-03-01-0000000001.jsonl.zst", "metrics-2026-03-02-0000000002.jsonl"];
    assert_eq!(metrics, expected);
    let blocks: Vec<String> = files(&folder.path().join("store")).into_keys().collect();
    for kind in ["24h-", "15s-", "5m-"] {
        assert!(blocks.iter().any(|block| block.starts_with(kind)), "{kind}: {blocks:?}");
    }
}

#[test]
fn the_same_arguments_write_the_same_bytes() {
    let write = || {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--no-collector.filesystem", "--wander", "7"];
        simulate(folder.path(), &["vm", "storage"], "20m", &arguments);
        ["logs", "store"].map(|below| files(&folder.path().join(below)))
    };
    for (first, second) in write().into_iter().zip(write()) {
        assert!(first.keys().eq(second.keys()));
        for (name, bytes) in &first {
            assert!(second[name] == *bytes, "{name} differs");
        }
    }
}

#[test]
fn machines_take_turns_under_the_name_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    simulate(folder.path(), &["vm", "storage", "vm"], "3m", &[]);
    let snapshots = snapshots(&folder.path().join("logs"));
    let series = |snapshot: &Snapshot| -> HashSet<_> {
        snapshot.samples.iter().map(|sample| (sample.name.clone(), sample.labels.clone())).collect()
    };
    let fast: Vec<_> = snapshots.iter().filter(|snapshot| snapshot.lane == Lane::Fast).collect();
    assert_eq!(fast.len(), 180);
    assert!(fast.iter().all(|snapshot| snapshot.host == "vm"));
    let [first, other, again] = [59, 119, 179].map(|tick| series(fast[tick]));
    assert!(first.difference(&other).count() > 10, "series end");
    assert!(other.difference(&first).count() > 10, "others begin");
    assert_eq!(first, again);
}

#[test]
fn a_recorded_hour_is_played_on_and_on() {
    let folder = tempfile::tempdir().unwrap();
    let recording = repository().join("fixtures/recordings/quiet");
    let play = |below: &str, seed: &str| {
        let data = folder.path().join(below);
        let (from, data) = (recording.to_str().unwrap(), data.to_str().unwrap());
        let arguments = ["simulate", "--from", from, "--for", "3h", "--data", data, "--seed", seed];
        let (said, complained, code) = farol(&arguments);
        assert_eq!((code, complained.as_str()), (Some(0), ""));
        assert!(said.starts_with("900 snapshots, "), "{said}");
        snapshots(&Path::new(data).join("logs"))
    };
    let played = play("a", "1");
    assert!(played.iter().all(|snapshot| snapshot.host == "quiet"));
    let of_lane = |lane| played.iter().filter(move |snapshot| snapshot.lane == lane);
    assert_eq!((of_lane(Lane::Fast).count(), of_lane(Lane::Slow).count()), (720, 180));
    let switches = of_lane(Lane::Fast).map(|snapshot| {
        let find = |sample: &&Sample| sample.name == "node_context_switches_total";
        snapshot.samples.iter().find(find).unwrap().value
    });
    assert!(switches.is_sorted_by(|before, after| before < after));
    assert_eq!(played, play("b", "1"));
    assert_ne!(played, play("c", "2"));
}

#[test]
fn time_can_be_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    simulate(folder.path(), &["vm"], "2m", &["--speed", "240"]);
    // The last tick is due a second before the end.
    assert!(began.elapsed() >= Duration::from_secs_f64(119.0 / 240.0));
}

#[test]
fn what_cannot_be_simulated_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (machine, data) = (machine("vm"), folder.path().to_str().unwrap());
    let elsewhere = format!("{machine}/proc");
    for (arguments, expected) in [
        (
            &["--from", &elsewhere, "--for", "1m", "--data", data][..],
            "there is no folder proc in it",
        ),
        (&["--for", "1m", "--data", data], "--from <FOLDER>"),
        (&["--from", &machine, "--data", data], "--for <SPAN>"),
        (&["--from", &machine, "--for", "1m"], "--data <PATH>"),
        (
            &["--from", &machine, "--for", "soon", "--data", data],
            "--for \"soon\" is not a duration",
        ),
        (&["--from", &machine, "--for", "0s", "--data", data], "some time must pass"),
        (
            &["--from", &machine, "--for", "1m", "--data", data, "--start", "noon"],
            "--start \"noon\" is no time such as 2026-01-01T00:00:00Z",
        ),
        (
            &["--from", &machine, "--for", "9d", "--data", data, "--start", "9999-12-25T00:00:00Z"],
            "beyond the calendar's last year",
        ),
        (
            &["--from", &machine, "--for", "1m", "--data", data, "--speed", "0"],
            "--speed must be more than 0",
        ),
        (&["--from", &machine, "--for", "1m", "--data", data, "--interval", "never"], "interval"),
    ] {
        let (said, complained, code) = farol(&[&["simulate"], arguments].concat());
        assert!(complained.contains(expected), "{arguments:?}: {complained}");
        assert_ne!(code, Some(0));
        assert_eq!(said, "");
        assert_eq!(fs::read_dir(data).unwrap().count(), 0, "{arguments:?} wrote something");
    }
}

/// What the command says at its end.
fn simulate(data: &Path, machines: &[&str], span: &str, further: &[&str]) -> String {
    let folders: Vec<String> = machines.iter().map(|name| machine(name)).collect();
    let mut arguments = vec!["simulate", "--for", span, "--data", data.to_str().unwrap()];
    arguments.extend(folders.iter().flat_map(|folder| ["--from", folder]));
    arguments.extend(further);
    let (said, complained, code) = farol(&arguments);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    said
}

fn machine(name: &str) -> String {
    repository().join("fixtures/hosts").join(name).to_str().unwrap().to_owned()
}

/// All of them, whole: nothing is damaged, missing or without its base.
fn snapshots(logs: &Path) -> Vec<Arc<Snapshot>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut reader = Reader::open(disk, logs, Stream::Metrics, StartAt::Oldest).unwrap();
    let mut snapshots = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Line(line) = item else { panic!("{item:?}") };
        assert!(line.complete);
        let Record::Snapshot(snapshot) = line.record else { panic!("an event among snapshots") };
        snapshots.push(snapshot);
    }
    snapshots
}

/// The times of a series in the store, once what is not in its blocks yet was read from the journal.
fn stored(data: &Path, name: &str) -> Vec<i64> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config = Config::new(data.join("store"));
    let opened = Store::open_read_only(Arc::clone(&disk), config).unwrap();
    let Opened { mut store, replay_from, set_aside, .. } = opened;
    assert!(set_aside.is_empty());
    assert!(store.stats().blocks > 0);
    let start = StartAt::Position(replay_from.unwrap());
    let mut reader = Reader::open(disk, data.join("logs"), Stream::Metrics, start).unwrap();
    while let Some(Item::Line(line)) = reader.next().unwrap() {
        store.apply(line.position, &line.record, line.complete);
    }
    let mut selection =
        store.reader().select(&[Matcher::equal("__name__", name)], Range::ALL, None);
    assert_eq!(selection.series().len(), 1);
    let mut points = Vec::new();
    selection.samples(0, &mut points);
    assert!(selection.damage().is_empty());
    points.iter().map(|point| point.at.as_millis()).collect()
}

/// By name, but for folders.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}
