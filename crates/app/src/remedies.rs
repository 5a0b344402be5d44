//! Remedies as they are configured: from the configuration to what `farol_act` runs, the task that runs
//! them, and what a person may ask of it at the control socket.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use farol_act::remedy::{
    Answer, BUILT_INS, BuiltIn, Clock, Inputs, Known, Order, Policy, Reading, Recorder, Settings,
    Starter, Surroundings, ValueReader, Worse, follow, on_a_thread, policy,
};
use farol_alert::{
    AlertRule, Board, Group, Rule, RuleSet, Standing,
    evaluate::{EvalOptions, GroupState, evaluate},
    rules::{compared, fires_above},
};
use farol_collect::own;
use farol_model::{Action, ActionStep, Alert, Labels, Memory, Record, Text, Timestamp};
use farol_query::{Limits, Stop};
use farol_store::Reader;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    clock,
    config::{self, Config},
    history::ReaderSlot,
    remember::Remember,
};

/// Further orders wait in the socket.
const ORDERS: usize = 8;

/// All remedies: those that are configured, and in dry run those that need no configuration and whose
/// name is not taken.
pub fn known(config: &Config) -> Known {
    let mut known: Vec<Settings> = config.remedies.iter().filter_map(settings).collect();
    for settings in BUILT_INS.iter().filter_map(BuiltIn::by_default) {
        if !known.iter().any(|known| known.name == settings.name) {
            known.push(settings);
        }
    }
    known.into()
}

/// Whether each remedy exists that a rule names: a wrong name would only show when it is too late.
pub fn check(rules: &RuleSet, config: &Config) -> anyhow::Result<()> {
    let problems = strangers(rules, config);
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// A sentence for each rule that names a remedy that does not exist.
pub fn strangers(rules: &RuleSet, config: &Config) -> Vec<String> {
    let known = known(config);
    let mut names: Vec<&str> = known.iter().map(|remedy| remedy.name.as_str()).collect();
    names.sort_unstable();
    let stranger = |(group, rule): (&Arc<Group>, &Rule)| {
        let Rule::Alert(rule) = rule else { return None };
        let remedy = rule.remedy.as_ref().filter(|remedy| !names.contains(&remedy.as_str()))?;
        Some(format!(
            "{}: the alert {} names the remedy {remedy:?}, which does not exist; known: {}",
            group.file,
            rule.id,
            names.join(", ")
        ))
    };
    rules.rules().filter_map(stranger).collect()
}

/// None cannot happen: what cannot be built is refused with the configuration.
fn settings(remedy: &config::Remedy) -> Option<Settings> {
    let treatment = (BuiltIn::of(remedy.kind)?.build)(&remedy.fields).ok()?;
    let hours = remedy.hours.as_ref().map(config::QuietHours::window).transpose().ok()?;
    Some(Settings {
        name: remedy.name.clone(),
        kind: remedy.kind,
        treatment,
        dry_run: remedy.dry_run,
        policy: Policy {
            sustained: remedy.sustained,
            cooldown: remedy.cooldown,
            per_day: remedy.per_day,
            hours,
        },
        wait: remedy.wait,
        deadline: remedy.deadline,
    })
}

pub fn surroundings(config: &Config) -> Surroundings {
    Surroundings {
        root: config.host.root.clone(),
        own: vec![config.logs.clone(), config.data.clone()],
    }
}

/// The task that runs remedies, and the ways to it. Dropped, it stops, and is not waited for.
pub struct Remedies {
    settings: watch::Sender<Known>,
    orders: mpsc::Sender<Order>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    memory: watch::Receiver<Arc<Memory>>,
    surroundings: Arc<Surroundings>,
    own: Arc<own::Board>,
}

impl fmt::Debug for Remedies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remedies").finish_non_exhaustive()
    }
}

