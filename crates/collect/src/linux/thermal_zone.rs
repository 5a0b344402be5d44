//! `thermal_zone`: temperatures of the firmware's thermal zones, and how far each cooling device
//! is throttled. Source: `/sys/class/thermal` (drivers/thermal/thermal_sysfs.c).

use farol_model::{Lane, Metric};

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const TEMPERATURE: &str = "node_thermal_zone_temp";
const CURRENT_STATE: &str = "node_cooling_device_cur_state";
const MAXIMUM_STATE: &str = "node_cooling_device_max_state";

pub(crate) const ENTRY: Entry = Entry {
    name: "thermal_zone",
    about: "temperatures of the thermal zones and the state of cooling devices",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/thermal"],
    metrics: &[
        Metric::gauge(TEMPERATURE, "celsius", "Zone temperature in Celsius"),
        Metric::gauge(CURRENT_STATE, "", "Current throttle state of the cooling device"),
        Metric::gauge(MAXIMUM_STATE, "", "Maximum throttle state of the cooling device"),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(ThermalZone))
}

struct ThermalZone;

impl Collector for ThermalZone {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/thermal");
        for (name, path) in sysfs::devices(&class)? {
            let Ok(folder) = Folder::open(&path) else { continue };
            if let Some(zone) = number_of(&name, "thermal_zone") {
                push_zone(out, zone, &folder);
            } else if let Some(device) = number_of(&name, "cooling_device") {
                push_cooling_device(out, device, &folder);
            }
        }
        match out.samples() {
            [] => Err(CollectError::Absent(format!(
                "{} names no thermal zone and no cooling device",
                class.display()
            ))),
            _ => Ok(()),
        }
    }
}

/// `thermal_zone12` → `12`.
fn number_of<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    name.strip_prefix(kind).filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// A zone whose sensor is asleep or switched off refuses to answer: it is absent.
fn push_zone(out: &mut Scrape, zone: &str, folder: &Folder) {
    let kind = folder.text("type").unwrap_or_default();
    if let Some(temperature) = folder.number("temp") {
        out.push(TEMPERATURE, &[("zone", zone), ("type", &kind)], temperature / 1000.0);
    }
}

fn push_cooling_device(out: &mut Scrape, device: &str, folder: &Folder) {
    let kind = folder.text("type").unwrap_or_default();
    let labels = [("name", device), ("type", kind.as_str())];
    // A device that is not in use says -1 (intel_powerclamp): it has no state.
    let state = |attribute| folder.number(attribute).filter(|state| *state >= 0.0);
    if let Some(state) = state("cur_state") {
        out.push(CURRENT_STATE, &labels, state);
    }
    if let Some(state) = state("max_state") {
        out.push(MAXIMUM_STATE, &labels, state);
    }
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        let (_zone, _device) = (number_of(line, "thermal_zone"), number_of(line, "cooling_device"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn zones_and_cooling_devices_are_told_by_their_numbers() {
        assert_eq!(number_of("thermal_zone12", "thermal_zone"), Some("12"));
        assert_eq!(number_of("cooling_device0", "cooling_device"), Some("0"));
        assert_eq!(number_of("thermal_zone", "thermal_zone"), None);
        assert_eq!(number_of("thermal_zone0", "cooling_device"), None);
    }

    #[test]
    fn temperatures_are_celsius_and_a_sleeping_zone_is_absent() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let class = host.sys.join("class/thermal");
        write(&class.join("thermal_zone0/type"), "x86_pkg_temp\n");
        write(&class.join("thermal_zone0/temp"), "49925\n");
        write(&class.join("thermal_zone1/type"), "iwlwifi_1\n");
        write(&class.join("cooling_device0/type"), "Processor\n");
        write(&class.join("cooling_device0/cur_state"), "0\n");
        write(&class.join("cooling_device0/max_state"), "10\n");
        let mut out = Scrape::new();
        ThermalZone.collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values, [(CURRENT_STATE, 0.0), (MAXIMUM_STATE, 10.0), (TEMPERATURE, 49.925)]);
        assert_eq!(out.samples()[2].labels.get("type"), Some("x86_pkg_temp"));
    }

    #[test]
    fn a_machine_without_thermal_zones_is_absent() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let result = ThermalZone.collect(&host, &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
    }
}
