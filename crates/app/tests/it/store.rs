//! The store beside the program: what it answers is what the journal holds, whoever wrote its blocks
//! and however that was interrupted. Deleting it costs nothing that the journal still has.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use farol::look;
use farol_collect::top_rows;
use farol_disk::{Disk, RealDisk};
use farol_journal::Journal;
use farol_model::{Labels, Lane, Record, Sample, Snapshot, State, Text, Timestamp, TopProcess};
use farol_store::{Config, Importer, Matcher, Op, Range, Store};

use crate::world::{
    FAROL, Farol, eventually, farol, journal_lines, repository, rounds, run, value_of,
};

const WINDOW: i64 = 15 * 60 * 1000;
const SLOT: i64 = 8 * WINDOW;
/// Both lanes at full speed, and no probe: nothing but the host.
const FAST: [&str; 6] = ["--interval", "100ms", "--slow-interval", "100ms", "--probes.icmp", ""];

#[test]
fn a_store_that_was_deleted_answers_as_before() {
    let world = World::with_history();
    let before = world.run_until_stored(&[]);
    // The last second is not over: only the second run says how its series ended.
    let end = before.values().flatten().map(|(at, _)| *at).max().unwrap() - 1000;

    std::fs::remove_dir_all(world.store()).unwrap();
    let after = world.run_until_stored(&[]);
    assert_same(&until(end, after), &until(end, before.clone()));
    let rows = |name: &str| before.keys().any(|series| series.starts_with(name));
    assert!(rows("up{"), "each fast snapshot is a scrape that succeeded");
    assert!(rows("farol_top_resident_bytes{"), "rows are series");
    assert!(rows("node_load1{"), "what ran live was stored as well");
}

#[test]
fn a_store_that_was_killed_again_and_again_answers_as_one_that_read_the_journal_once() {
    let world = World::with_history();
    for round in 0..rounds(6, 60) {
        let mut farol = world.start("run", &[]);
        // Somewhere in the replay, in the first blocks, or in what runs live.
        let wanted = (round * 7) % 40;
        eventually("so many ticks", || ticks(&farol) >= wanted as f64);
        farol.child.kill().unwrap();
        farol.child.wait().unwrap();
    }
    let held = world.run_until_stored(&[]);
    assert_same(&held, &answers(&world.elsewhere(), &world.logs()));
}

/// Two days of journal, of which one is kept: blocks are cut, merged, down-sampled and removed as fast
/// as they can be, and each kill comes at some change of the store's files.
#[test]
fn a_store_that_is_killed_while_it_cuts_merges_and_retains_answers_as_one_that_was_not() {
    let world = World::with_two_days();
    let store = world.data().join("serve-store");
    let flags = ["--retention", "1d"];
    for round in 0..rounds(20, 100) {
        let mut farol = world.start("serve", &flags);
        let is_done = kill_at_change(&mut farol, &store, 1 + round * 7 % 12);
        if is_done {
            std::fs::remove_dir_all(&store).unwrap();
        }
    }
    let farol = world.start("serve", &flags);
    eventually("all of the journal is taken", || is_replayed(&farol));
    assert_eq!(farol.stop(), Some(0));

    let (said, error, code) = world.ask(&["store", "verify"]);
    assert_eq!(code, Some(0), "{said}{error}");
    let is_whole = |name: &String| name.ends_with(".block") || name == "lock" || name == "incoming";
    let files = names(&store);
    assert!(files.iter().all(is_whole), "{files:?}");
    assert!(files.iter().any(|name| name.starts_with("5m-")), "{files:?}");
    let held = answers(&store, &world.logs());
    let oldest = held.values().flatten().map(|(at, _)| *at).min().unwrap();
    let mut expected = answers(&world.elsewhere(), &world.logs());
    let all = expected.values().map(Vec::len).sum::<usize>();
    // The first marker there may be that of a sample which is gone.
    let since = |answers: &mut Answers| {
        for samples in answers.values_mut() {
            samples.retain(|(at, _)| *at > oldest + WINDOW);
        }
        answers.retain(|_, samples| !samples.is_empty());
    };
    let mut held = held;
    since(&mut held);
    since(&mut expected);
    assert!(expected.values().map(Vec::len).sum::<usize>() < all, "the first day is gone");
    assert_same(&held, &expected);
}

