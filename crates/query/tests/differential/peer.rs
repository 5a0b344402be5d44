//! Debian's Prometheus with the same series: they are sent to it by remote write, so that stale
//! markers stay what they are.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Found, labels_text, world::Line};

const DEADLINE: Duration = Duration::from_secs(30);

/// Killed with the test.
pub(crate) struct Peer {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Peer {
    pub(crate) fn start(lines: &[Line]) -> Peer {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "global:\n  evaluation_interval: 1m\n").unwrap();
        let address = free_address();
        let mut command = Command::new(needs("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let peer = Peer { child: command.spawn().unwrap(), address, _folder: folder };
        let deadline = Instant::now() + DEADLINE;
        while peer.request("GET /-/ready", "", b"").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < deadline, "prometheus is not ready after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        peer.load(lines);
        peer
    }

    pub(crate) fn instant(&self, query: &str, at: i64) -> Result<Found, String> {
        self.ask("query", &[("query", query), ("time", &seconds(at))])
    }

    pub(crate) fn range(
        &self,
        query: &str,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Found, String> {
        let (start, end, step) = (seconds(start), seconds(end), seconds(step));
        let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        self.ask("query_range", &form)
    }

    fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Found, String> {
        let form: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let request = format!("POST /api/v1/{path}");
        let (_, body) =
            self.request(&request, headers, form.join("&").as_bytes()).expect("prometheus answers");
        let answer: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)));
        match answer["status"].as_str() {
            Some("success") => Ok(found(&answer["data"])),
            _ => Err(answer["error"].as_str().unwrap_or("no error is named").to_owned()),
        }
    }

    /// Half an hour of all series at a time: a late sample would be refused.
    fn load(&self, lines: &[Line]) {
        let times = || lines.iter().flat_map(|line| line.samples.iter().map(|(at, _)| *at));
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return };
        let mut start = first;
        while start <= last {
            let body = snappy(&write_request(lines, start, start + 1_800_000));
            let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                           X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
            let (status, body) =
                self.request("POST /api/v1/write", headers, &body).expect("prometheus answers");
            assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
            start += 1_800_000;
        }
    }

    /// None while nobody listens.
    fn request(&self, request: &str, headers: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!("{request} HTTP/1.0\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer[end + 4..].to_vec()))
    }
}

fn needs(program: &str) -> &str {
    let found = std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .any(|folder| Path::new(folder).join(program).exists());
    assert!(found, "{program} is not installed; `make tools` installs what the tests need");
    program
}

/// Free a moment ago; Prometheus cannot choose one itself and say which.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn found(data: &Value) -> Found {
    let result = &data["result"];
    if data["resultType"] == "scalar" {
        return Found::from([("{}".to_owned(), vec![point(result)])]);
    }
    let mut found = Found::new();
    for series in result.as_array().into_iter().flatten() {
        let labels = series["metric"].as_object().unwrap().iter();
        let labels = labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let points = match series.get("values") {
            Some(values) => values.as_array().unwrap().iter().map(point).collect(),
            None => vec![point(&series["value"])],
        };
        found.insert(labels_text(labels), points);
    }
    found
}

fn point(value: &Value) -> (i64, f64) {
    let at = (value[0].as_f64().unwrap() * 1000.0).round() as i64;
    (at, value[1].as_str().unwrap().parse().unwrap())
}

/// Remote write 1.0: `WriteRequest { timeseries: [{ labels: [{ name, value }], samples: [{ value, timestamp }] }] }`.
fn write_request(lines: &[Line], start: i64, end: i64) -> Vec<u8> {
    let mut request = Vec::new();
    for line in lines {
        let mut series = Vec::new();
        for (name, value) in &line.labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut series, 1, &label);
        }
        let mut has_samples = false;
        for (at, value) in line.samples.iter().filter(|(at, _)| (start..end).contains(at)) {
            let mut sample = vec![1 << 3 | 1];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, at.unsigned_abs());
            field(&mut series, 2, &sample);
            has_samples = true;
        }
        if has_samples {
            field(&mut request, 1, &series);
        }
    }
    request
}

fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// The block format of snappy with nothing but literals.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    varint(&mut packed, bytes.len() as u64);
    for piece in bytes.chunks(1 << 16) {
        packed.push(61 << 2);
        packed.extend_from_slice(&((piece.len() - 1) as u16).to_le_bytes());
        packed.extend_from_slice(piece);
    }
    packed
}
