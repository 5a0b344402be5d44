//! `powersupplyclass`: batteries, mains adapters and power supplies. Source:
//! `/sys/class/power_supply` (drivers/power/supply/power_supply_sysfs.c,
//! Documentation/ABI/testing/sysfs-class-power).

use farol_model::{Lane, Metric};
use regex::Regex;

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const INFO: Metric =
    Metric::gauge("node_power_supply_info", "", "info of /sys/class/power_supply/<power_supply>.");

struct Reading {
    attribute: &'static str,
    metric: Metric,
    /// How many of the kernel's units make one of the metric's.
    per: f64,
}

/// An attribute, the metric's name after `node_power_supply_`, its unit.
macro_rules! reading {
    ($attribute:literal, $name:literal, $unit:literal, $per:expr) => {
        Reading {
            attribute: $attribute,
            metric: Metric::gauge(
                concat!("node_power_supply_", $name),
                $unit,
                concat!($name, " value of /sys/class/power_supply/<power_supply>."),
            ),
            per: $per,
        }
    };
}

/// The kernel counts in millionths: microvolts, microamperes, microwatts and their hours.
const MICRO: f64 = 1e6;
/// Temperatures are in tenths of a degree.
const TENTH: f64 = 10.0;

/// In order of the attributes' names.
const READINGS: &[Reading] = &[
    reading!("authentic", "authentic", "", 1.0),
    reading!("calibrate", "calibrate", "", 1.0),
    reading!("capacity", "capacity", "percent", 1.0),
    reading!("capacity_alert_max", "capacity_alert_max", "percent", 1.0),
    reading!("capacity_alert_min", "capacity_alert_min", "percent", 1.0),
    reading!("charge_control_limit", "charge_control_limit", "", MICRO),
    reading!("charge_control_limit_max", "charge_control_limit_max", "", MICRO),
    reading!("charge_counter", "charge_counter", "", MICRO),
    reading!("charge_empty", "charge_empty", "", MICRO),
    reading!("charge_empty_design", "charge_empty_design", "", MICRO),
    reading!("charge_full", "charge_full", "", MICRO),
    reading!("charge_full_design", "charge_full_design", "", MICRO),
    reading!("charge_now", "charge_ampere", "", MICRO),
    reading!("charge_term_current", "charge_term_current", "amperes", MICRO),
    reading!("constant_charge_current", "constant_charge_current", "amperes", MICRO),
    reading!("constant_charge_current_max", "constant_charge_current_max", "amperes", MICRO),
    reading!("constant_charge_voltage", "constant_charge_voltage", "volts", MICRO),
    reading!("constant_charge_voltage_max", "constant_charge_voltage_max", "volts", MICRO),
    reading!("current_boot", "current_boot", "amperes", MICRO),
    reading!("current_max", "current_max", "amperes", MICRO),
    reading!("current_now", "current_ampere", "amperes", MICRO),
    reading!("cycle_count", "cyclecount", "", 1.0),
    reading!("energy_empty", "energy_empty", "", MICRO),
    reading!("energy_empty_design", "energy_empty_design", "", MICRO),
    reading!("energy_full", "energy_full", "", MICRO),
    reading!("energy_full_design", "energy_full_design", "", MICRO),
    reading!("energy_now", "energy_watthour", "", MICRO),
    reading!("input_current_limit", "input_current_limit", "amperes", MICRO),
    reading!("online", "online", "", 1.0),
    reading!("power_now", "power_watt", "watts", MICRO),
    reading!("precharge_current", "precharge_current", "amperes", MICRO),
    reading!("present", "present", "", 1.0),
    reading!("temp", "temp_celsius", "celsius", TENTH),
    reading!("temp_alert_max", "temp_alert_max_celsius", "celsius", TENTH),
    reading!("temp_alert_min", "temp_alert_min_celsius", "celsius", TENTH),
    reading!("temp_ambient", "temp_ambient_celsius", "celsius", TENTH),
    reading!("temp_ambient_max", "temp_ambient_max_celsius", "celsius", TENTH),
    reading!("temp_ambient_min", "temp_ambient_min_celsius", "celsius", TENTH),
    reading!("temp_max", "temp_max_celsius", "celsius", TENTH),
    reading!("temp_min", "temp_min_celsius", "celsius", TENTH),
    reading!("time_to_empty_now", "time_to_empty_seconds", "seconds", 1.0),
    reading!("time_to_full_now", "time_to_full_seconds", "seconds", 1.0),
    reading!("voltage_boot", "voltage_boot", "volts", MICRO),
    reading!("voltage_max", "voltage_max", "volts", MICRO),
    reading!("voltage_max_design", "voltage_max_design", "volts", MICRO),
    reading!("voltage_min", "voltage_min", "volts", MICRO),
    reading!("voltage_min_design", "voltage_min_design", "volts", MICRO),
    reading!("voltage_now", "voltage_volt", "volts", MICRO),
    reading!("voltage_ocv", "voltage_ocv", "volts", MICRO),
];

