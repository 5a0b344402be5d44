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
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_model::{Labels, Lane, Metric, Text};

use super::{cgroup_path, netdev};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape,
    host::{open, read_records},
};
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
    Ok(Box::new(Containers::new(options)))
}

struct Containers {
    /// None where no socket was granted.
    engine: Option<Engine>,
    /// By path.
    known: BTreeMap<String, Container>,
    /// `8:0` → `/dev/sda`, as far as they were asked for.
    devices: HashMap<String, String>,
    /// Of each file in turn.
    buffer: Vec<u8>,
    /// How many containers there have been.
    made: u32,
}

struct Container {
    id: String,
    inode: u64,
    /// Ticks since it was first seen.
    age: u32,
    /// When it looks again, once it is no longer young: at the ticks of this remainder.
    turn: u32,
    files: Vec<(PathBuf, Kept)>,
    figures: Figures,
    /// Its group where containers are looked for.
    folder: PathBuf,
    has_groups: bool,
    /// `cgroup.procs` of that group.
    procs: Option<File>,
    process: Option<Process>,
    /// The network that its process is on.
    network: Option<u64>,
    /// Whether that was told as this container's: then reading it again shows what became of it.
    tells_network: bool,
    started: Option<f64>,
    pairs: Option<Pairs>,
    labels: LabelSets,
}

impl Collector for Containers {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let tree = Tree::find(host)?;
        if !tree.is_machines()? {
            return Err(CollectError::Absent(format!(
                "{} shows a container's own control groups; the machine's are needed",
                host.sys.join("fs/cgroup").display()
            )));
        }
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
    /// At each of these ticks settings are read, and files and processes that were not found are
    /// looked for again: an engine makes its groups and fills them bit by bit, and controllers can
    /// be turned on later. The older ones take turns.
    const YOUNG_TICKS: u32 = 3;
    const TICKS_BETWEEN_LOOKS: u32 = 12;

    fn new(options: &Options) -> Containers {
        let engine = options.containers_socket.clone();
        let engine = engine.map(|socket| Engine::new(socket, &options.containers_labels));
        Containers {
            engine,
            known: BTreeMap::new(),
            devices: HashMap::new(),
            buffer: Vec::new(),
            made: 0,
        }
    }

