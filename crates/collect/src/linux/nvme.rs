//! `nvme`: the NVMe controllers and their namespaces. Source: `/sys/class/nvme`
//! (drivers/nvme/host/sysfs.c).
//!
//! The kernel gives a namespace's size in sectors of 512 bytes, whatever its own blocks are, and
//! what is used of it in its own blocks. (node_exporter multiplies both by the block size, and so
//! makes a namespace with blocks of 4096 bytes eight times as large as it is.)

use farol_model::{Lane, Metric};

use super::sysfs::{self, Folder};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const INFO: &str = "node_nvme_info";
const NAMESPACE_INFO: &str = "node_nvme_namespace_info";
const CAPACITY: &str = "node_nvme_namespace_capacity_bytes";
const SIZE: &str = "node_nvme_namespace_size_bytes";
const USED: &str = "node_nvme_namespace_used_bytes";
const BLOCK_SIZE: &str = "node_nvme_namespace_logical_block_size_bytes";

pub(crate) const ENTRY: Entry = Entry {
    name: "nvme",
    about: "NVMe controllers and the size of their namespaces",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/nvme"],
    metrics: &[
        Metric::gauge(
            INFO,
            "",
            "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
        ),
        Metric::gauge(NAMESPACE_INFO, "", "Information about NVMe namespaces. Value is always 1"),
        Metric::gauge(
            CAPACITY,
            "bytes",
            "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
        ),
        Metric::gauge(
            SIZE,
            "bytes",
            "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
        ),
        Metric::gauge(
            USED,
            "bytes",
            "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
        ),
        Metric::gauge(
            BLOCK_SIZE,
            "bytes",
            "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
        ),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Nvme))
}

struct Nvme;

impl Collector for Nvme {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/nvme");
        for (device, path) in sysfs::devices(&class)? {
            // A controller can go between the listing and the look at it.
            if let Ok(folder) = Folder::open(&path) {
                push_controller(out, &device, &folder);
            }
        }
        match out.samples() {
            [] => Err(CollectError::Absent(format!("{} names no controller", class.display()))),
            _ => Ok(()),
        }
    }
}

fn push_controller(out: &mut Scrape, device: &str, folder: &Folder) {
    let text = |attribute| folder.text(attribute).unwrap_or_default();
    out.push(
        INFO,
        &[
            ("device", device),
            ("firmware_revision", &text("firmware_rev")),
            ("model", &text("model")),
            ("serial", &text("serial")),
            ("state", &text("state")),
            ("cntlid", &text("cntlid")),
        ],
        1.0,
    );
    for name in folder.folders().unwrap_or_default() {
        if let Some(namespace) = namespace_of(&name)
            && let Ok(folder) = folder.inner(&name)
        {
            push_namespace(out, device, namespace, &folder);
        }
    }
}

fn push_namespace(out: &mut Scrape, device: &str, namespace: &str, folder: &Folder) {
    const SECTOR: f64 = 512.0;
    let labels = [("device", device), ("nsid", namespace)];
    let state = folder.text("ana_state").unwrap_or_else(|| "unknown".to_owned());
    out.push(NAMESPACE_INFO, &[labels[0], labels[1], ("ana_state", &state)], 1.0);
    if let Some(sectors) = folder.number("size") {
        out.push(CAPACITY, &labels, sectors * SECTOR);
        out.push(SIZE, &labels, sectors * SECTOR);
    }
    let Some(block) = folder.number("queue/logical_block_size") else { return };
    out.push(BLOCK_SIZE, &labels, block);
    if let Some(blocks) = folder.number("nuse") {
        out.push(USED, &labels, blocks * block);
    }
}

/// `nvme0n1`, or with several paths to it `nvme0c0n1`, → `1`.
fn namespace_of(name: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (path, namespace) = name.strip_prefix("nvme")?.split_once('n')?;
    let path_is_sane = match path.split_once('c') {
        Some((subsystem, controller)) => digits(subsystem) && digits(controller),
        None => digits(path),
    };
    (path_is_sane && digits(namespace)).then_some(namespace)
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        namespace_of(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_namespace_is_told_by_the_name_of_its_folder() {
        assert_eq!(namespace_of("nvme0n1"), Some("1"));
        assert_eq!(namespace_of("nvme1c3n12"), Some("12"));
        assert_eq!(namespace_of("nvme0"), None);
        assert_eq!(namespace_of("nvme0n1p2"), None);
        assert_eq!(namespace_of("hwmon1"), None);
        assert_eq!(namespace_of("nvmecn1"), None);
    }

    #[test]
    fn sizes_are_in_sectors_and_use_is_in_blocks() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let namespace = host.sys.join("class/nvme/nvme0/nvme0n1");
        std::fs::create_dir_all(namespace.join("queue")).unwrap();
        write(&namespace.join("size"), "16\n");
        write(&namespace.join("nuse"), "1\n");
        write(&namespace.join("queue/logical_block_size"), "4096\n");
        let mut out = Scrape::new();
        Nvme.collect(&host, &mut out).unwrap();
        let value =
            |name: &str| out.samples().iter().find(|sample| sample.name == name).unwrap().value;
        assert_eq!(value(SIZE), 8192.0);
        assert_eq!(value(CAPACITY), 8192.0);
        assert_eq!(value(USED), 4096.0);
    }
}
