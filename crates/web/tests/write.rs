//! Remote write over HTTP: what is taken, what is refused and in which words, and that all of it has a
//! bound. The other end of the commands, which would journal what comes, is played by the test.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use farol_model::{Batch, Current, Labels, STALE, Series, Timestamp, is_stale};
use farol_web::{About, Command, Receiver, Settings, Site, door::Opening, serve};
use farol_wire::remote_write::encode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

const NOW: i64 = 1_795_341_600_000;
const PATIENCE: Duration = Duration::from_secs(20);
const PATH: &str = "/api/v1/write";

struct Server {
    address: SocketAddr,
    commands: mpsc::Receiver<Command>,
    /// Dropped, it ends the server.
    _stop: oneshot::Sender<()>,
}

fn receiving() -> Settings {
    let retention = Duration::from_secs(24 * 3600);
    let receiver = Some(Receiver { body_limit: 64 << 10, retention });
    Settings { receiver, ..Settings::default() }
}

async fn start(settings: Settings) -> Server {
    let (commands, asked) = mpsc::channel(1);
    let site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| None),
        reader: Arc::new(|| None),
        configuration: Arc::new(Vec::new),
        current: watch::channel(Arc::new(Current::default())).1,
        memory: watch::channel(Arc::default()).1,
        routing: watch::channel(Arc::default()).1,
        rules: Arc::new(Default::default),
        ready: watch::channel(true).1,
        now: Arc::new(|| Timestamp::from_millis(NOW)),
        commands,
        door: watch::channel(Opening::default()).1,
        about: About::default(),
        settings: Arc::new(settings),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(serve(vec![listener], site, async {
        stopped.await.ok();
    }));
    Server { address, commands: asked, _stop: stop }
}

impl Server {
    /// Answers every part that comes, and gives all of them back.
    fn journal(&mut self, answer: Result<(), String>) -> mpsc::Receiver<Batch> {
        let (_, other) = mpsc::channel(1);
        let mut commands = std::mem::replace(&mut self.commands, other);
        let (journaled, batches) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let Command::Write { batch, reply } = command else { panic!("{command:?}") };
                journaled.send(batch).await.ok();
                reply.send(answer.clone()).ok();
            }
        });
        batches
    }

    async fn open(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head =
            format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn write(&self, headers: &str, body: &[u8]) -> (u16, String) {
        let length = body.len();
        let mut stream = self.open(&format!("{headers}Content-Length: {length}\r\n")).await;
        // One that is refused by its head may not be read to its end.
        stream.write_all(body).await.ok();
        answer(stream).await
    }

    async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let ask = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        answer(stream).await.1
    }
}

async fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end in time").ok();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = if head.to_lowercase().contains("\r\nretry-after: 1") {
        format!("(later) {body}")
    } else {
        body.to_owned()
    };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

const USUAL: &str = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n";

fn series(name: &str, points: &[(i64, f64)]) -> Series {
    let point = |(at, value): &(i64, f64)| (Timestamp::from_millis(*at), *value);
    Series {
        name: name.into(),
        labels: Labels::from([("job", "x")]),
        points: points.iter().map(point).collect(),
    }
}

