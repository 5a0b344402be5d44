//! What is done with closed segments: compress them, and remove the oldest.
//!
//! Safe beside a live writer and live readers: only segments below the writer's open ones are
//! touched, readers hold their files open, and at every moment at least one whole copy of a segment
//! stands under a final name. An interruption leaves work that the next call finishes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::Disk;
use farol_model::Stream;

use crate::{
    JournalError, Settings, archive,
    names::{self, Segment},
    segment,
};

/// Where the writer is: in each stream, segments from this number on are its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenSegments(pub(crate) [u64; Stream::ALL.len()]);

impl OpenSegments {
    pub fn number(&self, stream: Stream) -> u64 {
        self.0[names::index(stream)]
    }
}

/// What one round of upkeep did.
#[derive(Debug, Default)]
pub struct UpkeepReport {
    pub compressed: Vec<String>,
    /// Damaged parts of the segments that were compressed, by file; each is counted once.
    pub damaged: Vec<(String, u64)>,
    pub removed: Vec<String>,
    /// Bytes on disk afterwards, in the order of [`Stream::ALL`].
    pub bytes: [u64; Stream::ALL.len()],
    /// What did not work; the rest was done all the same, and all of it is tried again next time.
    pub errors: Vec<JournalError>,
}

/// One round: clears away what an interrupted round left, compresses closed segments, removes
/// those beyond the retention, and takes the reserve again when there is space for it.
pub fn upkeep(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
    open: OpenSegments,
) -> UpkeepReport {
    let mut report = UpkeepReport::default();
    clear_leftovers(disk, dir, &mut report);
    for stream in Stream::ALL {
        // Retention first: what is about to go need not be compressed.
        retain(disk, dir, settings, open, stream, &mut report);
        if let Some(level) = settings.compression {
            compress(disk, dir, settings, open, stream, level, &mut report);
            retain(disk, dir, settings, open, stream, &mut report);
        }
        report.bytes[names::index(stream)] = bytes(disk, dir, stream, &mut report);
    }
    if let Err(error) = take_reserve(disk, dir, settings) {
        report.errors.push(error);
    }
    report
}

/// Removes the oldest closed segments of a stream until it is within its bounds.
pub(crate) fn retain(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
    open: OpenSegments,
    stream: Stream,
    report: &mut UpkeepReport,
) {
    let segments = match names::segments(disk, dir, stream) {
        Ok(segments) => segments.into_values().collect::<Vec<_>>(),
        Err(error) => return report.errors.push(error),
    };
    let bounds = settings.retention(stream);
    let ages = recorded_ages(&segments);
    let mut total: u64 = segments.iter().map(Segment::bytes).sum();
    let last = segments.len().saturating_sub(1);
    let mut removed = false;
    for (segment, age) in segments[..last].iter().zip(ages) {
        let within = age <= bounds.days && total <= bounds.bytes;
        if within || segment.number >= open.number(stream) {
            break;
        }
        total -= segment.bytes();
        removed |= remove_segment(disk, dir, segment, report);
    }
    if removed {
        note(disk.sync_folder(dir), "cannot sync", dir, report);
    }
}

/// Creates the reserve if it is missing and the disk has several times its size left.
pub(crate) fn take_reserve(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
) -> Result<(), JournalError> {
    take_reserve_of(disk, dir, settings, 4)
}

/// The same once it was used: as soon as there is as much left besides. Whether it is there.
pub(crate) fn retake_reserve(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
) -> Result<bool, JournalError> {
    take_reserve_of(disk, dir, settings, 2)?;
    has_reserve(disk, dir, settings)
}

fn take_reserve_of(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
    times: u64,
) -> Result<(), JournalError> {
    let path = dir.join(names::RESERVE);
    if settings.reserve_bytes == 0 || has_reserve(disk, dir, settings)? {
        return Ok(());
    }
    let failed = |source| JournalError::new("cannot reserve space in", &path, source);
    if disk.free_space(dir).map_err(failed)? < settings.reserve_bytes.saturating_mul(times) {
        return Ok(());
    }
    let file = match disk.create_new(&path, settings.access) {
        // Left shorter by an interruption.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            disk.remove(&path).map_err(failed)?;
            disk.create_new(&path, settings.access).map_err(failed)?
        }
        other => other.map_err(failed)?,
    };
    file.preallocate(settings.reserve_bytes).and_then(|()| file.sync()).map_err(failed)
}

