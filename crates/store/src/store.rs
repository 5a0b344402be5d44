//! The store as its one writer holds it: applies records, in the journal's order.
//!
//! Everything is decided by the records alone, so that the same records give the same answers
//! whether they are applied live, replayed, or read by another process.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use farol_disk::{Disk, Lock, MemoryDisk};
use farol_model::{
    Batch, Labels, Lane, Position, Record, Sample, Series, Snapshot, Stream, Text, Timestamp,
};

use crate::{
    Config, Reader, SeriesKey, StoreError, Tier, Upkeep,
    block::{self, Kind, Name, TEMPORARY},
    head::{Head, WINDOW_MILLIS},
    import,
    received::{MOST_POOLED, Pool, SealedPool},
    shared::{Covers, Sealed, Shared, View},
};

/// The writer's handle: one for each store.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    lock: HeldLock,
}

/// Held by who may write, as long as one of them is there; who only reads has none.
pub(crate) type HeldLock = Option<Arc<dyn Lock>>;

#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    /// From here on the journal's metrics are to be applied again; from their beginning if there is
    /// none.
    pub replay_from: Option<Position>,
    /// The same of what was received.
    pub received_from: Option<Position>,
    /// Files that could not be used, with the reasons; a writer has renamed them to `*.damaged`.
    pub set_aside: Vec<(PathBuf, StoreError)>,
    /// Imported files that were taken in, under their new names.
    pub imported: Vec<String>,
}

impl Opened {
    /// From where on a stream of the journal is to be applied again.
    pub fn replays_from(&self, stream: Stream) -> Option<Position> {
        match stream {
            Stream::Received => self.received_from,
            Stream::Metrics | Stream::Events | Stream::Logs => self.replay_from,
        }
    }
}

/// What a store holds and has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that have samples in a head, a block or both.
    pub series: u64,
    /// Those of the windows in memory.
    pub head_series: u64,
    pub head_samples: u64,
    pub blocks: u64,
    pub block_samples: u64,
    /// Down-sampled days, by [`Tier`].
    pub tier_blocks: [u64; 2],
    /// Everything in the folder, as of the last round of upkeep.
    pub bytes: u64,
    /// Windows and pools that are over and not written yet.
    pub waiting: u64,
    /// Snapshots not stored because their time was already held.
    pub held: u64,
    /// Samples not stored because their window had `max_series`.
    pub over_limit: u64,
    /// Samples of rows that were added up under `folded`.
    pub folded: u64,
    /// Received samples that were dropped because their series had another at that time.
    pub repeated: u64,
    /// Damaged parts met so far: files set aside and chunks that could not be read.
    pub damaged: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

/// More open windows than this are a clock that jumps about: the one not touched for longest is
/// over.
const MOST_HEADS: usize = 4;
/// A window that so many records have passed by is over: lanes that are late have come by then.
const PASSED_BY: u32 = 100;
/// So many windows wait in memory while a disk is full; beyond them an old one is left to the
/// journal.
const MOST_SEALED: usize = 256;
/// And as many pools of what was received, with so many samples altogether.
const MOST_SEALED_SAMPLES: u64 = 8 * MOST_POOLED;

const UP: Text = Text::from_static("up");
const JOB: Text = Text::from_static("job");
const INSTANCE: Text = Text::from_static("instance");
const LOCK: &str = "lock";

