//! Following: nothing lost, nothing told into a forbidden window, duplicates only where a process died
//! between the receiver's answer and the record of it. Time is tokio's paused clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use farol_act::notify::{BoxFuture, SendError, Sender, Sent};
use farol_alert::Notice;
use farol_model::{Delivered, Text, Timestamp};
use serde_json::Value;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    discord::{FakeDiscord, Fault, Shared, sender},
    fake::Server,
    world::{Clockstop, Core, Held, Moment, ended, firing},
};

struct Setting {
    core: Core,
    server: Server,
    discord: Shared,
    clockstop: Clockstop,
}

impl Setting {
    async fn new() -> Setting {
        let clockstop = Clockstop::default();
        let rate = (5, Duration::from_secs(2));
        let (server, discord) = FakeDiscord::start(rate, clockstop.clone()).await;
        Setting { core: Core::new(), server, discord, clockstop }
    }

    fn sender(&self) -> Box<dyn Sender> {
        Box::new(Held { sender: sender(&self.server), clockstop: self.clockstop.clone() })
    }

    /// How often each alert's name was told, over all messages and all their states.
    fn told(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for state in self.discord.lock().unwrap().messages.values().flatten() {
            *told.entry(state["content"].to_string()).or_default() += 1;
        }
        told
    }

    fn outcomes(&self) -> Vec<Delivered> {
        self.core.records().into_iter().map(|record| record.outcome).collect()
    }
}

/// A chain of numbers that is the same each time.
fn dice(seed: &mut u64, sides: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % sides
}

