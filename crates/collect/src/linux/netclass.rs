//! `netclass`: link state, speed, MTU and addresses of each network device. Source:
//! `/sys/class/net` (net/core/net-sysfs.c).
//!
//! What a device does not know is absent: an unplugged port reports a speed of -1, a device that
//! is down refuses to name its carrier.
//!
//! Opening an attribute costs ten times more than reading it, and a machine full of containers
//! has many devices. So what an administrator sets, or the link settles on when it comes up, is
//! read again only when the device or its link changed, and at every sixth tick.

use std::collections::HashMap;

use farol_model::{Lane, Metric};
use regex::Regex;

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const FLAGS: &str = "node_network_flags";
const CARRIER_CHANGES: &str = "node_network_carrier_changes_total";
const UP: Metric =
    Metric::gauge("node_network_up", "", "Value is 1 if operstate is 'up', 0 otherwise.");
const INFO: Metric = Metric::gauge(
    "node_network_info",
    "",
    "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
);
const SPEED: Metric =
    Metric::gauge("node_network_speed_bytes", "bytes", "Network device property: speed_bytes");
/// The column that `/proc/net/dev` has not: packets for a protocol nobody handles.
const NOHANDLER: Metric = Metric::counter(
    "node_network_receive_nohandler_total",
    "",
    "Network device statistic receive_nohandler.",
);

/// Read at every tick.
const LIVE: [(&str, Metric); 6] = [
    ("carrier", Metric::gauge("node_network_carrier", "", "Network device property: carrier")),
    (
        "carrier_changes",
        Metric::counter(
            "node_network_carrier_changes_total",
            "",
            "Network device property: carrier_changes_total",
        ),
    ),
    (
        "carrier_up_count",
        Metric::counter(
            "node_network_carrier_up_changes_total",
            "",
            "Network device property: carrier_up_changes_total",
        ),
    ),
    (
        "carrier_down_count",
        Metric::counter(
            "node_network_carrier_down_changes_total",
            "",
            "Network device property: carrier_down_changes_total",
        ),
    ),
    ("dormant", Metric::gauge("node_network_dormant", "", "Network device property: dormant")),
    ("flags", Metric::gauge(FLAGS, "", "Network device property: flags")),
];

/// Read again when something changed.
const SETTLED: [(&str, Metric); 10] = [
    (
        "addr_assign_type",
        Metric::gauge(
            "node_network_address_assign_type",
            "",
            "Network device property: address_assign_type",
        ),
    ),
    ("dev_id", Metric::gauge("node_network_device_id", "", "Network device property: device_id")),
    ("ifindex", Metric::gauge("node_network_iface_id", "", "Network device property: iface_id")),
    ("iflink", Metric::gauge("node_network_iface_link", "", "Network device property: iface_link")),
    (
        "link_mode",
        Metric::gauge(
            "node_network_iface_link_mode",
            "",
            "Network device property: iface_link_mode",
        ),
    ),
    ("mtu", Metric::gauge("node_network_mtu_bytes", "bytes", "Network device property: mtu_bytes")),
    (
        "name_assign_type",
        Metric::gauge(
            "node_network_name_assign_type",
            "",
            "Network device property: name_assign_type",
        ),
    ),
    (
        "netdev_group",
        Metric::gauge("node_network_net_dev_group", "", "Network device property: net_dev_group"),
    ),
    (
        "type",
        Metric::gauge("node_network_protocol_type", "", "Network device property: protocol_type"),
    ),
    (
        "tx_queue_len",
        Metric::gauge(
            "node_network_transmit_queue_length",
            "",
            "Network device property: transmit_queue_length",
        ),
    ),
];

const METRICS: [Metric; LIVE.len() + SETTLED.len() + 4] = {
    let mut metrics = [UP; LIVE.len() + SETTLED.len() + 4];
    let mut at = 0;
    while at < LIVE.len() {
        metrics[at] = LIVE[at].1;
        at += 1;
    }
    while at < LIVE.len() + SETTLED.len() {
        metrics[at] = SETTLED[at - LIVE.len()].1;
        at += 1;
    }
    metrics[at] = INFO;
    metrics[at + 1] = SPEED;
    metrics[at + 2] = NOHANDLER;
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "netclass",
    about: "link state, speed, MTU and addresses of each network device",
    on: true,
    lane: Lane::Slow,
    scope: Scope::NetworkDevices,
    reads: &["/sys/class/net"],
    metrics: &METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let ignored = options.netclass_ignored_devices.clone();
    let labelled_up = options.compatibility.adds_labels();
    Ok(Box::new(Netclass { ignored, labelled_up, known: HashMap::new(), ticks: 0 }))
}

