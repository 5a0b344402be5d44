//! Whose figures can be seen from here. In a container much of what `/proc`, `/sys` and `/` show is
//! the container's; this file finds where the host's own trees are mounted ([`find`]), and says for
//! each collector whether its sources are the host's ([`View`]). A collector whose sources are not
//! is not run: a container's figures never stand under the host's name.
//!
//! Facts are read once, each without any privilege; what follows from them is computed:
//! - The first namespaces have fixed numbers (include/linux/proc_ns.h, since Linux 3.8; those of
//!   networks and mounts since 6.18). `/proc/sys/net/core/dev_weight` exists in the first network
//!   namespace alone (net/core/sysctl_net_core.c).
//! - PID 2 is the kernel's thread keeper in the first process namespace alone. So a procfs that
//!   shows it is the host's, wherever it is mounted; its `1/mountinfo` is the host's mount table,
//!   its `1/net` the host's network.
//! - A folder is the same in each mount namespace when device number and path within the file
//!   system are. So the host's root is the mount that PID 1 has at `/`.
//! - A sysfs shows the network devices of the namespace in which it was mounted, and each such
//!   namespace has a sysfs of its own with its own device number.
//! - A container engine hides files below an empty tmpfs or `/dev/null`; lxcfs lays the container's
//!   figures over the kernel's.

use std::{
    collections::BTreeSet,
    fmt,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    Entry, Host, Scope,
    host::{KERNEL_NAME, is_procfs, name_in, read_small, read_whole},
    linux::{self, cgroup_path},
    mount_table::{self, Mount, covering, identity},
};

/// The places that were configured; what is `None` is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub proc: Option<PathBuf>,
    pub sys: Option<PathBuf>,
    pub root: Option<PathBuf>,
    pub run: Option<PathBuf>,
}

/// The machine to look at, and why its trees are taken to be where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub host: Host,
    pub proc: &'static str,
    pub sys: &'static str,
    pub root: &'static str,
    pub run: &'static str,
    pub name: &'static str,
}

const USUAL: &str = "the usual place";
const GIVEN: &str = "as configured";

/// Where this machine's own trees are.
pub fn find(given: &Given) -> Found {
    find_with(&Reader::default(), given)
}

fn find_with(reader: &Reader, given: &Given) -> Found {
    let usual = Path::new("/proc");
    let own = own_process(reader, given.proc.as_deref().unwrap_or(usual));
    let own_table = reader.mounts(&own.join("mountinfo"));
    let (proc, proc_why) = find_proc(reader, given, &own_table);
    let machines = machine_table(reader, &proc, &own, &own_table);
    let (root, root_why) = match &given.root {
        Some(root) => (root.clone(), GIVEN),
        None => find_root(&own_table, &machines, &proc),
    };
    // A procfs below the machine's root has no masks laid over it.
    let below_root = root.join("proc");
    let (proc, proc_why) = match given.proc {
        None if root != Path::new("/") && reader.shows_kernel_threads(&below_root) => {
            (below_root, "the procfs below the host's root")
        }
        _ => (proc, proc_why),
    };
    let (sys, sys_why) = match &given.sys {
        Some(sys) => (sys.clone(), GIVEN),
        None => find_sys(&own_table, &machines, &root),
    };
    let (run, run_why) = match &given.run {
        Some(run) => (run.clone(), GIVEN),
        None => (root.join("run"), "below path.rootfs"),
    };
    let net = find_net(reader, &own, &proc);
    let mut host = Host { name: proc.join(KERNEL_NAME), proc, net, sys, root, run };
    let mut name = "the machine's own name";
    let is_told_another = is_first(&reader.link(&own.join("ns/uts")), UTS) == Some(false);
    if is_told_another && reader.is_procfs(&host.proc) {
        let file = host.root.join("etc/hostname");
        let hosts = identity(&machines, Path::new("/etc/hostname"));
        let is_hosts = hosts.is_some() && hosts == identity(&own_table, &file);
        if is_hosts && reader.text(&file).is_some_and(|text| usable_name(&text)) {
            host.name = file;
            name = "etc/hostname below path.rootfs";
        } else {
            name = "the container's own name: the host's cannot be seen";
        }
    }
    Found { host, proc: proc_why, sys: sys_why, root: root_why, run: run_why, name }
}

fn find_proc(reader: &Reader, given: &Given, own: &[Mount]) -> (PathBuf, &'static str) {
    if let Some(proc) = &given.proc {
        return (proc.clone(), GIVEN);
    }
    if let Some(root) = &given.root
        && reader.shows_kernel_threads(&root.join("proc"))
    {
        return (root.join("proc"), "the procfs below path.rootfs");
    }
    let usual = PathBuf::from("/proc");
    if reader.shows_kernel_threads(&usual) {
        return (usual, USUAL);
    }
    let elsewhere = whole_mounts(own, "proc");
    let hosts = elsewhere.into_iter().find(|point| reader.shows_kernel_threads(point));
    hosts.map_or((usual, USUAL), |point| (point, "a mounted procfs that shows the host's kernel"))
}

