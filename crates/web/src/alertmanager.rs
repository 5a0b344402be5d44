//! Alertmanager's API, version 2, as far as its clients (amtool, dashboards of alerts) read and silence.
//!
//! Alerts come from our own rules: nobody sends any here. Times, names and errors are Alertmanager's;
//! an error is one JSON string.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::{
        Response, StatusCode,
        header::{CONTENT_TYPE, HeaderValue},
    },
    response::IntoResponse,
};
use farol_alert::{
    Matcher, Mutes, Reasons, Route,
    dispatch::groups,
    matcher::all_match,
    silences::{Draft, SilenceError, Standing, standing},
};
use farol_model::{Alert, Labels, Phase, Silence, SilenceMatcher, Text, Timestamp, fingerprint};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::spawn_blocking, time::Instant};

use crate::{answer::Shared, api::Params, site::Command};

pub(crate) const ROOT: &str = "/api/v2";
pub(crate) const STATUS: &str = "/api/v2/status";
pub(crate) const RECEIVERS: &str = "/api/v2/receivers";
pub(crate) const ALERTS: &str = "/api/v2/alerts";
pub(crate) const GROUPS: &str = "/api/v2/alerts/groups";
pub(crate) const SILENCES: &str = "/api/v2/silences";
pub(crate) const SILENCE: &str = "/api/v2/silence/{id}";

/// For who asks a process that only reads.
pub const READ_ONLY: &str =
    "this process only reads; run `farol silence` beside the process that collects";

/// A client that has not heard of an alert for so long takes it for over.
const VALID_FOR: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// The name in the server's counts of a path of this API.
pub(crate) fn name_of(path: &str) -> Option<&'static str> {
    match path {
        STATUS => Some("alertmanager_status"),
        RECEIVERS => Some("alertmanager_receivers"),
        ALERTS => Some("alertmanager_alerts"),
        GROUPS => Some("alertmanager_groups"),
        SILENCES => Some("silences"),
        _ => {
            let id = path.strip_prefix(ROOT)?.strip_prefix("/silence/")?;
            (!id.contains('/')).then_some("silence")
        }
    }
}

/// What is answered with another status than 200.
pub(crate) struct Failure(StatusCode, String);

impl Failure {
    fn bad(why: impl Into<String>) -> Failure {
        Failure(StatusCode::BAD_REQUEST, why.into())
    }
}

