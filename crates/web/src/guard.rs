//! Whom a request may come from.
//!
//! A page from elsewhere can make a browser on this machine ask us. Two rules keep it out without
//! a password: the `Host` must be one that we are known by (a name that an attacker points at
//! 127.0.0.1 is not), and what changes something must not come from another origin.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, Method, StatusCode, Uri, Version,
    header::{HOST, ORIGIN},
    request::Parts,
};

/// Why a request is not answered: for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into() }
    }
}

/// `local` is the address that the client has connected to.
pub(crate) fn check_host_of(
    parts: &Parts,
    local: IpAddr,
    allowed: &[String],
) -> Result<(), Refusal> {
    match authority(&parts.uri, &parts.headers)? {
        // HTTP/1.0 knows no `Host`, and no browser speaks it.
        None if parts.version < Version::HTTP_11 => Ok(()),
        None => Err(bad_request("a request needs one Host header")),
        Some(authority) => check_host(authority, local, allowed),
    }
}

/// That what changes something comes from no other origin.
pub(crate) fn check_change(parts: &Parts) -> Result<(), Refusal> {
    if is_safe(&parts.method) {
        return Ok(());
    }
    let authority = authority(&parts.uri, &parts.headers)?;
    check_origin(&parts.headers, authority.unwrap_or_default())
}

pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn bad_request(reason: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

/// The authority in the request line goes before the header's.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(HOST).into_iter();
    let header = values.next();
    if values.next().is_some() {
        return Err(bad_request("a request needs one Host header, this one has several"));
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    let Some(header) = header else { return Ok(None) };
    header.to_str().map(Some).map_err(|_| bad_request("the Host header is not text"))
}

fn check_host(authority: &str, local: IpAddr, allowed: &[String]) -> Result<(), Refusal> {
    let host = without_port(authority);
    if is_own_host(host, local) || allowed.iter().any(|name| matches_allowed(name, host)) {
        return Ok(());
    }
    let shown: String = host.chars().take(255).collect();
    Err(Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        format!(
            "this server does not go by the name {shown:?}; if it should, add the name to web.allowed_hosts in the configuration"
        ),
    ))
}

fn is_own_host(host: &str, local: IpAddr) -> bool {
    match address(host) {
        Some(address) => address.is_loopback() || address == local.to_canonical(),
        None => host.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
    }
}

fn matches_allowed(allowed: &str, host: &str) -> bool {
    let allowed = allowed.trim_end_matches('.');
    if allowed == "*" || allowed.eq_ignore_ascii_case(host.trim_end_matches('.')) {
        return true;
    }
    address(allowed).is_some_and(|allowed| address(host) == Some(allowed))
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok().map(|address: IpAddr| address.to_canonical())
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

/// Programs send neither header; browsers send at least one of them with every change.
fn check_origin(headers: &HeaderMap, authority: &str) -> Result<(), Refusal> {
    let foreign = Refusal::new(
        StatusCode::FORBIDDEN,
        "a page of another origin may not change anything here",
    );
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(foreign);
    }
    match headers.get(ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.to_str().is_ok_and(|origin| is_same(origin, authority)) => Ok(()),
        Some(_) => Err(foreign),
    }
}

fn is_same(origin: &str, authority: &str) -> bool {
    let without = |text: &str, port: &str| text.strip_suffix(port).unwrap_or(text).to_owned();
    let (origin, port) = if let Some(rest) = origin.strip_prefix("http://") {
        (rest, ":80")
    } else if let Some(rest) = origin.strip_prefix("https://") {
        (rest, ":443")
    } else {
        return false;
    };
    without(origin, port).eq_ignore_ascii_case(&without(authority, port))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const LOCAL: &str = "192.168.1.5";

    fn status(method: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let allowed = ["farol.example".to_owned(), "10.0.0.7".to_owned()];
        let checked = check_host_of(&parts, LOCAL.parse().unwrap(), &allowed);
        match checked.and_then(|()| check_change(&parts)) {
            Ok(()) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn only_hosts_that_are_ours_are_answered() {
        let cases = [
            ("localhost", 200),
            ("LOCALHOST:8000", 200),
            ("localhost.:8000", 200),
            ("127.0.0.1", 200),
            ("127.9.9.9:1", 200),
            ("[::1]:8000", 200),
            ("[::1]", 200),
            ("[::ffff:127.0.0.1]:80", 200),
            ("192.168.1.5:8000", 200),
            ("farol.example", 200),
            ("Farol.Example.:443", 200),
            ("10.0.0.7:8000", 200),
            ("10.0.0.8:8000", 421),
            ("evil.example", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example:8000", 421),
            ("farol.example.evil.example", 421),
            ("[2001:db8::1]:8000", 421),
            ("", 421),
        ];
        for (host, expected) in cases {
            assert_eq!(status("GET", "/metrics", &[("host", host)]), expected, "{host}");
        }
    }

    #[test]
    fn a_host_is_needed_once() {
        assert_eq!(status("GET", "/", &[]), 400);
        assert_eq!(status("GET", "/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(status("GET", "http://evil.example/", &[("host", "localhost")]), 421);
        assert_eq!(status("GET", "http://localhost/", &[]), 200);
    }

    #[test]
    fn a_change_must_not_come_from_another_origin() {
        let host = ("host", "localhost:8000");
        let cases: [(&[(&str, &str)], u16); 10] = [
            (&[], 200),
            (&[("origin", "http://localhost:8000")], 200),
            (&[("origin", "https://localhost:8000")], 200),
            (&[("origin", "http://localhost:9000")], 403),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "file://localhost:8000")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:8000")], 200),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8000")], 403),
        ];
        for (headers, expected) in cases {
            let with_host: Vec<_> = [host].iter().chain(headers).copied().collect();
            assert_eq!(status("POST", "/-/reload", &with_host), expected, "{headers:?}");
            assert_eq!(status("GET", "/health", &with_host), 200, "{headers:?}");
        }
        let default_port = [("host", "farol.example"), ("origin", "https://farol.example:443")];
        assert_eq!(status("PUT", "/-/reload", &default_port), 200);
    }
}
