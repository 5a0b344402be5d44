//! Questions to the store: which series there are, and their samples in a range of time.

use farol_model::{Labels, Text, Timestamp};

use crate::{Matcher, StoreError};

/// The value of a stale marker: the NaN by which Prometheus says that a series has ended.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// A series as it is stored: with `job` and `instance`, without `__name__` among the labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub name: Text,
    pub labels: Labels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A cheap clone; every question sees the store as it is at that moment.
#[derive(Clone, Debug)]
pub struct Reader {}

/// The series that matched, with everything that is needed to read their samples later.
#[derive(Debug)]
pub struct Selection {}

impl Reader {
    /// The series that match and may have samples in the range. With `now`, a series whose clock
    /// has fallen silent for more than three intervals ends there.
    pub fn select(&self, matchers: &[Matcher], range: Range, now: Option<Timestamp>) -> Selection {
        let _ = (matchers, range, now);
        todo!()
    }
}

impl Selection {
    /// Sorted by name, then labels.
    pub fn series(&self) -> &[SeriesKey] {
        todo!()
    }

    /// The samples of the series at `index` within the range, in order of time, stale markers
    /// ([`STALE`]) included. Damaged chunks are left out and told of.
    pub fn samples(&mut self, index: usize, into: &mut Vec<Point>) {
        let _ = (index, into);
        todo!()
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &[StoreError] {
        todo!()
    }
}
