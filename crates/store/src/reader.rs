//! Questions to the store: which series there are, and their samples in a range of time.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use farol_model::{Text, Timestamp};

use crate::{
    Matcher, SeriesKey, StoreError, Tier,
    block::{Block, BlockSeries, ChunkRef, values_before},
    clock::{Clock, Runs, Walk},
    head::{Column, WINDOW_MILLIS, Window},
    shared::{Sealed, Shared},
};

/// The value of a stale marker: the NaN by which Prometheus says that a series has ended.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Range {
    pub const ALL: Range =
        Range { start: Timestamp::from_millis(i64::MIN), end: Timestamp::from_millis(i64::MAX) };
}

/// A cheap clone; every question sees the store as it is at that moment.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    tier: Option<Tier>,
}

/// The series that matched, with everything that is needed to read their samples later.
#[derive(Debug)]
pub struct Selection {
    shared: Arc<Shared>,
    range: Range,
    now: Option<Timestamp>,
    keys: Vec<SeriesKey>,
    /// In the store's table, in the order of `keys`.
    numbers: Vec<u32>,
    /// In order of time.
    sources: Vec<Source>,
    /// In order of time, which their sources need not be.
    stretches: Vec<Stretch>,
    damage: Vec<StoreError>,
}

/// Something that holds columns.
#[derive(Debug)]
struct Source {
    start: i64,
    columns: Columns,
    /// Its clocks, once they were needed.
    clocks: Vec<Known>,
}

/// What a source holds of windows that follow one another. When a clock was set back, one block may
/// have windows on both sides of another's.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    source: usize,
    start: i64,
    end: i64,
    /// The source's first: all its values are read with it.
    is_first: bool,
}

#[derive(Clone, Debug)]
enum Known {
    NotYet,
    Clock(Arc<Clock>),
    Damaged,
}

#[derive(Debug)]
enum Columns {
    Block(Arc<Block>),
    Sealed(Arc<Sealed>),
    Copied(Window),
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Reader {
        Reader { shared, tier: None }
    }

    /// Reads the down-sampled days instead: of each series six, by the label
    /// [`AGGREGATE`](crate::AGGREGATE).
    pub fn tier(&self, tier: Tier) -> Reader {
        Reader { tier: Some(tier), ..self.clone() }
    }

    /// The series that match and may have samples in the range. With `now`, a series whose clock
    /// has fallen silent for more than three intervals ends there.
    pub fn select(&self, matchers: &[Matcher], range: Range, now: Option<Timestamp>) -> Selection {
        let view = self.shared.view_of(self.tier);
        let mut numbers = view.table.matching(matchers);
        let start = range.start.as_millis();
        let mut sources = Vec::new();
        for block in &view.blocks {
            let patience = block.clocks.iter().map(|clock| clock.longest_patience()).max();
            if block.end.saturating_add(patience.unwrap_or(0)) >= start {
                sources.push(Source::new(block.start, Columns::Block(Arc::clone(block))));
            }
        }
        let is_wanted = |window: &Window| {
            let patience = window.clocks.iter().map(Clock::longest_patience).max();
            let span = window.span()?;
            (span.1.saturating_add(patience.unwrap_or(0)) >= start).then_some(span.0)
        };
        for sealed in &view.sealed {
            if let Some(start) = is_wanted(&sealed.window) {
                sources.push(Source::new(start, Columns::Sealed(Arc::clone(sealed))));
            }
        }
        for head in &view.heads {
            if let Some(start) = is_wanted(&head.window) {
                sources.push(Source::new(start, Columns::Copied(head.window.only(&numbers))));
            }
        }
        sources.sort_by_key(|source| source.start);
        let end = range.end.as_millis();
        let within: Vec<&Source> =
            sources.iter().take_while(|source| source.start <= end).collect();
        numbers.retain(|number| within.iter().any(|source| source.has(*number)));
        let mut keyed: Vec<(SeriesKey, u32)> = numbers
            .iter()
            .filter_map(|number| Some((SeriesKey::clone(view.table.key(*number)?), *number)))
            .collect();
        drop(view);
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        let (keys, numbers) = keyed.into_iter().unzip();
        let mut stretches: Vec<Stretch> =
            (0..).zip(&sources).flat_map(|(place, source)| source.stretches(place)).collect();
        stretches.sort_by_key(|stretch| stretch.start);
        let shared = Arc::clone(&self.shared);
        Selection { shared, range, now, keys, numbers, sources, stretches, damage: Vec::new() }
    }
}

