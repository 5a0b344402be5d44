//! `containers`: what each container uses, under cAdvisor's names. Sources: the control groups
//! below `/sys/fs/cgroup` (v1, v2 and both at once), and `/proc/<pid>/net/dev` of one process of
//! each container. No engine is asked, unless the user grants its socket: then for names, images
//! and labels only.
//!
//! A container is a group that an engine named as one; slices and services are none, and a
//! container inside a container is part of it. The tree must be the machine's: what a container sees
//! of itself is not told as if it were the machine's.
//!
//! Where this differs from cAdvisor: no limit is absent and not 0; groups that are no containers
//! are left out; the shares of v2 are absent, because the two formulas from its weight to v1's
//! shares that are in use do not agree; `container_oom_events_total` is the kernel's own count of
//! the group; the start is that of the oldest process.
//!
//! Network: containers that share a network (a pod's, or Docker's `--network container:…`) see the
//! same devices. The one whose first process is the oldest has them, as the pod's sandbox has in
//! cAdvisor, so that a sum counts them once. A container on the machine's own network has none: its
//! traffic cannot be told from the machine's.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_model::{Labels, Lane, Metric, Text};

use super::{cgroup_path, netdev};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};
use engine::{Engine, Pairs};
use files::{Figures, Kept, Reading};
use process::Process;
use tree::{Found, Search, Tree};

mod engine;
mod files;
mod process;
mod tree;

pub(crate) use tree::is_machines_tree;

const LAST_SEEN: &str = "container_last_seen";
const START_TIME: &str = "container_start_time_seconds";
const CPU_USAGE: &str = "container_cpu_usage_seconds_total";
const CPU_USER: &str = "container_cpu_user_seconds_total";
const CPU_SYSTEM: &str = "container_cpu_system_seconds_total";
const CFS_PERIODS: &str = "container_cpu_cfs_periods_total";
const CFS_THROTTLED_PERIODS: &str = "container_cpu_cfs_throttled_periods_total";
const CFS_THROTTLED: &str = "container_cpu_cfs_throttled_seconds_total";
const SPEC_QUOTA: &str = "container_spec_cpu_quota";
const SPEC_PERIOD: &str = "container_spec_cpu_period";
const SPEC_SHARES: &str = "container_spec_cpu_shares";
const MEMORY_USAGE: &str = "container_memory_usage_bytes";
const MEMORY_WORKING_SET: &str = "container_memory_working_set_bytes";
const MEMORY_MAX_USAGE: &str = "container_memory_max_usage_bytes";
const MEMORY_RSS: &str = "container_memory_rss";
const MEMORY_CACHE: &str = "container_memory_cache";
const MEMORY_MAPPED: &str = "container_memory_mapped_file";
const MEMORY_SWAP: &str = "container_memory_swap";
const MEMORY_FAILURES: &str = "container_memory_failcnt";
const SPEC_MEMORY: &str = "container_spec_memory_limit_bytes";
const SPEC_SWAP: &str = "container_spec_memory_swap_limit_bytes";
const OUT_OF_MEMORY: &str = "container_oom_events_total";
const PROCESSES: &str = "container_processes";
const THREADS: &str = "container_threads";
const THREADS_MAX: &str = "container_threads_max";
const FS_READ_BYTES: &str = "container_fs_reads_bytes_total";
const FS_WRITTEN_BYTES: &str = "container_fs_writes_bytes_total";
const FS_READS: &str = "container_fs_reads_total";
const FS_WRITES: &str = "container_fs_writes_total";
const CPU_WAITING: &str = "container_pressure_cpu_waiting_seconds_total";
const CPU_STALLED: &str = "container_pressure_cpu_stalled_seconds_total";
const MEMORY_WAITING: &str = "container_pressure_memory_waiting_seconds_total";
const MEMORY_STALLED: &str = "container_pressure_memory_stalled_seconds_total";
const IO_WAITING: &str = "container_pressure_io_waiting_seconds_total";
const IO_STALLED: &str = "container_pressure_io_stalled_seconds_total";