#[tokio::test(start_paused = true)]
async fn what_fires_is_told_and_its_message_changed_when_it_ends() {
    let setting = Setting::new().await;
    let running = setting.core.follow(setting.sender(), "a");
    let alert = firing("HostCpuHigh", &[]);
    setting.core.set(alert.clone());
    sleep(Duration::from_secs(1)).await;
    setting.core.set(ended(&alert, setting.core.now()));
    sleep(Duration::from_secs(1)).await;
    let messages = setting.discord.lock().unwrap().messages.clone();
    let states: Vec<&Value> = messages[&1001].iter().map(|state| &state["content"]).collect();
    assert_eq!(states, ["\\[FIRING:1\\] HostCpuHigh", "\\[RESOLVED\\] HostCpuHigh"]);
    let sent = Delivered::Sent { message: Some(Text::from("1001")) };
    assert_eq!(setting.outcomes(), [sent.clone(), sent]);
    running.stop.send(true).unwrap();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_hundred_alerts_at_once_all_arrive_once_and_never_into_a_forbidden_window() {
    let setting = Setting::new().await;
    let mut seed = 11;
    for _ in 0..400 {
        let fault = match dice(&mut seed, 12) {
            0 => Some(Fault::Throttled(1 + dice(&mut seed, 30_000))),
            1 => Some(Fault::Status(500)),
            2 => Some(Fault::Hang),
            3 => Some(Fault::Close),
            _ => None,
        };
        setting.discord.lock().unwrap().faults.push_back(fault);
    }
    for number in 0..200 {
        setting.core.set(firing(&format!("A{number}"), &[]));
    }
    let running = setting.core.follow(setting.sender(), "a");
    while setting.told().len() < 200 {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(60)).await;
    assert!(setting.told().values().all(|count| *count == 1), "no duplicate without a death");
    let discord = setting.discord.lock().unwrap();
    assert_eq!(discord.violations, 0);
    assert!(discord.throttled > 10, "only {}", discord.throttled);
    let figures = setting.core.board.read()["team"].clone();
    assert_eq!((figures.sent, figures.dead, figures.queued), (200, 0, 0));
    assert!(figures.throttled > 10 && figures.retried > 10, "{figures:?}");
    running.task.abort();
}

/// The process dies at every kind of moment, again and again, and goes on from its records.
#[tokio::test(start_paused = true)]
async fn deaths_during_delivery_lose_nothing_and_duplicate_at_most_one_message_each() {
    let mut setting = Setting::new().await;
    let (dies, mut died) = mpsc::channel(1);
    let calls = Arc::new(AtomicUsize::new(0));
    let discord = Arc::clone(&setting.discord);
    setting.core.dies = Arc::new(move |moment| {
        // Every 13th and every 17th call, of which those before and those after alternate.
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        let now = call.is_multiple_of(13) || call.is_multiple_of(17);
        if now {
            if moment == Moment::BeforeAppend {
                // What the answer forbade died with who had read it.
                discord.lock().unwrap().forbidden_until = None;
            }
            dies.try_send(()).unwrap();
        }
        now
    });
    let mut seed = 5;
    for _ in 0..200 {
        let fault = match dice(&mut seed, 20) {
            0 => Some(Fault::Taken),
            1 => Some(Fault::Throttled(20_000)),
            _ => None,
        };
        setting.discord.lock().unwrap().faults.push_back(fault);
    }
    for number in 0..100 {
        setting.core.set(firing(&format!("A{number}"), &[]));
    }
    let mut deaths = 0;
    let mut running = setting.core.follow(setting.sender(), "a");
    while setting.told().len() < 100 || setting.core.board.read()["team"].queued > 0 {
        tokio::select! {
            Some(()) = died.recv() => {
                running.task.abort();
                running.task.await.unwrap_err();
                deaths += 1;
                running = setting.core.follow(setting.sender(), "a");
            }
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
    let told = setting.told();
    let duplicates: usize = told.values().map(|count| count - 1).sum();
    let lost_answers = 200 / 20 * 2;
    assert!(deaths > 10, "only {deaths}");
    assert!(duplicates <= deaths + lost_answers, "{duplicates} after {deaths} deaths");
    assert_eq!(setting.discord.lock().unwrap().violations, 0);
    let recorded: BTreeSet<Text> = setting.core.records().into_iter().map(|r| r.group).collect();
    assert_eq!(recorded.iter().filter(|group| !group.is_empty()).count(), 100);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_demanded_wait_is_recorded_before_it_begins_and_outlives_a_restart() {
    let setting = Setting::new().await;
    setting.discord.lock().unwrap().faults.push_back(Some(Fault::Throttled(90_000)));
    setting.core.set(firing("HostCpuHigh", &[]));
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_millis(10)).await;
    running.task.abort();
    assert!(matches!(setting.outcomes().as_slice(), [Delivered::Later { .. }]));

    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(80)).await;
    assert!(setting.told().is_empty());
    sleep(Duration::from_secs(31)).await;
    assert_eq!(setting.told().len(), 1);
    assert_eq!(setting.discord.lock().unwrap().violations, 0);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_window_from_a_clock_since_set_back_does_not_silence_the_channel() {
    let setting = Setting::new().await;
    setting.core.set(firing("HostCpuHigh", &[]));
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(1)).await;
    running.task.abort();
    let year = Duration::from_secs(365 * 24 * 3600);
    let mut record = setting.core.records().pop().unwrap();
    record.group = Text::EMPTY;
    record.outcome = Delivered::Later { until: setting.core.now().plus(year), reason: "".into() };
    setting.core.take(record);
    setting.core.set(firing("Other", &[]));
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(setting.told().len(), 2);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_gone_is_not_asked_again_until_its_settings_change() {
    let setting = Setting::new().await;
    setting.discord.lock().unwrap().exists = false;
    setting.core.set(firing("HostCpuHigh", &[]));
    for _ in 0..3 {
        let running = setting.core.follow(setting.sender(), "a");
        sleep(Duration::from_secs(4000)).await;
        running.task.abort();
    }
    assert_eq!(setting.server.requests().len(), 1);
    let reason = setting.core.memory().channels["team"].disabled.clone().unwrap();
    assert_eq!(&*reason, "the webhook does not exist (any more) [settings a]");

    setting.discord.lock().unwrap().exists = true;
    let running = setting.core.follow(setting.sender(), "b");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(setting.told().len(), 1);
    assert_eq!(setting.core.memory().channels["team"].disabled, None);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_dead_at_once_and_the_next_one_is_told() {
    let setting = Setting::new().await;
    setting.discord.lock().unwrap().faults.push_back(Some(Fault::Status(400)));
    setting.core.set(firing("A", &[]));
    setting.core.set(firing("B", &[]));
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(1)).await;
    let [dead, sent] = setting.outcomes().try_into().unwrap();
    assert_eq!(dead, Delivered::Dead { reason: "answered 400: an error page".into() });
    assert!(matches!(sent, Delivered::Sent { .. }));
    running.task.abort();
}

/// Never delivers what is about `A`, and counts.
struct Picky(Arc<AtomicUsize>);

impl Sender for Picky {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        let is_bad = notice.group.contains("\"A\"");
        self.0.fetch_add(usize::from(is_bad), Ordering::Relaxed);
        let failed = SendError::Retry { after: None, reason: "no".into() };
        Box::pin(async move { if is_bad { Err(failed) } else { Ok(Sent::default()) } })
    }

    fn preview(&self, _notice: &Notice) -> Value {
        Value::Null
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_always_fails_lets_others_go_first_and_is_given_up() {
    let core = Core::new();
    core.set(firing("A", &[]));
    core.set(firing("B", &[]));
    let tried = Arc::new(AtomicUsize::new(0));
    let running = core.follow(Box::new(Picky(Arc::clone(&tried))), "a");
    sleep(Duration::from_secs(60)).await;
    let groups: Vec<Text> = core.records().into_iter().map(|record| record.group).collect();
    assert!(groups.contains(&Text::from("{}:{alertname=\"B\"}")), "{groups:?}");
    sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(tried.load(Ordering::Relaxed), 20);
    assert_eq!(core.board.read()["team"].dead, 1);
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn where_nothing_goes_through_a_message_is_tried_for_a_day_and_then_given_up() {
    let core = Core::new();
    core.set(firing("A", &[]));
    let tried = Arc::new(AtomicUsize::new(0));
    let running = core.follow(Box::new(Picky(Arc::clone(&tried))), "a");
    let day = Duration::from_secs(24 * 3600);
    sleep(day - Duration::from_secs(3600)).await;
    assert_eq!(core.board.read()["team"].dead, 0);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(core.board.read()["team"].dead, 1);
    // With a ceiling of five minutes, a day has room for a few hundred.
    let tried = tried.load(Ordering::Relaxed);
    assert!((280..800).contains(&tried), "{tried}");
    let last = core.records().pop().unwrap();
    assert!(matches!(last.outcome, Delivered::Dead { .. }));
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stop_delivers_what_is_due_and_waits_for_no_window() {
    let setting = Setting::new().await;
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(1)).await;
    for number in 0..20 {
        setting.core.set(firing(&format!("A{number}"), &[]));
    }
    running.stop.send(true).unwrap();
    running.task.await.unwrap();
    // Five at once is what this Discord takes.
    assert_eq!(setting.told().len(), 5);
    assert_eq!(setting.discord.lock().unwrap().violations, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_longer_than_its_deadline_for_a_receiver_that_hangs() {
    let setting = Setting::new().await;
    setting.discord.lock().unwrap().faults.push_back(Some(Fault::Hang));
    setting.core.set(firing("A", &[]));
    let running = setting.core.follow(setting.sender(), "a");
    sleep(Duration::from_secs(1)).await;
    let before: Timestamp = setting.core.now();
    running.stop.send(true).unwrap();
    running.task.await.unwrap();
    let took = setting.core.now().since(before);
    assert!(took <= Duration::from_secs(6), "{took:?}");
    assert!(setting.core.records().is_empty(), "it is told after the next start");
}
