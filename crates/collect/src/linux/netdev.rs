//! `netdev`: bytes, packets and errors of each network device. Source: `/proc/net/dev`
//! (net/core/net-procfs.c).
//!
//! It is the table of the network namespace this process is in. node_exporter asks netlink by
//! default, which gives the same sums and one column more: `receive_nohandler`. That one is in
//! sysfs too, and comes from `netclass`.

use std::collections::HashMap;

use farol_model::{Lane, Metric};
use regex::Regex;

use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

/// The columns in the kernel's order.
const METRICS: &[Metric] = &[
    counter("node_network_receive_bytes_total", "bytes", "Network device statistic receive_bytes."),
    counter("node_network_receive_packets_total", "", "Network device statistic receive_packets."),
    counter("node_network_receive_errs_total", "", "Network device statistic receive_errs."),
    counter("node_network_receive_drop_total", "", "Network device statistic receive_drop."),
    counter("node_network_receive_fifo_total", "", "Network device statistic receive_fifo."),
    counter("node_network_receive_frame_total", "", "Network device statistic receive_frame."),
    counter(
        "node_network_receive_compressed_total",
        "",
        "Network device statistic receive_compressed.",
    ),
    counter(
        "node_network_receive_multicast_total",
        "",
        "Network device statistic receive_multicast.",
    ),
    counter(
        "node_network_transmit_bytes_total",
        "bytes",
        "Network device statistic transmit_bytes.",
    ),
    counter(
        "node_network_transmit_packets_total",
        "",
        "Network device statistic transmit_packets.",
    ),
    counter("node_network_transmit_errs_total", "", "Network device statistic transmit_errs."),
    counter("node_network_transmit_drop_total", "", "Network device statistic transmit_drop."),
    counter("node_network_transmit_fifo_total", "", "Network device statistic transmit_fifo."),
    counter("node_network_transmit_colls_total", "", "Network device statistic transmit_colls."),
    counter(
        "node_network_transmit_carrier_total",
        "",
        "Network device statistic transmit_carrier.",
    ),
    counter(
        "node_network_transmit_compressed_total",
        "",
        "Network device statistic transmit_compressed.",
    ),
];

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric::counter(name, unit, help)
}

pub(super) const COLUMNS: usize = 16;
const _: () = assert!(METRICS.len() == COLUMNS);

pub(crate) const ENTRY: Entry = Entry {
    name: "netdev",
    about: "bytes, packets and errors of each network device",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Network,
    reads: &["/proc/net/dev"],
    metrics: METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Netdev {
        file: HotFile::new(Tree::Net, "dev"),
        exclude: options.netdev_device_exclude.clone(),
        excluded: HashMap::new(),
    }))
}

struct Netdev {
    file: HotFile,
    exclude: Regex,
    /// What the pattern said of each name seen.
    excluded: HashMap<String, bool>,
}

/// Beyond this many names the memory is let go: containers coin new ones all day.
const MOST_NAMES: usize = 1024;

impl Collector for Netdev {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        if self.excluded.len() > MOST_NAMES {
            self.excluded.clear();
        }
        // The first two lines are the table's head.
        for line in self.file.read_str(host)?.lines().skip(2) {
            let (device, values) = parse_line(line)?;
            let excluded = match self.excluded.get(device) {
                Some(excluded) => *excluded,
                None => {
                    let excluded = self.exclude.is_match(device);
                    self.excluded.insert(device.to_owned(), excluded);
                    excluded
                }
            };
            if excluded {
                continue;
            }
            for (metric, value) in METRICS.iter().zip(values) {
                out.push(metric.name, &[("device", device)], value as f64);
            }
        }
        Ok(())
    }
}

/// A device and its 16 numbers: 8 of receiving, 8 of sending.
pub(super) fn parse_line(line: &str) -> Result<(&str, [u64; COLUMNS]), CollectError> {
    let malformed = || CollectError::Failed(format!("net/dev: not a device's line: {line:?}"));
    // A name may hold a colon (an alias), the numbers never do.
    let (device, numbers) = line.rsplit_once(':').ok_or_else(malformed)?;
    let mut fields = numbers.split_ascii_whitespace();
    let mut values = [0; COLUMNS];
    for value in &mut values {
        *value = fields.next().and_then(|field| field.parse().ok()).ok_or_else(malformed)?;
    }
    Ok((device.trim(), values))
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        parse_line(line).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_device_line_is_read_even_when_the_name_touches_the_numbers_or_holds_a_colon() {
        let (device, values) =
            parse_line("  eth0:123 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!((device, values[0], values[15]), ("eth0", 123, 16));
        let (device, _) = parse_line("eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!(device, "eth0:1");
    }

    #[test]
    fn a_short_line_is_a_failure_that_shows_the_line() {
        assert!(parse_line("eth0: 1 2 3").unwrap_err().to_string().contains("eth0: 1 2 3"));
        assert!(parse_line("eth0").is_err());
    }

    #[test]
    fn excluded_devices_yield_nothing() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        std::fs::create_dir_all(host.proc.join("net")).unwrap();
        write(
            &host.proc.join("net/dev"),
            "Inter-|\n face |\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        );
        let exclude = Regex::new("^lo$").unwrap();
        let options = Options { netdev_device_exclude: exclude, ..Options::default() };
        let mut out = Scrape::new();
        build(&options).unwrap().collect(&host, &mut out).unwrap();
        assert_eq!(out.samples().len(), COLUMNS);
        assert!(out.samples().iter().all(|sample| sample.labels.get("device") == Some("eth0")));
    }
}