impl Store {
    /// Opens the store for writing, under its lock.
    pub fn open(disk: Arc<dyn Disk>, config: Config) -> Result<Opened, StoreError> {
        let dir = config.dir.clone();
        let failed = |source| StoreError::new("cannot create", &dir, source);
        for folder in [dir.clone(), crate::shared::incoming(&dir)] {
            disk.create_folder_all(&folder).map_err(failed)?;
        }
        let path = dir.join(LOCK);
        let lock = disk.lock(&path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked { lock: path.clone() },
            _ => StoreError::new("cannot lock", &path, source),
        })?;
        let target = Arc::clone(&disk);
        Store::with(Shared::new(disk, target, config, false), Some(lock.into()))
    }

    /// An empty one that is nowhere but in memory, and keeps what is applied to it whatever its age.
    pub fn in_memory() -> Result<Store, StoreError> {
        let forever = Duration::from_secs(200 * 365 * 24 * 60 * 60);
        let config = Config { retention: forever, ..Config::new("/memory") };
        Ok(Store::open(Arc::new(MemoryDisk::new()), config)?.store)
    }

    /// Opens it to look at: no lock, nothing is renamed or removed, and what is applied stays in
    /// memory.
    pub fn open_read_only(disk: Arc<dyn Disk>, config: Config) -> Result<Opened, StoreError> {
        let memory = MemoryDisk::new();
        let failed = |source| StoreError::new("cannot create", &config.dir, source);
        memory.create_folder_all(&config.dir).map_err(failed)?;
        Store::with(Shared::new(disk, Arc::new(memory), config, true), None)
    }

    fn with(shared: Shared, lock: HeldLock) -> Result<Opened, StoreError> {
        let mut set_aside = Vec::new();
        if !shared.read_only {
            remove_temporary(&*shared.disk, &shared.config.dir)?;
            import::remove_interrupted(&*shared.disk, &shared.config.dir)?;
        }
        open_blocks(&shared, &mut set_aside)?;
        let position = |stream: Stream| {
            let view = shared.view();
            let all = view.blocks.iter().filter_map(|block| block.replay_from);
            all.filter(|from| from.stream == stream).max()
        };
        let replay_from = position(Stream::Metrics);
        let received_from = position(Stream::Received);
        let store = Store { shared: Arc::new(shared), lock };
        let upkeep = store.upkeep();
        let mut imported = Vec::new();
        if !store.shared.read_only {
            let path = store.shared.incoming();
            let report = upkeep.take_in_at_start();
            set_aside.extend(report.errors.into_iter().map(|error| (path.clone(), error)));
            imported = report.imported;
        }
        upkeep.measure();
        Ok(Opened { store, replay_from, received_from, set_aside, imported })
    }

    /// The same call live and in replay. `complete` is false for a snapshot whose full line is
    /// missing: it states nothing about the series that it does not name.
    pub fn apply(&mut self, at: Position, record: &Record, complete: bool) {
        let mut view = self.shared.view_mut();
        let mut applying = Applying { shared: &self.shared, view: &mut view, at };
        match record {
            Record::Snapshot(snapshot) => applying.snapshot(snapshot, complete),
            Record::Received(batch) | Record::Recorded(batch) => applying.received(batch),
            Record::Event(_)
            | Record::Alert(_)
            | Record::Silence(_)
            | Record::Delivery(_)
            | Record::Action(_)
            | Record::Summary(_)
            | Record::State(_) => {}
        }
    }

    /// What the journal could not take, as long as it cannot: who asks sees it, and rules are evaluated
    /// on it, but it is never written, and gone once the journal goes on.
    pub fn apply_unjournaled(&mut self, snapshot: &Snapshot) {
        let mut view = self.shared.view_mut();
        let at = Position { stream: Stream::Metrics, segment: 0, offset: 0 };
        let applying = Applying { shared: &self.shared, view: &mut view, at };
        let batch = applying.all_samples(snapshot);
        let View { unjournaled, table, .. } = &mut *view;
        unjournaled.take(snapshot.lane, &batch, table, self.shared.config.max_series);
    }

    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// The work on immutable windows and blocks, for a thread of its own.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep::new(Arc::clone(&self.shared), self.lock.clone())
    }

    pub fn stats(&self) -> Stats {
        let view = self.shared.view();
        let columns = view.windows().flat_map(|window| &window.columns);
        let pooled = view.pools().flat_map(|pool| pool.numbers());
        let in_memory: HashSet<u32> = columns.map(|column| column.series).chain(pooled).collect();
        let counts = &self.shared.counts;
        let spans = || {
            let blocks = view.blocks.iter().map(|block| (block.start, block.end));
            let windows = view.windows().filter_map(|window| window.span());
            blocks.chain(windows).chain(view.pools().flat_map(|pool| pool.spans()))
        };
        Stats {
            series: view.table.len() as u64,
            head_series: in_memory.len() as u64,
            head_samples: view
                .windows()
                .map(|window| window.samples)
                .chain(view.pools().map(|pool| pool.samples))
                .sum(),
            blocks: view.blocks.len() as u64,
            tier_blocks: Tier::ALL.map(|tier| self.shared.tier(tier).blocks.len() as u64),
            block_samples: view.blocks.iter().map(|block| block.samples).sum(),
            bytes: counts.bytes.load(Ordering::Relaxed),
            waiting: (view.sealed.len() + view.sealed_pools.len()) as u64,
            held: counts.held.load(Ordering::Relaxed),
            over_limit: counts.over_limit.load(Ordering::Relaxed),
            folded: counts.folded.load(Ordering::Relaxed),
            repeated: counts.repeated.load(Ordering::Relaxed),
            damaged: counts.damaged.load(Ordering::Relaxed),
            oldest: spans().map(|(start, _)| Timestamp::from_millis(start)).min(),
            newest: spans().map(|(_, end)| Timestamp::from_millis(end)).max(),
        }
    }
}

