//! Groups of rules evaluated over a store, as text cases.
//!
//! `tests/evaluate/*.txt`, each case:
//!
//! ```text
//! case a sentence
//! rules
//!   groups: …            (a file of rules, in YAML)
//! ours
//!   farol_rules: …       (what only Farol is told of them, if anything)
//! load 1m
//!   up{a="b"} 1 1 0x10   (series in the notation of unit tests)
//! at 5m
//!   RULE found {labels} value {annotations}
//!   RULE gone {labels} recovered|not-yet|missing|silent
//!   RULE error: a part of its text
//!   record name{labels} value|stale
//! ```
//!
//! Each `at` evaluates all groups once, in their order, and steps the alerts; what is listed is all
//! that came. `reload` reads the `rules` that follow in place of the others. Times are from 0.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its own files and panics where it fails"
)]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use farol_alert::{
    EvalOptions, Group, GroupState, Rule, RuleSet, Standing, evaluate, rules::Defaults,
    scratch::Scratch, step,
};
use farol_model::{Alert, AlertKey, Labels, Series, Text, Timestamp, is_stale};
use farol_query::Limits;
use farol_store::Store;

#[test]
fn groups_of_rules_find_what_the_cases_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evaluate");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut failures, mut cases) = (String::new(), 0);
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut world = World::default();
        for (number, head, block) in blocks(&text) {
            let place = format!("{name}:{number}");
            if head.starts_with("case ") {
                cases += 1;
                world = World::default();
            } else if let Err(problem) = world.block(head, &block) {
                failures.push_str(&format!("{place}: {head}\n{problem}\n"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(cases > 15, "{cases} cases");
}

/// Lines that begin at the margin, each with those indented below it.
fn blocks(text: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let mut blocks: Vec<(usize, &str, Vec<&str>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("  ") {
            Some(rest) => blocks.last_mut().unwrap().2.push(rest),
            None => blocks.push((number + 1, line, Vec::new())),
        }
    }
    blocks
}

struct World {
    scratch: Scratch,
    rules: String,
    ours: String,
    groups: Vec<(Arc<Group>, GroupState)>,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    /// The series of groups that a reload has taken away.
    ended: Vec<(Arc<Group>, GroupState)>,
}

impl Default for World {
    fn default() -> World {
        World {
            scratch: Scratch::over(Store::in_memory().unwrap()),
            rules: String::new(),
            ours: String::new(),
            groups: Vec::new(),
            alerts: BTreeMap::new(),
            ended: Vec::new(),
        }
    }
}

impl World {
    fn block(&mut self, head: &str, block: &[&str]) -> Result<(), String> {
        match head.split_once(' ').unwrap_or((head, "")) {
            ("rules" | "reload", "") => {
                self.rules = block.join("\n");
                self.ours.clear();
            }
            ("ours", "") => self.ours = block.join("\n"),
            ("load", step) => return self.load(span(step), block),
            ("at", time) => {
                let came = self.at(Timestamp::from_millis(span(time)));
                let mut want: Vec<String> = block.iter().map(|line| (*line).to_owned()).collect();
                want.sort();
                let is_it = |(want, came): (&String, &String)| match want.split_once("error: ") {
                    Some((rule, part)) => came.starts_with(rule) && came.contains(part),
                    None => want == came,
                };
                let same = want.len() == came.len() && want.iter().zip(&came).all(is_it);
                return if same { Ok(()) } else { Err(format!("  {}", came.join("\n  "))) };
            }
            _ => panic!("no block: {head}"),
        }
        self.read()
    }

    fn read(&mut self) -> Result<(), String> {
        let mut files = vec![("rules.yml", self.rules.as_str())];
        if !self.ours.is_empty() {
            files.push(("ours.yml", &self.ours));
        }
        let set = RuleSet::parse(&files, &Defaults::default()).map_err(|errors| {
            errors.iter().map(|error| format!("  {error}\n")).collect::<String>()
        })?;
        let mut old = std::mem::take(&mut self.groups);
        for group in set.groups {
            let place = old.iter().position(|(old, _)| old.name == group.name);
            let state = match place.map(|place| old.remove(place)) {
                Some((from, state)) => state.moved(&from, &group),
                None => GroupState::default(),
            };
            self.groups.push((group, state));
        }
        self.ended.append(&mut old);
        Ok(())
    }

    fn load(&mut self, step: i64, block: &[&str]) -> Result<(), String> {
        for line in block {
            let at = line.find("} ").map_or_else(|| line.find(' '), |at| Some(at + 1)).unwrap();
            let (series, values) = line.split_at(at);
            let loaded = farol_alert::unit_test::input(series, values.trim(), step)?;
            self.scratch.record(vec![loaded])?;
        }
        Ok(())
    }

    fn at(&mut self, at: Timestamp) -> Vec<String> {
        let labels = Labels::from([("place", "cellar")]);
        let options = EvalOptions {
            external_labels: &labels,
            external_url: "http://farol.example",
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            now: None,
            round: Duration::ZERO,
            limits: Limits { samples: 1_000_000, series: 1000, steps: 1000 },
            watch: &|| None,
            lap: &|| Duration::ZERO,
        };
        let mut came = Vec::new();
        for (group, state) in std::mem::take(&mut self.ended) {
            came.extend(state.ended(&group, at).iter().map(recorded));
        }
        let reader = self.scratch.reader();
        for (group, state) in &mut self.groups {
            let mut told = Vec::new();
            let mut record = |series: Vec<Series>| {
                told.extend(series.iter().map(recorded));
                self.scratch.record(series)
            };
            let result = evaluate(group, &reader, &self.alerts, at, state, &mut record, &options);
            came.extend(told);
            for (rule, result) in group.rules.iter().zip(&result.rules) {
                let name = rule.name();
                match &result.found {
                    Err(problem) => came.push(format!("{name} error: {problem}")),
                    Ok(found) => came.extend(found.iter().map(|found| {
                        let (labels, told) = (shown(&found.labels), shown(&found.annotations));
                        format!("{name} found {labels} {} {told}", found.value).trim().to_owned()
                    })),
                }
                came.extend(result.gone.iter().map(|gone| {
                    let standing = match gone.standing {
                        Standing::Recovered => "recovered",
                        Standing::NotYet => "not-yet",
                        Standing::Missing => "missing",
                        Standing::Silent => "silent",
                    };
                    format!("{name} gone {} {standing}", shown(&gone.series))
                }));
                if let Rule::Alert(rule) = rule {
                    let host = Text::from_static("pi");
                    step(&host, group, rule, &mut self.alerts, result, group.interval, at);
                }
            }
            let told = state.alert_series(group, &self.alerts, at);
            // Only the ends of rules' own series: of alerts there would be two lines for each.
            let orphans = told.iter().filter(|series| !series.name.starts_with("ALERTS"));
            came.extend(orphans.map(recorded));
            self.scratch.record(told).unwrap();
        }
        came.sort();
        came
    }
}

fn recorded(series: &Series) -> String {
    let (at, value) = series.points[0];
    assert_eq!(series.points.len(), 1);
    let value = if is_stale(value) { "stale".to_owned() } else { value.to_string() };
    let seconds = at.as_millis() / 1000;
    format!("record {}{} {value} @{seconds}", series.name, shown(&series.labels))
}

fn shown(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| format!("{name}={value:?}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

fn span(text: &str) -> i64 {
    farol_query::parse_duration(text).unwrap()
}
