//! What is done with windows that are over and with blocks: cut, take in, merge, retain.
//!
//! Everything here works on what no longer changes; the writer is held up only for as long as it
//! takes to exchange one entry for another.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use crate::{
    StoreError,
    block::{self, Kind, Name, Writer},
    head::WINDOW_MILLIS,
    merge, received, retain,
    shared::{Sealed, Shared},
    store::{HeldLock, list},
    tier,
};

#[derive(Debug)]
pub struct Upkeep {
    shared: Arc<Shared>,
    _lock: HeldLock,
}

/// What one round did.
#[derive(Debug, Default)]
pub struct Report {
    /// File names.
    pub written: Vec<String>,
    pub merged: Vec<String>,
    pub removed: Vec<String>,
    pub imported: Vec<String>,
    /// What did not work; it is tried again next time.
    pub errors: Vec<StoreError>,
}

impl Upkeep {
    pub(crate) fn new(shared: Arc<Shared>, lock: HeldLock) -> Upkeep {
        Upkeep { shared, _lock: lock }
    }

    /// One round: writes the windows that are over as blocks, takes in imported blocks, merges what
    /// is complete, removes what is beyond the retention. Interrupted anywhere, the next one
    /// finishes it.
    pub fn round(&mut self) -> Report {
        let shared = &*self.shared;
        let one_at_a_time = shared.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = Report::default();
        write_sealed(shared, &mut report);
        write_pools(shared, &mut report);
        if !shared.read_only {
            retain::remove_leftovers(shared, &mut report);
            take_in(shared, &mut report);
            merge::merge_all(shared, &mut report);
            tier::derive_all(&self.shared, &mut report);
            retain::by_age(shared, &mut report);
            retain::by_size(shared, &mut report);
        }
        drop(one_at_a_time);
        self.measure();
        report
    }

    /// Windows and pools that wait to be written: who replays much calls for a round now and then.
    pub fn waiting(&self) -> usize {
        let view = self.shared.view();
        view.sealed.len() + view.sealed_pools.len()
    }

    pub(crate) fn take_in_at_start(&self) -> Report {
        let mut report = Report::default();
        take_in(&self.shared, &mut report);
        report
    }

    pub(crate) fn measure(&self) {
        if let Ok(used) = retain::used(&self.shared) {
            self.shared.counts.bytes.store(used, Ordering::Relaxed);
        }
    }
}

/// In the order in which they were over: what a block says about the journal depends on it.
fn write_sealed(shared: &Shared, report: &mut Report) {
    loop {
        let next = shared.view().sealed.first().cloned();
        let Some(sealed) = next else { return };
        match write(shared, &sealed, report) {
            Ok(name) => report.written.push(name.file()),
            Err(error) => return report.errors.push(error),
        }
    }
}

/// In the order in which they were full, for the same reason.
fn write_pools(shared: &Shared, report: &mut Report) {
    loop {
        let next = shared.view().sealed_pools.first().cloned();
        let Some(sealed) = next else { return };
        if let Err(error) = received::write(shared, &sealed, report) {
            return report.errors.push(error);
        }
    }
}

fn write(shared: &Shared, sealed: &Arc<Sealed>, report: &mut Report) -> Result<Name, StoreError> {
    let window = &sealed.window;
    let start = window.number.saturating_mul(WINDOW_MILLIS / 1000);
    let number = shared.next_number()?;
    let name = Name { kind: Kind::Window, start, number };
    let config = &shared.config;
    let mut writer =
        Writer::in_memory(Arc::clone(&shared.target), &config.dir, name, config.access)?;
    let clocks: Result<Vec<u32>, StoreError> =
        window.clocks.iter().map(|clock| writer.clock(clock)).collect();
    let clocks = clocks?;
    for (key, column) in sealed.by_key(shared) {
        writer.series(key, clocks[column.clock as usize], column.runs.clone());
        match &column.values {
            crate::head::Values::Same { value, count } => writer.constant(*value, *count),
            crate::head::Values::Each(values) => writer.values(values)?,
        }
    }
    let missed_from = shared.view().missed_from;
    let replay_from = sealed.replay_from.into_iter().chain(missed_from).min();
    let bytes = writer.complete(vec![(window.number, 1)], replay_from)?;
    if !shared.read_only {
        retain::make_room(shared, bytes, i64::MAX, report)?;
    }
    writer.sync()?;
    let path = writer.publish()?;
    let opened = block::open(&*shared.target, &path)?;
    let mut view = shared.view_mut();
    shared.add_block(&mut view, opened, name, path);
    view.sealed.retain(|held| !Arc::ptr_eq(held, sealed));
    view.table.release(window.columns.iter().map(|column| column.series));
    Ok(name)
}

/// Blocks that an import has left: they become ours by their name.
fn take_in(shared: &Shared, report: &mut Report) {
    let incoming = shared.incoming();
    let entries = match list(&*shared.disk, &incoming) {
        Ok(entries) => entries,
        Err(error) => return report.errors.push(error),
    };
    let mut names: Vec<Name> = entries
        .iter()
        .filter(|entry| block::is_block(&entry.name))
        .filter_map(|entry| Name::parse(&entry.name))
        .collect();
    names.sort_by_key(|name| name.number);
    for found in names {
        match take_one_in(shared, found) {
            Ok(name) => report.imported.push(name.file()),
            Err(error) => report.errors.push(error),
        }
    }
}

fn take_one_in(shared: &Shared, found: Name) -> Result<Name, StoreError> {
    let from = shared.incoming().join(found.file());
    if let Err(error) = block::open(&*shared.disk, &from) {
        if matches!(error, StoreError::Damaged { .. }) {
            shared.count_damage();
            shared.set_aside(&from)?;
        }
        return Err(error);
    }
    let name = Name { kind: Kind::Import, number: shared.next_number()?, ..found };
    let to = shared.config.dir.join(name.file());
    shared
        .disk
        .rename(&from, &to)
        .and_then(|()| shared.disk.sync_folder(&shared.config.dir))
        .and_then(|()| shared.disk.sync_folder(&shared.incoming()))
        .map_err(|source| StoreError::new("cannot take in", &from, source))?;
    let opened = block::open(&*shared.disk, &to)?;
    let mut view = shared.view_mut();
    shared.add_block(&mut view, opened, name, to);
    Ok(name)
}