/// What an interrupted writer left.
pub(crate) fn remove_temporary(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    for entry in list(disk, dir)? {
        if entry.name.ends_with(TEMPORARY) {
            let path = dir.join(&entry.name);
            let failed = |source| StoreError::new("cannot remove", &path, source);
            disk.remove(&path).map_err(failed)?;
        }
    }
    Ok(())
}

pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<farol_disk::Entry>, StoreError> {
    match disk.list(dir) {
        // Not made yet, or looked at before there is anything.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| StoreError::new("cannot list", dir, source)),
    }
}

/// Who only reads also sees what an import has left for the writer.
fn block_files(shared: &Shared) -> Result<Vec<PathBuf>, StoreError> {
    // In the order in which a file moves: one that is taken in meanwhile is seen once at least.
    let mut folders = Vec::new();
    if shared.read_only {
        folders.push(shared.incoming());
    }
    folders.push(shared.config.dir.clone());
    let mut files = Vec::new();
    for folder in folders {
        let entries = list(&*shared.disk, &folder)?;
        let blocks = entries.into_iter().filter(|entry| block::is_block(&entry.name));
        files.extend(blocks.map(|entry| folder.join(entry.name)));
    }
    Ok(files)
}

fn name_of(path: &Path) -> Option<Name> {
    Name::parse(path.file_name()?.to_str()?)
}

type Named = (Name, PathBuf, block::OpenedFile);

/// A file that is gone when it is to be opened was merged or removed since the listing, by the process
/// that writes there: what it was merged into is in the next listing. So often, at most.
const MOST_LISTINGS: usize = 8;

/// All files that can be used, as of one moment.
fn open_files(shared: &Shared) -> Result<(Vec<Named>, Vec<(PathBuf, StoreError)>), StoreError> {
    let mut listings = 0;
    loop {
        listings += 1;
        let (mut found, mut failed, mut is_whole) = (Vec::new(), Vec::new(), true);
        for path in block_files(shared)? {
            let Some(name) = name_of(&path) else { continue };
            match open_named(shared, name, &path) {
                Ok(opened) => found.push((name, path, opened)),
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    is_whole = false;
                }
                Err(error) => failed.push((path, error)),
            }
        }
        if is_whole || listings == MOST_LISTINGS {
            return Ok((found, failed));
        }
    }
}

fn open_named(shared: &Shared, name: Name, path: &Path) -> Result<block::OpenedFile, StoreError> {
    let opened = block::open(&*shared.disk, path)?;
    match opened.index.kind == name.kind {
        true => Ok(opened),
        false => Err(StoreError::damaged(path, "its name says that it is something else")),
    }
}

