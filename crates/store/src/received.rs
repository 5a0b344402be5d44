//! Samples that were received: each series by itself, with times of its own.
//!
//! They come in any order and of any time, so no window takes them and no row they lack ends a
//! series. They are gathered in a *pool* in memory, whatever their times are; a pool that is full or
//! has stood for a window's length is written as one block for each day it has samples of, and
//! the blocks of a day are merged sample by sample. What a pool, a block or a merge makes of two
//! samples of one series at one time depends on the two alone ([`preferred`]), so that
//! it is of no matter in which of them the two meet, or how often one comes.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range as Part,
    sync::Arc,
};

use farol_model::{Batch, Position, Text, Timestamp, is_stale};

use crate::{
    Range, Report, SeriesKey, StoreError,
    block::{self, Block, BlockSeries, Kind, MOST_ROWS, Name, Writer},
    clock::Clock,
    head::WINDOW_MILLIS,
    retain,
    series::Table,
    shared::Shared,
};

/// What was received since the last pool was full.
#[derive(Debug)]
pub(crate) struct Pool {
    pub first: Position,
    last: Position,
    /// When the first of it came.
    began: i64,
    series: HashMap<u32, Arc<Points>>,
    pub samples: u64,
    /// Those of which it has samples, with the times of their oldest and newest.
    days: BTreeMap<i64, (i64, i64)>,
}

/// A pool that takes no more.
#[derive(Debug)]
pub(crate) struct SealedPool {
    pub pool: Pool,
}

/// The samples of one series. Nearly all come in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points {
    /// Rising.
    times: Vec<i64>,
    values: Vec<f64>,
    /// What came after a later one.
    late: BTreeMap<i64, f64>,
}

/// What became of the samples of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Their series had a sample at that time already.
    pub repeated: u64,
    /// Of series for which there was no room, or of no time there is.
    pub over_limit: u64,
}

/// Samples in one pool: 16 bytes each.
pub(crate) const MOST_POOLED: u64 = 1 << 19;
/// What is received makes no series beyond so many times those of a window in the whole store, or so
/// many bytes of names and values: their senders choose them, and memory has them all.
const MOST_SERIES: usize = 2;
const MOST_TEXT: usize = 256 << 20;
/// No clock says this of a sample (it is 285,000 years away), and days are reckoned from it.
const FARTHEST: i64 = 1 << 53;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// The clock of samples that were received.
const KEY: Text = Text::from_static("received");

/// Of two samples of one series at one time the greater one here is kept: rather a value than a
/// stale marker, rather a number than none, rather the larger.
pub(crate) fn preferred(a: f64, b: f64) -> Ordering {
    let rank = |value: f64| match value {
        _ if is_stale(value) => 0,
        _ if value.is_nan() => 1,
        _ => 2,
    };
    rank(a).cmp(&rank(b)).then(a.total_cmp(&b))
}

impl Pool {
    pub(crate) fn new(first: Position, at: Timestamp) -> Pool {
        Pool {
            first,
            last: first,
            began: at.as_millis(),
            series: HashMap::new(),
            samples: 0,
            days: BTreeMap::new(),
        }
    }

    /// Whether a record of this time is to find another pool.
    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        let stood = at.as_millis().saturating_sub(self.began).saturating_abs();
        self.samples >= MOST_POOLED || stood >= WINDOW_MILLIS
    }

    /// Takes a batch; its series are held in the table, each once.
    pub(crate) fn take(
        &mut self,
        at: Position,
        batch: &Batch,
        table: &mut Table,
        max_series: usize,
    ) -> Taken {
        self.last = at;
        let mut taken = Taken::default();
        for series in &batch.series {
            if series.points.is_empty() {
                continue;
            }
            let key = SeriesKey { name: series.name.clone(), labels: series.labels.clone() };
            let known = table.number(&key);
            let is_full = self.series.len() >= max_series
                || known.is_none()
                    && (table.len() >= max_series.saturating_mul(MOST_SERIES)
                        || table.text_bytes() >= MOST_TEXT);
            let number = match known.filter(|number| self.series.contains_key(number)) {
                Some(number) => number,
                None if is_full => {
                    taken.over_limit += series.points.len() as u64;
                    continue;
                }
                None => table.hold(key),
            };
            let points = Arc::make_mut(self.series.entry(number).or_default());
            for (at, value) in &series.points {
                let at = at.as_millis();
                if at.saturating_abs() > FARTHEST {
                    taken.over_limit += 1;
                    continue;
                }
                match points.push(at, *value) {
                    true => self.samples += 1,
                    false => taken.repeated += 1,
                }
                let span = self.days.entry(at.div_euclid(DAY_MILLIS)).or_insert((at, at));
                *span = (span.0.min(at), span.1.max(at));
            }
        }
        taken
    }

    pub(crate) fn points(&self, series: u32) -> Option<&Arc<Points>> {
        self.series.get(&series)
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.series.keys().copied()
    }

    pub(crate) fn days(&self) -> impl Iterator<Item = i64> {
        self.days.keys().copied()
    }

    /// Those that have a sample in the range.
    pub(crate) fn numbers_within(&self, range: Range) -> impl Iterator<Item = u32> {
        let touched = self.series.iter().filter(move |(_, points)| points.touches(range));
        touched.map(|(number, _)| *number)
    }

    /// Of each day, from when to when there is something.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (i64, i64)> {
        self.days.values().copied()
    }

    /// From here on the journal has what this pool has not: the line after its last.
    fn replay_from(&self) -> Position {
        Position { offset: self.last.offset.saturating_add(1), ..self.last }
    }
}

