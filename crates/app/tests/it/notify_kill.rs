//! Two hundred alerts at once, told to a receiver that misbehaves, by a program that is killed in the
//! midst of it again and again: nothing is lost, nothing is said while it is forbidden, and what is said
//! twice is counted. The same beside Debian's Alertmanager.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    unruly::{Chance, Inside, Unruly},
    world::{FAROL, Farol, eventually, form, journal_lines, needs, rounds, run, write},
};

const ITEMS: usize = 200;
/// One message for each alert, and one for all of them.
const CHANNELS: [&str; 2] = ["each", "one"];
/// Without anything new for so long nothing more will come.
const PATIENCE: Duration = Duration::from_secs(30);

fn items() -> impl Iterator<Item = String> {
    (0..ITEMS).map(|number| format!("{number:03}"))
}

/// Somebody who tells of alerts.
trait Teller {
    fn start(&mut self);
    fn kill(&mut self);
    /// Whether all of them fire from now on, or none.
    fn set(&mut self, fires: bool);
    /// What is on record as given up since a time.
    fn given_up(&self, channel: &str, since: i64) -> BTreeSet<String>;
}

struct FarolTeller {
    folder: tempfile::TempDir,
    /// Where messages go, without the channel.
    hook: String,
    running: Option<Farol>,
}

impl FarolTeller {
    fn new(unruly: &Unruly) -> FarolTeller {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(
            &path.join("rules.yml"),
            "groups: [{name: items, interval: 1s, rules: [{alert: Item, expr: item_value > 0, \
             labels: {severity: warning}, annotations: {summary: 'item {{ $labels.item }}'}}]}]\n",
        );
        let notifier = |name: &str, group_by: &str| {
            format!(
                "  - {{name: {name}, webhook: {{url: '${{env:HOOK}}{name}'}}, group_by: {group_by}, \
                 group_wait: 0s, group_interval: 1s, timeout: 1s}}\n"
            )
        };
        let config = format!(
            "rules: {{stock: false, files: ['{}/rules.yml']}}\nnotify:\n{}{}",
            path.display(),
            notifier("each", "['...']"),
            notifier("one", "[alertname]")
        );
        write(&path.join("farol.yml"), &config);
        let hook = unruly.url("");
        FarolTeller { folder, hook, running: None }
    }

    fn text(&self) -> PathBuf {
        self.folder.path().join("text")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }
}

impl Teller for FarolTeller {
    fn start(&mut self) {
        let path = self.folder.path();
        let mut command = Command::new(FAROL);
        command.arg("run").arg("--config.file").arg(path.join("farol.yml"));
        command.env("HOOK", &self.hook);
        let text = format!("--collector.textfile.directory={}", self.text().display());
        let flags = ["--interval=500ms", "--slow-interval=500ms", &text];
        self.running = Some(Farol::spawn(command, path, &flags));
    }

    fn kill(&mut self) {
        // Dropped, it is killed with -9 and waited for.
        self.running = None;
    }

    fn set(&mut self, fires: bool) {
        let mut text = String::new();
        for item in items() {
            writeln!(text, "item_value{{item=\"{item}\"}} {}", u8::from(fires)).unwrap();
        }
        write(&self.text().join("new"), &text);
        fs::rename(self.text().join("new"), self.text().join("items.prom")).unwrap();
    }

    fn given_up(&self, channel: &str, since: i64) -> BTreeSet<String> {
        let lines = journal_lines(&self.logs(), "events", false).into_iter();
        let dead = lines.filter(|line| {
            line["kind"] == "delivery"
                && line["outcome"] == "dead"
                && line["channel"] == channel
                && millis(line["ts"].as_str().unwrap()) >= since
        });
        let item = |line: serde_json::Value| {
            let group = line["group"].as_str().unwrap().to_owned();
            let (_, rest) = group.split_once("item=\"").expect("one alert in each group");
            rest.split('"').next().unwrap().to_owned()
        };
        dead.map(item).collect()
    }
}

/// Debian's, and a client that repeats each second what fires and what no longer does, as Prometheus
/// does it (less often).
struct AlertmanagerTeller {
    folder: tempfile::TempDir,
    port: u16,
    running: Option<Child>,
    /// Since when all of them fire, or do no more.
    states: Arc<Mutex<Option<(String, Option<String>)>>>,
    _client: SyncSender<()>,
}

