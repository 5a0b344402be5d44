//! Prometheus' HTTP API, for Grafana, promtool and everything else that speaks it.
//!
//! An endpoint is a row in [`ENDPOINTS`] and a plain function from what was [`Asked`] to a body.
//! What takes work is done on the blocking pool behind a [`Gate`]: so many at once, so many waiting,
//! each with a deadline. When that passes, or the client goes away, the work is told to stop.

use std::{cell::Cell, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, Method, Response, StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue,
            ORIGIN, VARY,
        },
        request::Parts,
    },
};
use farol_model::Timestamp;
use farol_query::Stop;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    answer::Shared,
    body::whole,
    counts::{Ended, Unanswered},
    gzip::Packer,
    negotiate,
    site::Site,
};

mod error;
mod gate;
mod json;
mod metadata;
mod params;
mod query;
mod rules;
mod series;
mod status;
mod syntax;
pub(crate) mod write;

pub use json::{Cost, data_of};

pub(crate) use gate::Gate;
pub(crate) use params::Params;

use error::{ApiError, Kind};
use gate::{Ticket, Turned};

pub(crate) const ROOT: &str = "/api/v1";

/// One endpoint.
struct Endpoint {
    /// Below [`ROOT`]; `*` stands for one part of the path.
    path: &'static str,
    /// In the server's counts.
    name: &'static str,
    /// Whether its parameters may also come in a body. That changes nothing all the same.
    takes_post: bool,
    work: Work,
    answer: fn(&Asked<'_>) -> Result<Vec<u8>, ApiError>,
}

/// What an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Nothing worth a thread.
    None,
    /// Going through the store's index, or an expression's text.
    Lookup,
    /// Reading and computing.
    Question,
}

const fn asking(
    path: &'static str,
    name: &'static str,
    takes_post: bool,
    work: Work,
    answer: fn(&Asked<'_>) -> Result<Vec<u8>, ApiError>,
) -> Endpoint {
    Endpoint { path, name, takes_post, work, answer }
}

const ENDPOINTS: &[Endpoint] = &[
    asking("query", "query", true, Work::Question, query::query),
    asking("query_range", "query_range", true, Work::Question, query::query_range),
    asking("query_exemplars", "query_exemplars", true, Work::Lookup, query::query_exemplars),
    asking("format_query", "format_query", true, Work::Lookup, syntax::format_query),
    asking("parse_query", "parse_query", true, Work::Lookup, syntax::parse_query),
    asking("labels", "labels", true, Work::Lookup, series::labels),
    asking("label/*/values", "label_values", false, Work::Lookup, series::label_values),
    asking("series", "series", true, Work::Lookup, series::series),
    asking("metadata", "metadata", false, Work::Lookup, metadata::metadata),
    asking("rules", "rules", false, Work::None, rules::rules),
    asking("alerts", "alerts", false, Work::None, rules::alerts),
    asking("targets", "targets", false, Work::None, status::targets),
    asking("status/buildinfo", "buildinfo", false, Work::None, status::buildinfo),
    asking("status/runtimeinfo", "runtimeinfo", false, Work::None, status::runtimeinfo),
    asking("status/flags", "flags", false, Work::None, status::flags),
    asking("status/config", "config", false, Work::None, status::config),
    asking("status/tsdb", "tsdb", false, Work::Lookup, status::tsdb),
];

/// What is answered: everything an endpoint's function goes by.
struct Asked<'a> {
    site: &'a Site,
    params: &'a Params,
    /// What stands for `*` in the path, as it came.
    segment: &'a str,
    now: Timestamp,
    /// How long it had to wait for its turn.
    waited: Duration,
    ticket: &'a Ticket,
    noted: Cell<Noted>,
}

/// What a question has read.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    series: u64,
    samples: u64,
}

impl Asked<'_> {
    fn reader(&self) -> Result<farol_store::Reader, ApiError> {
        (self.site.reader)().ok_or_else(|| {
            let fault = (self.site.history)().and_then(|history| history.fault);
            let why = fault.unwrap_or_else(|| "it is being read from the journal".to_owned());
            ApiError::new(Kind::Unavailable, format!("the store is not there yet: {why}"))
        })
    }

    fn note(&self, noted: Noted) {
        self.noted.set(noted);
    }
}

