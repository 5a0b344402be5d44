//! Whether we say what node_exporter says: the real one is started on each recorded machine, and
//! every family of the collectors that both have is compared by name, type, labels and value.

mod exporter;
mod machines;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use exporter::Exporter;
use farol_collect::{COLLECTORS, Host, Options, describe, textfile};
use farol_model::{Kind, Labels, Sample, Text};
use farol_wire::exposition::{FamilyKind, Limits, Parsed, exposed};
use machines::{Lanes, NOW, machines};

/// Ours that node_exporter knows by the same name.
const SHARED: &[&str] = &[
    "arp",
    "bonding",
    "btrfs",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "interrupts",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "processes",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "textfile",
    "thermal_zone",
    "time",
    "udp_queues",
    "uname",
    "vmstat",
    "xfs",
    "zfs",
];

const UPSTREAM_DEFAULTS: [(&str, &str); 4] = [
    ("filesystem.mount-points-exclude", Options::FILESYSTEM_MOUNT_POINTS_EXCLUDE),
    ("filesystem.fs-types-exclude", Options::FILESYSTEM_TYPES_EXCLUDE),
    ("diskstats.device-exclude", Options::DISKSTATS_DEVICE_EXCLUDE),
    ("netdev.device-exclude", Options::NOTHING),
];

/// Families that are not compared, each with its reason.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("node_time_seconds", "the moment of the scrape"),
    ("node_uname_info", "theirs comes from the system call, ours from the machine's files"),
    ("node_exporter_build_info", "theirs alone"),
    ("node_scrape_collector_duration_seconds", "how long it took"),
    ("node_scrape_collector_success", "the machine's files may be fewer than they expect"),
    ("node_time_zone_offset_seconds", "the zone of the process, not of the machine"),
];

/// Families of which only the series are compared: the disk is in use while the test runs.
const VALUES_CHANGE: &[(&str, &str)] = &[
    ("node_filesystem_avail_bytes", "used by others"),
    ("node_filesystem_files_free", "used by others"),
    ("node_filesystem_free_bytes", "used by others"),
];

/// Labels that came after 1.5.
const LATER_LABELS: &[(&str, &str)] = &[
    ("node_disk_info", "rotational"),
    ("node_filesystem_", "device_error"),
    ("node_nvme_info", "cntlid"),
    ("node_network_info", "adminstate"),
];

/// Series in which 1.5 errs: the beginning of a family's name, a label, a part of its value, why.
const THEY_ERR: &[(&str, &str, &str, &str)] = &[
    (
        "node_filesystem_",
        "mountpoint",
        "\\",
        "only blanks and tabs are unescaped in a mount's name",
    ),
    (
        "node_filesystem_readonly",
        "mountpoint",
        "/home/ana/cloud",
        "later said of failing mounts too",
    ),
    ("node_zfs_zpool_state", "state", "suspended", "a state that came after 1.5"),
    (
        "node_nfsd_requests_total",
        "method",
        "Verify",
        "taken from two columns before; later from the operation's own (RFC 7530, 16.2)",
    ),
    ("node_nfsd_requests_total", "method", "Write", "as Verify"),
    ("node_nfsd_requests_total", "method", "RelLockOwner", "as Verify"),
    ("node_hwmon_humidity", "sensor", "humidity", "thousandths of a percent are not millionths"),
    ("node_hwmon_temp_celsius", "sensor", "temp0", "a file of the parent device in other units"),
];

/// Families only we have, because they came after 1.5 or fill a gap.
const OURS_ALONE: &[(&str, &str)] = &[
    ("node_btrfs_commit_seconds_total", "later than 1.5"),
    ("node_btrfs_commits_total", "later than 1.5"),
    ("node_btrfs_device_errors_total", "theirs comes by ioctl only"),
    ("node_btrfs_last_commit_seconds", "later than 1.5"),
    ("node_btrfs_max_commit_seconds", "later than 1.5"),
    ("node_cpu_online", "later than 1.5"),
    ("node_cpu_scaling_governor", "later than 1.5"),
    ("node_edac_channel_correctable_errors_total", "later than 1.5"),
    ("node_edac_channel_uncorrectable_errors_total", "later than 1.5"),
    ("node_cpu_frequency_hertz", "from cpuinfo where there is no cpufreq"),
    ("node_disk_device_mapper_backing_device_info", "later than 1.5"),
    ("node_md_degraded", "later than 1.5"),
    ("node_md_raid_disks", "later than 1.5"),
    ("node_filesystem_mount_info", "later than 1.5"),
    ("node_netstat_TcpExt_TCPOFOQueue", "later than 1.5"),
    ("node_netstat_TcpExt_TCPRcvQDrop", "later than 1.5"),
    ("node_netstat_Tcp_MaxConn", "asked for by boards: Compatibility::Names"),
    ("node_os_support_end_timestamp_seconds", "later than 1.5"),
    ("node_softnet_backlog_len", "later than 1.5"),
    ("node_softnet_cpu_collision_total", "later than 1.5"),
    ("node_softnet_flow_limit_count_total", "later than 1.5"),
    ("node_softnet_received_rps_total", "later than 1.5"),
    ("node_network_receive_nohandler_total", "theirs comes by netlink only"),
    ("node_nvme_namespace_capacity_bytes", "later than 1.5"),
    ("node_nvme_namespace_info", "later than 1.5"),
    ("node_nvme_namespace_logical_block_size_bytes", "later than 1.5"),
    ("node_nvme_namespace_size_bytes", "later than 1.5"),
    ("node_nvme_namespace_used_bytes", "later than 1.5"),
    ("node_pressure_irq_stalled_seconds_total", "later than 1.5"),
    ("node_zfs_arc_memory_available_bytes", "signed values came after 1.5"),
    ("node_watchdog_*", "later than 1.5"),
    ("node_zfs_dbuf_*", "later than 1.5"),
];

