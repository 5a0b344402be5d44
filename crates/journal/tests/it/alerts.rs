//! The lines about what is wrong: each comes back as it was written, and each is as documented.

use std::{sync::Arc, time::Duration};

use crate::history::at;
use farol_journal::{Decoder, full_line};
use farol_model::{
    Action, ActionStep, Alert, Batch, Channel, Delivered, Delivery, Episode, Judgement, Labels,
    Memory, Phase, Record, Remedy, Series, SignSummary, Silence, SilenceMatcher, State, Summary,
    Text, Timestamp, Told, Transition, Turn,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![3 => "[a-z_]{0,8}", 1 => any::<String>()].prop_map(Text::from)
}

/// What the journal can write as a time.
fn time() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000..=253_402_300_799_999_i64).prop_map(Timestamp::from_millis)
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((text(), text()), 0..4).prop_map(Labels::new)
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => (-1000..1000_i32).prop_map(f64::from),
        1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::NEG_INFINITY),
    ]
}

prop_compose! {
    fn alert()(
        group in text(), rule in text(), labels in labels(), annotations in labels(),
        series in labels(), value in number(),
        phase in select(vec![Phase::Pending, Phase::Firing, Phase::Ended]),
        active_at in time(),
        (fired_at, keeping_since, missing_since, ended_at) in
            (option::of(time()), option::of(time()), option::of(time()), option::of(time())),
        (unseen, seen_at) in (any::<i64>(), time()),
        (firings, is_flapping, remedy) in (vec(time(), 0..4), any::<bool>(), option::of(text())),
    ) -> Alert {
        Alert {
            group, rule, labels, annotations, series, value, phase, active_at, fired_at,
            keeping_since, missing_since, unseen, seen_at, ended_at, firings, is_flapping, remedy,
        }
    }
}

prop_compose! {
    fn transition()(
        at in time(), host in text(), turn in select(Turn::ALL.to_vec()),
        reason in option::of(text()), alert in alert(),
    ) -> Transition {
        Transition { at, host, turn, reason, alert: Arc::new(alert) }
    }
}

prop_compose! {
    fn matcher()(
        name in text(), value in text(), is_regex in any::<bool>(), is_equal in any::<bool>(),
    ) -> SilenceMatcher {
        SilenceMatcher { name, value, is_regex, is_equal }
    }
}

prop_compose! {
    fn silence()(
        at in time(), host in text(), id in text(), matchers in vec(matcher(), 0..3),
        starts_at in time(), ends_at in time(), created_by in text(), comment in text(),
    ) -> Silence {
        Silence { at, host, id, matchers, starts_at, ends_at, created_by, comment }
    }
}

fn episode() -> impl Strategy<Value = Episode> {
    (any::<u64>(), time()).prop_map(|(fingerprint, fired_at)| Episode { fingerprint, fired_at })
}

fn outcome() -> impl Strategy<Value = Delivered> {
    prop_oneof![
        option::of(text()).prop_map(|message| Delivered::Sent { message }),
        (time(), text()).prop_map(|(until, reason)| Delivered::Later { until, reason }),
        text().prop_map(|reason| Delivered::Dead { reason }),
        text().prop_map(|reason| Delivered::Disabled { reason }),
    ]
}

prop_compose! {
    fn delivery()(
        at in time(), host in text(), channel in text(), group in text(),
        episodes in vec((episode(), any::<bool>()), 0..3), attempts in any::<u32>(),
        outcome in outcome(),
    ) -> Delivery {
        Delivery { at, host, channel, group, episodes, attempts, outcome }
    }
}

fn step() -> impl Strategy<Value = ActionStep> {
    let micros = 0..1_000_000_000_000_u64;
    let judged = (select(Judgement::ALL.to_vec()), option::of(number()), option::of(number()));
    prop_oneof![
        text().prop_map(|reason| ActionStep::Refused { reason }),
        (text(), text()).prop_map(|(summary, output)| ActionStep::Rehearsed { summary, output }),
        text().prop_map(|what| ActionStep::Intended { what }),
        (any::<bool>(), text(), text(), micros).prop_map(|(ok, summary, output, micros)| {
            ActionStep::Finished { ok, summary, output, took: Duration::from_micros(micros) }
        }),
        judged.prop_map(|(judgement, before, after)| {
            ActionStep::Judged { judgement, before, after }
        }),
        Just(ActionStep::Unknown),
    ]
}

