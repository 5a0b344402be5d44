//! `farol serve`: reads a journal that another process writes and publishes what its last lines say.
//! It never writes there, and needs neither the writer's lock nor its rights.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use farol_collect::own::Followed;
use farol_disk::Disk;
use farol_journal::{Damage, Item, Reader, ReaderStats, StartAt};
use farol_model::{Current, Memory, Record, Snapshot, State, Stream, Text, Verdict};
use tokio::sync::watch;

use crate::threads;

/// How often the journal is looked at: a fraction of the fast lane's interval.
const PAUSE: Duration = Duration::from_millis(200);
/// A file of rubbish can hold a million bad lines: so many are told of at each look, all are counted.
const MOST_TOLD: u64 = 10;

#[derive(Debug)]
pub struct Follower {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

pub struct Settings {
    pub disk: Arc<dyn Disk>,
    pub logs: PathBuf,
    pub host: Text,
    pub current: watch::Sender<Arc<Current>>,
    pub memory: watch::Sender<Arc<Memory>>,
    /// Raised when the end of the journal was reached for the first time.
    pub ready: watch::Sender<bool>,
    /// What was read, for whoever asks.
    pub followed: Arc<Mutex<Followed>>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl Follower {
    pub fn start(settings: Settings) -> std::io::Result<Follower> {
        let (stop, stopped) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("follow".into())
            .spawn(move || Following::new(settings).run(&stopped))?;
        Ok(Follower { stop, thread })
    }

    pub fn stop(self, patience: Duration) {
        self.stop.try_send(()).ok();
        threads::join_within(self.thread, patience);
    }
}

struct Following {
    settings: Settings,
    reader: Option<Reader>,
    /// Of the events. A segment of them begins with the whole of what was remembered before it.
    events: Option<Reader>,
    memory: Memory,
    lanes: [Option<Arc<Snapshot>>; 2],
    /// The one that was read last. Not the one of the latest time: clocks are set back.
    last: Option<Arc<Snapshot>>,
    /// Said once, not at every look.
    complaint: Option<String>,
}

impl Following {
    fn new(settings: Settings) -> Following {
        Following {
            settings,
            reader: None,
            events: None,
            memory: Memory::default(),
            lanes: [None, None],
            last: None,
            complaint: None,
        }
    }

    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            match self.read_on() {
                Ok(()) => {
                    self.complaint = None;
                    if self.lanes.iter().any(Option::is_some) {
                        self.settings.ready.send_replace(true);
                    }
                }
                Err(error) => self.complain(error),
            }
            match stopped.recv_timeout(PAUSE) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The events first: by them the state of a snapshot is explained.
    fn read_on(&mut self) -> Result<(), farol_journal::JournalError> {
        self.read_events()?;
        self.read_snapshots()
    }

    /// Folds what the events say; damage in them is counted by who verifies the journal.
    fn read_events(&mut self) -> Result<(), farol_journal::JournalError> {
        let mut reader = match self.events.take() {
            Some(reader) => reader,
            None => self.open(Stream::Events)?,
        };
        let mut changed = false;
        let result = loop {
            match reader.next() {
                Ok(Some(Item::Line(line))) => {
                    self.memory.apply(&line.record);
                    changed = true;
                }
                Ok(Some(Item::Damage(_) | Item::Gap(_))) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.events = Some(reader);
        if changed {
            self.settings.memory.send_replace(Arc::new(self.memory.clone()));
        }
        result
    }

    /// Everything there is up to now; published once at its end.
    fn read_snapshots(&mut self) -> Result<(), farol_journal::JournalError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open(Stream::Metrics)?,
        };
        let mut changed = false;
        let damaged_before = reader.stats().damaged;
        let result = loop {
            match reader.next() {
                Ok(Some(Item::Damage(damage))) => {
                    tell(&damage, reader.stats().damaged - damaged_before);
                }
                Ok(Some(item)) => changed |= self.take(item),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.note(reader.stats());
        self.reader = Some(reader);
        if changed {
            self.publish();
        }
        result
    }

    fn note(&self, stats: ReaderStats) {
        let mut followed = self.settings.followed.lock().unwrap_or_else(PoisonError::into_inner);
        *followed = Followed {
            lines: stats.lines,
            incomplete: stats.incomplete,
            repeated: stats.repeats,
            damaged: stats.damaged,
            gaps: stats.gaps,
        };
    }

    fn open(&self, stream: Stream) -> Result<Reader, farol_journal::JournalError> {
        let disk = Arc::clone(&self.settings.disk);
        Reader::open(disk, &self.settings.logs, stream, StartAt::NewestSegment)
    }

    /// Whether what is current changed.
    fn take(&mut self, item: Item) -> bool {
        match item {
            Item::Line(line) => {
                let Record::Snapshot(snapshot) = line.record else { return false };
                // Without its base a line does not say all that was true.
                if !line.complete {
                    return false;
                }
                let lane = snapshot.lane.index();
                self.lanes[lane] = Some(Arc::clone(&snapshot));
                self.last = Some(snapshot);
                true
            }
            Item::Damage(_) => false,
            Item::Gap(gap) => {
                tracing::warn!(%gap, "segments of the journal are missing");
                false
            }
        }
    }

    fn publish(&self) {
        let last = self.last.as_ref();
        let state = last.map(|snapshot| snapshot.state).unwrap_or_default();
        let host = last.map_or(&self.settings.host, |snapshot| &snapshot.host).clone();
        let verdict = match state {
            // Its reason is the writer's: no rules, or none evaluated yet.
            State::Unknown => Verdict {
                state,
                reasons: vec![Text::from_static(
                    "the process that collects does not know the state",
                )],
            },
            // Why, is what fires; the writer alone decides on the state.
            state => Verdict { state, reasons: farol_alert::verdict(&self.memory).reasons },
        };
        let lanes = self.lanes.clone();
        self.settings.current.send_replace(Arc::new(Current {
            host,
            verdict,
            lanes,
            ..Current::default()
        }));
    }

    fn complain(&mut self, error: farol_journal::JournalError) {
        let error = error.to_string();
        if self.complaint.as_ref() != Some(&error) {
            tracing::warn!(%error, "the journal cannot be read yet; trying on");
            self.complaint = Some(error);
        }
    }
}

/// Tells of the damage that is the `count`th of this look.
fn tell(damage: &Damage, count: u64) {
    if count <= MOST_TOLD {
        tracing::warn!(%damage, "a damaged part of the journal was skipped");
    }
    if count == MOST_TOLD {
        tracing::warn!("more damage may follow; it is counted, `farol journal verify` lists it");
    }
}
