//! The core: the only writer. Everything that can wake the program is an [`Event`]; [`Core::apply`]
//! decides, synchronously, and nothing in it waits for a network, a query or a sync.
//!
//! A snapshot is appended to the journal, then published as *current*. If the append fails it is
//! only published: what is served stays true while the disk is full, and the gap is counted,
//! named in `/health`, and recorded once writing works again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use farol_collect::own;
use farol_journal::{Journal, JournalError};
use farol_model::{Current, Lane, Record, Snapshot, State, Text, Timestamp, Verdict, Writer};
use tokio::sync::watch;

use crate::clock;

/// Everything that can wake the core.
#[derive(Debug)]
pub enum Event {
    /// A lane's tick. The flag is lowered once it is applied: the lane may then send its next.
    Sampled { snapshot: Snapshot, in_flight: Arc<AtomicBool> },
    /// Something happened to Farol itself (a reload, for instance); it is journaled.
    Happened { event: Text, message: Text },
    /// The last event: what is under way is written and synced.
    Stop,
}

/// How long until a journal that could not be opened or written is tried anew.
const RETRY_OPEN_AFTER: Duration = Duration::from_secs(5);

pub type OpenJournal = Box<dyn FnMut() -> Result<Journal, JournalError> + Send>;

pub struct Core {
    host: Text,
    journal: JournalSlot,
    /// What could not be written since the last success.
    gap: Option<Gap>,
    unjournaled: u64,
    lanes: [Option<Arc<Snapshot>>; 2],
    /// Each lane's own vital signs; a line carries those of all lanes that are fresh.
    summaries: [Vec<(Text, f64)>; 2],
    current: watch::Sender<Arc<Current>>,
    board: Arc<own::Board>,
}

/// The journal, or the way to it: a full disk at the start is no reason to stop watching.
enum JournalSlot {
    Open(Box<Journal>),
    Closed { open: OpenJournal, reason: Text, since: Instant },
}

struct Gap {
    from: Timestamp,
    snapshots: u64,
    reason: Text,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Core {
    pub fn new(
        host: Text,
        journal: Journal,
        current: watch::Sender<Arc<Current>>,
        board: Arc<own::Board>,
    ) -> Core {
        Core::with(host, JournalSlot::Open(Box::new(journal)), current, board)
    }

    /// A core whose journal could not be opened yet, for a reason that may pass.
    pub fn without_journal(
        host: Text,
        open: OpenJournal,
        reason: Text,
        current: watch::Sender<Arc<Current>>,
        board: Arc<own::Board>,
    ) -> Core {
        let closed = JournalSlot::Closed { open, reason, since: clock::lap() };
        Core::with(host, closed, current, board)
    }

    fn with(
        host: Text,
        journal: JournalSlot,
        current: watch::Sender<Arc<Current>>,
        board: Arc<own::Board>,
    ) -> Core {
        Core {
            host,
            journal,
            gap: None,
            unjournaled: 0,
            lanes: [None, None],
            summaries: [Vec::new(), Vec::new()],
            current,
            board,
        }
    }

    /// The core's thread: applies until it is told to stop.
    pub fn run(mut self, mailbox: &Receiver<Event>) {
        while let Ok(event) = mailbox.recv() {
            let stop = matches!(event, Event::Stop);
            self.apply(event, clock::now());
            if stop {
                return;
            }
        }
    }

    pub fn apply(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Sampled { snapshot, in_flight } => {
                let lap = clock::lap();
                let lane = snapshot.lane;
                self.sampled(snapshot, now);
                in_flight.store(false, Ordering::Release);
                self.note_figures(lane, lap.elapsed());
            }
            Event::Happened { event, message } => self.happened(event, message, now),
            Event::Stop => self.stop(now),
        }
    }

    fn sampled(&mut self, mut snapshot: Snapshot, now: Timestamp) {
        let verdict = verdict();
        snapshot.state = verdict.state;
        // A reload may have given the machine another name.
        self.host = snapshot.host.clone();
        let lane = snapshot.lane.index();
        self.summaries[lane] = std::mem::take(&mut snapshot.summary);
        snapshot.summary = self.all_summaries(lane, now);
        let snapshot = Arc::new(snapshot);
        self.remember(&snapshot, now);
        self.lanes[lane] = Some(snapshot);
        self.publish(verdict);
    }

