//! History: the store, kept in step with the journal on a thread of its own (`store`), in `run`,
//! `collect` and `serve` alike.
//!
//! The store follows the journal. It is opened where it left off, reads the journal from there to its
//! end, and goes on with what comes. Where the core is in the same process, what it has just
//! appended is handed over directly, so that no line is read back from its file; each such record
//! names the one before it, and one that does not follow on what was applied last sends the thread
//! back to the journal. So nothing is lost and nothing applied twice, however the two threads run, and
//! the core never waits.
//!
//! A store that cannot be opened keeps nobody from watching: it is tried again, and then reads what
//! it has missed from the journal.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use farol_collect::{own, top_rows};
use farol_disk::{Disk, MemoryDisk};
use farol_journal::{Item, JournalError, Reader, ReaderStats, StartAt};
use farol_model::{Position, Record, Snapshot, Stream};
use farol_store::{Opened, Store, StoreError};

use crate::{clock, config::Config, core::Applied, run::Shape, threads, upkeep::StoreUpkeep};

/// Records that may wait for the store: minutes of them. Beyond it they are read from the journal.
const WAITING: usize = 256;
/// Received samples that may wait for it, of 16 bytes and more each.
const WAITING_SAMPLES: usize = 1 << 19;
/// The journal's streams that the store follows.
pub(crate) const FOLLOWED: [Stream; 2] = [Stream::Metrics, Stream::Received];
/// How often a journal that another process writes is looked at, as in `follow`.
const LOOK: Duration = Duration::from_millis(200);
/// How often the thread looks up where the core hands over what it appends.
const LOOK_UP: Duration = Duration::from_secs(1);
/// How long until a store that could not be opened is tried anew.
const RETRY_OPEN_AFTER: Duration = Duration::from_secs(30);
/// How often the store is asked what it holds, which means going through its series in memory.
const FIGURES_AFTER: Duration = Duration::from_secs(2);
/// So many windows may wait in memory for a round of upkeep, when the journal is read.
pub(crate) const MOST_WAITING_WINDOWS: usize = 4;
/// What a store in memory may take.
const MOST_IN_MEMORY: u64 = 64 << 20;

/// The store's work on what is over, from when the store could be opened; done by `upkeep`.
pub type UpkeepSlot = Arc<Mutex<Option<StoreUpkeep>>>;

/// The store for who asks, from when it has what the journal held at the start.
pub type ReaderSlot = Arc<Mutex<Option<farol_store::Reader>>>;

/// The folder of the store of whoever collects; a server of its journal may have the same data folder
/// and keeps its own store beside it.
pub fn store_dir(config: &Config, shape: Shape) -> PathBuf {
    config.data.join(match shape {
        Shape::Run | Shape::Collect => "store",
        Shape::Serve => "serve-store",
    })
}

/// What the store is told: the same for whoever opens it, and so the same answers.
pub fn store_config(config: &Config, dir: PathBuf, group: Option<u32>) -> farol_store::Config {
    let mut settings = farol_store::Config {
        retention: config.store.retention,
        tier_retention: config.store.tier_retention,
        max_bytes: config.store.max_size,
        job: config.store.job.clone(),
        rows: top_rows::samples,
        folded: top_rows::folded(),
        ..farol_store::Config::new(dir)
    };
    settings.access.group = group;
    settings
}

/// A store's place: files, or memory where none may be written.
#[derive(Clone, Debug)]
pub struct Place {
    pub disk: Arc<dyn Disk>,
    pub config: farol_store::Config,
}

impl Place {
    /// Holds less, and all of it is read from the journal anew at each start.
    pub fn in_memory(mut config: farol_store::Config) -> Place {
        config.max_bytes = config.max_bytes.min(MOST_IN_MEMORY);
        Place { disk: Arc::new(MemoryDisk::new()), config }
    }
}

#[derive(Debug)]
pub struct Settings {
    /// Of the journal.
    pub disk: Arc<dyn Disk>,
    pub logs: PathBuf,
    pub place: Place,
    pub upkeep: UpkeepSlot,
    pub reader: ReaderSlot,
    pub board: Arc<own::Board>,
}

