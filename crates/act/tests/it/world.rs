//! A core in small: it takes records, folds them and publishes what they add up to.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use farol_act::notify::{
    Board, BoxFuture, Follower, Http, Origin, RecordFailed, SendError, Sender, Sent, Trust,
};
use farol_alert::{Notice, Route, Routing, dispatch};
use farol_model::{
    Alert, Delivery, Labels, Memory, Phase, Record, Text, Timestamp, Transition, Turn,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub(crate) fn http() -> Http {
    Http::new(Trust::new(Vec::new()), Duration::from_secs(10))
}

pub(crate) fn origin() -> Origin {
    Origin { host: "web-1".into(), external_url: None }
}

pub(crate) fn firing(name: &str, labels: &[(&str, &str)]) -> Alert {
    let mut pairs: Vec<(Text, Text)> =
        labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    pairs.push(("alertname".into(), name.into()));
    Alert {
        group: "host".into(),
        rule: name.into(),
        labels: Labels::new(pairs),
        annotations: Labels::from([("summary", "The processor is busy")]),
        series: Labels::empty(),
        value: 93.5,
        phase: Phase::Firing,
        active_at: START,
        fired_at: Some(START),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: START,
        ended_at: None,
        firings: vec![START],
        is_flapping: false,
        remedy: None,
    }
}

pub(crate) fn ended(alert: &Alert, at: Timestamp) -> Alert {
    Alert { phase: Phase::Ended, ended_at: Some(at), ..alert.clone() }
}

pub(crate) fn notice(alerts: Vec<Alert>) -> Notice {
    Notice {
        channel: "team".into(),
        group: "{}:{alertname=\"HostCpuHigh\"}".into(),
        group_labels: Labels::from([("alertname", "HostCpuHigh")]),
        alerts: alerts.into_iter().map(Arc::new).collect(),
        truncated: 0,
        reason: dispatch::Reason::First,
        message: None,
        at: START,
    }
}

/// What the records add up to, and the seam at which a test can end the process.
pub(crate) struct Core {
    pub(crate) records: Arc<Mutex<Vec<Delivery>>>,
    memory: Arc<watch::Sender<Arc<Memory>>>,
    routing: watch::Sender<Arc<Routing>>,
    pub(crate) board: Arc<Board>,
    started: Instant,
    /// Asked before and after each append: true is the end of the process there.
    pub(crate) dies: Arc<dyn Fn(Moment) -> bool + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    BeforeAppend,
    AfterAppend,
}

impl Core {
    /// One message for each alert, at once.
    pub(crate) fn new() -> Core {
        let route = Route {
            group_by: vec!["...".into()],
            group_wait: Duration::ZERO,
            group_interval: Duration::ZERO,
            ..Route::new("team")
        };
        Core {
            records: Arc::default(),
            memory: Arc::new(watch::Sender::new(Arc::default())),
            routing: watch::Sender::new(Arc::new(Routing {
                routes: vec![route],
                ..Routing::default()
            })),
            board: Arc::default(),
            started: Instant::now(),
            dies: Arc::new(|_| false),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        START.plus(self.started.elapsed())
    }

    pub(crate) fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory.borrow())
    }

    pub(crate) fn set(&self, alert: Alert) {
        let turn = if alert.phase == Phase::Ended { Turn::Resolved } else { Turn::Firing };
        let alert = Arc::new(alert);
        let transition =
            Transition { at: self.now(), host: "web-1".into(), turn, reason: None, alert };
        apply(&self.memory, &Record::Alert(transition));
    }

    /// A record from elsewhere.
    pub(crate) fn take(&self, delivery: Delivery) {
        apply(&self.memory, &Record::Delivery(delivery));
    }

    pub(crate) fn records(&self) -> Vec<Delivery> {
        self.records.lock().unwrap().clone()
    }

    /// Starts a follower; the sender's end of `stop` stops it.
    pub(crate) fn follow(&self, sender: Box<dyn Sender>, settings: &str) -> Running {
        let (stop, stopped) = watch::channel(false);
        let (records, memory) = (Arc::clone(&self.records), Arc::clone(&self.memory));
        let dies = Arc::clone(&self.dies);
        let started = self.started;
        let follower = Follower {
            channel: "team".into(),
            host: "web-1".into(),
            sender,
            memory: self.memory.subscribe(),
            routing: self.routing.subscribe(),
            clock: Arc::new(move || START.plus(started.elapsed())),
            records: Arc::new(move |delivery| {
                record(delivery, Arc::clone(&records), Arc::clone(&memory), Arc::clone(&dies))
            }),
            board: Arc::clone(&self.board),
            settings: settings.into(),
            seed: 1,
            stop: stopped,
            drain: Duration::from_secs(5),
        };
        Running { task: tokio::spawn(follower.run()), stop }
    }
}

pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: watch::Sender<bool>,
}

fn apply(memory: &watch::Sender<Arc<Memory>>, record: &Record) {
    memory.send_modify(|memory| Arc::make_mut(memory).apply(record));
}

fn record(
    delivery: Delivery,
    records: Arc<Mutex<Vec<Delivery>>>,
    memory: Arc<watch::Sender<Arc<Memory>>>,
    dies: Arc<dyn Fn(Moment) -> bool + Send + Sync>,
) -> BoxFuture<'static, Result<(), RecordFailed>> {
    Box::pin(async move {
        if dies(Moment::BeforeAppend) {
            std::future::pending::<()>().await;
        }
        apply(&memory, &Record::Delivery(delivery.clone()));
        records.lock().unwrap().push(delivery);
        if dies(Moment::AfterAppend) {
            std::future::pending::<()>().await;
        }
        Ok(())
    })
}

/// Keeps tokio's paused clock from running on while a request is on its way, unless the receiver
/// hangs: the clock runs on when nothing can be done, and does not know of the network.
#[derive(Clone, Default)]
pub(crate) struct Clockstop(Arc<Mutex<Option<SyncSender<()>>>>);

impl Clockstop {
    pub(crate) fn release(&self) {
        self.0.lock().unwrap().take();
    }
}

pub(crate) struct Held<S> {
    pub(crate) sender: S,
    pub(crate) clockstop: Clockstop,
}

impl<S: Sender> Sender for Held<S> {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        let (held, waits) = sync_channel(1);
        *self.clockstop.0.lock().unwrap() = Some(held);
        tokio::task::spawn_blocking(move || waits.recv().ok());
        Box::pin(async {
            let guard = Released(&self.clockstop);
            let sent = self.sender.send(notice).await;
            drop(guard);
            sent
        })
    }

    fn preview(&self, notice: &Notice) -> serde_json::Value {
        self.sender.preview(notice)
    }
}

/// An attempt that is dropped lets the clock go as well.
struct Released<'a>(&'a Clockstop);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}
