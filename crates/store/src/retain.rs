//! The store's bounds: how old and how large it may grow.
//!
//! Age is recorded time, counted backwards from the newest sample: a gap of more than a day counts
//! as nothing, because whether the machine was off or its clock was wrong cannot be told. So a clock
//! that is wrong, however much, removes nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Report, StoreError, Tier,
    block::{self, Block, Kind, Name},
    shared::{Shared, View},
    store::list,
};

/// A gap longer than this says nothing about age.
const BELIEVED_GAP_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The bytes of everything in the folder.
pub(crate) fn used(shared: &Shared) -> Result<u64, StoreError> {
    let mut used = 0;
    for folder in [&shared.config.dir, &shared.incoming()] {
        used += list(&*shared.disk, folder)?.iter().map(|entry| entry.len).sum::<u64>();
    }
    Ok(used)
}

/// Removes what is oldest until `bytes` more fit, but nothing that starts at `before` (in seconds) or
/// later: what is merged or down-sampled costs at most what is older than itself. Removes nothing if
/// that would not be enough.
pub(crate) fn make_room(
    shared: &Shared,
    bytes: u64,
    before: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let files = removable(shared, before)?;
    let may_go: u64 = files.iter().map(|file| file.bytes).sum();
    if used(shared)?.saturating_sub(may_go).saturating_add(bytes) > shared.config.max_bytes {
        return Err(StoreError::NoRoom { path: shared.config.dir.clone() });
    }
    remove_until_fits(shared, files, bytes, report)
}

/// What is left when that is not enough cannot be removed, and nothing is to be written.
pub(crate) fn by_size(shared: &Shared, report: &mut Report) {
    let removed =
        removable(shared, i64::MAX).and_then(|files| remove_until_fits(shared, files, 0, report));
    report.errors.extend(removed.err());
}

fn remove_until_fits(
    shared: &Shared,
    files: Vec<File>,
    bytes: u64,
    report: &mut Report,
) -> Result<(), StoreError> {
    for file in files {
        if used(shared)?.saturating_add(bytes) <= shared.config.max_bytes {
            break;
        }
        remove(shared, &file, report)?;
    }
    Ok(())
}

pub(crate) fn by_age(shared: &Shared, report: &mut Report) {
    let mut beyond = Vec::new();
    {
        let view = shared.view();
        let newest = newest_of_journal(&view);
        let spans = spans(&view);
        beyond.extend(beyond_age(spans.clone(), shared.config.retention.as_millis()));
        beyond.retain(|block| !newest.contains(&block.name.number));
        // A tier's age is counted from the newest sample too: its own newest is a day behind.
        for (tier, retention) in Tier::ALL.into_iter().zip(shared.config.tier_retention) {
            let mut all = spans_of_blocks(&shared.tier(tier));
            all.extend(spans.iter().map(|(start, end, _)| (*start, *end, None)));
            beyond.extend(beyond_age(all, retention.as_millis()));
        }
    }
    for block in beyond {
        let file = File { path: block.path.clone(), bytes: block.bytes, block: Some(block) };
        if let Err(error) = remove(shared, &file, report) {
            report.errors.push(error);
        }
    }
}

/// Whether down-sampled figures of this time would be removed as soon as they are made: raw samples
/// may be kept for longer than they.
pub(crate) fn is_beyond_age(shared: &Shared, tier: Tier, start: i64, end: i64) -> bool {
    let mut all = spans(&shared.view());
    all.extend(spans_of_blocks(&shared.tier(tier)));
    let known = all.into_iter().map(|(start, end, _)| (start, end, None));
    let retention = shared.config.tier_retention[tier as usize].as_millis();
    !beyond_age(known.chain([(start, end, Some(()))]).collect(), retention).is_empty()
}

/// From when to when there is something, and the block if it is in one.
type Span = (i64, i64, Option<Arc<Block>>);

fn spans(view: &View) -> Vec<Span> {
    let windows = view.windows().filter_map(|window| window.span());
    let windows = windows.chain(view.received_pools().flat_map(|pool| pool.spans()));
    let mut spans = spans_of_blocks(view);
    spans.extend(windows.map(|(start, end)| (start, end, None)));
    spans
}

fn spans_of_blocks(view: &View) -> Vec<Span> {
    let span = |block: &Arc<Block>| (block.start, block.end, Some(Arc::clone(block)));
    view.blocks.iter().map(span).collect()
}