fn find_root(own: &[Mount], machines: &[Mount], proc: &Path) -> (PathBuf, &'static str) {
    let top = Path::new("/");
    let Some(wanted) = identity(machines, top) else { return (top.into(), USUAL) };
    if identity(own, top).as_ref() == Some(&wanted) {
        return (top.into(), USUAL);
    }
    let is_wanted =
        |mount: &&Mount| (&mount.number, Path::new(&mount.root)) == (&wanted.0, wanted.1.as_path());
    let mut points: Vec<PathBuf> =
        own.iter().filter(is_wanted).map(|mount| PathBuf::from(&mount.point)).collect();
    // The one that holds the procfs first: it came with all that is mounted below it.
    points.sort_by_key(|point| (!proc.starts_with(point), point.components().count()));
    match points.into_iter().next() {
        Some(point) => (point, "what the host has mounted at /"),
        None => (top.into(), USUAL),
    }
}

fn find_sys(own: &[Mount], machines: &[Mount], root: &Path) -> (PathBuf, &'static str) {
    let usual = PathBuf::from("/sys");
    let here = covering(own, &usual).map(|mount| &mount.number);
    let hosts = sysfs_number(machines, Path::new("/sys"));
    if hosts.is_some() && here == hosts && root == Path::new("/") {
        return (usual, USUAL);
    }
    let number = |point: &PathBuf| sysfs_number(own, point);
    let mut points = whole_mounts(own, "sysfs");
    points.retain(
        |point| if hosts.is_some() { number(point) == hosts } else { number(point) != here },
    );
    points.sort_by_key(|point| (*point != root.join("sys"), point.components().count()));
    match points.into_iter().next() {
        Some(point) if hosts.is_some() => (point, "what the host has mounted at /sys"),
        Some(point) => (point, "a mounted sysfs that is not the container's"),
        None => (usual, USUAL),
    }
}

/// The machine's `/proc/net`. Each process sees its own namespace there, whichever procfs it
/// reads; PID 1's is the host's.
fn find_net(reader: &Reader, own: &Path, proc: &Path) -> PathBuf {
    let first_process_s = proc.join("1/net");
    let is_ours = own_network_is_the_machines(reader, own, proc);
    if !is_ours && reader.shows_kernel_threads(proc) && reader.is_procfs(proc) {
        return first_process_s;
    }
    proc.join("net")
}

/// The places where a whole file system of this kind is mounted besides the usual one, the
/// shortest first.
fn whole_mounts(own: &[Mount], kind: &str) -> Vec<PathBuf> {
    let whole = own.iter().filter(|mount| mount.kind == kind && mount.is_whole());
    let points: BTreeSet<PathBuf> = whole.map(|mount| PathBuf::from(&mount.point)).collect();
    let mut points: Vec<PathBuf> = points
        .into_iter()
        .filter(|point| point != Path::new("/proc") && point != Path::new("/sys"))
        .collect();
    points.sort_by_key(|point| point.components().count());
    points
}

fn sysfs_number<'a>(table: &'a [Mount], point: &Path) -> Option<&'a String> {
    covering(table, point).filter(|mount| mount.kind == "sysfs").map(|mount| &mount.number)
}

/// The host's mount table: PID 1's, or our own where we share the first mount namespace.
fn machine_table(reader: &Reader, proc: &Path, own: &Path, own_table: &[Mount]) -> Vec<Mount> {
    if reader.shows_kernel_threads(proc) {
        let table = reader.mounts(&proc.join("1/mountinfo"));
        if !table.is_empty() {
            return table;
        }
    }
    let is_first = number(&reader.link(&own.join("ns/mnt"))).is_some_and(|n| n < FIRST_GIVEN_OUT);
    if is_first { own_table.to_vec() } else { Vec::new() }
}

fn own_network_is_the_machines(reader: &Reader, own: &Path, proc: &Path) -> bool {
    let link = reader.link(&own.join("ns/net"));
    // A kernel without namespaces has one network.
    if link.is_none() || number(&link).is_some_and(|number| number < FIRST_GIVEN_OUT) {
        return true;
    }
    let in_first = own.parent().is_some_and(|proc| reader.exists(&proc.join(FIRST_NETWORK_ALONE)));
    // Each namespace makes its own `net/dev`: the same file is the same namespace.
    let device_table = |process: &Path| reader.inode(&process.join("net/dev"));
    let same_as_first_process = || {
        let ours = device_table(own);
        ours.is_some() && ours == device_table(&proc.join("1"))
    };
    in_first || reader.shows_kernel_threads(proc) && same_as_first_process()
}

/// Of the given procfs where that knows us, else of the usual one.
fn own_process(reader: &Reader, proc: &Path) -> PathBuf {
    let knows_us = reader.exists(&proc.join("self/mountinfo"));
    if knows_us { proc } else { Path::new("/proc") }.join("self")
}

/// Names that mean that there is none.
fn usable_name(text: &str) -> bool {
    const NONE: [&str; 3] = ["localhost", "localhost.localdomain", "(none)"];
    name_in(text).is_some_and(|name| !NONE.contains(&name.as_str()))
}

const PID: u64 = 4_026_531_836;
const UTS: u64 = 4_026_531_838;
const TIME: u64 = 4_026_531_834;
/// Namespaces without a fixed number get theirs from here on.
const FIRST_GIVEN_OUT: u64 = 0xF000_0000;
const FIRST_NETWORK_ALONE: &str = "sys/net/core/dev_weight";

