//! Down-sampled days: what is kept of them for longer than every single sample.
//!
//! A day that is over is read once, series by series, and of each bucket of 15 s and of 5 min six
//! figures are kept, each as a series of its own with the label `__aggregate__`. A bucket begins with
//! its first millisecond and ends before that of the next, whose time is the time of its figures.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use farol_model::{Labels, Text, Timestamp, is_stale};

use crate::{
    Point, Range, Reader, Report, SeriesKey, StoreError,
    block::{self, Kind, Name, Writer},
    clock::Clock,
    retain,
    shared::{Shared, View},
};

/// A kind of down-sampled data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    FifteenSeconds,
    FiveMinutes,
}

impl Tier {
    pub const ALL: [Tier; 2] = [Tier::FifteenSeconds, Tier::FiveMinutes];

    pub const fn step_millis(self) -> i64 {
        match self {
            Tier::FifteenSeconds => 15_000,
            Tier::FiveMinutes => 300_000,
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Tier::FifteenSeconds => Kind::FifteenSeconds,
            Tier::FiveMinutes => Kind::FiveMinutes,
        }
    }
}

/// The label that says which figure of a bucket a series has.
pub const AGGREGATE: Text = Text::from_static("__aggregate__");

/// Its values, in the order of [`Bucket::figures`].
pub const AGGREGATES: [Text; 6] = [
    Text::from_static("count"),
    Text::from_static("increase"),
    Text::from_static("last"),
    Text::from_static("max"),
    Text::from_static("min"),
    Text::from_static("sum"),
];

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// How far before a day its first increase may begin.
const LOOK_BACK_MILLIS: i64 = 5 * 60 * 1000;
/// What the down-sampled files of a day usually need at most, in files of the day: they hold fewer
/// figures, but six of each.
const USUAL_TIMES_RAW: u64 = 2;
const SLACK: u64 = 64 << 10;

/// Down-samples the days that are over and have not been, or have got more since.
pub(crate) fn derive_all(shared: &Arc<Shared>, report: &mut Report) {
    let days = days_over(&shared.view());
    for (day, raw_bytes) in days {
        for tier in Tier::ALL {
            let start = day.saturating_mul(DAY_MILLIS);
            let (first, last) = (start + tier.step_millis(), start.saturating_add(DAY_MILLIS));
            if !is_due(shared, tier, day) || retain::is_beyond_age(shared, tier, first, last) {
                continue;
            }
            match derive(shared, tier, day, raw_bytes, report) {
                Ok(Some(name)) => report.merged.push(name.file()),
                Ok(None) => {}
                Err(error) => report.errors.push(error),
            }
        }
    }
}

/// The days that get no more samples of the lanes, with the bytes of their blocks.
fn days_over(view: &View) -> Vec<(i64, u64)> {
    let day = |millis: i64| millis.div_euclid(DAY_MILLIS);
    let open: BTreeSet<i64> =
        view.windows().filter_map(|window| window.span()).map(|(start, _)| day(start)).collect();
    let pooled: BTreeSet<i64> = view.received_pools().flat_map(|pool| pool.days()).collect();
    let mut days: BTreeMap<i64, (u64, bool)> = BTreeMap::new();
    for block in &view.blocks {
        // One that lies across two days is that of an import of another version: left as it is.
        if day(block.start) == day(block.end) {
            let (bytes, is_lanes) = days.entry(day(block.start)).or_default();
            *bytes += block.bytes;
            *is_lanes |= block.name.kind.is_derived();
        }
    }
    // Without an open window nothing was applied yet: a lane may go on in the day of its last block.
    days.retain(|day, (_, is_lanes)| !open.contains(day) && (!*is_lanes || !open.is_empty()));
    // What was received of it is soon in a block.
    days.retain(|day, _| !pooled.contains(day));
    days.into_iter().map(|(day, (bytes, _))| (day, bytes)).collect()
}

/// Whether a day has blocks that are newer than what was made of it. Not if it has lost some since:
/// the older figures are of more.
fn is_due(shared: &Shared, tier: Tier, day: i64) -> bool {
    let start = day.saturating_mul(DAY_MILLIS / 1000);
    let made = {
        let view = shared.tier(tier);
        let of_day = |block: &&Arc<block::Block>| block.name.start == start;
        view.blocks.iter().find(of_day).map(|block| (block.name.number, block.windows.clone()))
    };
    let view = shared.view();
    let is_of_day = |block: &&Arc<block::Block>| block.start.div_euclid(DAY_MILLIS) == day;
    let Some((number, windows)) = made else { return true };
    let is_newer = view.blocks.iter().filter(is_of_day).any(|block| block.name.number > number);
    let is_whole = windows.iter().all(|(first, count)| {
        (0..i64::from(*count)).all(|ahead| view.closed.contains(&first.saturating_add(ahead)))
    });
    is_newer && is_whole
}

