//! The other receivers by HTTP: what they are sent, what their answers mean, and whom they trust.

use std::{sync::Arc, time::Duration};

use farol_act::notify::{
    Alertmanager, Board, Endpoint, Heartbeat, Http, Origin, Ping, RESEND, Resender, SendError,
    Sender, Slack, Trust, Webhook,
};
use farol_alert::{Route, Routing};
use farol_model::{Labels, Memory, Record, Transition, Turn};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    fake::{Reply, Request, Server},
    world::{START, ended, firing, http, notice, origin},
};

fn linked() -> Origin {
    Origin { host: "web-1".into(), external_url: Some("https://farol.example".into()) }
}

fn said(error: &SendError) -> String {
    match error {
        SendError::Retry { after: Some(after), reason } => {
            format!("retry after {} ms: {reason}", after.as_millis())
        }
        SendError::Retry { after: None, reason } => format!("retry: {reason}"),
        SendError::Refused { reason } => format!("refused: {reason}"),
        SendError::Disabled { reason } => format!("disabled: {reason}"),
    }
}

#[tokio::test]
async fn a_webhook_gets_alertmanagers_body() {
    let server = Server::start(|_| Reply::text(200, "")).await;
    let endpoint = Endpoint::new(&server.url("/in?key=1")).unwrap();
    let endpoint = endpoint.with_bearer("hunter2").unwrap().with_header("X-Scope", "a").unwrap();
    let mut hook = Webhook::new(http(), endpoint, linked());
    let mut first = firing("HostCpuHigh", &[("severity", "critical"), ("cpu", "1")]);
    first.annotations = Labels::from([("summary", "busy"), ("description", "one")]);
    let mut second =
        ended(&firing("HostCpuHigh", &[("severity", "critical"), ("cpu", "2")]), START);
    second.annotations = Labels::from([("summary", "busy"), ("description", "two")]);
    let mut told = notice(vec![first, second]);
    told.truncated = 3;
    hook.send(&told).await.unwrap();
    let request = server.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/in?key=1"));
    assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
    assert_eq!(request.header("x-scope"), Some("a"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let one = |cpu: &str, status: &str, description: &str, end: &str, fingerprint: &str| {
        json!({
            "status": status,
            "labels": { "alertname": "HostCpuHigh", "cpu": cpu, "severity": "critical" },
            "annotations": { "description": description, "summary": "busy" },
            "startsAt": "2026-09-21T14:13:20Z",
            "endsAt": end,
            "generatorURL": "https://farol.example/alerts",
            "fingerprint": fingerprint,
        })
    };
    let expected = json!({
        "receiver": "team",
        "status": "firing",
        "alerts": [
            one("1", "firing", "one", "0001-01-01T00:00:00Z", "b1a1ba3d4ac0c4b4"),
            one("2", "resolved", "two", "2026-09-21T14:13:20Z", "b1a1b73d4ac0bf9b"),
        ],
        "groupLabels": { "alertname": "HostCpuHigh" },
        "commonLabels": { "alertname": "HostCpuHigh", "severity": "critical" },
        "commonAnnotations": { "summary": "busy" },
        "routeLabels": {},
        "externalURL": "https://farol.example",
        "version": "4",
        "groupKey": "{}:{alertname=\"HostCpuHigh\"}",
        "truncatedAlerts": 3,
        "notification_reason": "first notification",
    });
    let without_fingerprints = |mut body: Value| {
        for alert in body["alerts"].as_array_mut().unwrap() {
            let fingerprint = alert["fingerprint"].take();
            assert_eq!(fingerprint.as_str().unwrap().len(), 16);
        }
        body
    };
    assert_eq!(without_fingerprints(request.body), without_fingerprints(expected));
}

#[tokio::test]
async fn slack_gets_coloured_attachments_without_markup_of_others() {
    let server = Server::start(|_| Reply::text(200, "ok")).await;
    let endpoint = Endpoint::new(&server.url("/services/T/B/hunter2")).unwrap();
    let mut slack = Slack::new(http(), endpoint, linked(), Some("#ops".into()));
    let mut alert = firing("HostCpuHigh", &[("severity", "critical")]);
    alert.annotations = Labels::from([("summary", "<!channel> a & b"), ("description", "<x|y>")]);
    slack.send(&notice(vec![alert.clone(), ended(&alert, START)])).await.unwrap();
    let body = server.requests().pop().unwrap().body;
    assert_eq!(body["channel"], "#ops");
    assert_eq!(body["text"], "[FIRING:1] HostCpuHigh");
    let attachments = body["attachments"].as_array().unwrap();
    assert_eq!(attachments[0]["title"], "&lt;!channel&gt; a &amp; b");
    assert_eq!(attachments[0]["text"], "&lt;x|y&gt;");
    assert_eq!(attachments[0]["title_link"], "https://farol.example/alerts");
    assert_eq!(
        (&attachments[0]["color"], &attachments[1]["color"]),
        (&json!("#992D22"), &json!("#2ECC71"))
    );

    let many = (0..200).map(|n| firing("A", &[("n", &n.to_string())])).collect();
    let body = slack.preview(&notice(many));
    let attachments = body["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 20);
    assert_eq!(attachments[19]["title"], "… and 181 more");
}

/// Of a webhook, of Slack.
#[tokio::test]
async fn statuses_mean_what_each_receiver_means_by_them() {
    for (status, retry_after, webhook, slack) in [
        (
            429,
            Some("7"),
            "retry after 7000 ms: answered 429: no",
            "retry after 7000 ms: answered 429: no",
        ),
        (
            429,
            Some("Wed, 21 Oct 2026 07:28:00 GMT"),
            "retry: answered 429: no",
            "retry: answered 429: no",
        ),
        (
            503,
            Some("3"),
            "retry after 3000 ms: answered 503: no",
            "retry after 3000 ms: answered 503: no",
        ),
        (500, None, "retry: answered 500: no", "retry: answered 500: no"),
        (400, None, "refused: answered 400: no", "refused: answered 400: no"),
        (404, None, "refused: answered 404: no", "disabled: answered 404: no"),
        (410, None, "refused: answered 410: no", "disabled: answered 410: no"),
        (
            302,
            None,
            "refused: answered 302: no; redirects are not followed",
            "refused: answered 302: no; redirects are not followed",
        ),
    ] {
        let server = Server::start(move |_| Reply::Answer {
            status,
            headers: retry_after
                .map(|value| ("Retry-After", value.to_owned()))
                .into_iter()
                .chain([("Location", "http://127.0.0.1:1/".to_owned())])
                .collect(),
            body: "no".to_owned(),
        })
        .await;
        let told = notice(vec![firing("A", &[])]);
        let endpoint = || Endpoint::new(&server.url("/hunter2")).unwrap();
        let error = Webhook::new(http(), endpoint(), origin()).send(&told).await.unwrap_err();
        assert_eq!(said(&error), webhook, "{status}");
        let error = Slack::new(http(), endpoint(), origin(), None).send(&told).await.unwrap_err();
        assert_eq!(said(&error), slack, "{status}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn no_failure_tells_the_secret_of_its_url() {
    let hung = Server::start(|_| Reply::Hang).await;
    let closed = Server::start(|_| Reply::Close).await;
    let torn = Server::start(|_| Reply::Torn).await;
    let gone = Server::start(|_| Reply::Close).await.port;
    let quick = Http::new(Trust::new(Vec::new()), Duration::from_millis(300));
    for (url, expected) in [
        (hung.url("/hunter2"), "retry: no answer within 300ms"),
        (
            closed.url("/hunter2"),
            "retry: the connection broke: connection closed before message completed",
        ),
        (torn.url("/hunter2"), "retry: the connection broke: "),
        (format!("http://127.0.0.1:{gone}/hunter2"), "retry: cannot connect: Connection refused"),
        (format!("https://127.0.0.1:{}/hunter2", closed.port), "retry: no "),
    ] {
        let endpoint = Endpoint::new(&url).unwrap().with_basic("ana", "hunter2");
        let mut hook = Webhook::new(quick.clone(), endpoint, origin());
        let error = hook.send(&notice(vec![firing("A", &[])])).await.unwrap_err();
        assert!(said(&error).starts_with(expected), "{}", said(&error));
        assert!(!format!("{hook:?} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let server = Server::start(|_| Reply::text(400, &"x".repeat(1 << 20))).await;
    let endpoint = Endpoint::new(&server.url("/")).unwrap();
    let error =
        Webhook::new(http(), endpoint, origin()).send(&notice(vec![firing("A", &[])])).await;
    let said = said(&error.unwrap_err());
    assert!(said.len() < 300 && said.ends_with("x…"), "{said}");
}

#[tokio::test]
async fn a_receiver_is_trusted_by_its_certificate_and_its_name() {
    let (server, certificate) = Server::start_tls(|_| Reply::text(200, "")).await;
    let told = notice(vec![firing("A", &[])]);
    let send = async |roots: Vec<_>, host: &str| {
        let http = Http::new(Trust::new(roots), Duration::from_secs(10));
        let endpoint = Endpoint::new(&format!("https://{host}:{}/", server.port)).unwrap();
        Webhook::new(http, endpoint, origin()).send(&told).await.map_err(|error| said(&error))
    };
    send(vec![certificate.clone()], "localhost").await.unwrap();
    let unknown = send(Vec::new(), "localhost").await.unwrap_err();
    assert!(
        unknown.starts_with("retry: no secure connection: invalid peer certificate"),
        "{unknown}"
    );
    let renamed = send(vec![certificate], "127.0.0.1").await.unwrap_err();
    assert!(
        renamed.starts_with("retry: no secure connection: invalid peer certificate"),
        "{renamed}"
    );
    assert_eq!(server.requests().len(), 1);
}

/// An Alertmanager that is kept told, in real time.
struct Kept {
    server: Server,
    memory: watch::Sender<Arc<Memory>>,
    stop: watch::Sender<bool>,
    _routing: watch::Sender<Arc<Routing>>,
    task: tokio::task::JoinHandle<()>,
}

impl Kept {
    async fn start(resend: Duration) -> Kept {
        let server = Server::start(|_| Reply::text(200, "")).await;
        let memory = watch::Sender::new(Arc::<Memory>::default());
        let route = Route {
            matchers: vec![farol_alert::Matcher::read("alertname!=Ignored").unwrap()],
            ..Route::new("am")
        };
        let routing = Arc::new(Routing { routes: vec![route], ..Routing::default() });
        let (stop, stopped) = watch::channel(false);
        let (keep, routing) = watch::channel(routing);
        let started = Instant::now();
        let endpoint = Endpoint::new(&server.url("/prefix/")).unwrap();
        let resender = Resender {
            channel: "am".into(),
            alertmanager: Alertmanager::new(http(), endpoint, linked()).with_resend(resend),
            memory: memory.subscribe(),
            routing,
            clock: Arc::new(move || START.plus(started.elapsed())),
            board: Arc::new(Board::default()),
            seed: 1,
            stop: stopped,
        };
        let task = tokio::spawn(resender.run());
        Kept { server, memory, stop, _routing: keep, task }
    }

    fn set(&self, alert: farol_model::Alert) {
        let transition = Transition {
            at: START,
            host: "web-1".into(),
            turn: Turn::Firing,
            reason: None,
            alert: Arc::new(alert),
        };
        self.memory.send_modify(|memory| {
            Arc::make_mut(memory).apply(&Record::Alert(transition));
        });
    }

    /// The last of so many requests, or of more.
    async fn asked(&self, count: usize) -> Request {
        while self.server.requests().len() < count {
            sleep(Duration::from_millis(5)).await;
        }
        self.server.requests().pop().unwrap()
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

/// With a resend that is never due within the test.
#[tokio::test]
async fn an_alertmanager_is_told_at_once_what_fires_and_what_ends() {
    let kept = Kept::start(RESEND).await;
    let alert = firing("A", &[("empty", ""), ("instance", "web-1")]);
    kept.set(firing("Ignored", &[]));
    kept.set(alert.clone());
    let request = kept.asked(1).await;
    assert_eq!(request.path, "/prefix/api/v2/alerts");
    let told = &request.body[0];
    assert_eq!(told["labels"], json!({ "alertname": "A", "instance": "web-1" }));
    assert_eq!(told["startsAt"], "2026-09-21T14:13:20Z");
    assert_eq!(told["generatorURL"], "https://farol.example/alerts");
    let ends = told["endsAt"].as_str().unwrap();
    assert!(ends.starts_with("2026-09-21T14:17:"), "four minutes ahead: {ends}");
    kept.set(ended(&alert, START.plus(Duration::from_millis(1))));
    let request = kept.asked(2).await;
    assert_eq!(request.body.as_array().unwrap().len(), 1);
    assert_eq!(request.body[0]["endsAt"], "2026-09-21T14:13:20.001Z");
    kept.stop().await;
}

/// An Alertmanager knows alerts by their labels, and takes the last that it hears.
#[tokio::test]
async fn what_fires_again_is_not_told_to_be_over_any_more() {
    let kept = Kept::start(Duration::from_millis(20)).await;
    let alert = firing("A", &[]);
    let over = ended(&alert, START.plus(Duration::from_millis(1)));
    kept.set(over.clone());
    assert_eq!(kept.asked(2).await.body[0]["endsAt"], "2026-09-21T14:13:20.001Z");
    let again = START.plus(Duration::from_millis(2));
    kept.set(farol_model::Alert { active_at: again, fired_at: Some(again), ..alert });
    let starts = |request: &Request| {
        let alerts = request.body.as_array().unwrap().iter();
        alerts.map(|alert| alert["startsAt"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let is_again = |request: &Request| starts(request).contains(&"2026-09-21T14:13:20.002Z".into());
    while !kept.server.requests().iter().any(is_again) {
        sleep(Duration::from_millis(5)).await;
    }
    let known = kept.server.requests().iter().position(is_again).unwrap();
    kept.asked(known + 5).await;
    for request in &kept.server.requests()[known..] {
        assert_eq!(starts(request), ["2026-09-21T14:13:20.002Z"]);
    }
    kept.stop().await;
}

#[tokio::test]
async fn a_heart_beats_only_while_all_is_known_to_be_well() {
    let server = Server::start(|_| Reply::text(200, "")).await;
    let well = watch::Sender::new(None);
    let (stop, stopped) = watch::channel(false);
    let board = Arc::new(Board::default());
    let endpoint = Endpoint::new(&server.url("/uuid")).unwrap();
    let heartbeat = Heartbeat {
        channel: "alive".into(),
        ping: Ping::new(http(), endpoint, false),
        interval: Duration::from_millis(20),
        well: well.subscribe(),
        fresh: Duration::from_secs(60),
        clock: Arc::new(|| START),
        board: Arc::clone(&board),
        stop: stopped,
    };
    let task = tokio::spawn(heartbeat.run());
    let silent = async |at| {
        well.send_replace(at);
        // One beat may be on its way.
        sleep(Duration::from_millis(100)).await;
        let before = server.requests().len();
        sleep(Duration::from_millis(100)).await;
        assert_eq!(server.requests().len(), before, "{at:?}");
    };
    silent(None).await;
    well.send_replace(Some(START));
    while server.requests().len() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.requests()[0].method, "GET");
    silent(Some(farol_model::Timestamp::from_millis(START.as_millis() - 61_000))).await;
    silent(Some(START.plus(Duration::from_secs(61)))).await;
    assert!(board.read()["alive"].sent >= 3);
    stop.send(true).unwrap();
    task.await.unwrap();
}
