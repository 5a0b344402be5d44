//! How a message says it: titles, counts, times, and texts cut to a receiver's limits.

use std::fmt::Write as _;

use farol_alert::Notice;
use farol_model::{Alert, Labels, Timestamp};

use super::is_ended;

/// At most so many UTF-16 units, cut between characters, with `…` for what is missing.
///
/// Receivers count in characters, some in UTF-16 units; what fits the larger count fits both.
pub(super) fn cut(text: &str, most: usize) -> String {
    if length(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = most.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.len_utf16()) else { break };
        left = rest;
        kept.push(c);
    }
    // A backslash at the end would escape the mark.
    let kept = kept.trim_end_matches('\\').trim_end();
    if most == 0 { String::new() } else { format!("{kept}…") }
}

pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

pub(super) fn counts(notice: &Notice) -> (usize, usize) {
    let ended = notice.alerts.iter().filter(|alert| is_ended(alert)).count();
    (notice.alerts.len() - ended, ended)
}

/// `[FIRING:2] HostCpuHigh`, as Alertmanager's default title.
pub(super) fn title(notice: &Notice) -> String {
    let mut title = match counts(notice) {
        (0, _) => "[RESOLVED]".to_owned(),
        (firing, _) => format!("[FIRING:{firing}]"),
    };
    let mut names: Vec<&str> = notice.alerts.iter().map(|alert| alert.name()).collect();
    names.dedup();
    let one = notice.group_labels.get("alertname").or(match names.as_slice() {
        [name] => Some(*name),
        _ => None,
    });
    match one {
        Some(name) => add(&mut title, format_args!(" {name}")),
        None => add(&mut title, format_args!(" {} alerts", notice.alerts.len())),
    }
    title
}

/// The alert's summary, or its name where the rule gives none.
pub(super) fn headline(alert: &Alert) -> &str {
    let summary = alert.annotations.get("summary").filter(|summary| !summary.trim().is_empty());
    summary.unwrap_or_else(|| alert.name())
}

pub(super) fn description(alert: &Alert) -> &str {
    let named = ["description", "message"];
    named.iter().find_map(|name| alert.annotations.get(name)).unwrap_or_default()
}

/// All labels but the name, as `device="sda1", instance="web-1"`.
pub(super) fn labels(alert: &Alert) -> String {
    let others = alert.labels.iter().filter(|(name, _)| name.as_str() != "alertname");
    others.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn value(alert: &Alert) -> String {
    let value = alert.value;
    let rounded = (value * 1000.0).round() / 1000.0;
    if rounded == 0.0 && value != 0.0 { format!("{value:e}") } else { rounded.to_string() }
}

/// When it began to fire.
pub(super) fn began(alert: &Alert) -> Timestamp {
    alert.fired_at.unwrap_or(alert.active_at)
}

/// The moment that made the message due: its newest beginning or end.
pub(super) fn newest(notice: &Notice) -> Option<Timestamp> {
    let moments = notice.alerts.iter().map(|alert| match alert.ended_at {
        Some(ended) if is_ended(alert) => ended,
        _ => began(alert),
    });
    moments.max()
}

/// `2026-11-22T10:15:00.25Z`, as Go writes it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// `2026-11-22 10:15:00 UTC`
pub(super) fn moment(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis());
    at.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `3 min 20 s`
pub(super) fn span(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// What all of them have with the same value.
pub(super) fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Vec<(&'a str, &'a str)> {
    let Some(first) = all.next() else { return Vec::new() };
    let mut shared: Vec<(&str, &str)> =
        first.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for labels in all {
        shared.retain(|(name, value)| labels.get(name) == Some(value));
    }
    shared
}

pub(super) fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cut_never_parts_a_character_and_never_exceeds_the_limit() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("a😀😀", 4), "a😀…");
        assert_eq!(cut("a😀😀", 3), "a…");
        assert_eq!(cut("ab\\*c", 4), "ab…");
        assert_eq!((cut("ab", 1).as_str(), cut("ab", 0).as_str()), ("…", ""));
    }

    #[test]
    fn spans_name_their_two_largest_units() {
        let said: Vec<String> =
            [7, 200, 3600, 3660, 90_000].map(|seconds| span(Duration::from_secs(seconds))).into();
        assert_eq!(said, ["7 s", "3 min 20 s", "1 h", "1 h 1 min", "1 d 1 h"]);
    }
}