prop_compose! {
    fn action()(
        at in time(), host in text(), id in text(), remedy in text(),
        alert in option::of((text(), episode())), step in step(),
    ) -> Action {
        Action { at, host, id, remedy, alert, step }
    }
}

prop_compose! {
    fn sign()(
        mean in number(), min in number(), max in number(), p95 in number(), samples in any::<u32>(),
    ) -> SignSummary {
        SignSummary { mean, min, max, p95, samples }
    }
}

prop_compose! {
    fn summary()(
        at in time(), host in text(), hour in time(), signs in vec((text(), sign()), 0..3),
        states in vec((select(State::ALL.to_vec()), any::<u32>()), 0..4),
    ) -> Summary {
        Summary { at, host, hour, signs, states }
    }
}

prop_compose! {
    fn told()(
        at in time(), message in option::of(text()),
        episodes in vec((episode(), any::<bool>()), 0..3),
    ) -> Told {
        Told { at, message, episodes: episodes.into_iter().collect() }
    }
}

prop_compose! {
    fn channel()(
        not_before in option::of(time()), disabled in option::of(text()),
        groups in vec((text(), told()), 0..3),
    ) -> Channel {
        Channel { not_before, disabled, groups: groups.into_iter().collect() }
    }
}

prop_compose! {
    fn remedy()(
        runs in vec(time(), 0..3), open in option::of(action()), last in option::of(action()),
        answered in vec((episode(), time()), 0..3),
        judged in vec((time(), select(Judgement::ALL.to_vec())), 0..3),
    ) -> Remedy {
        Remedy { runs, open, last, answered: answered.into_iter().collect(), judged }
    }
}

prop_compose! {
    fn state()(
        at in time(), host in text(), alerts in vec(alert(), 0..3),
        silences in vec(silence(), 0..3), channels in vec((text(), channel()), 0..3),
        remedies in vec((text(), remedy()), 0..3), last_summary in option::of(time()),
    ) -> Memory {
        let alerts = alerts.into_iter().map(|alert| (alert.key(), Arc::new(alert)));
        let silences = silences.into_iter().map(|silence| (silence.id.clone(), silence));
        Memory {
            at, host,
            alerts: alerts.collect(),
            silences: silences.collect(),
            channels: channels.into_iter().collect(),
            remedies: remedies.into_iter().collect(),
            last_summary,
        }
    }
}

prop_compose! {
    fn recorded()(
        at in time(), rows in vec((text(), labels(), vec((any::<i64>(), number()), 0..3)), 0..3),
    ) -> Batch {
        let mut series: Vec<Series> = rows
            .into_iter()
            .map(|(name, labels, points)| {
                let points = points.into_iter();
                let points = points.map(|(at, value)| (Timestamp::from_millis(at), value));
                Series { name, labels, points: points.collect() }
            })
            .collect();
        series.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        Batch { at, series }
    }
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        transition().prop_map(Record::Alert),
        silence().prop_map(Record::Silence),
        delivery().prop_map(Record::Delivery),
        action().prop_map(Record::Action),
        summary().prop_map(Record::Summary),
        state().prop_map(|memory| Record::State(Arc::new(memory))),
        recorded().prop_map(|batch| Record::Recorded(Arc::new(batch))),
    ]
}

proptest! {
    /// Compared as `Debug` writes them, so that a NaN equals itself.
    #[test]
    fn every_record_comes_back_from_its_line(record in record()) {
        let line = full_line(&record, 3);
        let decoded = Decoder::new().decode(&line[..line.len() - 1]).unwrap().unwrap();
        prop_assert_eq!(format!("{:?}", decoded.record), format!("{record:?}"));
        prop_assert!(decoded.complete);
        prop_assert_eq!(full_line(&decoded.record, decoded.seq), line);
    }
}

fn when(hour: i64, minute: i64, second: i64) -> Timestamp {
    at((hour - 10) * 3600 + minute * 60 + second)
}

