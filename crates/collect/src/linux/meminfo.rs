//! `meminfo`: every field of the kernel's account of its memory. Source: `/proc/meminfo`
//! (fs/proc/meminfo.c). Fields in kB become bytes; those without a unit (`HugePages_*`) are counts.

use farol_model::{Lane, Metric};

use super::lines::{CoinedNames, is_name_part, malformed};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "meminfo";

pub(crate) const ENTRY: Entry = Entry {
    name: "meminfo",
    about: "memory: total, available, cached, swap and all other fields of the kernel",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/meminfo"],
    metrics: &[
        Metric::gauge("node_memory_*_bytes", "bytes", "Memory information field *_bytes."),
        Metric::gauge("node_memory_*", "", "Memory information field *."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Meminfo { file: HotFile::new(Tree::Proc, FILE), names: Default::default() }))
}

struct Meminfo {
    file: HotFile,
    names: CoinedNames,
}

impl Collector for Meminfo {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, &mut self.names, out)
    }
}

pub(crate) fn parse(
    text: &str,
    names: &mut CoinedNames,
    out: &mut Scrape,
) -> Result<(), CollectError> {
    for (index, line) in text.lines().enumerate() {
        let Some((key, value, in_kilobytes)) = parse_line(line) else {
            out.problem(malformed(FILE, line));
            continue;
        };
        // A key with and without a unit are two names, so they are remembered apart.
        let place = 2 * index + usize::from(in_kilobytes);
        match names.name(place, key, |key| coin(key, in_kilobytes)) {
            Some(name) if in_kilobytes => out.push_coined(name, &[], value as f64 * 1024.0),
            Some(name) => out.push_coined(name, &[], value as f64),
            None => out.problem(malformed(FILE, line)),
        }
    }
    match out.samples() {
        [] => Err(CollectError::Failed(malformed(FILE, text))),
        _ => Ok(()),
    }
}

/// `MemTotal:  8000 kB` → ("MemTotal", 8000, true).
fn parse_line(line: &str) -> Option<(&str, u64, bool)> {
    let (key, rest) = line.split_once(':')?;
    let mut fields = rest.split_ascii_whitespace();
    let value = fields.next()?.parse().ok()?;
    match (fields.next(), fields.next()) {
        (None, _) => Some((key, value, false)),
        (Some("kB"), None) => Some((key, value, true)),
        _ => None,
    }
}

/// `Active(anon)` → `node_memory_Active_anon_bytes`.
fn coin(key: &str, in_kilobytes: bool) -> Option<String> {
    let key = key.replace('(', "_").replace(')', "");
    let suffix = if in_kilobytes { "_bytes" } else { "" };
    is_name_part(&key).then(|| format!("node_memory_{key}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Scrape {
        let mut out = Scrape::new();
        parse(text, &mut CoinedNames::default(), &mut out).unwrap();
        out
    }

    #[test]
    fn kilobytes_become_bytes_and_counts_stay_counts() {
        let out = parsed("MemTotal:       16384 kB\nActive(anon):  2 kB\nHugePages_Total:   3\n");
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                ("node_memory_MemTotal_bytes", 16_777_216.0),
                ("node_memory_Active_anon_bytes", 2048.0),
                ("node_memory_HugePages_Total", 3.0),
            ]
        );
    }

    #[test]
    fn a_malformed_line_is_named_and_the_rest_goes_on() {
        let mut out = parsed("MemTotal: many kB\nMemFree: 1 kB\n");
        assert_eq!(out.samples().len(), 1);
        assert_eq!(out.take_problems(), [r#"meminfo: malformed: "MemTotal: many kB""#]);
    }
}
