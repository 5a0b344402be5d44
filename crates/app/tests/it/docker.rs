//! The truth about the host from inside containers: in each way of starting one, every figure is the
//! host's or is missing with its reason, and never a container's.
//!
//! The test starts an engine of its own, with its own folder, bridge and mount namespace (so that
//! `/` can be shared as on any machine with systemd), and an image of nothing but busybox and Farol.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use farol_collect::{COLLECTORS, Entry, Scope};

use crate::world::{FAROL, Farol, eventually, needs, run, value_of};

/// One way of starting a container.
struct Case {
    name: &'static str,
    flags: &'static [&'static str],
    /// What cannot be the host's then.
    missing: &'static [Scope],
    /// Whether Farol is in the host's own network namespace.
    host_network: bool,
}

const MOUNT: &str = "/:/host:ro,rslave";
const ALL: &[Scope] = &[
    Scope::Network,
    Scope::NetworkDevices,
    Scope::Mounts,
    Scope::Processes,
    Scope::HostName,
    Scope::Cgroups,
    Scope::Root,
];

const CASES: &[Case] = &[
    Case { name: "bare", flags: &[], missing: ALL, host_network: false },
    Case { name: "mounted", flags: &["-v", MOUNT], missing: &[], host_network: false },
    Case {
        name: "mounted-pid",
        flags: &["-v", MOUNT, "--pid=host"],
        missing: &[],
        host_network: false,
    },
    Case {
        name: "pid",
        flags: &["--pid=host"],
        missing: &[
            Scope::NetworkDevices,
            Scope::Mounts,
            Scope::HostName,
            Scope::Cgroups,
            Scope::Root,
        ],
        host_network: false,
    },
    Case {
        name: "network",
        flags: &["--network=host"],
        missing: &[Scope::Mounts, Scope::Processes, Scope::HostName, Scope::Cgroups, Scope::Root],
        host_network: true,
    },
    Case {
        name: "everything",
        flags: &["-v", MOUNT, "--pid=host", "--network=host"],
        missing: &[],
        host_network: true,
    },
    Case {
        name: "nobody",
        flags: &["-v", MOUNT, "--user=65534:65534", "--read-only", "--cap-drop=ALL"],
        missing: &[],
        host_network: false,
    },
    Case {
        name: "only-proc",
        flags: &["-v", "/proc:/host/proc:ro"],
        missing: &[
            Scope::NetworkDevices,
            Scope::Mounts,
            Scope::HostName,
            Scope::Cgroups,
            Scope::Root,
        ],
        host_network: false,
    },
    Case {
        name: "only-sys",
        flags: &["-v", "/sys:/host/sys:ro"],
        missing: &[
            Scope::Network,
            // It is the host's indeed, but nothing tells so.
            Scope::NetworkDevices,
            Scope::Mounts,
            Scope::Processes,
            Scope::HostName,
            Scope::Root,
        ],
        host_network: false,
    },
    Case {
        name: "only-root",
        flags: &["--mount", "type=bind,src=/,dst=/host,readonly,bind-nonrecursive=true"],
        missing: ALL,
        host_network: false,
    },
];

#[test]
fn in_every_container_each_figure_is_the_hosts_or_missing_with_its_reason() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test starts a container engine of its own: run it as root"
    );
    let engine = Engine::start();
    engine.make_image();
    let containers: Vec<(&Case, Container<'_>)> =
        CASES.iter().map(|case| (case, engine.container(case))).collect();
    // Each start changed what the others see of the host: its devices, its mounts.
    let ticks: Vec<f64> = containers.iter().map(|(_, container)| container.slow_ticks()).collect();
    for ((case, container), ticks) in containers.iter().zip(ticks) {
        eventually("a whole tick since", || container.slow_ticks() >= ticks + 2.0);
        container.check(case);
    }
    drop(containers);
    engine.check_what_the_host_sees_of_its_containers();
}

/// A `dockerd` that ends with the test, together with all its containers.
struct Engine {
    folder: tempfile::TempDir,
    daemon: Child,
    bridge: String,
}

