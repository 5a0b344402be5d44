//! Alerts go on over a restart, in whatever state they are: killed or stopped in order, the next process
//! knows what is pending, firing, told, kept, silenced and tried, and goes on from there.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    discord::Discord,
    world::{FAROL, Farol, eventually, farol, journal_lines, rounds, write},
};

#[test]
fn alerts_go_on_in_whatever_state_they_are_when_farol_is_killed() {
    go_on_over_restarts(true);
}

#[test]
fn alerts_go_on_in_whatever_state_they_are_when_farol_is_stopped() {
    go_on_over_restarts(false);
}

fn go_on_over_restarts(by_force: bool) {
    for _ in 0..rounds(1, 6) {
        let mut scene = Scene::begin();
        let before = scene.bring_about();
        scene.restart(by_force);
        scene.goes_on(&before);
    }
}

/// Rules by what is to become of their alerts, and what they ask besides.
const RULES: [(&str, &str); 7] = [
    ("Told", ""),
    ("Keeping", "keep_firing_for: 12s"),
    ("Silenced", ""),
    ("Flapping", ""),
    ("Over", ""),
    ("Untold", ""),
    ("Pending", "for: 15s"),
];

const RED: u64 = 0x0099_2D22;
const GREEN: u64 = 0x002E_CC71;

/// Farol, and a metric for each rule that says whether there is trouble.
struct Scene {
    farol: Option<Farol>,
    discord: Discord,
    trouble: BTreeMap<&'static str, bool>,
    config: PathBuf,
    world: tempfile::TempDir,
}

impl Scene {
    fn begin() -> Scene {
        let world = tempfile::tempdir().unwrap();
        let config = configure(world.path());
        let trouble = RULES.into_iter().map(|(name, _)| (name, false)).collect();
        let discord = Discord::start();
        let mut scene = Scene { farol: None, discord, trouble, config, world };
        scene.set(&[]);
        scene.start();
        scene
    }

    fn start(&mut self) {
        let mut command = Command::new(FAROL);
        command.arg("run").env("HOOK", self.discord.url());
        let textfiles = format!("--collector.textfile.directory={}", self.textfiles().display());
        let flags = [
            "--config.file",
            self.config.to_str().unwrap(),
            "--interval=500ms",
            "--slow-interval=500ms",
            &textfiles,
        ];
        let farol = Farol::spawn(command, self.world.path(), &flags);
        farol.wait_until_ready();
        self.farol = Some(farol);
    }

    /// With kill -9, or in order.
    fn restart(&mut self, by_force: bool) {
        let farol = self.farol.take().unwrap();
        match by_force {
            true => drop(farol),
            false => assert_eq!(farol.stop(), Some(0)),
        }
        self.discord.set_down(false);
        self.start();
    }

    fn textfiles(&self) -> PathBuf {
        self.world.path().join("textfiles")
    }

