//! From a request to its answer: the guards, the routes, and the headers every answer carries.

use std::{io, net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{
        Method, Request, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName,
            HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
    },
    response::IntoResponse,
    routing::{any, get, post, put},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    alertmanager,
    api::{
        self, Gate,
        write::{self, Intake},
    },
    counts::Counts,
    door::{self, Door, Keeper},
    guard::{self, Refusal},
    health,
    metrics::{self, Scrapes},
    page,
    site::{Command, Site},
};

/// Answers requests; shared by all connections.
pub(crate) struct Answerer {
    shared: Arc<Shared>,
    router: TowerToHyperService<Router>,
    keeper: Keeper,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The address the client has connected to.
    pub(crate) local: IpAddr,
    pub(crate) peer: IpAddr,
}

/// What the handlers have in common.
pub(crate) struct Shared {
    pub(crate) site: Site,
    pub(crate) scrapes: Scrapes,
    pub(crate) counts: Counts,
    /// Expressions to evaluate.
    pub(crate) questions: Gate,
    /// What takes less, and must not wait behind them.
    pub(crate) lookups: Gate,
    /// Samples that others send.
    pub(crate) intake: Intake,
}

const HEALTH: &str = "/health";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
/// The path that Loki's tools ask.
const READY_TOO: &str = "/ready";
const RELOAD: &str = "/-/reload";
const PAGE: &str = "/";
const API: &str = "/api/v1/{*rest}";

/// Paths with a fixed place, and what they are called in the server's counts.
const HANDLERS: &[(&str, &str)] = &[
    (HEALTH, "health"),
    (HEALTHY, "healthy"),
    (PAGE, "page"),
    (READY, "ready"),
    (READY_TOO, "ready"),
    (RELOAD, "reload"),
    (write::PATH, "write"),
];

impl Answerer {
    pub(crate) fn new(site: Site) -> io::Result<Answerer> {
        let path = site.settings.telemetry_path.as_str();
        let is_taken = HANDLERS.iter().any(|(taken, _)| *taken == path)
            || [api::ROOT, alertmanager::ROOT].into_iter().any(|root| {
                let rest = path.strip_prefix(root);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        if !path.starts_with('/') || path.contains(['{', '}', '?', '#', '*']) || is_taken {
            let problem = format!("the telemetry path {path:?} must be a plain, free path");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let scrapes = Scrapes::new(site.settings.max_requests, Arc::clone(&site.texts));
        let keeper = Keeper::new(site.settings.request_timeout);
        let most = site.settings.queries.max_concurrency;
        let (questions, lookups) = (Gate::new(most), Gate::new(most));
        let counts = Counts::default();
        let intake = Intake::new(site.settings.receiver.as_ref());
        let shared = Arc::new(Shared { site, scrapes, counts, questions, lookups, intake });
        let router = TowerToHyperService::new(router(&shared));
        Ok(Answerer { shared, router, keeper })
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>, ends: Ends) -> Response<Body> {
        let door = Arc::clone(&self.shared.site.door.borrow().door);
        let handler = self.shared.handler(request.uri().path());
        let (parts, body) = request.into_parts();
        let admitted = match self.shared.check(&parts, ends.local) {
            Ok(()) => self.admit(&door, handler, &parts, ends.peer).await,
            Err(refusal) => Err(refusal),
        };
        // After the door: which kind of process this is, strangers are not told.
        let admitted = admitted.and_then(|()| self.shared.check_change(&parts));
        let mut response = match admitted {
            Ok(()) => self.route(Request::from_parts(parts, body)).await,
            Err(refusal) => refusal.into_response(),
        };
        self.shared.counts.answered(handler, response.status().as_u16());
        let headers = response.headers_mut();
        add_headers(headers);
        for (name, value) in &door.headers {
            headers.insert(name, value.clone());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            door::challenge(&door, response.headers_mut());
        }
        response
    }

    /// Whether the program lives is no secret, and those who start it again have no password.
    async fn admit(
        &self,
        door: &Door,
        handler: &str,
        parts: &Parts,
        peer: IpAddr,
    ) -> Result<(), Refusal> {
        if matches!(handler, "healthy" | "ready") || self.shared.is_preflight(parts) {
            return Ok(());
        }
        self.keeper.admit(door, &parts.headers, peer).await.map_err(|reason| {
            self.shared.counts.refused_at_the_door(reason);
            reason.refusal()
        })
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let patience = self.shared.site.settings.request_timeout;
        let is_own = api::is_ours(request.uri().path());
        let answer = self.router.call(request);
        // A query's deadline is another, and it is the API that gives it up.
        let answered = if is_own { Ok(answer.await) } else { timeout(patience, answer).await };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                let reason = format!("not answered within {patience:?}");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
            }
        }
    }
}

impl Shared {
    fn handler(&self, path: &str) -> &'static str {
        if path == self.site.settings.telemetry_path {
            return "metrics";
        }
        let named = HANDLERS.iter().find(|(held, _)| *held == path).map(|(_, name)| *name);
        let named = named.or_else(|| api::name_of(path)).or_else(|| alertmanager::name_of(path));
        named.unwrap_or("other")
    }