impl AlertmanagerTeller {
    fn new(unruly: &Unruly) -> AlertmanagerTeller {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let route = |name: &str, group_by: &str| {
            format!(
                "    - {{receiver: {name}, group_by: {group_by}, group_wait: 0s, group_interval: 1s, \
                 repeat_interval: 4h, continue: true}}\n"
            )
        };
        let receiver = |name: &str| {
            format!("  - {{name: {name}, webhook_configs: [{{url: '{}'}}]}}\n", unruly.url(name))
        };
        let config = format!(
            "route:\n  receiver: one\n  routes:\n{}{}receivers:\n{}{}",
            route("each", "['...']"),
            route("one", "[alertname]"),
            receiver("each"),
            receiver("one")
        );
        write(&folder.path().join("alertmanager.yml"), &config);
        let states = Arc::<Mutex<Option<(String, Option<String>)>>>::default();
        let (client, stopped) = std::sync::mpsc::sync_channel(0);
        let told = Arc::clone(&states);
        std::thread::spawn(move || {
            let second = Duration::from_secs(1);
            while stopped.recv_timeout(second) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let state = told.lock().unwrap().clone();
                if let Some((began, ended)) = state {
                    // Nobody may be there just now: that is what it is repeated for.
                    post_alerts(port, &began, ended.as_deref()).ok();
                }
            }
        });
        AlertmanagerTeller { folder, port, running: None, states, _client: client }
    }
}

impl Drop for AlertmanagerTeller {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Teller for AlertmanagerTeller {
    fn start(&mut self) {
        let folder = self.folder.path().display();
        let child = Command::new(needs("prometheus-alertmanager"))
            .arg(format!("--config.file={folder}/alertmanager.yml"))
            .arg(format!("--storage.path={folder}/data"))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        let address = format!("127.0.0.1:{}", self.port);
        eventually("alertmanager listens", || TcpStream::connect(&address).is_ok());
    }

    fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().ok();
            running.wait().ok();
        }
    }

    fn set(&mut self, fires: bool) {
        let now = jiff::Timestamp::now().to_string();
        let mut state = self.states.lock().unwrap();
        let began = state.take().map(|(began, _)| began);
        *state = Some(match (fires, began) {
            (false, Some(began)) => (began, Some(now)),
            _ => (now, None),
        });
    }

    fn given_up(&self, _: &str, _: i64) -> BTreeSet<String> {
        BTreeSet::new()
    }
}

fn post_alerts(port: u16, began: &str, ended: Option<&str>) -> std::io::Result<()> {
    let alert = |item: String| {
        let labels = json!({ "alertname": "Item", "severity": "warning", "item": item });
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(4);
        let ends = ended.map_or_else(|| later.to_string(), str::to_owned);
        json!({ "labels": labels, "startsAt": began, "endsAt": ends })
    };
    let body = items().map(alert).collect::<serde_json::Value>().to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "POST /api/v2/alerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// What came of it all.
#[derive(Default)]
struct Story {
    kills: usize,
    /// Beginnings and ends that were never told, over both channels.
    lost: Vec<(&'static str, bool, String)>,
    given_up: usize,
    took: Duration,
}

struct Trial<'a> {
    unruly: &'a Unruly,
    asked: &'a Receiver<SyncSender<()>>,
    /// Between two kills; none is never.
    gap: Option<(u64, u64)>,
    most_kills: usize,
    /// While all of them begin, or end.
    most_in_phase: usize,
    in_phase: usize,
    story: Story,
}

impl<'a> Trial<'a> {
    fn new(
        unruly: &'a Unruly,
        asked: &'a Receiver<SyncSender<()>>,
        gap: Option<(u64, u64)>,
        most_kills: usize,
    ) -> Trial<'a> {
        let most_in_phase = most_kills.div_ceil(2);
        let story = Story::default();
        Trial { unruly, asked, gap, most_kills, most_in_phase, in_phase: 0, story }
    }

    /// All fire and all end, until it was killed often enough.
    fn run(mut self, teller: &mut dyn Teller) -> Story {
        let begun = Instant::now();
        teller.set(false);
        teller.start();
        loop {
            self.phase(teller, true);
            self.phase(teller, false);
            if self.gap.is_none() || self.story.kills >= self.most_kills {
                break;
            }
        }
        self.story.took = begun.elapsed();
        self.story
    }

    fn arm(&self) {
        if let Some((least, most)) = self.gap
            && self.story.kills < self.most_kills
            && self.in_phase < self.most_in_phase
        {
            self.unruly.kill_within(least, most);
        }
    }

    fn phase(&mut self, teller: &mut dyn Teller, fires: bool) {
        let since = jiff::Timestamp::now().as_millisecond();
        self.in_phase = 0;
        self.arm();
        teller.set(fires);
        let mut newest = (0, Instant::now());
        loop {
            if let Ok(done) = self.asked.recv_timeout(Duration::from_millis(20)) {
                teller.kill();
                self.story.kills += 1;
                self.in_phase += 1;
                drop(done);
                teller.start();
                self.arm();
            }
            let told = self.unruly.look(|heard| CHANNELS.map(|channel| heard.told(channel)));
            let told = told.into_iter().sum();
            if told != newest.0 {
                newest = (told, Instant::now());
            }
            let missing = self.missing(fires);
            let is_over = newest.1.elapsed() > PATIENCE;
            // What was refused is given up: there are never more of these than refusals.
            if missing.len() > 10 && !is_over {
                continue;
            }
            let dead = CHANNELS.map(|channel| match missing.iter().any(|one| one.0 == channel) {
                true => teller.given_up(channel, since),
                false => BTreeSet::new(),
            });
            let is_dead = |(channel, item): &(&str, String)| {
                CHANNELS
                    .iter()
                    .zip(&dead)
                    .any(|(name, dead)| name == channel && dead.contains(item))
            };
            let (dead, lost): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_dead);
            if lost.is_empty() || is_over {
                self.story.given_up += dead.len();
                let lost = lost.into_iter().map(|(channel, item)| (channel, fires, item));
                self.story.lost.extend(lost);
                return;
            }
        }
    }

    /// Those of which a channel does not know how they stand. The end of one whose beginning was never
    /// told is not missing: nobody waits for it.
    fn missing(&self, fires: bool) -> Vec<(&'static str, String)> {
        let missing_in = |channel: &'static str| {
            self.unruly.look(|heard| {
                let standing = heard.standing(channel);
                let is_missing = |item: &String| match standing.get(item.as_str()) {
                    Some(told) => *told != fires,
                    None => fires,
                };
                items().filter(is_missing).map(|item| (channel, item)).collect::<Vec<_>>()
            })
        };
        CHANNELS.into_iter().flat_map(missing_in).collect()
    }
}

