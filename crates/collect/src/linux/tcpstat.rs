//! `tcpstat`: TCP sockets by state, and the bytes in their queues. Sources: sock_diag(7), or
//! `/proc/net/tcp` (net/ipv4/tcp_ipv4.c) and `/proc/net/tcp6` (net/ipv6/tcp_ipv6.c), a line per
//! socket.
//!
//! Off unless asked for: the kernel walks its whole table of connections for it. By netlink that
//! costs a fifteenth of what the files do, but it tells of this process's own network: from another
//! one than the machine's, and where netlink is forbidden, the files are read. All states are given,
//! also those without a socket: a count of 0 is known, and a series that comes and goes is not.

use farol_model::{Lane, Metric};

use super::{
    sock_diag::{SockDiag, Socket},
    socket_table::{SocketLine, parse_line},
};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, Tree,
    host::StreamedFile,
};

const STATES: &str = "node_tcp_connection_states";

/// In the kernel's order, from 1 (include/net/tcp_states.h).
const NAMES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];
const LISTEN: usize = 10;
/// A request that is not yet a connection; in the table it stands as `syn_recv`.
const NEW_SYN_RECV: usize = 12;
const SYN_RECV: usize = 3;

pub(crate) const ENTRY: Entry = Entry {
    name: "tcpstat",
    about: "TCP sockets by state and the bytes in their queues",
    on: false,
    lane: Lane::Slow,
    scope: Scope::Network,
    reads: &["/proc/net/tcp", "/proc/net/tcp6"],
    metrics: &[Metric::gauge(STATES, "", "Number of connection states.")],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let files = ["tcp", "tcp6"].map(|file| StreamedFile::new(Tree::Net, file));
    Ok(Box::new(Tcpstat { files, diag: None }))
}

struct Tcpstat {
    files: [StreamedFile; 2],
    diag: Option<SockDiag>,
}

impl Collector for Tcpstat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let counts = match self.by_netlink(host) {
            Some(counts) => counts,
            None => self.by_files(host)?,
        };
        counts.push(out);
        Ok(())
    }
}

impl Tcpstat {
    fn by_netlink(&mut self, host: &Host) -> Option<Counts> {
        // Elsewhere `net` is another process's, or a recorded machine's.
        if !host.is_this_kernel() || host.net != host.proc.join("net") {
            return None;
        }
        let mut diag = self.diag.take().or_else(|| SockDiag::open().ok())?;
        let mut counts = Counts::default();
        diag.each_tcp(|Socket { state, rx_queue, tx_queue }| {
            counts.add(state, rx_queue.into(), tx_queue.into());
        })
        .ok()?;
        self.diag = Some(diag);
        Some(counts)
    }

    fn by_files(&mut self, host: &Host) -> Result<Counts, CollectError> {
        let mut counts = Counts::default();
        let [four, six] = &mut self.files;
        four.each_line(host, |line| counts.add_line(line))?;
        match six.each_line(host, |line| counts.add_line(line)) {
            // A machine without IPv6 is whole without it.
            Ok(()) | Err(CollectError::Absent(_)) => {}
            // Without the half that fails, the sums would be wrong.
            Err(error) => return Err(error),
        }
        Ok(counts)
    }
}

#[derive(Debug, Default)]
struct Counts {
    by_state: [u64; NAMES.len()],
    rx_queued: u64,
    tx_queued: u64,
    malformed: u64,
}

impl Counts {
    fn add_line(&mut self, line: &[u8]) {
        match parse_line(line) {
            SocketLine::Titles => {}
            SocketLine::Malformed => self.malformed += 1,
            SocketLine::Socket { state, tx_queue, rx_queue } => self.add(state, rx_queue, tx_queue),
        }
    }

    fn add(&mut self, state: u8, rx_queue: u64, tx_queue: u64) {
        let state = match usize::from(state) {
            NEW_SYN_RECV => SYN_RECV,
            state => state,
        };
        let count = state.checked_sub(1).and_then(|index| self.by_state.get_mut(index));
        let Some(count) = count else {
            self.malformed += 1;
            return;
        };
        *count += 1;
        // A listener's queue counts connections that wait to be accepted, not bytes.
        if state != LISTEN {
            self.rx_queued += rx_queue;
            self.tx_queued += tx_queue;
        }
    }

    fn push(&self, out: &mut Scrape) {
        let queued = [("rx_queued_bytes", self.rx_queued), ("tx_queued_bytes", self.tx_queued)];
        for (state, count) in NAMES.into_iter().zip(self.by_state).chain(queued) {
            out.push(STATES, &[("state", state)], count as f64);
        }
        if self.malformed > 0 {
            out.problem(format!("tcp: {} lines are no socket's", self.malformed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_by_state_and_a_listener_queues_no_bytes() {
        let mut counts = Counts::default();
        for line in [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
            "   0: 00000000:07E8 00000000:0000 0A 00000000:00000005 00:00000000 00000000",
            "   1: 0100007F:86BE 0100007F:4AB3 01 00000010:00000002 03:00000C92 00000000",
            "   2: 0100007F:86BF 0100007F:4AB3 01 00000001:00000000 03:00000C92 00000000",
            "   3: 0100007F:86C0 0100007F:4AB3 0C 00000000:00000000 03:00000C92 00000000",
            "   4: 0100007F:86C1 0100007F:4AB3 0D 00000000:00000000 03:00000C92 00000000",
        ] {
            counts.add_line(line.as_bytes());
        }
        let mut out = Scrape::new();
        counts.push(&mut out);
        let value = |state: &str| {
            let samples = out.samples().iter();
            let mut found = samples.filter(|sample| sample.labels.get("state") == Some(state));
            found.next().unwrap().value
        };
        assert_eq!(out.samples().len(), NAMES.len() + 2);
        assert_eq!(value("established"), 2.0);
        assert_eq!(value("listen"), 1.0);
        assert_eq!(value("syn_recv"), 1.0);
        assert_eq!(value("time_wait"), 0.0);
        assert_eq!(value("rx_queued_bytes"), 2.0);
        assert_eq!(value("tx_queued_bytes"), 17.0);
        assert_eq!(out.take_problems(), ["tcp: 1 lines are no socket's"]);
    }

    #[test]
    fn a_machine_without_the_table_is_absent() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let result = build(&Options::default()).unwrap().collect(&host, &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
    }
}
