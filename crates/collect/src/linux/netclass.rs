//! `netclass`: link state, speed, MTU and addresses of each network device. Source:
//! `/sys/class/net` (net/core/net-sysfs.c).
//!
//! What a device does not know is absent: an unplugged port reports a speed of -1, a device that
//! is down refuses to name its carrier.

use farol_model::{Lane, Metric};
use regex::Regex;

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scrape};

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

/// The attributes that are given as they are.
const ATTRIBUTES: [(&str, Metric); 16] = [
    (
        "addr_assign_type",
        Metric::gauge(
            "node_network_address_assign_type",
            "",
            "Network device property: address_assign_type",
        ),
    ),
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
    ("dev_id", Metric::gauge("node_network_device_id", "", "Network device property: device_id")),
    ("dormant", Metric::gauge("node_network_dormant", "", "Network device property: dormant")),
    ("flags", Metric::gauge("node_network_flags", "", "Network device property: flags")),
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

const METRICS: [Metric; ATTRIBUTES.len() + 4] = {
    let mut metrics = [UP; ATTRIBUTES.len() + 4];
    let mut at = 0;
    while at < ATTRIBUTES.len() {
        metrics[at] = ATTRIBUTES[at].1;
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
    metrics: &METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Netclass { ignored: options.netclass_ignored_devices.clone() }))
}

struct Netclass {
    ignored: Regex,
}

impl Collector for Netclass {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        for (device, path) in sysfs::devices(&host.sys.join("class/net"))? {
            if self.ignored.is_match(&device) {
                continue;
            }
            // A device can go between the listing and the look at it.
            if let Ok(folder) = Folder::open(&path) {
                push_device(out, &device, &folder);
            }
        }
        Ok(())
    }
}

fn push_device(out: &mut Scrape, device: &str, folder: &Folder) {
    let text = |attribute| folder.text(attribute).unwrap_or_default();
    let label = [("device", device)];
    let operational_state = text("operstate");
    out.push(UP.name, &label, f64::from(u8::from(operational_state == "up")));
    out.push(
        INFO.name,
        &[
            ("device", device),
            ("address", &text("address")),
            ("broadcast", &text("broadcast")),
            ("duplex", &text("duplex")),
            ("operstate", &operational_state),
            ("adminstate", admin_state(folder.number("flags"))),
            ("ifalias", &text("ifalias")),
        ],
        1.0,
    );
    for (attribute, metric) in &ATTRIBUTES {
        if let Some(value) = folder.number(attribute) {
            out.push(metric.name, &label, value);
        }
    }
    if let Some(speed) = folder.number("speed").and_then(bytes_per_second) {
        out.push(SPEED.name, &label, speed);
    }
    if let Some(packets) = folder.number("statistics/rx_nohandler") {
        out.push(NOHANDLER.name, &label, packets);
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
    use std::path::Path;

    use super::*;

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
                ("node_network_flags", 4099.0),
                ("node_network_mtu_bytes", 1500.0),
            ]
        );
        let info = &out.samples()[1].labels;
        assert_eq!(info.get("adminstate"), Some("up"));
        assert_eq!(info.get("address"), Some("02:fc:00:00:00:01"));
        assert_eq!(info.get("duplex"), None);
    }

    #[expect(clippy::disallowed_methods, reason = "a test lays out its own machine")]
    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
