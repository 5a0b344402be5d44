//! Latency probes: the echo packet, the default gateway, the board on which the probe tasks leave
//! their results, and the collector that turns the board into samples. The tasks themselves wait
//! for a network and live in `app`.
//!
//! Sources: RFC 792 and RFC 4443 (the echo), `/proc/net/route` (net/ipv4/fib_trie.c),
//! `/proc/net/ipv6_route` (net/ipv6/route.c).

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use farol_model::{Lane, Metric};

use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

const DURATION: &str = "farol_probe_duration_seconds";
const SUCCESS: &str = "farol_probe_success";
const LOSS: &str = "farol_probe_loss_ratio";

pub const METRICS: &[Metric] = &[
    Metric::gauge(DURATION, "seconds", "Round-trip time of the last probe, if it was answered."),
    Metric::gauge(SUCCESS, "", "Whether the last probe was answered (1) or lost (0)."),
    Metric::gauge(LOSS, "ratio", "Share of the last 20 probes that were lost."),
];

pub const ENTRY: Entry = Entry {
    name: "probe",
    about: "latency and loss of the configured ICMP and TCP targets",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Own,
    reads: &[],
    metrics: METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Probe { board: Arc::clone(&options.probes) }))
}

struct Probe {
    board: Arc<Board>,
}

impl Collector for Probe {
    fn collect(&mut self, _host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let results = self.board.lock();
        if results.targets.is_empty() {
            let reason = results.reason.as_deref().unwrap_or("no probe configured");
            return Err(CollectError::Absent(reason.to_owned()));
        }
        for ((kind, target), history) in &results.targets {
            push(out, *kind, target, history);
        }
        Ok(())
    }
}

/// A target that never answered yields no series but a reason: it may be misspelt, or drop probes
/// on purpose, and "100 % loss" would then be an alarm about nothing.
fn push(out: &mut Scrape, kind: Kind, target: &str, history: &History) {
    if !history.ever_answered {
        let why = history.why.map(|why| format!(" ({why})")).unwrap_or_default();
        out.problem(format!("{kind} {target}: never answered{why}"));
        return;
    }
    let labels = [("probe", kind.name()), ("target", target)];
    if let Some(duration) = history.last {
        // To the microsecond; finer digits are noise.
        out.push(DURATION, &labels, (duration.as_secs_f64() * 1e6).round() / 1e6);
    }
    out.push(SUCCESS, &labels, f64::from(u8::from(history.last.is_some())));
    out.push(LOSS, &labels, history.loss());
}

/// How a target is probed; a ping that had to become a TCP connect is called `Tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Icmp,
    Tcp,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Icmp => "icmp",
            Kind::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the probe tasks leave their results and the collector finds them.
#[derive(Debug, Default)]
pub struct Board(Mutex<Results>);

#[derive(Debug, Default)]
struct Results {
    targets: BTreeMap<(Kind, String), History>,
    /// Why there are no targets.
    reason: Option<String>,
    /// Of the writers that may write; the older ones belong to a former configuration.
    generation: u64,
}

#[derive(Debug, Default)]
struct History {
    ever_answered: bool,
    /// Why the last probe was lost, where that is known.
    why: Option<&'static str>,
    /// `None` when the last probe was lost.
    last: Option<Duration>,
    /// Whether each of the last probes was answered, the newest last.
    window: VecDeque<bool>,
}

impl Board {
    /// How many of the last probes the loss is counted over.
    pub const WINDOW: usize = 20;
    /// More targets than this are not kept.
    pub const MOST_TARGETS: usize = 256;

    /// Begins anew, without targets. What writers that were given out before still write is
    /// dropped: a probe under way at a reload must not bring its target back.
    pub fn writer(self: &Arc<Self>) -> Writer {
        let mut results = self.lock();
        results.targets.clear();
        results.generation += 1;
        Writer { board: Arc::clone(self), generation: results.generation }
    }

    /// What is said while there are no targets.
    pub fn set_reason(&self, reason: impl Into<String>) {
        self.lock().reason = Some(reason.into());
    }