/// With the column of `net/dev` that each is.
const NETWORK: [(&str, usize); 8] = [
    ("container_network_receive_bytes_total", 0),
    ("container_network_receive_packets_total", 1),
    ("container_network_receive_errors_total", 2),
    ("container_network_receive_packets_dropped_total", 3),
    ("container_network_transmit_bytes_total", 8),
    ("container_network_transmit_packets_total", 9),
    ("container_network_transmit_errors_total", 10),
    ("container_network_transmit_packets_dropped_total", 11),
];

const METRICS: &[Metric] = &[
    Metric::gauge(LAST_SEEN, "seconds", "Last time a container was seen by the exporter"),
    Metric::gauge(
        START_TIME,
        "seconds",
        "Start time of the container since unix epoch in seconds.",
    ),
    Metric::counter(CPU_USAGE, "seconds", "Cumulative cpu time consumed in seconds."),
    Metric::counter(CPU_USER, "seconds", "Cumulative user cpu time consumed in seconds."),
    Metric::counter(CPU_SYSTEM, "seconds", "Cumulative system cpu time consumed in seconds."),
    Metric::counter(CFS_PERIODS, "", "Number of elapsed enforcement period intervals."),
    Metric::counter(CFS_THROTTLED_PERIODS, "", "Number of throttled period intervals."),
    Metric::counter(
        CFS_THROTTLED,
        "seconds",
        "Total time duration the container has been throttled.",
    ),
    Metric::gauge(SPEC_QUOTA, "", "CPU quota of the container."),
    Metric::gauge(SPEC_PERIOD, "", "CPU period of the container."),
    Metric::gauge(SPEC_SHARES, "", "CPU share of the container."),
    Metric::gauge(
        MEMORY_USAGE,
        "bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
    ),
    Metric::gauge(MEMORY_WORKING_SET, "bytes", "Current working set in bytes."),
    Metric::gauge(MEMORY_MAX_USAGE, "bytes", "Maximum memory usage recorded in bytes"),
    Metric::gauge(MEMORY_RSS, "bytes", "Size of RSS in bytes."),
    Metric::gauge(MEMORY_CACHE, "bytes", "Number of bytes of page cache memory."),
    Metric::gauge(MEMORY_MAPPED, "bytes", "Size of memory mapped files in bytes."),
    Metric::gauge(MEMORY_SWAP, "bytes", "Container swap usage in bytes."),
    Metric::counter(MEMORY_FAILURES, "", "Number of memory usage hits limits"),
    Metric::gauge(SPEC_MEMORY, "bytes", "Memory limit for the container."),
    Metric::gauge(SPEC_SWAP, "bytes", "Memory swap limit for the container."),
    Metric::counter(OUT_OF_MEMORY, "", "Count of out of memory events observed for the container"),
    Metric::gauge(PROCESSES, "", "Number of processes running inside the container."),
    Metric::gauge(THREADS, "", "Number of threads running inside the container"),
    Metric::gauge(
        THREADS_MAX,
        "",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
    ),
    Metric::counter(FS_READ_BYTES, "bytes", "Cumulative count of bytes read"),
    Metric::counter(FS_WRITTEN_BYTES, "bytes", "Cumulative count of bytes written"),
    Metric::counter(FS_READS, "", "Cumulative count of reads completed"),
    Metric::counter(FS_WRITES, "", "Cumulative count of writes completed"),
    Metric::counter(NETWORK[0].0, "bytes", "Cumulative count of bytes received"),
    Metric::counter(NETWORK[1].0, "", "Cumulative count of packets received"),
    Metric::counter(NETWORK[2].0, "", "Cumulative count of errors encountered while receiving"),
    Metric::counter(NETWORK[3].0, "", "Cumulative count of packets dropped while receiving"),
    Metric::counter(NETWORK[4].0, "bytes", "Cumulative count of bytes transmitted"),
    Metric::counter(NETWORK[5].0, "", "Cumulative count of packets transmitted"),
    Metric::counter(NETWORK[6].0, "", "Cumulative count of errors encountered while transmitting"),
    Metric::counter(NETWORK[7].0, "", "Cumulative count of packets dropped while transmitting"),
    Metric::counter(
        CPU_WAITING,
        "seconds",
        "Total time duration tasks in the container have waited due to CPU congestion.",
    ),
    Metric::counter(
        CPU_STALLED,
        "seconds",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
    ),
    Metric::counter(
        MEMORY_WAITING,
        "seconds",
        "Total time duration tasks in the container have waited due to memory congestion.",
    ),
    Metric::counter(
        MEMORY_STALLED,
        "seconds",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
    ),
    Metric::counter(
        IO_WAITING,
        "seconds",
        "Total time duration tasks in the container have waited due to IO congestion.",
    ),
    Metric::counter(
        IO_STALLED,
        "seconds",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
    ),
];

