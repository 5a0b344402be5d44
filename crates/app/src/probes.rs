//! The latency probes: one task per target asks on its schedule and leaves the result on the
//! board, from where `farol_collect::probe` takes it.
//!
//! A ping goes out on a datagram socket (allowed by `net.ipv4.ping_group_range`), else on a raw
//! one (`CAP_NET_RAW`). Where neither is permitted, a configured target is asked by TCP connect
//! and then called `tcp`; the default gateway never is, as no port of it can be presumed open.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use farol_collect::{
    Host,
    probe::{self, Board, Echo, Family, Kind, Writer},
    view::View,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpStream, UdpSocket, lookup_host},
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    clock,
    config::{self, Config},
};

/// A name is looked up again after this time.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(60);

/// Where a ping goes when it has to become a TCP connect and no port is given.
const LIKELY_PORT: u16 = 443;

/// Starts the configuration's probes, in place of those started before. They end when `stop`
/// turns true or its sender is gone. To be called inside the runtime.
pub fn start(config: &Config, board: &Arc<Board>, stop: watch::Receiver<bool>) {
    let writer = Arc::new(board.writer());
    writer.set_reason("no probe configured");
    let probes = config.probes.icmp.iter().chain(&config.probes.tcp);
    for probe in probes.take(Board::MOST_TARGETS) {
        let (kind, place, port) = match &probe.target {
            config::Target::Gateway => (Kind::Icmp, Place::Gateway(config.host.clone()), None),
            config::Target::Host(name) => (Kind::Icmp, Place::Named(name.clone()), None),
            config::Target::Port(name, port) => {
                (Kind::Tcp, Place::Named(name.clone()), Some(*port))
            }
        };
        let (interval, timeout) = (probe.interval, probe.timeout);
        let prober = Prober::new(kind, place, port, interval, timeout, Arc::clone(&writer));
        tokio::spawn(prober.run(stop.clone()));
    }
}

/// What is probed, before it is an address.
#[derive(Clone, Debug)]
enum Place {
    /// The machine's default gateway, whichever it is when the probe runs.
    Gateway(Host),
    Named(String),
}

/// One target's task.
struct Prober {
    kind: Kind,
    place: Place,
    port: Option<u16>,
    interval: Duration,
    timeout: Duration,
    writer: Arc<Writer>,
    lookup: Lookup,
    pinger: Option<Pinger>,
    /// The last label recorded for the gateway.
    gateway: Option<String>,
    token: u64,
    sequence: u16,
}

