//! `sockstat`: sockets by protocol, and the memory they hold. Sources: `/proc/net/sockstat`
//! (net/ipv4/proc.c) and `/proc/net/sockstat6` (net/ipv6/proc.c), which a machine without IPv6
//! does not have. `mem` counts pages; `mem_bytes` is the same in bytes, where the machine tells how
//! large its pages are.

use std::cell::OnceCell;

use farol_model::{Lane, Metric};

use super::lines::{CoinedNames, is_name_part, malformed};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const USED: &str = "node_sockstat_sockets_used";

/// What a protocol's line can tell, in node_exporter's words.
const STATES: [&str; 6] = ["inuse", "orphan", "tw", "alloc", "mem", "memory"];

pub(crate) const ENTRY: Entry = Entry {
    name: "sockstat",
    about: "sockets by protocol and the memory they hold",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Network,
    reads: &["/proc/net/sockstat", "/proc/net/sockstat6"],
    metrics: &[
        Metric::gauge(USED, "", "Number of IPv4 sockets in use."),
        Metric::gauge("node_sockstat_*_inuse", "", "Number of * sockets in state inuse."),
        Metric::gauge("node_sockstat_*_orphan", "", "Number of * sockets in state orphan."),
        Metric::gauge("node_sockstat_*_tw", "", "Number of * sockets in state tw."),
        Metric::gauge("node_sockstat_*_alloc", "", "Number of * sockets in state alloc."),
        Metric::gauge("node_sockstat_*_mem", "", "Number of * sockets in state mem."),
        Metric::gauge("node_sockstat_*_memory", "", "Number of * sockets in state memory."),
        Metric::gauge(
            "node_sockstat_*_mem_bytes",
            "bytes",
            "Number of * sockets in state mem_bytes.",
        ),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let source = |file| Source {
        name: file,
        file: HotFile::new(Tree::Net, file),
        names: CoinedNames::default(),
    };
    Ok(Box::new(Sockstat {
        sources: ["sockstat", "sockstat6"].map(source),
        page_bytes: OnceCell::new(),
    }))
}

struct Sockstat {
    sources: [Source; 2],
    /// Asked of the machine at the first tick; `None` inside when it does not tell.
    page_bytes: OnceCell<Option<f64>>,
}

struct Source {
    name: &'static str,
    file: HotFile,
    names: CoinedNames,
}

impl Collector for Sockstat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let asked = || host.page_bytes().map(|bytes| bytes as f64);
        let page_bytes = *self.page_bytes.get_or_init(asked);
        let mut absent = None;
        for source in &mut self.sources {
            match source.file.read_str(host) {
                Ok(text) => parse(source.name, text, page_bytes, &mut source.names, out),
                Err(CollectError::Absent(reason)) => {
                    absent.get_or_insert(reason);
                }
                Err(error) => out.problem_of(&error),
            }
        }
        match absent {
            Some(reason) if out.samples().is_empty() => Err(CollectError::Absent(reason)),
            _ => Ok(()),
        }
    }
}

/// `TCP: inuse 27 orphan 0 tw 3 alloc 31 mem 13`
pub(crate) fn parse(
    file: &str,
    text: &str,
    page_bytes: Option<f64>,
    names: &mut CoinedNames,
    out: &mut Scrape,
) {
    for (index, line) in text.lines().enumerate() {
        if parse_line(index, line, page_bytes, names, out).is_none() {
            out.problem(malformed(file, line));
        }
    }
}

fn parse_line(
    index: usize,
    line: &str,
    page_bytes: Option<f64>,
    names: &mut CoinedNames,
    out: &mut Scrape,
) -> Option<()> {
    /// One place for each state of each line, and one for the bytes.
    const PLACES: usize = STATES.len() + 1;
    let (protocol, rest) = line.split_once(':')?;
    let mut name_of = |place: usize, state: &str, out: &mut Scrape, value: f64| {
        let coin = |protocol: &str| {
            is_name_part(protocol).then(|| format!("node_sockstat_{protocol}_{state}"))
        };
        let name = names.name(index * PLACES + place, protocol, coin)?;
        out.push_coined(name, &[], value);
        Some(())
    };
    let mut fields = rest.split_ascii_whitespace();
    while let Some(state) = fields.next() {
        let value = fields.next()?.parse::<u64>().ok()? as f64;
        if protocol == "sockets" {
            if state == "used" {
                out.push(USED, &[], value);
            }
            continue;
        }
        let Some(place) = STATES.iter().position(|known| *known == state) else { continue };
        name_of(place, state, out, value)?;
        if let Some(page_bytes) = page_bytes
            && state == "mem"
        {
            name_of(PLACES - 1, "mem_bytes", out, value * page_bytes)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Scrape {
        let mut out = Scrape::new();
        parse("net/sockstat", text, Some(4096.0), &mut CoinedNames::default(), &mut out);
        out
    }

    #[test]
    fn pages_are_also_given_in_bytes() {
        let out = parsed("sockets: used 1602\nTCP: inuse 35 tw 4 mem 2\nFRAG: inuse 0 memory 9\n");
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                ("node_sockstat_sockets_used", 1602.0),
                ("node_sockstat_TCP_inuse", 35.0),
                ("node_sockstat_TCP_tw", 4.0),
                ("node_sockstat_TCP_mem", 2.0),
                ("node_sockstat_TCP_mem_bytes", 8192.0),
                ("node_sockstat_FRAG_inuse", 0.0),
                ("node_sockstat_FRAG_memory", 9.0),
            ]
        );
    }

    #[test]
    fn a_malformed_line_is_named_and_the_rest_goes_on() {
        let mut out = parsed("TCP: inuse\nUDP: inuse 1\n");
        assert_eq!(out.samples().len(), 1);
        assert_eq!(out.take_problems(), [r#"net/sockstat: malformed: "TCP: inuse""#]);
    }
}
