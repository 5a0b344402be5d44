//! What the writer, the upkeep and the readers of one store share.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use farol_disk::{Disk, Lock};
use farol_model::Position;

use crate::{
    Config, SeriesKey, StoreError,
    block::{self, Block, DAMAGED, Name},
    head::{Column, Head, Window},
    series::Table,
    store::list,
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub config: Config,
    /// The disk with the store's folder.
    pub disk: Arc<dyn Disk>,
    /// Where windows that are over are written: the same, or one in memory for who only reads.
    pub target: Arc<dyn Disk>,
    pub read_only: bool,
    view: RwLock<View>,
    pub counts: Counts,
    /// One round of upkeep at a time.
    pub rounds: Mutex<()>,
    /// Files of blocks that were merged and could not be removed yet.
    leftovers: Mutex<Vec<PathBuf>>,
    /// Held as long as the store is; none for who only reads.
    _lock: Option<Box<dyn Lock>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub held: AtomicU64,
    pub over_limit: AtomicU64,
    pub folded: AtomicU64,
    pub damaged: AtomicU64,
    /// Of everything in the folder, as of the last round of upkeep.
    pub bytes: AtomicU64,
}

/// What there is to read. Held for as long as it takes to apply one record, or to copy what a
/// question needs.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub table: Table,
    pub heads: Vec<Head>,
    /// Windows that are over, until they stand in a block; the first was over first.
    pub sealed: Vec<Arc<Sealed>>,
    pub blocks: Vec<Arc<Block>>,
    /// Windows that are over and take no more.
    pub closed: BTreeSet<i64>,
    /// From here on the journal holds what a full disk kept from being written.
    pub missed_from: Option<Position>,
}

/// A window that is over, not written yet.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub window: Window,
    pub first: Position,
    /// Where the journal has to be read again from, once this is written.
    pub replay_from: Option<Position>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        target: Arc<dyn Disk>,
        config: Config,
        lock: Option<Box<dyn Lock>>,
    ) -> Shared {
        Shared {
            config,
            disk,
            target,
            read_only: lock.is_none(),
            view: RwLock::default(),
            counts: Counts::default(),
            rounds: Mutex::default(),
            leftovers: Mutex::default(),
            _lock: lock,
        }
    }

    // A panic under the lock leaves at worst a snapshot half applied: reading on is better than not.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_damage(&self) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leftovers(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        incoming(&self.config.dir)
    }

    /// Takes a file that was opened into the view.
    pub(crate) fn add_block(
        &self,
        view: &mut View,
        opened: block::OpenedFile,
        name: Name,
        path: PathBuf,
    ) {
        let block = Block::new(opened, name, path, |key| view.table.hold(key));
        for (first, count) in &block.windows {
            view.closed.extend((0..i64::from(*count)).map(|ahead| first.saturating_add(ahead)));
        }
        view.blocks.push(Arc::new(block));
        view.blocks.sort_by_key(|block| (block.start, block.end));
    }

    /// These series with their names, in the order of a file.
    pub(crate) fn keys(&self, numbers: impl IntoIterator<Item = u32>) -> Vec<(SeriesKey, u32)> {
        let view = self.view();
        let named = |number| Some((SeriesKey::clone(view.table.key(number)?), number));
        let mut keys: Vec<(SeriesKey, u32)> = numbers.into_iter().filter_map(named).collect();
        drop(view);
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        keys
    }

    /// A number that no file in the folder has, whatever became of it.
    pub(crate) fn next_number(&self) -> Result<u64, StoreError> {
        let mut next = 0;
        for disk in [&self.disk, &self.target] {
            let names = list(&**disk, &self.config.dir)?;
            let numbers = names.iter().filter_map(|entry| Name::parse(&entry.name));
            next =
                numbers.map(|name| name.number.saturating_add(1)).chain([next]).max().unwrap_or(0);
        }
        Ok(next)
    }

    /// Renames a file that cannot be used, so that it is not in the way and not lost either.
    pub(crate) fn set_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let aside = block::with_suffix(path, DAMAGED);
        self.disk
            .rename(path, &aside)
            .and_then(|()| self.disk.sync_folder(&self.config.dir))
            .map_err(|source| StoreError::new("cannot rename", path, source))?;
        Ok(aside)
    }
}

pub(crate) fn incoming(dir: &Path) -> PathBuf {
    dir.join("incoming")
}

impl Sealed {
    /// The columns with the names of their series, in the order of a file.
    pub(crate) fn by_key(&self, shared: &Shared) -> Vec<(SeriesKey, &Column)> {
        let view = shared.view();
        let named = |column| {
            let key: &Column = column;
            Some((SeriesKey::clone(view.table.key(key.series)?), column))
        };
        let mut columns: Vec<(SeriesKey, &Column)> =
            self.window.columns.iter().filter_map(named).collect();
        drop(view);
        columns.sort_by(|a, b| (&a.0, a.1.clock).cmp(&(&b.0, b.1.clock)));
        columns
    }
}

impl View {
    /// Where the journal has to be read again from, with these windows in memory alone.
    pub(crate) fn replay_from(&self) -> Option<Position> {
        let heads = self.heads.iter().map(|head| head.first);
        heads.chain(self.missed_from).min()
    }

    /// Takes these blocks out; who reads them now goes on.
    pub(crate) fn drop_blocks(&mut self, numbers: &[u64]) {
        let is_dropped = |block: &mut Arc<Block>| numbers.contains(&block.name.number);
        let dropped: Vec<Arc<Block>> = self.blocks.extract_if(.., is_dropped).collect();
        for block in dropped {
            self.table.release(block.series.iter().map(|series| series.number));
        }
    }
}
