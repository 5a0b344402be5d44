//! A real Alertmanager: what fires, again and again, as Prometheus tells it.
//!
//! Alertmanager groups, silences and repeats by itself, so it is told of every alert that the
//! channel's matchers match, whatever is silenced here. It forgets what it is not told of: a firing
//! alert is sent again every minute, with an end that lies four of those ahead; one that is over is
//! sent for a quarter of an hour. Nothing of it is recorded: what is to be told follows from what is
//! remembered and the time alone, and a restart tells it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use farol_alert::{Notice, Routing, matcher::all_match};
use farol_model::{Alert, Episode, Memory, Phase, Text, Timestamp};
use hyper::Method;
use serde_json::{Map, Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Board, BoxFuture, Origin, SendError, Sender, Sent,
    follow::{Random, stopped},
    http::{Endpoint, Http, LONGEST_DEMAND},
    is_ended, webhook, words,
};

/// Prometheus' `--rules.alert.resend-delay`, unless another is set.
pub const RESEND: Duration = Duration::from_secs(60);
/// How long an end is told, as Prometheus does.
const TOLD_END: Duration = Duration::from_secs(15 * 60);
/// In one request.
const MOST_ALERTS: usize = 64;

#[derive(Clone, Debug)]
pub struct Alertmanager {
    http: Http,
    endpoint: Endpoint,
    origin: Origin,
    resend: Duration,
}

impl Alertmanager {
    /// The endpoint is Alertmanager's own address, with the prefix it is served under.
    pub fn new(http: Http, endpoint: Endpoint, origin: Origin) -> Alertmanager {
        Alertmanager { http, endpoint, origin, resend: RESEND }
    }

    /// How often what fires is told again.
    pub fn with_resend(self, resend: Duration) -> Alertmanager {
        Alertmanager { resend, ..self }
    }

    async fn post(&self, alerts: &[Arc<Alert>], now: Timestamp) -> Result<Sent, SendError> {
        let body = self.body(alerts, now);
        let path = format!("{}/api/v2/alerts", self.endpoint.path().0.trim_end_matches('/'));
        let answer = self.http.ask(Method::POST, &self.endpoint, &path, Some(&body)).await?;
        match answer.status.is_success() {
            true => Ok(Sent::default()),
            false => Err(answer.failure()),
        }
    }

    fn body(&self, alerts: &[Arc<Alert>], now: Timestamp) -> Value {
        let one = |alert: &Arc<Alert>| {
            let ended = alert.ended_at.filter(|_| is_ended(alert));
            json!({
                "labels": object(&alert.labels),
                "annotations": object(&alert.annotations),
                "startsAt": words::rfc3339(words::began(alert)),
                "endsAt": words::rfc3339(ended.unwrap_or(now.plus(self.resend * 4))),
                "generatorURL": webhook::generator(&self.origin),
            })
        };
        alerts.iter().map(one).collect::<Vec<_>>().into()
    }
}

/// For a test message; what fires is told by [`Resender`].
impl Sender for Alertmanager {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.post(&notice.alerts, notice.at))
    }

    fn preview(&self, notice: &Notice) -> Value {
        self.body(&notice.alerts, notice.at)
    }
}

/// An empty value is no label, and Alertmanager refuses it.
fn object(labels: &farol_model::Labels) -> Value {
    let full = labels.iter().filter(|(_, value)| !value.is_empty());
    full.map(|(name, value)| (name.to_string(), value.as_str().into()))
        .collect::<Map<_, _>>()
        .into()
}

/// Keeps one Alertmanager told. [`run`](Resender::run) ends when `stop` turns true or its sender is gone.
pub struct Resender {
    pub channel: Text,
    pub alertmanager: Alertmanager,
    pub memory: watch::Receiver<Arc<Memory>>,
    /// Of the channel's route only the matchers count.
    pub routing: watch::Receiver<Arc<Routing>>,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub board: Arc<Board>,
    pub seed: u64,
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for Resender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resender").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Resender {
    pub async fn run(mut self) {
        let mut random = Random(self.seed);
        let resend = self.alertmanager.resend;
        let mut told = Standing { resend, ..Standing::default() };
        let mut failures = 0;
        loop {
            let memory = Arc::clone(&self.memory.borrow_and_update());
            let routing = Arc::clone(&self.routing.borrow_and_update());
            let due = told.due(&memory, &routing, &self.channel, (self.clock)());
            self.board.update(&self.channel, |figures| figures.queued = due.len());
            let pause = match due.get(..due.len().min(MOST_ALERTS)) {
                Some(some) if !some.is_empty() => {
                    let sent = tokio::select! {
                        sent = self.alertmanager.post(some, (self.clock)()) => sent,
                        () = stopped(&mut self.stop) => return,
                    };
                    let Err(after) = self.outcome(sent, some, &mut told) else {
                        failures = 0;
                        continue;
                    };
                    failures += 1;
                    // Never so long that what fires would seem to be over.
                    let own = random.pause(failures).min(resend);
                    after.map_or(own, |after| after.min(LONGEST_DEMAND).max(own))
                }
                _ => Duration::ZERO,
            };
            let is_over = match pause.is_zero() {
                false => self.rest(pause).await,
                true => self.wait(told.next()).await,
            };
            if is_over {
                return;
            }
        }
    }

