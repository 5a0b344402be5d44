//! Rules tried on made-up series, in the files of `promtool test rules`.
//!
//! All of it runs through the same [`evaluate`](crate::evaluate()) and [`step`](crate::step()) as the
//! real rules, in a store in memory that begins in 1970. Rules that stand alone are to do here what
//! they do in Prometheus, so that both give the same verdict: series that are gone end their alerts,
//! and nothing is held for flapping. Where a file of ours is among the rule files, they do what they
//! do in Farol.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use farol_model::{Alert, AlertKey, Labels, Phase, Series, Text, Timestamp};
use farol_query::{Data, Expr, Limits, Metric, Options, print_duration};
use farol_store::Store;
use farol_wire::yaml::{self, Node};

use crate::{
    AlertRule, EvalOptions, Flapping, Group, GroupState, Missing, Rule, RuleError, RuleSet,
    evaluate::Evaluation,
    rules::fields::{Fields, Reader},
    scratch::Scratch,
    step,
};

mod values;

/// A file of tests.
#[derive(Clone, Debug)]
pub struct UnitTests {
    /// As they stand in the file: patterns, seen from its folder.
    pub rule_files: Vec<Text>,
    interval: Duration,
    /// Groups in the order in which they are evaluated; others come first.
    order: Vec<Text>,
    is_fuzzy: bool,
    tests: Vec<Test>,
}

#[derive(Clone, Debug)]
struct Test {
    name: Text,
    input: Vec<Series>,
    alerts: Vec<AlertCase>,
    exprs: Vec<ExprCase>,
    external_labels: Labels,
    external_url: Text,
}

#[derive(Clone, Debug)]
struct AlertCase {
    at: i64,
    alertname: Text,
    /// Labels and annotations, sorted.
    expected: Vec<(Labels, Labels)>,
}

#[derive(Clone, Debug)]
struct ExprCase {
    at: i64,
    expr: Expr,
    text: Text,
    expected: Vec<((Text, Labels), f64)>,
}

/// What one evaluation may take; a test is small.
const LIMITS: Limits = Limits { samples: 50_000_000, series: 100_000, steps: 11_000 };
/// Evaluations of one test, so that a slip of the pen (`eval_time: 10y`) ends.
const MOST_EVALUATIONS: i64 = 1_000_000;

/// Reads a file of tests; its path only names it.
pub fn read(path: &str, text: &str) -> Result<UnitTests, Vec<RuleError>> {
    let mut reader = Reader { file: path.into(), errors: Vec::new() };
    let (root, faults) = yaml::parse(text);
    reader.faults(faults);
    let tests = file(&mut reader, &root);
    reader.errors.sort();
    match tests {
        Some(tests) if reader.errors.is_empty() => Ok(tests),
        _ => Err(reader.errors),
    }
}

const FILE: &[&str] =
    &["rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare", "tests"];
const TEST: &[&str] = &[
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
];

fn file(reader: &mut Reader, root: &Node) -> Option<UnitTests> {
    let fields = reader.fields(root, "a file of tests", FILE)?;
    let minute = Duration::from_secs(60);
    let interval = reader.duration(&fields, "evaluation_interval").filter(|span| !span.is_zero());
    let interval = interval.unwrap_or(minute);
    let tests = reader.items(fields.get("tests"), "\"tests\"");
    let order = texts(reader, &fields, "group_eval_order");
    for (place, name) in order.iter().enumerate() {
        if order.iter().take(place).any(|earlier| earlier == name) {
            reader.complain(fields.mark, format!("group_eval_order names {name:?} twice"));
        }
    }
    Some(UnitTests {
        rule_files: texts(reader, &fields, "rule_files"),
        interval,
        order,
        is_fuzzy: reader.text(&fields, "fuzzy_compare") == Some("true"),
        tests: tests.iter().filter_map(|node| test(reader, node, interval)).collect(),
    })
}

fn texts(reader: &mut Reader, fields: &Fields<'_>, key: &str) -> Vec<Text> {
    let items = reader.items(fields.get(key), &format!("{key:?}"));
    items.iter().filter_map(|item| Some(reader.scalar(item, key)?.into())).collect()
}