/// Kills it once the store's files have changed so often; whether it was done before that.
fn kill_at_change(farol: &mut Farol, store: &Path, changes: usize) -> bool {
    let mut seen = names(store);
    let mut left = changes;
    let mut is_done = false;
    let mut looks = 0_u32;
    while left > 0 && !is_done {
        let now = names(store);
        if now != seen {
            seen = now;
            left -= 1;
        }
        looks += 1;
        is_done = looks.is_multiple_of(1000) && is_replayed(farol);
    }
    farol.child.kill().unwrap();
    farol.child.wait().unwrap();
    is_done
}

/// The store's files that there are at this moment.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn is_replayed(server: &Farol) -> bool {
    value_of(&server.get("/metrics").text(), "farol_follow_store_replayed_records").is_some()
}

#[test]
fn a_server_and_the_writer_of_its_journal_store_the_same() {
    let world = World::with_history();
    let writer = world.start("run", &[]);
    wait_until_stored(&writer);
    let server = world.start("serve", &[]);
    server.wait_until_ready();
    let series = || value_of(&server.get("/metrics").text(), "farol_follow_store_series");
    eventually("the server's store is filled", || series().is_some_and(|series| series > 100.0));
    eventually("the writer's is too", || ticks(&writer) > 40.0);
    assert_eq!(writer.stop(), Some(0));
    assert_eq!(server.stop(), Some(0));

    let logs = world.logs();
    let written = answers(&world.store(), &logs);
    assert_same(&answers(&world.data().join("serve-store"), &logs), &written);
    assert_same(&answers(&world.elsewhere(), &logs), &written);
}

