//! The real node_exporter, started for a test and scraped.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    time::Duration,
};

use farol_wire::exposition::{Format, Limits, Parsed, parse};

/// Debian's `prometheus-node-exporter` 1.5.
const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// Killed when dropped.
pub(crate) struct Exporter {
    process: Child,
    port: u16,
}

impl Exporter {
    #[expect(clippy::disallowed_methods, reason = "the other party of the comparison is a program")]
    pub(crate) fn start(flags: &[String], environment: &[(&str, &str)]) -> Exporter {
        let port = free_port();
        let process = Command::new(NODE_EXPORTER)
            .args(flags)
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("node_exporter starts: apt-get install prometheus-node-exporter");
        Exporter { process, port }
    }

    /// The first answer that is enough.
    pub(crate) fn scrape_until(&self, is_enough: impl Fn(&Parsed) -> bool) -> Parsed {
        let answer = (0..500).find_map(|_| {
            pause();
            let body = get(self.port).ok()?;
            let parsed = parse(body.as_bytes(), Format::Text, &Limits::default()).ok()?;
            is_enough(&parsed).then_some(parsed)
        });
        answer.expect("node_exporter answers within seconds, in the text format")
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// HTTP/1.0, so that the body is neither chunked nor followed by anything.
fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.contains(" 200 "), "{head}");
    Ok(body.to_owned())
}

fn pause() {
    let (_keep, never) = sync_channel::<()>(1);
    never.recv_timeout(Duration::from_millis(20)).ok();
}
