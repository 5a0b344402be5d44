//! A follower without a network: it asks what is due, tells it, and sleeps exactly as long as it is told.

use std::{sync::Arc, time::Duration};

use farol_alert::{Matcher, Notice, Routing, due};
use farol_model::{
    Alert, Delivered, Delivery, Labels, Memory, Phase, Record, Silence, Timestamp, Transition, Turn,
};

/// How the receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Receiver {
    Takes,
    Later(Duration),
    Dead,
    Gone,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) routing: Routing,
    pub(crate) receiver: Receiver,
    /// Whether the receiver gives its messages an id.
    pub(crate) edits: bool,
    pub(crate) now: Timestamp,
    pub(crate) told: Vec<Notice>,
    /// When it looked and nothing was due.
    pub(crate) idle: usize,
}

/// Monday, 2026-01-05.
pub(crate) const BEGIN: Timestamp = Timestamp::from_millis(1_767_571_200_000);

impl World {
    pub(crate) fn new(routing: Routing, edits: bool) -> World {
        World {
            memory: Memory::default(),
            routing,
            receiver: Receiver::Takes,
            edits,
            now: BEGIN,
            told: Vec::new(),
            idle: 0,
        }
    }

    /// Sleeps and tells until `end`, and no earlier or later than it is told to.
    pub(crate) fn follow_until(&mut self, end: Timestamp) {
        loop {
            let found = due(&self.memory, &self.routing, "team", self.now);
            if let Some(next) = found.next {
                assert!(next > self.now, "it would not sleep: {next:?} at {:?}", self.now);
            }
            if found.notices.is_empty() {
                self.idle += 1;
                let Some(next) = found.next.filter(|next| *next <= end) else { break };
                self.nothing_is_due_before(next);
                self.now = next;
                continue;
            }
            for notice in found.notices {
                self.deliver(notice);
            }
        }
        self.now = self.now.max(end);
    }

    fn nothing_is_due_before(&self, next: Timestamp) {
        let (from, to) = (self.now.as_millis(), next.as_millis());
        for at in [from + (to - from) / 2, to - 1] {
            let at = Timestamp::from_millis(at);
            let found = due(&self.memory, &self.routing, "team", at);
            assert!(found.notices.is_empty(), "it slept too long: due at {at:?}: {found:?}");
        }
    }

    fn deliver(&mut self, notice: Notice) {
        let ends = notice
            .alerts
            .iter()
            .map(|alert| (alert.episode().unwrap(), alert.phase == Phase::Ended));
        let outcome = match &self.receiver {
            Receiver::Takes => {
                let id = || notice.message.clone().unwrap_or_else(|| self.message_id());
                Delivered::Sent { message: self.edits.then(id) }
            }
            Receiver::Later(long) => {
                let until = self.now.plus(*long);
                Delivered::Later { until, reason: "429".into() }
            }
            Receiver::Dead => Delivered::Dead { reason: "400".into() },
            Receiver::Gone => Delivered::Disabled { reason: "404".into() },
        };
        let is_told = matches!(self.receiver, Receiver::Takes | Receiver::Dead);
        let record = Record::Delivery(Delivery {
            at: self.now,
            host: "pi".into(),
            channel: "team".into(),
            group: notice.group.clone(),
            episodes: ends.collect(),
            attempts: 1,
            outcome,
        });
        self.memory.apply(&record);
        if is_told {
            self.told.push(notice);
        }
    }

    fn message_id(&self) -> farol_model::Text {
        format!("m{}", self.told.len() + 1).into()
    }

    pub(crate) fn silence(&mut self, id: &str, matchers: &str, ends_at: Timestamp) {
        let matchers = Matcher::read_all(matchers).unwrap();
        self.memory.apply(&Record::Silence(Silence {
            at: self.now,
            host: "pi".into(),
            id: id.into(),
            matchers: matchers.iter().map(|matcher| matcher.written().clone()).collect(),
            starts_at: self.now,
            ends_at,
            created_by: "test".into(),
            comment: "test".into(),
        }));
    }

    pub(crate) fn fire(&mut self, written: &str) {
        let known = self.alert(written);
        if known.as_ref().is_some_and(|alert| alert.phase == Phase::Firing) {
            return;
        }
        let (labels, series) = labels(written);
        let at = self.now;
        let alert = Alert {
            group: "rules".into(),
            rule: written.into(),
            labels,
            annotations: Labels::empty(),
            series,
            value: 1.0,
            phase: Phase::Firing,
            active_at: at,
            fired_at: Some(at),
            keeping_since: None,
            missing_since: None,
            unseen: 0,
            seen_at: at,
            ended_at: None,
            firings: vec![at],
            is_flapping: false,
            remedy: None,
        };
        self.turn(Turn::Firing, alert);
    }

    pub(crate) fn end(&mut self, written: &str) {
        let Some(alert) = self.alert(written) else { return };
        if alert.phase == Phase::Firing {
            let ended =
                Alert { phase: Phase::Ended, ended_at: Some(self.now), ..Alert::clone(&alert) };
            self.turn(Turn::Resolved, ended);
        }
    }

    pub(crate) fn alert(&self, written: &str) -> Option<Arc<Alert>> {
        let (labels, _) = labels(written);
        self.memory.alerts.values().find(|alert| alert.labels == labels).cloned()
    }

    fn turn(&mut self, turn: Turn, alert: Alert) {
        self.memory.apply(&Record::Alert(Transition {
            at: self.now,
            host: "pi".into(),
            turn,
            reason: None,
            alert: Arc::new(alert),
        }));
    }
}

/// The alert's labels and those of its series, from `Name{label="value"}`.
fn labels(written: &str) -> (Labels, Labels) {
    let (name, rest) = written.split_once('{').unwrap_or((written, ""));
    let pairs = Matcher::read_all(rest.trim_end_matches('}')).unwrap();
    let pairs =
        pairs.iter().map(|pair| (pair.written().name.clone(), pair.written().value.clone()));
    let mut all: Vec<_> = pairs.collect();
    let series = Labels::new(all.iter().filter(|(name, _)| name != "severity").cloned().collect());
    all.push(("alertname".into(), name.into()));
    (Labels::new(all), series)
}
