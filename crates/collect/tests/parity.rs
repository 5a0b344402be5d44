//! Whether we say what node_exporter says: the real one is started on each recorded machine, and
//! every family of the collectors that both have is compared by name, type, labels and value.

mod machines;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    time::Duration,
};

use farol_collect::{COLLECTORS, Host, Options, describe};
use farol_model::{Kind, Labels, Sample, Text};
use farol_wire::exposition::{FamilyKind, Format, Limits, Parsed, parse};
use machines::{Lanes, NOW, machines};

/// Debian's `prometheus-node-exporter` 1.5.
const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// Ours that node_exporter knows by the same name.
const SHARED: [&str; 23] = [
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "filefd",
    "filesystem",
    "hwmon",
    "loadavg",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "os",
    "powersupplyclass",
    "pressure",
    "rapl",
    "sockstat",
    "stat",
    "thermal_zone",
    "time",
    "uname",
    "vmstat",
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
    ("node_cpu_core_throttles_total", "not collected by us"),
    ("node_cpu_package_throttles_total", "not collected by us"),
    ("node_disk_device_mapper_info", "not collected by us"),
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
    ("node_hwmon_humidity", "sensor", "humidity", "thousandths of a percent are not millionths"),
    ("node_hwmon_temp_celsius", "sensor", "temp0", "a file of the parent device in other units"),
];

/// Families only we have, because they came after 1.5 or fill a gap.
const OURS_ALONE: &[(&str, &str)] = &[
    ("node_cpu_scaling_governor", "later than 1.5"),
    ("node_edac_channel_correctable_errors_total", "later than 1.5"),
    ("node_edac_channel_uncorrectable_errors_total", "later than 1.5"),
    ("node_cpu_frequency_hertz", "from cpuinfo where there is no cpufreq"),
    ("node_filesystem_mount_info", "later than 1.5"),
    ("node_netstat_TcpExt_TCPOFOQueue", "later than 1.5"),
    ("node_netstat_TcpExt_TCPRcvQDrop", "later than 1.5"),
    ("node_network_receive_nohandler_total", "theirs comes by netlink only"),
    ("node_pressure_irq_stalled_seconds_total", "later than 1.5"),
];

/// Families whose help text reads otherwise in later versions, which ours follows.
const REWORDED: &[(&str, &str)] = &[
    ("node_cpu_frequency_max_hertz", "CPU was in small letters"),
    ("node_cpu_frequency_min_hertz", "CPU was in small letters"),
];

#[test]
fn node_exporter_says_the_same_of_each_recorded_machine() {
    assert!(
        Path::new(NODE_EXPORTER).exists(),
        "{NODE_EXPORTER} is missing: apt-get install prometheus-node-exporter"
    );
    let mut differences = String::new();
    for (name, folder) in machines() {
        let theirs = Theirs::start(&folder).scrape();
        let ours = Lanes::new(&Host::recorded(&folder)).tick(NOW).samples;
        for difference in compare(&ours, &theirs) {
            writeln!(differences, "{name}: {difference}").expect("a String takes all text");
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

type Family = BTreeMap<Labels, f64>;

fn compare(ours: &[Sample], theirs: &Parsed) -> Vec<String> {
    let ours = by_family(ours.iter().filter(|sample| is_shared(&sample.name)));
    let theirs_by_family = by_family(theirs.samples.iter().map(|scraped| &scraped.sample));
    let names: BTreeSet<&String> = ours.keys().chain(theirs_by_family.keys()).collect();
    let mut differences = Vec::new();
    for name in names.into_iter().filter(|name| is_compared(name)) {
        match (ours.get(name), theirs_by_family.get(name)) {
            (Some(ours), Some(family)) => {
                differences.extend(difference_of_kind(name, theirs));
                differences.extend(differences_of_series(name, ours, family));
            }
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

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

fn difference_of_kind(name: &str, theirs: &Parsed) -> Option<String> {
    let ours = match describe(name)?.kind {
        Kind::Counter => FamilyKind::Counter,
        Kind::Gauge => FamilyKind::Gauge,
        Kind::Untyped => FamilyKind::Untyped,
    };
    let family = theirs.families.get(name)?;
    let help = describe(name)?.help;
    if ours != family.kind {
        return Some(format!("{name}: ours is a {ours:?}, theirs a {:?}", family.kind));
    }
    let is_other = help != family.help && !is_listed(REWORDED, name);
    is_other.then(|| format!("{name}: help {help:?}, theirs {:?}", family.help))
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

/// A running node_exporter; killed when dropped.
struct Theirs {
    process: Child,
    port: u16,
}

impl Theirs {
    #[expect(clippy::disallowed_methods, reason = "the other party of the comparison is a program")]
    fn start(machine: &Path) -> Theirs {
        let port = free_port();
        let at = |folder: &str| machine.join(folder).display().to_string();
        let mut command = Command::new(NODE_EXPORTER);
        command
            .arg("--collector.disable-defaults")
            // Else it asks the kernel it runs on, by netlink.
            .arg("--no-collector.netdev.netlink")
            // Debian changed the defaults; these are upstream's.
            .args(UPSTREAM_DEFAULTS.map(|(flag, pattern)| format!("--collector.{flag}={pattern}")))
            .arg(format!("--path.procfs={}", at("proc")))
            .arg(format!("--path.sysfs={}", at("sys")))
            .arg(format!("--path.rootfs={}", at("root")))
            .arg(format!("--path.udev.data={}", at("run/udev/data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for entry in COLLECTORS.iter().filter(|entry| SHARED.contains(&entry.name)) {
            command.arg(format!("--collector.{}", entry.name));
        }
        Theirs { process: command.spawn().expect("node_exporter starts"), port }
    }

    fn scrape(&self) -> Parsed {
        let body = (0..500)
            .find_map(|_| {
                pause();
                get(self.port).ok()
            })
            .expect("node_exporter answers within seconds");
        parse(body.as_bytes(), Format::Text, &Limits::default()).expect("it speaks the text format")
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// HTTP/1.0, so that the body is neither chunked nor followed by anything.
fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.contains(" 200 "), "{head}");
    Ok(body.to_owned())
}

fn pause() {
    let (_keep, never) = sync_channel::<()>(1);
    never.recv_timeout(Duration::from_millis(20)).ok();
}