fn test(reader: &mut Reader, node: &Node, evaluated: Duration) -> Option<Test> {
    let fields = reader.fields(node, "a test", TEST)?;
    let interval = reader.duration(&fields, "interval").filter(|span| !span.is_zero());
    let interval = interval.unwrap_or(evaluated);
    let input = reader.items(fields.get("input_series"), "\"input_series\"");
    let alerts = reader.items(fields.get("alert_rule_test"), "\"alert_rule_test\"");
    let exprs = reader.items(fields.get("promql_expr_test"), "\"promql_expr_test\"");
    Some(Test {
        name: reader.text(&fields, "name").unwrap_or_default().into(),
        input: input.iter().filter_map(|node| input_series(reader, node, interval)).collect(),
        alerts: alerts.iter().filter_map(|node| alert_case(reader, node)).collect(),
        exprs: exprs.iter().filter_map(|node| expr_case(reader, node)).collect(),
        external_labels: labels(reader, &fields, "external_labels"),
        external_url: reader.text(&fields, "external_url").unwrap_or_default().into(),
    })
}

fn input_series(reader: &mut Reader, node: &Node, interval: Duration) -> Option<Series> {
    let fields = reader.fields(node, "a series", &["series", "values"])?;
    let series = reader.text(&fields, "series").unwrap_or_default();
    let values = reader.text(&fields, "values").unwrap_or_default();
    match input(series, values, millis(interval)) {
        Ok(series) => Some(series),
        Err(problem) => {
            reader.complain(fields.mark, problem);
            None
        }
    }
}

/// A series and its values as unit tests write them, one value a step from 1970 on.
pub fn input(series: &str, values: &str, step_millis: i64) -> Result<Series, String> {
    let (name, labels) = values::series(series)?;
    let times = (0..).map(|place: i64| place.saturating_mul(step_millis));
    let points = times.zip(values::values(values)?);
    let points = points.filter_map(|(at, value)| Some((millis_at(at), value?))).collect();
    Ok(Series { name, labels, points })
}

fn alert_case(reader: &mut Reader, node: &Node) -> Option<AlertCase> {
    let keys = ["eval_time", "alertname", "exp_alerts"];
    let fields = reader.fields(node, "an item of alert_rule_test", &keys)?;
    let alertname: Text = reader.text(&fields, "alertname").unwrap_or_default().into();
    if alertname.is_empty() {
        reader.complain(fields.mark, "an item of alert_rule_test has no alertname");
    }
    let name = || (Text::from_static("alertname"), alertname.clone());
    let mut expected = Vec::new();
    for node in reader.items(fields.get("exp_alerts"), "\"exp_alerts\"") {
        let keys = ["exp_labels", "exp_annotations"];
        let Some(fields) = reader.fields(node, "an expected alert", &keys) else { continue };
        let given = labels(reader, &fields, "exp_labels");
        let named = given.iter().map(|(name, value)| (name.clone(), value.clone())).chain([name()]);
        let annotations = labels(reader, &fields, "exp_annotations");
        expected.push((Labels::new(named.collect()), annotations));
    }
    expected.sort();
    let at = reader.duration(&fields, "eval_time").map_or(0, millis);
    Some(AlertCase { at, alertname, expected })
}

fn expr_case(reader: &mut Reader, node: &Node) -> Option<ExprCase> {
    let keys = ["expr", "eval_time", "exp_samples"];
    let fields = reader.fields(node, "an item of promql_expr_test", &keys)?;
    let mut expected = Vec::new();
    for node in reader.items(fields.get("exp_samples"), "\"exp_samples\"") {
        let keys = ["labels", "value", "histogram"];
        let Some(fields) = reader.fields(node, "an expected sample", &keys) else { continue };
        if fields.get("histogram").is_some() {
            reader.complain(fields.mark, "native histograms are not known here");
        }
        let series = reader.text(&fields, "labels").unwrap_or("{}");
        match values::series(if series.is_empty() { "{}" } else { series }) {
            Ok(series) => {
                let value = reader.number::<f64>(&fields, "value", "number").unwrap_or(0.0);
                expected.push((series, value));
            }
            Err(problem) => reader.complain(fields.mark, problem),
        }
    }
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    let at = reader.duration(&fields, "eval_time").map_or(0, millis);
    let text = reader.text(&fields, "expr").unwrap_or_default();
    match farol_query::parse(text) {
        Ok(expr) => Some(ExprCase { at, expr, text: text.into(), expected }),
        Err(error) => {
            reader.complain(fields.mark, format!("expr: {error}"));
            None
        }
    }
}

