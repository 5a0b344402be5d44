//! Two helpers beside the core: `sync` makes what was appended durable, `upkeep` compresses and
//! retains closed segments of the journal, and cuts, merges and retains the store's blocks. Neither
//! ever holds up a tick.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use farol_collect::own;
use farol_disk::Disk;
use farol_journal::Syncer;
use farol_store::Report;

use crate::{clock, core::Ack, history::UpkeepSlot, threads};

/// The journal's syncer, from when the journal could be opened: a full disk may delay that.
pub type SyncerSlot = Arc<OnceLock<Syncer>>;

/// A thread that does one thing at once, at an interval, and once more at its end, of which the thing
/// is told.
#[derive(Debug)]
pub struct Repeating {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Repeating {
    pub(crate) fn start(
        name: &str,
        interval: Duration,
        mut work: impl FnMut(bool) + Send + 'static,
    ) -> std::io::Result<Repeating> {
        let (stop, stopped) = sync_channel(1);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            work(false);
            while !is_over(&stopped, interval) {
                work(false);
            }
            work(true);
        })?;
        Ok(Repeating { stop, thread })
    }

    /// What is under way is left behind when it takes too long: the next start finishes it.
    pub fn stop(self, patience: Duration) {
        self.stop.try_send(()).ok();
        threads::join_within(self.thread, patience);
    }
}

fn is_over(stopped: &Receiver<()>, interval: Duration) -> bool {
    !matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout))
}

/// The way to the thread that syncs, for what must be durable at once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SyncRequests(SyncSender<Request>);

#[derive(Debug)]
pub enum Request {
    /// Sync soon; who waits for it is told how it went.
    Sync(Option<Ack>),
    Stop,
}

/// Requests that may wait; one sync answers them all.
const REQUESTS: usize = 1024;

impl SyncRequests {
    pub fn new() -> (SyncRequests, Receiver<Request>) {
        let (to, inbox) = sync_channel(REQUESTS);
        (SyncRequests(to), inbox)
    }

    /// If there is no room a sync is about to be made anyway.
    pub fn soon(&self) {
        self.0.try_send(Request::Sync(None)).ok();
    }

    pub fn then(&self, ack: Ack) {
        let refused = match self.0.try_send(Request::Sync(Some(ack))) {
            Ok(()) => return,
            Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => request,
        };
        if let Request::Sync(Some(ack)) = refused {
            ack.send(Err("the journal's disk is too slow".to_owned())).ok();
        }
    }
}

/// The thread that syncs: at its interval, and whenever it is asked to.
#[derive(Debug)]
pub struct Syncing {
    requests: SyncRequests,
    thread: JoinHandle<()>,
}

impl Syncing {
    pub fn start(
        syncer: SyncerSlot,
        interval: Duration,
        (requests, inbox): (SyncRequests, Receiver<Request>),
        board: Arc<own::Board>,
    ) -> std::io::Result<Syncing> {
        let mut round = SyncRound { syncer, board, complained: false };
        let thread = thread::Builder::new().name("sync".into()).spawn(move || {
            loop {
                let first = inbox.recv_timeout(interval);
                let mut is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
                let mut waiting = Vec::new();
                for request in first.into_iter().chain(inbox.try_iter()) {
                    match request {
                        Request::Sync(ack) => waiting.extend(ack),
                        Request::Stop => is_over = true,
                    }
                }
                let outcome = round.sync();
                for ack in waiting {
                    ack.send(outcome.clone()).ok();
                }
                if is_over {
                    return;
                }
            }
        })?;
        Ok(Syncing { requests, thread })
    }

    pub fn stop(self, patience: Duration) {
        self.requests.0.try_send(Request::Stop).ok();
        threads::join_within(self.thread, patience);
    }
}

struct SyncRound {
    syncer: SyncerSlot,
    board: Arc<own::Board>,
    complained: bool,
}

