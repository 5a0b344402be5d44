//! Treatments by the whole program: at most once whatever ends it, bounded whatever they do, and only what
//! they were granted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::world::{
    FAROL, Farol, eventually, farol, journal_lines, needs, rounds, run, value_of, write,
};

/// Where Farol is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeTheIntent,
    Intended,
    Running,
    Ended,
    Finished,
    Judged,
}

#[test]
fn a_treatment_is_begun_at_most_once_whenever_farol_is_killed() {
    let moments = [
        Moment::BeforeTheIntent,
        Moment::Intended,
        Moment::Running,
        Moment::Ended,
        Moment::Finished,
        Moment::Judged,
    ];
    for round in 0..rounds(1, 25) {
        std::thread::scope(|scope| {
            for (number, moment) in moments.into_iter().enumerate() {
                let chance = round * moments.len() + number;
                scope.spawn(move || kill_at(moment, chance));
            }
        });
    }
}

/// Kills it there, and once more soon after its next start; then lets the alert come a second time.
fn kill_at(moment: Moment, chance: usize) {
    let place = Place::new(
        "echo $$ >> $1/begun; while [ ! -e $1/go ]; do sleep 0.05; done; echo $$ >> $1/ended",
        "cooldown: 1m\n    per_day: 1\n    sustained: 1s\n    wait: 1s",
    );
    place.pending(&[5]);
    if moment >= Moment::Ended {
        place.let_go();
    }
    let mut first = place.start();
    eventually("it is where it is killed", || match moment {
        Moment::BeforeTheIntent => place.has_written("turn", "firing"),
        Moment::Intended => place.has_written("step", "intended"),
        Moment::Running => place.lines_of("begun") == 1,
        Moment::Ended => place.lines_of("ended") == 1,
        Moment::Finished => place.has_written("step", "finished"),
        Moment::Judged => place.has_written("step", "judged"),
    });
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    place.let_go();

    let mut second = place.start();
    match chance % 3 {
        0 => {}
        1 => second.wait_until_ready(),
        _ => wait_for_evaluations(&second, 1.0),
    }
    second.child.kill().unwrap();
    second.child.wait().unwrap();

    let third = place.start();
    eventually("the alert is answered", || {
        let steps = place.steps();
        count(&steps, "finished") + count(&steps, "unknown") == 1
    });
    wait_for_evaluations(&third, 4.0);
    let steps = place.steps();
    let told = format!("{moment:?}, {chance}: {steps:#?}");
    assert_eq!(count(&steps, "intended"), 1, "{told}");
    assert!(count(&steps, "judged") <= 1, "{told}");
    assert_eq!(count(&steps, "refused"), 0, "{told}");
    let (finished, unknown) = (count(&steps, "finished"), count(&steps, "unknown"));
    match moment {
        Moment::BeforeTheIntent | Moment::Ended => assert_eq!(finished + unknown, 1, "{told}"),
        Moment::Intended | Moment::Running => assert_eq!(unknown, 1, "{told}"),
        Moment::Finished | Moment::Judged => assert_eq!(finished, 1, "{told}"),
    }
    if moment == Moment::Judged {
        assert_eq!(count(&steps, "judged"), 1, "{told}");
    }
    let begun = place.lines_of("begun");
    assert!(begun <= 1, "begun {begun} times: {told}");
    assert!(begun == 1 || moment <= Moment::Intended, "{told}");
    let last_run = "farol_remedy_last_run_timestamp_seconds{remedy=\"fix\"}";
    assert!(value_of(&third.get("/metrics").text(), last_run) > Some(1.7e9), "{told}");

    // Whatever became of it, it has run: it pauses, and its budget is used up.
    let data = place.path("data");
    let list = ["remedy", "list", "--format", "json", "--data", data.to_str().unwrap()];
    let remedies: Value = serde_json::from_str(&farol(&list).0).unwrap();
    let (last, next) = (moment_of(&remedies[0]["lastRun"]), moment_of(&remedies[0]["nextAllowed"]));
    assert!(last.0 < next.0 && last.1 == next.1, "a day later: {remedies:#}");
    place.pending(&[0]);
    eventually("the alert is over", || place.has_written("turn", "resolved"));
    place.pending(&[5]);
    eventually("the second one is answered", || count(&place.steps(), "refused") == 1);
    assert_eq!(third.stop(), Some(0));
    let steps = place.steps();
    let reason = steps.iter().find(|step| step["step"] == "refused").unwrap().to_string();
    assert!(reason.contains("pauses for 1m"), "{reason}");
    assert_eq!(count(&steps, "intended"), 1, "{steps:#?}");
    assert_eq!(place.lines_of("begun"), begun);
}

