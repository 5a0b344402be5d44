//! `softnet`: packets that each CPU took from the network, and those it had to drop. Source:
//! `/proc/net/softnet_stat` (net/core/net-procfs.c), hexadecimal numbers in a line per CPU.
//!
//! The table grew: nine columns at first, eleven since Linux 3.11, thirteen since 5.10 (the backlog's
//! length and the CPU's number), fifteen since 6.2. What the file has not is absent.

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "softnet_stat";

/// A column, from 0, and its metric.
const COLUMNS: [(usize, Metric); 7] = [
    (0, Metric::counter("node_softnet_processed_total", "", "Number of processed packets")),
    (1, Metric::counter("node_softnet_dropped_total", "", "Number of dropped packets")),
    (
        2,
        Metric::counter(
            "node_softnet_times_squeezed_total",
            "",
            "Number of times processing packets ran out of quota",
        ),
    ),
    (
        8,
        Metric::counter(
            "node_softnet_cpu_collision_total",
            "",
            "Number of collision occur while obtaining device lock while transmitting",
        ),
    ),
    (
        9,
        Metric::counter(
            "node_softnet_received_rps_total",
            "",
            "Number of times cpu woken up received_rps",
        ),
    ),
    (
        10,
        Metric::counter(
            "node_softnet_flow_limit_count_total",
            "",
            "Number of times flow limit has been reached",
        ),
    ),
    (11, Metric::gauge("node_softnet_backlog_len", "", "Softnet backlog status")),
];
const CPU_COLUMN: usize = 12;
const FEWEST_COLUMNS: usize = 9;

const METRICS: [Metric; COLUMNS.len()] = {
    let mut metrics = [COLUMNS[0].1; COLUMNS.len()];
    let mut at = 1;
    while at < COLUMNS.len() {
        metrics[at] = COLUMNS[at].1;
        at += 1;
    }
    metrics
};

pub(crate) const ENTRY: Entry = Entry {
    name: "softnet",
    about: "packets that each CPU took from the network or dropped",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/net/softnet_stat"],
    metrics: &METRICS,
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Softnet { file: HotFile::new(Tree::Net, FILE) }))
}

struct Softnet {
    file: HotFile,
}

impl Collector for Softnet {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out);
        Ok(())
    }
}

pub(crate) fn parse(text: &str, out: &mut Scrape) {
    for (index, line) in text.lines().enumerate() {
        let Some((numbers, columns)) = parse_line(line) else {
            out.problem(malformed(FILE, line));
            continue;
        };
        // Before the table told the CPU's number, only the order did.
        let cpu = if columns > CPU_COLUMN { numbers[CPU_COLUMN] as usize } else { index };
        let cpu = cpu.to_string();
        for (column, metric) in &COLUMNS {
            if *column < columns {
                out.push(metric.name, &[("cpu", &cpu)], f64::from(numbers[*column]));
            }
        }
    }
}

/// The numbers, and how many of them the line has.
fn parse_line(line: &str) -> Option<([u32; CPU_COLUMN + 1], usize)> {
    let mut numbers = [0; CPU_COLUMN + 1];
    let mut columns = 0;
    for (number, field) in numbers.iter_mut().zip(line.split_ascii_whitespace()) {
        *number = u32::from_str_radix(field, 16).ok()?;
        columns += 1;
    }
    (columns >= FEWEST_COLUMNS).then_some((numbers, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(out: &Scrape) -> Vec<(&str, &str, f64)> {
        let samples = out.samples().iter();
        samples.map(|s| (s.name.as_str(), s.labels.get("cpu").unwrap(), s.value)).collect()
    }

    #[test]
    fn a_new_kernels_line_tells_its_cpu_and_its_backlog() {
        let mut out = Scrape::new();
        parse(
            "000024da 00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000003 00000004 00000005 00000006 00000007 00000000 00000000\n",
            &mut out,
        );
        assert_eq!(
            values(&out),
            [
                ("node_softnet_processed_total", "7", 9434.0),
                ("node_softnet_dropped_total", "7", 1.0),
                ("node_softnet_times_squeezed_total", "7", 2.0),
                ("node_softnet_cpu_collision_total", "7", 3.0),
                ("node_softnet_received_rps_total", "7", 4.0),
                ("node_softnet_flow_limit_count_total", "7", 5.0),
                ("node_softnet_backlog_len", "7", 6.0),
            ]
        );
    }

    #[test]
    fn an_old_kernels_line_counts_its_cpu_and_has_no_backlog() {
        let mut out = Scrape::new();
        parse("00000001 0 0 0 0 0 0 0 0\n00000002 0 0 0 0 0 0 0 0 9 0\n00000003 0\n", &mut out);
        let samples = values(&out);
        assert_eq!(samples[4], ("node_softnet_processed_total", "1", 2.0));
        assert_eq!(samples[8], ("node_softnet_received_rps_total", "1", 9.0));
        assert_eq!(samples.len(), 10);
        assert_eq!(out.take_problems(), [r#"softnet_stat: malformed: "00000003 0""#]);
    }
}
