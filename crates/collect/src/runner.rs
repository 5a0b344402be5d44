//! Runs the collectors of one lane: times them, catches their panics, and sets aside the one that
//! hangs, so that it is late alone.
//!
//! The collectors stand in slots. A worker thread takes each out of its slot, runs it and puts it
//! back. When one does not come back in time, its worker is given up with the collector in its
//! hands, and a new worker carries on with the next slot; the late one puts the collector back
//! whenever its source answers, and it takes part again from the next tick on. So there are never
//! more threads than hung collectors plus one, and none is waited for at stop.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use farol_model::{Collected, Lane, Metric, Outcome, Sample, Text, Timestamp, TopProcess};

use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape,
    summary::Summary,
    view::{Missing, View},
};

const ABSENT: &str = "farol_collector_absent";

pub(crate) const METRICS: &[Metric] = &[
    Metric::gauge(
        ABSENT,
        "",
        "1 for a collector that found nothing of its kind on this machine, which is no failure.",
    ),
    Metric::gauge(
        "node_scrape_collector_duration_seconds",
        "seconds",
        "How long the collector's last run took.",
    ),
    Metric::gauge(
        "node_scrape_collector_success",
        "",
        "Whether the collector's last run succeeded (1) or not (0).",
    ),
    Metric::gauge(
        HOST_VIEW,
        "",
        "Whether what the collector reads is the host's (1), or a container's and left out (0).",
    ),
];

const HOST_VIEW: &str = "farol_host_view";

/// What one tick yields.
#[derive(Debug)]
pub struct Tick {
    pub samples: Vec<Sample>,
    /// The largest processes.
    pub top: Vec<TopProcess>,
    pub outcomes: Vec<Outcome>,
    /// This lane's vital signs by short name.
    pub summary: Vec<(Text, f64)>,
    pub took: Duration,
}

/// The collectors of one lane, ready to tick.
#[derive(Debug)]
pub struct Runner {
    lane: Lane,
    host: Arc<Host>,
    patience: Duration,
    slots: Arc<Slots>,
    names: Vec<Text>,
    /// Since when a collector is out with a worker that was given up.
    late_since: Vec<Option<Instant>>,
    /// Started with the first tick: building a runner starts nothing.
    worker: Option<Worker>,
    health: Scrape,
    summary: Summary,
}

