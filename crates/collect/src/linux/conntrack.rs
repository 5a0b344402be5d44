//! `conntrack`: entries and events of the connection tracking table. Sources:
//! `/proc/sys/net/netfilter/nf_conntrack_{count,max}` and `/proc/net/stat/nf_conntrack`
//! (net/netfilter/nf_conntrack_standalone.c), a table of hexadecimal numbers with a line per CPU.
//!
//! The table's columns differ between kernels, so they are found by their titles. The events are
//! gauges although they only grow: node_exporter says so, and type and name go together.

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "stat/nf_conntrack";
const ENTRIES: &str = "node_nf_conntrack_entries";
const LIMIT: &str = "node_nf_conntrack_entries_limit";

/// A column's title and its metric.
const EVENTS: [(&str, Metric); 8] = [
    (
        "found",
        Metric::gauge(
            "node_nf_conntrack_stat_found",
            "",
            "Number of searched entries which were successful.",
        ),
    ),
    (
        "invalid",
        Metric::gauge(
            "node_nf_conntrack_stat_invalid",
            "",
            "Number of packets seen which can not be tracked.",
        ),
    ),
    (
        "ignore",
        Metric::gauge(
            "node_nf_conntrack_stat_ignore",
            "",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    (
        "insert",
        Metric::gauge(
            "node_nf_conntrack_stat_insert",
            "",
            "Number of entries inserted into the list.",
        ),
    ),
    (
        "insert_failed",
        Metric::gauge(
            "node_nf_conntrack_stat_insert_failed",
            "",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    (
        "drop",
        Metric::gauge(
            "node_nf_conntrack_stat_drop",
            "",
            "Number of packets dropped due to conntrack failure.",
        ),
    ),
    (
        "early_drop",
        Metric::gauge(
            "node_nf_conntrack_stat_early_drop",
            "",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        "search_restart",
        Metric::gauge(
            "node_nf_conntrack_stat_search_restart",
            "",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

const METRICS: [Metric; EVENTS.len() + 2] = {
    let entries = Metric::gauge(
        ENTRIES,
        "",
        "Number of currently allocated flow entries for connection tracking.",
    );
    let mut metrics = [entries; EVENTS.len() + 2];
    metrics[1] = Metric::gauge(LIMIT, "", "Maximum size of connection tracking table.");
    let mut at = 0;
    while at < EVENTS.len() {
        metrics[at + 2] = EVENTS[at].1;
        at += 1;
    }
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "conntrack",
    about: "entries and events of the connection tracking table",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Network,
    reads: &["/proc/sys/net/netfilter", "/proc/net/stat/nf_conntrack"],
    metrics: &METRICS,
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let value = |name| HotFile::new(Tree::Proc, format!("sys/net/netfilter/{name}"));
    Ok(Box::new(Conntrack {
        count: value("nf_conntrack_count"),
        limit: value("nf_conntrack_max"),
        events: HotFile::new(Tree::Net, FILE),
    }))
}

struct Conntrack {
    count: HotFile,
    limit: HotFile,
    events: HotFile,
}

impl Collector for Conntrack {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        for (metric, file) in [(ENTRIES, &mut self.count), (LIMIT, &mut self.limit)] {
            let text = file.read_str(host)?.trim_ascii();
            match text.parse::<u64>() {
                Ok(number) => out.push(metric, &[], number as f64),
                Err(_) => out.problem(malformed(metric, text)),
            }
        }
        // A kernel can be built without the table (CONFIG_NF_CONNTRACK_PROCFS).
        match self.events.read_str(host) {
            Ok(text) => parse(text, out),
            Err(error) => out.problem_of(&error),
        }
        Ok(())
    }
}

/// A line of titles, then one line per CPU.
pub(crate) fn parse(text: &str, out: &mut Scrape) {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let columns = EVENTS.each_ref().map(|(title, _)| titles.iter().position(|at| at == title));
    let mut sums = [0_u64; EVENTS.len()];
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        for (sum, column) in sums.iter_mut().zip(columns) {
            let Some(column) = column else { continue };
            let number = fields.get(column).and_then(|field| u64::from_str_radix(field, 16).ok());
            let Some(number) = number else {
                out.problem(malformed(FILE, line));
                return;
            };
            *sum = sum.wrapping_add(number);
        }
    }
    for (((_, metric), column), sum) in EVENTS.iter().zip(columns).zip(sums) {
        if column.is_some() {
            out.push(metric.name, &[], sum as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_summed_over_the_cpus_by_the_titles_of_their_columns() {
        let mut out = Scrape::new();
        parse(
            "entries  clashres found new invalid drop\n\
             00000021  00000003 0000000a 00000000 00000002 00000001\n\
             00000021  00000000 00000010 00000000 00000001 00000000\n",
            &mut out,
        );
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                ("node_nf_conntrack_stat_found", 26.0),
                ("node_nf_conntrack_stat_invalid", 3.0),
                ("node_nf_conntrack_stat_drop", 1.0),
            ]
        );
    }

    #[test]
    fn a_line_that_is_short_of_a_column_spoils_the_sums() {
        let mut out = Scrape::new();
        parse("entries found drop\n00000021 00000003\n", &mut out);
        assert!(out.samples().is_empty());
        assert_eq!(out.take_problems().len(), 1);
    }
}
