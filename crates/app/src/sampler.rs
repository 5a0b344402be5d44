//! One thread per lane: wakes on the lane's grid, runs the collectors, hands the snapshot to the
//! core. It never waits for the core: while the lane's last snapshot is not applied, the tick is
//! skipped and counted.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use farol_collect::{Runner, own};
use farol_model::{Lane, Snapshot, State, Text, Timestamp};

use crate::{clock, core::Event, threads};

/// What a running sampler can be told.
enum Order {
    /// There is a plan in the slot.
    Replace,
    Stop,
}

/// The plan to go on with, until the thread takes it; a newer one takes its place. So whoever
/// reloads never waits for a tick under way.
type PlanSlot = Arc<Mutex<Option<Plan>>>;

/// What a lane does: which collectors, how often, under which host name.
#[derive(Debug)]
pub struct Plan {
    pub runner: Runner,
    pub interval: Duration,
    pub host: Text,
}

impl Plan {
    /// Collects once, and says how long that took.
    pub fn collect(&mut self, at: Timestamp) -> (Snapshot, Duration) {
        let tick = self.runner.tick(at);
        let snapshot = Snapshot {
            at,
            interval: self.interval,
            lane: self.runner.lane(),
            host: self.host.clone(),
            state: State::Unknown,
            summary: tick.summary,
            samples: tick.samples,
            top: tick.top,
            outcomes: tick.outcomes,
        };
        (snapshot, tick.took)
    }
}

#[derive(Debug)]
pub struct Sampler {
    orders: SyncSender<Order>,
    replacement: PlanSlot,
    /// Told once, when the first tick was handed over.
    first_tick: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Sampler {
    pub fn start(
        plan: Plan,
        core: SyncSender<Event>,
        board: Arc<own::Board>,
    ) -> std::io::Result<Sampler> {
        let lane = plan.runner.lane();
        // At most one order to replace is under way, and the one to stop.
        let (orders, inbox) = sync_channel(2);
        let replacement = PlanSlot::default();
        let slot = Arc::clone(&replacement);
        let (tell_first_tick, first_tick) = sync_channel(1);
        let mut sampling =
            Sampling { lane, plan, core, board, in_flight: Arc::new(AtomicBool::new(false)) };
        let thread = thread::Builder::new()
            .name(format!("sample-{}", lane.name()))
            .stack_size(256 * 1024)
            .spawn(move || sampling.run(&inbox, &slot, &tell_first_tick))?;
        Ok(Sampler { orders, replacement, first_tick, thread })
    }

    /// Returns once the first tick was handed to the core, or when that takes too long: sources
    /// that hang must not keep the program from starting.
    pub fn wait_for_first_tick(&self, patience: Duration) {
        // An error means that it takes too long or that the thread is gone: go on in either case.
        self.first_tick.recv_timeout(patience).ok();
    }

    /// From now on, do this instead; begins with a tick.
    pub fn replace(&self, plan: Plan) {
        let waiting = lock(&self.replacement).replace(plan);
        if waiting.is_none() {
            // The thread ends only by `stop`, which takes the sampler.
            self.orders.try_send(Order::Replace).ok();
        }
    }

    /// Ends after the tick under way, and says whether it did. A tick that hangs is left behind: its
    /// thread holds nothing that anybody waits for.
    pub fn stop(self, patience: Duration) -> bool {
        self.orders.try_send(Order::Stop).ok();
        let ended = threads::join_within(self.thread, patience);
        if !ended {
            tracing::warn!("a collector still hangs; its thread is left behind");
        }
        ended
    }
}

fn lock(slot: &PlanSlot) -> MutexGuard<'_, Option<Plan>> {
    // A panic under the lock leaves a whole plan or none.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sampling {
    lane: Lane,
    plan: Plan,
    core: SyncSender<Event>,
    board: Arc<own::Board>,
    in_flight: Arc<AtomicBool>,
}