impl Engine {
    fn start() -> Engine {
        for program in ["docker", "ldd"] {
            needs(program);
        }
        let folder = tempfile::tempdir().unwrap();
        let id = std::process::id();
        let bridge = format!("farol{id}");
        let ip = |arguments: &[&str]| {
            let (_, error, code) = run(Command::new(needs("ip")).args(arguments));
            assert_eq!(code, Some(0), "ip {arguments:?}: {error}");
        };
        ip(&["link", "add", &bridge, "type", "bridge"]);
        // Of the range for tests of devices (RFC 2544); one of many, should two tests run at once.
        let address = format!("198.18.{}.1/24", id % 256);
        ip(&["address", "add", &address, "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let daemon = Command::new(needs("unshare"))
            .args(["--mount", "--propagation", "shared", needs("dockerd")])
            .args(["--data-root", &place("data"), "--exec-root", &place("exec")])
            .args(["--pidfile", &place("pid"), "-H", &format!("unix://{}", place("socket"))])
            .args(["--storage-driver=vfs", "--iptables=false", "--ip-forward=false"])
            .args(["--ip-masq=false", "--userland-proxy=false", "--bridge", &bridge])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Engine { folder, daemon, bridge };
        eventually("the engine answers", || engine.docker(&["info"]).2 == Some(0));
        engine
    }

    fn docker(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let socket = self.folder.path().join("socket");
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        run(command.args(["-H", &format!("unix://{}", socket.display())]).args(arguments))
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let (output, error, code) = self.docker(arguments);
        assert_eq!(code, Some(0), "docker {arguments:?}: {error}{}", self.log());
        output
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        format!("\nthe engine's last lines:\n{}", last.join("\n"))
    }

    /// busybox, Farol and the libraries that the dynamic linker names for it.
    fn make_image(&self) {
        let image = self.folder.path().join("image");
        for folder in ["bin", "data", "etc", "host", "proc", "sys", "tmp"] {
            fs::create_dir_all(image.join(folder)).unwrap();
        }
        // The mount over it takes its mode.
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(image.join("data"), mode).unwrap();
        let busybox = which(needs("busybox"));
        fs::copy(busybox, image.join("bin/busybox")).unwrap();
        fs::copy(FAROL, image.join("bin/farol")).unwrap();
        // What must never show: it is the container's.
        fs::write(image.join("etc/os-release"), format!("ID={IMAGES_OWN}\n")).unwrap();
        let (libraries, _, _) = run(Command::new("ldd").arg(FAROL));
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = image.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(library, place).unwrap();
        }
        let archive = self.folder.path().join("image.tar");
        let (_, error, code) =
            run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&image).arg("."));
        assert_eq!(code, Some(0), "{error}");
        self.succeed(&["import", archive.to_str().unwrap(), IMAGE]);
    }

    fn container(&self, case: &Case) -> Container<'_> {
        let mut arguments = vec!["run", "--detach", "--name", case.name, "--tmpfs=/data"];
        arguments.extend(case.flags);
        arguments.extend([IMAGE, "/bin/farol", "run", "--listen=127.0.0.1:0"]);
        arguments.extend(["--data=/data", "--interval=1s", "--slow-interval=1s"]);
        self.succeed(&arguments);
        let mut address = None;
        eventually("Farol listens in its container", || {
            let (output, errors, _) = self.docker(&["logs", case.name]);
            assert!(!errors.contains("farol: cannot"), "{}: {errors}", case.name);
            let line = output.lines().find_map(|line| line.strip_prefix("farol listening on "));
            address = line.map(|line| line.trim_end_matches('/').to_owned());
            address.is_some()
        });
        Container { engine: self, name: case.name, address: address.unwrap() }
    }
}

