//! `selinux`: whether SELinux is on, its mode, and how its cache of decisions does. Sources:
//! `/sys/fs/selinux/enforce` and `/sys/fs/selinux/avc` (security/selinux/selinuxfs.c), and
//! `/etc/selinux/config` for the mode that the next boot will have.

use farol_model::{Lane, Metric};

use super::{lines::malformed, sysfs::Folder};
use crate::{
    CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape, host::read_small,
};

const ENABLED: &str = "node_selinux_enabled";
const CONFIG_MODE: &str = "node_selinux_config_mode";
const CURRENT_MODE: &str = "node_selinux_current_mode";
const THRESHOLD: &str = "node_selinux_avc_threshold";

/// Titles of `avc/cache_stats` and their metrics.
const CACHE: [(&str, &str); 6] = [
    ("lookups", "node_selinux_avc_lookups_total"),
    ("hits", "node_selinux_avc_hits_total"),
    ("misses", "node_selinux_avc_misses_total"),
    ("allocations", "node_selinux_avc_allocations_total"),
    ("reclaims", "node_selinux_avc_reclaims_total"),
    ("frees", "node_selinux_avc_frees_total"),
];
const HASH_ENTRIES: &str = "node_selinux_avc_hash_entries";
const HASH_USED: &str = "node_selinux_avc_hash_buckets_used";
const HASH_AVAILABLE: &str = "node_selinux_avc_hash_buckets_available";
const HASH_LONGEST: &str = "node_selinux_avc_hash_longest_chain";

pub(crate) const ENTRY: Entry = Entry {
    name: "selinux",
    about: "whether SELinux is on, its mode and its cache of decisions",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/sys/fs/selinux", "/etc/selinux/config"],
    metrics: &[
        Metric::gauge(ENABLED, "", "SELinux is enabled, 1 is true, 0 is false"),
        Metric::gauge(CONFIG_MODE, "", "Configured SELinux enforcement mode"),
        Metric::gauge(CURRENT_MODE, "", "Current SELinux enforcement mode"),
        Metric::counter(CACHE[0].1, "", "SELinux AVC lookups"),
        Metric::counter(CACHE[1].1, "", "SELinux AVC hits"),
        Metric::counter(CACHE[2].1, "", "SELinux AVC misses"),
        Metric::counter(CACHE[3].1, "", "SELinux AVC allocations"),
        Metric::counter(CACHE[4].1, "", "SELinux AVC reclaims"),
        Metric::counter(CACHE[5].1, "", "SELinux AVC frees"),
        Metric::gauge(HASH_ENTRIES, "", "SELinux AVC hash entries"),
        Metric::gauge(HASH_USED, "", "SELinux AVC hash buckets used"),
        Metric::gauge(HASH_AVAILABLE, "", "SELinux AVC hash buckets available"),
        Metric::gauge(HASH_LONGEST, "", "SELinux AVC hash longest chain"),
        Metric::gauge(THRESHOLD, "", "SELinux AVC threshold"),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Selinux))
}

struct Selinux;

impl Collector for Selinux {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let folder = Folder::open(&host.sys.join("fs/selinux")).ok();
        let mode = folder.as_ref().and_then(|folder| folder.text("enforce"));
        let (Some(folder), Some(mode)) = (folder, mode) else {
            return push_off(host, out);
        };
        out.push(ENABLED, &[], 1.0);
        match mode.as_str() {
            "0" => out.push(CURRENT_MODE, &[], 0.0),
            "1" => out.push(CURRENT_MODE, &[], 1.0),
            _ => out.problem(malformed("selinux/enforce", &mode)),
        }
        let config = read_small(&host.root.join("etc/selinux/config")).unwrap_or_default();
        if let Some(mode) = configured_mode(&config) {
            out.push(CONFIG_MODE, &[], mode);
        }
        push_cache(&folder, out);
        Ok(())
    }
}

/// A machine whose kernel has not loaded SELinux lacks the folder, or has it empty.
fn push_off(host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
    let place = host.sys.join("fs");
    if !place.is_dir() {
        return Err(CollectError::Absent(format!("{} does not exist", place.display())));
    }
    out.push(ENABLED, &[], 0.0);
    Ok(())
}

