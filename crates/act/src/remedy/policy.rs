//! Whether a remedy may be run now: a pure function of its settings, of what is remembered, of who asks
//! and of the time.

use std::{sync::Arc, time::Duration};

use farol_alert::windows::{self, Window};
use farol_model::{Alert, Judgement, Phase, Remedy, Text, Timestamp};

use super::{DAY, HOUR, MINUTE, Treatment, show_duration};

/// One remedy as it is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which a rule calls for it.
    pub name: Text,
    /// The treatment's name in [`BUILT_INS`](super::BUILT_INS).
    pub kind: &'static str,
    pub treatment: Arc<dyn Treatment>,
    /// What it would do is recorded, and nothing is done.
    pub dry_run: bool,
    pub policy: Policy,
    /// From its end until it is seen whether it helped.
    pub wait: Duration,
    /// How long it may take.
    pub deadline: Duration,
}

impl Settings {
    pub const WAIT: Duration = Duration::from_secs(10);
    pub const DEADLINE: Duration = MINUTE;

    /// In dry run, as everything is that nobody has said otherwise of.
    pub fn new(
        name: Text,
        kind: &'static str,
        treatment: Arc<dyn Treatment>,
        policy: Policy,
    ) -> Settings {
        let (wait, deadline) = (Settings::WAIT, Settings::DEADLINE);
        Settings { name, kind, treatment, dry_run: true, policy, wait, deadline }
    }
}

#[derive(Clone, Debug)]
pub struct Policy {
    /// How long an alert must have been firing.
    pub sustained: Duration,
    /// Between the beginnings of two runs.
    pub cooldown: Duration,
    /// Runs within 24 hours.
    pub per_day: usize,
    /// When it may run; none is always.
    pub hours: Option<Window>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { sustained: 5 * MINUTE, cooldown: HOUR, per_day: 4, hours: None }
    }
}

/// Who wants it run.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    By(&'a Alert),
    /// A person at the terminal. `force` passes over pauses, budget, hours and rest.
    Person {
        force: bool,
        dry_run: bool,
    },
}

/// What is known of this moment besides what is remembered.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The remedy that is being run: never two at once, whichever they are.
    pub busy: Option<Text>,
    /// When this one was rehearsed last. A rehearsal is no run: it uses up nothing of a real one's.
    pub rehearsed: Vec<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Run,
    Rehearse,
    Refuse(String),
    /// Not yet; none is until something else happens.
    Wait(Option<Timestamp>),
    /// Nothing asks for it, or it has been answered.
    Nothing,
}

/// An alert whose last evaluation is older is no reason to do anything: nobody knows whether it is so.
const STALE: Duration = Duration::from_secs(600);

pub fn decide(
    settings: &Settings,
    past: &Remedy,
    moment: &Moment,
    asked: Asked<'_>,
    now: Timestamp,
) -> Decision {
    match asked {
        Asked::By(alert) => for_alert(settings, past, moment, alert, now),
        Asked::Person { force, dry_run } => for_person(settings, past, moment, force, dry_run, now),
    }
}

fn for_alert(
    settings: &Settings,
    past: &Remedy,
    moment: &Moment,
    alert: &Alert,
    now: Timestamp,
) -> Decision {
    let Some(episode) = alert.episode().filter(|_| alert.phase == Phase::Firing) else {
        return Decision::Nothing;
    };
    if past.answered.contains_key(&episode) {
        return Decision::Nothing;
    }
    // Kept firing, not seen any more, or not looked at: it may well be over.
    let is_known = alert.keeping_since.is_none()
        && alert.missing_since.is_none()
        && now.since(alert.seen_at) < STALE;
    if !is_known || moment.busy.is_some() {
        return Decision::Wait(None);
    }
    let due = episode.fired_at.plus(settings.policy.sustained);
    if now < due {
        return Decision::Wait(Some(due));
    }
    if let Hours::Closed(opens) = hours(settings, now) {
        return Decision::Wait(opens);
    }
    let runs = if settings.dry_run { &moment.rehearsed } else { &past.runs };
    match forbidden(settings, past, runs, now) {
        Some(reason) => Decision::Refuse(reason),
        None if settings.dry_run => Decision::Rehearse,
        None => Decision::Run,
    }
}

fn for_person(
    settings: &Settings,
    past: &Remedy,
    moment: &Moment,
    force: bool,
    dry_run: bool,
    now: Timestamp,
) -> Decision {
    if let Some(busy) = &moment.busy {
        return Decision::Refuse(format!("{busy} is being run: never two at once"));
    }
    if dry_run || settings.dry_run {
        return Decision::Rehearse;
    }
    if force {
        return Decision::Run;
    }
    if let Hours::Closed(opens) = hours(settings, now) {
        let opens = opens.map(|opens| format!(", the next begin {}", moment_of(opens)));
        return Decision::Refuse(format!("not within its hours{}", opens.unwrap_or_default()));
    }
    match forbidden(settings, past, &past.runs, now) {
        Some(reason) => Decision::Refuse(reason),
        None => Decision::Run,
    }
}

