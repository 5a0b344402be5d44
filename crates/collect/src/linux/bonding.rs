//! `bonding`: devices that make up each bond, and how many of them have a link. Sources:
//! `/sys/class/net/bonding_masters` and each bond's `bonding/slaves` and
//! `lower_<device>/bonding_slave/mii_status` (drivers/net/bonding/bond_sysfs.c, bond_sysfs_slave.c).

use farol_model::{Lane, Metric};

use super::sysfs::Folder;
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

const SLAVES: &str = "node_bonding_slaves";
const ACTIVE: &str = "node_bonding_active";

pub(crate) const ENTRY: Entry = Entry {
    name: "bonding",
    about: "members of each bond and how many have a link",
    on: true,
    lane: Lane::Slow,
    scope: Scope::NetworkDevices,
    reads: &["/sys/class/net"],
    metrics: &[
        Metric::gauge(SLAVES, "", "Number of configured slaves per bonding interface."),
        Metric::gauge(ACTIVE, "", "Number of active slaves per bonding interface."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Bonding))
}

struct Bonding;

impl Collector for Bonding {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("class/net");
        let list = class.join("bonding_masters");
        let masters = read_small(&list).map_err(|error| CollectError::reading(&list, &error))?;
        for master in masters.split_ascii_whitespace() {
            match members(&class.join(master)) {
                Some((slaves, active)) => {
                    out.push(SLAVES, &[("master", master)], slaves as f64);
                    out.push(ACTIVE, &[("master", master)], active as f64);
                }
                None => out.problem(format!("bonding: the members of {master} cannot be read")),
            }
        }
        Ok(())
    }
}

/// How many devices the bond has, and how many of them are up. A member that left between the list
/// and the look is still counted, as without a link.
fn members(master: &std::path::Path) -> Option<(usize, usize)> {
    let folder = Folder::open(master).ok()?;
    let slaves = folder.text("bonding/slaves")?;
    let is_up = |slave: &&str| {
        // Kernels before 3.13 called the link to the member by another name.
        let mut prefixes = ["lower", "slave"].into_iter();
        prefixes
            .find_map(|prefix| folder.text(&format!("{prefix}_{slave}/bonding_slave/mii_status")))
            .is_some_and(|status| status == "up")
    };
    let slaves = slaves.split_ascii_whitespace();
    Some((slaves.clone().count(), slaves.filter(is_up).count()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn members_are_counted_with_those_that_have_a_link() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let class = host.sys.join("class/net");
        write(&class.join("bonding_masters"), "bond0 bond1\n");
        write(&class.join("bond0/bonding/slaves"), "eth0 eth1 eth2\n");
        write(&class.join("bond0/lower_eth0/bonding_slave/mii_status"), "up\n");
        write(&class.join("bond0/slave_eth1/bonding_slave/mii_status"), "up\n");
        write(&class.join("bond0/lower_eth2/bonding_slave/mii_status"), "down\n");
        let mut out = Scrape::new();
        Bonding.collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values, [(SLAVES, 3.0), (ACTIVE, 2.0)]);
        assert_eq!(out.take_problems(), ["bonding: the members of bond1 cannot be read"]);
    }

    #[test]
    fn a_machine_without_bonds_has_none() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let result = Bonding.collect(&host, &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
    }
}