/// `net:[4026531840]` → 4026531840.
fn number(link: &Option<String>) -> Option<u64> {
    link.as_deref()?.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// `None` where the kernel has no such namespaces: then there is but one.
fn is_first(link: &Option<String>, fixed: u64) -> Option<bool> {
    number(link).map(|number| number == fixed)
}

/// For the fuzzer.
pub(crate) fn parse_everything(text: &str) {
    let link = Some(text.to_owned());
    let table = mount_table::parse(text.as_bytes());
    drop((
        number(&link),
        find_root(&table, &table, Path::new("/host/proc")),
        find_sys(&table, &[], Path::new("/")),
    ));
}

/// Why a collector's figures would not be the host's, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub reason: String,
    pub mend: Mend,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; mended by {}", self.reason, self.mend)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    /// The host's root, with its procfs and sysfs, mounted into the container.
    MountRoot,
    HostNetwork,
    HostUts,
    /// What no flag of a container engine does.
    Words(&'static str),
}

impl Mend {
    /// As `docker run` takes it.
    pub const fn flag(self) -> Option<&'static str> {
        match self {
            Mend::MountRoot => Some("-v /:/host:ro,rslave"),
            Mend::HostNetwork => Some("--network=host"),
            Mend::HostUts => Some("--uts=host"),
            Mend::Words(_) => None,
        }
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mend::Words(words) => f.write_str(words),
            flag => f.write_str(flag.flag().unwrap_or_default()),
        }
    }
}

const UNHIDE: &str =
    "running as root or in the group of the mount's gid= option (in a unit, ProtectProc=default)";
const UNCOVER: &str = "the machine's procfs and sysfs without lxcfs over them";
const SHARE_TIME: &str = "the machine's own time namespace";
const RIGHT_PATH: &str = "the right path.procfs, or none: it is found by itself";

/// What can be seen of the machine from here.
#[derive(Clone, Debug)]
pub struct View {
    is_recording: bool,
    /// `None`: a folder of files that says nothing of namespaces is a machine.
    facts: Option<Facts>,
}

/// Paths are those of this process' own mount table.
#[derive(Clone, Debug)]
struct Facts {
    proc: PathBuf,
    sys: PathBuf,
    root: PathBuf,
    run: PathBuf,
    proc_is_there: bool,
    shows_kernel_threads: bool,
    own_table: Vec<Mount>,
    /// The host's; empty when it cannot be seen.
    machines: Vec<Mount>,
    in_first_pid: Option<bool>,
    in_first_uts: Option<bool>,
    in_first_time: Option<bool>,
    own_network_is_the_machines: bool,
    /// Whether the network that is read is PID 1's, and can be read.
    network_is_first_process_s: bool,
    /// Whether sysfs shows the very devices that our own network namespace has.
    sysfs_shows_own_devices: bool,
    name_is_the_kernels: bool,
    cgroups_are_whole: Option<bool>,
    container: Option<String>,
}

impl View {
    pub fn of(host: &Host) -> View {
        View::with(&Reader::default(), host)
    }

    fn with(reader: &Reader, host: &Host) -> View {
        let is_procfs = reader.is_procfs(&host.proc);
        let own = own_process(reader, &host.proc);
        let is_recording = !is_procfs && reader.holds_something(&host.proc);
        if is_recording && !own.starts_with(&host.proc) {
            return View { is_recording, facts: None };
        }
        let own_table = reader.mounts(&own.join("mountinfo"));
        let link = |name: &str| reader.link(&own.join("ns").join(name));
        // What was recorded names its mounts as its machine did.
        let place =
            |path: &Path, usual: &str| if is_recording { usual.into() } else { path.into() };
        let own_network = own_network_is_the_machines(reader, &own, &host.proc);
        let first_process_s = host.proc.join("1/net");
        let facts = Facts {
            proc: place(&host.proc, "/proc"),
            sys: place(&host.sys, "/sys"),
            root: place(&host.root, "/"),
            run: place(&host.run, "/run"),
            proc_is_there: is_procfs || is_recording,
            shows_kernel_threads: reader.shows_kernel_threads(&host.proc),
            machines: machine_table(reader, &host.proc, &own, &own_table),
            in_first_pid: is_first(&link("pid"), PID),
            in_first_uts: is_first(&link("uts"), UTS),
            in_first_time: is_first(&link("time"), TIME),
            own_network_is_the_machines: own_network,
            network_is_first_process_s: host.net == first_process_s
                && reader.text(&first_process_s.join("dev")).is_some(),
            sysfs_shows_own_devices: shows_own_devices(reader, &own, &host.sys),
            name_is_the_kernels: host.name_is_the_kernels(),
            cgroups_are_whole: reader.cgroups_are_whole(&host.sys.join("fs/cgroup")),
            container: container(reader, &own),
            own_table,
        };
        View { is_recording, facts: Some(facts) }
    }

    /// Whether a collector's sources are the host's.
    pub fn of_collector(&self, entry: &Entry) -> Result<(), Missing> {
        self.of_sources(entry.scope, entry.reads)
    }

    fn of_sources(&self, scope: Scope, reads: &[&str]) -> Result<(), Missing> {
        match &self.facts {
            Some(facts) if scope != Scope::Own => {
                facts.scope(scope, reads)?;
                facts.sources(reads)
            }
            _ => Ok(()),
        }
    }

