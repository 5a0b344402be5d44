//! `farol simulate`: the history that machines would have, written in a fraction of its time. The
//! real collectors read recorded machines, the real core journals what they say, the real store takes
//! it from there, and the real upkeep tidies; only the time is made here. One thread decides
//! everything (the collectors have their workers, and are waited for), so what is written depends on
//! the arguments and the recordings alone, apart from the sizes of file systems: for those the
//! system is asked that we run on. Where the recording is a machine's journal, nothing is collected:
//! its hours are played on and on.
//!
//! Left to `run`: all that waits for a network, and the syncing on an interval. A crash costs nothing
//! that the same arguments would not bring back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use farol_alert::RuleSet;
use farol_collect::Laps;
use farol_disk::{Disk, RealDisk};
use farol_journal::{Item, Journal, Reader, Syncer};
use farol_model::{Current, Lane, Memory, Text, Timestamp};
use farol_store::{Opened, Store};
use judge::Judge;
use recording::{Player, Recording};
use tokio::sync::watch;
use wander::Wander;

use crate::{
    clock,
    config::Config,
    core::{Core, Event},
    history,
    parts::{self, Boards},
    run::{self, Shape},
    sampler::Plan,
};

mod judge;
pub mod recording;
mod wander;

/// What is to happen.
#[derive(Debug)]
pub struct Script {
    /// The configuration for each recorded machine. They take turns of equal length, as if one
    /// machine changed: series go and others come. The first says where to write.
    pub machines: Vec<Config>,
    pub start: Timestamp,
    pub span: Duration,
    /// Simulated seconds in a real one; without it, as many as can be done.
    pub speed: Option<f64>,
    /// By what seed the values move from tick to tick, if they do.
    pub wander: Option<u64>,
    /// Played instead of collecting from the machines, and the seed by which its pieces are chosen.
    pub recording: Option<(Arc<Recording>, u64)>,
    /// The rules that are evaluated, if any are.
    pub rules: Option<Arc<RuleSet>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub snapshots: u64,
    /// Of the journal, events included.
    pub lines: u64,
    /// The journal's files, its closed segments compressed.
    pub journal_bytes: u64,
    /// In blocks and in memory.
    pub samples: u64,
    /// The others are read from the journal by whoever opens the store.
    pub block_samples: u64,
    pub store_bytes: u64,
    /// At the end; none without rules.
    pub firing: Option<usize>,
}

/// Plays the script to its end; stops at the first thing that cannot be written.
pub fn simulate(script: &Script) -> anyhow::Result<Written> {
    Simulation::prepare(script)?.play()
}

struct Simulation<'a> {
    script: &'a Script,
    clock: Clock,
    pace: Pace,
    boards: Boards,
    disk: Arc<dyn Disk>,
    settings: farol_journal::Settings,
    syncer: Syncer,
    core: Core,
    history: History,
    current: watch::Receiver<Arc<Current>>,
    /// Whose turn it is, and by what plans.
    turn: usize,
    plans: [Plan; 2],
    wander: Option<Wander>,
    player: Option<Player>,
    judge: Option<Judge>,
    /// When each kind of work is next to be done.
    due: [(Timestamp, Work); 4],
    snapshots: u64,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Tick(Lane),
    Rules,
    Upkeep,
}

