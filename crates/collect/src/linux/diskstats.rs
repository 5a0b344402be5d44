//! `diskstats`: reads, writes, discards and flushes of each block device. Source:
//! `/proc/diskstats` (block/genhd.c, Documentation/admin-guide/iostats.rst), and udev's data
//! base for what the device is called.

use std::collections::HashMap;

use farol_model::{Lane, Metric};
use regex::Regex;

use super::sysfs;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree, host,
};

const INFO: Metric = Metric::gauge("node_disk_info", "", "Info of /sys/block/<block_device>.");
const FILESYSTEM: Metric =
    Metric::gauge("node_disk_filesystem_info", "", "Info about disk filesystem.");
const MAPPER: Metric =
    Metric::gauge("node_disk_device_mapper_info", "", "Info about disk device mapper.");
const BACKING: Metric = Metric::gauge(
    "node_disk_device_mapper_backing_device_info",
    "",
    "Info about the underlying block devices of a device mapper device.",
);

/// What udev's `ata_id` asked an ATA disk, by property.
const ATA: [(&str, Metric); 3] = [
    (
        "ID_ATA_WRITE_CACHE",
        Metric::gauge("node_disk_ata_write_cache", "", "ATA disk has a write cache."),
    ),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        Metric::gauge(
            "node_disk_ata_write_cache_enabled",
            "",
            "ATA disk has its write cache enabled.",
        ),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        Metric::gauge(
            "node_disk_ata_rotation_rate_rpm",
            "",
            "ATA disk rotation rate in RPMs (0 for SSDs).",
        ),
    ),
];

/// What one unit of a column is.
#[derive(Clone, Copy)]
enum Unit {
    Count,
    /// Always 512 bytes, whatever the device's own sectors are.
    Sector,
    Millisecond,
}

use Unit::{Count, Millisecond, Sector};

impl Unit {
    fn scale(self, value: u64) -> f64 {
        match self {
            Count => value as f64,
            Sector => value as f64 * 512.0,
            // Dividing gives the nearest number, multiplying by 0.001 often its neighbour, which
            // takes 17 digits to write.
            Millisecond => value as f64 / 1000.0,
        }
    }
}

/// The columns after the device's name, in the kernel's order: old kernels have only the first 11,
/// or the first 15.
const COLUMNS: [(Metric, Unit); 17] = [
    (
        Metric::counter(
            "node_disk_reads_completed_total",
            "",
            "The total number of reads completed successfully.",
        ),
        Count,
    ),
    (
        Metric::counter("node_disk_reads_merged_total", "", "The total number of reads merged."),
        Count,
    ),
    (
        Metric::counter(
            "node_disk_read_bytes_total",
            "bytes",
            "The total number of bytes read successfully.",
        ),
        Sector,
    ),
    (
        Metric::counter(
            "node_disk_read_time_seconds_total",
            "seconds",
            "The total number of seconds spent by all reads.",
        ),
        Millisecond,
    ),
    (
        Metric::counter(
            "node_disk_writes_completed_total",
            "",
            "The total number of writes completed successfully.",
        ),
        Count,
    ),
    (Metric::counter("node_disk_writes_merged_total", "", "The number of writes merged."), Count),
    (
        Metric::counter(
            "node_disk_written_bytes_total",
            "bytes",
            "The total number of bytes written successfully.",
        ),
        Sector,
    ),
    (
        Metric::counter(
            "node_disk_write_time_seconds_total",
            "seconds",
            "This is the total number of seconds spent by all writes.",
        ),
        Millisecond,
    ),
    (Metric::gauge("node_disk_io_now", "", "The number of I/Os currently in progress."), Count),
    (
        Metric::counter(
            "node_disk_io_time_seconds_total",
            "seconds",
            "Total seconds spent doing I/Os.",
        ),
        Millisecond,
    ),
    (
        Metric::counter(
            "node_disk_io_time_weighted_seconds_total",
            "seconds",
            "The weighted # of seconds spent doing I/Os.",
        ),
        Millisecond,
    ),
    (
        Metric::counter(
            "node_disk_discards_completed_total",
            "",
            "The total number of discards completed successfully.",
        ),
        Count,
    ),
    (
        Metric::counter(
            "node_disk_discards_merged_total",
            "",
            "The total number of discards merged.",
        ),
        Count,
    ),
    (
        Metric::counter(
            "node_disk_discarded_sectors_total",
            "",
            "The total number of sectors discarded successfully.",
        ),
        Count,
    ),
    (
        Metric::counter(
            "node_disk_discard_time_seconds_total",
            "seconds",
            "This is the total number of seconds spent by all discards.",
        ),
        Millisecond,
    ),
    (
        Metric::counter(
            "node_disk_flush_requests_total",
            "",
            "The total number of flush requests completed successfully",
        ),
        Count,
    ),
    (
        Metric::counter(
            "node_disk_flush_requests_time_seconds_total",
            "seconds",
            "This is the total number of seconds spent by all flush requests.",
        ),
        Millisecond,
    ),
];