    /// Forgets who is gone and begins with who is new. A group of a new inode is a restarted
    /// container's.
    fn know(&mut self, tree: &Tree, found: Vec<Found>) {
        let mut before = std::mem::take(&mut self.known);
        for found in found {
            let known = before.remove(&found.path).filter(|known| known.inode == found.inode);
            let mut container = known.unwrap_or_else(|| {
                self.made = self.made.wrapping_add(1);
                Container::new(tree, &found, self.made % Containers::TICKS_BETWEEN_LOOKS)
            });
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
            if container.tells_network || container.is_on_known_network(&host.proc) {
                continue;
            }
            if container.process.is_none() && !container.looks_again() {
                continue;
            }
            container.find_process(&host.proc);
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
        let now = out.now().as_seconds().floor();
        for container in self.known.values_mut() {
            let count = container.count_processes(&mut self.buffer, &mut may_keep);
            let has_figures = container.read(&mut self.buffer, &mut may_keep, &mut problems, out);
            // A group without any process or figure was removed since it was found.
            if !has_figures && count.is_none() {
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
            push_figures(&container.figures, &mut push);
            if let Some(seconds) = container.figures.cpu_seconds {
                out.push_labelled(CPU_USAGE, &labels.cpu, seconds);
            }
            push_io(&container.figures, &mut container.labels, &mut self.devices, host, out);
        }
        problems.say(out);
    }

    /// Reading a kept descriptor again costs a third of opening the file. At most a quarter of what
    /// this process may open is kept, because others open files too, and no more than hold 20 MB of
    /// the kernel's memory (a page and a little each); beyond that files are opened at each tick.
    fn descriptors_left(&self, tree: &Tree) -> usize {
        const SHARE: u64 = 4;
        const MOST: u64 = 4096;
        let is_real = tree.searched().is_some_and(|(_, root)| tree::is_made_by_the_kernel(root));
        if !is_real {
            return 0;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = (limit.unwrap_or(u64::MAX) / SHARE).min(MOST);
        let kept: usize = self.known.values().map(Container::descriptors).sum();
        usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept)
    }

    fn read_networks(&mut self, host: &Host, out: &mut Scrape) {
        let mut containers: Vec<_> = self.known.values_mut().collect();
        containers.iter_mut().for_each(|container| container.tells_network = false);
        let Some(machines) = process::network(&host.proc.join("1/net/dev")) else { return };
        containers.sort_by_key(|container| container.process);
        let mut told = HashSet::from([machines]);
        for container in containers {
            let is_new = |network: &u64| !told.contains(network);
            let Some(network) = container.network.filter(is_new) else { continue };
            let mut table = container.network_table(&host.proc, network, &mut self.buffer);
            if table.is_none() {
                container.find_process(&host.proc);
                let Some(network) = container.network.filter(is_new) else { continue };
                table = container.network_table(&host.proc, network, &mut self.buffer);
            }
            let (Some(table), Some(network)) = (table, container.network) else { continue };
            told.insert(network);
            container.tells_network = true;
            push_network(table, &mut container.labels, out);
        }
    }
}

impl Container {
    fn new(tree: &Tree, found: &Found, turn: u32) -> Container {
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
            turn,
            files: files.collect(),
            figures: Figures::default(),
            folder: searched.unwrap_or_default(),
            has_groups: false,
            procs: None,
            process: None,
            network: None,
            tells_network: false,
            started: None,
            pairs: None,
        }
    }

    fn looks_again(&self) -> bool {
        self.age <= Containers::YOUNG_TICKS
            || self.age % Containers::TICKS_BETWEEN_LOOKS == self.turn
    }

    /// Whether its process is there, and on the network that it was on before. An engine starts it
    /// on the machine's and moves it; and the number of one that ended can be another's now.
    fn is_on_known_network(&self, proc: &Path) -> bool {
        let network = |process: Process| process::network(&process.devices(proc));
        self.network.is_some() && self.process.and_then(network) == self.network
    }

    fn find_process(&mut self, proc: &Path) {
        self.process = Process::first_of(&self.id, &self.folder, proc);
        self.network = self.process.and_then(|process| process::network(&process.devices(proc)));
    }

    /// None where its process is on that network no longer, or has ended.
    fn network_table<'a>(
        &self,
        proc: &Path,
        network: u64,
        buffer: &'a mut Vec<u8>,
    ) -> Option<&'a str> {
        process::read_devices(&self.process?.devices(proc), network, buffer)
    }

    /// None where there are groups inside: their processes are not in the group's own file.
    fn count_processes(&mut self, buffer: &mut Vec<u8>, may_keep: &mut usize) -> Option<usize> {
        if self.has_groups {
            return None;
        }
        if let Some(file) = self.procs.take()
            && let Ok(length) = read_records(&file, buffer)
        {
            self.procs = Some(file);
            return process::count(&buffer[..length]);
        }
        let file = open(&self.folder.join("cgroup.procs")).ok()?;
        let length = read_records(&file, buffer).ok()?;
        if *may_keep > 0 {
            *may_keep -= 1;
            self.procs = Some(file);
        }
        process::count(&buffer[..length])
    }

    /// Whether any file had figures.
    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        may_keep: &mut usize,
        problems: &mut Problems,
        out: &mut Scrape,
    ) -> bool {
        let look_again = self.looks_again();
        if look_again {
            self.figures = Figures::default();
        } else {
            self.figures.forget_measured();
        }
        let mut has_figures = false;
        for (folder, kept) in &mut self.files {
            let mut reading = Reading { folder, buffer, may_keep, look_again };
            match kept.read(&mut reading, &mut self.figures) {
                Ok(had_figures) => has_figures |= had_figures,
                Err(error) => problems.note(&folder.join(kept.source.name), &error, out),
            }
        }
        has_figures
    }

    fn descriptors(&self) -> usize {
        let open = self.files.iter().filter(|(_, kept)| kept.is_open()).count();
        open + usize::from(self.procs.is_some())
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

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use farol_model::Timestamp;

    use super::*;
    use crate::laid_out::write;

    const ID: &str = "ab34aa3652d0fc3526c546122e00b49d9e513604f79383c2ea5b4f00fad7a353";

    struct Machine {
        _place: tempfile::TempDir,
        host: Host,
        collector: Containers,
        out: Scrape,
        ticks: i64,
    }

    impl Machine {
        /// Of v2, with one container that has one process.
        fn new(options: &Options) -> Machine {
            let place = tempfile::tempdir().unwrap();
            let host = Host::recorded(place.path());
            let collector = Containers::new(options);
            let machine = Machine { _place: place, host, collector, out: Scrape::new(), ticks: 0 };
            machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory");
            machine.write("proc/stat", "btime 1000\n");
            machine.write("proc/1/net/dev", "head\nhead\n eth0: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n");
            machine.container(&format!("docker/{ID}"), 70, 500);
            machine
        }

        fn container(&self, path: &str, pid: u32, started: u64) {
            let group = format!("sys/fs/cgroup/{path}");
            self.write(&format!("{group}/memory.current"), "4096\n");
            self.write(&format!("{group}/memory.max"), "8192\n");
            self.write(&format!("{group}/cgroup.procs"), &format!("{pid}\n"));
            let fields = "0 ".repeat(18);
            self.write(&format!("proc/{pid}/stat"), &format!("{pid} (x) S {fields}{started} 0\n"));
            self.write(&format!("proc/{pid}/cgroup"), &format!("0::/{path}\n"));
            let table = format!("head\nhead\n eth0: {pid} 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n");
            self.write(&format!("proc/{pid}/net/dev"), &table);
        }

        fn path(&self, path: &str) -> PathBuf {
            self.host.proc.with_file_name(path)
        }

        fn write(&self, path: &str, text: &str) {
            write(&self.path(path), text);
        }

        #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
        fn rename(&self, from: &str, to: &str) {
            std::fs::rename(self.path(from), self.path(to)).unwrap();
        }

        fn tick(&mut self) -> Result<(), CollectError> {
            self.out.begin(Timestamp::from_millis(self.ticks * 10_000));
            self.ticks += 1;
            self.collector.collect(&self.host, &mut self.out)
        }

        fn values(&self, name: &str) -> Vec<f64> {
            let samples = self.out.samples().iter().filter(|sample| sample.name == *name);
            samples.map(|sample| sample.value).collect()
        }

        fn label(&self, label: &str) -> Option<String> {
            let sample = self.out.samples().iter().find(|sample| sample.name == *MEMORY_USAGE)?;
            sample.labels.get(label).map(str::to_owned)
        }
    }

    #[test]
    fn what_a_container_sees_of_itself_is_absent_with_a_reason() {
        let mut machine = Machine::new(&Options::default());
        machine.write("sys/fs/cgroup/cgroup.type", "domain\n");
        assert!(
            matches!(machine.tick(), Err(CollectError::Absent(reason)) if reason.contains("own"))
        );
    }

    #[test]
    fn a_machine_without_containers_is_absent_with_a_reason() {
        let mut machine = Machine::new(&Options::default());
        machine.tick().unwrap();
        machine.rename(&format!("sys/fs/cgroup/docker/{ID}"), "aside");
        assert_eq!(machine.tick(), Err(CollectError::Absent("there is no container".into())));
        assert!(machine.out.samples().is_empty());
    }

    #[test]
    fn a_container_that_was_restarted_begins_anew() {
        let mut machine = Machine::new(&Options::default());
        machine.tick().unwrap();
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(machine.values(START_TIME), [1000.0 + 500.0 / ticks_per_second]);

        let path = format!("docker/{ID}");
        machine.rename(&format!("sys/fs/cgroup/{path}"), "aside");
        machine.container(&path, 80, 900);
        machine.tick().unwrap();
        assert_eq!(machine.values(START_TIME), [1000.0 + 900.0 / ticks_per_second]);
        assert_eq!(machine.values(NETWORK[0].0), [80.0]);
    }

    #[test]
    fn a_shared_network_counts_once_and_the_machine_s_not_at_all() {
        let mut machine = Machine::new(&Options::default());
        let other = format!("docker/{}", ID.replace('a', "b"));
        machine.container(&other, 90, 400);
        machine.tick().unwrap();
        let mut values = machine.values(NETWORK[0].0);
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [70.0, 90.0]);

        machine.rename("proc/70/net/dev", "aside");
        symlink(machine.path("proc/90/net/dev"), machine.path("proc/70/net/dev")).unwrap();
        machine.tick().unwrap();
        assert_eq!(machine.values(NETWORK[0].0), [90.0]);
        let owner = machine.out.samples().iter().find(|sample| sample.name == *NETWORK[0].0);
        let older = format!("/{other}");
        assert_eq!(owner.unwrap().labels.get("id"), Some(older.as_str()));

        machine.rename("proc/90/net/dev", "aside");
        symlink(machine.path("proc/1/net/dev"), machine.path("proc/90/net/dev")).unwrap();
        machine.tick().unwrap();
        assert!(machine.values(NETWORK[0].0).is_empty());
    }

    #[test]
    fn a_limit_that_is_changed_is_seen_within_some_ticks() {
        let mut machine = Machine::new(&Options::default());
        for _ in 0..=Containers::YOUNG_TICKS {
            machine.tick().unwrap();
        }
        assert_eq!(machine.values(SPEC_MEMORY), [8192.0]);
        machine.write(&format!("sys/fs/cgroup/docker/{ID}/memory.max"), "max\n");
        for _ in 0..Containers::TICKS_BETWEEN_LOOKS {
            machine.tick().unwrap();
        }
        assert!(machine.values(SPEC_MEMORY).is_empty());
        assert_eq!(machine.values(MEMORY_USAGE), [4096.0]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_a_problem_and_the_rest_goes_on() {
        let mut machine = Machine::new(&Options::default());
        machine.write(&format!("sys/fs/cgroup/docker/{ID}/cpu.max"), "much\n");
        machine.tick().unwrap();
        let problems = machine.out.take_problems();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("cpu.max"), "{problems:?}");
        assert_eq!(machine.values(MEMORY_USAGE), [4096.0]);
    }

    #[test]
    fn containers_beyond_the_most_are_counted_and_named() {
        let mut out = Scrape::new();
        let search = Search { found: Vec::new(), left_out: 5, is_cut: false };
        say_bounds(&search, &mut out);
        assert_eq!(out.take_problems(), ["more than 1000 containers: 5 are left out"]);
    }

    fn with_socket(place: &Path) -> (UnixListener, Options) {
        let socket = place.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        (listener, Options { containers_socket: Some(socket), ..Options::default() })
    }

    #[test]
    fn a_granted_engine_gives_names_images_and_the_wanted_labels() {
        use std::io::{Read, Write};
        let place = tempfile::tempdir().unwrap();
        let (listener, options) = with_socket(place.path());
        let mut machine = Machine::new(&options);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; engine::REQUEST.len()]).unwrap();
                stream.write_all(include_bytes!("engine_answer.http")).unwrap();
            });
            machine.tick().unwrap();
        });
        // On a very busy machine the answer comes after the first tick.
        machine.collector.engine.as_mut().unwrap().settle();
        machine.tick().unwrap();
        assert_eq!(machine.label("name").as_deref(), Some("plain"));
        assert_eq!(machine.label("image").as_deref(), Some("bb:1"));
        let service = "container_label_com_docker_compose_service";
        assert_eq!(machine.label(service).as_deref(), Some("web"));
        assert_eq!(machine.label("container_label_secret"), None);
    }

    #[test]
    fn an_engine_that_hangs_costs_the_names_only() {
        let place = tempfile::tempdir().unwrap();
        let (_listener, options) = with_socket(place.path());
        let mut machine = Machine::new(&options);
        machine.tick().unwrap();
        assert_eq!(machine.values(MEMORY_USAGE), [4096.0]);
        assert_eq!(machine.label("name"), None);
        let problems = machine.out.take_problems();
        assert!(problems[0].contains("no names of containers"), "{problems:?}");
    }

    #[test]
    fn systemd_s_escapes_are_undone_in_names() {
        assert_eq!(unescaped(r"build\x2dbox"), "build-box");
        assert_eq!(unescaped(r"a\xzz\x0a\x"), r"a\xzz\x0a\x");
        assert_eq!(unescaped("plain"), "plain");
    }

    #[test]
    fn devices_are_known_by_name_while_they_are_there() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let links = host.sys.join("dev/block");
        std::fs::create_dir_all(&links).unwrap();
        symlink("../../devices/virtual/block/cciss!c0d0", links.join("104:0")).unwrap();
        let mut known = HashMap::new();
        assert_eq!(device_name("104:0", &mut known, &host), "/dev/cciss/c0d0");
        assert_eq!(device_name("9:9", &mut known, &host), "9:9");
    }
}
