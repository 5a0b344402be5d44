//! The names of the files, and what is found in a folder.
//!
//! `<stream>-<UTC date>-<segment number>.jsonl`, closed and compressed `….jsonl.zst`. The number has
//! ten digits (more when they are used up, which they will not be), so that names of one day sort
//! as they were written. Order is by number alone: dates follow a clock that may step.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use farol_disk::Disk;
use farol_model::Stream;

use crate::{JournalError, time::Day};

pub(crate) const LOCK: &str = "writer.lock";
pub(crate) const RESERVE: &str = "reserve";

const PLAIN: &str = ".jsonl";
const PACKED: &str = ".jsonl.zst";
/// A compression that was interrupted.
const ASIDE: &str = ".jsonl.zst.tmp";

/// One segment as found in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) stream: Stream,
    pub(crate) number: u64,
    pub(crate) day: Day,
    /// Length of the `.jsonl`, if it is there.
    pub(crate) plain: Option<u64>,
    /// Length of the `.jsonl.zst`, if it is there.
    pub(crate) packed: Option<u64>,
}

impl Segment {
    pub(crate) fn plain_name(&self) -> String {
        plain_name(self.stream, self.day, self.number)
    }

    pub(crate) fn packed_name(&self) -> String {
        format!("{}.zst", self.plain_name())
    }

    /// The name of the file that is read: with both present the plain one wins.
    pub(crate) fn name(&self) -> String {
        if self.plain.is_some() { self.plain_name() } else { self.packed_name() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.plain.unwrap_or(0) + self.packed.unwrap_or(0)
    }
}

pub(crate) fn plain_name(stream: Stream, day: Day, number: u64) -> String {
    format!("{}-{}-{number:010}{PLAIN}", stream.name(), day.text())
}

/// Where a stream stands in arrays that have one place for each.
pub(crate) const fn index(stream: Stream) -> usize {
    match stream {
        Stream::Metrics => 0,
        Stream::Events => 1,
        Stream::Logs => 2,
        Stream::Received => 3,
    }
}

/// All segments of a stream by number. A folder that does not exist (yet) has none.
pub(crate) fn segments(
    disk: &dyn Disk,
    dir: &Path,
    stream: Stream,
) -> Result<BTreeMap<u64, Segment>, JournalError> {
    let mut found = BTreeMap::new();
    for segment in all_segments(disk, dir)? {
        if segment.stream == stream {
            merge(&mut found, segment);
        }
    }
    Ok(found)
}

/// Names left by an interrupted compression.
pub(crate) fn leftovers(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let entries = list(disk, dir)?;
    let ours = entries.iter().filter(|entry| parse(&entry.name, ASIDE).is_some());
    Ok(ours.map(|entry| dir.join(&entry.name)).collect())
}

fn all_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, JournalError> {
    let mut found = Vec::new();
    for entry in list(disk, dir)? {
        if let Some((stream, day, number)) = parse(&entry.name, PLAIN) {
            found.push(Segment { stream, number, day, plain: Some(entry.len), packed: None });
        } else if let Some((stream, day, number)) = parse(&entry.name, PACKED) {
            found.push(Segment { stream, number, day, plain: None, packed: Some(entry.len) });
        }
    }
    Ok(found)
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<farol_disk::Entry>, JournalError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| JournalError::new("cannot list", dir, source)),
    }
}

fn merge(found: &mut BTreeMap<u64, Segment>, segment: Segment) {
    let Some(held) = found.get_mut(&segment.number) else {
        found.insert(segment.number, segment);
        return;
    };
    // Two dates for one number cannot come from us; the first one stands.
    if held.day == segment.day {
        held.plain = held.plain.or(segment.plain);
        held.packed = held.packed.or(segment.packed);
    }
}

fn parse(name: &str, suffix: &str) -> Option<(Stream, Day, u64)> {
    let (stream, rest) = name.strip_suffix(suffix)?.split_once('-')?;
    let (day, number) = rest.rsplit_once('-')?;
    if number.len() < 10 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((Stream::from_name(stream)?, Day::parse(day)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_stream_day_and_number_and_nothing_else_is_ours() {
        let day = Day::parse("2026-11-22").unwrap();
        let name = plain_name(Stream::Metrics, day, 7);
        assert_eq!(name, "metrics-2026-11-22-0000000007.jsonl");
        assert_eq!(parse(&name, PLAIN), Some((Stream::Metrics, day, 7)));
        let huge = plain_name(Stream::Logs, day, u64::MAX);
        assert_eq!(parse(&huge, PLAIN), Some((Stream::Logs, day, u64::MAX)));
        for foreign in ["metrics-2026-11-22-7.jsonl", "x-2026-11-22-0000000007.jsonl", "a.jsonl"] {
            assert_eq!(parse(foreign, PLAIN), None, "{foreign}");
        }
    }
}
