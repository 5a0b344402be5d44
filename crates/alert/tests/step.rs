//! An alert's turns, as text cases: when what is found, and what becomes of it.
//!
//! `tests/step/*.txt`, each case:
//!
//! ```text
//! case a sentence
//! rule for=2m keep_firing_for=5m missing=keep flapping=3/10m/5m every=1m
//! 10:00 a=1 b=2 -> a pending; b pending
//! 10:01 a recovered -> a dropped
//! ```
//!
//! A time is one of 1 January 2026 in UTC, or whole (RFC 3339). What is found: `a=1` (it holds, with
//! a value), or `a recovered`, `a not-yet`, `a missing`, `a silent`, or `nothing`; `error` when the rule could not
//! be evaluated, `removed` when it is no longer loaded. `crash` goes on with what the turns have told,
//! as a program that was killed does. After the arrow all turns, series by series, or `-`. A line `is a
//! firing` asks how it stands: a phase and, as it may be, `flapping`, `since 10:00`, `kept`,
//! `missing`, `value 3`; `is a unknown` when nothing is remembered.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its own files and panics where it fails"
)]

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use farol_alert::{
    AlertRule, Flapping, Found, Gone, Group, Missing, Rule, RuleResult, RuleSet, Standing, retire,
    step,
};
use farol_model::{Alert, AlertKey, Labels, Phase, Text, Timestamp, Transition, Turn};
use proptest::prelude::*;

#[test]
fn alerts_take_their_turns_as_the_cases_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/step");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut failures = String::new();
    let (mut cases, mut seen) = (0, BTreeMap::new());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut world = None;
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix("case ") {
                alike(&mut seen, std::mem::take(&mut lines), &mut failures);
                cases += 1;
                lines.push(format!("{place} {title}"));
                world = None;
                continue;
            }
            lines.push(line.to_owned());
            if let Some(rule) = line.strip_prefix("rule") {
                world = Some(World::new(rule));
                continue;
            }
            let world = world.as_mut().unwrap_or_else(|| panic!("{place}: no rule before"));
            if let Err(problem) = world.line(line) {
                writeln!(failures, "{place}: {line}\n{problem}").unwrap();
            }
        }
        alike(&mut seen, lines, &mut failures);
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(cases >= 40, "{cases} cases");
}

/// No two cases tell the same.
fn alike(seen: &mut BTreeMap<Vec<String>, String>, mut lines: Vec<String>, failures: &mut String) {
    if lines.is_empty() {
        return;
    }
    let title = lines.remove(0);
    if let Some(other) = seen.insert(lines, title.clone()) {
        writeln!(failures, "{title}\n  is {other}").unwrap();
    }
}

struct World {
    group: Group,
    every: Duration,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    journal: Vec<Transition>,
}

const HOST: Text = Text::from_static("pi");