    fn check(&self, parts: &Parts, local: IpAddr) -> Result<(), Refusal> {
        let settings = &self.site.settings;
        guard::check_host_of(parts, local, &settings.allowed_hosts)?;
        let is_welcome = api::only_asks(&parts.method, parts.uri.path())
            && api::allows(&self.site, &parts.headers);
        if !is_welcome {
            guard::check_change(parts)?;
        }
        // These bound their bodies themselves.
        if api::is_ours(parts.uri.path()) || parts.uri.path() == write::PATH {
            return Ok(());
        }
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
        if length > settings.body_limit as u64 {
            let reason = format!("a body may have {} bytes", settings.body_limit);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        Ok(())
    }

    /// A browser asks this before it asks anything across origins, and cannot say who asks.
    fn is_preflight(&self, parts: &Parts) -> bool {
        parts.method == Method::OPTIONS
            && api::is_ours(parts.uri.path())
            && api::allows(&self.site, &parts.headers)
    }

    fn check_change(&self, parts: &Parts) -> Result<(), Refusal> {
        let only_asks =
            guard::is_safe(&parts.method) || api::only_asks(&parts.method, parts.uri.path());
        match &self.site.settings.read_only {
            Some(reason) if !only_asks => {
                let path = parts.uri.path();
                let reason = match path {
                    write::PATH => write::READ_ONLY,
                    _ if alertmanager::name_of(path).is_some() => alertmanager::READ_ONLY,
                    _ => reason,
                };
                Err(Refusal::new(StatusCode::FORBIDDEN, reason))
            }
            _ => Ok(()),
        }
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let settings = &shared.site.settings;
    Router::new()
        .route(&settings.telemetry_path, get(metrics::metrics))
        .route(HEALTH, get(health::health))
        .route(PAGE, get(page::page))
        .route(HEALTHY, get(healthy))
        .route(READY, get(ready))
        .route(READY_TOO, get(ready))
        .route(RELOAD, put(reload).post(reload).layer(DefaultBodyLimit::max(settings.body_limit)))
        .route(write::PATH, post(write::write))
        .route(API, any(api::answer))
        .route(alertmanager::STATUS, get(alertmanager::status))
        .route(alertmanager::RECEIVERS, get(alertmanager::receivers))
        .route(alertmanager::ALERTS, get(alertmanager::alerts))
        .route(alertmanager::GROUPS, get(alertmanager::alert_groups))
        .route(
            alertmanager::SILENCES,
            get(alertmanager::silences)
                .post(alertmanager::post_silence)
                .layer(DefaultBodyLimit::max(settings.body_limit)),
        )
        .route(
            alertmanager::SILENCE,
            get(alertmanager::silence).delete(alertmanager::expire_silence),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(shared))
}

async fn healthy() -> &'static str {
    "healthy\n"
}

async fn ready(State(shared): State<Arc<Shared>>) -> Result<&'static str, Refusal> {
    if *shared.site.ready.borrow() {
        return Ok("ready\n");
    }
    let reason = format!("starting: {}", health::waiting_for(&shared.site));
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason))
}

/// The body is taken, and bounded, but means nothing.
async fn reload(State(shared): State<Arc<Shared>>, _body: Bytes) -> Result<&'static str, Refusal> {
    let failed = |reason| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason);
    let stopping = || failed("the program is stopping".to_owned());
    let (reply, answer) = oneshot::channel();
    shared.site.commands.send(Command::Reload { reply }).await.map_err(|_| stopping())?;
    match answer.await {
        Ok(Ok(())) => Ok("reloaded\n"),
        Ok(Err(reason)) => Err(failed(reason)),
        Err(_) => Err(stopping()),
    }
}

async fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path; / lists what there is")
}

async fn method_not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.status, self.reason + "\n").into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        }
        response
    }
}

/// For all but the page, which says what it needs itself.
const NOTHING_ALLOWED: &str = "default-src 'none'; frame-ancestors 'none'";

fn add_headers(headers: &mut HeaderMap) {
    let mut add = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    add(CACHE_CONTROL, "no-store");
    add(CONTENT_SECURITY_POLICY, NOTHING_ALLOWED);
    add(REFERRER_POLICY, "no-referrer");
    add(X_CONTENT_TYPE_OPTIONS, "nosniff");
}