    /// Trouble of these begins or ends; of the others it stays.
    fn set(&mut self, changes: &[(&'static str, bool)]) {
        self.trouble.extend(changes.iter().copied());
        let line = |(name, is_bad): (&&str, &bool)| {
            format!("trouble{{of=\"{name}\"}} {}\n", u8::from(*is_bad))
        };
        let text: String = self.trouble.iter().map(line).collect();
        let next = self.textfiles().join("next");
        write(&next, &text);
        fs::rename(next, self.textfiles().join("trouble.prom")).unwrap();
    }

    fn logs(&self) -> PathBuf {
        self.world.path().join("logs")
    }

    /// The records of alerts, each with the alert's name and its turn.
    fn turns(&self) -> Vec<(String, String, Value)> {
        let turn = |line: Value| {
            let name = line["labels"]["alertname"].as_str()?.to_owned();
            Some((name, line["turn"].as_str()?.to_owned(), line))
        };
        journal_lines(&self.logs(), "events", false).into_iter().filter_map(turn).collect()
    }

    fn count(&self, name: &str, turn: &str) -> usize {
        self.turns().iter().filter(|(of, its, _)| of == name && its == turn).count()
    }

    fn waits_for(&self, name: &str, turn: &str, times: usize) {
        eventually(&format!("{name} is {turn}"), || self.count(name, turn) == times);
    }

    /// The messages about an alert: id and colour.
    fn messages(&self, name: &str) -> Vec<(Value, u64)> {
        let about = format!("trouble of {name}.");
        let messages = self.discord.messages().into_iter();
        let of_it = messages.filter(|message| message.to_string().contains(&about));
        of_it
            .map(|message| (message["id"].clone(), message["embeds"][0]["color"].as_u64().unwrap()))
            .collect()
    }

    fn says(&self, name: &str, color: u64) {
        eventually(&format!("the message about {name} has changed"), || {
            self.messages(name).last().is_some_and(|(_, held)| *held == color)
        });
    }

    fn steps(&self) -> Vec<String> {
        let events = journal_lines(&self.logs(), "events", false);
        let actions = events.iter().filter(|line| line["kind"] == "action");
        actions.map(|line| line["step"].as_str().unwrap().to_owned()).collect()
    }

    /// How many deliveries of messages are written down.
    fn sent(&self) -> usize {
        let events = journal_lines(&self.logs(), "events", false);
        events.iter().filter(|line| line["outcome"] == "sent").count()
    }

    fn data(&self) -> String {
        format!("--data={}", self.world.path().join("data").display())
    }

    /// One alert in each state. The ids of the messages that were sent, by name.
    fn bring_about(&mut self) -> BTreeMap<&'static str, Value> {
        let silence = ["silence", "add", "alertname=Silenced", "--for=1h", &self.data()];
        let (_, error, code) = farol(&silence);
        assert_eq!(code, Some(0), "{error}");

        self.set(&["Told", "Keeping", "Silenced", "Flapping", "Over"].map(|name| (name, true)));
        for name in ["Told", "Keeping", "Flapping", "Over"] {
            self.says(name, RED);
        }
        self.waits_for("Silenced", "firing", 1);
        eventually("the remedy was judged", || self.steps().len() == 3);
        self.set(&[("Flapping", false)]);
        self.waits_for("Flapping", "resolved", 1);
        self.says("Flapping", GREEN);
        self.set(&[("Flapping", true)]);
        self.waits_for("Flapping", "flapping", 1);
        self.says("Flapping", RED);
        // What was told is written down: what is told from here on cannot be.
        let accepted = || self.discord.requests().iter().filter(|(_, code)| *code == 200).count();
        eventually("all messages are recorded", || self.sent() == accepted());

        self.discord.set_down(true);
        self.set(&[("Pending", true), ("Untold", true), ("Over", false), ("Keeping", false)]);
        self.waits_for("Untold", "firing", 1);
        self.waits_for("Over", "resolved", 1);
        self.waits_for("Keeping", "keeping", 1);
        self.waits_for("Pending", "pending", 1);
        let told = ["Told", "Keeping", "Flapping", "Over"];
        told.into_iter().map(|name| (name, self.messages(name).last().unwrap().0.clone())).collect()
    }

    fn goes_on(&mut self, before: &BTreeMap<&'static str, Value>) {
        // Its time to fire goes on, as does the time for which another is kept.
        self.waits_for("Pending", "firing", 1);
        self.waits_for("Keeping", "resolved", 1);
        for name in ["Untold", "Pending"] {
            self.says(name, RED);
        }
        for name in ["Over", "Keeping"] {
            self.says(name, GREEN);
        }
        let turns = self.turns();
        let first = |name: &str, turn: &str| {
            let found = turns.iter().find(|(of, its, _)| of == name && its == turn);
            found.unwrap_or_else(|| panic!("{name} was never {turn}")).2.clone()
        };
        let (pending, firing) = (first("Pending", "pending"), first("Pending", "firing"));
        assert_eq!(firing["active_at"], pending["active_at"], "it was not begun anew");
        assert_eq!(firing["unseen_ms"], 0, "a restart is no blindness");

        self.set(&[("Told", false), ("Flapping", false)]);
        self.says("Told", GREEN);
        self.waits_for("Flapping", "keeping", 1);
        for (name, id) in before {
            let ids: Vec<Value> = self.messages(name).into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids.last(), Some(id), "{name} was told by another message: {ids:?}");
        }
        for name in ["Told", "Keeping", "Over", "Untold", "Pending"] {
            assert_eq!(self.messages(name).len(), 1, "{name} was told twice");
        }
        assert_eq!(self.count("Flapping", "resolved"), 1, "it is held until it has come to rest");

        self.set(&[("Told", true)]);
        self.waits_for("Told", "firing", 2);
        eventually("the remedy is refused", || self.steps().len() == 4);
        assert_eq!(self.steps(), ["intended", "finished", "judged", "refused"]);
        assert_eq!(self.messages("Silenced"), [], "it is silenced");
        let (list, _, _) = farol(&["silence", "list", &self.data()]);
        assert!(list.contains("Silenced") && list.contains("active for"), "{list}");
        for name in ["Told", "Silenced", "Untold"] {
            let firings = if name == "Told" { 2 } else { 1 };
            assert_eq!(self.count(name, "firing"), firings, "{name} fired anew");
        }
        assert_eq!(self.discord.faults(), Vec::<String>::new());
        self.farol.as_ref().inspect(|farol| assert_eq!(farol.health()["state"], "CRITICAL"));
    }
}

fn configure(folder: &Path) -> PathBuf {
    let rule = |(name, more): &(&str, &str)| {
        format!(
            "      - alert: {name}
        expr: trouble{{of=\"{name}\"}} == 1
        {more}
        labels: {{severity: critical}}
        annotations: {{summary: There is trouble of {name}.}}
"
        )
    };
    let rules: String = RULES.iter().map(rule).collect();
    let groups = format!("groups:\n  - name: trouble\n    interval: 1s\n    rules:\n{rules}");
    write(&folder.join("trouble.yml"), &groups);
    let more = "farol_rules:
  - {alert: Told, remedy: look}
  - {alert: Flapping, flapping: {firings: 2, within: 1h, settle: 1h}}
";
    write(&folder.join("more.yml"), more);
    let config = folder.join("farol.yml");
    write(
        &config,
        &format!(
            "rules:
  stock: false
  files: ['{folder}/trouble.yml', '{folder}/more.yml']
notify:
  - name: team
    group_wait: 0s
    group_interval: 1s
    discord:
      webhook_url: '${{env:HOOK}}'
remedies:
  - name: look
    program: {{path: /bin/true}}
    dry_run: false
    sustained: 1s
    cooldown: 1h
    per_day: 9
    wait: 1s
",
            folder = folder.display(),
        ),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    config
}