impl Runner {
    /// Builds the lane's collectors among `entries`; opens nothing. A collector that does not
    /// return within `patience` is late.
    pub fn new(
        lane: Lane,
        host: Host,
        entries: &[&'static Entry],
        options: &Options,
        patience: Duration,
    ) -> Result<Runner, OptionsError> {
        let entries: Vec<&'static Entry> =
            entries.iter().copied().filter(|entry| entry.lane == lane).collect();
        let names: Vec<Text> = entries.iter().map(|entry| Text::from_static(entry.name)).collect();
        let mut slots = Vec::with_capacity(entries.len());
        for entry in &entries {
            slots.push(Mutex::new(Slot::Here(Box::new(Running::build(entry, options)?))));
        }
        let slots = Arc::new(Slots {
            slots,
            entries,
            views: OnceLock::new(),
            at: Mutex::new((0, start_lap())),
            options: options.clone(),
        });
        let host = Arc::new(host);
        Ok(Runner {
            lane,
            patience,
            late_since: vec![None; names.len()],
            worker: None,
            slots,
            host,
            names,
            health: Scrape::new(),
            summary: Summary::new(lane),
        })
    }

    pub fn lane(&self) -> Lane {
        self.lane
    }

    pub fn tick(&mut self, at: Timestamp) -> Tick {
        let laps = self.slots.options.laps.clone();
        let lap = laps.now();
        self.slots.look(&self.host);
        self.run_collectors(at);

        let mut samples = Vec::with_capacity(self.health.samples().len() + 512);
        let mut top = Vec::new();
        let mut outcomes = Vec::with_capacity(self.names.len());
        self.health.begin(at);
        for index in 0..self.names.len() {
            let outcome = self.gather(index, &mut samples, &mut top);
            push_health(&mut self.health, &outcome);
            if let Some(view) = self.slots.view(index) {
                push_view(&mut self.health, &outcome.collector, view.is_ok());
            }
            outcomes.push(outcome);
        }
        self.health.take_samples(&mut samples);
        samples.sort_by(|a, b| a.name.cmp(&b.name));
        let summary = self.summary.extend(lap, &mut samples);
        Tick { samples, top, outcomes, summary, took: laps.since(lap) }
    }

    fn run_collectors(&mut self, at: Timestamp) {
        let mut from = 0;
        while from < self.names.len() {
            let start = || Worker::start(self.lane, &self.slots, &self.host);
            let worker = self.worker.get_or_insert_with(start);
            // Set here too: until the worker has taken the job, what stands there is old.
            self.slots.move_to(from);
            worker.run(at, from);
            match wait(worker, &self.slots, self.patience) {
                Waited::Done => return,
                Waited::Dead => {
                    self.worker = None;
                    return;
                }
                Waited::Late(late) => {
                    self.late_since[late] = Some(start_lap());
                    self.worker = None;
                    from = late + 1;
                }
            }
        }
    }

    fn gather(
        &mut self,
        index: usize,
        samples: &mut Vec<Sample>,
        top: &mut Vec<TopProcess>,
    ) -> Outcome {
        let collector = self.names[index].clone();
        if let Some(Err(missing)) = self.slots.view(index) {
            let result = Collected::Absent(missing.to_string());
            return Outcome { collector, took: Duration::ZERO, result };
        }
        let mut slot = self.slots.lock(index);
        let Slot::Here(running) = &mut *slot else {
            let took = self.late_since[index].map(|since| since.elapsed()).unwrap_or_default();
            let waited = (took + self.patience).as_secs();
            let reason = format!(
                "late: no answer for {waited} s; its source hangs, the other collectors go on"
            );
            return Outcome { collector, took, result: Collected::Failed(reason) };
        };
        self.late_since[index] = None;
        let Some((took, result)) = running.result.take() else {
            let reason = "late: it came back after its tick".to_owned();
            return Outcome { collector, took: Duration::ZERO, result: Collected::Failed(reason) };
        };
        running.scrape.take_samples(samples);
        running.scrape.take_top(top);
        Outcome { collector, took, result }
    }
}

enum Waited {
    Done,
    /// The collector of this index did not come back in time.
    Late(usize),
    /// There is no thread: it could not be started, or died outside a collector. The next tick
    /// tries another.
    Dead,
}

fn wait(worker: &Worker, slots: &Slots, patience: Duration) -> Waited {
    let mut left = patience;
    loop {
        match worker.done.recv_timeout(left) {
            Ok(()) => return Waited::Done,
            Err(RecvTimeoutError::Timeout) => {
                let (at, since) = slots.at();
                let spent = since.elapsed();
                if spent >= patience && slots.is_out(at) {
                    return Waited::Late(at);
                }
                left = patience.saturating_sub(spent).max(Duration::from_millis(1));
            }
            Err(RecvTimeoutError::Disconnected) => return Waited::Dead,
        }
    }
}

fn push_health(out: &mut Scrape, outcome: &Outcome) {
    let labels = [("collector", outcome.collector.as_str())];
    let success = matches!(outcome.result, Collected::Complete | Collected::Partial(_));
    if matches!(outcome.result, Collected::Absent(_)) {
        out.push(ABSENT, &labels, 1.0);
    }
    // Steps of 0.1 ms: finer digits are noise, and cost two fifths of a compressed journal.
    let took = (outcome.took.as_secs_f64() * 1e4).round() / 1e4;
    out.push("node_scrape_collector_duration_seconds", &labels, took);
    out.push("node_scrape_collector_success", &labels, f64::from(u8::from(success)));
}

fn push_view(out: &mut Scrape, collector: &Text, is_hosts: bool) {
    out.push(HOST_VIEW, &[("collector", collector.as_str())], f64::from(u8::from(is_hosts)));
}

/// Shared by the runner and its worker (and by workers that were given up).
#[derive(Debug)]
struct Slots {
    slots: Vec<Mutex<Slot>>,
    entries: Vec<&'static Entry>,
    /// Of each slot, whether its sources are the host's; `None` where none of them is a host's.
    /// Looked up with the first tick: building a runner reads nothing.
    views: OnceLock<Vec<Option<Result<(), Missing>>>>,
    /// The collector that the current worker is at, and since when.
    at: Mutex<(usize, Instant)>,
    options: Options,
}

#[derive(Debug)]
enum Slot {
    Here(Box<Running>),
    /// A worker has it in its hands.
    Out,
}

impl Slots {
    fn look(&self, host: &Host) {
        self.views.get_or_init(|| {
            let view = View::of(host);
            let of = |entry: &&'static Entry| {
                (entry.scope != Scope::Own).then(|| view.of_collector(entry))
            };
            self.entries.iter().map(of).collect()
        });
    }

