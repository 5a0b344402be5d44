//! A real manager of systemd: a user's, with units made for it and a bus of its own.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use farol_collect::Host;
use rustix::process::{Pid, Signal, kill_process};

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
pub(crate) struct Manager {
    _alone: MutexGuard<'static, ()>,
    process: Child,
    place: PathBuf,
}

impl Manager {
    #[expect(clippy::disallowed_methods, reason = "the peer of this test is a program")]
    pub(crate) fn start(place: &Path) -> Manager {
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
    pub(crate) fn by_bus(&self) -> Host {
        self.machine("by-bus", "dbus/system_bus_socket", "runtime/bus")
    }

    /// One that has it at the socket of that name.
    pub(crate) fn machine(&self, name: &str, socket: &str, target: &str) -> Host {
        let host = Host::recorded(&self.place.join(name));
        // A machine is more than its manager: else it is taken for a path that is wrong.
        fs::create_dir_all(host.proc.join("1")).unwrap();
        let socket = host.run.join(socket);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        symlink(self.place.join(target), socket).unwrap();
        host
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
