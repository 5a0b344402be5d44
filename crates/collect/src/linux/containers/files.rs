//! A container's files and what is in them.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/{memory,cpuacct,blkio-controller,
//! pids}.rst and scheduler/sched-bwc.rst. Times are microseconds in v2; in v1 they are nanoseconds,
//! except `cpuacct.stat`, which counts in clock ticks. "max", -1 and v1's largest number of whole
//! pages mean no limit; those are absent (cAdvisor says 0, which a limit can be too).

use std::{fs::File, io, path::Path};

use super::{
    super::{lines, pressure},
    tree::Hierarchy,
};
use crate::host::{open, read_records};

/// What a container's files say; what they do not is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) cpu_user_seconds: Option<f64>,
    pub(super) cpu_system_seconds: Option<f64>,
    pub(super) periods: Option<u64>,
    pub(super) throttled_periods: Option<u64>,
    pub(super) throttled_seconds: Option<f64>,
    /// Microseconds, as in the files and in cAdvisor.
    pub(super) quota: Option<u64>,
    pub(super) period: Option<u64>,
    pub(super) shares: Option<u64>,
    pub(super) memory_usage: Option<u64>,
    pub(super) inactive_file: Option<u64>,
    pub(super) memory_max_usage: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) swap_limit: Option<u64>,
    pub(super) rss: Option<u64>,
    pub(super) cache: Option<u64>,
    pub(super) mapped_file: Option<u64>,
    pub(super) swap: Option<u64>,
    pub(super) failures: Option<u64>,
    pub(super) out_of_memory: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) threads_max: Option<u64>,
    pub(super) cpu_pressure: Pressure,
    pub(super) memory_pressure: Pressure,
    pub(super) io_pressure: Pressure,
    pub(super) io: Vec<DeviceIo>,
}

impl Figures {
    /// What cannot be given back at once: what is used without the files that lie unused.
    pub(super) fn working_set(&self) -> Option<u64> {
        Some(self.memory_usage?.saturating_sub(self.inactive_file?))
    }

    /// Forgets what was measured, and keeps what was set and what only a limit changes: these are
    /// read now and then only.
    pub(super) fn forget_measured(&mut self) {
        let mut io = std::mem::take(&mut self.io);
        io.clear();
        *self = Figures {
            quota: self.quota,
            period: self.period,
            shares: self.shares,
            memory_limit: self.memory_limit,
            swap_limit: self.swap_limit,
            threads_max: self.threads_max,
            failures: self.failures.filter(|_| self.memory_limit.is_none()),
            io,
            ..Figures::default()
        };
    }

    fn device(&mut self, numbers: &str) -> &mut DeviceIo {
        let at = self.io.iter().position(|device| device.numbers == numbers);
        let at = at.unwrap_or_else(|| {
            self.io.push(DeviceIo { numbers: numbers.to_owned(), ..DeviceIo::default() });
            self.io.len() - 1
        });
        &mut self.io[at]
    }
}

/// Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pressure {
    pub(super) waiting: Option<f64>,
    pub(super) stalled: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeviceIo {
    /// `8:0`.
    pub(super) numbers: String,
    pub(super) read_bytes: Option<u64>,
    pub(super) written_bytes: Option<u64>,
    pub(super) reads: Option<u64>,
    pub(super) writes: Option<u64>,
}

/// One file of each container.
pub(super) struct Source {
    pub(super) hierarchy: Hierarchy,
    pub(super) name: &'static str,
    /// Its name in kernels that do not have `name`.
    or: Option<&'static str>,
    /// For a file of v2: the v1 hierarchy that says the same, and is believed where it is mounted.
    unless: Option<Hierarchy>,
    /// Whether it holds what somebody set, and need not be read at every tick.
    is_setting: bool,
    /// Whether there is the limit without which nothing in it changes; then it is as a setting.
    has_limit: fn(&Figures) -> bool,
    /// `None` for a text that is not as expected.
    parse: fn(&str, &mut Figures) -> Option<()>,
}

const fn v1(
    hierarchy: Hierarchy,
    name: &'static str,
    parse: fn(&str, &mut Figures) -> Option<()>,
) -> Source {
    let (or, unless) = (None, None);
    Source { hierarchy, name, or, unless, is_setting: false, has_limit: |_| true, parse }
}

