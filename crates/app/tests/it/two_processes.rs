//! `farol collect` and `farol serve` as two processes with different users: the part that touches
//! the host has no port, and the part with the port cannot touch the journal.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::world::{FAROL, Farol, eventually, journal_lines, run, value_of};

/// Two users that every Debian has; neither is root.
const COLLECTOR: (&str, &str) = ("2", "2"); // bin
const SERVER: (&str, &str) = ("65534", "65534"); // nobody

#[test]
fn a_server_with_another_user_agrees_with_the_writer_and_grows_silent_with_it() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test starts processes with two other users: run it as root"
    );
    let folder = tempfile::tempdir().unwrap();
    let program = a_copy_that_all_may_run(folder.path());
    let journal = folder.path().join("writer");
    let logs = journal.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    give(&journal, COLLECTOR, 0o755);
    give(&logs, COLLECTOR, 0o755);
    let own = folder.path().join("reader");
    std::fs::create_dir_all(&own).unwrap();
    give(&own, SERVER, 0o700);

    // The journal's files are 0640; their group lets the server read them.
    let group = ["--group", SERVER.1, "--interval", "200ms", "--slow-interval", "200ms"];
    let collecting = Farol::spawn(
        as_user(&program, (COLLECTOR.0, COLLECTOR.1), &[SERVER.1], "collect"),
        &journal,
        &group,
    );
    let mut server = as_user(&program, SERVER, &[], "serve");
    server.arg("--data").arg(&own);
    let serving = spawn_server(server, &logs);
    serving.wait_until_ready();

    assert_the_server_cannot_write(&logs);
    eventually("the server shows a line of the writer", || agrees(&serving, &logs));

    let ticks = || value_of(&serving.get("/metrics").text(), "farol_ticks_total{lane=\"fast\"}");
    let metrics = serving.get("/metrics").text();
    assert!(value_of(&metrics, "farol_follow_lines_total").unwrap() > 0.0);
    assert_eq!(value_of(&metrics, "farol_follow_damaged_parts_total"), Some(0.0));
    let before = ticks().unwrap();
    eventually("the server follows", || ticks().is_some_and(|now| now > before));

    let refused = run(Command::new(FAROL).args(["reload", "--data", own.to_str().unwrap()]));
    assert!(refused.1.contains("farol reload"), "{}", refused.1);

    assert_others_traffic_is_absent(&logs);

    assert_eq!(collecting.stop(), Some(0));
    // One lane grows old before the other: degraded comes first.
    eventually("the server calls the data stale", || serving.health()["status"] == "stale");
    assert_eq!(serving.get("/health").status, 503);
    eventually("no stale value is served", || {
        let text = serving.get("/metrics").text();
        assert!(text.contains("process_cpu_seconds_total"), "its own figures are live");
        !text.contains("node_cpu_seconds_total{")
    });
    assert_eq!(serving.stop(), Some(0));
}

/// Whether what the server shows is, value by value, one of the writer's lines.
fn agrees(serving: &Farol, logs: &Path) -> bool {
    let metrics = serving.get("/metrics").text();
    let health = serving.health();
    let Some(load) = value_of(&metrics, "node_context_switches_total") else { return false };
    let lines = journal_lines(logs, "metrics", true);
    let shown = lines.iter().any(|line| line["samples"]["node_context_switches_total"] == load);
    let memory = &health["metrics"]["memory_used_bytes"];
    let healthy = lines.iter().any(|line| line["metrics"]["memory_used_bytes"] == *memory);
    shown && memory.is_number() && healthy
}

/// The kernel tells nobody but root what another user's processes read and write: their rows lack
/// it, and one reason is given for all of them.
fn assert_others_traffic_is_absent(logs: &Path) {
    let lines = journal_lines(logs, "metrics", false);
    let line = lines.iter().rfind(|line| line["lane"] == "slow").unwrap();
    let reasons = line["errors"]["top"]["partial"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].as_str().unwrap().contains("CAP_SYS_PTRACE"), "{reasons:?}");
    let rows = line["top"].as_array().unwrap();
    let others = rows.iter().filter(|row| row["user"] == "root");
    assert!(others.clone().count() > 0, "{rows:?}");
    for row in others {
        assert!(row.get("read_bytes_per_second").is_none(), "{row}");
        assert!(row["resident_bytes"].is_number(), "{row}");
    }
}

fn assert_the_server_cannot_write(logs: &Path) {
    let file = std::fs::read_dir(logs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .unwrap();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "{}", file.display());
    let touch = format!(
        "echo x >> {0} || echo refused; touch {1}/new || echo refused",
        file.display(),
        logs.display()
    );
    let (said, _, _) = run(Command::new("setpriv")
        .args(["--reuid", SERVER.0, "--regid", SERVER.1, "--clear-groups"])
        .args(["sh", "-c", &touch]));
    assert_eq!(said, "refused\nrefused\n");
}

fn as_user(program: &Path, user: (&str, &str), groups: &[&str], shape: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user.0, "--regid", user.1, "--inh-caps=-all", "--bounding-set=-all"]);
    if groups.is_empty() {
        command.arg("--clear-groups");
    } else {
        command.args(["--groups", &groups.join(",")]);
    }
    command.arg(program).arg(shape);
    command
}

/// The journal of one process, the data folder of another.
fn spawn_server(mut command: Command, logs: &Path) -> Farol {
    command.arg("--logs").arg(logs);
    Farol::spawn_with_own_folders(command, logs.parent().unwrap())
}

/// The test's build may lie in a folder that other users cannot enter.
fn a_copy_that_all_may_run(folder: &Path) -> std::path::PathBuf {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("farol");
    std::fs::copy(FAROL, &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn give(path: &Path, user: (&str, &str), mode: u32) {
    let (uid, gid) = (user.0.parse().unwrap(), user.1.parse().unwrap());
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