    /// Whether what this process sends goes out of the host's own network.
    pub fn of_own_network(&self) -> Result<(), Missing> {
        self.facts.as_ref().map_or(Ok(()), Facts::own_network)
    }

    /// Whether the machine tells its own name, and not a container's.
    pub fn of_host_name(&self) -> Result<(), Missing> {
        self.facts.as_ref().map_or(Ok(()), |facts| facts.scope(Scope::HostName, &[]))
    }

    /// Whether the machine is a folder of files.
    pub fn is_recording(&self) -> bool {
        self.is_recording
    }

    /// What kind of container this process is in; `None` on the host itself.
    pub fn container(&self) -> Option<&str> {
        let facts = self.facts.as_ref()?;
        facts.is_apart().then(|| facts.container.as_deref().unwrap_or("container"))
    }
}

impl Facts {
    /// Whether this process lives in another root or among other processes than the host's.
    fn is_apart(&self) -> bool {
        self.in_first_pid == Some(false) || !self.is_same(Path::new("/"), Path::new("/"))
    }

    fn scope(&self, scope: Scope, reads: &[&str]) -> Result<(), Missing> {
        if !self.proc_is_there {
            let proc = self.proc.display();
            let reason = format!("there is no procfs at {proc}");
            return Err(Missing { reason, mend: Mend::Words(RIGHT_PATH) });
        }
        match scope {
            Scope::Own | Scope::Kernel => Ok(()),
            Scope::Network => self.network(),
            Scope::NetworkDevices => self.network_devices(),
            Scope::Processes => self.processes(),
            Scope::HostName => self.host_name(),
            Scope::Cgroups => self.cgroups(),
            Scope::Mounts => self.files(&["/"]),
            Scope::Root if reads.is_empty() => self.files(&["/"]),
            Scope::Root => self.files(reads),
        }
    }

    fn network(&self) -> Result<(), Missing> {
        if self.own_network_is_the_machines
            || self.shows_kernel_threads && self.network_is_first_process_s
        {
            return Ok(());
        }
        self.processes_are_hidden()?;
        self.missing(format!("{}/net shows the container's network", self.proc.display()))
    }

    fn network_devices(&self) -> Result<(), Missing> {
        let here = sysfs_number(&self.own_table, &self.sys);
        let hosts = sysfs_number(&self.machines, Path::new("/sys"));
        if here.is_some() && here == hosts
            || self.own_network_is_the_machines && self.sysfs_shows_own_devices
        {
            return Ok(());
        }
        let sys = self.sys.display();
        self.missing(match (here, self.sys == Path::new("/sys")) {
            (None, _) => format!("there is no sysfs at {sys}"),
            (_, true) => format!("{sys}/class/net shows the container's network devices"),
            (_, false) => format!("whose network devices {sys}/class/net shows cannot be told without the host's procfs"),
        })
    }

    fn processes(&self) -> Result<(), Missing> {
        if self.shows_kernel_threads {
            return Ok(());
        }
        self.processes_are_hidden()?;
        self.missing(format!("{} shows the container's processes", self.proc.display()))
    }

    /// Fails with the reason when the procfs is such that it hides others' processes.
    fn processes_are_hidden(&self) -> Result<(), Missing> {
        let mount = covering(&self.own_table, &self.proc);
        let hides = mount.is_some_and(|mount| mount.options.split(',').any(is_hiding));
        if self.shows_kernel_threads || !hides {
            return Ok(());
        }
        let reason = format!("{} is mounted with hidepid and hides PID 1", self.proc.display());
        Err(Missing { reason, mend: Mend::Words(UNHIDE) })
    }

    fn host_name(&self) -> Result<(), Missing> {
        if self.in_first_uts != Some(false) || !self.name_is_the_kernels {
            return Ok(());
        }
        let reason = "the kernel tells the container's host name".to_owned();
        let sees_root = self.is_same(Path::new("/"), &self.root);
        let mend = if sees_root { Mend::HostUts } else { Mend::MountRoot };
        Err(Missing { reason, mend })
    }

    fn cgroups(&self) -> Result<(), Missing> {
        match self.cgroups_are_whole {
            Some(false) => {
                let sys = self.sys.display();
                self.missing(format!("{sys}/fs/cgroup shows the container's own control group"))
            }
            // Where there are none at all, the collector says so.
            Some(true) | None => Ok(()),
        }
    }

    /// Whether all these files of the host are what stands at their places below its root.
    fn files(&self, files: &[&str]) -> Result<(), Missing> {
        if self.machines.is_empty() {
            self.processes_are_hidden()?;
            let proc = self.proc.display();
            return self.missing(if self.shows_kernel_threads {
                format!("the host's mount table {proc}/1/mountinfo cannot be read")
            } else {
                format!("the host's mount table cannot be seen: {proc}/1 is the container's")
            });
        }
        for file in files {
            let here = match Path::new(file).strip_prefix("/run") {
                Ok(below) => self.run.join(below),
                Err(_) => self.root.join(file.trim_start_matches('/')),
            };
            if !self.is_same(Path::new(file), &here) {
                return self.missing(format!("{} is not the host's", here.display()));
            }
        }
        Ok(())
    }

    fn own_network(&self) -> Result<(), Missing> {
        if self.own_network_is_the_machines {
            return Ok(());
        }
        self.processes_are_hidden()?;
        let reason = "the network namespace is not the host's".to_owned();
        Err(Missing { reason, mend: Mend::HostNetwork })
    }

