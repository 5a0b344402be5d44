//! A block's index: which windows, clocks and series it holds, and where their chunks stand.

use std::{collections::HashMap, ops::Range};

use farol_model::{Labels, Position, Stream, Text};

use super::Kind;
use crate::{
    SeriesKey,
    bytes::{Put, Take, Taken},
    clock::Clock,
    column,
};

#[derive(Debug)]
pub(crate) struct Index {
    pub kind: Kind,
    /// The windows whose derived samples it holds: runs of (first, how many).
    pub windows: Vec<(i64, u32)>,
    /// Where the journal had to be read again from when the newest of them was written.
    pub replay_from: Option<Position>,
    pub clocks: Vec<ClockEntry>,
    pub series: Vec<IndexedSeries>,
}

#[derive(Clone, Debug)]
pub(crate) struct ClockEntry {
    /// Without its times.
    clock: Clock,
    pub rows: u32,
    pub first: i64,
    pub last: i64,
    pub times: Times,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    Regular { step: i64 },
    Chunk { offset: u64, len: u32 },
}

#[derive(Debug)]
pub(crate) struct IndexedSeries {
    pub key: SeriesKey,
    pub clock: u32,
    pub runs: Vec<(u32, u32)>,
    pub chunks: Vec<ChunkRef>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ChunkRef {
    Constant { value: f64, count: u32 },
    Packed { offset: u64, len: u32, count: u32 },
}

impl ChunkRef {
    pub(crate) fn count(&self) -> u32 {
        match self {
            ChunkRef::Constant { count, .. } | ChunkRef::Packed { count, .. } => *count,
        }
    }
}

impl ClockEntry {
    pub(crate) fn new(clock: &Clock, times: Times) -> ClockEntry {
        let (rows, first) = (clock.rows(), clock.times[0]);
        let last = *clock.times.last().expect("a clock in a block has a row");
        let clock = Clock { times: Vec::new(), ..clock.clone() };
        ClockEntry { clock, rows, first, last, times }
    }

    pub(crate) fn with_times(&self, times: Vec<i64>) -> Clock {
        Clock { times, ..self.clock.clone() }
    }

    pub(crate) fn key(&self) -> &Text {
        &self.clock.key
    }

    /// How long after the last row its series may end.
    pub(crate) fn longest_patience(&self) -> i64 {
        self.clock.longest_patience()
    }
}

/// Rows at equal distances take no bytes in the file, so nothing else bounds what they take in memory.
/// A day at the shortest interval has fewer.
pub(crate) const MOST_ROWS: u32 = 1 << 20;

/// How the index says which rows a series is in.
const EVERY_ROW: u64 = 0;

impl Index {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut texts = Texts::default();
        let mut body = Vec::new();
        body.put(self.kind as u64);
        body.put(self.windows.len() as u64);
        for (first, count) in &self.windows {
            body.put_signed(*first);
            body.put(u64::from(*count));
        }
        write_position(self.replay_from, &mut body);
        body.put(self.clocks.len() as u64);
        for clock in &self.clocks {
            write_clock(clock, &mut texts, &mut body);
        }
        body.put(self.series.len() as u64);
        for series in &self.series {
            let rows = self.clocks[series.clock as usize].rows;
            write_series(series, rows, &mut texts, &mut body);
        }
        let mut bytes = texts.write();
        bytes.append(&mut body);
        bytes
    }

    /// `chunks` is where in the file chunks can stand.
    pub(crate) fn read(bytes: &[u8], chunks: Range<u64>) -> Taken<Index> {
        let mut take = Take::new(bytes);
        let texts = read_texts(&mut take)?;
        let kind = kind(take.number()?)?;
        let windows = read_windows(&mut take)?;
        let replay_from = read_position(&mut take)?;
        let mut at = chunks.start;
        let mut clocks = Vec::new();
        for _ in 0..take.count()? {
            clocks.push(read_clock(&mut take, &texts, &mut at)?);
        }
        let mut series = Vec::new();
        for _ in 0..take.count()? {
            series.push(read_series(&mut take, &texts, &clocks, &mut at)?);
        }
        if !take.is_empty() || at != chunks.end {
            return Err("its index does not fit the file");
        }
        Ok(Index { kind, windows, replay_from, clocks, series })
    }
}

/// The most windows of one block, far more than a day has.
const MOST_WINDOWS: u64 = 10_000;