const fn v2(
    unless: Option<Hierarchy>,
    name: &'static str,
    parse: fn(&str, &mut Figures) -> Option<()>,
) -> Source {
    Source { unless, ..v1(Hierarchy::Unified, name, parse) }
}

const fn setting(source: Source) -> Source {
    Source { is_setting: true, ..source }
}

const fn under(has_limit: fn(&Figures) -> bool, source: Source) -> Source {
    Source { has_limit, ..source }
}

const fn v1_or(source: Source, or: &'static str) -> Source {
    Source { or: Some(or), ..source }
}

pub(super) const SOURCES: &[Source] = &[
    v1(Hierarchy::Cpuacct, "cpuacct.usage", |text, figures| {
        set(&mut figures.cpu_seconds, seconds(number(text)?, 1e9))
    }),
    v1(Hierarchy::Cpuacct, "cpuacct.stat", cpuacct_stat),
    under(|figures| figures.quota.is_some(), v1(Hierarchy::Cpu, "cpu.stat", cpu_stat)),
    setting(v1(Hierarchy::Cpu, "cpu.cfs_quota_us", |text, figures| {
        set_unless("-1", text, &mut figures.quota)
    })),
    setting(v1(Hierarchy::Cpu, "cpu.cfs_period_us", |text, figures| {
        set(&mut figures.period, number(text)?)
    })),
    setting(v1(Hierarchy::Cpu, "cpu.shares", |text, figures| {
        set(&mut figures.shares, number(text)?)
    })),
    v1(Hierarchy::Memory, "memory.usage_in_bytes", memory_usage),
    v1(Hierarchy::Memory, "memory.max_usage_in_bytes", memory_max_usage),
    setting(v1(Hierarchy::Memory, "memory.limit_in_bytes", |text, figures| {
        set_limit(text, &mut figures.memory_limit)
    })),
    // The limit of memory and swap together, as in cAdvisor; in v2 it is that of swap alone.
    setting(v1(Hierarchy::Memory, "memory.memsw.limit_in_bytes", |text, figures| {
        set_limit(text, &mut figures.swap_limit)
    })),
    under(
        |figures| figures.memory_limit.is_some(),
        v1(Hierarchy::Memory, "memory.failcnt", |text, figures| {
            set(&mut figures.failures, number(text)?)
        }),
    ),
    v1(Hierarchy::Memory, "memory.oom_control", |text, figures| {
        // Since Linux 4.13 with the count.
        pairs(text, |key, value| {
            if key == "oom_kill" {
                figures.out_of_memory = Some(value);
            }
        })
    }),
    v1(Hierarchy::Memory, "memory.stat", memory_stat_v1),
    v1_or(
        v1(Hierarchy::Blkio, "blkio.throttle.io_service_bytes_recursive", |text, figures| {
            blkio(text, figures, |device| (&mut device.read_bytes, &mut device.written_bytes))
        }),
        "blkio.throttle.io_service_bytes",
    ),
    v1_or(
        v1(Hierarchy::Blkio, "blkio.throttle.io_serviced_recursive", |text, figures| {
            blkio(text, figures, |device| (&mut device.reads, &mut device.writes))
        }),
        "blkio.throttle.io_serviced",
    ),
    v1(Hierarchy::Pids, "pids.current", threads),
    setting(v1(Hierarchy::Pids, "pids.max", threads_max)),
    v2(Some(Hierarchy::Cpuacct), "cpu.stat", cpu_stat),
    setting(v2(Some(Hierarchy::Cpu), "cpu.max", cpu_max)),
    v2(Some(Hierarchy::Memory), "memory.current", memory_usage),
    v2(Some(Hierarchy::Memory), "memory.peak", memory_max_usage),
    setting(v2(Some(Hierarchy::Memory), "memory.max", |text, figures| {
        set_limit(text, &mut figures.memory_limit)
    })),
    v2(Some(Hierarchy::Memory), "memory.swap.current", |text, figures| {
        set(&mut figures.swap, number(text)?)
    }),
    setting(v2(Some(Hierarchy::Memory), "memory.swap.max", |text, figures| {
        set_limit(text, &mut figures.swap_limit)
    })),
    v2(Some(Hierarchy::Memory), "memory.events", |text, figures| {
        pairs(text, |key, value| match key {
            "max" => figures.failures = Some(value),
            "oom_kill" => figures.out_of_memory = Some(value),
            _ => {}
        })
    }),
    v2(Some(Hierarchy::Memory), "memory.stat", memory_stat_v2),
    v2(Some(Hierarchy::Blkio), "io.stat", io_stat),
    v2(Some(Hierarchy::Pids), "pids.current", threads),
    setting(v2(Some(Hierarchy::Pids), "pids.max", threads_max)),
    v2(None, "cpu.pressure", |text, figures| pressure(text, &mut figures.cpu_pressure)),
    v2(None, "memory.pressure", |text, figures| pressure(text, &mut figures.memory_pressure)),
    v2(None, "io.pressure", |text, figures| pressure(text, &mut figures.io_pressure)),
];

