//! The server as its clients see it: real sockets, whole answers.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use farol_model::{
    Collected, Current, Labels, Lane, Outcome, Sample, Snapshot, State, Text, Timestamp,
    TopProcess, Verdict, Writer,
};
use farol_web::{
    About, Command, Settings, Site,
    door::{Door, Opening, Tokens},
    serve,
};
use farol_wire::exposition::{FamilyKind, Format, Limits, parse};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

const T0: i64 = 1_800_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    publish: watch::Sender<Arc<Current>>,
    ready: watch::Sender<bool>,
    now: Arc<AtomicI64>,
    commands: mpsc::Receiver<Command>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<io::Result<()>>,
}

async fn start(settings: Settings) -> Server {
    start_behind(Door::default(), settings).await
}

async fn start_behind(door: Door, settings: Settings) -> Server {
    start_changed(door, settings, |_| {}).await
}

async fn start_changed(door: Door, settings: Settings, change: impl FnOnce(&mut Site)) -> Server {
    let now = Arc::new(AtomicI64::new(T0 + 500));
    let (publish, current) = watch::channel(Arc::new(machine()));
    let (ready, is_ready) = watch::channel(true);
    let (commands, asked) = mpsc::channel(1);
    let clock = Arc::clone(&now);
    let mut site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| None),
        reader: Arc::new(|| None),
        configuration: Arc::new(Vec::new),
        current,
        memory: watch::channel(Arc::default()).1,
        routing: watch::channel(Arc::default()).1,
        rules: Arc::new(Default::default),
        ready: is_ready,
        now: Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed))),
        commands,
        door: watch::channel(Opening { door: Arc::new(door), ..Opening::default() }).1,
        about: About { version: "1.2.3", command: "run", ..About::default() },
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
    Server { address, publish, ready, now, commands: asked, stop: Some(stop), running }
}

fn machine() -> Current {
    let fast = vec![
        sample("node_cpu_seconds_total", [("cpu", "0"), ("mode", "idle")], 12.5),
        sample("node_cpu_seconds_total", [("cpu", "0"), ("mode", "user")], 3.0),
        sample("node_load1", [], 0.25),
        sample("node_scrape_collector_duration_seconds", [("collector", "cpu")], 0.0002),
        sample("node_scrape_collector_duration_seconds", [("collector", "loadavg")], 0.0001),
        sample("node_scrape_collector_success", [("collector", "cpu")], 1.0),
        sample("node_scrape_collector_success", [("collector", "loadavg")], 1.0),
    ];
    let slow = vec![
        sample("node_filesystem_size_bytes", [("mountpoint", "/a \"b\"")], 1024.0),
        sample("node_hwmon_temp_celsius", [("chip", "x")], 47.5),
        sample("node_scrape_collector_success", [("collector", "filesystem")], 0.0),
        sample("node_scrape_collector_success", [("collector", "hwmon")], 0.0),
    ];
    let absent = Collected::Absent("/sys/class/hwmon does not exist".into());
    Current {
        host: Text::from("pine"),
        verdict: Verdict { state: State::Unknown, reasons: vec![Text::from("no rules loaded")] },
        lanes: [
            Some(snapshot(Lane::Fast, 1, fast, vec![])),
            Some(snapshot(Lane::Slow, 10, slow, vec![("hwmon", absent)])),
        ],
        writer: Writer::default(),
    }
}

fn sample<const N: usize>(name: &str, labels: [(&str, &str); N], value: f64) -> Sample {
    Sample { name: name.into(), labels: Labels::from(labels), value }
}

