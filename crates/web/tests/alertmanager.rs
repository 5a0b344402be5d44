//! Alertmanager's API as its clients see it: the site's memory in, JSON out, and what they ask to change.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::sync::Arc;

use farol_alert::{
    Route, Routing,
    dispatch::default_inhibitions,
    silences::{Draft, SilenceError},
};
use farol_model::{
    Alert, Labels, Memory, Phase, Record, Silence, SilenceMatcher, Timestamp, Transition, Turn,
};
use farol_web::{About, Command, Settings, Site, door::Opening, serve};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

struct Server {
    address: std::net::SocketAddr,
    commands: mpsc::Receiver<Command>,
    _stop: oneshot::Sender<()>,
}

async fn start(memory: Memory, settings: Settings) -> Server {
    let (commands, asked) = mpsc::channel(1);
    let routing = Routing {
        routes: vec![Route::new("team")],
        inhibitions: default_inhibitions(),
        quiet: Vec::new(),
    };
    let site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| None),
        reader: Arc::new(|| None),
        configuration: Arc::new(Vec::new),
        current: watch::channel(Arc::default()).1,
        memory: watch::channel(Arc::new(memory)).1,
        routing: watch::channel(Arc::new(routing)).1,
        rules: Arc::new(Default::default),
        ready: watch::channel(true).1,
        now: Arc::new(|| NOW),
        commands,
        door: watch::channel(Opening::default()).1,
        about: About { version: "1.2.3", command: "run", started: NOW, ..About::default() },
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

