//! `nfs`: what this machine asks of NFS servers. Source: `/proc/net/rpc/nfs` (net/sunrpc/stats.c,
//! fs/nfs/nfs*xdr.c): a line per table of counters, each a word and numbers.
//!
//! Which numbers a `proc<n>` line has depends on the kernel's age: procedures that it does not know
//! are absent.

use farol_model::{Lane, Metric};

use super::lines::each_line;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "rpc/nfs";
const PACKETS: &str = "node_nfs_packets_total";
const CONNECTIONS: &str = "node_nfs_connections_total";
const RPCS: &str = "node_nfs_rpcs_total";
const RETRANSMISSIONS: &str = "node_nfs_rpc_retransmissions_total";
const REFRESHES: &str = "node_nfs_rpc_authentication_refreshes_total";
const REQUESTS: &str = "node_nfs_requests_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "nfs",
    about: "what this machine asks of NFS servers",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Network,
    reads: &["/proc/net/rpc/nfs"],
    metrics: &[
        Metric::counter(
            PACKETS,
            "",
            "Total NFSd network packets (sent+received) by protocol type.",
        ),
        Metric::counter(CONNECTIONS, "", "Total number of NFSd TCP connections."),
        Metric::counter(RPCS, "", "Total number of RPCs performed."),
        Metric::counter(RETRANSMISSIONS, "", "Number of RPC transmissions performed."),
        Metric::counter(REFRESHES, "", "Number of RPC authentication refreshes performed."),
        Metric::counter(REQUESTS, "", "Number of NFS procedures invoked."),
    ],
    build,
};

/// The procedures of version 2, in the order of their numbers (RFC 1094).
pub(super) const VERSION_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write",
    "Create", "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

/// Of version 3 (RFC 1813).
pub(super) const VERSION_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// Of the client's version 4, in the kernel's own order (`nfs4_procedures`), in node_exporter's
/// words. Later kernels count more, which have no words there yet.
const VERSION_4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "LayoutGet",
    "GetDeviceInfo",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Nfs { file: HotFile::new(Tree::Net, FILE) }))
}

struct Nfs {
    file: HotFile,
}

impl Collector for Nfs {
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
        "net" => {
            let [_, udp, tcp, connections] = first(&numbers)?;
            out.push(PACKETS, &[("protocol", "udp")], udp);
            out.push(PACKETS, &[("protocol", "tcp")], tcp);
            out.push(CONNECTIONS, &[], connections);
        }
        "rpc" => {
            let [calls, retransmissions, refreshes] = first(&numbers)?;
            out.push(RPCS, &[], calls);
            out.push(RETRANSMISSIONS, &[], retransmissions);
            out.push(REFRESHES, &[], refreshes);
        }
        "proc2" => push_requests(REQUESTS, "2", &VERSION_2, &numbers, out)?,
        "proc3" => push_requests(REQUESTS, "3", &VERSION_3, &numbers, out)?,
        "proc4" => push_requests(REQUESTS, "4", &VERSION_4, &numbers, out)?,
        _ => {}
    }
    Some(())
}

/// `net 18628 0 18628 6` → the word and its numbers. Some are fractions (`th`): of those only the
/// numbers before count.
pub(super) fn numbers(line: &str) -> Option<(&str, Vec<f64>)> {
    let mut fields = line.split_ascii_whitespace();
    let word = fields.next()?;
    let parsed = fields.map_while(|field| field.parse::<u64>().ok().map(|number| number as f64));
    Some((word, parsed.collect()))
}

pub(super) fn first<const COUNT: usize>(numbers: &[f64]) -> Option<[f64; COUNT]> {
    numbers.first_chunk().copied()
}

/// The first number of a `proc<n>` line says how many follow. An empty name is one that is not told.
pub(super) fn push_requests(
    metric: &'static str,
    version: &str,
    methods: &[&str],
    numbers: &[f64],
    out: &mut Scrape,
) -> Option<()> {
    let (count, numbers) = numbers.split_first()?;
    if *count != numbers.len() as f64 {
        return None;
    }
    for (method, number) in methods.iter().zip(numbers).filter(|(method, _)| !method.is_empty()) {
        out.push(metric, &[("proto", version), ("method", method)], *number);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_counters_by_their_first_word() {
        let mut out = Scrape::new();
        parse("net 70 1 69 45\nrpc 1218785755 374636 1218815394\nproc4 3 0 10 20\n", &mut out);
        let values: Vec<_> = out
            .samples()
            .iter()
            .map(|s| (s.name.as_str(), s.labels.get("method").unwrap_or_default(), s.value))
            .collect();
        assert_eq!(values[1], (PACKETS, "", 69.0));
        assert_eq!(values[2], (CONNECTIONS, "", 45.0));
        assert_eq!(values[4], (RETRANSMISSIONS, "", 374_636.0));
        assert_eq!(values[7], (REQUESTS, "Read", 10.0));
        assert_eq!(values[8], (REQUESTS, "Write", 20.0));
        assert_eq!(values.len(), 9);
    }

    #[test]
    fn a_line_with_other_than_the_numbers_it_promises_is_named() {
        let mut out = Scrape::new();
        parse("proc3 22 1 2 3\nnet 1 2\nunknown x\n", &mut out);
        assert!(out.samples().is_empty());
        assert_eq!(
            out.take_problems(),
            [r#"rpc/nfs: malformed: "proc3 22 1 2 3""#, r#"rpc/nfs: malformed: "net 1 2""#]
        );
    }
}
