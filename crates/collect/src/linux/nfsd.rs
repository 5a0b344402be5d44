//! `nfsd`: what NFS clients ask of this machine. Source: `/proc/net/rpc/nfsd` (fs/nfsd/stats.c,
//! net/sunrpc/stats.c): a line per table of counters, each a word and numbers.
//!
//! Lines that a kernel no longer prints (`ra`, the read-ahead cache, since Linux 5.4) are absent.

use farol_model::{Lane, Metric};

use super::{
    lines::each_line,
    nfs::{VERSION_2, VERSION_3, first, numbers, push_requests},
};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "rpc/nfsd";
const REPLY_HITS: &str = "node_nfsd_reply_cache_hits_total";
const REPLY_MISSES: &str = "node_nfsd_reply_cache_misses_total";
const REPLY_NOCACHE: &str = "node_nfsd_reply_cache_nocache_total";
const STALE: &str = "node_nfsd_file_handles_stale_total";
const READ: &str = "node_nfsd_disk_bytes_read_total";
const WRITTEN: &str = "node_nfsd_disk_bytes_written_total";
const THREADS: &str = "node_nfsd_server_threads";
const READ_AHEAD_SIZE: &str = "node_nfsd_read_ahead_cache_size_blocks";
const READ_AHEAD_MISSES: &str = "node_nfsd_read_ahead_cache_not_found_total";
const PACKETS: &str = "node_nfsd_packets_total";
const CONNECTIONS: &str = "node_nfsd_connections_total";
const ERRORS: &str = "node_nfsd_rpc_errors_total";
const RPCS: &str = "node_nfsd_server_rpcs_total";
const REQUESTS: &str = "node_nfsd_requests_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "nfsd",
    about: "what NFS clients ask of this machine",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Network,
    reads: &["/proc/net/rpc/nfsd"],
    metrics: &[
        Metric::counter(
            REPLY_HITS,
            "",
            "Total number of NFSd Reply Cache hits (client lost server response).",
        ),
        Metric::counter(
            REPLY_MISSES,
            "",
            "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
        ),
        Metric::counter(
            REPLY_NOCACHE,
            "",
            "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
        ),
        Metric::counter(STALE, "", "Total number of NFSd stale file handles"),
        Metric::counter(READ, "bytes", "Total NFSd bytes read."),
        Metric::counter(WRITTEN, "bytes", "Total NFSd bytes written."),
        Metric::gauge(THREADS, "", "Total number of NFSd kernel threads that are running."),
        Metric::gauge(READ_AHEAD_SIZE, "", "How large the read ahead cache is in blocks."),
        Metric::counter(READ_AHEAD_MISSES, "", "Total number of NFSd read ahead cache not found."),
        Metric::counter(
            PACKETS,
            "",
            "Total NFSd network packets (sent+received) by protocol type.",
        ),
        Metric::counter(CONNECTIONS, "", "Total number of NFSd TCP connections."),
        Metric::counter(ERRORS, "", "Total number of NFSd RPC errors by error type."),
        Metric::counter(RPCS, "", "Total number of NFSd RPCs."),
        Metric::counter(REQUESTS, "", "Total number NFSd Requests by method and protocol."),
    ],
    build,
};

/// The operations of version 4, by their numbers (RFC 7530, 16.2), in node_exporter's words; it
/// passes over those that are empty here, and so are the null procedures below.
const OPERATIONS_4: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "",
    "",
    "Verify",
    "Write",
    "RelLockOwner",
];

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Nfsd { file: HotFile::new(Tree::Net, FILE) }))
}

struct Nfsd {
    file: HotFile,
}

impl Collector for Nfsd {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out);
        Ok(())
    }
}

pub(crate) fn parse(text: &str, out: &mut Scrape) {
    each_line(FILE, text, out, parse_line);
}

