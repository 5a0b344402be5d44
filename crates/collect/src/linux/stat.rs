//! `stat`: boot time, interrupts, context switches, forks, running and blocked tasks. Source:
//! `/proc/stat` (fs/proc/stat.c). The CPUs' lines of the same file belong to `cpu`.

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "stat";

/// A line's first word, and the metric its first number becomes.
const LINES: [(&str, &str); 6] = [
    ("intr", "node_intr_total"),
    ("ctxt", "node_context_switches_total"),
    ("btime", "node_boot_time_seconds"),
    ("processes", "node_forks_total"),
    ("procs_running", "node_procs_running"),
    ("procs_blocked", "node_procs_blocked"),
];

pub(crate) const ENTRY: Entry = Entry {
    name: "stat",
    about: "boot time, interrupts, context switches, forks, running and blocked tasks",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/stat"],
    metrics: &[
        Metric::counter(LINES[0].1, "", "Total number of interrupts serviced."),
        Metric::counter(LINES[1].1, "", "Total number of context switches."),
        Metric::gauge(LINES[2].1, "seconds", "Node boot time, in unixtime."),
        Metric::counter(LINES[3].1, "", "Total number of forks."),
        Metric::gauge(LINES[4].1, "", "Number of processes in runnable state."),
        Metric::gauge(LINES[5].1, "", "Number of processes blocked waiting for I/O to complete."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Stat { file: HotFile::new(Tree::Proc, FILE) }))
}

struct Stat {
    file: HotFile,
}

impl Collector for Stat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out)
    }
}

pub(crate) fn parse(text: &str, out: &mut Scrape) -> Result<(), CollectError> {
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(first) = fields.next() else { continue };
        let Some((_, metric)) = LINES.iter().find(|(word, _)| *word == first) else { continue };
        match fields.next().and_then(|number| number.parse::<u64>().ok()) {
            Some(number) => out.push(metric, &[], number as f64),
            None => out.problem(malformed(FILE, line)),
        }
    }
    match out.samples() {
        [] => Err(CollectError::Failed(malformed(FILE, text))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_long_line_of_interrupts_is_its_first_number() {
        let mut out = Scrape::new();
        parse("cpu  1 2 3\nintr 8885917 17 0 0\nctxt 38014093\nbtime 1418183276\n", &mut out)
            .unwrap();
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                ("node_intr_total", 8_885_917.0),
                ("node_context_switches_total", 38_014_093.0),
                ("node_boot_time_seconds", 1_418_183_276.0),
            ]
        );
    }

    #[test]
    fn a_malformed_line_is_named_and_the_rest_goes_on() {
        let mut out = Scrape::new();
        parse("ctxt\nprocs_running 2\n", &mut out).unwrap();
        assert_eq!(out.samples().len(), 1);
        assert_eq!(out.take_problems(), [r#"stat: malformed: "ctxt""#]);
    }
}
