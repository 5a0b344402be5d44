//! The one task that runs remedies: it follows what is remembered, asks the policy, and does what it
//! permits, one at a time.
//!
//! Its steps are records: *intended* is on the disk before anything is touched, then *finished*, and some
//! seconds later *judged*. Whatever ends the process between two of them, a run that was intended is never
//! begun again: at the next start it is *unknown*, and counts. Nobody else writes these records, so that
//! what it remembers of them is its own fold and never behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    thread::Builder,
    time::Duration,
};

use farol_model::{
    Action, ActionStep, Alert, Episode, Memory, Phase, Record, Remedy, Text, Timestamp,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    HOUR, Job, Leash, Outcome, Reading, Settings, Surroundings, cut, judge,
    policy::{Asked, Decision, Moment, decide},
};

/// Hands an action to the core; done once it is on the disk, or where the core keeps what a full disk does
/// not take.
pub type Recorder =
    Arc<dyn Fn(Action) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// What is known of an alert now. May block; called on a thread for that.
pub type ValueReader = Arc<dyn Fn(&Alert) -> Reading + Send + Sync>;

/// Does it beside the task, where it may block for ever: on a thread, in the program.
pub type Starter = fn(Work) -> io::Result<()>;
pub type Work = Box<dyn FnOnce() + Send>;

/// A thread for each run: what is denied to a program is denied to its thread, which ends with it.
pub fn on_a_thread(work: Work) -> io::Result<()> {
    Builder::new().name("remedy".to_owned()).spawn(work).map(drop)
}

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// All remedies that are configured.
pub type Known = Arc<[Settings]>;

/// What the task is given.
pub struct Inputs {
    pub host: Text,
    /// A reload sends new ones.
    pub settings: watch::Receiver<Known>,
    /// Its first value holds what was remembered before the start.
    pub memory: watch::Receiver<Arc<Memory>>,
    pub orders: mpsc::Receiver<Order>,
    pub now: Clock,
    pub record: Recorder,
    pub value: ValueReader,
    /// [`on_a_thread`].
    pub start: Starter,
    pub surroundings: Arc<Surroundings>,
    pub stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A person asks for a remedy.
#[derive(Debug)]
pub struct Order {
    pub remedy: Text,
    pub dry_run: bool,
    /// Passes over pauses, budget, hours and rest; never over a right that is missing.
    pub force: bool,
    pub answer: oneshot::Sender<Answer>,
}

/// What becomes of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is being run or rehearsed; its steps bear this id.
    Begun {
        id: Text,
        is_rehearsal: bool,
    },
    Refused(String),
}

/// From its deadline on it is asked to end, then killed, then left behind.
const GRACE: Duration = Duration::from_secs(5);
/// A stop waits no longer for what is being run.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// After a record could not be written.
const RECORD_AGAIN: Duration = Duration::from_secs(30);
/// The longest sleep: the clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Follows until `stop` turns true or its sender is gone. To be spawned on the runtime.
pub async fn follow(inputs: Inputs) {
    let Inputs {
        host,
        mut settings,
        mut memory,
        mut orders,
        now,
        record,
        value,
        start,
        surroundings,
        stop,
    } = inputs;
    let remembered = memory.borrow_and_update().remedies.clone();
    let tools = Arc::new(Tools {
        host,
        now,
        record,
        value,
        start,
        surroundings,
        memory: memory.clone(),
        stop,
    });
    let mut follower = Follower {
        own: Memory { remedies: remembered, ..Memory::default() },
        current: None,
        hung: None,
        rehearsed: BTreeMap::new(),
        not_before: None,
        number: 0,
        tools: Arc::clone(&tools),
    };
    let mut stop = tools.stop.clone();
    follower.close_open().await;
    loop {
        let known = Arc::clone(&settings.borrow_and_update());
        let alerts = Arc::clone(&memory.borrow_and_update());
        let next = follower.look(&known, &alerts).await;
        let is_idle = follower.current.is_none();
        let order = tokio::select! {
            biased;
            () = until_stopped(&mut stop) => break,
            ran = until_done(&mut follower.current) => {
                follower.ended(ran);
                None
            }
            () = until_gone(&mut follower.hung) => {
                follower.hung = None;
                None
            }
            Some(order) = orders.recv() => Some(order),
            changed = memory.changed(), if is_idle => match changed {
                Ok(()) => None,
                Err(_) => break,
            },
            Ok(()) = settings.changed() => None,
            () = sleep(next) => None,
        };
        if let Some(order) = order {
            // A reload may have come with it.
            let known = Arc::clone(&settings.borrow());
            follower.obey(order, &known).await;
        }
    }
    if let Some(current) = follower.current.take() {
        // It has seen the stop too, and ends what it runs.
        drop(timeout(3 * STOP_GRACE, current.work).await);
    }
}