    /// The vital signs of this lane and of the others as long as they are fresh, by name.
    fn all_summaries(&self, own_lane: usize, now: Timestamp) -> Vec<(Text, f64)> {
        let is_fresh = |lane: usize| {
            lane == own_lane || self.lanes[lane].as_ref().is_some_and(|held| !held.is_stale(now))
        };
        let mut all: Vec<(Text, f64)> = Vec::with_capacity(24);
        for lane in 0..self.summaries.len() {
            if is_fresh(lane) {
                all.extend(self.summaries[lane].iter().cloned());
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn remember(&mut self, snapshot: &Arc<Snapshot>, now: Timestamp) {
        self.reopen_if_due();
        let result = match &mut self.journal {
            JournalSlot::Open(journal) => journal
                .append(&Record::Snapshot(Arc::clone(snapshot)))
                .map(drop)
                .map_err(|error| error.to_string()),
            JournalSlot::Closed { reason, .. } => Err(reason.to_string()),
        };
        match result {
            Ok(()) => self.close_gap(now),
            Err(reason) => self.widen_gap(snapshot.at, reason.into()),
        }
    }

    fn widen_gap(&mut self, at: Timestamp, reason: Text) {
        self.unjournaled += 1;
        match &mut self.gap {
            Some(gap) => {
                gap.snapshots += 1;
                gap.reason = reason;
            }
            None => {
                tracing::error!(%reason, "the journal cannot be written; serving goes on");
                self.gap = Some(Gap { from: at, snapshots: 1, reason });
            }
        }
    }

    /// Writing works again: the gap itself is recorded, so that a reader knows of it.
    fn close_gap(&mut self, now: Timestamp) {
        let Some(gap) = self.gap.take() else { return };
        let message = format!(
            "{} snapshots from {} on were not journaled: {}",
            gap.snapshots,
            clock::rfc3339(gap.from),
            gap.reason
        );
        tracing::warn!(snapshots = gap.snapshots, "the journal is written again");
        self.append_event(Text::from_static("gap"), message.into(), now);
    }

    fn happened(&mut self, event: Text, message: Text, now: Timestamp) {
        self.append_event(event, message, now);
    }

    fn append_event(&mut self, event: Text, message: Text, now: Timestamp) {
        let JournalSlot::Open(journal) = &mut self.journal else { return };
        let event =
            farol_model::Event { at: now, host: self.host.clone(), event, message, fields: vec![] };
        if let Err(error) = journal.append(&Record::Event(event)) {
            tracing::error!(%error, "an event could not be journaled");
        }
    }

    fn reopen_if_due(&mut self) {
        let JournalSlot::Closed { open, reason, since } = &mut self.journal else { return };
        if since.elapsed() < RETRY_OPEN_AFTER {
            return;
        }
        match open() {
            Ok(journal) => self.journal = JournalSlot::Open(Box::new(journal)),
            Err(error) => {
                *reason = error.to_string().into();
                *since = clock::lap();
            }
        }
    }

    fn publish(&self, verdict: Verdict) {
        let writer = Writer {
            degraded: self.gap.as_ref().map(|gap| gap.reason.clone()),
            unjournaled: self.unjournaled,
        };
        self.current.send_replace(Arc::new(Current {
            host: self.host.clone(),
            verdict,
            lanes: self.lanes.clone(),
            writer,
        }));
    }

    fn note_figures(&self, lane: Lane, took: Duration) {
        // The sizes mean listing the folder: often enough with the slow lane.
        let stats = match &self.journal {
            JournalSlot::Open(journal) if lane == Lane::Slow => journal.stats().ok(),
            JournalSlot::Open(_) | JournalSlot::Closed { .. } => None,
        };
        self.board.update(|figures| {
            figures.lanes[lane.index()].apply_seconds = Some(took.as_secs_f64());
            figures.journal_unjournaled = self.unjournaled;
            figures.journal_degraded = self.gap.is_some();
            let Some(stats) = stats else { return };
            for (held, stream) in figures.journal.iter_mut().zip(stats.streams) {
                held.bytes = stream.bytes;
                held.segments = stream.segments;
                held.lines = stream.lines;
            }
        });
    }

    fn stop(&mut self, now: Timestamp) {
        self.append_event(Text::from_static("stopped"), "stopped in order".into(), now);
        if let JournalSlot::Open(journal) = &mut self.journal
            && let Err(error) = journal.sync()
        {
            tracing::error!(%error, "the journal's last lines could not be synced");
        }
    }
}

/// Until rules exist nothing may be called stable.
pub fn verdict() -> Verdict {
    Verdict { state: State::Unknown, reasons: vec![Text::from_static("no rules loaded")] }
}