/// A source of one container. The descriptor is kept while the budget allows.
pub(super) struct Kept {
    pub(super) source: &'static Source,
    open: Option<File>,
    is_missing: bool,
}

impl Kept {
    /// Of the sources that count where these hierarchies are mounted.
    pub(super) fn all(is_mounted: impl Fn(Hierarchy) -> bool) -> Vec<Kept> {
        let counts = |source: &&Source| {
            is_mounted(source.hierarchy) && !source.unless.is_some_and(&is_mounted)
        };
        let kept = |source| Kept { source, open: None, is_missing: false };
        SOURCES.iter().filter(counts).map(kept).collect()
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Reads the file and takes its figures; says whether there were any. A file that is not there is
    /// no error: its controller may be off, its kernel older, or the container gone. It is looked for
    /// again when told to.
    pub(super) fn read(
        &mut self,
        reading: &mut Reading<'_>,
        figures: &mut Figures,
    ) -> io::Result<bool> {
        let is_as_before = self.source.is_setting || !(self.source.has_limit)(figures);
        if (self.is_missing || is_as_before) && !reading.look_again {
            return Ok(false);
        }
        let length = match self.load(reading) {
            Ok(length) => length,
            Err(error) if is_absence(&error) => {
                self.is_missing = true;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.is_missing = false;
        let text = std::str::from_utf8(&reading.buffer[..length]).ok();
        let parsed = text.and_then(|text| (self.source.parse)(text, figures));
        let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "not as expected");
        parsed.map(|()| true).ok_or_else(unexpected)
    }

    fn load(&mut self, reading: &mut Reading<'_>) -> io::Result<usize> {
        if let Some(file) = self.open.take()
            && let Ok(length) = read_records(&file, reading.buffer)
        {
            self.open = Some(file);
            return Ok(length);
        }
        let file = match (open(&reading.folder.join(self.source.name)), self.source.or) {
            (Err(error), Some(or)) if is_absence(&error) => open(&reading.folder.join(or))?,
            (opened, _) => opened?,
        };
        let length = read_records(&file, reading.buffer)?;
        if *reading.may_keep > 0 && !self.source.is_setting {
            *reading.may_keep -= 1;
            self.open = Some(file);
        }
        Ok(length)
    }
}

/// What reading one container's files needs.
pub(super) struct Reading<'a> {
    pub(super) folder: &'a Path,
    pub(super) buffer: &'a mut Vec<u8>,
    /// How many more descriptors may be kept.
    pub(super) may_keep: &'a mut usize,
    /// Whether files that were not there are looked for, and settings read.
    pub(super) look_again: bool,
}

/// A group that was removed refuses its open files with ENODEV; pressure files refuse with
/// EOPNOTSUPP where the accounting is off.
fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let refused = [Errno::NODEV, Errno::OPNOTSUPP].map(|errno| Some(errno.raw_os_error()));
    error.kind() == io::ErrorKind::NotFound || refused.contains(&error.raw_os_error())
}

fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    *place = Some(value);
    Some(())
}

fn number(text: &str) -> Option<u64> {
    text.trim_ascii().parse().ok()
}

fn seconds(count: u64, per_second: f64) -> f64 {
    count as f64 / per_second
}

/// The word `none` leaves the place empty.
fn set_unless(none: &str, text: &str, place: &mut Option<u64>) -> Option<()> {
    let text = text.trim_ascii();
    *place = None;
    if text != none {
        *place = Some(text.parse().ok()?);
    }
    Some(())
}