    fn view(&self, index: usize) -> Option<&Result<(), Missing>> {
        self.views.get()?.get(index)?.as_ref()
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Slot> {
        // A panic under the lock leaves the slot as it was: plain assignments only.
        self.slots[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self) -> (usize, Instant) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_to(&self, index: usize) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (index, start_lap());
    }

    fn is_out(&self, index: usize) -> bool {
        self.slots.len() > index && matches!(*self.lock(index), Slot::Out)
    }

    fn take(&self, index: usize) -> Option<Box<Running>> {
        match std::mem::replace(&mut *self.lock(index), Slot::Out) {
            Slot::Here(running) => Some(running),
            Slot::Out => None,
        }
    }

    fn put_back(&self, index: usize, running: Box<Running>) {
        *self.lock(index) = Slot::Here(running);
    }
}

struct Running {
    entry: &'static Entry,
    collector: Box<dyn Collector>,
    scrape: Scrape,
    result: Option<(Duration, Collected)>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("entry", &self.entry.name).finish_non_exhaustive()
    }
}

impl Running {
    fn build(entry: &'static Entry, options: &Options) -> Result<Running, OptionsError> {
        let collector = (entry.build)(options)?;
        Ok(Running { entry, collector, scrape: Scrape::new(), result: None })
    }

    fn run(&mut self, host: &Host, at: Timestamp, options: &Options) {
        self.scrape.begin(at);
        let lap = options.laps.now();
        let caught =
            catch_unwind(AssertUnwindSafe(|| self.collector.collect(host, &mut self.scrape)));
        let took = options.laps.since(lap);
        let problems = self.scrape.take_problems();
        let result = match caught {
            Ok(Ok(())) if problems.is_empty() => Collected::Complete,
            Ok(Ok(())) => Collected::Partial(problems),
            Ok(Err(CollectError::Absent(reason))) => Collected::Absent(reason),
            Ok(Err(CollectError::Failed(reason))) => Collected::Failed(reason),
            Err(panic) => {
                self.replace_collector(options);
                Collected::Failed(format!("panicked: {}", panic_text(&*panic)))
            }
        };
        if matches!(result, Collected::Absent(_) | Collected::Failed(_)) {
            self.scrape.discard();
        }
        self.result = Some((took, result));
    }

    /// After a panic its state may be half changed.
    fn replace_collector(&mut self, options: &Options) {
        if let Ok(fresh) = (self.entry.build)(options) {
            self.collector = fresh;
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A thread that runs the slots from a given one on. It ends when its `Worker` is dropped.
#[derive(Debug)]
struct Worker {
    jobs: SyncSender<(Timestamp, usize)>,
    done: Receiver<()>,
}

impl Worker {
    const STACK_BYTES: usize = 256 * 1024;

    fn start(lane: Lane, slots: &Arc<Slots>, host: &Arc<Host>) -> Worker {
        let (jobs, next_job) = sync_channel::<(Timestamp, usize)>(1);
        let (report, done) = sync_channel::<()>(1);
        let (slots, host) = (Arc::clone(slots), Arc::clone(host));
        let work = move || {
            while let Ok((at, from)) = next_job.recv() {
                for index in from..slots.slots.len() {
                    slots.move_to(index);
                    if matches!(slots.view(index), Some(Err(_))) {
                        continue;
                    }
                    let Some(mut running) = slots.take(index) else { continue };
                    running.run(&host, at, &slots.options);
                    if report_is_closed(&next_job) {
                        // Given up meanwhile: what was read is too old to use.
                        running.result = None;
                        running.scrape.discard();
                        slots.put_back(index, running);
                        return;
                    }
                    slots.put_back(index, running);
                }
                if report.send(()).is_err() {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new()
            .name(format!("collect-{}", lane.name()))
            .stack_size(Worker::STACK_BYTES)
            .spawn(work);
        // Without a thread the channels are closed: the lane's collectors then report "late".
        drop(spawned);
        Worker { jobs, done }
    }

    fn run(&self, at: Timestamp, from: usize) {
        // An error means the thread is gone; `wait` sees the same.
        self.jobs.send((at, from)).ok();
    }
}

/// Whether the runner has dropped its end: it will read no result of this worker any more.
fn report_is_closed(next_job: &Receiver<(Timestamp, usize)>) -> bool {
    matches!(next_job.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
}

/// By what it is told how long something took, and how much time passed between two ticks: the
/// monotonic clock, or that of whoever makes time pass. Waiting for a collector that hangs is always
/// real.
#[derive(Clone)]
pub struct Laps(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Laps {
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Laps {
        Laps(Arc::new(now))
    }

    fn now(&self) -> Instant {
        (self.0)()
    }

    fn since(&self, lap: Instant) -> Duration {
        self.now().saturating_duration_since(lap)
    }
}

impl Default for Laps {
    fn default() -> Laps {
        Laps::new(start_lap)
    }
}

impl std::fmt::Debug for Laps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Laps").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the lap timer itself")]
pub(crate) fn start_lap() -> Instant {
    Instant::now()
}
