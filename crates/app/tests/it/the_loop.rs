//! The loop, closed: a machine goes critical, the rule holds, people are told, the treatment runs, the
//! machine recovers, the message says so, and the journal tells it all.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use crate::{
    discord::{Discord, TOKEN},
    world::{FAROL, Farol, eventually, journal_lines, repository, run, write},
};

#[test]
fn a_machine_goes_critical_is_told_of_treated_and_told_well_again() {
    let world = tempfile::tempdir().unwrap();
    let machine = world.path().join("machine");
    copy(&repository().join("fixtures/hosts/debian"), &machine);
    let meminfo = machine.join("proc/meminfo");
    let healthy = world.path().join("meminfo.healthy");
    fs::copy(&meminfo, &healthy).unwrap();
    let discord = Discord::start();
    let config = configure(world.path(), &healthy, &meminfo);

    let mut command = Command::new(FAROL);
    command.arg("run").env("HOOK", discord.url());
    let flags = ["--config.file", config.to_str().unwrap(), "--interval", "200ms"];
    let machine_flags = flags_of(&machine);
    let flags: Vec<&str> =
        flags.into_iter().chain(machine_flags.iter().map(String::as_str)).collect();
    let farol = Farol::spawn(command, world.path(), &flags);
    farol.wait_until_ready();
    eventually("the machine is stable", || farol.health()["state"] == "STABLE");

    // All memory is gone at once.
    let full: Vec<String> = fs::read_to_string(&healthy)
        .unwrap()
        .lines()
        .map(|line| match line.split_whitespace().next() {
            Some("MemAvailable:") => "MemAvailable:       1024 kB".to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    write(&meminfo, &(full.join("\n") + "\n"));

    eventually("the machine is critical", || farol.health()["state"] == "CRITICAL");
    let reasons = farol.health()["reasons"].to_string();
    assert!(reasons.contains("MemoryGone, critical since"), "{reasons}");
    eventually("people are told", || !discord.messages().is_empty());
    let first = discord.messages().remove(0);
    eventually("the treatment has run", || {
        fs::read_to_string(&meminfo).unwrap() == fs::read_to_string(&healthy).unwrap()
    });
    eventually("the machine is stable again", || farol.health()["state"] == "STABLE");
    eventually("the message says so", || discord.messages()[0] != first);

    let second = discord.messages().remove(0);
    assert_eq!(discord.messages().len(), 1, "one message, changed: {:?}", discord.messages());
    assert_eq!(second["id"], first["id"]);
    assert_eq!(first["embeds"][0]["color"], 0x0099_2D22);
    assert_eq!(second["embeds"][0]["color"], 0x002E_CC71);
    assert!(first.to_string().contains("Memory is gone on"), "{first}");
    assert_eq!(first["allowed_mentions"]["parse"], serde_json::json!([]));
    assert_eq!(discord.faults(), Vec::<String>::new());
    let requests = discord.requests();
    assert_eq!(requests, [("POST".to_owned(), 200), ("PATCH".to_owned(), 200)]);

    let metrics = farol.get("/metrics").text();
    let logs = farol.logs();
    eventually("the treatment was judged", || told(&logs).contains(&"action judged".to_owned()));
    assert_eq!(farol.stop(), Some(0));
    let story = told(&logs);
    let expected = [
        "alert pending",
        "alert firing",
        "delivery sent",
        "action intended",
        "action finished",
        "alert resolved",
        "action judged",
    ];
    for step in expected {
        assert_eq!(
            story.iter().filter(|told| *told == step).count(),
            if step == "delivery sent" { 2 } else { 1 },
            "{step}: {story:?}"
        );
    }
    let place = |step: &str| story.iter().position(|told| told == step).unwrap();
    assert!(place("alert pending") < place("alert firing"));
    assert!(place("alert firing") < place("delivery sent"));
    assert!(place("action intended") < place("action finished"));
    assert!(place("action finished") < place("alert resolved"));

    let states: Vec<Value> =
        journal_lines(&logs, "metrics", false).iter().map(|line| line["state"].clone()).collect();
    assert!(states.contains(&"CRITICAL".into()) && states.contains(&"STABLE".into()));

    // The secret is nowhere: not in the journal, the log, the metrics, nor in what is shown.
    assert!(!metrics.contains(TOKEN));
    let (found, _, _) = run(Command::new("grep").args(["-rl", TOKEN]).arg(world.path()));
    assert_eq!(found, "", "the secret is written down");
}

/// The kinds and outcomes of the records of the events, in order.
pub(crate) fn told(logs: &Path) -> Vec<String> {
    let tell = |line: &Value| {
        let what = match line["kind"].as_str()? {
            "alert" => &line["turn"],
            "delivery" => &line["outcome"],
            "action" => &line["step"],
            _ => return None,
        };
        Some(format!("{} {}", line["kind"].as_str()?, what.as_str()?))
    };
    journal_lines(logs, "events", false).iter().filter_map(tell).collect()
}

fn configure(folder: &Path, healthy: &Path, meminfo: &Path) -> std::path::PathBuf {
    write(
        &folder.join("loop.yml"),
        "groups:
  - name: loop
    interval: 1s
    rules:
      - alert: MemoryGone
        expr: 100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) > 90
        for: 2s
        labels: {severity: critical}
        annotations:
          summary: 'Memory is gone on {{ $labels.instance }}: {{ $value | printf \"%.1f\" }} % used'
",
    );
    write(
        &folder.join("remedies.yml"),
        "farol_rules:
  - alert: MemoryGone
    recover_level: 80
    remedy: give_back
",
    );
    let config = folder.join("farol.yml");
    write(
        &config,
        &format!(
            "rules:
  stock: false
  files: ['{folder}/loop.yml', '{folder}/remedies.yml']
notify:
  - name: team
    group_wait: 0s
    group_interval: 1s
    discord:
      webhook_url: '${{env:HOOK}}'
remedies:
  - name: give_back
    program:
      path: /bin/cp
      args: ['{healthy}', '{meminfo}']
    dry_run: false
    sustained: 1s
    cooldown: 1h
    wait: 3s
",
            folder = folder.display(),
            healthy = healthy.display(),
            meminfo = meminfo.display(),
        ),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    config
}

fn flags_of(machine: &Path) -> Vec<String> {
    [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("run", "run")]
        .into_iter()
        .map(|(flag, folder)| format!("--path.{flag}={}", machine.join(folder).display()))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    let (_, error, code) = run(Command::new("cp").arg("-r").arg(from).arg(to));
    assert_eq!(code, Some(0), "{error}");
}
