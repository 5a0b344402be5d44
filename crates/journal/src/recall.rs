//! What the events add up to: the newest sum that was written down, and what followed it.
//!
//! Each segment of the events begins with such a sum, unless the disk was full or the machine stopped
//! just there: then the segment before is read as well, back to the first there is.

use std::{path::Path, sync::Arc};

use farol_disk::Disk;
use farol_model::{Memory, Position, Record, Stream};

use crate::{Item, JournalError, Reader, ReaderStats, StartAt, names};

/// What was found, and how much could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recalled {
    pub memory: Memory,
    /// Of the segments that were folded. What is damaged is left out.
    pub stats: ReaderStats,
}

/// Reads the events of the journal in `dir` from the newest sum on. A folder that is not there, or
/// has no events, is an empty memory.
pub fn recall(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Recalled, JournalError> {
    let segments = names::segments(disk.as_ref(), dir, Stream::Events)?;
    let mut start = StartAt::Oldest;
    for number in segments.into_keys().rev() {
        let from = beginning_of(number);
        if has_state(reader(disk, dir, from)?, number)? {
            start = from;
            break;
        }
    }
    fold(reader(disk, dir, start)?)
}

fn beginning_of(segment: u64) -> StartAt {
    StartAt::Position(Position { stream: Stream::Events, segment, offset: 0 })
}

fn reader(disk: &Arc<dyn Disk>, dir: &Path, from: StartAt) -> Result<Reader, JournalError> {
    Reader::open(Arc::clone(disk), dir, Stream::Events, from)
}

/// Most often its first line says so.
fn has_state(mut events: Reader, segment: u64) -> Result<bool, JournalError> {
    while let Some(item) = events.next()? {
        match item {
            Item::Line(line) if line.position.segment != segment => break,
            Item::Line(line) if matches!(line.record, Record::State(_)) => return Ok(true),
            Item::Line(_) | Item::Damage(_) | Item::Gap(_) => {}
        }
    }
    Ok(false)
}

fn fold(mut events: Reader) -> Result<Recalled, JournalError> {
    let mut memory = Memory::default();
    while let Some(item) = events.next()? {
        if let Item::Line(line) = item {
            memory.apply(&line.record);
        }
    }
    Ok(Recalled { memory, stats: events.stats() })
}
