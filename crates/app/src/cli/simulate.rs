//! `farol simulate`: writes the history of recorded machines, for tests and measurements.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use farol_disk::{Disk, RealDisk};
use farol_model::Timestamp;

use super::Out;
use crate::{
    clock,
    config::{self, Config},
    rule_files,
    simulate::{self, Script, Written, recording::Recording},
};

const LONG_ABOUT: &str = "\
Collects from recorded machines at each interval of a time that passes as fast as the work is done, and writes \
journal and store as `farol run` would.

The same arguments write the same lines into an empty folder. Two things differ from what `run` writes: collectors take no \
time (their durations are 0, those of Farol's own work are left out), and nothing is probed. One thing depends \
on the machine this runs on: the sizes of file systems, which only a system call tells; \
`--no-collector.filesystem` leaves them out.

Where --from is a machine's journal of an hour or more, pieces of it that the seed chooses are played one after the \
other: weeks of what a machine really said.";

pub(super) fn configure(command: Command) -> Command {
    config::add_flags(command)
        .hide(true)
        .long_about(LONG_ABOUT)
        // Made-up history must not get into the real one by forgetting a flag.
        .mut_arg("data", |arg| arg.required(true))
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("FOLDER")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("A recorded machine (proc, sys, root, run); several take equal shares of the time, in order. Or the journal of one"),
        )
        .arg(
            Arg::new("for")
                .long("for")
                .value_name("SPAN")
                .required(true)
                .help("How much time passes, such as 2h"),
        )
        .arg(
            Arg::new("start")
                .long("start")
                .value_name("TIME")
                .help("When it begins [default: 2026-01-01T00:00:00Z; with a journal, when that began]"),
        )
        .arg(
            Arg::new("speed")
                .long("speed")
                .value_name("NUMBER")
                .value_parser(value_parser!(f64))
                .help("Simulated seconds in a real one [default: as many as can be done]"),
        )
        .arg(
            Arg::new("wander")
                .long("wander")
                .value_name("SEED")
                .value_parser(value_parser!(u64))
                .help("Let values move from tick to tick, in a way that the seed decides; they stand still without"),
        )
        .arg(
            Arg::new("rules")
                .long("rules")
                .action(ArgAction::SetTrue)
                .help("Evaluate the rules too; the alerts are in the journal's events"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("SEED")
                .value_parser(value_parser!(u64))
                .default_value("1")
                .help("Which pieces of a journal come after one another"),
        )
}

pub(super) fn run(matches: &ArgMatches, out: &mut Out) -> anyhow::Result<ExitCode> {
    let script = script(matches)?;
    let lap = clock::lap();
    let written = simulate::simulate(&script)?;
    let rate = script.span.as_secs_f64() / lap.elapsed().as_secs_f64().max(1e-9);
    let Written { snapshots, lines, journal_bytes, samples, block_samples, store_bytes, firing } =
        written;
    let firing = firing.map_or(String::new(), |alerts| format!(" {alerts} alerts fire;"));
    out.line(format!(
        "{snapshots} snapshots, {lines} lines, {journal_bytes} bytes of journal; {samples} samples, \
         {block_samples} of them in blocks, {store_bytes} bytes of store;{firing} {rate:.0} simulated seconds \
         a second"
    ));
    Ok(ExitCode::SUCCESS)
}

fn script(matches: &ArgMatches) -> anyhow::Result<Script> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let recording = recording(matches)?;
    let start = match (text("start"), &recording) {
        (Some(start), _) => parse_start(start)?,
        (None, Some((recording, _))) => recording.start,
        (None, None) => parse_start("2026-01-01T00:00:00Z")?,
    };
    let span = parse_span(text("for").unwrap_or_default())?;
    check_end(start, span)?;
    let speed = matches.get_one::<f64>("speed").copied();
    if speed.is_some_and(|speed| !(speed.is_finite() && speed > 0.0)) {
        anyhow::bail!("--speed must be more than 0: it is how many seconds pass in a real one");
    }
    let flags = config::flags_from(matches);
    let folders = matches.get_many::<PathBuf>("from").into_iter().flatten();
    let mut machines = match &recording {
        None => {
            folders.map(|folder| recorded_machine(folder, &flags)).collect::<anyhow::Result<_>>()?
        }
        Some((recording, _)) => {
            let mut config = config::from_process(with_logs(&flags))?.config;
            config.host_name = recording.host.clone();
            vec![config]
        }
    };
    // They are one machine that changes, and keeps its name.
    if let Some((first, others)) = machines.split_first_mut() {
        others.iter_mut().for_each(|other| other.host_name = first.host_name.clone());
    }
    let wander = matches.get_one::<u64>("wander").copied();
    let rules = match (matches.get_flag("rules"), machines.first()) {
        (true, Some(config)) => Some(Arc::new(rule_files::load(&config.rules)?)),
        (true, None) | (false, _) => None,
    };
    Ok(Script { machines, start, span, speed, wander, recording, rules })
}

