//! `zfs`: the caches of ZFS, its intent log, and the traffic of each pool and dataset. Source:
//! `/proc/spl/kstat/zfs` (OpenZFS, module/os/linux/spl/spl-kstat.c).
//!
//! A kstat file has a line of numbers, a line of headings (`name type data`), and then a line for
//! each value. Which values there are depends on the version of ZFS, so their names become the
//! metrics' names.

use std::path::Path;

use farol_model::{Lane, Metric};

use super::lines::{CoinedNames, is_name_part, malformed};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree, host,
};

const POOL_STATE: &str = "node_zfs_zpool_state";

/// Names in full first; of the rows with a star the first that matches counts.
const METRICS: &[Metric] = &[
    Metric::gauge(POOL_STATE, "", "kstat.zfs.misc.state"),
    untyped("node_zfs_zpool_dataset_*", "kstat.zfs.misc.objset.*"),
    untyped("node_zfs_zpool_*", "kstat.zfs.misc.io.*"),
    untyped("node_zfs_abd_*", "kstat.zfs.misc.abdstats.*"),
    untyped("node_zfs_arc_*", "kstat.zfs.misc.arcstats.*"),
    untyped("node_zfs_dbuf_*", "kstat.zfs.misc.dbufstats.*"),
    untyped("node_zfs_dmu_tx_*", "kstat.zfs.misc.dmu_tx.*"),
    untyped("node_zfs_dnode_*", "kstat.zfs.misc.dnodestats.*"),
    untyped("node_zfs_fm_*", "kstat.zfs.misc.fm.*"),
    untyped("node_zfs_vdev_cache_*", "kstat.zfs.misc.vdev_cache_stats.*"),
    untyped("node_zfs_vdev_mirror_*", "kstat.zfs.misc.vdev_mirror_stats.*"),
    untyped("node_zfs_xuio_*", "kstat.zfs.misc.xuio_stats.*"),
    untyped("node_zfs_zfetch_*", "kstat.zfs.misc.zfetchstats.*"),
    untyped("node_zfs_zil_*", "kstat.zfs.misc.zil.*"),
];

const fn untyped(name: &'static str, help: &'static str) -> Metric {
    Metric::untyped(name, "", help)
}

/// A file of the whole machine, and how its metrics' names begin.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "node_zfs_abd_"),
    ("arcstats", "node_zfs_arc_"),
    ("dbufstats", "node_zfs_dbuf_"),
    ("dmu_tx", "node_zfs_dmu_tx_"),
    ("dnodestats", "node_zfs_dnode_"),
    ("fm", "node_zfs_fm_"),
    ("vdev_cache_stats", "node_zfs_vdev_cache_"),
    ("vdev_mirror_stats", "node_zfs_vdev_mirror_"),
    ("xuio_stats", "node_zfs_xuio_"),
    ("zfetchstats", "node_zfs_zfetch_"),
    ("zil", "node_zfs_zil_"),
];

const POOL_STATES: [&str; 7] =
    ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// Beyond this many datasets of a pool the others are left out, and that is said: a pool of
/// container layers can have tens of thousands.
const MOST_DATASETS: usize = 4096;

const FOLDER: &str = "spl/kstat/zfs";

pub(crate) const ENTRY: Entry = Entry {
    name: "zfs",
    about: "caches, pools and datasets of ZFS",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/spl/kstat/zfs"],
    metrics: METRICS,
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let files = FILES.map(|(file, prefix)| Kstat {
        file: HotFile::new(Tree::Proc, format!("{FOLDER}/{file}")),
        prefix,
        names: CoinedNames::default(),
    });
    Ok(Box::new(Zfs { files, datasets: CoinedNames::default() }))
}

struct Zfs {
    files: [Kstat; FILES.len()],
    /// All datasets have the same values.
    datasets: CoinedNames,
}

struct Kstat {
    file: HotFile,
    prefix: &'static str,
    names: CoinedNames,
}

impl Collector for Zfs {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let folder = host.proc.join(FOLDER);
        let pools = folders(&folder).map_err(|error| CollectError::reading(&folder, &error))?;
        for kstat in &mut self.files {
            match kstat.file.read_str(host) {
                Ok(text) => push_values(out, &mut kstat.names, kstat.prefix, &[], text),
                // Each version of ZFS has some of them.
                Err(CollectError::Absent(_)) => {}
                Err(error) => out.problem_of(&error),
            }
        }
        for pool in pools {
            push_pool(out, &mut self.datasets, &pool, &folder.join(&pool));
        }
        match out.samples() {
            [] => Err(CollectError::Absent(format!("{} has no values", folder.display()))),
            _ => Ok(()),
        }
    }
}

fn folders(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A pool can be exported at any moment: what is gone by then is absent.
fn push_pool(out: &mut Scrape, names: &mut CoinedNames, pool: &str, folder: &Path) {
    if let Ok(state) = host::read_small(&folder.join("state")) {
        push_state(out, pool, &state);
    }
    // Gone since ZFS 2.1.
    if let Ok(text) = host::read_small(&folder.join("io")) {
        push_traffic(out, pool, &text);
    }
    let datasets = datasets(folder);
    if datasets.len() > MOST_DATASETS {
        let left_out = datasets.len() - MOST_DATASETS;
        out.problem(format!("{pool}: {left_out} of its datasets are left out"));
    }
    for file in datasets.iter().take(MOST_DATASETS) {
        if let Ok(text) = host::read_small(&folder.join(file))
            && let Some(dataset) = dataset_name(&text)
        {
            let labels = [("zpool", pool), ("dataset", dataset)];
            push_values(out, names, "node_zfs_zpool_dataset_", &labels, &text);
        }
    }
}

fn datasets(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("objset-")).collect();
    names.sort_unstable();
    names
}

