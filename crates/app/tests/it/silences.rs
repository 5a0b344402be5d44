//! Silences, quiet hours and inhibition, from the command line and from Alertmanager's own tool to the
//! messages that are sent, or are not.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    discord::Discord,
    world::{FAROL, Farol, eventually, farol, journal_lines, needs, run, value_of, write},
};

/// A machine on which what a text file says is what is wrong.
struct Troubled {
    world: tempfile::TempDir,
    farol: Farol,
    discord: Discord,
}

/// `level` is what a person sets; two rules judge it.
const RULES: &str = "groups:
  - name: trouble
    interval: 1s
    rules:
      - alert: Trouble
        expr: trouble_level > 1
        labels: {severity: warning}
        annotations: {summary: 'trouble is {{ $value }}'}
      - alert: Trouble
        expr: trouble_level > 2
        labels: {severity: critical}
        annotations: {summary: 'trouble is {{ $value }}'}
      - alert: Other
        expr: other_level > 1
        labels: {severity: warning}
";

impl Troubled {
    /// With more lines of configuration.
    fn start(more: &str) -> Troubled {
        let world = tempfile::tempdir().unwrap();
        let discord = Discord::start();
        set(world.path(), 0, 0);
        write(&world.path().join("trouble.yml"), RULES);
        let config = world.path().join("farol.yml");
        let folder = world.path().display();
        write(
            &config,
            &format!(
                "rules: {{stock: false, files: ['{folder}/trouble.yml']}}
notify:
  - name: team
    group_wait: 0s
    group_interval: 1s
    discord: {{webhook_url: '${{env:HOOK}}'}}
{more}"
            ),
        );
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(FAROL);
        command.arg("run").env("HOOK", discord.url());
        let textfiles = format!("--collector.textfile.directory={}", world.path().display());
        let flags = [
            "--config.file",
            config.to_str().unwrap(),
            "--interval",
            "200ms",
            "--slow-interval",
            "200ms",
            &textfiles,
        ];
        let farol = Farol::spawn(command, world.path(), &flags);
        farol.wait_until_ready();
        eventually("the rules are evaluated", || farol.health()["state"] == "STABLE");
        Troubled { world, farol, discord }
    }

    fn level(&self, level: u32) {
        set(self.world.path(), level, 0);
    }

    fn data(&self) -> String {
        self.farol.folder.join("data").display().to_string()
    }

    /// `farol silence …`: what it said.
    fn silence(&self, arguments: &[&str]) -> String {
        let data = self.data();
        let (said, error, code) = farol(&[&["silence"], arguments, &["--data", &data]].concat());
        assert_eq!((error.as_str(), code), ("", Some(0)), "{arguments:?}");
        said
    }

    fn amtool(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        let url = format!("--alertmanager.url=http://{}", self.farol.address);
        run(Command::new(needs("amtool")).arg(url).args(arguments))
    }

    /// Waits until so many alerts fire.
    fn until_firing(&self, count: u64) {
        eventually("alerts fire", || self.farol.health()["alerts"]["firing"] == count);
    }

    fn turns(&self) -> Vec<String> {
        let lines = journal_lines(&self.farol.logs(), "events", false);
        let alerts = lines.iter().filter(|line| line["kind"] == "alert");
        alerts.map(|line| line["turn"].as_str().unwrap().to_owned()).collect()
    }
}

fn set(folder: &Path, level: u32, other: u32) {
    let text = format!("trouble_level {level}\nother_level {other}\n");
    // As node_exporter's manual says: written beside, then put in its place.
    let new = folder.join("trouble.prom.new");
    write(&new, &text);
    fs::rename(new, folder.join("trouble.prom")).unwrap();
}

#[test]
fn a_silenced_alert_is_recorded_and_not_told_until_the_silence_ends() {
    let troubled = Troubled::start("");
    let id = troubled.silence(&[
        "add",
        "alertname=Trouble",
        "severity=~warn.*",
        "--for",
        "1h",
        "--comment",
        "the disk is exchanged",
        "--author",
        "ana",
    ]);
    let id = id.trim();
    let listed = troubled.silence(&["list"]);
    assert!(listed.starts_with(&format!("{id}  active for ")), "{listed}");
    assert!(
        listed
            .contains("alertname=\"Trouble\" severity=~\"warn.*\"  by ana: the disk is exchanged"),
        "{listed}"
    );

    troubled.level(2);
    troubled.until_firing(1);
    let health = troubled.farol.health();
    assert_eq!((&health["state"], &health["alerts"]["silenced"]), (&"WARNING".into(), &1.into()));
    eventually("the figures say so", || {
        let text = troubled.farol.get("/metrics").text();
        value_of(&text, "farol_alerts_muted{by=\"silence\"}") == Some(1.0)
            && value_of(&text, "farol_silences") == Some(1.0)
    });
    let page = troubled.farol.get("/").text();
    assert!(page.contains("silenced until ") && page.contains("by"), "{page}");
    let (status, _, code) = farol(&["status", "--data", &troubled.data()]);
    assert_eq!(code, Some(1), "a warning, silenced or not");
    assert!(status.contains("Firing        warning Trouble since "), "{status}");
    assert!(status.contains("Silenced      alertname=\"Trouble\""), "{status}");
    assert!(troubled.turns().contains(&"firing".to_owned()), "it is recorded");

    // Another alert of the same machine is told: so silence is why this one is not.
    set(troubled.world.path(), 2, 2);
    eventually("the other is told", || troubled.discord.messages().len() == 1);
    let message = troubled.discord.messages()[0].to_string();
    assert!(message.contains("Other") && !message.contains("trouble is"), "{message}");

    assert_eq!(troubled.silence(&["expire", id]), format!("expired {id}\n"));
    assert_eq!(troubled.silence(&["list"]), "no silences\n");
    assert!(troubled.silence(&["list", "--expired"]).contains("over since "));
    eventually("it is told now", || troubled.discord.messages().len() == 2);
    let message = troubled.discord.messages()[1].to_string();
    assert!(message.contains("trouble is 2"), "{message}");
    assert_eq!(troubled.discord.faults(), Vec::<String>::new());
    assert_eq!(troubled.farol.stop(), Some(0));
}

