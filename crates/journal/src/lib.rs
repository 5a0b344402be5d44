//! The journal: the one durable log. Rotating JSON-lines files, one record a line.
//!
//! [`Journal`] appends, and is the only writer of its folder; [`Reader`] reads and follows from
//! any [`farol_model::Position`], in this process or another, and never writes; [`upkeep()`]
//! compresses and retains closed segments next to both; [`verify()`] says what is damaged; [`recall()`]
//! adds up the events.
//!
//! The format is described, precisely enough to write an independent reader, in
//! `docs/formats/journal.md`. Three promises hold it together: a synced line is never lost, a value
//! that was not written is never stated, and whatever else is wrong with a file is skipped,
//! counted and named.

mod archive;
mod decode;
mod encode;
mod error;
mod names;
mod reader;
mod recall;
mod segment;
mod settings;
mod tail;
mod time;
mod upkeep;
mod verify;
mod writer;

pub use decode::{Decoded, Decoder};
pub use encode::full_line;
pub use error::JournalError;
pub use reader::{Damage, Gap, Item, Line, Reader, ReaderStats, StartAt};
pub use recall::{Recalled, recall};
pub use settings::{Retention, Settings};
pub use upkeep::{OpenSegments, UpkeepReport, upkeep};
pub use verify::{FileReport, Report, verify};
pub use writer::{Journal, Stats, StreamStats, Syncer};

/// A line longer than this is damage, not data: it bounds what a reader holds in memory.
pub const LONGEST_LINE: usize = 64 << 20;