impl Sampling {
    fn run(
        &mut self,
        orders: &Receiver<Order>,
        replacement: &PlanSlot,
        tell_first_tick: &SyncSender<()>,
    ) {
        self.announce();
        // The first at once: a scrape right after the start finds data.
        let mut last = clock::now();
        self.tick(last);
        tell_first_tick.try_send(()).ok();
        loop {
            let now = clock::now();
            let next = clock::next_on_grid(now, self.plan.interval);
            match orders.recv_timeout(next.since(now)) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Replace) => {
                    let Some(plan) = lock(replacement).take() else { continue };
                    self.plan = plan;
                    self.announce();
                    // At once, as after a start: what the former plan left is soon stale, and the
                    // next point of a wider grid may be an hour away.
                    last = clock::now();
                    self.tick_unless_in_flight(last);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.count_missed(last, next);
            last = next;
            self.tick_unless_in_flight(next);
        }
    }

    fn tick_unless_in_flight(&mut self, at: Timestamp) {
        if self.in_flight.load(Ordering::Acquire) {
            self.count_skipped(1);
        } else {
            self.tick(at);
        }
    }

    fn tick(&mut self, at: Timestamp) {
        let (snapshot, took) = self.plan.collect(at);
        self.board.update(|figures| {
            let lane = &mut figures.lanes[self.lane.index()];
            lane.ticks += 1;
            lane.tick_seconds = Some(took.as_secs_f64());
        });
        self.in_flight.store(true, Ordering::Release);
        let event = Event::Sampled { snapshot, in_flight: Arc::clone(&self.in_flight) };
        match self.core.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.in_flight.store(false, Ordering::Release);
                self.count_skipped(1);
            }
        }
    }

    /// A tick that took longer than its interval passed over grid points; they count as skipped.
    fn count_missed(&self, last: Timestamp, next: Timestamp) {
        let steps = next.since(last).as_millis() / self.plan.interval.as_millis().max(1);
        // More than an hour is a stepped clock, not a slow collector.
        if (2..=3600).contains(&steps) {
            self.count_skipped(u64::try_from(steps - 1).unwrap_or(0));
        }
    }

    fn count_skipped(&self, ticks: u64) {
        self.board.update(|figures| figures.lanes[self.lane.index()].skipped += ticks);
    }

    fn announce(&self) {
        let interval = self.plan.interval.as_secs_f64();
        self.board.update(|figures| figures.lanes[self.lane.index()].interval_seconds = interval);
    }
}

#[cfg(test)]
mod tests {
    use farol_collect::{Host, Options};

    use super::*;

    fn plan(interval: Duration) -> Plan {
        let host = Host::local();
        let patience = Duration::from_secs(1);
        let runner = Runner::new(Lane::Fast, host, &[], &Options::default(), patience).unwrap();
        Plan { runner, interval, host: Text::from_static("pi") }
    }

    #[test]
    fn a_new_plan_is_taken_at_once_however_long_its_interval() {
        let (core, mailbox) = sync_channel(4);
        let next = || {
            let event = mailbox.recv_timeout(Duration::from_secs(10)).unwrap();
            let Event::Sampled { snapshot, in_flight } = event else { panic!("a tick") };
            in_flight.store(false, Ordering::Release);
            snapshot.interval
        };
        let hour = Duration::from_secs(3600);
        let sampler = Sampler::start(plan(hour), core, Arc::default()).unwrap();
        assert_eq!(next(), hour);
        sampler.replace(plan(hour / 2));
        assert_eq!(next(), hour / 2);
        sampler.stop(hour);
    }

    #[test]
    fn of_many_new_plans_the_last_is_taken_and_the_stop_is_still_heard() {
        // Nobody applies what is sent: there is one tick, and then none.
        let (core, _mailbox) = sync_channel(1);
        let board: Arc<own::Board> = Arc::default();
        let sampler =
            Sampler::start(plan(Duration::from_secs(1)), core, Arc::clone(&board)).unwrap();
        for seconds in 1..=100 {
            sampler.replace(plan(Duration::from_secs(3600 + seconds)));
        }
        let deadline = clock::lap() + Duration::from_secs(10);
        let taken = || board.figures().lanes[0].interval_seconds;
        while taken() < 3700.0 && clock::lap() < deadline {
            thread::yield_now();
        }
        assert_eq!(taken(), 3700.0);
        assert!(sampler.stop(Duration::from_secs(10)), "within its time");
    }
}
