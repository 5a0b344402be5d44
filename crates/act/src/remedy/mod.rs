//! Treatments: what may be run against an alert, by whom, how often, and what became of it.
//!
//! A [`Treatment`] does one thing; [`BUILT_INS`] is the table of them. [`policy`] says whether it may be
//! done now, from what is remembered. [`follow()`] does it: the intent is on the disk before anything is
//! touched, one runs at a time, each has a deadline, and afterwards it is seen whether it helped.
//!
//! To add a treatment: a file here and a row in the table.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use farol_model::{Alert, Text, Timestamp};

mod child;
mod cleanup_old_logs;
mod cleanup_temp_files;
mod fields;
mod flush_dns_cache;
mod follow;
mod glob;
mod grant;
mod judge;
pub mod policy;
mod program;
mod reap_zombies;
mod report_disk_usage;
mod restart_interface;
mod restart_unit;
mod tree;

pub use fields::{Field, FieldKind, Fields, Given};
pub use follow::{
    Answer, Clock, Inputs, Known, Order, Recorder, Starter, ValueReader, Work, follow, on_a_thread,
};
pub use grant::NotGranted;
pub use judge::{Reading, Worse, judge};
pub use policy::{Policy, Settings};

/// One thing that can be done. Its functions block, and are called on a thread of their own.
pub trait Treatment: fmt::Debug + Send + Sync {
    /// What it does, in one line: `delete files older than 3d below /tmp, /var/tmp`.
    fn what(&self) -> String;

    /// Whether this process has the right.
    fn granted(&self, surroundings: &Surroundings) -> Result<(), NotGranted>;

    /// Whether an alert can be expected to get better by it. What only reports is not judged.
    fn is_cure(&self) -> bool {
        true
    }

    /// What it would do; it changes nothing.
    fn rehearse(&self, job: &Job<'_>) -> Outcome;

    fn run(&self, job: &Job<'_>) -> Outcome;
}

/// What a run is told.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The remedy's name.
    pub name: &'a str,
    pub now: Timestamp,
    /// None when a person asked.
    pub alert: Option<&'a Alert>,
    pub leash: &'a Leash,
    pub surroundings: &'a Surroundings,
}

/// Where the machine and Farol's own files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The root folder of the machine, seen from here.
    pub root: PathBuf,
    /// Farol's own folders: nothing is ever removed below them.
    pub own: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub ok: bool,
    /// One sentence.
    pub summary: String,
    /// What a program has written, or the list of what was done.
    pub output: String,
}

impl Outcome {
    pub fn good(summary: impl Into<String>) -> Outcome {
        Outcome { ok: true, summary: summary.into(), output: String::new() }
    }

    pub fn bad(summary: impl Into<String>) -> Outcome {
        Outcome { ok: false, summary: summary.into(), output: String::new() }
    }

    #[must_use]
    pub fn with(mut self, output: String) -> Outcome {
        self.output = output;
        self
    }
}

/// How a run is ended from outside: it looks here between any two steps.
#[derive(Debug, Default)]
pub struct Leash(AtomicU8);

impl Leash {
    const ASKED: u8 = 1;
    const PULLED: u8 = 2;

    /// Its deadline is over: it is to end by itself.
    pub fn ask(&self) {
        self.0.fetch_max(Leash::ASKED, Ordering::Relaxed);
    }

    /// Now: what it has started is killed.
    pub fn pull(&self) {
        self.0.fetch_max(Leash::PULLED, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Leash::ASKED
    }

    pub fn is_pulled(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Leash::PULLED
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct BuiltIn {
    pub name: &'static str,
    /// One sentence, for the reference.
    pub about: &'static str,
    /// The default pause between two runs.
    pub cooldown: Duration,
    /// Whether it is there, in dry run, without being configured.
    pub is_default: bool,
    pub fields: &'static [Field],
    /// From fields that are complete and of the right kinds; looks at no file.
    pub build: fn(&Fields) -> Result<Arc<dyn Treatment>, Fault>,
}

/// Which field is wrong, and why. Reads on after the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub field: &'static str,
    pub why: String,
}

impl Fault {
    pub fn new(field: &'static str, why: impl Into<String>) -> Fault {
        Fault { field, why: why.into() }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub const BUILT_INS: &[BuiltIn] = &[
    cleanup_temp_files::BUILT_IN,
    cleanup_old_logs::BUILT_IN,
    restart_interface::BUILT_IN,
    restart_unit::BUILT_IN,
    flush_dns_cache::BUILT_IN,
    report_disk_usage::BUILT_IN,
    reap_zombies::BUILT_IN,
    program::BUILT_IN,
];

impl BuiltIn {
    pub fn of(name: &str) -> Option<&'static BuiltIn> {
        BUILT_INS.iter().find(|row| row.name == name)
    }

    /// The treatment as it is when nothing is said of it. None where something must be said.
    pub fn by_default(&self) -> Option<Settings> {
        let treatment = (self.build)(&Fields::defaults(self.fields)).ok()?;
        let policy = Policy { cooldown: self.cooldown, ..Policy::default() };
        let name = Text::from_static(self.name);
        self.is_default.then(|| Settings::new(name, self.name, treatment, policy))
    }
}

/// The longest output that is kept, in bytes.
pub const MOST_OUTPUT: usize = 4096;

/// The beginning and the end of what is longer than is kept.
pub(crate) fn cut(text: &str) -> Text {
    if text.len() <= MOST_OUTPUT {
        return text.into();
    }
    let head_end = text.floor_char_boundary(MOST_OUTPUT / 2);
    let tail_begin = text.ceil_char_boundary(text.len() - MOST_OUTPUT / 2);
    let (head, tail) = (text.get(..head_end), text.get(tail_begin..));
    let left_out = tail_begin - head_end;
    let (head, tail) = (head.unwrap_or_default(), tail.unwrap_or_default());
    format!("{head}\n[… {left_out} bytes left out …]\n{tail}").into()
}

/// As people write it: `3d`, `1h 30m`, `45s`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        if seconds >= unit && parts.len() < 2 {
            parts.push(format!("{}{name}", seconds / unit));
            seconds %= unit;
        }
    }
    if parts.is_empty() { format!("{}ms", duration.as_millis()) } else { parts.join(" ") }
}

pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {unit_name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_without_being_configured_runs_dry() {
        let defaults: Vec<Settings> = BUILT_INS.iter().filter_map(BuiltIn::by_default).collect();
        let names: Vec<&str> = defaults.iter().map(|settings| &*settings.name).collect();
        let expected = [
            "cleanup_temp_files",
            "cleanup_old_logs",
            "flush_dns_cache",
            "report_disk_usage",
            "reap_zombies",
        ];
        assert_eq!(names, expected);
        assert!(defaults.iter().all(|settings| settings.dry_run));
    }

    #[test]
    fn a_long_output_keeps_its_beginning_and_its_end() {
        let text = format!("first {} last", "ü".repeat(4000));
        let kept = cut(&text);
        assert!(kept.len() < MOST_OUTPUT + 50, "{}", kept.len());
        assert!(kept.starts_with("first ü") && kept.ends_with("ü last"));
        assert_eq!(&*cut("short"), "short");
    }

    #[test]
    fn sizes_and_durations_read_as_people_write_them() {
        let durations = [(3 * 86_400, "3d"), (5400, "1h 30m"), (45, "45s"), (90_061, "1d 1h")];
        for (seconds, expected) in durations {
            assert_eq!(show_duration(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(show_duration(Duration::from_millis(20)), "20ms");
        assert_eq!(show_size(1023), "1023 B");
        assert_eq!(show_size(1536), "1.5 KiB");
    }
}