fn push_state(out: &mut Scrape, pool: &str, actual: &str) {
    for state in POOL_STATES {
        let is_so = f64::from(u8::from(actual.eq_ignore_ascii_case(state)));
        out.push(POOL_STATE, &[("zpool", pool), ("state", state)], is_so);
    }
}

/// A line of keys that begins with `nread`, and a line of values below it.
fn push_traffic(out: &mut Scrape, pool: &str, text: &str) {
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with("nread"));
    let (Some(keys), Some(values)) = (lines.next(), lines.next()) else { return };
    for (key, value) in keys.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
        match value.parse::<u64>() {
            Ok(value) if is_name_part(key) => {
                let name = format!("node_zfs_zpool_{key}");
                out.push_coined(&name, &[("zpool", pool)], value as f64);
            }
            _ => out.problem(malformed("io", values)),
        }
    }
}

/// Kinds of values (`KSTAT_DATA_INT64`, `KSTAT_DATA_UINT64`).
const NUMBERS: [&str; 2] = ["3", "4"];

/// `hits  4  8772612`
fn push_values(
    out: &mut Scrape,
    names: &mut CoinedNames,
    prefix: &str,
    labels: &[(&'static str, &str)],
    text: &str,
) {
    for (at, line) in text.lines().enumerate() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(key), Some(kind), Some(value)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if !NUMBERS.contains(&kind) || fields.next().is_some() {
            continue;
        }
        let coin = |key: &str| {
            let key = key.replace('-', "_");
            is_name_part(&key).then(|| format!("{prefix}{key}"))
        };
        // A counter of 64 bits may be printed as negative where it is signed.
        let number = value.parse::<i128>().ok().map(|number| number as f64);
        match (names.name(at, key, coin), number) {
            (Some(name), Some(number)) => out.push_coined(name, labels, number),
            _ => out.problem(malformed(prefix, line)),
        }
    }
}

/// `dataset_name  7  tank/data set`: the name may have blanks.
fn dataset_name(text: &str) -> Option<&str> {
    let rest = text.lines().find_map(|line| line.strip_prefix("dataset_name"))?;
    let name = rest.trim_start().strip_prefix('7')?.trim();
    (!name.is_empty()).then_some(name)
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str, out: &mut Scrape) {
    let mut names = CoinedNames::default();
    push_values(out, &mut names, "node_zfs_arc_", &[], text);
    push_state(out, "tank", text);
    push_traffic(out, "tank", text);
    dataset_name(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(out: &Scrape) -> Vec<(&str, f64)> {
        out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect()
    }

    #[test]
    fn a_kstat_file_names_its_values() {
        let text = "6 1 0x01 91 4368 5266997922 97951858082072\n\
                    name                            type data\n\
                    hits                            4    8772612\n\
                    memory_available_bytes          3    -922337203685\n\
                    onloan-read_buf                 4    32\n\
                    tag                             7    word\n";
        let mut out = Scrape::new();
        push_values(&mut out, &mut CoinedNames::default(), "node_zfs_arc_", &[], text);
        assert_eq!(
            values(&out),
            [
                ("node_zfs_arc_hits", 8_772_612.0),
                ("node_zfs_arc_memory_available_bytes", -922_337_203_685.0),
                ("node_zfs_arc_onloan_read_buf", 32.0),
            ]
        );
        assert_eq!(out.take_problems(), [""; 0]);
    }

    #[test]
    fn the_traffic_of_a_pool_stands_below_its_headings() {
        let text = "12 3 0x00 1 80 79205351707403 395818011156865\n\
                    nread    nwritten reads    writes\n\
                    1884160  3206144  22       132\n";
        let mut out = Scrape::new();
        push_traffic(&mut out, "tank", text);
        assert_eq!(
            values(&out),
            [
                ("node_zfs_zpool_nread", 1_884_160.0),
                ("node_zfs_zpool_nwritten", 3_206_144.0),
                ("node_zfs_zpool_reads", 22.0),
                ("node_zfs_zpool_writes", 132.0),
            ]
        );
    }

    #[test]
    fn a_pool_is_in_one_state() {
        let mut out = Scrape::new();
        push_state(&mut out, "tank", "DEGRADED");
        let set: Vec<_> = out.samples().iter().filter(|sample| sample.value == 1.0).collect();
        assert_eq!(set.len(), 1);
        assert_eq!(set[0].labels.get("state"), Some("degraded"));
    }

    #[test]
    fn a_dataset_may_have_blanks_in_its_name() {
        assert_eq!(dataset_name("dataset_name   7    tank/data set\n"), Some("tank/data set"));
        assert_eq!(dataset_name("writes 4 5\n"), None);
    }
}