impl Engine {
    /// The collector `containers` before a real engine: names by its socket, figures by the files of
    /// the control groups, and nothing left of a container that is gone.
    fn check_what_the_host_sees_of_its_containers(&self) {
        let socket = self.folder.path().join("socket").display().to_string();
        let farol = Farol::start(
            "run",
            &["--slow-interval=1s", "--interval=1s", "--collector.containers.socket", &socket],
        );
        let mut metrics = String::new();
        let mut names = |wanted: &dyn Fn(&BTreeSet<String>) -> bool, what: &str| {
            eventually(what, || {
                metrics = farol.get("/metrics").text();
                wanted(&labels(&metrics, "container_memory_usage_bytes", "name"))
            });
            metrics.clone()
        };
        let all: BTreeSet<String> = CASES.iter().map(|case| case.name.to_owned()).collect();
        let metrics = names(&|seen| seen.is_superset(&all), "every container is seen by its name");

        let of = |name: &str, metric: &str| -> Vec<String> {
            let label = format!("name=\"{name}\"");
            let is_it = |line: &&str| line.starts_with(metric) && line.contains(&label);
            metrics.lines().filter(is_it).map(str::to_owned).collect()
        };
        let id = self.succeed(&["inspect", "--format={{.Id}}", "bare"]);
        for metric in ["container_memory_usage_bytes{", "container_cpu_usage_seconds_total{"] {
            let [series] = &of("bare", metric)[..] else { panic!("{metric}: {metrics}") };
            assert!(series.contains(id.trim()), "{series}");
            assert!(series.contains(&format!("image=\"{IMAGE}\"")), "{series}");
            let value: f64 = series.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(value > 0.0, "{series}");
        }
        // What goes over the host's network is not the container's own.
        let network = "container_network_receive_bytes_total{";
        assert_eq!(of("bare", network).len(), 1, "{metrics}");
        assert_eq!(of("everything", network), Vec::<String>::new());

        self.succeed(&["rm", "--force", "bare"]);
        names(&|seen| !seen.contains("bare"), "a container that is gone is seen no more");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let names = self.docker(&["ps", "--all", "--quiet"]).0;
        let mut remove = vec!["rm", "--force"];
        remove.extend(names.split_whitespace());
        if remove.len() > 2 {
            self.docker(&remove);
        }
        let pid = self.daemon.id().to_string();
        run(Command::new("kill").args(["-TERM", &pid]));
        self.daemon.wait().ok();
        run(Command::new("ip").args(["link", "delete", &self.bridge]));
    }
}

const IMAGE: &str = "farol-test";
const IMAGES_OWN: &str = "not-the-hosts";

fn which(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    path.split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.exists())
        .unwrap()
}

struct Container<'a> {
    engine: &'a Engine,
    name: &'static str,
    address: String,
}

impl Container<'_> {
    fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.address);
        self.engine.succeed(&["exec", self.name, "/bin/busybox", "wget", "-q", "-O-", &url])
    }

    /// How often the slow lane has ticked; the figure is a tick of the fast lane old at most.
    fn slow_ticks(&self) -> f64 {
        let series = "farol_ticks_total{lane=\"slow\"}";
        value_of(&self.get("/metrics"), series).unwrap_or_default()
    }

    fn check(&self, case: &Case) {
        let before = Truth::now();
        let metrics = self.get("/metrics");
        let health: serde_json::Value = serde_json::from_str(&self.get("/health")).unwrap();
        let after = Truth::now();

        for entry in COLLECTORS.iter().filter(|entry| entry.on && entry.scope != Scope::Own) {
            self.check_collector(case, entry, &metrics, &health);
        }
        self.compare(case, &metrics, &before, &after);
        let (page, error, code) = self.engine.docker(&["exec", self.name, "/bin/farol", "doctor"]);
        let is_whole = case.missing.is_empty() && case.host_network;
        assert_eq!(code, Some(i32::from(!is_whole)), "{}: {page}{error}", case.name);
        assert_eq!(page.contains("docker run"), !is_whole, "{}: {page}", case.name);
        let log = self.engine.docker(&["logs", self.name]).1;
        assert_eq!(log.contains("partial view of the host"), !is_whole, "{}: {log}", case.name);
    }

    fn check_collector(
        &self,
        case: &Case,
        entry: &Entry,
        metrics: &str,
        health: &serde_json::Value,
    ) {
        let (case_name, name) = (case.name, entry.name);
        let series = |metric: &str| format!("{metric}{{collector=\"{name}\"}}");
        let view = value_of(metrics, &series("farol_host_view"));
        let row = health["collectors"].as_array().unwrap().iter().find(|row| row["name"] == name);
        let row = row.unwrap_or_else(|| panic!("{case_name}: {name} is not in /health"));
        let reason = row["reasons"][0].as_str().unwrap_or_default();

        let needs_own_network =
            |read: &&str| read.starts_with("/proc/sys/net/") || !read.starts_with('/');
        let is_missing = case.missing.contains(&entry.scope)
            || !case.host_network && entry.reads.iter().any(needs_own_network);
        // Which files an engine masks is its own choice: there the reason tells.
        let is_masked = reason.contains("masked by the container engine");
        let expected = f64::from(u8::from(!is_missing && !is_masked));
        assert_eq!(view, Some(expected), "{case_name}: {name}: {reason}");
        assert_eq!(row["host_view"], expected == 1.0, "{case_name}: {name}");
        if expected == 0.0 {
            assert_eq!(row["result"], "absent", "{case_name}: {name}");
            assert!(reason.contains("mended by -"), "{case_name}: {name}: {reason}");
            for metric in entry.metrics {
                let shown = metrics.lines().any(|line| {
                    let rest = line.strip_prefix(metric.name);
                    rest.is_some_and(|rest| rest.starts_with([' ', '{']))
                });
                assert!(!shown, "{case_name}: {} is a container's", metric.name);
            }
        }
    }

    /// What is shown, against what this test reads on the host itself.
    fn compare(&self, case: &Case, metrics: &str, before: &Truth, after: &Truth) {
        let name = case.name;
        let is_seen = |scope| !case.missing.contains(&scope);
        assert_eq!(value_of(metrics, "node_memory_MemTotal_bytes"), Some(before.memory), "{name}");
        assert_eq!(value_of(metrics, "node_boot_time_seconds"), Some(before.boot), "{name}");
        assert!(!metrics.contains(IMAGES_OWN), "{name}: the container's /etc/os-release");

        let names = labels(metrics, "node_uname_info", "nodename");
        let expected = BTreeSet::from([before.name.clone()]);
        assert_eq!(
            names,
            if is_seen(Scope::HostName) { expected } else { BTreeSet::new() },
            "{name}"
        );

        for (scope, metric) in [
            (Scope::Network, "node_network_receive_bytes_total"),
            (Scope::NetworkDevices, "node_network_mtu_bytes"),
        ] {
            let devices = labels(metrics, metric, "device");
            if is_seen(scope) {
                // Others start and stop containers as well: their devices come and go.
                let constant = before.devices.intersection(&after.devices).cloned().collect();
                let all: BTreeSet<String> = before.devices.union(&after.devices).cloned().collect();
                assert!(devices.is_superset(&constant), "{name}: {metric}: {devices:?}");
                assert!(devices.is_subset(&all), "{name}: {metric}: {devices:?}");
            } else {
                assert!(devices.is_empty(), "{name}: {metric}: {devices:?}");
            }
        }
        let loopback = "node_network_receive_bytes_total{device=\"lo\"}";
        if let Some(bytes) = value_of(metrics, loopback) {
            // The snapshot may be a tick older than the request.
            assert!(bytes <= after.loopback_bytes, "{name}: {bytes}");
            assert!(bytes > 0.9 * before.loopback_bytes, "{name}: {bytes}");
        }

        let points = labels(metrics, "node_filesystem_size_bytes", "mountpoint");
        assert_eq!(points.contains("/"), is_seen(Scope::Mounts), "{name}: {points:?}");
        assert!(points.is_subset(&before.mount_points), "{name}: {points:?}");
        let size = metrics.lines().find(|line| {
            line.starts_with("node_filesystem_size_bytes{") && line.contains("mountpoint=\"/\"")
        });
        if let Some(line) = size {
            let size: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert_eq!(size, before.root_bytes, "{name}");
        }
    }
}

