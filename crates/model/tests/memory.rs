//! What the events add up to: the same however one reads them, and never without bound.

use std::{sync::Arc, time::Duration};

use farol_model::{
    Action, ActionStep, Alert, Delivered, Delivery, Episode, Judgement, Labels, MOST_ALERTS,
    Memory, Phase, Record, Silence, Summary, Text, Timestamp, Transition, Turn,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..20_i64).prop_map(at)
}

fn name() -> impl Strategy<Value = Text> {
    select(vec!["a", "b", ""]).prop_map(Text::from)
}

fn alert(name: &str, phase: Phase) -> Alert {
    Alert {
        group: "host".into(),
        rule: "HostCpuHigh".into(),
        labels: Labels::from([("alertname", name)]),
        annotations: Labels::empty(),
        series: Labels::empty(),
        value: 1.0,
        phase,
        active_at: at(0),
        fired_at: (phase != Phase::Pending).then(|| at(0)),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: at(0),
        ended_at: (phase == Phase::Ended).then(|| at(0)),
        firings: Vec::new(),
        is_flapping: false,
        remedy: None,
    }
}

fn turn(alert: Alert) -> Record {
    let (at, turn) = (alert.seen_at, Turn::Firing);
    let alert = Arc::new(alert);
    Record::Alert(Transition { at, host: Text::EMPTY, turn, reason: None, alert })
}

fn episode() -> impl Strategy<Value = Episode> {
    (0..3_u64, time()).prop_map(|(fingerprint, fired_at)| Episode { fingerprint, fired_at })
}

fn delivery(at: Timestamp, episodes: Vec<(Episode, bool)>, outcome: Delivered) -> Record {
    let (channel, group) = ("team".into(), "{}:{}".into());
    Record::Delivery(Delivery {
        at,
        host: Text::EMPTY,
        channel,
        group,
        episodes,
        attempts: 1,
        outcome,
    })
}

fn action(at: Timestamp, id: &str, episode: Option<Episode>, step: ActionStep) -> Record {
    let alert = episode.map(|episode| (Text::from_static("HostCpuHigh"), episode));
    let (id, remedy) = (id.into(), "cleanup".into());
    Record::Action(Action { at, host: Text::EMPTY, id, remedy, alert, step })
}

fn intended() -> ActionStep {
    ActionStep::Intended { what: Text::EMPTY }
}

fn reason() -> Text {
    Text::from_static("because")
}

fn record() -> impl Strategy<Value = Record> {
    let phases = vec![Phase::Pending, Phase::Firing, Phase::Ended];
    let alert = (time(), name(), select(Turn::ALL.to_vec()), select(phases)).prop_map(
        |(at, name, turn, phase)| {
            let alert = Arc::new(Alert { seen_at: at, ..alert(&name, phase) });
            Record::Alert(Transition { at, host: Text::EMPTY, turn, reason: None, alert })
        },
    );
    let silence = (time(), name()).prop_map(|(at, id)| silence(at, &id, at));
    let outcome = prop_oneof![
        option::of(name()).prop_map(|message| Delivered::Sent { message }),
        time().prop_map(|until| Delivered::Later { until, reason: reason() }),
        Just(Delivered::Dead { reason: reason() }),
        Just(Delivered::Disabled { reason: reason() }),
    ];
    let delivery = (time(), name(), name(), vec((episode(), any::<bool>()), 0..3), outcome)
        .prop_map(|(at, channel, group, episodes, outcome)| {
            let host = Text::EMPTY;
            Record::Delivery(Delivery { at, host, channel, group, episodes, attempts: 1, outcome })
        });
    let step = prop_oneof![
        Just(intended()),
        Just(ActionStep::Refused { reason: reason() }),
        Just(ActionStep::Rehearsed { summary: reason(), output: Text::EMPTY }),
        any::<bool>().prop_map(|ok| ActionStep::Finished {
            ok,
            summary: reason(),
            output: Text::EMPTY,
            took: Duration::ZERO
        }),
        Just(ActionStep::Judged { judgement: Judgement::Better, before: None, after: Some(1.0) }),
        Just(ActionStep::Unknown),
    ];
    let action = (time(), name(), name(), option::of(episode()), step).prop_map(
        |(at, id, remedy, episode, step)| {
            let alert = episode.map(|episode| (reason(), episode));
            Record::Action(Action { at, host: Text::EMPTY, id, remedy, alert, step })
        },
    );
    let summary = (time(), time()).prop_map(|(at, hour)| {
        let (signs, states) = (Vec::new(), Vec::new());
        Record::Summary(Summary { at, host: Text::EMPTY, hour, signs, states })
    });
    prop_oneof![alert, silence, delivery, action, summary]
}

