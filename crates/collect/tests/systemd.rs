//! The collector `systemd` before systemd's own manager: a user's manager is started with units
//! made for it and a bus of its own, asked by both ways there are, and compared with what the real
//! node_exporter makes of the same manager.

#![expect(clippy::unwrap_used, reason = "a test that cannot start its manager has failed")]

mod exporter;
mod manager;

use std::{
    collections::BTreeMap, io::Read as _, os::unix::net::UnixStream, path::Path, time::Duration,
};

use exporter::Exporter;
use farol_collect::{COLLECTORS, Entry, Host, Options, Runner, Tick};
use farol_model::{Collected, Labels, Lane, Sample, Timestamp};
use manager::Manager;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_795_400_000_000);

/// The machine without a bus.
fn by_its_own_socket(manager: &Manager) -> Host {
    manager.machine("by-socket", "systemd/private", "runtime/systemd/private")
}

/// A connection that the manager in `place` has accepted, and started a service for.
fn visit(place: &Path) -> UnixStream {
    let mut visitor = UnixStream::connect(place.join("runtime/farol")).unwrap();
    let mut hello = [0; 6];
    visitor.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello\n");
    visitor
}

fn lane(host: &Host, options: &Options) -> Runner {
    let entries: Vec<&'static Entry> =
        COLLECTORS.iter().filter(|entry| entry.name == "systemd").collect();
    let patience = Duration::from_secs(20);
    Runner::new(Lane::Slow, host.clone(), &entries, options, patience).unwrap()
}

fn with_everything() -> Options {
    Options {
        systemd_start_times: true,
        systemd_restarts: true,
        systemd_tasks: true,
        ..Options::default()
    }
}

fn result(tick: &Tick) -> &Collected {
    &tick.outcomes[0].result
}

fn value(tick: &Tick, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |sample: &&Sample| {
        sample.name == *name
            && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
    };
    tick.samples.iter().find(fits).map(|sample| sample.value)
}

#[test]
fn the_manager_is_asked_at_its_own_socket_where_there_is_no_bus() {
    let place = TempDir::new().unwrap();
    let manager = Manager::start(place.path());
    let _visitor = visit(place.path());
    let tick = lane(&by_its_own_socket(&manager), &Options::default()).tick(NOW);
    assert_eq!(result(&tick), &Collected::Complete);
    let state =
        |name, state| value(&tick, "node_systemd_unit_state", &[("name", name), ("state", state)]);
    assert_eq!(state("farol-once.service", "active"), Some(1.0));
    assert_eq!(state("farol-fails.service", "failed"), Some(1.0));
    assert_eq!(state("farol-fails.service", "active"), Some(0.0));
    let of_socket = |name| value(&tick, name, &[("name", "farol.socket")]);
    assert_eq!(of_socket("node_systemd_socket_accepted_connections_total"), Some(1.0));
    assert_eq!(of_socket("node_systemd_socket_current_connections"), Some(1.0));
    assert_eq!(of_socket("node_systemd_socket_refused_connections_total"), Some(0.0));
    assert_eq!(value(&tick, "node_systemd_units", &[("state", "failed")]), Some(1.0));
    assert_eq!(value(&tick, "node_systemd_system_running", &[]), Some(0.0), "a unit has failed");
    let kind = [("name", "farol-once.service"), ("type", "oneshot")];
    assert!(value(&tick, "node_systemd_unit_state", &kind).is_some());
    let never = value(&tick, "node_systemd_timer_last_trigger_seconds", &[]);
    assert_eq!(never, None, "no timer has run yet");
}

#[test]
fn a_manager_that_goes_is_absent_and_found_again_when_it_comes_back() {
    let place = TempDir::new().unwrap();
    let manager = Manager::start(place.path());
    let mut lane = lane(&by_its_own_socket(&manager), &Options::default());
    assert_eq!(result(&lane.tick(NOW)), &Collected::Complete);
    drop(manager);
    assert!(matches!(result(&lane.tick(NOW)), Collected::Absent(_)));
    let _manager = Manager::start(place.path());
    assert_eq!(result(&lane.tick(NOW)), &Collected::Complete);
}

/// Values of theirs that stand for nothing: ours is absent there.
const ZERO_IS_NEVER: [&str; 2] =
    ["node_systemd_timer_last_trigger_seconds", "node_systemd_unit_start_time_seconds"];

/// Later than 1.5.
const OURS_ALONE: [&str; 1] = ["node_systemd_virtualization_info"];

#[test]
fn node_exporter_says_the_same_of_the_manager_on_the_same_bus() {
    let place = TempDir::new().unwrap();
    let manager = Manager::start(place.path());
    let _visitor = visit(place.path());
    let bus = format!("unix:path={}", place.path().join("runtime/bus").display());
    let exporter = Exporter::start(
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.systemd".to_owned(),
            "--collector.systemd.enable-start-time-metrics".to_owned(),
            "--collector.systemd.enable-restarts-metrics".to_owned(),
            "--collector.systemd.enable-task-metrics".to_owned(),
            // Debian changed the default; this is upstream's.
            format!("--collector.systemd.unit-exclude={}", Options::SYSTEMD_UNIT_EXCLUDE),
        ],
        &[("DBUS_SYSTEM_BUS_ADDRESS", &bus)],
    );
    let theirs = exporter.scrape_until(|told| {
        // The manager takes its name on the bus a moment after it has started.
        told.samples.iter().any(|scraped| scraped.sample.name == *"node_systemd_units")
    });
    let mut theirs = series(theirs.samples.iter().map(|scraped| &scraped.sample));
    theirs.retain(|(name, _), value| *value != 0.0 || !ZERO_IS_NEVER.contains(&name.as_str()));
    let tick = lane(&manager.by_bus(), &with_everything()).tick(NOW);
    assert_eq!(result(&tick), &Collected::Complete);
    let mut ours = series(tick.samples.iter());
    ours.retain(|(name, _), _| !OURS_ALONE.contains(&name.as_str()));
    let start = ("node_systemd_unit_start_time_seconds", "farol-once.service");
    assert!(
        ours.keys()
            .any(|(name, labels)| (name.as_str(), labels.get("name")) == (start.0, Some(start.1)))
    );
    assert_eq!(ours, theirs);
}

fn series<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<(String, Labels), f64> {
    let samples = samples.filter(|sample| sample.name.starts_with("node_systemd_"));
    samples.map(|sample| ((sample.name.to_string(), sample.labels.clone()), sample.value)).collect()
}
