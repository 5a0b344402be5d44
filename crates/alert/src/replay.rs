//! What rules would have done: the same [`evaluate()`] and [`step()`] over a history, evaluation by evaluation.
//!
//! What recording rules come to is laid over the history, so that later rules see it. It begins
//! knowing nothing: what held already at the beginning is pending from there on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use farol_model::{Alert, AlertKey, Labels, Phase, Text, Timestamp, Turn};

use crate::{EvalOptions, GroupState, Rule, RuleSet, evaluate, scratch::Scratch, step};

/// The times of a replay, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    pub group: Text,
    pub labels: Labels,
    /// As they were when it began to fire.
    pub annotations: Labels,
    pub value: f64,
    pub active_at: Timestamp,
    pub from: Timestamp,
    /// None while it fires on at the end.
    pub to: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// In the order in which they began.
    pub fired: Vec<Fired>,
    /// Alerts that were pending at the end.
    pub pending: usize,
    /// Evaluations of rules.
    pub evaluations: u64,
    /// Of each rule that could not always be evaluated: how often, and why at last.
    pub errors: BTreeMap<Text, (u64, String)>,
    /// Where it was told to stop, if not at the end.
    pub stopped_at: Option<Timestamp>,
}

/// Evaluations of rules in one replay: minutes of work.
const MOST_EVALUATIONS: u64 = 20_000_000;

/// Evaluates all groups in their intervals over the span. An error says why that is too much.
pub fn replay(
    rules: &RuleSet,
    scratch: &mut Scratch,
    span: Span,
    options: &EvalOptions<'_>,
) -> Result<Replayed, String> {
    let groups = &rules.groups;
    let length = span.to.since(span.from);
    let all = groups.iter().map(|group| {
        let times = length.as_millis() / group.interval.as_millis().max(1) + 1;
        u64::try_from(times).unwrap_or(u64::MAX).saturating_mul(group.rules.len() as u64)
    });
    let all = all.fold(0, u64::saturating_add);
    if all > MOST_EVALUATIONS {
        return Err(format!(
            "{all} evaluations are too many ({MOST_EVALUATIONS} at most): ask for less time, fewer \
             rules or a longer interval"
        ));
    }
    let mut replaying = Replaying::new(groups.len());
    let due =
        |(place, group): (usize, &Arc<crate::Group>)| (first(span.from, group.interval), place);
    let mut due: BTreeSet<(Timestamp, usize)> = groups.iter().enumerate().map(due).collect();
    while let Some((at, place)) = due.pop_first().filter(|(at, _)| *at <= span.to) {
        if (options.watch)().is_some() {
            replaying.replayed.stopped_at = Some(at);
            break;
        }
        let group = &groups[place];
        replaying.evaluate(group, place, scratch, at, options);
        due.insert((at.plus(group.interval.max(Duration::from_millis(1))), place));
    }
    Ok(replaying.ended())
}

/// Evaluations are at multiples of the interval, as those of a running Farol are.
fn first(from: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let past = from.as_millis().rem_euclid(interval);
    let wait = if past == 0 { 0 } else { interval - past };
    Timestamp::from_millis(from.as_millis().saturating_add(wait))
}

struct Replaying {
    states: Vec<GroupState>,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    /// The places of those that fire in what has fired.
    open: BTreeMap<AlertKey, usize>,
    replayed: Replayed,
}

impl Replaying {
    fn new(groups: usize) -> Replaying {
        Replaying {
            states: vec![GroupState::default(); groups],
            alerts: BTreeMap::new(),
            open: BTreeMap::new(),
            replayed: Replayed::default(),
        }
    }