struct Follower {
    /// Only of the remedies.
    own: Memory,
    current: Option<Current>,
    /// A run that was left behind, as it did not end when it was told to.
    hung: Option<Hung>,
    rehearsed: BTreeMap<Text, Vec<Timestamp>>,
    /// While records cannot be written nothing is begun.
    not_before: Option<Instant>,
    number: u64,
    tools: Arc<Tools>,
}

struct Tools {
    host: Text,
    now: Clock,
    record: Recorder,
    value: ValueReader,
    start: Starter,
    surroundings: Arc<Surroundings>,
    memory: watch::Receiver<Arc<Memory>>,
    stop: watch::Receiver<bool>,
}

struct Current {
    remedy: Text,
    work: Pin<Box<dyn Future<Output = Ran> + Send>>,
}

struct Hung {
    remedy: Text,
    end: oneshot::Receiver<Outcome>,
}

/// What a run leaves: its steps, and what did not end with it.
struct Ran {
    steps: Vec<Action>,
    hung: Option<Hung>,
    /// Its intent could not be recorded: it was not begun.
    is_unrecorded: bool,
}

impl Follower {
    /// What was intended before the start and has no outcome: nobody knows. It is not tried again.
    async fn close_open(&mut self) {
        let open = self.own.remedies.values().filter_map(|remedy| remedy.open.clone());
        for intent in open.collect::<Vec<Action>>() {
            let at = (self.tools.now)();
            let action = Action { at, step: ActionStep::Unknown, ..intent };
            tracing::warn!(remedy = %action.remedy, "nobody knows how its last run ended");
            self.write(action).await;
        }
    }

