//! Samples that the journal could not take: a full disk does not make blind. They are read like all
//! others and never written, and gone once the journal goes on. So the store on the disk never knows more
//! than the journal.

use farol_model::{Batch, Lane, Position, Stream};

use crate::{received::Pool, series::Table};

/// Bounded: once the newer pool has stood for a window's length, or is full, the older is let go.
#[derive(Debug, Default)]
pub(crate) struct Unjournaled {
    older: Option<Pool>,
    newer: Option<Pool>,
    /// Of whose samples the newest are here.
    lanes: [bool; 2],
}

impl Unjournaled {
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.older.iter().chain(&self.newer)
    }

    pub(crate) fn take(&mut self, lane: Lane, batch: &Batch, table: &mut Table, max_series: usize) {
        if let Some(full) = self.newer.take_if(|pool| pool.is_over(batch.at))
            && let Some(older) = self.older.replace(full)
        {
            table.release(older.numbers());
        }
        let nowhere = Position { stream: Stream::Metrics, segment: 0, offset: 0 };
        let newer = self.newer.get_or_insert_with(|| Pool::new(nowhere, batch.at));
        newer.take(nowhere, batch, table, max_series);
        self.lanes[lane.index()] = true;
    }

    /// The journal has taken the lane's newest. Once it has those of all lanes nothing here is needed.
    pub(crate) fn goes_on(&mut self, lane: Lane, table: &mut Table) {
        self.lanes[lane.index()] = false;
        if self.lanes.contains(&true) {
            return;
        }
        for pool in self.older.take().into_iter().chain(self.newer.take()) {
            table.release(pool.numbers());
        }
    }
}
