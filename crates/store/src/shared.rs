//! What the writer, the upkeep and the readers of one store share.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use farol_disk::Disk;
use farol_model::Position;

use crate::{
    Config, Range, SeriesKey, StoreError, Tier,
    block::{self, Block, DAMAGED, Name},
    head::{Column, Head, Window},
    received::{Pool, SealedPool},
    series::Table,
    store::list,
    unjournaled::Unjournaled,
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
    /// What was down-sampled, by [`Tier`]: that it is there, and nothing else.
    tiers: [RwLock<View>; Tier::ALL.len()],
    pub counts: Counts,
    /// One round of upkeep at a time.
    pub rounds: Mutex<()>,
    /// Files of blocks that were merged and could not be removed yet.
    leftovers: Mutex<Vec<PathBuf>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub held: AtomicU64,
    pub over_limit: AtomicU64,
    pub folded: AtomicU64,
    pub repeated: AtomicU64,
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
    /// What was received and is in no block yet; the first was full first.
    pub pool: Option<Pool>,
    pub sealed_pools: Vec<Arc<SealedPool>>,
    /// The same as `missed_from`, of the stream of what is received.
    pub received_missed_from: Option<Position>,
    /// What the journal could not take: to be read meanwhile, and never written.
    pub unjournaled: Unjournaled,
}

/// How many of some windows are held already.
pub(crate) enum Covers {
    None,
    Some,
    All,
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
        read_only: bool,
    ) -> Shared {
        Shared {
            config,
            disk,
            target,
            read_only,
            view: RwLock::default(),
            tiers: Default::default(),
            counts: Counts::default(),
            rounds: Mutex::default(),
            leftovers: Mutex::default(),
        }
    }

    // A panic under the lock leaves at worst a snapshot half applied: reading on is better than not.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tier(&self, tier: Tier) -> RwLockReadGuard<'_, View> {
        self.tiers[tier as usize].read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tier_mut(&self, tier: Tier) -> RwLockWriteGuard<'_, View> {
        self.tiers[tier as usize].write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_of_mut(&self, tier: Option<Tier>) -> RwLockWriteGuard<'_, View> {
        tier.map_or_else(|| self.view_mut(), |tier| self.tier_mut(tier))
    }

    /// The days of a tier that a range touches, opened for one question.
    pub(crate) fn days_of(&self, tier: Tier, range: Range, damage: &mut Vec<StoreError>) -> View {
        let (start, end) = (range.start.as_millis(), range.end.as_millis());
        let touched = |block: &&Arc<Block>| block.start <= end && block.end >= start;
        let blocks: Vec<Arc<Block>> =
            self.tier(tier).blocks.iter().filter(touched).cloned().collect();
        let mut days = View::default();
        for block in blocks {
            match block::open(&*self.disk, &block.path) {
                Ok(opened) => {
                    let path = block.path.clone();
                    let day = Block::new(opened, block.name, path, |key| days.table.hold(key));
                    days.blocks.push(Arc::new(day));
                }
                // Down-sampled anew, or beyond the retention, since we looked.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.count_damage();
                    damage.push(error);
                }
            }
        }
        days
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
        let block = match name.kind.tier() {
            Some(_) => Block::closed(opened, name, path),
            None => Block::new(opened, name, path, |key| view.table.hold(key)),
        };
        // Those of a tier say of which windows it was made.
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

    /// How many of these windows are over and held already.
    pub(crate) fn covers(&self, windows: &[(i64, u32)]) -> Covers {
        let (mut held, mut all) = (0, 0);
        for (first, count) in windows {
            let end = first.saturating_add(i64::from(*count));
            held += self.closed.range(*first..end).count();
            all += *count as usize;
        }
        match held {
            0 => Covers::None,
            _ if held == all => Covers::All,
            _ => Covers::Some,
        }
    }

    /// The windows in memory.
    pub(crate) fn windows(&self) -> impl Iterator<Item = &Window> {
        let heads = self.heads.iter().map(|head| &head.window);
        heads.chain(self.sealed.iter().map(|sealed| &sealed.window))
    }

    /// Samples in memory that no window has.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.received_pools().chain(self.unjournaled.pools())
    }

    /// What was received and is in memory.
    pub(crate) fn received_pools(&self) -> impl Iterator<Item = &Pool> {
        self.sealed_pools.iter().map(|sealed| &sealed.pool).chain(&self.pool)
    }

    /// The windows that these blocks hold.
    pub(crate) fn windows_of(&self, numbers: &[u64]) -> Vec<(i64, u32)> {
        let blocks = self.blocks.iter().filter(|block| numbers.contains(&block.name.number));
        block::joined(blocks.flat_map(|block| block.windows.iter().copied()))
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
