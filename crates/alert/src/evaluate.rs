//! From a group and the store to what each of its rules found.
//!
//! [`evaluate`] asks the store in the order of the rules, hands what recording rules have computed
//! to its caller before it goes on, and looks after the alerts that are not found any more: whether
//! their series are still there, and whether they have come down to where their rule calls them over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use farol_model::{Alert, AlertKey, Labels, Phase, STALE, Series, Text, Timestamp, fingerprint};
use farol_query::{Data, Expr, Limits, Metric, Options, Stop};
use farol_store::Reader;

use crate::{
    AlertRule, Group, Missing, RecordRule, Recovery, Rule,
    template::{Context, Sample},
};

mod presence;
mod state;

use presence::Presence;
pub use state::GroupState;

/// What one evaluation of one group found; plain data for [`step`](crate::step()).
#[derive(Clone, Debug)]
pub struct GroupResult {
    pub group: Arc<Group>,
    pub at: Timestamp,
    pub took: Duration,
    /// How far apart its evaluations are at present: its interval, or what they take if that is longer.
    pub every: Duration,
    /// One for each rule of the group, in its order.
    pub rules: Vec<RuleResult>,
}

#[derive(Clone, Debug)]
pub struct RuleResult {
    pub took: Duration,
    /// Of an alerting rule: what its expression holds for, rendered; of a recording rule nothing. An
    /// error says why it could not be evaluated: then nothing is known, and no alert of it takes a turn.
    pub found: Result<Vec<Found>, String>,
    /// Of the alerts that were active and whose series are not among `found`: what else is known.
    pub gone: Vec<Gone>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The labels of the expression's result, without the metric's name.
    pub series: Labels,
    pub value: f64,
    /// With `alertname` and the rule's own, rendered.
    pub labels: Labels,
    pub annotations: Labels,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Gone {
    pub series: Labels,
    pub standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its series are there, and what the rule calls recovered holds.
    Recovered,
    /// Its series are there, and it has not come down to the recovery level yet.
    NotYet,
    /// Nothing is known of its series.
    Missing,
    /// Nothing is known of its series, nor of any other that its rule speaks of: it may well be the
    /// collector that is gone. Told apart only where the rule calls a missing one over.
    Silent,
}

/// What goes with an evaluation besides the rules and the store.
#[derive(Clone, Copy)]
pub struct EvalOptions<'a> {
    pub external_labels: &'a Labels,
    pub external_url: &'a str,
    /// How far back a selector looks for its sample.
    pub lookback: Duration,
    /// The step of a subquery that names none.
    pub subquery_step: Duration,
    /// A series that has been silent until now has ended; none in the past of a store at rest.
    pub now: Option<Timestamp>,
    pub limits: Limits,
    /// How long it usually takes until it is a group's turn again, if that is longer than its interval.
    pub round: Duration,
    /// Asked again and again: whether to give up. Once it says so, no further rule is evaluated.
    pub watch: &'a (dyn Fn() -> Option<Stop> + 'a),
    /// How long it has taken so far.
    pub lap: &'a (dyn Fn() -> Duration + 'a),
}

impl fmt::Debug for EvalOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvalOptions").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Where the results of recording rules go; returns when `reader` has them.
pub type Recorder<'a> = &'a mut dyn FnMut(Vec<Series>) -> Result<(), String>;

/// Evaluates all rules of a group, one after the other, so that a rule sees what those before it have
/// recorded. `alerts` are all alerts known; they are only looked at.
pub fn evaluate(
    group: &Arc<Group>,
    reader: &Reader,
    alerts: &BTreeMap<AlertKey, Arc<Alert>>,
    at: Timestamp,
    state: &mut GroupState,
    record: Recorder<'_>,
    options: &EvalOptions<'_>,
) -> GroupResult {
    let began = (options.lap)();
    let evaluation = Evaluation::new(group, reader, at, options);
    let rules =
        (0..group.rules.len()).map(|place| evaluation.rule(place, alerts, state, record)).collect();
    let took = (options.lap)().saturating_sub(began);
    let every = group.interval.max(options.round);
    GroupResult { group: Arc::clone(group), at, took, every, rules }
}