    /// The last result of each target; `None` is a lost probe.
    pub fn last_results(&self) -> Vec<(Kind, String, Option<Duration>)> {
        let results = self.lock();
        let targets = results.targets.iter();
        targets.map(|((kind, target), history)| (*kind, target.clone(), history.last)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Results> {
        // A panic under the lock leaves whole values: plain inserts only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The probe tasks' access to the board.
#[derive(Debug)]
pub struct Writer {
    board: Arc<Board>,
    generation: u64,
}

impl Writer {
    /// One probe's result: its round-trip time, or `None` when no answer came in time.
    pub fn record(&self, kind: Kind, target: &str, answer: Option<Duration>) {
        self.change(kind, target, |history| {
            history.why = None;
            history.record(answer);
        });
    }

    /// A probe without an answer, and why.
    pub fn record_lost(&self, kind: Kind, target: &str, why: &'static str) {
        self.change(kind, target, |history| {
            history.why = Some(why);
            history.record(None);
        });
    }

    fn change(&self, kind: Kind, target: &str, change: impl FnOnce(&mut History)) {
        self.write(|results| {
            let key = (kind, target.to_owned());
            let is_full = results.targets.len() >= Board::MOST_TARGETS;
            if !is_full || results.targets.contains_key(&key) {
                change(results.targets.entry(key).or_default());
            }
        });
    }

    /// The target is not probed any more (in this way).
    pub fn forget(&self, kind: Kind, target: &str) {
        self.write(|results| {
            results.targets.remove(&(kind, target.to_owned()));
        });
    }

    pub fn set_reason(&self, reason: impl Into<String>) {
        self.write(|results| results.reason = Some(reason.into()));
    }

    fn write(&self, change: impl FnOnce(&mut Results)) {
        let mut results = self.board.lock();
        if results.generation == self.generation {
            change(&mut results);
        }
    }
}

impl History {
    fn record(&mut self, answer: Option<Duration>) {
        self.ever_answered |= answer.is_some();
        self.last = answer;
        if self.window.len() == Board::WINDOW {
            self.window.pop_front();
        }
        self.window.push_back(answer.is_some());
    }

    fn loss(&self) -> f64 {
        let lost = self.window.iter().filter(|answered| !**answered).count();
        lost as f64 / self.window.len().max(1) as f64
    }
}

/// An ICMP echo: what is asked, and what comes back unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// A datagram socket puts its own number here: then only sequence and token tell.
    pub identifier: u16,
    pub sequence: u16,
    /// Drawn by the prober, so that nobody else's reply is taken for ours.
    pub token: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    const fn request(self) -> u8 {
        match self {
            Family::V4 => 8,
            Family::V6 => 128,
        }
    }

    const fn reply(self) -> u8 {
        match self {
            Family::V4 => 0,
            Family::V6 => 129,
        }
    }
}

impl Echo {
    const HEADER: usize = 8;
    pub const LENGTH: usize = Echo::HEADER + 8;

    pub fn request(&self, family: Family) -> [u8; Echo::LENGTH] {
        self.encode(family, family.request())
    }

    fn encode(&self, family: Family, kind: u8) -> [u8; Echo::LENGTH] {
        let mut packet = [0; Echo::LENGTH];
        packet[0] = kind;
        packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        packet[Echo::HEADER..].copy_from_slice(&self.token.to_be_bytes());
        // For ICMPv6 the kernel fills it in: the sum covers addresses that only it knows.
        if family == Family::V4 {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The echo in a reply; `None` for anything else. Raw IPv4 sockets hand out the packet with
    /// its IP header, datagram sockets and IPv6 sockets without.
    pub fn from_reply(family: Family, with_ip_header: bool, packet: &[u8]) -> Option<Echo> {
        let message = match with_ip_header {
            true => after_ip_header(packet)?,
            false => packet,
        };
        let (header, payload) = message.split_first_chunk::<{ Echo::HEADER }>()?;
        let [kind, code, _, _, id_high, id_low, sequence_high, sequence_low] = *header;
        if kind != family.reply() || code != 0 {
            return None;
        }
        if family == Family::V4 && checksum(message) != 0 {
            return None;
        }
        Some(Echo {
            identifier: u16::from_be_bytes([id_high, id_low]),
            sequence: u16::from_be_bytes([sequence_high, sequence_low]),
            token: u64::from_be_bytes(*payload.first_chunk()?),
        })
    }
}

fn after_ip_header(packet: &[u8]) -> Option<&[u8]> {
    const ICMP: u8 = 1;
    let first = packet.first()?;
    let words = usize::from(first & 0x0f);
    let is_icmp_in_ipv4 = first >> 4 == 4 && words >= 5 && *packet.get(9)? == ICMP;
    is_icmp_in_ipv4.then(|| packet.get(words * 4..)).flatten()
}

/// The Internet checksum (RFC 1071): of a message that holds its own checksum it is 0.
fn checksum(message: &[u8]) -> u16 {
    let pairs = message
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
    let mut sum: u32 = pairs.map(u32::from).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The router that everything unknown goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub address: IpAddr,
    pub device: String,
    /// The device's number, which a link-local IPv6 address needs to mean anything.
    pub scope: u32,
}

/// The machine's default gateway: IPv4's, else IPv6's. With several,
/// the one of the lowest metric.
pub fn default_gateway(host: &Host) -> Option<Gateway> {
    let table = |name: &str| read_small(&host.net.join(name)).ok();
    let v4 = || gateway_v4(&table("route")?);
    let v6 = || gateway_v6(&table("ipv6_route")?);
    let (address, device) = v4().or_else(v6)?;
    let index = read_small(&host.sys.join("class/net").join(&device).join("ifindex"));
    let scope = index.ok().and_then(|index| index.parse().ok()).unwrap_or_default();
    Some(Gateway { address, device, scope })
}

const ROUTE_UP: u32 = 0x1;
const ROUTE_HAS_GATEWAY: u32 = 0x2;
const ROUTE_REJECTS: u32 = 0x200;

fn leads_to_gateway(flags: u32) -> bool {
    flags & (ROUTE_UP | ROUTE_HAS_GATEWAY | ROUTE_REJECTS) == ROUTE_UP | ROUTE_HAS_GATEWAY
}

/// Columns: device, destination, gateway, flags, references, use, metric, mask, …
fn gateway_v4(table: &str) -> Option<(IpAddr, String)> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let hexadecimal = |column: usize| u32::from_str_radix(fields.get(column)?, 16).ok();
        let is_default = hexadecimal(1)? == 0 && hexadecimal(7)? == 0;
        if !is_default || !leads_to_gateway(hexadecimal(3)?) {
            return None;
        }
        // Printed as the number that the address's bytes make in this machine's order.
        let address = Ipv4Addr::from(hexadecimal(2)?.to_ne_bytes());
        let metric = fields.get(6)?.parse::<u32>().ok()?;
        Some((metric, (IpAddr::V4(address), (*fields.first()?).to_owned())))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// Columns: destination, its length, source, its length, gateway, metric, references, use,
/// flags, device.
fn gateway_v6(table: &str) -> Option<(IpAddr, String)> {
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = |column: usize| u128::from_str_radix(fields.get(column)?, 16).ok();
        let number = |column: usize| u32::from_str_radix(fields.get(column)?, 16).ok();
        let is_default = address(0)? == 0 && number(1)? == 0;
        if !is_default || !leads_to_gateway(number(8)?) {
            return None;
        }
        let gateway = IpAddr::V6(Ipv6Addr::from(address(4)?));
        Some((number(5)?, (gateway, (*fields.get(9)?).to_owned())))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// For the fuzzer: what comes from the network, and what says where the gateway is.
pub(crate) fn parse_everything(bytes: &[u8], text: &str) {
    for family in [Family::V4, Family::V6] {
        for with_ip_header in [true, false] {
            let _echo = Echo::from_reply(family, with_ip_header, bytes);
        }
    }
    drop((gateway_v4(text), gateway_v6(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: Echo = Echo { identifier: 0x1234, sequence: 7, token: 0x0102_0304_0506_0708 };

    #[test]
    fn an_echo_request_carries_its_checksum() {
        let packet = ECHO.request(Family::V4);
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(checksum(&packet), 0);
        let packet = ECHO.request(Family::V6);
        assert_eq!(packet[..4], [128, 0, 0, 0], "the kernel fills in the sum");
    }

    #[test]
    fn the_checksum_is_that_of_the_rfcs_example() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0x01]), !0x0100, "an odd byte is the high half of a pair");
    }

    #[test]
    fn a_reply_is_read_with_and_without_its_ip_header() {
        let reply = ECHO.encode(Family::V4, Family::V4.reply());
        assert_eq!(Echo::from_reply(Family::V4, false, &reply), Some(ECHO));
        let mut packet = vec![0x46, 0, 0, 40, 0, 0, 0, 0, 64, 1];
        packet.resize(24, 0);
        packet.extend(reply);
        assert_eq!(Echo::from_reply(Family::V4, true, &packet), Some(ECHO));
        let reply = ECHO.encode(Family::V6, Family::V6.reply());
        assert_eq!(Echo::from_reply(Family::V6, false, &reply), Some(ECHO));
    }

    #[test]
    fn what_is_no_reply_is_none() {
        let request = ECHO.request(Family::V4);
        assert_eq!(Echo::from_reply(Family::V4, false, &request), None);
        let mut damaged = ECHO.encode(Family::V4, 0);
        damaged[12] ^= 1;
        assert_eq!(Echo::from_reply(Family::V4, false, &damaged), None);
        for length in 0..Echo::LENGTH {
            assert_eq!(Echo::from_reply(Family::V4, false, &request[..length]), None);
            assert_eq!(Echo::from_reply(Family::V4, true, &request[..length]), None);
        }
    }

    #[test]
    fn the_default_gateway_of_the_lowest_metric_is_found() {
        let table =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let expected = (IpAddr::from([192, 0, 2, 1]), "eth0".to_owned());
        assert_eq!(gateway_v4(table), cfg!(target_endian = "little").then_some(expected));
        assert_eq!(gateway_v4("Iface\n"), None);
        let on_link = "Iface\nppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(gateway_v4(on_link), None, "a route without a gateway");
    }

    #[test]
    fn the_default_gateway_of_ipv6_is_found_and_a_rejecting_route_is_none() {
        let table = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo";
        let expected = (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), "eth0".to_owned());
        assert_eq!(gateway_v6(table), Some(expected));
        assert_eq!(gateway_v6(table.lines().nth(1).unwrap()), None);
    }

    #[test]
    fn without_targets_the_reason_is_told() {
        let board = Arc::new(Board::default());
        let absent = |reason: &str| Err(CollectError::Absent(reason.to_owned()));
        assert_eq!(collect(&board).0, absent("no probe configured"));
        board.set_reason("no default gateway");
        assert_eq!(collect(&board).0, absent("no default gateway"));
        let writer = board.writer();
        writer.record(Kind::Tcp, "db:5432", None);
        assert_eq!(collect(&board).0, Ok(()));
        writer.forget(Kind::Tcp, "db:5432");
        assert_eq!(collect(&board).0, absent("no default gateway"));
    }

    #[test]
    fn a_target_that_never_answered_yields_a_problem_and_no_series() {
        let board = Arc::new(Board::default());
        board.writer().record(Kind::Icmp, "192.0.2.1", None);
        let (_, out, problems) = collect(&board);
        assert!(out.is_empty());
        assert_eq!(problems, ["icmp 192.0.2.1: never answered"]);
    }

    #[test]
    fn the_reason_why_a_target_never_answered_is_told() {
        let board = Arc::new(Board::default());
        board.writer().record_lost(Kind::Tcp, "db:5432", "connection refused");
        let (_, out, problems) = collect(&board);
        assert_eq!(out, []);
        assert_eq!(problems, ["tcp db:5432: never answered (connection refused)"]);
    }

    #[test]
    fn a_lost_probe_has_no_duration_and_loss_is_counted_over_the_last_twenty() {
        let board = Arc::new(Board::default());
        let writer = board.writer();
        let answered = || writer.record(Kind::Icmp, "192.0.2.1", Some(Duration::from_millis(5)));
        let lost = || writer.record(Kind::Icmp, "192.0.2.1", None);
        let series = || collect(&board).1;
        lost();
        answered();
        let expected = [(DURATION.into(), 0.005), (SUCCESS.into(), 1.0), (LOSS.into(), 0.5)];
        assert_eq!(series(), expected);
        (0..19).for_each(|_| answered());
        assert_eq!(series()[2].1, 0.0, "the lost one has left the window");
        lost();
        assert_eq!(series(), [(SUCCESS.into(), 0.0), (LOSS.into(), 0.05)]);
    }

    #[test]
    fn a_former_configurations_probes_do_not_bring_their_targets_back() {
        let board = Arc::new(Board::default());
        let former = board.writer();
        former.record(Kind::Icmp, "192.0.2.1", None);
        let current = board.writer();
        former.record(Kind::Icmp, "192.0.2.1", None);
        current.record(Kind::Icmp, "192.0.2.2", None);
        assert_eq!(board.last_results(), [(Kind::Icmp, "192.0.2.2".to_owned(), None)]);
    }

    #[test]
    fn the_board_is_bounded() {
        let board = Arc::new(Board::default());
        let writer = board.writer();
        for number in 0..Board::MOST_TARGETS + 10 {
            writer.record(Kind::Icmp, &number.to_string(), None);
        }
        assert_eq!(board.last_results().len(), Board::MOST_TARGETS);
    }

    type Series = Vec<(String, f64)>;

    fn collect(board: &Arc<Board>) -> (Result<(), CollectError>, Series, Vec<String>) {
        let mut out = Scrape::new();
        let mut probe = Probe { board: Arc::clone(board) };
        let result = probe.collect(&Host::local(), &mut out);
        let series = out.samples().iter().map(|s| (s.name.as_str().to_owned(), s.value)).collect();
        (result, series, out.take_problems())
    }
}