#[test]
fn two_hundred_alerts_of_one_treatment_are_one_run_and_a_refusal_for_each_other() {
    let place = Place::new("echo $$ >> $1/begun", "cooldown: 1h\n    sustained: 0s\n    wait: 1s");
    place.pending(&[5; 200]);
    let first = place.start();
    let is_refused = "farol_remedy_refusals_total{remedy=\"fix\"}";
    eventually("all are answered", || {
        value_of(&first.get("/metrics").text(), is_refused) == Some(199.0)
    });
    let runs = "farol_remedy_runs_total{outcome=\"ok\",remedy=\"fix\"}";
    assert_eq!(value_of(&first.get("/metrics").text(), runs), Some(1.0));
    wait_for_evaluations(&first, 3.0);
    assert_eq!(first.stop(), Some(0));
    let second = place.start();
    wait_for_evaluations(&second, 3.0);
    assert_eq!(second.stop(), Some(0));
    let steps = place.steps();
    for (step, times) in [("intended", 1), ("finished", 1), ("judged", 1), ("refused", 199)] {
        assert_eq!(count(&steps, step), times, "{step}");
    }
    assert_eq!(steps.len(), 202);
    assert_eq!(place.lines_of("begun"), 1);
}

/// It, its child and its grandchild pay no heed to SIGTERM.
#[test]
fn a_treatment_that_never_returns_ends_at_its_deadline_with_all_that_it_has_started() {
    let place = Place::new(
        "trap '' TERM\n\
         sh -c \"trap '' TERM; echo \\$\\$ >> $1/begun; sleep 1000 & echo \\$! >> $1/begun; wait\" &\n\
         nohup sleep 1000 & echo $! >> $1/begun\n\
         echo $$ >> $1/begun\n\
         while :; do sleep 1; done",
        "cooldown: 1h\n    sustained: 0s\n    deadline: 1s\n    wait: 1s",
    );
    place.pending(&[5]);
    let farol = place.start();
    eventually("they run", || place.lines_of("begun") == 4);
    eventually("it was ended", || place.has_written("step", "judged"));
    let pids = fs::read_to_string(place.path("begun")).unwrap();
    eventually("all are gone", || !pids.lines().any(is_alive));
    wait_for_evaluations(&farol, 3.0);
    let failed = "farol_remedy_runs_total{outcome=\"failed\",remedy=\"fix\"}";
    assert_eq!(value_of(&farol.get("/metrics").text(), failed), Some(1.0));
    assert_eq!(farol.stop(), Some(0));
    let steps = place.steps();
    let finished = steps.iter().find(|step| step["step"] == "finished").unwrap();
    assert_eq!(finished["ok"], false, "{finished}");
    let summary = finished["summary"].as_str().unwrap();
    assert!(summary.contains("its deadline of 1s was over"), "{summary}");
    assert_eq!(count(&steps, "intended"), 1);
}

#[test]
fn one_that_makes_it_worse_is_judged_so_and_rests_and_one_that_helps_only_pauses() {
    for (after, judged, refused) in [
        (9, "judged     worse: 5 -> 9", "its last run made it worse"),
        (1, "judged     recovered: 5 -> 1", "pauses for 1m"),
    ] {
        let place = Place::new(
            &format!(
                "echo 'work_pending{{n=\"0\"}} {after}' > $1/next && mv $1/next $1/text/work.prom"
            ),
            "cooldown: 1m\n    sustained: 0s\n    wait: 3s",
        );
        place.pending(&[5]);
        let running = place.start();
        eventually("it was judged", || place.has_written("step", "judged"));
        place.pending(&[0]);
        eventually("the alert is over", || place.has_written("turn", "resolved"));
        place.pending(&[5]);
        eventually("the next is answered", || place.has_written("step", "refused"));
        assert_eq!(running.stop(), Some(0));
        let logs = place.path("logs");
        let (history, _, _) = farol(&["remedy", "history", "--logs", logs.to_str().unwrap()]);
        assert!(history.contains(judged) && history.contains(refused), "{history}");
        assert_eq!(count(&place.steps(), "intended"), 1);
    }
}