    /// Answers all alerts that call for a remedy and can be answered now; until when nothing is due.
    async fn look(&mut self, known: &[Settings], memory: &Memory) -> Duration {
        let mut next = LOOK_AGAIN;
        if let Some(not_before) = self.not_before {
            let left = not_before.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return left.min(next);
            }
            self.not_before = None;
        }
        self.forget(memory);
        for alert in calling(memory) {
            let Some(name) = &alert.remedy else { continue };
            let now = (self.tools.now)();
            let decision = match known.iter().find(|settings| settings.name == *name) {
                Some(settings) => (self.decide(settings, Asked::By(alert), now), Some(settings)),
                None => (self.not_configured(name, alert), None),
            };
            match decision {
                (Decision::Run, Some(settings)) => {
                    match settings.treatment.granted(&self.tools.surroundings) {
                        Ok(()) => drop(self.begin(settings, Some(alert), false)),
                        Err(missing) => self.refuse(name, alert, missing.to_string()).await,
                    }
                }
                (Decision::Rehearse, Some(settings)) => {
                    self.begin(settings, Some(alert), true);
                }
                (Decision::Refuse(reason), _) => self.refuse(name, alert, reason).await,
                (Decision::Wait(Some(until)), _) => next = next.min(until.since(now)),
                _ => {}
            }
        }
        next.max(Duration::from_millis(10))
    }

    fn decide(&self, settings: &Settings, asked: Asked<'_>, now: Timestamp) -> Decision {
        let nothing = Remedy::default();
        let past = self.own.remedies.get(&settings.name).unwrap_or(&nothing);
        let rehearsed = self.rehearsed.get(&settings.name).cloned().unwrap_or_default();
        decide(settings, past, &Moment { busy: self.busy(), rehearsed }, asked, now)
    }

    fn busy(&self) -> Option<Text> {
        let current = self.current.as_ref().map(|current| &current.remedy);
        current.or(self.hung.as_ref().map(|hung| &hung.remedy)).cloned()
    }

    fn not_configured(&self, name: &Text, alert: &Alert) -> Decision {
        let answered = self.own.remedies.get(name).map(|past| &past.answered);
        match alert.episode() {
            Some(episode) if !answered.is_some_and(|answered| answered.contains_key(&episode)) => {
                Decision::Refuse(format!("no remedy {name} is configured"))
            }
            _ => Decision::Nothing,
        }
    }

    /// An episode is remembered as answered while its alert is there.
    fn forget(&mut self, memory: &Memory) {
        let now = (self.tools.now)();
        let held: BTreeSet<Episode> =
            memory.alerts.values().filter_map(|alert| alert.episode()).collect();
        for remedy in self.own.remedies.values_mut() {
            // A memory without alerts is that of a start, before the first evaluation.
            remedy.answered.retain(|episode, at| held.contains(episode) || now.since(*at) < HOUR);
        }
    }

    async fn refuse(&mut self, name: &Text, alert: &Alert, reason: String) {
        let id = self.next_id();
        tracing::warn!(remedy = %name, alert = alert.name(), reason, "a remedy is not run");
        let step = ActionStep::Refused { reason: reason.into() };
        let action = self.tools.action(&id, name, Some(alert), step);
        self.write(action).await;
    }

    /// Remembers it whatever becomes of the record: else it would be tried again and again.
    async fn write(&mut self, action: Action) {
        self.own.apply(&Record::Action(action.clone()));
        if let Err(error) = (self.tools.record)(action).await {
            tracing::error!(error, "what became of a remedy could not be recorded");
        }
    }

    fn begin(
        &mut self,
        settings: &Settings,
        alert: Option<&Arc<Alert>>,
        is_rehearsal: bool,
    ) -> Text {
        let id = self.next_id();
        let run = Run {
            id: id.clone(),
            settings: settings.clone(),
            alert: alert.cloned(),
            tools: Arc::clone(&self.tools),
        };
        let name = settings.name.clone();
        if is_rehearsal {
            let rehearsed = self.rehearsed.entry(name.clone()).or_default();
            rehearsed.push((self.tools.now)());
            let surplus = rehearsed.len().saturating_sub(100);
            rehearsed.drain(..surplus);
        }
        let work: Pin<Box<dyn Future<Output = Ran> + Send>> = match is_rehearsal {
            true => Box::pin(run.rehearse()),
            false => Box::pin(run.run()),
        };
        self.current = Some(Current { remedy: name, work });
        id
    }

    fn ended(&mut self, ran: Ran) {
        self.current = None;
        self.hung = ran.hung;
        for action in ran.steps {
            self.own.apply(&Record::Action(action));
        }
        if ran.is_unrecorded {
            self.not_before = Some(Instant::now() + RECORD_AGAIN);
        }
    }

    async fn obey(&mut self, order: Order, known: &[Settings]) {
        let Some(settings) = known.iter().find(|settings| settings.name == order.remedy) else {
            let names: Vec<&str> = known.iter().map(|settings| &*settings.name).collect();
            let reason =
                format!("there is no remedy {}; known: {}", order.remedy, names.join(", "));
            order.answer.send(Answer::Refused(reason)).ok();
            return;
        };
        let asked = Asked::Person { force: order.force, dry_run: order.dry_run };
        let answer = match self.decide(settings, asked, (self.tools.now)()) {
            Decision::Rehearse => {
                Answer::Begun { id: self.begin(settings, None, true), is_rehearsal: true }
            }
            Decision::Run => match settings.treatment.granted(&self.tools.surroundings) {
                Ok(()) => {
                    Answer::Begun { id: self.begin(settings, None, false), is_rehearsal: false }
                }
                Err(missing) => Answer::Refused(missing.to_string()),
            },
            Decision::Refuse(reason) => Answer::Refused(reason),
            Decision::Wait(_) | Decision::Nothing => Answer::Refused("not now".to_owned()),
        };
        if let Answer::Refused(reason) = &answer {
            let id = self.next_id();
            let step = ActionStep::Refused { reason: reason.as_str().into() };
            let action = self.tools.action(&id, &settings.name, None, step);
            self.write(action).await;
        }
        order.answer.send(answer).ok();
    }

    /// Unique among those of one clock; two of one moment differ by their number.
    fn next_id(&mut self) -> Text {
        self.number += 1;
        format!("{}-{}", (self.tools.now)().as_millis(), self.number).into()
    }
}