/// Families whose help text reads otherwise.
const REWORDED: &[(&str, &str)] = &[
    ("node_scrape_collector_duration_seconds", "theirs names node_exporter"),
    ("node_scrape_collector_success", "theirs names node_exporter"),
    ("node_cpu_frequency_max_hertz", "CPU was in small letters"),
    ("node_cpu_frequency_min_hertz", "CPU was in small letters"),
    ("node_zfs_fm_*", "the kernel's keys have dashes, which ours shows as in the name"),
];

/// Where theirs asks the machine that runs the test instead of the recorded one: the recorded
/// machine, the beginning and the end of a family's name, what they ask.
const OF_THE_RUNNING_MACHINE: &[(&str, &str, &str, &str)] = &[
    ("arm64", "node_selinux_", "", "whether SELinux is on"),
    ("arm64", "node_sockstat_", "_mem_bytes", "how large a page is"),
];

/// Families of theirs that we do not have on a live machine, by the beginning of their names.
const NOT_OURS: &[(&str, &str)] = &[
    ("go_", "figures of their language's runtime"),
    ("node_bcache_", "a non-goal: see docs/reference/node-exporter-parity.md"),
    ("node_fibrechannel_", "a non-goal"),
    ("node_infiniband_", "a non-goal"),
    ("node_ipvs_", "a non-goal"),
    ("node_tape_", "a non-goal"),
    ("node_time_zone_offset_seconds", "the zone of the process, not of the machine"),
    ("node_exporter_build_info", "theirs alone: ours is farol_build_info"),
    ("process_", "told by us at the scrape, and not by a collector"),
    ("promhttp_", "figures of their HTTP server"),
];

/// What is off by default in both, and turned on here.
const ALSO_ON: [&str; 4] = ["interrupts", "processes", "systemd", "tcpstat"];