/// One evaluation of one group, of which the rules can be taken one by one.
pub(crate) struct Evaluation<'a> {
    group: &'a Group,
    reader: &'a Reader,
    /// What the store is asked about; alerts take their turns at the time itself.
    asked: Timestamp,
    options: &'a EvalOptions<'a>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        group: &'a Group,
        reader: &'a Reader,
        at: Timestamp,
        options: &'a EvalOptions<'a>,
    ) -> Evaluation<'a> {
        Evaluation { group, reader, asked: group.asked_at(at), options }
    }

    pub(crate) fn rule(
        &self,
        place: usize,
        alerts: &BTreeMap<AlertKey, Arc<Alert>>,
        state: &mut GroupState,
        record: Recorder<'_>,
    ) -> RuleResult {
        let began = (self.options.lap)();
        let outcome = match &self.group.rules[place] {
            Rule::Record(rule) => {
                let recorded = self.recorded(rule, state.recorded(place));
                recorded.and_then(|series| match series.is_empty() {
                    true => Ok((Vec::new(), Vec::new())),
                    false => record(series).map(|()| (Vec::new(), Vec::new())),
                })
            }
            Rule::Alert(rule) => self.alerted(rule, alerts, state.present(place)),
        };
        let took = (self.options.lap)().saturating_sub(began);
        match outcome {
            Ok((found, gone)) => RuleResult { took, found: Ok(found), gone },
            Err(problem) => RuleResult { took, found: Err(problem), gone: Vec::new() },
        }
    }

    /// What a recording rule comes to, and a stale marker for each series that it came to before and
    /// does no more.
    fn recorded(
        &self,
        rule: &RecordRule,
        before: &mut BTreeSet<Labels>,
    ) -> Result<Vec<Series>, String> {
        let mut now = BTreeMap::new();
        for (metric, value) in self.ask(&rule.expr, &rule.text)? {
            if now.insert(with_labels(&metric.labels, rule.labels.iter().cloned()), value).is_some()
            {
                return Err(same_labels("rule"));
            }
        }
        self.limit(now.len(), "series")?;
        let ended = before.iter().filter(|labels| !now.contains_key(*labels));
        let ended: Vec<Labels> = ended.cloned().collect();
        *before = now.keys().cloned().collect();
        let values = now.into_iter().chain(ended.into_iter().map(|labels| (labels, STALE)));
        let series = values.map(|(labels, value)| Series {
            name: rule.name.clone(),
            labels,
            points: vec![(self.asked, value)],
        });
        Ok(series.collect())
    }

    fn alerted(
        &self,
        rule: &AlertRule,
        alerts: &BTreeMap<AlertKey, Arc<Alert>>,
        present: &mut BTreeMap<Labels, f64>,
    ) -> Result<(Vec<Found>, Vec<Gone>), String> {
        let mut found = Vec::new();
        for (metric, value) in self.ask(&rule.expr, &rule.text)? {
            found.push(self.found(rule, &metric, value));
        }
        let mut look = Look { evaluation: self, rule, series: None, is_silent: None };
        if rule.missing == Missing::Fire {
            let is_known = |series: &Labels| {
                found.iter().any(|found: &Found| found.series == *series)
                    || active(self.group, rule, alerts).any(|alert| alert.series == *series)
            };
            let now = look.all()?;
            let lost = present.iter().filter(|(series, _)| !now.contains_key(*series));
            let lost: Vec<(Metric, f64)> = lost
                .filter(|(series, _)| !is_known(series))
                .map(|(series, value)| (Metric::new(Text::EMPTY, series.clone()), *value))
                .collect();
            *present = now.clone();
            found.extend(lost.iter().map(|(metric, value)| self.found(rule, metric, *value)));
        }
        let keys: BTreeSet<u64> = found.iter().map(|found| fingerprint(&found.labels)).collect();
        if keys.len() < found.len() {
            return Err(same_labels("alert"));
        }
        self.limit(found.len(), "alerts")?;
        let gone = self.gone(rule, alerts, &found, &mut look)?;
        Ok((found, gone))
    }

    fn found(&self, rule: &AlertRule, metric: &Metric, value: f64) -> Found {
        let named = [("__name__".into(), metric.name.clone())];
        let labels = with_labels(&metric.labels, named);
        let context = Context {
            labels: &labels,
            value,
            external_labels: self.options.external_labels,
            external_url: self.options.external_url,
            query: &|text: &str| self.answer(text),
        };
        let rendered = |(name, template): &(Text, crate::Template)| {
            (name.clone(), Text::from(template.expand(&context)))
        };
        let alertname = (Text::from_static("alertname"), rule.name.clone());
        Found {
            series: metric.labels.clone(),
            value,
            labels: with_labels(
                &metric.labels,
                rule.labels.iter().map(rendered).chain([alertname]),
            ),
            annotations: Labels::new(rule.annotations.iter().map(rendered).collect()),
        }
    }

    /// What is known of the rule's active alerts that were not found.
    fn gone(
        &self,
        rule: &AlertRule,
        alerts: &BTreeMap<AlertKey, Arc<Alert>>,
        found: &[Found],
        look: &mut Look<'_>,
    ) -> Result<Vec<Gone>, String> {
        let held: BTreeSet<&Labels> = found.iter().map(|found| &found.series).collect();
        let active = active(self.group, rule, alerts);
        let series: BTreeSet<&Labels> =
            active.map(|alert| &alert.series).filter(|series| !held.contains(series)).collect();
        if series.is_empty() {
            return Ok(Vec::new());
        }
        let (returned, of_returned) = match &rule.recovery {
            None => (BTreeSet::new(), Standing::Recovered),
            Some(Recovery::Level { holds, text, .. }) => {
                (self.series_of(holds, text)?, Standing::NotYet)
            }
            Some(Recovery::Expr { expr, text }) => {
                (self.series_of(expr, text)?, Standing::Recovered)
            }
        };
        let of_others = match of_returned {
            Standing::Recovered if rule.recovery.is_some() => Standing::NotYet,
            Standing::Recovered | Standing::NotYet | Standing::Missing | Standing::Silent => {
                Standing::Recovered
            }
        };
        let mut gone = Vec::new();
        for series in series {
            let standing = match returned.contains(series) {
                true => of_returned,
                false if look.has(series)? => of_others,
                false if rule.missing == Missing::Resolve && look.is_silent() => Standing::Silent,
                false => Standing::Missing,
            };
            gone.push(Gone { series: series.clone(), standing });
        }
        Ok(gone)
    }

    fn limit(&self, count: usize, what: &str) -> Result<(), String> {
        let limit = self.group.limit;
        if limit == 0 || count <= limit {
            return Ok(());
        }
        Err(format!("exceeded limit of {limit} with {count} {what}"))
    }

    fn series_of(&self, expr: &Expr, text: &str) -> Result<BTreeSet<Labels>, String> {
        Ok(self.ask(expr, text)?.into_iter().map(|(metric, _)| metric.labels).collect())
    }

    /// For templates.
    fn answer(&self, text: &str) -> Result<Vec<Sample>, String> {
        let expr = farol_query::parse(text).map_err(|error| error.to_string())?;
        let sample = |(metric, value): (Metric, f64)| {
            let named = [("__name__".into(), metric.name)];
            Sample { labels: with_labels(&metric.labels, named), value }
        };
        Ok(self.ask(&expr, text)?.into_iter().map(sample).collect())
    }

    fn ask(&self, expr: &Expr, text: &str) -> Result<Vec<(Metric, f64)>, String> {
        let options = Options {
            query: text,
            lookback: millis(self.options.lookback),
            subquery_step: millis(self.options.subquery_step),
            now: self.options.now,
            limits: self.options.limits,
            watch: self.options.watch,
        };
        let answer = farol_query::instant(self.reader, expr, self.asked, &options);
        match answer.map_err(|error| error.to_string())?.data {
            Data::Vector { samples, .. } => Ok(samples),
            Data::Scalar { value, .. } => Ok(vec![(Metric::default(), value)]),
            Data::Text { .. } | Data::Matrix(_) | Data::Steps { .. } => {
                Err("rule result is not a vector or scalar".to_owned())
            }
        }
    }
}