fn snapshot(
    lane: Lane,
    interval: u64,
    samples: Vec<Sample>,
    outcomes: Vec<(&str, Collected)>,
) -> Arc<Snapshot> {
    let outcome = |(collector, result): (&str, Collected)| Outcome {
        collector: collector.into(),
        took: Duration::from_millis(1),
        result,
    };
    Arc::new(Snapshot {
        at: Timestamp::from_millis(T0),
        interval: Duration::from_secs(interval),
        lane,
        host: Text::from("pine"),
        state: State::Unknown,
        summary: vec![(Text::from("cpu_percent"), 12.498_765), (Text::from("made_up_count"), 3.0)],
        samples,
        top: Vec::new(),
        outcomes: outcomes.into_iter().map(outcome).collect(),
    })
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The whole answer to a request given whole.
    async fn send(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        ))
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    async fn ask_without_reading(&self, path: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        stream
    }

    fn advance(&self, duration: Duration) {
        self.now.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// In lower case.
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

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn unpacked(&self) -> String {
        let mut decoder = flate2::read::GzDecoder::new(self.body.as_slice());
        let mut text = String::new();
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the only member");
        text
    }
}

/// What is live comes after what was collected.
fn collected_part(text: &str) -> &str {
    text.split("# HELP farol_http").next().unwrap()
}

/// Help texts are the collectors' business.
fn without_help(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("# HELP"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[tokio::test]
async fn metrics_are_the_lanes_merged_then_what_is_live() {
    let server = start(Settings::default()).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.header("vary"), Some("accept, accept-encoding"));
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(
        samples(collected_part(answer.text())),
        [
            r#"node_cpu_seconds_total{cpu="0",mode="idle"} 12.5"#,
            r#"node_cpu_seconds_total{cpu="0",mode="user"} 3"#,
            r#"node_filesystem_size_bytes{mountpoint="/a \"b\""} 1024"#,
            r#"node_hwmon_temp_celsius{chip="x"} 47.5"#,
            r#"node_load1 0.25"#,
            r#"node_scrape_collector_duration_seconds{collector="cpu"} 0.0002"#,
            r#"node_scrape_collector_duration_seconds{collector="loadavg"} 0.0001"#,
            r#"node_scrape_collector_success{collector="cpu"} 1"#,
            r#"node_scrape_collector_success{collector="loadavg"} 1"#,
            r#"node_scrape_collector_success{collector="filesystem"} 0"#,
            r#"node_scrape_collector_success{collector="hwmon"} 0"#,
        ]
    );
    assert!(answer.text().contains("\n# TYPE node_cpu_seconds_total counter\n"));
    let again = server.get("/metrics").await;
    assert!(
        again.text().contains("\nfarol_http_requests_total{code=\"200\",handler=\"metrics\"} 1\n")
    );
}

#[tokio::test]
async fn openmetrics_is_given_to_those_who_ask_and_is_complete() {
    let server = start(Settings::default()).await;
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = server.ask("GET", "/metrics", accept).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(expected));
    let parsed = parse(&answer.body, Format::OpenMetrics, &Limits::default()).unwrap();
    assert_eq!(parsed.families["node_cpu_seconds"].kind, FamilyKind::Counter);
    assert!(answer.text().ends_with("\n# EOF\n"));
}