impl Remedies {
    /// To be called inside the runtime, once the memory holds what was recalled. `value` says what is
    /// known of an alert at the moment; it may block.
    pub fn start(
        config: &Config,
        memory: watch::Receiver<Arc<Memory>>,
        remember: Remember,
        value: ValueReader,
        own: Arc<own::Board>,
    ) -> Remedies {
        let known = known(config);
        show_known(&own, &known, &memory.borrow());
        let (settings, follows) = watch::channel(known);
        let (orders, taken) = mpsc::channel(ORDERS);
        let (stop, stopping) = watch::channel(false);
        let surroundings = Arc::new(surroundings(config));
        let board = Arc::clone(&own);
        let record: Recorder = Arc::new(move |action| {
            let board = Arc::clone(&board);
            let taken = remember.clone().record(Record::Action(action.clone()));
            Box::pin(async move {
                let taken = taken.await.map_err(|error| error.to_string());
                count(&board, &action, taken.is_ok());
                taken
            })
        });
        let now: Clock = Arc::new(clock::now);
        let start: Starter = on_a_thread;
        let task = tokio::spawn(follow(Inputs {
            host: config.host_name.clone(),
            settings: follows,
            memory: memory.clone(),
            orders: taken,
            now,
            record,
            value,
            start,
            surroundings: Arc::clone(&surroundings),
            stop: stopping,
        }));
        Remedies { settings, orders, stop, task, memory, surroundings, own }
    }

    /// At a reload. What runs goes on as it was begun.
    pub fn replace(&self, config: &Config) {
        let known = known(config);
        show_known(&self.own, &known, &self.memory.borrow());
        self.settings.send_replace(known);
    }

    /// What runs is ended and recorded; before the core is told to stop.
    pub async fn stop(self, patience: Duration) {
        self.stop.send_replace(true);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::error!("a remedy could not be ended in time");
        }
    }

    /// For those who answer at the control socket.
    pub fn desk(&self) -> Desk {
        Desk {
            settings: self.settings.subscribe(),
            orders: self.orders.clone(),
            memory: self.memory.clone(),
            surroundings: Arc::clone(&self.surroundings),
        }
    }
}

/// Those that may really run have figures before their first run, so that it shows as an increase.
fn show_known(board: &own::Board, known: &[Settings], memory: &Memory) {
    let last = |name: &Text| memory.remedies.get(name)?.runs.iter().max().copied();
    board.update(|figures| {
        for settings in known {
            let last = last(&settings.name);
            if last.is_some() || !settings.dry_run {
                let figures = figures.remedies.entry(settings.name.clone()).or_default();
                figures.last_run = figures.last_run.max(last);
            }
        }
    });
}

/// A step that is not in the journal counts as well, except an intent: then nothing is run.
fn count(board: &own::Board, action: &Action, is_recorded: bool) {
    let note: fn(&mut own::RemedyFigures, Timestamp) = match &action.step {
        ActionStep::Intended { .. } if is_recorded => |figures, at| figures.last_run = Some(at),
        ActionStep::Finished { ok: true, .. } => |figures, _| figures.ok += 1,
        ActionStep::Finished { ok: false, .. } => |figures, _| figures.failed += 1,
        ActionStep::Unknown => |figures, _| figures.unknown += 1,
        ActionStep::Refused { .. } => |figures, _| figures.refused += 1,
        ActionStep::Intended { .. } | ActionStep::Rehearsed { .. } | ActionStep::Judged { .. } => {
            return;
        }
    };
    board.update(|figures| {
        note(figures.remedies.entry(action.remedy.clone()).or_default(), action.at);
    });
}

/// Filled once remedies can be run; in a process that only serves never.
pub type DeskSlot = Arc<OnceLock<Desk>>;