/// What is cleaned must be an hour old by all its times, and the time of change is the kernel's own: here
/// it is Farol's clock that goes two hours ahead.
#[test]
fn a_cleanup_by_the_program_lets_nothing_out_through_links_that_come_and_go() {
    let place = Place::bare();
    let (temp, precious) = (place.path("temp"), place.path("precious"));
    for name in ["a/file", "b/c/file", "file"] {
        write(&temp.join(name), "old");
        write(&precious.join(name), "precious");
    }
    place.configure(
        &format!("cleanup_temp_files: {{folders: ['{}'], older_than: 1h}}", temp.display()),
        "cooldown: 1m",
    );
    let mut command = Command::new(FAROL);
    command.arg("run").env("LD_PRELOAD", clock_ahead(&place));
    let running = place.start_with(command);
    running.wait_until_ready();
    let is_over = AtomicBool::new(false);
    let data = place.path("data");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (link, aside) = (place.path("link"), place.path("aside"));
            while !is_over.load(Ordering::Relaxed) {
                for (name, to) in [("a", "."), ("b", "b")] {
                    let folder = temp.join(name);
                    symlink(precious.join(to), &link).ok();
                    fs::rename(&folder, &aside).ok();
                    fs::rename(&link, &folder).ok();
                    fs::remove_file(&folder).ok();
                    fs::rename(&aside, &folder).ok();
                    fs::create_dir_all(folder.join("c")).ok();
                    fs::write(folder.join("file"), "bait").ok();
                    fs::write(folder.join("c/file"), "bait").ok();
                }
            }
        });
        for _ in 0..rounds(5, 100) {
            let data = data.to_str().unwrap();
            let (said, error, code) = farol(&["remedy", "run", "fix", "--force", "--data", data]);
            assert!(said.contains("deleted"), "{code:?}: {said}{error}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(running.stop(), Some(0));
    assert!(!temp.join("file").exists(), "it has cleaned");
    for name in ["a/file", "b/c/file", "file"] {
        assert_eq!(fs::read_to_string(precious.join(name)).unwrap(), "precious", "{name}");
    }
    assert!(count(&place.steps(), "finished") >= 5);
}

/// In a network of its own, in which Farol runs.
#[test]
fn an_interface_is_taken_down_and_up_again_but_not_the_one_of_the_default_route() {
    let network = Network::new();
    let place = Place::bare();
    place.configure("restart_interface: {interfaces: [one]}", "cooldown: 1m");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &network.0, FAROL, "run"]);
    let running = place.start_with(command);
    let monitor = network.watch(&place.path("monitor"));
    let data = place.path("data");
    let ask = |more: &[&str]| {
        let data = data.to_str().unwrap();
        farol(&[&["remedy", "run", "fix", "--data", data], more].concat())
    };
    let (said, error, code) = ask(&["--dry-run"]);
    assert_eq!((said.as_str(), code), ("would take one down and up again\n", Some(0)), "{error}");
    network.ip(&["addr", "add", "192.0.2.1/24", "dev", "one"]);
    network.ip(&["route", "add", "default", "via", "192.0.2.2"]);
    let (said, _, code) = ask(&[]);
    assert!(said.contains("one carries the default route") && code == Some(1), "{said}");
    assert_eq!(network.turns(&place.path("monitor")), [] as [&str; 0]);

    network.ip(&["route", "del", "default"]);
    let (said, error, code) = ask(&["--force"]);
    assert!(said.starts_with("took one down and up again") && code == Some(0), "{said}{error}");
    eventually("the kernel has told it", || {
        network.turns(&place.path("monitor")) == ["down", "up"]
    });
    drop(monitor);
    assert_eq!(running.stop(), Some(0));
    assert_eq!(count(&place.steps(), "finished"), 2);
}

/// Two interfaces that are connected with each other.
struct Network(String);

impl Network {
    fn new() -> Network {
        let network = Network(format!("farol-{}", std::process::id()));
        let (_, error, code) = run(Command::new(needs("ip")).args(["netns", "add", &network.0]));
        assert_eq!(code, Some(0), "a network must be made, as root: {error}");
        network.ip(&["link", "set", "lo", "up"]);
        network.ip(&["link", "add", "one", "type", "veth", "peer", "name", "two"]);
        network.ip(&["link", "set", "one", "up"]);
        network.ip(&["link", "set", "two", "up"]);
        network
    }

    fn ip(&self, arguments: &[&str]) {
        let (_, error, code) = run(Command::new("ip").args(["-n", &self.0]).args(arguments));
        assert_eq!(code, Some(0), "ip {arguments:?}: {error}");
    }

    /// Writes down what the kernel says of the interfaces; ends with the value.
    fn watch(&self, to: &Path) -> Watch {
        let output = fs::File::create(to).unwrap();
        let mut command = Command::new("ip");
        command.args(["-n", &self.0, "-o", "monitor", "link"]).stdout(output).stdin(Stdio::null());
        let watch = Watch(command.spawn().unwrap());
        // It listens once a change shows.
        let mut mtu = 1400;
        eventually("the kernel is listened to", || {
            mtu += 1;
            self.ip(&["link", "set", "two", "mtu", &mtu.to_string()]);
            fs::read_to_string(to).unwrap().contains(" two@")
        });
        watch
    }

