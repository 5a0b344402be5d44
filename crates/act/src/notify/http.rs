//! A small HTTP/1.1 client: one connection a request, no redirects, no proxies, every wait and every
//! answer bounded.
//!
//! A redirect is an answer like any other: followed, it would carry the secret of a URL or a token
//! to whom the receiver names. No error and no `Debug` shows more of a URL than scheme, host and port.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER,
        USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::SendError;

/// More of an answer is not read.
const MOST_BODY: usize = 64 * 1024;
/// A wait that a receiver demands is cut to this: longer, and people would never hear of it.
pub(super) const LONGEST_DEMAND: Duration = Duration::from_secs(24 * 3600);

/// The certificates by which receivers are known.
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    roots: Option<Arc<[CertificateDer<'static>]>>,
}

impl Trust {
    /// Those that cannot be read as a certificate are left out, as every list of a system has some.
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Trust {
        let mut store = RootCertStore::empty();
        let roots: Vec<_> =
            roots.into_iter().filter(|root| store.add(root.clone()).is_ok()).collect();
        Trust::with(store, Some(roots.into()))
    }

    /// Those that Mozilla trusts, as this program was built with them.
    pub fn bundled() -> Trust {
        Trust::with(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, None)
    }

    fn with(store: RootCertStore, roots: Option<Arc<[CertificateDer<'static>]>>) -> Trust {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the default versions")
            .with_root_certificates(store)
            .with_no_client_auth();
        Trust { config: Arc::new(config), roots }
    }

    /// `None` where they are the bundled ones.
    pub(super) fn roots(&self) -> Option<&[CertificateDer<'static>]> {
        self.roots.as_deref()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Http {
    trust: Trust,
    /// Of finding the name, connecting and agreeing on TLS together.
    connect: Duration,
    /// Of the whole request.
    total: Duration,
}

impl Http {
    pub fn new(trust: Trust, total: Duration) -> Http {
        Http { trust, connect: total, total }
    }

    /// One request, its answer read to the end or to its bound.
    pub(super) async fn ask(
        &self,
        method: Method,
        endpoint: &Endpoint,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, HttpError> {
        let request = endpoint.request(method, path, body)?;
        let asked = async {
            let connected = timeout(self.connect, self.connect(endpoint)).await;
            let stream = connected.map_err(|_| HttpError::Slow(self.connect))??;
            exchange(stream, request).await
        };
        timeout(self.total, asked).await.map_err(|_| HttpError::Slow(self.total))?
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, HttpError> {
        let addresses = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
        let addresses: Vec<SocketAddr> =
            addresses.map_err(|error| HttpError::Lookup(plain(&error)))?.collect();
        let mut last = HttpError::Lookup("the name has no address".to_owned());
        let share = self.connect / u32::try_from(addresses.len().clamp(1, 4)).unwrap_or(1);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return self.secure(endpoint, stream).await,
                Ok(Err(error)) => last = HttpError::Connect(plain(&error)),
                Err(_) => last = HttpError::Slow(share),
            }
        }
        Err(last)
    }

    async fn secure(
        &self,
        endpoint: &Endpoint,
        stream: TcpStream,
    ) -> Result<Box<dyn Stream>, HttpError> {
        let Some(name) = &endpoint.tls else { return Ok(Box::new(stream)) };
        let connector = TlsConnector::from(Arc::clone(&self.trust.config));
        let secured = connector.connect(name.clone(), stream).await;
        Ok(Box::new(secured.map_err(|error| HttpError::Tls(plain(&error)))?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError> {
    let broken = |error: hyper::Error| HttpError::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The connection lives as long as the answer is read, no longer: dropped, it is closed.
    let mut connection = Box::pin(connection);
    let mut alive = true;
    let mut answered = Box::pin(async move {
        let response = sender.send_request(request).await?;
        read(response).await
    });
    loop {
        tokio::select! {
            answer = &mut answered => return answer.map_err(broken),
            ended = &mut connection, if alive => {
                alive = false;
                // What it ended with is told by the request as well.
                ended.ok();
            }
        }
    }
}

async fn read(response: hyper::Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while body.len() < MOST_BODY
        && let Some(frame) = incoming.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            let room = MOST_BODY - body.len();
            body.extend_from_slice(data.get(..room).unwrap_or(data));
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// What came back, whichever status it has.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The beginning of the body in one line, for a message to people.
    pub(super) fn said(&self) -> String {
        const MOST: usize = 200;
        let text = String::from_utf8_lossy(&self.body);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        super::words::cut(&line, MOST)
    }

    pub(super) fn number(&self, header: &str) -> Option<f64> {
        self.headers.get(header)?.to_str().ok()?.trim().parse().ok()
    }

    /// `Retry-After`, in seconds. As a date it is not obeyed to the second: the clock of another
    /// machine is no clock, and back-off does what is wanted.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        seconds(self.number(RETRY_AFTER.as_str())?)
    }

    /// What most receivers mean by a status that is not 2xx.
    pub(super) fn failure(&self) -> SendError {
        let reason = self.reason();
        match self.status.as_u16() {
            429 | 500..=599 => {
                SendError::Retry { after: self.retry_after(), reason: reason.into() }
            }
            408 | 425 => SendError::retry(reason),
            300..=399 => SendError::refused(format!("{reason}; redirects are not followed")),
            _ => SendError::refused(reason),
        }
    }

    /// `answered 400: invalid_payload`
    pub(super) fn reason(&self) -> String {
        let status = self.status.as_u16();
        match self.said() {
            said if said.is_empty() => format!("answered {status}"),
            said => format!("answered {status}: {said}"),
        }
    }
}

/// A demanded wait, within what is obeyed.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    let known = seconds.is_finite() && seconds >= 0.0;
    known.then(|| Duration::from_secs_f64(seconds.min(LONGEST_DEMAND.as_secs_f64())))
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HttpError {
    Lookup(String),
    Connect(String),
    Tls(String),
    /// The connection ended or made no sense.
    Broken(String),
    Slow(Duration),
    /// Cannot be written as a request.
    Unsayable,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Lookup(why) => write!(f, "cannot find the receiver: {why}"),
            HttpError::Connect(why) => write!(f, "cannot connect: {why}"),
            HttpError::Tls(why) => write!(f, "no secure connection: {why}"),
            HttpError::Broken(why) => write!(f, "the connection broke: {why}"),
            HttpError::Slow(limit) => write!(f, "no answer within {limit:?}"),
            HttpError::Unsayable => write!(f, "the request cannot be written"),
        }
    }
}

impl From<HttpError> for SendError {
    fn from(error: HttpError) -> SendError {
        SendError::retry(error.to_string())
    }
}

fn plain(error: &io::Error) -> String {
    error.to_string()
}

/// Where requests go and with which headers. Prints as scheme, host and port.
#[derive(Clone)]
pub struct Endpoint {
    /// Without brackets.
    host: String,
    port: u16,
    /// As the `Host` header says it.
    authority: String,
    /// With the query, where there is one.
    path: String,
    /// The name on the certificate, for `https`.
    tls: Option<ServerName<'static>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    /// The error is a sentence that shows nothing of the URL.
    pub fn new(url: &str) -> Result<Endpoint, String> {
        let wrong = || "is not a URL of a receiver: https:// or http://, a host, a path".to_owned();
        let uri: Uri = url.trim().parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (is_tls, usual) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(wrong()),
        };
        let port = authority.port_u16().unwrap_or(usual);
        let tls = is_tls.then(|| ServerName::try_from(host.clone())).transpose();
        let tls = tls.map_err(|_| "names a host that no certificate can name".to_owned())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (user, authority) = match authority.as_str().rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority.as_str()),
        };
        let endpoint = Endpoint {
            host,
            port,
            authority: authority.to_owned(),
            path,
            tls,
            headers: Vec::new(),
        };
        match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
            Some((user, password)) => Ok(endpoint.with_basic(&decoded(user), &decoded(password))),
            None => Ok(endpoint),
        }
    }

