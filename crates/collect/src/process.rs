//! The process's own figures, by the standard `process_*` names: read live when asked for, never
//! journaled or stored. Always of this process, whatever host the collectors look at. Sources:
//! `/proc/self/stat` (fs/proc/array.c), `/proc/self/fd` (fs/proc/fd.c), getrlimit(2) and the
//! time since boot, which that file counts in.

use std::{
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
};

use farol_model::{Labels, Metric, Sample, Text, Timestamp};
use rustix::{
    process::Resource,
    time::{ClockId, clock_gettime},
};

use crate::{CollectError, Host, HotFile, Tree};

const CPU: Metric = Metric::counter(
    "process_cpu_seconds_total",
    "seconds",
    "Total user and system CPU time spent in seconds.",
);
const MAX_FDS: Metric =
    Metric::gauge("process_max_fds", "", "Maximum number of open file descriptors.");
const OPEN_FDS: Metric = Metric::gauge("process_open_fds", "", "Number of open file descriptors.");
const RESIDENT: Metric =
    Metric::gauge("process_resident_memory_bytes", "bytes", "Resident memory size in bytes.");
const START_TIME: Metric = Metric::gauge(
    "process_start_time_seconds",
    "seconds",
    "Start time of the process since unix epoch in seconds.",
);
const THREADS: Metric = Metric::gauge("process_threads", "", "Number of OS threads.");
const UPTIME: Metric =
    Metric::gauge("process_uptime_seconds", "seconds", "Time since the process started.");
const VIRTUAL: Metric =
    Metric::gauge("process_virtual_memory_bytes", "bytes", "Virtual memory size in bytes.");
const VIRTUAL_MAX: Metric = Metric::gauge(
    "process_virtual_memory_max_bytes",
    "bytes",
    "Maximum amount of virtual memory available in bytes.",
);

pub const METRICS: &[Metric] =
    &[CPU, MAX_FDS, OPEN_FDS, RESIDENT, START_TIME, THREADS, UPTIME, VIRTUAL, VIRTUAL_MAX];

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    pub cpu_seconds: f64,
    pub resident_bytes: f64,
    pub virtual_bytes: f64,
    pub threads: f64,
    pub start_time_seconds: f64,
    pub uptime_seconds: f64,
    pub open_fds: Option<f64>,
    /// `None` when there is no limit.
    pub max_fds: Option<f64>,
    pub virtual_max_bytes: Option<f64>,
}

pub fn read(now: Timestamp) -> Result<Figures, CollectError> {
    let stat = OWN_STAT.lock().unwrap_or_else(PoisonError::into_inner).read()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let uptime = uptime(since_boot(), stat.start_ticks as f64 / ticks_per_second);
    Ok(Figures {
        cpu_seconds: stat.cpu_ticks as f64 / ticks_per_second,
        resident_bytes: stat.resident_pages as f64 * rustix::param::page_size() as f64,
        virtual_bytes: stat.virtual_bytes as f64,
        threads: stat.threads as f64,
        start_time_seconds: START.steady(now.as_seconds() - uptime),
        uptime_seconds: uptime,
        open_fds: open_fds(),
        max_fds: limit(Resource::Nofile),
        virtual_max_bytes: limit(Resource::As),
    })
}

/// Kept open between scrapes: opening it costs more than reading it.
struct OwnStat {
    machine: Host,
    file: HotFile,
}

static OWN_STAT: LazyLock<Mutex<OwnStat>> = LazyLock::new(|| {
    Mutex::new(OwnStat { machine: Host::local(), file: HotFile::new(Tree::Proc, "self/stat") })
});

impl OwnStat {
    fn read(&mut self) -> Result<Stat, CollectError> {
        let bytes = self.file.read(&self.machine)?;
        Stat::parse(&String::from_utf8_lossy(bytes))
            .ok_or_else(|| CollectError::Failed("/proc/self/stat: not as expected".into()))
    }
}

/// In the same count as the process's start: a step of the wall clock does not show in it.
fn since_boot() -> f64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn limit(resource: Resource) -> Option<f64> {
    rustix::process::getrlimit(resource).current.map(|limit| limit as f64)
}