fn example_episode(fingerprint: u64) -> Episode {
    Episode { fingerprint, fired_at: when(10, 5, 0) }
}

const TOLD: u64 = 0x7dd7_77aa_5715_247b;
const TREATED: u64 = 0x00c0_ffee_00c0_ffee;

fn example_action(second: i64, step: ActionStep) -> Record {
    Record::Action(Action {
        at: when(10, 10, second),
        host: "pi".into(),
        id: "9f2c".into(),
        remedy: "cleanup_temp_files".into(),
        alert: Some(("HostDiskFull".into(), example_episode(TREATED))),
        step,
    })
}

/// With the numbers that the lines have in the page.
fn examples() -> Vec<(u64, Record)> {
    let alert = Alert {
        group: "host".into(),
        rule: "HostCpuHigh{severity=\"warning\"}".into(),
        labels: Labels::from([("alertname", "HostCpuHigh"), ("severity", "warning")]),
        annotations: Labels::from([("summary", "The CPU is busy")]),
        series: Labels::empty(),
        value: 92.5,
        phase: Phase::Firing,
        active_at: when(10, 0, 0),
        fired_at: Some(when(10, 5, 0)),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: when(10, 5, 0),
        ended_at: None,
        firings: vec![when(10, 5, 0)],
        is_flapping: false,
        remedy: Some("cleanup_temp_files".into()),
    };
    let transition = Transition {
        at: when(10, 5, 0),
        host: "pi".into(),
        turn: Turn::Firing,
        reason: None,
        alert: Arc::new(alert),
    };
    let silence = Silence {
        at: when(10, 6, 0),
        host: "pi".into(),
        id: "3f8e".into(),
        matchers: vec![SilenceMatcher {
            name: "alertname".into(),
            value: "Host.*".into(),
            is_regex: true,
            is_equal: true,
        }],
        starts_at: when(10, 6, 0),
        ends_at: when(12, 6, 0),
        created_by: "ada".into(),
        comment: "a new fan".into(),
    };
    let delivery = Delivery {
        at: when(10, 5, 31),
        host: "pi".into(),
        channel: "team".into(),
        group: "{}:{alertname=\"HostCpuHigh\"}".into(),
        episodes: vec![(example_episode(TOLD), false)],
        attempts: 1,
        outcome: Delivered::Sent { message: Some("1122334455".into()) },
    };
    let finished = ActionStep::Finished {
        ok: true,
        summary: "removed 12 files, 3.1 MB".into(),
        output: Text::EMPTY,
        took: Duration::from_millis(250),
    };
    let judged = ActionStep::Judged {
        judgement: Judgement::Recovered,
        before: Some(96.5),
        after: Some(71.0),
    };
    let sign = SignSummary { mean: 12.5, min: 1.0, max: 97.25, p95: 60.0, samples: 3600 };
    let summary = Summary {
        at: when(11, 1, 0),
        host: "pi".into(),
        hour: when(10, 0, 0),
        signs: vec![("cpu_percent".into(), sign)],
        states: vec![(State::Stable, 3300), (State::Warning, 300)],
    };
    vec![
        (1, Record::Alert(transition)),
        (2, Record::Silence(silence)),
        (3, Record::Delivery(delivery)),
        (4, example_action(12, finished)),
        (5, example_action(22, judged)),
        (6, Record::Summary(summary)),
        (0, Record::State(Arc::new(example_state()))),
    ]
}

fn example_state() -> Memory {
    let told = Told {
        at: when(10, 5, 31),
        message: Some("1122334455".into()),
        episodes: [(example_episode(TOLD), false)].into(),
    };
    let channel = Channel { groups: [("{}:{}".into(), told)].into(), ..Channel::default() };
    let remedy = Remedy {
        runs: vec![when(10, 10, 12)],
        answered: [(example_episode(TREATED), when(10, 10, 12))].into(),
        judged: vec![(when(10, 10, 23), Judgement::Recovered)],
        ..Remedy::default()
    };
    Memory {
        at: when(10, 7, 0),
        host: "pi".into(),
        channels: [("team".into(), channel)].into(),
        remedies: [("cleanup_temp_files".into(), remedy)].into(),
        last_summary: Some(when(9, 0, 0)),
        ..Memory::default()
    }
}

