//! What `cpu` says beside seconds: which CPUs are online or isolated, how often their cores and
//! packages were throttled for heat, and, when asked for, what they are. Sources:
//! `/sys/devices/system/cpu` (drivers/base/cpu.c, arch/x86/kernel/cpu/mce/therm_throt.c) and
//! `/proc/cpuinfo` (arch/*/kernel/cpu/proc.c).
//!
//! All of it is in many small files and changes rarely: they are looked for once in a minute of
//! ticks, and the counts of throttling read once in ten ticks. `/proc/cpuinfo` in particular may not
//! be read often, because the kernel asks every CPU for its clock rate.

use std::{collections::HashSet, path::Path};

use farol_model::{Labels, Metric, Sample, Text};

use super::sysfs::Folder;
use crate::{Host, HotFile, Scrape, Tree, host::read_small};

const CORE_THROTTLES: &str = "node_cpu_core_throttles_total";
const PACKAGE_THROTTLES: &str = "node_cpu_package_throttles_total";
const ISOLATED: &str = "node_cpu_isolated";
const ONLINE: &str = "node_cpu_online";
const INFO: &str = "node_cpu_info";

pub(super) const METRICS: [Metric; 5] = [
    Metric::counter(CORE_THROTTLES, "", "Number of times this CPU core has been throttled."),
    Metric::counter(PACKAGE_THROTTLES, "", "Number of times this CPU package has been throttled."),
    Metric::gauge(
        ISOLATED,
        "",
        "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
    ),
    Metric::gauge(ONLINE, "", "CPUs that are online and being scheduled."),
    Metric::gauge(INFO, "", "CPU information from /proc/cpuinfo."),
];

const CPUS: &str = "devices/system/cpu";
const TICKS_BETWEEN_LOOKS: u64 = 60;
const TICKS_BETWEEN_THROTTLES: u64 = 10;

pub(super) struct Topology {
    tells_info: bool,
    ticks: u64,
    online: HotFile,
    /// What the last look found.
    present: Vec<usize>,
    isolated: Vec<usize>,
    cores: Vec<Throttled>,
    packages: Vec<Throttled>,
    infos: Vec<Labels>,
}

/// A core or a package, and the CPU below whose folder its count is.
struct Throttled {
    labels: Labels,
    cpu: usize,
    count: Option<f64>,
}

impl Topology {
    pub(super) fn new(tells_info: bool) -> Topology {
        Topology {
            tells_info,
            ticks: 0,
            online: HotFile::new(Tree::Sys, format!("{CPUS}/online")),
            present: Vec::new(),
            isolated: Vec::new(),
            cores: Vec::new(),
            packages: Vec::new(),
            infos: Vec::new(),
        }
    }

    pub(super) fn collect(&mut self, host: &Host, out: &mut Scrape) {
        let folder = host.sys.join(CPUS);
        if self.ticks.is_multiple_of(TICKS_BETWEEN_LOOKS) {
            self.look(host, &folder);
        }
        if self.ticks.is_multiple_of(TICKS_BETWEEN_THROTTLES) {
            read_counts(&mut self.cores, &folder, "core_throttle_count");
            read_counts(&mut self.packages, &folder, "package_throttle_count");
        }
        self.ticks += 1;
        self.push_online(host, out);
        for cpu in &self.isolated {
            out.push(ISOLATED, &[("cpu", &cpu.to_string())], 1.0);
        }
        for (metric, throttled) in
            [(CORE_THROTTLES, &self.cores), (PACKAGE_THROTTLES, &self.packages)]
        {
            for one in throttled {
                let Some(value) = one.count else { continue };
                let name = Text::from_static(metric);
                out.push_sample(Sample { name, labels: one.labels.clone(), value });
            }
        }
        for labels in &self.infos {
            let name = Text::from_static(INFO);
            out.push_sample(Sample { name, labels: labels.clone(), value: 1.0 });
        }
    }

