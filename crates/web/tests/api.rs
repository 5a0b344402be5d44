//! Prometheus' API as its clients see it. Requests and answers are data, in `api/*.txt`: a real
//! server over a real store answers each. `UPDATE=1` rewrites what is expected.
//!
//! In a file a case is a request, `> METHOD PATH`, its headers, `> name: value`, and its body, `>> …`;
//! then what is expected: `< status`, headers that matter, `< name: value`, and the body's lines.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    fmt::Write as _,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use farol_disk::MemoryDisk;
use farol_model::{
    Alert, Current, Labels, Lane, Memory, Phase, Sample, Snapshot, State, Text, Timestamp, Verdict,
};
use farol_store::{Importer, Store};
use farol_web::{
    About, Command, Configured, History, Queries, Settings, Site,
    door::{Door, Opening, Tokens},
    serve,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// 2023-11-14T22:13:20Z: when the samples begin.
const T0: i64 = 1_700_000_000_000;
/// Ten minutes of samples, one each 15 s.
const NOW: i64 = T0 + 600_000;
const STEP: i64 = 15_000;
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
    _commands: mpsc::Receiver<Command>,
    _store: Option<Store>,
}

/// A store with some series, an empty one, or none yet.
#[derive(Clone, Copy, PartialEq)]
enum Past {
    Full,
    Empty,
    None,
}

async fn start(past: Past, settings: Settings) -> Server {
    start_behind(Door::default(), past, settings).await
}

async fn start_behind(door: Door, past: Past, settings: Settings) -> Server {
    start_changed(door, past, settings, |_| {}).await
}

async fn start_changed(
    door: Door,
    past: Past,
    settings: Settings,
    change: impl FnOnce(&mut Site),
) -> Server {
    let store = match past {
        Past::Full => Some(filled()),
        Past::Empty => Some(opened(&MemoryDisk::new())),
        Past::None => None,
    };
    let reader = store.as_ref().map(Store::reader);
    let (commands, asked) = mpsc::channel(1);
    let mut site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| Some(History { series: 7, ..History::default() })),
        reader: Arc::new(move || reader.clone()),
        configuration: Arc::new(configuration),
        current: watch::channel(Arc::new(machine())).1,
        memory: watch::channel(Arc::default()).1,
        routing: watch::channel(Arc::default()).1,
        rules: Arc::new(Default::default),
        ready: watch::channel(true).1,
        now: Arc::new(|| Timestamp::from_millis(NOW)),
        commands,
        door: watch::channel(Opening { door: Arc::new(door), ..Opening::default() }).1,
        about: About {
            version: "1.2.3",
            revision: "abc",
            command: "run",
            started: Timestamp::from_millis(T0),
            ..About::default()
        },
        settings: Arc::new(settings),
    };
    change(&mut site);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let until = async {
        stopped.await.ok();
    };
    let running = tokio::spawn(serve(vec![listener], site, until));
    Server { address, stop: Some(stop), running, _commands: asked, _store: store }
}

fn opened(disk: &MemoryDisk) -> Store {
    let config = farol_store::Config {
        retention: Duration::from_secs(200 * 365 * 24 * 60 * 60),
        ..farol_store::Config::new("/store")
    };
    Store::open(Arc::new(disk.clone()), config).unwrap().store
}

