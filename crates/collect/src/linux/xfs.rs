//! `xfs`: what each XFS file system did. Source: `/sys/fs/xfs/<device>/stats/stats` (fs/xfs/xfs_stats.c,
//! since Linux 4.4); before, `/proc/fs/xfs/stat`, which sums up all of them and so names no device.

use std::{io, path::Path};

use farol_model::{Lane, Metric};

use super::{lines::malformed, sysfs};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

macro_rules! rows {
    ($($line:literal: [$($column:literal $name:literal $help:literal;)+])+) => {
        &[$($(($line, $column, Metric::counter(concat!("node_xfs_", $name), "", $help)),)+)+]
    };
}

/// A line's first word, a column behind it (from 0), and the metric that it becomes.
const ROWS: &[(&str, usize, Metric)] = rows! {
    "extent_alloc": [
        0 "extent_allocation_extents_allocated_total" "Number of extents allocated for a filesystem.";
        1 "extent_allocation_blocks_allocated_total" "Number of blocks allocated for a filesystem.";
        2 "extent_allocation_extents_freed_total" "Number of extents freed for a filesystem.";
        3 "extent_allocation_blocks_freed_total" "Number of blocks freed for a filesystem.";
    ]
    "abt": [
        0 "allocation_btree_lookups_total" "Number of allocation B-tree lookups for a filesystem.";
        1 "allocation_btree_compares_total" "Number of allocation B-tree compares for a filesystem.";
        2 "allocation_btree_records_inserted_total" "Number of allocation B-tree records inserted for a filesystem.";
        3 "allocation_btree_records_deleted_total" "Number of allocation B-tree records deleted for a filesystem.";
    ]
    "blk_map": [
        0 "block_mapping_reads_total" "Number of block map for read operations for a filesystem.";
        1 "block_mapping_writes_total" "Number of block map for write operations for a filesystem.";
        2 "block_mapping_unmaps_total" "Number of block unmaps (deletes) for a filesystem.";
        3 "block_mapping_extent_list_insertions_total" "Number of extent list insertions for a filesystem.";
        4 "block_mapping_extent_list_deletions_total" "Number of extent list deletions for a filesystem.";
        5 "block_mapping_extent_list_lookups_total" "Number of extent list lookups for a filesystem.";
        6 "block_mapping_extent_list_compares_total" "Number of extent list compares for a filesystem.";
    ]
    "bmbt": [
        0 "block_map_btree_lookups_total" "Number of block map B-tree lookups for a filesystem.";
        1 "block_map_btree_compares_total" "Number of block map B-tree compares for a filesystem.";
        2 "block_map_btree_records_inserted_total" "Number of block map B-tree records inserted for a filesystem.";
        3 "block_map_btree_records_deleted_total" "Number of block map B-tree records deleted for a filesystem.";
    ]
    "dir": [
        0 "directory_operation_lookup_total" "Number of file name directory lookups which miss the operating systems directory name lookup cache.";
        1 "directory_operation_create_total" "Number of times a new directory entry was created for a filesystem.";
        2 "directory_operation_remove_total" "Number of times an existing directory entry was created for a filesystem.";
        3 "directory_operation_getdents_total" "Number of times the directory getdents operation was performed for a filesystem.";
    ]
    "ig": [
        0 "inode_operation_attempts_total" "Number of times the OS looked for an XFS inode in the inode cache.";
        1 "inode_operation_found_total" "Number of times the OS looked for and found an XFS inode in the inode cache.";
        2 "inode_operation_recycled_total" "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.";
        3 "inode_operation_missed_total" "Number of times the OS looked for an XFS inode in the cache, but did not find it.";
        4 "inode_operation_duplicates_total" "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.";
        5 "inode_operation_reclaims_total" "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.";
        6 "inode_operation_attribute_changes_total" "Number of times the OS explicitly changed the attributes of an XFS inode.";
    ]
    "rw": [
        0 "write_calls_total" "Number of write(2) system calls made to files in a filesystem.";
        1 "read_calls_total" "Number of read(2) system calls made to files in a filesystem.";
    ]
    "vnodes": [
        0 "vnode_active_total" "Number of vnodes not on free lists for a filesystem.";
        1 "vnode_allocate_total" "Number of times vn_alloc called for a filesystem.";
        2 "vnode_get_total" "Number of times vn_get called for a filesystem.";
        3 "vnode_hold_total" "Number of times vn_hold called for a filesystem.";
        4 "vnode_release_total" "Number of times vn_rele called for a filesystem.";
        5 "vnode_reclaim_total" "Number of times vn_reclaim called for a filesystem.";
        6 "vnode_remove_total" "Number of times vn_remove called for a filesystem.";
    ]
};