fn open_blocks(
    shared: &Shared,
    set_aside: &mut Vec<(PathBuf, StoreError)>,
) -> Result<(), StoreError> {
    let (found, failed) = open_files(shared)?;
    for (path, error) in failed {
        shared.count_damage();
        let is_damaged = matches!(error, StoreError::Damaged { .. });
        let stays = shared.read_only || !is_damaged;
        let path = if stays { path } else { shared.set_aside(&path)? };
        set_aside.push((path, error));
    }
    let (mut tiers, mut found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(name, ..)| name.kind.tier().is_some());
    // Of two of one day, the later was made from more.
    tiers.sort_by_key(|(name, ..)| std::cmp::Reverse(name.number));
    for (name, path, opened) in tiers {
        let mut view = shared.view_of_mut(name.kind.tier());
        match view.blocks.iter().any(|block| block.name.start == name.start) {
            true => remove_superseded(shared, &path)?,
            false => shared.add_block(&mut view, opened, name, path),
        }
    }
    // Of two blocks with the same window, the larger was merged from the smaller.
    found.sort_by_key(|(name, ..)| {
        (name.kind == Kind::Import, std::cmp::Reverse((name.kind, name.number)))
    });
    for (name, path, opened) in found {
        let mut view = shared.view_mut();
        match view.covers(&opened.index.windows) {
            _ if !name.kind.is_derived() => shared.add_block(&mut view, opened, name, path),
            Covers::None => shared.add_block(&mut view, opened, name, path),
            Covers::All => remove_superseded(shared, &path)?,
            // None of ours: somebody has put it there.
            Covers::Some => {
                let error = StoreError::damaged(&path, "it shares windows with another block");
                shared.count_damage();
                let path = if shared.read_only { path } else { shared.set_aside(&path)? };
                set_aside.push((path, error));
            }
        }
    }
    Ok(())
}

/// Removes a file whose content another has: the writer was interrupted before it could.
fn remove_superseded(shared: &Shared, path: &Path) -> Result<(), StoreError> {
    if shared.read_only {
        return Ok(());
    }
    shared.disk.remove(path).map_err(|source| StoreError::new("cannot remove", path, source))
}

/// One record, under the lock.
struct Applying<'a> {
    shared: &'a Shared,
    view: &'a mut View,
    at: Position,
}