/// The name in the server's counts of a path of this API.
pub(crate) fn name_of(path: &str) -> Option<&'static str> {
    let (endpoint, _) = find(below_root(path)?)?;
    Some(endpoint.name)
}

/// Whether a request only asks, whatever its method says.
pub(crate) fn only_asks(method: &Method, path: &str) -> bool {
    let found = below_root(path).and_then(find);
    found.is_some_and(|(endpoint, _)| endpoint.takes_post && method == Method::POST)
}

/// Whether a request sets its own deadline, and bounds its own body.
pub(crate) fn is_ours(path: &str) -> bool {
    below_root(path).is_some_and(|rest| find(rest).is_some())
}

/// Whether the pages of this origin may read what is answered here.
pub(crate) fn allows(site: &Site, headers: &HeaderMap) -> bool {
    let (Some(allowed), Some(origin)) = (&site.settings.allowed_origin, headers.get(ORIGIN)) else {
        return false;
    };
    allowed == "*" || origin.as_bytes() == allowed.as_bytes()
}

fn below_root(path: &str) -> Option<&str> {
    path.strip_prefix(ROOT)?.strip_prefix('/')
}

/// The endpoint, and what stands for `*`.
fn find(path: &str) -> Option<(&'static Endpoint, &str)> {
    ENDPOINTS.iter().find_map(|endpoint| Some((endpoint, matched(endpoint.path, path)?)))
}

fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        None => (pattern == path).then_some(""),
        Some((before, after)) => {
            let segment = path.strip_prefix(before)?.strip_suffix(after)?;
            (!segment.contains('/')).then_some(segment)
        }
    }
}

/// Everything below [`ROOT`] that has no route of its own.
pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut response = match respond(&shared, &parts, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    add_origin(&shared.site, &parts.headers, headers);
    response
}

fn add_origin(site: &Site, asked: &HeaderMap, headers: &mut HeaderMap) {
    let Some(allowed) = &site.settings.allowed_origin else { return };
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Ok(allowed) = HeaderValue::from_str(allowed)
        && allows(site, asked)
    {
        let words = "accept, authorization, content-type, origin";
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers
            .insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(words));
    }
}

async fn respond(
    shared: &Arc<Shared>,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    if parts.method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let path = parts.uri.path();
    let found = below_root(path).and_then(find);
    let Some((endpoint, segment)) = found else {
        return Err(ApiError::new(Kind::NotFound, format!("there is nothing at {path}")));
    };
    if let Some(refused) = refused_method(endpoint, &parts.method) {
        return Ok(refused);
    }
    let body = read_body(shared, parts, body).await?;
    let request = Asking {
        endpoint,
        segment: segment.to_owned(),
        params: Params::read(parts.uri.query(), &body)?,
        takes_gzip: negotiate::takes_gzip(&parts.headers),
        board: header(&parts.headers, "x-dashboard-uid"),
        panel: header(&parts.headers, "x-panel-id"),
    };
    let (body, permit) = match endpoint.work {
        Work::None => (request.answer(shared, &Ticket::default(), Duration::ZERO)?, None),
        Work::Lookup => work(shared, &shared.lookups, request).await?,
        Work::Question => work(shared, &shared.questions, request).await?,
    };
    Ok(success(body, permit))
}