/// The blocks that end longer ago than this.
fn beyond_age<T>(mut spans: Vec<(i64, i64, Option<T>)>, retention: u128) -> Vec<T> {
    spans.sort_by_key(|(_, end, _)| std::cmp::Reverse(*end));
    let mut reached = spans.first().map_or(0, |(_, end, _)| *end);
    let mut age: u128 = 0;
    let mut beyond = Vec::new();
    for (start, end, block) in spans {
        let gap = reached.saturating_sub(end).max(0);
        if gap <= BELIEVED_GAP_MILLIS {
            age += u128::from(gap.unsigned_abs());
        }
        if age >= retention {
            beyond.extend(block);
        }
        age += u128::from(reached.min(end).saturating_sub(start).max(0).unsigned_abs());
        reached = reached.min(start);
    }
    beyond
}

/// A file that may have to go.
struct File {
    path: PathBuf,
    bytes: u64,
    block: Option<Arc<Block>>,
}

/// Files that were set aside, then the blocks that start before this, the oldest first.
fn removable(shared: &Shared, before: i64) -> Result<Vec<File>, StoreError> {
    let dir = &shared.config.dir;
    let entries = list(&*shared.disk, dir)?;
    let view = shared.view();
    let newest = newest_of_journal(&view);
    let may_go = |name: &Name, is_block: bool| {
        !is_block || (name.start < before && !newest.contains(&name.number))
    };
    let mut names: Vec<(bool, Name, farol_disk::Entry)> = entries
        .into_iter()
        .filter_map(|entry| Some((block::is_block(&entry.name), Name::parse(&entry.name)?, entry)))
        .filter(|(is_block, name, _)| may_go(name, *is_block))
        .collect();
    // What is most detailed first: a day that was down-sampled lives on in its figures.
    names.sort_by_key(|(is_block, name, _)| {
        (*is_block, name.kind.tier().map(|tier| tier as usize), name.start, name.number)
    });
    let mut blocks = view.blocks.clone();
    drop(view);
    blocks.extend(Tier::ALL.iter().flat_map(|tier| shared.tier(*tier).blocks.clone()));
    let file = |(_, _, entry): (bool, Name, farol_disk::Entry)| {
        let path = dir.join(entry.name);
        let block = blocks.iter().find(|block| block.path == path).cloned();
        File { path, bytes: entry.len, block }
    };
    Ok(names.into_iter().map(file).collect())
}

/// The blocks that say from where on a stream of the journal has to be read again: without them, all
/// of it would.
fn newest_of_journal(view: &View) -> Vec<u64> {
    let newest = |is_wanted: fn(&Block) -> bool| {
        let blocks = view.blocks.iter().filter(|block| is_wanted(block));
        blocks.max_by_key(|block| (block.replay_from, block.name.number))
    };
    let lanes = newest(|block| block.name.kind.is_derived());
    let received = newest(|block| block.name.kind == Kind::Received && block.replay_from.is_some());
    lanes.into_iter().chain(received).map(|block| block.name.number).collect()
}

fn remove(shared: &Shared, file: &File, report: &mut Report) -> Result<(), StoreError> {
    remove_file(shared, &file.path)?;
    if let Some(block) = &file.block {
        let mut view = shared.view_of_mut(block.name.kind.tier());
        for (first, count) in &block.windows {
            for ahead in 0..i64::from(*count) {
                view.closed.remove(&first.saturating_add(ahead));
            }
        }
        view.drop_blocks(&[block.name.number]);
    }
    report.removed.push(file_name(&file.path));
    Ok(())
}

/// Removes the files of blocks that were merged; what does not work is tried again.
pub(crate) fn remove_merged(shared: &Shared, blocks: &[Arc<Block>], report: &mut Report) {
    shared.leftovers().extend(blocks.iter().map(|block| block.path.clone()));
    remove_leftovers(shared, report);
}

pub(crate) fn remove_leftovers(shared: &Shared, report: &mut Report) {
    let leftovers = std::mem::take(&mut *shared.leftovers());
    for path in leftovers {
        if let Err(error) = remove_file(shared, &path) {
            report.errors.push(error);
            shared.leftovers().push(path);
        }
    }
}

fn remove_file(shared: &Shared, path: &Path) -> Result<(), StoreError> {
    let removed = match shared.disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    removed
        .and_then(|()| shared.disk.sync_folder(&shared.config.dir))
        .map_err(|source| StoreError::new("cannot remove", path, source))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
