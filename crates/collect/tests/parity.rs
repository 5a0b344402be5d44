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

use farol_collect::{COLLECTORS, Host, describe};
use farol_model::{Kind, Labels, Sample};
use farol_wire::exposition::{FamilyKind, Format, Limits, Parsed, parse};
use machines::{Lanes, NOW, machines};

/// Debian's `prometheus-node-exporter` 1.5.
const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// Ours that node_exporter knows by the same name.
const SHARED: [&str; 19] = [
    "cpu",
    "cpufreq",
    "diskstats",
    "filefd",
    "filesystem",
    "hwmon",
    "loadavg",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "os",
    "pressure",
    "sockstat",
    "stat",
    "thermal_zone",
    "time",
    "uname",
    "vmstat",
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
];

/// Families only we have, because they came after 1.5 or fill a gap.
const OURS_ALONE: &[(&str, &str)] = &[
    ("node_cpu_scaling_governor", "later than 1.5"),
    ("node_cpu_frequency_hertz", "from cpuinfo where there is no cpufreq"),
    ("node_netstat_TcpExt_TCPOFOQueue", "later than 1.5"),
    ("node_netstat_TcpExt_TCPRcvQDrop", "later than 1.5"),
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
            (None, _) => differences.push(format!("{name}: theirs alone")),
            (Some(_), None) if is_listed(OURS_ALONE, name) => {}
            (Some(_), None) => differences.push(format!("{name}: ours alone")),
        }
    }
    differences
}

fn by_family<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for sample in samples {
        let family = families.entry(sample.name.to_string()).or_default();
        family.insert(sample.labels.clone(), sample.value);
    }
    families
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
    labels
        .into_iter()
        .filter_map(|labels| match (ours.get(labels), theirs.get(labels)) {
            (Some(ours), Some(theirs)) if are_close(*ours, *theirs) => None,
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