fn derive(
    shared: &Arc<Shared>,
    tier: Tier,
    day: i64,
    raw_bytes: u64,
    report: &mut Report,
) -> Result<Option<Name>, StoreError> {
    let of_day: Vec<u64> = {
        let view = shared.view();
        let blocks = view.blocks.iter().filter(|b| b.start.div_euclid(DAY_MILLIS) == day);
        blocks.map(|block| block.name.number).collect()
    };
    let start = day.saturating_mul(DAY_MILLIS / 1000);
    let mut budget = raw_bytes.saturating_mul(USUAL_TIMES_RAW).saturating_add(SLACK);
    let (name, mut writer) = loop {
        if let Err(error) = retain::make_room(shared, budget, start, report) {
            let is_full = matches!(error, StoreError::NoRoom { .. });
            return if is_full { Ok(None) } else { Err(error) };
        }
        let name = Name { kind: tier.kind(), start, number: shared.next_number()? };
        match write(shared, tier, day, name, &of_day, budget) {
            // Of few samples, or such as stand still, much more is made than there was.
            Err(StoreError::NoRoom { .. }) => budget = budget.saturating_mul(2),
            written => break (name, written?),
        }
    };
    writer.sync()?;
    let path = writer.publish()?;
    let opened = block::open(&*shared.disk, &path)?;
    let replaced: Vec<Arc<block::Block>> = {
        let mut view = shared.tier_mut(tier);
        let replaced: Vec<_> =
            view.blocks.iter().filter(|block| block.name.start == start).cloned().collect();
        shared.add_block(&mut view, opened, name, path);
        let numbers: Vec<u64> = replaced.iter().map(|block| block.name.number).collect();
        view.drop_blocks(&numbers);
        replaced
    };
    retain::remove_merged(shared, &replaced, report);
    Ok(Some(name))
}

fn write(
    shared: &Arc<Shared>,
    tier: Tier,
    day: i64,
    name: Name,
    of_day: &[u64],
    budget: u64,
) -> Result<Writer, StoreError> {
    let config = &shared.config;
    let disk = Arc::clone(&shared.disk);
    let mut writer = Writer::streaming(disk, &config.dir, name, config.access, budget)?;
    Day { shared, tier, start: day.saturating_mul(DAY_MILLIS) }.write(&mut writer)?;
    let windows = shared.view().windows_of(of_day);
    writer.complete(windows, None)?;
    Ok(writer)
}

struct Day<'a> {
    shared: &'a Arc<Shared>,
    tier: Tier,
    /// Its first millisecond.
    start: i64,
}

impl Day<'_> {
    fn write(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let rows = DAY_MILLIS / self.tier.step_millis();
        let mut clock = Clock::new(Text::from_static("buckets"), false);
        clock.times = (1..=rows).map(|row| self.start + row * self.tier.step_millis()).collect();
        let clock = writer.clock(&clock)?;
        let range = Range {
            start: Timestamp::from_millis(self.start - LOOK_BACK_MILLIS),
            end: Timestamp::from_millis(self.start + DAY_MILLIS - 1),
        };
        let mut selection = Reader::new(Arc::clone(self.shared)).select(&[], range, None);
        let mut points = Vec::new();
        for place in 0..selection.series().len() {
            points.clear();
            selection.samples(place, &mut points);
            let buckets = self.buckets(&points);
            if !buckets.is_empty() {
                write_series(&selection.series()[place], clock, &buckets, writer)?;
            }
        }
        Ok(())
    }

    /// What there was in each bucket that had anything, by row.
    fn buckets(&self, points: &[Point]) -> Vec<(u32, Bucket)> {
        let mut buckets: Vec<(u32, Bucket)> = Vec::new();
        let mut before: Option<f64> = None;
        for point in points.iter().filter(|point| !is_stale(point.value)) {
            let since = point.at.as_millis() - self.start;
            if since >= 0 {
                let row = (since / self.tier.step_millis()) as u32;
                match buckets.last_mut() {
                    Some((held, bucket)) if *held == row => bucket.add(point.value, before),
                    _ => {
                        let mut bucket = Bucket::default();
                        bucket.add(point.value, before);
                        buckets.push((row, bucket));
                    }
                }
            }
            before = Some(point.value);
        }
        buckets
    }
}

fn write_series(
    key: &SeriesKey,
    clock: u32,
    buckets: &[(u32, Bucket)],
    writer: &mut Writer,
) -> Result<(), StoreError> {
    let mut runs = Vec::new();
    for (row, _) in buckets {
        block::push_run(&mut runs, *row, 1);
    }
    for (place, aggregate) in AGGREGATES.into_iter().enumerate() {
        let pairs = key.labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        let labels = Labels::new(pairs.chain([(AGGREGATE, aggregate)]).collect());
        writer.series(SeriesKey { name: key.name.clone(), labels }, clock, runs.clone());
        let values: Vec<f64> = buckets.iter().map(|(_, bucket)| bucket.figures()[place]).collect();
        writer.values(&values)?;
    }
    Ok(())
}

/// What is kept of the samples of one bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    count: f64,
    /// As a counter's: by how much it rose since the sample before, from 0 where it was reset.
    increase: f64,
    last: f64,
    max: f64,
    min: f64,
    sum: f64,
    /// What `sum` is too large by (Kahan).
    excess: f64,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket {
            count: 0.0,
            increase: 0.0,
            last: 0.0,
            max: f64::NAN,
            min: f64::NAN,
            sum: 0.0,
            excess: 0.0,
        }
    }
}

impl Bucket {
    fn add(&mut self, value: f64, before: Option<f64>) {
        self.count += 1.0;
        if let Some(before) = before {
            self.increase += if value < before { value } else { value - before };
        }
        self.last = value;
        self.max = self.max.max(value);
        self.min = self.min.min(value);
        let more = value - self.excess;
        let sum = self.sum + more;
        // Of an infinite sum there is nothing to correct.
        self.excess = if sum.is_finite() { (sum - self.sum) - more } else { 0.0 };
        self.sum = sum;
    }

    fn figures(&self) -> [f64; 6] {
        [self.count, self.increase, self.last, self.max, self.min, self.sum]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_keeps_six_figures_and_counts_from_zero_after_a_reset() {
        let mut bucket = Bucket::default();
        for (before, value) in [(Some(90.0), 100.0), (Some(100.0), 5.0), (Some(5.0), 7.0)] {
            bucket.add(value, before);
        }
        assert_eq!(bucket.figures(), [3.0, 17.0, 7.0, 100.0, 5.0, 112.0]);
    }
}
