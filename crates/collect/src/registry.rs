//! The one list of collectors, and what is known about each metric name.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use farol_model::{Description, Lane, Metric};
use regex::Regex;

use crate::{
    CollectError, Host, Laps, ProcessTable, Scrape, linux, own, probe, process, summary, textfile,
    top_rows,
};

pub trait Collector: Send {
    /// Reads the machine and pushes samples. What is pushed before an error is returned counts
    /// only when the error is none: return `Ok` and name problems for half a result.
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError>;
}

/// One row per collector.
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it is on unless configured otherwise.
    pub on: bool,
    pub lane: Lane,
    pub scope: Scope,
    /// The machine's files and folders it reads, as the machine names them. What has no file but
    /// speaks of the network namespace of whoever asks stands as a word: `netlink`.
    pub reads: &'static [&'static str],
    pub metrics: &'static [Metric],
    /// Pure: opens nothing.
    pub build: fn(&Options) -> Result<Box<dyn Collector>, OptionsError>,
}

/// Whose figures a collector's sources tell: the kernel shows some files alike to everyone, and
/// others as the namespaces of whoever reads them have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole kernel, whoever reads.
    Kernel,
    /// A network namespace: `/proc/net`.
    Network,
    /// The network namespace in which a sysfs was mounted: `/sys/class/net`.
    NetworkDevices,
    /// A mount namespace: the mount table, and the file systems below the root.
    Mounts,
    /// A process namespace: `/proc/<pid>`.
    Processes,
    /// A host name's namespace (UTS).
    HostName,
    /// The tree of control groups: `/sys/fs/cgroup`.
    Cgroups,
    /// Ordinary files below the machine's root: `/etc`, `/run`.
    Root,
    /// Farol itself, or what it is pointed at.
    Own,
}

/// All collectors, by name.
pub const COLLECTORS: &[Entry] = linux::COLLECTORS;

/// What collectors can be told. Patterns match anywhere unless anchored, as in node_exporter.
#[derive(Clone, Debug)]
pub struct Options {
    pub filesystem_mount_points_exclude: Regex,
    pub filesystem_types_exclude: Regex,
    pub diskstats_device_exclude: Regex,
    /// Excludes nothing when empty.
    pub netdev_device_exclude: Regex,
    pub netclass_ignored_devices: Regex,
    pub powersupply_ignored_supplies: Regex,
    /// These two match a unit's whole name.
    pub systemd_unit_include: Regex,
    pub systemd_unit_exclude: Regex,
    pub systemd_start_times: bool,
    pub systemd_restarts: bool,
    pub systemd_tasks: bool,
    pub vmstat_fields: Regex,
    pub netstat_fields: Regex,
    pub top_command: TopCommand,
    pub process_groups: Vec<ProcessGroup>,
    /// What the collectors of processes share, so that `/proc` is read once a tick.
    pub processes: Arc<ProcessTable>,
    /// Where a container engine answers for names; none is asked without it.
    pub containers_socket: Option<PathBuf>,
    /// The containers' labels that become labels of their series.
    pub containers_labels: Vec<String>,
    /// Whether `cpu` also says what each CPU is, from `/proc/cpuinfo`.
    pub cpu_info: bool,
    pub compatibility: Compatibility,
    pub textfile: textfile::Settings,
    /// Farol's own figures, kept by `app`.
    pub own: Arc<own::Board>,
    /// The newest results of the latency probes, kept by `app`'s probe tasks.
    pub probes: Arc<probe::Board>,
    pub laps: Laps,
}

impl Options {
    pub const FILESYSTEM_MOUNT_POINTS_EXCLUDE: &str =
        r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
    pub const FILESYSTEM_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";
    pub const DISKSTATS_DEVICE_EXCLUDE: &str =
        r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";
    pub const CONTAINERS_LABELS: [&str; 2] =
        ["com.docker.compose.project", "com.docker.compose.service"];
    pub const NOTHING: &str = "^$";
    pub const SYSTEMD_UNIT_INCLUDE: &str = ".+";
    pub const SYSTEMD_UNIT_EXCLUDE: &str = r".+\.(automount|device|mount|scope|slice)";
    pub const VMSTAT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";
    pub const NETSTAT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";
}

