//! What one tick costs: collect, sum up, journal line, publish, on this machine, in CPU time of the
//! whole process (the collectors' worker thread included), with every collector on. `make bench`
//! prints it.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use farol::{
    core::{Core, Event},
    parts::Boards,
};
use farol_collect::{COLLECTORS, Host, Options, Runner};
use farol_disk::{Disk, RealDisk};
use farol_journal::Journal;
use farol_model::{Current, Lane, Snapshot, State, Text, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

const TICKS: usize = 600;

fn main() {
    for lane in Lane::ALL {
        let (collect, apply) = measure(lane);
        let name = lane.name();
        println!("collect and sum up, {name} lane, ms CPU: {}", span(&collect));
        println!("journal line and publishing, {name} lane, ms CPU: {}", span(&apply));
        let whole: Vec<f64> = collect.iter().zip(&apply).map(|(a, b)| a + b).collect();
        println!("one whole {name} tick, ms CPU: {}", span(&whole));
    }
}

fn measure(lane: Lane) -> (Vec<f64>, Vec<f64>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let journal = Journal::open(disk, folder.path(), farol_journal::Settings::default())
        .expect("a journal in a temporary folder");
    let (current, _watch) = watch::channel(Arc::new(Current::default()));
    let host = Text::from_static("bench");
    let mut core = Core::new(host.clone(), journal, current, Boards::default().own);
    let entries: Vec<_> = COLLECTORS.iter().collect();
    let patience = Duration::from_secs(5);
    let mut runner = Runner::new(lane, Host::local(), &entries, &Options::default(), patience)
        .expect("the default options are good");

    let (mut collect, mut apply) = (Vec::new(), Vec::new());
    for tick in 0..TICKS {
        let at = Timestamp::from_millis(1_700_000_000_000 + tick as i64 * 1000);
        let before = cpu_ms();
        let tick = runner.tick(at);
        let between = cpu_ms();
        let snapshot = Snapshot {
            at,
            interval: Duration::from_secs(1),
            lane,
            host: host.clone(),
            state: State::Unknown,
            summary: tick.summary,
            samples: tick.samples,
            top: tick.top,
            outcomes: tick.outcomes,
        };
        let in_flight = Arc::new(AtomicBool::new(true));
        core.apply(Event::Sampled { snapshot, in_flight }, at);
        collect.push(between - before);
        apply.push(cpu_ms() - between);
    }
    (collect, apply)
}

fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Median, and the least and most without the first ticks, which fill caches.
fn span(values: &[f64]) -> String {
    let mut values = values[20..].to_vec();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("{:.3} ({:.3}..{:.3})", at(0.5), at(0.05), at(0.95))
}