fn silence(at: Timestamp, id: &str, ends_at: Timestamp) -> Record {
    Record::Silence(Silence {
        at,
        host: Text::EMPTY,
        id: id.into(),
        matchers: Vec::new(),
        starts_at: at,
        ends_at,
        created_by: Text::EMPTY,
        comment: Text::EMPTY,
    })
}

fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Memory {
    let mut memory = Memory::default();
    records.into_iter().for_each(|record| memory.apply(record));
    memory
}

proptest! {
    #[test]
    fn a_sum_stands_for_all_that_was_before_it(
        before in vec(record(), 0..40), after in vec(record(), 0..40),
    ) {
        let sum = Record::State(Arc::new(fold(&before)));
        let short = fold([&sum].into_iter().chain(&after));
        prop_assert_eq!(short, fold(before.iter().chain(&after)));
    }

    /// Those that had to wait for room on the disk come behind a sum that holds them.
    #[test]
    fn what_a_sum_holds_already_may_follow_it_and_changes_nothing(
        before in vec(record(), 0..40), waiting in vec(record(), 0..40),
    ) {
        let whole = fold(before.iter().chain(&waiting));
        let sum = Record::State(Arc::new(whole.clone()));
        prop_assert_eq!(fold([&sum].into_iter().chain(&waiting)), whole);
    }

    #[test]
    fn pruning_twice_is_pruning_once(records in vec(record(), 0..60), hours in 0..1000_i64) {
        let mut memory = fold(&records);
        let channels = [Text::from_static("a")];
        memory.prune(at(hours * HOUR), &channels);
        let once = memory.clone();
        memory.prune(at(hours * HOUR), &channels);
        prop_assert_eq!(memory, once);
    }

    #[test]
    fn what_is_pending_or_firing_or_open_is_never_pruned_for_its_age(
        records in vec(record(), 0..60), hours in 0..100_000_i64,
    ) {
        let mut memory = fold(&records);
        let before = memory.clone();
        memory.prune(at(hours * HOUR), &[]);
        for (key, alert) in &before.alerts {
            prop_assert!(alert.phase == Phase::Ended || memory.alerts.contains_key(key));
        }
        for (name, remedy) in &before.remedies {
            prop_assert_eq!(&memory.remedies[name].open, &remedy.open);
        }
        prop_assert_eq!(memory.last_summary, before.last_summary);
    }
}

#[test]
fn a_message_without_an_id_keeps_the_one_before_and_an_episode_stays_told() {
    let episode = Episode { fingerprint: 1, fired_at: at(0) };
    let sent = |seconds, ended, message: Option<&str>| {
        let message = message.map(Text::from);
        delivery(at(seconds), vec![(episode, ended)], Delivered::Sent { message })
    };
    let memory = fold(&[sent(1, true, Some("m1")), sent(2, false, None)]);
    let told = &memory.channels["team"].groups["{}:{}"];
    assert_eq!(told.at, at(2));
    assert_eq!(told.message.as_deref(), Some("m1"));
    assert!(told.episodes[&episode]);
}