/// The last `SELINUX=` line counts. Disabled is node_exporter's -1.
fn configured_mode(text: &str) -> Option<f64> {
    let mut values = text.lines().filter_map(|line| line.trim_ascii().strip_prefix("SELINUX="));
    match values.next_back()?.trim_ascii() {
        "enforcing" => Some(1.0),
        "permissive" => Some(0.0),
        "disabled" => Some(-1.0),
        _ => None,
    }
}

fn push_cache(folder: &Folder, out: &mut Scrape) {
    match folder.text("avc/cache_stats") {
        Some(text) => parse_cache_stats(&text, out),
        None => out.problem("selinux/avc/cache_stats cannot be read"),
    }
    match folder.text("avc/hash_stats") {
        Some(text) => parse_hash_stats(&text, out),
        None => out.problem("selinux/avc/hash_stats cannot be read"),
    }
    match folder.number("avc/cache_threshold") {
        Some(threshold) => out.push(THRESHOLD, &[], threshold),
        None => out.problem("selinux/avc/cache_threshold cannot be read"),
    }
}

/// A line of titles, then one line per CPU.
pub(crate) fn parse_cache_stats(text: &str, out: &mut Scrape) {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let mut sums = vec![0_u64; titles.len()];
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        for sum in &mut sums {
            let Some(number) = fields.next().and_then(|field| field.parse::<u64>().ok()) else {
                out.problem(malformed("selinux/avc/cache_stats", line));
                return;
            };
            *sum = sum.wrapping_add(number);
        }
    }
    for (title, metric) in CACHE {
        let sum = titles.iter().zip(&sums).find(|(at, _)| **at == title).map(|(_, sum)| *sum);
        if let Some(sum) = sum {
            out.push(metric, &[], sum as f64);
        }
    }
}

/// `entries: 503`, `buckets used: 288/512`, `longest chain: 5`.
pub(crate) fn parse_hash_stats(text: &str, out: &mut Scrape) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let number = |text: &str| text.trim_ascii().parse::<u32>().ok().map(f64::from);
        let pushed = match key.trim_ascii() {
            "entries" => number(value).map(|entries| out.push(HASH_ENTRIES, &[], entries)),
            "longest chain" => number(value).map(|length| out.push(HASH_LONGEST, &[], length)),
            "buckets used" => value.split_once('/').and_then(|(used, available)| {
                let (used, available) = (number(used)?, number(available)?);
                out.push(HASH_USED, &[], used);
                out.push(HASH_AVAILABLE, &[], available);
                Some(())
            }),
            _ => Some(()),
        };
        if pushed.is_none() {
            out.problem(malformed("selinux/avc/hash_stats", line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caches_figures_are_summed_over_the_cpus() {
        let mut out = Scrape::new();
        parse_cache_stats("lookups hits misses\n10 9 1\n20 15 5\n", &mut out);
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values, [(CACHE[0].1, 30.0), (CACHE[1].1, 24.0), (CACHE[2].1, 6.0)]);
    }

    #[test]
    fn the_hash_tables_figures_stand_in_sentences() {
        let mut out = Scrape::new();
        parse_hash_stats("entries: 503\nbuckets used: 288/512\nlongest chain: x\n", &mut out);
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values, [(HASH_ENTRIES, 503.0), (HASH_USED, 288.0), (HASH_AVAILABLE, 512.0)]);
        assert_eq!(out.take_problems().len(), 1);
    }

    #[test]
    fn the_configured_mode_is_that_of_the_last_line_and_unknown_words_are_none() {
        assert_eq!(configured_mode("# SELINUX=disabled\nSELINUX=permissive\n"), Some(0.0));
        assert_eq!(configured_mode("SELINUX=permissive\nSELINUX=enforcing \n"), Some(1.0));
        assert_eq!(configured_mode("SELINUX=disabled\nSELINUXTYPE=targeted\n"), Some(-1.0));
        assert_eq!(configured_mode("SELINUX=maybe"), None);
        assert_eq!(configured_mode(""), None);
    }

    #[test]
    fn a_machine_without_the_folder_has_it_off_and_one_without_a_sysfs_tells_nothing() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let mut out = Scrape::new();
        assert!(matches!(Selinux.collect(&host, &mut out), Err(CollectError::Absent(_))));
        std::fs::create_dir_all(host.sys.join("fs")).unwrap();
        Selinux.collect(&host, &mut out).unwrap();
        let values: Vec<_> = out.samples().iter().map(|s| (s.name.as_str(), s.value)).collect();
        assert_eq!(values, [(ENABLED, 0.0)]);
    }
}
