//! What all collectors make of each recorded machine, and what happens when one source of a
//! machine hangs or vanishes.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay out its machine has failed")]

mod machines;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    time::Duration,
};

use farol_collect::{COLLECTORS, Entry, Host, Options, Runner, Tick, describe};
use farol_model::{Collected, Labels, Lane, Outcome, Sample, Timestamp, TopProcess};
use farol_wire::exposition::{Format, encode};
use machines::{Lanes, NOW, machines};

/// Families whose values depend on the machine or the moment at which the test runs.
const MASKED: [&str; 9] = [
    "farol_*",
    "node_filesystem_avail_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "node_filesystem_free_bytes",
    "node_filesystem_size_bytes",
    "monitoring_disk_*",
    "node_scrape_collector_duration_seconds",
    "process_*",
];

#[test]
fn each_recorded_machine_yields_what_is_written_down() {
    for (name, folder) in machines() {
        let tick = Lanes::new(&Host::recorded(&folder)).tick(NOW);
        let text = render(&tick, &folder);
        compare(&folder.join("expected.prom"), &text, &name);
    }
}

#[test]
fn series_are_unique_described_and_well_named() {
    for (name, folder) in machines() {
        let tick = Lanes::new(&Host::recorded(&folder)).tick(NOW);
        let mut seen = HashSet::new();
        for sample in &tick.samples {
            assert!(
                seen.insert((&sample.name, &sample.labels)),
                "{name}: {} {:?} twice",
                sample.name,
                sample.labels
            );
            assert!(describe(&sample.name).is_some(), "{name}: {} has no row", sample.name);
            check_labels(&name, sample);
        }
    }
}

#[test]
fn a_second_tick_only_adds_rates() {
    for (name, folder) in machines() {
        let mut lanes = Lanes::new(&Host::recorded(&folder));
        let first = series(&lanes.tick(NOW));
        let second = series(&lanes.tick(NOW.plus(Duration::from_secs(1))));
        let lost: Vec<_> = first.difference(&second).collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
        for (metric, _) in second.difference(&first) {
            assert!(metric.starts_with("monitoring_"), "{name}: {metric} came with a second tick");
        }
    }
}

fn series(tick: &Tick) -> HashSet<(String, Labels)> {
    tick.samples.iter().map(|sample| (sample.name.to_string(), sample.labels.clone())).collect()
}

fn check_labels(machine: &str, sample: &Sample) {
    for (label, value) in sample.labels.iter() {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(
            label.bytes().all(plain) && !label.starts_with("__") && !value.is_empty(),
            "{machine}: {} {label}={value:?}",
            sample.name
        );
        assert!(!value.contains(['\n', '\0']), "{machine}: {} {label}={value:?}", sample.name);
    }
}

/// The exposition text, with how each collector ended and the largest processes in front.
fn render(tick: &Tick, folder: &Path) -> String {
    let mut text = String::new();
    for outcome in &tick.outcomes {
        let (collector, word) = (&outcome.collector, outcome.result.word());
        text += &format!("# {collector}: {word}\n");
        for reason in outcome.result.reasons() {
            let place = folder.to_string_lossy();
            text += &format!("#   {}\n", reason.replace(place.as_ref(), ""));
        }
    }
    for process in &tick.top {
        text += &format!("# top: {}\n", row(process));
    }
    let mut samples = tick.samples.clone();
    samples.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.labels.cmp(&b.labels)));
    let mut exposition = Vec::new();
    encode(&samples, Format::Text, &describe, &mut exposition);
    for line in String::from_utf8(exposition).expect("text was written").lines() {
        text += &masked(line);
        text.push('\n');
    }
    text
}

/// What is known of the process; what is not leaves its place empty.
fn row(process: &TopProcess) -> String {
    let texts = [&process.user, &process.unit, &process.container, &process.command];
    let texts = texts.map(|text| text.as_deref().unwrap_or_default());
    let figures = [
        process.cpu_ratio.map(|ratio| ratio.to_string()),
        Some(process.resident_bytes.to_string()),
        process.read_bytes_per_second.map(|bytes| bytes.to_string()),
        process.written_bytes_per_second.map(|bytes| bytes.to_string()),
    ];
    let figures = figures.map(Option::unwrap_or_default);
    format!("{} {:?} {texts:?} {figures:?}", process.pid, process.name)
}

fn masked(line: &str) -> String {
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let is_masked = MASKED.iter().any(|family| match family.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *family,
    });
    match line.rsplit_once(' ') {
        _ if name == "farol_host_view" => line.to_owned(),
        Some((series, _)) if is_masked => format!("{series} ?"),
        _ => line.to_owned(),
    }
}

