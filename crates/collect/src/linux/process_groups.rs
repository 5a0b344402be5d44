//! `process_groups`: the figures of configured groups of processes, summed up, under the names of
//! process-exporter (github.com/ncabatoff/process-exporter), so that its dashboards work.
//!
//! A counter of a group is what its processes have used *while they were seen in it*: it starts
//! from 0 with Farol (and with a reload), takes the whole life of a process that began since, and keeps what those have
//! used that are gone. So it never goes back while Farol runs. What a process uses between the last
//! tick and its end is not seen by anybody.

use std::sync::Arc;

use farol_model::{Lane, Metric};

use super::{
    process_files::Io,
    process_table::{
        About, COUNTERS, MAJOR_FAULTS, MINOR_FAULTS, Process, ProcessTable, SYSTEM_TICKS, Table,
        USER_TICKS,
    },
    top::IO_DENIED,
};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, ProcessGroup, Scope, Scrape,
};

const CPU_SECONDS: &str = "namedprocess_namegroup_cpu_seconds_total";
const MAJOR_PAGE_FAULTS: &str = "namedprocess_namegroup_major_page_faults_total";
const MEMORY_BYTES: &str = "namedprocess_namegroup_memory_bytes";
const MINOR_PAGE_FAULTS: &str = "namedprocess_namegroup_minor_page_faults_total";
const NUM_PROCS: &str = "namedprocess_namegroup_num_procs";
const NUM_THREADS: &str = "namedprocess_namegroup_num_threads";
const OLDEST_START: &str = "namedprocess_namegroup_oldest_start_time_seconds";
const OPEN_DESCRIPTORS: &str = "namedprocess_namegroup_open_filedesc";
const READ_BYTES: &str = "namedprocess_namegroup_read_bytes_total";
const STATES: &str = "namedprocess_namegroup_states";
const WRITE_BYTES: &str = "namedprocess_namegroup_write_bytes_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "process_groups",
    about: "figures of the configured groups of processes (`process_groups`)",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Processes,
    reads: &[
        "/proc/stat",
        "/proc/<pid>/stat",
        "/proc/<pid>/io",
        "/proc/<pid>/fd",
        "/proc/<pid>/status",
        "/proc/<pid>/cgroup",
        "/etc/passwd",
    ],
    metrics: &[
        Metric::counter(CPU_SECONDS, "seconds", "Cpu user usage in seconds"),
        Metric::counter(MAJOR_PAGE_FAULTS, "", "Major page faults"),
        Metric::gauge(MEMORY_BYTES, "bytes", "number of bytes of memory in use"),
        Metric::counter(MINOR_PAGE_FAULTS, "", "Minor page faults"),
        Metric::gauge(NUM_PROCS, "", "number of processes in this group"),
        Metric::gauge(NUM_THREADS, "", "Number of threads"),
        Metric::gauge(
            OLDEST_START,
            "seconds",
            "start time in seconds since 1970/01/01 of oldest process in group",
        ),
        Metric::gauge(OPEN_DESCRIPTORS, "", "number of open file descriptors for this group"),
        Metric::counter(READ_BYTES, "bytes", "number of bytes read by this group"),
        Metric::gauge(
            STATES,
            "",
            "Number of processes in states Running, Sleeping, Waiting, Zombie, or Other",
        ),
        Metric::counter(WRITE_BYTES, "bytes", "number of bytes written by this group"),
    ],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let groups = options.process_groups.clone();
    Ok(Box::new(ProcessGroups {
        table: Arc::clone(&options.processes),
        kept: vec![Kept::default(); groups.len()],
        now: Vec::new(),
        goes_by_about: groups.iter().any(|group| group.unit.is_some() || group.user.is_some()),
        groups,
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
    }))
}

struct ProcessGroups {
    table: Arc<ProcessTable>,
    groups: Vec<ProcessGroup>,
    /// By group: what must not go back.
    kept: Vec<Kept>,
    /// By group, made anew at each tick.
    now: Vec<Now>,
    /// Whether any group asks for more than the name.
    goes_by_about: bool,
    ticks_per_second: f64,
}

#[derive(Clone, Copy, Default)]
struct Kept {
    counters: [u64; COUNTERS],
    /// None until the traffic of some process of the group could be read.
    io: Option<Io>,
}