fn filled() -> Store {
    let disk = MemoryDisk::new();
    let mut importer =
        Importer::new(Arc::new(disk.clone()), &farol_store::Config::new("/store")).unwrap();
    let mut add = |name: &str, labels: Labels, value: &dyn Fn(i64) -> f64| {
        let series = importer.series(name.into(), labels);
        for n in 0..=40 {
            importer.push(series, Timestamp::from_millis(T0 + n * STEP), value(n)).unwrap();
        }
    };
    for (instance, is_up) in [("a:9100", 1.0), ("b:9100", 0.0)] {
        add("up", Labels::from([("job", "node"), ("instance", instance)]), &|_| is_up);
    }
    for (code, each) in [("200", 3.0), ("404", 0.25), ("500", 0.0)] {
        let labels = Labels::from([("job", "web"), ("code", code), ("handler", "/a \"b\"")]);
        add("http_requests_total", labels, &|n| n as f64 * each);
    }
    for (le, share) in [("0.1", 1.0), ("1", 2.0), ("+Inf", 4.0)] {
        add("http_seconds_bucket", Labels::from([("le", le)]), &|n| n as f64 * share);
    }
    add("node_load1", Labels::from([("job", "node")]), &|n| (n % 7) as f64 / 8.0);
    add("special", Labels::from([("kind", "nan")]), &|_| f64::NAN);
    add("special", Labels::from([("kind", "infinite")]), &|_| f64::NEG_INFINITY);
    add("special", Labels::from([("kind", "tiny")]), &|_| 1e-7);
    add("temperature.celsius", Labels::from([("room.name", "küche")]), &|n| 20.0 + n as f64);
    importer.finish().unwrap();
    opened(&disk)
}

fn machine() -> Current {
    let sample = |name: &str, value| Sample { name: name.into(), labels: Labels::empty(), value };
    let snapshot = Snapshot {
        at: Timestamp::from_millis(NOW),
        interval: Duration::from_secs(1),
        lane: Lane::Fast,
        host: Text::from("pine"),
        state: State::Unknown,
        summary: Vec::new(),
        samples: vec![sample("node_boot_time_seconds", 1.0), sample("of_nobody", 1.0)],
        top: Vec::new(),
        outcomes: Vec::new(),
    };
    Current {
        host: Text::from("pine"),
        verdict: Verdict { state: State::Unknown, reasons: Vec::new() },
        lanes: [Some(Arc::new(snapshot)), None],
        ..Current::default()
    }
}

