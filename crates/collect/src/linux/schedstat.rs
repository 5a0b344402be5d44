//! `schedstat`: how long each CPU ran tasks, and how long tasks waited for it. Source:
//! `/proc/schedstat` (kernel/sched/stats.c), in nanoseconds; a kernel without CONFIG_SCHEDSTATS has
//! no such file.

use farol_model::{Lane, Metric};

use super::lines::malformed;
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const FILE: &str = "schedstat";
const RUNNING: &str = "node_schedstat_running_seconds_total";
const WAITING: &str = "node_schedstat_waiting_seconds_total";
const TIMESLICES: &str = "node_schedstat_timeslices_total";

pub(crate) const ENTRY: Entry = Entry {
    name: "schedstat",
    about: "seconds each CPU ran tasks and tasks waited for it",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["/proc/schedstat"],
    metrics: &[
        Metric::counter(RUNNING, "seconds", "Number of seconds CPU spent running a process."),
        Metric::counter(
            WAITING,
            "seconds",
            "Number of seconds spent by processing waiting for this CPU.",
        ),
        Metric::counter(TIMESLICES, "", "Number of timeslices executed by CPU."),
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Schedstat { file: HotFile::new(Tree::Proc, FILE) }))
}

struct Schedstat {
    file: HotFile,
}

impl Collector for Schedstat {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        parse(self.file.read_str(host)?, out);
        Ok(())
    }
}

/// `cpu0 0 0 0 0 0 0 <ran> <waited> <timeslices>`. Between the CPUs stand those of the scheduling
/// domains, which differ from kernel to kernel.
pub(crate) fn parse(text: &str, out: &mut Scrape) {
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else { continue };
        if parse_cpu(rest, out).is_none() {
            out.problem(malformed(FILE, line));
        }
    }
}

fn parse_cpu(rest: &str, out: &mut Scrape) -> Option<()> {
    const BEFORE: usize = 6;
    const NANOSECONDS: f64 = 1e9;
    let mut fields = rest.split_ascii_whitespace();
    let cpu = fields.next().filter(|cpu| cpu.bytes().all(|byte| byte.is_ascii_digit()))?;
    let mut numbers = fields.skip(BEFORE).map(|field| field.parse::<u64>().ok());
    let mut next = || numbers.next()?;
    let (ran, waited, timeslices) = (next()?, next()?, next()?);
    let labels = [("cpu", cpu)];
    out.push(RUNNING, &labels, ran as f64 / NANOSECONDS);
    out.push(WAITING, &labels, waited as f64 / NANOSECONDS);
    out.push(TIMESLICES, &labels, timeslices as f64);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_three_numbers_of_a_cpu_are_read_and_domains_passed_over() {
        let mut out = Scrape::new();
        parse(
            "version 15\ntimestamp 15819019232\n\
             cpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 2045936778163039 343796328169361 4767485306\n\
             domain0 00000000,00000003 212499247 210112015\n\
             cpu1 0 0 0 0 0 0 1\n",
            &mut out,
        );
        let samples: Vec<_> =
            out.samples().iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(
            samples,
            [
                (RUNNING, 2_045_936.778_163_039),
                (WAITING, 343_796.328_169_361),
                (TIMESLICES, 4_767_485_306.0),
            ]
        );
        assert_eq!(out.take_problems(), [r#"schedstat: malformed: "cpu1 0 0 0 0 0 0 1""#]);
    }
}