/// The status and the body as JSON, or as text where it is none.
async fn ask(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

fn memory() -> Memory {
    let mut memory = Memory::default();
    for (name, severity, host) in [
        ("Cpu", "warning", "a"),
        ("Cpu", "critical", "a"),
        ("Cpu", "warning", "b"),
        ("Disk", "", "a"),
    ] {
        let labels = [("alertname", name), ("severity", severity), ("instance", host)];
        memory.apply(&Record::Alert(Transition {
            at: NOW,
            host: "pi".into(),
            turn: Turn::Firing,
            reason: None,
            alert: Arc::new(Alert {
                group: "g".into(),
                rule: format!("{name} {severity}").into(),
                labels: Labels::from(labels),
                annotations: Labels::from([("summary", "it is hot")]),
                series: Labels::from([("instance", host)]),
                value: 1.0,
                phase: Phase::Firing,
                active_at: NOW,
                fired_at: Some(NOW),
                keeping_since: None,
                missing_since: None,
                unseen: 0,
                seen_at: NOW,
                ended_at: None,
                firings: vec![NOW],
                is_flapping: false,
                remedy: None,
            }),
        }));
    }
    let minute = |minute: i64| Timestamp::from_millis(NOW.as_millis() + minute * 60_000);
    for (id, value, from, to) in
        [("1", "Disk", -10, -5), ("2", "Net", 5, 10), ("3", "Disk", -5, 20), ("4", "Net", -5, 10)]
    {
        memory.apply(&Record::Silence(Silence {
            at: minute(from),
            host: "pi".into(),
            id: id.into(),
            matchers: vec![matcher("alertname", value)],
            starts_at: minute(from),
            ends_at: minute(to),
            created_by: "ana".into(),
            comment: "works".into(),
        }));
    }
    memory
}

fn matcher(name: &str, value: &str) -> SilenceMatcher {
    SilenceMatcher { name: name.into(), value: value.into(), is_regex: false, is_equal: true }
}

fn texts(found: &Value, path: &str) -> Vec<String> {
    let found = found.as_array().unwrap().iter();
    found.map(|item| item.pointer(path).unwrap().as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn silences_are_listed_active_ones_first_and_by_their_matchers() {
    let server = start(memory(), Settings::default()).await;
    let (status, all) = ask(server.address, "GET", "/api/v2/silences", "").await;
    assert_eq!(status, 200);
    assert_eq!(texts(&all, "/id"), ["4", "3", "2", "1"]);
    assert_eq!(texts(&all, "/status/state"), ["active", "active", "pending", "expired"]);
    let path = "/api/v2/silences?filter=alertname%3D%22Net%22";
    let (_, some) = ask(server.address, "GET", path, "").await;
    assert_eq!(texts(&some, "/id"), ["4", "2"]);
    let (_, one) = ask(server.address, "GET", "/api/v2/silence/3", "").await;
    let expected = json!({
        "id": "3",
        "status": { "state": "active" },
        "updatedAt": "2027-01-15T07:55:00.000Z",
        "comment": "works",
        "createdBy": "ana",
        "startsAt": "2027-01-15T07:55:00.000Z",
        "endsAt": "2027-01-15T08:20:00.000Z",
        "matchers": [
            { "name": "alertname", "value": "Disk", "isRegex": false, "isEqual": true }
        ],
    });
    assert_eq!(one, expected);
    let (status, why) = ask(server.address, "GET", "/api/v2/silence/5", "").await;
    assert_eq!(status, 404);
    assert!(why.as_str().unwrap().contains("no silence \"5\""), "{why}");
}

#[tokio::test]
async fn alerts_say_what_mutes_them() {
    let server = start(memory(), Settings::default()).await;
    let (_, all) = ask(server.address, "GET", "/api/v2/alerts", "").await;
    let shown = |alert: &Value| {
        let text =
            |path: &str| alert.pointer(path).unwrap().as_str().unwrap_or_default().to_owned();
        let severity = alert.pointer("/labels/severity").and_then(Value::as_str);
        let name = format!("{} {}", text("/labels/alertname"), severity.unwrap_or("-"));
        let is = |path: &str| !alert.pointer(path).unwrap().as_array().unwrap().is_empty();
        let (silenced, inhibited) = (is("/status/silencedBy"), is("/status/inhibitedBy"));
        let host = text("/labels/instance");
        format!("{name} {host} {} {silenced} {inhibited}", text("/status/state"))
    };
    let mut found: Vec<String> = all.as_array().unwrap().iter().map(shown).collect();
    found.sort();
    let expected = [
        "Cpu critical a active false false",
        "Cpu warning a suppressed false true",
        "Cpu warning b active false false",
        "Disk - a suppressed true false",
    ];
    assert_eq!(found, expected);
    assert_eq!(texts(&all, "/receivers/0/name"), ["team"; 4]);
    for (query, count) in [
        ("silenced=false", 3),
        ("inhibited=false", 3),
        ("active=false", 2),
        ("filter=instance%3Db", 1),
        ("receiver=te.*", 4),
        ("receiver=te", 0),
    ] {
        let path = format!("/api/v2/alerts?{query}");
        let (_, some) = ask(server.address, "GET", &path, "").await;
        assert_eq!(some.as_array().unwrap().len(), count, "{query}");
    }
    for wrong in ["active=maybe", "filter=a", "receiver=("] {
        let path = format!("/api/v2/alerts?{wrong}");
        assert_eq!(ask(server.address, "GET", &path, "").await.0, 400, "{wrong}");
    }
    let (_, groups) = ask(server.address, "GET", "/api/v2/alerts/groups", "").await;
    assert_eq!(texts(&groups, "/labels/alertname"), ["Cpu", "Disk"]);
}

#[tokio::test]
async fn what_is_posted_is_asked_for_and_its_answer_is_told() {
    let mut server = start(Memory::default(), Settings::default()).await;
    let body = r#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2027-01-15T08:00:00Z","endsAt":"2027-01-15T09:00:00+01:00","createdBy":"ana","comment":"c"}"#;
    let asking = ask(server.address, "POST", "/api/v2/silences", body);
    let answering = async {
        let Some(Command::Silence { draft, reply }) = server.commands.recv().await else {
            panic!("a silence is asked for")
        };
        reply.send(Ok("new".into())).unwrap();
        draft
    };
    let (answer, draft) = tokio::join!(asking, answering);
    assert_eq!(answer, (200, json!({ "silenceID": "new" })));
    let expected = Draft {
        id: None,
        matchers: vec![matcher("a", "b")],
        starts_at: Some(NOW),
        ends_at: NOW,
        created_by: "ana".into(),
        comment: "c".into(),
    };
    assert_eq!(draft, expected);

    let asking = ask(server.address, "DELETE", "/api/v2/silence/x", "");
    let answering = async {
        let Some(Command::Expire { id, reply }) = server.commands.recv().await else {
            panic!("an end is asked for")
        };
        reply.send(Err(SilenceError::NotFound(id))).unwrap();
    };
    let ((status, why), ()) = tokio::join!(asking, answering);
    assert_eq!(status, 404);
    assert!(why.as_str().unwrap().contains("\"x\""), "{why}");
}

#[tokio::test]
async fn a_body_that_is_no_silence_is_refused_and_so_is_every_change_where_nothing_is_written() {
    let server = start(Memory::default(), Settings::default()).await;
    for body in ["", "{}", "[1]", r#"{"matchers":[],"endsAt":"tomorrow"}"#] {
        let (status, why) = ask(server.address, "POST", "/api/v2/silences", body).await;
        assert_eq!(status, 400, "{body}");
        assert!(why.as_str().unwrap().starts_with("bad silence"), "{why}");
    }
    let reader = Settings { read_only: Some("ask the other".into()), ..Settings::default() };
    let server = start(memory(), reader).await;
    for (method, path) in [("POST", "/api/v2/silences"), ("DELETE", "/api/v2/silence/1")] {
        let (status, why) = ask(server.address, method, path, "{}").await;
        assert_eq!(status, 403);
        assert!(why.as_str().unwrap().contains("farol silence"), "{why}");
    }
    assert_eq!(ask(server.address, "GET", "/api/v2/silences", "").await.0, 200);
}
