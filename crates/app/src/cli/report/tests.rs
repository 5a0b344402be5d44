//! A day's events, and what the three forms make of them. `UPDATE=1` rewrites the expected files.

use std::{path::Path, sync::Arc, time::Duration};

use farol_disk::{Disk, MemoryDisk};
use farol_journal::{Journal, Settings};
use farol_model::{
    Action, ActionStep, Alert, Delivered, Delivery, Judgement, Labels, Memory, Phase, Record,
    SignSummary, State, Summary, Text, Timestamp, Transition, Turn,
};

use super::{
    form,
    gather::{Report, Span, gather},
};

/// 2026-11-22T10:00:00Z
const START: i64 = 1_795_341_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START + seconds) * 1000)
}

fn alert(name: &str, severity: &str, fired: i64, ended: Option<i64>) -> Alert {
    Alert {
        group: "host".into(),
        rule: name.into(),
        labels: Labels::from([("alertname", name), ("severity", severity)]),
        annotations: Labels::from([("summary", "a|b\nc")]),
        series: Labels::empty(),
        value: 92.5,
        phase: if ended.is_some() { Phase::Ended } else { Phase::Firing },
        active_at: at(fired - 60),
        fired_at: Some(at(fired)),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: at(fired),
        ended_at: ended.map(at),
        firings: vec![at(fired)],
        is_flapping: false,
        remedy: None,
    }
}

fn turn(seconds: i64, turn: Turn, alert: Alert) -> Record {
    let (at, host) = (at(seconds), "pi".into());
    Record::Alert(Transition { at, host, turn, reason: None, alert: Arc::new(alert) })
}

fn delivery(seconds: i64, alert: &Alert, outcome: Delivered) -> Record {
    Record::Delivery(Delivery {
        at: at(seconds),
        host: "pi".into(),
        channel: "team".into(),
        group: "{}:{}".into(),
        episodes: vec![(alert.episode().unwrap(), false)],
        attempts: 1,
        outcome,
    })
}

fn action(seconds: i64, id: &str, step: ActionStep) -> Record {
    let episode = alert("HostDiskFull", "critical", 3700, None).episode().unwrap();
    Record::Action(Action {
        at: at(seconds),
        host: "pi".into(),
        id: id.into(),
        remedy: "cleanup_temp_files".into(),
        alert: Some(("HostDiskFull".into(), episode)),
        step,
    })
}

fn summary(hour: i64, cpu: f64, states: Vec<(State, u32)>) -> Record {
    let sign =
        |mean: f64| SignSummary { mean, min: 0.0, max: mean * 2.0, p95: mean * 1.5, samples: 3600 };
    Record::Summary(Summary {
        at: at(hour * 3600 + 3660),
        host: "pi".into(),
        hour: at(hour * 3600),
        signs: vec![("cpu_percent".into(), sign(cpu)), ("disk_percent".into(), sign(44.25))],
        states,
    })
}

/// Six hours: two summed up, two missing, one summed up, and the running one.
fn events() -> Vec<Record> {
    let old = alert("OomKill", "warning", -7200, None);
    let over = alert("HostLoad", "warning", -9000, Some(-8000));
    let cpu = |ended| alert("HostCpuHigh", "warning", 600, ended);
    let disk = alert("HostDiskFull", "critical", 3700, None);
    let key = |alert: &Alert| (alert.key(), Arc::new(alert.clone()));
    let memory = Memory { at: at(-5), alerts: [key(&old), key(&over)].into(), ..Memory::default() };
    let text = Text::from_static;
    let finished = ActionStep::Finished {
        ok: true,
        summary: text("removed 12 files"),
        output: Text::EMPTY,
        took: Duration::from_secs(1),
    };
    let judged = ActionStep::Judged {
        judgement: Judgement::Recovered,
        before: Some(96.5),
        after: Some(71.0),
    };
    vec![
        Record::State(Arc::new(memory)),
        delivery(-3, &old, Delivered::Sent { message: None }),
        turn(600, Turn::Firing, cpu(None)),
        delivery(630, &cpu(None), Delivered::Sent { message: Some(text("m1")) }),
        turn(912, Turn::Resolved, cpu(Some(912))),
        summary(0, 12.5, vec![(State::Stable, 3288), (State::Warning, 312)]),
        turn(3700, Turn::Firing, disk.clone()),
        delivery(3730, &disk, Delivered::Later { until: at(3760), reason: text("429") }),
        action(4000, "one", ActionStep::Intended { what: text("remove old files") }),
        action(4001, "one", finished),
        action(4011, "one", judged),
        action(4100, "two", ActionStep::Refused { reason: text("in its cooldown") }),
        delivery(4200, &disk, Delivered::Dead { reason: text("given up after a day") }),
        summary(1, 50.0, vec![(State::Critical, 3500)]),
        summary(4, 3.0, vec![]),
        turn(20_000, Turn::Firing, alert("Later", "info", 20_000, None)),
    ]
}

fn report(records: &[Record]) -> Report {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let mut journal = Journal::open(Arc::clone(&disk), "/logs", Settings::default()).unwrap();
    for record in records {
        journal.append(record).unwrap();
    }
    let span = Span { since: at(0), until: at(5 * 3600 + 900), now: at(5 * 3600 + 900) };
    gather(&disk, Path::new("/logs"), span).unwrap()
}

fn check(name: &str, written: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name);
    #[expect(clippy::disallowed_methods, reason = "a test may rewrite what it expects")]
    let expected = {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, written).unwrap();
        }
        std::fs::read_to_string(&path).unwrap_or_default()
    };
    assert!(written == expected, "{name} is not as expected; it is now\n{written}");
}

#[test]
fn a_report_is_text_json_and_markdown() {
    let report = report(&events());
    check("day.txt", &form::text(&report));
    check("day.json", &form::json(&report));
    check("day.md", &form::markdown(&report));
}

#[test]
fn a_journal_that_says_nothing_is_a_report_of_nothing() {
    let report = report(&[]);
    check("empty.txt", &form::text(&report));
}
