//! The machine's state: the worst severity that fires, with what and since when.

use farol_model::{Alert, Memory, Phase, State, Text, Verdict};

/// Of alerts that fire only; whether they were evaluated lately the caller knows.
pub fn verdict(memory: &Memory) -> Verdict {
    let firing = || memory.alerts.values().filter(|alert| alert.phase == Phase::Firing);
    let state = firing().map(|alert| alert.state()).max_by_key(|state| rank(*state));
    let state = state.unwrap_or(State::Stable);
    let reasons =
        firing().filter(|alert| alert.state() != State::Stable).map(|alert| reason(alert));
    Verdict { state, reasons: reasons.collect() }
}

fn rank(state: State) -> u8 {
    match state {
        State::Unknown => 0,
        State::Stable => 1,
        State::Warning => 2,
        State::Critical => 3,
    }
}

fn reason(alert: &Alert) -> Text {
    alert.annotations.get("summary").unwrap_or_else(|| alert.name()).into()
}