/// Since Linux 6.2 the folder's size is the number of its entries; before, it is 0.
fn open_fds() -> Option<f64> {
    let folder = Path::new("/proc/self/fd");
    let size = std::fs::metadata(folder).ok()?.len();
    if size > 0 {
        return Some(size as f64);
    }
    // The listing itself holds one descriptor open.
    Some((std::fs::read_dir(folder).ok()?.count() as f64 - 1.0).max(0.0))
}

/// The columns of `/proc/self/stat` that count here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name in parentheses can hold anything, also spaces and parentheses.
        let (_, columns) = text.rsplit_once(')')?;
        let mut columns = columns.split_ascii_whitespace();
        // The first column after the name is the third of the line.
        let mut at = 3;
        let mut column = |wanted: usize| {
            let value = columns.nth(wanted - at)?.parse::<u64>().ok();
            at = wanted + 1;
            value
        };
        let (user_ticks, system_ticks) = (column(14)?, column(15)?);
        Some(Stat {
            cpu_ticks: user_ticks + system_ticks,
            threads: column(20)?,
            start_ticks: column(22)?,
            virtual_bytes: column(23)?,
            resident_pages: column(24)?,
        })
    }
}

/// To the kernel's tick; below that it is noise.
fn uptime(now: f64, started: f64) -> f64 {
    ((now - started).max(0.0) * 100.0).round() / 100.0
}

/// The time of start follows from now and the uptime. Read twice it differs by a tick, so the
/// first is kept until the clock was stepped.
struct Start(Mutex<Option<f64>>);

static START: Start = Start(Mutex::new(None));

impl Start {
    const STEP_SECONDS: f64 = 1.0;

    fn steady(&self, computed: f64) -> f64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *kept {
            Some(start) if (start - computed).abs() < Start::STEP_SECONDS => start,
            _ => *kept.insert((computed * 100.0).round() / 100.0),
        }
    }
}

/// The figures as samples, sorted by name.
pub fn samples(figures: &Figures) -> Vec<Sample> {
    let rows = [
        (CPU, Some(figures.cpu_seconds)),
        (MAX_FDS, figures.max_fds),
        (OPEN_FDS, figures.open_fds),
        (RESIDENT, Some(figures.resident_bytes)),
        (START_TIME, Some(figures.start_time_seconds)),
        (THREADS, Some(figures.threads)),
        (UPTIME, Some(figures.uptime_seconds)),
        (VIRTUAL, Some(figures.virtual_bytes)),
        (VIRTUAL_MAX, figures.virtual_max_bytes),
    ];
    let sample = |(metric, value): (Metric, Option<f64>)| {
        let name = Text::from_static(metric.name);
        Some(Sample { name, labels: Labels::empty(), value: value? })
    };
    rows.into_iter().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_found_behind_a_name_with_parentheses() {
        let text = "26231 (a) b (c) R 5392 7446 5392 34835 7446 4218880 32533 309516 26 82 1677 44 158 99 20 0 3 0 82375 56274944 1981 18446744073709551615 0 0";
        let expected = Stat {
            cpu_ticks: 1677 + 44,
            threads: 3,
            start_ticks: 82375,
            virtual_bytes: 56_274_944,
            resident_pages: 1981,
        };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("1 (x) R 2 3"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn uptime_counts_from_boot_and_is_never_negative() {
        assert_eq!(uptime(1000.501, 900.25), 100.25);
        assert_eq!(uptime(10.0, 10.01), 0.0);
    }

    #[test]
    fn the_time_of_start_holds_still_and_follows_a_stepped_clock() {
        let start = Start(Mutex::new(None));
        assert_eq!(start.steady(1000.004), 1000.0);
        assert_eq!(start.steady(1000.9), 1000.0);
        assert_eq!(start.steady(5000.0), 5000.0);
    }

    #[test]
    fn this_process_has_figures_sorted_by_name() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let figures = read(now).unwrap();
        assert!(figures.resident_bytes > 0.0 && figures.virtual_bytes >= figures.resident_bytes);
        assert!(figures.threads >= 1.0);
        assert!(figures.open_fds.unwrap() >= 3.0);
        let samples = samples(&figures);
        assert!(samples.is_sorted_by(|a, b| a.name < b.name));
        assert!(METRICS.iter().map(|metric| metric.name).is_sorted());
    }
}