struct Netclass {
    ignored: Regex,
    /// Whether `node_network_up` carries `operstate="up"`: the state that its value is about. It is
    /// the same in every series, so that a series does not end when its device goes down.
    labelled_up: bool,
    /// By device; those that are gone are let go.
    known: HashMap<String, Known>,
    ticks: u64,
}

/// What was read of a device that rarely changes.
struct Known {
    state: State,
    read_at: u64,
    seen_at: u64,
    address: String,
    broadcast: String,
    duplex: String,
    alias: String,
    properties: Vec<(&'static str, f64)>,
}

/// As long as it is the same, the rest is taken to be.
#[derive(PartialEq)]
struct State {
    /// Of the device's folder: another device of the same name has another.
    inode: Option<u64>,
    operational: String,
    flags: Option<f64>,
    carrier_changes: Option<f64>,
}

const TICKS_BETWEEN_FULL_READS: u64 = 6;

impl Collector for Netclass {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        self.ticks += 1;
        for (device, path) in sysfs::devices(&host.sys.join("class/net"))? {
            if self.ignored.is_match(&device) {
                continue;
            }
            // A device can go between the listing and the look at it.
            let Ok(folder) = Folder::open(&path) else { continue };
            let live = LIVE.map(|(attribute, metric)| (metric.name, folder.number(attribute)));
            let state = State::of(&folder, &live);
            let known = match self.known.remove(&device) {
                Some(known) if known.holds(&state, self.ticks) => {
                    Known { seen_at: self.ticks, ..known }
                }
                _ => Known::read(&folder, state, self.ticks),
            };
            let up = f64::from(u8::from(known.state.operational == "up"));
            let operstate = if self.labelled_up { "up" } else { "" };
            out.push(UP.name, &[("device", &device), ("operstate", operstate)], up);
            push_device(out, &device, &live, &known);
            if let Some(packets) = folder.number("statistics/rx_nohandler") {
                out.push(NOHANDLER.name, &[("device", &device)], packets);
            }
            self.known.insert(device, known);
        }
        self.known.retain(|_, known| known.seen_at == self.ticks);
        Ok(())
    }
}