fn read_windows(take: &mut Take<'_>) -> Taken<Vec<(i64, u32)>> {
    let mut windows = Vec::new();
    let mut all = 0;
    for _ in 0..take.count()? {
        let (first, count) = (take.signed()?, take.small()?);
        all += u64::from(count);
        if all > MOST_WINDOWS {
            return Err("a block with too many windows");
        }
        windows.push((first, count));
    }
    Ok(windows)
}

fn kind(number: u64) -> Taken<Kind> {
    Kind::ALL.into_iter().find(|kind| *kind as u64 == number).ok_or("a kind of block unknown here")
}

/// Every text once, the rest by number.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Text, u64>,
    list: Vec<Text>,
}

impl Texts {
    fn number(&mut self, text: &Text) -> u64 {
        if let Some(number) = self.numbers.get(text.as_str()) {
            return *number;
        }
        let number = self.list.len() as u64;
        self.numbers.insert(text.clone(), number);
        self.list.push(text.clone());
        number
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put(self.list.len() as u64);
        for text in &self.list {
            bytes.put_text(text);
        }
        bytes
    }
}

fn read_texts(take: &mut Take<'_>) -> Taken<Vec<Text>> {
    (0..take.count()?).map(|_| Ok(Text::from(take.text()?))).collect()
}

fn text(take: &mut Take<'_>, texts: &[Text]) -> Taken<Text> {
    let number = usize::try_from(take.number()?).unwrap_or(usize::MAX);
    texts.get(number).cloned().ok_or("a text that the index does not have")
}

fn write_position(position: Option<Position>, body: &mut Vec<u8>) {
    let Some(position) = position else { return body.put(0) };
    let stream = Stream::ALL.iter().position(|stream| *stream == position.stream);
    body.put(1 + stream.expect("all streams are in the list") as u64);
    body.put(position.segment);
    body.put(position.offset);
}

fn read_position(take: &mut Take<'_>) -> Taken<Option<Position>> {
    let number = usize::try_from(take.number()?).unwrap_or(usize::MAX);
    let Some(place) = number.checked_sub(1) else { return Ok(None) };
    let stream = *Stream::ALL.get(place).ok_or("a stream that this version does not know")?;
    Ok(Some(Position { stream, segment: take.number()?, offset: take.number()? }))
}

fn write_clock(entry: &ClockEntry, texts: &mut Texts, body: &mut Vec<u8>) {
    let clock = &entry.clock;
    body.put(texts.number(&clock.key));
    body.put(u64::from(clock.ends));
    body.put(u64::from(entry.rows));
    body.put_signed(entry.first);
    body.put_signed(entry.last);
    match entry.times {
        Times::Regular { .. } => body.put(0),
        Times::Chunk { len, .. } => body.put(u64::from(len)),
    }
    body.put(clock.intervals.len() as u64);
    for (row, interval) in &clock.intervals {
        body.put(u64::from(*row));
        body.put_signed(*interval);
    }
    body.put(clock.partial.len() as u64);
    for row in &clock.partial {
        body.put(u64::from(*row));
    }
}

fn read_clock(take: &mut Take<'_>, texts: &[Text], at: &mut u64) -> Taken<ClockEntry> {
    let key = text(take, texts)?;
    let ends = take.number()? != 0;
    let rows = take.small()?;
    let (first, last) = (take.signed()?, take.signed()?);
    let span = last.checked_sub(first).ok_or("a clock that spans all of time")?;
    let times = match take.small()? {
        0 if rows == 1 && span == 0 => Times::Regular { step: 0 },
        0 => Times::Regular { step: regular_step(rows, span).ok_or("a clock with no step")? },
        len => {
            let offset = *at;
            *at = at.saturating_add(u64::from(len));
            Times::Chunk { offset, len }
        }
    };
    if rows == 0 || rows > MOST_ROWS {
        return Err("a clock without a row, or with too many");
    }
    let mut clock = Clock::new(key, ends);
    for _ in 0..take.count()? {
        clock.intervals.push((take.small()?, take.signed()?));
    }
    for _ in 0..take.count()? {
        clock.partial.push(take.small()?);
    }
    let intervals_rise = clock.intervals.is_sorted_by(|a, b| a.0 < b.0);
    let partial_rises = clock.partial.is_sorted_by(|a, b| a < b);
    let is_within = |row: Option<&u32>| row.is_none_or(|row| *row < rows);
    let last_interval = clock.intervals.last().map(|(row, _)| row);
    if !is_within(last_interval) || !is_within(clock.partial.last()) {
        return Err("a clock that speaks of rows it does not have");
    }
    if !intervals_rise || !partial_rises || clock.intervals.iter().any(|(_, ms)| *ms < 0) {
        return Err("a clock whose rows do not rise");
    }
    Ok(ClockEntry { clock, rows, first, last, times })
}

