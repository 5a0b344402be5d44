//! The Linux collectors, one file each. The slice below is the list of all there are.

use crate::{Entry, Options, Scrape, own, probe, textfile};

mod adjtimex;
mod arp;
mod bonding;
mod btrfs;
pub(crate) mod cgroup_path;
mod conntrack;
mod containers;
mod cpu;
mod cpu_topology;
mod cpufreq;
mod dbus;
mod diskstats;
mod dmi;
mod edac;
mod entropy;
mod filefd;
mod filesystem;
mod hwmon;
mod interrupts;
mod kernel_hung;
mod lines;
mod loadavg;
mod mdadm;
mod meminfo;
mod netclass;
mod netdev;
mod netstat;
mod nfs;
mod nfsd;
mod nvme;
mod os;
mod powersupplyclass;
mod pressure;
mod process_files;
mod process_groups;
mod process_table;
mod processes;
mod rapl;
mod schedstat;
mod selinux;
mod sock_diag;
mod socket_table;
mod sockstat;
mod softnet;
mod stat;
mod sysfs;
mod systemd;
mod tcpstat;
mod thermal_zone;
mod time;
mod timex;
mod top;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod xfs;
mod zfs;

pub(crate) use containers::is_machines_tree;
pub use process_table::ProcessTable;

/// In order of their names.
pub(crate) const COLLECTORS: &[Entry] = &[
    arp::ENTRY,
    bonding::ENTRY,
    btrfs::ENTRY,
    conntrack::ENTRY,
    containers::ENTRY,
    cpu::ENTRY,
    cpufreq::ENTRY,
    diskstats::ENTRY,
    dmi::ENTRY,
    edac::ENTRY,
    entropy::ENTRY,
    own::ENTRY,
    filefd::ENTRY,
    filesystem::ENTRY,
    hwmon::ENTRY,
    interrupts::ENTRY,
    kernel_hung::ENTRY,
    loadavg::ENTRY,
    mdadm::ENTRY,
    meminfo::ENTRY,
    netclass::ENTRY,
    netdev::ENTRY,
    netstat::ENTRY,
    nfs::ENTRY,
    nfsd::ENTRY,
    nvme::ENTRY,
    os::ENTRY,
    powersupplyclass::ENTRY,
    pressure::ENTRY,
    probe::ENTRY,
    process_groups::ENTRY,
    processes::ENTRY,
    rapl::ENTRY,
    schedstat::ENTRY,
    selinux::ENTRY,
    sockstat::ENTRY,
    softnet::ENTRY,
    stat::ENTRY,
    systemd::ENTRY,
    tcpstat::ENTRY,
    textfile::ENTRY,
    thermal_zone::ENTRY,
    time::ENTRY,
    timex::ENTRY,
    top::ENTRY,
    udp_queues::ENTRY,
    uname::ENTRY,
    vmstat::ENTRY,
    watchdog::ENTRY,
    xfs::ENTRY,
    zfs::ENTRY,
];

/// For the fuzzer. What parsers remember of one text meets the same text again, cut in half.
pub(crate) fn parse_everything(text: &str, options: &Options, out: &mut Scrape) {
    let (mut memory, mut pages) = (Default::default(), Default::default());
    let (mut sockets, mut headers, mut sixes) =
        (Default::default(), Default::default(), Default::default());
    let mut interrupts = interrupts::Known::default();
    let half = text.len() / 2;
    let half = text.get(half..).unwrap_or(text);
    for text in [text, half, text] {
        // Refusing the text is a right answer; only a panic is wrong.
        arp::parse(text, out);
        conntrack::parse(text, out);
        cpu_topology::parse_cpuinfo(text);
        cpu_topology::parse_list(text);
        cpufreq::parse_cpuinfo(text, out);
        entropy::parse("node_entropy_available_bits", text, out);
        filefd::parse(text, out).ok();
        interrupts.parse(text, out).ok();
        kernel_hung::parse(text).ok();
        meminfo::parse(text, &mut memory, out).ok();
        netstat::parse_table("net/snmp", text, &options.netstat_fields, &mut headers, out);
        netstat::parse_snmp6(text, &options.netstat_fields, &mut sixes, out);
        nfs::parse(text, out);
        nfsd::parse(text, out);
        os::parse("etc/os-release", text, out);
        pressure::parse("io", text, out);
        schedstat::parse(text, out);
        selinux::parse_cache_stats(text, out);
        selinux::parse_hash_stats(text, out);
        socket_table::parse_everything(text);
        sockstat::parse("net/sockstat", text, Some(4096.0), &mut sockets, out);
        softnet::parse(text, out);
        stat::parse(text, out).ok();
        vmstat::parse(text, &options.vmstat_fields, &mut pages, out);
        btrfs::parse_everything(text, out);
        containers::parse_everything(text);
        xfs::parse("sda1", text, out);
        diskstats::parse_everything(text);
        edac::parse_everything(text);
        filesystem::parse_everything(text);
        hwmon::parse_everything(text);
        mdadm::parse_everything(text, out);
        netdev::parse_everything(text);
        process_files::parse_everything(text);
        nvme::parse_everything(text);
        rapl::parse_everything(text, out);
        systemd::parse_everything(text);
        thermal_zone::parse_everything(text);
        zfs::parse_everything(text, out);
    }
}

/// For the fuzzer: what is read from others that send bytes, not text.
pub(crate) fn parse_bytes(bytes: &[u8]) {
    dbus::parse_everything(bytes);
    sock_diag::parse_everything(bytes);
}