/// The alerts that fire and name a remedy, the oldest first.
fn calling(memory: &Memory) -> Vec<&Arc<Alert>> {
    let is_calling = |alert: &&Arc<Alert>| alert.phase == Phase::Firing && alert.remedy.is_some();
    let mut calling: Vec<&Arc<Alert>> = memory.alerts.values().filter(is_calling).collect();
    calling.sort_by_key(|alert| alert.fired_at);
    calling
}

async fn until_stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn until_done(current: &mut Option<Current>) -> Ran {
    match current {
        Some(current) => current.work.as_mut().await,
        None => pending().await,
    }
}

async fn until_gone(hung: &mut Option<Hung>) {
    match hung {
        Some(hung) => drop((&mut hung.end).await),
        None => pending().await,
    }
}

impl Tools {
    fn action(&self, id: &Text, remedy: &Text, alert: Option<&Alert>, step: ActionStep) -> Action {
        let alert = alert.and_then(|alert| Some((Text::from(alert.name()), alert.episode()?)));
        let (id, remedy) = (id.clone(), remedy.clone());
        Action { at: (self.now)(), host: self.host.clone(), id, remedy, alert, step }
    }
}

/// One run or rehearsal, from its intent to its verdict.
struct Run {
    id: Text,
    settings: Settings,
    alert: Option<Arc<Alert>>,
    tools: Arc<Tools>,
}

impl Run {
    async fn rehearse(self) -> Ran {
        let (outcome, _, hung) = self.perform(true).await;
        let Outcome { ok, summary, output } = outcome;
        let summary = match self.settings.treatment.granted(&self.tools.surroundings) {
            Err(missing) => format!("would be refused, {missing}; once it is granted: {summary}"),
            Ok(()) if !ok => format!("would fail: {summary}"),
            Ok(()) => summary,
        };
        let step = ActionStep::Rehearsed { summary: summary.into(), output: cut(&output) };
        let action = self.action(step);
        self.write(action.clone()).await;
        Ran { steps: vec![action], hung, is_unrecorded: false }
    }

    async fn run(self) -> Ran {
        let before = self.read().await;
        let what = self.settings.treatment.what();
        let intent = self.action(ActionStep::Intended { what: what.as_str().into() });
        if let Err(error) = (self.tools.record)(intent.clone()).await {
            tracing::error!(
                remedy = %self.settings.name,
                error,
                "a remedy is not run, as its intent cannot be recorded"
            );
            return Ran { steps: Vec::new(), hung: None, is_unrecorded: true };
        }
        tracing::info!(remedy = %self.settings.name, what, "a remedy is run");
        let (outcome, took, hung) = self.perform(false).await;
        let step = ActionStep::Finished {
            ok: outcome.ok,
            summary: outcome.summary.into(),
            output: cut(&outcome.output),
            took,
        };
        let finished = self.action(step);
        self.write(finished.clone()).await;
        let mut steps = vec![intent, finished];
        if self.alert.is_some() && !self.is_stopped_within(self.settings.wait).await {
            let mut after = self.read().await;
            if self.is_over() {
                after.holds = Some(false);
            }
            let judgement = judge(&before, &after);
            let step = ActionStep::Judged { judgement, before: before.value, after: after.value };
            let judged = self.action(step);
            tracing::info!(
                remedy = %self.settings.name,
                judgement = judgement.name(),
                "it was looked whether a remedy helped"
            );
            self.write(judged.clone()).await;
            steps.push(judged);
        }
        Ran { steps, hung, is_unrecorded: false }
    }