fn parse_line(line: &str, out: &mut Scrape) -> Option<()> {
    let (word, numbers) = numbers(line)?;
    match word {
        "rc" => {
            let [hits, misses, nocache] = first(&numbers)?;
            out.push(REPLY_HITS, &[], hits);
            out.push(REPLY_MISSES, &[], misses);
            out.push(REPLY_NOCACHE, &[], nocache);
        }
        "fh" => out.push(STALE, &[], *numbers.first()?),
        "io" => {
            let [read, written] = first(&numbers)?;
            out.push(READ, &[], read);
            out.push(WRITTEN, &[], written);
        }
        "th" => out.push(THREADS, &[], *numbers.first()?),
        "ra" => {
            let (size, not_found) = (numbers.first()?, numbers.get(11)?);
            out.push(READ_AHEAD_SIZE, &[], *size);
            out.push(READ_AHEAD_MISSES, &[], *not_found);
        }
        "net" => {
            let [_, udp, tcp, connections] = first(&numbers)?;
            out.push(PACKETS, &[("proto", "udp")], udp);
            out.push(PACKETS, &[("proto", "tcp")], tcp);
            out.push(CONNECTIONS, &[], connections);
        }
        "rpc" => {
            let [calls, _, format, authentication, client] = first(&numbers)?;
            out.push(ERRORS, &[("error", "fmt")], format);
            out.push(ERRORS, &[("error", "auth")], authentication);
            out.push(ERRORS, &[("error", "cInt")], client);
            out.push(RPCS, &[], calls);
        }
        "proc2" => push_requests(REQUESTS, "2", &without_null(VERSION_2), &numbers, out)?,
        "proc3" => push_requests(REQUESTS, "3", &without_null(VERSION_3), &numbers, out)?,
        "proc4ops" => push_requests(REQUESTS, "4", &OPERATIONS_4, &numbers, out)?,
        "wdeleg_getattr" => {
            let labels = [("proto", "4"), ("method", "WdelegGetattr")];
            out.push(REQUESTS, &labels, *numbers.first()?);
        }
        _ => {}
    }
    Some(())
}

fn without_null<const COUNT: usize>(mut methods: [&str; COUNT]) -> [&str; COUNT] {
    if let Some(null) = methods.first_mut() {
        *null = "";
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(out: &Scrape) -> Vec<(&str, &str, f64)> {
        let samples = out.samples().iter();
        samples
            .map(|s| (s.name.as_str(), s.labels.get("method").unwrap_or_default(), s.value))
            .collect()
    }

    #[test]
    fn lines_become_counters_by_their_first_word() {
        let mut out = Scrape::new();
        parse(
            "rc 1 6 18622\nth 8 0 0.000 0.000\nio 157286400 72864\n\
             proc2 18 2 69 0 0 4410 0 0 0 0 0 0 0 0 0 0 0 99 2\nwdeleg_getattr 16\n",
            &mut out,
        );
        let values = values(&out);
        assert_eq!(values[0], (REPLY_HITS, "", 1.0));
        assert_eq!(values[3], (THREADS, "", 8.0));
        assert_eq!(values[5], (WRITTEN, "", 72_864.0));
        assert_eq!(values[6], (REQUESTS, "GetAttr", 69.0));
        assert_eq!(values.last(), Some(&(REQUESTS, "WdelegGetattr", 16.0)));
        assert_eq!(values.len(), 6 + 17 + 1);
    }

    #[test]
    fn operations_without_a_word_are_passed_over() {
        let mut out = Scrape::new();
        parse("proc4ops 6 9 9 9 1098 2 3\n", &mut out);
        let expected =
            [(REQUESTS, "Access", 1098.0), (REQUESTS, "Close", 2.0), (REQUESTS, "Commit", 3.0)];
        assert_eq!(values(&out), expected);
    }

    #[test]
    fn a_short_line_is_named() {
        let mut out = Scrape::new();
        parse("ra 32 0\nrc x\n", &mut out);
        assert_eq!(out.take_problems().len(), 2);
    }
}
