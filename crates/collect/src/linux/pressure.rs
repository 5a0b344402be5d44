//! `pressure`: how long tasks waited for CPU, I/O and memory (PSI). Source:
//! `/proc/pressure/{cpu,io,memory,irq}` (kernel/sched/psi.c), whose totals are in microseconds.
//!
//! `some` is the time in which at least one task waited, `full` that in which none could go on.
//! The `full` line of `cpu` is left out: for the whole machine it is 0 by definition.

use std::{io, path::Path};

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
    host::read_small,
};

/// One line of one file.
struct Total {
    file: &'static str,
    line: &'static str,
    metric: &'static str,
}

const TOTALS: [Total; 6] = [
    Total { file: "cpu", line: "some", metric: "node_pressure_cpu_waiting_seconds_total" },
    Total { file: "io", line: "some", metric: "node_pressure_io_waiting_seconds_total" },
    Total { file: "io", line: "full", metric: "node_pressure_io_stalled_seconds_total" },
    Total { file: "irq", line: "full", metric: "node_pressure_irq_stalled_seconds_total" },
    Total { file: "memory", line: "some", metric: "node_pressure_memory_waiting_seconds_total" },
    Total { file: "memory", line: "full", metric: "node_pressure_memory_stalled_seconds_total" },
];

/// `irq` came with Linux 6.1 and needs the kernel's accounting of interrupt time.
const FILES: [&str; 4] = ["cpu", "io", "irq", "memory"];

pub(crate) const ENTRY: Entry = Entry {
    name: "pressure",
    about: "time that tasks waited for CPU, I/O and memory (PSI)",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/pressure"],
    metrics: &[
        Metric::counter(
            TOTALS[0].metric,
            "seconds",
            "Total time in seconds that processes have waited for CPU time",
        ),
        Metric::counter(
            TOTALS[1].metric,
            "seconds",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
        Metric::counter(
            TOTALS[2].metric,
            "seconds",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
        Metric::counter(
            TOTALS[3].metric,
            "seconds",
            "Total time in seconds no process could make progress due to IRQ congestion",
        ),
        Metric::counter(
            TOTALS[4].metric,
            "seconds",
            "Total time in seconds that processes have waited for memory",
        ),
        Metric::counter(
            TOTALS[5].metric,
            "seconds",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    let file = |name: &str| HotFile::new(Tree::Proc, format!("pressure/{name}"));
    Ok(Box::new(Pressure { files: FILES.map(file) }))
}

struct Pressure {
    files: [HotFile; FILES.len()],
}

impl Collector for Pressure {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mut absent = None;
        for (name, file) in FILES.into_iter().zip(&mut self.files) {
            match file.read_str(host) {
                Ok(text) => parse(name, text, out),
                Err(CollectError::Absent(reason)) => {
                    absent.get_or_insert(reason);
                }
                Err(error) if is_switched_off(&host.proc.join("pressure").join(name)) => {
                    let reason = format!("{error}; the kernel needs psi=1 at boot");
                    absent.get_or_insert(reason);
                }
                Err(error) => out.problem_of(&error),
            }
        }
        match absent {
            Some(reason) if out.samples().is_empty() => Err(CollectError::Absent(reason)),
            _ => Ok(()),
        }
    }
}

/// A kernel built with PSI and booted without it may have the files and refuse to read them.
fn is_switched_off(path: &Path) -> bool {
    let not_supported = rustix::io::Errno::OPNOTSUPP.raw_os_error();
    read_small(path).is_err_and(|error: io::Error| error.raw_os_error() == Some(not_supported))
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`, and the same with `full`.
pub(crate) fn parse(file: &str, text: &str, out: &mut Scrape) {
    for line in text.lines() {
        let Some((first, micros)) = parse_line(line) else {
            out.problem(malformed(&format!("pressure/{file}"), line));
            continue;
        };
        let wanted = TOTALS.iter().find(|total| total.file == file && total.line == first);
        if let Some(total) = wanted {
            out.push(total.metric, &[], micros as f64 / 1e6);
        }
    }
}

/// The line's first word and its total in microseconds.
pub(super) fn parse_line(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let first = fields.next()?;
    let total = fields.find_map(|field| field.strip_prefix("total="))?;
    Some((first, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IO: &str = "some avg10=0.10 avg60=2.00 avg300=3.85 total=15500000\n\
                      full avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n";

    #[test]
    fn microseconds_become_seconds() {
        let mut out = Scrape::new();
        parse("io", IO, &mut out);
        let values: Vec<_> = out.samples().iter().map(|sample| sample.value).collect();
        assert_eq!(values, [15.5, 0.25]);
    }

    #[test]
    fn no_task_at_all_running_is_not_a_state_of_the_whole_machines_cpu() {
        let mut out = Scrape::new();
        parse("cpu", IO, &mut out);
        assert_eq!(out.samples().len(), 1);
    }

    #[test]
    fn a_machine_without_psi_is_absent_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        let error = build(&Options::default()).unwrap().collect(&host, &mut Scrape::new());
        assert!(
            matches!(error, Err(CollectError::Absent(reason)) if reason.contains("pressure/cpu"))
        );
    }
}
