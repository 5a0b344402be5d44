//! `processes`: how many processes and threads there are, in which states, and how many there may
//! be. Sources: `/proc/<pid>/stat`, `/proc/<pid>/task/<tid>/stat`, `/proc/sys/kernel`.

use std::sync::Arc;

use farol_model::{Lane, Metric};

use super::process_table::{ProcessTable, Table};
use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
};

const MAX_PROCESSES: &str = "node_processes_max_processes";
const MAX_THREADS: &str = "node_processes_max_threads";
const PIDS: &str = "node_processes_pids";
const STATE: &str = "node_processes_state";
const THREADS: &str = "node_processes_threads";
const THREADS_STATE: &str = "node_processes_threads_state";

pub(crate) const ENTRY: Entry = Entry {
    name: "processes",
    about: "how many processes and threads there are, and in which states",
    on: false,
    lane: Lane::Slow,
    scope: Scope::Processes,
    reads: &[
        "/proc/<pid>/stat",
        "/proc/<pid>/task/<tid>/stat",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/threads-max",
    ],
    metrics: &[
        Metric::gauge(MAX_PROCESSES, "", "Number of max PIDs limit"),
        Metric::gauge(MAX_THREADS, "", "Limit of threads in the system"),
        Metric::gauge(PIDS, "", "Number of PIDs"),
        Metric::gauge(STATE, "", "Number of processes in each state."),
        Metric::gauge(THREADS, "", "Allocated threads in system"),
        Metric::gauge(THREADS_STATE, "", "Number of threads in each state."),
    ],
    build,
};

/// Threads beyond it are not looked at one by one.
const MOST_THREADS: u64 = 100_000;

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Processes {
        table: Arc::clone(&options.processes),
        limits: [
            (MAX_PROCESSES, HotFile::new(Tree::Proc, "sys/kernel/pid_max")),
            (MAX_THREADS, HotFile::new(Tree::Proc, "sys/kernel/threads-max")),
        ],
    }))
}

struct Processes {
    table: Arc<ProcessTable>,
    limits: [(&'static str, HotFile); 2],
}

impl Collector for Processes {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        push_counts(&mut *self.table.at(host, out.now())?, out);
        for (name, file) in &mut self.limits {
            match file.read_str(host).and_then(|text| limit(name, text)) {
                Ok(limit) => out.push(name, &[], limit),
                Err(error) => out.problem_of(&error),
            }
        }
        Ok(())
    }
}

fn limit(name: &str, text: &str) -> Result<f64, CollectError> {
    let number = text.trim().parse::<u64>().map(|number| number as f64);
    number.map_err(|_| CollectError::Failed(format!("{name}: not a number: {:?}", text.trim())))
}

fn push_counts(table: &mut Table, out: &mut Scrape) {
    let (mut of_processes, mut of_threads) = (States::default(), States::default());
    let (mut threads, mut looked_at) = (0_u64, 0);
    for index in 0..table.processes().len() {
        let process = &table.processes()[index];
        let (pid, state, its_threads) = (process.pid, process.state, process.threads);
        of_processes.count(state);
        threads = threads.saturating_add(its_threads);
        if its_threads <= 1 {
            // Its one thread is the process.
            of_threads.count(state);
        } else if looked_at < MOST_THREADS {
            let most = MOST_THREADS - looked_at;
            looked_at += table.thread_states(pid, most, |state| of_threads.count(state));
        }
    }
    out.push(PIDS, &[], table.processes().len() as f64);
    out.push(THREADS, &[], threads as f64);
    of_processes.push(STATE, "state", out);
    if looked_at < MOST_THREADS {
        of_threads.push(THREADS_STATE, "thread_state", out);
    } else {
        out.problem(format!("there are {threads} threads: their states are not looked at"));
    }
    if let Some(shortcoming) = table.shortcoming() {
        out.problem(shortcoming);
    }
}

/// How many there are of each of the kernel's letters.
struct States([u32; STATES]);

const STATES: usize = 256;

impl Default for States {
    fn default() -> States {
        States([0; STATES])
    }
}

impl States {
    fn count(&mut self, state: u8) {
        self.0[usize::from(state)] += 1;
    }

    /// Those of which there are any, as node_exporter has it.
    fn push(&self, name: &'static str, label: &'static str, out: &mut Scrape) {
        for (letter, count) in (0..=u8::MAX).zip(self.0) {
            if count > 0 && letter.is_ascii_graphic() {
                let state = char::from(letter);
                out.push(name, &[(label, state.encode_utf8(&mut [0; 4]))], f64::from(count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_whole_number() {
        assert_eq!(limit(MAX_THREADS, "61877\n"), Ok(61877.0));
        assert!(limit(MAX_THREADS, "many\n").is_err());
    }

    #[test]
    fn only_states_that_some_process_is_in_are_said() {
        let mut states = States::default();
        for state in b"SSZ" {
            states.count(*state);
        }
        let mut out = Scrape::new();
        states.push(STATE, "state", &mut out);
        let said: Vec<_> = out
            .samples()
            .iter()
            .map(|sample| (sample.labels.get("state").unwrap(), sample.value))
            .collect();
        assert_eq!(said, [("S", 2.0), ("Z", 1.0)]);
    }
}
