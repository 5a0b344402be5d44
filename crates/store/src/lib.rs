//! Time series on disk, derived from the journal: apply, select, cut, merge, retain.
//!
//! The journal is the durable truth; everything here can be deleted and derived again for the
//! journal's span. What was applied stands in *heads* in memory, one for each window of 15 minutes;
//! a window that is over is cut into an immutable *block*, and blocks are merged to 2 h and 24 h.
//! All times come from the records: this crate reads no clock. `docs/formats/store.md` has the
//! files byte for byte.

mod block;
mod bytes;
mod clock;
mod column;
mod config;
mod error;
mod head;
mod import;
mod labels;
mod matcher;
mod merge;
mod reader;
mod received;
mod retain;
mod series;
mod shared;
mod store;
mod tier;
mod unjournaled;
mod upkeep;
mod verify;

pub use config::Config;
pub use error::StoreError;
pub use farol_model::{STALE, is_stale};
pub use import::{Imported, Importer};
pub use labels::Overview;
pub use matcher::{MatchError, Matcher, Op, anchored};
pub use reader::{Point, Range, Reader, Samples, Selection};
pub use series::SeriesKey;
pub use store::{Opened, Stats, Store};
pub use tier::{AGGREGATE, AGGREGATES, Tier};
pub use upkeep::{Report, Upkeep};
pub use verify::{BlockReport, verify};
