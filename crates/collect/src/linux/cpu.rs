//! `cpu`: seconds that each CPU spent in each mode. Source: `/proc/stat` (fs/proc/stat.c), in
//! clock ticks. What else there is to say of the CPUs is in `cpu_topology`.

use farol_model::{Lane, Metric};

use super::cpu_topology::{self, Topology};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const SECONDS: &str = "node_cpu_seconds_total";
const GUEST_SECONDS: &str = "node_cpu_guest_seconds_total";

/// The order of the columns in `/proc/stat`. The guest's times are part of `user` and `nice`.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const COLUMNS: usize = MODES.len() + GUEST_MODES.len();
const IDLE: usize = 3;

pub(crate) const ENTRY: Entry = Entry {
    name: "cpu",
    about: "seconds each CPU spent in each mode",
    on: true,
    lane: Lane::Fast,
    scope: Scope::Kernel,
    reads: &["/proc/stat", "/sys/devices/system/cpu", "/proc/cpuinfo"],
    metrics: &[
        Metric::counter(SECONDS, "seconds", "Seconds the CPUs spent in each mode."),
        Metric::counter(
            GUEST_SECONDS,
            "seconds",
            "Seconds the CPUs spent in guests (VMs) for each mode.",
        ),
        cpu_topology::METRICS[0],
        cpu_topology::METRICS[1],
        cpu_topology::METRICS[2],
        cpu_topology::METRICS[3],
        cpu_topology::METRICS[4],
    ],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Cpu {
        file: HotFile::new(Tree::Proc, "stat"),
        last: Vec::new(),
        ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        topology: Topology::new(options.cpu_info),
    }))
}

struct Cpu {
    file: HotFile,
    /// The highest values seen, by CPU: the kernel's idle and iowait times can go back a little.
    last: Vec<(String, [u64; COLUMNS])>,
    ticks_per_second: f64,
    topology: Topology,
}

impl Collector for Cpu {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let text = self.file.read_str(host)?;
        let mut found = 0;
        for line in text.lines() {
            let Some((cpu, ticks)) = parse_line(line)? else { continue };
            let ticks = never_back(&mut self.last, found, cpu, ticks, self.ticks_per_second);
            found += 1;
            let seconds = |column: usize| ticks[column] as f64 / self.ticks_per_second;
            for (column, mode) in MODES.into_iter().enumerate() {
                out.push(SECONDS, &[("cpu", cpu), ("mode", mode)], seconds(column));
            }
            for (column, mode) in GUEST_MODES.into_iter().enumerate() {
                let seconds = seconds(MODES.len() + column);
                out.push(GUEST_SECONDS, &[("cpu", cpu), ("mode", mode)], seconds);
            }
        }
        self.last.truncate(found);
        if found == 0 {
            return Err(CollectError::Failed("stat: no cpu line".into()));
        }
        self.topology.collect(host, out);
        Ok(())
    }
}

/// `cpu0 1 2 3 …` → ("0", columns); `None` for the sum line and all other lines. Old kernels have
/// fewer columns: those are 0, as in node_exporter.
fn parse_line(line: &str) -> Result<Option<(&str, [u64; COLUMNS])>, CollectError> {
    let mut fields = line.split_ascii_whitespace();
    let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")) else {
        return Ok(None);
    };
    if cpu.is_empty() {
        return Ok(None);
    }
    let mut ticks = [0; COLUMNS];
    for (column, field) in ticks.iter_mut().zip(fields) {
        *column = field
            .parse()
            .map_err(|_| CollectError::Failed(format!("stat: not a number: {field:?}")))?;
    }
    Ok(Some((cpu, ticks)))
}

/// Counters never go back, except when the CPU was taken out and put in again: then idle falls by
/// more than three seconds and everything starts anew (node_exporter's rule).
fn never_back(
    last: &mut Vec<(String, [u64; COLUMNS])>,
    index: usize,
    cpu: &str,
    now: [u64; COLUMNS],
    ticks_per_second: f64,
) -> [u64; COLUMNS] {
    match last.get_mut(index) {
        Some((known, before)) if known == cpu => {
            let fell = before[IDLE].saturating_sub(now[IDLE]) as f64 / ticks_per_second;
            if fell >= 3.0 {
                *before = now;
            } else {
                before.iter_mut().zip(now).for_each(|(before, now)| *before = now.max(*before));
            }
            *before
        }
        _ => {
            last.truncate(index);
            last.push((cpu.to_owned(), now));
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_line_yields_its_columns_and_the_sum_line_none() {
        let (cpu, ticks) = parse_line("cpu12 1 2 3 4 5 6 7 8 9 10").unwrap().unwrap();
        assert_eq!((cpu, ticks), ("12", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
        assert_eq!(parse_line("cpu  1 2 3 4 5 6 7 8 9 10").unwrap(), None);
        assert_eq!(parse_line("ctxt 38014093").unwrap(), None);
    }

    #[test]
    fn idle_time_that_slips_back_is_held_and_a_replugged_cpu_starts_anew() {
        let mut last = Vec::new();
        let with_idle = |idle| [0, 0, 0, idle, 0, 0, 0, 0, 0, 0];
        assert_eq!(never_back(&mut last, 0, "0", with_idle(1000), 100.0)[IDLE], 1000);
        assert_eq!(never_back(&mut last, 0, "0", with_idle(990), 100.0)[IDLE], 1000);
        assert_eq!(never_back(&mut last, 0, "0", with_idle(600), 100.0)[IDLE], 600);
    }
}
