//! What a tick costs for each process of the machine, with everything on that looks at processes:
//! CPU time of the whole process (the collectors' worker thread included) over the number of
//! processes. `make bench` prints it.
//!
//! The processes are real: forks of a shell that wait for a pipe.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measure;

use std::time::Duration;

use farol_collect::{COLLECTORS, Host, Options, ProcessGroup, Runner};
use farol_model::{Lane, Timestamp};
use measure::{Sleepers, cpu_micros, span};
use regex::Regex;

/// With those that any machine has: somewhat fewer than 5,000, up to which all processes' `io` is
/// read, and then somewhat more.
const SLEEPERS: [usize; 2] = [4800, 200];
const FORK: &str = "(echo up; exec >/dev/null; read _ <&3)";
const TICKS: usize = 60;
/// They fill caches, and put each process into its group.
const WARM_UP: usize = 8;

fn main() {
    let all = ["process_groups", "processes", "top"];
    let mut started: Vec<Sleepers> = Vec::new();
    let mut sleeping = 0;
    for count in SLEEPERS {
        let sleepers = Sleepers::start(count, FORK);
        sleeping += sleepers.lines.len();
        started.push(sleepers);
        for (what, names) in [("top alone", &all[2..]), ("top, processes and groups", &all[..])] {
            let micros = span(&measure(names));
            println!("{what}, µs CPU a process, {sleeping} of them asleep: {micros}");
        }
    }
}

/// Microseconds for each of the machine's processes.
fn measure(names: &[&str]) -> Vec<f64> {
    let entries: Vec<_> = COLLECTORS.iter().filter(|entry| names.contains(&entry.name)).collect();
    let patience = Duration::from_secs(20);
    let mut runner = Runner::new(Lane::Slow, Host::local(), &entries, &options(), patience)
        .expect("the options are good");
    let mut micros = Vec::new();
    for tick in 0..TICKS + WARM_UP {
        let at = Timestamp::from_millis(1_700_000_000_000 + tick as i64 * 10_000);
        let processes = std::fs::read_dir("/proc").map_or(0, |entries| {
            entries.flatten().filter(|entry| is_pid(&entry.file_name())).count()
        });
        let before = cpu_micros();
        runner.tick(at);
        if tick >= WARM_UP {
            micros.push((cpu_micros() - before) / processes as f64);
        }
    }
    micros
}

/// Groups by name, by unit and by user, so that all of it is looked at.
fn options() -> Options {
    let group = |name: &str, patterns: [&str; 3]| {
        let [process, unit, user] = patterns
            .map(|pattern| (!pattern.is_empty()).then(|| Regex::new(pattern).expect("a pattern")));
        ProcessGroup { name: name.to_owned(), process, unit, user }
    };
    let process_groups = vec![
        group("web", ["^nginx$", "", ""]),
        group("services", ["", "\\.service$", ""]),
        group("shells of root", ["^sh$", "", "^root$"]),
        group("all others", ["", "", "."]),
    ];
    Options { process_groups, ..Options::default() }
}

fn is_pid(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}
