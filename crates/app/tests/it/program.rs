//! The program as a user meets it: start, look, break, stop.

use std::process::Command;

use crate::world::{FAROL, Farol, eventually, farol, journal_lines, repository, value_of, write};

#[test]
fn a_start_prints_its_url_and_serves_real_values() {
    let farol = Farol::start("run", &[]);
    farol.wait_until_ready();
    let metrics = farol.get("/metrics").text();
    let memory = value_of(&metrics, "node_memory_MemTotal_bytes").unwrap();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(memory, kib * 1024.0);

    eventually("a second tick, for the rates", || {
        farol.health()["metrics"]["cpu_percent"].is_number()
    });
    eventually("its rules were evaluated", || farol.health()["state"] == "STABLE");
    let health = farol.health();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["reasons"], serde_json::json!([]));
    assert!(health["metrics"]["memory_percent"].as_f64().unwrap() > 0.0);
    assert!(health["process"]["resident_memory_bytes"].as_f64().unwrap() > 0.0);
    assert_eq!(farol.stop(), Some(0));
}

#[test]
fn the_journal_remembers_ticks_start_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let farol =
        Farol::start_in(folder.path(), "run", &["--interval", "100ms", "--rules.stock=false"]);
    eventually("five ticks", || {
        value_of(&farol.get("/metrics").text(), "farol_ticks_total{lane=\"fast\"}")
            .is_some_and(|ticks| ticks >= 5.0)
    });
    let logs = farol.logs();
    assert_eq!(farol.stop(), Some(0));

    let lines = journal_lines(&logs, "metrics", false);
    assert!(lines.len() >= 5);
    // From each lane's first tick on each line has all signs.
    let slow = lines.iter().position(|line| line["lane"] == "slow").unwrap();
    for line in &lines[slow..] {
        assert!(line["metrics"]["memory_percent"].is_number(), "{line}");
        assert!(line["metrics"]["disk_percent"].is_number(), "{line}");
        assert_eq!(line["state"], "UNKNOWN");
    }
    let sparse = lines.iter().filter(|line| line.get("base").is_some()).count();
    assert!(sparse > 0, "differences are stored, not copies");
    let whole = journal_lines(&logs, "metrics", true);
    assert_eq!(whole.len(), lines.len());
    assert!(whole.iter().all(|line| line.get("base").is_none()));

    let events: Vec<String> = journal_lines(&logs, "events", false)
        .iter()
        .filter(|line| line["kind"] == "event")
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events, ["started", "stopped"]);
    let (_, _, code) = self::farol(&["journal", "verify", "--logs", logs.to_str().unwrap()]);
    assert_eq!(code, Some(0));
}

#[test]
fn a_recorded_machine_is_served_like_a_real_one() {
    let host = repository().join("fixtures/hosts/server");
    let path = |tree: &str| host.join(tree).to_str().unwrap().to_owned();
    let (proc, sys, root) = (path("proc"), path("sys"), path("root"));
    let farol = Farol::start(
        "run",
        &["--path.procfs", &proc, "--path.sysfs", &sys, "--path.rootfs", &root],
    );
    farol.wait_until_ready();
    let text = farol.get("/metrics").text();
    let cpus = text
        .lines()
        .filter(|line| line.starts_with("node_cpu_seconds_total{") && line.contains("\"idle\""))
        .count();
    assert!(cpus >= 16, "the recorded machine's CPUs, not this one's: {cpus}");
}

#[test]
fn a_second_program_on_the_same_journal_is_refused_with_the_way_out() {
    let first = Farol::start("run", &[]);
    let other = tempfile::tempdir().unwrap();
    let (_, error, code) = farol(&[
        "run",
        "--logs",
        first.logs().to_str().unwrap(),
        "--data",
        other.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, Some(1));
    assert!(error.contains("another process writes this journal"), "{error}");
}

#[test]
fn a_taken_port_is_named() {
    let first = Farol::start("run", &[]);
    let other = tempfile::tempdir().unwrap();
    let folder = other.path().to_str().unwrap();
    let flags = ["run", "--logs", folder, "--data", folder, "--listen", &first.address];
    let (_, error, code) = farol(&flags);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("cannot listen on {}", first.address)), "{error}");
}

#[test]
fn a_reload_takes_the_new_interval_and_refuses_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farol.yml");
    write(&file, "interval: 1s\n");
    let farol = Farol::start_in(folder.path(), "run", &["--config", file.to_str().unwrap()]);
    farol.wait_until_ready();
    let interval = || {
        let text = farol.get("/metrics").text();
        value_of(&text, "farol_lane_interval_seconds{lane=\"fast\"}")
    };
    eventually("the first interval", || interval() == Some(1.0));

    write(&file, "interval: 200ms\n");
    farol.signal("-HUP");
    eventually("the new interval", || interval() == Some(0.2));

    write(&file, "intervall: 300ms\n");
    let data = farol.folder.join("data");
    let (_, error, code) = self::farol(&["reload", "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("farol.yml:1: unknown key \"intervall\""), "{error}");
    assert_eq!(interval(), Some(0.2));
}

#[test]
fn the_first_scrape_finds_data_right_after_the_start() {
    let farol = Farol::start("run", &[]);
    farol.wait_until_ready();
    assert!(farol.get("/metrics").text().contains("\nnode_load1 "));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut farol = Farol::start("run", &[]);
    farol.wait_until_ready();
    farol.signal("-TERM");
    farol.signal("-TERM");
    eventually("ended", || farol.child.try_wait().unwrap().is_some());
}

#[test]
fn every_subcommand_explains_itself() {
    let (help, _, code) = farol(&["--help"]);
    assert_eq!(code, Some(0));
    for name in ["run", "collect", "serve", "status", "health", "check", "config", "journal"] {
        assert!(help.contains(name), "{help}");
        let (help, _, code) = farol(&[name, "--help"]);
        assert_eq!(code, Some(0));
        assert!(help.contains("Usage:"), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (script, _, code) = farol(&["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(script.contains("farol"));
    }
    let (page, _, code) = farol(&["man"]);
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH farol"), "{page}");
}

#[test]
fn output_into_a_closed_pipe_is_no_error() {
    let (_, error, code) = crate::world::run(
        Command::new("bash").args(["-c", &format!("set -o pipefail; {FAROL} man | head -1")]),
    );
    assert_eq!((error.as_str(), code), ("", Some(0)));
}

#[test]
fn the_service_manager_is_told_of_readiness_of_life_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::world::DEADLINE)).unwrap();
    let mut command = Command::new(FAROL);
    command.arg("run").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let farol = Farol::spawn(command, folder.path(), &[]);
    let mut told = Vec::new();
    let mut wait_for = |message: &str| {
        while !told.iter().any(|line| line == message) {
            let mut buffer = [0; 512];
            let length = manager.recv(&mut buffer).unwrap();
            told.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
    };
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    farol.signal("-HUP");
    wait_for("RELOADING=1");
    farol.signal("-TERM");
    wait_for("STOPPING=1");
}