/// v1 says "no limit" with the largest number of whole pages in 63 bits, and pages differ between
/// machines; cAdvisor draws the line here too.
const UNLIMITED: u64 = 1 << 62;

fn set_limit(text: &str, place: &mut Option<u64>) -> Option<()> {
    set_unless("max", text, place)?;
    *place = place.filter(|limit| *limit < UNLIMITED);
    Some(())
}

/// Whatever a kernel adds is passed over, but there must be some pairs.
fn pairs(text: &str, mut each: impl FnMut(&str, u64)) -> Option<()> {
    let mut found = None;
    for (key, value) in lines::pairs(text) {
        each(key, value);
        found = Some(());
    }
    found
}

fn cpuacct_stat(text: &str, figures: &mut Figures) -> Option<()> {
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    pairs(text, |key, ticks| match key {
        "user" => figures.cpu_user_seconds = Some(seconds(ticks, per_second)),
        "system" => figures.cpu_system_seconds = Some(seconds(ticks, per_second)),
        _ => {}
    })
}

/// v1's file has the throttling only, in nanoseconds; v2's the times too, in microseconds.
fn cpu_stat(text: &str, figures: &mut Figures) -> Option<()> {
    pairs(text, |key, value| match key {
        "usage_usec" => figures.cpu_seconds = Some(seconds(value, 1e6)),
        "user_usec" => figures.cpu_user_seconds = Some(seconds(value, 1e6)),
        "system_usec" => figures.cpu_system_seconds = Some(seconds(value, 1e6)),
        "nr_periods" => figures.periods = Some(value),
        "nr_throttled" => figures.throttled_periods = Some(value),
        "throttled_usec" => figures.throttled_seconds = Some(seconds(value, 1e6)),
        "throttled_time" => figures.throttled_seconds = Some(seconds(value, 1e9)),
        _ => {}
    })
}

/// `max 100000` or `50000 100000`.
fn cpu_max(text: &str, figures: &mut Figures) -> Option<()> {
    let (quota, period) = text.split_once(' ')?;
    set_unless("max", quota, &mut figures.quota)?;
    set(&mut figures.period, number(period)?)
}

fn memory_usage(text: &str, figures: &mut Figures) -> Option<()> {
    set(&mut figures.memory_usage, number(text)?)
}

fn memory_max_usage(text: &str, figures: &mut Figures) -> Option<()> {
    set(&mut figures.memory_max_usage, number(text)?)
}

/// The `total_` fields cover the same groups as the usage does: with `use_hierarchy` those inside
/// too, without it they are equal to the others.
fn memory_stat_v1(text: &str, figures: &mut Figures) -> Option<()> {
    pairs(text, |key, value| match key {
        "total_rss" => figures.rss = Some(value),
        "total_cache" => figures.cache = Some(value),
        "total_mapped_file" => figures.mapped_file = Some(value),
        "total_swap" => figures.swap = Some(value),
        "total_inactive_file" => figures.inactive_file = Some(value),
        _ => {}
    })
}

fn memory_stat_v2(text: &str, figures: &mut Figures) -> Option<()> {
    pairs(text, |key, value| match key {
        "anon" => figures.rss = Some(value),
        "file" => figures.cache = Some(value),
        "file_mapped" => figures.mapped_file = Some(value),
        "inactive_file" => figures.inactive_file = Some(value),
        _ => {}
    })
}

fn threads(text: &str, figures: &mut Figures) -> Option<()> {
    set(&mut figures.threads, number(text)?)
}

fn threads_max(text: &str, figures: &mut Figures) -> Option<()> {
    set_unless("max", text, &mut figures.threads_max)
}