impl SyncRound {
    fn sync(&mut self) -> Result<(), String> {
        match self.syncer.get().map(Syncer::sync) {
            None => Err("the journal is not open".to_owned()),
            Some(Ok(())) => {
                self.complained = false;
                self.board.update(|figures| figures.journal_last_sync = Some(clock::now()));
                Ok(())
            }
            Some(Err(error)) => {
                if !self.complained {
                    tracing::error!(%error, "the journal could not be synced; trying on");
                }
                self.complained = true;
                Err(error.to_string())
            }
        }
    }
}

/// How often the store's windows and blocks are looked at: what is imported is seen soon.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Every so many rounds closed segments are looked at too.
const JOURNAL_ROUNDS: u64 = 6;

/// What is known of a journal that this process writes.
#[derive(Debug)]
pub struct JournalUpkeep {
    pub disk: Arc<dyn Disk>,
    pub logs: PathBuf,
    pub settings: farol_journal::Settings,
    pub syncer: SyncerSlot,
}

/// Tidies the journal, where it is this process's own, and the store. `tell` is told of each file that
/// was imported.
pub fn start_upkeep(
    journal: Option<JournalUpkeep>,
    store: UpkeepSlot,
    tell: impl Fn(&str) + Send + 'static,
    board: Arc<own::Board>,
) -> std::io::Result<Repeating> {
    let mut round = 0;
    Repeating::start("upkeep", UPKEEP_INTERVAL, move |is_last| {
        if let Some(journal) = &journal
            && (is_last || round % JOURNAL_ROUNDS == 0)
        {
            journal.round(&board);
        }
        round += 1;
        // Held for the whole round: only a store that has just been opened waits for it.
        if let Some(store) = &mut *store.lock().unwrap_or_else(PoisonError::into_inner) {
            store.round();
            store.imported.drain(..).for_each(|file| tell(&file));
        }
    })
}

impl JournalUpkeep {
    fn round(&self, board: &own::Board) {
        // Before the journal is open, its folder may still be another writer's.
        let Some(syncer) = self.syncer.get() else { return };
        let open = syncer.open_segments();
        let report = farol_journal::upkeep(&*self.disk, &self.logs, &self.settings, open);
        for error in &report.errors {
            tracing::error!(%error, "a closed segment could not be compressed or removed");
        }
        for (file, parts) in &report.damaged {
            tracing::warn!(
                file,
                parts,
                "a closed segment is damaged; `farol journal verify` says where"
            );
            board.update(|figures| figures.journal_damaged_lines += parts);
        }
    }
}

/// The store's upkeep, with what becomes of its reports.
#[derive(Debug)]
pub struct StoreUpkeep {
    upkeep: farol_store::Upkeep,
    board: Arc<own::Board>,
    /// What the last round said of errors: the same again is not said again.
    told: Vec<String>,
    /// Taken in, and not recorded yet.
    imported: Vec<String>,
}

impl StoreUpkeep {
    pub(crate) fn new(
        upkeep: farol_store::Upkeep,
        imported: Vec<String>,
        board: Arc<own::Board>,
    ) -> StoreUpkeep {
        StoreUpkeep { upkeep, board, told: Vec::new(), imported }
    }

    pub(crate) fn round(&mut self) {
        let report = self.upkeep.round();
        for file in &report.imported {
            tracing::info!(file, "the store took in what was imported");
        }
        self.imported.extend(report.imported.iter().cloned());
        let Report { written, merged, removed, .. } = &report;
        tracing::debug!(?written, ?merged, ?removed, "upkeep of the store");
        self.board.update(|figures| {
            let Some(store) = &mut figures.store else { return };
            store.upkeep_failures += report.errors.len() as u64;
            if !written.is_empty() {
                store.last_block = Some(clock::now());
            }
        });
        let errors: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
        for error in errors.iter().filter(|error| !self.told.contains(error)) {
            tracing::error!(error, "the store's upkeep has met a problem; trying on");
        }
        self.told = errors;
    }
}
