//! What one evaluation of all stock rules costs, in CPU time, on a recorded machine in a store with
//! blocks: two weeks and a day as it was recorded, and a day and a night at the intervals that Farol has by
//! default. The rules' own hours are recorded as the hours pass. `make bench` prints it;
//! `RULES=1 cargo bench -p farol --bench rules` prints each rule besides.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, and is asked how much to say"
)]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use farol::simulate::recording::{Player, Recording};
use farol_alert::{Defaults, EvalOptions, Group, GroupState, Rule, RuleSet, evaluate, step};
use farol_disk::{Disk, MemoryDisk, RealDisk};
use farol_model::{
    Alert, AlertKey, Batch, Labels, Lane, Position, Record, Series, Text, Timestamp,
};
use farol_query::Limits;
use farol_store::{Config, Store};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 120;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let recording = Recording::read(&disk, &root.join("fixtures/recordings/quiet"))
        .expect("the recording is there");
    let recording = Arc::new(recording);
    let wants_each = std::env::var_os("RULES").is_some();
    for (span_of, hours, seconds) in [
        ("15 days, lanes of 15 s and 60 s", 15 * 24, [15, 60]),
        ("30 hours, lanes of 1 s and 10 s", 30, [1, 10]),
    ] {
        let rules = stock();
        let count = rules.rules().count();
        let mut machine = Machine::new(&recording, rules, seconds);
        machine.pass(hours * 3600);
        let costs: Vec<Costs> = (0..ROUNDS).map(|_| machine.pass_and_evaluate(60)).collect();
        let whole: Vec<f64> = costs.iter().map(|costs| costs.whole).collect();
        println!("all {count} stock rules once, after {span_of}, ms CPU: {}", span(whole));
        if wants_each {
            for (place, (_, rule)) in machine.rules.rules().enumerate() {
                let of_rule: Vec<f64> = costs.iter().map(|costs| costs.rules[place]).collect();
                println!("  {:40} {}", rule.name(), span(of_rule));
            }
        }
    }
}

/// The rules that Farol brings along, and what it says of them.
fn stock() -> RuleSet {
    let files: Vec<_> = farol::rule_files::stock().collect();
    RuleSet::parse(&files, &Defaults::default()).expect("the stock rules are right")
}

/// CPU time in milliseconds.
#[derive(Default)]
struct Costs {
    /// With the alerts' turns, and without the storing of what was recorded.
    whole: f64,
    rules: Vec<f64>,
}

struct Machine {
    player: Player,
    rules: RuleSet,
    states: Vec<GroupState>,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    store: Store,
    upkeep: farol_store::Upkeep,
    lines: u64,
    /// Of the lanes.
    intervals: [u64; 2],
    now: Timestamp,
}

impl Machine {
    fn new(recording: &Arc<Recording>, rules: RuleSet, intervals: [u64; 2]) -> Machine {
        let opened = Store::open(Arc::new(MemoryDisk::new()), Config::new("/store"));
        let store = opened.expect("a store in memory").store;
        Machine {
            player: Player::new(Arc::clone(recording), 1),
            states: vec![GroupState::default(); rules.groups.len()],
            rules,
            alerts: BTreeMap::new(),
            upkeep: store.upkeep(),
            store,
            lines: 0,
            intervals,
            now: Timestamp::from_millis(recording.start.as_millis() / HOUR * HOUR),
        }
    }

    /// The machine lives for so many seconds; each hour what is due each hour is evaluated.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            for lane in Lane::ALL {
                let every = Duration::from_secs(self.intervals[lane.index()]);
                if self.now.as_millis() % i64::try_from(every.as_millis()).unwrap_or(1) == 0 {
                    let snapshot = self.player.tick(lane, self.now, every);
                    self.append(&Record::Snapshot(Arc::new(snapshot)));
                }
            }
            if self.now.as_millis() % HOUR == 0 {
                self.evaluate(|group| group.interval >= Duration::from_secs(3600));
            }
        }
    }

    fn append(&mut self, record: &Record) {
        self.lines += 1;
        let at = Position { stream: record.stream(), segment: 1, offset: self.lines };
        self.store.apply(at, record, true);
        if self.upkeep.waiting() > 2 {
            self.upkeep.round();
        }
    }

    /// What each rule costs a minute later.
    fn pass_and_evaluate(&mut self, seconds: u64) -> Costs {
        self.pass(seconds);
        self.evaluate(|_| true)
    }

    fn evaluate(&mut self, is_due: impl Fn(&Group) -> bool) -> Costs {
        let reader = self.store.reader();
        let (at, nothing) = (self.now, Labels::default());
        let options = EvalOptions {
            external_labels: &nothing,
            external_url: "",
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            now: Some(at),
            round: Duration::ZERO,
            limits: Limits { samples: 50_000_000, series: 100_000, steps: 11_000 },
            watch: &|| None,
            lap: &cpu,
        };
        let mut costs = Costs::default();
        for (place, group) in self.rules.groups.clone().iter().enumerate() {
            if !is_due(group) {
                continue;
            }
            let mut recorded = Vec::new();
            let mut record = |series: Vec<Series>| {
                recorded.extend(series);
                Ok(())
            };
            let began = cpu();
            let state = &mut self.states[place];
            let result = evaluate(group, &reader, &self.alerts, at, state, &mut record, &options);
            costs.rules.extend(result.rules.iter().map(|rule| rule.took.as_secs_f64() * 1e3));
            for (rule, result) in group.rules.iter().zip(&result.rules) {
                if let Rule::Alert(rule) = rule {
                    step(&HOST, group, rule, &mut self.alerts, result, group.interval, at);
                }
            }
            costs.whole += (cpu() - began).as_secs_f64() * 1e3;
            let failed = result.rules.iter().find_map(|rule| rule.found.as_ref().err());
            assert_eq!(failed, None, "a stock rule can be evaluated");
            if !recorded.is_empty() {
                let batch = Arc::new(Batch { at, series: recorded });
                self.append(&Record::Recorded(batch));
            }
        }
        costs
    }
}

const HOST: Text = Text::from_static("quiet");
const HOUR: i64 = 3_600_000;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

/// Median, and what a twentieth of the rounds is below and above.
fn span(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("{:.3} ({:.3}..{:.3})", at(0.5), at(0.05), at(0.95))
}
