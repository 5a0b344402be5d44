//! From this machine to samples: one file per collector, one row per collector.
//!
//! The machine is an argument ([`Host`]): a folder of files is a machine. No collector reads a
//! clock, starts a program, or reports its own health; the [`Runner`] does the timing, catches
//! panics, and sets aside what hangs.

#[doc(hidden)]
pub mod fuzz;
mod host;
#[cfg(test)]
mod laid_out;
#[cfg(target_os = "linux")]
mod linux;
mod mount_table;
pub mod own;
pub mod probe;
pub mod process;
mod reference;
mod registry;
mod runner;
mod scrape;
pub mod signs;
pub mod summary;
pub mod textfile;
pub mod top_rows;
pub mod view;

pub use host::{Host, HotFile, Tree};
pub use linux::ProcessTable;
pub use reference::{Chapter, reference_markdown};
pub use registry::{
    COLLECTORS, Collector, Compatibility, Entry, Options, OptionsError, ProcessGroup, Scope,
    TopCommand, collector_of, describe,
};
pub use runner::{Laps, Runner, Tick};
pub use scrape::{CollectError, Scrape};