pub(crate) const ENTRY: Entry = Entry {
    name: "containers",
    about: "what each container uses, from the control groups, by cAdvisor's names",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Cgroups,
    reads: &["/sys/fs/cgroup", "/sys/dev/block", "/proc/stat", "/proc/<pid>"],
    metrics: METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let engine = options.containers_socket.clone();
    let engine = engine.map(|socket| Engine::new(socket, &options.containers_labels));
    Ok(Box::new(Containers {
        engine,
        known: BTreeMap::new(),
        devices: HashMap::new(),
        figures: Figures::default(),
        buffer: Vec::new(),
    }))
}

struct Containers {
    /// None where no socket was granted.
    engine: Option<Engine>,
    /// By path.
    known: BTreeMap<String, Container>,
    /// `8:0` → `/dev/sda`, as far as they were asked for.
    devices: HashMap<String, String>,
    /// Both are emptied and filled again for each container.
    figures: Figures,
    buffer: Vec<u8>,
}

struct Container {
    id: String,
    inode: u64,
    /// Ticks since it was first seen.
    age: u32,
    files: Vec<(PathBuf, Kept)>,
    /// Its group where containers are looked for.
    folder: PathBuf,
    has_groups: bool,
    process: Option<Process>,
    started: Option<f64>,
    pairs: Option<Pairs>,
    labels: LabelSets,
}

impl Collector for Containers {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        if !is_machines_tree(host)? {
            return Err(CollectError::Absent(format!(
                "{} shows a container's own control groups; the machine's are needed",
                host.sys.join("fs/cgroup").display()
            )));
        }
        let tree = Tree::find(host)?;
        let search = tree.containers()?;
        say_bounds(&search, out);
        self.know(&tree, search.found);
        self.name(out);
        if self.known.is_empty() {
            return Err(CollectError::Absent("there is no container".to_owned()));
        }
        self.find_processes(host);
        self.read(host, &tree, out);
        self.read_networks(host, out);
        Ok(())
    }
}

fn say_bounds(search: &Search, out: &mut Scrape) {
    if search.left_out > 0 {
        let (most, left_out) = (Search::MOST_CONTAINERS, search.left_out);
        out.problem(format!("more than {most} containers: {left_out} are left out"));
    }
    if search.is_cut {
        out.problem("too many control groups: containers may be left out");
    }
}

impl Containers {
    /// Each of these ticks, files and processes that were not found are looked for again: an engine
    /// makes its groups and fills them bit by bit, and controllers can be turned on later.
    const YOUNG_TICKS: u32 = 3;
    const TICKS_BETWEEN_LOOKS: u32 = 6;

    /// Forgets who is gone and begins with who is new. A group of a new inode is a restarted
    /// container's.
    fn know(&mut self, tree: &Tree, found: Vec<Found>) {
        let mut before = std::mem::take(&mut self.known);
        for found in found {
            let known = before.remove(&found.path).filter(|known| known.inode == found.inode);
            let mut container = known.unwrap_or_else(|| Container::new(tree, &found));
            container.age = container.age.saturating_add(1);
            if container.looks_again() {
                container.has_groups = process::has_groups(&container.folder);
            }
            self.known.insert(found.path, container);
        }
    }

    fn name(&mut self, out: &mut Scrape) {
        let Some(engine) = &mut self.engine else { return };
        // An engine knows its containers by ids; the others have their names already.
        let ids = self.known.values().map(|container| container.id.as_str());
        engine.update(out.now(), ids.filter(|id| cgroup_path::is_id(id)));
        if let Some(problem) = engine.problem() {
            out.problem(problem);
        }
        for (path, container) in &mut self.known {
            container.set_pairs(path, engine.known(&container.id));
        }
    }

