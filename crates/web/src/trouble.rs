//! What is wrong and what is done about it, in words: for the page and for `farol status`.
//!
//! Alerts that are told come first, the gravest and oldest before the rest; all lists are bounded, and
//! what is left out is counted. What programs have put out is not shown: a page is looked at by many.

use std::{cmp::Reverse, sync::Arc};

use farol_alert::{
    Mutes, Reasons,
    silences::{Standing, standing},
    tally::{Tally, tally},
};
use farol_model::{
    Action, ActionStep, Alert, Memory, Phase, Silence, State, Timestamp, fingerprint,
};
use serde_json::{Value, json};

use crate::Site;

/// Rows of each list.
const MOST_ALERTS: usize = 20;
const MOST_SILENCES: usize = 10;
const MOST_TREATMENTS: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) tally: Tally,
    pub(crate) alerts: Vec<ShownAlert>,
    pub(crate) more_alerts: usize,
    /// In force, or to come.
    pub(crate) silences: Vec<ShownSilence>,
    pub(crate) more_silences: usize,
    /// The last of each remedy, the newest first.
    pub(crate) treatments: Vec<Treatment>,
}

#[derive(Debug)]
pub(crate) struct ShownAlert {
    pub(crate) name: String,
    /// As it stands in the label.
    pub(crate) severity: String,
    pub(crate) state: State,
    /// Its summary, else the labels that tell it from others of its name.
    pub(crate) what: String,
    pub(crate) is_firing: bool,
    /// It began to fire, or its expression to hold.
    pub(crate) since: Timestamp,
    pub(crate) value: f64,
    /// What keeps it from being told.
    pub(crate) muted: Vec<String>,
    /// What else is to be known of it.
    pub(crate) notes: Vec<&'static str>,
}

#[derive(Debug)]
pub(crate) struct ShownSilence {
    pub(crate) id: String,
    pub(crate) matchers: String,
    pub(crate) is_active: bool,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) created_by: String,
    pub(crate) comment: String,
}

#[derive(Debug)]
pub(crate) struct Treatment {
    pub(crate) remedy: String,
    pub(crate) at: Timestamp,
    /// The alert's name; none when a person asked.
    pub(crate) alert: Option<String>,
    pub(crate) became: String,
}

impl Trouble {
    pub(crate) fn now(site: &Site, now: Timestamp) -> Trouble {
        let memory = Arc::clone(&site.memory.borrow());
        let routing = Arc::clone(&site.routing.borrow());
        let mutes = Mutes::new(&memory, &routing, now);
        let (alerts, more_alerts) = alerts(&memory, &mutes, now);
        let (silences, more_silences) = silences(&memory, now);
        Trouble {
            tally: tally(&memory, &routing, now),
            alerts,
            more_alerts,
            silences,
            more_silences,
            treatments: treatments(&memory),
        }
    }

    /// The firing alerts and the silences in force, for a program beside this one.
    pub(crate) fn report(&self) -> (Value, Value) {
        let firing = self.alerts.iter().filter(|alert| alert.is_firing);
        let firing = firing.map(|alert| {
            json!({
                "name": alert.name,
                "severity": alert.severity,
                "what": alert.what,
                "since": rfc3339(alert.since),
                "value": value_in_words(alert.value),
                "muted": alert.muted,
                "notes": alert.notes,
            })
        });
        let active = self.silences.iter().filter(|silence| silence.is_active);
        let active = active.map(|silence| {
            json!({
                "id": silence.id,
                "matchers": silence.matchers,
                "endsAt": rfc3339(silence.ends_at),
                "createdBy": silence.created_by,
                "comment": silence.comment,
            })
        });
        (firing.collect(), active.collect())
    }
}

fn alerts(memory: &Memory, mutes: &Mutes<'_>, now: Timestamp) -> (Vec<ShownAlert>, usize) {
    let active = memory.alerts.values().filter(|alert| alert.phase != Phase::Ended);
    let mut active: Vec<(&Arc<Alert>, bool)> =
        active.map(|alert| (alert, mutes.of(alert).is_some())).collect();
    active.sort_by_key(|(alert, is_muted)| {
        let is_firing = alert.phase == Phase::Firing;
        (Reverse(is_firing), *is_muted, Reverse(gravity(alert.state())), since(alert))
    });
    let more = active.len().saturating_sub(MOST_ALERTS);
    active.truncate(MOST_ALERTS);
    let shown = active.into_iter().map(|(alert, is_muted)| {
        let reasons = if is_muted { mutes.reasons(alert) } else { Reasons::default() };
        shown_alert(alert, muted_in_words(&reasons, memory, now))
    });
    (shown.collect(), more)
}

const fn gravity(state: State) -> u8 {
    match state {
        State::Critical => 2,
        State::Warning => 1,
        State::Stable | State::Unknown => 0,
    }
}

fn since(alert: &Alert) -> Timestamp {
    match alert.phase {
        Phase::Firing => alert.fired_at.unwrap_or(alert.active_at),
        Phase::Pending | Phase::Ended => alert.active_at,
    }
}

