//! `/`: the first look at the machine, made whole on the server.
//!
//! It works without scripts (a reload every few seconds); with them the main part alone is
//! replaced. Nothing is asked of any other place. Metrics are shown by their unit: this file knows
//! no metric's name.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{
        Response,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue},
    },
};
use farol_collect::summary;

use crate::{
    answer::Shared,
    health::{Collector, Health, Status},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The hashes are those of `page.css` and `page.js`; a test tells when they change.
const POLICY: &str = "default-src 'none'; style-src 'sha256-IkI5nVVdXC9vrrPQsTlLVT4KCHwpgDmBGGhuZAXDdJc='; script-src 'sha256-wCs29Gbutq9WkQrp9bRyhpzbRADc+tDjWXPHuKXioII='; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn page(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let html = html(&Health::now(&shared.site), &shared.site.settings.telemetry_path);
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn html(health: &Health, telemetry_path: &str) -> String {
    let mut html = String::with_capacity(8 * 1024);
    push(&mut html, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    push(&mut html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    push(&mut html, "<meta name=\"color-scheme\" content=\"light dark\">\n");
    push(&mut html, "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n");
    push_all(&mut html, &["<title>", &escape(&title(health)), "</title>\n"]);
    push_all(&mut html, &["<style>", STYLE, "</style>\n</head>\n<body>\n"]);
    push_main(&mut html, health);
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
fn push_main(html: &mut String, health: &Health) {
    push(html, "<main id=\"now\">\n");
    push_verdict(html, health);
    push_signs(html, health);
    push_collectors(html, &health.collectors);
    push(html, "</main>\n");
}

fn push_verdict(html: &mut String, health: &Health) {
    let (class, sentence) = verdict(health);
    push_all(html, &["<header class=\"", class, "\">\n<h1>", &escape(&sentence), "</h1>\n<p>"]);
    push_all(html, &["<b>", &escape(host(health)), "</b>"]);
    if let Some(age) = health.age_seconds {
        push_all(html, &[" · data ", &age_in_words(age), " old"]);
    }
    push(html, " <span id=\"link\" role=\"status\"></span></p>\n</header>\n");
}

/// The colour's name and one sentence.
fn verdict(health: &Health) -> (&'static str, String) {
    let because = |reasons: &[String]| reasons.join("; ");
    match health.status {
        Status::Starting => ("unknown", format!("Starting: {}", because(&health.problems))),
        Status::Stale => ("critical", format!("Not current: {}", because(&health.problems))),
        Status::Degraded => ("warning", format!("Degraded: {}", because(&health.problems))),
        Status::Ok => match health.state {
            "STABLE" => ("stable", sentence("All fine", &health.reasons)),
            "WARNING" => ("warning", sentence("WARNING", &health.reasons)),
            "CRITICAL" => ("critical", sentence("CRITICAL", &health.reasons)),
            _ => ("unknown", sentence("Collecting; the state is unknown", &health.reasons)),
        },
    }
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
    push(html, "<section aria-label=\"Vital signs\">\n<dl>\n");
    for (name, value) in &health.metrics.0 {
        let row = summary::ROWS.iter().find(|row| row.short_name() == name.as_str());
        let (unit, help) = row.map_or(("", ""), |row| (row.metric.unit, row.metric.help));
        let (label, shown) = in_words(name, unit, *value);
        push_all(html, &["<div title=\"", &escape(help), "\"><dt>", &escape(&label)]);
        push_all(html, &["</dt><dd>", &escape(&shown), "</dd></div>\n"]);
    }
    push(html, "</dl>\n</section>\n");
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
    for path in [telemetry_path, "/health", "/-/healthy", "/-/ready"] {
        let path = escape(path);
        push_all(html, &["<a href=\"", &path, "\">", &path, "</a> "]);
    }
    push_all(html, &["</nav>\n<p>Farol ", &escape(health.version), ", ", health.command]);
    if let Some(process) = &health.process {
        push_all(html, &[", up ", &duration(process.uptime_seconds)]);
        push_all(html, &[", ", &scaled(process.resident_memory_bytes, &BINARY, "B")]);
    }
    push(html, "</p>\n</footer>\n");
}

/// A name's words and its value as people say it. The unit may also stand at the name's end.
fn in_words(name: &str, unit: &str, value: f64) -> (String, String) {
    let words: Vec<&str> = name.split('_').collect();
    let per_second = words.ends_with(&["per", "second"]);
    let words = words.strip_suffix(&["per", "second"]).unwrap_or(&words);
    let (words, ending) = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() && is_unit(last) => (rest, *last),
        _ => (words, unit),
    };
    let mut shown = quantity(value, ending);
    if per_second {
        shown.push_str("/s");
    }
    (label(words), shown)
}

fn is_unit(word: &str) -> bool {
    matches!(
        word,
        "percent"
            | "ratio"
            | "bytes"
            | "bits"
            | "celsius"
            | "seconds"
            | "ms"
            | "hertz"
            | "watts"
            | "volts"
            | "ghz"
            | "mbps"
    )
}

fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "percent" => format!("{} %", short(value)),
        "ratio" => format!("{} %", short(value * 100.0)),
        "bytes" => scaled(value, &BINARY, "B"),
        "bits" => scaled(value, &DECIMAL, "bit"),
        "mbps" => format!("{} Mbit/s", short(value)),
        "celsius" => format!("{} °C", short(value)),
        "seconds" => duration(value),
        "ms" => format!("{} ms", short(value)),
        "hertz" => scaled(value, &DECIMAL, "Hz"),
        "watts" => format!("{} W", short(value)),
        "volts" => format!("{} V", short(value)),
        "ghz" => format!("{} GHz", short(value)),
        _ => short(value),
    }
}

/// "cpu" and the like are abbreviations; other words begin a label as any sentence does.
fn label(words: &[&str]) -> String {
    const ABBREVIATIONS: &[&str] = &["cpu", "gpu", "io", "ram", "os", "tcp", "udp", "dns", "irq"];
    let shown: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(index, word)| match *word {
            word if ABBREVIATIONS.contains(&word) => word.to_uppercase(),
            word if index == 0 => capitalised(word),
            word => word.to_owned(),
        })
        .collect();
    shown.join(" ")
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The step between prefixes, and their names.
type Prefixes = (f64, [&'static str; 6]);
const BINARY: Prefixes = (1024.0, ["", "Ki", "Mi", "Gi", "Ti", "Pi"]);
const DECIMAL: Prefixes = (1000.0, ["", "k", "M", "G", "T", "P"]);

fn scaled(value: f64, (step, prefixes): &Prefixes, unit: &str) -> String {
    let mut value = value;
    let mut prefixes = prefixes.iter();
    let mut prefix = prefixes.next().copied().unwrap_or_default();
    while value.abs() >= *step {
        let Some(next) = prefixes.next() else { break };
        value /= step;
        prefix = next;
    }
    format!("{} {prefix}{unit}", short(value))
}

/// Three significant digits are what people read.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// The two largest parts: "3 d 4 h".
fn duration(seconds: f64) -> String {
    const PARTS: [(f64, &str); 4] = [(86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s")];
    if seconds.abs() < 1.0 {
        return format!("{} ms", short(seconds * 1000.0));
    }
    if seconds.abs() < 60.0 {
        return format!("{} s", short(seconds));
    }
    let mut left = seconds.floor();
    let mut shown = Vec::new();
    for (size, unit) in PARTS {
        let count = (left / size).floor();
        left -= count * size;
        if count > 0.0 {
            shown.push(format!("{count} {unit}"));
        } else if !shown.is_empty() {
            break;
        }
    }
    shown.truncate(2);
    shown.join(" ")
}

fn age_in_words(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { duration(seconds) }
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

    #[test]
    fn values_are_shown_as_people_say_them() {
        let cases = [
            ("cpu_percent", "percent", 12.345, "CPU", "12.3 %"),
            ("memory_used_ratio", "ratio", 0.5, "Memory used", "50 %"),
            ("memory_used_bytes", "bytes", 3_221_225_472.0, "Memory used", "3 GiB"),
            ("disk_read_bytes_per_second", "bytes", 1536.0, "Disk read", "1.5 KiB/s"),
            ("network_receive_bits_per_second", "bits", 12.5e6, "Network receive", "12.5 Mbit/s"),
            ("download_mbps", "", 0.25, "Download", "0.25 Mbit/s"),
            ("temperature_celsius", "celsius", 47.04, "Temperature", "47 °C"),
            ("cpu_freq_ghz", "", 2.445, "CPU freq", "2.44 GHz"),
            ("latency_ms", "", 3.456, "Latency", "3.46 ms"),
            ("uptime_seconds", "seconds", 273_660.0, "Uptime", "3 d 4 h"),
            ("uptime_seconds", "seconds", 86_405.0, "Uptime", "1 d"),
            ("uptime_seconds", "seconds", 125.0, "Uptime", "2 min 5 s"),
            ("wait_seconds", "seconds", 0.012, "Wait", "12 ms"),
            ("load1", "", 0.5, "Load1", "0.5"),
            ("processes", "", 312.0, "Processes", "312"),
            ("swap_bytes", "bytes", 0.0, "Swap", "0 B"),
        ];
        for (name, unit, value, label, shown) in cases {
            assert_eq!(in_words(name, unit, value), (label.into(), shown.into()), "{name}");
        }
    }
}