type Live = [(&'static str, Option<f64>); LIVE.len()];

fn of(live: &Live, metric: &str) -> Option<f64> {
    live.iter().find(|(name, _)| *name == metric)?.1
}

impl State {
    fn of(folder: &Folder, live: &Live) -> State {
        State {
            inode: folder.inode(),
            operational: folder.text("operstate").unwrap_or_default(),
            flags: of(live, FLAGS),
            carrier_changes: of(live, CARRIER_CHANGES),
        }
    }
}

impl Known {
    fn read(folder: &Folder, state: State, tick: u64) -> Known {
        let text = |attribute| folder.text(attribute).unwrap_or_default();
        let mut properties: Vec<(&'static str, f64)> = SETTLED
            .iter()
            .filter_map(|(attribute, metric)| Some((metric.name, folder.number(attribute)?)))
            .collect();
        let speed = folder.number("speed").and_then(bytes_per_second);
        properties.extend(speed.map(|speed| (SPEED.name, speed)));
        Known {
            state,
            read_at: tick,
            seen_at: tick,
            address: text("address"),
            broadcast: text("broadcast"),
            duplex: text("duplex"),
            alias: text("ifalias"),
            properties,
        }
    }

    fn holds(&self, state: &State, tick: u64) -> bool {
        self.state == *state && tick - self.read_at < TICKS_BETWEEN_FULL_READS
    }
}

fn push_device(out: &mut Scrape, device: &str, live: &Live, known: &Known) {
    let label = [("device", device)];
    let operational = known.state.operational.as_str();
    out.push(
        INFO.name,
        &[
            ("device", device),
            ("address", &known.address),
            ("broadcast", &known.broadcast),
            ("duplex", &known.duplex),
            ("operstate", operational),
            ("adminstate", admin_state(known.state.flags)),
            ("ifalias", &known.alias),
        ],
        1.0,
    );
    let live = live.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    for (name, value) in live.chain(known.properties.iter().copied()) {
        out.push(name, &label, value);
    }
}

/// From megabits; -1 is the kernel's word for unknown, and so is its unsigned twin.
fn bytes_per_second(megabits: f64) -> Option<f64> {
    (megabits >= 0.0 && megabits < f64::from(u32::MAX)).then_some(megabits * 1e6 / 8.0)
}

fn admin_state(flags: Option<f64>) -> &'static str {
    const IFF_UP: u64 = 1;
    match flags {
        None => "unknown",
        Some(flags) if flags as u64 & IFF_UP != 0 => "up",
        Some(_) => "down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compatibility;
    use crate::laid_out::write;

    #[test]
    fn an_unknown_speed_is_absent_and_not_minus_one() {
        assert_eq!(bytes_per_second(1000.0), Some(125_000_000.0));
        assert_eq!(bytes_per_second(-1.0), None);
        assert_eq!(bytes_per_second(4_294_967_295.0), None);
    }

    #[test]
    fn a_device_yields_what_it_knows() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let class = host.sys.join("class/net");
        write(&class.join("eth0/operstate"), "up\n");
        write(&class.join("eth0/flags"), "0x1003\n");
        write(&class.join("eth0/mtu"), "1500\n");
        write(&class.join("eth0/speed"), "-1\n");
        write(&class.join("eth0/address"), "02:fc:00:00:00:01\n");
        write(&class.join("bonding_masters"), "bond0\n");
        let mut out = Scrape::new();
        build(&Options::default()).unwrap().collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(
            values,
            [
                ("node_network_up", 1.0),
                ("node_network_info", 1.0),
                (FLAGS, 4099.0),
                ("node_network_mtu_bytes", 1500.0),
            ]
        );
        let info = &out.samples()[1].labels;
        assert_eq!(info.get("adminstate"), Some("up"));
        assert_eq!(info.get("address"), Some("02:fc:00:00:00:01"));
        assert_eq!(info.get("duplex"), None);
    }

    #[test]
    fn the_label_that_boards_ask_for_is_the_same_whatever_the_state() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let state = host.sys.join("class/net/eth0/operstate");
        let up = |compatibility, text: &str| {
            write(&state, text);
            let options = Options { compatibility, ..Options::default() };
            let mut out = Scrape::new();
            build(&options).unwrap().collect(&host, &mut out).unwrap();
            let sample = out.samples().iter().find(|sample| sample.name == *UP.name).unwrap();
            (sample.labels.get("operstate").map(str::to_owned), sample.value)
        };
        assert_eq!(up(Compatibility::Names, "up\n"), (None, 1.0));
        assert_eq!(up(Compatibility::Labels, "up\n"), (Some("up".into()), 1.0));
        assert_eq!(up(Compatibility::Labels, "down\n"), (Some("up".into()), 0.0));
    }

    #[test]
    fn what_rarely_changes_is_read_again_with_the_link_or_after_a_while() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let eth0 = host.sys.join("class/net/eth0");
        write(&eth0.join("carrier_changes"), "1\n");
        write(&eth0.join("speed"), "1000\n");
        let mut collector = build(&Options::default()).unwrap();
        let mut speed = || {
            let mut out = Scrape::new();
            collector.collect(&host, &mut out).unwrap();
            out.samples().iter().find(|sample| sample.name == SPEED.name).unwrap().value * 8e-6
        };
        assert_eq!(speed(), 1000.0);
        write(&eth0.join("speed"), "100\n");
        assert_eq!(speed(), 1000.0, "nothing says that the link changed");
        write(&eth0.join("carrier_changes"), "3\n");
        assert_eq!(speed(), 100.0);
        write(&eth0.join("speed"), "10\n");
        let later: Vec<f64> = (0..TICKS_BETWEEN_FULL_READS).map(|_| speed()).collect();
        assert_eq!(later.last(), Some(&10.0));
    }
}