    fn find_processes(&mut self, host: &Host) {
        let mut boot_time = None;
        for container in self.known.values_mut() {
            let is_gone =
                |process: Process| process::network(&process.devices(&host.proc)).is_none();
            let is_needed = match container.process {
                None => container.looks_again(),
                Some(process) => is_gone(process),
            };
            if !is_needed {
                continue;
            }
            container.process = Process::first_of(&container.id, &container.folder, &host.proc);
            // The oldest may end and a younger stay: the container's start is the first one's.
            if let (None, Some(process)) = (container.started, container.process) {
                let boot_time = boot_time.get_or_insert_with(|| process::boot_time(&host.proc));
                let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
                let since_boot = process.started as f64 / ticks_per_second;
                container.started = boot_time.map(|boot_time| boot_time as f64 + since_boot);
            }
        }
    }

    fn read(&mut self, host: &Host, tree: &Tree, out: &mut Scrape) {
        let mut may_keep = self.descriptors_left(tree);
        let mut problems = Problems::default();
        let now = (out.now().as_seconds()).floor();
        for container in self.known.values_mut() {
            let look_again = container.looks_again();
            self.figures.clear();
            for (folder, kept) in &mut container.files {
                let mut reading = Reading {
                    folder,
                    buffer: &mut self.buffer,
                    may_keep: &mut may_keep,
                    look_again,
                };
                if let Err(error) = kept.read(&mut reading, &mut self.figures) {
                    problems.note(&folder.join(kept.source.name), &error, out);
                }
            }
            let count = process::count(&container.folder, container.has_groups, &mut self.buffer);
            // A group without any process or figure was removed since it was found.
            if self.figures == Figures::default() && count.is_none() {
                continue;
            }
            let labels = &container.labels;
            let mut push = |name, value: Option<f64>| {
                if let Some(value) = value {
                    out.push_labelled(name, &labels.own, value);
                }
            };
            push(LAST_SEEN, Some(now));
            push(START_TIME, container.started);
            push(PROCESSES, count.map(|count| count as f64));
            push_figures(&self.figures, &mut push);
            if let Some(seconds) = self.figures.cpu_seconds {
                out.push_labelled(CPU_USAGE, &labels.cpu, seconds);
            }
            push_io(&self.figures, &mut container.labels, &mut self.devices, host, out);
        }
        problems.say(out);
    }

    /// Reading a kept descriptor again costs a third of opening the file. At most a quarter of what
    /// this process may open is kept; beyond that files are opened at each tick.
    fn descriptors_left(&self, tree: &Tree) -> usize {
        const SHARE: u64 = 4;
        let is_real = tree.searched().is_some_and(|(_, root)| tree::is_made_by_the_kernel(root));
        if !is_real {
            return 0;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = limit.unwrap_or(u64::MAX) / SHARE;
        let files = self.known.values().flat_map(|container| &container.files);
        let kept = files.filter(|(_, kept)| kept.is_open()).count();
        usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept)
    }

    fn read_networks(&mut self, host: &Host, out: &mut Scrape) {
        let Some(machines) = process::network(&host.proc.join("1/net/dev")) else { return };
        let mut owners: HashMap<u64, (Process, &mut Container)> = HashMap::new();
        for container in self.known.values_mut() {
            let Some(process) = container.process else { continue };
            let Some(network) = process::network(&process.devices(&host.proc)) else { continue };
            if network == machines {
                continue;
            }
            let is_older = owners.get(&network).is_none_or(|(owner, _)| process < *owner);
            if is_older {
                owners.insert(network, (process, container));
            }
        }
        for (network, (process, container)) in owners {
            let devices = process.devices(&host.proc);
            let Some(table) = process::read_devices(&devices, network, &mut self.buffer) else {
                continue;
            };
            push_network(table, &mut container.labels, out);
        }
    }
}

impl Container {
    fn new(tree: &Tree, found: &Found) -> Container {
        let folder = |hierarchy| {
            let root: &Path = tree.root(hierarchy)?;
            Some(root.join(found.path.trim_start_matches('/')))
        };
        let searched = tree.searched().and_then(|(hierarchy, _)| folder(hierarchy));
        let files = Kept::all(|hierarchy| tree.root(hierarchy).is_some());
        let files =
            files.into_iter().filter_map(|kept| Some((folder(kept.source.hierarchy)?, kept)));
        Container {
            labels: LabelSets::new(&found.path, &found.container, None),
            id: found.container.clone(),
            inode: found.inode,
            age: 0,
            files: files.collect(),
            folder: searched.unwrap_or_default(),
            has_groups: false,
            process: None,
            started: None,
            pairs: None,
        }
    }