impl Points {
    /// False if there was one of that time already.
    fn push(&mut self, at: i64, value: f64) -> bool {
        if self.times.last().is_none_or(|last| *last < at) {
            self.times.push(at);
            self.values.push(value);
            return true;
        }
        let held = match self.times.binary_search(&at) {
            Ok(place) => &mut self.values[place],
            Err(_) => match self.late.entry(at) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(value);
                    return true;
                }
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            },
        };
        if preferred(value, *held).is_gt() {
            *held = value;
        }
        false
    }

    /// Whether there is one in the range.
    pub(crate) fn touches(&self, range: Range) -> bool {
        let (start, end) = (range.start.as_millis(), range.end.as_millis());
        let first = self.times.partition_point(|time| *time < start);
        self.times.get(first).is_some_and(|time| *time <= end)
            || (start <= end && self.late.range(start..=end).next().is_some())
    }

    /// Those in the range, in no order.
    pub(crate) fn within(&self, range: Range, mut each: impl FnMut(i64, f64)) {
        let (start, end) = (range.start.as_millis(), range.end.as_millis());
        if start > end {
            return;
        }
        let first = self.times.partition_point(|time| *time < start);
        let last = self.times.partition_point(|time| *time <= end);
        let in_time = self.times[first..last].iter().zip(&self.values[first..last]);
        in_time.chain(self.late.range(start..=end)).for_each(|(at, value)| each(*at, *value));
    }

    fn sorted(&self) -> (Cow<'_, [i64]>, Cow<'_, [f64]>) {
        if self.late.is_empty() {
            return ((&self.times[..]).into(), (&self.values[..]).into());
        }
        let late = self.late.iter().map(|(at, value)| (*at, *value));
        let in_time = self.times.iter().copied().zip(self.values.iter().copied());
        let mut all: Vec<(i64, f64)> = in_time.chain(late).collect();
        all.sort_unstable_by_key(|(at, _)| *at);
        let (times, values): (Vec<i64>, Vec<f64>) = all.into_iter().unzip();
        (times.into(), values.into())
    }
}

/// A series of a pool, to be written.
struct Row<'a> {
    key: SeriesKey,
    times: Cow<'a, [i64]>,
    values: Cow<'a, [f64]>,
}

/// Writes a block for each day of the pool. Each is there to be read from when it is whole, and so
/// is the pool until all are: what is there twice reads as once.
pub(crate) fn write(
    shared: &Shared,
    sealed: &Arc<SealedPool>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let pool = &sealed.pool;
    let row = |(key, number): (SeriesKey, u32)| {
        let (times, values) = pool.points(number)?.sorted();
        Some(Row { key, times, values })
    };
    let rows: Vec<Row<'_>> = shared.keys(pool.numbers()).into_iter().filter_map(row).collect();
    let days: Vec<i64> = pool.days().collect();
    let missed_from = shared.view().received_missed_from;
    let replay_from = [pool.replay_from()].into_iter().chain(missed_from).min();
    for (place, day) in days.iter().enumerate() {
        // Only once all of it is there the journal is done with.
        let replay_from = replay_from.filter(|_| place + 1 == days.len());
        let name = write_day(shared, *day, &rows, replay_from, report)?;
        report.written.push(name.file());
    }
    let mut view = shared.view_mut();
    view.sealed_pools.retain(|held| !Arc::ptr_eq(held, sealed));
    view.table.release(pool.numbers());
    Ok(())
}

