//! `farol store rebuild`: derives a store anew from the journal, in a fresh folder beside it, and puts
//! that in its place.
//!
//! What the journal cannot yield again is kept as it is: what was imported or received, and each block
//! of which the journal no longer holds every snapshot. (Of what was received, what the journal yields
//! is there twice until the blocks of its day are merged, and reads as once.) The old store stands until the new one is whole;
//! interrupted anywhere, one of the two is in place, and the next rebuild clears away the rest.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use farol_disk::Disk;
use farol_journal::{Item, Reader, StartAt};
use farol_model::{Lane, Record, Stream, Timestamp};
use farol_store::{BlockReport, Config, Importer, Matcher, Point, Range, Store};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::history::{FOLLOWED, MOST_WAITING_WINDOWS};

/// Where an import leaves its files, below the store's folder.
const INCOMING: &str = "incoming";

/// What a rebuild came to.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Snapshots read from the journal.
    pub snapshots: u64,
    /// Files that were kept as they are.
    pub kept: Vec<String>,
    /// Files whose content was derived anew.
    pub derived: Vec<String>,
}

/// Needs the store's lock, and room for a second store beside it.
pub fn rebuild(disk: &Arc<dyn Disk>, logs: &Path, config: &Config) -> anyhow::Result<Rebuilt> {
    let busy = "a store is derived anew while no farol writes it";
    // Its lock keeps imports away; what they have left is taken in by the opening.
    let importing = Importer::new(Arc::clone(disk), config).context(busy)?;
    let old = Store::open(Arc::clone(disk), config.clone()).context(busy)?.store;
    let held = Held::by(disk, logs)?;
    let reports = farol_store::verify(&**disk, &config.dir)?;
    let derived: BTreeSet<&str> = reports
        .iter()
        .filter(|report| held.yields(&old, report))
        .map(|report| report.file.as_str())
        .collect();

    let fresh = Config { dir: beside(&config.dir), ..config.clone() };
    clear(&fresh.dir)?;
    let mut kept = Vec::new();
    for folder in ["", INCOMING] {
        kept.extend(keep(
            &**disk,
            &config.dir.join(folder),
            &fresh.dir.join(folder),
            config,
            &derived,
        )?);
    }
    let snapshots = fill(disk, logs, fresh.clone())?;
    exchange(&config.dir, &fresh.dir)?;
    drop((old, importing));
    clear(&fresh.dir)?;
    let derived = derived.into_iter().map(str::to_owned).collect();
    Ok(Rebuilt { snapshots, kept, derived })
}

/// Copies what is in a folder and is not derived anew; unknown files too.
fn keep(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    config: &Config,
    derived: &BTreeSet<&str>,
) -> anyhow::Result<Vec<String>> {
    disk.create_folder_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let entries = disk.list(from).with_context(|| format!("cannot list {}", from.display()))?;
    let mut names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    names.retain(|name| !derived.contains(name.as_str()) && name != "lock");
    names.sort();
    for name in &names {
        copy(disk, &from.join(name), &to.join(name), config)?;
    }
    Ok(names)
}

/// The times of the whole snapshots in the journal, by `Lane::index`.
struct Held([BTreeSet<Timestamp>; 2]);

impl Held {
    fn by(disk: &Arc<dyn Disk>, logs: &Path) -> anyhow::Result<Held> {
        let mut reader = Reader::open(Arc::clone(disk), logs, Stream::Metrics, StartAt::Oldest)?;
        let mut held = Held(Default::default());
        while let Some(item) = reader.next()? {
            if let Item::Line(line) = item
                && let Record::Snapshot(snapshot) = line.record
                && line.complete
            {
                held.0[snapshot.lane.index()].insert(snapshot.at);
            }
        }
        Ok(held)
    }

    /// Whether the journal holds every snapshot that went into the block: the first, the last, and
    /// what is between. `up` has a sample for each of the fast lane, and where it cannot be read
    /// nothing else of its time can.
    fn yields(&self, store: &Store, report: &BlockReport) -> bool {
        let (Some(start), Some(end)) = (report.oldest, report.newest) else { return false };
        // What is imported comes from elsewhere, and a tier may outlive the samples it was made of.
        let is_derived = matches!(report.kind, "15m" | "2h" | "24h");
        let is_held = |at: Timestamp| self.0.iter().any(|times| times.contains(&at));
        is_derived
            && is_held(start)
            && is_held(end)
            && taken_by_fast_lane(store, Range { start, end })
                .iter()
                .all(|at| self.0[Lane::Fast.index()].contains(at))
    }
}

fn taken_by_fast_lane(store: &Store, range: Range) -> Vec<Timestamp> {
    let up = [Matcher::equal("__name__", "up")];
    let mut selection = store.reader().select(&up, range, None);
    let mut points: Vec<Point> = Vec::new();
    for index in 0..selection.series().len() {
        selection.samples(index, &mut points);
    }
    points.retain(|point| !farol_store::is_stale(point.value));
    points.into_iter().map(|point| point.at).collect()
}

/// Applies the whole journal to a store that has what was kept.
fn fill(disk: &Arc<dyn Disk>, logs: &Path, config: Config) -> anyhow::Result<u64> {
    let mut store = Store::open(Arc::clone(disk), config)?.store;
    let mut upkeep = store.upkeep();
    let mut tidy = |most: usize| -> anyhow::Result<()> {
        while upkeep.waiting() > most {
            let mut report = upkeep.round();
            // A damaged block that was kept is told of in every round, and in nobody's way.
            if let (true, Some(error)) = (report.written.is_empty(), report.errors.pop()) {
                return Err(error.into());
            }
        }
        Ok(())
    };
    let mut snapshots = 0;
    for stream in FOLLOWED {
        let mut reader = Reader::open(Arc::clone(disk), logs, stream, StartAt::Oldest)?;
        while let Some(item) = reader.next()? {
            let Item::Line(line) = item else { continue };
            store.apply(line.position, &line.record, line.complete);
            snapshots += u64::from(stream == Stream::Metrics);
            tidy(MOST_WAITING_WINDOWS)?;
        }
    }
    tidy(0)?;
    Ok(snapshots)
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    dir.with_file_name(name)
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path, config: &Config) -> anyhow::Result<()> {
    let copied = || -> std::io::Result<()> {
        let source = disk.open(from)?;
        let target = disk.create_new(to, config.access)?;
        let mut bytes = vec![0; 1 << 20];
        let mut offset = 0;
        loop {
            let read = farol_disk::read_full(&*source, offset, &mut bytes)?;
            if read == 0 {
                return target.sync();
            }
            farol_disk::write_all(&*target, &bytes[..read])?;
            offset += read as u64;
        }
    };
    copied().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// In one step, so that there is a store at every moment.
fn exchange(one: &Path, other: &Path) -> anyhow::Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).with_context(|| {
        format!("cannot exchange the folders {} and {}", one.display(), other.display())
    })
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
