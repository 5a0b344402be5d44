//! `btrfs`: how each mounted btrfs file system has divided its devices, what its commits cost, and
//! the errors of its devices. Source: `/sys/fs/btrfs/<uuid>` (fs/btrfs/sysfs.c).
//!
//! node_exporter asks for the devices by ioctl, which needs unsafe code and the mount point opened
//! for reading. sysfs tells everyone the sizes, and since Linux 5.14 the errors too; only what is
//! unused on a device and the device's UUID are nowhere in it, so these are not given. sysfs counts
//! errors by the device's number in the file system (`devid`) and does not say which block device
//! that is, unless there is one only.

use std::collections::HashSet;

use farol_model::{Lane, Metric};

use super::{
    lines::pairs,
    sysfs::{self, Folder},
};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const INFO: &str = "node_btrfs_info";
const GLOBAL_RESERVE: &str = "node_btrfs_global_rsv_size_bytes";
const RESERVED: &str = "node_btrfs_reserved_bytes";
const USED: &str = "node_btrfs_used_bytes";
const SIZE: &str = "node_btrfs_size_bytes";
const RATIO: &str = "node_btrfs_allocation_ratio";
const DEVICE_SIZE: &str = "node_btrfs_device_size_bytes";
const DEVICE_ERRORS: &str = "node_btrfs_device_errors_total";
const COMMITS: &str = "node_btrfs_commits_total";
const LAST_COMMIT: &str = "node_btrfs_last_commit_seconds";
const LONGEST_COMMIT: &str = "node_btrfs_max_commit_seconds";
const COMMIT_TIME: &str = "node_btrfs_commit_seconds_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "btrfs",
    about: "space, commits and device errors of each btrfs file system",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/fs/btrfs"],
    metrics: &[
        Metric::gauge(INFO, "", "Filesystem information"),
        Metric::gauge(GLOBAL_RESERVE, "bytes", "Size of global reserve."),
        Metric::gauge(RESERVED, "bytes", "Amount of space reserved for a data type"),
        Metric::gauge(USED, "bytes", "Amount of used space by a layout/data type"),
        Metric::gauge(SIZE, "bytes", "Amount of space allocated for a layout/data type"),
        Metric::gauge(RATIO, "ratio", "Data allocation ratio for a layout/data type"),
        Metric::gauge(DEVICE_SIZE, "bytes", "Size of a device that is part of the filesystem."),
        Metric::counter(DEVICE_ERRORS, "", "Errors reported for the device"),
        Metric::counter(COMMITS, "", "The total number of commits that have occurred."),
        Metric::gauge(LAST_COMMIT, "seconds", "Duration of the most recent commit, in seconds."),
        Metric::gauge(LONGEST_COMMIT, "seconds", "Duration of the slowest commit, in seconds."),
        Metric::counter(COMMIT_TIME, "seconds", "Sum of the duration of all commits, in seconds."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Btrfs))
}

struct Btrfs;