    fn looks_again(&self) -> bool {
        self.age <= Containers::YOUNG_TICKS
            || self.age.is_multiple_of(Containers::TICKS_BETWEEN_LOOKS)
    }

    fn set_pairs(&mut self, path: &str, pairs: Option<&Pairs>) {
        if self.pairs.as_ref() != pairs {
            self.pairs = pairs.map(Arc::clone);
            self.labels = LabelSets::new(path, &self.id, pairs);
        }
    }
}

/// A container's label sets, made once: they come back at every tick.
struct LabelSets {
    own: Labels,
    cpu: Labels,
    interfaces: Vec<(String, Labels)>,
    /// By `8:0`.
    devices: Vec<(String, Labels)>,
    pairs: Vec<(Text, Text)>,
}

impl LabelSets {
    fn new(path: &str, id: &str, named: Option<&Pairs>) -> LabelSets {
        let mut pairs = vec![(Text::from_static("id"), Text::from(path))];
        if !cgroup_path::is_id(id) {
            pairs.push((Text::from_static("name"), Text::from(unescaped(id))));
        }
        pairs.extend(named.into_iter().flat_map(|named| named.iter().cloned()));
        LabelSets {
            own: Labels::new(pairs.clone()),
            cpu: with(&pairs, "cpu", "total"),
            interfaces: Vec::new(),
            devices: Vec::new(),
            pairs,
        }
    }

    fn interface(&mut self, name: &str) -> &Labels {
        known_or(&mut self.interfaces, name, |name| with(&self.pairs, "interface", name))
    }

    fn device(&mut self, numbers: &str, name: impl FnOnce(&str) -> String) -> &Labels {
        let labels = |numbers: &str| with(&self.pairs, "device", &name(numbers));
        known_or(&mut self.devices, numbers, labels)
    }
}

fn with(pairs: &[(Text, Text)], name: &'static str, value: &str) -> Labels {
    let last = (Text::from_static(name), Text::from(value));
    Labels::new(pairs.iter().cloned().chain([last]).collect())
}

fn known_or<'a>(
    known: &'a mut Vec<(String, Labels)>,
    key: &str,
    make: impl FnOnce(&str) -> Labels,
) -> &'a Labels {
    // Interfaces and devices may come and go all day; a container has but a few at once.
    const MOST: usize = 64;
    if let Some(at) = known.iter().position(|(held, _)| held == key) {
        return &known[at].1;
    }
    if known.len() >= MOST {
        known.clear();
    }
    known.push((key.to_owned(), make(key)));
    &known[known.len() - 1].1
}

/// systemd writes `-` in a name as `\x2d`. Anything but such a byte stays as it is.
fn unescaped(name: &str) -> String {
    let mut parts = name.split(r"\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_graphic()) {
            Some(byte) => {
                text.push(char::from(byte));
                text.push_str(part.get(2..).unwrap_or_default());
            }
            None => {
                text.push_str(r"\x");
                text.push_str(part);
            }
        }
    }
    text
}