    /// Of `one`, each change between up and down.
    fn turns(&self, monitor: &Path) -> Vec<&'static str> {
        let text = fs::read_to_string(monitor).unwrap();
        let of_one = text.lines().filter(|line| line.contains(": one@"));
        let mut turns: Vec<&str> = of_one
            .filter_map(|line| line.split_once('<')?.1.split_once('>'))
            .map(|(flags, _)| if flags.split(',').any(|flag| flag == "UP") { "up" } else { "down" })
            .collect();
        turns.dedup();
        turns.into_iter().skip_while(|turn| *turn == "up").collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        run(Command::new("ip").args(["netns", "del", &self.0]));
    }
}

struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A folder with Farol's configuration and its folders, a machine of which nothing is known but the work
/// that is pending, and one remedy, `fix`, for that.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// The remedy is a script that is given the folder.
    fn new(script: &str, policy: &str) -> Place {
        let place = Place::bare();
        let path = place.path("fix");
        write(&path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = place.folder.path().display();
        place.configure(
            &format!("program: {{path: '{}', args: ['{folder}']}}", path.display()),
            policy,
        );
        place
    }

    fn bare() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.path("text")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, treatment: &str, policy: &str) {
        write(
            &self.path("rules.yml"),
            "groups:
  - name: work
    interval: 1s
    rules:
      - alert: WorkPending
        expr: work_pending > 3
",
        );
        let remedies = "farol_rules: [{alert: WorkPending, remedy: fix}]\n";
        write(&self.path("remedies.yml"), remedies);
        let (folder, text) = (self.folder.path(), self.path("text"));
        let config = format!(
            "rules: {{stock: false, files: ['{folder}/rules.yml', '{folder}/remedies.yml']}}
interval: 200ms
slow_interval: 200ms
collectors:
  disable_defaults: true
  enable: [farol, textfile]
  textfile: {{directory: ['{}']}}
remedies:
  - name: fix
    {treatment}
    dry_run: false
    {policy}
",
            text.display(),
            folder = folder.display(),
        );
        write(&self.path("farol.yml"), &config);
        fs::set_permissions(self.path("farol.yml"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn start(&self) -> Farol {
        let mut command = Command::new(FAROL);
        command.arg("run");
        self.start_with(command)
    }

    fn start_with(&self, command: Command) -> Farol {
        let config = format!("--config.file={}", self.path("farol.yml").display());
        Farol::spawn(command, self.folder.path(), &[&config])
    }

    /// One series for each.
    fn pending(&self, values: &[u32]) {
        let line =
            |(number, value): (usize, &u32)| format!("work_pending{{n=\"{number}\"}} {value}\n");
        let text: String = values.iter().enumerate().map(line).collect();
        write(&self.path("next"), &text);
        fs::rename(self.path("next"), self.path("text/work.prom")).unwrap();
    }

    /// What waits for it ends.
    fn let_go(&self) {
        write(&self.path("go"), "");
    }

    fn lines_of(&self, name: &str) -> usize {
        fs::read_to_string(self.path(name)).unwrap_or_default().lines().count()
    }

    /// Whether a line of the newest events says so: looked at in the file, since it is looked at often.
    fn has_written(&self, key: &str, value: &str) -> bool {
        let Ok(entries) = fs::read_dir(self.path("logs")) else { return false };
        let names = entries.map(|entry| entry.unwrap().path());
        let events = names.filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("events-") && name.ends_with(".jsonl")
        });
        events.filter_map(|path| fs::read_to_string(path).ok()).any(|text| {
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.into_iter().any(|line| line[key] == value)
        })
    }

    /// What the journal tells of remedies.
    fn steps(&self) -> Vec<Value> {
        let lines = journal_lines(&self.path("logs"), "events", false);
        lines.into_iter().filter(|line| line["kind"] == "action").collect()
    }
}

/// Its day, and its time of day.
fn moment_of(text: &Value) -> (String, String) {
    let (day, time) = text.as_str().unwrap().split_once('T').unwrap();
    (day.to_owned(), time.to_owned())
}

fn count(steps: &[Value], step: &str) -> usize {
    steps.iter().filter(|line| line["step"] == step).count()
}

/// So many since its start, and as many of them since now.
fn wait_for_evaluations(farol: &Farol, more: f64) {
    let evaluations = || {
        let text = farol.get("/metrics").text();
        value_of(&text, "farol_rule_group_evaluations_total{rule_group=\"work\"}").unwrap_or(0.0)
    };
    let before = evaluations();
    eventually("rules are evaluated", || evaluations() >= before + more);
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A library that sets the clock of a program two hours ahead.
fn clock_ahead(place: &Place) -> PathBuf {
    let (source, library) = (place.path("ahead.c"), place.path("ahead.so"));
    write(
        &source,
        "#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += 7200;
    return result;
}
",
    );
    let (_, error, code) =
        run(Command::new(needs("cc")).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source));
    assert_eq!(code, Some(0), "{error}");
    library
}