/// The running thread.
#[derive(Debug)]
pub struct History {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Where no core feeds it: dropped, it ends the thread's waiting.
    held: Option<SyncSender<FromCore>>,
}

#[derive(Debug)]
enum FromCore {
    Appended(Box<Appended>),
    /// The journal could not take it.
    Unjournaled(Arc<Snapshot>),
}

/// What the core has just journaled.
#[derive(Debug)]
struct Appended {
    /// The line of the same stream that the core wrote before it, unless this is its first.
    previous: Option<Position>,
    at: Position,
    record: Record,
    /// Who waits for the store to have it.
    applied: Option<Applied>,
}

impl Appended {
    /// Received samples that it holds.
    fn samples(&self) -> usize {
        match &self.record {
            Record::Received(batch) | Record::Recorded(batch) => batch.samples(),
            Record::Snapshot(_)
            | Record::Event(_)
            | Record::Alert(_)
            | Record::Silence(_)
            | Record::Delivery(_)
            | Record::Action(_)
            | Record::Summary(_)
            | Record::State(_) => 0,
        }
    }
}

/// What the two ends know of what is between them.
#[derive(Debug, Default)]
struct Queue {
    /// Received samples that wait.
    samples: AtomicUsize,
    /// Something found no room: the journal has it.
    is_behind: AtomicBool,
}

/// The core's end: takes what was appended, at once or not at all.
#[derive(Debug)]
pub struct Feed {
    to: SyncSender<FromCore>,
    queue: Arc<Queue>,
    /// In the order of [`FOLLOWED`].
    previous: [Option<Position>; FOLLOWED.len()],
    /// That nobody takes it any more is said once.
    is_told: bool,
}

impl Feed {
    fn new(to: SyncSender<FromCore>, queue: Arc<Queue>) -> Feed {
        Feed { to, queue, previous: Default::default(), is_told: false }
    }

    pub fn hand_over(&mut self, at: Position, record: Record) {
        self.hand_over_to(at, record, None);
    }

    /// The same; `applied` is told when the store has it, and dropped where that may take a while.
    pub fn hand_over_and_tell(&mut self, at: Position, record: Record, applied: Applied) {
        self.hand_over_to(at, record, Some(applied));
    }

    fn hand_over_to(&mut self, at: Position, record: Record, applied: Option<Applied>) {
        let Some(place) = track_of(at.stream) else { return };
        let previous = self.previous[place].replace(at);
        let appended = Appended { previous, at, record, applied };
        let samples = appended.samples();
        // What finds no room is read from the journal.
        if self.queue.samples.load(Ordering::Acquire) + samples > WAITING_SAMPLES {
            self.queue.is_behind.store(true, Ordering::Release);
            return;
        }
        self.queue.samples.fetch_add(samples, Ordering::AcqRel);
        let sent = self.to.try_send(FromCore::Appended(Box::new(appended)));
        if sent.is_err() {
            self.queue.samples.fetch_sub(samples, Ordering::AcqRel);
            self.queue.is_behind.store(true, Ordering::Release);
        }
        if matches!(sent, Err(TrySendError::Disconnected(_))) && !self.is_told {
            self.is_told = true;
            tracing::error!(
                "the store's thread has ended; history is missing until the next start"
            );
        }
    }
}

impl Feed {
    /// What the journal could not take. Where there is no room it is left out: the next one comes soon.
    pub fn show_unjournaled(&self, snapshot: Arc<Snapshot>) {
        self.to.try_send(FromCore::Unjournaled(snapshot)).ok();
    }
}

/// The place of a stream in [`FOLLOWED`].
fn track_of(stream: Stream) -> Option<usize> {
    FOLLOWED.iter().position(|followed| *followed == stream)
}

impl History {
    /// Opens the store and keeps it in step with the core that the feed is for.
    pub fn fed(settings: Settings) -> anyhow::Result<(History, Feed)> {
        let (to, inbox) = sync_channel(WAITING);
        let queue = Arc::<Queue>::default();
        let history = History::start(settings, inbox, Some(Arc::clone(&queue)))?;
        Ok((history, Feed::new(to, queue)))
    }

