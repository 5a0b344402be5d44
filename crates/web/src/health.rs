//! `/health`: how the machine and its watcher are, as one JSON object.
//!
//! 200 only when the data is there, is young and is being written down. Values of a stale lane are
//! not shown: what is not known now is missing, never old.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{
        Response, StatusCode,
        header::{CONTENT_TYPE, HeaderValue},
    },
    response::IntoResponse,
};
use farol_alert::Tally;
use farol_collect::summary;
use farol_model::{
    Collected, Current, Lane, Outcome, Snapshot, State as Judged, Text, Timestamp, TopProcess,
    without_mark,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{History, Site, answer::Shared, guard::Refusal, trouble::Trouble};

pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let health = Health::now(&shared.site);
    let Ok(mut body) = serde_json::to_vec(&health) else {
        let reason = "the answer cannot be put into JSON";
        return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason).into_response();
    };
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = health.status.code();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The same object for whoever asks by another way than HTTP, with the firing alerts, the silences in
/// force and the largest processes: what runs here, and as whom, is not for everyone who may ask how the
/// machine is.
pub fn report(site: &Site) -> serde_json::Result<serde_json::Value> {
    let health = Health::now(site);
    let mut report = serde_json::to_value(&health)?;
    let (firing, silences) = health.trouble.report();
    report["alerts"]["list"] = firing;
    report["silences"] = silences;
    report["top"] = health.top.iter().map(process_row).collect();
    Ok(report)
}

/// With the keys of the journal's row; what is not known is left out.
fn process_row(process: &TopProcess) -> serde_json::Value {
    let text = |text: &Option<Text>| text.as_ref().map(|text| serde_json::Value::from(&**text));
    let members = [
        ("pid", Some(process.pid.into())),
        ("name", Some(process.name.as_str().into())),
        ("user", text(&process.user)),
        ("unit", text(&process.unit)),
        ("container", text(&process.container)),
        ("command", text(&process.command)),
        ("cpu_ratio", process.cpu_ratio.map(Into::into)),
        ("resident_bytes", Some(process.resident_bytes.into())),
        ("read_bytes_per_second", process.read_bytes_per_second.map(Into::into)),
        ("written_bytes_per_second", process.written_bytes_per_second.map(Into::into)),
    ];
    let known = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    serde_json::Value::Object(known.collect())
}

/// The object's members, in their order.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) status: Status,
    /// Why the status is not `ok`.
    pub(crate) problems: Vec<String>,
    /// What is wrong without making the data any worse.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    pub(crate) state: &'static str,
    /// Why the state is what it is.
    pub(crate) reasons: Vec<String>,
    pub(crate) alerts: Alerts,
    #[serde(serialize_with = "text")]
    pub(crate) host: Text,
    pub(crate) version: &'static str,
    pub(crate) command: &'static str,
    /// Of the newest snapshot.
    pub(crate) age_seconds: Option<f64>,
    pub(crate) at: Option<String>,
    pub(crate) metrics: Metrics,
    pub(crate) process: Option<Process>,
    pub(crate) lanes: Lanes,
    pub(crate) collectors: Vec<Collector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Store>,
    /// Not part of the object: see [`report`].
    #[serde(skip)]
    pub(crate) top: Vec<TopProcess>,
    /// As `top`.
    #[serde(skip)]
    pub(crate) trouble: Trouble,
}

/// How many there are. What is silenced, inhibited or falls into quiet hours fires as well.
#[derive(Debug, Serialize)]
pub(crate) struct Alerts {
    pending: u64,
    firing: u64,
    silenced: u64,
    inhibited: u64,
    quiet: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Ok,
    /// Nothing to show yet.
    Starting,
    /// Nothing new comes.
    Stale,
    /// Something new comes, but not all of it, or it is not written down.
    Degraded,
}

/// The vital signs by short name.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) Vec<(Text, f64)>);

/// Of this process, live.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    pub(crate) cpu_seconds_total: f64,
    #[serde(serialize_with = "number")]
    pub(crate) resident_memory_bytes: f64,
    #[serde(serialize_with = "number")]
    pub(crate) threads: f64,
    pub(crate) uptime_seconds: f64,
    pub(crate) open_fds: Option<Number>,
}