#[tokio::test]
async fn gzip_is_one_member_and_says_the_same() {
    let server = start(Settings::default()).await;
    for accept in ["", "Accept: application/openmetrics-text\r\n"] {
        let plain = server.ask("GET", "/metrics", accept).await;
        let gzip = format!("{accept}Accept-Encoding: gzip\r\n");
        // Twice: packed anew, and from the cache.
        for _ in 0..2 {
            let packed = server.ask("GET", "/metrics", &gzip).await;
            assert_eq!(packed.header("content-encoding"), Some("gzip"));
            assert_eq!(packed.header("content-length").unwrap(), packed.body.len().to_string());
            let text = packed.unpacked();
            assert_eq!(collected_part(&text), collected_part(plain.text()));
            assert!(text.contains("farol_http_requests_total"));
        }
    }
    let chosen = server.ask("GET", "/metrics?collect[]=cpu", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(chosen.unpacked(), server.get("/metrics?collect[]=cpu").await.text());
}

#[tokio::test]
async fn a_new_snapshot_is_served_at_once() {
    let server = start(Settings::default()).await;
    assert!(server.get("/metrics").await.text().contains("\nnode_load1 0.25\n"));
    let mut current = machine();
    current.lanes[0] =
        Some(snapshot(Lane::Fast, 1, vec![sample("node_load1", [], 0.5)], Vec::new()));
    server.publish.send_replace(Arc::new(current));
    assert!(server.get("/metrics").await.text().contains("\nnode_load1 0.5\n"));
}

#[tokio::test]
async fn collectors_can_be_chosen_and_left_out() {
    let server = start(Settings::default()).await;
    let only = server.get("/metrics?collect[]=cpu").await;
    assert_eq!(
        without_help(only.text()),
        r#"# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 12.5
node_cpu_seconds_total{cpu="0",mode="user"} 3
# TYPE node_scrape_collector_duration_seconds gauge
node_scrape_collector_duration_seconds{collector="cpu"} 0.0002
# TYPE node_scrape_collector_success gauge
node_scrape_collector_success{collector="cpu"} 1
"#
    );
    let without = server.get("/metrics?exclude[]=cpu").await;
    assert!(!without.text().contains("cpu"), "{}", without.text());
    assert!(without.text().contains("node_load1 0.25"));
    assert!(!without.text().contains("farol_http"), "a choice is of collectors alone");
    let both = server.get("/metrics?collect[]=cpu&exclude[]=loadavg").await;
    assert_eq!((both.status, both.text()), (400, "collect[] and exclude[] cannot be combined\n"));
    let unknown = server.get("/metrics?collect[]=cpuu").await;
    assert_eq!((unknown.status, unknown.text()), (400, "there is no collector \"cpuu\"\n"));
}

#[tokio::test]
async fn a_stale_lane_is_left_out_entirely() {
    let server = start(Settings::default()).await;
    server.get("/metrics").await;
    server.advance(Duration::from_secs(5));
    let answer = server.get("/metrics").await;
    assert!(!answer.text().contains("node_load1"), "the fast lane is stale");
    assert!(answer.text().contains("node_hwmon_temp_celsius"), "the slow lane is not");
    let health = server.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["status"], "degraded");
    assert_eq!(
        health.json()["problems"][0],
        "the fast lane's data is 5 s old; it should come every 1 s"
    );

    server.advance(Duration::from_secs(60));
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(collected_part(answer.text()), "");
    let health = server.get("/health").await;
    assert_eq!(health.status, 503);
    let health = health.json();
    assert_eq!(health["status"], "stale");
    assert_eq!(health["state"], "UNKNOWN");
    assert_eq!(health["metrics"], serde_json::json!({}));
    assert_eq!(health["collectors"], serde_json::json!([]));
}

#[tokio::test]
async fn health_says_it_all_in_one_object() {
    let server = start(Settings::default()).await;
    let answer = server.get("/health").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut health = answer.json();
    health.as_object_mut().unwrap().remove("process");
    let expected = serde_json::json!({
        "status": "ok",
        "problems": [],
        "state": "UNKNOWN",
        "reasons": ["no rules loaded"],
        "alerts": {"pending": 0, "firing": 0, "silenced": 0, "inhibited": 0, "quiet": 0},
        "host": "pine",
        "version": "1.2.3",
        "command": "run",
        "age_seconds": 0.5,
        "at": "2027-01-15T08:00:00.000Z",
        "metrics": {"cpu_percent": 12.5, "made_up_count": 3},
        "lanes": {
            "fast": {"age_seconds": 0.5, "interval_seconds": 1.0},
            "slow": {"age_seconds": 0.5, "interval_seconds": 10.0},
        },
        "collectors": [
            {"name": "cpu", "lane": "fast", "success": true, "duration_seconds": 0.0002,
             "result": "complete", "reasons": []},
            {"name": "filesystem", "lane": "slow", "success": false,
             "result": "failed", "reasons": []},
            {"name": "hwmon", "lane": "slow", "success": false,
             "result": "absent", "reasons": ["/sys/class/hwmon does not exist"]},
            {"name": "loadavg", "lane": "fast", "success": true, "duration_seconds": 0.0001,
             "result": "complete", "reasons": []},
        ],
    });
    assert_eq!(health, expected);
}