/// What the processes of a group are at one tick.
#[derive(Clone, Copy, Default)]
struct Now {
    processes: u32,
    threads: u64,
    resident_bytes: u64,
    virtual_bytes: u64,
    states: [u32; STATE_NAMES.len()],
    open_descriptors: u64,
    oldest_start_seconds: Option<f64>,
}

const STATE_NAMES: [&str; 5] = ["Running", "Sleeping", "Waiting", "Zombie", "Other"];

fn state_name(state: u8) -> usize {
    match state {
        b'R' => 0,
        b'S' => 1,
        b'D' => 2,
        b'Z' => 3,
        _ => 4,
    }
}

impl Collector for ProcessGroups {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.table);
        let table = &mut *shared.at(host, out.now())?;
        self.now.clear();
        self.now.resize(self.groups.len(), Now::default());
        let mut is_io_denied = false;
        for index in 0..table.processes().len() {
            let Some(group) = self.group_of(table, index) else { continue };
            table.read_io(index);
            let descriptors = table.open_descriptors(table.processes()[index].pid);
            let process = &table.processes()[index];
            is_io_denied |= process.io.is_denied();
            let start = table.start_seconds(process, self.ticks_per_second);
            self.now[group].add(process, descriptors, start);
            self.kept[group].add(process);
        }
        for (group, (now, kept)) in self.groups.iter().zip(self.now.iter().zip(&self.kept)) {
            push(&group.name, now, kept, self.ticks_per_second, out);
        }
        if is_io_denied {
            out.problem(IO_DENIED);
        }
        if let Some(shortcoming) = table.shortcoming() {
            out.problem(shortcoming);
        }
        Ok(())
    }
}

impl ProcessGroups {
    /// Looked for once for each process, and again when what it goes by has changed.
    fn group_of(&self, table: &mut Table, index: usize) -> Option<usize> {
        if self.goes_by_about {
            table.find_about(index);
        }
        let process = &mut table.processes_mut()[index];
        if std::mem::take(&mut process.is_ungrouped) {
            let fits = |group: &ProcessGroup| fits(group, &process.name, process.about.as_ref());
            process.group = self.groups.iter().position(fits);
        }
        // The table may be older than a change of the groups.
        process.group.filter(|group| *group < self.groups.len())
    }
}

fn fits(group: &ProcessGroup, name: &str, about: Option<&About>) -> bool {
    let of = |pattern: &Option<regex::Regex>, text: Option<&str>| match pattern {
        None => true,
        Some(pattern) => text.is_some_and(|text| pattern.is_match(text)),
    };
    of(&group.process, Some(name))
        && of(&group.unit, about.and_then(|about| about.unit.as_deref()))
        && of(&group.user, about.and_then(|about| about.user.as_deref()))
}

impl Now {
    fn add(&mut self, process: &Process, descriptors: Option<u64>, start: Option<f64>) {
        self.processes += 1;
        self.threads = self.threads.saturating_add(process.threads);
        self.resident_bytes = self.resident_bytes.saturating_add(process.resident_bytes);
        self.virtual_bytes = self.virtual_bytes.saturating_add(process.virtual_bytes);
        self.states[state_name(process.state)] += 1;
        self.open_descriptors = self.open_descriptors.saturating_add(descriptors.unwrap_or(0));
        self.oldest_start_seconds = match (self.oldest_start_seconds, start) {
            (Some(oldest), Some(start)) => Some(oldest.min(start)),
            (oldest, start) => oldest.or(start),
        };
    }
}

impl Kept {
    fn add(&mut self, process: &Process) {
        for (kept, counter) in self.counters.iter_mut().zip(process.counters) {
            *kept = kept.saturating_add(counter.fresh);
        }
        if process.io.is_known() {
            let io = self.io.get_or_insert_default();
            io.read = io.read.saturating_add(process.io.fresh.read);
            io.written = io.written.saturating_add(process.io.fresh.written);
        }
    }
}