fn configuration() -> Vec<Configured> {
    let row = |key, flag: Option<&str>, value: &str| Configured {
        key,
        flag: flag.map(str::to_owned),
        value: value.to_owned(),
    };
    vec![
        row("interval", Some("interval"), "1s"),
        row("journal.events.retention.age", Some("journal.events.retention.age"), "7d"),
        row("journal.segment_size", Some("journal.segment-size"), "64MiB"),
        row("store.retention", Some("store.retention"), "14d"),
        row("collectors.enable", None, ""),
        row("collectors.filesystem.fs_types_exclude", None, "^(a|\"b\")$"),
        row("web.token", Some("web.token"), "<redacted>"),
    ]
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, line: &str, headers: &[String], body: &str) -> Answer {
        let mut stream = self.send(line, headers, body).await;
        Answer::read(&mut stream).await
    }

    /// Leaves the answer unread.
    async fn send(&self, line: &str, headers: &[String], body: &str) -> TcpStream {
        let mut request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for header in headers {
            write!(request, "{header}\r\n").unwrap();
        }
        if !body.is_empty() {
            write!(request, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        write!(request, "\r\n{body}").unwrap();
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    /// The value of one of the server's own figures.
    async fn figure(&self, series: &str) -> f64 {
        let answer = self.get("/metrics").await;
        let line =
            answer.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {}", answer.text())).parse().unwrap()
    }

    async fn until(&self, series: &str, is_reached: impl Fn(f64) -> bool) {
        let reached = async {
            while !is_reached(self.figure(series).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{series} never came there"));
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end in time").ok();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One case of a file, as far as it is a request.
#[derive(Debug, Default)]
struct Case {
    /// Comments and blank lines before it.
    before: String,
    line: String,
    headers: Vec<String>,
    body: String,
}

/// Headers that matter whenever they are there.
const SHOWN: [&str; 6] = [
    "retry-after",
    "allow",
    "content-encoding",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut before = String::new();
    for line in text.lines() {
        if let Some(body) = line.strip_prefix(">> ") {
            cases.last_mut().unwrap().body.push_str(body);
        } else if let Some(line) = line.strip_prefix("> ") {
            let is_first = ["GET ", "POST ", "HEAD ", "OPTIONS ", "PUT ", "DELETE "]
                .iter()
                .any(|method| line.starts_with(method));
            if is_first {
                let before = std::mem::take(&mut before);
                cases.push(Case { before, line: line.to_owned(), ..Case::default() });
            } else {
                cases.last_mut().unwrap().headers.push(line.to_owned());
            }
        } else if line.starts_with('#') {
            before.push_str(line);
            before.push('\n');
        }
    }
    cases
}

/// The case with the answer that there was.
fn told(case: &Case, answer: &Answer) -> String {
    let mut told = format!("{}> {}\n", case.before, case.line);
    for header in &case.headers {
        writeln!(told, "> {header}").unwrap();
    }
    if !case.body.is_empty() {
        writeln!(told, ">> {}", case.body).unwrap();
    }
    writeln!(told, "< {}", answer.status).unwrap();
    let kind = answer.header("content-type").unwrap_or("none");
    if kind != "application/json" {
        writeln!(told, "< content-type: {kind}").unwrap();
    }
    for name in SHOWN {
        if let Some(value) = answer.header(name) {
            writeln!(told, "< {name}: {value}").unwrap();
        }
    }
    if answer.header("content-encoding").is_none() {
        told.push_str(answer.text());
    }
    if !told.ends_with('\n') {
        told.push('\n');
    }
    told.push('\n');
    told
}

/// Asks everything that a file asks, and compares.
#[expect(
    clippy::disallowed_methods,
    reason = "expected answers are files, and a switch rewrites them"
)]
async fn as_written(server: &Server, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api").join(file);
    let expected = std::fs::read_to_string(&path).unwrap();
    let mut found = String::new();
    let cases = cases(&expected);
    assert!(cases.len() > 1, "{file} has next to no cases");
    for case in cases {
        let answer = server.ask(&case.line, &case.headers, &case.body).await;
        found.push_str(&told(&case, &answer));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    for (found, expected) in found.split("\n\n").zip(expected.split("\n\n")) {
        assert_eq!(found, expected, "{file}; UPDATE=1 rewrites it");
    }
    assert_eq!(found, expected, "{file}; UPDATE=1 rewrites it");
}

#[tokio::test]
async fn queries_at_one_time() {
    as_written(&start(Past::Full, Settings::default()).await, "query.txt").await;
}

#[tokio::test]
async fn queries_over_a_range() {
    as_written(&start(Past::Full, Settings::default()).await, "query_range.txt").await;
}

#[tokio::test]
async fn series_and_labels() {
    as_written(&start(Past::Full, Settings::default()).await, "series.txt").await;
}

#[tokio::test]
async fn expressions_as_text_and_as_trees() {
    as_written(&start(Past::Full, Settings::default()).await, "syntax.txt").await;
}

#[tokio::test]
async fn what_the_server_says_of_itself() {
    as_written(&start(Past::Full, Settings::default()).await, "status.txt").await;
}

/// Two files; a rule that cannot be evaluated, and one that was not yet.
const RULES: [(&str, &str); 2] = [
    (
        "rules/host.yml",
        "groups:
  - name: host
    interval: 15s
    limit: 10
    rules:
      - record: job:load:sum
        expr: sum by (job) (node_load1)
        labels: {team: hosts}
      - alert: Busy
        expr: node_load1 > 0.5
        for: 5m
        keep_firing_for: 90s
        labels: {severity: critical}
        annotations: {summary: 'load is {{ $value }}'}
      - alert: Broken
        expr: up == on(x) up
",
    ),
    (
        "rules/net.yml",
        "groups:
  - name: traffic
    rules:
      - record: job:requests:rate1m
        expr: sum by (job) (rate(http_requests_total[1m]))
      - alert: Quiet
        expr: job:requests:rate1m == 0
        labels: {severity: warning, team: net}
",
    ),
];

fn ruled(site: &mut Site) {
    let rules = farol_alert::RuleSet::parse(&RULES, &farol_alert::Defaults::default()).unwrap();
    let mut board = farol_alert::Board::new(Arc::new(rules));
    let took = Duration::from_micros(1500);
    board.runs[0] = Some(farol_alert::board::Run {
        at: Timestamp::from_millis(NOW - 5000),
        took: Duration::from_millis(4),
        rules: vec![(took, None), (took, None), (took, Some("many-to-many matching".to_owned()))],
    });
    let busy = |instance: &str, phase, active: i64, value| Alert {
        group: "host".into(),
        rule: "Busy{severity=\"critical\"}".into(),
        labels: Labels::from([
            ("alertname", "Busy"),
            ("instance", instance),
            ("severity", "critical"),
        ]),
        annotations: Labels::from([("summary", "load is 0.75")]),
        series: Labels::from([("instance", instance)]),
        value,
        phase,
        active_at: Timestamp::from_millis(T0 + active * 1000),
        fired_at: (phase != Phase::Pending).then(|| Timestamp::from_millis(T0)),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: Timestamp::from_millis(NOW),
        ended_at: None,
        firings: Vec::new(),
        is_flapping: false,
        remedy: None,
    };
    let kept = Alert {
        keeping_since: Some(Timestamp::from_millis(T0 + 590_000)),
        ..busy("c", Phase::Firing, 10, 0.5)
    };
    let alerts = [
        busy("a", Phase::Firing, 20, 0.75),
        busy("b", Phase::Pending, 500, 1e-7),
        kept,
        busy("d", Phase::Ended, 0, 1.0),
    ];
    let memory = Memory {
        alerts: alerts.into_iter().map(|alert| (alert.key(), Arc::new(alert))).collect(),
        ..Memory::default()
    };
    site.rules = Arc::new(move || board.clone());
    site.memory = watch::channel(Arc::new(memory)).1;
}

#[tokio::test]
async fn rules_and_alerts() {
    let server = start_changed(Door::default(), Past::Full, Settings::default(), ruled).await;
    as_written(&server, "rules.txt").await;
}

#[tokio::test]
async fn an_empty_store_computes_and_finds_nothing() {
    as_written(&start(Past::Empty, Settings::default()).await, "empty.txt").await;
}

#[tokio::test]
async fn a_store_that_is_not_there_yet_is_unavailable() {
    as_written(&start(Past::None, Settings::default()).await, "unavailable.txt").await;
}

#[tokio::test]
async fn methods_and_bodies() {
    let settings = Settings { body_limit: 100, ..Settings::default() };
    as_written(&start(Past::Full, settings).await, "transport.txt").await;
}

#[tokio::test]
async fn pages_of_one_other_origin_may_read() {
    let allowed_origin = Some("https://grafana.example".to_owned());
    let settings = Settings { allowed_origin, ..Settings::default() };
    as_written(&start(Past::Full, settings).await, "origin.txt").await;
}

#[tokio::test]
async fn who_only_reads_may_post_what_only_asks() {
    let read_only = Some("this process only reads".to_owned());
    let settings = Settings { read_only, ..Settings::default() };
    as_written(&start(Past::Full, settings).await, "read_only.txt").await;
}

#[tokio::test]
async fn limits_refuse_and_say_so() {
    let queries = Queries { max_samples: 50, max_series: 2, ..Queries::default() };
    let server = start(Past::Full, Settings { queries, ..Settings::default() }).await;
    as_written(&server, "limits.txt").await;
    assert_eq!(server.figure("farol_query_refused_total{reason=\"too_large\"}").await, 2.0);
}

#[tokio::test]
async fn the_door_is_before_the_api() {
    let tokens = Tokens::new([&b"a-long-enough-token"[..]]).unwrap();
    let door = Door { tokens, ..Door::default() };
    let allowed_origin = Some("*".to_owned());
    let settings = Settings { allowed_origin, ..Settings::default() };
    let server = start_behind(door, Past::Full, settings).await;
    let path = "GET /api/v1/query?query=1";
    assert_eq!(server.ask(path, &[], "").await.status, 401);
    let token = ["Authorization: Bearer a-long-enough-token".to_owned()];
    assert_eq!(server.ask(path, &token, "").await.status, 200);
    // What a browser asks first cannot carry a token, and is told nothing but that it may ask.
    let origin = ["Origin: https://grafana.example".to_owned()];
    let preflight = server.ask("OPTIONS /api/v1/query", &origin, "").await;
    assert_eq!((preflight.status, preflight.text()), (204, ""));
    assert_eq!(server.ask("OPTIONS /metrics", &origin, "").await.status, 401);
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_can_read_that() {
    let server = start(Past::Full, Settings::default()).await;
    let path =
        format!("GET /api/v1/query_range?query=up&start={}&end={}&step=1", T0 / 1000, NOW / 1000);
    let plain = server.ask(&path, &[], "").await;
    let packed = server.ask(&path, &["Accept-Encoding: gzip".to_owned()], "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.header("vary").unwrap().contains("accept-encoding"));
    assert!(
        packed.body.len() * 3 < plain.body.len(),
        "{} of {}",
        packed.body.len(),
        plain.body.len()
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text());
    let small = server.ask("GET /api/v1/rules", &["Accept-Encoding: gzip".to_owned()], "").await;
    assert_eq!(small.header("content-encoding"), None);
}

#[tokio::test]
async fn what_a_query_has_cost_is_told_on_request() {
    let server = start(Past::Full, Settings::default()).await;
    let stats =
        server.get("/api/v1/query?query=up&stats=all").await.json()["data"]["stats"].clone();
    assert_eq!(stats["samples"]["totalQueryableSamples"], 2);
    let timings = stats["timings"].as_object().unwrap();
    assert!(timings["execTotalTime"].as_f64().unwrap() > 0.0);
    assert!(timings.values().all(Value::is_number));
    let without = server.get("/api/v1/query?query=up&stats=").await.json();
    assert!(without["data"].get("stats").is_none());
}

/// Would compute for longer than any test waits.
const ENDLESS: &str = "POST /api/v1/query_range";

fn endless() -> (Vec<String>, String) {
    let query =
        "quantile_over_time(0.9, quantile_over_time(0.9, http_requests_total[10m:20ms])[10m:20ms])";
    let query = query.replace('[', "%5B").replace(']', "%5D");
    let (start, end) = (T0 / 1000, NOW / 1000);
    let body = format!("query={query}&start={start}&end={end}&step=0.1");
    (vec!["Content-Type: application/x-www-form-urlencoded".to_owned()], body)
}

fn busy(max_concurrency: usize) -> Settings {
    let queries = Queries { max_concurrency, max_samples: 1_000_000_000, ..Queries::default() };
    Settings { queries, ..Settings::default() }
}

const RUNNING: &str = "farol_query_running";
const WAITING: &str = "farol_query_waiting";

fn refused(reason: &str) -> String {
    format!("farol_query_refused_total{{reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_query_whose_client_goes_away_is_evaluated_no_further() {
    let server = start(Past::Full, busy(2)).await;
    let (headers, body) = endless();
    let client = server.send(ENDLESS, &headers, &body).await;
    server.until(RUNNING, |running| running == 1.0).await;
    drop(client);
    // The permit is held by the work itself: it comes back when nothing is evaluated any more.
    server.until(RUNNING, |running| running == 0.0).await;
    assert_eq!(server.figure(&refused("canceled")).await, 1.0);
    assert_eq!(server.get("/api/v1/query?query=1").await.status, 200);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_told_so_and_evaluated_no_further() {
    let server = start(Past::Full, busy(2)).await;
    let (headers, body) = endless();
    let answer = server.ask(ENDLESS, &headers, &(body + "&timeout=100ms")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["errorType"], "timeout");
    assert_eq!(answer.json()["error"], "query timed out in expression evaluation");
    assert_eq!(answer.header("retry-after"), None, "it would take as long again");
    server.until(RUNNING, |running| running == 0.0).await;
    assert_eq!(server.figure(&refused("timeout")).await, 1.0);
}

#[tokio::test]
async fn a_query_may_not_ask_for_more_time_than_there_is() {
    let queries = Queries { timeout: Duration::from_millis(100), ..busy(2).queries };
    let server = start(Past::Full, Settings { queries, ..Settings::default() }).await;
    let (headers, body) = endless();
    let answer = server.ask(ENDLESS, &headers, &(body + "&timeout=1h")).await;
    assert_eq!((answer.status, &answer.json()["errorType"]), (503, &"timeout".into()));
}

#[tokio::test]
async fn a_query_may_take_longer_than_other_requests() {
    let settings = Settings { request_timeout: Duration::from_millis(1), ..busy(2) };
    let server = start(Past::Full, settings).await;
    let (headers, body) = endless();
    let answer = server.ask(ENDLESS, &headers, &(body + "&timeout=300ms")).await;
    // Given up by its own deadline, and by no other.
    assert_eq!(answer.json()["error"], "query timed out in expression evaluation");
}

#[tokio::test]
async fn fifty_heavy_queries_run_wait_or_are_refused_and_hinder_nobody_else() {
    let server = start(Past::Full, busy(1)).await;
    let (headers, body) = endless();
    let mut clients = Vec::new();
    for n in 0..50 {
        clients.push(server.send(ENDLESS, &headers, &body).await);
        if n == 0 {
            server.until(RUNNING, |running| running == 1.0).await;
        }
    }
    server.until(WAITING, |waiting| waiting == 32.0).await;
    server.until(&refused("busy"), |busy| busy == 17.0).await;
    let mut told = 0;
    for client in &mut clients[33..] {
        let answer = Answer::read(client).await;
        assert_eq!((answer.status, &answer.json()["errorType"]), (503, &"unavailable".into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        told += 1;
    }
    assert_eq!(told, 17);
    // Everything else is answered meanwhile.
    assert_eq!(server.get("/metrics").await.status, 200);
    assert_eq!(server.get("/api/v1/labels").await.status, 200);
    assert_eq!(server.get("/api/v1/status/buildinfo").await.status, 200);
    // One that has waited for all its time has not even begun.
    let late = server.ask(ENDLESS, &headers, &(body.clone() + "&timeout=0")).await;
    assert_eq!(late.json()["errorType"], "unavailable", "there is no seat left");
    drop(clients);
    server.until(RUNNING, |running| running == 0.0).await;
    assert_eq!(server.figure(WAITING).await, 0.0);
    assert_eq!(server.figure(&refused("canceled")).await, 33.0);
    assert_eq!(server.get("/api/v1/query?query=1").await.status, 200);
}

#[tokio::test]
async fn a_query_that_waits_for_all_its_time_is_told_that_others_kept_it() {
    let server = start(Past::Full, busy(1)).await;
    let (headers, body) = endless();
    let client = server.send(ENDLESS, &headers, &body).await;
    server.until(RUNNING, |running| running == 1.0).await;
    let late = server.get("/api/v1/query?query=1&timeout=50ms").await;
    assert_eq!((late.status, &late.json()["errorType"]), (503, &"unavailable".into()));
    assert!(late.text().contains("kept this one waiting"), "{}", late.text());
    assert_eq!(late.header("retry-after"), Some("1"));
    drop(client);
    server.until(RUNNING, |running| running == 0.0).await;
}

#[tokio::test]
async fn a_server_that_stops_gives_its_queries_up() {
    let settings = Settings { request_timeout: Duration::from_millis(50), ..busy(1) };
    let mut server = start(Past::Full, settings).await;
    let (headers, body) = endless();
    let mut client = server.send(ENDLESS, &headers, &body).await;
    server.until(RUNNING, |running| running == 1.0).await;
    server.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, &mut server.running).await.expect("an end in time").unwrap().unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("a closed connection").ok();
    // Dropping the runtime waits for the evaluation: that this test ends is the proof.
}