fn push_figures(figures: &Figures, push: &mut impl FnMut(&'static str, Option<f64>)) {
    let count = |number: Option<u64>| number.map(|number| number as f64);
    push(CPU_USER, figures.cpu_user_seconds);
    push(CPU_SYSTEM, figures.cpu_system_seconds);
    // Without a quota nothing is ever throttled, and the kernel does not count.
    if figures.quota.is_some() {
        push(CFS_PERIODS, count(figures.periods));
        push(CFS_THROTTLED_PERIODS, count(figures.throttled_periods));
        push(CFS_THROTTLED, figures.throttled_seconds);
    }
    push(SPEC_QUOTA, count(figures.quota));
    push(SPEC_PERIOD, count(figures.period));
    push(SPEC_SHARES, count(figures.shares));
    push(MEMORY_USAGE, count(figures.memory_usage));
    push(MEMORY_WORKING_SET, count(figures.working_set()));
    push(MEMORY_MAX_USAGE, count(figures.memory_max_usage));
    push(MEMORY_RSS, count(figures.rss));
    push(MEMORY_CACHE, count(figures.cache));
    push(MEMORY_MAPPED, count(figures.mapped_file));
    push(MEMORY_SWAP, count(figures.swap));
    push(MEMORY_FAILURES, count(figures.failures));
    push(SPEC_MEMORY, count(figures.memory_limit));
    push(SPEC_SWAP, count(figures.swap_limit));
    push(OUT_OF_MEMORY, count(figures.out_of_memory));
    push(THREADS, count(figures.threads));
    push(THREADS_MAX, count(figures.threads_max));
    push(CPU_WAITING, figures.cpu_pressure.waiting);
    push(CPU_STALLED, figures.cpu_pressure.stalled);
    push(MEMORY_WAITING, figures.memory_pressure.waiting);
    push(MEMORY_STALLED, figures.memory_pressure.stalled);
    push(IO_WAITING, figures.io_pressure.waiting);
    push(IO_STALLED, figures.io_pressure.stalled);
}

fn push_io(
    figures: &Figures,
    labels: &mut LabelSets,
    devices: &mut HashMap<String, String>,
    host: &Host,
    out: &mut Scrape,
) {
    for device in &figures.io {
        let labels = labels.device(&device.numbers, |numbers| device_name(numbers, devices, host));
        for (name, value) in [
            (FS_READ_BYTES, device.read_bytes),
            (FS_WRITTEN_BYTES, device.written_bytes),
            (FS_READS, device.reads),
            (FS_WRITES, device.writes),
        ] {
            if let Some(value) = value {
                out.push_labelled(name, labels, value as f64);
            }
        }
    }
}

/// `/dev/sda` for `8:0`; the numbers alone where there is no such device any more.
fn device_name(numbers: &str, known: &mut HashMap<String, String>, host: &Host) -> String {
    const MOST: usize = 1024;
    if let Some(name) = known.get(numbers) {
        return name.clone();
    }
    // The link leads to the device's folder, which bears its name.
    let link = std::fs::read_link(host.sys.join("dev/block").join(numbers));
    let name = link.ok().and_then(|target| Some(target.file_name()?.to_str()?.to_owned()));
    let Some(name) = name else { return numbers.to_owned() };
    // A slash in a name is an exclamation mark in sysfs.
    let name = format!("/dev/{}", name.replace('!', "/"));
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(numbers.to_owned(), name.clone());
    name
}

/// The prefixes of cAdvisor: loopback, and bridges and ends of an engine inside the container.
const IGNORED_INTERFACES: [&str; 4] = ["lo", "veth", "docker", "nerdctl"];

fn push_network(table: &str, labels: &mut LabelSets, out: &mut Scrape) {
    // The first two lines are the table's head.
    for line in table.lines().skip(2) {
        let (interface, columns) = match netdev::parse_line(line) {
            Ok(parsed) => parsed,
            Err(error) => {
                out.problem_of(&error);
                return;
            }
        };
        if IGNORED_INTERFACES.iter().any(|ignored| interface.starts_with(ignored)) {
            continue;
        }
        let labels = labels.interface(interface);
        for (name, column) in NETWORK {
            out.push_labelled(name, labels, columns[column] as f64);
        }
    }
}

/// A thousand containers can have a thousand times the same problem.
#[derive(Default)]
struct Problems {
    more: usize,
    said: usize,
}

impl Problems {
    const MOST: usize = 8;

    fn note(&mut self, path: &Path, error: &std::io::Error, out: &mut Scrape) {
        if self.said < Problems::MOST {
            self.said += 1;
            out.problem(format!("{}: {error}", path.display()));
        } else {
            self.more += 1;
        }
    }

    fn say(&self, out: &mut Scrape) {
        if self.more > 0 {
            out.problem(format!("{} more files of containers could not be read", self.more));
        }
    }
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    files::parse_everything(text);
    process::parse_everything(text);
    engine::parse_everything(text);
    drop((cgroup_path::place(text), unescaped(text)));
}
