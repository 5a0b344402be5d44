//! The follower against a recorder that can stop at any step: as the journal would stand after a kill.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use farol_model::{AlertKey, Labels};

use super::*;
use crate::remedy::{NotGranted, Policy, Treatment, Worse};

/// What a fake treatment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Its,
    /// Until it is asked to end.
    Waits,
    Hangs,
    Panics,
}

#[derive(Debug)]
struct Fake {
    does: Does,
    is_granted: bool,
    runs: AtomicUsize,
    rehearsals: AtomicUsize,
    /// So long it really takes nothing, and hangs until the test lets it go.
    gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Fake {
    fn new(does: Does) -> Arc<Fake> {
        Arc::new(Fake {
            does,
            is_granted: true,
            runs: AtomicUsize::new(0),
            rehearsals: AtomicUsize::new(0),
            gate: Mutex::new(None),
        })
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl Treatment for Fake {
    fn what(&self) -> String {
        "do something".to_owned()
    }

    fn granted(&self, _: &Surroundings) -> Result<(), NotGranted> {
        match self.is_granted {
            true => Ok(()),
            false => Err(NotGranted::new("it needs CAP_X", "give it CAP_X")),
        }
    }

    fn rehearse(&self, _: &Job<'_>) -> Outcome {
        self.rehearsals.fetch_add(1, Ordering::SeqCst);
        Outcome::good("would do something")
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        self.runs.fetch_add(1, Ordering::SeqCst);
        match self.does {
            Does::Its => Outcome::good("did something").with("all of it".to_owned()),
            Does::Waits => {
                while !job.leash.is_asked() {
                    std::thread::yield_now();
                }
                Outcome::bad("broke off in the middle")
            }
            Does::Hangs => {
                let gate = self.gate.lock().unwrap().take();
                gate.unwrap().recv().ok();
                Outcome::good("at last")
            }
            Does::Panics => panic!("a fault"),
        }
    }
}

fn start_of_time() -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000)
}

fn alert(name: &str, fired_at: Timestamp) -> Alert {
    Alert {
        group: "g".into(),
        rule: name.into(),
        labels: Labels::new(vec![("alertname".into(), name.into())]),
        annotations: Labels::empty(),
        series: Labels::empty(),
        value: 95.0,
        phase: Phase::Firing,
        active_at: fired_at,
        fired_at: Some(fired_at),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: fired_at,
        ended_at: None,
        firings: Vec::new(),
        is_flapping: false,
        remedy: Some("free".into()),
    }
}

fn settings(fake: &Arc<Fake>) -> Settings {
    let policy = Policy { cooldown: Duration::from_secs(3600), ..Policy::default() };
    let treatment: Arc<dyn Treatment> = Arc::clone(fake) as Arc<dyn Treatment>;
    let mut settings = Settings::new("free".into(), "program", treatment, policy);
    settings.dry_run = false;
    settings
}

/// The world around the follower: the journal, the clock, and what is remembered.
struct World {
    /// What has reached the disk.
    journal: Arc<Mutex<Vec<Action>>>,
    memory: watch::Sender<Arc<Memory>>,
    settings: watch::Sender<Known>,
    orders: mpsc::Sender<Order>,
    stop: watch::Sender<bool>,
    began: Instant,
    /// Evaluations go on: alerts are seen anew with the clock.
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(settings: Settings, memory: Memory, readings: Vec<Reading>) -> World {
        World::with(vec![settings], memory, readings, usize::MAX, |_| Ok(()))
    }

    /// With a thread, whose time no paused clock counts.
    fn on_threads(settings: Settings, memory: Memory, readings: Vec<Reading>) -> World {
        World::from(vec![settings], memory, readings, usize::MAX, |_| Ok(()), on_a_thread)
    }

    fn with(
        settings: Vec<Settings>,
        memory: Memory,
        readings: Vec<Reading>,
        room: usize,
        takes: fn(&Action) -> Result<(), String>,
    ) -> World {
        World::from(settings, memory, readings, room, takes, at_once)
    }