/// Why not now, of what has been run before.
fn forbidden(
    settings: &Settings,
    past: &Remedy,
    runs: &[Timestamp],
    now: Timestamp,
) -> Option<String> {
    let policy = &settings.policy;
    if let Some((until, why)) = rest(settings, past).filter(|(until, _)| now < *until) {
        return Some(format!("it rests until {}: {why}", moment_of(until)));
    }
    // A run that lies in the future was before the clock was set back: nobody knows how long ago.
    let last = runs.iter().max().copied();
    if let Some(last) = last.filter(|last| now < last.plus(policy.cooldown)) {
        let cooldown = show_duration(policy.cooldown);
        let (last, next) = (moment_of(last), moment_of(last.plus(policy.cooldown)));
        return Some(format!("it ran {last} and pauses for {cooldown}, until {next}"));
    }
    let of_today = runs.iter().filter(|run| now < run.plus(DAY)).count();
    (of_today >= policy.per_day).then(|| {
        let most = policy.per_day;
        format!("its budget is used up: {of_today} of {most} runs within 24 hours")
    })
}

/// Until when it rests, since it does not help.
fn rest(settings: &Settings, past: &Remedy) -> Option<(Timestamp, &'static str)> {
    if !settings.treatment.is_cure() {
        return None;
    }
    let mut newest = past.judged.iter().rev();
    let (at, last) = newest.next()?;
    let until = at.plus(DAY);
    let helped = |judgement| matches!(judgement, Judgement::Recovered | Judgement::Better);
    match last {
        Judgement::Worse => Some((until, "its last run made it worse")),
        last if helped(*last) => None,
        _ => {
            let before = newest.next()?;
            (!helped(before.1)).then_some((until, "its last two runs did not help"))
        }
    }
}

enum Hours {
    Open,
    /// Until when, as far as that is known.
    Closed(Option<Timestamp>),
}

fn hours(settings: &Settings, now: Timestamp) -> Hours {
    match &settings.policy.hours {
        Some(hours) if !windows::is_open(hours, now) => {
            Hours::Closed(windows::next_change(hours, now))
        }
        _ => Hours::Open,
    }
}

/// The earliest moment at which its own pauses and hours let it run again; none is now.
pub fn next_allowed(settings: &Settings, past: &Remedy, now: Timestamp) -> Option<Timestamp> {
    let policy = &settings.policy;
    let cooled = past.runs.iter().max().map(|last| last.plus(policy.cooldown));
    let mut of_today: Vec<Timestamp> =
        past.runs.iter().copied().filter(|run| now < run.plus(DAY)).collect();
    of_today.sort_unstable();
    let surplus = of_today.len().saturating_sub(policy.per_day);
    let has_budget = (of_today.len() >= policy.per_day)
        .then(|| of_today.get(surplus).map(|run| run.plus(DAY)))
        .flatten();
    let rested = rest(settings, past).map(|(until, _)| until);
    let next = [cooled, has_budget, rested].into_iter().flatten().max().filter(|at| now < *at);
    let at = next.unwrap_or(now);
    match hours(settings, at) {
        Hours::Closed(opens) => opens,
        Hours::Open => next,
    }
}

