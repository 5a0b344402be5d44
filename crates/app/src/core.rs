//! The core: the only writer. Everything that can wake the program is an [`Event`]; [`Core::apply`]
//! decides, synchronously, and nothing in it waits for a network, a query or a sync.
//!
//! A snapshot is appended to the journal, handed to the store's thread, and published as *current*. If
//! the append fails it is published, and shown to the store, which answers with it and never writes it:
//! what is served and judged stays true while the disk is full, the store keeps nothing that the journal
//! has not, and the gap is counted, named in `/health`, and recorded once writing works again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use farol_alert::{GroupResult, RuleSet};
use farol_collect::{own, summary};
use farol_journal::{Journal, JournalError};
use farol_model::{
    ActionStep, Batch, Current, Lane, Memory, Record, Sample, Snapshot, State, Text, Timestamp,
    Transition, Turn, Verdict, Writer,
};
use tokio::sync::{oneshot, watch};

use crate::{clock, history::Feed, upkeep::SyncRequests};

mod remembered;

use remembered::{JournalFault, Remembered};

/// Everything that can wake the core.
#[derive(Debug)]
pub enum Event {
    /// A lane's tick. The flag is lowered once it is applied: the lane may then send its next.
    Sampled { snapshot: Snapshot, in_flight: Arc<AtomicBool> },
    /// Samples that another program has sent. It is told when they are in the journal, or why not.
    Received { batch: Batch, ack: oneshot::Sender<Result<(), String>> },
    /// What recording rules have computed. It is told when the store has it; where it is dropped, the
    /// store will have it a little later.
    Recorded { batch: Batch, applied: Applied },
    /// What a group's rules have found. It is told when that is applied.
    Evaluated { result: GroupResult, applied: SyncSender<()> },
    /// Rules and notifiers as they are configured from now on.
    Loaded { rules: Arc<RuleSet>, channels: Vec<Text> },
    /// What was told, tried, silenced or summed up. It is told once that is durable; while the disk is
    /// full, once it is held.
    Remember { record: Record, ack: Ack },
    /// Something happened to Farol itself (a reload, for instance); it is journaled.
    Happened { event: Text, message: Text },
    /// The last event: what is under way is written and synced.
    Stop,
}

pub type Applied = SyncSender<Result<(), String>>;
pub type Ack = oneshot::Sender<Result<(), String>>;

/// How long until a journal that could not be opened or written is tried anew.
const RETRY_OPEN_AFTER: Duration = Duration::from_secs(5);

pub type OpenJournal = Box<dyn FnMut() -> Result<Journal, JournalError> + Send>;

