//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, own, probe};

mod cpu;
mod cpufreq;
mod diskstats;
mod filefd;
mod filesystem;
mod hwmon;
mod lines;
mod loadavg;
mod meminfo;
mod netclass;
mod netdev;
mod netstat;
mod os;
mod pressure;
mod sockstat;
mod stat;
mod sysfs;
mod thermal_zone;
mod time;
mod uname;
mod vmstat;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[
    cpu::ENTRY,
    cpufreq::ENTRY,
    diskstats::ENTRY,
    own::ENTRY,
    filefd::ENTRY,
    filesystem::ENTRY,
    hwmon::ENTRY,
    loadavg::ENTRY,
    meminfo::ENTRY,
    netclass::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    os::ENTRY,
    pressure::ENTRY,
    probe::ENTRY,
    sockstat::ENTRY,
    stat::ENTRY,
    thermal_zone::ENTRY,
    time::ENTRY,
    uname::ENTRY,
    vmstat::ENTRY,
];
