//! The part of the page about alerts, silences and treatments. What is not there leaves no heading.

use farol_collect::signs;
use farol_model::{State, Timestamp};

use super::{escape, push, push_all};
use crate::trouble::{self, ShownAlert, ShownSilence, Treatment, Trouble, clock_time, rfc3339};

pub(super) fn push_trouble(html: &mut String, trouble: &Trouble, now: Timestamp) {
    push_alerts(html, trouble, now);
    push_silences(html, trouble, now);
    push_treatments(html, &trouble.treatments, now);
}

fn push_alerts(html: &mut String, trouble: &Trouble, now: Timestamp) {
    if trouble.alerts.is_empty() {
        return;
    }
    push_all(
        html,
        &["<section>\n<h2 id=\"alerts\">", &title(trouble), "</h2>\n<table class=\"wide\">\n<tr>"],
    );
    for (column, class) in
        [("Alert", ""), ("Severity", ""), ("Since", ""), ("Value", " class=\"number\"")]
    {
        push_all(html, &["<th scope=\"col\"", class, ">", column, "</th>"]);
    }
    push(html, "</tr>\n");
    for alert in &trouble.alerts {
        push_alert(html, alert, now);
    }
    push(html, "</table>\n");
    push_more(html, trouble.more_alerts, "<a href=\"/api/v1/alerts\">all alerts as JSON</a>");
    push(html, "</section>\n");
}

/// `Alerts: 3 firing, 1 of them muted, 2 pending`
fn title(trouble: &Trouble) -> String {
    let tally = &trouble.tally;
    let muted = tally.silenced + tally.inhibited + tally.quiet;
    let parts = [
        (tally.firing, format!("{} firing", tally.firing)),
        (muted, format!("{muted} of them muted")),
        (tally.pending, format!("{} pending", tally.pending)),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words);
    format!("Alerts: {}", parts.collect::<Vec<_>>().join(", "))
}

fn push_alert(html: &mut String, alert: &ShownAlert, now: Timestamp) {
    let class = match (alert.is_firing, alert.muted.is_empty()) {
        (true, true) => class(alert.state),
        _ => "rest",
    };
    push_all(html, &["<tr class=\"", class, "\"><th scope=\"row\">", &escape(&alert.name)]);
    if !alert.what.is_empty() {
        push_all(html, &["<small>", &escape(&alert.what), "</small>"]);
    }
    let severity = if alert.severity.is_empty() { "none given" } else { &alert.severity };
    push_all(html, &["</th><td><span class=\"word\">", &escape(severity), "</span>"]);
    let pending = (!alert.is_firing).then_some("pending");
    let notes = alert.muted.iter().map(String::as_str).chain(alert.notes.iter().copied());
    let notes: Vec<&str> = pending.into_iter().chain(notes).collect();
    if !notes.is_empty() {
        push_all(html, &["<small>", &escape(&notes.join("; ")), "</small>"]);
    }
    push(html, "</td><td>");
    push_time(html, alert.since, now);
    let value = trouble::value_in_words(alert.value);
    push_all(html, &["</td><td class=\"number\">", &escape(&value), "</td></tr>\n"]);
}

const fn class(state: State) -> &'static str {
    match state {
        State::Critical => "critical",
        State::Warning => "warning",
        State::Stable | State::Unknown => "stable",
    }
}

/// How long ago; beneath it the time itself.
fn push_time(html: &mut String, at: Timestamp, now: Timestamp) {
    let ago = signs::span(now.since(at).as_secs_f64()).replace(' ', "&nbsp;");
    let (machine, people) = (rfc3339(at), clock_time(at, now).replace(' ', "&nbsp;"));
    push_all(html, &["<time datetime=\"", &machine, "\">", &ago]);
    push_all(html, &["<small>", &people, "</small></time>"]);
}

fn push_silences(html: &mut String, trouble: &Trouble, now: Timestamp) {
    if trouble.silences.is_empty() {
        return;
    }
    push(html, "<section>\n<h2>Silences</h2>\n<table class=\"wide\">\n<tr>");
    push(
        html,
        "<th scope=\"col\">Matching</th><th scope=\"col\">By</th><th scope=\"col\">Until</th></tr>\n",
    );
    for silence in &trouble.silences {
        push_silence(html, silence, now);
    }
    push(html, "</table>\n");
    push_more(html, trouble.more_silences, "<a href=\"/api/v2/silences\">all silences as JSON</a>");
    push(html, "</section>\n");
}

fn push_silence(html: &mut String, silence: &ShownSilence, now: Timestamp) {
    push_all(html, &["<tr><th scope=\"row\">", &escape(&silence.matchers), "</th><td>"]);
    push(html, &escape(&silence.created_by));
    if !silence.comment.is_empty() {
        push_all(html, &["<small>", &escape(&silence.comment), "</small>"]);
    }
    let until = clock_time(silence.ends_at, now).replace(' ', "&nbsp;");
    push_all(html, &["</td><td><time datetime=\"", &rfc3339(silence.ends_at), "\">", &until]);
    if !silence.is_active {
        let from = clock_time(silence.starts_at, now);
        push_all(html, &["<small>not before ", &from, "</small>"]);
    }
    push(html, "</time></td></tr>\n");
}

fn push_treatments(html: &mut String, treatments: &[Treatment], now: Timestamp) {
    if treatments.is_empty() {
        return;
    }
    push(html, "<section>\n<h2>Last treatments</h2>\n<table class=\"wide\">\n<tr>");
    push(
        html,
        "<th scope=\"col\">Remedy</th><th scope=\"col\">What became of it</th><th scope=\"col\">Ago</th></tr>\n",
    );
    for treatment in treatments {
        push_all(html, &["<tr><th scope=\"row\">", &escape(&treatment.remedy), "<small>"]);
        match &treatment.alert {
            Some(alert) => push_all(html, &["for ", &escape(alert)]),
            None => push(html, "asked for by a person"),
        }
        push_all(html, &["</small></th><td>", &escape(&treatment.became), "</td><td>"]);
        push_time(html, treatment.at, now);
        push(html, "</td></tr>\n");
    }
    push(html, "</table>\n</section>\n");
}

fn push_more(html: &mut String, more: usize, link: &str) {
    if more > 0 {
        push_all(html, &["<p>and ", &more.to_string(), " more: ", link, "</p>\n"]);
    }
}