impl Collector for Btrfs {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("fs/btrfs");
        let mut seen = HashSet::new();
        for (name, path) in sysfs::devices(&class)? {
            // Beside the file systems stands `features`: what the kernel can.
            if !name.contains('-') {
                continue;
            }
            let Ok(folder) = Folder::open(&path) else { continue };
            let uuid = folder.text("metadata_uuid").filter(|uuid| !uuid.is_empty());
            // A clone of a mounted file system has the same one, but a folder of its own.
            let uuid = uuid.filter(|uuid| seen.insert(uuid.clone())).unwrap_or(name);
            push_file_system(out, &uuid, &folder);
        }
        match out.samples() {
            [] => Err(CollectError::Absent(format!(
                "{} names no file system: none is mounted",
                class.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn push_file_system(out: &mut Scrape, uuid: &str, folder: &Folder) {
    let label = folder.text("label").unwrap_or_default();
    out.push(INFO, &[("uuid", uuid), ("label", &label)], 1.0);
    if let Some(size) = folder.number("allocation/global_rsv_size") {
        out.push(GLOBAL_RESERVE, &[("uuid", uuid)], size);
    }
    push_commits(out, uuid, &folder.text("commit_stats").unwrap_or_default());
    let devices = Devices::of(folder);
    for (device, size) in &devices.sizes {
        out.push(DEVICE_SIZE, &[("uuid", uuid), ("device", device)], *size);
    }
    push_errors(out, uuid, folder, &devices);
    // `mixed` stands for data and metadata together in small file systems.
    for group in ["data", "metadata", "mixed", "system"] {
        if let Ok(allocation) = folder.inner(&format!("allocation/{group}")) {
            push_allocation(out, uuid, group, &allocation, devices.sizes.len());
        }
    }
}

fn push_commits(out: &mut Scrape, uuid: &str, text: &str) {
    for (key, value) in pairs(text) {
        let value = value as f64;
        let (name, value) = match key {
            "commits" => (COMMITS, value),
            "last_commit_ms" => (LAST_COMMIT, value / 1e3),
            "max_commit_ms" => (LONGEST_COMMIT, value / 1e3),
            "total_commit_ms" => (COMMIT_TIME, value / 1e3),
            _ => continue,
        };
        out.push(name, &[("uuid", uuid)], value);
    }
}

struct Devices {
    sizes: Vec<(String, f64)>,
}

impl Devices {
    fn of(folder: &Folder) -> Devices {
        const SECTOR: f64 = 512.0;
        let Ok(devices) = folder.inner("devices") else { return Devices { sizes: Vec::new() } };
        let names = devices.folders().unwrap_or_default();
        let size = |name: &String| devices.number(&format!("{name}/size"));
        let sizes =
            names.iter().filter_map(|name| Some((name.clone(), size(name)? * SECTOR))).collect();
        Devices { sizes }
    }

    /// The block device that every number must stand for.
    fn only(&self) -> &str {
        match self.sizes.as_slice() {
            [(device, _)] => device,
            _ => "",
        }
    }
}

fn push_errors(out: &mut Scrape, uuid: &str, folder: &Folder, devices: &Devices) {
    let Ok(numbers) = folder.inner("devinfo") else { return };
    for devid in numbers.folders().unwrap_or_default() {
        let text = numbers.text(&format!("{devid}/error_stats")).unwrap_or_default();
        for (key, value) in pairs(&text) {
            let Some(kind) = key.strip_suffix("_errs") else { continue };
            let device = devices.only();
            let labels = [("uuid", uuid), ("devid", &devid), ("device", device), ("type", kind)];
            out.push(DEVICE_ERRORS, &labels, value as f64);
        }
    }
}

fn push_allocation(out: &mut Scrape, uuid: &str, group: &str, folder: &Folder, devices: usize) {
    let labels = [("uuid", uuid), ("block_group_type", group)];
    if let Some(reserved) = folder.number("bytes_reserved") {
        out.push(RESERVED, &labels, reserved);
    }
    for layout in folder.folders().unwrap_or_default() {
        let labels = [labels[0], labels[1], ("mode", layout.as_str())];
        if let Some(used) = folder.number(&format!("{layout}/used_bytes")) {
            out.push(USED, &labels, used);
        }
        if let Some(size) = folder.number(&format!("{layout}/total_bytes")) {
            out.push(SIZE, &labels, size);
        }
        if let Some(ratio) = ratio(&layout, devices) {
            out.push(RATIO, &labels, ratio);
        }
    }
}

/// Bytes on the devices for one byte of data; `None` for a layout that is not known.
fn ratio(layout: &str, devices: usize) -> Option<f64> {
    let devices = devices as f64;
    let ratio = match layout {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => return None,
    };
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str, out: &mut Scrape) {
    push_commits(out, "u", text);
    for line in text.lines() {
        ratio(line, line.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_takes_as_many_bytes_as_it_keeps_copies() {
        assert_eq!(ratio("single", 1), Some(1.0));
        assert_eq!(ratio("dup", 1), Some(2.0));
        assert_eq!(ratio("raid1c4", 4), Some(4.0));
        assert_eq!(ratio("raid5", 3), Some(1.5));
        assert_eq!(ratio("raid6", 4), Some(2.0));
        assert_eq!(ratio("raid6", 2), None, "no such array can be");
        assert_eq!(ratio("raid7", 4), None);
    }

    #[test]
    fn commits_are_counted_and_timed_in_seconds() {
        let mut out = Scrape::new();
        let text = "commits 215\ncur_commit_ms 0\nlast_commit_ms 5\nmax_commit_ms 21\ntotal_commit_ms 1250\n";
        push_commits(&mut out, "u", text);
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(
            values,
            [(COMMITS, 215.0), (LAST_COMMIT, 0.005), (LONGEST_COMMIT, 0.021), (COMMIT_TIME, 1.25)]
        );
    }

    #[test]
    fn errors_name_the_block_device_only_where_there_is_no_choice() {
        let one = Devices { sizes: vec![("sda".into(), 1.0)] };
        assert_eq!(one.only(), "sda");
        let two = Devices { sizes: vec![("sda".into(), 1.0), ("sdb".into(), 1.0)] };
        assert_eq!(two.only(), "");
    }
}