fn shown_alert(alert: &Alert, muted: Vec<String>) -> ShownAlert {
    let mut notes = Vec::new();
    for (note, holds) in [
        ("no data", alert.missing_since.is_some()),
        ("coming to rest", alert.keeping_since.is_some()),
        ("flapping", alert.is_flapping),
    ] {
        if holds {
            notes.push(note);
        }
    }
    ShownAlert {
        name: alert.name().to_owned(),
        severity: alert.severity().unwrap_or_default().to_owned(),
        state: alert.state(),
        what: what(alert),
        is_firing: alert.phase == Phase::Firing,
        since: since(alert),
        value: alert.value,
        muted,
        notes,
    }
}

fn what(alert: &Alert) -> String {
    if let Some(summary) = alert.annotations.get("summary") {
        return summary.to_owned();
    }
    let labels = alert.labels.iter();
    let labels = labels.filter(|(name, _)| *name != "alertname" && *name != "severity");
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn muted_in_words(reasons: &Reasons, memory: &Memory, now: Timestamp) -> Vec<String> {
    let silences = reasons.silences.iter().map(|id| {
        let until = memory.silences.get(id).map(|silence| clock_time(silence.ends_at, now));
        format!("silenced until {}", until.unwrap_or_else(|| "it is expired".to_owned()))
    });
    let name_of = |print: u64| {
        let mut alerts = memory.alerts.values();
        let found = alerts.find(|alert| fingerprint(&alert.labels) == print)?;
        Some(format!("{} {}", found.severity().unwrap_or_default(), found.name()))
    };
    let inhibitors = reasons.inhibitors.iter().filter_map(|print| name_of(*print));
    let inhibitors = inhibitors.map(|name| format!("muted by {}", name.trim_start()));
    let quiet = reasons.quiet.iter().map(|name| format!("quiet hours {name}"));
    let mut words: Vec<String> = silences.chain(inhibitors).chain(quiet).collect();
    words.dedup();
    words
}

fn silences(memory: &Memory, now: Timestamp) -> (Vec<ShownSilence>, usize) {
    let mut held: Vec<(Standing, &Silence)> = memory
        .silences
        .values()
        .map(|silence| (standing(silence, now), silence))
        .filter(|(standing, _)| *standing != Standing::Expired)
        .collect();
    held.sort_by_key(|(standing, silence)| (*standing != Standing::Active, silence.ends_at));
    let more = held.len().saturating_sub(MOST_SILENCES);
    held.truncate(MOST_SILENCES);
    let shown = held.into_iter().map(|(standing, silence)| ShownSilence {
        id: silence.id.to_string(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        is_active: standing == Standing::Active,
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        created_by: silence.created_by.to_string(),
        comment: silence.comment.to_string(),
    });
    (shown.collect(), more)
}

fn treatments(memory: &Memory) -> Vec<Treatment> {
    let mut last: Vec<&Action> =
        memory.remedies.values().filter_map(|remedy| remedy.last.as_ref()).collect();
    last.sort_by_key(|action| Reverse(action.at));
    last.truncate(MOST_TREATMENTS);
    let shown = last.into_iter().map(|action| Treatment {
        remedy: action.remedy.to_string(),
        at: action.at,
        alert: action.alert.as_ref().map(|(name, _)| name.to_string()),
        became: became(&action.step),
    });
    shown.collect()
}

fn became(step: &ActionStep) -> String {
    match step {
        ActionStep::Refused { reason } => format!("refused: {reason}"),
        ActionStep::Rehearsed { summary, .. } => format!("dry run: {summary}"),
        ActionStep::Intended { what } => format!("under way: {what}"),
        ActionStep::Finished { ok: true, summary, .. } => format!("done: {summary}"),
        ActionStep::Finished { ok: false, summary, .. } => format!("failed: {summary}"),
        ActionStep::Judged { judgement, before, after } => {
            let values = match (before, after) {
                (Some(before), Some(after)) => {
                    format!(
                        ", {} before, {} after",
                        value_in_words(*before),
                        value_in_words(*after)
                    )
                }
                _ => String::new(),
            };
            format!("done; afterwards: {}{values}", judgement.name())
        }
        ActionStep::Unknown => "ended with Farol; its outcome is not known".to_owned(),
    }
}

/// With as many digits as people read.
pub(crate) fn value_in_words(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let digits = if value.abs() >= 1.0 { 2 } else { 4 };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The minute in UTC, and the day where it is another than today.
pub(crate) fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let read = |at: Timestamp| {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC))
    };
    match (read(at), read(now)) {
        (Some(at), Some(now)) if at.date() == now.date() => at.strftime("%H:%M UTC").to_string(),
        (Some(at), _) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        (None, _) => "a time beyond all calendars".to_owned(),
    }
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(time) => format!("{time:.0}"),
        Err(_) => at.as_millis().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_as_many_digits_as_people_read() {
        for (value, expected) in [
            (93.234_567, "93.23"),
            (100.0, "100"),
            (0.000_04, "0"),
            (0.0123, "0.0123"),
            (-1.5, "-1.5"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(value_in_words(value), expected);
        }
    }

    #[test]
    fn a_time_of_today_is_told_without_its_day() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        assert_eq!(clock_time(now, now), "08:00 UTC");
        let before = Timestamp::from_millis(1_799_900_000_000);
        assert_eq!(clock_time(before, now), "2027-01-14 04:13 UTC");
    }
}