    fn from(
        settings: Vec<Settings>,
        memory: Memory,
        readings: Vec<Reading>,
        room: usize,
        takes: fn(&Action) -> Result<(), String>,
        start: Starter,
    ) -> World {
        let began = Instant::now();
        let journal = Arc::new(Mutex::new(Vec::new()));
        // So many records are taken; the next one never returns, as if the process were gone.
        let room = Arc::new(AtomicUsize::new(room));
        let (memory, follows) = watch::channel(Arc::new(memory));
        let (settings, known) = watch::channel(Known::from(settings));
        let (orders, taken) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let (disk, left) = (Arc::clone(&journal), room);
        let record: Recorder = Arc::new(move |action| {
            let (disk, left) = (Arc::clone(&disk), Arc::clone(&left));
            Box::pin(async move {
                if left.load(Ordering::SeqCst) == 0 {
                    return pending().await;
                }
                left.fetch_sub(1, Ordering::SeqCst);
                takes(&action)?;
                disk.lock().unwrap().push(action);
                Ok(())
            })
        });
        let readings = Mutex::new(readings.into_iter());
        let value: ValueReader =
            Arc::new(move |_| readings.lock().unwrap().next().unwrap_or_default());
        let inputs = Inputs {
            host: "h".into(),
            settings: known,
            memory: follows,
            orders: taken,
            now: Arc::new(move || start_of_time().plus(began.elapsed())),
            record,
            value,
            start,
            surroundings: Arc::default(),
            stop: stopped,
        };
        let task = tokio::spawn(follow(inputs));
        World { journal, memory, settings, orders, stop, began, task }
    }

    fn now(&self) -> Timestamp {
        start_of_time().plus(self.began.elapsed())
    }

    /// The clock of the test runs by itself while nothing else does; alerts are evaluated every 30 s.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(30) {
            sleep(Duration::from_secs(30)).await;
            let now = self.now();
            self.memory.send_modify(|memory| {
                let mut next = Memory::clone(memory);
                for alert in next.alerts.values_mut() {
                    Arc::make_mut(alert).seen_at = now;
                }
                *memory = Arc::new(next);
            });
            tokio::task::yield_now().await;
        }
    }

    fn steps(&self) -> Vec<String> {
        self.journal.lock().unwrap().iter().map(shown).collect()
    }

    async fn order(&self, dry_run: bool, force: bool) -> Answer {
        let (answer, answered) = oneshot::channel();
        let order = Order { remedy: "free".into(), dry_run, force, answer };
        self.orders.send(order).await.unwrap();
        answered.await.unwrap()
    }
}

/// It takes no time at all.
fn at_once(work: Work) -> io::Result<()> {
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    Ok(())
}

fn shown(action: &Action) -> String {
    match &action.step {
        ActionStep::Refused { reason } => format!("refused: {reason}"),
        ActionStep::Rehearsed { summary, .. } => format!("rehearsed: {summary}"),
        ActionStep::Intended { what } => format!("intended: {what}"),
        ActionStep::Finished { ok, summary, .. } => format!("finished {ok}: {summary}"),
        ActionStep::Judged { judgement, before, after } => {
            format!("judged {} {before:?} {after:?}", judgement.name())
        }
        ActionStep::Unknown => "unknown".to_owned(),
    }
}

fn remembering(alerts: impl IntoIterator<Item = Alert>) -> Memory {
    let alerts = alerts.into_iter().map(|alert| (alert.key(), Arc::new(alert)));
    Memory { alerts: alerts.collect::<BTreeMap<AlertKey, Arc<Alert>>>(), ..Memory::default() }
}

fn one_alert() -> Memory {
    remembering([alert("Full", start_of_time())])
}

fn high(value: f64) -> Reading {
    Reading { holds: Some(true), value: Some(value), worse: Some(Worse::Higher) }
}

fn over() -> Reading {
    Reading { holds: Some(false), value: Some(40.0), worse: Some(Worse::Higher) }
}