const METRICS: [Metric; COLUMNS.len() + ATA.len() + 4] = {
    let mut metrics = [INFO; COLUMNS.len() + ATA.len() + 4];
    let mut at = 0;
    while at < COLUMNS.len() {
        metrics[at] = COLUMNS[at].0;
        at += 1;
    }
    while at < COLUMNS.len() + ATA.len() {
        metrics[at] = ATA[at - COLUMNS.len()].1;
        at += 1;
    }
    metrics[at] = FILESYSTEM;
    metrics[at + 1] = MAPPER;
    metrics[at + 2] = BACKING;
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "diskstats",
    about: "reads, writes, discards and flushes of each block device",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/diskstats", "/sys/block", "/run/udev/data"],
    metrics: &METRICS,
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Diskstats {
        file: HotFile::new(Tree::Proc, "diskstats"),
        exclude: options.diskstats_device_exclude.clone(),
        devices: HashMap::new(),
        ticks: 0,
    }))
}

struct Diskstats {
    file: HotFile,
    exclude: Regex,
    /// What is remembered of each name seen, so that the pattern runs once per device.
    devices: HashMap<String, Device>,
    ticks: u64,
}

enum Device {
    Excluded,
    Watched(Box<Info>),
}

/// What a device is: this changes only with the device, its number says when.
#[derive(Debug, Default, PartialEq)]
struct Info {
    major: String,
    minor: String,
    path: String,
    wwn: String,
    model: String,
    serial: String,
    revision: String,
    rotational: String,
    filesystem: Option<Filesystem>,
    mapper: Option<Mapper>,
    /// Values of [`ATA`], where it is an ATA disk.
    ata: [Option<f64>; ATA.len()],
}

/// What blkid found on the device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filesystem {
    kind: String,
    usage: String,
    uuid: String,
    version: String,
}

/// What device mapper calls the device (LVM, LUKS, multipath), and what it is made of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mapper {
    name: String,
    uuid: String,
    vg_name: String,
    lv_name: String,
    lv_layer: String,
    backing: Vec<String>,
}

/// Beyond this many names the memory is let go and filled anew: names come and go with
/// hot-plugged devices, never by the thousand.
const MOST_DEVICES: usize = 1024;

/// udev fills in its data base a moment after the kernel announces a device, so what is
/// remembered is looked up again now and then (once a minute in a lane of 1 s).
const TICKS_BETWEEN_LOOK_UPS: u64 = 60;

impl Collector for Diskstats {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        self.ticks += 1;
        if self.devices.len() > MOST_DEVICES || self.ticks.is_multiple_of(TICKS_BETWEEN_LOOK_UPS) {
            self.devices.clear();
        }
        for line in self.file.read_str(host)?.lines() {
            let Some(line) = Line::parse(line)? else { continue };
            let device = match self.devices.get(line.device) {
                Some(known) if known.is_still(&line) => known,
                _ => {
                    let seen = Device::look_up(host, &self.exclude, &line);
                    self.devices.entry(line.device.to_owned()).insert_entry(seen).into_mut()
                }
            };
            if let Device::Watched(info) = device {
                push(out, &line, info);
            }
        }
        Ok(())
    }
}

fn push(out: &mut Scrape, line: &Line<'_>, info: &Info) {
    let device = line.device;
    out.push(
        INFO.name,
        &[
            ("device", device),
            ("major", &info.major),
            ("minor", &info.minor),
            ("path", &info.path),
            ("wwn", &info.wwn),
            ("model", &info.model),
            ("serial", &info.serial),
            ("revision", &info.revision),
            ("rotational", &info.rotational),
        ],
        1.0,
    );
    for ((metric, unit), value) in COLUMNS.iter().zip(&line.values[..line.columns]) {
        out.push(metric.name, &[("device", device)], unit.scale(*value));
    }
    push_content(out, device, info);
}

