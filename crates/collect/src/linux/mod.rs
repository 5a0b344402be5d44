//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, own, probe};

mod cpu;
mod cpufreq;
mod filefd;
mod lines;
mod loadavg;
mod meminfo;
mod netstat;
mod os;
mod pressure;
mod sockstat;
mod stat;
mod time;
mod uname;
mod vmstat;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[
    cpu::ENTRY,
    cpufreq::ENTRY,
    own::ENTRY,
    filefd::ENTRY,
    loadavg::ENTRY,
    meminfo::ENTRY,
    netstat::ENTRY,
    os::ENTRY,
    pressure::ENTRY,
    probe::ENTRY,
    sockstat::ENTRY,
    stat::ENTRY,
    time::ENTRY,
    uname::ENTRY,
    vmstat::ENTRY,
];
