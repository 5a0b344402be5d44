//! What the page shows of alerts, silences and treatments.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{sync::Arc, time::Duration};

use farol_alert::{Route, Routing, dispatch::default_inhibitions};
use farol_model::{
    Action, ActionStep, Alert, Current, Judgement, Labels, Lane, Memory, Phase, Record, Silence,
    SilenceMatcher, Snapshot, Text, Timestamp, Transition, Turn, Verdict,
};
use farol_web::{About, Settings, Site, door::Opening, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The page of a machine that remembers this.
async fn page(memory: Memory) -> String {
    let routing = Routing {
        routes: vec![Route::new("team")],
        inhibitions: default_inhibitions(),
        quiet: Vec::new(),
    };
    let site = Site {
        live: Arc::new(Vec::new),
        texts: Arc::default(),
        history: Arc::new(|| None),
        reader: Arc::new(|| None),
        configuration: Arc::new(Vec::new),
        current: watch::channel(Arc::new(machine(farol_alert::verdict(&memory)))).1,
        memory: watch::channel(Arc::new(memory)).1,
        routing: watch::channel(Arc::new(routing)).1,
        rules: Arc::new(Default::default),
        ready: watch::channel(true).1,
        now: Arc::new(|| NOW),
        commands: mpsc::channel(1).0,
        door: watch::channel(Opening::default()).1,
        about: About { version: "1.2.3", command: "run", started: NOW, ..About::default() },
        settings: Arc::new(Settings::default()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(vec![listener], site, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn machine(verdict: Verdict) -> Current {
    let signs = [
        ("cpu_percent", 97.2),
        ("disk_percent", 96.4),
        ("load_1", 4.2),
        ("load_15", 1.2),
        ("load_5", 2.2),
        ("memory_percent", 51.0),
        ("memory_total_bytes", 2.5e9),
        ("memory_used_bytes", 1.3e9),
    ];
    let snapshot = Snapshot {
        at: NOW,
        interval: Duration::from_secs(1),
        lane: Lane::Fast,
        host: Text::from("pine"),
        state: verdict.state,
        summary: signs.map(|(name, value)| (Text::from(name), value)).into(),
        samples: Vec::new(),
        top: Vec::new(),
        outcomes: Vec::new(),
    };
    Current {
        host: Text::from("pine"),
        verdict,
        lanes: [Some(Arc::new(snapshot)), None],
        ..Current::default()
    }
}

fn minutes(minutes: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + minutes * 60_000)
}

fn alert(name: &str, severity: &str, summary: &str, phase: Phase, since: i64) -> Alert {
    let labels =
        [("alertname", name), ("instance", "pine"), ("job", "node"), ("severity", severity)];
    let annotations = [("summary", summary)];
    let at = minutes(since);
    Alert {
        group: "host".into(),
        rule: format!("{name} {severity}").into(),
        labels: Labels::from(labels),
        annotations: if summary.is_empty() { Labels::empty() } else { annotations.into() },
        series: Labels::from([("instance", "pine"), ("job", "node")]),
        value: 97.234_5,
        phase,
        active_at: at,
        fired_at: (phase == Phase::Firing).then_some(at),
        keeping_since: None,
        missing_since: None,
        unseen: 0,
        seen_at: NOW,
        ended_at: None,
        firings: Vec::new(),
        is_flapping: false,
        remedy: None,
    }
}

fn remember(memory: &mut Memory, alert: Alert) {
    memory.apply(&Record::Alert(Transition {
        at: NOW,
        host: "pine".into(),
        turn: if alert.phase == Phase::Firing { Turn::Firing } else { Turn::Pending },
        reason: None,
        alert: Arc::new(alert),
    }));
}

fn silence(memory: &mut Memory, id: &str, name: &str, from: i64, to: i64) {
    memory.apply(&Record::Silence(Silence {
        at: NOW,
        host: "pine".into(),
        id: id.into(),
        matchers: vec![SilenceMatcher {
            name: "alertname".into(),
            value: name.into(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: minutes(from),
        ends_at: minutes(to),
        created_by: "ana".into(),
        comment: "the disk is <b>exchanged</b>".into(),
    }));
}

fn act(memory: &mut Memory, id: &str, at: i64, step: ActionStep) {
    let episode = memory.alerts.values().find_map(|alert| alert.episode());
    memory.apply(&Record::Action(Action {
        at: minutes(at),
        host: "pine".into(),
        id: id.into(),
        remedy: Text::from(id),
        alert: episode.map(|episode| ("HostDiskFull".into(), episode)),
        step,
    }));
}

fn troubled() -> Memory {
    let mut memory = Memory::default();
    let firing =
        |name, severity, summary, since| alert(name, severity, summary, Phase::Firing, since);
    remember(&mut memory, firing("HostCpuBusy", "critical", "CPU 97 % busy on pine", -12));
    remember(&mut memory, firing("HostCpuBusy", "warning", "CPU 97 % busy on pine", -20));
    remember(&mut memory, firing("HostDiskFull", "warning", "/srv is 96 % full on pine", -3000));
    remember(&mut memory, alert("HostSwapStorm", "warning", "", Phase::Pending, -1));
    silence(&mut memory, "1", "HostDiskFull", -5, 90);
    silence(&mut memory, "2", "HostNetDown", 60, 1500);
    silence(&mut memory, "3", "HostGone", -60, -5);
    act(
        &mut memory,
        "cleanup_temp_files",
        -11,
        ActionStep::Rehearsed {
            summary: "would remove 12 files, 3.4 MiB".into(),
            output: "the output stays in the journal".into(),
        },
    );
    act(
        &mut memory,
        "restart_unit",
        -9,
        ActionStep::Judged { judgement: Judgement::Better, before: Some(97.0), after: Some(91.5) },
    );
    memory
}

#[tokio::test]
async fn each_alert_is_shown_with_what_keeps_it_from_being_told() {
    let page = page(troubled()).await;
    for part in [
        "<header class=\"critical\">\n<h1>CRITICAL: CPU 97 % busy on pine (HostCpuBusy, critical since 2027-01-15 07:48 UTC)</h1>",
        "<li>CPU 97 % busy on pine (HostCpuBusy, warning since 2027-01-15 07:40 UTC)</li>",
        "Alerts: 3 firing, 2 of them muted, 1 pending</h2>",
        "<th scope=\"row\">HostCpuBusy<small>CPU 97 % busy on pine</small></th><td><span class=\"word\">critical</span></td>",
        "<time datetime=\"2027-01-15T07:48:00Z\">12&nbsp;min<small>07:48&nbsp;UTC</small></time>",
        "<td class=\"number\">97.23</td>",
        "<small>muted by critical HostCpuBusy</small>",
        "<small>silenced until 09:30 UTC</small>",
        "HostSwapStorm<small>instance=pine job=node</small></th><td><span class=\"word\">warning</span><small>pending</small>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let place = |part: &str| page.find(part).unwrap_or_else(|| panic!("no {part} in {page}"));
    assert!(place("<tr class=\"critical\">") < place("muted by critical"), "told ones come first");
    assert!(place("muted by critical") < place("HostSwapStorm<small>"), "pending ones come last");
}

#[tokio::test]
async fn silences_and_treatments_are_shown_without_what_programs_put_out() {
    let page = page(troubled()).await;
    for part in [
        "<th scope=\"row\">alertname=&quot;HostDiskFull&quot;</th><td>ana<small>the disk is &lt;b&gt;exchanged&lt;/b&gt;</small></td>",
        "2027-01-16&nbsp;09:00&nbsp;UTC<small>not before 09:00 UTC</small>",
        "<th scope=\"row\">cleanup_temp_files<small>for HostDiskFull</small></th><td>dry run: would remove 12 files, 3.4 MiB</td>",
        "done; afterwards: better, 97 before, 91.5 after",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("HostGone"), "it is expired");
    assert!(!page.contains("the output stays"));
}

#[tokio::test]
async fn a_page_with_hundreds_of_alerts_stays_short_and_says_how_many_more_there_are() {
    let mut memory = Memory::default();
    for n in 0..200 {
        let name = format!("HostDiskFull{n:03}");
        remember(&mut memory, alert(&name, "warning", "a disk is full", Phase::Firing, -n));
        silence(&mut memory, &n.to_string(), &format!("HostNetDown{n}"), -5, 60 + n);
    }
    let page = page(memory).await;
    assert!(page.len() < 20 * 1024, "{} bytes", page.len());
    assert!(page.contains("Alerts: 200 firing</h2>"));
    assert!(page.contains("<p>and 180 more: <a href=\"/api/v1/alerts\">"));
    assert!(page.contains("<p>and 190 more: <a href=\"/api/v2/silences\">"));
    assert_eq!(page.matches("<li>").count(), 5, "so many reasons, and that there are more");
}

#[tokio::test]
async fn a_quiet_machine_has_no_headings_about_nothing() {
    let page = page(Memory::default()).await;
    assert!(page.contains("<h1>All fine</h1>"), "{page}");
    for heading in ["Alerts", "Silences", "treatments"] {
        assert!(!page.contains(heading), "{heading}");
    }
}