fn push_content(out: &mut Scrape, device: &str, info: &Info) {
    let device = ("device", device);
    if let Some(Filesystem { kind, usage, uuid, version }) = &info.filesystem {
        let labels =
            [device, ("type", kind), ("usage", usage), ("uuid", uuid), ("version", version)];
        out.push(FILESYSTEM.name, &labels, 1.0);
    }
    if let Some(mapper) = &info.mapper {
        let labels = [
            device,
            ("name", mapper.name.as_str()),
            ("uuid", &mapper.uuid),
            ("vg_name", &mapper.vg_name),
            ("lv_name", &mapper.lv_name),
            ("lv_layer", &mapper.lv_layer),
        ];
        out.push(MAPPER.name, &labels, 1.0);
        for backing in &mapper.backing {
            out.push(BACKING.name, &[device, ("backing_device", backing)], 1.0);
        }
    }
    for ((_, metric), value) in ATA.iter().zip(info.ata) {
        if let Some(value) = value {
            out.push(metric.name, &[device], value);
        }
    }
}

impl Device {
    fn look_up(host: &Host, exclude: &Regex, line: &Line<'_>) -> Device {
        if exclude.is_match(line.device) {
            return Device::Excluded;
        }
        // udev's data base is below the host's /run, and in a recorded machine too.
        let udev = host.run.join(format!("udev/data/b{}:{}", line.major, line.minor));
        let udev = host::read_small(&udev).unwrap_or_default();
        // A device's name has '!' in sysfs where it has '/' in /proc (cciss!c0d0).
        let block = host.sys.join("block").join(line.device.replace('/', "!"));
        let mut info = Info::from_udev(&udev);
        info.major = line.major.to_owned();
        info.minor = line.minor.to_owned();
        info.rotational = host::read_small(&block.join("queue/rotational")).unwrap_or_default();
        if let Some(mapper) = &mut info.mapper {
            let backing = sysfs::devices(&block.join("slaves")).unwrap_or_default();
            mapper.backing = backing.into_iter().map(|(name, _)| name).collect();
        }
        Device::Watched(Box::new(info))
    }

    /// A name can come back with another device behind it.
    fn is_still(&self, line: &Line<'_>) -> bool {
        match self {
            Device::Excluded => true,
            Device::Watched(info) => info.major == line.major && info.minor == line.minor,
        }
    }
}

impl Info {
    /// udev writes one property a line: `E:ID_MODEL=…`.
    fn from_udev(text: &str) -> Info {
        let properties: HashMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("E:")?.split_once('='))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let has = |wanted: &str| properties.contains_key(wanted);
        let property = |wanted: &str| properties.get(wanted).map(|value| (*value).to_owned());
        let text_of = |wanted: &str| property(wanted).unwrap_or_default();
        let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"];
        Info {
            path: text_of("ID_PATH"),
            wwn: text_of("ID_WWN"),
            model: text_of("ID_MODEL"),
            revision: text_of("ID_REVISION"),
            serial: serial.into_iter().find_map(property).unwrap_or_default(),
            filesystem: property("ID_FS_TYPE").map(|kind| Filesystem {
                kind,
                usage: text_of("ID_FS_USAGE"),
                uuid: text_of("ID_FS_UUID"),
                version: text_of("ID_FS_VERSION"),
            }),
            mapper: property("DM_NAME").map(|name| Mapper {
                name,
                uuid: text_of("DM_UUID"),
                vg_name: text_of("DM_VG_NAME"),
                lv_name: text_of("DM_LV_NAME"),
                lv_layer: text_of("DM_LV_LAYER"),
                backing: Vec::new(),
            }),
            // A property of a disk that was another once can be left over.
            ata: ATA.map(|(wanted, _)| {
                properties.get(wanted).filter(|_| has("ID_ATA"))?.parse::<u32>().ok().map(f64::from)
            }),
            ..Info::default()
        }
    }
}

struct Line<'a> {
    major: &'a str,
    minor: &'a str,
    device: &'a str,
    values: [u64; COLUMNS.len()],
    /// How many of the values the kernel gave.
    columns: usize,
}

