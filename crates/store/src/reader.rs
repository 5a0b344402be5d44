//! Questions to the store: which series there are, and their samples in a range of time.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    ops::Range as Rows,
    sync::Arc,
};

use farol_model::{STALE, Text, Timestamp};

use crate::{
    Matcher, SeriesKey, StoreError, Tier,
    block::{Block, BlockSeries, ChunkRef},
    clock::{Clock, Runs, Walk},
    head::{Column, Values, WINDOW_MILLIS, Window},
    received::{Points, preferred},
    shared::{Sealed, Shared, View},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}

/// Points as two columns of the same length: times in milliseconds, and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    pub times: Vec<i64>,
    pub values: Vec<f64>,
    /// Something was added that is not later than what was there.
    is_mixed: bool,
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
    pub(crate) shared: Arc<Shared>,
    pub(crate) tier: Option<Tier>,
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
    /// What of a series was received and is in no block yet.
    pooled: HashMap<u32, Vec<Arc<Points>>>,
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

/// A clock, and what all its series would otherwise find out again.
#[derive(Debug)]
struct ReadClock {
    rows: Clock,
    late: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Known {
    NotYet,
    Clock(Arc<ReadClock>),
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

    /// When the oldest sample of the lanes was taken, or where they have none the oldest of all; of a
    /// tier, the time of its oldest figures. What was received or imported may be older: it is no
    /// sign that everything of its time is there.
    pub fn oldest(&self) -> Option<Timestamp> {
        let start_of = |view: &View| {
            let lanes = view.blocks.iter().filter(|block| block.name.kind.is_derived());
            let windows = view.windows().filter_map(|window| window.span());
            let of_lanes =
                lanes.map(|block| block.start).chain(windows.map(|(start, _)| start)).min();
            let pools = view.pools().flat_map(|pool| pool.spans());
            let others = view.blocks.iter().map(|block| block.start);
            of_lanes.or_else(|| others.chain(pools.map(|(start, _)| start)).min())
        };
        let oldest = match self.tier {
            Some(tier) => start_of(&self.shared.tier(tier)),
            None => start_of(&self.shared.view()),
        };
        oldest.map(Timestamp::from_millis)
    }

    /// The series that match and may have samples in the range. With `now`, a series whose clock
    /// has fallen silent for more than three intervals ends there.
    pub fn select(&self, matchers: &[Matcher], range: Range, now: Option<Timestamp>) -> Selection {
        let Some(tier) = self.tier else {
            return self.select_in(&self.shared.view(), matchers, range, now);
        };
        let mut damage = Vec::new();
        let days = self.shared.days_of(tier, range, &mut damage);
        let mut selection = self.select_in(&days, matchers, range, now);
        selection.damage = damage;
        selection
    }

    fn select_in(
        &self,
        view: &View,
        matchers: &[Matcher],
        range: Range,
        now: Option<Timestamp>,
    ) -> Selection {
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
        let mut pooled: HashMap<u32, Vec<Arc<Points>>> = HashMap::new();
        for pool in view.pools() {
            for number in &numbers {
                if let Some(points) = pool.points(*number).filter(|points| points.touches(range)) {
                    pooled.entry(*number).or_default().push(Arc::clone(points));
                }
            }
        }
        numbers.retain(|number| {
            pooled.contains_key(number) || within.iter().any(|source| source.has(*number))
        });
        let mut keyed: Vec<(SeriesKey, u32)> = numbers
            .iter()
            .filter_map(|number| Some((SeriesKey::clone(view.table.key(*number)?), *number)))
            .collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        let (keys, numbers) = keyed.into_iter().unzip();
        let mut stretches: Vec<Stretch> =
            (0..).zip(&sources).flat_map(|(place, source)| source.stretches(place)).collect();
        stretches.sort_by_key(|stretch| stretch.start);
        let shared = Arc::clone(&self.shared);
        let damage = Vec::new();
        Selection { shared, range, now, keys, numbers, sources, stretches, damage, pooled }
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
        let mut samples = Samples::default();
        self.columns(index, &mut samples);
        into.extend(samples.points());
    }

    /// The same as columns, in place of what they held.
    pub fn columns(&mut self, index: usize, into: &mut Samples) {
        into.clear();
        for lane in self.lanes(index) {
            self.lane(index, &lane, into, None);
        }
        self.add_pooled(index, into);
        into.put_in_order();
    }

    /// The same in pieces of so many points at least, one after the other in time: of a year at a
    /// second, memory holds a block.
    pub fn pieces(&mut self, index: usize, at_least: usize, mut each: impl FnMut(&[Point])) {
        let mut pieces = Pieces { at_least, points: Vec::new(), each: &mut each };
        let mut samples = Samples::default();
        let lanes: Vec<Text> = self.lanes(index).into_iter().collect();
        match &lanes[..] {
            [lane] => {
                // All that is not in the order of its blocks, and fits in memory as it is.
                self.add_pooled(index, &mut samples);
                self.lane(index, lane, &mut samples, Some(&mut pieces));
            }
            // Lanes interleave. A series is in several for a short time at most, when it changes over.
            _ => self.columns(index, &mut samples),
        }
        samples.put_in_order();
        if !samples.times.is_empty() {
            let points: Vec<Point> = samples.points().collect();
            each(&points);
        }
    }

    fn add_pooled(&self, index: usize, into: &mut Samples) {
        for points in self.pooled.get(&self.numbers[index]).into_iter().flatten() {
            points.within(self.range, |at, value| into.push(at, value));
        }
    }

    /// The lanes in whose rows the series is: nearly always one.
    fn lanes(&self, index: usize) -> BTreeSet<Text> {
        let number = self.numbers[index];
        self.sources.iter().flat_map(|source| source.clock_keys_of(number)).collect()
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &[StoreError] {
        &self.damage
    }

    /// The samples of one series in one lane's rows. With `pieces`, what nothing can come before any
    /// more is handed over and not kept.
    fn lane(
        &mut self,
        index: usize,
        lane: &Text,
        into: &mut Samples,
        mut pieces: Option<&mut Pieces<'_>>,
    ) {
        let number = self.numbers[index];
        let (start, end) = (self.range.start.as_millis(), self.range.end.as_millis());
        let mut walk = Walk::default();
        let mut is_past = false;
        for step in 0..self.stretches.len() {
            let stretch = self.stretches[step];
            let place = stretch.source;
            // One row after the range decides what has ended within it.
            let is_later = stretch.start > end;
            if is_later && (is_past || !walk.is_alive()) {
                break;
            }
            let ended = |at: i64, into: &mut Samples| {
                if (start..=end).contains(&at) {
                    into.push(at, STALE);
                }
            };
            for clock in self.sources[place].clocks_of(lane, number) {
                let entry = self.sources[place].entry(number, clock);
                if entry.is_none() && !walk.is_alive() {
                    is_past |= is_later;
                    continue;
                }
                let Some(clock) = self.clock(place, clock) else { continue };
                let rows = clock.rows.rows_within(stretch.start, stretch.end);
                is_past |= is_later && !rows.is_empty();
                let runs = entry.map_or(&[][..], |entry| self.runs(place, entry));
                walk.through(&clock.rows, &clock.late, runs, rows, |at| ended(at, into));
                if let Some(entry) = entry.filter(|_| stretch.is_first) {
                    self.values(place, entry, &clock.rows, into);
                }
            }
            // With one series its times are needed once.
            if self.keys.len() == 1 {
                self.sources[place].clocks.fill(Known::NotYet);
            }
            // A later stretch's rows are later, and so is an end that they bring to light.
            if let (Some(pieces), Some(next)) = (&mut pieces, self.stretches.get(step + 1)) {
                pieces.hand_over(into, next.start);
            }
        }
        if let Some(now) = self.now {
            walk.until(now.as_millis(), |at| {
                if (start..=end).contains(&at) {
                    into.push(at, STALE);
                }
            });
        }
    }

    /// The clock of a source, read once.
    fn clock(&mut self, place: usize, clock: u32) -> Option<Arc<ReadClock>> {
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
            Ok(rows) => Known::Clock(Arc::new(ReadClock { late: rows.late_rows(), rows })),
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

    fn values(&mut self, place: usize, entry: usize, clock: &Clock, into: &mut Samples) {
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

    /// The clocks of a lane: at most one, but where samples came from elsewhere. Those may be many,
    /// of which only the series' own say something about it.
    fn clocks_of(&self, lane: &Text, number: u32) -> Vec<u32> {
        if let Columns::Block(block) = &self.columns
            && !block.name.kind.is_derived()
        {
            let own = block.of_series(number).iter().map(|series| series.clock);
            return own.filter(|clock| self.clock_key(*clock) == lane).collect();
        }
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

/// Where points go that are complete.
struct Pieces<'a> {
    at_least: usize,
    /// Scratch.
    points: Vec<Point>,
    each: &'a mut dyn FnMut(&[Point]),
}

impl Pieces<'_> {
    /// Hands over the samples before this time, if they are enough.
    fn hand_over(&mut self, samples: &mut Samples, before: i64) {
        if samples.times.len() < self.at_least {
            return;
        }
        samples.put_in_order();
        let ready = samples.times.partition_point(|time| *time < before);
        if ready >= self.at_least {
            self.points.clear();
            self.points.extend(samples.points().take(ready));
            (self.each)(&self.points);
            samples.times.drain(..ready);
            samples.values.drain(..ready);
        }
    }
}

impl Samples {
    pub fn points(&self) -> impl Iterator<Item = Point> {
        self.times
            .iter()
            .zip(&self.values)
            .map(|(time, value)| Point { at: Timestamp::from_millis(*time), value: *value })
    }

    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.is_mixed = false;
    }

    fn push(&mut self, at: i64, value: f64) {
        self.note_order(Some(&at));
        self.times.push(at);
        self.values.push(value);
    }

    fn note_order(&mut self, next: Option<&i64>) {
        let is_later = next.is_none() || self.times.last().is_none_or(|last| Some(last) < next);
        self.is_mixed |= !is_later;
    }

    /// Of two samples at one time one stays, whatever their order.
    fn put_in_order(&mut self) {
        if !self.is_mixed {
            return;
        }
        let mut points: Vec<Point> = self.points().collect();
        points.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| preferred(b.value, a.value)));
        points.dedup_by_key(|point| point.at);
        self.clear();
        for point in points {
            self.push(point.at.as_millis(), point.value);
        }
    }
}

fn from_column(column: &Column, clock: &Clock, rows: Rows<u32>, into: &mut Samples) {
    for part in parts(column.runs(), rows) {
        match &column.values {
            Values::Same { value, .. } => add_same(into, part.times(clock), *value),
            Values::Each(values) => add(into, part.times(clock), &values[part.first_value..]),
        }
    }
}

/// Decodes the chunks that have values in these rows, and no others.
fn from_block(
    block: &Block,
    series: &BlockSeries,
    clock: &Clock,
    rows: Rows<u32>,
    into: &mut Samples,
) -> Vec<StoreError> {
    let mut damage = Vec::new();
    let mut parts = parts(&series.runs, rows);
    let mut next = 0;
    let mut start = 0;
    for chunk in &series.chunks {
        let end = start + chunk.count() as usize;
        let Some(part) = parts.get(next) else { break };
        if part.first_value < end {
            let values = match chunk {
                ChunkRef::Constant { .. } => Ok(Cow::default()),
                ChunkRef::Packed { .. } => block.values(chunk),
            };
            while let Some(part) = parts.get_mut(next).filter(|part| part.first_value < end) {
                let here = part.take_before(end);
                match (&values, chunk) {
                    (Ok(_), ChunkRef::Constant { value, .. }) => {
                        add_same(into, here.times(clock), *value);
                    }
                    (Ok(values), ChunkRef::Packed { .. }) => {
                        add(into, here.times(clock), &values[here.first_value - start..]);
                    }
                    (Err(_), _) => {}
                }
                next += usize::from(part.count == 0);
            }
            damage.extend(values.err());
        }
        start = end;
    }
    damage
}

/// Rows that a series is in one after the other, and where among its values theirs begin.
struct Part {
    first_row: usize,
    first_value: usize,
    count: usize,
}

/// What a series has of these rows.
fn parts(runs: &Runs, rows: Rows<u32>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut before = 0;
    for (first, count) in runs {
        let start = rows.start.max(*first);
        let end = rows.end.min(first.saturating_add(*count));
        if start < end {
            parts.push(Part {
                first_row: start as usize,
                first_value: before + (start - first) as usize,
                count: (end - start) as usize,
            });
        }
        before += *count as usize;
    }
    parts
}

impl Part {
    /// What is before this value; the rest is left. It begins before it.
    fn take_before(&mut self, value: usize) -> Part {
        let count = self.count.min(value - self.first_value);
        let taken = Part { count, ..*self };
        *self = Part {
            first_row: self.first_row + count,
            first_value: self.first_value + count,
            count: self.count - count,
        };
        taken
    }

    fn times<'a>(&self, clock: &'a Clock) -> &'a [i64] {
        &clock.times[self.first_row..self.first_row + self.count]
    }
}

/// A clock's times rise; `values` may hold more than these times have.
fn add(into: &mut Samples, times: &[i64], values: &[f64]) {
    let count = times.len().min(values.len());
    into.note_order(times.first());
    into.times.extend_from_slice(&times[..count]);
    into.values.extend_from_slice(&values[..count]);
}

fn add_same(into: &mut Samples, times: &[i64], value: f64) {
    into.note_order(times.first());
    into.times.extend_from_slice(times);
    into.values.resize(into.times.len(), value);
}
