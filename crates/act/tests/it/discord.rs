//! A Discord with the limits of the real one, and what a message to it looks like.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use farol_act::notify::{Discord, Endpoint, Origin, SendError, Sender};
use farol_model::{Labels, Text};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    fake::{Reply, Request, Server},
    world::{Clockstop, START, ended, firing, http, notice, origin},
};

pub(crate) const WEBHOOK: &str = "/api/webhooks/123/hunter2";

/// What it does instead of answering as it should, once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Takes the message, and its answer is lost.
    Taken,
    Hang,
    Close,
    Torn,
    Status(u16),
    /// 429 for so many milliseconds.
    Throttled(u64),
}

pub(crate) struct FakeDiscord {
    /// Every state of every message, by its id.
    pub(crate) messages: BTreeMap<u64, Vec<Value>>,
    pub(crate) faults: VecDeque<Option<Fault>>,
    /// So many requests in so long.
    rate: (u32, Duration),
    used: u32,
    window_ends: Option<Instant>,
    /// No request may come before; set when an answer has said so.
    pub(crate) forbidden_until: Option<Instant>,
    pub(crate) violations: usize,
    pub(crate) throttled: usize,
    pub(crate) exists: bool,
    next: u64,
    clockstop: Clockstop,
}

pub(crate) type Shared = Arc<Mutex<FakeDiscord>>;

impl FakeDiscord {
    pub(crate) async fn start(rate: (u32, Duration), clockstop: Clockstop) -> (Server, Shared) {
        let shared = Arc::new(Mutex::new(FakeDiscord {
            messages: BTreeMap::new(),
            faults: VecDeque::new(),
            rate,
            used: 0,
            window_ends: None,
            forbidden_until: None,
            violations: 0,
            throttled: 0,
            exists: true,
            next: 1_000,
            clockstop,
        }));
        let handler = Arc::clone(&shared);
        let server = Server::start(move |request| handler.lock().unwrap().answer(request)).await;
        (server, shared)
    }

    fn answer(&mut self, request: &Request) -> Reply {
        let now = Instant::now();
        if self.forbidden_until.is_some_and(|until| now < until) {
            self.violations += 1;
        }
        match self.faults.pop_front().flatten() {
            Some(Fault::Hang) => {
                self.clockstop.release();
                return Reply::Hang;
            }
            Some(Fault::Close) => return Reply::Close,
            Some(Fault::Torn) => return Reply::Torn,
            Some(Fault::Status(status)) => return Reply::text(status, "an error page"),
            Some(Fault::Throttled(millis)) => {
                return self.throttle(now, Duration::from_millis(millis));
            }
            Some(Fault::Taken) => {
                self.take(request);
                return Reply::Close;
            }
            None => {}
        }
        if let Some(left) = self.over_rate(now) {
            return self.throttle(now, left);
        }
        let reply = self.take(request);
        self.with_rate(now, reply)
    }

    fn over_rate(&mut self, now: Instant) -> Option<Duration> {
        if self.window_ends.is_none_or(|ends| ends <= now) {
            self.window_ends = Some(now + self.rate.1);
            self.used = 0;
        }
        self.used += 1;
        (self.used > self.rate.0).then(|| self.window_ends.unwrap() - now)
    }

    fn throttle(&mut self, now: Instant, wait: Duration) -> Reply {
        self.throttled += 1;
        self.forbidden_until = Some(now + wait);
        let seconds = wait.as_secs_f64();
        Reply::Answer {
            status: 429,
            // The header is in whole seconds; the exact figure is in the body.
            headers: vec![
                ("Retry-After", wait.as_secs().to_string()),
                ("X-RateLimit-Scope", "shared".to_owned()),
            ],
            body: json!({ "message": "You are being rate limited.", "retry_after": seconds, "global": false })
                .to_string(),
        }
    }

    fn with_rate(&mut self, now: Instant, reply: Reply) -> Reply {
        let Reply::Answer { status, mut headers, body } = reply else { return reply };
        let left = self.rate.0.saturating_sub(self.used);
        let after = self.window_ends.unwrap() - now;
        headers.push(("X-RateLimit-Limit", self.rate.0.to_string()));
        headers.push(("X-RateLimit-Remaining", left.to_string()));
        headers.push(("X-RateLimit-Reset-After", format!("{:.3}", after.as_secs_f64())));
        if left == 0 {
            self.forbidden_until = Some(now + after);
        }
        Reply::Answer { status, headers, body }
    }