/// `8:0 Read 4096`; other operations, and the sum line `Total 4096`, are passed over. A container
/// without I/O has an empty file.
fn blkio(
    text: &str,
    figures: &mut Figures,
    places: fn(&mut DeviceIo) -> (&mut Option<u64>, &mut Option<u64>),
) -> Option<()> {
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(numbers), Some(operation), Some(value)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if !matches!(operation, "Read" | "Write") {
            continue;
        }
        let value = value.parse().ok()?;
        let (reads, writes) = places(figures.device(numbers));
        *(if operation == "Read" { reads } else { writes }) = Some(value);
    }
    Some(())
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. Some kernels print a device's numbers and
/// nothing else, without ending the line: then the next device's follow.
fn io_stat(text: &str, figures: &mut Figures) -> Option<()> {
    for line in text.lines() {
        let mut numbers = None;
        for field in line.split_ascii_whitespace() {
            let Some((key, value)) = field.split_once('=') else {
                numbers = Some(field);
                continue;
            };
            let (Some(numbers), Ok(value)) = (numbers, value.parse()) else { continue };
            match key {
                "rbytes" => figures.device(numbers).read_bytes = Some(value),
                "wbytes" => figures.device(numbers).written_bytes = Some(value),
                "rios" => figures.device(numbers).reads = Some(value),
                "wios" => figures.device(numbers).writes = Some(value),
                _ => {}
            }
        }
    }
    Some(())
}

