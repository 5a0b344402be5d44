//! `time`: the tick's own time, and the clock sources the kernel has and uses. Source for the
//! latter: `/sys/devices/system/clocksource/clocksource*/` (kernel/time/clocksource.c).

use std::path::Path;

use farol_model::{Lane, Metric};

use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, Tree,
    host::read_small,
};

const SECONDS: &str = "node_time_seconds";
const AVAILABLE: &str = "node_time_clocksource_available_info";
const CURRENT: &str = "node_time_clocksource_current_info";

pub(crate) const ENTRY: Entry = Entry {
    name: "time",
    about: "system time and clock sources",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/sys/devices/system/clocksource"],
    metrics: &[
        Metric::gauge(SECONDS, "seconds", "System time in seconds since epoch (1970)."),
        Metric::gauge(
            AVAILABLE,
            "",
            "Available clocksources read from '/sys/devices/system/clocksource'.",
        ),
        Metric::gauge(
            CURRENT,
            "",
            "Current clocksource read from '/sys/devices/system/clocksource'.",
        ),
    ],
    build,
};

/// A clock source is exchanged when a watchdog finds it unstable: seldom, so it is looked up seldom.
const TICKS_BETWEEN_LOOKS: u32 = 60;

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Time { sources: Vec::new(), ticks_until_look: 0 }))
}

struct Time {
    sources: Vec<ClockSource>,
    ticks_until_look: u32,
}

struct ClockSource {
    /// The device's number.
    device: String,
    available: Vec<String>,
    current: Option<String>,
}

impl Collector for Time {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        out.push(SECONDS, &[], out.now().as_seconds());
        if self.ticks_until_look == 0 {
            self.sources = clock_sources(host);
            self.ticks_until_look = TICKS_BETWEEN_LOOKS;
        }
        self.ticks_until_look -= 1;
        for source in &self.sources {
            for name in &source.available {
                out.push(AVAILABLE, &[("device", &source.device), ("clocksource", name)], 1.0);
            }
            if let Some(name) = &source.current {
                out.push(CURRENT, &[("device", &source.device), ("clocksource", name)], 1.0);
            }
        }
        Ok(())
    }
}

/// A machine without them (a container's sysfs may be cut down) has none: the time is there still.
fn clock_sources(host: &Host) -> Vec<ClockSource> {
    let folder = host.tree(Tree::Sys).join("devices/system/clocksource");
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut sources: Vec<ClockSource> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let device = name.to_str()?.strip_prefix("clocksource")?;
            device.parse::<u32>().ok()?;
            Some(clock_source(device, &entry.path()))
        })
        .collect();
    sources.sort_by(|a, b| a.device.cmp(&b.device));
    sources
}

fn clock_source(device: &str, folder: &Path) -> ClockSource {
    let read = |name: &str| read_small(&folder.join(name)).unwrap_or_default();
    ClockSource {
        device: device.to_owned(),
        available: read("available_clocksource")
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect(),
        current: Some(read("current_clocksource")).filter(|name| !name.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use farol_model::Timestamp;

    use super::*;

    #[test]
    fn the_time_is_the_ticks_own_and_needs_no_file() {
        let host = Host::recorded(Path::new("/nonexistent"));
        let mut out = Scrape::new();
        out.begin(Timestamp::from_millis(1_700_000_000_500));
        build(&Options::default()).unwrap().collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|sample| sample.value).collect();
        assert_eq!(values, [1_700_000_000.5]);
    }
}