#[test]
fn two_hundred_alerts_are_told_to_an_unruly_receiver_whatever_is_killed() {
    let (unruly, asked) = Unruly::start(0x2545_f491_4f6c_dd1d);
    let mut farol = FarolTeller::new(&unruly);
    let most_kills = rounds(3, 20);
    let gap = Some(form((60, 110), (10, 40)));
    let story = Trial::new(&unruly, &asked, gap, most_kills).run(&mut farol);
    let logs = farol.logs();
    farol.kill();
    unruly.look(|heard| {
        let duplicates = CHANNELS.map(|channel| heard.duplicates(channel));
        println!(
            "{} kills, {} requests, {:?}: told {:?}, twice {duplicates:?}, given up {}, {} requests of a new \
             process in a window that no process knew of, {:?}",
            story.kills,
            heard.requests,
            heard.faults,
            CHANNELS.map(|channel| heard.told(channel)),
            story.given_up,
            heard.inside(true),
            story.took,
        );
        assert_eq!(story.lost, [], "lost");
        assert!(story.kills >= most_kills, "{} kills", story.kills);
        assert_eq!(heard.faults.len(), 5, "not all faults: {:?}", heard.faults);
        assert_eq!(heard.inside(false), 0, "spoke in a window: {:?}", heard.inside);
        // A message is told twice only where its teller died before that it was told was on record.
        assert!(duplicates.iter().sum::<usize>() <= story.kills, "{duplicates:?}");
        for (channel, inside) in &heard.inside {
            for inside in inside {
                assert!(
                    !knew_of(&logs, channel, inside),
                    "{channel}: a window on record was forgotten: {inside:?}"
                );
            }
        }
    });
}

/// Whether the wait that was demanded was on record when it was asked again.
fn knew_of(logs: &Path, channel: &str, inside: &Inside) -> bool {
    let window = inside.demanded_at..inside.asked_at;
    journal_lines(logs, "events", false).iter().any(|line| {
        line["kind"] == "delivery"
            && line["outcome"] == "later"
            && line["channel"] == channel
            && window.contains(&millis(line["ts"].as_str().unwrap()))
    })
}

/// The table of `docs/benchmarks.md`; only in the full form.
#[test]
fn beside_alertmanager() {
    if form(true, false) {
        return;
    }
    let mut table = String::from(
        "| | killed | told: each, one | beginnings lost | ends lost | given up, on record | told twice: each, one | \
         requests in a forbidden window | until all was told |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for most_kills in [0, 10] {
        for name in ["farol", "alertmanager"] {
            let seed = Chance(0x9e37_79b9_7f4a_7c15).between(1, u64::MAX - 1);
            let (unruly, asked) = Unruly::start(seed);
            let gap = (most_kills > 0).then_some((20, 40));
            let trial = Trial::new(&unruly, &asked, gap, most_kills);
            let story = match name {
                "farol" => trial.run(&mut FarolTeller::new(&unruly)),
                _ => trial.run(&mut AlertmanagerTeller::new(&unruly)),
            };
            let lost = |fires| story.lost.iter().filter(|(_, lost, _)| *lost == fires).count();
            unruly.look(|heard| {
                let told = CHANNELS.map(|channel| heard.told(channel));
                let twice = CHANNELS.map(|channel| heard.duplicates(channel));
                let inside = heard.inside(true) + heard.inside(false);
                writeln!(
                    table,
                    "| {name} | {} | {}, {} | {} | {} | {} | {}, {} | {inside} | {:.0} s |",
                    story.kills,
                    told[0],
                    told[1],
                    lost(true),
                    lost(false),
                    story.given_up,
                    twice[0],
                    twice[1],
                    story.took.as_secs_f64(),
                )
                .unwrap();
            });
        }
    }
    let (version, errors, _) = run(Command::new(needs("prometheus-alertmanager")).arg("--version"));
    let version = format!("{version}{errors}");
    println!("{table}\n{}", version.lines().next().unwrap_or_default());
}