impl World {
    fn new(settings: &str) -> World {
        let rule = plain_rule();
        let mut world = World {
            group: Group {
                file: "cases.yml".into(),
                name: "cases".into(),
                interval: Duration::from_secs(60),
                query_offset: Duration::ZERO,
                limit: 0,
                rules: Vec::new(),
            },
            every: Duration::from_secs(60),
            alerts: BTreeMap::new(),
            journal: Vec::new(),
        };
        let rule = settings.split_whitespace().fold(rule, |mut rule, setting| {
            let (name, value) = setting.split_once('=').expect("name=value");
            match name {
                "for" => rule.hold = span(value),
                "keep_firing_for" => rule.keep_firing = span(value),
                "every" => world.every = span(value),
                "missing" => rule.missing = missing(value),
                "flapping" => {
                    let parts: Vec<&str> = value.split('/').collect();
                    rule.flapping = Some(Flapping {
                        firings: parts[0].parse().unwrap(),
                        within: span(parts[1]),
                        settle: span(parts[2]),
                    });
                }
                _ => panic!("no setting: {setting}"),
            }
            rule
        });
        world.group.rules.push(Rule::Alert(Box::new(rule)));
        world
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line == "crash" {
            self.crash();
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("is ") {
            let (name, want) = rest.split_once(' ').expect("is NAME STATE");
            let is = self.state(name);
            let all = want.split(", ").all(|want| is.iter().any(|is| is == want));
            return if all { Ok(()) } else { Err(format!("  it is {}", is.join(", "))) };
        }
        let (left, want) = line.split_once("->").expect("TIME WHAT -> TURNS");
        let (at, what) = left.trim().split_once(' ').expect("TIME WHAT");
        let mut turns = self.evaluate(time(at), what.trim());
        turns.sort_by(|a, b| name_of(&a.alert).cmp(name_of(&b.alert)));
        let came: Vec<String> =
            turns.iter().map(|turn| format!("{} {}", name_of(&turn.alert), told(turn))).collect();
        self.journal.extend(turns);
        let came = if came.is_empty() { "-".to_owned() } else { came.join("; ") };
        if came == want.trim() { Ok(()) } else { Err(format!("  came: {came}")) }
    }

    fn evaluate(&mut self, now: Timestamp, what: &str) -> Vec<Transition> {
        if what == "removed" {
            return retire(&HOST, &mut self.alerts, &RuleSet::default(), now);
        }
        let Rule::Alert(rule) = &self.group.rules[0] else { panic!("a recording rule") };
        let result = result(what);
        step(&HOST, &self.group, rule, &mut self.alerts, &result, self.every, now)
    }

    /// What the journal's lines alone tell.
    fn crash(&mut self) {
        self.alerts.clear();
        for transition in &self.journal {
            let alert = &transition.alert;
            match (transition.turn, alert.phase) {
                (Turn::Dropped, Phase::Pending) => self.alerts.remove(&alert.key()),
                _ => self.alerts.insert(alert.key(), Arc::clone(alert)),
            };
        }
    }

    fn state(&self, name: &str) -> Vec<String> {
        let Some(alert) = self.alerts.values().find(|alert| name_of(alert) == name) else {
            return vec!["unknown".to_owned()];
        };
        let phase = match alert.phase {
            Phase::Pending => "pending",
            Phase::Firing => "firing",
            Phase::Ended => "ended",
        };
        let clock = |at: Timestamp| {
            let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap();
            at.strftime("%H:%M").to_string()
        };
        let mut is = vec![
            phase.to_owned(),
            format!("since {}", clock(alert.active_at)),
            format!("value {}", alert.value),
            format!("firings {}", alert.firings.len()),
        ];
        is.extend(alert.fired_at.map(|at| format!("fired {}", clock(at))));
        is.extend(alert.ended_at.map(|at| format!("over {}", clock(at))));
        is.extend(alert.keeping_since.map(|_| "kept".to_owned()));
        is.extend(alert.missing_since.map(|_| "missing".to_owned()));
        is.extend(alert.is_flapping.then(|| "flapping".to_owned()));
        is
    }
}

fn told(transition: &Transition) -> String {
    match &transition.reason {
        Some(reason) => format!("{} ({reason})", transition.turn.name()),
        None => transition.turn.name().to_owned(),
    }
}

fn plain_rule() -> AlertRule {
    AlertRule {
        id: "Case".into(),
        name: "Case".into(),
        expr: farol_query::parse("x > 0").unwrap(),
        text: "x > 0".into(),
        hold: Duration::ZERO,
        keep_firing: Duration::ZERO,
        labels: Vec::new(),
        annotations: Vec::new(),
        recovery: None,
        missing: Missing::Keep,
        flapping: None,
        remedy: None,
        line: 1,
        column: 1,
    }
}

fn result(what: &str) -> RuleResult {
    let mut found = Vec::new();
    let mut gone = Vec::new();
    let mut words = what.split_whitespace();
    while let Some(word) = words.next() {
        if word == "error" {
            let found = Err("the store does not answer".to_owned());
            return RuleResult { took: Duration::ZERO, found, gone };
        }
        if word == "nothing" {
            continue;
        }
        if let Some((name, value)) = word.split_once('=') {
            found.push(found_one(name, value.parse().unwrap()));
            continue;
        }
        let standing = match words.next() {
            Some("recovered") => Standing::Recovered,
            Some("not-yet") => Standing::NotYet,
            Some("missing") => Standing::Missing,
            Some("silent") => Standing::Silent,
            other => panic!("{word} {other:?}"),
        };
        gone.push(Gone { series: series(word), standing });
    }
    RuleResult { took: Duration::ZERO, found: Ok(found), gone }
}

/// `a'` is the series `a` under another label.
fn found_one(name: &str, value: f64) -> Found {
    let labels = Labels::from([("alertname", "Case"), ("series", name)]);
    Found { series: series(name), value, labels, annotations: Labels::empty() }
}

fn series(name: &str) -> Labels {
    Labels::from([("series", name.trim_end_matches('\''))])
}

fn name_of(alert: &Alert) -> &str {
    alert.labels.get("series").unwrap()
}

fn missing(word: &str) -> Missing {
    match word {
        "keep" => Missing::Keep,
        "resolve" => Missing::Resolve,
        "fire" => Missing::Fire,
        _ => panic!("no policy: {word}"),
    }
}

fn span(text: &str) -> Duration {
    let millis = farol_query::parse_duration(text).unwrap();
    Duration::from_millis(millis.try_into().unwrap())
}

fn time(text: &str) -> Timestamp {
    let whole = match text.matches(':').count() {
        _ if text.contains('T') => text.to_owned(),
        1 => format!("2026-01-01T{text}:00Z"),
        _ => format!("2026-01-01T{text}Z"),
    };
    let at: jiff::Timestamp = whole.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Timestamp::from_millis(at.as_millisecond())
}

/// One look at one series.
#[derive(Clone, Copy, Debug)]
enum Look {
    Holds,
    Standing(Standing),
    Error,
}

fn looks() -> impl Strategy<Value = Vec<(i64, Look)>> {
    let look = prop_oneof![
        8 => Just(Look::Holds),
        1 => Just(Look::Standing(Standing::Recovered)),
        1 => Just(Look::Standing(Standing::NotYet)),
        1 => Just(Look::Standing(Standing::Missing)),
        1 => Just(Look::Standing(Standing::Silent)),
        1 => Just(Look::Error),
    ];
    // Mostly the interval; now and then the clock jumps, or the machine sleeps.
    let gap = prop_oneof![
        12 => Just(60_000_i64),
        2 => 0..200_000_i64,
        1 => -10_000_000..10_000_000_i64,
    ];
    proptest::collection::vec((gap, look), 1..120)
}

proptest! {
    #[test]
    fn no_history_fires_an_alert_before_it_was_seen_holding_for_as_long_as_the_rule_asks(
        looks in looks(),
        hold in 0..600_000_i64,
        missing in prop_oneof![Just(Missing::Keep), Just(Missing::Resolve)],
    ) {
        let mut world = World::new("");
        let Rule::Alert(rule) = &mut world.group.rules[0] else { panic!("a recording rule") };
        rule.hold = Duration::from_millis(hold.unsigned_abs());
        rule.missing = missing;
        let most = 180_000;
        let mut now = 1_700_000_000_000;
        // Of the series: since when it holds without a break, as it was seen; none while it does not.
        let mut seen: Option<i64> = None;
        let mut last = now;
        for (gap, look) in looks {
            now += gap;
            let what = match look {
                Look::Holds => "a=1",
                Look::Standing(Standing::Recovered) => "a recovered",
                Look::Standing(Standing::NotYet) => "a not-yet",
                Look::Standing(Standing::Missing) => "a missing",
                Look::Standing(Standing::Silent) => "a silent",
                Look::Error => "error",
            };
            let was_firing = world.alerts.values().any(|alert| alert.phase == Phase::Firing);
            let turns = world.evaluate(Timestamp::from_millis(now), what);
            if matches!(look, Look::Error) {
                prop_assert!(turns.is_empty());
                continue;
            }
            let passed = now - last;
            let passed = if (0..=most).contains(&passed) { passed } else { 0 };
            last = now;
            seen = match look {
                Look::Holds => Some(seen.map_or(0, |held| held + passed)),
                Look::Standing(_) | Look::Error => None,
            };
            let is_firing = world.alerts.values().any(|alert| alert.phase == Phase::Firing);
            if is_firing && !was_firing {
                prop_assert!(seen.is_some_and(|held| held >= hold), "{seen:?} of {hold}");
            }
            if let Some(held) = seen && held >= hold {
                prop_assert!(is_firing, "held for {held} of {hold}");
            }
            for turn in turns {
                prop_assert_eq!(&*turn.alert.key().group, "cases");
                prop_assert_eq!(turn.at, Timestamp::from_millis(now));
            }
        }
    }
}
