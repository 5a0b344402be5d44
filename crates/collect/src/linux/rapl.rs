//! `rapl`: energy that the processor's packages, their cores and the memory have used. Source:
//! `/sys/class/powercap` (drivers/powercap, Documentation/power/powercap/powercap.rst).
//!
//! Since 2020 (Linux 5.10) the counters are for root alone, because they give away what is being
//! computed (CVE-2020-8694): to others the collector is absent, and says why.

use std::{collections::HashMap, io};

use farol_model::{Lane, Metric};

use super::{lines::is_name_part, sysfs};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host};

pub(crate) const ENTRY: Entry = Entry {
    name: "rapl",
    about: "energy used by processor packages and memory",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/powercap"],
    metrics: &[Metric::counter(
        "node_rapl_*_joules_total",
        "joules",
        "Current RAPL * value in joules",
    )],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Rapl))
}

struct Rapl;

impl Collector for Rapl {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/powercap");
        let mut zones = Zones::default();
        let mut denied = false;
        for (folder, path) in sysfs::devices(&class)? {
            // The type of control (`intel-rapl`) has no name: it is no zone.
            let Ok(name) = host::read_small(&path.join("name")) else { continue };
            let (kind, index) = zones.place(&name);
            let energy = path.join("energy_uj");
            match host::read_small(&energy) {
                Ok(text) => push_zone(out, &kind, &index, &folder, &text),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = true,
                // A zone without a counter (a battery's, a graphics card's) is no mistake.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => out.problem_of(&CollectError::reading(&energy, &error)),
            }
        }
        match (out.samples(), denied) {
            ([], true) => Err(CollectError::Absent(format!(
                "{}/*/energy_uj is for root alone: it gives away what is being computed",
                class.display()
            ))),
            ([], false) => Err(CollectError::Absent(format!(
                "{} names no zone that counts energy",
                class.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn push_zone(out: &mut Scrape, kind: &str, index: &str, folder: &str, energy: &str) {
    let Ok(microjoules) = energy.parse::<u64>() else {
        out.problem(format!("{folder}/energy_uj: not a number: {energy:?}"));
        return;
    };
    if !is_name_part(kind) {
        out.problem(format!("{folder}/name: no part of a metric's name: {kind:?}"));
        return;
    }
    // As the machine names it, wherever its sysfs is mounted here.
    let path = format!("/sys/class/powercap/{folder}");
    let name = format!("node_rapl_{kind}_joules_total");
    out.push_coined(&name, &[("index", index), ("path", &path)], microjoules as f64 / 1e6);
}

/// Counts zones of one name.
#[derive(Default)]
struct Zones {
    seen: HashMap<String, u32>,
}

impl Zones {
    /// Kind and index of a zone: `package-1` → (`package`, 1); of several that are all named
    /// `dram` the first is 0, the next 1.
    fn place(&mut self, name: &str) -> (String, String) {
        let numbered = name.split_once('-').and_then(|(kind, index)| {
            let index = index.parse::<u32>().ok()?;
            Some((kind, index))
        });
        let (kind, index) = match numbered {
            Some((kind, index)) => (kind, index),
            None => (name, self.seen.get(name).copied().unwrap_or(0)),
        };
        self.seen.insert(kind.to_owned(), index.saturating_add(1));
        (in_a_name(kind), index.to_string())
    }
}

/// `package-0-die-1` → `package_0_die_1`: each run of other characters becomes one `_`.
fn in_a_name(kind: &str) -> String {
    let parts = kind.split(|character: char| !character.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str, out: &mut Scrape) {
    let mut zones = Zones::default();
    for line in text.lines() {
        let (kind, index) = zones.place(line);
        push_zone(out, &kind, &index, "zone", line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn zones_are_numbered_by_their_names_or_in_turn() {
        let mut zones = Zones::default();
        let mut place = |name: &str| {
            let (kind, index) = zones.place(name);
            format!("{kind} {index}")
        };
        assert_eq!(place("package-0"), "package 0");
        assert_eq!(place("core"), "core 0");
        assert_eq!(place("dram"), "dram 0");
        assert_eq!(place("package-1"), "package 1");
        assert_eq!(place("dram"), "dram 1");
        assert_eq!(place("package-0-die-1"), "package_0_die_1 0");
    }

    #[test]
    fn a_zone_gives_joules_and_names_its_place_as_the_machine_does() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let class = host.sys.join("class/powercap");
        std::fs::create_dir_all(class.join("intel-rapl")).unwrap();
        std::fs::create_dir_all(class.join("intel-rapl:0")).unwrap();
        write(&class.join("intel-rapl/enabled"), "1\n");
        write(&class.join("intel-rapl:0/name"), "package-0\n");
        let mut out = Scrape::new();
        assert!(matches!(Rapl.collect(&host, &mut out), Err(CollectError::Absent(_))));
        write(&class.join("intel-rapl:0/energy_uj"), "240422366267\n");
        Rapl.collect(&host, &mut out).unwrap();
        let sample = &out.samples()[0];
        assert_eq!(sample.name, "node_rapl_package_joules_total");
        assert_eq!(sample.value, 240_422.366_267);
        assert_eq!(sample.labels.get("path"), Some("/sys/class/powercap/intel-rapl:0"));
        assert_eq!(sample.labels.get("index"), Some("0"));
    }
}