impl Group {
    /// What the store is asked about, and what recorded samples are of, when it is evaluated at `at`.
    pub fn asked_at(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_sub(millis(self.query_offset)))
    }
}

/// The series that a rule speaks of, whether they are above its threshold or not; asked for once, and
/// only if it is needed.
struct Look<'a> {
    evaluation: &'a Evaluation<'a>,
    rule: &'a AlertRule,
    series: Option<BTreeMap<Labels, f64>>,
    is_silent: Option<bool>,
}

impl Look<'_> {
    /// Whether nothing is known of anything that the rule speaks of, whatever its labels: a rule may be
    /// about one series alone. What cannot be answered is not known either.
    fn is_silent(&mut self) -> bool {
        if self.is_silent.is_none() {
            let is_any = |series: Result<bool, String>| series.unwrap_or(false);
            let are_there = is_any(self.all().map(|series| !series.is_empty()))
                || is_any(self.ask(&presence::widened(&self.rule.expr)).map(|all| !all.is_empty()));
            self.is_silent = Some(!are_there);
        }
        self.is_silent == Some(true)
    }

    fn has(&mut self, series: &Labels) -> Result<bool, String> {
        Ok(match presence::of(&self.rule.expr) {
            Presence::Always => true,
            Presence::Any(_) => !self.all()?.is_empty(),
            Presence::Each(_) => self.all()?.contains_key(series),
        })
    }

    fn all(&mut self) -> Result<&BTreeMap<Labels, f64>, String> {
        if self.series.is_none() {
            self.series = Some(self.ask(&self.rule.expr)?);
        }
        Ok(self.series.as_ref().expect("it was just asked for"))
    }

    fn ask(&self, expr: &Expr) -> Result<BTreeMap<Labels, f64>, String> {
        let series = match presence::of(expr) {
            Presence::Always => Vec::new(),
            Presence::Any(expr) | Presence::Each(expr) => {
                self.evaluation.ask(&expr, &self.rule.text)?
            }
        };
        Ok(series.into_iter().map(|(metric, value)| (metric.labels, value)).collect())
    }
}

/// Those of a rule that are pending or fire.
fn active<'a>(
    group: &Group,
    rule: &AlertRule,
    alerts: &'a BTreeMap<AlertKey, Arc<Alert>>,
) -> impl Iterator<Item = &'a Alert> {
    let of_rule = alerts.range(crate::step::keys_of(group, rule));
    of_rule.map(|(_, alert)| &**alert).filter(|alert| alert.phase != Phase::Ended)
}

/// A later label takes the place of one of its name; an empty one takes it away.
fn with_labels(labels: &Labels, more: impl IntoIterator<Item = (Text, Text)>) -> Labels {
    let held = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
    Labels::new(held.chain(more).collect())
}

fn same_labels(of: &str) -> String {
    format!("vector contains metrics with the same labelset after applying {of} labels")
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