/// The step of rows at equal distances.
pub(super) fn regular_step(rows: u32, span: i64) -> Option<i64> {
    let steps = i64::from(rows.checked_sub(1)?);
    (steps > 0 && span > 0 && span % steps == 0).then(|| span / steps)
}

fn write_series(series: &IndexedSeries, rows: u32, texts: &mut Texts, body: &mut Vec<u8>) {
    body.put(texts.number(&series.key.name));
    body.put(series.key.labels.len() as u64);
    for (name, value) in series.key.labels.iter() {
        body.put(texts.number(name));
        body.put(texts.number(value));
    }
    body.put(u64::from(series.clock));
    if series.runs == [(0, rows)] {
        body.put(EVERY_ROW);
    } else {
        body.put(series.runs.len() as u64);
        let mut end = 0;
        for (first, count) in &series.runs {
            body.put(u64::from(first - end));
            body.put(u64::from(*count));
            end = first + count;
        }
    }
    body.put(series.chunks.len() as u64);
    for chunk in &series.chunks {
        body.put(u64::from(chunk.count()));
        match chunk {
            ChunkRef::Packed { len, .. } => body.put(u64::from(*len)),
            ChunkRef::Constant { value, .. } => {
                body.put(0);
                body.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
}

fn read_series(
    take: &mut Take<'_>,
    texts: &[Text],
    clocks: &[ClockEntry],
    at: &mut u64,
) -> Taken<IndexedSeries> {
    let name = text(take, texts)?;
    let mut labels = Vec::new();
    for _ in 0..take.count()? {
        labels.push((text(take, texts)?, text(take, texts)?));
    }
    let key = SeriesKey { name, labels: Labels::new(labels) };
    let clock = take.small()?;
    let entry = clocks.get(clock as usize).ok_or("a series of a clock that is not there")?;
    let runs = read_runs(take, entry.rows)?;
    let values: u64 = runs.iter().map(|(_, count)| u64::from(*count)).sum();
    let mut chunks = Vec::new();
    let mut counted = 0;
    for _ in 0..take.count()? {
        let chunk = read_chunk(take, at)?;
        counted += u64::from(chunk.count());
        chunks.push(chunk);
    }
    if counted != values {
        return Err("a series whose values are not as many as its rows");
    }
    Ok(IndexedSeries { key, clock, runs, chunks })
}

fn read_runs(take: &mut Take<'_>, rows: u32) -> Taken<Vec<(u32, u32)>> {
    let count = take.count()?;
    if count as u64 == EVERY_ROW {
        return Ok(vec![(0, rows)]);
    }
    let mut runs = Vec::with_capacity(count);
    let mut end = 0_u32;
    for _ in 0..count {
        const BEYOND: &str = "a series with rows beyond its clock's";
        let first = end.checked_add(take.small()?).ok_or(BEYOND)?;
        let length = take.small()?;
        end = first.checked_add(length).filter(|end| *end <= rows && length > 0).ok_or(BEYOND)?;
        runs.push((first, length));
    }
    Ok(runs)
}

fn read_chunk(take: &mut Take<'_>, at: &mut u64) -> Taken<ChunkRef> {
    let count = take.small()?;
    let len = take.small()?;
    if len == 0 {
        return Ok(ChunkRef::Constant { value: take.float()?, count });
    }
    // What one chunk makes a reader ask memory for is bounded.
    if count == 0 || count as usize > column::MOST_VALUES {
        return Err("a chunk with too many values");
    }
    let offset = *at;
    *at = at.saturating_add(u64::from(len));
    Ok(ChunkRef::Packed { offset, len, count })
}

/// Adds a run, which begins where the last one ends or later.
pub(crate) fn push_run(runs: &mut Vec<(u32, u32)>, first: u32, count: u32) {
    match runs.last_mut() {
        Some((held, length)) if *held + *length == first => *length += count,
        _ => runs.push((first, count)),
    }
}
