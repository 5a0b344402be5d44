//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, Options, Scrape, own, probe};

mod btrfs;
pub(crate) mod cgroup_path;
mod containers;
mod cpu;
mod cpufreq;
mod diskstats;
mod filefd;
mod filesystem;
mod hwmon;
mod lines;
mod loadavg;
mod mdadm;
mod meminfo;
mod netclass;
mod netdev;
mod netstat;
mod nvme;
mod os;
mod pressure;
mod process_files;
mod process_groups;
mod process_table;
mod processes;
mod sockstat;
mod stat;
mod sysfs;
mod thermal_zone;
mod time;
mod top;
mod uname;
mod vmstat;
mod zfs;

pub use process_table::ProcessTable;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[
    btrfs::ENTRY,
    containers::ENTRY,
    cpu::ENTRY,
    cpufreq::ENTRY,
    diskstats::ENTRY,
    own::ENTRY,
    filefd::ENTRY,
    filesystem::ENTRY,
    hwmon::ENTRY,
    loadavg::ENTRY,
    mdadm::ENTRY,
    meminfo::ENTRY,
    netclass::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    nvme::ENTRY,
    os::ENTRY,
    pressure::ENTRY,
    probe::ENTRY,
    process_groups::ENTRY,
    processes::ENTRY,
    sockstat::ENTRY,
    stat::ENTRY,
    thermal_zone::ENTRY,
    time::ENTRY,
    top::ENTRY,
    uname::ENTRY,
    vmstat::ENTRY,
    zfs::ENTRY,
];

/// For the fuzzer. What parsers remember of one text meets the same text again, cut in half.
pub(crate) fn parse_everything(text: &str, options: &Options, out: &mut Scrape) {
    let (mut memory, mut pages) = (Default::default(), Default::default());
    let (mut sockets, mut headers, mut sixes) =
        (Default::default(), Default::default(), Default::default());
    let half = text.len() / 2;
    let half = text.get(half..).unwrap_or(text);
    for text in [text, half, text] {
        // Refusing the text is a right answer; only a panic is wrong.
        cpufreq::parse_cpuinfo(text, out);
        filefd::parse(text, out).ok();
        meminfo::parse(text, &mut memory, out).ok();
        netstat::parse_table("net/snmp", text, &options.netstat_fields, &mut headers, out);
        netstat::parse_snmp6(text, &options.netstat_fields, &mut sixes, out);
        os::parse("etc/os-release", text, out);
        pressure::parse("io", text, out);
        sockstat::parse("net/sockstat", text, 4096.0, &mut sockets, out);
        stat::parse(text, out).ok();
        vmstat::parse(text, &options.vmstat_fields, &mut pages, out);
        btrfs::parse_everything(text, out);
        containers::parse_everything(text);
        diskstats::parse_everything(text);
        filesystem::parse_everything(text);
        hwmon::parse_everything(text);
        mdadm::parse_everything(text, out);
        netdev::parse_everything(text);
        process_files::parse_everything(text);
        nvme::parse_everything(text);
        thermal_zone::parse_everything(text);
        zfs::parse_everything(text, out);
    }
}