impl Prober {
    fn new(
        kind: Kind,
        place: Place,
        port: Option<u16>,
        interval: Duration,
        timeout: Duration,
        writer: Arc<Writer>,
    ) -> Prober {
        Prober {
            kind,
            place,
            port,
            interval,
            timeout,
            writer,
            lookup: Lookup::default(),
            pinger: None,
            gateway: None,
            token: random(),
            sequence: 0,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        if let Place::Gateway(host) = &self.place
            && let Err(reason) = network_is_the_hosts(host)
        {
            tracing::info!(reason, "the default gateway is not probed");
            self.writer.set_reason(reason);
            return;
        }
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        let mut ticks = interval(self.interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let work = async {
            loop {
                ticks.tick().await;
                self.probe_once().await;
            }
        };
        tokio::select! {
            () = stopped => {}
            () = work => {}
        }
    }

    async fn probe_once(&mut self) {
        match self.kind {
            Kind::Icmp => self.ping_once().await,
            Kind::Tcp => self.connect_once().await,
        }
    }

    async fn ping_once(&mut self) {
        let Some((label, address)) = self.find_for_ping().await else { return };
        let answer = match address {
            Some(address) => self.ping(address).await.map(|answer| answer.ok_or(NO_ANSWER)),
            None => Ok(Err(NO_ADDRESS)),
        };
        match answer {
            Ok(answer) => self.record(Kind::Icmp, &label, answer),
            Err(NotPermitted) => self.do_without_ping(&label).await,
        }
    }

    fn record(&self, kind: Kind, label: &str, answer: Result<Duration, &'static str>) {
        match answer {
            Ok(took) => self.writer.record(kind, label, Some(took)),
            Err(why) => self.writer.record_lost(kind, label, why),
        }
    }

    /// What to ping: its label, and its address unless its name cannot be looked up. `None`
    /// when there is nothing to ping.
    async fn find_for_ping(&mut self) -> Option<(String, Option<SocketAddr>)> {
        if let Place::Gateway(host) = &self.place {
            let gateway = probe::default_gateway(host);
            let label = gateway.as_ref().map(|gateway| gateway.address.to_string());
            self.gateway_is_now(label.clone());
            return Some((label?, gateway.map(|gateway| address_of(&gateway))));
        }
        let Place::Named(name) = &self.place else { return None };
        let label = name.clone();
        let address = self.lookup.find(&label, 0, self.timeout).await;
        Some((label, address))
    }

    fn gateway_is_now(&mut self, label: Option<String>) {
        if label.is_none() {
            self.writer.set_reason("no default gateway");
        }
        if let Some(former) = self.gateway.take().filter(|former| label.as_ref() != Some(former)) {
            self.writer.forget(Kind::Icmp, &former);
        }
        self.gateway = label;
    }

    async fn ping(&mut self, address: SocketAddr) -> Result<Option<Duration>, NotPermitted> {
        let pinger = match self.pinger.take().filter(|pinger| pinger.address == address) {
            Some(pinger) => pinger,
            None => match Pinger::open(address) {
                Ok(pinger) => pinger,
                Err(error) if is_not_permitted(&error) => return Err(NotPermitted),
                // No route: as good as lost.
                Err(error) => {
                    tracing::debug!(%address, %error, "no socket to ping with");
                    return Ok(None);
                }
            },
        };
        self.sequence = self.sequence.wrapping_add(1);
        let echo =
            Echo { identifier: self.token as u16, sequence: self.sequence, token: self.token };
        match timeout(self.timeout, pinger.exchange(echo)).await {
            Ok(Ok(took)) => {
                self.pinger = Some(pinger);
                Ok(Some(took))
            }
            // Such as "host unreachable", or an interface that went down: a new socket next time.
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "ping failed");
                Ok(None)
            }
            Err(_) => {
                self.pinger = Some(pinger);
                Ok(None)
            }
        }
    }

    /// From now on: TCP for a configured target, nothing for the gateway.
    async fn do_without_ping(&mut self, label: &str) {
        const WHY: &str = "ICMP is not permitted: give the process CAP_NET_RAW, or its group a place in net.ipv4.ping_group_range";
        self.writer.forget(Kind::Icmp, label);
        if matches!(self.place, Place::Gateway(_)) {
            self.writer.set_reason(WHY);
            return;
        }
        tracing::warn!(target_host = label, "{WHY}; it is probed by TCP connect instead");
        self.kind = Kind::Tcp;
        self.lookup = Lookup::default();
        self.connect_once().await;
    }

    async fn connect_once(&mut self) {
        let Place::Named(name) = &self.place else { return };
        let port = self.port.unwrap_or(LIKELY_PORT);
        let label = with_port(name, port);
        let name = name.clone();
        let answer = match self.lookup.find(&name, port, self.timeout).await {
            Some(address) => connect(address, self.timeout).await,
            None => Err(NO_ADDRESS),
        };
        self.record(Kind::Tcp, &label, answer);
    }
}

/// In another network namespace the default gateway is a bridge of the container engine, and its
/// latency says nothing of the machine; of a recorded machine there is no network at all.
fn network_is_the_hosts(host: &Host) -> Result<(), String> {
    let view = View::of(host);
    if view.is_recording() {
        return Err("a recorded machine has no network".into());
    }
    view.of_own_network().map_err(|missing| missing.to_string())
}

const NO_ADDRESS: &str = "its name cannot be looked up";
const NO_ANSWER: &str = "no answer in time";

/// How long a connection takes to stand, or why it does not.
async fn connect(address: SocketAddr, patience: Duration) -> Result<Duration, &'static str> {
    let began = clock::lap();
    match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            let took = began.elapsed();
            drop(stream);
            Ok(took)
        }
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
            _ => "no connection",
        }),
        Err(_) => Err(NO_ANSWER),
    }
}