impl From<SilenceError> for Failure {
    fn from(error: SilenceError) -> Failure {
        let status = match error {
            SilenceError::NotFound(_) => StatusCode::NOT_FOUND,
            SilenceError::Bad(_) => StatusCode::BAD_REQUEST,
            SilenceError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Failure(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let mut response = answer(&Value::from(self.1));
        *response.status_mut() = self.0;
        response
    }
}

fn answer(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let about = &shared.site.about;
    answer(&json!({
        "cluster": { "status": "disabled", "peers": [] },
        "config": { "original": "# this is Farol: who is told of what stands in farol.yml\n" },
        "uptime": rfc3339(about.started),
        "versionInfo": {
            "version": about.version,
            "revision": about.revision,
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
    }))
}

pub(crate) async fn receivers(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let routing = shared.site.routing.borrow().clone();
    let named = |route: &Route| json!({ "name": route.channel.as_str() });
    answer(&routing.routes.iter().map(named).collect())
}

pub(crate) async fn silences(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response<Body>, Failure> {
    let filters = filters(&params(query.as_deref())?)?;
    let memory = shared.site.memory.borrow().clone();
    let now = (shared.site.now)();
    Ok(answer(&listed(memory.silences.values(), &filters, now)))
}

/// The silences that have what the filters ask of their matchers: what is active first, what ends first
/// before the rest.
pub fn listed<'a>(
    silences: impl Iterator<Item = &'a Silence>,
    filters: &[Matcher],
    now: Timestamp,
) -> Value {
    let mut wanted: Vec<&Silence> = silences.filter(|held| is_wanted(held, filters)).collect();
    wanted.sort_by_key(|silence| match standing(silence, now) {
        Standing::Active => (0, silence.ends_at.as_millis()),
        Standing::Pending => (1, silence.starts_at.as_millis()),
        Standing::Expired => (2, -silence.ends_at.as_millis()),
    });
    wanted.into_iter().map(|silence| shown_silence(silence, now)).collect()
}

fn is_wanted(silence: &Silence, filters: &[Matcher]) -> bool {
    let pairs = silence.matchers.iter();
    let pairs = pairs.map(|matcher| (matcher.name.clone(), matcher.value.clone()));
    all_match(filters, &Labels::new(pairs.collect()))
}

pub(crate) async fn silence(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response<Body>, Failure> {
    let memory = shared.site.memory.borrow().clone();
    let silence = memory.silences.get(id.as_str());
    let silence = silence.ok_or_else(|| SilenceError::NotFound(id.into()))?;
    Ok(answer(&shown_silence(silence, (shared.site.now)())))
}

pub(crate) async fn post_silence(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let posted = serde_json::from_slice(&body).map_err(|error| error.to_string());
    let draft =
        posted.and_then(draft).map_err(|why| Failure::bad(format!("bad silence: {why}")))?;
    let (reply, answered) = oneshot::channel();
    shared.site.commands.send(Command::Silence { draft, reply }).await.map_err(|_| stopping())?;
    let id = answered.await.map_err(|_| stopping())??;
    Ok(answer(&json!({ "silenceID": id.as_str() })))
}

pub(crate) async fn expire_silence(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response<Body>, Failure> {
    let (reply, answered) = oneshot::channel();
    let command = Command::Expire { id: id.into(), reply };
    shared.site.commands.send(command).await.map_err(|_| stopping())?;
    answered.await.map_err(|_| stopping())??;
    Ok(Response::new(Body::empty()))
}

fn stopping() -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping".to_owned())
}

/// A silence as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<PostedMatcher>,
    #[serde(default)]
    starts_at: Option<String>,
    ends_at: String,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

const fn yes() -> bool {
    true
}

impl std::fmt::Debug for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a client that sent it asks for.
pub fn draft(posted: Posted) -> Result<Draft, String> {
    let matchers = posted.matchers.into_iter().map(|matcher| SilenceMatcher {
        name: matcher.name.into(),
        value: matcher.value.into(),
        is_regex: matcher.is_regex,
        is_equal: matcher.is_equal,
    });
    Ok(Draft {
        id: posted.id.filter(|id| !id.is_empty()).map(Text::from),
        matchers: matchers.collect(),
        starts_at: posted.starts_at.map(|text| time("startsAt", &text)).transpose()?,
        ends_at: time("endsAt", &posted.ends_at)?,
        created_by: posted.created_by.into(),
        comment: posted.comment.into(),
    })
}

fn time(name: &str, text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        format!("{name}: {shown:?} is not a time as 2026-11-25T22:00:00Z")
    })?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

/// A silence as clients are shown it.
pub fn shown_silence(silence: &Silence, now: Timestamp) -> Value {
    let matchers = silence.matchers.iter().map(|matcher| {
        json!({
            "name": matcher.name.as_str(),
            "value": matcher.value.as_str(),
            "isRegex": matcher.is_regex,
            "isEqual": matcher.is_equal,
        })
    });
    json!({
        "id": silence.id.as_str(),
        "status": { "state": standing(silence, now).name() },
        "updatedAt": rfc3339(silence.at),
        "comment": silence.comment.as_str(),
        "createdBy": silence.created_by.as_str(),
        "startsAt": rfc3339(silence.starts_at),
        "endsAt": rfc3339(silence.ends_at),
        "matchers": matchers.collect::<Value>(),
    })
}

pub(crate) async fn alerts(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response<Body>, Failure> {
    let wanted = Wanted::read(&params(query.as_deref())?)?;
    worked(&shared, move |shared| answer(&shown_alerts(shared, &wanted))).await
}

pub(crate) async fn alert_groups(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> Result<Response<Body>, Failure> {
    let wanted = Wanted::read(&params(query.as_deref())?)?;
    worked(&shared, move |shared| answer(&shown_groups(shared, &wanted))).await
}

/// There may be thousands of alerts: not on a thread of the network.
async fn worked(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Response<Body> + Send + 'static,
) -> Result<Response<Body>, Failure> {
    let busy = || Failure(StatusCode::SERVICE_UNAVAILABLE, "too much is asked at once".to_owned());
    let deadline = Instant::now() + shared.site.settings.request_timeout;
    let permit = shared.lookups.enter(deadline).await.map_err(|_| busy())?;
    let task = spawn_blocking({
        let shared = Arc::clone(shared);
        move || {
            let response = work(&shared);
            drop(permit);
            response
        }
    });
    task.await.map_err(|_| {
        let why = "the answer ended in an error of Farol's own".to_owned();
        Failure(StatusCode::INTERNAL_SERVER_ERROR, why)
    })
}

/// Which alerts are asked for.
struct Wanted {
    filters: Vec<Matcher>,
    receiver: Option<Matcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn read(params: &Params) -> Result<Wanted, Failure> {
        let flag = |name: &str| match params.get(name) {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Failure::bad(format!("{name} must be true or false"))),
        };
        let receiver = params.get("receiver").map(|pattern| {
            let (name, value) = (Text::from_static("receiver"), pattern.into());
            Matcher::new(SilenceMatcher { name, value, is_regex: true, is_equal: true })
        });
        Ok(Wanted {
            filters: filters(params)?,
            receiver: receiver.transpose().map_err(Failure::bad)?,
            active: flag("active")?,
            silenced: flag("silenced")?,
            inhibited: flag("inhibited")?,
            muted: flag("muted")?,
        })
    }

    fn wants(&self, alert: &Alert, reasons: &Reasons, receivers: &[&str]) -> bool {
        let is_received = |receiver: &Matcher| {
            let of = |name: &&str| receiver.is_match(&Labels::from([("receiver", *name)]));
            receivers.iter().any(of)
        };
        alert.phase == Phase::Firing
            && all_match(&self.filters, &alert.labels)
            && self.receiver.as_ref().is_none_or(is_received)
            && (self.active || reasons.is_muted())
            && (self.silenced || reasons.silences.is_empty())
            && (self.inhibited || reasons.inhibitors.is_empty())
            && (self.muted || reasons.quiet.is_empty())
    }
}

fn shown_alerts(shared: &Shared, wanted: &Wanted) -> Value {
    let memory = shared.site.memory.borrow().clone();
    let routing = shared.site.routing.borrow().clone();
    let now = (shared.site.now)();
    let mutes = Mutes::new(&memory, &routing, now);
    let shown = memory.alerts.values().filter_map(|alert| {
        let reasons = mutes.reasons(alert);
        let receivers: Vec<&str> = routing
            .routes
            .iter()
            .filter(|route| all_match(&route.matchers, &alert.labels))
            .map(|route| route.channel.as_str())
            .collect();
        wanted
            .wants(alert, &reasons, &receivers)
            .then(|| shown_alert(alert, &reasons, &receivers, now))
    });
    shown.collect()
}

fn shown_groups(shared: &Shared, wanted: &Wanted) -> Value {
    let memory = shared.site.memory.borrow().clone();
    let routing = shared.site.routing.borrow().clone();
    let now = (shared.site.now)();
    let mutes = Mutes::new(&memory, &routing, now);
    let mut shown = Vec::new();
    for route in &routing.routes {
        let receivers = [route.channel.as_str()];
        for (_, labels, alerts) in groups(&memory, route) {
            let alerts = alerts.iter().filter_map(|alert| {
                let reasons = mutes.reasons(alert);
                let is_wanted = wanted.wants(alert, &reasons, &receivers);
                is_wanted.then(|| shown_alert(alert, &reasons, &receivers, now))
            });
            let alerts: Vec<Value> = alerts.collect();
            if !alerts.is_empty() {
                let receiver = json!({ "name": receivers[0] });
                let labels = shown_labels(&labels);
                shown.push(json!({ "labels": labels, "receiver": receiver, "alerts": alerts }));
            }
        }
    }
    shown.into()
}

fn shown_alert(alert: &Alert, reasons: &Reasons, receivers: &[&str], now: Timestamp) -> Value {
    let state = if reasons.is_muted() { "suppressed" } else { "active" };
    let texts =
        |texts: &[Text]| -> Value { texts.iter().map(|text| Value::from(text.as_str())).collect() };
    let inhibitors = reasons.inhibitors.iter().map(|by| Value::from(format!("{by:016x}")));
    json!({
        "labels": shown_labels(&alert.labels),
        "annotations": shown_labels(&alert.annotations),
        "startsAt": rfc3339(alert.fired_at.unwrap_or(alert.active_at)),
        "endsAt": rfc3339(now.plus(VALID_FOR)),
        "updatedAt": rfc3339(alert.seen_at),
        "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
        "receivers": receivers.iter().map(|name| json!({ "name": name })).collect::<Value>(),
        "status": {
            "state": state,
            "silencedBy": texts(&reasons.silences),
            "inhibitedBy": inhibitors.collect::<Value>(),
            "mutedBy": texts(&reasons.quiet),
        },
    })
}

fn shown_labels(labels: &Labels) -> Value {
    let pairs: BTreeMap<&str, &str> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    json!(pairs)
}

fn params(query: Option<&str>) -> Result<Params, Failure> {
    Params::read(query, &[]).map_err(|error| Failure::bad(error.text))
}

fn filters(params: &Params) -> Result<Vec<Matcher>, Failure> {
    params.all("filter").map(|filter| Matcher::read(filter).map_err(Failure::bad)).collect()
}

fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => String::new(),
    }
}
