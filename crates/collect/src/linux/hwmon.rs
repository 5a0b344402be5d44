//! `hwmon`: the sensors that lm-sensors shows: temperatures, fans, voltages, currents, power,
//! energy, humidity, intrusion. Source: `/sys/class/hwmon`
//! (Documentation/hwmon/sysfs-interface.rst).
//!
//! A chip is named after its device's place (`platform_coretemp_0`), because the number of its
//! folder depends on the order in which modules were loaded.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use farol_model::{Lane, Metric};

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const CHIP_NAMES: &str = "node_hwmon_chip_names";
const SENSOR_LABEL: &str = "node_hwmon_sensor_label";
const BEEP_ENABLED: &str = "node_hwmon_beep_enabled";
const REGULATOR_VERSION: &str = "node_hwmon_voltage_regulator_version";
const UPDATE_INTERVAL: &str = "node_hwmon_update_interval_seconds";
const FREQUENCY: &str = "node_hwmon_freq_freq_mhz";

/// Names in full first; of the rows with a star the first that matches counts.
const METRICS: &[Metric] = &[
    gauge(CHIP_NAMES, "", "Annotation metric for human-readable chip names"),
    gauge(SENSOR_LABEL, "", "Label for given chip and sensor"),
    gauge(BEEP_ENABLED, "", "Hardware beep enabled"),
    gauge(REGULATOR_VERSION, "", "Hardware voltage regulator"),
    gauge(UPDATE_INTERVAL, "seconds", "Hardware monitor update interval"),
    gauge(FREQUENCY, "", "Hardware monitor for GPU frequency in MHz"),
    gauge("node_hwmon_in_volts", "volts", "Hardware monitor for voltage (input)"),
    gauge("node_hwmon_in_*_volts", "volts", "Hardware monitor for voltage (*)"),
    gauge("node_hwmon_in_alarm", "", "Hardware sensor alarm status (in)"),
    gauge("node_hwmon_in_fault", "", "Hardware sensor fault status (in)"),
    gauge("node_hwmon_in_beep_enabled", "", BEEPING),
    gauge("node_hwmon_cpu_*_volts", "volts", "Hardware monitor for voltage (*)"),
    gauge("node_hwmon_temp_celsius", "celsius", "Hardware monitor for temperature (input)"),
    gauge("node_hwmon_temp_*_celsius", "celsius", "Hardware monitor for temperature (*)"),
    gauge("node_hwmon_temp_alarm", "", "Hardware sensor alarm status (temp)"),
    gauge("node_hwmon_temp_fault", "", "Hardware sensor fault status (temp)"),
    gauge("node_hwmon_temp_beep_enabled", "", BEEPING),
    gauge("node_hwmon_temp_*", "", "Hardware monitor temp element *"),
    gauge("node_hwmon_curr_amps", "amperes", "Hardware monitor for current (input)"),
    gauge("node_hwmon_curr_*_amps", "amperes", "Hardware monitor for current (*)"),
    gauge("node_hwmon_curr_alarm", "", "Hardware sensor alarm status (curr)"),
    gauge("node_hwmon_curr_fault", "", "Hardware sensor fault status (curr)"),
    gauge("node_hwmon_curr_beep_enabled", "", BEEPING),
    counter("node_hwmon_energy_joule_total", "Hardware monitor for joules used so far (input)"),
    counter("node_hwmon_energy_*_joule_total", "Hardware monitor for joules used so far (*)"),
    gauge("node_hwmon_power_watt", "watts", "Hardware monitor for power usage in watts (input)"),
    gauge("node_hwmon_power_*_watt", "watts", "Hardware monitor for power usage in watts (*)"),
    gauge(
        "node_hwmon_power_*_seconds",
        "seconds",
        "Hardware monitor power usage update interval (*)",
    ),
    gauge(
        "node_hwmon_power_accuracy",
        "ratio",
        "Hardware monitor power meter accuracy, as a ratio",
    ),
    gauge("node_hwmon_power_alarm", "", "Hardware sensor alarm status (power)"),
    gauge("node_hwmon_power_fault", "", "Hardware sensor fault status (power)"),
    gauge("node_hwmon_power_beep_enabled", "", BEEPING),
    gauge(
        "node_hwmon_humidity",
        "ratio",
        "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) (input)",
    ),
    gauge("node_hwmon_humidity_alarm", "", "Hardware sensor alarm status (humidity)"),
    gauge("node_hwmon_humidity_fault", "", "Hardware sensor fault status (humidity)"),
    gauge(
        "node_hwmon_humidity_*",
        "ratio",
        "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) (*)",
    ),
    gauge("node_hwmon_fan_rpm", "", "Hardware monitor for fan revolutions per minute (input)"),
    gauge("node_hwmon_fan_*_rpm", "", "Hardware monitor for fan revolutions per minute (*)"),
    gauge("node_hwmon_fan_alarm", "", "Hardware sensor alarm status (fan)"),
    gauge("node_hwmon_fan_fault", "", "Hardware sensor fault status (fan)"),
    gauge("node_hwmon_fan_beep_enabled", "", BEEPING),
    gauge("node_hwmon_fan_*", "", "Hardware monitor fan element *"),
    gauge("node_hwmon_pwm", "", "Hardware monitor pwm element "),
    gauge("node_hwmon_pwm_*", "", "Hardware monitor pwm element *"),
    gauge("node_hwmon_intrusion_alarm", "", "Hardware sensor alarm status (intrusion)"),
    gauge("node_hwmon_intrusion_beep_enabled", "", BEEPING),
    gauge("node_hwmon_*", "", "Hardware monitor element *"),
];

