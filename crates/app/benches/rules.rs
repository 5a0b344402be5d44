//! What one evaluation of all stock rules costs, in CPU time, on a day and more of a recorded machine in
//! a store with blocks: as it was recorded, and at the intervals that Farol has by default. `make bench`
//! prints it. `RULES=1 cargo bench -p farol --bench rules` prints each rule besides.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, reads its files and asks how much to say"
)]

use std::{path::Path, sync::Arc, time::Duration};

use farol::simulate::recording::{Player, Recording};
use farol_alert::{Defaults, RuleSet};
use farol_disk::{Disk, MemoryDisk, RealDisk};
use farol_model::{Batch, Labels, Lane, Position, Record, Series, Timestamp};
use farol_query::{Limits, Options};
use farol_store::{Config, Reader, Store};
use rustix::time::{ClockId, clock_gettime};

const HOURS: u64 = 27;
const ROUNDS: u64 = 60;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let recording = Recording::read(&disk, &root.join("fixtures/recordings/quiet"))
        .expect("the recording is there");
    let recording = Arc::new(recording);
    let rules = stock(&root.join("infra/prometheus"));
    let wants_each = std::env::var_os("RULES").is_some();
    for (name, seconds) in [("15 s and 60 s", [15, 60]), ("1 s and 10 s", [1, 10])] {
        let intervals = seconds.map(Duration::from_secs);
        let (reader, end, _store) = filled(&recording, intervals);
        let count = rules.rules().count();
        let costs: Vec<Vec<f64>> =
            (0..ROUNDS).map(|round| evaluate(&rules, &reader, end, round)).collect();
        let whole: Vec<f64> = costs.iter().map(|costs| costs.iter().sum()).collect();
        println!("all {count} stock rules once, lanes of {name}, ms CPU: {}", span(whole));
        if wants_each {
            for (place, (_, rule)) in rules.rules().enumerate() {
                let of_rule: Vec<f64> = costs.iter().map(|costs| costs[place]).collect();
                println!("  {:28} {}", rule.name(), span(of_rule));
            }
        }
    }
}

/// The rules that Farol brings along, and what it says of them.
fn stock(folder: &Path) -> RuleSet {
    let files =
        ["rules/host.yml", "rules/farol.yml", "rules/usage.yml", "recovery.yml"].map(|name| {
            (name, std::fs::read_to_string(folder.join(name)).expect("a file of the repository"))
        });
    RuleSet::parse(&files, &Defaults::default()).expect("the stock rules are right")
}

/// A store with so many hours of the machine, and the hours of three weeks that a rule has recorded.
fn filled(recording: &Arc<Recording>, intervals: [Duration; 2]) -> (Reader, Timestamp, Store) {
    let opened = Store::open(Arc::new(MemoryDisk::new()), Config::new("/store"));
    let mut store = opened.expect("a store in memory").store;
    let mut upkeep = store.upkeep();
    let mut offset = 0;
    let mut apply = |record: Record| {
        offset += 1;
        store.apply(Position { stream: record.stream(), segment: 1, offset }, &record, true);
        if upkeep.waiting() > 2 {
            upkeep.round();
        }
    };
    let end = recording.start.plus(Duration::from_secs(HOURS * 3600));
    apply(Record::Recorded(Arc::new(hours(recording, end))));
    let mut player = Player::new(Arc::clone(recording), 1);
    let [fast, slow] = intervals.map(|interval| interval.as_secs());
    for second in (0..=HOURS * 3600).step_by(usize::try_from(fast).unwrap_or(1)) {
        let at = recording.start.plus(Duration::from_secs(second));
        for (lane, every) in [(Lane::Fast, fast), (Lane::Slow, slow)] {
            if second % every == 0 {
                let snapshot = player.tick(lane, at, intervals[lane.index()]);
                apply(Record::Snapshot(Arc::new(snapshot)));
            }
        }
    }
    (store.reader(), end, store)
}

fn hours(recording: &Recording, end: Timestamp) -> Batch {
    let labels = Labels::from([("job", "node"), ("instance", recording.host.as_str())]);
    let points = (0..21 * 24).rev().map(|hour| (end.as_millis() - hour * 3_600_000, 1e9));
    let points: Vec<_> =
        points.map(|(at, value)| (Timestamp::from_millis(at), value + at as f64 / 1e6)).collect();
    let named =
        |name: &str| Series { name: name.into(), labels: labels.clone(), points: points.clone() };
    Batch {
        at: recording.start,
        series: vec![
            named("instance:node_network_bytes:increase1h"),
            named("instance:node_network_bytes:increase1w"),
        ],
    }
}

/// What each rule costs.
fn evaluate(rules: &RuleSet, reader: &Reader, end: Timestamp, round: u64) -> Vec<f64> {
    let at = Timestamp::from_millis(end.as_millis() - 15_000 * i64::try_from(round).unwrap_or(0));
    let costs = rules.rules().map(|(_, rule)| {
        let (expr, text) = rule.expr();
        let options = Options {
            query: text,
            lookback: 300_000,
            subquery_step: 60_000,
            now: Some(at),
            limits: Limits { samples: 50_000_000, series: 100_000, steps: 11_000 },
            watch: &|| None,
        };
        let before = cpu_ms();
        farol_query::instant(reader, expr, at, &options).expect("a stock rule can be evaluated");
        cpu_ms() - before
    });
    costs.collect()
}

fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Median, and what a twentieth of the rounds is below and above.
fn span(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    format!("{:.3} ({:.3}..{:.3})", at(0.5), at(0.05), at(0.95))
}
