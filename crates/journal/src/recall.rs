//! What the events add up to: the newest sum that was written down, and what followed it.
//!
//! Each segment of the events begins with such a sum, unless the disk was full or the machine stopped
//! just there: then the segment before is read as well, back to the first there is.

use std::{path::Path, sync::Arc};

use farol_disk::{Disk, read_full};
use farol_model::{Memory, Phase, Position, Record, State, Stream, Timestamp};

use crate::{Decoder, Item, JournalError, Reader, ReaderStats, StartAt, names};

/// Of the metrics, to find the last whole line: several full ones.
const LAST_BYTES: u64 = 1 << 20;

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
    let mut recalled = fold(reader(disk, dir, start)?)?;
    if let Some(until) = watched_until(disk.as_ref(), dir) {
        seen_until(&mut recalled.memory, until);
    }
    Ok(recalled)
}

/// An alert's last turn may be hours old, and it was looked at until the process ended.
fn seen_until(memory: &mut Memory, until: Timestamp) {
    for alert in memory.alerts.values_mut() {
        if alert.phase != Phase::Ended && alert.seen_at < until {
            Arc::make_mut(alert).seen_at = until;
        }
    }
}

/// The time of the newest snapshot that says the machine's state: it is said while rules are evaluated.
/// None where that cannot be found out at little cost.
fn watched_until(disk: &dyn Disk, dir: &Path) -> Option<Timestamp> {
    let segments = names::segments(disk, dir, Stream::Metrics).ok()?;
    let newest = segments.into_values().rev().find(|segment| segment.bytes() > 0)?;
    let len = newest.plain?;
    let file = disk.open(&dir.join(newest.plain_name())).ok()?;
    let start = len.saturating_sub(LAST_BYTES);
    let mut bytes = vec![0; usize::try_from(len - start).ok()?];
    let read = read_full(file.as_ref(), start, &mut bytes).ok()?;
    bytes.truncate(read);
    bytes.rsplit(|byte| *byte == b'\n').find_map(|line| match Decoder::new().decode(line) {
        Ok(Some(decoded)) => match decoded.record {
            Record::Snapshot(snapshot) if snapshot.state != State::Unknown => Some(snapshot.at),
            _ => None,
        },
        Ok(None) | Err(_) => None,
    })
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