#[test]
fn node_exporter_says_the_same_of_each_recorded_machine() {
    let mut differences = String::new();
    for (name, folder) in machines() {
        let theirs = answer(&start(&folder));
        let ours = Lanes::new(&Host::recorded(&folder)).tick(NOW).samples;
        let is_of_it = |family: &str| {
            !OF_THE_RUNNING_MACHINE.iter().any(|(machine, prefix, suffix, _)| {
                *machine == name && family.starts_with(prefix) && family.ends_with(suffix)
            })
        };
        for difference in compare(&ours, &theirs, is_of_it) {
            writeln!(differences, "{name}: {difference}").expect("a String takes all text");
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn on_the_live_host_names_and_types_are_the_same() {
    let theirs = answer(&start_on_this_machine());
    let ours = Lanes::new(&Host::local()).tick(NOW).samples;
    let ours = by_family(ours.iter());
    let families = by_family(theirs.samples.iter().map(|scraped| &scraped.sample));
    let mut differences = Vec::new();
    for (name, family) in families.iter().filter(|(name, _)| is_expected(name)) {
        let Some(own) = ours.get(name) else {
            // A speed of -1: where nothing is known, ours is absent.
            if family.values().all(|value| *value < 0.0) {
                continue;
            }
            differences.push(format!("{name}: theirs alone"));
            continue;
        };
        differences.extend(difference_of_kind(name, &theirs));
        let (own, family) = (label_names(own), label_names(family));
        if own != family {
            differences.push(format!("{name}: labels {own:?}, theirs {family:?}"));
        }
    }
    assert!(families.len() > 100, "node_exporter said little: {}", families.len());
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn is_expected(family: &str) -> bool {
    let begins_with = |prefix: &str| family.starts_with(prefix);
    !NOT_OURS.iter().any(|(prefix, _)| begins_with(prefix))
}

fn label_names(family: &Family) -> BTreeSet<&str> {
    family.keys().flat_map(|labels| labels.iter().map(|(name, _)| name.as_str())).collect()
}

#[test]
fn node_exporter_takes_the_same_from_text_files() {
    for place in ["good", "bad"] {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/textfile")).join(place);
        let theirs = answer(&start_on_text_files(&folder));
        let board = Arc::new(textfile::Board::default());
        let textfile = textfile::Settings {
            directories: vec![folder],
            parse: |text| exposed(text, &Limits::default()).map_err(|error| error.to_string()),
            board: Arc::clone(&board),
        };
        let options = Options { textfile, ..Options::default() };
        let ours = Lanes::told(&Host::recorded(Path::new("/nonexistent")), &options).tick(NOW);
        let is_foreign = |name: &str| board.describe(name).is_some();
        let is_told = |name: &str| {
            is_foreign(name) || describe(name).is_some_and(|d| d.collector == "textfile")
        };
        let own = by_family(ours.samples.iter().filter(|sample| is_told(&sample.name)));
        let families = theirs.samples.iter().map(|scraped| &scraped.sample).filter(|sample| {
            let others = ["go_", "process_", "promhttp_", "node_exporter_", "node_scrape_"];
            !others.iter().any(|prefix| sample.name.starts_with(prefix))
        });
        let families = by_family(families);
        assert!(own.keys().eq(families.keys()), "{place}: {own:?}, theirs {families:?}");
        for (name, family) in &families {
            let differences = differences_of_series(name, &own[name], family);
            assert!(differences.is_empty(), "{place}: {differences:?}");
            // A histogram's names are untyped families of ours.
            let told = board.describe(name).or_else(|| describe(name)).unwrap();
            let Some(theirs) = theirs.families.get(name.as_str()) else { continue };
            if matches!(theirs.kind, FamilyKind::Counter | FamilyKind::Gauge | FamilyKind::Untyped)
            {
                assert_eq!((kind_of(told.kind), told.help), (theirs.kind, theirs.help.clone()));
            }
        }
    }
}

type Family = BTreeMap<Labels, f64>;

fn compare(ours: &[Sample], theirs: &Parsed, is_of_it: impl Fn(&str) -> bool) -> Vec<String> {
    let left_out = left_out(ours);
    let ours = by_family(ours.iter().filter(|sample| is_shared(&sample.name)));
    let theirs_by_family = by_family(theirs.samples.iter().map(|scraped| &scraped.sample));
    let names: BTreeSet<&String> = ours.keys().chain(theirs_by_family.keys()).collect();
    let mut differences = Vec::new();
    for name in names.into_iter().filter(|name| is_compared(name) && is_of_it(name)) {
        match (ours.get(name), theirs_by_family.get(name)) {
            (Some(ours), Some(family)) => {
                differences.extend(difference_of_kind(name, theirs));
                differences.extend(differences_of_series(name, ours, family));
            }
            // What is a container's they show as the host's; we leave it out on purpose.
            (None, Some(_)) if is_a_containers(&left_out, name) => {}
            (None, Some(family)) => {
                differences.extend(differences_of_series(name, &Family::new(), family));
            }
            (None, None) => {}
            (Some(_), None) if is_listed(OURS_ALONE, name) || they_failed(theirs, name) => {}
            (Some(_), None) => differences.push(format!("{name}: ours alone")),
        }
    }
    differences
}

/// The collectors that do not see the host.
fn left_out(ours: &[Sample]) -> BTreeSet<String> {
    let views = ours.iter().filter(|sample| sample.name == *"farol_host_view");
    let unseen = views.filter(|sample| sample.value == 0.0);
    unseen.filter_map(|sample| sample.labels.get("collector").map(str::to_owned)).collect()
}

fn is_a_containers(left_out: &BTreeSet<String>, name: &str) -> bool {
    describe(name).is_some_and(|about| left_out.contains(about.collector))
}

fn by_family<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for sample in samples {
        let family = families.entry(sample.name.to_string()).or_default();
        family.insert(without_later_labels(sample), sample.value);
    }
    families
}

fn without_later_labels(sample: &Sample) -> Labels {
    let is_later = |label: &str| {
        LATER_LABELS
            .iter()
            .any(|(family, later)| sample.name.starts_with(family) && *later == label)
    };
    let kept = sample.labels.iter().filter(|(label, _)| !is_later(label));
    Labels::new(kept.map(|(label, value)| (label.clone(), as_the_machine_says(value))).collect())
}

/// Theirs gives some paths as they are here, with the recorded machine's folder in front.
fn as_the_machine_says(value: &Text) -> Text {
    let from = value.starts_with('/').then(|| value.find("/sys/class/powercap/")).flatten();
    from.and_then(|from| value.get(from..)).map_or_else(|| value.clone(), Text::from)
}

fn they_err(name: &str, labels: &Labels) -> bool {
    THEY_ERR.iter().any(|(family, label, part, _)| {
        name.starts_with(family) && labels.get(label).is_some_and(|value| value.contains(part))
    })
}

/// Their collectors fail as a whole where ours lose a part.
fn they_failed(theirs: &Parsed, name: &str) -> bool {
    let collector = describe(name).map(|about| about.collector);
    theirs.samples.iter().map(|scraped| &scraped.sample).any(|sample| {
        sample.name == *"node_scrape_collector_success"
            && sample.labels.get("collector") == collector
            && sample.value == 0.0
    })
}

fn is_shared(name: &str) -> bool {
    describe(name).is_some_and(|about| SHARED.contains(&about.collector))
}

fn is_compared(name: &str) -> bool {
    name.starts_with("node_") && !is_listed(NOT_COMPARED, name)
}

/// A star at the end of a listed name stands for any end.
fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| match listed.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *listed == name,
    })
}

