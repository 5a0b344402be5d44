//! The `rules` thread: evaluates each group of rules when it is due, on the store, with a deadline,
//! and hands what it found to the core, which alone decides what becomes of the alerts.
//!
//! Groups are evaluated one after the other, on multiples of their interval, so that two that start
//! together agree. What is late is left out and counted, never made up for. The thread also sums up
//! each hour that is over.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use farol_alert::{
    Board, Group, Routing, RuleSet, Tally,
    evaluate::{EvalOptions, GroupState, evaluate},
    summary, tally,
};
use farol_collect::own;
use farol_model::{Batch, Current, Labels, Memory, Record, Series, Text, Timestamp};
use farol_query::{Limits, Stop};
use tokio::sync::{oneshot, watch};

use crate::{clock, core::Event, history::ReaderSlot, threads};

/// The step of a subquery that names none: Prometheus' default for it.
pub(crate) const SUBQUERY_STEP: Duration = Duration::from_secs(60);
/// How long the core may take to apply what was found, and the store to take what was recorded.
const PATIENCE: Duration = Duration::from_secs(5);
/// The thread looks up at least so often.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Until it is looked again whether the store is open.
const UNTIL_OPEN: Duration = Duration::from_millis(100);

/// What the thread goes by; replaced whole at a reload.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rules: Arc<RuleSet>,
    /// How long one group may take.
    pub timeout: Duration,
    pub lookback: Duration,
    pub limits: Limits,
    pub external_url: String,
    pub host: Text,
}

#[derive(Debug)]
pub struct Rules {
    to: SyncSender<Message>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Message {
    Replace(Box<Plan>),
    Stop,
}

/// What the thread works with.
pub struct Surroundings {
    pub reader: ReaderSlot,
    pub memory: watch::Receiver<Arc<Memory>>,
    /// Decides which alerts are not told, for the figures about them.
    pub routing: watch::Receiver<Arc<Routing>>,
    pub core: SyncSender<Event>,
    pub board: Arc<Mutex<Board>>,
    /// Whether snapshots still come in.
    pub current: watch::Receiver<Arc<Current>>,
    /// When all was last known to be well: snapshots come in, and the last evaluation of each group
    /// had no fault and was applied. None while it is not.
    pub well: watch::Sender<Option<Timestamp>>,
    pub own: Arc<own::Board>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}

impl Rules {
    pub fn start(plan: Plan, surroundings: Surroundings) -> std::io::Result<Rules> {
        let (to, inbox) = sync_channel(4);
        let mut evaluating = Evaluating::new(plan, surroundings);
        let thread =
            thread::Builder::new().name("rules".into()).spawn(move || evaluating.run(&inbox))?;
        Ok(Rules { to, thread })
    }

    /// From the next evaluation on.
    pub fn replace(&self, plan: Plan) {
        threads::send_within(&self.to, Message::Replace(Box::new(plan)), PATIENCE);
    }

    /// An evaluation that is under way ends by its own deadline.
    pub fn stop(self, patience: Duration) {
        self.to.try_send(Message::Stop).ok();
        threads::join_within(self.thread, patience);
    }
}

struct Evaluating {
    plan: Plan,
    around: Surroundings,
    /// In the order of the groups.
    groups: Vec<Scheduled>,
    /// How long the last two rounds through the groups took that were due, by a clock that stands still
    /// while the machine is suspended.
    rounds: [Duration; 2],
    /// The last hour that was looked at, whether or not the store had anything of it.
    summed_up: Option<Timestamp>,
}

struct Scheduled {
    due: Timestamp,
    state: GroupState,
    /// Its last evaluation had no fault, and the core has applied it.
    is_well: bool,
}

impl Evaluating {
    fn new(plan: Plan, around: Surroundings) -> Evaluating {
        let mut evaluating = Evaluating {
            plan,
            around,
            groups: Vec::new(),
            rounds: [Duration::ZERO; 2],
            summed_up: None,
        };
        evaluating.schedule();
        evaluating
    }

    /// All groups are due at once.
    fn schedule(&mut self) {
        let now = clock::now();
        let rules = &self.plan.rules;
        let scheduled =
            |_: &Arc<Group>| Scheduled { due: now, state: GroupState::default(), is_well: false };
        self.groups = rules.groups.iter().map(scheduled).collect();
        *self.around.board.lock().unwrap_or_else(PoisonError::into_inner) =
            Board::new(Arc::clone(rules));
        self.around.own.update(|figures| {
            let groups = rules.groups.iter();
            let kept = |group: &Arc<Group>| {
                let figures = figures.alerting.groups.get(&group.name).copied();
                (group.name.clone(), figures.unwrap_or_default())
            };
            figures.alerting.groups = groups.map(kept).collect();
        });
    }