/// `2026-03-29T01:00:00Z`.
pub(crate) fn moment_of(at: Timestamp) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use farol_alert::windows::{Recurring, Spans};
    use farol_model::Labels;

    use super::*;
    use crate::remedy::{Job, NotGranted, Outcome, Surroundings};

    #[derive(Debug)]
    struct Nothing {
        is_cure: bool,
    }

    impl Treatment for Nothing {
        fn what(&self) -> String {
            "nothing".to_owned()
        }
        fn granted(&self, _: &Surroundings) -> Result<(), NotGranted> {
            Ok(())
        }
        fn is_cure(&self) -> bool {
            self.is_cure
        }
        fn rehearse(&self, _: &Job<'_>) -> Outcome {
            Outcome::good("")
        }
        fn run(&self, _: &Job<'_>) -> Outcome {
            Outcome::good("")
        }
    }

    /// Minutes after midnight of a day in UTC.
    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000 + minutes * 60_000)
    }

    fn alert(fired: i64, seen: i64) -> Alert {
        let labels = Labels::new(vec![("alertname".into(), "Full".into())]);
        Alert {
            group: "g".into(),
            rule: "Full".into(),
            labels,
            annotations: Labels::empty(),
            series: Labels::empty(),
            value: 95.0,
            phase: Phase::Firing,
            active_at: at(fired),
            fired_at: Some(at(fired)),
            keeping_since: None,
            missing_since: None,
            unseen: 0,
            seen_at: at(seen),
            ended_at: None,
            firings: Vec::new(),
            is_flapping: false,
            remedy: Some("free".into()),
        }
    }

    fn settings(change: impl Fn(&mut Settings)) -> Settings {
        let treatment = Arc::new(Nothing { is_cure: true });
        let policy = Policy { cooldown: 3 * DAY, per_day: 2, ..Policy::default() };
        let mut settings = Settings::new("free".into(), "program", treatment, policy);
        settings.dry_run = false;
        change(&mut settings);
        settings
    }

    fn past(runs: &[i64], judged: &[(i64, Judgement)]) -> Remedy {
        let runs = runs.iter().map(|minutes| at(*minutes)).collect();
        let judged = judged.iter().map(|(minutes, judgement)| (at(*minutes), *judgement)).collect();
        Remedy { runs, judged, ..Remedy::default() }
    }

    const DAY_MINUTES: i64 = 1440;

    fn by_alert(settings: &Settings, past: &Remedy, alert: &Alert, now: i64) -> Decision {
        decide(settings, past, &Moment::default(), Asked::By(alert), at(now))
    }

    fn plain(past: &Remedy, now: i64) -> Decision {
        by_alert(&settings(|_| {}), past, &alert(now - 10, now), now)
    }

    fn short(change: impl Fn(&mut Settings), past: &Remedy, now: i64) -> Decision {
        let settings = settings(|settings| {
            settings.policy.cooldown = MINUTE;
            change(settings);
        });
        by_alert(&settings, past, &alert(now - 10, now), now)
    }

    fn refused(decision: &Decision, expected: &str) {
        match decision {
            Decision::Refuse(reason) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?} for {expected}"),
        }
    }

    #[test]
    fn an_alert_must_have_been_firing_for_as_long_as_is_asked() {
        let settings = settings(|_| {});
        let decide = |now| by_alert(&settings, &Remedy::default(), &alert(0, now), now);
        assert_eq!(decide(4), Decision::Wait(Some(at(5))));
        assert_eq!(decide(5), Decision::Run);
        // The clock was set back an hour after it fired.
        assert_eq!(decide(-60), Decision::Wait(Some(at(5))));
    }

    #[test]
    fn what_does_not_fire_or_may_be_over_is_no_reason() {
        let settings = settings(|_| {});
        let decide = |change: &dyn Fn(&mut Alert)| {
            let mut alert = alert(0, 60);
            change(&mut alert);
            by_alert(&settings, &Remedy::default(), &alert, 60)
        };
        assert_eq!(decide(&|_| {}), Decision::Run);
        assert_eq!(decide(&|alert| alert.phase = Phase::Pending), Decision::Nothing);
        assert_eq!(decide(&|alert| alert.phase = Phase::Ended), Decision::Nothing);
        assert_eq!(decide(&|alert| alert.keeping_since = Some(at(59))), Decision::Wait(None));
        assert_eq!(decide(&|alert| alert.missing_since = Some(at(59))), Decision::Wait(None));
        // Remembered from before a long stop, and not evaluated since.
        assert_eq!(decide(&|alert| alert.seen_at = at(40)), Decision::Wait(None));
    }

    #[test]
    fn an_episode_is_answered_once_and_the_next_one_anew() {
        let settings = settings(|_| {});
        let mut past = Remedy::default();
        let first = alert(0, 60);
        past.answered.insert(first.episode().unwrap(), at(5));
        assert_eq!(by_alert(&settings, &past, &first, 60), Decision::Nothing);
        assert_eq!(by_alert(&settings, &past, &alert(30, 60), 60), Decision::Run);
    }

    #[test]
    fn it_pauses_between_two_runs_also_when_the_clock_was_set_back() {
        assert_eq!(plain(&past(&[0], &[]), 3 * DAY_MINUTES), Decision::Run);
        refused(&plain(&past(&[0], &[]), 3 * DAY_MINUTES - 1), "pauses for 3d, until 2026-01-04T");
        refused(&plain(&past(&[10 * DAY_MINUTES], &[]), 0), "pauses for 3d");
    }

    #[test]
    fn a_day_s_budget_is_not_exceeded() {
        let within = |runs: &[i64], now| short(|_| {}, &past(runs, &[]), now);
        assert_eq!(within(&[0], 100), Decision::Run);
        refused(&within(&[0, 60], 100), "2 of 2 runs within 24 hours");
        assert_eq!(within(&[0, 60], DAY_MINUTES), Decision::Run);
        refused(&within(&[0, DAY_MINUTES + 90], DAY_MINUTES - 1), "pauses");
    }

    #[test]
    fn it_rests_after_it_made_it_worse_or_twice_did_not_help() {
        use Judgement::{Better, Recovered, Unchanged, Unknown, Worse};
        let judged = |judged: &[(i64, Judgement)], now| short(|_| {}, &past(&[], judged), now);
        refused(&judged(&[(0, Worse)], 60), "made it worse");
        assert_eq!(judged(&[(0, Worse)], DAY_MINUTES), Decision::Run);
        assert_eq!(judged(&[(0, Unchanged)], 60), Decision::Run);
        refused(&judged(&[(0, Unknown), (9, Unchanged)], 60), "last two runs did not help");
        assert_eq!(judged(&[(0, Unchanged), (9, Better)], 60), Decision::Run);
        assert_eq!(judged(&[(0, Recovered), (9, Unchanged)], 60), Decision::Run);
        // What only reports cannot make anything better.
        let reports = |settings: &mut Settings| {
            settings.treatment = Arc::new(Nothing { is_cure: false });
        };
        let decision = short(reports, &past(&[], &[(0, Unchanged), (9, Unchanged)]), 60);
        assert_eq!(decision, Decision::Run);
    }

    fn nights() -> Window {
        let recurring = Recurring::read(&[("22:00", "06:00")], &[], &[], &[], "UTC").unwrap();
        Window { name: "nights".into(), spans: Spans::Recurring(recurring) }
    }

    #[test]
    fn it_waits_for_its_hours() {
        let settings = settings(|settings| settings.policy.hours = Some(nights()));
        let decide = |now| by_alert(&settings, &Remedy::default(), &alert(0, now), now);
        assert_eq!(decide(60), Decision::Run);
        assert_eq!(decide(12 * 60), Decision::Wait(Some(at(22 * 60))));
        let person = Asked::Person { force: false, dry_run: false };
        let asked =
            |asked| decide_for(&settings, &Remedy::default(), &Moment::default(), asked, 12 * 60);
        refused(&asked(person), "not within its hours, the next begin 2026-01-01T22:00:00Z");
        assert_eq!(asked(Asked::Person { force: true, dry_run: false }), Decision::Run);
    }

    fn decide_for(
        settings: &Settings,
        past: &Remedy,
        moment: &Moment,
        asked: Asked<'_>,
        now: i64,
    ) -> Decision {
        decide(settings, past, moment, asked, at(now))
    }

    #[test]
    fn never_two_at_once_whoever_asks() {
        let settings = settings(|_| {});
        let moment = Moment { busy: Some("other".into()), rehearsed: Vec::new() };
        let alert = alert(0, 60);
        let decide = |asked| decide_for(&settings, &Remedy::default(), &moment, asked, 60);
        assert_eq!(decide(Asked::By(&alert)), Decision::Wait(None));
        for dry_run in [true, false] {
            let decision = decide(Asked::Person { force: true, dry_run });
            refused(&decision, "other is being run: never two at once");
        }
    }

    #[test]
    fn a_dry_run_is_a_rehearsal_that_obeys_the_policy_and_uses_up_nothing() {
        let dry = settings(|settings| settings.dry_run = true);
        let decide = |rehearsed: Vec<Timestamp>| {
            let moment = Moment { busy: None, rehearsed };
            // A run of another time does not count against a rehearsal.
            decide_for(&dry, &past(&[0], &[]), &moment, Asked::By(&alert(0, 60)), 60)
        };
        assert_eq!(decide(Vec::new()), Decision::Rehearse);
        refused(&decide(vec![at(59)]), "pauses for 3d");
    }

    #[test]
    fn a_person_need_not_wait_but_keeps_to_pauses_and_budget_unless_forced() {
        let settings = settings(|_| {});
        let ask = |force, dry_run| {
            let asked = Asked::Person { force, dry_run };
            decide_for(
                &settings,
                &past(&[0], &[(1, Judgement::Worse)]),
                &Moment::default(),
                asked,
                60,
            )
        };
        refused(&ask(false, false), "rests until");
        assert_eq!(ask(true, false), Decision::Run);
        assert_eq!(ask(false, true), Decision::Rehearse);
    }

    #[test]
    fn the_next_moment_it_may_run_is_known() {
        let plain = settings(|_| {});
        let next = |past: &Remedy, now| next_allowed(&plain, past, at(now));
        assert_eq!(next(&Remedy::default(), 0), None);
        assert_eq!(next(&past(&[0], &[]), 60), Some(at(3 * DAY_MINUTES)));
        let often = settings(|settings| settings.policy.cooldown = MINUTE);
        let runs = past(&[0, 60, 70], &[]);
        assert_eq!(next_allowed(&often, &runs, at(100)), Some(at(60 + DAY_MINUTES)));
        let nightly = settings(|settings| settings.policy.hours = Some(nights()));
        assert_eq!(next_allowed(&nightly, &Remedy::default(), at(720)), Some(at(22 * 60)));
    }
}