impl Applying<'_> {
    fn snapshot(&mut self, snapshot: &Snapshot, complete: bool) {
        let millis = snapshot.at.as_millis();
        let window = millis.div_euclid(WINDOW_MILLIS);
        let lane = Text::from_static(snapshot.lane.name());
        let Some(place) = self.head_for(window, &lane, millis) else {
            self.shared.counts.held.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let clock = self.begin_row(place, &lane, snapshot, complete);
        for sample in &snapshot.samples {
            self.sample(place, clock, &snapshot.host, sample);
        }
        if snapshot.lane == Lane::Fast {
            let up = Sample { name: UP, labels: Labels::empty(), value: 1.0 };
            self.sample(place, clock, &snapshot.host, &up);
        }
        if !snapshot.top.is_empty() {
            self.rows(place, clock, snapshot);
        }
        self.view.heads[place].end_row(clock);
        self.pass_by(window);
        let view = &mut *self.view;
        view.unjournaled.goes_on(snapshot.lane, &mut view.table);
        // Where nobody sends any more, the last of it is not to wait for ever.
        self.seal_pool_if_over(snapshot.at);
    }

    /// The samples that a snapshot makes, each as a series with one point.
    fn all_samples(&self, snapshot: &Snapshot) -> Batch {
        let up = Sample { name: UP, labels: Labels::empty(), value: 1.0 };
        let up = (snapshot.lane == Lane::Fast).then_some(up);
        let rows = match snapshot.top.is_empty() {
            true => Vec::new(),
            false => (self.shared.config.rows)(snapshot),
        };
        let samples = snapshot.samples.iter().chain(&up).chain(&rows);
        let series = samples.map(|sample| Series {
            name: sample.name.clone(),
            labels: self.stored_labels(&sample.labels, &snapshot.host),
            points: vec![(snapshot.at, sample.value)],
        });
        Batch { at: snapshot.at, series: series.collect() }
    }

    fn received(&mut self, batch: &Batch) {
        self.seal_pool_if_over(batch.at);
        if batch.samples() == 0 {
            return;
        }
        let view = &mut *self.view;
        let pool = view.pool.get_or_insert_with(|| Pool::new(self.at, batch.at));
        let max_series = self.shared.config.max_series;
        let taken = pool.take(self.at, batch, &mut view.table, max_series);
        let counts = &self.shared.counts;
        counts.repeated.fetch_add(taken.repeated, Ordering::Relaxed);
        counts.over_limit.fetch_add(taken.over_limit, Ordering::Relaxed);
    }

    fn seal_pool_if_over(&mut self, now: Timestamp) {
        let view = &mut *self.view;
        let Some(pool) = view.pool.take_if(|pool| pool.is_over(now)) else { return };
        let samples = |view: &View| -> u64 {
            view.sealed_pools.iter().map(|sealed| sealed.pool.samples).sum()
        };
        while view.sealed_pools.len() > 1
            && (view.sealed_pools.len() >= MOST_SEALED || samples(view) >= MOST_SEALED_SAMPLES)
        {
            // The first may be being written just now.
            let dropped = view.sealed_pools.remove(1);
            let missed_from = view.received_missed_from.into_iter().chain([dropped.pool.first]);
            view.received_missed_from = missed_from.min();
            view.table.release(dropped.pool.numbers());
        }
        view.sealed_pools.push(Arc::new(SealedPool { pool }));
    }

    /// The place of the window's head, or none if what it would take is held already.
    fn head_for(&mut self, window: i64, lane: &Text, millis: i64) -> Option<usize> {
        let heads = &mut self.view.heads;
        if let Some(place) = heads.iter().position(|head| head.window.number == window) {
            let clocks = &heads[place].window.clocks;
            let clock = clocks.iter().find(|clock| clock.key == *lane);
            let last = clock.and_then(|clock| clock.times.last());
            return last.is_none_or(|last| *last < millis).then_some(place);
        }
        if self.view.closed.contains(&window) {
            return None;
        }
        heads.push(Head::new(window, self.at));
        Some(heads.len() - 1)
    }

    fn begin_row(&mut self, place: usize, lane: &Text, snapshot: &Snapshot, complete: bool) -> u32 {
        let head = &mut self.view.heads[place];
        let clock = head.window.clock(lane);
        let interval = i64::try_from(snapshot.interval.as_millis()).unwrap_or(i64::MAX);
        let row = snapshot.at.as_millis();
        head.window.clocks[clock as usize].push(row, interval, !complete);
        head.begin_row(clock, &snapshot.host);
        clock
    }

    fn sample(&mut self, place: usize, clock: u32, host: &Text, sample: &Sample) {
        let Some(column) = self.column(place, clock, host, sample) else {
            self.shared.counts.over_limit.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.push(place, clock, column, sample.value);
    }

    fn push(&mut self, place: usize, clock: u32, column: u32, value: f64) -> bool {
        let window = &mut self.view.heads[place].window;
        let row = window.clocks[clock as usize].rows() - 1;
        let is_new = window.columns[column as usize].push(row, value);
        window.samples += u64::from(is_new);
        is_new
    }

    /// The column for a sample, made if there is room for it.
    fn column(&mut self, place: usize, clock: u32, host: &Text, sample: &Sample) -> Option<u32> {
        let Sample { name, labels, .. } = sample;
        if let Some(column) = self.view.heads[place].find(clock, name, labels) {
            return Some(column);
        }
        if self.view.heads[place].window.columns.len() >= self.shared.config.max_series {
            return None;
        }
        let key = SeriesKey { name: name.clone(), labels: self.stored_labels(labels, host) };
        let series = self.view.table.hold(key);
        let head = &mut self.view.heads[place];
        let column = match head.window.column(series, clock) {
            // Two samples that differ in no label once those of the target are added.
            Some(column) => {
                self.view.table.release([series]);
                column
            }
            None => head.window.add_column(series, clock),
        };
        head.place(clock, name, labels, column);
        Some(column)
    }

    /// As a scrape would store them: with the target's labels, and what had their names renamed.
    fn stored_labels(&self, labels: &Labels, host: &Text) -> Labels {
        let mut pairs = Vec::with_capacity(labels.len() + 2);
        for (name, value) in labels.iter() {
            let is_targets = *name == JOB || *name == INSTANCE;
            let mut stored = name.clone();
            // It may have been renamed once already, where it was scraped from.
            while is_targets && (stored == *name || labels.get(&stored).is_some()) {
                stored = format!("exported_{stored}").into();
            }
            pairs.push((stored, value.clone()));
        }
        pairs.push((JOB, self.shared.config.job.clone()));
        pairs.push((INSTANCE, host.clone()));
        Labels::new(pairs)
    }

    /// The samples made of a snapshot's rows; those of too many series are added up.
    fn rows(&mut self, place: usize, clock: u32, snapshot: &Snapshot) {
        for mut sample in (self.shared.config.rows)(snapshot) {
            let head = &mut self.view.heads[place];
            let known = head.window.columns.len();
            let is_full = head.row_series >= self.shared.config.max_row_series;
            if is_full && head.find(clock, &sample.name, &sample.labels).is_none() {
                sample.labels = self.shared.config.folded.clone();
                self.shared.counts.folded.fetch_add(1, Ordering::Relaxed);
            }
            let Some(column) = self.column(place, clock, &snapshot.host, &sample) else {
                self.shared.counts.over_limit.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if !self.push(place, clock, column, sample.value) {
                let window = &mut self.view.heads[place].window;
                window.columns[column as usize].add_to_last(sample.value);
            }
            let head = &mut self.view.heads[place];
            head.row_series += head.window.columns.len() - known;
        }
    }

    /// After a record for `window`: others may be over.
    fn pass_by(&mut self, window: i64) {
        for head in &mut self.view.heads {
            let is_touched = head.window.number == window;
            head.passed_by = if is_touched { 0 } else { head.passed_by.saturating_add(1) };
        }
        while let Some(place) = self.next_over() {
            let head = self.view.heads.remove(place);
            self.seal(head);
        }
    }

    fn next_over(&self) -> Option<usize> {
        let heads = &self.view.heads;
        let most = heads.iter().enumerate().max_by_key(|(_, head)| head.passed_by)?;
        let is_over = most.1.passed_by >= PASSED_BY || heads.len() > MOST_HEADS;
        is_over.then_some(most.0)
    }

    fn seal(&mut self, head: Head) {
        let view = &mut *self.view;
        view.closed.insert(head.window.number);
        if view.sealed.len() >= MOST_SEALED {
            // The first may be being written just now.
            let dropped = view.sealed.remove(1);
            view.missed_from = view.missed_from.into_iter().chain([dropped.first]).min();
            view.table.release(dropped.window.columns.iter().map(|column| column.series));
        }
        let replay_from = view.replay_from();
        let Head { window, first, .. } = head;
        view.sealed.push(Arc::new(Sealed { window, first, replay_from }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farol_model::State;

    use super::*;
    use crate::{Matcher, Point, Range, STALE};

    fn snapshot(second: i64, values: &[(&str, f64)]) -> Record {
        let sample = |(name, value): &(&str, f64)| Sample {
            name: Text::from(*name),
            labels: Labels::empty(),
            value: *value,
        };
        Record::Snapshot(Arc::new(Snapshot {
            at: Timestamp::from_millis(second * 1000),
            interval: Duration::from_secs(1),
            lane: Lane::Fast,
            host: "pi".into(),
            state: State::Unknown,
            summary: Vec::new(),
            samples: values.iter().map(sample).collect(),
            top: Vec::new(),
            outcomes: Vec::new(),
        }))
    }

    fn position(offset: i64) -> Position {
        Position { stream: Stream::Metrics, segment: 0, offset: offset.unsigned_abs() }
    }

    fn points(store: &Store, name: &str, range: Range) -> Vec<(i64, f64)> {
        let mut selection = store.reader().select(&[Matcher::equal("__name__", name)], range, None);
        let mut points = Vec::new();
        for index in 0..selection.series().len() {
            selection.samples(index, &mut points);
        }
        let told = |point: Point| (point.at.as_millis() / 1000, point.value);
        points.into_iter().map(told).collect()
    }

    #[test]
    fn what_is_applied_is_read_back_from_heads_blocks_and_after_a_replay() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut opened = Store::open(Arc::clone(&disk), Config::new("/store")).unwrap();
        assert_eq!(opened.replay_from, None);
        let records: Vec<Record> = (0..20_000)
            .map(|second| match second {
                5000..6000 => snapshot(second, &[("b", 7.0)]),
                _ => snapshot(second, &[("a", second as f64 / 2.0), ("b", 7.0)]),
            })
            .collect();
        let mut upkeep = opened.store.upkeep();
        for (second, record) in (0..).zip(&records) {
            opened.store.apply(position(second), record, true);
            if second % 1000 == 0 {
                assert!(upkeep.round().errors.is_empty());
            }
        }
        let mut expected: Vec<(i64, f64)> = (0..20_000)
            .filter(|second| !(5000..6000).contains(second))
            .map(|second| (second, second as f64 / 2.0))
            .collect();
        expected.insert(5000, (5000, STALE));
        let bits = |points: &[(i64, f64)]| -> Vec<(i64, u64)> {
            points.iter().map(|(at, value)| (*at, value.to_bits())).collect()
        };
        assert_eq!(bits(&points(&opened.store, "a", Range::ALL)), bits(&expected));
        let range = Range {
            start: Timestamp::from_millis(4_999_000),
            end: Timestamp::from_millis(6_001_000),
        };
        let within: Vec<_> =
            expected.iter().copied().filter(|(at, _)| (4999..=6001).contains(at)).collect();
        assert_eq!(bits(&points(&opened.store, "a", range)), bits(&within));
        assert!(opened.store.stats().blocks > 1);

        drop((opened, upkeep));
        let mut again = Store::open(disk, Config::new("/store")).unwrap();
        let from = again.replay_from.unwrap().offset;
        assert!(from > 18_000);
        for (second, record) in (0..).zip(&records).skip(from as usize) {
            again.store.apply(position(second), record, true);
        }
        assert_eq!(bits(&points(&again.store, "a", Range::ALL)), bits(&expected));
        assert_eq!(points(&again.store, "up", Range::ALL).len(), 20_000);
    }

    #[test]
    fn what_the_journal_could_not_take_is_read_and_gone_once_it_goes_on() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut store = Store::open(disk, Config::new("/store")).unwrap().store;
        let at = |second, lane| {
            let Record::Snapshot(snapshot) = snapshot(second, &[("a", second as f64)]) else {
                unreachable!("it makes no other")
            };
            Snapshot { lane, ..Snapshot::clone(&snapshot) }
        };
        store.apply(position(0), &snapshot(1, &[("a", 1.0)]), true);
        let series = store.stats().series;
        store.apply_unjournaled(&at(2, Lane::Fast));
        store.apply_unjournaled(&at(3, Lane::Slow));
        let held = [(1, 1.0), (2, 2.0), (3, 3.0)];
        assert_eq!(points(&store, "a", Range::ALL), held);
        assert_eq!(points(&store, "up", Range::ALL).len(), 2);

        store.apply(position(1), &snapshot(4, &[("a", 4.0)]), true);
        assert_eq!(points(&store, "a", Range::ALL).len(), 4, "of the other lane it is the newest");
        let slow = Record::Snapshot(Arc::new(at(5, Lane::Slow)));
        store.apply(position(2), &slow, true);
        assert_eq!(points(&store, "a", Range::ALL), [(1, 1.0), (4, 4.0), (5, 5.0)]);
        assert_eq!(store.stats().series, series);
    }

    #[test]
    fn of_what_the_journal_cannot_take_for_long_the_newest_is_held() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut store = Store::open(disk, Config::new("/store")).unwrap().store;
        for second in 0..4000 {
            let record = snapshot(second, &[("a", second as f64)]);
            let Record::Snapshot(snapshot) = record else { unreachable!("it makes no other") };
            store.apply_unjournaled(&snapshot);
        }
        let held = points(&store, "a", Range::ALL);
        assert!((900..=1800).contains(&held.len()), "{}", held.len());
        assert_eq!(held.last(), Some(&(3999, 3999.0)));
        assert_eq!(held.first().map(|(second, _)| *second), Some(4000 - held.len() as i64));
    }

    #[test]
    fn a_label_that_is_renamed_takes_no_others_name() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let store = Store::open(disk, Config::new("/store")).unwrap().store;
        let mut view = store.shared.view_mut();
        let applying = Applying { shared: &store.shared, view: &mut view, at: position(0) };
        let labels = Labels::from([("exported_job", "first"), ("job", "second")]);
        let stored = applying.stored_labels(&labels, &"pi".into());
        let expected = [
            ("exported_exported_job", "second"),
            ("exported_job", "first"),
            ("instance", "pi"),
            ("job", "node"),
        ];
        assert_eq!(stored, Labels::from(expected));
    }

    /// Its series would be forgotten under the hands of who writes it.
    #[test]
    fn the_window_that_may_be_being_written_is_not_left_to_the_journal() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut store = Store::open(disk, Config::new("/store")).unwrap().store;
        for window in 0..300 {
            store.apply(position(window), &snapshot(window * 900, &[("a", 1.0)]), true);
        }
        let view = store.shared.view();
        assert_eq!(view.sealed.len(), MOST_SEALED);
        assert_eq!(view.sealed[0].window.number, 0);
        assert_eq!(view.missed_from, Some(position(1)));
    }

    #[test]
    fn a_day_that_is_over_is_down_sampled_once() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let mut opened = Store::open(Arc::clone(&disk), Config::new("/store")).unwrap();
        let mut upkeep = opened.store.upkeep();
        let day = 24 * 60 * 60;
        for second in (0..day + 2 * 900 + 200).filter(|second| second % 7 == 0 || *second > day) {
            opened.store.apply(position(second), &snapshot(second, &[("a", second as f64)]), true);
        }
        let report = upkeep.round();
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert_eq!(opened.store.stats().tier_blocks, [1, 1]);
        assert!(upkeep.round().merged.is_empty(), "nothing is done twice");

        let reader = opened.store.reader().tier(Tier::FiveMinutes);
        let mut figures = Vec::new();
        let mut selection = reader.select(&[Matcher::equal("__name__", "a")], Range::ALL, None);
        for place in 0..selection.series().len() {
            let mut points = Vec::new();
            selection.samples(place, &mut points);
            assert_eq!(points.len(), 288);
            let aggregate = selection.series()[place].labels.get("__aggregate__").unwrap();
            let second = points[1];
            assert_eq!(second.at.as_millis(), 600_000);
            figures.push((aggregate.to_owned(), second.value));
        }
        // 301, 308, … 595: 43 of them; the one before is 294.
        let expected = [
            ("count", 43.0),
            ("increase", 301.0),
            ("last", 595.0),
            ("max", 595.0),
            ("min", 301.0),
            ("sum", 19_264.0),
        ];
        assert_eq!(figures, expected.map(|(aggregate, value)| (aggregate.to_owned(), value)));

        drop((opened, upkeep));
        let again = Store::open(disk, Config::new("/store")).unwrap();
        assert_eq!(again.store.stats().tier_blocks, [1, 1]);
        assert!(again.set_aside.is_empty());
    }
}