fn push(group: &str, now: &Now, kept: &Kept, ticks_per_second: f64, out: &mut Scrape) {
    let labels = [("groupname", group)];
    let by = |label: &'static str, value: &'static str| [("groupname", group), (label, value)];
    out.push(NUM_PROCS, &labels, f64::from(now.processes));
    out.push(NUM_THREADS, &labels, now.threads as f64);
    out.push(MEMORY_BYTES, &by("memtype", "resident"), now.resident_bytes as f64);
    out.push(MEMORY_BYTES, &by("memtype", "virtual"), now.virtual_bytes as f64);
    for (state, count) in STATE_NAMES.into_iter().zip(now.states) {
        out.push(STATES, &by("state", state), f64::from(count));
    }
    for (mode, counter) in [("user", USER_TICKS), ("system", SYSTEM_TICKS)] {
        let seconds = kept.counters[counter] as f64 / ticks_per_second;
        out.push(CPU_SECONDS, &by("mode", mode), seconds);
    }
    out.push(MINOR_PAGE_FAULTS, &labels, kept.counters[MINOR_FAULTS] as f64);
    out.push(MAJOR_PAGE_FAULTS, &labels, kept.counters[MAJOR_FAULTS] as f64);
    if let Some(io) = kept.io {
        out.push(READ_BYTES, &labels, io.read as f64);
        out.push(WRITE_BYTES, &labels, io.written as f64);
    }
    if let Some(start) = now.oldest_start_seconds {
        out.push(OLDEST_START, &labels, start);
    }
    // An older kernel says 0 of every process.
    if now.open_descriptors > 0 {
        out.push(OPEN_DESCRIPTORS, &labels, now.open_descriptors as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farol_model::Timestamp;
    use regex::Regex;

    use super::*;
    use crate::laid_out::write;
    use crate::{Runner, Tick};

    const START: Timestamp = Timestamp::from_millis(1_795_400_000_000);

    struct Machine {
        folder: tempfile::TempDir,
        runner: Runner,
        ticks: u64,
    }

    fn group(name: &str, patterns: [&str; 3]) -> ProcessGroup {
        let [process, unit, user] = patterns.map(|pattern| {
            Some(pattern)
                .filter(|pattern| !pattern.is_empty())
                .map(|pattern| Regex::new(pattern).unwrap())
        });
        ProcessGroup { name: name.to_owned(), process, unit, user }
    }

    impl Machine {
        fn new(groups: &[ProcessGroup]) -> Machine {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { process_groups: groups.to_vec(), ..Options::default() };
            let host = Host::recorded(folder.path());
            std::fs::create_dir_all(host.proc.join("self")).unwrap();
            write(&host.proc.join("self/smaps"), "KernelPageSize: 4 kB\n");
            let patience = Duration::from_secs(20);
            let runner = Runner::new(Lane::Slow, host, &[&ENTRY], &options, patience).unwrap();
            Machine { folder, runner, ticks: 0 }
        }

        fn write(&self, path: &str, text: &str) {
            write(&self.folder.path().join(path), text);
        }

        fn process(&self, pid: u32, name: &str, ticks: u64) {
            let stat = format!(
                "{pid} ({name}) S 1 1 1 0 -1 0 5 0 0 0 {ticks} 0 0 0 20 0 2 0 {pid}00 8192 1 0\n"
            );
            self.write(&format!("proc/{pid}/stat"), &stat);
        }

        fn end(&self, pid: u32) {
            std::fs::remove_dir_all(self.folder.path().join(format!("proc/{pid}"))).unwrap();
        }

        fn tick(&mut self) -> Tick {
            self.ticks += 1;
            self.runner.tick(START.plus(Duration::from_secs(10 * self.ticks)))
        }
    }

    fn value(tick: &Tick, name: &str, group: &str) -> Option<f64> {
        let is_it = |mode: Option<&str>| mode.is_none_or(|mode| mode == "user");
        let mut found = tick.samples.iter().filter(|sample| {
            sample.name == *name
                && sample.labels.get("groupname") == Some(group)
                && is_it(sample.labels.get("mode"))
        });
        found.next().map(|sample| sample.value)
    }

    fn cpu_ticks(tick: &Tick, group: &str) -> f64 {
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        value(tick, CPU_SECONDS, group).unwrap() * hertz
    }

    #[test]
    fn a_group_s_counters_keep_what_its_dead_have_used() {
        let mut machine = Machine::new(&[group("workers", ["^worker$", "", ""])]);
        machine.process(7, "worker", 1000);
        machine.process(8, "other", 1000);
        let first = machine.tick();
        assert_eq!(cpu_ticks(&first, "workers"), 0.0, "what was used before Farol looked");
        assert_eq!(value(&first, NUM_PROCS, "workers"), Some(1.0));
        assert_eq!(value(&first, NUM_THREADS, "workers"), Some(2.0));

        machine.process(7, "worker", 1100);
        machine.process(9, "worker", 30);
        let second = machine.tick();
        assert_eq!(cpu_ticks(&second, "workers"), 130.0, "9 was born since: its whole life counts");

        machine.end(7);
        machine.process(9, "worker", 35);
        let third = machine.tick();
        assert_eq!(cpu_ticks(&third, "workers"), 135.0);
        assert_eq!(value(&third, NUM_PROCS, "workers"), Some(1.0));

        machine.end(9);
        let fourth = machine.tick();
        assert_eq!(cpu_ticks(&fourth, "workers"), 135.0);
        assert_eq!(value(&fourth, NUM_PROCS, "workers"), Some(0.0));
        assert_eq!(value(&fourth, OLDEST_START, "workers"), None);
    }

    #[test]
    fn all_patterns_must_match_and_the_first_group_takes_it() {
        let groups = [
            group("web", ["", "^nginx\\.service$", "^www$"]),
            group("units", ["", "\\.service$", ""]),
            group("rest", ["", "", ""]),
        ];
        let mut machine = Machine::new(&groups);
        machine.write("root/etc/passwd", "www:x:33:\n");
        for (pid, user, unit) in [
            (1, 33, "nginx.service"),
            (2, 0, "nginx.service"),
            (3, 33, "cron.service"),
            (4, 33, ""),
        ] {
            machine.process(pid, "any", 0);
            machine.write(&format!("proc/{pid}/status"), &format!("Uid:\t0\t{user}\t0\t0\n"));
            machine.write(&format!("proc/{pid}/cgroup"), &format!("0::/system.slice/{unit}\n"));
        }
        let tick = machine.tick();
        let counts = ["web", "units", "rest"].map(|name| value(&tick, NUM_PROCS, name));
        assert_eq!(counts, [Some(1.0), Some(2.0), Some(1.0)]);
    }

    #[test]
    fn a_process_that_runs_another_program_changes_groups_and_takes_nothing_along() {
        let mut machine =
            Machine::new(&[group("shells", ["^sh$", "", ""]), group("jobs", ["^job$", "", ""])]);
        machine.process(7, "sh", 10);
        machine.tick();
        machine.process(7, "sh", 15);
        machine.tick();
        machine.process(7, "job", 17);
        let tick = machine.tick();
        assert_eq!((cpu_ticks(&tick, "shells"), cpu_ticks(&tick, "jobs")), (5.0, 2.0));
    }

    #[test]
    fn a_process_that_moves_to_another_unit_is_found_within_some_ticks() {
        let mut machine = Machine::new(&[group("web", ["", "nginx", ""])]);
        machine.process(7, "any", 0);
        machine.write("proc/7/cgroup", "0::/init.scope\n");
        assert_eq!(value(&machine.tick(), NUM_PROCS, "web"), Some(0.0));
        machine.write("proc/7/cgroup", "0::/system.slice/nginx.service\n");
        let found = (0..12).any(|_| value(&machine.tick(), NUM_PROCS, "web") == Some(1.0));
        assert!(found);
    }

    #[test]
    fn traffic_is_absent_until_it_could_be_read_and_sizes_of_recorded_folders_mean_nothing() {
        let mut machine = Machine::new(&[group("all", ["", "", ""])]);
        machine.process(7, "any", 0);
        machine.write("proc/7/fd/0", "");
        let tick = machine.tick();
        assert_eq!(value(&tick, READ_BYTES, "all"), None);
        assert_eq!(value(&tick, OPEN_DESCRIPTORS, "all"), None);
        machine.write("proc/7/io", "read_bytes: 100\nwrite_bytes: 7\n");
        assert_eq!(value(&machine.tick(), READ_BYTES, "all"), Some(0.0));
        machine.write("proc/7/io", "read_bytes: 150\nwrite_bytes: 7\n");
        let tick = machine.tick();
        assert_eq!(value(&tick, READ_BYTES, "all"), Some(50.0));
        assert_eq!(value(&tick, WRITE_BYTES, "all"), Some(0.0));
    }
}