#[test]
fn what_is_given_up_counts_as_told_and_a_later_success_ends_what_was_forbidden() {
    let episode = Episode { fingerprint: 1, fired_at: at(0) };
    let tell = |seconds, outcome| delivery(at(seconds), vec![(episode, false)], outcome);
    let later = Delivered::Later { until: at(60), reason: reason() };
    let mut memory = fold(&[tell(1, later)]);
    assert_eq!(memory.channels["team"].not_before, Some(at(60)));
    assert!(memory.channels["team"].groups.is_empty(), "nobody was told");
    memory.apply(&tell(2, Delivered::Dead { reason: reason() }));
    assert!(memory.channels["team"].groups["{}:{}"].episodes.contains_key(&episode));
    memory.apply(&tell(3, Delivered::Disabled { reason: reason() }));
    assert_eq!(memory.channels["team"].disabled, Some(reason()));
    memory.apply(&tell(61, Delivered::Sent { message: None }));
    assert_eq!(memory.channels["team"].not_before, None);
    assert_eq!(memory.channels["team"].disabled, None);
}

#[test]
fn a_run_is_open_from_its_intent_to_its_end_and_answers_its_episode_once() {
    let episode = Episode { fingerprint: 1, fired_at: at(0) };
    let mut memory = fold(&[action(at(1), "one", Some(episode), intended())]);
    let remedy = |memory: &Memory| memory.remedies["cleanup"].clone();
    assert_eq!(remedy(&memory).open.map(|open| open.id), Some("one".into()));
    assert_eq!(remedy(&memory).runs, [at(1)]);
    assert_eq!(remedy(&memory).answered[&episode], at(1));
    memory.apply(&action(at(2), "another", None, ActionStep::Unknown));
    assert!(remedy(&memory).open.is_some(), "another run's end is not this one's");
    memory.apply(&action(at(3), "one", Some(episode), ActionStep::Unknown));
    assert_eq!(remedy(&memory).open, None);
    let refused = ActionStep::Refused { reason: reason() };
    memory.apply(&action(at(4), "two", Some(Episode { fingerprint: 2, ..episode }), refused));
    assert_eq!(remedy(&memory).runs, [at(1)], "a refusal is no run");
    assert_eq!(remedy(&memory).answered.len(), 2);
}

#[test]
fn a_pending_alert_that_is_dropped_is_forgotten_and_one_that_fired_before_is_not() {
    for (phase, stays) in [(Phase::Pending, false), (Phase::Ended, true)] {
        let held = Arc::new(alert("A", Phase::Pending));
        let mut memory = Memory::default();
        let turn = |turn, alert| {
            Record::Alert(Transition { at: at(1), host: Text::EMPTY, turn, reason: None, alert })
        };
        memory.apply(&turn(Turn::Pending, held));
        memory.apply(&turn(Turn::Dropped, Arc::new(alert("A", phase))));
        assert_eq!(memory.alerts.len(), usize::from(stays), "{phase:?}");
    }
}

#[test]
fn what_is_over_goes_in_its_time() {
    let ended = alert("A", Phase::Ended);
    let episode = ended.episode().unwrap();
    let mut memory = fold(&[
        turn(ended),
        silence(at(0), "s", at(0)),
        delivery(at(0), vec![(episode, true)], Delivered::Sent { message: None }),
        action(at(0), "one", Some(episode), intended()),
        action(at(1), "one", Some(episode), ActionStep::Unknown),
    ]);
    let channels = [Text::from_static("team")];
    let mut left = |hours: i64| {
        memory.prune(at(hours * HOUR), &channels);
        let groups: usize = memory.channels.values().map(|channel| channel.groups.len()).sum();
        let runs = memory.remedies["cleanup"].runs.len();
        let answered = memory.remedies["cleanup"].answered.len();
        (memory.alerts.len(), groups, memory.silences.len(), runs, answered)
    };
    assert_eq!(left(23), (1, 1, 1, 1, 1));
    assert_eq!(left(24), (0, 0, 1, 1, 1));
    assert_eq!(left(119), (0, 0, 1, 1, 1));
    assert_eq!(left(120), (0, 0, 0, 1, 1));
    assert_eq!(left(32 * 24 - 1), (0, 0, 0, 1, 1));
    assert_eq!(left(32 * 24), (0, 0, 0, 0, 0));
}

