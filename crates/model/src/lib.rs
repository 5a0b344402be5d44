//! The values everything in Farol speaks: labels, samples, snapshots, records.
//!
//! Nothing here does I/O, reads a clock or knows a file format. A stage that handles these
//! values never needs to know the name of a metric: samples describe themselves.

mod alert;
mod batch;
mod describe;
mod exposed;
mod labels;
mod memory;
mod record;
mod snapshot;
mod text;
mod time;
mod top;

pub use alert::{
    Action, ActionStep, Alert, AlertKey, Delivered, Delivery, Episode, Judgement, Phase,
    SignSummary, Silence, SilenceMatcher, Summary, Transition, Turn, fingerprint,
};
pub use batch::{Batch, STALE, Series, canonical, is_stale};
pub use describe::{Description, Kind, Metric};
pub use exposed::{Exposed, ExposedFamily, ExposedSample};
pub use labels::Labels;
pub use memory::{Channel, MOST_ALERTS, Memory, Pruned, Remedy, Told, without_mark};
pub use record::{Event, Position, Record, Stream};
pub use snapshot::{Collected, Current, Lane, Outcome, Sample, Snapshot, State, Verdict, Writer};
pub use text::Text;
pub use time::Timestamp;
pub use top::TopProcess;
