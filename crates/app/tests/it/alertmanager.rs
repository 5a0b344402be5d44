//! Beside Debian's Alertmanager: it takes our alerts and keeps them as long as they fire, and what it
//! tells a webhook and what we tell one can be read by the same program.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    hook::Hook,
    machine::Machine,
    world::{Farol, eventually, get, needs, value_of, write},
};

/// Keys of ours that this Alertmanager's body has not: newer ones have both.
const NEWER: [&str; 2] = ["routeLabels", "notification_reason"];

/// And one of an alert's status at `/api/v2/alerts`.
const NEWER_STATUS: &str = "mutedBy";
/// There, its API may leave this out, and we do: it would link to Farol, which is asked already.
const OPTIONAL: &str = "generatorURL";

/// Debian's, ended with the test.
struct Alertmanager {
    child: Child,
    address: String,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Alertmanager {
    fn start(machine: &Machine, webhook: &str) -> Alertmanager {
        let config = machine.path("alertmanager.yml");
        // Its resolve timeout would end an alert that names no end of its own after a second.
        let text = format!(
            "global: {{resolve_timeout: 1s}}
route: {{receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: '{webhook}'}}]}}]
"
        );
        write(&config, &text);
        let mut child = Command::new(needs("prometheus-alertmanager"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", machine.path("alertmanager").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("msg=\"Listening on\" address=")?;
            Some(address.to_owned())
        });
        // Nobody reads the rest, but a full pipe must not hold the program up.
        std::thread::spawn(move || lines.for_each(drop));
        Alertmanager { child, address: address.unwrap() }
    }

    /// How often it was told that something fires, each alert for itself.
    fn told_firing(&self) -> f64 {
        let metrics = get(&self.address, "/metrics", &[]).text();
        value_of(&metrics, "alertmanager_alerts_received_total{status=\"firing\",version=\"v2\"}")
            .unwrap_or_default()
    }
}

/// What a process shows of its active alerts, by the part that is broken.
fn shown(address: &str) -> BTreeMap<String, Value> {
    let text = get(address, "/api/v2/alerts", &[]).text();
    let alerts: Vec<Value> = serde_json::from_str(&text).unwrap();
    alerts.into_iter().map(|alert| (part(&alert), alert)).collect()
}

fn part(alert: &Value) -> String {
    alert["labels"]["part"].as_str().unwrap().to_owned()
}

#[test]
fn debians_alertmanager_keeps_our_alerts_and_tells_webhooks_what_we_tell_them() {
    let machine = Machine::new();
    let hook = Hook::start();
    let alertmanager = Alertmanager::start(&machine, &hook.url("/alertmanager"));
    machine.configure(&format!(
        "  - name: hook
    webhook: {{url: '{}'}}
    group_wait: 1s
    group_interval: 1s
  - name: am
    alertmanager: {{urls: ['http://{}'], resend_delay: 2s}}
",
        hook.url("/farol"),
        alertmanager.address,
    ));
    let farol = machine.start(&[]);

    machine.broken(&["a"]);
    eventually("it shows the alert", || shown(&alertmanager.address).len() == 1);
    compare_bodies(&hook, &["firing"]);
    machine.broken(&[]);
    eventually("it is over", || shown(&alertmanager.address).is_empty());
    compare_bodies(&hook, &["resolved"]);

    // One of them fires again, which its earlier end must not end.
    machine.broken(&["a", "b"]);
    eventually("it shows both alerts", || shown(&alertmanager.address).len() == 2);
    let (over, before) = (resolved(&hook), alertmanager.told_firing());
    compare_bodies(&hook, &["firing", "firing"]);
    compare_alerts(&farol, &alertmanager);

    // Each time it is told that an alert ends after four delays, which is eight seconds. The sixth time
    // is ten seconds after the first.
    eventually("both are told six times more", || alertmanager.told_firing() >= before + 12.0);
    assert_eq!(shown(&alertmanager.address).len(), 2, "both are active still");
    assert_eq!(resolved(&hook), over, "and never seemed to be over");

    machine.broken(&["b"]);
    eventually("one is over", || shown(&alertmanager.address).len() == 1);
    compare_bodies(&hook, &["firing", "resolved"]);
    machine.broken(&[]);
    eventually("both are over", || shown(&alertmanager.address).is_empty());
    eventually("the webhook hears it from Alertmanager", || resolved(&hook) > over);

    compare_figures(&farol, &hook, &alertmanager);
    assert_eq!(farol.stop(), Some(0));
}

/// How often Alertmanager said that something is over, and no more of it fires.
fn resolved(hook: &Hook) -> usize {
    hook.told("/alertmanager").iter().filter(|body| body["status"] == "resolved").count()
}

