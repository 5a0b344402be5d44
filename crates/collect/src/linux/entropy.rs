//! `entropy`: bits in the kernel's pool of randomness. Source: `/proc/sys/kernel/random`
//! (drivers/char/random.c).

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

/// A file and the metric it becomes.
const FILES: [(&str, Metric); 2] = [
    (
        "sys/kernel/random/entropy_avail",
        Metric::gauge("node_entropy_available_bits", "bits", "Bits of available entropy."),
    ),
    (
        "sys/kernel/random/poolsize",
        Metric::gauge("node_entropy_pool_size_bits", "bits", "Bits of entropy pool."),
    ),
];

pub(crate) const ENTRY: Entry = Entry {
    name: "entropy",
    about: "bits in the kernel's pool of randomness",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/sys/kernel/random"],
    metrics: &[FILES[0].1, FILES[1].1],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let files = FILES.map(|(file, metric)| (HotFile::new(Tree::Proc, file), metric.name));
    Ok(Box::new(Entropy { files }))
}

struct Entropy {
    files: [(HotFile, &'static str); FILES.len()],
}

impl Collector for Entropy {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        for (file, metric) in &mut self.files {
            parse(metric, file.read_str(host)?, out);
        }
        Ok(())
    }
}

pub(crate) fn parse(metric: &'static str, text: &str, out: &mut Scrape) {
    match text.trim_ascii().parse::<u64>() {
        Ok(bits) => out.push(metric, &[], bits as f64),
        Err(_) => out.problem(malformed(metric, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_number() {
        let mut out = Scrape::new();
        parse(FILES[0].1.name, "256\n", &mut out);
        parse(FILES[1].1.name, "many\n", &mut out);
        assert_eq!(out.samples().len(), 1);
        assert_eq!(out.samples()[0].value, 256.0);
        assert_eq!(out.take_problems().len(), 1);
    }
}