/// `db:5432`, `[2001:db8::1]:443`
fn with_port(name: &str, port: u16) -> String {
    match name.contains(':') {
        true => format!("[{name}]:{port}"),
        false => format!("{name}:{port}"),
    }
}

fn address_of(gateway: &probe::Gateway) -> SocketAddr {
    match gateway.address {
        IpAddr::V4(address) => SocketAddr::new(address.into(), 0),
        // Only a link-local address needs the device's number, others may not have it.
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, 0, 0, gateway.scope).into()
        }
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, 0).into(),
    }
}

/// A name's address, looked up again now and then; while that fails, the last one found.
#[derive(Default)]
struct Lookup {
    found: Option<(SocketAddr, Instant)>,
    /// A lookup that has not come back: the resolver can hang far longer than we wait, and no
    /// second one is started meanwhile.
    running: Option<JoinHandle<io::Result<Option<SocketAddr>>>>,
}

impl Lookup {
    async fn find(&mut self, name: &str, port: u16, patience: Duration) -> Option<SocketAddr> {
        if let Some((address, at)) = self.found
            && at.elapsed() < LOOK_UP_AGAIN
        {
            return Some(address);
        }
        let running = self.running.get_or_insert_with(|| {
            let name = name.to_owned();
            tokio::spawn(async move { Ok(lookup_host((name, port)).await?.next()) })
        });
        if let Ok(ended) = timeout(patience, running).await {
            self.running = None;
            match ended {
                Ok(Ok(Some(address))) => self.found = Some((address, Instant::now())),
                Ok(Ok(None)) => tracing::debug!(name, "the name has no address"),
                Ok(Err(error)) => tracing::debug!(name, %error, "the name cannot be looked up"),
                Err(error) => tracing::debug!(name, %error, "the lookup ended early"),
            }
        }
        self.found.map(|(address, _)| address)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// Neither a datagram nor a raw socket may be opened.
#[derive(Debug)]
struct NotPermitted;

fn is_not_permitted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// A socket connected to one address: the kernel drops what comes from others.
struct Pinger {
    socket: UdpSocket,
    address: SocketAddr,
    is_raw: bool,
}

impl fmt::Debug for Pinger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinger({}, raw: {})", self.address, self.is_raw)
    }
}

impl Pinger {
    fn open(address: SocketAddr) -> io::Result<Pinger> {
        match Pinger::open_as(address, Type::DGRAM) {
            // Whatever speaks against it (the group range, or a kernel without it), raw may do.
            Err(_) => Pinger::open_as(address, Type::RAW),
            opened => opened,
        }
    }

    fn open_as(address: SocketAddr, kind: Type) -> io::Result<Pinger> {
        let protocol = match address {
            SocketAddr::V4(_) => Protocol::ICMPV4,
            SocketAddr::V6(_) => Protocol::ICMPV6,
        };
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        socket.connect(&address.into())?;
        // tokio's socket only sends, receives and waits: that is the same for each kind.
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Pinger { socket, address, is_raw: kind == Type::RAW })
    }

    /// Sends the echo and waits for its own reply; late ones to earlier echoes are passed over.
    async fn exchange(&self, echo: Echo) -> io::Result<Duration> {
        let family = Family::of(self.address.ip());
        let with_ip_header = self.is_raw && family == Family::V4;
        let began = clock::lap();
        self.socket.send(&echo.request(family)).await?;
        let mut packet = [0; 512];
        loop {
            let length = self.socket.recv(&mut packet).await?;
            let took = began.elapsed();
            let reply = Echo::from_reply(family, with_ip_header, &packet[..length]);
            if reply.is_some_and(|reply| self.is_answer(echo, reply)) {
                return Ok(took);
            }
        }
    }

    fn is_answer(&self, echo: Echo, reply: Echo) -> bool {
        let same_identifier = reply.identifier == echo.identifier || !self.is_raw;
        same_identifier && reply.sequence == echo.sequence && reply.token == echo.token
    }
}