#[tokio::test(start_paused = true)]
async fn a_sustained_alert_is_treated_once_and_it_is_seen_that_it_helped() {
    let fake = Fake::new(Does::Its);
    let world = World::start(settings(&fake), one_alert(), vec![high(95.0), over()]);
    world.pass(240).await;
    assert!(world.steps().is_empty());
    world.pass(3 * 3600).await;
    let expected = [
        "intended: do something",
        "finished true: did something",
        "judged recovered Some(95.0) Some(40.0)",
    ];
    assert_eq!(world.steps(), expected);
    assert_eq!(fake.runs(), 1);
    let journal = world.journal.lock().unwrap();
    let began = journal[0].at.since(start_of_time());
    assert!((300..302).contains(&began.as_secs()), "{began:?}");
    assert_eq!(journal[2].at.since(journal[1].at).as_secs(), 10);
    assert!(journal.iter().all(|action| action.id == journal[0].id));
    assert_eq!(journal[0].alert.as_ref().unwrap().0, "Full");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_alerts_is_one_run_and_each_is_answered_once() {
    let fake = Fake::new(Does::Its);
    let alerts = (0..1000).map(|number| alert(&format!("A{number:04}"), start_of_time()));
    let world = World::start(settings(&fake), remembering(alerts), vec![high(95.0), over()]);
    world.pass(1800).await;
    assert_eq!(fake.runs(), 1);
    let steps = world.steps();
    assert_eq!(steps.len(), 3 + 999);
    assert!(
        steps.iter().skip(3).all(|step| step.starts_with("refused: it ran 2026-01-01T00:05:0"))
    );
    world.pass(3600).await;
    assert_eq!(world.steps().len(), 3 + 999);
}

#[tokio::test(start_paused = true)]
async fn what_makes_it_worse_is_said_and_rests() {
    let fake = Fake::new(Does::Its);
    let mut settings = settings(&fake);
    settings.policy.cooldown = Duration::from_secs(60);
    settings.policy.per_day = 100;
    let world = World::start(settings, one_alert(), vec![high(90.0), high(99.0)]);
    world.pass(400).await;
    assert_eq!(world.steps()[2], "judged worse Some(90.0) Some(99.0)");
    // Another one fires, and it is not tried on that.
    world.memory.send_replace(Arc::new(remembering([alert("Other", world.now())])));
    world.pass(600).await;
    let steps = world.steps();
    assert_eq!(steps.len(), 4);
    assert!(steps[3].ends_with("its last run made it worse"), "{steps:?}");
    assert_eq!(fake.runs(), 1);
}

/// In real time, since a thread takes part; everything is due at once.
fn at_once_due(fake: &Arc<Fake>, deadline: Duration) -> Settings {
    let mut settings = settings(fake);
    settings.policy.sustained = Duration::ZERO;
    settings.wait = Duration::ZERO;
    settings.deadline = deadline;
    settings
}

async fn until(world: &World, steps: usize) {
    while world.steps().len() < steps {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_that_ends_when_it_is_asked_to_is_bounded_by_its_deadline() {
    let fake = Fake::new(Does::Waits);
    let settings = at_once_due(&fake, Duration::from_millis(20));
    let world = World::on_threads(settings, one_alert(), vec![high(95.0), high(95.0)]);
    until(&world, 3).await;
    let steps = world.steps();
    let expected =
        "finished false: it was ended, as its deadline of 20ms was over; broke off in the middle";
    assert_eq!(steps[1], expected);
    assert_eq!(steps[2], "judged unchanged Some(95.0) Some(95.0)");
}

#[tokio::test(start_paused = true)]
async fn one_that_never_returns_is_left_behind_and_nothing_is_run_beside_it() {
    let fake = Fake::new(Does::Hangs);
    let (let_go, gate) = std::sync::mpsc::sync_channel(1);
    *fake.gate.lock().unwrap() = Some(gate);
    let world = World::on_threads(settings(&fake), one_alert(), vec![high(95.0), high(95.0)]);
    world.pass(420).await;
    let expected =
        "finished false: its deadline of 1m was over, and it could not be ended: it still hangs";
    assert_eq!(world.steps()[1], expected);
    let answer = world.order(false, true).await;
    assert_eq!(answer, Answer::Refused("free is being run: never two at once".to_owned()));
    let_go.send(()).unwrap();
    // Its thread says so in its own time, which no paused clock counts.
    while matches!(world.order(true, false).await, Answer::Refused(_)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_a_treatment_is_its_failure_and_nobody_else_s() {
    let fake = Fake::new(Does::Panics);
    let world = World::start(settings(&fake), one_alert(), vec![high(95.0), high(95.0)]);
    world.pass(420).await;
    assert!(world.steps()[1].starts_with("finished false: it broke off"), "{:?}", world.steps());
    assert!(!world.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_it_would_do_once_and_does_nothing() {
    let fake = Fake::new(Does::Its);
    let mut settings = settings(&fake);
    settings.dry_run = true;
    let world = World::start(settings, one_alert(), Vec::new());
    world.pass(1200).await;
    assert_eq!(world.steps(), ["rehearsed: would do something"]);
    assert_eq!(fake.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_said_once_with_what_would_grant_it() {
    let fake =
        Arc::new(Fake { is_granted: false, ..Arc::into_inner(Fake::new(Does::Its)).unwrap() });
    let world = World::start(settings(&fake), one_alert(), Vec::new());
    world.pass(1200).await;
    assert_eq!(world.steps(), ["refused: not granted: it needs CAP_X; give it CAP_X"]);
    let forced = world.order(false, true).await;
    assert_eq!(forced, Answer::Refused("not granted: it needs CAP_X; give it CAP_X".to_owned()));
    assert_eq!(fake.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_remedy_that_nobody_configured_is_refused_once() {
    let world = World::with(Vec::new(), one_alert(), Vec::new(), usize::MAX, |_| Ok(()));
    world.pass(1200).await;
    assert_eq!(world.steps(), ["refused: no remedy free is configured"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_run_while_its_intent_cannot_be_recorded() {
    let fake = Fake::new(Does::Its);
    let world = World::with(vec![settings(&fake)], one_alert(), Vec::new(), usize::MAX, |_| {
        Err("the disk is gone".to_owned())
    });
    world.pass(1200).await;
    assert_eq!((fake.runs(), world.steps().len()), (0, 0));
    assert!(!world.task.is_finished());
}

/// The journal that is left by a kill after each of its records, and then a start that goes on from it.
#[tokio::test(start_paused = true)]
async fn it_is_run_at_most_once_wherever_it_is_killed() {
    for kept in 0..=3 {
        let fake = Fake::new(Does::Its);
        let readings = vec![high(95.0), high(95.0)];
        let world = World::with(vec![settings(&fake)], one_alert(), readings, kept, |_| Ok(()));
        world.pass(900).await;
        // It stands still in the record after those that were kept: killed there.
        world.task.abort();
        let written = world.journal.lock().unwrap().clone();
        assert_eq!(written.len(), kept);
        let ran_before = fake.runs();
        assert_eq!(ran_before, usize::from(kept > 0), "nothing is run before its intent is there");

        let mut memory = Memory::clone(&world.memory.borrow());
        for action in &written {
            memory.apply(&Record::Action(action.clone()));
        }
        let again = World::start(settings(&fake), memory, vec![high(95.0), high(95.0)]);
        let fired = again.memory.borrow().alerts.values().next().unwrap().fired_at.unwrap();
        assert_eq!(fired, start_of_time());
        again.pass(6 * 3600).await;
        let steps = again.steps();
        match kept {
            0 => assert_eq!(steps.len(), 3, "{steps:?}"),
            1 => assert_eq!(steps, ["unknown"]),
            _ => assert!(steps.is_empty(), "{steps:?}"),
        }
        assert_eq!(fake.runs(), 1, "after {kept} records");
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_is_answered_and_told_why_not() {
    let fake = Fake::new(Does::Its);
    let world = World::start(settings(&fake), Memory::default(), Vec::new());
    let Answer::Begun { is_rehearsal, .. } = world.order(true, false).await else { panic!() };
    assert!(is_rehearsal);
    world.pass(30).await;
    let begun = world.order(false, false).await;
    assert!(matches!(begun, Answer::Begun { is_rehearsal: false, .. }), "{begun:?}");
    world.pass(30).await;
    let Answer::Refused(reason) = world.order(false, false).await else { panic!() };
    assert!(reason.contains("pauses for 1h"), "{reason}");
    let steps = world.steps();
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(steps[0], "rehearsed: would do something");
    assert_eq!(steps[2], "finished true: did something");
    assert!(matches!(world.order(false, true).await, Answer::Begun { .. }));
}

#[tokio::test]
async fn a_stop_ends_what_is_run_and_says_so() {
    let fake = Fake::new(Does::Waits);
    let settings = at_once_due(&fake, Duration::from_secs(60));
    let world = World::on_threads(settings, one_alert(), Vec::new());
    until(&world, 1).await;
    world.stop.send(true).unwrap();
    world.task.await.unwrap();
    let steps: Vec<String> = world.journal.lock().unwrap().iter().map(shown).collect();
    let expected = "finished false: it was ended, as farol was stopped; broke off in the middle";
    assert_eq!(steps[1..], [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_followed() {
    let fake = Fake::new(Does::Its);
    let world = World::with(Vec::new(), Memory::default(), Vec::new(), usize::MAX, |_| Ok(()));
    let Answer::Refused(reason) = world.order(false, false).await else { panic!() };
    assert!(reason.starts_with("there is no remedy free"), "{reason}");
    world.settings.send_replace(Known::from(vec![settings(&fake)]));
    assert!(matches!(world.order(false, false).await, Answer::Begun { .. }));
}