    /// On a thread of its own, which may never come back. What took longer than its deadline is asked
    /// to end, then killed, then left behind.
    async fn perform(&self, is_rehearsal: bool) -> (Outcome, Duration, Option<Hung>) {
        let begun = Instant::now();
        let leash = Arc::new(Leash::default());
        let (done, mut end) = oneshot::channel();
        let errand = Errand {
            settings: self.settings.clone(),
            alert: self.alert.clone(),
            now: (self.tools.now)(),
            leash: Arc::clone(&leash),
            surroundings: Arc::clone(&self.tools.surroundings),
        };
        let work = Box::new(move || drop(done.send(errand.perform(is_rehearsal))));
        if let Err(error) = (self.tools.start)(work) {
            let outcome = Outcome::bad(format!("no thread could be started: {error}"));
            return (outcome, begun.elapsed(), None);
        }
        let mut stop = self.tools.stop.clone();
        let deadline = self.settings.deadline;
        let why = tokio::select! {
            outcome = &mut end => return (outcome.unwrap_or_else(broken), begun.elapsed(), None),
            () = sleep(deadline) => {
                leash.ask();
                format!("its deadline of {} was over", super::show_duration(deadline))
            }
            () = until_stopped(&mut stop) => {
                leash.pull();
                "farol was stopped".to_owned()
            }
        };
        let grace = if leash.is_pulled() { STOP_GRACE } else { GRACE };
        let outcome = match timeout(grace, &mut end).await {
            Ok(outcome) => outcome.unwrap_or_else(broken),
            Err(_) => {
                leash.pull();
                match timeout(grace, &mut end).await {
                    Ok(outcome) => outcome.unwrap_or_else(broken),
                    Err(_) => {
                        let summary = format!("{why}, and it could not be ended: it still hangs");
                        let remedy = self.settings.name.clone();
                        let hung = Hung { remedy, end };
                        return (Outcome::bad(summary), begun.elapsed(), Some(hung));
                    }
                }
            }
        };
        let summary = format!("it was ended, as {why}; {}", outcome.summary);
        (Outcome::bad(summary).with(outcome.output), begun.elapsed(), None)
    }

    async fn is_stopped_within(&self, wait: Duration) -> bool {
        let mut stop = self.tools.stop.clone();
        timeout(wait, until_stopped(&mut stop)).await.is_ok()
    }

    /// Whether what is remembered says so.
    fn is_over(&self) -> bool {
        let Some(alert) = &self.alert else { return false };
        let memory = Arc::clone(&self.tools.memory.borrow());
        let now = memory.alerts.get(&alert.key());
        let is_on = now.is_some_and(|now| {
            now.phase == Phase::Firing
                && now.episode() == alert.episode()
                && now.keeping_since.is_none()
        });
        !is_on
    }

    async fn read(&self) -> Reading {
        let Some(alert) = self.alert.clone() else { return Reading::default() };
        let value = Arc::clone(&self.tools.value);
        tokio::task::spawn_blocking(move || value(&alert)).await.unwrap_or_default()
    }

    fn action(&self, step: ActionStep) -> Action {
        self.tools.action(&self.id, &self.settings.name, self.alert.as_deref(), step)
    }

    async fn write(&self, action: Action) {
        if let Err(error) = (self.tools.record)(action).await {
            tracing::error!(error, "what became of a remedy could not be recorded");
        }
    }
}

fn broken<E>(_: E) -> Outcome {
    Outcome::bad("it broke off: a fault in farol itself, see its log")
}

/// What the thread takes with it.
struct Errand {
    settings: Settings,
    alert: Option<Arc<Alert>>,
    now: Timestamp,
    leash: Arc<Leash>,
    surroundings: Arc<Surroundings>,
}

impl Errand {
    fn perform(&self, is_rehearsal: bool) -> Outcome {
        let job = Job {
            name: &self.settings.name,
            now: self.now,
            alert: self.alert.as_deref(),
            leash: &self.leash,
            surroundings: &self.surroundings,
        };
        match is_rehearsal {
            true => self.settings.treatment.rehearse(&job),
            false => self.settings.treatment.run(&job),
        }
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
