//! The one table of settings: from it come the keys of the file, the environment variables, the
//! flags, the defaults, the reference page and the example file.
//!
//! To add a setting: a row here, a field in `types`, a line in `build`.

use std::time::Duration;

use farol_collect::Options;

/// One row of the table.
#[derive(Debug)]
pub struct Setting {
    /// The path of keys in the file, joined by dots.
    pub key: &'static str,
    pub kind: Kind,
    /// As it would be written in the environment; "" where the default is found out at start.
    pub default: &'static str,
    /// For a default of "": what it is, in words.
    pub unset: &'static str,
    /// For a default of "": a value for the example file.
    pub example: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Further flags. The main one is [`Setting::flag`].
    pub aliases: &'static [Alias],
    /// Whether there is a main flag; the lists of collectors have one flag per collector instead.
    pub has_flag: bool,
}

/// Another program's name for a flag.
#[derive(Debug)]
pub struct Alias {
    pub flag: &'static str,
    /// Gone from the other program too; a use of it is warned about.
    pub deprecated: bool,
}

/// The type of a value and its bounds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Text(TextRule),
    Path,
    Paths,
    Duration {
        least: Duration,
        most: Duration,
    },
    Size {
        least: u64,
        most: u64,
    },
    Count {
        least: u64,
        most: u64,
    },
    Bool,
    Choice(&'static [&'static str]),
    Pattern,
    Addresses,
    Hosts,
    Collectors,
    /// Labels of containers.
    Labels,
    IcmpProbes,
    TcpProbes,
    ProcessGroups,
    /// Names of labels.
    LabelNames,
    QuietHours,
    Notifiers,
    Remedies,
}

/// What a text must look like.
#[derive(Clone, Copy, Debug)]
pub enum TextRule {
    /// A label's value.
    Label,
    /// A group's name or number.
    Group,
    /// The path of a URL.
    UrlPath,
    /// `https://grafana.example`, or `*`.
    Origin,
    /// `https://farol.example/prefix`.
    Url,
}

impl Kind {
    /// The name of the type, on the reference page and in `--help`.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Text(TextRule::Label) => "text",
            Kind::Text(TextRule::Group) => "group",
            Kind::Text(TextRule::UrlPath) => "URL path",
            Kind::Text(TextRule::Origin) => "origin",
            Kind::Text(TextRule::Url) => "URL",
            Kind::Path => "path",
            Kind::Paths => "list of paths",
            Kind::Duration { .. } => "duration",
            Kind::Size { .. } => "size",
            Kind::Count { .. } => "number",
            Kind::Bool => "true or false",
            Kind::Choice(_) => "word",
            Kind::Pattern => "pattern",
            Kind::Addresses => "list of addresses",
            Kind::Hosts => "list of host names",
            Kind::Collectors => "list of collectors",
            Kind::Labels => "list of labels",
            Kind::IcmpProbes | Kind::TcpProbes => "list of probes",
            Kind::ProcessGroups => "list of process groups",
            Kind::LabelNames => "list of label names",
            Kind::QuietHours => "list of windows",
            Kind::Notifiers => "list of notifiers",
            Kind::Remedies => "list of remedies",
        }
    }

    pub const fn is_list(self) -> bool {
        matches!(
            self,
            Kind::Paths
                | Kind::Addresses
                | Kind::Hosts
                | Kind::Collectors
                | Kind::Labels
                | Kind::IcmpProbes
                | Kind::TcpProbes
                | Kind::ProcessGroups
                | Kind::LabelNames
                | Kind::QuietHours
                | Kind::Notifiers
                | Kind::Remedies
        )
    }
}

impl Setting {
    pub fn variable(&self) -> String {
        format!("FAROL_{}", self.key.to_ascii_uppercase().replace('.', "_"))
    }

    /// The main flag, without dashes. node_exporter says `--collector.` in the singular.
    pub fn flag(&self) -> Option<String> {
        let name = match self.key.strip_prefix("collectors.") {
            Some(rest) => format!("collector.{rest}"),
            None => self.key.to_owned(),
        };
        self.has_flag.then(|| name.replace('_', "-"))
    }

