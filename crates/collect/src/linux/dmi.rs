//! `dmi`: who made the machine, its model, and its firmware. Source: `/sys/class/dmi/id`
//! (drivers/firmware/dmi-id.c).
//!
//! It is the same until the next boot, so it is read once. Serial numbers and the product's UUID
//! are for root alone; to others they are absent.

use farol_model::{Lane, Metric};

use super::sysfs::Folder;
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const INFO: &str = "node_dmi_info";

/// Attribute and label.
const ATTRIBUTES: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("sys_vendor", "system_vendor"),
];

pub(crate) const ENTRY: Entry = Entry {
    name: "dmi",
    about: "maker, model and firmware of the machine",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/class/dmi/id"],
    metrics: &[Metric::gauge(
        INFO,
        "",
        "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, product_version, system_vendor if provided by DMI.",
    )],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Dmi { known: Vec::new() }))
}

struct Dmi {
    known: Vec<(&'static str, String)>,
}

impl Collector for Dmi {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        if self.known.is_empty() {
            self.known = read(host)?;
        }
        let labels: Vec<_> = self.known.iter().map(|(name, text)| (*name, text.as_str())).collect();
        out.push(INFO, &labels, 1.0);
        Ok(())
    }
}

fn read(host: &Host) -> Result<Vec<(&'static str, String)>, CollectError> {
    let path = host.sys.join("class/dmi/id");
    let folder = Folder::open(&path).map_err(|error| CollectError::reading(&path, &error))?;
    let known: Vec<_> = ATTRIBUTES
        .iter()
        .filter_map(|(attribute, label)| Some((*label, folder.text(attribute)?)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    match known.as_slice() {
        [] => Err(CollectError::Absent(format!("{} says nothing", path.display()))),
        _ => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn what_the_firmware_says_becomes_labels_and_the_rest_is_absent() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let id = host.sys.join("class/dmi/id");
        std::fs::create_dir_all(&id).unwrap();
        let mut collector = build(&Options::default()).unwrap();
        let mut out = Scrape::new();
        assert!(matches!(collector.collect(&host, &mut out), Err(CollectError::Absent(_))));
        write(&id.join("sys_vendor"), "LENOVO\n");
        write(&id.join("board_version"), "\n");
        write(&id.join("modalias"), "dmi:bvnLENOVO\n");
        collector.collect(&host, &mut out).unwrap();
        let labels = &out.samples()[0].labels;
        assert_eq!(labels.get("system_vendor"), Some("LENOVO"));
        assert_eq!(labels.len(), 1);
    }
}