/// Attributes that become labels of the same name.
const LABELS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

const METRICS: [Metric; READINGS.len() + 1] = {
    let mut metrics = [INFO; READINGS.len() + 1];
    let mut at = 0;
    while at < READINGS.len() {
        metrics[at] = READINGS[at].metric;
        at += 1;
    }
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "powersupplyclass",
    about: "charge, voltage and state of batteries and power supplies",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/power_supply"],
    metrics: &METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(PowerSupplies { ignored: options.powersupply_ignored_supplies.clone() }))
}

struct PowerSupplies {
    ignored: Regex,
}

impl Collector for PowerSupplies {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/power_supply");
        for (name, path) in sysfs::devices(&class)? {
            if self.ignored.is_match(&name) {
                continue;
            }
            // A mouse takes its battery along when it goes.
            if let Ok(folder) = Folder::open(&path) {
                push_supply(out, &name, &folder);
            }
        }
        match out.samples() {
            [] => Err(CollectError::Absent(format!("{} names no power supply", class.display()))),
            _ => Ok(()),
        }
    }
}

/// A supply has a dozen of the many attributes there are: what it lists is read, the rest not tried.
fn push_supply(out: &mut Scrape, name: &str, folder: &Folder) {
    let mut texts: Vec<(&'static str, String)> = Vec::new();
    for file in folder.files().unwrap_or_default() {
        if let Ok(at) = READINGS.binary_search_by(|reading| reading.attribute.cmp(&file)) {
            let reading = &READINGS[at];
            if let Some(value) = folder.number(reading.attribute) {
                let labels = [("power_supply", name)];
                out.push(reading.metric.name, &labels, value / reading.per);
            }
        } else if let Some(label) = LABELS.into_iter().find(|label| *label == file) {
            texts.extend(folder.text(label).map(|text| (label, text)));
        }
    }
    let labels = texts.iter().map(|(label, text)| (*label, text.as_str()));
    let labels: Vec<_> = [("power_supply", name)].into_iter().chain(labels).collect();
    out.push(INFO.name, &labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn readings_can_be_searched_by_attribute() {
        assert!(READINGS.is_sorted_by_key(|reading| reading.attribute));
    }

    #[test]
    fn a_battery_says_what_it_knows_in_base_units() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let battery = host.sys.join("class/power_supply/BAT0");
        std::fs::create_dir_all(&battery).unwrap();
        write(&battery.join("status"), "Discharging\n");
        write(&battery.join("type"), "Battery\n");
        write(&battery.join("serial_number"), " 1234\n");
        write(&battery.join("capacity"), "81\n");
        write(&battery.join("voltage_now"), "12229000\n");
        write(&battery.join("temp"), "312\n");
        write(&battery.join("power_now"), "unknown\n");
        write(&battery.join("uevent"), "POWER_SUPPLY_NAME=BAT0\n");
        let mut out = Scrape::new();
        build(&Options::default()).unwrap().collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(
            values,
            [
                ("node_power_supply_capacity", 81.0),
                ("node_power_supply_temp_celsius", 31.2),
                ("node_power_supply_voltage_volt", 12.229),
                ("node_power_supply_info", 1.0),
            ]
        );
        let info = &out.samples()[3].labels;
        assert_eq!(info.get("status"), Some("Discharging"));
        assert_eq!(info.get("serial_number"), Some("1234"));
        assert_eq!(info.len(), 4);
    }

    #[test]
    fn supplies_can_be_left_out() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        std::fs::create_dir_all(host.sys.join("class/power_supply/hidpp_battery_0")).unwrap();
        let ignored = Regex::new("^hidpp").unwrap();
        let mut collector = PowerSupplies { ignored };
        let result = collector.collect(&host, &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
    }
}