#[tokio::test]
async fn a_partial_view_of_the_host_is_told_per_collector_and_warned_of_on_the_page() {
    let server = start(Settings::default()).await;
    assert!(!server.get("/").await.text().contains("Partial view"));
    let mut current = machine();
    let view = |collector, value| sample("farol_host_view", [("collector", collector)], value);
    let mut slow = current.lanes[1].as_deref().unwrap().clone();
    slow.samples.extend([view("filesystem", 0.0), view("hwmon", 1.0)]);
    slow.samples.sort_by(|a, b| a.name.cmp(&b.name));
    current.lanes[1] = Some(Arc::new(slow));
    server.publish.send_replace(Arc::new(current));

    let page = server.get("/").await;
    let warning = "<b>Partial view of the host.</b> filesystem: only the container";
    assert!(page.text().contains(warning), "{}", page.text());
    let health = server.get("/health").await.json();
    let view_of = |name: &str| {
        let rows = health["collectors"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().get("host_view").cloned()
    };
    assert_eq!(view_of("filesystem"), Some(false.into()));
    assert_eq!(view_of("hwmon"), Some(true.into()));
    assert_eq!(view_of("cpu"), None);
}

#[tokio::test]
async fn health_is_503_with_the_reason_when_the_writer_is_degraded_or_nothing_is_there() {
    let server = start(Settings::default()).await;
    let degraded = Some(Text::from("the disk is full"));
    let writer = Writer { degraded, unjournaled: 7 };
    server.publish.send_replace(Arc::new(Current { writer, ..machine() }));
    let answer = server.get("/health").await;
    assert_eq!((answer.status, &answer.json()["status"]), (503, &"degraded".into()));
    assert_eq!(answer.json()["problems"], serde_json::json!(["the disk is full"]));
    assert_eq!(answer.json()["metrics"]["made_up_count"], 3, "the values are current all the same");

    server.publish.send_replace(Arc::new(Current::default()));
    let answer = server.get("/health").await;
    assert_eq!((answer.status, &answer.json()["status"]), (503, &"starting".into()));
    assert_eq!(answer.json()["age_seconds"], serde_json::Value::Null);
}

#[tokio::test]
async fn without_collectors_nothing_is_missing_and_it_is_said_why_nothing_is_there() {
    let server = start_changed(Door::default(), Settings::default(), |site| {
        site.current = watch::channel(Arc::new(Current::default())).1;
        site.about.without_collectors = true;
    })
    .await;
    let answer = server.get("/health").await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"ok".into()));
    assert_eq!(answer.json()["state"], "UNKNOWN");
    let reasons = serde_json::json!(["no collectors run (as configured)"]);
    assert_eq!(answer.json()["reasons"], reasons);
    let page = server.get("/").await;
    let sentence = "<h1>Not collecting: no collectors run (as configured)</h1>";
    assert!(page.text().contains(sentence), "{}", page.text());
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("farol_http_"), "{}", metrics.text());
}

#[tokio::test]
async fn health_says_what_is_kept_of_the_past_and_warns_when_nothing_is() {
    let fault = Arc::new(std::sync::Mutex::new(None));
    let told = Arc::clone(&fault);
    let server = start_changed(Door::default(), Settings::default(), |site| {
        site.history = Arc::new(move || {
            Some(farol_web::History {
                series: 517,
                blocks: 3,
                bytes: 12_000,
                max_bytes: 1 << 30,
                oldest: Some(Timestamp::from_millis(T0)),
                fault: told.lock().unwrap().clone(),
            })
        });
    })
    .await;
    let health = server.get("/health").await.json();
    let store = serde_json::json!({ "series": 517, "blocks": 3, "bytes": 12_000,
        "max_bytes": 1 << 30, "oldest": "2027-01-15T08:00:00.000Z" });
    assert_eq!(health["store"], store);
    assert!(health.get("warnings").is_none(), "{health}");

    *fault.lock().unwrap() = Some("the disk is full".to_owned());
    let answer = server.get("/health").await;
    assert_eq!(answer.status, 200, "what is shown is current all the same");
    let warnings = serde_json::json!(["history is not being stored: the disk is full"]);
    assert_eq!(answer.json()["warnings"], warnings);
}

