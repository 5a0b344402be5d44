//! Several blocks become one: those of a slot of 2 h, those of a day, and imported ones of a day.
//!
//! Series by series, so that memory holds one series at a time. Chunks that are large enough are
//! copied as they are; smaller ones are packed anew, because long chunks pack best.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use farol_model::Position;

use crate::{
    Report, SeriesKey, StoreError,
    block::{self, Block, BlockSeries, ChunkRef, Kind, Name, Writer, push_run},
    clock::Clock,
    column::MOST_VALUES,
    head::WINDOW_MILLIS,
    received, retain,
    shared::{Shared, View},
};

const SLOT_WINDOWS: i64 = 8;
const DAY_WINDOWS: i64 = 96;
/// A day that is still being received has so many blocks at most.
const MOST_PARTS: usize = 8;
/// What a merged block may have more than its parts: an unlucky chunk, a longer index.
const SLACK: u64 = 64 << 10;

/// Everything that is complete. A merge that fails is tried again in the next round.
pub(crate) fn merge_all(shared: &Shared, report: &mut Report) {
    for kind in [Kind::Slot, Kind::Day, Kind::Import, Kind::Received] {
        let groups = groups(&shared.view(), kind);
        for (start, blocks) in groups {
            match merge(shared, kind, start, &blocks, report) {
                Ok(Some(name)) => report.merged.push(name.file()),
                Ok(None) => {}
                Err(error) => {
                    if matches!(error, StoreError::Damaged { .. }) {
                        shared.count_damage();
                    }
                    report.errors.push(error);
                }
            }
        }
    }
}

/// The blocks that belong together, by the second at which their slot starts.
fn groups(view: &View, kind: Kind) -> Vec<(i64, Vec<Arc<Block>>)> {
    let windows = if kind == Kind::Slot { SLOT_WINDOWS } else { DAY_WINDOWS };
    let millis = windows * WINDOW_MILLIS;
    let slot = |at: i64| at.div_euclid(millis);
    let open: BTreeSet<i64> =
        view.windows().map(|window| window.number.div_euclid(windows)).collect();
    let belongs = |block: &&Arc<Block>| {
        let is_part = match kind {
            Kind::Import | Kind::Received => block.name.kind == kind,
            _ => block.name.kind <= kind,
        };
        is_part && !block.is_damaged() && slot(block.start) == slot(block.end)
    };
    // One that has windows on both sides of another's, after a clock was set back, stays apart from it.
    let is_after = |blocks: &[Arc<Block>], block: &Block| {
        !kind.is_derived() || blocks.last().is_none_or(|last| last.end < block.start)
    };
    let mut groups: Vec<(i64, Vec<Arc<Block>>)> = Vec::new();
    let mut candidates: Vec<&Arc<Block>> = view.blocks.iter().filter(belongs).collect();
    candidates.sort_by_key(|block| (slot(block.start), block.start));
    for block in candidates {
        let start = slot(block.start).saturating_mul(millis / 1000);
        match groups.last_mut() {
            Some((held, blocks)) if *held == start => {
                if is_after(blocks, block) {
                    blocks.push(Arc::clone(block));
                }
            }
            _ => groups.push((start, vec![Arc::clone(block)])),
        }
    }
    let is_over = |start: i64, blocks: &[Arc<Block>]| {
        let slot_of_group = slot(start.saturating_mul(1000));
        match kind {
            // Of imported data nothing more is awaited.
            Kind::Import => true,
            Kind::Received => {
                let is_past = newest_received(view).is_some_and(|at| slot_of_group < slot(at));
                (is_past || blocks.len() >= MOST_PARTS) && received::can_merge(blocks)
            }
            // Over once the writer is in another.
            _ => !open.is_empty() && !open.contains(&slot_of_group),
        }
    };
    groups.retain(|(start, blocks)| blocks.len() > 1 && is_over(*start, blocks));
    groups
}