    fn take(&mut self, request: &Request) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let Some(below) = path.strip_prefix(WEBHOOK).filter(|_| self.exists) else {
            return Reply::json(404, &json!({ "message": "Unknown Webhook", "code": 10015 }));
        };
        if let Err(wrong) = within_limits(&request.body) {
            return Reply::json(400, &json!({ "message": wrong, "code": 50035 }));
        }
        match (request.method.as_str(), below.strip_prefix("/messages/")) {
            ("POST", None) => {
                self.next += 1;
                self.messages.insert(self.next, vec![request.body.clone()]);
                match query.split('&').any(|part| part == "wait=true") {
                    true => Reply::json(200, &json!({ "id": self.next.to_string() })),
                    false => Reply::text(204, ""),
                }
            }
            ("PATCH", Some(id)) => match self.messages.get_mut(&id.parse().unwrap()) {
                Some(states) => {
                    states.push(request.body.clone());
                    Reply::json(200, &json!({ "id": id }))
                }
                None => Reply::json(404, &json!({ "message": "Unknown Message", "code": 10008 })),
            },
            _ => Reply::json(405, &json!({ "message": "405: Method Not Allowed", "code": 0 })),
        }
    }
}

/// Discord's own, in UTF-16 units, the stricter count.
fn within_limits(body: &Value) -> Result<(), String> {
    let length = |value: &Value| value.as_str().unwrap_or_default().encode_utf16().count();
    let none = Vec::new();
    let list = |value: &Value| value.as_array().unwrap_or(&none).clone();
    let embeds = list(&body["embeds"]);
    let limit = |what: &str, found: usize, least: usize, most: usize| {
        let fits = (least..=most).contains(&found);
        fits.then_some(()).ok_or(format!("{what} is {found}, not {least} to {most}"))
    };
    limit("content", length(&body["content"]), 0, 2000)?;
    limit("embeds", embeds.len(), 0, 10)?;
    let mut together = 0;
    for embed in &embeds {
        let fields = list(&embed["fields"]);
        limit("title", length(&embed["title"]), 1, 256)?;
        limit("description", length(&embed["description"]), 0, 4096)?;
        limit("footer", length(&embed["footer"]["text"]), 0, 2048)?;
        limit("author", length(&embed["author"]["name"]), 0, 256)?;
        limit("fields", fields.len(), 0, 25)?;
        for field in &fields {
            limit("name", length(&field["name"]), 1, 256)?;
            limit("value", length(&field["value"]), 1, 1024)?;
            together += length(&field["name"]) + length(&field["value"]);
        }
        let texts = [&embed["title"], &embed["description"], &embed["footer"]["text"]];
        together += texts.into_iter().map(length).sum::<usize>();
    }
    limit("all embeds", together, 0, 6000)?;
    match body["allowed_mentions"]["parse"].as_array().is_some_and(Vec::is_empty) {
        true => Ok(()),
        false => Err("mentions are allowed".to_owned()),
    }
}

pub(crate) fn sender(server: &Server) -> Discord {
    Discord::new(http(), Endpoint::new(&server.url(WEBHOOK)).unwrap(), origin())
}

const SLOW: (u32, Duration) = (1000, Duration::from_secs(1));

