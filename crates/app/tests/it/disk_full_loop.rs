//! The loop with no room for the journal: people are told all the same, and what makes room runs once, where
//! its intent can be written down.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    discord::Discord,
    disk_full::{Volume, fill},
    the_loop::told,
    world::{FAROL, Farol, eventually, journal_lines, value_of, write},
};

#[test]
fn a_full_disk_is_told_and_the_permitted_cleanup_makes_room_once() {
    let scene = Scene::start();
    scene.fill();
    eventually("people are told", || !scene.discord.messages().is_empty());
    let first = scene.discord.messages().remove(0);
    assert!(first.to_string().contains("The journal cannot be written on"), "{first}");
    eventually("the cleanup has run", || !scene.filler.exists());
    scene.recovers_and_says_so(&first);

    eventually("the cleanup was judged", || scene.told("action judged") == 1);
    // It is full once more before the cleanup may run again.
    scene.fill();
    eventually("this is told too", || told_as(&scene.discord, CRITICAL));
    eventually("and the cleanup refused", || scene.told("action refused") == 1);
    assert!(scene.filler.exists(), "it ran again");
    fs::remove_file(&scene.filler).unwrap();
    eventually("the message says that it is over", || told_as(&scene.discord, RECOVERED));

    let story = scene.stop();
    let cleanup: Vec<&str> = story.iter().map(String::as_str).filter(is_action).collect();
    assert_eq!(
        cleanup,
        ["action intended", "action finished", "action judged", "action refused"],
        "{story:?}"
    );
    let alerts: Vec<&str> =
        story.iter().map(String::as_str).filter(|told| !is_action(told)).collect();
    let once =
        ["alert pending", "alert firing", "delivery sent", "alert resolved", "delivery sent"];
    assert_eq!(alerts, [once, once].concat(), "{story:?}");
    let place = |step: &str| story.iter().position(|told| told == step).unwrap();
    assert!(place("alert firing") < place("action intended"), "{story:?}");
    assert!(place("action finished") < place("alert resolved"), "{story:?}");
}

#[test]
fn with_not_a_byte_left_a_full_disk_is_told_and_nothing_is_done_that_cannot_be_written_down() {
    let scene = Scene::start();
    fs::remove_file(scene.farol.logs().join("reserve")).unwrap();
    scene.fill();
    eventually("people are told", || !scene.discord.messages().is_empty());
    let first = scene.discord.messages().remove(0);
    assert!(first.to_string().contains("The journal cannot be written on"), "{first}");
    eventually("what happens waits in memory", || {
        scene.figure("farol_journal_waiting_events") >= 3.0
    });
    eventually("the cleanup is not begun", || {
        fs::read_to_string(&scene.log).unwrap().contains("make_room")
    });
    assert!(scene.filler.exists(), "it was done without a record");
    assert_eq!(scene.told("alert firing"), 0, "there was room for it");
    assert_eq!(scene.farol.health()["state"], "CRITICAL");

    fs::remove_file(&scene.filler).unwrap();
    scene.recovers_and_says_so(&first);
    let story = scene.stop();
    let all = ["alert pending", "alert firing", "delivery sent", "alert resolved", "delivery sent"];
    assert_eq!(story, all);
}

const CRITICAL: u64 = 0x0099_2D22;
const RECOVERED: u64 = 0x002E_CC71;

/// Farol with journal and store on a small volume, and a file beside them that can fill it.
struct Scene {
    farol: Farol,
    discord: Discord,
    filler: PathBuf,
    log: PathBuf,
    _volume: Volume,
    _world: tempfile::TempDir,
}

impl Scene {
    fn start() -> Scene {
        let world = tempfile::tempdir().unwrap();
        let volume = Volume::mount("4m");
        let discord = Discord::start();
        let filler = volume.path().join("filler");
        let config = configure(world.path(), &filler);
        let log = world.path().join("farol.log");
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$0" "$@" 2>"$LOG""#, FAROL, "run"]);
        command.env("HOOK", discord.url()).env("LOG", &log);
        let flags = [
            "--config.file",
            config.to_str().unwrap(),
            "--interval=200ms",
            "--slow-interval=2s",
            "--journal.reserve=64KiB",
            "--log.format=human",
        ];
        let farol = Farol::spawn(command, volume.path(), &flags);
        farol.wait_until_ready();
        eventually("the machine is stable", || farol.health()["state"] == "STABLE");
        Scene { farol, discord, filler, log, _volume: volume, _world: world }
    }

    fn fill(&self) {
        fill(&self.filler);
    }

    fn figure(&self, name: &str) -> f64 {
        value_of(&self.farol.get("/metrics").text(), name).unwrap()
    }

    /// How many records of the events say this.
    fn told(&self, what: &str) -> usize {
        told(&self.farol.logs()).iter().filter(|told| *told == what).count()
    }

    /// There is room again: everything is written down, and the message that was sent is changed.
    fn recovers_and_says_so(&self, first: &Value) {
        eventually("writing resumes", || self.farol.get("/health").status == 200);
        eventually("the message says so", || told_as(&self.discord, RECOVERED));
        let messages = self.discord.messages();
        assert_eq!(messages.len(), 1, "one message, changed: {messages:?}");
        assert_eq!(messages[0]["id"], first["id"]);
        assert_eq!(first["embeds"][0]["color"], CRITICAL);
        assert_eq!(self.discord.faults(), Vec::<String>::new());
        eventually("nothing waits", || self.figure("farol_journal_waiting_events") == 0.0);
        assert_eq!(self.figure("farol_journal_dropped_events_total"), 0.0);
        assert_eq!(self.figure("farol_journal_degraded"), 0.0);
        eventually("it is stable", || self.farol.health()["state"] == "STABLE");
        let events = journal_lines(&self.farol.logs(), "events", false);
        assert!(events.iter().any(|line| line["event"] == "gap"), "{events:?}");
    }

    fn stop(self) -> Vec<String> {
        let logs = self.farol.logs();
        assert_eq!(self.farol.stop(), Some(0));
        told(&logs)
    }
}

fn told_as(discord: &Discord, color: u64) -> bool {
    discord.messages().last().is_some_and(|message| message["embeds"][0]["color"] == color)
}

fn is_action(told: &&str) -> bool {
    told.starts_with("action")
}

fn configure(folder: &Path, filler: &Path) -> PathBuf {
    write(
        &folder.join("journal.yml"),
        &format!(
            "groups:
  - name: journal
    interval: 1s
    rules:
      - alert: JournalNotWritten
        expr: farol_journal_degraded == 1
        for: 2s
        labels: {{severity: critical}}
        annotations:
          summary: The journal cannot be written on {{{{ $labels.instance }}}}
          # No record of this finds room in a page that is begun.
          note: {}
",
            "long ".repeat(1000)
        ),
    );
    let extension = "farol_rules: [{alert: JournalNotWritten, remedy: make_room}]\n";
    write(&folder.join("remedies.yml"), extension);
    let config = folder.join("farol.yml");
    write(
        &config,
        &format!(
            "rules:
  stock: false
  files: ['{folder}/journal.yml', '{folder}/remedies.yml']
notify:
  - name: team
    group_wait: 0s
    group_interval: 1s
    discord:
      webhook_url: '${{env:HOOK}}'
remedies:
  - name: make_room
    program:
      path: /bin/rm
      args: ['{filler}']
    dry_run: false
    sustained: 1s
    cooldown: 1h
    per_day: 2
    wait: 3s
",
            folder = folder.display(),
            filler = filler.display(),
        ),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    config
}