    /// What lies over single sources.
    fn sources(&self, reads: &[&str]) -> Result<(), Missing> {
        // `/proc/sys/net`, a socket or a netlink message speak of our own network alone.
        if reads.iter().any(|read| read.starts_with("/proc/sys/net/") || !read.starts_with('/')) {
            self.own_network()?;
        }
        if self.in_first_time == Some(false)
            && reads.iter().any(|read| ["/proc/stat", "/proc/uptime"].contains(read))
        {
            let reason =
                "the time namespace is not the host's: its boot was at another time".into();
            return Err(Missing { reason, mend: Mend::Words(SHARE_TIME) });
        }
        let places: Vec<(&str, PathBuf)> =
            reads.iter().filter_map(|read| Some((*read, self.place(read)?))).collect();
        for (read, place) in &places {
            if self.own_table.iter().any(|mount| is_lxcfs_at(mount, place)) {
                let reason = format!("lxcfs shows the container's {read}");
                return Err(Missing { reason, mend: self.or_words(Mend::MountRoot, UNCOVER) });
            }
        }
        if !places.is_empty() && places.iter().all(|(read, place)| self.is_masked(read, place)) {
            let files: Vec<&str> = places.iter().map(|(read, _)| *read).collect();
            return self.missing(format!("{} masked by the container engine", are(&files)));
        }
        Ok(())
    }

    /// Where a file of procfs or sysfs is for us.
    fn place(&self, read: &str) -> Option<PathBuf> {
        let in_proc = || Some(self.proc.join(read.strip_prefix("/proc/")?));
        let in_sys = || Some(self.sys.join(read.strip_prefix("/sys/")?));
        in_proc().or_else(in_sys)
    }

    fn is_masked(&self, read: &str, place: &Path) -> bool {
        // The devices of a class that have no hardware are links to here.
        let devices = read
            .strip_prefix("/sys/class/")
            .map(|class| self.sys.join("devices/virtual").join(class));
        let is_mask = |path: &Path| {
            covering(&self.own_table, path).is_some_and(|mount| {
                let is_inside = [&self.proc, &self.sys].iter().any(|tree| {
                    mount.point.len() > tree.as_os_str().len()
                        && Path::new(&mount.point).starts_with(tree)
                });
                let is_empty = matches!(mount.kind.as_str(), "tmpfs" | "devtmpfs");
                is_inside && is_empty && Path::new(&mount.point) != self.sys.join("fs/cgroup")
            })
        };
        is_mask(place) || devices.is_some_and(|devices| is_mask(&devices))
    }

    fn is_same(&self, hosts: &Path, here: &Path) -> bool {
        let wanted = identity(&self.machines, hosts);
        wanted.is_some() && wanted == identity(&self.own_table, here)
    }

    /// Missing for want of the host's trees.
    fn missing(&self, reason: String) -> Result<(), Missing> {
        Err(Missing { reason, mend: Mend::MountRoot })
    }

    /// A mount that is there already mends nothing.
    fn or_words(&self, mend: Mend, words: &'static str) -> Mend {
        if self.is_apart() { mend } else { Mend::Words(words) }
    }
}

fn are(files: &[&str]) -> String {
    format!("{} {}", files.join(" and "), if files.len() == 1 { "is" } else { "are" })
}

fn is_hiding(option: &str) -> bool {
    option.strip_prefix("hidepid=").is_some_and(|how| !["0", "off"].contains(&how))
}

/// A mount of lxcfs at this place, above it or below it.
fn is_lxcfs_at(mount: &Mount, place: &Path) -> bool {
    let point = Path::new(&mount.point);
    mount.kind == "fuse.lxcfs" && (place.starts_with(point) || point.starts_with(place))
}

fn shows_own_devices(reader: &Reader, own: &Path, sys: &Path) -> bool {
    let table = reader.text(&own.join("net/dev")).unwrap_or_default();
    let ours: BTreeSet<String> = table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect();
    !ours.is_empty() && ours == reader.folders(&sys.join("class/net"))
}

/// In a word, for messages alone.
fn container(reader: &Reader, own: &Path) -> Option<String> {
    const MARKS: [(&str, &str); 3] = [
        ("/var/run/secrets/kubernetes.io", "kubernetes container"),
        ("/run/.containerenv", "podman container"),
        ("/.dockerenv", "docker container"),
    ];
    if let Some(manager) = reader.text(Path::new("/run/systemd/container")) {
        return Some(format!("{} container", manager.trim()));
    }
    if let Some((_, kind)) = MARKS.iter().find(|(mark, _)| reader.exists(Path::new(mark))) {
        return Some((*kind).to_owned());
    }
    let groups = reader.text(&own.join("cgroup"))?;
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let in_container = |path: String| cgroup_path::place(&path).container.is_some();
    groups.lines().filter_map(path).any(in_container).then(|| "container".to_owned())
}

/// Reads facts, of this machine or of one laid out below a folder.
#[derive(Clone, Debug, Default)]
struct Reader {
    below: Option<PathBuf>,
}