#[test]
fn a_server_that_may_write_nothing_keeps_its_history_in_memory() {
    assert!(rustix::process::geteuid().is_root(), "this test starts a process as another user");
    let world = World::with_history();
    open_to_all(world.folder.path());
    std::fs::create_dir_all(world.data()).unwrap();
    let program = world.folder.path().join("farol");
    std::fs::copy(FAROL, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command.args(["serve", "--log.file=false"]);
    let server = Farol::spawn(command, world.folder.path(), &[]);
    let value = |name: &str| value_of(&server.get("/metrics").text(), name);
    eventually("ready", || server.get("/-/ready").status == 200);
    eventually("history", || value("farol_follow_store_series").is_some_and(|series| series > 0.0));
    assert_eq!(value("farol_follow_store_max_bytes"), Some(f64::from(64 << 20)));
    assert!(!world.data().join("serve-store").exists());
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn of_two_servers_with_one_data_folder_the_second_keeps_its_history_in_memory() {
    let world = World::with_history();
    let of = |server: &Farol, name: &str| value_of(&server.get("/metrics").text(), name);
    let servers = [(); 2].map(|()| {
        let server = world.start("serve", &[]);
        server.wait_until_ready();
        let series = || of(&server, "farol_follow_store_series");
        eventually("history", || series().is_some_and(|series| series > 0.0));
        server
    });
    let most = servers.each_ref().map(|server| of(server, "farol_follow_store_max_bytes"));
    assert_eq!(most, [Some(f64::from(1 << 30)), Some(f64::from(64 << 20))]);
}

#[test]
fn a_store_that_another_process_writes_is_an_error_at_the_start() {
    let world = World::empty();
    let config = Config::new(world.store());
    let held = Store::open(Arc::new(RealDisk), config).unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--log.file=false"];
    let (_, error, code) = run(world.command("run").args(flags));
    assert_eq!(code, Some(1));
    assert!(error.contains("another process writes this store"), "{error}");
    drop(held);
    let farol = world.start("run", &[]);
    farol.wait_until_ready();
}

/// What is in the way is a file where the folder should be.
#[test]
fn a_store_that_cannot_be_opened_keeps_nobody_from_watching() {
    let world = World::empty();
    std::fs::create_dir_all(world.data()).unwrap();
    std::fs::write(world.store(), "in the way").unwrap();
    let farol = world.start("run", &[]);
    farol.wait_until_ready();
    let health = farol.get("/health");
    assert_eq!(health.status, 200, "{}", health.text());
    assert!(health.text().contains("history is not being stored"), "{}", health.text());
    let degraded = || value_of(&farol.get("/metrics").text(), "farol_store_degraded");
    eventually("it says so in figures", || degraded() == Some(1.0));
    assert_eq!(farol.stop(), Some(0));
}

#[test]
fn without_collectors_farol_is_a_store_alone() {
    let world = World::with_history();
    let farol = world.start("run", &["--no-collectors", "--retention-bytes", "16MiB"]);
    farol.wait_until_ready();
    let health = farol.health();
    assert_eq!((&health["status"], &health["state"]), (&"ok".into(), &"UNKNOWN".into()));
    assert_eq!(health["reasons"][0], "no collectors run (as configured)");
    assert!(farol.get("/").text().contains("no collectors run"));
    let metrics = || farol.get("/metrics").text();
    let replayed = || value_of(&metrics(), "farol_store_replayed_records");
    eventually("the journal's history is taken", || replayed() == Some(world.records as f64));
    assert_eq!(value_of(&metrics(), "farol_store_max_bytes"), Some(f64::from(16 << 20)));
    assert!(!metrics().contains("node_"), "{}", metrics());
    assert_eq!(farol.stop(), Some(0));

    let events = journal_lines(&world.logs(), "events", false);
    let events: Vec<&str> = events.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["started", "stopped"]);
    assert_eq!(journal_lines(&world.logs(), "metrics", false).len(), world.records);
}

#[test]
fn the_store_is_looked_at_beside_a_running_farol() {
    let world = World::with_history();
    let farol = world.start("run", &["--retention-bytes", "16MiB"]);
    wait_until_stored(&farol);
    let (table, error, code) = world.ask(&["store", "stats"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(table.contains("snapshots beyond the blocks"), "{table}");
    let (object, error, code) =
        world.ask(&["store", "stats", "--json", "--retention-bytes", "16MiB"]);
    assert_eq!(code, Some(0), "{error}");
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert!(object["series"].as_u64().unwrap() > 100, "{object}");
    assert_eq!(object["max_bytes"], 16 << 20);
    let status = world.ask(&["status"]).0;
    assert!(status.contains("  History "), "{status}");
    assert_eq!(farol.stop(), Some(0));
}

#[test]
fn a_damaged_block_is_named_and_what_is_lost_with_it_is_derived_anew() {
    let world = World::with_history();
    let before = world.run_until_stored(&[]);
    assert_eq!(world.ask(&["store", "verify"]).2, Some(0));

    let file = world.block_files().pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&file, bytes).unwrap();
    let (report, _, code) = world.ask(&["store", "verify"]);
    assert_eq!(code, Some(1));
    let name = file.file_name().unwrap().to_str().unwrap();
    let line = report.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line.ends_with("DAMAGED"), "{report}");

    let (said, error, code) = world.ask(&["store", "rebuild"]);
    assert_eq!(code, Some(0), "{said}{error}");
    assert_eq!(world.ask(&["store", "verify"]).2, Some(0));
    assert_same(&answers(&world.store(), &world.logs()), &before);
}

#[test]
fn what_the_journal_no_longer_yields_outlives_a_rebuild() {
    let world = World::with_history();
    world.run_until_stored(&[]);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut importer = Importer::new(disk, &Config::new(world.store())).unwrap();
    let series = importer.series("imported_total".into(), Labels::from([("job", "other")]));
    importer.push(series, Timestamp::from_millis(1_700_000_000_000), 7.0).unwrap();
    importer.finish().unwrap();
    let before = answers(&world.store(), &world.logs());
    assert!(before.keys().any(|series| series.starts_with("imported_total{")));

    let mut segments: Vec<PathBuf> =
        std::fs::read_dir(world.logs()).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("metrics-"));
    segments.sort();
    std::fs::remove_file(&segments[0]).unwrap();
    let shorter = answers(&world.elsewhere(), &world.logs());
    let samples = |answers: &Answers| answers.values().map(Vec::len).sum::<usize>();
    assert!(samples(&shorter) < samples(&before), "half of the made history is gone");

    let running = world.start("run", &["--no-collectors"]);
    let (_, error, code) = world.ask(&["store", "rebuild"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("stop that process"), "{error}");
    assert_eq!(running.stop(), Some(0));

    for round in ["first", "second"] {
        let (said, error, code) = world.ask(&["store", "rebuild"]);
        assert_eq!(code, Some(0), "{round}: {said}{error}");
        assert!(said.contains("kept") && said.contains("derived anew"), "{round}: {said}");
        assert_same(&answers(&world.store(), &world.logs()), &before);
    }
    assert!(!world.data().join("store.new").exists());
}

/// A folder with a journal that reaches three hours back.
struct World {
    folder: tempfile::TempDir,
    /// In the journal before anybody runs.
    records: usize,
}

impl World {
    fn empty() -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("logs")).unwrap();
        World { folder, records: 0 }
    }

    /// A day and a quarter before midnight, and three hours of the day after.
    fn with_two_days() -> World {
        let world = World::empty();
        let day = 24 * 60 * 60 * 1000;
        let midnight = 20_000 * day;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut journal = Journal::open(disk, world.logs(), Default::default()).unwrap();
        for at in (midnight - 30 * 4 * WINDOW..midnight + 12 * WINDOW + day).step_by(30_000) {
            for lane in Lane::ALL {
                journal.append(&Record::Snapshot(Arc::new(snapshot(at, lane)))).unwrap();
            }
        }
        journal.sync().unwrap();
        world
    }

    /// Ends an hour ago at least: the windows are over.
    fn with_history() -> World {
        let mut world = World::empty();
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis());
        // Whatever the time of day, a whole slot of two hours and half of the next.
        let end = now.unwrap().div_euclid(SLOT) * SLOT - 4 * WINDOW;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        // Two starts, and so two segments.
        for half in [end - 12 * WINDOW..end - 6 * WINDOW, end - 6 * WINDOW..end] {
            let disk = Arc::clone(&disk);
            let mut journal = Journal::open(disk, world.logs(), Default::default()).unwrap();
            for at in half.step_by(10_000) {
                for lane in Lane::ALL {
                    let record = Record::Snapshot(Arc::new(snapshot(at, lane)));
                    journal.append(&record).unwrap();
                    world.records += 1;
                }
            }
            journal.sync().unwrap();
        }
        world
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    fn store(&self) -> PathBuf {
        self.data().join("store")
    }

    /// A store that nobody has written.
    fn elsewhere(&self) -> PathBuf {
        let folder = self.folder.path().join("elsewhere");
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn start(&self, shape: &str, flags: &[&str]) -> Farol {
        let host = repository().join("fixtures/hosts/debian");
        let of = |part: &str| host.join(part).to_str().unwrap().to_owned();
        let places = [
            ("--path.procfs", of("proc")),
            ("--path.sysfs", of("sys")),
            ("--path.rootfs", of("root")),
        ];
        let places = places.iter().flat_map(|(flag, path)| [*flag, path.as_str()]);
        let flags: Vec<&str> =
            FAST.into_iter().chain(places).chain(flags.iter().copied()).collect();
        Farol::start_in(self.folder.path(), shape, &flags)
    }

    fn command(&self, shape: &str) -> Command {
        let mut command = Command::new(FAROL);
        command.arg(shape).arg("--data").arg(self.data()).arg("--logs").arg(self.logs());
        command
    }

    fn ask(&self, words: &[&str]) -> (String, String, Option<i32>) {
        let (data, logs) = (self.data(), self.logs());
        let places = ["--data", data.to_str().unwrap(), "--logs", logs.to_str().unwrap()];
        farol(&[words, &places].concat())
    }

    /// Runs until the store has all of the journal and a while more, and says what it answers then.
    fn run_until_stored(&self, flags: &[&str]) -> Answers {
        let farol = self.start("run", flags);
        wait_until_stored(&farol);
        let ticked = ticks(&farol);
        eventually("twenty ticks more", || ticks(&farol) > ticked + 20.0);
        assert_eq!(farol.stop(), Some(0));
        let (answers, replayed) = answers_and_replayed(&self.store(), &self.logs());
        let journaled = journal_lines(&self.logs(), "metrics", false).len();
        let in_blocks = journaled - usize::try_from(replayed).unwrap();
        assert!(in_blocks >= self.records / 2, "{in_blocks} of {journaled} stand in blocks");
        answers
    }

    fn block_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.store()).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        let is_block = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "block");
        let mut files: Vec<PathBuf> = files.filter(is_block).collect();
        files.sort();
        files
    }
}