/// The time of the newest sample that was received.
fn newest_received(view: &View) -> Option<i64> {
    let received = view.blocks.iter().filter(|block| block.name.kind == Kind::Received);
    let pooled = view.received_pools().flat_map(|pool| pool.spans());
    received.map(|block| block.end).chain(pooled.map(|(_, end)| end)).max()
}

/// None when there is no room for it: the parts serve as well.
fn merge(
    shared: &Shared,
    kind: Kind,
    start: i64,
    blocks: &[Arc<Block>],
    report: &mut Report,
) -> Result<Option<Name>, StoreError> {
    let numbers: Vec<u64> = blocks.iter().map(|block| block.name.number).collect();
    let mut budget = blocks.iter().map(|block| block.bytes).sum::<u64>() + SLACK;
    let (name, mut writer, repeated) = loop {
        if let Err(error) = retain::make_room(shared, budget, start, report) {
            let is_full = matches!(error, StoreError::NoRoom { .. });
            return if is_full { Ok(None) } else { Err(error) };
        }
        let name = Name { kind, start, number: shared.next_number()? };
        match write(shared, name, blocks, &numbers, budget) {
            // Constants of several windows, for free in the index, became chunks.
            Err(StoreError::NoRoom { .. }) => budget = budget.saturating_mul(2),
            written => {
                let (writer, repeated) = written?;
                break (name, writer, repeated);
            }
        }
    };
    writer.sync()?;
    check(shared, writer.temporary())?;
    let path = writer.publish()?;
    let opened = block::open(&*shared.disk, &path)?;
    {
        let mut view = shared.view_mut();
        shared.add_block(&mut view, opened, name, path);
        view.drop_blocks(&numbers);
    }
    shared.counts.repeated.fetch_add(repeated, Ordering::Relaxed);
    retain::remove_merged(shared, blocks, report);
    Ok(Some(name))
}

/// The file, and how many samples were received more than once.
fn write(
    shared: &Shared,
    name: Name,
    blocks: &[Arc<Block>],
    numbers: &[u64],
    budget: u64,
) -> Result<(Writer, u64), StoreError> {
    let config = &shared.config;
    let disk = Arc::clone(&shared.disk);
    let mut writer = Writer::streaming(disk, &config.dir, name, config.access, budget)?;
    let mut repeated = 0;
    match name.kind {
        Kind::Received => {
            repeated = received::Merging::new(blocks).write(shared, &mut writer)?;
        }
        kind => Merging::new(blocks, kind != Kind::Import)?.write(shared, &mut writer)?,
    }
    let windows = shared.view().windows_of(numbers);
    writer.complete(windows, replay_from(blocks))?;
    Ok((writer, repeated))
}

/// Reads back what was written: the parts are removed only for a whole that is whole.
fn check(shared: &Shared, path: &std::path::Path) -> Result<(), StoreError> {
    let opened = block::open(&*shared.disk, path)?;
    for series in &opened.index.series {
        for chunk in &series.chunks {
            if let ChunkRef::Packed { offset, len, .. } = chunk {
                opened.check_chunk(path, *offset, *len)?;
            }
        }
    }
    Ok(())
}

fn replay_from(blocks: &[Arc<Block>]) -> Option<Position> {
    blocks.iter().filter_map(|block| block.replay_from).max()
}

/// The clocks of the whole, and where the rows of each part's clocks come to stand in them.
struct Merging<'a> {
    blocks: &'a [Arc<Block>],
    clocks: Vec<Clock>,
    /// By block, then its clock: which clock of the whole, and by how many rows it is shifted.
    places: Vec<Vec<(u32, u32)>>,
}