/// Where a person asks for remedies. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    settings: watch::Receiver<Known>,
    orders: mpsc::Sender<Order>,
    memory: watch::Receiver<Arc<Memory>>,
    surroundings: Arc<Surroundings>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// The answer to `remedy_list`.
    pub fn list(&self) -> Value {
        let known = Arc::clone(&self.settings.borrow());
        let memory = Arc::clone(&self.memory.borrow());
        let now = clock::now();
        known.iter().map(|settings| self.row(settings, &memory, now)).collect()
    }

    fn row(&self, settings: &Settings, memory: &Memory, now: Timestamp) -> Value {
        let nothing = farol_model::Remedy::default();
        let past = memory.remedies.get(&settings.name).unwrap_or(&nothing);
        let granted = settings.treatment.granted(&self.surroundings);
        json!({
            "name": settings.name.as_str(),
            "treatment": settings.kind,
            "what": settings.treatment.what(),
            "dryRun": settings.dry_run,
            "granted": granted.is_ok(),
            "notGranted": granted.err().map(|missing| missing.to_string()),
            "lastRun": past.runs.iter().max().map(|at| clock::rfc3339(*at)),
            "nextAllowed": policy::next_allowed(settings, past, now).map(clock::rfc3339),
            "isRunning": past.open.is_some(),
            "last": past.last.as_ref().map(show),
        })
    }

    /// The answer to `remedy_run` with `{"name": …, "dryRun": …, "force": …}`.
    pub async fn run(&self, arguments: &Value) -> Result<Value, String> {
        let name = arguments["name"].as_str().ok_or("which remedy? its name is missing")?;
        let flag = |name: &str| arguments[name].as_bool().unwrap_or_default();
        let (answer, answered) = oneshot::channel();
        let order = Order {
            remedy: Text::from(name),
            dry_run: flag("dryRun"),
            force: flag("force"),
            answer,
        };
        let gone = || "the program is stopping".to_owned();
        self.orders.send(order).await.map_err(|_| gone())?;
        match answered.await.map_err(|_| gone())? {
            Answer::Begun { id, is_rehearsal } => {
                Ok(json!({ "id": id.as_str(), "isRehearsal": is_rehearsal }))
            }
            Answer::Refused(reason) => Err(reason),
        }
    }
}

/// What a rule is evaluated with, to see what has become of one of its alerts.
#[derive(Clone, Debug)]
pub struct Evaluator {
    /// The rules as they are loaded.
    pub board: Arc<Mutex<Board>>,
    pub reader: ReaderSlot,
    pub timeout: Duration,
    pub lookback: Duration,
    pub limits: Limits,
}

impl Evaluator {
    pub fn value_reader(self) -> ValueReader {
        Arc::new(move |alert| self.read(alert).unwrap_or_default())
    }

    /// The rule's expression, asked once more. None where the rule or the store is not there.
    fn read(&self, alert: &Alert) -> Option<Reading> {
        let rules = Arc::clone(&self.board.lock().unwrap_or_else(PoisonError::into_inner).rules);
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (group, rule) = rules.rules().find_map(|(group, rule)| match rule {
            Rule::Alert(own) if group.name == alert.group && own.id == alert.rule => {
                Some((group, own))
            }
            Rule::Alert(_) | Rule::Record(_) => None,
        })?;
        let worse = fires_above(&rule.expr).map(|above| match above {
            true => Worse::Higher,
            false => Worse::Lower,
        });
        let (found, gone) = self.ask(&reader, group, AlertRule::clone(rule), alert)?;
        if found.is_some() {
            return Some(Reading { holds: Some(true), value: found, worse });
        }
        let holds = match gone? {
            Standing::Recovered => Some(false),
            Standing::NotYet => Some(true),
            Standing::Missing | Standing::Silent => None,
        };
        Some(Reading { holds, value: self.compared(&reader, group, rule, alert), worse })
    }

    /// Its value where the comparison does not hold any more.
    fn compared(
        &self,
        reader: &Reader,
        group: &Group,
        rule: &AlertRule,
        alert: &Alert,
    ) -> Option<f64> {
        let expr = compared(&rule.expr)?.clone();
        // Nobody is told of it: what it would say is not asked for.
        let rule = AlertRule { expr, recovery: None, annotations: Vec::new(), ..rule.clone() };
        self.ask(reader, group, rule, alert)?.0
    }

    /// The value of the alert's series, or what is known of it where it has none.
    fn ask(
        &self,
        reader: &Reader,
        group: &Group,
        rule: AlertRule,
        alert: &Alert,
    ) -> Option<(Option<f64>, Option<Standing>)> {
        let only =
            Arc::new(Group { rules: vec![Rule::Alert(rule.into())], limit: 0, ..group.clone() });
        let (lap, timeout, now) = (clock::lap(), self.timeout, clock::now());
        let options = EvalOptions {
            external_labels: &Labels::empty(),
            external_url: "",
            lookback: self.lookback,
            subquery_step: Duration::from_secs(60),
            now: Some(now),
            round: Duration::ZERO,
            limits: self.limits,
            watch: &move || (lap.elapsed() > timeout).then_some(Stop::TimedOut),
            lap: &|| lap.elapsed(),
        };
        let alerts = BTreeMap::from([(alert.key(), Arc::new(alert.clone()))]);
        let (mut state, mut record_nothing) = (GroupState::default(), |_| Ok(()));
        let result =
            evaluate(&only, reader, &alerts, now, &mut state, &mut record_nothing, &options);
        let result = result.rules.into_iter().next()?;
        let found = result.found.ok()?.into_iter().find(|found| found.series == alert.series);
        let gone = result.gone.iter().find(|gone| gone.series == alert.series);
        Some((found.map(|found| found.value), gone.map(|gone| gone.standing)))
    }
}