fn wait_until_stored(farol: &Farol) {
    let value = |name: &str| value_of(&farol.get("/metrics").text(), name);
    farol.wait_until_ready();
    eventually("the journal is replayed", || value("farol_store_replayed_records").is_some());
    eventually("the store keeps up", || {
        value("farol_store_lag_seconds").is_some_and(|lag| lag < 0.5)
    });
}

fn ticks(farol: &Farol) -> f64 {
    let text = farol.get("/metrics").text();
    value_of(&text, "farol_ticks_total{lane=\"fast\"}").unwrap_or(0.0)
}

/// Twenty series of a counter's kind, one that comes and goes, and in the slow lane a row.
fn snapshot(at: i64, lane: Lane) -> Snapshot {
    let step = at / 10_000;
    let name = Text::from(format!("made_{}_total", lane.name()));
    let mut samples: Vec<Sample> = (0..20)
        .map(|index| Sample {
            name: name.clone(),
            labels: Labels::from([("index", index.to_string().as_str())]),
            value: (step * (index + 1)) as f64 + 0.25,
        })
        .collect();
    if step % 50 < 30 {
        let name = Text::from(format!("made_{}_up", lane.name()));
        samples.push(Sample { name, labels: Labels::empty(), value: 1.0 });
    }
    let row = TopProcess {
        pid: 7,
        name: Text::from_static("made"),
        cpu_ratio: Some(0.125),
        resident_bytes: 4096 * step.unsigned_abs(),
        ..TopProcess::default()
    };
    Snapshot {
        at: Timestamp::from_millis(at),
        interval: Duration::from_secs(10),
        lane,
        host: Text::from_static("made"),
        state: State::Unknown,
        summary: Vec::new(),
        samples,
        top: if lane == Lane::Slow { vec![row] } else { Vec::new() },
        outcomes: Vec::new(),
    }
}

