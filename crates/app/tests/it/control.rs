//! Commands that ask a running Farol.

use crate::world::{Farol, eventually, farol};

#[test]
fn status_shows_the_vital_signs_and_its_exit_code_is_the_state() {
    let running = Farol::start("run", &["--rules.stock=false"]);
    running.wait_until_ready();
    let data = running.folder.join("data");
    let data = data.to_str().unwrap();
    let (text, _, code) = farol(&["status", "--data", data]);
    assert_eq!(code, Some(3), "no rules: the state is unknown");
    assert!(text.contains("UNKNOWN (no rules loaded)"), "{text}");
    assert!(text.contains("Memory"), "{text}");
    let (json, _, _) = farol(&["status", "--json", "--data", data]);
    let health: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(health["state"], "UNKNOWN");
}

#[test]
fn health_is_an_exit_code_and_finds_the_program_by_its_address_too() {
    let running = Farol::start("run", &["--rules.stock=false"]);
    running.wait_until_ready();
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let asked = ["health", "--data", elsewhere, "--listen", &running.address];
    let (text, _, code) = farol(&asked);
    assert_eq!((text.trim(), code), ("ok UNKNOWN", Some(0)));

    let address = running.address.clone();
    assert_eq!(running.stop(), Some(0));
    let (_, error, code) = farol(&["health", "--data", elsewhere, "--listen", &address]);
    assert_eq!(code, Some(3));
    assert!(error.contains("no farol answers at"), "{error}");
}

#[test]
fn collect_has_a_socket_and_no_port() {
    let collecting = Farol::start("collect", &[]);
    let data = collecting.folder.join("data");
    eventually("data", || {
        let (text, _, _) = farol(&["health", "--data", data.to_str().unwrap()]);
        text.starts_with("ok")
    });
    let pid = collecting.child.id();
    let sockets = crate::world::run(
        std::process::Command::new("ls").arg("-l").arg(format!("/proc/{pid}/fd")),
    )
    .0;
    let inodes: Vec<&str> = sockets
        .lines()
        .filter_map(|line| line.split("socket:[").nth(1)?.strip_suffix(']'))
        .collect();
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    for inode in inodes {
        let listens = listening.lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.nth(3) == Some("0A") && fields.nth(5) == Some(inode)
        });
        assert!(!listens, "collect listens on TCP");
    }
}