/// Whoever changes them changes the format.
#[test]
fn the_lines_are_those_of_the_formats_page_byte_for_byte() {
    let page = include_str!("../../../../docs/formats/journal.md");
    for (seq, record) in examples() {
        let line = String::from_utf8(full_line(&record, seq)).unwrap();
        let (body, _) = line.split_once(",\"crc\"").unwrap();
        let shown = format!("    {body},\"crc\":\"…\"}}\n");
        assert!(page.contains(&shown), "not in the page:\n{shown}");
    }
}

fn decode(body: &str) -> Result<Record, String> {
    let crc = crc32fast::hash(body.as_bytes());
    let line = format!("{body},\"crc\":\"{crc:08x}\"}}");
    Decoder::new().decode(line.as_bytes()).map(|decoded| decoded.unwrap().record)
}

#[test]
fn keys_of_a_later_version_are_read_past_wherever_they_stand() {
    for (seq, record) in examples() {
        let line = String::from_utf8(full_line(&record, seq)).unwrap();
        let (body, _) = line.split_once(",\"crc\"").unwrap();
        let more = body
            .replace("\"host\":", "\"later\":[{\"a\":null}],\"host\":")
            .replace("{\"fingerprint\":", "{\"later\":1.5,\"fingerprint\":")
            .replace("{\"mean\":", "{\"later\":\"\",\"mean\":");
        assert_eq!(decode(&format!("{more},\"last\":{{}}")), Ok(record), "{more}");
    }
}

#[test]
fn a_line_that_says_less_than_it_must_or_nonsense_is_refused_with_the_reason() {
    let head = r#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"#;
    let episode = r#"{"fingerprint":"7dd777aa5715247b","fired_at":"2026-11-22T10:05:00.000Z"}"#;
    let many = vec![episode; (1 << 16) + 1].join(",");
    let action = r#""action","id":"1","remedy":"r""#;
    let cases = [
        (r#""alert","turn":"firing""#.to_owned(), "missing field `rule`"),
        (r#""delivery","channel":"a","outcome":"lost""#.to_owned(), "is not an outcome"),
        (r#""delivery","channel":"a","outcome":"later""#.to_owned(), "has no until"),
        (format!(r#""delivery","channel":"a","outcome":"sent","episodes":[{many}]"#), "65536"),
        (format!(r#"{action},"step":"danced""#), "is not a step"),
        (format!(r#"{action},"step":"finished""#), "has no took_seconds"),
        (format!(r#"{action},"step":"finished","ok":true,"took_seconds":-1"#), "took_seconds"),
        (format!(r#"{action},"step":"judged","judgement":"fine""#), "is not a judgement"),
        (format!(r#"{action},"step":"unknown","alertname":"A""#), "half an alert"),
        (format!(r#"{action},"step":"unknown","fingerprint":"1""#), "16 hex digits"),
        (r#""summary","hour":"yesterday""#.to_owned(), "is not a time stamp"),
        (
            r#""state","alerts":[],"silences":[{"id":"1","matchers":[],"starts_at":"2026-11-22T10:00:00.000Z","ends_at":"2026-11-22T10:00:00.000Z"}],"channels":{},"remedies":{}"#.to_owned(),
            "a silence has no at",
        ),
        (r#""recorded""#.to_owned(), "has no recorded"),
    ];
    for (body, reason) in cases {
        let refused = decode(&format!("{head}{body}")).unwrap_err();
        assert!(refused.contains(reason), "{body:.200}: {refused:.300}");
    }
}

/// A state that a later version knows is not one of ours; the rest of the hour is.
#[test]
fn an_unknown_state_of_an_hour_is_left_out() {
    let body = r#"{"seq":0,"ts":"2026-11-22T10:00:00.000Z","kind":"summary","hour":"2026-11-22T09:00:00.000Z","signs":{},"state_seconds":{"BLUE":7,"STABLE":3593}"#;
    let Record::Summary(summary) = decode(body).unwrap() else { panic!("a summary") };
    assert_eq!(summary.states, [(State::Stable, 3593)]);
}