/// GET alone, or POST too; HEAD is a GET whose body is not sent.
fn refused_method(endpoint: &Endpoint, method: &Method) -> Option<Response<Body>> {
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    if is_get || endpoint.takes_post && method == Method::POST {
        return None;
    }
    let text = format!("this path does not take {method}");
    let error = ApiError::bad(text).with_status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = error.into_response();
    let allowed = if endpoint.takes_post { "GET, POST, OPTIONS" } else { "GET, OPTIONS" };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    Some(response)
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn read_body(shared: &Shared, parts: &Parts, body: Body) -> Result<Bytes, ApiError> {
    if parts.method != Method::POST {
        return Ok(Bytes::new());
    }
    let settings = &shared.site.settings;
    let bytes = match timeout(settings.request_timeout, to_bytes(body, settings.body_limit)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let text = format!("a body may have {} bytes", settings.body_limit);
            return Err(ApiError::bad(text).with_status(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Err(_) => {
            let why = format!("the body did not come within {:?}", settings.request_timeout);
            return Err(ApiError::new(Kind::Timeout, why));
        }
    };
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or(FORM);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !bytes.is_empty() && !kind.eq_ignore_ascii_case(FORM) {
        return Err(ApiError::bad(format!("a body must be {FORM}, not {kind:?}")));
    }
    Ok(bytes)
}

/// What Grafana says of the panel that asks; for the log.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    const MOST: usize = 200;
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.chars().take(MOST).collect())
}

/// A request that is understood.
struct Asking {
    endpoint: &'static Endpoint,
    segment: String,
    params: Params,
    takes_gzip: bool,
    board: Option<String>,
    panel: Option<String>,
}

/// A body, as it goes out.
struct Written {
    pieces: [Bytes; 2],
    is_packed: bool,
}

/// What is smaller is not worth packing.
const LEAST_PACKED: usize = 1024;
/// An answer that is larger keeps its permit until it is sent: it would fill memory otherwise, one
/// after the other, for clients that do not read.
const LARGE: usize = 1 << 20;

impl Asking {
    fn answer(
        &self,
        shared: &Shared,
        ticket: &Ticket,
        waited: Duration,
    ) -> Result<Written, ApiError> {
        let begun = Instant::now();
        let asked = Asked {
            site: &shared.site,
            params: &self.params,
            segment: &self.segment,
            now: (shared.site.now)(),
            waited,
            ticket,
            noted: Cell::default(),
        };
        let answered = (self.endpoint.answer)(&asked);
        if self.endpoint.work == Work::Question {
            self.account(shared, begun.elapsed(), asked.noted.get(), &answered);
        }
        Ok(self.pack(answered?))
    }

    fn pack(&self, body: Vec<u8>) -> Written {
        let is_packed = self.takes_gzip && body.len() >= LEAST_PACKED;
        let pieces =
            if is_packed { Packer::new().whole(&body) } else { [body.into(), Bytes::new()] };
        Written { pieces, is_packed }
    }

    /// What a question was, in the counts and, if it was slow, in the log.
    fn account(
        &self,
        shared: &Shared,
        took: Duration,
        noted: Noted,
        answered: &Result<Vec<u8>, ApiError>,
    ) {
        let ended = Ended { seconds: took.as_secs_f64(), samples: noted.samples };
        shared.counts.question_ended(ended);
        if let Err(error) = answered
            && error.kind == Kind::TooLarge
        {
            shared.counts.unanswered(Unanswered::TooLarge);
        }
        if took < shared.site.settings.queries.log_slower_than {
            return;
        }
        const MOST: usize = 2000;
        let query = self.params.get("query").unwrap_or_default();
        let shown: String = query.chars().take(MOST).collect();
        tracing::warn!(
            query = shown,
            endpoint = self.endpoint.name,
            seconds = took.as_secs_f64(),
            series = noted.series,
            samples = noted.samples,
            dashboard = self.board,
            panel = self.panel,
            error = answered.as_ref().err().map(|error| error.text.as_str()),
            "a query was slow"
        );
    }
}

/// Has the work done on the blocking pool, when it is its turn and until its deadline.
async fn work(
    shared: &Arc<Shared>,
    gate: &Gate,
    request: Asking,
) -> Result<(Written, Option<OwnedSemaphorePermit>), ApiError> {
    let begun = Instant::now();
    let patience = patience(&shared.site, &request.params)?;
    let deadline = begun + patience;
    let is_question = request.endpoint.work == Work::Question;
    let mut awaited = Awaited { shared, ticket: Arc::default(), is_question, is_over: false };
    let permit = match gate.enter(deadline).await {
        Ok(permit) => permit,
        Err(turned) => {
            awaited.is_over = true;
            awaited.count(Unanswered::Busy);
            return Err(busy(turned));
        }
    };
    let task = spawn_blocking({
        let (shared, ticket) = (Arc::clone(shared), Arc::clone(&awaited.ticket));
        // The permit is part of the result: nobody to take it, and it is given back.
        move || {
            let answered = request.answer(&shared, &ticket, begun.elapsed());
            (answered, permit)
        }
    });
    let done = timeout_at(deadline, task).await;
    awaited.is_over = true;
    match done {
        Ok(Ok((answered, permit))) => answered.map(|written| (written, Some(permit))),
        Ok(Err(panic)) => {
            tracing::error!(%panic, "a query has ended in a panic");
            Err(ApiError::new(Kind::Internal, "the query ended in an error of Farol's own"))
        }
        Err(_) => {
            awaited.ticket.give_up(Stop::TimedOut);
            awaited.count(Unanswered::TimedOut);
            Err(Stop::TimedOut.into())
        }
    }
}

/// How long a question may take, waiting included: what it says itself, within what we allow.
fn patience(site: &Site, params: &Params) -> Result<Duration, ApiError> {
    const NAME: &str = "timeout";
    let most = site.settings.queries.timeout;
    match params.duration(NAME)? {
        None => Ok(most),
        Some(millis) => match u64::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(millis).min(most)),
            Err(_) => Err(ApiError::parameter(NAME, "it must not be negative")),
        },
    }
}