/// The journal that is to be played, where the folder is one.
fn recording(matches: &ArgMatches) -> anyhow::Result<Option<(Arc<Recording>, u64)>> {
    let folders: Vec<&PathBuf> = matches.get_many("from").into_iter().flatten().collect();
    let is_journal = |folder: &Path| {
        let names =
            folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("metrics-"))
    };
    if !folders.iter().any(|folder| is_journal(folder)) {
        return Ok(None);
    }
    let [folder] = folders.as_slice() else {
        anyhow::bail!("--from: a journal is played alone; name one folder");
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let recording = Recording::read(&disk, folder)?;
    let seed = matches.get_one::<u64>("seed").copied().unwrap_or(1);
    Ok(Some((Arc::new(recording), seed)))
}

/// The configuration of a Farol that watches this machine.
fn recorded_machine(folder: &Path, flags: &[(String, String)]) -> anyhow::Result<Config> {
    if !folder.join("proc").is_dir() {
        anyhow::bail!(
            "--from {}: there is no folder proc in it; a recorded machine is a folder with proc, sys, \
             root and run, as below fixtures/hosts",
            folder.display()
        );
    }
    let path = |flag: &str, below: &str| {
        let path = folder.join(below);
        let path = path.to_str().with_context(|| format!("--from {path:?}: not UTF-8"))?;
        anyhow::Ok((flag.to_owned(), path.to_owned()))
    };
    // The machine is always this one, whatever a flag says.
    let mut all = with_logs(flags);
    all.push(path("path.procfs", "proc")?);
    all.push(path("path.sysfs", "sys")?);
    all.push(path("path.rootfs", "root")?);
    all.push(path("path.run", "run")?);
    Ok(config::from_process(all)?.config)
}

/// Of several flags the last counts: the journal goes below the data unless a flag says otherwise (a file
/// or the environment may name the real one's place).
fn with_logs(flags: &[(String, String)]) -> Vec<(String, String)> {
    let data = flags.iter().rev().find(|(name, _)| name == "data");
    let logs = data.map(|(_, data)| ("logs".to_owned(), format!("{data}/logs")));
    logs.into_iter().chain(flags.iter().cloned()).collect()
}

fn parse_start(text: &str) -> anyhow::Result<Timestamp> {
    let start: jiff::Timestamp = text
        .parse()
        .map_err(|_| anyhow::anyhow!("--start {text:?} is no time such as 2026-01-01T00:00:00Z"))?;
    Ok(Timestamp::from_millis(start.as_millisecond()))
}

fn parse_span(text: &str) -> anyhow::Result<Duration> {
    match config::parse_duration(text) {
        Ok(span) if span.is_zero() => anyhow::bail!("--for {text}: some time must pass"),
        Ok(span) => Ok(span),
        Err(why) => anyhow::bail!("--for {text:?} {why}"),
    }
}

/// A day that the calendar does not have is no name for a segment.
fn check_end(start: Timestamp, span: Duration) -> anyhow::Result<()> {
    jiff::Timestamp::from_millisecond(start.plus(span).as_millis()).map(drop).map_err(|_| {
        anyhow::anyhow!("--start and --for together go beyond the calendar's last year")
    })
}
