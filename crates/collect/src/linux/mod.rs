//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, own, probe};

mod cpu;
mod loadavg;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[cpu::ENTRY, own::ENTRY, loadavg::ENTRY, probe::ENTRY];