impl Reader {
    fn at(&self, path: &Path) -> PathBuf {
        match &self.below {
            None => path.to_owned(),
            Some(below) => below.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    fn text(&self, path: &Path) -> Option<String> {
        read_small(&self.at(path)).ok()
    }

    /// Where there are none at all, nothing is said.
    fn cgroups_are_whole(&self, folder: &Path) -> Option<bool> {
        linux::is_machines_tree(&self.at(folder)).ok()
    }

    fn mounts(&self, path: &Path) -> Vec<Mount> {
        mount_table::parse(&read_whole(&self.at(path)).unwrap_or_default())
    }

    fn link(&self, path: &Path) -> Option<String> {
        let target = std::fs::read_link(self.at(path)).ok()?;
        Some(target.to_str()?.to_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.at(path).exists()
    }

    fn inode(&self, path: &Path) -> Option<(u64, u64)> {
        let metadata = std::fs::metadata(self.at(path)).ok()?;
        Some((metadata.st_dev(), metadata.st_ino()))
    }

    /// What a folder holds besides plain files.
    fn folders(&self, path: &Path) -> BTreeSet<String> {
        let entries = self.at(path).read_dir().into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn holds_something(&self, path: &Path) -> bool {
        self.at(path).read_dir().is_ok_and(|mut entries| entries.next().is_some())
    }

    fn is_procfs(&self, path: &Path) -> bool {
        match self.below {
            None => is_procfs(path),
            Some(_) => self.exists(&path.join("self")),
        }
    }

    fn shows_kernel_threads(&self, proc: &Path) -> bool {
        self.text(&proc.join("2/comm")).is_some_and(|name| name == "kthreadd")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    /// As recorded on a virtual machine with version 1 control groups.
    const HOSTS_TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334460k
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 27 0:33 / /run rw - tmpfs tmpfs rw
";

    /// A docker container's on the same machine.
    const CONTAINERS_TABLE: &str = "\
69 44 254:0 /var/lib/docker/vfs/dir/6ae3 / rw,relatime master:1 - ext4 /dev/vda rw,discard
70 69 0:40 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
71 69 0:41 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
73 69 0:43 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
74 73 0:44 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
75 74 0:29 /docker/d3a3 /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
84 69 254:0 /var/lib/docker/containers/d3a3/hostname /etc/hostname rw - ext4 /dev/vda rw,discard
49 70 0:40 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
51 70 0:41 /null /proc/interrupts rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
52 73 0:47 / /sys/devices/virtual/powercap ro,relatime - tmpfs tmpfs ro
";

    /// What `-v /:/host:ro,rslave` adds: other containers' trees come along.
    const MOUNTED: &str = "\
86 69 254:0 / /host ro,relatime - ext4 /dev/vda rw,discard
87 86 0:21 / /host/proc rw,relatime - proc proc rw
88 86 0:22 / /host/sys rw,relatime - sysfs sysfs rw
89 88 0:28 / /host/sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
90 89 0:29 / /host/sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
91 86 0:33 / /host/run rw - tmpfs tmpfs rw
92 86 0:90 / /host/a/proc rw - proc proc rw
93 86 0:91 / /host/a/sys rw - sysfs sysfs rw
";

    /// A machine laid out below a folder, as this process would see it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(own_table: &str) -> Machine {
            let machine = Machine(tempfile::tempdir().unwrap());
            machine.file("/proc/self/mountinfo", own_table);
            machine.file("/proc/self/net/dev", "a\nb\n    lo: 1\n  eth0: 2\n");
            machine
        }

        fn host() -> Machine {
            let machine = Machine::new(HOSTS_TABLE).in_namespaces(true);
            machine.procfs("/proc", HOSTS_TABLE).file("/proc/sys/net/core/dev_weight", "64\n");
            machine.file("/sys/fs/cgroup/cpu/cgroup.procs", "1\n");
            machine.file("/sys/fs/cgroup/cpu/release_agent", "\n");
            machine
        }

        fn container() -> Machine {
            let machine = Machine::new(CONTAINERS_TABLE).in_namespaces(false);
            machine.file("/.dockerenv", "").file("/proc/2/comm", "sh\n");
            machine.file("/sys/fs/cgroup/cpu/cgroup.procs", "1\n");
            machine
        }

        fn mounted() -> Machine {
            let machine = Machine::container();
            machine.file("/proc/self/mountinfo", &[CONTAINERS_TABLE, MOUNTED].concat());
            machine.procfs("/host/proc", HOSTS_TABLE);
            machine.file("/host/proc/1/net/dev", "a\nb\n    lo: 1\n");
            machine.file("/host/etc/hostname", "web-1\n");
            machine.file("/host/sys/fs/cgroup/cpu/cgroup.procs", "1\n");
            machine.file("/host/sys/fs/cgroup/cpu/release_agent", "\n");
            machine
        }

        fn procfs(&self, proc: &str, table: &str) -> &Machine {
            self.file(&format!("{proc}/self/comm"), "farol\n");
            self.file(&format!("{proc}/2/comm"), "kthreadd\n");
            self.file(&format!("{proc}/1/mountinfo"), table)
        }

        fn in_namespaces(self, first: bool) -> Machine {
            for (name, fixed) in
                [("pid", PID), ("uts", UTS), ("net", FIRST_GIVEN_OUT), ("time", TIME)]
            {
                let is_first = first || name == "time";
                let number = if is_first { fixed } else { FIRST_GIVEN_OUT + 300 };
                self.link(name, number);
            }
            self
        }

        fn link(&self, name: &str, number: u64) {
            let link = self.0.path().join("proc/self/ns").join(name);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            remove(&link);
            std::os::unix::fs::symlink(format!("{name}:[{number}]"), link).unwrap();
        }

        fn file(&self, path: &str, text: &str) -> &Machine {
            let path = self.reader().at(Path::new(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, text);
            self
        }

        fn reader(&self) -> Reader {
            Reader { below: Some(self.0.path().to_owned()) }
        }

        fn find(&self, given: &Given) -> Host {
            find_with(&self.reader(), given).host
        }

        fn view(&self) -> View {
            View::with(&self.reader(), &self.find(&Given::default()))
        }

        /// The reason why a source is missing.
        fn reason(&self, scope: Scope, read: &str) -> Option<String> {
            self.view().of_sources(scope, &[read]).err().map(|missing| missing.reason)
        }
    }

    /// A scope and a file as its collectors read it.
    const SOURCES: [(Scope, &str); 9] = [
        (Scope::Kernel, "/proc/stat"),
        (Scope::Kernel, "/proc/interrupts"),
        (Scope::Kernel, "/sys/class/powercap"),
        (Scope::Network, "/proc/net/dev"),
        (Scope::NetworkDevices, "/sys/class/net"),
        (Scope::Mounts, "/proc/1/mountinfo"),
        (Scope::Processes, "/proc"),
        (Scope::Cgroups, "/sys/fs/cgroup"),
        (Scope::Root, "/etc/os-release"),
    ];

    #[test]
    fn on_the_host_itself_all_is_at_its_usual_place_and_the_hosts() {
        let machine = Machine::host();
        assert_eq!(machine.find(&Given::default()), Host::local());
        for (scope, read) in SOURCES {
            assert_eq!(machine.reason(scope, read), None);
        }
        assert_eq!(machine.view().of_host_name(), Ok(()));
        assert_eq!(machine.view().of_own_network(), Ok(()));
        assert_eq!(machine.view().container(), None);
    }

    #[test]
    fn a_bare_container_shows_the_hosts_kernel_and_nothing_else_of_it() {
        let machine = Machine::container();
        assert_eq!(machine.find(&Given::default()), Host::local());
        assert_eq!(machine.reason(Scope::Kernel, "/proc/stat"), None);
        for (scope, read) in &SOURCES[1..] {
            assert!(machine.reason(*scope, read).is_some(), "{scope:?} {read}");
        }
        assert!(machine.view().of_host_name().is_err());
        assert_eq!(machine.view().container(), Some("docker container"));
    }

    #[test]
    fn the_mounted_host_is_found_and_shows_all_but_what_needs_its_network() {
        let machine = Machine::mounted();
        let host = machine.find(&Given::default());
        let expected = Host {
            proc: "/host/proc".into(),
            net: "/host/proc/1/net".into(),
            sys: "/host/sys".into(),
            root: "/host".into(),
            run: "/host/run".into(),
            name: "/host/etc/hostname".into(),
        };
        assert_eq!(host, expected);
        for (scope, read) in SOURCES {
            assert_eq!(machine.reason(scope, read), None, "{scope:?} {read}");
        }
        assert_eq!(machine.reason(Scope::Root, "/run/utmp"), None);
        let view = machine.view();
        for read in ["/proc/sys/net/netfilter/nf_conntrack_count", "netlink"] {
            let missing = view.of_sources(Scope::Network, &[read]).unwrap_err();
            assert_eq!(missing.mend, Mend::HostNetwork);
        }
        assert_eq!(view.of_own_network().unwrap_err().mend, Mend::HostNetwork);
    }

    #[test]
    fn a_configured_place_is_kept_and_told_the_truth_of() {
        let machine = Machine::mounted();
        let given = Given { sys: Some("/host/a/sys".into()), ..Given::default() };
        let host = machine.find(&given);
        assert_eq!(host.sys, Path::new("/host/a/sys"));
        let view = View::with(&machine.reader(), &host);
        let netclass = view.of_sources(Scope::NetworkDevices, &["/sys/class/net"]);
        assert!(netclass.is_err(), "another container's sysfs");

        let given = Given { root: Some("/".into()), ..Given::default() };
        let view = View::with(&machine.reader(), &machine.find(&given));
        let os = view.of_sources(Scope::Root, &["/etc/os-release"]).unwrap_err();
        assert_eq!(os.reason, "/etc/os-release is not the host's");

        let given = Given { proc: Some("/nowhere".into()), ..Given::default() };
        let view = View::with(&machine.reader(), &machine.find(&given));
        let cpu = view.of_sources(Scope::Kernel, &["/proc/stat"]).unwrap_err();
        assert_eq!(cpu.reason, "there is no procfs at /nowhere");
    }

    #[test]
    fn what_an_engine_masks_is_named() {
        let machine = Machine::container();
        let interrupts = machine.reason(Scope::Kernel, "/proc/interrupts").unwrap();
        assert_eq!(interrupts, "/proc/interrupts is masked by the container engine");
        let partly = machine.view().of_sources(Scope::Kernel, &["/proc/interrupts", "/proc/stat"]);
        assert_eq!(partly, Ok(()), "a part is better than nothing");
        assert_eq!(machine.reason(Scope::Kernel, "/sys/class/thermal"), None);
    }

    #[test]
    fn what_lxcfs_shows_is_a_containers() {
        let table = format!(
            "{CONTAINERS_TABLE}95 70 0:60 /proc/meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw\n\
             96 73 0:60 /sys/devices/system/cpu/online /sys/devices/system/cpu/online rw - fuse.lxcfs lxcfs rw\n"
        );
        let machine = Machine::container();
        machine.file("/proc/self/mountinfo", &table);
        let memory = machine.reason(Scope::Kernel, "/proc/meminfo").unwrap();
        assert_eq!(memory, "lxcfs shows the container's /proc/meminfo");
        assert!(machine.reason(Scope::Kernel, "/sys/devices/system/cpu").is_some());
        assert_eq!(machine.reason(Scope::Kernel, "/proc/vmstat"), None);
    }

    #[test]
    fn a_unit_with_mounts_of_its_own_still_sees_the_host() {
        let private = format!("{HOSTS_TABLE}60 27 0:70 / /home ro - tmpfs tmpfs ro\n");
        let machine = Machine::host();
        machine.file("/proc/self/mountinfo", &private);
        machine.link("uts", FIRST_GIVEN_OUT + 9);
        machine.file("/etc/hostname", "web-1\n");
        assert_eq!(machine.find(&Given::default()).name, Path::new("/etc/hostname"));
        assert_eq!(machine.view().of_host_name(), Ok(()), "ProtectHostname=");
        assert_eq!(machine.reason(Scope::Mounts, "/proc/1/mountinfo"), None);
        assert!(machine.reason(Scope::Root, "/home/a").is_some(), "ProtectHome=tmpfs");
        machine.file("/etc/hostname", "localhost\n");
        assert_eq!(machine.view().of_host_name().unwrap_err().mend, Mend::HostUts);
    }

    #[test]
    fn a_procfs_that_hides_processes_is_named_as_the_reason() {
        let machine = Machine::host();
        let hiding = HOSTS_TABLE.replace("proc proc rw", "proc proc rw,hidepid=invisible");
        machine.file("/proc/self/mountinfo", &hiding);
        std::fs::remove_dir_all(machine.reader().at(Path::new("/proc/2"))).unwrap();
        let processes = machine.view().of_sources(Scope::Processes, &["/proc"]).unwrap_err();
        assert_eq!(processes.reason, "/proc is mounted with hidepid and hides PID 1");
        assert_eq!(machine.reason(Scope::Network, "/proc/net/dev"), None, "our own is the first");
        assert!(machine.reason(Scope::Mounts, "/proc/1/mountinfo").is_some());
        // Since Linux 6.18 the number tells that our own mounts are the machine's.
        machine.link("mnt", 4_026_531_832);
        assert_eq!(machine.reason(Scope::Mounts, "/proc/1/mountinfo"), None);
    }

    #[test]
    fn a_network_of_ones_own_hides_the_devices_and_not_the_counters() {
        let machine = Machine::host();
        let private = HOSTS_TABLE.replace("0:22 / /sys", "0:99 / /sys");
        machine.file("/proc/self/mountinfo", &private).file("/proc/1/net/dev", "");
        machine.link("net", FIRST_GIVEN_OUT + 7);
        remove(&machine.reader().at(Path::new("/proc/sys/net/core/dev_weight")));
        assert_eq!(machine.find(&Given::default()).net, Path::new("/proc/1/net"));
        let devices = machine.reason(Scope::NetworkDevices, "/sys/class/net").unwrap();
        assert_eq!(devices, "/sys/class/net shows the container's network devices");
    }

    #[test]
    fn another_time_namespace_has_another_boot() {
        let machine = Machine::host();
        machine.link("time", FIRST_GIVEN_OUT + 3);
        assert!(machine.reason(Scope::Kernel, "/proc/stat").is_some());
        assert_eq!(machine.reason(Scope::Kernel, "/proc/meminfo"), None);
    }

    #[test]
    fn a_recorded_folder_is_a_machine_unless_it_says_that_it_is_a_container() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        std::fs::create_dir_all(&host.proc).unwrap();
        write(&host.proc.join("stat"), "ctxt 5\n");
        let os = |view: &View| view.of_sources(Scope::Root, &["/etc/os-release"]);
        assert_eq!(os(&View::of(&host)), Ok(()));
        std::fs::create_dir_all(host.proc.join("self")).unwrap();
        write(&host.proc.join("self/mountinfo"), CONTAINERS_TABLE);
        assert!(os(&View::of(&host)).is_err());
        assert!(View::of(&host).is_recording());
    }

    #[test]
    fn each_version_of_control_groups_has_its_sign_of_the_root() {
        let machine = Machine::host();
        let whole = |folder: &str| machine.reader().cgroups_are_whole(Path::new(folder));
        machine.file("/v2/cgroup.controllers", "").file("/nested/cgroup.controllers", "");
        machine.file("/nested/cgroup.type", "domain\n");
        assert_eq!(whole("/v2"), Some(true));
        assert_eq!(whole("/nested"), Some(false));
        assert_eq!(whole("/sys/fs/cgroup"), Some(true));
        assert_eq!(whole("/nowhere"), None);
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn remove(path: &Path) {
        std::fs::remove_file(path).ok();
    }
}
