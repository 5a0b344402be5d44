//! What a scrape costs: `cargo run --release -p farol-web --example render`.
//!
//! A real server on loopback and one client on one kept connection, with about 600 series. "new"
//! publishes a new snapshot before each scrape, as a scraper slower than the collectors sees it;
//! "same" scrapes the same snapshot again. CPU is that of the server's threads alone.

#![expect(clippy::disallowed_methods, reason = "a measurement reads clocks and its own /proc")]
#![expect(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use farol_model::{Current, Labels, Lane, Sample, Snapshot, State, Text, Timestamp};
use farol_web::{About, Settings, Site, door::Opening};
use farol_wire::exposition::{Encoder, Format};
use tokio::sync::{mpsc, watch};

const SERIES: usize = 600;
const SCRAPES: usize = 4000;
const THREADS: &str = "bench-web";

fn main() -> io::Result<()> {
    let samples = samples();
    measure_encoding(&samples);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(THREADS)
        .enable_all()
        .build()?;
    let (publish, current) = watch::channel(Arc::new(current_at(&samples, 0)));
    let (_ready, ready) = watch::channel(true);
    let (commands, _asked) = mpsc::channel(1);
    let site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| None),
        reader: Arc::new(|| None),
        configuration: Arc::new(Vec::new),
        current,
        memory: watch::channel(Arc::default()).1,
        routing: watch::channel(Arc::default()).1,
        rules: Arc::new(Default::default),
        ready,
        now: Arc::new(|| Timestamp::from_millis(0)),
        commands,
        door: watch::channel(Opening::default()).1,
        about: About::default(),
        settings: Arc::new(Settings::default()),
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(farol_web::serve(vec![listener], site, std::future::pending()));

    let snapshots: Vec<Arc<Current>> =
        (0..64).map(|round| Arc::new(current_at(&samples, round))).collect();
    for path in ["/-/healthy", "/metrics"] {
        for (coding, accept) in [("plain", ""), ("gzip", "Accept-Encoding: gzip\r\n")] {
            for renews in [true, false] {
                let mut client = TcpStream::connect(address)?;
                client.set_nodelay(true)?;
                let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n");
                let mut laps = Vec::with_capacity(SCRAPES);
                let mut bytes = 0;
                let before = server_cpu()?;
                for round in 0..SCRAPES {
                    if renews {
                        publish.send_replace(Arc::clone(&snapshots[round % snapshots.len()]));
                    }
                    let lap = Instant::now();
                    bytes = exchange(&mut client, ask.as_bytes())?;
                    laps.push(lap.elapsed());
                }
                let cpu = (server_cpu()? - before) / u32::try_from(SCRAPES).unwrap_or(1);
                laps.sort();
                let (p50, p99) = (laps[SCRAPES / 2], laps[SCRAPES * 99 / 100]);
                let kind = if renews { "new" } else { "same" };
                println!(
                    "{path:10} {coding:5} {kind:4} {bytes:6} bytes  p50 {p50:?}  p99 {p99:?}  cpu {cpu:?}"
                );
            }
        }
    }
    Ok(())
}

fn measure_encoding(samples: &[Sample]) {
    let mut text = Vec::new();
    let mut encoder = Encoder::new(farol_collect::describe);
    for format in Format::ALL {
        let lap = Instant::now();
        for _ in 0..2000 {
            text.clear();
            encoder.encode(samples, format, &mut text);
        }
        let each = lap.elapsed() / 2000;
        println!("encode {format:?}: {} series, {} bytes: {each:?}", samples.len(), text.len());
    }
}

/// Every metric the collectors name, and more of them with labels until there are enough.
fn samples() -> Vec<Sample> {
    let rows = farol_collect::COLLECTORS.iter().flat_map(|entry| entry.metrics);
    let names: Vec<&'static str> = rows.map(|metric| metric.name).collect();
    let per_name = SERIES.div_ceil(names.len().max(1));
    let mut samples = Vec::new();
    for (index, name) in names.iter().enumerate() {
        for copy in 0..per_name {
            let labels = if copy == 0 {
                Labels::empty()
            } else {
                Labels::from([("device", format!("nvme{copy}n1").as_str()), ("mode", "user")])
            };
            let value =
                (index * 7919 + copy * 31) as f64 * if index % 3 == 0 { 1.37 } else { 1024.0 };
            samples.push(Sample { name: Text::from_static(name), labels, value });
        }
    }
    samples.truncate(SERIES.max(names.len()));
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

/// Names and label sets are shared from round to round, as collectors share them.
fn current_at(samples: &[Sample], round: usize) -> Current {
    let half = |lane: Lane, odd: usize| {
        let kept = samples.iter().enumerate().filter(|(index, _)| (index / 8) % 2 == odd);
        let shift = round as f64 * 0.37;
        Some(Arc::new(Snapshot {
            at: Timestamp::from_millis(0),
            interval: Duration::from_secs(1),
            lane,
            host: Text::from_static("bench"),
            state: State::Unknown,
            summary: Vec::new(),
            samples: kept
                .map(|(_, sample)| Sample { value: sample.value + shift, ..sample.clone() })
                .collect(),
            top: Vec::new(),
            outcomes: Vec::new(),
        }))
    };
    let host = Text::from_static("bench");
    Current { host, lanes: [half(Lane::Fast, 0), half(Lane::Slow, 1)], ..Current::default() }
}

/// The size of the answer.
fn exchange(client: &mut TcpStream, ask: &[u8]) -> io::Result<usize> {
    client.write_all(ask)?;
    let mut answer = vec![0; 256 * 1024];
    let mut held = 0;
    loop {
        held += client.read(&mut answer[held..])?;
        let Some(head) = answer[..held].windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if held >= head + 4 + length {
            return Ok(length);
        }
    }
}

fn server_cpu() -> io::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == THREADS {
            let spent = fs::read_to_string(task.join("schedstat"))?;
            total += spent.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(total))
}