const BEEPING: &str = "Hardware monitor sensor has beeping enabled";

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric::gauge(name, unit, help)
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric::counter(name, "joules", help)
}

pub(crate) const ENTRY: Entry = Entry {
    name: "hwmon",
    about: "temperatures, fans, voltages and the other hardware sensors",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/hwmon"],
    metrics: METRICS,
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Hwmon))
}

struct Hwmon;

/// One chip's attributes by sensor, then by element: ("temp", 1) → "input" → "45000".
type Sensors = BTreeMap<(&'static str, u32), BTreeMap<String, String>>;

impl Collector for Hwmon {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/hwmon");
        // Two folders can belong to one device: their sensors go under the one name, once.
        let mut chips: BTreeMap<String, (Option<String>, Sensors)> = BTreeMap::new();
        for (folder_name, path) in sysfs::devices(&class)? {
            // A chip can go between the listing and the look at it.
            let Ok(folder) = Folder::open(&path) else { continue };
            let readable_name = folder.text("name").map(|name| clean(&name));
            let readable_name = readable_name.filter(|name| !name.is_empty());
            let name = device_name(&path)
                .or_else(|| readable_name.clone())
                .unwrap_or_else(|| clean(&folder_name));
            let chip = chips.entry(name).or_default();
            chip.0 = chip.0.take().or(readable_name);
            read_sensors(&folder, &mut chip.1);
        }
        if chips.is_empty() {
            return Err(CollectError::Absent(format!("{} names no chip", class.display())));
        }
        for (chip, (readable_name, sensors)) in &chips {
            push_chip(out, chip, readable_name.as_deref(), sensors);
        }
        Ok(())
    }
}

/// From the device's place: its bus or parent, and itself. `None` for a chip without a device.
fn device_name(chip: &Path) -> Option<String> {
    let device: PathBuf = chip.join("device").canonicalize().ok()?;
    let part = |path: Option<&Path>| {
        let name = path?.file_name()?.to_str()?;
        Some(clean(name)).filter(|name| !name.is_empty())
    };
    let itself = part(Some(&device))?;
    match part(device.parent()) {
        Some(parent) => Some(format!("{parent}_{itself}")),
        None => Some(itself),
    }
}

/// Lower case, other characters than letters and digits made `_`, none at the ends.
fn clean(name: &str) -> String {
    let replaced: String = name
        .chars()
        .map(|character| match character.to_ascii_lowercase() {
            lower @ ('a'..='z' | '0'..='9' | ':' | '_') => lower,
            _ => '_',
        })
        .collect();
    replaced.trim_matches('_').to_owned()
}

/// Old drivers keep the attributes in the device's folder instead of the chip's.
fn read_sensors(chip: &Folder, sensors: &mut Sensors) {
    read_folder(chip, sensors);
    if let Ok(device) = chip.inner("device") {
        read_folder(&device, sensors);
    }
}

