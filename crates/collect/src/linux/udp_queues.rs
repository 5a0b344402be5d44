//! `udp_queues`: bytes that wait in the queues of UDP sockets. Sources: `/proc/net/udp`
//! (net/ipv4/udp.c) and `/proc/net/udp6` (net/ipv6/udp.c), a line per socket.

use farol_model::{Lane, Metric};

use super::socket_table::{SocketLine, parse_line};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, Tree,
    host::StreamedFile,
};

const QUEUES: &str = "node_udp_queues";

pub(crate) const ENTRY: Entry = Entry {
    name: "udp_queues",
    about: "bytes that wait in the queues of UDP sockets",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Network,
    reads: &["/proc/net/udp", "/proc/net/udp6"],
    metrics: &[Metric::gauge(
        QUEUES,
        "",
        "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    )],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let table = |ip, file| (ip, StreamedFile::new(Tree::Net, file));
    Ok(Box::new(UdpQueues { tables: [table("v4", "udp"), table("v6", "udp6")] }))
}

struct UdpQueues {
    tables: [(&'static str, StreamedFile); 2],
}

impl Collector for UdpQueues {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mut absent = None;
        for (ip, file) in &mut self.tables {
            let (mut sent, mut received, mut malformed) = (0, 0, 0);
            let read = file.each_line(host, |line| match parse_line(line) {
                SocketLine::Socket { tx_queue, rx_queue, .. } => {
                    sent += tx_queue;
                    received += rx_queue;
                }
                SocketLine::Titles => {}
                SocketLine::Malformed => malformed += 1,
            });
            match read {
                Ok(()) => {
                    out.push(QUEUES, &[("ip", ip), ("queue", "tx")], sent as f64);
                    out.push(QUEUES, &[("ip", ip), ("queue", "rx")], received as f64);
                }
                Err(CollectError::Absent(reason)) => {
                    absent.get_or_insert(reason);
                }
                Err(error) => out.problem_of(&error),
            }
            if malformed > 0 {
                out.problem(format!("udp ({ip}): {malformed} lines are no socket's"));
            }
        }
        match absent {
            Some(reason) if out.samples().is_empty() => Err(CollectError::Absent(reason)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn queues_are_summed_and_a_machine_without_ipv6_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        std::fs::create_dir_all(&host.net).unwrap();
        let mut collector = build(&Options::default()).unwrap();
        let result = collector.collect(&host, &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
        write(
            &host.net.join("udp"),
            "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 00000000:0016 00000000:0000 07 00000000:00000010 00:00000000 00000000     0        0 2740 1 ffff88003d3af3c0 0\n\
             2: 00000000:0017 00000000:0000 07 00000001:00000005 00:00000000 00000000     0        0 2741 1 ffff88003d3af3c1 0\n\
             cut\n",
        );
        let mut out = Scrape::new();
        collector.collect(&host, &mut out).unwrap();
        let values: Vec<_> =
            out.samples().iter().map(|s| (s.labels.get("queue").unwrap(), s.value)).collect();
        assert_eq!(values, [("tx", 1.0), ("rx", 21.0)]);
        assert_eq!(out.take_problems(), ["udp (v4): 1 lines are no socket's"]);
    }
}