/// Something no other prober has: the seed that the standard library draws for its hash maps.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_ping_to_this_machine_is_answered_or_honestly_a_tcp_connect() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let board = Arc::new(Board::default());
        let mut prober = prober(&board, Kind::Icmp, "127.0.0.1", Some(port));
        prober.probe_once().await;
        prober.probe_once().await;
        let [(kind, target, answer)] = &board.last_results()[..] else { panic!("one target") };
        match Pinger::open((Ipv4Addr::LOCALHOST, 0).into()) {
            Ok(_) => assert_eq!((*kind, target.as_str()), (Kind::Icmp, "127.0.0.1")),
            Err(_) => assert_eq!((*kind, target), (Kind::Tcp, &format!("127.0.0.1:{port}"))),
        }
        assert!(answer.unwrap() < PATIENCE);
    }

    #[tokio::test]
    async fn an_open_port_is_answered_and_a_closed_one_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let board = Arc::new(Board::default());
        let mut prober = prober(&board, Kind::Tcp, "127.0.0.1", Some(port));
        prober.probe_once().await;
        assert!(board.last_results()[0].2.is_some());
        drop(listener);
        prober.probe_once().await;
        assert_eq!(board.last_results(), [(Kind::Tcp, format!("127.0.0.1:{port}"), None)]);
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_a_lost_probe() {
        let board = Arc::new(Board::default());
        let mut prober = prober(&board, Kind::Icmp, "no..name", None);
        prober.probe_once().await;
        assert_eq!(board.last_results(), [(Kind::Icmp, "no..name".to_owned(), None)]);
    }

    #[tokio::test]
    async fn a_late_reply_and_a_strangers_are_passed_over() {
        let (pinger, peer) = pinger_to_a_plain_socket().await;
        let echo = Echo { identifier: 1, sequence: 7, token: 42 };
        let replies = async {
            let mut packet = [0; 64];
            let (length, from) = peer.recv_from(&mut packet).await.unwrap();
            assert_eq!(packet[..length], echo.request(Family::V4));
            for reply in [Echo { sequence: 6, ..echo }, Echo { token: 43, ..echo }, echo] {
                peer.send_to(&as_reply(reply), from).await.unwrap();
            }
        };
        let (took, ()) = tokio::join!(timeout(PATIENCE, pinger.exchange(echo)), replies);
        assert!(took.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_silent_target_is_lost_after_its_timeout_and_its_socket_is_kept() {
        let (pinger, _peer) = pinger_to_a_plain_socket().await;
        let address = pinger.address;
        let board = Arc::new(Board::default());
        let mut prober = prober(&board, Kind::Icmp, "127.0.0.1", None);
        prober.pinger = Some(pinger);
        prober.timeout = Duration::from_millis(20);
        assert_eq!(prober.ping(address).await.unwrap(), None);
        assert!(prober.pinger.is_some());
    }

    #[tokio::test]
    async fn a_task_ends_when_told_to() {
        let (stop, stopping) = watch::channel(false);
        let prober = prober(&Arc::default(), Kind::Tcp, "127.0.0.1", Some(1));
        let task = tokio::spawn(prober.run(stopping));
        stop.send(true).unwrap();
        timeout(PATIENCE, task).await.unwrap().unwrap();
    }

    #[test]
    fn an_address_with_colons_gets_brackets_before_its_port() {
        assert_eq!(with_port("db", 5432), "db:5432");
        assert_eq!(with_port("2001:db8::1", 443), "[2001:db8::1]:443");
    }

    fn prober(board: &Arc<Board>, kind: Kind, host: &str, port: Option<u16>) -> Prober {
        let place = Place::Named(host.to_owned());
        let interval = Duration::from_secs(10);
        Prober::new(kind, place, port, interval, PATIENCE, Arc::new(board.writer()))
    }

    /// A pinger whose other end is in the test's hands.
    async fn pinger_to_a_plain_socket() -> (Pinger, UdpSocket) {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = peer.local_addr().unwrap();
        socket.connect(address).await.unwrap();
        (Pinger { socket, address, is_raw: false }, peer)
    }

    /// A request turned into its reply, as a host does: the type changes, the sum by as much.
    fn as_reply(echo: Echo) -> [u8; Echo::LENGTH] {
        let mut packet = echo.request(Family::V4);
        packet[0] = 0;
        let sum = u16::from_be_bytes([packet[2], packet[3]]);
        let (sum, carry) = sum.overflowing_add(0x0800);
        packet[2..4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        packet
    }
}
