//! Who eats this machine: processes that really burn CPU, hold memory and write to a disk are
//! named in the journal, with their users and where they belong.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    time::Instant,
};

use serde_json::Value;

use crate::world::{DEADLINE, FAROL, Farol, eventually, farol, needs, run};

const MEMORY: usize = 256 << 20;
const CONTAINER: &str = "9f1c2e7a4b6d8c0e1f3a5b7c9d0e2f4a6b8c0d1e3f5a7b9c1d2e4f6a8b0c2d4e";

#[test]
fn the_journal_names_who_burns_cpu_holds_memory_and_writes() {
    // On a disk: what is written into memory is nobody's traffic.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = folder.path();
    // Before the hogs, and so removed after their end: only then are they empty.
    let unit = format!("farol-test-{}.service", std::process::id());
    let service = Group::make(&format!("system.slice/{unit}"));
    let container = Group::make(&format!("docker/{CONTAINER}"));
    let cpu_hog = Hog::start("sh", &place.join("cpu-hog"), &["-c", "while :; do :; done"]);
    let held = &MEMORY.to_string();
    let mut memory_hog = Hog::start("tail", &place.join("memory-hog"), &["-c", held]);
    memory_hog.feed(MEMORY);
    let file = place.join("written");
    let endlessly =
        ["-n", "1000000", "-s", "4M", "--random-source=/dev/zero", file.to_str().unwrap()];
    std::fs::write(&file, "").unwrap();
    let disk_hog = Hog::start("shred", &place.join("disk-hog"), &endlessly);
    service.put(&cpu_hog);
    container.put(&memory_hog);

    let flags = ["--interval", "500ms", "--slow-interval", "500ms", "--process-groups", "cpu-hog"];
    let farol = Farol::start("run", &flags);
    let journal = Followed::start(&farol.logs());
    let line = journal.wait_for("a line that names the three as what they are", |line| {
        let cpu = &row(line, &cpu_hog)["cpu_ratio"];
        let written = &row(line, &disk_hog)["written_bytes_per_second"];
        let memory = &row(line, &memory_hog)["resident_bytes"];
        cpu.as_f64() > Some(0.2)
            && written.as_u64() > Some(1 << 20)
            && memory.as_u64() > Some(MEMORY as u64)
    });

    let [burns, holds, writes] = [&cpu_hog, &memory_hog, &disk_hog].map(|hog| row(&line, hog));
    for (largest, figure) in
        [(burns, "cpu_ratio"), (holds, "resident_bytes"), (writes, "written_bytes_per_second")]
    {
        for other in [burns, holds, writes] {
            let size = |row: &Value| row[figure].as_f64().unwrap_or(0.0);
            assert!(size(largest) >= size(other), "{figure}: {largest} {other}");
        }
        assert_eq!(largest["user"].as_str(), Some(own_user().as_str()), "{largest}");
        let program = place.join(largest["name"].as_str().unwrap());
        assert_eq!(largest["command"].as_str(), program.to_str(), "and none of its arguments");
    }
    assert_eq!(burns["unit"].as_str(), Some(unit.as_str()), "{burns}");
    assert_eq!(holds["container"].as_str(), Some(CONTAINER), "{holds}");
    assert!(holds.get("unit").is_none(), "{holds}");

    assert_screens_and_series_agree(&farol, &cpu_hog);
}

fn assert_screens_and_series_agree(farol: &Farol, cpu_hog: &Hog) {
    let data = farol.folder.join("data");
    let (status, _, _) = self::farol(&["status", "--data", data.to_str().unwrap()]);
    let words = format!("cpu-hog ({})", cpu_hog.child.id());
    let named = status.lines().find(|line| line.contains(&words));
    assert!(named.is_some(), "{words}\n{status}");
    assert!(farol.get("/").text().contains(&words));
    assert!(farol.health().get("top").is_none(), "who runs here is not for everyone who may ask");
    let metrics = farol.get("/metrics").text();
    assert!(!metrics.contains(&format!("\"{}\"", cpu_hog.child.id())), "rows are no series");
    assert!(metrics.contains("namedprocess_namegroup_num_procs{groupname=\"cpu-hog\"} 1\n"));
}