impl<'a> Merging<'a> {
    /// Lanes are joined one after the other; the clocks of imported samples stay as they are.
    fn new(blocks: &'a [Arc<Block>], joins: bool) -> Result<Merging<'a>, StoreError> {
        let mut clocks: Vec<Clock> = Vec::new();
        let mut places = Vec::new();
        for block in blocks {
            let mut of_block = Vec::new();
            for place in 0..block.clocks.len() as u32 {
                let clock = block.clock(place)?;
                let known = clocks.iter().position(|held| joins && held.key == clock.key);
                match known {
                    Some(known) => {
                        of_block.push((known as u32, clocks[known].rows()));
                        clocks[known].extend(&clock);
                    }
                    None => {
                        of_block.push((clocks.len() as u32, 0));
                        clocks.push(clock);
                    }
                }
            }
            places.push(of_block);
        }
        Ok(Merging { blocks, clocks, places })
    }

    fn write(&self, shared: &Shared, writer: &mut Writer) -> Result<(), StoreError> {
        for clock in &self.clocks {
            writer.clock(clock)?;
        }
        for (key, number) in self.keys(shared) {
            for (clock, parts) in self.parts(number) {
                self.series(&key, clock, &parts, writer)?;
            }
        }
        Ok(())
    }

    /// All series, in the order of a file.
    fn keys(&self, shared: &Shared) -> Vec<(SeriesKey, u32)> {
        let numbers: BTreeSet<u32> =
            self.blocks.iter().flat_map(|block| block.series.iter().map(|s| s.number)).collect();
        shared.keys(numbers)
    }

    /// The parts of one series, by its clock in the whole, in order of time.
    fn parts(&self, number: u32) -> Vec<(u32, Vec<Part<'a>>)> {
        let mut parts: Vec<(u32, Vec<Part<'a>>)> = Vec::new();
        for (block, places) in self.blocks.iter().zip(&self.places) {
            for series in block.of_series(number) {
                let (clock, shift) = places[series.clock as usize];
                let part = Part { block, series, shift };
                match parts.iter_mut().find(|(held, _)| *held == clock) {
                    Some((_, held)) => held.push(part),
                    None => parts.push((clock, vec![part])),
                }
            }
        }
        parts
    }

    fn series(
        &self,
        key: &SeriesKey,
        clock: u32,
        parts: &[Part<'_>],
        writer: &mut Writer,
    ) -> Result<(), StoreError> {
        let mut runs = Vec::new();
        for part in parts {
            for (first, count) in &part.series.runs {
                push_run(&mut runs, first + part.shift, *count);
            }
        }
        writer.series(key.clone(), clock, runs);
        let chunks: Vec<(&Block, ChunkRef)> = parts
            .iter()
            .flat_map(|part| part.series.chunks.iter().map(|chunk| (part.block, *chunk)))
            .collect();
        for group in together(&chunks) {
            write_chunks(&chunks[group], writer)?;
        }
        Ok(())
    }
}

struct Part<'a> {
    block: &'a Block,
    series: &'a BlockSeries,
    /// How many rows of the whole come before this part's.
    shift: u32,
}

/// Which chunks become one.
fn together(chunks: &[(&Block, ChunkRef)]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut values = 0;
    for (place, (_, chunk)) in chunks.iter().enumerate() {
        let count = chunk.count() as usize;
        match groups.last_mut() {
            Some(group) if values + count <= MOST_VALUES => {
                group.end = place + 1;
                values += count;
            }
            _ => {
                groups.push(place..place + 1);
                values = count;
            }
        }
    }
    groups
}

fn write_chunks(chunks: &[(&Block, ChunkRef)], writer: &mut Writer) -> Result<(), StoreError> {
    if let [(block, ChunkRef::Packed { offset, len, count })] = chunks {
        return writer.packed(&block.raw(*offset, *len)?, *count);
    }
    if let [(_, ChunkRef::Constant { value, count })] = chunks {
        writer.constant(*value, *count);
        return Ok(());
    }
    let mut values: Vec<f64> = Vec::new();
    for (block, chunk) in chunks {
        let read: Cow<'_, [f64]> = block.values(chunk)?;
        values.extend_from_slice(&read);
    }
    writer.values(&values)
}