    fn look(&mut self, host: &Host, folder: &Path) {
        let list = |file: &str| {
            let text = read_small(&folder.join(file)).unwrap_or_default();
            parse_list(&text).unwrap_or_default()
        };
        self.present = list("present");
        self.isolated = list("isolated");
        self.find_throttled(folder);
        if self.tells_info {
            let text = read_small(&host.proc.join("cpuinfo")).unwrap_or_default();
            self.infos = parse_cpuinfo(&text);
        }
    }

    /// A core's count stands with each of its threads, a package's with each of its CPUs.
    fn find_throttled(&mut self, folder: &Path) {
        self.cores.clear();
        self.packages.clear();
        let mut seen = HashSet::new();
        for cpu in &self.present {
            let Ok(topology) = Folder::open(&folder.join(format!("cpu{cpu}/topology"))) else {
                continue;
            };
            let number = |file: &str| topology.text(file)?.parse::<u64>().ok();
            // On some boards the package is -1: there is none.
            let (Some(package), Some(core)) = (number("physical_package_id"), number("core_id"))
            else {
                continue;
            };
            let throttled = |pairs: &[(&'static str, u64)]| Throttled {
                labels: labels(pairs.iter().map(|(name, number)| (*name, number.to_string()))),
                cpu: *cpu,
                count: None,
            };
            if seen.insert((package, Some(core))) {
                self.cores.push(throttled(&[("core", core), ("package", package)]));
            }
            if seen.insert((package, None)) {
                self.packages.push(throttled(&[("package", package)]));
            }
        }
    }

    fn push_online(&mut self, host: &Host, out: &mut Scrape) {
        // A kernel without CPUs that come and go may lack the file.
        let online = self.online.read_str(host).ok().and_then(|text| parse_list(text.trim_ascii()));
        let Some(online) = online else { return };
        for cpu in &self.present {
            let is_online = online.binary_search(cpu).is_ok();
            out.push(ONLINE, &[("cpu", &cpu.to_string())], f64::from(u8::from(is_online)));
        }
    }
}

fn read_counts(throttled: &mut [Throttled], cpus: &Path, file: &str) {
    for one in throttled {
        let path = cpus.join(format!("cpu{}/thermal_throttle/{file}", one.cpu));
        let count = read_small(&path).ok().and_then(|text| text.parse::<u64>().ok());
        one.count = count.map(|count| count as f64);
    }
}

fn labels(pairs: impl Iterator<Item = (&'static str, String)>) -> Labels {
    Labels::new(pairs.map(|(name, value)| (Text::from_static(name), Text::from(value))).collect())
}

/// `0-3,8,10-11` → in order; `None` when it is no such list.
pub(crate) fn parse_list(text: &str) -> Option<Vec<usize>> {
    /// As many as the kernel can be built for.
    const MOST: usize = 8192;
    let mut cpus = Vec::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last >= MOST || first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// A line's title and the label that it becomes. Other architectures than x86 have few of them.
const TITLES: [(&str, &str); 10] = [
    ("cache size", "cachesize"),
    ("core id", "core"),
    ("cpu family", "family"),
    ("microcode", "microcode"),
    ("model", "model"),
    ("model name", "model_name"),
    ("physical id", "package"),
    ("processor", "cpu"),
    ("stepping", "stepping"),
    ("vendor_id", "vendor"),
];

/// One label set for each CPU: its lines stand together, `processor` first.
pub(crate) fn parse_cpuinfo(text: &str) -> Vec<Labels> {
    let mut cpus: Vec<Vec<(&str, &str)>> = Vec::new();
    for line in text.lines() {
        let Some((title, value)) = line.split_once(':') else { continue };
        let (title, value) = (title.trim_ascii(), value.trim_ascii());
        let Some((_, label)) = TITLES.iter().find(|(known, _)| *known == title) else { continue };
        if title == "processor" {
            // Old 32-bit ARM kernels call the model by this word too, once for all CPUs.
            if value.bytes().all(|byte| byte.is_ascii_digit()) {
                cpus.push(vec![(label, value)]);
            }
        } else if let Some(cpu) = cpus.last_mut()
            && !cpu.iter().any(|(known, _)| known == label)
        {
            cpu.push((label, value));
        }
    }
    let is_told = |(_, value): &(&str, &str)| !value.is_empty();
    let text = |(label, value): (&str, &str)| (Text::from(label), Text::from(value));
    let set =
        |cpu: Vec<(&str, &str)>| Labels::new(cpu.into_iter().filter(is_told).map(text).collect());
    cpus.into_iter().map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_list_of_cpus_is_ranges_and_single_ones() {
        assert_eq!(parse_list("0-2,8,10-11"), Some(vec![0, 1, 2, 8, 10, 11]));
        assert_eq!(parse_list(""), Some(Vec::new()));
        assert_eq!(parse_list("3-1"), None);
        assert_eq!(parse_list("0-99999999"), None);
        assert_eq!(parse_list("a"), None);
    }

    #[test]
    fn a_cpu_is_told_by_the_lines_below_its_number() {
        let cpus = parse_cpuinfo(
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nphysical id\t: 1\ncpu MHz\t\t: 2000\n\nprocessor\t: 1\nmicrocode\t: \n",
        );
        assert_eq!(cpus.len(), 2);
        assert_eq!(cpus[0].get("cpu"), Some("0"));
        assert_eq!(cpus[0].get("vendor"), Some("GenuineIntel"));
        assert_eq!(cpus[0].get("model_name"), Some("Intel(R) Xeon(R)"));
        assert_eq!(cpus[0].get("package"), Some("1"));
        assert_eq!(cpus[1].len(), 1, "an empty value is no label");
    }

    fn machine() -> (tempfile::TempDir, Host) {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let folder = host.sys.join(CPUS);
        write(&folder.join("present"), "0-3\n");
        write(&folder.join("online"), "0-2\n");
        write(&folder.join("isolated"), "2\n");
        for (cpu, core) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            let cpu = folder.join(format!("cpu{cpu}"));
            write(&cpu.join("topology/physical_package_id"), "0\n");
            write(&cpu.join("topology/core_id"), &format!("{core}\n"));
            write(&cpu.join("thermal_throttle/core_throttle_count"), "5\n");
            write(&cpu.join("thermal_throttle/package_throttle_count"), "30\n");
        }
        (place, host)
    }

    #[test]
    fn cores_and_packages_are_told_once_and_cpus_by_their_state() {
        let (_place, host) = machine();
        let mut out = Scrape::new();
        Topology::new(false).collect(&host, &mut out);
        let count = |name: &str| out.samples().iter().filter(|s| s.name == *name).count();
        let sum = |name: &str| -> f64 {
            out.samples().iter().filter(|s| s.name == *name).map(|s| s.value).sum()
        };
        assert_eq!((count(CORE_THROTTLES), sum(CORE_THROTTLES)), (2, 10.0));
        assert_eq!((count(PACKAGE_THROTTLES), sum(PACKAGE_THROTTLES)), (1, 30.0));
        assert_eq!((count(ONLINE), sum(ONLINE)), (4, 3.0));
        assert_eq!(count(ISOLATED), 1);
        assert_eq!(count(INFO), 0);
    }

    #[test]
    fn throttling_is_counted_again_after_ten_ticks() {
        let (_place, host) = machine();
        let mut topology = Topology::new(false);
        let mut packages = || {
            let mut out = Scrape::new();
            topology.collect(&host, &mut out);
            out.samples().iter().find(|s| s.name == *PACKAGE_THROTTLES).unwrap().value
        };
        assert_eq!(packages(), 30.0);
        let count = "cpu0/thermal_throttle/package_throttle_count";
        write(&host.sys.join(CPUS).join(count), "31\n");
        let later: Vec<f64> = (0..TICKS_BETWEEN_THROTTLES).map(|_| packages()).collect();
        assert_eq!((later.first(), later.last()), (Some(&30.0), Some(&31.0)));
    }

    #[test]
    fn a_machine_that_tells_nothing_yields_nothing() {
        let place = tempfile::tempdir().unwrap();
        let mut out = Scrape::new();
        Topology::new(true).collect(&Host::recorded(place.path()), &mut out);
        assert!(out.samples().is_empty());
    }
}