    fn evaluate(
        &mut self,
        group: &Arc<crate::Group>,
        place: usize,
        scratch: &mut Scratch,
        at: Timestamp,
        options: &EvalOptions<'_>,
    ) {
        let host = Text::from_static("replay");
        let state = &mut self.states[place];
        let reader = scratch.reader();
        let mut record = |series| scratch.record(series);
        let result = evaluate(group, &reader, &self.alerts, at, state, &mut record, options);
        let mut turns = Vec::new();
        for (rule, found) in group.rules.iter().zip(&result.rules) {
            self.replayed.evaluations += 1;
            if let Err(problem) = &found.found {
                let (times, last) = self.replayed.errors.entry(rule.name().clone()).or_default();
                *times += 1;
                last.clone_from(problem);
            }
            if let Rule::Alert(rule) = rule {
                turns.extend(step(&host, group, rule, &mut self.alerts, found, result.every, at));
            }
        }
        if let Err(problem) = scratch.record(state.alert_series(group, &self.alerts, at)) {
            let (times, last) =
                self.replayed.errors.entry(Text::from_static("ALERTS")).or_default();
            *times += 1;
            *last = problem;
        }
        for transition in turns {
            let key = transition.alert.key();
            match transition.turn {
                Turn::Firing => {
                    self.open.insert(key, self.replayed.fired.len());
                    self.replayed.fired.push(fired(&transition.alert, at));
                }
                Turn::Resolved => {
                    if let Some(place) = self.open.remove(&key) {
                        self.replayed.fired[place].to = Some(at);
                    }
                }
                Turn::Pending
                | Turn::Keeping
                | Turn::Resumed
                | Turn::Missing
                | Turn::Flapping
                | Turn::Dropped => {}
            }
        }
        // What is over is of use only to see it flap again.
        let is_old = |alert: &Alert| {
            alert.ended_at.is_some_and(|ended| at.since(ended) > Duration::from_secs(24 * 60 * 60))
        };
        self.alerts.retain(|_, alert| alert.phase != Phase::Ended || !is_old(alert));
    }

    fn ended(mut self) -> Replayed {
        let pending = self.alerts.values().filter(|alert| alert.phase == Phase::Pending);
        self.replayed.pending = pending.count();
        self.replayed
    }
}

fn fired(alert: &Alert, at: Timestamp) -> Fired {
    Fired {
        group: alert.group.clone(),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        value: alert.value,
        active_at: alert.active_at,
        from: at,
        to: None,
    }
}

#[cfg(test)]
mod tests {
    use farol_model::Series;
    use farol_query::{Limits, Stop};
    use farol_store::Store;

    use super::*;
    use crate::{rules::Defaults, unit_test::input};

    const RULES: &str = r#"
groups:
  - name: recorded
    rules: [{record: twice, expr: 2 * x}]
  - name: alerts
    interval: 30s
    rules:
      - {alert: High, expr: twice > 10, for: 1m, annotations: {summary: 'at {{ $value }}'}}
      - {alert: Broken, expr: x + on () y > 0}
"#;

    fn rules() -> RuleSet {
        RuleSet::parse(&[("rules.yml", RULES)], &Defaults::default()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn scratch(series: Vec<Series>) -> Scratch {
        let mut scratch = Scratch::over(Store::in_memory().unwrap());
        scratch.record(series).unwrap();
        scratch
    }

    fn run(to: Timestamp, watch: &dyn Fn() -> Option<Stop>) -> Result<Replayed, String> {
        let mut scratch = scratch(vec![
            input("x{i=\"1\"}", "1x3 6x4 1x3 7x3", 60_000).unwrap(),
            input("y{i=\"1\"}", "1x20", 60_000).unwrap(),
            input("y{i=\"2\"}", "_x14 1 1", 60_000).unwrap(),
        ]);
        let options = EvalOptions {
            external_labels: &Labels::empty(),
            external_url: "",
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            now: None,
            round: Duration::ZERO,
            limits: Limits { samples: 1_000_000, series: 1000, steps: 1000 },
            watch,
            lap: &|| Duration::ZERO,
        };
        replay(&rules(), &mut scratch, Span { from: at(-10), to }, &options)
    }

    #[test]
    fn a_replay_tells_what_would_have_fired_over_what_it_has_recorded_itself() {
        let replayed = run(at(15 * 60), &|| None).unwrap();
        let told: Vec<String> = replayed
            .fired
            .iter()
            .filter(|fired| fired.labels.get("alertname") == Some("High"))
            .map(|fired| {
                let to = fired.to.map(Timestamp::as_seconds);
                let summary = fired.annotations.get("summary").unwrap();
                let [since, from] = [fired.active_at, fired.from].map(Timestamp::as_seconds);
                format!("{since} {from} {to:?} {summary}")
            })
            .collect();
        assert_eq!(told, ["240 300 Some(540.0) at 12", "780 840 None at 14"]);
        assert_eq!(replayed.evaluations, 16 + 2 * 31);
        let (times, problem) = &replayed.errors["Broken"];
        assert!(*times >= 2 && problem.contains("duplicate series"), "{times} {problem}");
    }

    #[test]
    fn a_replay_that_is_too_long_is_refused_and_one_that_is_told_to_stop_says_where() {
        let error = run(Timestamp::from_millis(i64::MAX / 2), &|| None).unwrap_err();
        assert!(error.contains("ask for less time"), "{error}");
        let stopped = run(at(900), &|| Some(Stop::TimedOut)).unwrap();
        assert_eq!((stopped.stopped_at, stopped.evaluations), (Some(at(0)), 0));
    }
}