    /// Takes other rules. What the same rules have recorded goes on; the series of the others end.
    fn replace(&mut self, plan: Plan) {
        let old = std::mem::replace(&mut self.plan, plan);
        let states = std::mem::take(&mut self.groups);
        self.schedule();
        let mut ended = Vec::new();
        for (group, Scheduled { state, .. }) in old.rules.groups.iter().zip(states) {
            let mut kept = self.plan.rules.groups.iter();
            let place = kept.position(|new| new.name == group.name && new.file == group.file);
            match place {
                Some(place) => {
                    self.groups[place].state = state.moved(group, &self.plan.rules.groups[place]);
                }
                None => ended.extend(state.ended(group, clock::now())),
            }
        }
        if !ended.is_empty()
            && let Err(error) = record(&self.around.core, clock::now(), ended)
        {
            tracing::debug!(error, "the ends of the series of old rules were not recorded");
        }
    }

    fn run(&mut self, inbox: &Receiver<Message>) {
        loop {
            match inbox.recv_timeout(self.pause()) {
                Ok(Message::Replace(plan)) => {
                    self.replace(*plan);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(reader) = self.reader() {
                self.evaluate_what_is_due(&reader);
                self.tell_whether_all_is_well();
                self.sum_up(&reader);
            }
            self.count_muted();
        }
    }

    /// None until the store is open.
    fn reader(&self) -> Option<farol_store::Reader> {
        self.around.reader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until the next group is due. A clock that was set back must not make it long.
    fn pause(&self) -> Duration {
        if self.reader().is_none() {
            // What is due stays due: without a pause that would be all that is done.
            return UNTIL_OPEN;
        }
        let now = clock::now();
        let next = self.groups.iter().map(|group| group.due.since(now)).min();
        next.unwrap_or(LOOK_UP).min(LOOK_UP)
    }

    fn evaluate_what_is_due(&mut self, reader: &farol_store::Reader) {
        let lap = clock::lap();
        let mut is_any = false;
        for place in 0..self.groups.len() {
            let now = clock::now();
            let group = Arc::clone(&self.plan.rules.groups[place]);
            let due = self.groups[place].due;
            let set_back = due.since(now) > group.interval;
            if due > now && !set_back {
                continue;
            }
            let interval = group.interval.as_millis().max(1);
            let missed = if set_back { 0 } else { now.since(due).as_millis() / interval };
            self.groups[place].due = clock::next_on_grid(now, group.interval);
            self.evaluate(place, &group, reader, now, u64::try_from(missed).unwrap_or(u64::MAX));
            is_any = true;
        }
        if is_any {
            self.rounds = [lap.elapsed(), self.rounds[0]];
        }
    }

    /// How long a round usually takes: one that hung is not how it is.
    fn round(&self) -> Duration {
        self.rounds[0].min(self.rounds[1])
    }

    fn evaluate(
        &mut self,
        place: usize,
        group: &Arc<Group>,
        reader: &farol_store::Reader,
        now: Timestamp,
        missed: u64,
    ) {
        let lap = clock::lap();
        let timeout = self.plan.timeout;
        let watch = move || (lap.elapsed() > timeout).then_some(Stop::TimedOut);
        let memory = self.around.memory.borrow().clone();
        let core = &self.around.core;
        let options = EvalOptions {
            external_labels: &Labels::empty(),
            external_url: &self.plan.external_url,
            lookback: self.plan.lookback,
            subquery_step: SUBQUERY_STEP,
            now: Some(now),
            limits: self.plan.limits,
            round: self.round(),
            watch: &watch,
            lap: &|| lap.elapsed(),
        };
        let state = &mut self.groups[place].state;
        let mut record = |series| record(core, now, series);
        let result = evaluate(group, reader, &memory.alerts, now, state, &mut record, &options);
        self.note(place, &result, missed);
        let is_well = result.rules.iter().all(|rule| rule.found.is_ok());
        let (applied, done) = sync_channel(1);
        let is_applied = threads::send_within(core, Event::Evaluated { result, applied }, PATIENCE)
            && done.recv_timeout(PATIENCE).is_ok();
        self.groups[place].is_well = is_well && is_applied;
        if is_applied {
            self.record_alerts(place, group, now);
        }
    }

    /// For heartbeats: whoever hears none must be right to worry, however few rules fail.
    fn tell_whether_all_is_well(&self) {
        let now = clock::now();
        let newest = self.around.current.borrow().newest(now).cloned();
        let is_fresh = newest.is_none_or(|snapshot| !snapshot.is_stale(now));
        let is_well = is_fresh && self.groups.iter().all(|group| group.is_well);
        self.around.well.send_replace(is_well.then_some(now));
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`, as Prometheus records them.
    fn record_alerts(&mut self, place: usize, group: &Group, now: Timestamp) {
        let memory = self.around.memory.borrow().clone();
        let series = self.groups[place].state.alert_series(group, &memory.alerts, now);
        if series.is_empty() {
            return;
        }
        if let Err(error) = record(&self.around.core, now, series) {
            tracing::debug!(group = %group.name, error, "the series of the alerts were not recorded");
        }
    }

    fn note(&self, place: usize, result: &farol_alert::GroupResult, missed: u64) {
        self.around.board.lock().unwrap_or_else(PoisonError::into_inner).note(place, result);
        let failed = result.rules.iter().filter(|rule| rule.found.is_err()).count() as u64;
        for (rule, found) in result.group.rules.iter().zip(&result.rules) {
            if let Err(error) = &found.found {
                tracing::warn!(group = %result.group.name, rule = %rule.name(), %error, "a rule could not be evaluated");
            }
        }
        self.around.own.update(|figures| {
            let groups = &mut figures.alerting.groups;
            let figures = groups.entry(result.group.name.clone()).or_default();
            figures.evaluations += 1;
            figures.missed += missed;
            figures.failures += failed;
            figures.last_seconds = result.took.as_secs_f64();
        });
    }

    /// At each look: silences and quiet hours begin and end between evaluations.
    fn count_muted(&self) {
        let memory = self.around.memory.borrow().clone();
        let routing = self.around.routing.borrow().clone();
        let Tally { silenced, inhibited, quiet, silences, .. } =
            tally(&memory, &routing, clock::now());
        self.around.own.update(|figures| {
            figures.alerting.silences = silences;
            figures.alerting.muted =
                own::MutedFigures { silence: silenced, inhibition: inhibited, quiet_hours: quiet };
        });
    }

    /// Hours that are over and not summed up yet.
    fn sum_up(&mut self, reader: &farol_store::Reader) {
        let now = clock::now();
        let last = self.around.memory.borrow().last_summary.max(self.summed_up);
        for hour in summary::due_hours(last, now) {
            self.summed_up = Some(hour);
            let Some(summary) = summary::summarise(reader, &self.plan.host, hour, now) else {
                continue;
            };
            let (ack, _) = oneshot::channel();
            let record = Record::Summary(summary);
            threads::send_within(&self.around.core, Event::Remember { record, ack }, PATIENCE);
        }
    }
}

/// Through the core into the journal, and from there into the store, where the group's later rules
/// find it.
fn record(core: &SyncSender<Event>, at: Timestamp, series: Vec<Series>) -> Result<(), String> {
    let (applied, done) = sync_channel(1);
    let event = Event::Recorded { batch: Batch { at, series }, applied };
    if !threads::send_within(core, event, PATIENCE) {
        return Err("the journal's disk is too slow".to_owned());
    }
    match done.recv_timeout(PATIENCE) {
        Ok(result) => result,
        // It is in the journal; the store reads it from there.
        Err(RecvTimeoutError::Disconnected) => Ok(()),
        Err(RecvTimeoutError::Timeout) => Err("the store is too slow to take it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_due_are_not_tried_without_end_while_the_store_is_not_open() {
        let rules = "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: vector(1)}]}]";
        let plan = Plan {
            rules: Arc::new(RuleSet::parse(&[("r.yml", rules)], &Default::default()).unwrap()),
            timeout: Duration::from_secs(1),
            lookback: Duration::from_secs(300),
            limits: Limits { samples: 1000, series: 1000, steps: 1000 },
            external_url: String::new(),
            host: "pi".into(),
        };
        let surroundings = Surroundings {
            reader: ReaderSlot::default(),
            memory: watch::channel(Arc::default()).1,
            current: watch::channel(Arc::default()).1,
            routing: watch::channel(Arc::default()).1,
            core: sync_channel(1).0,
            board: Arc::default(),
            well: watch::channel(None).0,
            own: Arc::default(),
        };
        let evaluating = Evaluating::new(plan, surroundings);
        assert!(evaluating.groups[0].due <= clock::now(), "it is due");
        assert_eq!(evaluating.pause(), UNTIL_OPEN);
    }
}