impl Selection {
    /// Sorted by name, then labels.
    pub fn series(&self) -> &[SeriesKey] {
        &self.keys
    }

    /// The samples of the series at `index` within the range, in order of time, stale markers
    /// ([`STALE`]) included. Damaged chunks are left out and told of.
    pub fn samples(&mut self, index: usize, into: &mut Vec<Point>) {
        let number = self.numbers[index];
        let mut lanes: Vec<Text> = self
            .sources
            .iter()
            .flat_map(|source| source.clock_keys_of(number))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let begin = into.len();
        if let Some(first) = lanes.pop() {
            self.lane(number, &first, into);
        }
        for lane in lanes {
            self.lane(number, &lane, into);
        }
        in_order(into, begin);
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &[StoreError] {
        &self.damage
    }

    /// The samples of one series in one lane's rows.
    fn lane(&mut self, number: u32, lane: &Text, into: &mut Vec<Point>) {
        let (start, end) = (self.range.start.as_millis(), self.range.end.as_millis());
        let mut walk = Walk::default();
        let mut is_past = false;
        for stretch in 0..self.stretches.len() {
            let stretch = self.stretches[stretch];
            let place = stretch.source;
            // One row after the range decides what has ended within it.
            let is_later = stretch.start > end;
            if is_later && (is_past || !walk.is_alive()) {
                break;
            }
            let begin = into.len();
            let ended = |at: i64, into: &mut Vec<Point>| {
                if (start..=end).contains(&at) {
                    into.push(Point { at: Timestamp::from_millis(at), value: STALE });
                }
            };
            for clock in self.sources[place].clocks_of(lane) {
                let entry = self.sources[place].entry(number, clock);
                if entry.is_none() && !walk.is_alive() {
                    is_past |= is_later;
                    continue;
                }
                let Some(clock) = self.clock(place, clock) else { continue };
                let rows = clock.rows_within(stretch.start, stretch.end);
                is_past |= is_later && !rows.is_empty();
                let runs = entry.map_or(&[][..], |entry| self.runs(place, entry));
                walk.through(&clock, runs, rows, |at| ended(at, into));
                if let Some(entry) = entry.filter(|_| stretch.is_first) {
                    self.values(place, entry, &clock, into);
                }
            }
            in_order(into, begin);
        }
        if let Some(now) = self.now {
            walk.until(now.as_millis(), |at| {
                if (start..=end).contains(&at) {
                    into.push(Point { at: Timestamp::from_millis(at), value: STALE });
                }
            });
        }
    }

    /// The clock of a source, read once.
    fn clock(&mut self, place: usize, clock: u32) -> Option<Arc<Clock>> {
        let source = &self.sources[place];
        let read = match (&source.clocks[clock as usize], &source.columns) {
            (Known::Clock(known), _) => return Some(Arc::clone(known)),
            (Known::Damaged, _) => return None,
            (Known::NotYet, Columns::Block(block)) => block.clock(clock),
            (Known::NotYet, Columns::Sealed(sealed)) => {
                Ok(sealed.window.clocks[clock as usize].clone())
            }
            (Known::NotYet, Columns::Copied(window)) => Ok(window.clocks[clock as usize].clone()),
        };
        let known = match read {
            Ok(clock) => Known::Clock(Arc::new(clock)),
            Err(error) => {
                self.shared.count_damage();
                self.damage.push(error);
                Known::Damaged
            }
        };
        self.sources[place].clocks[clock as usize] = known.clone();
        match known {
            Known::Clock(clock) => Some(clock),
            Known::NotYet | Known::Damaged => None,
        }
    }

    fn runs(&self, place: usize, entry: usize) -> &Runs {
        match &self.sources[place].columns {
            Columns::Block(block) => &block.series[entry].runs,
            Columns::Sealed(sealed) => sealed.window.columns[entry].runs(),
            Columns::Copied(window) => window.columns[entry].runs(),
        }
    }

    fn values(&mut self, place: usize, entry: usize, clock: &Clock, into: &mut Vec<Point>) {
        let (start, end) = (self.range.start.as_millis(), self.range.end.as_millis());
        let rows = clock.rows_within(start, end);
        let result = match &self.sources[place].columns {
            Columns::Block(block) => from_block(block, &block.series[entry], clock, rows, into),
            Columns::Sealed(sealed) => {
                from_column(&sealed.window.columns[entry], clock, rows, into);
                Vec::new()
            }
            Columns::Copied(window) => {
                from_column(&window.columns[entry], clock, rows, into);
                Vec::new()
            }
        };
        for error in result {
            self.shared.count_damage();
            self.damage.push(error);
        }
    }
}

impl Source {
    fn new(start: i64, columns: Columns) -> Source {
        let clocks = match &columns {
            Columns::Block(block) => block.clocks.len(),
            Columns::Sealed(sealed) => sealed.window.clocks.len(),
            Columns::Copied(window) => window.clocks.len(),
        };
        Source { start, columns, clocks: vec![Known::NotYet; clocks] }
    }

