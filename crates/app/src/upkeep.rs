//! The journal's two helpers beside the core: `sync` makes what was appended durable, `upkeep`
//! compresses and retains closed segments. Neither ever holds up a tick.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use farol_collect::own;
use farol_disk::Disk;
use farol_journal::Syncer;

use crate::{clock, threads};

/// The journal's syncer, from when the journal could be opened: a full disk may delay that.
pub type SyncerSlot = Arc<OnceLock<Syncer>>;

/// A thread that does one thing at once, at an interval, and once more at its end.
#[derive(Debug)]
pub struct Repeating {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Repeating {
    pub(crate) fn start(
        name: &str,
        interval: Duration,
        mut work: impl FnMut() + Send + 'static,
    ) -> std::io::Result<Repeating> {
        let (stop, stopped) = sync_channel(1);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            work();
            while !is_over(&stopped, interval) {
                work();
            }
            work();
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

pub fn start_sync(
    syncer: SyncerSlot,
    interval: Duration,
    board: Arc<own::Board>,
) -> std::io::Result<Repeating> {
    let mut complained = false;
    Repeating::start("sync", interval, move || match syncer.get().map(Syncer::sync) {
        None => {}
        Some(Ok(())) => {
            complained = false;
            board.update(|figures| figures.journal_last_sync = Some(clock::now()));
        }
        Some(Err(error)) if !complained => {
            complained = true;
            tracing::error!(%error, "the journal could not be synced; trying on");
        }
        Some(Err(_)) => {}
    })
}

/// How often closed segments are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

pub fn start_upkeep(
    disk: Arc<dyn Disk>,
    logs: PathBuf,
    settings: farol_journal::Settings,
    syncer: SyncerSlot,
    board: Arc<own::Board>,
) -> std::io::Result<Repeating> {
    Repeating::start("upkeep", UPKEEP_INTERVAL, move || {
        // Before the journal is open, its folder may still be another writer's.
        let Some(syncer) = syncer.get() else { return };
        let report = farol_journal::upkeep(&*disk, &logs, &settings, syncer.open_segments());
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
    })
}