fn pressure(text: &str, pressure: &mut Pressure) -> Option<()> {
    for line in text.lines() {
        let (word, micros) = pressure::parse_line(line)?;
        match word {
            "some" => pressure.waiting = Some(seconds(micros, 1e6)),
            "full" => pressure.stalled = Some(seconds(micros, 1e6)),
            _ => {}
        }
    }
    Some(())
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    let mut figures = Figures::default();
    for source in SOURCES {
        (source.parse)(text, &mut figures);
    }
    figures.working_set();
    figures.forget_measured();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, hierarchy: Hierarchy, text: &str) -> Figures {
        let mut figures = Figures::default();
        let of = |source: &&Source| source.name == name && source.hierarchy == hierarchy;
        let source = SOURCES.iter().find(of).expect("a source");
        (source.parse)(text, &mut figures).expect("as expected");
        figures
    }

    #[test]
    fn v1_counts_in_nanoseconds_and_in_ticks() {
        let figures = parse("cpuacct.usage", Hierarchy::Cpuacct, "2500000000\n");
        assert_eq!(figures.cpu_seconds, Some(2.5));
        let figures = parse("cpuacct.stat", Hierarchy::Cpuacct, "user 150\nsystem 50\n");
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(figures.cpu_user_seconds, Some(150.0 / per_second));
        assert_eq!(figures.cpu_system_seconds, Some(50.0 / per_second));
        let stat = "nr_periods 10\nnr_throttled 4\nthrottled_time 1500000000\nnr_bursts 0\n";
        let figures = parse("cpu.stat", Hierarchy::Cpu, stat);
        assert_eq!((figures.periods, figures.throttled_periods), (Some(10), Some(4)));
        assert_eq!(figures.throttled_seconds, Some(1.5));
        assert_eq!(figures.cpu_seconds, None);
    }

    #[test]
    fn v2_counts_in_microseconds() {
        let stat = "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\nnr_periods 10\n\
                    nr_throttled 4\nthrottled_usec 1500000\n";
        let figures = parse("cpu.stat", Hierarchy::Unified, stat);
        assert_eq!(figures.cpu_seconds, Some(2.5));
        assert_eq!(figures.cpu_user_seconds, Some(1.5));
        assert_eq!(figures.cpu_system_seconds, Some(1.0));
        assert_eq!(figures.throttled_seconds, Some(1.5));
    }

    #[test]
    fn no_limit_is_absent_however_it_is_said() {
        for text in ["max\n", "9223372036854771712\n", "9223372036854710272\n"] {
            let figures = parse("memory.limit_in_bytes", Hierarchy::Memory, text);
            assert_eq!(figures.memory_limit, None, "{text}");
        }
        let figures = parse("memory.max", Hierarchy::Unified, "67108864\n");
        assert_eq!(figures.memory_limit, Some(67_108_864));
        assert_eq!(set_limit("-1", &mut None), None);
        let figures = parse("cpu.cfs_quota_us", Hierarchy::Cpu, "-1\n");
        assert_eq!(figures.quota, None);
        let figures = parse("cpu.max", Hierarchy::Unified, "max 100000\n");
        assert_eq!((figures.quota, figures.period), (None, Some(100_000)));
        let figures = parse("cpu.max", Hierarchy::Unified, "50000 100000\n");
        assert_eq!((figures.quota, figures.period), (Some(50_000), Some(100_000)));
        assert_eq!(parse("pids.max", Hierarchy::Unified, "max\n").threads_max, None);
        assert_eq!(parse("pids.max", Hierarchy::Pids, "50\n").threads_max, Some(50));
    }

    #[test]
    fn the_working_set_is_never_below_nothing() {
        let figures = |usage, inactive_file| Figures {
            memory_usage: usage,
            inactive_file,
            ..Figures::default()
        };
        assert_eq!(figures(Some(10), Some(4)).working_set(), Some(6));
        assert_eq!(figures(Some(4), Some(10)).working_set(), Some(0));
        assert_eq!(figures(Some(4), None).working_set(), None);
    }

    #[test]
    fn v1_s_memory_is_that_of_the_groups_inside_too() {
        let stat = "cache 1\nrss 2\nhierarchical_memory_limit 9223372036854771712\ntotal_cache 10\n\
                    total_rss 20\ntotal_mapped_file 5\ntotal_swap 3\ntotal_inactive_file 4\n";
        let figures = parse("memory.stat", Hierarchy::Memory, stat);
        assert_eq!((figures.cache, figures.rss, figures.swap), (Some(10), Some(20), Some(3)));
        assert_eq!((figures.mapped_file, figures.inactive_file), (Some(5), Some(4)));
    }

    #[test]
    fn v2_s_memory_and_its_events() {
        let stat = "anon 20\nfile 10\nkernel 7\nfile_mapped 5\ninactive_file 4\n";
        let figures = parse("memory.stat", Hierarchy::Unified, stat);
        assert_eq!((figures.cache, figures.rss, figures.swap), (Some(10), Some(20), None));
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        let figures = parse("memory.events", Hierarchy::Unified, events);
        assert_eq!((figures.failures, figures.out_of_memory), (Some(12), Some(2)));
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        let figures = parse("memory.oom_control", Hierarchy::Memory, control);
        assert_eq!(figures.out_of_memory, Some(2));
    }

    #[test]
    fn each_device_s_reads_and_writes_are_told_apart() {
        let text = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 0\n8:0 Total 12288\n\
                    253:1 Read 1\n253:1 Write 0\nTotal 12289\n";
        let name = "blkio.throttle.io_service_bytes_recursive";
        let figures = parse(name, Hierarchy::Blkio, text);
        let numbers: Vec<_> = figures.io.iter().map(|device| device.numbers.as_str()).collect();
        assert_eq!(numbers, ["8:0", "253:1"]);
        assert_eq!(figures.io[0].read_bytes, Some(4096));
        assert_eq!(figures.io[0].written_bytes, Some(8192));
        assert_eq!(figures.io[0].reads, None);
        assert_eq!(parse(name, Hierarchy::Blkio, "").io, []);
    }

    #[test]
    fn a_device_without_figures_does_not_take_the_next_ones() {
        let text = "7:0 8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:0 \n";
        let figures = parse("io.stat", Hierarchy::Unified, text);
        assert_eq!(
            figures.io,
            [DeviceIo {
                numbers: "8:0".into(),
                read_bytes: Some(1),
                written_bytes: Some(2),
                reads: Some(3),
                writes: Some(4),
            }]
        );
    }

    #[test]
    fn pressure_is_in_seconds() {
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n";
        let figures = parse("cpu.pressure", Hierarchy::Unified, text);
        assert_eq!(figures.cpu_pressure, Pressure { waiting: Some(1.5), stalled: Some(0.5) });
    }

    #[test]
    fn a_text_that_is_something_else_is_refused() {
        let mut figures = Figures::default();
        assert_eq!(memory_usage("many", &mut figures), None);
        assert_eq!(cpu_stat("", &mut figures), None);
        assert_eq!(cpu_max("max", &mut figures), None);
        assert_eq!(pressure("some", &mut figures.cpu_pressure), None);
        assert_eq!(figures, Figures::default());
    }

    #[test]
    fn v1_is_believed_where_both_are_mounted() {
        let hybrid = |hierarchy| matches!(hierarchy, Hierarchy::Memory | Hierarchy::Unified);
        let names: Vec<_> = Kept::all(hybrid).iter().map(|kept| kept.source.name).collect();
        assert!(names.contains(&"memory.usage_in_bytes") && names.contains(&"memory.pressure"));
        assert!(names.contains(&"cpu.stat") && names.contains(&"io.stat"));
        assert!(!names.contains(&"memory.current"));
    }
}