    /// The error is how long the receiver wants to be left alone, if it said so.
    fn outcome(
        &self,
        sent: Result<Sent, SendError>,
        alerts: &[Arc<Alert>],
        told: &mut Standing,
    ) -> Result<(), Option<Duration>> {
        let channel = &self.channel;
        match sent {
            Ok(_) => {
                told.note(alerts);
                self.board.update(channel, |figures| figures.sent += 1);
                Ok(())
            }
            // It takes what it likes of such a request: the rest is told again with all others.
            Err(SendError::Refused { reason } | SendError::Disabled { reason }) => {
                tracing::error!(channel = %**channel, %reason, "an Alertmanager refused alerts");
                told.note(alerts);
                self.board.update(channel, |figures| figures.dead += 1);
                Ok(())
            }
            Err(SendError::Retry { after, reason }) => {
                tracing::warn!(channel = %**channel, %reason, "an Alertmanager was not told");
                self.board.update(channel, |figures| match after {
                    Some(_) => figures.throttled += 1,
                    None => figures.retried += 1,
                });
                Err(after)
            }
        }
    }

    /// Whether it is over.
    async fn rest(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => false,
            () = stopped(&mut self.stop) => true,
        }
    }

    async fn wait(&mut self, next: Duration) -> bool {
        tokio::select! {
            () = sleep(next) => false,
            changed = self.memory.changed() => changed.is_err(),
            changed = self.routing.changed() => changed.is_err(),
            () = stopped(&mut self.stop) => true,
        }
    }
}

/// What the Alertmanager was told, and when.
#[derive(Default)]
struct Standing {
    resend: Duration,
    told: BTreeMap<(Episode, bool), Instant>,
    /// What is over and does not fire again, the last of those with the same labels; kept here too, as
    /// the memory may forget it sooner. By the fingerprint.
    ended: BTreeMap<u64, Arc<Alert>>,
}

impl Standing {
    fn due(
        &mut self,
        memory: &Memory,
        routing: &Routing,
        channel: &str,
        now: Timestamp,
    ) -> Vec<Arc<Alert>> {
        let route = routing.routes.iter().find(|route| route.channel == channel);
        let matchers = route.map(|route| route.matchers.as_slice()).unwrap_or_default();
        let meant = |alert: &&Arc<Alert>| all_match(matchers, &alert.labels);
        let mut firing = Vec::new();
        for alert in memory.alerts.values().filter(meant) {
            match (alert.phase, alert.episode()) {
                (Phase::Firing, Some(_)) => firing.push(Arc::clone(alert)),
                (Phase::Ended, Some(episode)) => {
                    let last = self.ended.entry(episode.fingerprint).or_insert(Arc::clone(alert));
                    if last.ended_at < alert.ended_at {
                        *last = Arc::clone(alert);
                    }
                }
                (Phase::Pending | Phase::Firing | Phase::Ended, _) => {}
            }
        }
        // It knows alerts by their labels: an old end would end what fires again.
        for episode in firing.iter().filter_map(|alert| alert.episode()) {
            self.ended.remove(&episode.fingerprint);
        }
        let is_recent = |alert: &Alert| alert.ended_at.is_some_and(|at| now.since(at) < TOLD_END);
        self.ended.retain(|_, alert| is_recent(alert));
        let all: Vec<Arc<Alert>> = firing.into_iter().chain(self.ended.values().cloned()).collect();
        let keys: BTreeSet<(Episode, bool)> = all.iter().filter_map(|alert| key(alert)).collect();
        self.told.retain(|key, _| keys.contains(key));
        let is_due = |alert: &Arc<Alert>| {
            let told = key(alert).and_then(|key| self.told.get(&key));
            told.is_none_or(|told| told.elapsed() >= self.resend)
        };
        all.into_iter().filter(is_due).collect()
    }

    fn note(&mut self, alerts: &[Arc<Alert>]) {
        let now = Instant::now();
        self.told.extend(alerts.iter().filter_map(|alert| Some((key(alert)?, now))));
    }

    /// How long until the first is due again.
    fn next(&self) -> Duration {
        let left = self.told.values().map(|told| self.resend.saturating_sub(told.elapsed()));
        left.min().unwrap_or(self.resend).max(Duration::from_millis(10))
    }
}

fn key(alert: &Alert) -> Option<(Episode, bool)> {
    Some((alert.episode()?, is_ended(alert)))
}