impl Simulation<'_> {
    fn prepare(script: &Script) -> anyhow::Result<Simulation<'_>> {
        let config = script.machines.first().context("there is no machine to simulate")?;
        let boards = Boards::default();
        boards.own.update(|figures| {
            figures.version = crate::cli::VERSION;
            figures.revision = run::REVISION;
            figures.rust_version = run::RUST_VERSION;
        });
        let clock = Clock::new(script.start);
        let plans = parts::plans_timed(config, &boards, clock.laps())?;
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let settings = parts::journal_settings(config, run::group_id(config)?);
        let journal = Journal::open(Arc::clone(&disk), &config.logs, settings.clone())?;
        let syncer = journal.syncer();
        let (publish, current) = watch::channel(Arc::default());
        let host = config.host_name.clone();
        let (remember, memory) = watch::channel(Arc::default());
        let core = Core::new(host, journal, publish, Arc::clone(&boards.own))
            .remembering(Memory::default(), remember);
        let history = History::open(&disk, config)?;
        let judge = script
            .rules
            .as_ref()
            .map(|rules| Judge::new(config, Arc::clone(rules), memory, script.start));
        let due = [Work::Tick(Lane::Fast), Work::Tick(Lane::Slow), Work::Rules, Work::Upkeep];
        Ok(Simulation {
            script,
            clock,
            pace: Pace::new(script.start, script.speed),
            boards,
            disk,
            settings,
            syncer,
            core,
            history,
            current,
            turn: 0,
            plans,
            wander: script.wander.map(Wander::new),
            player: script
                .recording
                .as_ref()
                .map(|(recording, seed)| Player::new(Arc::clone(recording), *seed)),
            judge,
            due: due.map(|work| (script.start, work)),
            snapshots: 0,
        })
    }

    fn play(mut self) -> anyhow::Result<Written> {
        let end = self.script.start.plus(self.script.span);
        let started = Event::Happened {
            event: Text::from_static("started"),
            message: format!("farol {} started", crate::cli::VERSION).into(),
        };
        self.core.apply(started, self.script.start);
        if let Some(rules) = &self.script.rules {
            let loaded = Event::Loaded { rules: Arc::clone(rules), channels: Vec::new() };
            self.core.apply(loaded, self.script.start);
        }
        while let Some((at, work)) = self.next_due(end) {
            self.pace.wait_until(at);
            self.clock.move_to(at);
            self.take_turns(at)?;
            match work {
                Work::Tick(lane) => self.tick(lane, at)?,
                Work::Rules => self.judge(at)?,
                Work::Upkeep => self.tidy()?,
            }
        }
        self.core.apply(Event::Stop, end);
        self.tidy()?;
        let streams = self.core.journal_stats()?.streams;
        let stored = self.history.store.stats();
        Ok(Written {
            snapshots: self.snapshots,
            lines: streams.iter().map(|stream| stream.lines).sum(),
            journal_bytes: streams.iter().map(|stream| stream.bytes).sum(),
            samples: stored.block_samples + stored.head_samples,
            block_samples: stored.block_samples,
            store_bytes: stored.bytes,
            firing: self.judge.as_ref().map(Judge::firing),
        })
    }

    /// What comes first; of what is due together, lanes before rules and rules before upkeep, and the
    /// fast lane before all.
    fn next_due(&mut self, end: Timestamp) -> Option<(Timestamp, Work)> {
        let next = (0..self.due.len()).min_by_key(|index| self.due[*index].0)?;
        let (at, work) = self.due[next];
        self.due[next].0 = match work {
            Work::Tick(lane) => clock::next_on_grid(at, self.interval(lane)),
            Work::Rules => self.rules_due_after(at).unwrap_or(end),
            Work::Upkeep => clock::next_on_grid(at, UPKEEP_INTERVAL),
        };
        (at < end).then_some((at, work))
    }

    fn interval(&self, lane: Lane) -> Duration {
        match &self.script.recording {
            Some((recording, _)) => recording.interval(lane),
            None => self.plans[lane.index()].interval,
        }
    }

    /// The collectors of the next machine know nothing of the former's.
    fn take_turns(&mut self, at: Timestamp) -> anyhow::Result<()> {
        let turn = turn(self.script, at);
        if turn != self.turn {
            let config = &self.script.machines[turn];
            self.plans = parts::plans_timed(config, &self.boards, self.clock.laps())?;
            self.turn = turn;
        }
        Ok(())
    }

    fn tick(&mut self, lane: Lane, at: Timestamp) -> anyhow::Result<()> {
        let interval = self.interval(lane);
        let mut snapshot = match &mut self.player {
            Some(player) => player.tick(lane, at, interval),
            None => self.plans[lane.index()].collect(at).0,
        };
        if let Some(wander) = &mut self.wander {
            wander.move_on(&mut snapshot.samples);
        }
        self.boards.own.update(|figures| {
            let lane = &mut figures.lanes[lane.index()];
            lane.ticks += 1;
            lane.interval_seconds = interval.as_secs_f64();
        });
        let in_flight = Arc::new(AtomicBool::new(true));
        self.core.apply(Event::Sampled { snapshot, in_flight }, at);
        self.snapshots += 1;
        // A real duration has no place among simulated ones.
        self.boards.own.update(|figures| figures.lanes[lane.index()].apply_seconds = None);
        match &self.current.borrow().writer.degraded {
            Some(reason) => anyhow::bail!("the journal cannot be written: {reason}"),
            None => Ok(()),
        }
    }

    fn rules_due_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.judge.as_ref()?.due_after(at)
    }

    fn judge(&mut self, at: Timestamp) -> anyhow::Result<()> {
        match &mut self.judge {
            Some(judge) => judge.evaluate(at, &mut self.core, &mut self.history),
            None => Ok(()),
        }
    }

    /// The store first: it needs what the journal may remove.
    fn tidy(&mut self) -> anyhow::Result<()> {
        self.history.tidy()?;
        let logs = &self.script.machines[0].logs;
        let open = self.syncer.open_segments();
        let report = farol_journal::upkeep(&*self.disk, logs, &self.settings, open);
        match report.errors.into_iter().next() {
            Some(error) => {
                Err(error).context("a closed segment could not be compressed or removed")
            }
            None => Ok(()),
        }
    }
}