fn labels(reader: &mut Reader, fields: &Fields<'_>, key: &str) -> Labels {
    let Some(node) = fields.get(key) else { return Labels::empty() };
    let pairs = reader.pairs(node, &format!("{key:?}")).unwrap_or_default();
    let labels = pairs.iter().filter_map(|(key, value)| {
        Some((Text::from(&*key.text), Text::from(reader.scalar(value, &key.text)?)))
    });
    Labels::new(labels.collect())
}

/// How rules behave in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A series that is gone ends its alerts, nothing flaps.
    Prometheus,
    Farol,
}

impl UnitTests {
    /// Runs all tests on the rules and returns what is not as it was expected, in words.
    pub fn run(&self, rules: &RuleSet, manner: Manner) -> Vec<String> {
        let mut groups: Vec<Arc<Group>> =
            rules.groups.iter().map(|group| Arc::new(self.prepared(group, manner))).collect();
        let order = |group: &Arc<Group>| {
            // As promtool sorts them: what is not named has the first place.
            self.order.iter().position(|name| *name == group.name).unwrap_or(0)
        };
        groups.sort_by_key(order);
        let failures = self.tests.iter().map(|test| match Run::new(self, &groups, test) {
            Ok(run) => run.through().unwrap_or_else(|failures| failures),
            Err(problem) => vec![problem],
        });
        failures.flatten().collect()
    }

    /// Every group is evaluated in the file's interval, whatever its own is.
    fn prepared(&self, group: &Group, manner: Manner) -> Group {
        let mut group = Group { interval: self.interval, ..group.clone() };
        for rule in &mut group.rules {
            if let (Rule::Alert(rule), Manner::Prometheus) = (rule, manner) {
                as_in_prometheus(rule);
            }
        }
        group
    }
}

fn as_in_prometheus(rule: &mut AlertRule) {
    rule.missing = Missing::Over;
    let none = Duration::ZERO;
    rule.flapping = Some(Flapping { firings: usize::MAX, within: none, settle: none });
}