/// Compares with the file, or writes it when `UPDATE` is set.
#[expect(clippy::disallowed_methods, reason = "goldens are read and rewritten by the test itself")]
fn compare(path: &Path, text: &str, what: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == text {
        return;
    }
    let (held, made): (HashSet<_>, HashSet<_>) =
        (expected.lines().collect(), text.lines().collect());
    let less =
        expected.lines().filter(|line| !made.contains(line)).map(|line| format!("- {line}\n"));
    let more = text.lines().filter(|line| !held.contains(line)).map(|line| format!("+ {line}\n"));
    let difference: String = less.chain(more).take(60).collect();
    panic!("{what}: not as in {} (UPDATE=1 rewrites it)\n{difference}", path.display());
}

/// A machine with a hanging `file-nr`: nobody has the other end of the FIFO open.
struct HungMachine {
    _folder: tempfile::TempDir,
    host: Host,
    file_nr: PathBuf,
}

impl HungMachine {
    fn new() -> HungMachine {
        let machine = HungMachine::well();
        let file = &machine.file_nr;
        rename(file, &file.with_extension("aside"));
        make_fifo(file);
        machine
    }

    /// The same machine before it hangs.
    fn well() -> HungMachine {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        fs::create_dir_all(host.proc.join("sys/fs")).unwrap();
        write(&host.proc.join("loadavg"), "0.1 0.2 0.3 1/2 3\n");
        write(&host.proc.join("stat"), "ctxt 5\n");
        let file_nr = host.proc.join("sys/fs/file-nr");
        write(&file_nr, "10\t0\t20\n");
        HungMachine { _folder: folder, host, file_nr }
    }

    fn lane(&self) -> Runner {
        let entries: Vec<&'static Entry> = COLLECTORS
            .iter()
            .filter(|entry| ["filefd", "loadavg", "stat"].contains(&entry.name))
            .collect();
        let patience = Duration::from_secs(1);
        Runner::new(Lane::Fast, self.host.clone(), &entries, &Options::default(), patience).unwrap()
    }

    /// The source answers again: who comes now finds an ordinary file, and the one who waits at the
    /// FIFO's opening is let go.
    fn answer(&self) {
        let fifo = self.file_nr.with_extension("fifo");
        rename(&self.file_nr, &fifo);
        write(&self.file_nr, "10\t0\t20\n");
        open_both_ends(&fifo);
    }
}

#[test]
fn a_hung_source_is_late_alone_and_comes_back() {
    let machine = HungMachine::new();
    let mut lane = machine.lane();
    for second in 0..2 {
        let tick = lane.tick(NOW.plus(Duration::from_secs(second)));
        assert!(
            matches!(result(&tick, "filefd"), Collected::Failed(reason) if reason.starts_with("late")),
            "{:?}",
            tick.outcomes
        );
        assert_eq!(result(&tick, "loadavg"), &Collected::Complete);
        assert_eq!(result(&tick, "stat"), &Collected::Complete);
        assert_eq!(value(&tick, "node_load1"), Some(0.1));
        assert_eq!(value(&tick, "node_context_switches_total"), Some(5.0));
        assert_eq!(value(&tick, "node_filefd_allocated"), None);
    }
    machine.answer();
    let returned = (2..200).any(|second| {
        let tick = lane.tick(NOW.plus(Duration::from_secs(second)));
        pause();
        value(&tick, "node_filefd_allocated") == Some(10.0)
    });
    assert!(returned, "filefd did not come back");
}

#[test]
fn a_source_that_vanishes_is_absent_with_a_reason_until_it_returns() {
    let machine = HungMachine::well();
    let mut lane = machine.lane();
    let loadavg = machine.host.proc.join("loadavg");
    let aside = loadavg.with_extension("aside");
    assert_eq!(result(&lane.tick(NOW), "loadavg"), &Collected::Complete);

    rename(&loadavg, &aside);
    let tick = lane.tick(NOW.plus(Duration::from_secs(1)));
    assert!(
        matches!(result(&tick, "loadavg"), Collected::Absent(reason) if reason.contains("loadavg")),
        "{:?}",
        tick.outcomes
    );
    assert_eq!(value(&tick, "node_load1"), None);
    assert_eq!(result(&tick, "stat"), &Collected::Complete);

    rename(&aside, &loadavg);
    let tick = lane.tick(Timestamp::from_millis(NOW.as_millis() + 2000));
    assert_eq!(result(&tick, "loadavg"), &Collected::Complete);
    assert_eq!(value(&tick, "node_load1"), Some(0.1));
}

fn result<'a>(tick: &'a Tick, collector: &str) -> &'a Collected {
    let of = |outcome: &&Outcome| outcome.collector == *collector;
    &tick.outcomes.iter().find(of).expect("each collector has an outcome").result
}

fn value(tick: &Tick, name: &str) -> Option<f64> {
    tick.samples.iter().find(|sample| sample.name == *name).map(|sample| sample.value)
}

/// Lets the other threads run for a moment.
fn pause() {
    let (_keep, never) = sync_channel::<()>(1);
    never.recv_timeout(Duration::from_millis(10)).ok();
}

fn make_fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Opening for reading and writing never blocks, and lets go whoever waits for either.
#[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
fn open_both_ends(fifo: &Path) {
    fs::OpenOptions::new().read(true).write(true).open(fifo).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}