#[tokio::test]
async fn the_page_shows_the_verdict_the_signs_and_what_is_missing() {
    let server = start(Settings::default()).await;
    let answer = server.get("/").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let page = answer.text();
    assert!(page.len() < 20 * 1024, "{} bytes", page.len());
    for part in [
        "<h1>Collecting; the state is unknown: no rules loaded</h1>",
        "<b>pine</b> · data 0.5 s old",
        "<dt>CPU</dt><dd>12.5 %</dd>",
        "Collectors: 2 of 4 complete",
        "/sys/class/hwmon does not exist",
        "<a href=\"/metrics\">",
        "Farol 1.2.3, run",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let mut hostile = machine();
    hostile.host = Text::from("<script>alert(1)</script>");
    server.publish.send_replace(Arc::new(hostile));
    assert!(!server.get("/").await.text().contains("<script>alert"));
    server.advance(Duration::from_secs(600));
    let page = server.get("/").await;
    assert!(page.text().contains("Not current: the newest data is 600 s old"));
    assert!(page.text().contains("No current values."));
}

#[tokio::test]
async fn the_page_shows_the_largest_processes_without_their_commands_and_health_shows_none() {
    let server = start(Settings::default()).await;
    assert!(!server.get("/").await.text().contains("Largest processes"));
    let mut busy = machine();
    let mut slow = Snapshot::clone(busy.lanes[Lane::Slow.index()].as_ref().unwrap());
    let process = |pid, name: &str, cpu_ratio| TopProcess {
        pid,
        name: name.into(),
        user: Some("ana".into()),
        unit: Some("burn.service".into()),
        command: Some("/usr/bin/burn --password=hunter2".into()),
        cpu_ratio,
        resident_bytes: 3 << 20,
        ..TopProcess::default()
    };
    slow.top = vec![process(7, "burn", Some(0.987)), process(8, "<script>x", None)];
    busy.lanes[Lane::Slow.index()] = Some(Arc::new(slow));
    server.publish.send_replace(Arc::new(busy));

    let answer = server.get("/").await;
    let page = answer.text();
    for part in [
        "<h2>Largest processes</h2>",
        "<td>98.7&nbsp;%</td><td>3.0&nbsp;MiB</td><td></td><td>burn (7), ana, burn.service</td>",
        "<td></td><td>3.0&nbsp;MiB</td><td></td><td>&lt;script&gt;x (8), ana, burn.service</td>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    for path in ["/", "/health", "/metrics"] {
        let answer = server.get(path).await;
        let text = answer.text();
        assert!(!text.contains("hunter2"), "{path}");
        assert_eq!(text.contains("burn"), path == "/", "{path}");
    }
    server.advance(Duration::from_secs(600));
    assert!(!server.get("/").await.text().contains("Largest processes"), "no old rows");
}

#[tokio::test]
async fn management_paths_answer_as_probes_expect() {
    let server = start(Settings::default()).await;
    for path in ["/-/healthy", "/-/ready", "/ready"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
        let head = server.ask("HEAD", path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    server.ready.send_replace(false);
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(server.ask("HEAD", "/ready", "").await.status, 503);
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let server = start(Settings::default()).await;
    let body = server.get("/metrics?collect[]=cpu").await.body.len().to_string();
    let head = server.ask("HEAD", "/metrics?collect[]=cpu", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(body.as_str()));
}

#[tokio::test]
async fn every_refusal_has_its_status_and_a_sentence() {
    let settings = Settings { allowed_hosts: vec!["pine.example".into()], ..Settings::default() };
    let server = start(settings).await;
    let end = "Connection: close\r\n\r\n";
    let cases = [
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("GET /-/reload HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("DELETE /metrics HTTP/1.1\r\nHost: localhost\r\n", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n", 421),
        ("GET /metrics HTTP/1.1\r\n", 400),
        ("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n", 403),
        ("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n", 413),
    ];
    for (request, status) in cases {
        let answer = server.send(&format!("{request}{end}")).await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.text().len() > 10, "{request}: {}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.header("content-security-policy").is_some());
    }
    let refused = server.send("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    let sentence = refused.await.text().to_owned();
    assert!(sentence.contains("evil.example") && sentence.contains("allowed_hosts"), "{sentence}");
    let allowed = "GET /-/healthy HTTP/1.1\r\nHost: pine.example:80\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(allowed).await.status, 200);
    assert_eq!(server.send("GET /-/healthy HTTP/1.0\r\n\r\n").await.status, 200);
    assert_eq!(server.ask("DELETE", "/metrics", "").await.header("allow"), Some("get,head"));
    assert_eq!(server.get("/-/reload").await.header("allow"), Some("put,post"));
}

#[tokio::test]
async fn a_reload_is_handed_on_and_its_error_handed_back() {
    let mut server = start(Settings::default()).await;
    let mut commands = std::mem::replace(&mut server.commands, mpsc::channel(1).1);
    tokio::spawn(async move {
        let mut results = [Ok(()), Err("farol.yml:3: no such key".to_owned())].into_iter();
        while let Some(Command::Reload { reply }) = commands.recv().await {
            reply.send(results.next().unwrap()).unwrap();
        }
    });
    let reloaded = server.ask("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((reloaded.status, reloaded.text()), (200, "reloaded\n"));
    let failed = server.ask("PUT", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((failed.status, failed.text()), (500, "farol.yml:3: no such key\n"));
}

#[tokio::test]
async fn a_reader_refuses_every_change_with_the_way_out() {
    let read_only = Some("run `farol reload` beside the writer".to_owned());
    let server = start(Settings { read_only, ..Settings::default() }).await;
    let refused = server.ask("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((refused.status, refused.text()), (403, "run `farol reload` beside the writer\n"));
}

#[tokio::test]
async fn a_stranger_is_not_told_that_it_is_a_reader() {
    let read_only = Some("run `farol reload` beside the writer".to_owned());
    let door = Door { tokens: Tokens::new([&b"s3cret"[..]]).unwrap(), ..Door::default() };
    let server = start_behind(door, Settings { read_only, ..Settings::default() }).await;
    let refused = server.ask("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((refused.status, refused.text()), (401, "unauthorized\n"));
    let known = "Authorization: Bearer s3cret\r\nContent-Length: 0\r\n";
    assert_eq!(server.ask("POST", "/-/reload", known).await.status, 403);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let server = start(Settings { body_limit: 1000, ..Settings::default() }).await;
    let chunk = format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024));
    let request = format!(
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    );
    assert_eq!(server.send(&request).await.status, 413);
}

#[tokio::test]
async fn a_head_that_is_too_big_or_too_slow_ends_the_connection() {
    let header_timeout = Duration::from_millis(300);
    let server = start(Settings { header_timeout, ..Settings::default() }).await;
    let big = format!("X: {}\r\n", "x".repeat(20_000));
    assert_eq!(server.ask("GET", "/", &big).await.status, 431);
    let many: String = (0..100).map(|index| format!("X-{index}: 1\r\n")).collect();
    assert_eq!(server.ask("GET", "/", &many).await.status, 431);

    let mut slow = server.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("closed by the server").ok();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_within_a_head() {
    let header_timeout = Duration::from_millis(200);
    let server = start(Settings { header_timeout, ..Settings::default() }).await;
    let mut kept = server.connect().await;
    let ask = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    kept.write_all(ask).await.unwrap();
    kept.readable().await.unwrap();
    tokio::time::sleep(header_timeout * 4).await;
    kept.write_all(ask).await.unwrap();
    tokio::time::sleep(header_timeout / 2).await;
    kept.write_all(b"GET /-/hea").await.unwrap();
    let mut answers = Vec::new();
    timeout(PATIENCE, kept.read_to_end(&mut answers)).await.expect("closed by the server").ok();
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_told_so() {
    let request_timeout = Duration::from_millis(200);
    let server = start(Settings { request_timeout, ..Settings::default() }).await;
    // Nobody reads the commands.
    let answer = server.ask("POST", "/-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((answer.status, answer.text()), (503, "not answered within 200ms\n"));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_counted() {
    let server = start(Settings { max_connections: 1, ..Settings::default() }).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begun = [0; 16];
    first.read_exact(&mut begun).await.unwrap();
    let refused = server.get("/-/healthy").await;
    assert_eq!((refused.status, refused.text()), (503, "too many connections\n"));

    first
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, first.read_to_end(&mut rest)).await.unwrap().unwrap();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("\nfarol_http_connections_refused_total 1\n"), "{rest}");
}

#[tokio::test]
async fn one_scrape_too_many_is_told_so() {
    let server = start(Settings { max_requests: 1, ..Settings::default() }).await;
    server.publish.send_replace(Arc::new(huge_machine()));
    let mut first = server.ask_without_reading("/metrics").await;
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.text()), (503, "too many scrapes at once\n"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(Answer::read(&mut first).await.status, 200);
    assert_eq!(server.get("/metrics?collect[]=hwmon").await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_loses_it_in_time() {
    let request_timeout = Duration::from_millis(500);
    let server = start(Settings { max_requests: 1, request_timeout, ..Settings::default() }).await;
    server.publish.send_replace(Arc::new(huge_machine()));
    let _first = server.ask_without_reading("/metrics").await;
    let freed = async { while server.get("/metrics?collect[]=hwmon").await.status != 200 {} };
    timeout(PATIENCE, freed).await.expect("the first scrape is given up");
}

/// Its text is more than the sockets' buffers take: a scrape lasts for as long as it is unread.
fn huge_machine() -> Current {
    let long = "x".repeat(1024);
    let wide = |index: usize| {
        sample("node_load1", [("long", format!("{index}{long}").as_str())], index as f64)
    };
    let samples = (0..30_000).map(wide).collect();
    let mut current = machine();
    current.lanes[0] = Some(snapshot(Lane::Fast, 1, samples, Vec::new()));
    current
}

#[tokio::test]
async fn requests_in_flight_finish_at_stop_and_idle_connections_do_not_hold_it_up() {
    let mut server = start(Settings::default()).await;
    let idle = server.connect().await;
    let mut busy = server.connect().await;
    let ask = b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    busy.write_all(ask).await.unwrap();
    let Some(Command::Reload { reply }) = server.commands.recv().await else { panic!("stopped") };
    server.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    reply.send(Ok(())).unwrap();
    assert_eq!(Answer::read(&mut busy).await.text(), "reloaded\n");
    timeout(PATIENCE, server.running).await.expect("an end in time").unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn half_a_head_does_not_hold_up_the_stop() {
    let hour = Duration::from_secs(3600);
    let settings = Settings { header_timeout: hour, request_timeout: hour, ..Settings::default() };
    let mut server = start(settings).await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    server.stop.take().unwrap().send(()).unwrap();
    timeout(PATIENCE, server.running).await.expect("an end in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_path_that_is_taken_is_no_place_for_metrics() {
    for path in ["/health", "metrics", "/{x}", "/"] {
        let settings = Settings { telemetry_path: path.into(), ..Settings::default() };
        let error = start(settings).await.running.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
    }
    let settings = Settings { telemetry_path: "/own/metrics".into(), ..Settings::default() };
    let server = start(settings).await;
    assert_eq!(server.get("/own/metrics").await.status, 200);
    assert_eq!(server.get("/metrics").await.status, 404);
}
