//! The store as a command looks at it beside a running Farol: what is on disk, and the journal's tail
//! applied in memory, so that it ends now. Nothing is locked, written or renamed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::Disk;
use farol_journal::{Item, Reader};
use farol_store::Store;

use crate::{
    config::Config,
    history::{self, FOLLOWED, MOST_WAITING_WINDOWS},
    run::{Shape, group_id},
};

#[derive(Debug)]
pub struct Looked {
    pub store: Store,
    pub folder: PathBuf,
    /// What could not be used, of the store and of the journal, in words.
    pub damage: Vec<String>,
    /// Snapshots and lines of received samples that are in the journal only, so far.
    pub replayed: u64,
}

/// The folder of whoever collects; else that of whoever serves.
pub fn folder(config: &Config) -> PathBuf {
    let [own, served] = [Shape::Run, Shape::Serve].map(|shape| history::store_dir(config, shape));
    if !own.is_dir() && served.is_dir() { served } else { own }
}

pub fn look(disk: &Arc<dyn Disk>, config: &Config) -> anyhow::Result<Looked> {
    let folder = folder(config);
    if !folder.is_dir() && !config.logs.is_dir() {
        // A slip of the hand and not an empty history.
        anyhow::bail!(
            "there is neither a store {} nor a journal {}; name them with --data, and --logs",
            folder.display(),
            config.logs.display()
        );
    }
    look_at(disk, &config.logs, history::store_config(config, folder, group_id(config)?))
}

/// Looks at this store, and at this journal beyond it.
pub fn look_at(
    disk: &Arc<dyn Disk>,
    logs: &Path,
    config: farol_store::Config,
) -> anyhow::Result<Looked> {
    let folder = config.dir.clone();
    let opened = Store::open_read_only(Arc::clone(disk), config)?;
    let starts = FOLLOWED.map(|stream| (stream, history::start_at(disk, logs, stream, &opened)));
    let damage = opened.set_aside.iter().map(|(_, reason)| reason.to_string()).collect();
    let mut looked = Looked { store: opened.store, folder, damage, replayed: 0 };
    let mut upkeep = looked.store.upkeep();
    for (stream, start) in starts {
        let mut reader = Reader::open(Arc::clone(disk), logs, stream, start)?;
        while let Some(item) = reader.next()? {
            match item {
                Item::Line(line) => {
                    looked.store.apply(line.position, &line.record, line.complete);
                    looked.replayed += 1;
                }
                Item::Damage(found) => looked.damage.push(found.to_string()),
                Item::Gap(gap) => looked.damage.push(gap.to_string()),
            }
            // A long tail is made small in memory.
            if upkeep.waiting() >= MOST_WAITING_WINDOWS {
                looked.damage.extend(upkeep.round().errors.iter().map(ToString::to_string));
            }
        }
    }
    Ok(looked)
}