/// Six digits say enough.
fn short(value: f64) -> String {
    format!("{value:.5e}").parse().unwrap_or(value).to_string()
}

/// A step of a run, for people and programs.
pub fn show(action: &Action) -> Value {
    let (step, text, ok, output) = match &action.step {
        ActionStep::Refused { reason } => ("refused", reason.to_string(), None, None),
        ActionStep::Rehearsed { summary, output } => {
            ("rehearsed", summary.to_string(), None, Some(output))
        }
        ActionStep::Intended { what } => ("intended", what.to_string(), None, None),
        ActionStep::Finished { ok, summary, output, took } => {
            let text = format!("{summary} (in {:.1} s)", took.as_secs_f64());
            ("finished", text, Some(*ok), Some(output))
        }
        ActionStep::Judged { judgement, before, after } => {
            let number = |value: &Option<f64>| value.map_or("?".to_owned(), short);
            let text = format!("{}: {} -> {}", judgement.name(), number(before), number(after));
            ("judged", text, None, None)
        }
        ActionStep::Unknown => {
            ("unknown", "farol ended before it did: nobody knows".to_owned(), Some(false), None)
        }
    };
    json!({
        "at": clock::rfc3339(action.at),
        "id": action.id.as_str(),
        "remedy": action.remedy.as_str(),
        "alert": action.alert.as_ref().map(|(name, _)| name.as_str()),
        "step": step,
        "ok": ok,
        "text": text,
        "output": output.map(Text::as_str),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_with_all_that_is_known_of_it() {
        let action = Action {
            at: Timestamp::from_millis(1_767_225_600_000),
            host: "h".into(),
            id: "7-1".into(),
            remedy: "free".into(),
            alert: None,
            step: ActionStep::Finished {
                ok: true,
                summary: "deleted 3 files".into(),
                output: "a\nb".into(),
                took: Duration::from_millis(1230),
            },
        };
        let expected = json!({
            "at": "2026-01-01T00:00:00.000Z", "id": "7-1", "remedy": "free", "alert": null,
            "step": "finished", "ok": true, "text": "deleted 3 files (in 1.2 s)", "output": "a\nb",
        });
        assert_eq!(show(&action), expected);
    }

    #[test]
    fn values_are_shown_with_six_digits() {
        for (value, shown) in [
            (5.0, "5"),
            (92.307_692_307_692_3, "92.3077"),
            (12_345_678.9, "12345700"),
            (0.000_123_456_78, "0.000123457"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(short(value), shown);
        }
    }

    #[test]
    fn a_step_counts_even_if_it_is_not_in_the_journal_but_an_intent() {
        let board = own::Board::default();
        let at = Timestamp::from_millis(5);
        let note = |step, is_recorded| {
            let (host, id, remedy) = ("h".into(), "7-1".into(), "free".into());
            count(&board, &Action { at, host, id, remedy, alert: None, step }, is_recorded);
            board.figures().remedies.get("free").copied().unwrap_or_default()
        };
        let intended = || ActionStep::Intended { what: "x".into() };
        let finished = |ok| ActionStep::Finished {
            ok,
            summary: "x".into(),
            output: "".into(),
            took: Duration::ZERO,
        };
        assert_eq!(note(intended(), false).last_run, None);
        assert_eq!(note(intended(), true).last_run, Some(at));
        note(finished(true), true);
        note(finished(false), false);
        note(ActionStep::Refused { reason: "x".into() }, false);
        let figures = note(ActionStep::Unknown, true);
        let counts = (figures.ok, figures.failed, figures.unknown, figures.refused);
        assert_eq!(counts, (1, 1, 1, 1));
    }
}