    /// Opens the store and keeps it in step with a journal that another process writes.
    pub fn following(settings: Settings) -> anyhow::Result<History> {
        let (to, inbox) = sync_channel(1);
        let history = History::start(settings, inbox, None)?;
        Ok(History { held: Some(to), ..history })
    }

    /// A store that another process writes is an error; whatever else is wrong with it may pass.
    fn start(
        settings: Settings,
        inbox: Receiver<FromCore>,
        queue: Option<Arc<Queue>>,
    ) -> anyhow::Result<History> {
        let max_bytes = settings.place.config.max_bytes;
        settings.board.update(|figures| {
            figures.store = Some(own::StoreFigures { max_bytes, ..own::StoreFigures::default() });
        });
        let stop = Arc::new(AtomicBool::new(false));
        let is_fed = queue.is_some();
        let mut keeping = Keeping::new(settings, Arc::clone(&stop), queue.unwrap_or_default());
        if let Err(error) = keeping.open() {
            if matches!(error, StoreError::Locked { .. }) {
                return Err(error.into());
            }
            keeping.complain(&error);
        }
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || keeping.run(&inbox, is_fed))?;
        Ok(History { stop, thread, held: None })
    }

    /// What was handed over is still applied; a long reading of the journal is left off, as the next
    /// start goes on with it. Nothing has to be written: what is in memory is read anew.
    pub fn stop(self, patience: Duration) {
        self.stop.store(true, Ordering::Release);
        drop(self.held);
        if !threads::join_within(self.thread, patience) {
            tracing::warn!("the store's disk hangs; its thread is left behind");
        }
    }
}

/// The store while it is open, and how far it is.
struct Keeping {
    settings: Settings,
    stop: Arc<AtomicBool>,
    queue: Arc<Queue>,
    store: Option<Store>,
    /// In the order of [`FOLLOWED`].
    tracks: [Track; FOLLOWED.len()],
    tried_to_open: Instant,
    told_figures: Option<Instant>,
    /// What the first reading up to the journal's end took.
    replay: Option<own::Replay>,
    /// Said once, not at every look.
    complaint: Option<String>,
    /// How many windows and pools still waited after the last round that was called for here.
    waited: usize,
}

/// How far one stream was followed.
struct Track {
    stream: Stream,
    /// Where it is read on; none while what the core hands over follows on what is applied.
    reader: Option<Reader>,
    /// Where the reading begins when there is no reader.
    start: StartAt,
    /// The line that was applied last.
    applied: Option<Position>,
}

impl Track {
    fn new(stream: Stream, start: StartAt) -> Track {
        Track { stream, reader: None, start, applied: None }
    }
}

impl Keeping {
    fn new(settings: Settings, stop: Arc<AtomicBool>, queue: Arc<Queue>) -> Keeping {
        Keeping {
            settings,
            stop,
            queue,
            store: None,
            tracks: FOLLOWED.map(|stream| Track::new(stream, StartAt::Oldest)),
            tried_to_open: clock::lap(),
            told_figures: None,
            replay: None,
            complaint: None,
            waited: 0,
        }
    }

