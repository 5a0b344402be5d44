//! What a tick of `containers` costs for each container: CPU time of the whole process over the
//! number of containers. `make bench` prints it.
//!
//! The containers are real groups in each of the machine's hierarchies that has the controller (v1
//! or v2), below one of this program's own, with one process each on a network of its own. They are
//! removed at the end; a killed run leaves empty folders. That needs root.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod measure;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use farol_collect::{COLLECTORS, Host, Options, Runner};
use farol_model::{Lane, Timestamp};
use measure::{Sleepers, cpu_micros, span};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CONTAINERS: usize = 100;
/// What changes rarely is not looked at in every tick: so many make a round in which all is.
const ROUND: usize = 12;
const ROUNDS: usize = 20;
/// What a program may open that does not ask for more.
const FEW_FILES: u64 = 1024;

fn main() {
    let groups = Groups::make();
    if groups.hierarchies.is_empty() {
        println!("containers: skipped: no control groups can be made here");
        return;
    }
    let whole = getrlimit(Resource::Nofile);
    // In this order: the first runner's thread may still hold its files when the second begins.
    for (what, limit) in [("at most 1,024", Some(FEW_FILES)), ("as many as may be", whole.maximum)]
    {
        setrlimit(Resource::Nofile, Rlimit { current: limit, ..whole })
            .expect("a soft limit may be set");
        let micros = span(&measure());
        println!("a container of {CONTAINERS}, µs CPU, open files {what}: {micros}");
    }
}

/// Microseconds for each container and tick, in each round but the first, which opens files and
/// finds processes.
fn measure() -> Vec<f64> {
    let entries: Vec<_> = COLLECTORS.iter().filter(|entry| entry.name == "containers").collect();
    let patience = Duration::from_secs(20);
    let mut runner =
        Runner::new(Lane::Slow, Host::local(), &entries, &Options::default(), patience)
            .expect("the options are good");
    let mut micros = Vec::new();
    for tick in 0..ROUND * (ROUNDS + 1) {
        let at = Timestamp::from_millis(1_700_000_000_000 + tick as i64 * 10_000);
        let before = cpu_micros();
        let told = runner.tick(at);
        let took = cpu_micros() - before;
        let seen = told.samples.iter().filter(|sample| sample.name == *"container_last_seen");
        assert!(seen.count() >= CONTAINERS, "containers are missing: {:?}", told.outcomes);
        micros.push(took / CONTAINERS as f64);
    }
    let rounds = micros.chunks_exact(ROUND).skip(1);
    rounds.map(|round| round.iter().sum::<f64>() / ROUND as f64).collect()
}

struct Groups {
    /// Our own group in each hierarchy.
    hierarchies: Vec<PathBuf>,
    sleepers: Option<Sleepers>,
}

impl Groups {
    const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "blkio"];

    fn make() -> Groups {
        let base = Path::new("/sys/fs/cgroup");
        let mut groups = Groups { hierarchies: Vec::new(), sleepers: None };
        let is_v2 = base.join("cgroup.controllers").exists();
        let roots = match is_v2 {
            true => vec![base.to_owned()],
            false => Groups::CONTROLLERS.map(|name| base.join(name)).to_vec(),
        };
        let own = format!("farol-bench-{}", std::process::id());
        for root in roots {
            let folder = root.join(&own);
            if root.is_dir() && std::fs::create_dir(&folder).is_ok() {
                if is_v2 {
                    write(&folder.join("cgroup.subtree_control"), "+cpu +memory +io +pids");
                }
                groups.hierarchies.push(folder);
            }
        }
        if groups.hierarchies.is_empty() {
            return groups;
        }
        let command = "unshare --net sh -c 'echo $$; exec >/dev/null; read _ <&3'";
        groups.sleepers = Some(Sleepers::start(CONTAINERS, command));
        groups.fill();
        groups
    }

    fn fill(&self) {
        let pids = self.sleepers.iter().flat_map(|sleepers| &sleepers.lines);
        for (number, pid) in pids.enumerate() {
            for hierarchy in &self.hierarchies {
                let folder = hierarchy.join(format!("{number:064x}"));
                std::fs::create_dir(&folder).expect("a group can be made in our own");
                write(&folder.join("cgroup.procs"), pid);
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // A group with processes cannot be removed.
        self.sleepers = None;
        for hierarchy in &self.hierarchies {
            for number in 0..CONTAINERS {
                std::fs::remove_dir(hierarchy.join(format!("{number:064x}"))).ok();
            }
            std::fs::remove_dir(hierarchy).ok();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a file of the kernel is no file of ours")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the kernel takes it");
}