#[derive(Debug)]
pub(crate) struct Lanes(Vec<(&'static str, LaneAge)>);

#[derive(Debug, Serialize)]
pub(crate) struct LaneAge {
    age_seconds: f64,
    interval_seconds: f64,
}

/// What is kept of the past.
#[derive(Debug, Serialize)]
pub(crate) struct Store {
    series: u64,
    blocks: u64,
    bytes: u64,
    max_bytes: u64,
    /// When the oldest sample was taken.
    oldest: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Collector {
    #[serde(serialize_with = "text")]
    pub(crate) name: Text,
    pub(crate) lane: &'static str,
    pub(crate) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<f64>,
    pub(crate) result: &'static str,
    pub(crate) reasons: Vec<String>,
    /// Whether what it reads is the host's; missing where that makes no difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_view: Option<bool>,
}

/// Notifiers that nobody hears.
fn disabled(site: &Site) -> Vec<String> {
    let (memory, routing) = (site.memory.borrow(), site.routing.borrow());
    let channels = routing.routes.iter().filter_map(|route| {
        let reason = memory.channels.get(&route.channel)?.disabled.as_deref()?;
        let (name, reason) = (&*route.channel, without_mark(reason));
        Some(format!("the notifier {name} is off until its settings change: {reason}"))
    });
    channels.collect()
}

impl Health {
    pub(crate) fn now(site: &Site) -> Health {
        let now = (site.now)();
        let current = Arc::clone(&site.current.borrow());
        let (status, problems) = match site.about.without_collectors {
            true => (Status::Ok, Vec::new()),
            false => status(&current, waiting_for(site), now),
        };
        let (state, reasons) = match site.about.without_collectors {
            true => (Judged::Unknown, vec![NO_COLLECTORS.to_owned()]),
            false => judgement(&current, status, &problems),
        };
        let history = (site.history)();
        let faults = site.door.borrow().fault.iter().map(ToString::to_string).collect::<Vec<_>>();
        let newest = current.newest(now);
        let trouble = Trouble::now(site, now);
        Health {
            status,
            problems,
            warnings: faults
                .into_iter()
                .chain(history.iter().flat_map(no_history))
                .chain(disabled(site))
                .collect(),
            state: state.name(),
            reasons,
            alerts: counts(&trouble),
            host: current.host.clone(),
            version: site.about.version,
            command: site.about.command,
            age_seconds: newest.map(|snapshot| to_milliseconds(now.since(snapshot.at))),
            at: newest.map(|snapshot| rfc3339(snapshot.at)),
            metrics: Metrics(vital_signs(&current, now)),
            process: process(now),
            lanes: lanes(&current, now),
            collectors: collectors(&current, now),
            store: history.map(store),
            top: current.fresh(now).flat_map(|snapshot| snapshot.top.iter().cloned()).collect(),
            trouble,
        }
    }
}

impl Status {
    pub(crate) const fn code(self) -> StatusCode {
        match self {
            Status::Ok => StatusCode::OK,
            Status::Starting | Status::Stale | Status::Degraded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

const NO_COLLECTORS: &str = "no collectors run (as configured)";

fn no_history(history: &History) -> Option<String> {
    history.fault.as_ref().map(|fault| format!("history is not being stored: {fault}"))
}

fn counts(trouble: &Trouble) -> Alerts {
    let Tally { pending, firing, silenced, inhibited, quiet, silences: _ } = trouble.tally;
    Alerts { pending, firing, silenced, inhibited, quiet }
}

fn store(history: History) -> Store {
    let History { series, blocks, bytes, max_bytes, oldest, fault: _ } = history;
    Store { series, blocks, bytes, max_bytes, oldest: oldest.map(rfc3339) }
}

/// What is missing while there is no data.
pub(crate) fn waiting_for(site: &Site) -> &'static str {
    // Only who serves another process's journal may not change anything.
    match site.settings.read_only.is_some() {
        true => {
            "no data in the journal yet; does a process collect, into the same folder for logs?"
        }
        false => "nothing was collected yet",
    }
}

fn status(current: &Current, waiting_for: &str, now: Timestamp) -> (Status, Vec<String>) {
    let Some(newest) = current.newest(now) else {
        return (Status::Starting, vec![waiting_for.to_owned()]);
    };
    let degraded = current.writer.degraded.as_ref().map(ToString::to_string);
    if newest.is_stale(now) {
        let problems = std::iter::once(late("the newest data", newest, now)).chain(degraded);
        return (Status::Stale, problems.collect());
    }
    let stale = current.lanes.iter().flatten().filter(|snapshot| snapshot.is_stale(now));
    let late_lanes = stale.map(|s| late(&format!("the {} lane's data", s.lane.name()), s, now));
    let problems: Vec<String> = degraded.into_iter().chain(late_lanes).collect();
    (if problems.is_empty() { Status::Ok } else { Status::Degraded }, problems)
}

fn late(what: &str, snapshot: &Snapshot, now: Timestamp) -> String {
    let ahead = snapshot.at.since(now).as_secs();
    if ahead > 0 {
        return format!("{what} is dated {ahead} s ahead; the clock was set back");
    }
    let age = now.since(snapshot.at).as_secs();
    let interval = snapshot.interval.as_secs_f64();
    format!("{what} is {age} s old; it should come every {interval} s")
}

/// A judgement of data that is not current is none.
fn judgement(current: &Current, status: Status, problems: &[String]) -> (Judged, Vec<String>) {
    match status {
        Status::Starting | Status::Stale => (Judged::Unknown, problems.to_vec()),
        Status::Ok | Status::Degraded => {
            let reasons = current.verdict.reasons.iter().map(ToString::to_string).collect();
            (current.verdict.state, reasons)
        }
    }
}

/// The newest fresh snapshot carries all lanes' latest; those of a lane that is not fresh go.
fn vital_signs(current: &Current, now: Timestamp) -> Vec<(Text, f64)> {
    let Some(newest) = current.fresh(now).max_by_key(|snapshot| snapshot.at) else {
        return Vec::new();
    };
    let is_fresh = |lane: Lane| current.fresh(now).any(|snapshot| snapshot.lane == lane);
    let signs = newest.summary.iter();
    signs.filter(|(name, _)| lane_of(name).is_none_or(is_fresh)).cloned().collect()
}

fn lane_of(short_name: &str) -> Option<Lane> {
    summary::ROWS.iter().find(|row| row.short_name() == short_name).map(|row| row.lane)
}

fn process(now: Timestamp) -> Option<Process> {
    let figures = farol_collect::process::read(now).ok()?;
    Some(Process {
        cpu_seconds_total: figures.cpu_seconds,
        resident_memory_bytes: figures.resident_bytes,
        threads: figures.threads,
        uptime_seconds: figures.uptime_seconds,
        open_fds: figures.open_fds.map(Number),
    })
}

fn lanes(current: &Current, now: Timestamp) -> Lanes {
    let age = |snapshot: &Arc<Snapshot>| LaneAge {
        age_seconds: to_milliseconds(now.since(snapshot.at)),
        interval_seconds: to_milliseconds(snapshot.interval),
    };
    Lanes(current.lanes.iter().flatten().map(|s| (s.lane.name(), age(s))).collect())
}

const SUCCESS: &str = "node_scrape_collector_success";
const DURATION: &str = "node_scrape_collector_duration_seconds";
const HOST_VIEW: &str = "farol_host_view";

/// From the samples, which both a writer and a reader of its journal have, and the outcomes, of
/// which a journal keeps only those that are not complete.
fn collectors(current: &Current, now: Timestamp) -> Vec<Collector> {
    let mut collectors: Vec<Collector> =
        current.fresh(now).flat_map(|snapshot| collectors_of(snapshot)).collect();
    collectors.sort_by(|a, b| a.name.cmp(&b.name));
    collectors
}

fn collectors_of(snapshot: &Snapshot) -> Vec<Collector> {
    let outcomes: HashMap<&str, &Outcome> =
        snapshot.outcomes.iter().map(|outcome| (outcome.collector.as_str(), outcome)).collect();
    let durations: HashMap<&str, f64> = by_collector(snapshot, DURATION).collect();
    let views: HashMap<&str, f64> = by_collector(snapshot, HOST_VIEW).collect();
    let known = by_collector(snapshot, SUCCESS).map(|(name, value)| {
        let result = outcomes.get(name).map(|outcome| &outcome.result);
        let success = value == 1.0;
        Collector {
            name: Text::from(name),
            lane: snapshot.lane.name(),
            success,
            duration_seconds: durations.get(name).copied(),
            result: result.map_or(if success { "complete" } else { "failed" }, Collected::word),
            reasons: result.map(|result| result.reasons().to_vec()).unwrap_or_default(),
            host_view: views.get(name).map(|view| *view == 1.0),
        }
    });
    known.collect()
}

fn by_collector<'a>(
    snapshot: &'a Snapshot,
    metric: &'static str,
) -> impl Iterator<Item = (&'a str, f64)> {
    let samples = snapshot.samples.iter().filter(move |sample| sample.name == metric);
    samples.filter_map(|sample| Some((sample.labels.get("collector")?, sample.value)))
}

fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => at.as_millis().to_string(),
    }
}

fn text<S: Serializer>(text: &Text, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name.as_str(), &Number(rounded(*value)))?;
        }
        map.end()
    }
}

impl Serialize for Lanes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, age)| (name, age)))
    }
}

/// In seconds. `as_secs_f64` adds two numbers, and writes 1.555 as 1.5550000000000002.
fn to_milliseconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// As the journal keeps them, so that a writer and a reader of its journal say the same.
fn rounded(vital_sign: f64) -> f64 {
    (vital_sign * 100.0).round() / 100.0
}

fn number<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Number(*number).serialize(serializer)
}

/// Without a point when there is nothing behind it, as in the journal.
#[derive(Debug)]
pub(crate) struct Number(f64);

impl Serialize for Number {
    #[expect(clippy::cast_possible_truncation, reason = "integers below 1e15 fit an i64 exactly")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.trunc() == self.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