fn busy(turned: Turned) -> ApiError {
    let why = match turned {
        Turned::Full => "too many queries are waiting already",
        Turned::Late => "other queries kept this one waiting for all the time it had",
    };
    ApiError::new(Kind::Unavailable, format!("{why}; try again in a moment"))
}

/// A request that somebody waits for. Dropped before it is over, nobody does any more: the client
/// has gone, and hyper with it.
struct Awaited<'a> {
    shared: &'a Shared,
    ticket: Arc<Ticket>,
    is_question: bool,
    is_over: bool,
}

impl Awaited<'_> {
    fn count(&self, why: Unanswered) {
        if self.is_question {
            self.shared.counts.unanswered(why);
        }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.ticket.give_up(Stop::Canceled);
            self.count(Unanswered::Canceled);
            tracing::debug!(status = 499, "a query's client went away");
        }
    }
}

fn success(written: Written, permit: Option<OwnedSemaphorePermit>) -> Response<Body> {
    let size: usize = written.pieces.iter().map(Bytes::len).sum();
    let permit = permit.filter(|_| size > LARGE);
    let [first, second] = written.pieces;
    let body = match (&permit, second.is_empty()) {
        // Nothing to join and nothing to hold: it goes out as it is.
        (None, true) => first,
        _ => whole([first, second], permit),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if written.is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint_and_what_stands_for_the_star() {
        let found = |path: &str| {
            let (endpoint, segment) = find(below_root(path)?)?;
            Some((endpoint.name, segment.to_owned()))
        };
        let some = |name, segment: &str| Some((name, segment.to_owned()));
        assert_eq!(found("/api/v1/query"), some("query", ""));
        assert_eq!(found("/api/v1/status/tsdb"), some("tsdb", ""));
        assert_eq!(found("/api/v1/label/job/values"), some("label_values", "job"));
        assert_eq!(found("/api/v1/label/a%2Fb/values"), some("label_values", "a%2Fb"));
        assert_eq!(found("/api/v1/label//values"), some("label_values", ""));
        for path in [
            "/api/v1",
            "/api/v1/",
            "/api/v1/query/",
            "/api/v1/label/values",
            "/api/v1/label/a/b/values",
            "/api/v2/query",
            "/api/v1query",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn names_and_paths_are_there_once() {
        for (place, endpoint) in ENDPOINTS.iter().enumerate() {
            let others = &ENDPOINTS[..place];
            assert!(others.iter().all(|other| other.name != endpoint.name), "{}", endpoint.name);
            assert!(others.iter().all(|other| other.path != endpoint.path), "{}", endpoint.path);
        }
    }

    #[test]
    fn a_post_that_only_asks_is_no_change() {
        assert!(only_asks(&Method::POST, "/api/v1/query"));
        assert!(!only_asks(&Method::POST, "/api/v1/rules"), "it is not taken at all");
        assert!(!only_asks(&Method::PUT, "/api/v1/query"));
        assert!(!only_asks(&Method::POST, "/api/v1/write"));
    }
}