/// The hog's row in a line of the journal; null when it has none.
fn row<'a>(line: &'a Value, hog: &Hog) -> &'a Value {
    let mut rows = line["top"].as_array().into_iter().flatten();
    rows.find(|row| row["pid"] == hog.child.id()).unwrap_or(&Value::Null)
}

fn own_user() -> String {
    run(Command::new("id").arg("-un")).0.trim().to_owned()
}

/// A program under another name; ended with the test.
struct Hog {
    child: Child,
}

impl Hog {
    fn start(program: &str, copy: &Path, arguments: &[&str]) -> Hog {
        let (path, _, _) =
            run(Command::new("sh").args(["-c", &format!("command -v {}", needs(program))]));
        std::fs::copy(path.trim(), copy).unwrap();
        let mut command = Command::new(copy);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Hog { child: command.spawn().unwrap() }
    }

    /// As many bytes into its standard input, which stays open.
    fn feed(&mut self, bytes: usize) {
        let block = vec![b'x'; 1 << 20];
        let input = self.child.stdin.as_mut().unwrap();
        for _ in 0..bytes / block.len() {
            input.write_all(&block).unwrap();
        }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A control group of the test's own, as a service manager or a container engine would make it: in
/// each of the machine's hierarchies that name units, systemd's old one and the unified.
struct Group {
    /// Those that were not there before, the outermost first.
    made: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

impl Group {
    fn make(name: &str) -> Group {
        let mut group = Group { made: Vec::new(), paths: Vec::new() };
        for root in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            if Path::new(root).join("cgroup.procs").exists() {
                group.make_in(Path::new(root), name);
            }
        }
        assert!(!group.paths.is_empty(), "this machine has no control groups");
        group
    }

    fn make_in(&mut self, root: &Path, name: &str) {
        let mut path = root.to_owned();
        for part in name.split('/') {
            path.push(part);
            if !path.exists() {
                std::fs::create_dir(&path).expect("this test makes control groups: run it as root");
                self.made.push(path.clone());
            }
        }
        self.paths.push(path);
    }

    fn put(&self, hog: &Hog) {
        for path in &self.paths {
            std::fs::write(path.join("cgroup.procs"), hog.child.id().to_string()).unwrap();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            std::fs::remove_dir(path).ok();
        }
    }
}

/// `farol journal tail --follow`, line by line.
struct Followed {
    tail: Child,
    lines: Receiver<Value>,
}

impl Followed {
    fn start(logs: &Path) -> Followed {
        let mut tail = Command::new(FAROL)
            .args(["journal", "tail", "--follow", "--logs", logs.to_str().unwrap()])
            .env_remove("FAROL_CONFIG")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(tail.stdout.take().unwrap());
        let (send, lines) = sync_channel(64);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Followed { tail, lines }
    }

    /// The first line from here on of which the condition holds.
    fn wait_for(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let mut last = Value::Null;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if condition(&line) => return line,
                Ok(line) if line.get("top").is_some() => last = line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("waited {DEADLINE:?} in vain: {what}; the last was {}", last["top"])
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the journal's reader ended"),
            }
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.tail.kill().ok();
        self.tail.wait().ok();
    }
}

#[test]
fn a_server_shows_the_rows_of_the_writer_s_journal() {
    let writer = Farol::start("collect", &["--interval", "500ms", "--slow-interval", "500ms"]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(FAROL);
    command.arg("serve").arg("--data").arg(folder.path()).arg("--logs").arg(writer.logs());
    let server = Farol::spawn_with_own_folders(command, folder.path());
    server.wait_until_ready();
    eventually("the page shows the largest processes", || {
        server.get("/").text().contains("<h2>Largest processes</h2>")
    });
    let data = folder.path().to_str().unwrap();
    let (status, _, _) = farol(&["status", "--data", data]);
    assert!(status.contains("\n  Most memory "), "{status}");
    let (json, _, _) = farol(&["status", "--json", "--data", data]);
    let status: Value = serde_json::from_str(&json).unwrap();
    assert!(status["top"][0]["resident_bytes"].is_number(), "{}", status["top"]);
}