fn write_day(
    shared: &Shared,
    day: i64,
    rows: &[Row<'_>],
    replay_from: Option<Position>,
    report: &mut Report,
) -> Result<Name, StoreError> {
    let start = day.saturating_mul(DAY_MILLIS / 1000);
    let name = Name { kind: Kind::Received, start, number: shared.next_number()? };
    let config = &shared.config;
    let mut writer =
        Writer::in_memory(Arc::clone(&shared.target), &config.dir, name, config.access)?;
    let parts: Vec<(&Row<'_>, Part<usize>)> = rows
        .iter()
        .map(|row| (row, of_day(&row.times, day)))
        .filter(|(_, part)| !part.is_empty())
        .collect();
    let mut clocks = Clocks::default();
    let mut placed = Vec::with_capacity(parts.len());
    for (row, part) in &parts {
        placed.push(clocks.place(&row.times[part.clone()], &mut writer)?);
    }
    for ((row, part), clock) in parts.iter().zip(placed) {
        let rows = u32::try_from(part.len()).expect("a pool has fewer samples");
        writer.series(row.key.clone(), clock, vec![(0, rows)]);
        writer.values(&row.values[part.clone()])?;
    }
    let bytes = writer.complete(Vec::new(), replay_from)?;
    if !shared.read_only {
        retain::make_room(shared, bytes, i64::MAX, report)?;
    }
    writer.sync()?;
    let path = writer.publish()?;
    let opened = block::open(&*shared.target, &path)?;
    shared.add_block(&mut shared.view_mut(), opened, name, path);
    Ok(name)
}

fn of_day(times: &[i64], day: i64) -> Part<usize> {
    let first = times.partition_point(|time| time.div_euclid(DAY_MILLIS) < day);
    first..times.partition_point(|time| time.div_euclid(DAY_MILLIS) <= day)
}

/// The clocks of a file that is being written. Series that were taken at the same times share one.
#[derive(Default)]
struct Clocks {
    known: HashMap<Vec<i64>, u32>,
    rows: usize,
}

/// Times that are held to be shared: 8 bytes each. Beyond it each series has a clock of its own.
const MOST_SHARED: usize = 4 << 20;

impl Clocks {
    fn place(&mut self, times: &[i64], writer: &mut Writer) -> Result<u32, StoreError> {
        if let Some(clock) = self.known.get(times) {
            return Ok(*clock);
        }
        let mut clock = Clock::new(KEY, false);
        clock.times = times.to_vec();
        let number = writer.clock(&clock)?;
        self.rows += times.len();
        if self.rows <= MOST_SHARED {
            self.known.insert(clock.times, number);
        }
        Ok(number)
    }
}

/// Several blocks of one day as one: series by series, sample by sample.
pub(crate) struct Merging<'a> {
    blocks: &'a [Arc<Block>],
    /// Clocks of the parts that were read, by block and place.
    clocks: HashMap<(usize, u32), Arc<Clock>>,
    rows: usize,
    /// Samples that another block had too.
    repeated: u64,
}

/// Rows of clocks that are held: 8 bytes each.
const MOST_HELD: usize = 1 << 20;
/// A series with more samples in a day is left in parts.
const MOST_OF_SERIES: u64 = 4 << 20;

/// Whether memory holds the largest series of the whole.
pub(crate) fn can_merge(blocks: &[Arc<Block>]) -> bool {
    let mut samples: HashMap<u32, u64> = HashMap::new();
    for series in blocks.iter().flat_map(|block| &block.series) {
        let count: u64 = series.chunks.iter().map(|chunk| u64::from(chunk.count())).sum();
        *samples.entry(series.number).or_default() += count;
    }
    samples.into_values().all(|count| count <= MOST_OF_SERIES)
}

impl<'a> Merging<'a> {
    pub(crate) fn new(blocks: &'a [Arc<Block>]) -> Merging<'a> {
        Merging { blocks, clocks: HashMap::new(), rows: 0, repeated: 0 }
    }

    /// How many samples were there twice.
    pub(crate) fn write(mut self, shared: &Shared, writer: &mut Writer) -> Result<u64, StoreError> {
        let numbers: BTreeSet<u32> =
            self.blocks.iter().flat_map(|block| block.series.iter().map(|s| s.number)).collect();
        let keys = shared.keys(numbers);
        // Clocks come first in a file: their times are read once for them, once with the values.
        let mut clocks = Clocks::default();
        let mut placed = Vec::new();
        for (_, number) in &keys {
            let times = self.times(*number)?;
            for part in times.chunks(MOST_ROWS as usize) {
                placed.push(clocks.place(part, writer)?);
            }
        }
        drop(clocks);
        let mut placed = placed.into_iter();
        for (key, number) in keys {
            let points = self.points(number)?;
            for part in points.chunks(MOST_ROWS as usize) {
                let clock = placed.next().expect("there are as many as there were times");
                let rows = u32::try_from(part.len()).expect("a part is cut to fit");
                let values: Vec<f64> = part.iter().map(|(_, value)| *value).collect();
                writer.series(key.clone(), clock, vec![(0, rows)]);
                writer.values(&values)?;
            }
        }
        Ok(self.repeated)
    }

    fn times(&mut self, number: u32) -> Result<Vec<i64>, StoreError> {
        let mut times = Vec::new();
        for (place, series) in self.parts(number) {
            let clock = self.clock(place, series.clock)?;
            times.extend(rows_of(series).map(|row| clock.times[row]));
        }
        times.sort_unstable();
        times.dedup();
        Ok(times)
    }

    /// In order of time, each time once.
    fn points(&mut self, number: u32) -> Result<Vec<(i64, f64)>, StoreError> {
        let mut points: Vec<(i64, f64)> = Vec::new();
        for (place, series) in self.parts(number) {
            let clock = self.clock(place, series.clock)?;
            let mut rows = rows_of(series);
            for chunk in &series.chunks {
                let values = self.blocks[place].values(chunk)?;
                let times = rows.by_ref().map(|row| clock.times[row]);
                // The values lead: a row more than there are of them would be lost to the next.
                points.extend(values.iter().zip(times).map(|(value, time)| (time, *value)));
            }
        }
        let all = points.len();
        points.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| preferred(b.1, a.1)));
        points.dedup_by_key(|(time, _)| *time);
        self.repeated += (all - points.len()) as u64;
        Ok(points)
    }

    fn parts(&self, number: u32) -> impl Iterator<Item = (usize, &'a BlockSeries)> + use<'a> {
        let blocks = self.blocks.iter().enumerate();
        blocks.flat_map(move |(place, block)| {
            block.of_series(number).iter().map(move |series| (place, series))
        })
    }

    fn clock(&mut self, block: usize, place: u32) -> Result<Arc<Clock>, StoreError> {
        if let Some(held) = self.clocks.get(&(block, place)) {
            return Ok(Arc::clone(held));
        }
        let clock = Arc::new(self.blocks[block].clock(place)?);
        self.rows += clock.times.len();
        if self.rows > MOST_HELD {
            self.clocks.clear();
            self.rows = clock.times.len();
        }
        self.clocks.insert((block, place), Arc::clone(&clock));
        Ok(clock)
    }
}

fn rows_of(series: &BlockSeries) -> impl Iterator<Item = usize> {
    let runs = series.runs.iter();
    runs.flat_map(|(first, count)| *first as usize..(*first as usize + *count as usize))
}

#[cfg(test)]
mod tests {
    use farol_model::STALE;

    use super::*;

    fn sorted(points: &Points) -> Vec<(i64, f64)> {
        let (times, values) = points.sorted();
        times.iter().copied().zip(values.iter().copied()).collect()
    }

    #[test]
    fn of_two_samples_at_one_time_the_same_is_kept_whichever_comes_first() {
        let ordered = [STALE, f64::NAN, f64::NEG_INFINITY, -0.0, 0.0, 1.0, f64::INFINITY];
        for (place, less) in ordered.iter().enumerate() {
            for more in &ordered[place + 1..] {
                for both in [[less, more], [more, less]] {
                    // In order, and after a later one.
                    for later in [None, Some(10)] {
                        let mut points = Points::default();
                        if let Some(at) = later {
                            assert!(points.push(at, 0.0));
                        }
                        assert!(points.push(5, *both[0]) && !points.push(5, *both[1]));
                        let kept = sorted(&points)[0];
                        assert_eq!((kept.0, kept.1.to_bits()), (5, more.to_bits()));
                    }
                }
            }
        }
    }

    #[test]
    fn points_in_any_order_are_found_by_their_times() {
        let mut points = Points::default();
        for at in [10, 30, 20, 50, 40, -5] {
            assert!(points.push(at, at as f64));
        }
        assert!(!points.push(20, 1.0) && !points.push(30, 1.0));
        let all = [-5, 10, 20, 30, 40, 50];
        assert_eq!(sorted(&points), all.map(|at| (at, at as f64)));
        for (start, end) in [(-5, 50), (11, 29), (21, 29), (41, 60), (30, 30), (51, 99), (40, 10)] {
            let range =
                Range { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) };
            let mut found = Vec::new();
            points.within(range, |at, value| {
                assert_eq!(value, at as f64);
                found.push(at);
            });
            found.sort_unstable();
            let expected: Vec<i64> =
                all.into_iter().filter(|at| (start..=end).contains(at)).collect();
            assert_eq!(points.touches(range), !expected.is_empty());
            assert_eq!(found, expected);
        }
    }
}