    fn stretches(&self, source: usize) -> Vec<Stretch> {
        let whole = Stretch { source, start: self.start, end: i64::MAX, is_first: true };
        let Columns::Block(block) = &self.columns else { return vec![whole] };
        if !block.name.kind.is_derived() || block.windows.len() < 2 {
            return vec![whole];
        }
        let stretch = |(place, (first, count)): (usize, &(i64, u32))| Stretch {
            source,
            start: first.saturating_mul(WINDOW_MILLIS),
            end: first
                .saturating_add(i64::from(*count))
                .saturating_mul(WINDOW_MILLIS)
                .saturating_sub(1),
            is_first: place == 0,
        };
        block.windows.iter().enumerate().map(stretch).collect()
    }

    fn window(&self) -> Option<&Window> {
        match &self.columns {
            Columns::Block(_) => None,
            Columns::Sealed(sealed) => Some(&sealed.window),
            Columns::Copied(window) => Some(window),
        }
    }

    fn has(&self, number: u32) -> bool {
        match &self.columns {
            Columns::Block(block) => !block.of_series(number).is_empty(),
            Columns::Sealed(_) | Columns::Copied(_) => {
                self.window().is_some_and(|window| window.of_series(number).next().is_some())
            }
        }
    }

    fn clock_key(&self, clock: u32) -> &Text {
        match &self.columns {
            Columns::Block(block) => block.clocks[clock as usize].key(),
            Columns::Sealed(sealed) => &sealed.window.clocks[clock as usize].key,
            Columns::Copied(window) => &window.clocks[clock as usize].key,
        }
    }

    /// The lanes in whose rows the series is.
    fn clock_keys_of(&self, number: u32) -> Vec<Text> {
        let clocks: Vec<u32> = match &self.columns {
            Columns::Block(block) => {
                block.of_series(number).iter().map(|series| series.clock).collect()
            }
            Columns::Sealed(_) | Columns::Copied(_) => self
                .window()
                .into_iter()
                .flat_map(|window| window.of_series(number))
                .map(|column| column.clock)
                .collect(),
        };
        clocks.into_iter().map(|clock| self.clock_key(clock).clone()).collect()
    }