fn read_folder(folder: &Folder, sensors: &mut Sensors) {
    for file in folder.files().unwrap_or_default() {
        let Some((kind, number, element)) = explode(&file) else { continue };
        // A sensor that is not connected refuses to answer.
        let Some(text) = folder.text(&file) else { continue };
        let elements = sensors.entry((kind, number)).or_default();
        elements.entry(element.to_owned()).or_insert(text);
    }
}

/// Kinds whose files carry a number: `temp1_input`.
const NUMBERED_KINDS: [&str; 11] =
    ["in", "cpu", "fan", "pwm", "temp", "curr", "power", "energy", "humidity", "intrusion", "freq"];
/// Kinds that a chip has once, without a number.
const SINGLE_KINDS: [&str; 3] = ["vrm", "beep_enable", "update_interval"];

/// `temp1_input` → ("temp", 1, "input"); `None` for a file that is no sensor's. A device's folder
/// has files that look like one without a number (a battery's `temp`, in tenths of a degree):
/// those are none.
fn explode(file: &str) -> Option<(&'static str, u32, &str)> {
    if let Some(kind) = SINGLE_KINDS.into_iter().find(|kind| *kind == file) {
        return Some((kind, 0, ""));
    }
    let digits_from = file.find(|character: char| character.is_ascii_digit())?;
    let (kind, rest) = file.split_at_checked(digits_from)?;
    let kind = NUMBERED_KINDS.into_iter().find(|known| *known == kind)?;
    let digits_to = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    let (number, element) = rest.split_at_checked(digits_to)?;
    let element = match element {
        "" => "",
        _ => element.strip_prefix('_').filter(|element| !element.is_empty())?,
    };
    Some((kind, number.parse().ok()?, element))
}

fn push_chip(out: &mut Scrape, chip: &str, readable_name: Option<&str>, sensors: &Sensors) {
    if let Some(name) = readable_name {
        out.push(CHIP_NAMES, &[("chip", chip), ("chip_name", name)], 1.0);
    }
    for ((kind, number), elements) in sensors {
        let sensor = format!("{kind}{number}");
        let labels = [("chip", chip), ("sensor", sensor.as_str())];
        let label = elements.get("label").map_or("", String::as_str);
        if !label.is_empty() {
            out.push(SENSOR_LABEL, &[labels[0], labels[1], ("label", label)], 1.0);
        }
        if *kind == "freq"
            && !label.is_empty()
            && let Some(hertz) = elements.get("input").and_then(|text| number_of(text))
        {
            out.push(FREQUENCY, &[labels[0], ("sensor", &clean(label))], hertz / 1e6);
            continue;
        }
        for (element, text) in elements.iter().filter(|(element, _)| *element != "label") {
            let Some(value) = number_of(text) else { continue };
            let has_bare_value = elements.contains_key("");
            let (name, value) = reading(kind, element, has_bare_value, value);
            out.push_coined(&name, &labels, value);
        }
    }
}