#[tokio::test]
async fn a_message_is_posted_and_changed_when_all_of_it_is_over() {
    let (server, discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let mut sender = sender(&server);
    let alert = firing("HostCpuHigh", &[("severity", "critical")]);
    let sent = sender.send(&notice(vec![alert.clone()])).await.unwrap();
    assert_eq!(sent.message, Some(Text::from("1001")));

    let mut over = notice(vec![ended(&alert, START.plus(Duration::from_secs(200)))]);
    over.message = sent.message;
    assert_eq!(sender.send(&over).await.unwrap().message, Some(Text::from("1001")));
    let messages = discord.lock().unwrap().messages.clone();
    let states = &messages[&1001];
    assert_eq!(states[0]["content"], "\\[FIRING:1\\] HostCpuHigh");
    assert_eq!(states[0]["embeds"][0]["color"], 0x0099_2D22);
    assert_eq!(states[0]["embeds"][0]["title"], "The processor is busy");
    assert_eq!(states[1]["content"], "\\[RESOLVED\\] HostCpuHigh");
    assert_eq!(states[1]["embeds"][0]["color"], 0x002E_CC71);
    let lasted = &states[1]["embeds"][0]["fields"][4];
    assert_eq!((&lasted["name"], &lasted["value"]), (&json!("Lasted"), &json!("3 min 20 s")));
}

#[tokio::test]
async fn a_message_that_people_deleted_is_posted_anew() {
    let (server, discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let mut over = notice(vec![ended(&firing("HostCpuHigh", &[]), START)]);
    over.message = Some("77".into());
    let sent = sender(&server).send(&over).await.unwrap();
    assert_eq!(sent.message, Some(Text::from("1001")));
    assert_eq!(discord.lock().unwrap().messages.len(), 1);
    let asked: Vec<String> =
        server.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(
        asked,
        ["PATCH /api/webhooks/123/hunter2/messages/77", "POST /api/webhooks/123/hunter2?wait=true"]
    );
}

#[tokio::test]
async fn a_new_firing_is_a_new_message_as_nobody_is_told_of_a_change() {
    let (server, discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let mut again = notice(vec![firing("HostCpuHigh", &[])]);
    again.message = Some("1000".into());
    sender(&server).send(&again).await.unwrap();
    assert_eq!(discord.lock().unwrap().messages.keys().collect::<Vec<_>>(), [&1001]);
}

#[tokio::test]
async fn a_thread_stays_the_thread_when_a_message_is_changed() {
    let (server, _discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let endpoint =
        Endpoint::new(&server.url(&format!("{WEBHOOK}?thread_id=9&wait=false"))).unwrap();
    let mut sender = Discord::new(http(), endpoint, Origin::default());
    let alert = firing("HostCpuHigh", &[]);
    let sent = sender.send(&notice(vec![alert.clone()])).await.unwrap();
    let mut over = notice(vec![ended(&alert, START)]);
    over.message = sent.message;
    sender.send(&over).await.unwrap();
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        [
            format!("{WEBHOOK}?thread_id=9&wait=true"),
            format!("{WEBHOOK}/messages/1001?thread_id=9")
        ]
    );
}

#[tokio::test]
async fn no_alerts_are_too_many_or_too_long_for_its_limits() {
    let (server, discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let mut sender = sender(&server);
    for (count, long, truncated) in [
        (1, 20_000, 0),
        (1, 10, 5),
        (9, 10, 0),
        (10, 10, 0),
        (11, 10, 0),
        (10, 10, 1),
        (200, 900, 37),
    ] {
        let alert = |number: usize| {
            let mut alert =
                firing("HostCpuHigh", &[("n", &number.to_string()), ("😀", &"_😀".repeat(long))]);
            let text = "a \\ 😀 `@everyone` ".repeat(long / 10);
            alert.annotations = Labels::from([
                ("summary", &*text),
                ("description", &*text),
                ("runbook_url", &*text),
            ]);
            alert
        };
        let mut told = notice((0..count).map(alert).collect());
        told.truncated = truncated;
        sender.send(&told).await.unwrap();
        let body = sender.preview(&told);
        let embeds = body["embeds"].as_array().unwrap();
        let shown =
            embeds.iter().filter(|embed| embed["fields"].as_array().is_some_and(|f| !f.is_empty()));
        let shown = shown.count();
        let more = count - shown + truncated;
        let last = embeds.last().unwrap()["title"].as_str().unwrap();
        match more {
            0 => assert_eq!(embeds.len(), count),
            more => assert_eq!(last, format!("… and {more} more")),
        }
        assert!(shown >= 1);
    }
    assert_eq!(discord.lock().unwrap().messages.len(), 7);
}

#[tokio::test]
async fn each_answer_means_what_it_means() {
    let (server, discord) = FakeDiscord::start(SLOW, Clockstop::default()).await;
    let mut sender = sender(&server);
    let told = notice(vec![firing("HostCpuHigh", &[])]);
    for (fault, expected) in [
        (Fault::Throttled(2500), "retry after 2500 ms: answered 429: too many requests (shared)"),
        (Fault::Status(500), "retry: answered 500: an error page"),
        (Fault::Status(502), "retry: answered 502: an error page"),
        (Fault::Status(403), "retry: answered 403: an error page"),
        (Fault::Status(400), "refused: answered 400: an error page"),
        (Fault::Status(401), "disabled: the webhook's token is wrong"),
        (Fault::Status(404), "disabled: the webhook does not exist (any more)"),
        (Fault::Status(307), "refused: answered 307: an error page; redirects are not followed"),
        (Fault::Close, "retry: the connection broke: connection closed before message completed"),
    ] {
        discord.lock().unwrap().faults.push_back(Some(fault));
        let error = sender.send(&told).await.unwrap_err();
        let said = match &error {
            SendError::Retry { after: Some(after), reason } => {
                format!("retry after {} ms: {reason}", after.as_millis())
            }
            SendError::Retry { after: None, reason } => format!("retry: {reason}"),
            SendError::Refused { reason } => format!("refused: {reason}"),
            SendError::Disabled { reason } => format!("disabled: {reason}"),
        };
        assert_eq!(said, expected, "{fault:?}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
    discord.lock().unwrap().faults.push_back(Some(Fault::Torn));
    assert!(matches!(sender.send(&told).await, Err(SendError::Retry { after: None, .. })));
}

#[tokio::test]
async fn a_rate_that_is_used_up_asks_for_quiet() {
    let (server, _discord) =
        FakeDiscord::start((1, Duration::from_secs(60)), Clockstop::default()).await;
    let sent = sender(&server).send(&notice(vec![firing("HostCpuHigh", &[])])).await.unwrap();
    let quiet = sent.quiet.unwrap();
    assert!(quiet > Duration::from_secs(59) && quiet <= Duration::from_secs(60), "{quiet:?}");
}