    /// Looks a row up by its key.
    pub fn of(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    const fn new(
        key: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Setting {
        let (unset, example) = ("", "");
        Setting { key, kind, default, unset, example, help, aliases: &[], has_flag: true }
    }

    const fn unset(mut self, words: &'static str, example: &'static str) -> Setting {
        self.unset = words;
        self.example = example;
        self
    }

    const fn also(mut self, aliases: &'static [Alias]) -> Setting {
        self.aliases = aliases;
        self
    }

    const fn without_flag(mut self) -> Setting {
        self.has_flag = false;
        self
    }
}

impl Alias {
    const fn of(flag: &'static str) -> Alias {
        Alias { flag, deprecated: false }
    }

    const fn old(flag: &'static str) -> Alias {
        Alias { flag, deprecated: true }
    }
}

const fn duration(least_millis: u64, most_seconds: u64) -> Kind {
    let (least, most) = (Duration::from_millis(least_millis), Duration::from_secs(most_seconds));
    Kind::Duration { least, most }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

const AGE: Kind =
    Kind::Duration { least: Duration::from_secs(HOUR), most: Duration::from_secs(3650 * DAY) };
const RETAINED: Kind = Kind::Size { least: 4 * MIB, most: 16 * KIB * GIB };

/// All settings, in the order of the reference page. Sections stand together.
pub const SETTINGS: &[Setting] = &[
    Setting::new("interval", duration(100, HOUR), "1s", "How often the cheap collectors run (cpu, memory, network)."),
    Setting::new("slow_interval", duration(100, HOUR), "10s", "How often the collectors run that cost more or can hang (filesystems, sensors, probes); raised to `interval` where that is longer."),
    Setting::new("collector_timeout", duration(50, 60), "2s", "How long one collector may take before it is set aside and reported late."),
    Setting::new("listen", Kind::Addresses, "127.0.0.1:8000", "Addresses to answer HTTP on; `:8000` is every address of the machine, port 0 any free port, an empty list none.")
        .also(&[Alias::of("web.listen-address")]),
    Setting::new("data", Kind::Path, "", "Folder for what Farol remembers besides the journal.")
        .unset("systemd's state folder, else `/var/lib/farol` for root, else `~/.local/state/farol`", "/var/lib/farol"),
    Setting::new("logs", Kind::Path, "", "Folder for the journal and for Farol's own log.")
        .unset("`/logs` if it is there and writable, else `logs` below `data`", "/logs"),
    Setting::new("group", Kind::Text(TextRule::Group), "", "Group, by name or number, that may read the journal's files.")
        .unset("the group Farol runs as", "adm"),
    Setting::new("host_name", Kind::Text(TextRule::Label), "", "The name of the machine in journal lines and labels.")
        .unset("the machine's own name; in a container that of the host where it can be seen", "web-1"),
    Setting::new("process_groups", Kind::ProcessGroups, "none", "Groups of processes whose figures are summed up under one `name`, by patterns for `process` (its name), `unit` and `user`; all that are given must match, and the first group counts. A name alone is the processes of that name."),
    Setting::new("quiet_hours", Kind::QuietHours, "none", "Windows in which alerts are recorded and not told, but what is critical; each has a `name`, `times` of the day, `weekdays`, `days_of_month`, `months` and a `time_zone`, or `from` and `to`, and may say with `matchers` whom it is for. What still fires at the end is told then.")
        .without_flag(),

    Setting::new("notify", Kind::Notifiers, "none", "Who is told of alerts: each has a `name`, one of `discord`, `slack`, `email`, `webhook`, `alertmanager` and `heartbeat`, and perhaps which alerts it is told when (`match`, `group_by`, `group_wait`, `group_interval`, `repeat_interval`, `send_resolved`); `docs/alerts.md` has an example of each."),
    Setting::new("remedies", Kind::Remedies, "none", "What may be run against an alert whose rule names it: each has a `name`, one treatment (`cleanup_temp_files`, `cleanup_old_logs`, `restart_interface`, `restart_unit`, `flush_dns_cache`, `report_disk_usage`, `reap_zombies`, `program`) with its fields, `dry_run` (true unless it is false), and when it may run (`sustained`, `cooldown`, `per_day`, `hours`, `wait`, `deadline`); the section on remedies of `docs/alerts.md` has an example of each. Those that need no field are there in dry run under their own name without being listed.")
        .without_flag(),

    Setting::new("path.procfs", Kind::Path, "", "Where the machine's procfs is mounted.")
        .unset("found by itself: `/proc`, in a container wherever the host's is mounted", "/proc"),
    Setting::new("path.sysfs", Kind::Path, "", "Where the machine's sysfs is mounted.")
        .unset("found by itself: `/sys`, in a container wherever the host's is mounted", "/sys"),
    Setting::new("path.rootfs", Kind::Path, "", "Where the machine's root is mounted; `/host` in the usual container.")
        .unset("found by itself: `/`, in a container wherever the host's is mounted", "/"),
    Setting::new("path.run", Kind::Path, "", "Where the machine's `/run` is.")
        .unset("`run` below `path.rootfs`", "/run"),

    Setting::new("web.telemetry_path", Kind::Text(TextRule::UrlPath), "/metrics", "Path under which metrics are exposed."),
    Setting::new("web.external_url", Kind::Text(TextRule::Url), "", "Where people find Farol's page; messages link to it.")
        .unset("messages have no link", "https://farol.example"),
    Setting::new("web.allowed_hosts", Kind::Hosts, "none", "Names or addresses under which pages may be asked for, besides loopback, `host_name` and the address connected to; any other is refused, against DNS rebinding. `*` allows all."),
    Setting::new("web.config_file", Kind::Path, "", "File with TLS, users and more, in the format that Prometheus' exporters share (`web.yml`).")
        .unset("plain HTTP without users", "/etc/farol/web.yml")
        .also(&[Alias::of("web.config.file")]),
    Setting::new("web.bearer_token_files", Kind::Paths, "none", "Files with one token each: `Authorization: Bearer TOKEN` is let in."),
    Setting::new("web.allow_unauthenticated", Kind::Bool, "false", "Whether to listen beyond loopback although nobody is asked who they are."),
    Setting::new("web.allowed_origin", Kind::Text(TextRule::Origin), "", "Origin whose pages may ask Prometheus' API from a browser and read its answers (`Access-Control-Allow-Origin`); `*` is every origin. Grafana needs none: its server asks.")
        .unset("no page of another origin", "https://grafana.example"),
    Setting::new("web.max_connections", Kind::Count { least: 1, most: 65_535 }, "256", "Connections held open at the same time."),
    Setting::new("web.max_requests", Kind::Count { least: 0, most: 10_000 }, "40", "Scrapes answered at the same time; further ones get 503. 0 is no limit."),
    Setting::new("web.header_timeout", duration(100, 300), "10s", "How long a client may take to send its request's head."),
    Setting::new("web.request_timeout", duration(100, HOUR), "30s", "How long answering one request may take; a query may take `query.timeout`."),
    Setting::new("web.body_limit", Kind::Size { least: KIB, most: GIB }, "4MiB", "The largest request body that is read."),
    Setting::new("web.enable_remote_write_receiver", Kind::Bool, "false", "Whether samples that other programs send by remote write (`POST /api/v1/write`) are journaled and stored."),
    Setting::new("web.remote_write_body_limit", Kind::Size { least: 64 * KIB, most: GIB }, "32MiB", "The largest body of a remote write, once it is decompressed; of all that are on their way together twice as much is held."),

    Setting::new("journal.segment_size", Kind::Size { least: MIB, most: 4 * GIB }, "64MiB", "Size at which a journal file is closed and the next begun; lowered to a quarter of the smallest retention."),
    Setting::new("journal.sync_interval", duration(100, HOUR), "5s", "How often the journal is forced to disk: what a power cut can cost."),
    Setting::new("journal.reserve", Kind::Size { least: 0, most: 16 * GIB }, "16MiB", "Space kept back so that a full disk can still be recorded."),
    Setting::new("journal.compress", Kind::Bool, "true", "Whether closed journal files are compressed (zstd)."),
    Setting::new("journal.retention.age", AGE, "7d", "Journal files older than this are removed."),
    Setting::new("journal.retention.size", RETAINED, "512MiB", "Size of each journal stream beyond which its oldest files are removed."),
    Setting::new("journal.events.retention.age", AGE, "", "The same, for the `events` stream.")
        .unset("`journal.retention.age`", "90d"),
    Setting::new("journal.events.retention.size", RETAINED, "", "The same, for the `events` stream.")
        .unset("`journal.retention.size`", "256MiB"),
    Setting::new("journal.logs.retention.age", AGE, "", "The same, for the `logs` stream.")
        .unset("`journal.retention.age`", "3d"),
    Setting::new("journal.logs.retention.size", RETAINED, "", "The same, for the `logs` stream.")
        .unset("`journal.retention.size`", "1GiB"),
    Setting::new("journal.received.retention.age", AGE, "", "The same, for the `received` stream.")
        .unset("`journal.retention.age`", "3d"),
    Setting::new("journal.received.retention.size", RETAINED, "", "The same, for the `received` stream.")
        .unset("`journal.retention.size`", "1GiB"),

    Setting::new("store.retention", AGE, "14d", "How long samples are kept in the store, in recorded time: while the machine is off, nothing grows old.")
        .also(&[Alias::of("retention"), Alias::of("storage.tsdb.retention.time"), Alias::old("storage.tsdb.retention")]),
    Setting::new("store.retention_15s", AGE, "30d", "How long days that are over are kept in steps of 15 s."),
    Setting::new("store.retention_5m", AGE, "730d", "How long days that are over are kept in steps of 5 min."),
    Setting::new("store.max_size", Kind::Size { least: 16 * MIB, most: 16 * KIB * GIB }, "1GiB", "Size of the store that is never exceeded; the oldest samples make room.")
        .also(&[Alias::of("retention-bytes"), Alias::of("storage.tsdb.retention.size")]),
    Setting::new("store.job", Kind::Text(TextRule::Label), "node", "The label `job` of the machine's series in the store."),

    Setting::new("query.max_concurrency", Kind::Count { least: 1, most: 256 }, "4", "Queries worked on at the same time; of further ones 32 each may wait, the rest gets 503."),
    Setting::new("query.timeout", duration(100, HOUR), "30s", "How long one query may take, waiting for its turn included; a query may ask for less."),
    Setting::new("query.max_samples", Kind::Count { least: 1000, most: 1_000_000_000 }, "10000000", "Values that one query may hold in memory at once, of 8 bytes each; one that needs more is refused."),
    Setting::new("query.max_series", Kind::Count { least: 1, most: 10_000_000 }, "50000", "Series that one selector of a query may find; a query that finds more is refused."),
    Setting::new("query.lookback_delta", duration(1, 24 * HOUR), "5m", "How far back a query looks for the last sample of a series."),
    Setting::new("query.log_slower_than", duration(0, HOUR), "5s", "Queries that take longer are logged with their text and the dashboard they are of."),

    Setting::new("rules.files", Kind::Paths, "none", "Files of alerting and recording rules as Prometheus reads them, and of what Farol is told of its rules besides; a part of a path may hold `*` and `?`."),
    Setting::new("rules.stock", Kind::Bool, "true", "Whether the rules that Farol brings along are evaluated too."),
    Setting::new("rules.interval", duration(1000, HOUR), "15s", "How often the groups of rules are evaluated that say no interval."),
    Setting::new("rules.timeout", duration(100, HOUR), "10s", "How long evaluating one group may take."),

    Setting::new("alerts.group_by", Kind::LabelNames, "alertname", "Labels whose alerts are told in one message; `...` is all of them, and an empty list tells all alerts together."),
    Setting::new("alerts.group_wait", duration(0, HOUR), "30s", "How long the first message about a group waits for more that belongs to it."),
    Setting::new("alerts.group_interval", duration(0, DAY), "5m", "How long after a message a change of its group is told."),
    Setting::new("alerts.repeat_interval", duration(60_000, 365 * DAY), "4h", "How often a group that goes on firing unchanged is told again."),

    Setting::new("collectors.none", Kind::Bool, "false", "Whether no collector runs at all, whatever else is said of them: Farol as a store alone.")
        .also(&[Alias::of("no-collectors")]),
    Setting::new("collectors.enable", Kind::Collectors, "none", "Collectors to turn on besides those that are on by default.")
        .without_flag(),
    Setting::new("collectors.disable", Kind::Collectors, "none", "Collectors to turn off.")
        .without_flag(),
    Setting::new("collectors.disable_defaults", Kind::Bool, "false", "Whether every collector is off that is not enabled by name."),
    Setting::new("collectors.containers.socket", Kind::Path, "", "Socket of Docker or Podman, asked for the names, images and labels of containers and for nothing else.")
        .unset("none: no engine is asked, and containers have ids only", "/run/docker.sock"),
    Setting::new("collectors.containers.labels", Kind::Labels, "com.docker.compose.project,com.docker.compose.service", "Labels of containers that become labels of their series, with `container_label_` in front; at most 32."),
    Setting::new("collectors.filesystem.mount_points_exclude", Kind::Pattern, Options::FILESYSTEM_MOUNT_POINTS_EXCLUDE, "Mount points that are left out.")
        .also(&[Alias::old("collector.filesystem.ignored-mount-points")]),
    Setting::new("collectors.filesystem.fs_types_exclude", Kind::Pattern, Options::FILESYSTEM_TYPES_EXCLUDE, "Filesystem types that are left out.")
        .also(&[Alias::old("collector.filesystem.ignored-fs-types")]),
    Setting::new("collectors.diskstats.device_exclude", Kind::Pattern, Options::DISKSTATS_DEVICE_EXCLUDE, "Block devices that are left out.")
        .also(&[Alias::old("collector.diskstats.ignored-devices")]),
    Setting::new("collectors.netdev.device_exclude", Kind::Pattern, Options::NOTHING, "Network devices that `netdev` leaves out.")
        .also(&[Alias::old("collector.netdev.device-blacklist"), Alias::old("collector.netdev.ignored-devices")]),
    Setting::new("collectors.netclass.ignored_devices", Kind::Pattern, Options::NOTHING, "Network devices that `netclass` leaves out."),
    Setting::new("collectors.powersupply.ignored_supplies", Kind::Pattern, Options::NOTHING, "Power supplies that `powersupplyclass` leaves out."),
    Setting::new("collectors.systemd.unit_include", Kind::Pattern, Options::SYSTEMD_UNIT_INCLUDE, "Units that are kept, by their whole name.")
        .also(&[Alias::old("collector.systemd.unit-whitelist")]),
    Setting::new("collectors.systemd.unit_exclude", Kind::Pattern, Options::SYSTEMD_UNIT_EXCLUDE, "Units that are left out, by their whole name.")
        .also(&[Alias::old("collector.systemd.unit-blacklist")]),
    Setting::new("collectors.systemd.enable_start_time_metrics", Kind::Bool, "false", "Whether `systemd` asks each unit since when it is active."),
    Setting::new("collectors.systemd.enable_restarts_metrics", Kind::Bool, "false", "Whether `systemd` asks each service how often it was restarted."),
    Setting::new("collectors.systemd.enable_task_metrics", Kind::Bool, "false", "Whether `systemd` asks each service how many tasks it has."),
    Setting::new("collectors.vmstat.fields", Kind::Pattern, Options::VMSTAT_FIELDS, "Fields of `/proc/vmstat` that are kept."),
    Setting::new("collectors.netstat.fields", Kind::Pattern, Options::NETSTAT_FIELDS, "Fields of `/proc/net/netstat` and `snmp` that are kept."),
    Setting::new("collectors.cpu.info", Kind::Bool, "false", "Whether `cpu` also yields `node_cpu_info`, from `/proc/cpuinfo`."),
    Setting::new("collectors.textfile.directory", Kind::Paths, "none", "Folders whose `*.prom` files are served; a part of a path may hold `*` and `?`."),
    Setting::new("collectors.compatibility", Kind::Choice(&["exact", "names", "labels"]), "names", "How far to go beyond node_exporter for boards that ask for more: not at all, by names beside its own, or also by a label on its series."),

    Setting::new("collectors.top.command", Kind::Choice(&["program", "full", "none"]), "program", "What `top` writes into the journal of a process's command line: the program alone, all of it (arguments may hold secrets), or nothing."),

    Setting::new("probes.interval", duration(500, HOUR), "10s", "How often each probe is sent."),
    Setting::new("probes.timeout", duration(10, 60), "2s", "How long an answer may take; lowered to the probe's interval where that is shorter."),
    Setting::new("probes.icmp", Kind::IcmpProbes, "gateway", "Hosts to ping; `gateway` is the default gateway, an empty list turns pings off."),
    Setting::new("probes.tcp", Kind::TcpProbes, "none", "`host:port` pairs to connect to."),

    Setting::new("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info", "The least important messages that are logged."),
    Setting::new("log.format", Kind::Choice(&["auto", "human", "json"]), "auto", "`auto` is human on a terminal and JSON elsewhere; node_exporter's `logfmt` is taken for human."),
    Setting::new("log.file", Kind::Bool, "true", "Whether Farol's own log is also written to a file below `logs`."),
    Setting::new("log.max_size", Kind::Size { least: 64 * KIB, most: GIB }, "10MiB", "Size at which that file is closed and the next begun."),
    Setting::new("log.keep", Kind::Count { least: 0, most: 100 }, "3", "How many closed log files are kept."),
];

/// The fields of a probe that is more than its target.
pub(super) const PROBE_FIELDS: &[&str] = &["target", "interval", "timeout"];

/// The fields of a group of processes that is more than its name.
pub(super) const GROUP_FIELDS: &[&str] = &["name", "process", "unit", "user"];

/// The fields of a window of quiet hours.
pub(super) const QUIET_FIELDS: &[&str] = &[
    "name",
    "times",
    "weekdays",
    "days_of_month",
    "months",
    "time_zone",
    "from",
    "to",
    "matchers",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_variables_and_flags_are_unique() {
        let mut seen = HashSet::from([
            "config".to_owned(),
            "config.file".to_owned(),
            "FAROL_CONFIG".to_owned(),
        ]);
        for setting in SETTINGS {
            let aliases = setting.aliases.iter().map(|alias| alias.flag.to_owned());
            for name in [setting.variable()].into_iter().chain(setting.flag()).chain(aliases) {
                assert!(seen.insert(name.clone()), "{name} stands for two settings");
            }
        }
    }

    #[test]
    fn no_key_is_also_a_section() {
        for setting in SETTINGS {
            let section = format!("{}.", setting.key);
            assert!(!SETTINGS.iter().any(|other| other.key.starts_with(&section)), "{section}");
        }
    }

    #[test]
    fn a_row_without_a_default_says_what_it_is_instead() {
        for setting in SETTINGS {
            assert_eq!(setting.default.is_empty(), !setting.unset.is_empty(), "{}", setting.key);
            assert_eq!(setting.default.is_empty(), !setting.example.is_empty(), "{}", setting.key);
            assert!(setting.help.ends_with('.'), "{}", setting.key);
        }
    }
}