/// The values of one label among a metric's series.
fn labels(metrics: &str, metric: &str, label: &str) -> BTreeSet<String> {
    let series = metrics.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    let value = |series: &str| {
        let parts: BTreeMap<&str, &str> =
            series.split("\",").filter_map(|part| part.split_once("=\"")).collect();
        parts.get(label).map(|value| value.split('"').next().unwrap_or_default().to_owned())
    };
    series.filter_map(value).collect()
}

/// What the host itself says, read here independently of the program.
struct Truth {
    memory: f64,
    boot: f64,
    name: String,
    devices: BTreeSet<String>,
    loopback_bytes: f64,
    mount_points: BTreeSet<String>,
    root_bytes: f64,
}

impl Truth {
    fn now() -> Truth {
        let read = |path: &str| fs::read_to_string(path).unwrap();
        let number_after = |text: &str, key: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let device_table = read("/proc/net/dev");
        let devices = device_table.lines().skip(2).map(|line| line.split_once(':').unwrap());
        let root = rustix::fs::statvfs("/").unwrap();
        Truth {
            memory: number_after(&read("/proc/meminfo"), "MemTotal:") * 1024.0,
            boot: number_after(&read("/proc/stat"), "btime "),
            name: read("/etc/hostname").trim().to_owned(),
            loopback_bytes: devices
                .clone()
                .find(|(name, _)| name.trim() == "lo")
                .map(|(_, row)| row.split_whitespace().next().unwrap().parse().unwrap())
                .unwrap(),
            devices: devices.map(|(name, _)| name.trim().to_owned()).collect(),
            mount_points: read("/proc/1/mountinfo")
                .lines()
                .map(|line| line.split(' ').nth(4).unwrap().to_owned())
                .collect(),
            root_bytes: root.f_blocks as f64 * root.f_frsize as f64,
        }
    }
}
