//! Going through a whole journal to say what is in it and what is damaged: `farol journal verify`.

use std::{path::Path, sync::Arc};

use farol_disk::Disk;
use farol_model::Stream;

use crate::{Damage, Gap, Item, JournalError, Reader, StartAt, names};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub files: Vec<FileReport>,
    pub gaps: Vec<Gap>,
}

impl Report {
    /// Whether every file can be read to its last byte. Gaps are no damage: retention makes none,
    /// but a person may have removed a file.
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(|file| file.damage.is_empty())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct FileReport {
    pub name: String,
    pub stream: Stream,
    pub segment: u64,
    /// On disk.
    pub bytes: u64,
    /// Good ones.
    pub lines: u64,
    /// Snapshots whose full line is damaged.
    pub incomplete: u64,
    /// Bytes at the end of the newest file that are no line yet.
    pub unfinished: u64,
    pub damage: Vec<Damage>,
}

/// Reads everything, as a reader would, and says what was found where.
pub fn verify(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Report, JournalError> {
    let mut report = Report::default();
    for stream in Stream::ALL {
        verify_stream(disk, dir, stream, &mut report)?;
    }
    Ok(report)
}

fn verify_stream(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    stream: Stream,
    report: &mut Report,
) -> Result<(), JournalError> {
    let first = report.files.len();
    for segment in names::segments(disk.as_ref(), dir, stream)?.into_values() {
        report.files.push(FileReport {
            name: segment.name(),
            stream,
            segment: segment.number,
            bytes: segment.bytes(),
            lines: 0,
            incomplete: 0,
            unfinished: 0,
            damage: Vec::new(),
        });
    }
    let mut reader = Reader::open(disk.clone(), dir, stream, StartAt::Oldest)?;
    while let Some(item) = reader.next()? {
        let files = &mut report.files[first..];
        match item {
            Item::Gap(gap) => report.gaps.push(gap),
            Item::Line(line) => {
                // A file that began after the listing is for the next time.
                let Some(file) = find(files, line.position.segment) else { break };
                file.lines += 1;
                file.incomplete += u64::from(!line.complete);
            }
            Item::Damage(damage) => {
                let Some(file) = find(files, damage.position.segment) else { break };
                file.damage.push(damage);
            }
        }
    }
    if let Some(file) = report.files[first..].last_mut() {
        file.unfinished = reader.unfinished();
    }
    Ok(())
}

fn find(files: &mut [FileReport], segment: u64) -> Option<&mut FileReport> {
    files.iter_mut().find(|file| file.segment == segment)
}