    /// The clocks of a lane: at most one, but for imported blocks.
    fn clocks_of(&self, lane: &Text) -> Vec<u32> {
        let clocks = 0..self.clocks.len() as u32;
        clocks.filter(|clock| self.clock_key(*clock) == lane).collect()
    }

    /// Where the series' column in these rows stands.
    fn entry(&self, number: u32, clock: u32) -> Option<usize> {
        match &self.columns {
            Columns::Block(block) => {
                let wanted = (number, clock);
                block.series.binary_search_by_key(&wanted, |s| (s.number, s.clock)).ok()
            }
            Columns::Sealed(_) | Columns::Copied(_) => {
                self.window()?.column(number, clock).map(|place| place as usize)
            }
        }
    }
}

/// Sorts what was added from `begin` on; of two points at one time the first stays, and a sample
/// rather than a marker.
fn in_order(points: &mut Vec<Point>, begin: usize) {
    if points[begin..].is_sorted_by(|a, b| a.at < b.at) {
        return;
    }
    points[begin..].sort_by_key(|point| (point.at, is_stale(point.value)));
    let mut last = None;
    let mut place = 0;
    points.retain(|point| {
        place += 1;
        place <= begin || last.replace(point.at) != Some(point.at)
    });
}

fn from_column(column: &Column, clock: &Clock, rows: std::ops::Range<u32>, into: &mut Vec<Point>) {
    let first = values_before(column.runs(), rows.start) as usize;
    for (place, row) in (first..).zip(rows_of(column.runs(), rows)) {
        let at = Timestamp::from_millis(clock.times[row as usize]);
        into.push(Point { at, value: column.values.get(place) });
    }
}

/// Decodes the chunks that have values in these rows, and no others.
fn from_block(
    block: &Block,
    series: &BlockSeries,
    clock: &Clock,
    rows: std::ops::Range<u32>,
    into: &mut Vec<Point>,
) -> Vec<StoreError> {
    let mut damage = Vec::new();
    let mut wanted = values_before(&series.runs, rows.start);
    let mut rows = rows_of(&series.runs, rows).peekable();
    let mut chunk_start = 0;
    for chunk in &series.chunks {
        if rows.peek().is_none() {
            break;
        }
        let chunk_end = chunk_start + u64::from(chunk.count());
        if chunk_end > wanted {
            let skipped = (wanted - chunk_start) as usize;
            let left = (chunk_end - wanted) as usize;
            let rows = rows.by_ref().take(left);
            wanted = chunk_end;
            match values(block, chunk) {
                Ok(Read::Each(values)) => {
                    let at = |row: u32| Timestamp::from_millis(clock.times[row as usize]);
                    let points = rows.zip(&values[skipped..]);
                    into.extend(points.map(|(row, value)| Point { at: at(row), value: *value }));
                }
                Ok(Read::Same(value)) => {
                    let at = |row: u32| Timestamp::from_millis(clock.times[row as usize]);
                    into.extend(rows.map(|row| Point { at: at(row), value }));
                }
                Err(error) => {
                    rows.for_each(drop);
                    damage.push(error);
                }
            }
        }
        chunk_start = chunk_end;
    }
    damage
}

enum Read<'a> {
    Same(f64),
    Each(Cow<'a, [f64]>),
}

fn values<'a>(block: &'a Block, chunk: &ChunkRef) -> Result<Read<'a>, StoreError> {
    match chunk {
        ChunkRef::Constant { value, .. } => Ok(Read::Same(*value)),
        ChunkRef::Packed { .. } => block.values(chunk).map(Read::Each),
    }
}

/// The rows of these runs that are within `rows`.
fn rows_of(runs: &Runs, rows: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
    runs.iter()
        .flat_map(move |(first, count)| (*first).max(rows.start)..(first + count).min(rows.end))
}