#[tokio::test]
async fn what_is_sent_is_journaled_before_it_is_answered() {
    let mut server = start(receiving()).await;
    let sent = [series("a", &[(NOW, 1.5), (NOW - 7, STALE)]), series("b", &[(NOW + 600_000, 2.0)])];
    let body = encode(&sent);
    let mut stream = server.open(&format!("{USUAL}Content-Length: {}\r\n", body.len())).await;
    stream.write_all(&body).await.unwrap();
    let Some(Command::Write { batch, reply }) = server.commands.recv().await else { panic!() };
    assert_eq!(batch.at, Timestamp::from_millis(NOW));
    assert_eq!(batch.series.len(), 2);
    assert!(is_stale(batch.series[0].points[1].1));
    let mut early = [0];
    let silence = timeout(Duration::from_millis(100), stream.read(&mut early)).await;
    assert!(silence.is_err(), "answered before it was journaled");
    reply.send(Ok(())).unwrap();
    assert_eq!(answer(stream).await, (204, String::new()));

    let mut batches = server.journal(Ok(()));
    // An old sender says nothing of what it sends; another sends in chunks.
    assert_eq!(server.write("", &body).await.0, 204);
    let mut stream = server.open(&format!("{USUAL}Transfer-Encoding: chunked\r\n")).await;
    for part in body.chunks(10) {
        let size = format!("{:x}\r\n", part.len());
        stream.write_all(&[size.as_bytes(), part, b"\r\n"].concat()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer(stream).await.0, 204);
    for _ in 0..2 {
        assert_eq!(batches.recv().await.unwrap().samples(), 3);
    }
    // Nothing to journal is no reason to wake anybody.
    assert_eq!(server.write(USUAL, &encode(&[])).await.0, 204);
    assert!(batches.try_recv().is_err());
    let metrics = server.metrics().await;
    for line in [
        "farol_received_requests_total{result=\"stored\"} 4\n",
        "farol_received_samples_total 9\n",
        "farol_http_requests_total{code=\"204\",handler=\"write\"} 4\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn a_large_request_is_journaled_in_parts_of_bounded_size() {
    let mut settings = receiving();
    settings.receiver.as_mut().unwrap().body_limit = 32 << 20;
    let mut server = start(settings).await;
    let mut batches = server.journal(Ok(()));
    let sent: Vec<Series> = (0..60_000)
        .map(|n| series(&format!("name_{n:05}"), &[(NOW, f64::from(n)), (NOW - 1, 1.0)]))
        .collect();
    assert_eq!(server.write(USUAL, &encode(&sent)).await, (204, String::new()));
    let (mut parts, mut samples) = (0, 0);
    while let Ok(batch) = batches.try_recv() {
        assert!(batch.samples() < 30_000, "{}", batch.samples());
        (parts, samples) = (parts + 1, samples + batch.samples());
    }
    assert_eq!(samples, 120_000);
    assert!(parts > 3, "{parts}");
}

#[tokio::test]
async fn what_cannot_be_journaled_is_to_be_sent_again() {
    let mut server = start(receiving()).await;
    let body = encode(&[series("a", &[(NOW, 1.0)])]);
    let batches = server.journal(Err("no space for metrics.jsonl".to_owned()));
    let (status, text) = server.write(USUAL, &body).await;
    assert_eq!(status, 503);
    assert_eq!(text, "(later) the samples could not be journaled: no space for metrics.jsonl\n");
    drop((batches, std::mem::replace(&mut server.commands, mpsc::channel(1).1)));
    let metrics = server.metrics().await;
    assert!(metrics.contains("farol_received_requests_total{result=\"failed\"} 1\n"), "{metrics}");
    assert!(metrics.contains("farol_received_samples_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn who_does_not_wait_lets_no_second_part_in_beside_the_first() {
    let request_timeout = Duration::from_millis(100);
    let mut server = start(Settings { request_timeout, ..receiving() }).await;
    let body = encode(&[series("a", &[(NOW, 1.0)])]);
    assert_eq!(server.write(USUAL, &body).await.0, 503);
    let Some(Command::Write { reply, .. }) = server.commands.recv().await else { panic!() };
    // The first is with the core still, whatever its sender was told.
    assert_eq!(server.write(USUAL, &body).await.0, 503);
    assert!(server.commands.try_recv().is_err());
    reply.send(Ok(())).unwrap();
    let mut batches = server.journal(Ok(()));
    assert_eq!(server.write(USUAL, &body).await.0, 204);
    assert_eq!(batches.recv().await.unwrap().samples(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_and_journaled_in_no_part() {
    let mut server = start(receiving()).await;
    let mut batches = server.journal(Ok(()));
    let good = encode(&[series("a", &[(NOW, 1.0)])]);
    let nameless = encode(&[series("", &[(NOW, 1.0)])]);
    let large: Vec<Series> = (0..3000).map(|n| series(&format!("n{n}"), &[(NOW, 1.0)])).collect();
    let large = encode(&large);
    assert!(large.len() < 64 << 10, "only what it is decompressed to is too large");
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(n) >> 3) as u8).collect();
    let json = "Content-Encoding: snappy\r\nContent-Type: application/json\r\n";
    let cases: [(&str, &[u8], u16, &str); 7] = [
        (USUAL, b"", 400, "the body is not one snappy block: "),
        (USUAL, b"hello", 400, "the body is not one snappy block: "),
        (
            USUAL,
            &nameless,
            400,
            "the series {job=\"x\"} has no label __name__: a sample needs a metric\n",
        ),
        (USUAL, &large, 413, "the body has "),
        (USUAL, &noise, 413, "a body may have 65536 bytes; send fewer samples at once"),
        (json, &good, 415, "the body must be application/x-protobuf, not \"application/json\"\n"),
        (
            "Content-Encoding: gzip\r\n",
            &good,
            415,
            "the body must be compressed with snappy, not \"gzip\"\n",
        ),
    ];
    for (headers, body, expected, reason) in cases {
        let (status, text) = server.write(headers, body).await;
        assert_eq!(status, expected, "{text}");
        assert!(text.starts_with(reason), "{text}");
    }
    assert!(batches.try_recv().is_err());
    let old = encode(&[series("a", &[(NOW - 25 * 3_600_000, 1.0), (NOW, 2.0)])]);
    let (status, text) = server.write(USUAL, &old).await;
    assert_eq!(
        (status, text.as_str()),
        (
            400,
            "samples were dropped: 1 are older than the store keeps any (24 h); the other 1 are stored\n"
        )
    );
    assert_eq!(batches.recv().await.unwrap().samples(), 1);
    let metrics = server.metrics().await;
    assert!(metrics.contains("farol_received_requests_total{result=\"refused\"} 8\n"), "{metrics}");
}

#[tokio::test]
async fn bodies_that_do_not_come_to_an_end_take_no_more_than_their_share() {
    let server = start(receiving()).await;
    // Each says that it is as large as may be: two fill the room there is.
    let head = format!("{USUAL}Content-Length: {}\r\n", 64 << 10);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.open(&head).await;
        stream.write_all(b"x").await.unwrap();
        held.push(stream);
    }
    let body = encode(&[series("a", &[(NOW, 1.0)])]);
    let mut server = server;
    let mut batches = server.journal(Ok(()));
    // The two may not have been read yet; once they are, there is no room.
    let told = loop {
        let (status, text) = server.write(USUAL, &body).await;
        if status != 204 {
            break (status, text);
        }
        batches.recv().await.unwrap();
    };
    // What Prometheus sends again; 429 it gives up unless it is told otherwise.
    assert_eq!(told.0, 503);
    assert!(told.1.starts_with("(later) too many samples are on their way at once"), "{}", told.1);
    drop(held);
    let status = loop {
        let (status, _) = server.write(USUAL, &body).await;
        if status != 503 {
            break status;
        }
    };
    assert_eq!(status, 204, "there is room again");
}

#[tokio::test]
async fn where_it_is_off_or_nothing_is_written_the_way_is_named() {
    let body = encode(&[series("a", &[(NOW, 1.0)])]);
    let off = start(Settings::default()).await;
    let (status, text) = off.write(USUAL, &body).await;
    assert_eq!(status, 404);
    assert!(text.contains("--web.enable-remote-write-receiver"), "{text}");
    let reading = Settings { read_only: Some("run `farol reload`".into()), ..receiving() };
    let (status, text) = start(reading).await.write(USUAL, &body).await;
    assert_eq!(status, 403);
    assert!(text.contains("`farol run --web.enable-remote-write-receiver`"), "{text}");
    let mut stream = TcpStream::connect(off.address).await.unwrap();
    let ask = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(answer(stream).await.0, 405);
}
