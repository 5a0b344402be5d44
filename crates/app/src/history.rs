//! The store as a command looks at it beside a running Farol: what is on disk, and the journal's tail
//! replayed in memory, so that it ends now. Nothing is locked, written or renamed.

use std::{path::PathBuf, sync::Arc};

use farol_disk::Disk;
use farol_journal::{Item, StartAt};
use farol_model::Stream;
use farol_store::{Opened, Reader, Store};

use crate::{config::Config, run};

/// The store's own folder.
pub fn store_dir(config: &Config) -> PathBuf {
    config.data.join("store")
}

/// What the store is told.
pub fn store_config(config: &Config) -> anyhow::Result<farol_store::Config> {
    let mut settings = farol_store::Config::new(store_dir(config));
    settings.access.group = run::group_id(config)?;
    Ok(settings)
}

/// Windows that wait while a long tail is replayed; then they are made small, in memory.
const MOST_WAITING: usize = 4;

#[derive(Debug)]
pub struct History {
    store: Store,
    /// What could not be read, in words.
    pub damage: Vec<String>,
}

impl History {
    pub fn open(disk: &Arc<dyn Disk>, config: &Config) -> anyhow::Result<History> {
        let settings = store_config(config)?;
        require_something(config, &settings)?;
        let opened = Store::open_read_only(Arc::clone(disk), settings)?;
        let Opened { mut store, replay_from, set_aside } = opened;
        let mut damage: Vec<String> =
            set_aside.iter().map(|(_, reason)| reason.to_string()).collect();
        let start = replay_from.map_or(StartAt::Oldest, StartAt::Position);
        let mut journal =
            farol_journal::Reader::open(Arc::clone(disk), &config.logs, Stream::Metrics, start)?;
        let mut upkeep = store.upkeep();
        while let Some(item) = journal.next()? {
            match item {
                Item::Line(line) => {
                    store.apply(line.position, &line.record, line.complete);
                    if upkeep.waiting() >= MOST_WAITING {
                        damage.extend(upkeep.round().errors.iter().map(ToString::to_string));
                    }
                }
                Item::Damage(found) => damage.push(found.to_string()),
                Item::Gap(gap) => damage.push(gap.to_string()),
            }
        }
        Ok(History { store, damage })
    }

    pub fn reader(&self) -> Reader {
        self.store.reader()
    }
}

/// Neither folder there: a slip of the hand and not an empty history.
fn require_something(config: &Config, settings: &farol_store::Config) -> anyhow::Result<()> {
    let is_missing = |folder: &PathBuf| matches!(folder.try_exists(), Ok(false));
    if is_missing(&settings.dir) && is_missing(&config.logs) {
        anyhow::bail!(
            "there is neither a store {} nor a journal {}; name them with --data, and --logs",
            settings.dir.display(),
            config.logs.display()
        );
    }
    Ok(())
}