    /// The error says no value.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Endpoint, String> {
        let name = HeaderName::try_from(name).map_err(|_| "is not a header's name".to_owned())?;
        let value = HeaderValue::try_from(value);
        let mut value = value.map_err(|_| "holds what no header may hold".to_owned())?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    pub fn with_bearer(self, token: &str) -> Result<Endpoint, String> {
        self.with_header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    pub fn with_basic(mut self, user: &str, password: &str) -> Endpoint {
        let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let value = HeaderValue::try_from(format!("Basic {pair}"));
        let mut value = value.expect("base64 is plain");
        value.set_sensitive(true);
        self.headers.push((AUTHORIZATION, value));
        self
    }

    /// The path of the URL without its query, and the query.
    pub(super) fn path(&self) -> (&str, Option<&str>) {
        match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.path, None),
        }
    }

    /// The path as the URL has it.
    pub(super) fn whole_path(&self) -> &str {
        &self.path
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("farol/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let bytes = match body {
            Some(body) => {
                if !self.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
                    request = request.header(CONTENT_TYPE, "application/json");
                }
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(bytes)).map_err(|_| HttpError::Unsayable)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}/…", self.authority)
    }
}

/// `%40` to `@` and the like; what is no escape stands for itself.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escape = (first == b'%').then(|| after.get(..2)).flatten();
        let code = escape.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_no_path_no_query_and_no_password() {
        let endpoint = Endpoint::new("https://ana:hunter2@chat.example:8443/api/hunter3?k=hunter4");
        let endpoint = endpoint.unwrap().with_bearer("hunter5").unwrap();
        assert_eq!(format!("{endpoint:?}"), "https://chat.example:8443/…");
        assert_eq!(endpoint.path(), ("/api/hunter3", Some("k=hunter4")));
    }

    #[test]
    fn what_is_no_receivers_url_is_refused_without_repeating_it() {
        for url in ["", "hunter2", "ftp://hunter2/", "https://", "https:// hunter2/", "/hunter2"] {
            let wrong = Endpoint::new(url).unwrap_err();
            assert!(!wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_the_url_becomes_a_header() {
        let endpoint = Endpoint::new("http://a%40b:c%3Ad@x/").unwrap();
        let (name, value) = endpoint.headers.first().unwrap();
        assert_eq!(name, AUTHORIZATION);
        assert_eq!(value.to_str().unwrap(), "Basic YUBiOmM6ZA==");
    }

    #[test]
    fn a_demanded_wait_is_bounded_and_nonsense_is_none() {
        assert_eq!(seconds(1.5), Some(Duration::from_millis(1500)));
        assert_eq!(seconds(1e12), Some(LONGEST_DEMAND));
        assert_eq!((seconds(-1.0), seconds(f64::NAN)), (None, None));
    }
}