/// Every series with every sample: what any question is answered from. Values by their bits, as a
/// stale marker is equal to nothing.
type Answers = BTreeMap<String, Vec<(i64, u64)>>;

fn answers(store: &Path, logs: &Path) -> Answers {
    answers_and_replayed(store, logs).0
}

fn answers_and_replayed(store: &Path, logs: &Path) -> (Answers, u64) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let config =
        Config { rows: top_rows::samples, folded: top_rows::folded(), ..Config::new(store) };
    let looked = look::look_at(&disk, logs, config).unwrap();
    assert!(looked.damage.is_empty(), "{:?}", looked.damage);
    let all = Matcher::new("__name__", Op::Matches, ".+").unwrap();
    let mut selection = looked.store.reader().select(&[all], Range::ALL, None);
    let mut answers = Answers::new();
    for index in 0..selection.series().len() {
        let series = &selection.series()[index];
        let name = format!("{}{:?}", series.name, series.labels);
        let mut points = Vec::new();
        selection.samples(index, &mut points);
        let samples = points.iter().map(|point| (point.at.as_millis(), point.value.to_bits()));
        answers.insert(name, samples.collect());
    }
    assert!(selection.damage().is_empty(), "{:?}", selection.damage());
    (answers, looked.replayed)
}

fn until(end: i64, mut answers: Answers) -> Answers {
    for samples in answers.values_mut() {
        samples.retain(|(at, _)| *at <= end);
    }
    answers.retain(|_, samples| !samples.is_empty());
    answers
}

/// The first difference, in words: the whole would be megabytes.
fn assert_same(found: &Answers, expected: &Answers) {
    let names = |answers: &Answers| answers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (series, samples) in expected {
        let others = &found[series];
        let differ = samples.iter().zip(others).position(|(one, other)| one != other);
        let at = differ.unwrap_or(samples.len().min(others.len()));
        let around = |samples: &[(i64, u64)]| {
            let to = samples.len().min(at + 2);
            samples[at.saturating_sub(1).min(to)..to].to_vec()
        };
        assert!(
            samples == others,
            "{series}: {} samples, {} expected; at {at}: {:?} instead of {:?}",
            others.len(),
            samples.len(),
            around(others),
            around(samples)
        );
    }
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let logs = folder.join("logs");
    std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o755)).unwrap();
    for file in std::fs::read_dir(logs).unwrap() {
        let file = file.unwrap().path();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
}