fn difference_of_kind(name: &str, theirs: &Parsed) -> Option<String> {
    let ours = kind_of(describe(name)?.kind);
    let family = theirs.families.get(name)?;
    let help = describe(name)?.help;
    if ours != family.kind {
        return Some(format!("{name}: ours is a {ours:?}, theirs a {:?}", family.kind));
    }
    let is_other = help != family.help && !is_listed(REWORDED, name);
    is_other.then(|| format!("{name}: help {help:?}, theirs {:?}", family.help))
}

fn kind_of(kind: Kind) -> FamilyKind {
    match kind {
        Kind::Counter => FamilyKind::Counter,
        Kind::Gauge => FamilyKind::Gauge,
        Kind::Untyped => FamilyKind::Untyped,
    }
}

fn differences_of_series(name: &str, ours: &Family, theirs: &Family) -> Vec<String> {
    let labels: BTreeSet<&Labels> = ours.keys().chain(theirs.keys()).collect();
    let values_change = is_listed(VALUES_CHANGE, name);
    labels
        .into_iter()
        .filter(|labels| !they_err(name, labels))
        .filter_map(|labels| match (ours.get(labels), theirs.get(labels)) {
            // A speed of -1: where nothing is known, ours is absent.
            (None, Some(theirs)) if *theirs < 0.0 => None,
            (Some(ours), Some(theirs)) if values_change || are_close(*ours, *theirs) => None,
            (ours, theirs) => Some(format!("{name}{labels:?}: ours {ours:?}, theirs {theirs:?}")),
        })
        .collect()
}

/// The last bits differ where a division is done in another order.
fn are_close(ours: f64, theirs: f64) -> bool {
    ours == theirs
        || (ours.is_nan() && theirs.is_nan())
        || (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs())
}

/// On a recorded machine, with the shared collectors alone.
fn start(machine: &Path) -> Exporter {
    let at = |folder: &str| machine.join(folder).display().to_string();
    let shared = COLLECTORS.iter().filter(|entry| SHARED.contains(&entry.name));
    let mut flags = vec![
        "--collector.disable-defaults".to_owned(),
        // Else it asks the kernel it runs on, by netlink.
        "--no-collector.netdev.netlink".to_owned(),
        format!("--path.procfs={}", at("proc")),
        format!("--path.sysfs={}", at("sys")),
        format!("--path.rootfs={}", at("root")),
        format!("--path.udev.data={}", at("run/udev/data")),
        "--collector.textfile.directory=".to_owned(),
    ];
    flags.extend(shared.map(|entry| format!("--collector.{}", entry.name)));
    start_with(flags)
}

fn start_on_this_machine() -> Exporter {
    let mut flags = ALSO_ON.map(|name| format!("--collector.{name}")).to_vec();
    flags.push("--collector.textfile.directory=".to_owned());
    start_with(flags)
}

fn start_on_text_files(folder: &Path) -> Exporter {
    start_with(vec![
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", folder.display()),
    ])
}

fn start_with(mut flags: Vec<String>) -> Exporter {
    // Debian changed the defaults; these are upstream's.
    flags.extend(UPSTREAM_DEFAULTS.map(|(flag, value)| format!("--collector.{flag}={value}")));
    Exporter::start(&flags, &[])
}

/// Its first answer.
fn answer(exporter: &Exporter) -> Parsed {
    exporter.scrape_until(|_| true)
}