/// Waits for the body of each that tells of the same alerts in these states, and compares the two.
fn compare_bodies(hook: &Hook, states: &[&str]) {
    let facts = |body: &Value| {
        let alerts = body["alerts"].as_array().unwrap().iter();
        let facts =
            alerts.map(|alert| [&alert["status"], &alert["startsAt"]].map(Value::to_string));
        facts.collect::<BTreeSet<_>>()
    };
    let has_states = |body: &Value| {
        let alerts = body["alerts"].as_array().unwrap().iter();
        let mut told: Vec<&str> = alerts.map(|alert| alert["status"].as_str().unwrap()).collect();
        told.sort_unstable();
        told == states
    };
    let mut found = None;
    eventually(&format!("both tell of {states:?}"), || {
        let theirs = hook.told("/alertmanager");
        let same = |ours: &Value| {
            let mut theirs = theirs.iter();
            theirs.find(|theirs| has_states(theirs) && facts(theirs) == facts(ours)).cloned()
        };
        let ours = hook.told("/farol").into_iter().filter(has_states);
        found = ours.filter_map(|ours| same(&ours).map(|theirs| (ours, theirs))).next();
        found.is_some()
    });
    let (mut ours, mut theirs) = found.unwrap();
    let newer: Vec<&str> = NEWER.into_iter().filter(|key| theirs.get(key).is_none()).collect();
    for key in newer {
        let removed = ours.as_object_mut().unwrap().remove(key);
        let expected = if key == "routeLabels" { "an object" } else { "a string" };
        assert_eq!(kind(&removed.unwrap()), expected, "{key}");
    }
    assert_eq!(shape(&ours), shape(&theirs), "{states:?}");

    // Beyond the shape, the same alerts are the same text, but for where each program is found.
    assert_eq!(ours["externalURL"], "http://farol.example");
    for body in [&mut ours, &mut theirs] {
        body["externalURL"].take();
        body["alerts"].as_array_mut().unwrap().sort_by_key(part);
    }
    assert_eq!(ours, theirs, "{states:?}");
}

/// The two show an alert in the same way, too.
fn compare_alerts(farol: &Farol, alertmanager: &Alertmanager) {
    let (ours, theirs) = (shown(&farol.address), shown(&alertmanager.address));
    assert_eq!(theirs["a"]["labels"]["severity"], "critical");
    assert_eq!(theirs["a"]["annotations"]["summary"], "Part a is broken");
    assert_eq!(theirs["a"]["generatorURL"], "http://farol.example/alerts");
    assert_eq!(theirs["a"]["status"]["state"], "active");
    for (part, mut theirs) in theirs {
        theirs.as_object_mut().unwrap().remove(OPTIONAL);
        let mut ours = ours[&part].clone();
        if theirs["status"].get(NEWER_STATUS).is_none() {
            assert_eq!(
                ours["status"].as_object_mut().unwrap().remove(NEWER_STATUS),
                Some(json!([]))
            );
        }
        for key in ["labels", "annotations", "startsAt", "fingerprint", "status"] {
            assert_eq!(ours[key], theirs[key], "{key} of {part}");
        }
        assert_eq!(shape(&ours), shape(&theirs), "{part}");
    }
}

/// What Farol says it has told is what has come.
fn compare_figures(farol: &Farol, hook: &Hook, alertmanager: &Alertmanager) {
    let figure = |name: &str, labels: &str| {
        value_of(&farol.get("/metrics").text(), &format!("farol_{name}{{{labels}}}"))
    };
    let messages = hook.told("/farol").len() as f64;
    let sent = "channel=\"hook\",outcome=\"sent\"";
    eventually("the messages are counted", || {
        figure("notifications_total", sent) == Some(messages)
    });
    let requests = figure("notifications_total", "channel=\"am\",outcome=\"sent\"").unwrap();
    assert!(requests >= alertmanager.told_firing() / 2.0, "{requests} requests of two alerts");
    for channel in ["hook", "am"] {
        let labels = format!("channel=\"{channel}\"");
        for outcome in ["retried", "throttled"] {
            let labels = format!("{labels},outcome=\"{outcome}\"");
            assert_eq!(figure("notifications_total", &labels), Some(0.0), "{labels}");
        }
        assert_eq!(figure("notifications_dead_total", &labels), Some(0.0), "{labels}");
        assert_eq!(figure("notifications_disabled", &labels), Some(0.0), "{labels}");
    }
    assert_eq!(figure("notifications_queued", "channel=\"hook\""), Some(0.0));
    let latency = figure("notification_latency_seconds", "channel=\"hook\"");
    assert!(latency.is_some_and(|latency| latency > 0.0), "{latency:?}");
}

/// Keys and kinds of values, without the values. A list is what its items are, each once.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(pairs) => {
            pairs.iter().map(|(key, value)| (key.clone(), shape(value))).collect()
        }
        Value::Array(items) => {
            let mut shapes: Vec<Value> = items.iter().map(shape).collect();
            shapes.sort_by_key(Value::to_string);
            shapes.dedup();
            json!(shapes)
        }
        _ => kind(value).into(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