pub(crate) fn has_reserve(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
) -> Result<bool, JournalError> {
    let path = dir.join(names::RESERVE);
    match disk.open(&path).and_then(|file| file.len()) {
        Ok(len) => Ok(len >= settings.reserve_bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(JournalError::new("cannot read", &path, source)),
    }
}

/// How many days of recording lie after each segment's first.
///
/// Counted from segment to segment, at most one day for each, because a segment holds one day: time
/// in which nothing was recorded ages nothing, and a clock that jumps (a board that starts in 1970
/// or in 2040) cannot make everything else old.
fn recorded_ages(segments: &[Segment]) -> Vec<u64> {
    let mut ages = vec![0; segments.len()];
    for (place, pair) in segments.windows(2).enumerate().rev() {
        let later = pair[1].day > pair[0].day;
        ages[place] = ages[place + 1] + u64::from(later);
    }
    ages
}

fn remove_segment(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    report: &mut UpkeepReport,
) -> bool {
    // The plain file last: it is the one that readers are served from.
    let packed = segment.packed.map(|_| segment.packed_name());
    let plain = segment.plain.map(|_| segment.plain_name());
    let mut all = true;
    for name in packed.into_iter().chain(plain) {
        let path = dir.join(&name);
        let removed = match disk.remove(&path) {
            // The core and the upkeep may both be at it when the disk is full.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        all &= note(removed, "cannot remove", &path, report);
    }
    if all {
        report.removed.push(segment.name());
    }
    all
}

fn compress(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
    open: OpenSegments,
    stream: Stream,
    level: i32,
    report: &mut UpkeepReport,
) {
    let segments = match names::segments(disk, dir, stream) {
        Ok(segments) => segments,
        Err(error) => return report.errors.push(error),
    };
    let newest = segments.keys().next_back().copied();
    for segment in segments.into_values() {
        let closed = segment.number < open.number(stream) && Some(segment.number) != newest;
        if !closed || segment.plain.is_none() {
            continue;
        }
        match compress_segment(disk, dir, settings, &segment, level) {
            Ok(0) => report.compressed.push(segment.packed_name()),
            Ok(damaged) => {
                report.compressed.push(segment.packed_name());
                report.damaged.push((segment.packed_name(), damaged));
            }
            Err(error) => {
                let is_full = error.is_full();
                report.errors.push(error);
                if is_full {
                    // The next would fare no better, and take the little room from the writer.
                    return;
                }
            }
        }
    }
}

/// Written aside, synced, renamed, folder synced, verified; only then the original goes. How many
/// damaged parts it holds: this is the one time that every closed segment is read.
fn compress_segment(
    disk: &dyn Disk,
    dir: &Path,
    settings: &Settings,
    segment: &Segment,
    level: i32,
) -> Result<u64, JournalError> {
    let plain_path = dir.join(segment.plain_name());
    let packed_path = dir.join(segment.packed_name());
    let cannot_read = |source| JournalError::new("cannot read", &plain_path, source);
    let failed = |source| JournalError::new("cannot compress to", &packed_path, source);
    let plain = disk.open(&plain_path).map_err(cannot_read)?;
    let damaged = segment::damaged_parts(Arc::clone(&plain)).map_err(cannot_read)?;
    // With a packed one present, an earlier round got as far as renaming it, or it is damaged.
    let mut good = segment.packed.is_some() && is_copy(disk, &packed_path, plain.as_ref())?;
    if !good {
        let aside = dir.join(format!("{}.tmp", segment.packed_name()));
        let packed = archive::pack(disk, plain.as_ref(), &aside, settings.access, level);
        if let Err(error) = packed {
            // Half a file helps nobody, least of all on a full disk.
            let removed = disk.remove(&aside);
            return Err(failed(removed.err().unwrap_or(error)));
        }
        disk.rename(&aside, &packed_path).map_err(failed)?;
        good = is_copy(disk, &packed_path, plain.as_ref())?;
    }
    disk.sync_folder(dir).map_err(failed)?;
    if !good {
        disk.remove(&packed_path).map_err(failed)?;
        return Err(failed(std::io::Error::other("the copy does not give the original back")));
    }
    disk.remove(&plain_path).map_err(failed)?;
    disk.sync_folder(dir).map_err(failed)?;
    Ok(damaged)
}

fn is_copy(
    disk: &dyn Disk,
    packed: &Path,
    plain: &dyn farol_disk::File,
) -> Result<bool, JournalError> {
    let failed = |source| JournalError::new("cannot verify", packed, source);
    let file = disk.open(packed).map_err(failed)?;
    archive::same(file.as_ref(), plain).map_err(failed)
}

fn clear_leftovers(disk: &dyn Disk, dir: &Path, report: &mut UpkeepReport) {
    let leftovers: Vec<PathBuf> = match names::leftovers(disk, dir) {
        Ok(leftovers) => leftovers,
        Err(error) => return report.errors.push(error),
    };
    for path in leftovers {
        note(disk.remove(&path), "cannot remove", &path, report);
    }
}

fn bytes(disk: &dyn Disk, dir: &Path, stream: Stream, report: &mut UpkeepReport) -> u64 {
    match names::segments(disk, dir, stream) {
        Ok(segments) => segments.values().map(Segment::bytes).sum(),
        Err(error) => {
            report.errors.push(error);
            0
        }
    }
}

fn note(
    result: std::io::Result<()>,
    action: &'static str,
    path: &Path,
    report: &mut UpkeepReport,
) -> bool {
    match result {
        Ok(()) => true,
        Err(source) => {
            report.errors.push(JournalError::new(action, path, source));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Day;

    fn ages(days: &[i64]) -> Vec<u64> {
        let segment = |(number, day): (u64, &i64)| Segment {
            stream: Stream::Metrics,
            number,
            day: Day(*day),
            plain: Some(0),
            packed: None,
        };
        recorded_ages(&(1..).zip(days).map(segment).collect::<Vec<_>>())
    }

    #[test]
    fn age_is_counted_in_recorded_days() {
        assert_eq!(ages(&[10, 11, 11, 12]), [2, 1, 1, 0]);
        assert!(ages(&[]).is_empty());
        assert_eq!(ages(&[5]), [0]);
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_old() {
        assert_eq!(ages(&[20_000, 0, 20_001]), [1, 1, 0], "started in 1970 for a moment");
        assert_eq!(ages(&[20_000, 30_000, 20_001]), [1, 0, 0], "started in 2052 for a moment");
        assert_eq!(ages(&[20_000, 20_300]), [1, 0], "off for most of a year");
    }
}
