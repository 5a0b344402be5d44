//! `arp`: entries of the ARP table by device. Source: `/proc/net/arp` (net/ipv4/arp.c), in which
//! an entry whose answer never came stands too, as in node_exporter's count.

use std::collections::BTreeMap;

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "arp";
const ENTRIES: &str = "node_arp_entries";

pub(crate) const ENTRY: Entry = Entry {
    name: "arp",
    about: "entries of the ARP table by device",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Network,
    reads: &["/proc/net/arp"],
    metrics: &[Metric::gauge(ENTRIES, "", "ARP entries by device")],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Arp { file: HotFile::new(Tree::Net, FILE) }))
}

struct Arp {
    file: HotFile,
}

impl Collector for Arp {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out);
        Ok(())
    }
}

/// `192.0.2.1  0x1  0x2  02:fc:00:00:00:05  *  eth0`, below a line of titles.
pub(crate) fn parse(text: &str, out: &mut Scrape) {
    const COLUMNS: usize = 6;
    let mut entries: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines().skip(1) {
        match line.split_ascii_whitespace().nth(COLUMNS - 1) {
            Some(device) => *entries.entry(device).or_default() += 1,
            None => out.problem(malformed(FILE, line)),
        }
    }
    for (device, count) in entries {
        out.push(ENTRIES, &[("device", device)], count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_by_device_and_a_short_line_is_named() {
        let mut out = Scrape::new();
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n\
                    192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                    198.51.100.7     0x1         0x2         02:fc:00:00:00:07     *        bond0\n\
                    cut\n";
        parse(text, &mut out);
        let samples: Vec<_> = out
            .samples()
            .iter()
            .map(|sample| (sample.labels.get("device").unwrap(), sample.value))
            .collect();
        assert_eq!(samples, [("bond0", 1.0), ("eth0", 2.0)]);
        assert_eq!(out.take_problems(), [r#"arp: malformed: "cut""#]);
    }
}