const METRICS: [Metric; ROWS.len()] = {
    let mut metrics = [ROWS[0].2; ROWS.len()];
    let mut at = 1;
    while at < ROWS.len() {
        metrics[at] = ROWS[at].2;
        at += 1;
    }
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "xfs",
    about: "what each XFS file system did",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/fs/xfs", "/proc/fs/xfs/stat"],
    metrics: &METRICS,
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Xfs))
}

struct Xfs;

impl Collector for Xfs {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let class = host.sys.join("fs/xfs");
        if !class.is_dir() {
            return collect_sum(&host.proc.join("fs/xfs/stat"), out);
        }
        for (device, folder) in sysfs::devices(&class)? {
            // Beside the devices stand `stats`, the sum, and `debug`.
            match read_small(&folder.join("stats/stats")) {
                Ok(text) => parse(&device, &text, out),
                Err(error) if is_missing(&error) => {}
                Err(error) => out.problem(format!("xfs: {device}: {error}")),
            }
        }
        match out.samples() {
            [] => Err(CollectError::Absent("no XFS file system is mounted".into())),
            _ => Ok(()),
        }
    }
}

/// In `stats` the file of that name stands one step higher.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn collect_sum(file: &Path, out: &mut Scrape) -> Result<(), CollectError> {
    let text = read_small(file).map_err(|error| CollectError::reading(file, &error))?;
    parse("", &text, out);
    Ok(())
}

/// `extent_alloc 92447 97589 92448 93751`. Lines that are not known are passed over: kernels add some.
pub(crate) fn parse(device: &str, text: &str, out: &mut Scrape) {
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(word) = fields.next() else { continue };
        let numbers: Vec<&str> = fields.collect();
        for (_, column, metric) in ROWS.iter().filter(|(known, _, _)| *known == word) {
            match numbers.get(*column).and_then(|number| number.parse::<u64>().ok()) {
                Some(number) => out.push(metric.name, &[("device", device)], number as f64),
                None => out.problem(malformed("xfs", line)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    #[test]
    fn the_columns_of_known_lines_become_metrics_of_the_device() {
        let mut out = Scrape::new();
        parse("sda1", "extent_alloc 1 2 3 4\ntrans 1 2 3\nrw 28 7\ndir 5\n", &mut out);
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values[3], ("node_xfs_extent_allocation_blocks_freed_total", 4.0));
        assert_eq!(values[4], ("node_xfs_write_calls_total", 28.0));
        assert_eq!(values[5], ("node_xfs_read_calls_total", 7.0));
        assert_eq!(values[6], ("node_xfs_directory_operation_lookup_total", 5.0));
        assert!(out.samples().iter().all(|sample| sample.labels.get("device") == Some("sda1")));
        assert_eq!(out.take_problems().len(), 3, "the short line lacks three");
    }

    #[test]
    fn an_old_kernel_gives_the_sum_alone() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let mut out = Scrape::new();
        assert!(matches!(Xfs.collect(&host, &mut out), Err(CollectError::Absent(_))));
        std::fs::create_dir_all(host.proc.join("fs/xfs")).unwrap();
        write(&host.proc.join("fs/xfs/stat"), "rw 1 2\n");
        Xfs.collect(&host, &mut out).unwrap();
        assert_eq!(out.samples().len(), 2);
        assert!(out.samples()[0].labels.is_empty());
    }
}
