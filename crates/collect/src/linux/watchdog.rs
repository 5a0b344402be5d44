//! `watchdog`: the timers that restart a machine which no longer answers. Source:
//! `/sys/class/watchdog` (drivers/watchdog/watchdog_dev.c,
//! Documentation/ABI/testing/sysfs-class-watchdog).

use farol_model::{Lane, Metric};

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const INFO: &str = "node_watchdog_info";

/// An attribute and what its number is called, in the order of the attributes' names.
const READINGS: [(&str, &str); 7] = [
    ("access_cs0", "node_watchdog_access_cs0"),
    ("bootstatus", "node_watchdog_bootstatus"),
    ("fw_version", "node_watchdog_fw_version"),
    ("nowayout", "node_watchdog_nowayout"),
    ("pretimeout", "node_watchdog_pretimeout_seconds"),
    ("timeleft", "node_watchdog_timeleft_seconds"),
    ("timeout", "node_watchdog_timeout_seconds"),
];

/// Attributes that become labels of the same name.
const LABELS: [&str; 5] = ["identity", "options", "pretimeout_governor", "state", "status"];

pub(crate) const ENTRY: Entry = Entry {
    name: "watchdog",
    about: "timers that restart a machine which no longer answers",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/watchdog"],
    metrics: &[
        Metric::gauge(READINGS[0].1, "", "Value of /sys/class/watchdog/<watchdog>/access_cs0"),
        Metric::gauge(READINGS[1].1, "", "Value of /sys/class/watchdog/<watchdog>/bootstatus"),
        Metric::gauge(READINGS[2].1, "", "Value of /sys/class/watchdog/<watchdog>/fw_version"),
        Metric::gauge(READINGS[3].1, "", "Value of /sys/class/watchdog/<watchdog>/nowayout"),
        Metric::gauge(
            READINGS[4].1,
            "seconds",
            "Value of /sys/class/watchdog/<watchdog>/pretimeout",
        ),
        Metric::gauge(READINGS[5].1, "seconds", "Value of /sys/class/watchdog/<watchdog>/timeleft"),
        Metric::gauge(READINGS[6].1, "seconds", "Value of /sys/class/watchdog/<watchdog>/timeout"),
        Metric::gauge(INFO, "", "Info of /sys/class/watchdog/<watchdog>"),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Watchdogs))
}

struct Watchdogs;

impl Collector for Watchdogs {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/watchdog");
        for (name, path) in sysfs::devices(&class)? {
            // Its driver may go while we look.
            if let Ok(folder) = Folder::open(&path) {
                push_watchdog(out, &name, &folder);
            }
        }
        match out.samples() {
            [] => Err(CollectError::Absent("/sys/class/watchdog names no watchdog".into())),
            _ => Ok(()),
        }
    }
}

fn push_watchdog(out: &mut Scrape, name: &str, folder: &Folder) {
    for (attribute, metric) in READINGS {
        if let Some(value) = folder.number(attribute) {
            out.push(metric, &[("name", name)], value);
        }
    }
    let texts = LABELS.map(|label| (label, folder.text(label).unwrap_or_default()));
    let mut labels: Vec<_> = texts.iter().map(|(label, text)| (*label, text.as_str())).collect();
    labels.push(("name", name));
    out.push(INFO, &labels, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_does_not_tell_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let folder = host.sys.join("class/watchdog/watchdog0");
        std::fs::create_dir_all(&folder).unwrap();
        for (attribute, text) in
            [("timeout", "30\n"), ("identity", "iTCO_wdt\n"), ("status", "0x8000\n")]
        {
            write(&folder.join(attribute), text);
        }
        let mut out = Scrape::new();
        Watchdogs.collect(&host, &mut out).unwrap();
        let said: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(said, [("node_watchdog_timeout_seconds", 30.0), (INFO, 1.0)]);
        let info = &out.samples()[1].labels;
        assert_eq!((info.get("identity"), info.get("state")), (Some("iTCO_wdt"), None));
    }

    #[test]
    fn a_machine_without_one_says_so() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        std::fs::create_dir_all(host.sys.join("class/watchdog")).unwrap();
        let none = Watchdogs.collect(&host, &mut Scrape::new());
        assert!(matches!(none, Err(CollectError::Absent(_))));
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn write(path: &std::path::Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }
}