#[test]
fn an_episode_that_still_fires_stays_told_and_answered_however_long() {
    let firing = alert("A", Phase::Firing);
    let episode = firing.episode().unwrap();
    let mut memory = fold(&[
        turn(firing),
        delivery(at(0), vec![(episode, false)], Delivered::Sent { message: None }),
        action(at(0), "one", Some(episode), intended()),
    ]);
    memory.prune(at(10_000 * HOUR), &["team".into()]);
    assert!(memory.channels["team"].groups["{}:{}"].episodes.contains_key(&episode));
    assert!(memory.remedies["cleanup"].answered.contains_key(&episode));
}

#[test]
fn a_notifier_that_is_no_more_is_forgotten_after_a_day() {
    let episode = Episode { fingerprint: 1, fired_at: at(0) };
    let sent = delivery(at(0), vec![(episode, true)], Delivered::Sent { message: None });
    let mut memory = fold(&[sent]);
    memory.prune(at(23 * HOUR), &[]);
    assert!(memory.channels.contains_key("team"));
    memory.prune(at(24 * HOUR), &[]);
    assert!(memory.channels.is_empty());
}

#[test]
fn beyond_the_bound_what_is_over_and_told_goes_first_then_what_is_over_then_what_is_pending() {
    let mut memory = Memory::default();
    let mut add = |name: String, phase, seconds: i64| {
        let mut alert = alert(&name, phase);
        alert.active_at = at(seconds);
        alert.ended_at = alert.ended_at.map(|_| at(seconds));
        memory.apply(&turn(alert));
    };
    for number in 0..MOST_ALERTS - 3 {
        add(format!("firing {number}"), Phase::Firing, 0);
    }
    add("pending young".into(), Phase::Pending, 2);
    add("pending old".into(), Phase::Pending, 1);
    add("over, told".into(), Phase::Ended, 4);
    add("over, untold, old".into(), Phase::Ended, 1);
    add("over, untold, young".into(), Phase::Ended, 3);
    let told =
        Alert { labels: Labels::from([("alertname", "over, told")]), ..alert("", Phase::Ended) };
    let told = vec![(told.episode().unwrap(), true)];
    memory.apply(&delivery(at(5), told, Delivered::Sent { message: None }));
    let go = |memory: &mut Memory, name: &str| {
        let pruned = memory.prune(at(10), &["team".into()]);
        assert_eq!(pruned.expired, 0);
        assert!(memory.alerts.values().all(|alert| alert.name() != name), "{name} is still there");
        assert_eq!(memory.alerts.len(), MOST_ALERTS, "{name}");
        pruned.dropped
    };
    assert_eq!(go(&mut memory, "over, told"), 2);
    assert!(memory.alerts.values().all(|alert| alert.name() != "over, untold, old"));
    memory.apply(&turn(alert("one more", Phase::Firing)));
    assert_eq!(go(&mut memory, "over, untold, young"), 1);
    memory.apply(&turn(alert("and another", Phase::Firing)));
    assert_eq!(go(&mut memory, "pending old"), 1);
}

#[test]
fn long_texts_are_bounded_as_well() {
    let mut memory = Memory::default();
    let long = "x".repeat(1 << 20);
    for number in 0..40 {
        let mut alert = alert(&number.to_string(), Phase::Firing);
        alert.active_at = at(number);
        alert.annotations = Labels::from([("description", long.as_str())]);
        memory.apply(&turn(alert));
    }
    let pruned = memory.prune(at(100), &[]);
    assert_eq!(memory.alerts.len(), 15, "{pruned:?}");
}
