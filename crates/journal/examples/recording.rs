//! Makes a recording that may be handed on out of a journal: fewer ticks, no rows of processes, no
//! mount that is the machine's own affair, no hardware address, each line sealed anew.
//!
//! `cargo run --release -p farol-journal --example recording -- FROM TO SINCE UNTIL FAST SLOW [MOUNTPOINT…]`
//!
//! FROM and TO are folders, SINCE and UNTIL Unix seconds, FAST and SLOW the seconds between the ticks
//! that are kept of each lane. Series about one of the mount points are left out.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a tool for those who work on the program: it prints, and stops where it fails"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use farol_disk::{Disk, RealDisk};
use farol_journal::{Item, Journal, Reader, Settings, StartAt, upkeep};
use farol_model::{Collected, Labels, Outcome, Record, Sample, Snapshot, Stream, Text};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, since, until, fast, slow, mounts @ ..] = arguments.as_slice() else {
        panic!("FROM TO SINCE UNTIL FAST SLOW [MOUNTPOINT…]");
    };
    let keep = Keep {
        since: since.parse::<i64>().unwrap() * 1000,
        until: until.parse::<i64>().unwrap() * 1000,
        intervals: [fast, slow].map(|seconds| Duration::from_secs(seconds.parse().unwrap())),
        mounts,
        addresses: BTreeMap::new(),
    };
    let kept = copy(Path::new(from), &PathBuf::from(to), keep);
    println!("{kept} snapshots kept");
}

const ABSENT: Text = Text::from_static("farol_collector_absent");

fn absent(outcome: &Outcome) -> Option<Sample> {
    let is_absent = matches!(outcome.result, Collected::Absent(_));
    let labels = Labels::from([("collector", outcome.collector.as_str())]);
    is_absent.then_some(Sample { name: ABSENT, labels, value: 1.0 })
}

struct Keep<'a> {
    since: i64,
    until: i64,
    /// By lane.
    intervals: [Duration; 2],
    /// Not kept.
    mounts: &'a [String],
    /// Hardware addresses, and what stands for them.
    addresses: BTreeMap<Text, Text>,
}

fn copy(from: &Path, to: &Path, mut keep: Keep<'_>) -> usize {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let settings = Settings {
        reserve_bytes: 0,
        segment_bytes: 1 << 30,
        compression: Some(19),
        ..Settings::default()
    };
    let open = || Journal::open(Arc::clone(&disk), to, settings.clone()).unwrap();
    let mut journal = open();
    let mut reader =
        Reader::open(Arc::clone(&disk), from, Stream::Metrics, StartAt::Oldest).unwrap();
    let (mut kept, mut last) = (0, None);
    while let Some(item) = reader.next().unwrap() {
        let Item::Line(line) = item else { panic!("the journal is damaged: {item:?}") };
        let Record::Snapshot(snapshot) = line.record else { continue };
        assert!(line.complete, "a line without its full one");
        if let Some(snapshot) = keep.of(&snapshot) {
            let record = Record::Snapshot(Arc::new(snapshot));
            journal.append(&record).unwrap();
            last = Some(record);
            kept += 1;
        }
    }
    journal.sync().unwrap();
    drop(journal);
    // The newest segment is never compressed: a line more, in the next one, and that is left out again.
    let mut journal = open();
    let number = journal.open_segments().number(Stream::Metrics);
    journal.append(&last.unwrap()).unwrap();
    let report = upkeep(&*disk, to, &settings, journal.open_segments());
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    drop(journal);
    for entry in std::fs::read_dir(to).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "writer.lock" || name.ends_with(&format!("{number:010}.jsonl")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    kept
}

impl Keep<'_> {
    fn of(&mut self, snapshot: &Snapshot) -> Option<Snapshot> {
        let at = snapshot.at.as_millis();
        let interval = self.intervals[snapshot.lane.index()];
        let is_due = at % i64::try_from(interval.as_millis()).unwrap() == 0;
        if !is_due || at < self.since || at >= self.until {
            return None;
        }
        let kept = snapshot.samples.iter().filter_map(|sample| self.sample(sample));
        let mut samples: Vec<Sample> = kept.collect();
        if !samples.iter().any(|sample| sample.name == ABSENT) {
            // Older journals tell it beside the samples only.
            samples.extend(snapshot.outcomes.iter().filter_map(absent));
            samples.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Some(Snapshot { interval, samples, top: Vec::new(), ..snapshot.clone() })
    }

    fn sample(&mut self, sample: &Sample) -> Option<Sample> {
        let is_dropped = |mount: &str| self.mounts.iter().any(|dropped| dropped == mount);
        if sample.labels.get("mountpoint").is_some_and(is_dropped) {
            return None;
        }
        let is_uname = sample.name == "node_uname_info";
        let pairs = sample.labels.iter().map(|(name, value)| {
            let value = match name.as_str() {
                "address" => self.address(value),
                "nodename" if is_uname => Text::from_static("quiet"),
                "release" if is_uname => Text::from_static("6.12.0"),
                "version" if is_uname => Text::from_static("#1 SMP PREEMPT_DYNAMIC"),
                _ => value.clone(),
            };
            (name.clone(), value)
        });
        Some(Sample { labels: Labels::new(pairs.collect()), ..sample.clone() })
    }

    /// Locally administered ones, in the order in which they came; that of loopback is anyone's.
    fn address(&mut self, address: &Text) -> Text {
        if address.as_str() == "00:00:00:00:00:00" {
            return address.clone();
        }
        let number = self.addresses.len() + 1;
        let made_up = || format!("02:00:00:00:00:{number:02x}").into();
        self.addresses.entry(address.clone()).or_insert_with(made_up).clone()
    }
}
