//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, Options, Scrape, own, probe};

mod cgroup_path;
mod cpu;
mod cpufreq;
mod dbus;
mod diskstats;
mod dmi;
mod edac;
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
mod powersupplyclass;
mod pressure;
mod rapl;
mod sockstat;
mod stat;
mod sysfs;
mod systemd;
mod thermal_zone;
mod time;
mod uname;
mod vmstat;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[
    cpu::ENTRY,
    cpufreq::ENTRY,
    diskstats::ENTRY,
    dmi::ENTRY,
    edac::ENTRY,
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
    powersupplyclass::ENTRY,
    pressure::ENTRY,
    probe::ENTRY,
    rapl::ENTRY,
    sockstat::ENTRY,
    stat::ENTRY,
    systemd::ENTRY,
    thermal_zone::ENTRY,
    time::ENTRY,
    uname::ENTRY,
    vmstat::ENTRY,
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
        diskstats::parse_everything(text);
        edac::parse_everything(text);
        filesystem::parse_everything(text);
        hwmon::parse_everything(text);
        netdev::parse_everything(text);
        rapl::parse_everything(text, out);
        systemd::parse_everything(text);
        thermal_zone::parse_everything(text);
    }
}

/// For the fuzzer: what is read from others that send bytes, not text.
pub(crate) fn parse_bytes(bytes: &[u8]) {
    dbus::parse_everything(bytes);
}
