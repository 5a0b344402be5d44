//! The recorded machines in `fixtures/hosts`, and one tick of everything on each of them.

use std::{path::PathBuf, time::Duration};

use farol_collect::{COLLECTORS, Entry, Host, Options, ProcessGroup, Runner, Tick, TopCommand};
use farol_model::{Lane, Timestamp};

/// After the boot of each recorded machine.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_400_000_000);

pub(crate) fn all_collectors() -> Vec<&'static Entry> {
    COLLECTORS.iter().collect()
}

/// Name and folder of each machine, in order of their names.
pub(crate) fn machines() -> Vec<(String, PathBuf)> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/hosts"));
    let mut machines: Vec<_> = folder
        .read_dir()
        .expect("the fixtures are part of the repository")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    machines.sort();
    assert!(machines.len() >= 10, "machines are missing in {}", folder.display());
    machines
}

/// The defaults, and a group of processes: without one its collector has nothing to do.
fn options() -> Options {
    let kept_by_systemd = ProcessGroup {
        name: "services".to_owned(),
        process: None,
        unit: Some("\\.service$".parse().expect("a pattern")),
        user: None,
    };
    Options {
        process_groups: vec![kept_by_systemd],
        top_command: TopCommand::Full,
        ..Options::default()
    }
}

/// All collectors in both lanes.
pub(crate) struct Lanes(Vec<Runner>);

impl Lanes {
    pub(crate) fn new(host: &Host) -> Lanes {
        Lanes::told(host, &options())
    }

    pub(crate) fn told(host: &Host, options: &Options) -> Lanes {
        let lanes = Lane::ALL.map(|lane| {
            let patience = Duration::from_secs(20);
            Runner::new(lane, host.clone(), &all_collectors(), options, patience)
                .expect("the options are valid")
        });
        Lanes(lanes.into())
    }

    /// One tick of both, as if it were of one lane.
    pub(crate) fn tick(&mut self, at: Timestamp) -> Tick {
        let mut ticks = self.0.iter_mut().map(|runner| runner.tick(at));
        let mut all = ticks.next().expect("there are two lanes");
        for tick in ticks {
            all.samples.extend(tick.samples);
            all.top.extend(tick.top);
            all.outcomes.extend(tick.outcomes);
            all.summary.extend(tick.summary);
            all.took += tick.took;
        }
        all.samples.sort_by(|a, b| a.name.cmp(&b.name));
        all.outcomes.sort_by(|a, b| a.collector.cmp(&b.collector));
        all
    }
}