pub struct Core {
    host: Text,
    journal: JournalSlot,
    /// To the store; none in tests of the core alone.
    history: Option<Feed>,
    /// The time of the snapshot that was journaled last.
    journaled: Option<Timestamp>,
    /// What could not be written since the last success.
    gap: Option<Gap>,
    unjournaled: u64,
    lanes: [Option<Arc<Snapshot>>; 2],
    /// Each lane's own vital signs; a line carries those of all lanes that are fresh.
    summaries: [Vec<(Text, f64)>; 2],
    current: watch::Sender<Arc<Current>>,
    board: Arc<own::Board>,
    remembered: Remembered,
    /// Of the thread that syncs; none in tests and simulations.
    sync: Option<SyncRequests>,
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
            history: None,
            journaled: None,
            gap: None,
            unjournaled: 0,
            lanes: [None, None],
            summaries: [Vec::new(), Vec::new()],
            current,
            board,
            remembered: Remembered::default(),
            sync: None,
        }
    }

    /// Goes on from what the journal remembers, and publishes it whenever it has changed.
    pub fn remembering(mut self, memory: Memory, published: watch::Sender<Arc<Memory>>) -> Core {
        self.remembered = Remembered::new(memory, published);
        self.remembered.name(&self.host);
        self
    }

    /// What must be durable at once is synced there.
    pub fn syncing(mut self, sync: SyncRequests) -> Core {
        self.sync = Some(sync);
        self
    }

    /// What is journaled is handed over there too.
    pub fn feeding(mut self, history: Feed) -> Core {
        self.history = Some(history);
        self
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
            Event::Received { batch, ack } => {
                // Who has sent them may have gone; they are stored all the same.
                ack.send(self.received(batch)).ok();
            }
            Event::Recorded { batch, applied } => self.recorded(batch, applied),
            Event::Evaluated { result, applied } => {
                self.evaluated(&result, now);
                applied.try_send(()).ok();
            }
            Event::Loaded { rules, channels } => self.loaded(rules, channels, now),
            Event::Remember { record, ack } => self.remember_and_tell(record, ack),
            Event::Happened { event, message } => self.happened(event, message, now),
            Event::Stop => self.stop(now),
        }
    }

    /// What the journal says of itself, if it is open.
    pub fn journal_stats(&self) -> Result<farol_journal::Stats, JournalError> {
        match &self.journal {
            JournalSlot::Open(journal) => journal.stats(),
            JournalSlot::Closed { .. } => Ok(farol_journal::Stats::default()),
        }
    }

    fn sampled(&mut self, mut snapshot: Snapshot, now: Timestamp) {
        let verdict = self.remembered.verdict(now);
        snapshot.state = verdict.state;
        if snapshot.lane == Lane::Fast {
            insert(&mut snapshot.samples, summary::state(verdict.state));
        }
        // A reload may have given the machine another name.
        self.host = snapshot.host.clone();
        self.remembered.name(&self.host);
        let lane = snapshot.lane.index();
        self.summaries[lane] = std::mem::take(&mut snapshot.summary);
        snapshot.summary = self.all_summaries(lane, now);
        let snapshot = Arc::new(snapshot);
        self.remember(&snapshot, now);
        self.lanes[lane] = Some(snapshot);
        self.publish(verdict);
        self.keep_memory(now);
    }

    /// What waits for room is written as soon as there is some, and the whole once an hour.
    fn keep_memory(&mut self, now: Timestamp) {
        let JournalSlot::Open(journal) = &mut self.journal else { return };
        let kept = self.remembered.catch_up(Some(journal)).and_then(|()| {
            let journal = journal.as_mut();
            self.remembered.write_state_if_due(journal, now)
        });
        if let Err(error) = kept {
            tracing::debug!(%error, "what is remembered could not be written yet");
        }
    }

    fn recorded(&mut self, batch: Batch, applied: Applied) {
        let journal = match &mut self.journal {
            JournalSlot::Open(journal) => journal,
            JournalSlot::Closed { reason, .. } => {
                applied.try_send(Err(reason.to_string())).ok();
                return;
            }
        };
        let record = Record::Recorded(Arc::new(batch));
        match journal.append(&record) {
            Ok(at) => {
                if let Some(history) = &mut self.history {
                    history.hand_over_and_tell(at, record, applied);
                }
            }
            Err(error) => drop(applied.try_send(Err(error.to_string()))),
        }
    }

    fn evaluated(&mut self, result: &GroupResult, now: Timestamp) {
        let host = self.host.clone();
        let turns = self.remembered.evaluated(result, &host, now);
        self.take_turns(turns);
        self.remembered.prune(now);
        self.remembered.publish();
        self.publish(self.remembered.verdict(now));
    }

    fn loaded(&mut self, rules: Arc<RuleSet>, channels: Vec<Text>, now: Timestamp) {
        let host = self.host.clone();
        let turns = self.remembered.load(rules, channels, &host, now);
        self.take_turns(turns);
        self.remembered.publish();
        self.publish(self.remembered.verdict(now));
    }

    fn take_turns(&mut self, turns: Vec<Record>) {
        if turns.is_empty() {
            return;
        }
        for turn in turns {
            if let Record::Alert(transition) = &turn {
                log_turn(transition);
            }
            if let Err(error) = self.remember_now(turn) {
                tracing::error!(%error, "an alert's turn could not be journaled; it is held until there is room");
            }
        }
        if let Some(sync) = &self.sync {
            sync.soon();
        }
    }

    fn remember_now(&mut self, record: Record) -> Result<(), JournalFault> {
        self.reopen_if_due();
        let journal = match &mut self.journal {
            JournalSlot::Open(journal) => Some(&mut **journal),
            JournalSlot::Closed { .. } => None,
        };
        // An intent that nobody would find after a crash might be carried out twice.
        let is_intent = matches!(&record, Record::Action(action)
            if matches!(action.step, ActionStep::Intended { .. }));
        match is_intent {
            true => self.remembered.remember_or_refuse(journal, record),
            false => self.remembered.remember(journal, record),
        }
    }

    fn remember_and_tell(&mut self, record: Record, ack: Ack) {
        let is_action = matches!(record, Record::Action(_));
        let result = self.remember_now(record);
        self.remembered.publish();
        match (result, &self.sync) {
            // Whoever asks may have gone.
            (Err(error), _) if is_action => drop(ack.send(Err(error.to_string()))),
            (Err(error), _) => {
                tracing::warn!(%error, "a record could not be journaled; it is held until there is room");
                ack.send(Ok(())).ok();
            }
            (Ok(()), Some(sync)) => sync.then(ack),
            (Ok(()), None) => drop(ack.send(self.sync_here())),
        }
    }

    fn sync_here(&mut self) -> Result<(), String> {
        match &mut self.journal {
            JournalSlot::Open(journal) => journal.sync().map_err(|error| error.to_string()),
            JournalSlot::Closed { reason, .. } => Err(reason.to_string()),
        }
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
                .map_err(|error| error.to_string()),
            JournalSlot::Closed { reason, .. } => Err(reason.to_string()),
        };
        match result {
            Ok(at) => {
                self.journaled = Some(snapshot.at);
                if let Some(history) = &mut self.history {
                    history.hand_over(at, Record::Snapshot(Arc::clone(snapshot)));
                }
                self.close_gap(now);
            }
            Err(reason) => {
                if let Some(history) = &mut self.history {
                    history.show_unjournaled(Arc::clone(snapshot));
                }
                self.widen_gap(snapshot.at, reason.into());
            }
        }
    }

    /// What cannot be journaled its sender keeps, and sends again: it leaves no gap.
    fn received(&mut self, batch: Batch) -> Result<(), String> {
        self.reopen_if_due();
        let journal = match &mut self.journal {
            JournalSlot::Open(journal) => journal,
            JournalSlot::Closed { reason, .. } => return Err(reason.to_string()),
        };
        let record = Record::Received(Arc::new(batch));
        let at = journal.append(&record).map_err(|error| error.to_string())?;
        if let Some(history) = &mut self.history {
            history.hand_over(at, record);
        }
        Ok(())
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

    /// Writing works again: the gap itself is recorded, so that a reader knows of it. Until it is,
    /// it stays open: an event may not fit where a snapshot did.
    fn close_gap(&mut self, now: Timestamp) {
        if self.record_gap(now).is_ok()
            && let Some(gap) = self.gap.take()
        {
            tracing::warn!(snapshots = gap.snapshots, "the journal is written again");
        }
    }

    fn record_gap(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let Some(gap) = &self.gap else { return Ok(()) };
        let message = format!(
            "{} snapshots from {} on were not journaled: {}",
            gap.snapshots,
            clock::rfc3339(gap.from),
            gap.reason
        );
        self.append_event(Text::from_static("gap"), message.into(), now)
    }

    fn happened(&mut self, event: Text, message: Text, now: Timestamp) {
        if let Err(error) = self.append_event(event, message, now) {
            tracing::error!(%error, "an event could not be journaled");
        }
    }

    fn append_event(
        &mut self,
        event: Text,
        message: Text,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let JournalSlot::Open(journal) = &mut self.journal else { return Ok(()) };
        let event =
            farol_model::Event { at: now, host: self.host.clone(), event, message, fields: vec![] };
        self.remembered.write_before(journal, now);
        journal.append(&Record::Event(event)).map(drop)
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
            figures.journal_newest = self.journaled;
            self.remembered.note_figures(&mut figures.alerting);
            let Some(stats) = stats else { return };
            for (held, stream) in figures.journal.iter_mut().zip(stats.streams) {
                held.bytes = stream.bytes;
                held.segments = stream.segments;
                held.lines = stream.lines;
                held.failed_appends = stream.failed_appends;
            }
        });
    }

    fn stop(&mut self, now: Timestamp) {
        if let Err(error) = self.record_gap(now) {
            tracing::error!(%error, "that snapshots are missing could not be journaled");
        }
        self.happened(Text::from_static("stopped"), "stopped in order".into(), now);
        if let JournalSlot::Open(journal) = &mut self.journal {
            // So that the next start knows until when the alerts were seen.
            self.remembered.write_at_stop(journal, now);
        }
        if let JournalSlot::Open(journal) = &mut self.journal
            && let Err(error) = journal.sync()
        {
            tracing::error!(%error, "the journal's last lines could not be synced");
        }
    }
}

/// Until rules are loaded nothing may be called stable.
pub fn verdict() -> Verdict {
    Verdict { state: State::Unknown, reasons: vec![Text::from_static(remembered::NO_RULES)] }
}

/// At its place in the order of names.
fn insert(samples: &mut Vec<Sample>, sample: Option<Sample>) {
    let Some(sample) = sample else { return };
    let place = samples.partition_point(|held| held.name <= sample.name);
    samples.insert(place, sample);
}

fn log_turn(transition: &Transition) {
    let alert = &transition.alert;
    let (turn, name) = (transition.turn.name(), alert.name());
    match transition.turn {
        Turn::Firing => {
            tracing::warn!(
                alert = name,
                labels = labels_text(alert),
                value = alert.value,
                "{name} is firing"
            );
        }
        Turn::Resolved => {
            tracing::info!(alert = name, labels = labels_text(alert), "{name} is resolved");
        }
        _ => {
            tracing::debug!(
                alert = name,
                labels = labels_text(alert),
                turn,
                "an alert has changed"
            );
        }
    }
}

/// As in PromQL, and as people paste it there.
fn labels_text(alert: &farol_model::Alert) -> String {
    let labels = alert.labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    format!("{{{}}}", labels.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