    fn run(&mut self, inbox: &Receiver<FromCore>, is_fed: bool) {
        let pause = if is_fed { LOOK_UP } else { LOOK };
        self.replay();
        loop {
            match inbox.recv_timeout(pause) {
                Ok(handed_over) => self.take(handed_over),
                Err(RecvTimeoutError::Timeout) if is_fed => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.catch_up();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.queue.is_behind.swap(false, Ordering::AcqRel) {
                self.catch_up();
            }
            self.open_if_due();
            self.tell_figures_if_due();
        }
    }

    fn take(&mut self, handed_over: FromCore) {
        match handed_over {
            FromCore::Appended(appended) => self.take_appended(*appended),
            FromCore::Unjournaled(snapshot) => {
                if let Some(store) = &mut self.store {
                    store.apply_unjournaled(&snapshot);
                }
            }
        }
    }

    fn take_appended(&mut self, appended: Appended) {
        self.queue.samples.fetch_sub(appended.samples(), Ordering::AcqRel);
        let Appended { previous, at, record, applied: waiting } = appended;
        let Some(place) = track_of(at.stream).filter(|_| self.store.is_some()) else { return };
        let applied = self.tracks[place].applied;
        if previous.is_some() && previous == applied {
            self.apply(place, at, &record, true);
            self.tracks[place].reader = None;
            self.tracks[place].start = StartAt::Position(at);
            self.tidy_if_due();
        } else if applied.is_none_or(|applied| applied < at) {
            self.catch_up();
        }
        if let Some(waiting) = waiting {
            waiting.try_send(Ok(())).ok();
        }
    }

    /// The first reading, which may be long.
    fn replay(&mut self) {
        if self.store.is_none() {
            return;
        }
        let lap = clock::lap();
        let records = self.catch_up();
        let took = lap.elapsed();
        self.replay = Some(own::Replay { records, seconds: took.as_secs_f64() });
        self.tell_figures();
        let reader = self.store.as_ref().map(Store::reader);
        *self.settings.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
        tracing::info!(records, ?took, "the store has taken what the journal holds beyond it");
    }

    /// Applies everything that the journal holds beyond what was applied, and says how much it was.
    fn catch_up(&mut self) -> u64 {
        if self.store.is_none() {
            return 0;
        }
        let mut applied = 0;
        let mut read = || -> Result<(), JournalError> {
            (0..FOLLOWED.len()).try_for_each(|place| self.read_on(place, &mut applied))
        };
        match read() {
            Ok(()) => self.complaint = None,
            Err(error) => self.complain(&error),
        }
        applied
    }

    fn read_on(&mut self, place: usize, applied: &mut u64) -> Result<(), JournalError> {
        let mut reader = match self.tracks[place].reader.take() {
            Some(reader) => reader,
            None => self.open_reader(place)?,
        };
        let before = reader.stats();
        let result = loop {
            if self.stop.load(Ordering::Acquire) {
                break Ok(());
            }
            match reader.next() {
                Ok(Some(Item::Line(line))) => {
                    // A reader that was opened at the line applied last gives it again.
                    if self.tracks[place].applied != Some(line.position) {
                        self.apply(place, line.position, &line.record, line.complete);
                        self.tidy_if_due();
                        *applied += 1;
                    }
                }
                // Counted by the reader.
                Ok(Some(Item::Damage(_) | Item::Gap(_))) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        tell_damage(before, reader.stats());
        self.tracks[place].reader = Some(reader);
        result
    }

    fn apply(&mut self, place: usize, at: Position, record: &Record, complete: bool) {
        let Some(store) = &mut self.store else { return };
        store.apply(at, record, complete);
        self.tracks[place].applied = Some(at);
        if let Record::Snapshot(snapshot) = record {
            self.note_applied(snapshot);
        }
    }

    /// A round now where more comes than the rounds of upkeep keep up with. One for each that is over:
    /// while a disk is full, those that wait are not tried at every record.
    fn tidy_if_due(&mut self) {
        let waiting = || self.store.as_ref().map_or(0, |store| store.upkeep().waiting());
        let due = waiting();
        if due < MOST_WAITING_WINDOWS {
            self.waited = 0;
        } else if due != self.waited {
            if let Some(upkeep) = &mut *lock(&self.settings.upkeep) {
                upkeep.round();
            }
            self.waited = waiting();
        }
    }

    fn note_applied(&self, snapshot: &Snapshot) {
        self.update(|figures| figures.newest_applied = Some(snapshot.at));
    }

    fn open_reader(&self, place: usize) -> Result<Reader, JournalError> {
        let Settings { disk, logs, .. } = &self.settings;
        let track = &self.tracks[place];
        Reader::open(Arc::clone(disk), logs, track.stream, track.start)
    }

    fn open(&mut self) -> Result<(), StoreError> {
        self.tried_to_open = clock::lap();
        let Place { disk, config } = &self.settings.place;
        let opened = Store::open(Arc::clone(disk), config.clone())?;
        for (file, error) in &opened.set_aside {
            tracing::error!(file = %file.display(), %error, "a file of the store cannot be used");
        }
        let Settings { disk, logs, .. } = &self.settings;
        self.tracks =
            FOLLOWED.map(|stream| Track::new(stream, start_at(disk, logs, stream, &opened)));
        let board = &self.settings.board;
        let upkeep = StoreUpkeep::new(opened.store.upkeep(), opened.imported, Arc::clone(board));
        *lock(&self.settings.upkeep) = Some(upkeep);
        self.store = Some(opened.store);
        self.update(|figures| figures.fault = None);
        Ok(())
    }

    fn open_if_due(&mut self) {
        if self.store.is_some() || self.tried_to_open.elapsed() < RETRY_OPEN_AFTER {
            return;
        }
        match self.open() {
            Ok(()) => {
                tracing::warn!("the store is written again");
                self.replay();
            }
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &dyn std::error::Error) {
        let error = error.to_string();
        if self.store.is_none() {
            self.update(|figures| figures.fault = Some(error.clone()));
        }
        if self.complaint.as_ref() != Some(&error) {
            tracing::error!(%error, "history is not being stored; trying on");
            self.complaint = Some(error);
        }
    }

    fn tell_figures_if_due(&mut self) {
        if self.told_figures.is_none_or(|told| told.elapsed() >= FIGURES_AFTER) {
            self.tell_figures();
        }
    }

    fn tell_figures(&mut self) {
        self.told_figures = Some(clock::lap());
        let Some(store) = &self.store else { return };
        let stats = store.stats();
        let replay = self.replay;
        self.update(|figures| {
            figures.held = Some(holdings(&stats));
            figures.replay = replay;
        });
    }

    fn update(&self, change: impl FnOnce(&mut own::StoreFigures)) {
        self.settings.board.update(|figures| change(figures.store.get_or_insert_default()));
    }
}

fn lock(slot: &UpkeepSlot) -> MutexGuard<'_, Option<StoreUpkeep>> {
    // A panic in a round leaves it as a kill would.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the journal is to be read from. One that ends before what the store has of it was begun
/// anew, and is read from its beginning: what is held already changes nothing.
pub(crate) fn start_at(
    disk: &Arc<dyn Disk>,
    logs: &Path,
    stream: Stream,
    opened: &Opened,
) -> StartAt {
    begin_at(disk, logs, stream, opened.replays_from(stream))
}

fn begin_at(disk: &Arc<dyn Disk>, logs: &Path, stream: Stream, from: Option<Position>) -> StartAt {
    let Some(from) = from else { return StartAt::Oldest };
    let end = Reader::open(Arc::clone(disk), logs, stream, StartAt::End)
        .ok()
        .and_then(|reader| reader.position());
    match end {
        Some(end) if from <= end => StartAt::Position(from),
        _ => StartAt::Oldest,
    }
}

fn tell_damage(before: ReaderStats, after: ReaderStats) {
    let (damaged, gaps) = (after.damaged - before.damaged, after.gaps - before.gaps);
    if damaged + gaps > 0 {
        tracing::warn!(
            damaged,
            gaps,
            "parts of the journal are damaged or missing, and so in the store; `farol journal \
             verify` lists them"
        );
    }
}

fn holdings(stats: &farol_store::Stats) -> own::StoreHoldings {
    own::StoreHoldings {
        series: stats.series,
        head_series: stats.head_series,
        head_samples: stats.head_samples,
        blocks: stats.blocks,
        block_samples: stats.block_samples,
        bytes: stats.bytes,
        oldest: stats.oldest,
        held_snapshots: stats.held,
        over_limit_samples: stats.over_limit,
        folded_samples: stats.folded,
        repeated_samples: stats.repeated,
        damaged_parts: stats.damaged,
    }
}

#[cfg(test)]
mod tests {
    use farol_disk::CrashDisk;
    use farol_journal::Journal;
    use farol_model::{Current, Lane, State, Text, Timestamp};
    use farol_store::{Matcher, Point, Range};
    use tokio::sync::watch;

    use super::*;
    use crate::core::{Core, Event};

    /// A core and a store, without their threads.
    struct Scene {
        disk: CrashDisk,
        core: Core,
        inbox: Receiver<FromCore>,
        keeping: Keeping,
        second: i64,
    }

    const LOGS: &str = "/logs";

    impl Scene {
        fn with_room_for(waiting: usize) -> Scene {
            let disk = CrashDisk::new();
            let (core, inbox) = core(&disk, waiting);
            let mut keeping = keeping(&disk);
            keeping.open().unwrap();
            keeping.replay();
            Scene { disk, core, inbox, keeping, second: 0 }
        }

        fn tick(&mut self, times: u32) {
            for _ in 0..times {
                let now = Timestamp::from_millis(self.second * 1000);
                self.core.apply(tick(self.second), now);
                self.second += 1;
            }
        }

        fn drain(&mut self) {
            while let Ok(handed_over) = self.inbox.try_recv() {
                self.keeping.take(handed_over);
            }
        }

        fn stored(&self) -> Vec<i64> {
            seconds(self.keeping.store.as_ref().unwrap())
        }

        fn held(&self) -> u64 {
            self.keeping.store.as_ref().unwrap().stats().held
        }
    }

    fn core(disk: &CrashDisk, waiting: usize) -> (Core, Receiver<FromCore>) {
        let settings = farol_journal::Settings { reserve_bytes: 0, ..Default::default() };
        let journal = Journal::open(Arc::new(disk.clone()), LOGS, settings).unwrap();
        let current = watch::channel(Arc::new(Current::default())).0;
        let (to, inbox) = sync_channel(waiting);
        let feed = Feed::new(to, Arc::default());
        (Core::new("pi".into(), journal, current, Arc::default()).feeding(feed), inbox)
    }

    fn keeping(disk: &CrashDisk) -> Keeping {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let config = farol_store::Config::new("/store");
        let settings = Settings {
            disk: Arc::clone(&disk),
            logs: LOGS.into(),
            place: Place { disk, config },
            upkeep: UpkeepSlot::default(),
            reader: ReaderSlot::default(),
            board: Arc::default(),
        };
        Keeping::new(settings, Arc::default(), Arc::default())
    }

    fn tick(second: i64) -> Event {
        let snapshot = Snapshot {
            at: Timestamp::from_millis(second * 1000),
            interval: Duration::from_secs(1),
            lane: Lane::Fast,
            host: "pi".into(),
            state: State::Unknown,
            summary: Vec::new(),
            samples: Vec::new(),
            top: Vec::new(),
            outcomes: Vec::new(),
        };
        Event::Sampled { snapshot, in_flight: Arc::default() }
    }

    /// Of every snapshot that the store has.
    fn seconds(store: &Store) -> Vec<i64> {
        let up = [Matcher::equal(Text::from_static("__name__"), "up")];
        let mut selection = store.reader().select(&up, Range::ALL, None);
        let mut points: Vec<Point> = Vec::new();
        for index in 0..selection.series().len() {
            selection.samples(index, &mut points);
        }
        let taken = points.iter().filter(|point| !farol_store::is_stale(point.value));
        taken.map(|point| point.at.as_millis() / 1000).collect()
    }

    #[test]
    fn the_store_can_be_asked_from_when_it_has_what_the_journal_held() {
        let disk = CrashDisk::new();
        let (mut core, _inbox) = core(&disk, 8);
        for second in 0..3 {
            core.apply(tick(second), Timestamp::from_millis(second * 1000));
        }
        let mut keeping = keeping(&disk);
        keeping.open().unwrap();
        let slot = Arc::clone(&keeping.settings.reader);
        assert!(slot.lock().unwrap().is_none(), "not before");
        keeping.replay();
        let reader = slot.lock().unwrap().clone().unwrap();
        assert_eq!(reader.label_values("__name__", &[], Range::ALL), ["up"]);
    }

    #[test]
    fn what_follows_on_the_last_is_taken_from_the_core_and_not_from_the_journal() {
        let mut scene = Scene::with_room_for(8);
        scene.tick(1);
        scene.drain();
        assert!(
            scene.keeping.tracks[0].reader.is_some(),
            "who wrote before this core is not known"
        );
        scene.tick(5);
        scene.drain();
        assert!(scene.keeping.tracks[0].reader.is_none(), "the rest was handed over");
        assert_eq!((scene.stored(), scene.held()), ((0..6).collect(), 0));
    }

    #[test]
    fn what_finds_no_room_is_read_from_the_journal_and_nothing_is_taken_twice() {
        let mut scene = Scene::with_room_for(3);
        for ticks in [1, 2, 20, 1, 3, 4, 50, 2, 1] {
            scene.tick(ticks);
            scene.drain();
        }
        scene.tick(1);
        scene.drain();
        assert_eq!((scene.stored(), scene.held()), ((0..85).collect(), 0));
    }

    #[test]
    fn what_comes_faster_than_upkeep_goes_round_is_written_in_between() {
        let mut scene = Scene::with_room_for(8);
        for quarter in 0..20 {
            let at = Timestamp::from_millis(quarter * 15 * 60 * 1000);
            let series = farol_model::Series {
                name: "sent".into(),
                labels: farol_model::Labels::empty(),
                points: vec![(at, 1.0)],
            };
            let batch = farol_model::Batch { at, series: vec![series] };
            let (ack, mut answer) = tokio::sync::oneshot::channel();
            scene.core.apply(Event::Received { batch, ack }, at);
            assert_eq!(answer.try_recv(), Ok(Ok(())));
            scene.drain();
            let waiting = scene.keeping.store.as_ref().unwrap().upkeep().waiting();
            assert!(waiting < MOST_WAITING_WINDOWS, "{waiting} wait");
        }
    }

    #[test]
    fn what_was_not_journaled_is_seen_meanwhile_and_not_stored() {
        let mut scene = Scene::with_room_for(8);
        scene.tick(3);
        scene.disk.set_room(Some(0));
        scene.tick(2);
        scene.drain();
        assert_eq!(scene.stored(), vec![0, 1, 2, 3, 4]);
        scene.disk.set_room(None);
        scene.tick(2);
        scene.drain();
        assert_eq!((scene.stored(), scene.held()), (vec![0, 1, 2, 5, 6], 0));
    }

    #[test]
    fn a_store_that_could_be_opened_only_later_reads_what_it_has_missed() {
        let mut scene = Scene::with_room_for(8);
        let other = std::mem::replace(&mut scene.keeping, keeping(&scene.disk));
        let error = scene.keeping.open().unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        scene.keeping.complain(&error);
        let fault = |scene: &Scene| scene.keeping.settings.board.figures().store.unwrap().fault;
        assert!(fault(&scene).unwrap().contains("is locked"));
        scene.tick(5);
        scene.drain();
        drop(other);
        scene.keeping.open().unwrap();
        scene.keeping.replay();
        assert_eq!(fault(&scene), None);
        scene.tick(5);
        scene.drain();
        assert_eq!((scene.stored(), scene.held()), ((0..10).collect(), 0));
    }

    #[test]
    fn a_journal_that_was_begun_anew_is_read_from_its_beginning() {
        let disk = CrashDisk::new();
        let (mut core, _inbox) = core(&disk, 1);
        for second in 0..3 {
            core.apply(tick(second), Timestamp::from_millis(second * 1000));
        }
        let end = |offset| Position { stream: Stream::Metrics, segment: 1, offset };
        let shared: Arc<dyn Disk> = Arc::new(disk);
        let begin = |from| begin_at(&shared, Path::new(LOGS), Stream::Metrics, from);
        assert_eq!(begin(Some(end(10))), StartAt::Position(end(10)));
        assert_eq!(begin(Some(end(1 << 30))), StartAt::Oldest);
        let emptied: Arc<dyn Disk> = Arc::new(CrashDisk::new());
        assert_eq!(
            begin_at(&emptied, Path::new(LOGS), Stream::Metrics, Some(end(10))),
            StartAt::Oldest
        );
        assert_eq!(begin(None), StartAt::Oldest);
    }
}
