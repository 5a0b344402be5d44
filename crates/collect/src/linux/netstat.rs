//! `netstat`: counters of the network protocols. Sources: `/proc/net/netstat` and `/proc/net/snmp`
//! (net/ipv4/proc.c), `/proc/net/snmp6` (net/ipv6/proc.c); of them, the fields that the option
//! `netstat_fields` matches as `<protocol>_<field>`.

use farol_model::{Lane, Metric};
use regex::Regex;

use super::lines::{CoinedNames, is_name_part, malformed};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const PREFIX: &str = "node_netstat_";

/// The rows of fields that are there by default. Help texts join protocol and field without the
/// underscore, as node_exporter's do, which the row with the `*` cannot.
macro_rules! rows {
    ($($protocol:literal: $($field:literal)+;)+) => {
        &[
            $($(Metric::untyped(
                concat!("node_netstat_", $protocol, "_", $field),
                "",
                concat!("Statistic ", $protocol, $field, "."),
            ),)+)+
            Metric::untyped("node_netstat_*", "", "Statistic *."),
        ]
    };
}

pub(crate) const ENTRY: Entry = Entry {
    name: "netstat",
    about: "counters of IP, ICMP, TCP and UDP",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Network,
    reads: &["/proc/net/netstat", "/proc/net/snmp", "/proc/net/snmp6"],
    metrics: rows! {
        "Icmp": "InErrors" "InMsgs" "OutMsgs";
        "Icmp6": "InErrors" "InMsgs" "OutMsgs";
        "Ip": "Forwarding";
        "Ip6": "InOctets" "OutOctets";
        "IpExt": "InOctets" "OutOctets";
        "Tcp": "ActiveOpens" "CurrEstab" "InErrs" "InSegs" "MaxConn" "OutRsts" "OutSegs"
            "PassiveOpens" "RetransSegs";
        "TcpExt": "ListenDrops" "ListenOverflows" "SyncookiesFailed" "SyncookiesRecv"
            "SyncookiesSent" "TCPOFOQueue" "TCPRcvQDrop" "TCPSynRetrans" "TCPTimeouts";
        "Udp": "InDatagrams" "InErrors" "NoPorts" "OutDatagrams" "RcvbufErrors" "SndbufErrors";
        "Udp6": "InDatagrams" "InErrors" "NoPorts" "OutDatagrams" "RcvbufErrors" "SndbufErrors";
        "UdpLite": "InErrors";
        "UdpLite6": "InErrors";
    },
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let table =
        |name| Table { name, file: HotFile::new(Tree::Net, name), headers: Headers::default() };
    Ok(Box::new(Netstat {
        tables: ["netstat", "snmp"].map(table),
        snmp6: HotFile::new(Tree::Net, SNMP6),
        snmp6_names: CoinedNames::default(),
        fields: wanted_fields(options)?,
    }))
}

/// The board "Node Exporter Full" asks for `Tcp_MaxConn`, which node_exporter leaves out. Its -1
/// means that the number of connections has no fixed limit (RFC 4022).
fn wanted_fields(options: &Options) -> Result<Regex, OptionsError> {
    if !options.compatibility.adds_names() {
        return Ok(options.netstat_fields.clone());
    }
    let pattern = format!("(?:{})|^Tcp_MaxConn$", options.netstat_fields);
    Regex::new(&pattern).map_err(|error| OptionsError(format!("netstat: {error}")))
}

const SNMP6: &str = "snmp6";

struct Netstat {
    tables: [Table; 2],
    snmp6: HotFile,
    snmp6_names: CoinedNames,
    fields: Regex,
}

struct Table {
    name: &'static str,
    file: HotFile,
    headers: Headers,
}