#[test]
fn a_silence_survives_a_restart_and_a_bad_one_is_refused_with_the_reason() {
    let troubled = Troubled::start("");
    let id = troubled.silence(&["add", "alertname=Trouble", "--for", "1h"]);
    let data = troubled.data();
    for (arguments, why) in [
        (vec!["add", "nonsense", "--for", "1h"], "nonsense"),
        (vec!["add", "a=b", "--for", "soon"], "--for \"soon\""),
        (vec!["add", "a=~.*", "--for", "1h"], "match"),
        (vec!["expire", "no-such-id"], "no silence \"no-such-id\""),
    ] {
        let (_, error, code) = farol(&[&["silence"], &arguments[..], &["--data", &data]].concat());
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    let (world, discord) = (troubled.world, troubled.discord);
    assert_eq!(troubled.farol.stop(), Some(0));
    let mut command = Command::new(FAROL);
    command.arg("run").env("HOOK", discord.url());
    let config = world.path().join("farol.yml");
    let again = Farol::spawn(command, world.path(), &["--config.file", config.to_str().unwrap()]);
    again.wait_until_ready();
    let (listed, _, _) = farol(&["silence", "list", "--format", "json", "--data", &data]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["id"], id.trim());
    assert_eq!(listed[0]["status"]["state"], "active");
}

#[test]
fn amtool_adds_queries_changes_and_expires_silences_and_sees_the_alerts() {
    let troubled = Troubled::start("");
    let good = |arguments: &[&str]| {
        let (said, error, code) = troubled.amtool(arguments);
        assert_eq!(code, Some(0), "amtool {arguments:?}: {said}{error}");
        said
    };
    let id = good(&[
        "silence",
        "add",
        "alertname=Trouble",
        "severity=warning",
        "--comment=works",
        "--author=ana",
        "--duration=1h",
    ]);
    let id = id.trim();
    assert_eq!(good(&["silence", "query", "-q"]).trim(), id);
    assert_eq!(good(&["silence", "query", "-q", "alertname=Other"]).trim(), "");
    let json: Value = serde_json::from_str(&good(&["silence", "query", "-o", "json"])).unwrap();
    assert_eq!((&json[0]["comment"], &json[0]["createdBy"]), (&json!("works"), &json!("ana")));
    assert!(troubled.silence(&["list"]).contains(id), "ours knows theirs");

    troubled.level(2);
    troubled.until_firing(1);
    assert_eq!(troubled.discord.requests(), []);
    let names = |arguments: &[&str]| -> Vec<String> {
        let text = good(&[&["alert", "query", "-o", "json"], arguments].concat());
        let alerts: Value = serde_json::from_str(&text).unwrap();
        let alerts = alerts.as_array().unwrap().iter();
        alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    };
    // Without flags only alerts that are told.
    assert_eq!(names(&[]), Vec::<String>::new());
    assert_eq!(names(&["--silenced"]), ["Trouble"]);
    assert_eq!(names(&["--silenced", "severity=critical"]), Vec::<String>::new());

    let changed = good(&["silence", "update", id, "--duration=2h", "--comment=longer works"]);
    assert!(changed.contains("longer works"), "{changed}");
    let kept = good(&["silence", "query", "-q"]);
    good(&["silence", "expire", kept.trim()]);
    assert_eq!(good(&["silence", "query", "-q"]).trim(), "");
    eventually("it is told now", || troubled.discord.messages().len() == 1);
    assert_eq!(names(&[]), ["Trouble"]);
    let (_, error, code) = troubled.amtool(&["silence", "expire", "no-such-id"]);
    assert_ne!(code, Some(0), "{error}");
}

#[test]
fn what_fires_in_quiet_hours_is_told_when_they_are_over() {
    // A window that is open the whole day, and is taken away.
    let quiet = "quiet_hours:
  - name: always
    times: [{from: '00:00', to: '24:00'}]
";
    let troubled = Troubled::start(quiet);
    troubled.level(2);
    troubled.until_firing(1);
    eventually("the figures say so", || {
        let text = troubled.farol.get("/metrics").text();
        value_of(&text, "farol_alerts_muted{by=\"quiet_hours\"}") == Some(1.0)
    });
    assert!(troubled.farol.get("/").text().contains("quiet hours always"));
    assert!(troubled.turns().contains(&"firing".to_owned()), "it is recorded");
    assert_eq!(troubled.discord.requests(), []);

    let config = troubled.world.path().join("farol.yml");
    let text = fs::read_to_string(&config).unwrap().replace(quiet, "");
    write(&config, &text);
    let (_, error, code) = farol(&["reload", "--data", &troubled.data()]);
    assert_eq!((error.as_str(), code), ("", Some(0)));
    eventually("it is told now", || troubled.discord.messages().len() == 1);
    assert_eq!(troubled.farol.health()["alerts"]["quiet"], 0);
}

#[test]
fn a_critical_alert_mutes_its_warning() {
    let troubled = Troubled::start("");
    troubled.level(3);
    troubled.until_firing(2);
    assert_eq!(troubled.farol.health()["alerts"]["inhibited"], 1);
    eventually("the critical one is told", || !troubled.discord.messages().is_empty());
    let page = troubled.farol.get("/").text();
    assert!(page.contains("muted by critical Trouble"), "{page}");
    let told = |severity: &str| {
        let lines = journal_lines(&troubled.farol.logs(), "events", false);
        let deliveries = lines.iter().filter(|line| line["kind"] == "delivery");
        let episodes: usize =
            deliveries.map(|line| line["episodes"].as_array().map_or(0, Vec::len)).sum();
        let messages = troubled.discord.messages();
        (episodes, messages.iter().any(|message| message.to_string().contains(severity)))
    };
    eventually("one episode is told, and recorded as told", || told("critical") == (1, true));

    // What is grave is over, the rest is not: now the warning is told.
    troubled.level(2);
    eventually("the warning is told", || told("warning").1);
    assert_eq!(troubled.discord.faults(), Vec::<String>::new());
}

#[test]
fn a_server_shows_what_the_writer_found_and_sends_changes_to_it() {
    let troubled = Troubled::start("");
    troubled.level(2);
    troubled.until_firing(1);
    let id = troubled.silence(&["add", "alertname=Trouble", "--for", "1h"]);
    let own = tempfile::tempdir().unwrap();
    let serving = serve(&troubled.farol.logs(), own.path());
    serving.wait_until_ready();
    eventually("the server says why", || {
        let health = serving.health();
        health["state"] == "WARNING"
            && health["reasons"][0].as_str().is_some_and(|why| why.contains("trouble is 2"))
    });
    eventually("the server knows of the silence", || serving.health()["alerts"]["silenced"] == 1);
    let alerts: Value = serde_json::from_str(&serving.get("/api/v1/alerts").text()).unwrap();
    assert_eq!(alerts["data"]["alerts"][0]["labels"]["alertname"], "Trouble");
    let silences: Value = serde_json::from_str(&serving.get("/api/v2/silences").text()).unwrap();
    assert_eq!(silences[0]["id"], id.trim());
    assert!(serving.get("/").text().contains("silenced until "));

    let url = format!("http://{}/api/v2", serving.address);
    let posted = r#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2027-01-15T08:00:00Z","endsAt":"2127-01-15T09:00:00Z","createdBy":"ana","comment":"c"}"#;
    for arguments in [
        vec!["-XPOST", "-HContent-Type: application/json", "-d", posted, "/silences"],
        vec!["-XDELETE", &format!("/silence/{}", id.trim())],
    ] {
        let (path, flags) = arguments.split_last().unwrap();
        let (said, _, _) = run(Command::new(needs("curl"))
            .args(["-s", "-w", " %{http_code}"])
            .args(flags)
            .arg(format!("{url}{path}")));
        assert!(said.ends_with(" 403") && said.contains("farol silence"), "{said}");
    }
    let own = own.path().display().to_string();
    let (_, error, code) = farol(&["silence", "add", "a=b", "--for", "1h", "--data", &own]);
    assert_eq!(code, Some(1));
    assert!(error.contains("run `farol silence` beside the process that collects"), "{error}");
    let (listed, _, code) = farol(&["silence", "list", "--data", &own]);
    assert_eq!(code, Some(0));
    assert!(listed.contains(id.trim()), "{listed}");
}

fn serve(logs: &Path, own: &Path) -> Farol {
    let mut command = Command::new(FAROL);
    command.arg("serve").arg("--logs").arg(logs).arg("--data").arg(own);
    let folder: PathBuf = own.to_owned();
    Farol::spawn_with_own_folders(command, &folder)
}