/// One test under way.
struct Run<'a> {
    file: &'a UnitTests,
    groups: &'a [Arc<Group>],
    test: &'a Test,
    scratch: Scratch,
    states: Vec<GroupState>,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    failures: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(file: &'a UnitTests, groups: &'a [Arc<Group>], test: &'a Test) -> Result<Self, String> {
        let store = Store::in_memory().map_err(|error| error.to_string())?;
        let mut scratch = Scratch::over(store);
        scratch.record(test.input.clone())?;
        let states = vec![GroupState::default(); groups.len()];
        let (alerts, failures) = (BTreeMap::new(), Vec::new());
        Ok(Run { file, groups, test, scratch, states, alerts, failures })
    }

    /// An error is what kept it from its end.
    fn through(mut self) -> Result<Vec<String>, Vec<String>> {
        let step = millis(self.file.interval);
        let alert_times = self.test.alerts.iter().map(|case| case.at);
        let last = alert_times.chain(self.test.exprs.iter().map(|case| case.at)).max();
        let last = last.unwrap_or(0);
        if last / step > MOST_EVALUATIONS {
            let problem =
                format!("    more than {MOST_EVALUATIONS} evaluations up to the last eval_time");
            return Err(vec![problem]);
        }
        for at in (0..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let errors = self.evaluate(at);
            if !errors.is_empty() {
                self.failures.extend(errors);
                return Err(self.failures);
            }
            let test = self.test;
            let due = test.alerts.iter().filter(|case| (at..at + step).contains(&case.at));
            let mut due: Vec<&AlertCase> = due.collect();
            due.sort_by_key(|case| case.at);
            for case in due {
                self.check_alerts(case);
            }
        }
        for case in &self.test.exprs {
            if let Err(problem) = self.check_expr(case) {
                self.failures.push(problem);
            }
        }
        Ok(self.failures)
    }

    /// What could not be evaluated.
    fn evaluate(&mut self, at: i64) -> Vec<String> {
        let (host, at) = (Text::from_static("test"), millis_at(at));
        let options = EvalOptions {
            external_labels: &self.test.external_labels,
            external_url: &self.test.external_url,
            lookback: LOOKBACK,
            subquery_step: self.file.interval,
            now: None,
            limits: LIMITS,
            watch: &|| None,
            lap: &|| Duration::ZERO,
            round: Duration::ZERO,
        };
        let reader = self.scratch.reader();
        let mut errors = Vec::new();
        for (group, state) in self.groups.iter().zip(&mut self.states) {
            let evaluation = Evaluation::new(group, &reader, at, &options);
            for (place, rule) in group.rules.iter().enumerate() {
                let record = &mut |series| self.scratch.record(series);
                let result = evaluation.rule(place, &self.alerts, state, record);
                if let Rule::Alert(rule) = rule {
                    step(&host, group, rule, &mut self.alerts, &result, group.interval, at);
                }
                let told = state.alert_series_of(place, group, &self.alerts, at);
                let outcome = result.found.and_then(|_| self.scratch.record(told));
                if let Err(problem) = outcome {
                    let time = print_duration(at.as_millis());
                    errors.push(format!("    rule: {}, time: {time}, err: {problem}", rule.name()));
                }
            }
        }
        errors
    }

    fn check_alerts(&mut self, case: &AlertCase) {
        let fires = |alert: &&Arc<Alert>| {
            alert.phase == Phase::Firing && alert.name() == case.alertname.as_str()
        };
        let mut got: Vec<(Labels, Labels)> = self
            .alerts
            .values()
            .filter(fires)
            .map(|alert| (alert.labels.clone(), alert.annotations.clone()))
            .collect();
        got.sort();
        if got == case.expected {
            return;
        }
        let name = match self.test.name.is_empty() {
            true => String::new(),
            false => format!("    name: {},\n", self.test.name),
        };
        let time = print_duration(case.at);
        self.failures.push(format!(
            "{name}    alertname: {}, time: {time}, \n        exp:{}, \n        got:{}",
            case.alertname,
            alerts_shown(&case.expected),
            alerts_shown(&got),
        ));
    }

    fn check_expr(&self, case: &ExprCase) -> Result<(), String> {
        let place = format!("    expr: {:?}, time: {}", case.text, print_duration(case.at));
        let options = Options {
            query: &case.text,
            lookback: millis(LOOKBACK),
            subquery_step: millis(self.file.interval),
            now: None,
            limits: LIMITS,
            watch: &|| None,
        };
        let reader = self.scratch.reader();
        let answer = farol_query::instant(&reader, &case.expr, millis_at(case.at), &options);
        let data = answer.map_err(|error| format!("{place}, err: {error}"))?.data;
        let mut got: Vec<((Text, Labels), f64)> = match data {
            Data::Vector { samples, .. } => samples.into_iter().map(sample).collect(),
            Data::Scalar { value, .. } => vec![((Text::EMPTY, Labels::empty()), value)],
            Data::Text { .. } | Data::Matrix(_) | Data::Steps { .. } => {
                return Err(format!("{place}, err: rule result is not a vector or scalar"));
            }
        };
        got.sort_by(|a, b| a.0.cmp(&b.0));
        let is_same = got.len() == case.expected.len()
            && got
                .iter()
                .zip(&case.expected)
                .all(|(got, want)| got.0 == want.0 && self.same(got.1, want.1));
        if is_same {
            return Ok(());
        }
        Err(format!(
            "{place},\n        exp: {}\n        got: {}",
            samples_shown(&case.expected),
            samples_shown(&got)
        ))
    }

    /// With `fuzzy_compare` neighbours are the same.
    fn same(&self, a: f64, b: f64) -> bool {
        a == b
            || (a.is_nan() && b.is_nan())
            || (self.file.is_fuzzy && (a.next_up() == b || a.next_down() == b))
    }
}

/// Prometheus', as in promtool.
const LOOKBACK: Duration = Duration::from_secs(5 * 60);

fn sample((metric, value): (Metric, f64)) -> ((Text, Labels), f64) {
    ((metric.name, metric.labels), value)
}

fn alerts_shown(alerts: &[(Labels, Labels)]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let each = alerts.iter().enumerate().map(|(place, (labels, annotations))| {
        let (labels, annotations) = (shown("", labels), shown("", annotations));
        format!(
            "                {place}:\n                  Labels:{labels}\n                  Annotations:{annotations}"
        )
    });
    format!("[\n{}\n            ]", each.collect::<Vec<_>>().join(",\n"))
}

fn samples_shown(samples: &[((Text, Labels), f64)]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let each = samples.iter().map(|((name, labels), value)| {
        let mut number = Vec::new();
        farol_query::print_number(*value, &mut number);
        format!("{} {}", shown(name, labels), String::from_utf8_lossy(&number))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn shown(name: &str, labels: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels.iter() {
        let comma = if text.is_empty() { "" } else { ", " };
        let written = write!(text, "{comma}{name}={value:?}");
        debug_assert!(written.is_ok(), "a text takes everything");
    }
    format!("{name}{{{text}}}")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn millis_at(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}