impl Default for Options {
    fn default() -> Options {
        let pattern = |text| Regex::new(text).expect("the default patterns are valid");
        Options {
            filesystem_mount_points_exclude: pattern(Options::FILESYSTEM_MOUNT_POINTS_EXCLUDE),
            filesystem_types_exclude: pattern(Options::FILESYSTEM_TYPES_EXCLUDE),
            diskstats_device_exclude: pattern(Options::DISKSTATS_DEVICE_EXCLUDE),
            netdev_device_exclude: pattern(Options::NOTHING),
            netclass_ignored_devices: pattern(Options::NOTHING),
            powersupply_ignored_supplies: pattern(Options::NOTHING),
            systemd_unit_include: pattern(Options::SYSTEMD_UNIT_INCLUDE),
            systemd_unit_exclude: pattern(Options::SYSTEMD_UNIT_EXCLUDE),
            systemd_start_times: false,
            systemd_restarts: false,
            systemd_tasks: false,
            vmstat_fields: pattern(Options::VMSTAT_FIELDS),
            netstat_fields: pattern(Options::NETSTAT_FIELDS),
            top_command: TopCommand::default(),
            process_groups: Vec::new(),
            processes: Arc::default(),
            containers_socket: None,
            containers_labels: Options::CONTAINERS_LABELS.map(str::to_owned).into(),
            cpu_info: false,
            compatibility: Compatibility::default(),
            textfile: textfile::Settings::default(),
            own: Arc::default(),
            probes: Arc::default(),
            laps: Laps::default(),
        }
    }
}

/// How much of a process's command line `top` shows. Arguments may hold secrets, and what is shown
/// is written into the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopCommand {
    Full,
    /// The first argument: which program it is.
    #[default]
    Program,
    None,
}

/// Processes whose figures are summed up under one name. What is given must all match; a process
/// belongs to the first group it fits.
#[derive(Clone, Debug)]
pub struct ProcessGroup {
    pub name: String,
    /// Of the process's name.
    pub process: Option<Regex>,
    /// Of its systemd unit.
    pub unit: Option<Regex>,
    /// Of its user's name (or number, where there is no name).
    pub user: Option<Regex>,
}

/// How far we go beyond node_exporter's names and labels, so that a board finds all it asks for.
/// What each step adds, and why the last is not the default, is in
/// `docs/reference/node-exporter-parity.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// Not at all.
    Exact,
    /// Names that node_exporter does not have, beside its own.
    #[default]
    Names,
    /// Also a label that its series do not have.
    Labels,
}

impl Compatibility {
    pub(crate) fn adds_names(self) -> bool {
        self != Compatibility::Exact
    }

    pub(crate) fn adds_labels(self) -> bool {
        self == Compatibility::Labels
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError(pub String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionsError {}

/// Help, type and unit of a metric name, and which collector yields it.
pub fn describe(name: &str) -> Option<Description> {
    let (collector, metric, matched) = look_up(name)?;
    let help = metric.help.replacen('*', matched, 1);
    Some(Description { collector, kind: metric.kind, unit: metric.unit, help })
}

/// The collector that yields a metric name, for `collect[]` and `exclude[]`.
pub fn collector_of(name: &str) -> Option<&'static str> {
    look_up(name).map(|(collector, _, _)| collector)
}

struct Registry {
    exact: HashMap<&'static str, (&'static str, &'static Metric)>,
    /// Rows with a `*`: prefix, suffix, collector, row.
    coined: Vec<(&'static str, &'static str, &'static str, &'static Metric)>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry { exact: HashMap::new(), coined: Vec::new() };
    for (collector, metrics) in tables() {
        for metric in metrics {
            match metric.name.split_once('*') {
                Some((prefix, suffix)) => {
                    registry.coined.push((prefix, suffix, collector, metric));
                }
                None => {
                    registry.exact.insert(metric.name, (collector, metric));
                }
            }
        }
    }
    registry
});

/// Every table of metrics there is, with the name of what yields it.
pub(crate) fn tables() -> impl Iterator<Item = (&'static str, &'static [Metric])> {
    let collectors = COLLECTORS.iter().map(|entry| (entry.name, entry.metrics));
    collectors.chain([
        ("scrape", crate::runner::METRICS),
        ("summary", summary::metrics()),
        ("process", process::METRICS),
        ("follow", own::FOLLOWER_METRICS),
        ("top rows", top_rows::METRICS),
    ])
}

fn look_up(name: &str) -> Option<(&'static str, &'static Metric, &str)> {
    if let Some((collector, metric)) = REGISTRY.exact.get(name) {
        return Some((collector, metric, ""));
    }
    REGISTRY.coined.iter().find_map(|(prefix, suffix, collector, metric)| {
        let matched = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        Some((*collector, *metric, matched))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_metric_stands_in_one_table_only() {
        let mut seen = HashSet::new();
        for (collector, metrics) in tables() {
            for metric in metrics {
                assert!(seen.insert(metric.name), "{} again in {collector}", metric.name);
            }
        }
    }

    #[test]
    fn collectors_stand_in_order_of_their_names() {
        assert!(COLLECTORS.is_sorted_by_key(|entry| entry.name));
    }

    #[test]
    fn a_counter_ends_in_total_and_units_are_base_units() {
        for (_, metrics) in tables() {
            for metric in metrics {
                assert!(!metric.help.is_empty(), "{} has no help", metric.name);
                assert!(
                    [
                        "", "seconds", "bytes", "ratio", "celsius", "hertz", "volts", "amperes",
                        "joules", "watts", "percent", "bits"
                    ]
                    .contains(&metric.unit),
                    "{}: unit {:?}",
                    metric.name,
                    metric.unit
                );
            }
        }
    }
}