impl Line<'_> {
    /// `None` for the short lines that kernels before 2.6.25 give for partitions, and for empty ones.
    fn parse(line: &str) -> Result<Option<Line<'_>>, CollectError> {
        const LEAST: usize = 11;
        let mut fields = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(device)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Ok(None);
        };
        let mut parsed = Line { major, minor, device, values: [0; COLUMNS.len()], columns: 0 };
        for (value, field) in parsed.values.iter_mut().zip(fields) {
            *value = field.parse().map_err(|_| {
                CollectError::Failed(format!("diskstats: {device}: not a number: {field:?}"))
            })?;
            parsed.columns += 1;
        }
        Ok((parsed.columns >= LEAST).then_some(parsed))
    }
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    drop(Info::from_udev(text));
    for line in text.lines() {
        Line::parse(line).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_as_many_columns_as_the_kernel_does() {
        let new = " 259       0 nvme0n1 47114 4 4643973 21650 1078320 43950 39451633 1011053 0 222766 1032546 11 12 13 14 15 16";
        let line = Line::parse(new).unwrap().unwrap();
        assert_eq!(
            (line.major, line.minor, line.device, line.columns),
            ("259", "0", "nvme0n1", 17)
        );
        assert_eq!((line.values[0], line.values[16]), (47114, 16));
        let old = "8 0 sda 1 2 3 4 5 6 7 8 9 10 11";
        assert_eq!(Line::parse(old).unwrap().unwrap().columns, 11);
        assert!(Line::parse("8 1 sda1 1 2 3 4").unwrap().is_none());
        assert!(Line::parse("").unwrap().is_none());
        assert!(Line::parse("8 0 sda 1 x 3").is_err());
    }

    #[test]
    fn sectors_become_bytes_and_milliseconds_seconds() {
        let mut out = Scrape::new();
        let line = Line::parse("8 0 sda 1 2 8 1500 5 6 7 8 9 10 11").unwrap().unwrap();
        push(&mut out, &line, &Info::default());
        let value =
            |name: &str| out.samples().iter().find(|sample| sample.name == name).unwrap().value;
        assert_eq!(value("node_disk_read_bytes_total"), 4096.0);
        assert_eq!(value("node_disk_read_time_seconds_total"), 1.5);
        assert_eq!(value("node_disk_io_now"), 9.0);
        assert_eq!(value("node_disk_info"), 1.0);
        assert!(out.samples().iter().all(|sample| !sample.name.contains("discard")));
    }

    #[test]
    fn udev_names_the_disk_by_the_serial_on_its_label() {
        let info = Info::from_udev(
            "S:disk/by-id/x\nE:ID_MODEL=Samsung_SSD\nE:ID_SERIAL=Samsung_SSD_S1\nE:ID_SERIAL_SHORT=S1\nE:ID_PATH=pci-0000:02:00.0-nvme-1\n",
        );
        assert_eq!((info.serial.as_str(), info.model.as_str()), ("S1", "Samsung_SSD"));
        assert_eq!(info.path, "pci-0000:02:00.0-nvme-1");
        assert_eq!((info.filesystem, info.mapper, info.ata), (None, None, [None; 3]));
    }

    #[test]
    fn udev_tells_what_is_on_a_volume_and_what_an_ata_disk_can() {
        let info = Info::from_udev(
            "E:DM_NAME=vg0-root\nE:DM_UUID=LVM-1\nE:DM_VG_NAME=vg0\nE:DM_LV_NAME=root\n\
             E:DM_LV_LAYER=\nE:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\nE:ID_FS_UUID=u\nE:ID_FS_VERSION=1.0\n",
        );
        let mapper = info.mapper.unwrap();
        assert_eq!((mapper.vg_name.as_str(), mapper.lv_name.as_str()), ("vg0", "root"));
        assert_eq!(mapper.lv_layer, "");
        assert_eq!(info.filesystem.unwrap().kind, "ext4");
        let ata = "E:ID_ATA_WRITE_CACHE=1\nE:ID_ATA_WRITE_CACHE_ENABLED=no\nE:ID_ATA_ROTATION_RATE_RPM=7200\n";
        assert_eq!(Info::from_udev(ata).ata, [None; 3], "it is no ATA disk");
        let info = Info::from_udev(&format!("{ata}E:ID_ATA=1\n"));
        assert_eq!(info.ata, [Some(1.0), None, Some(7200.0)]);
    }
}