/// How often journal and store are tidied.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// So many windows of the store wait in memory while a journal from before is read.
const MOST_WAITING: usize = 4;

/// The store, in step with the journal as a server of it has it: by reading. Once a round is often
/// enough, as nobody asks meanwhile.
struct History {
    /// Of the streams that the store follows.
    journals: [Reader; 2],
    store: Store,
    upkeep: farol_store::Upkeep,
}

impl History {
    fn open(disk: &Arc<dyn Disk>, config: &Config) -> anyhow::Result<History> {
        let dir = history::store_dir(config, Shape::Run);
        let settings = history::store_config(config, dir, run::group_id(config)?);
        let opened = Store::open(Arc::clone(disk), settings)?;
        let starts = history::FOLLOWED
            .map(|stream| (stream, history::start_at(disk, &config.logs, stream, &opened)));
        let Opened { store, set_aside, .. } = opened;
        if let Some((_, error)) = set_aside.into_iter().next() {
            return Err(error).context("the store in the folder is damaged");
        }
        let open = |(stream, start)| Reader::open(Arc::clone(disk), &config.logs, stream, start);
        let [metrics, received] = starts.map(open);
        let upkeep = store.upkeep();
        Ok(History { journals: [metrics?, received?], store, upkeep })
    }

    fn tidy(&mut self) -> anyhow::Result<()> {
        self.follow()?;
        self.round()
    }

    /// To the journal's end.
    fn follow(&mut self) -> anyhow::Result<()> {
        for stream in 0..self.journals.len() {
            while let Some(item) = self.journals[stream].next()? {
                // Damage and gaps are from before: nothing of what is written here is damaged or missing.
                let Item::Line(line) = item else { continue };
                self.store.apply(line.position, &line.record, line.complete);
                if self.upkeep.waiting() >= MOST_WAITING {
                    self.round()?;
                }
            }
        }
        Ok(())
    }

    fn round(&mut self) -> anyhow::Result<()> {
        match self.upkeep.round().errors.into_iter().next() {
            Some(error) => Err(error).context("the store could not be written"),
            None => Ok(()),
        }
    }
}

/// Whose turn it is: each has an equal share of the span.
fn turn(script: &Script, at: Timestamp) -> usize {
    let last = script.machines.len() - 1;
    let passed = at.since(script.start).as_millis();
    let turn = passed * script.machines.len() as u128 / script.span.as_millis().max(1);
    usize::try_from(turn).map_or(last, |turn| turn.min(last))
}

/// The time as it passes here.
#[derive(Clone, Debug)]
struct Clock {
    start: Timestamp,
    began: Instant,
    passed_millis: Arc<AtomicU64>,
}

impl Clock {
    fn new(start: Timestamp) -> Clock {
        Clock { start, began: clock::lap(), passed_millis: Arc::default() }
    }

    fn move_to(&self, at: Timestamp) {
        let passed = at.since(self.start).as_millis();
        self.passed_millis.store(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Between two ticks the simulated time passes, and none within one.
    fn laps(&self) -> Laps {
        let clock = self.clone();
        Laps::new(move || {
            let passed = Duration::from_millis(clock.passed_millis.load(Ordering::Relaxed));
            clock.began.checked_add(passed).unwrap_or(clock.began)
        })
    }
}

/// Holds the simulated time back to its speed.
struct Pace {
    start: Timestamp,
    began: Instant,
    speed: Option<f64>,
    /// Nothing is ever sent: to wait for it is to wait for as long as one likes.
    never: (SyncSender<()>, Receiver<()>),
}

impl Pace {
    fn new(start: Timestamp, speed: Option<f64>) -> Pace {
        Pace { start, began: clock::lap(), speed, never: sync_channel(0) }
    }

    fn wait_until(&self, at: Timestamp) {
        let Some(speed) = self.speed else { return };
        let real = at.since(self.start).as_secs_f64() / speed;
        let Ok(real) = Duration::try_from_secs_f64(real) else { return };
        // It ends by its time alone.
        self.never.1.recv_timeout(real.saturating_sub(self.began.elapsed())).ok();
    }
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
