//! The machine's state: the worst severity that fires, with what and since when.

use std::cmp::Reverse;

use farol_model::{Alert, Memory, Phase, State, Text, Timestamp, Verdict};

/// More reasons than anybody reads at once; the rest is counted.
const MOST_REASONS: usize = 20;

/// Of the alerts that fire. Whether they were evaluated lately the caller knows.
pub fn verdict(memory: &Memory) -> Verdict {
    let firing = memory.alerts.values().filter(|alert| alert.phase == Phase::Firing);
    let mut firing: Vec<&Alert> = firing.map(AsRef::as_ref).collect();
    firing.retain(|alert| rank(alert.state()) > rank(State::Stable));
    firing.sort_by_key(|alert| (Reverse(rank(alert.state())), alert.fired_at));
    let state = firing.first().map_or(State::Stable, |worst| worst.state());
    let mut reasons: Vec<Text> =
        firing.iter().take(MOST_REASONS).map(|alert| reason(alert)).collect();
    if firing.len() > MOST_REASONS {
        reasons.push(format!("and {} more", firing.len() - MOST_REASONS).into());
    }
    Verdict { state, reasons }
}

const fn rank(state: State) -> u8 {
    match state {
        State::Unknown => 0,
        State::Stable => 1,
        State::Warning => 2,
        State::Critical => 3,
    }
}

/// `CPU 93 % busy on pi (HostCpuBusy, critical since 2026-11-25 07:58 UTC)`
fn reason(alert: &Alert) -> Text {
    let summary = alert.annotations.get("summary").unwrap_or_else(|| alert.name());
    let since = alert.fired_at.map(since).unwrap_or_default();
    let severity = match alert.state() {
        State::Critical => "critical",
        _ => "warning",
    };
    format!("{summary} ({}, {severity}{since})", alert.name()).into()
}

fn since(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis());
    at.map(|at| at.strftime(" since %Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use farol_model::{Labels, fingerprint};

    use super::*;

    fn memory(alerts: &[(&str, Option<&str>, Phase, i64)]) -> Memory {
        let mut memory = Memory::default();
        for (name, severity, phase, fired_at) in alerts {
            let at = Timestamp::from_millis(*fired_at);
            let labels =
                Labels::from([("alertname", *name), ("severity", severity.unwrap_or_default())]);
            let alert = Alert {
                group: "g".into(),
                rule: Text::from(*name),
                annotations: Labels::from([("summary", "It is so")]),
                series: Labels::empty(),
                value: 1.0,
                phase: *phase,
                active_at: at,
                fired_at: Some(at),
                keeping_since: None,
                missing_since: None,
                unseen: 0,
                seen_at: at,
                ended_at: None,
                firings: Vec::new(),
                is_flapping: false,
                remedy: None,
                labels,
            };
            debug_assert_eq!(alert.key().fingerprint, fingerprint(&alert.labels));
            memory.alerts.insert(alert.key(), Arc::new(alert));
        }
        memory
    }

    #[test]
    fn the_worst_severity_that_fires_is_the_state_and_comes_first() {
        use Phase::{Ended, Firing, Pending};
        for (alerts, state, reasons) in [
            (vec![], State::Stable, vec![]),
            (vec![("A", Some("critical"), Pending, 0)], State::Stable, vec![]),
            (vec![("A", Some("critical"), Ended, 0)], State::Stable, vec![]),
            (vec![("A", Some("info"), Firing, 0)], State::Stable, vec![]),
            (
                vec![("A", None, Firing, 0)],
                State::Warning,
                vec!["It is so (A, warning since 1970-01-01 00:00 UTC)"],
            ),
            (
                vec![("A", Some("warning"), Firing, 0), ("B", Some("page"), Firing, 5000)],
                State::Critical,
                vec![
                    "It is so (B, critical since 1970-01-01 00:00 UTC)",
                    "It is so (A, warning since 1970-01-01 00:00 UTC)",
                ],
            ),
        ] {
            let verdict = verdict(&memory(&alerts));
            assert_eq!(verdict.state, state, "{alerts:?}");
            assert_eq!(verdict.reasons, reasons, "{alerts:?}");
        }
    }

    #[test]
    fn a_storm_of_alerts_is_told_in_a_bounded_list() {
        let names: Vec<String> = (0..100).map(|n| format!("A{n}")).collect();
        let alerts: Vec<_> =
            names.iter().map(|name| (name.as_str(), Some("critical"), Phase::Firing, 0)).collect();
        let verdict = verdict(&memory(&alerts));
        assert_eq!(verdict.reasons.len(), MOST_REASONS + 1);
        assert_eq!(verdict.reasons.last().unwrap(), "and 80 more");
    }
}