fn number_of(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The metric that an attribute becomes, in base units. The kernel gives millivolts, thousandths
/// of a degree, milliamperes, microwatts, microjoules and thousandths of a percent.
fn reading(kind: &str, element: &str, has_bare_value: bool, value: f64) -> (String, f64) {
    match kind {
        "beep_enable" => return (BEEP_ENABLED.into(), f64::from(u8::from(value == 1.0))),
        "vrm" => return (REGULATOR_VERSION.into(), value),
        "update_interval" => return (UPDATE_INTERVAL.into(), value / 1e3),
        _ => {}
    }
    let base = match element {
        // The input is the value itself, unless the kind has that too (pwm).
        "input" if !has_bare_value => format!("node_hwmon_{kind}"),
        "" => format!("node_hwmon_{kind}"),
        _ => format!("node_hwmon_{kind}_{}", clean(element)),
    };
    match (kind, element) {
        (_, "fault" | "alarm") => (base, value),
        (_, "beep") => (base + "_enabled", value),
        ("in" | "cpu", _) => (base + "_volts", value / 1e3),
        ("temp", "type") => (base, value),
        ("temp", _) => (base + "_celsius", value / 1e3),
        ("curr", _) => (base + "_amps", value / 1e3),
        ("energy", _) => (base + "_joule_total", value / 1e6),
        ("power", "accuracy") => (base, value / 1e6),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            (base + "_seconds", value / 1e3)
        }
        ("power", _) => (base + "_watt", value / 1e6),
        // node_exporter divides by a million, and so gives a tenth of the ratio that its help
        // text promises: the kernel's unit is a thousandth of a percent.
        ("humidity", _) => (base, value / 1e5),
        ("fan", "input" | "min" | "max" | "target") => (base + "_rpm", value),
        _ => (base, value),
    }
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        drop((clean(line), explode(line), number_of(line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_sensor_file_is_taken_apart_and_other_files_are_none() {
        assert_eq!(explode("temp1_input"), Some(("temp", 1, "input")));
        assert_eq!(explode("temp12_crit_alarm"), Some(("temp", 12, "crit_alarm")));
        assert_eq!(explode("temp1_auto_point1_pwm"), Some(("temp", 1, "auto_point1_pwm")));
        assert_eq!(explode("pwm1"), Some(("pwm", 1, "")));
        assert_eq!(explode("in0_input"), Some(("in", 0, "input")));
        assert_eq!(explode("update_interval"), Some(("update_interval", 0, "")));
        assert_eq!(explode("temp"), None);
        assert_eq!(explode("name"), None);
        assert_eq!(explode("energy_full"), None);
        assert_eq!(explode("temp1_"), None);
        assert_eq!(explode("temp1x"), None);
    }

    #[test]
    fn values_come_in_base_units_under_node_exporters_names() {
        let read = |kind, element, value| reading(kind, element, false, value);
        assert_eq!(read("temp", "input", 45_500.0), ("node_hwmon_temp_celsius".into(), 45.5));
        assert_eq!(
            read("temp", "crit_alarm", 0.0),
            ("node_hwmon_temp_crit_alarm_celsius".into(), 0.0)
        );
        assert_eq!(read("temp", "alarm", 1.0), ("node_hwmon_temp_alarm".into(), 1.0));
        assert_eq!(read("in", "max", 12_500.0), ("node_hwmon_in_max_volts".into(), 12.5));
        assert_eq!(read("fan", "input", 1100.0), ("node_hwmon_fan_rpm".into(), 1100.0));
        assert_eq!(read("fan", "min", 200.0), ("node_hwmon_fan_min_rpm".into(), 200.0));
        assert_eq!(read("fan", "pulses", 2.0), ("node_hwmon_fan_pulses".into(), 2.0));
        assert_eq!(read("curr", "input", 1500.0), ("node_hwmon_curr_amps".into(), 1.5));
        assert_eq!(read("power", "average", 15e6), ("node_hwmon_power_average_watt".into(), 15.0));
        assert_eq!(read("energy", "input", 2e6), ("node_hwmon_energy_joule_total".into(), 2.0));
        assert_eq!(
            read("power", "average_interval", 1000.0),
            ("node_hwmon_power_average_interval_seconds".into(), 1.0)
        );
        assert_eq!(read("humidity", "input", 45_000.0), ("node_hwmon_humidity".into(), 0.45));
        assert_eq!(read("update_interval", "", 1000.0), (UPDATE_INTERVAL.into(), 1.0));
    }

    #[test]
    fn a_chip_is_named_after_its_device_and_not_after_its_number() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let device = host.sys.join("devices/platform/coretemp.0");
        let chip = device.join("hwmon/hwmon3");
        write(&chip.join("name"), "coretemp\n");
        write(&chip.join("temp1_input"), "50000\n");
        write(&chip.join("temp1_label"), "Package id 0\n");
        write(&chip.join("temp2_input"), "not ready\n");
        link(&device, &chip.join("device"));
        link(&chip, &host.sys.join("class/hwmon/hwmon3"));
        let mut out = Scrape::new();
        Hwmon.collect(&host, &mut out).unwrap();
        let names: Vec<_> = out.samples().iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, [CHIP_NAMES, SENSOR_LABEL, "node_hwmon_temp_celsius"]);
        let labels = &out.samples()[2].labels;
        assert_eq!(labels.get("chip"), Some("platform_coretemp_0"));
        assert_eq!(labels.get("sensor"), Some("temp1"));
        assert_eq!(out.samples()[1].labels.get("label"), Some("Package id 0"));
    }

    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean("coretemp.0"), "coretemp_0");
        assert_eq!(clean("0000:02:00.0\n"), "0000:02:00_0");
        assert_eq!(clean("Package id 0"), "package_id_0");
    }

    fn link(target: &Path, at: &Path) {
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, at).unwrap();
    }
}
