//! `/`: the first look at the machine, made whole on the server.
//!
//! It works without scripts (a reload every few seconds); with them the main part alone is
//! replaced. Nothing is asked of any other place. What is shown comes titled and in words
//! from `farol_collect::signs`: this file knows no metric's name.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{
        Response,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue},
    },
};
use farol_collect::signs::{self, By};
use farol_model::{Timestamp, TopProcess};

use crate::{
    answer::Shared,
    health::{Collector, Health, Status},
};

mod trouble;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The hashes are those of `page.css` and `page.js`; a test tells when they change.
const POLICY: &str = "default-src 'none'; style-src 'sha256-RHBrU1lO50skUH6oVLmeex2Lyf+ERdRlMS6qEhznbu4='; script-src 'sha256-wCs29Gbutq9WkQrp9bRyhpzbRADc+tDjWXPHuKXioII='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let site = &shared.site;
    let html = html(&Health::now(site), &site.settings.telemetry_path, (site.now)());
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn html(health: &Health, telemetry_path: &str, now: Timestamp) -> String {
    let mut html = String::with_capacity(8 * 1024);
    push(&mut html, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    push(&mut html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    push(&mut html, "<meta name=\"color-scheme\" content=\"light dark\">\n");
    push(&mut html, "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n");
    push_all(&mut html, &["<title>", &escape(&title(health)), "</title>\n"]);
    push_all(&mut html, &["<style>", STYLE, "</style>\n</head>\n<body>\n"]);
    push_main(&mut html, health, now);
    push_footer(&mut html, health, telemetry_path);
    push_all(&mut html, &["<script>", SCRIPT, "</script>\n</body>\n</html>\n"]);
    html
}

fn title(health: &Health) -> String {
    let word = match health.status {
        Status::Ok => health.state,
        Status::Starting => "starting",
        Status::Stale => "STALE",
        Status::Degraded => "DEGRADED",
    };
    format!("{word} · {} · Farol", host(health))
}

fn host(health: &Health) -> &str {
    if health.host.is_empty() { "this host" } else { &health.host }
}

/// All that changes: what the script replaces.
fn push_main(html: &mut String, health: &Health, now: Timestamp) {
    push(html, "<main id=\"now\">\n");
    push_verdict(html, health);
    trouble::push_trouble(html, &health.trouble, now);
    push_signs(html, health);
    push_processes(html, &health.top);
    push_collectors(html, &health.collectors);
    push(html, "</main>\n");
}

fn push_verdict(html: &mut String, health: &Health) {
    let (class, sentence) = verdict(health);
    push_all(html, &["<header class=\"", class, "\">\n<h1>", &escape(&sentence), "</h1>\n"]);
    push_further_reasons(html, further_reasons(health));
    push(html, "<p>");
    push_all(html, &["<b>", &escape(host(health)), "</b>"]);
    if let Some(age) = health.age_seconds {
        push_all(html, &[" · data ", &age_in_words(age), " old"]);
    }
    push(html, " <span id=\"link\" role=\"status\"></span></p>\n</header>\n");
}

/// More than the first stand in a list: a heading is one sentence.
fn further_reasons(health: &Health) -> &[String] {
    match (health.status, health.state) {
        (Status::Ok, "WARNING" | "CRITICAL") => health.reasons.get(1..).unwrap_or_default(),
        _ => &[],
    }
}

/// Nobody reads twenty, and the alerts follow below.
fn push_further_reasons(html: &mut String, reasons: &[String]) {
    const MOST: usize = 4;
    if reasons.is_empty() {
        return;
    }
    push(html, "<ul>\n");
    for reason in reasons.iter().take(MOST) {
        push_all(html, &["<li>", &escape(reason), "</li>\n"]);
    }
    if reasons.len() > MOST {
        push(html, "<li><a href=\"#alerts\">and more</a></li>\n");
    }
    push(html, "</ul>\n");
}

/// The colour's name and one sentence.
fn verdict(health: &Health) -> (&'static str, String) {
    let because = |reasons: &[String]| reasons.join("; ");
    match health.status {
        Status::Starting => ("unknown", format!("Starting: {}", because(&health.problems))),
        Status::Stale => ("critical", format!("Not current: {}", because(&health.problems))),
        Status::Degraded => ("warning", format!("Degraded: {}", because(&health.problems))),
        Status::Ok if health.age_seconds.is_none() => {
            ("unknown", sentence("Not collecting", &health.reasons))
        }
        Status::Ok => match health.state {
            "STABLE" => ("stable", sentence("All fine", &health.reasons)),
            "WARNING" => ("warning", sentence("WARNING", first(&health.reasons))),
            "CRITICAL" => ("critical", sentence("CRITICAL", first(&health.reasons))),
            _ => ("unknown", sentence("Collecting; the state is unknown", &health.reasons)),
        },
    }
}

fn first(reasons: &[String]) -> &[String] {
    reasons.get(..1).unwrap_or_default()
}

fn sentence(beginning: &str, reasons: &[String]) -> String {
    if reasons.is_empty() {
        beginning.into()
    } else {
        format!("{beginning}: {}", reasons.join("; "))
    }
}

fn push_signs(html: &mut String, health: &Health) {
    if health.metrics.0.is_empty() {
        push(html, "<p>No current values.</p>\n");
        return;
    }
    let figure = |name: &str| {
        let found = health.metrics.0.iter().find(|(held, _)| held.as_str() == name);
        found.map(|(_, value)| *value)
    };
    push(html, "<section aria-label=\"Vital signs\">\n<dl>\n");
    for sign in signs::signs(&figure) {
        push_all(html, &["<div><dt>", &escape(sign.title), "</dt><dd>", &escape(&sign.value)]);
        push_all(html, &["</dd><dd class=\"detail\">", &escape(&sign.detail), "</dd>"]);
        // Its colour says nothing: no rule has judged the value. Readers have it in words above.
        if let Some(share) = sign.share {
            let share = format!("{share:.3}");
            push(html, "<dd class=\"bar\" aria-hidden=\"true\"><meter value=\"");
            push_all(html, &[&share, "\"></meter></dd>"]);
        }
        push(html, "</div>\n");
    }
    push(html, "</dl>\n</section>\n");
}

/// The largest of each kind in one table. Their commands are left out: a page is looked at by many.
fn push_processes(html: &mut String, top: &[TopProcess]) {
    const OF_EACH: usize = 5;
    let mut shown: Vec<&TopProcess> = Vec::new();
    for by in By::ALL {
        for process in signs::largest(top, by, OF_EACH) {
            if shown.iter().all(|held| held.pid != process.pid) {
                shown.push(process);
            }
        }
    }
    if shown.is_empty() {
        return;
    }
    push(html, "<section>\n<h2>Largest processes</h2>\n<table>\n<tr>");
    for by in By::ALL {
        push_all(html, &["<th scope=\"col\">", by.title(), "</th>"]);
    }
    push(html, "<th scope=\"col\">Process</th></tr>\n");
    for process in shown {
        push(html, "<tr>");
        for by in By::ALL {
            let value = by.value(process).unwrap_or_default();
            // A rate is not to break between its number and its unit.
            push_all(html, &["<td>", &escape(&value).replace(' ', "&nbsp;"), "</td>"]);
        }
        push_all(html, &["<td>", &escape(&signs::process_in_words(process)), "</td></tr>\n"]);
    }
    push(html, "</table>\n</section>\n");
}

fn push_collectors(html: &mut String, collectors: &[Collector]) {
    let is_odd = |collector: &&Collector| collector.result != "complete";
    let odd: Vec<&Collector> = collectors.iter().filter(is_odd).collect();
    if collectors.is_empty() {
        return;
    }
    let complete = collectors.len() - odd.len();
    write!(html, "<section>\n<h2>Collectors: {complete} of {} complete</h2>\n", collectors.len())
        .expect("writing to a string cannot fail");
    let unseen: Vec<&str> = collectors
        .iter()
        .filter(|collector| collector.host_view == Some(false))
        .map(|collector| collector.name.as_str())
        .collect();
    if !unseen.is_empty() {
        push_all(html, &["<p><b>Partial view of the host.</b> ", &escape(&unseen.join(", "))]);
        push(html, ": only the container's own can be seen, and is left out. ");
        push(html, "<code>farol doctor</code> says what mends it.</p>\n");
    }
    push(html, "<table>\n");
    for collector in odd {
        push_all(html, &["<tr class=\"", collector.result, "\"><th scope=\"row\">"]);
        push_all(html, &[&escape(&collector.name), "</th><td>", collector.result, "</td><td>"]);
        push_all(html, &[&escape(&collector.reasons.join("; ")), "</td></tr>\n"]);
    }
    push(html, "</table>\n</section>\n");
}

fn push_footer(html: &mut String, health: &Health, telemetry_path: &str) {
    push(html, "<footer>\n<nav>");
    for path in [telemetry_path, "/api/v1/status/buildinfo", "/health", "/-/healthy", "/-/ready"] {
        let path = escape(path);
        push_all(html, &["<a href=\"", &path, "\">", &path, "</a> "]);
    }
    push_all(html, &["</nav>\n<p>Farol ", &escape(health.version), ", ", health.command]);
    if let Some(process) = &health.process {
        push_all(html, &[", up ", &signs::span(process.uptime_seconds)]);
        push_all(html, &[", ", &signs::bytes(process.resident_memory_bytes)]);
    }
    push(html, "</p>\n</footer>\n");
}

/// A tenth of a second tells a live page from one that stands still.
fn age_in_words(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.1} s") } else { signs::span(seconds) }
}

fn push(html: &mut String, text: &str) {
    html.push_str(text);
}

fn push_all(html: &mut String, texts: &[&str]) {
    for text in texts {
        html.push_str(text);
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_allows_the_page_s_own_style_and_script_only() {
        for (directive, text) in [("style-src", STYLE), ("script-src", SCRIPT)] {
            let expected = format!("{directive} 'sha256-{}'", base64(&Sha256::digest(text)));
            assert!(POLICY.contains(&expected), "the policy needs {expected}");
            assert!(!text.contains("</"), "{directive}: would end its element");
        }
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let given = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = given(0) << 16 | given(1) << 8 | given(2);
            for digit in 0..4 {
                let value = bits >> (18 - 6 * digit) & 63;
                text.push(if digit > chunk.len() { '=' } else { DIGITS[value as usize].into() });
            }
        }
        text
    }
}
