//! What a configuration asks for, built purely: nothing is opened, bound or started here. `farol
//! check` stops after it, and a reload does it first, so a bad file changes nothing.

use std::sync::{Arc, Mutex};

use farol_collect::{Laps, Options, OptionsError, Runner, own, probe, textfile};
use farol_model::{Lane, Stream, Timestamp};
use tokio::sync::watch;

use crate::{
    config::{self, Config, Effective, Loaded, Retention},
    diagnosis::Diagnosis,
    history::ReaderSlot,
    sampler::Plan,
};

/// The boards on which the program's parts leave what collectors report.
#[derive(Clone, Debug, Default)]
pub struct Boards {
    pub own: Arc<own::Board>,
    pub probes: Arc<probe::Board>,
    /// What text files say of their families.
    pub texts: Arc<textfile::Board>,
    /// In `serve` only.
    pub followed: Arc<Mutex<own::Followed>>,
    /// The store to ask, once it has what the journal holds.
    pub reader: ReaderSlot,
    /// The rules, and how evaluating them goes.
    pub rules: Arc<Mutex<farol_alert::Board>>,
    /// When all was last known to be well, while it is.
    pub well: watch::Sender<Option<Timestamp>>,
    /// What is configured, as it is shown.
    pub shown: Arc<Mutex<Effective>>,
    /// Where a person asks for remedies, once they can be run.
    pub remedies: crate::remedies::DeskSlot,
}

/// One plan per lane, by `Lane::index`; times are taken by the real clock.
pub fn plans(config: &Config, boards: &Boards) -> Result<[Plan; 2], OptionsError> {
    plans_timed(config, boards, Laps::default())
}

/// The same, with times taken by another clock.
pub fn plans_timed(
    config: &Config,
    boards: &Boards,
    laps: Laps,
) -> Result<[Plan; 2], OptionsError> {
    let options = config::collect_options(
        config,
        Arc::clone(&boards.own),
        Arc::clone(&boards.probes),
        Arc::clone(&boards.texts),
    );
    let options = Options { laps, ..options };
    let entries = config.collectors.entries();
    let plan = |lane: Lane| -> Result<Plan, OptionsError> {
        let host = config.host.clone();
        let runner = Runner::new(lane, host, &entries, &options, config.collector_timeout)?;
        let interval = match lane {
            Lane::Fast => config.interval,
            Lane::Slow => config.slow_interval,
        };
        Ok(Plan { runner, interval, host: config.host_name.clone() })
    };
    Ok([plan(Lane::Fast)?, plan(Lane::Slow)?])
}

/// What is not wrong in itself, yet most likely not what was meant: sentences for the log. Looks at
/// the machine, so it stands apart from what the configuration alone decides.
pub fn doubts(loaded: &Loaded) -> Vec<String> {
    let host = &loaded.config.host;
    let places = [
        ("path.procfs", &host.proc, host.proc.join("stat")),
        ("path.sysfs", &host.sys, host.sys.clone()),
        ("path.rootfs", &host.root, host.root.clone()),
    ];
    let missing = places.into_iter().filter(|(_, _, witness)| !witness.exists());
    let misplaced = missing.map(|(key, path, witness)| {
        let (path, witness) = (path.display(), witness.display());
        let what = key.trim_start_matches("path.");
        format!("{key}: there is no {witness}; is the machine's {what} mounted at {path}?")
    });
    misplaced.chain(Diagnosis::of(loaded).sentences()).collect()
}

pub fn journal_settings(config: &Config, group: Option<u32>) -> farol_journal::Settings {
    let mut settings = farol_journal::Settings {
        segment_bytes: config.journal.segment_size,
        reserve_bytes: config.journal.reserve,
        compression: config.journal.compress.then_some(COMPRESSION_LEVEL),
        ..farol_journal::Settings::default()
    };
    settings.access.group = group;
    for stream in Stream::ALL {
        let Retention { age, size } = config.journal.retention(stream);
        *settings.retention_mut(stream) =
            farol_journal::Retention { days: age.as_secs().div_ceil(SECONDS_A_DAY), bytes: size };
    }
    settings
}

/// Beyond it, the size hardly falls and the time doubles.
const COMPRESSION_LEVEL: i32 = 3;
const SECONDS_A_DAY: u64 = 24 * 60 * 60;
