//! The collector `systemd` before systemd's own manager: a user's manager is started with units
//! made for it and a bus of its own, asked by both ways there are, and compared with what the real
//! node_exporter makes of the same manager.

#![expect(clippy::unwrap_used, reason = "a test that cannot start its manager has failed")]

mod exporter;

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::{
        fs::symlink,
        net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use exporter::Exporter;
use farol_collect::{COLLECTORS, Entry, Host, Options, Runner, Tick};
use farol_model::{Collected, Labels, Lane, Sample, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_millis(1_795_400_000_000);

/// A manager wants the machine to be systemd's, and looks for `/run/systemd/system`: so it gets a
/// `/run` of its own.
const IN_ITS_OWN_RUN: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system \
                              && exec /usr/lib/systemd/systemd --user";

const UNITS: [(&str, &str); 8] = [
    (
        "default.target",
        "[Unit]\n\
         Wants=farol-once.service farol-fails.service farol.socket farol.timer dbus.service\n\
         After=farol-once.service farol-fails.service farol.socket farol.timer dbus.service\n",
    ),
    ("farol-once.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"),
    ("farol-fails.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ("farol.socket", "[Socket]\nListenStream=%t/farol\nAccept=yes\n"),
    (
        "farol@.service",
        "[Service]\nStandardInput=socket\nExecStart=/bin/sh -c 'echo hello; exec cat'\n",
    ),
    ("farol.timer", "[Timer]\nOnActiveSec=1h\nUnit=farol-once.service\n"),
    ("dbus.socket", "[Socket]\nListenStream=%t/bus\n"),
    (
        "dbus.service",
        "[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile\n",
    ),
];

/// Managers of one user share their control groups: one would take another's services for its own.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running manager; stopped when dropped.
struct Manager {
    _alone: MutexGuard<'static, ()>,
    process: Child,
    place: PathBuf,
}

impl Manager {
    #[expect(clippy::disallowed_methods, reason = "the peer of this test is a program")]
    fn start(place: &Path) -> Manager {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let units = place.join("config/systemd/user");
        for folder in [units.clone(), place.join("home"), place.join("runtime")] {
            fs::create_dir_all(folder).unwrap();
        }
        for (name, text) in UNITS {
            fs::write(units.join(name), text).unwrap();
        }
        let notify = place.join("notify");
        fs::remove_file(&notify).ok();
        let ready = UnixDatagram::bind(&notify).unwrap();
        let process = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", IN_ITS_OWN_RUN])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", place.join("home"))
            .env("XDG_CONFIG_HOME", place.join("config"))
            .env("XDG_RUNTIME_DIR", place.join("runtime"))
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare starts: apt-get install util-linux systemd dbus");
        let manager = Manager { _alone: alone, process, place: place.to_owned() };
        wait_until_started(&ready);
        manager
    }

    /// A machine on which it is the system's manager, to be asked by the bus.
    fn by_bus(&self) -> Host {
        self.machine("by-bus", "dbus/system_bus_socket", "runtime/bus")
    }

    /// The same without a bus.
    fn by_its_own_socket(&self) -> Host {
        self.machine("by-socket", "systemd/private", "runtime/systemd/private")
    }

    fn machine(&self, name: &str, socket: &str, target: &str) -> Host {
        let host = Host::recorded(&self.place.join(name));
        let socket = host.run.join(socket);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        symlink(self.place.join(target), socket).unwrap();
        host
    }

    /// A connection that the manager has accepted, and started a service for.
    fn visit(&self) -> UnixStream {
        let mut visitor = UnixStream::connect(self.place.join("runtime/farol")).unwrap();
        let mut hello = [0; 6];
        visitor.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello\n");
        visitor
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It stops its units, and then itself.
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).ok();
        self.process.wait().ok();
    }
}

/// Managers say it in these words, depending on their version.
const STARTED: [&str; 2] = ["STATUS=Ready.", "Startup finished"];

fn wait_until_started(ready: &UnixDatagram) {
    ready.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let length = ready.recv(&mut buffer).expect("the manager starts within a minute");
        let message = String::from_utf8_lossy(&buffer[..length]);
        if STARTED.iter().any(|words| message.contains(words)) {
            return;
        }
    }
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
    let _visitor = manager.visit();
    let tick = lane(&manager.by_its_own_socket(), &Options::default()).tick(NOW);
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
    let mut lane = lane(&manager.by_its_own_socket(), &Options::default());
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
    let _visitor = manager.visit();
    let bus = format!("unix:path={}", place.path().join("runtime/bus").display());
    let exporter = Exporter::start(
        &[
            "--collector.systemd",
            "--collector.systemd.enable-start-time-metrics",
            "--collector.systemd.enable-restarts-metrics",
            "--collector.systemd.enable-task-metrics",
            // Debian changed the default; this is upstream's.
            &format!("--collector.systemd.unit-exclude={}", Options::SYSTEMD_UNIT_EXCLUDE),
        ],
        &[("DBUS_SYSTEM_BUS_ADDRESS", &bus)],
    );
    let mut theirs = series(&exporter.scrape_until(|samples| {
        // The manager takes its name on the bus a moment after it has started.
        samples.iter().any(|sample| sample.name == *"node_systemd_units")
    }));
    theirs.retain(|(name, _), value| *value != 0.0 || !ZERO_IS_NEVER.contains(&name.as_str()));
    let tick = lane(&manager.by_bus(), &with_everything()).tick(NOW);
    assert_eq!(result(&tick), &Collected::Complete);
    let mut ours = series(&tick.samples);
    ours.retain(|(name, _), _| !OURS_ALONE.contains(&name.as_str()));
    let start = ("node_systemd_unit_start_time_seconds", "farol-once.service");
    assert!(
        ours.keys()
            .any(|(name, labels)| (name.as_str(), labels.get("name")) == (start.0, Some(start.1)))
    );
    assert_eq!(ours, theirs);
}

fn series(samples: &[Sample]) -> BTreeMap<(String, Labels), f64> {
    let samples = samples.iter().filter(|sample| sample.name.starts_with("node_systemd_"));
    samples.map(|sample| ((sample.name.to_string(), sample.labels.clone()), sample.value)).collect()
}
