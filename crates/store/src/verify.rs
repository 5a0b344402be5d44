//! A look at every byte: `farol store verify`.

use std::path::Path;

use farol_disk::Disk;
use farol_model::Timestamp;

use crate::{
    StoreError,
    block::{self, Block, DAMAGED, Name},
    shared::incoming,
    store::list,
};

/// One file of a store.
#[derive(Debug)]
pub struct BlockReport {
    pub file: String,
    pub bytes: u64,
    /// How long a time the block is for: `15m`, `2h`, `24h`, or `import`.
    pub kind: &'static str,
    pub series: u64,
    pub samples: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// What is wrong with it; empty when all is well.
    pub damage: Vec<StoreError>,
}

/// Reads every file of the store in `dir` whole, checks every checksum and decodes every chunk.
/// Files that were set aside are reported too. Changes nothing.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<Vec<BlockReport>, StoreError> {
    let mut reports = Vec::new();
    for folder in [dir, &incoming(dir)] {
        let mut entries = list(disk, folder)?;
        entries.sort();
        for entry in entries {
            if let Some(name) = Name::parse(&entry.name) {
                reports.extend(look(disk, &folder.join(&entry.name), name, &entry));
            }
        }
    }
    Ok(reports)
}

/// None for a file that was merged or removed meanwhile.
fn look(
    disk: &dyn Disk,
    path: &Path,
    name: Name,
    entry: &farol_disk::Entry,
) -> Option<BlockReport> {
    let mut report = BlockReport {
        file: entry.name.clone(),
        bytes: entry.len,
        kind: name.kind.word(),
        series: 0,
        samples: 0,
        oldest: None,
        newest: None,
        damage: Vec::new(),
    };
    if entry.name.ends_with(DAMAGED) {
        report.damage.push(StoreError::damaged(path, "it was set aside as damaged; it may be deleted, and goes by itself when the store is full"));
    }
    let opened = match block::open(disk, path) {
        Ok(opened) => opened,
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return None;
        }
        Err(error) => {
            report.damage.push(error);
            return Some(report);
        }
    };
    let mut next = 0;
    let block = Block::new(opened, name, path.to_path_buf(), |_| {
        next += 1;
        next
    });
    report.series = block.series.len() as u64;
    report.samples = block.samples;
    report.oldest = Some(Timestamp::from_millis(block.start));
    report.newest = Some(Timestamp::from_millis(block.end));
    let clocks = 0..block.clocks.len() as u32;
    report.damage.extend(clocks.filter_map(|clock| block.clock(clock).err()));
    let chunks = block.series.iter().flat_map(|series| &*series.chunks);
    report.damage.extend(chunks.filter_map(|chunk| block.check_values(chunk).err()));
    Some(report)
}