impl Collector for Netstat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mut absent = None;
        for table in &mut self.tables {
            match table.file.read_str(host) {
                Ok(text) => parse_table(table.name, text, &self.fields, &mut table.headers, out),
                Err(CollectError::Absent(reason)) => {
                    absent.get_or_insert(reason);
                }
                Err(error) => out.problem_of(&error),
            }
        }
        match self.snmp6.read_str(host) {
            Ok(text) => parse_snmp6(text, &self.fields, &mut self.snmp6_names, out),
            // A machine without IPv6 is whole without it.
            Err(CollectError::Absent(_)) => {}
            Err(error) => out.problem_of(&error),
        }
        match absent {
            Some(reason) if out.samples().is_empty() => Err(CollectError::Absent(reason)),
            Some(reason) => {
                out.problem(reason);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The header lines as they last stood in a file, and which of their columns are wanted.
#[derive(Debug, Default)]
pub(crate) struct Headers(Vec<Header>);

#[derive(Debug, Default)]
struct Header {
    line: String,
    columns: usize,
    /// In order of their columns.
    wanted: Vec<(usize, String)>,
}

impl Headers {
    /// The `index`th header, worked out again only when its line has changed.
    fn at(&mut self, index: usize, line: &str, wanted: &Regex) -> &Header {
        if self.0.len() <= index {
            self.0.resize_with(index + 1, Header::default);
        }
        let header = &mut self.0[index];
        if header.line != line {
            *header = Header::new(line, wanted);
        }
        header
    }
}

impl Header {
    fn new(line: &str, wanted: &Regex) -> Header {
        let (protocol, fields) = line.split_once(':').unwrap_or((line, ""));
        let names = fields.split_ascii_whitespace().enumerate();
        Header {
            line: line.to_owned(),
            columns: fields.split_ascii_whitespace().count(),
            wanted: names
                .filter_map(|(column, field)| Some((column, coin(protocol, field, wanted)?)))
                .collect(),
        }
    }
}

fn coin(protocol: &str, field: &str, wanted: &Regex) -> Option<String> {
    let key = format!("{protocol}_{field}");
    (is_name_part(&key) && wanted.is_match(&key)).then(|| format!("{PREFIX}{key}"))
}

/// Pairs of lines: `Tcp: RtoAlgorithm RtoMin …`, then `Tcp: 1 200 …`.
pub(crate) fn parse_table(
    file: &str,
    text: &str,
    wanted: &Regex,
    headers: &mut Headers,
    out: &mut Scrape,
) {
    let mut lines = text.lines();
    let mut index = 0;
    while let Some(names) = lines.next() {
        let header = headers.at(index, names, wanted);
        let values = lines.next().unwrap_or_default();
        if push_values(header, names, values, out).is_none() {
            let line = if values.is_empty() { names } else { values };
            out.problem(malformed(file, line));
        }
        index += 1;
    }
}

/// `None` when the line does not answer its header, or a wanted value is no number.
fn push_values(header: &Header, names: &str, values: &str, out: &mut Scrape) -> Option<()> {
    let (protocol, fields) = values.split_once(':')?;
    names.strip_prefix(protocol)?.strip_prefix(':')?;
    if fields.split_ascii_whitespace().count() != header.columns {
        return None;
    }
    let mut fields = fields.split_ascii_whitespace();
    let mut next_column = 0;
    for (column, name) in &header.wanted {
        let value = number(fields.nth(column - next_column)?)?;
        next_column = column + 1;
        out.push_coined(name, &[], value);
    }
    Some(())
}

/// `Udp6InErrors   0`: the protocol ends at its 6. Lines without one (`IcmpMsg…`) are left out.
pub(crate) fn parse_snmp6(text: &str, wanted: &Regex, names: &mut CoinedNames, out: &mut Scrape) {
    for (index, line) in text.lines().enumerate() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (fields.next(), fields.next()) else {
            out.problem(malformed(SNMP6, line));
            continue;
        };
        let coin_six = |key: &str| {
            let (protocol, field) = key.split_once('6')?;
            coin(&format!("{protocol}6"), field, wanted)
        };
        let Some(name) = names.name(index, key, coin_six) else { continue };
        match number(value) {
            Some(value) => out.push_coined(name, &[], value),
            None => out.problem(malformed(SNMP6, line)),
        }
    }
}

/// Some are negative (`Tcp_MaxConn` is -1), some need all 64 bits.
fn number(text: &str) -> Option<f64> {
    text.parse::<i128>().ok().map(|number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compatibility;

    fn table(text: &str) -> Scrape {
        let mut out = Scrape::new();
        let wanted = Options::default().netstat_fields;
        parse_table("net/snmp", text, &wanted, &mut Headers::default(), &mut out);
        out
    }

    fn pairs(out: &Scrape) -> Vec<(&str, f64)> {
        out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect()
    }

    #[test]
    fn a_header_names_the_columns_of_the_line_below() {
        let out = table("Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 3556 2\n");
        assert_eq!(
            pairs(&out),
            [("node_netstat_Tcp_ActiveOpens", 3556.0), ("node_netstat_Tcp_CurrEstab", 2.0)]
        );
    }

    #[test]
    fn a_header_that_changes_is_worked_out_again() {
        let wanted = Options::default().netstat_fields;
        let mut headers = Headers::default();
        for (text, value) in
            [("Udp: InErrors X\nUdp: 1 2\n", 1.0), ("Udp: X InErrors\nUdp: 1 2\n", 2.0)]
        {
            let mut out = Scrape::new();
            parse_table("net/snmp", text, &wanted, &mut headers, &mut out);
            assert_eq!(pairs(&out), [("node_netstat_Udp_InErrors", value)]);
        }
    }

    #[test]
    fn a_line_that_does_not_answer_its_header_is_named_and_the_rest_goes_on() {
        let mut out = table("Tcp: CurrEstab InErrs\nTcp: 1\nUdp: InErrors\nUdp: 4\n");
        assert_eq!(pairs(&out), [("node_netstat_Udp_InErrors", 4.0)]);
        assert_eq!(out.take_problems(), [r#"net/snmp: malformed: "Tcp: 1""#]);
    }

    #[test]
    fn the_sixth_protocol_ends_at_its_six() {
        let mut out = Scrape::new();
        let wanted = Options::default().netstat_fields;
        let text = "Ip6InOctets   460\nIcmp6InMsgs 0\nUdpLite6InErrors 0\nIp6InNoRoutes x\n";
        parse_snmp6(text, &wanted, &mut CoinedNames::default(), &mut out);
        assert_eq!(
            pairs(&out),
            [
                ("node_netstat_Ip6_InOctets", 460.0),
                ("node_netstat_Icmp6_InMsgs", 0.0),
                ("node_netstat_UdpLite6_InErrors", 0.0),
            ]
        );
    }

    #[test]
    fn each_default_row_is_let_through_by_the_default_filter() {
        let wanted = wanted_fields(&Options::default()).unwrap();
        for metric in ENTRY.metrics.iter().filter(|metric| !metric.name.contains('*')) {
            let key = metric.name.strip_prefix(PREFIX).unwrap();
            assert!(wanted.is_match(key), "{key}");
        }
    }

    #[test]
    fn exactly_node_exporters_fields_lack_what_only_boards_ask_for() {
        let exact = Options { compatibility: Compatibility::Exact, ..Options::default() };
        assert!(!wanted_fields(&exact).unwrap().is_match("Tcp_MaxConn"));
        assert!(!wanted_fields(&Options::default()).unwrap().is_match("Tcp_MaxConnections"));
    }
}
