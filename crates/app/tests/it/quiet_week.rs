//! The stock rules on weeks of a machine, made of what one really said (`fixtures/recordings`): a quiet
//! one raises no alert, and one with something wrong raises those that say so, once each.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use farol::simulate::recording::{Player, Recording};
use farol_alert::{
    Defaults, EvalOptions, Group, GroupState, Recovery, Rule, RuleSet, evaluate, step,
};
use farol_disk::{Disk, MemoryDisk, RealDisk};
use farol_journal::{Item, Reader, StartAt};
use farol_model::{
    Alert, AlertKey, Batch, Labels, Lane, Phase, Position, Record, Sample, Snapshot, Stream, Text,
    Timestamp, Transition, Turn,
};
use farol_query::Limits;
use farol_store::{Config, Store};

use crate::world::{farol, form, repository};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const GIB: f64 = (1_u64 << 30) as f64;

/// Which pieces of the recording follow one another. In the full form others besides.
const SEED: u64 = 1;

/// The machine that was recorded has nothing that sets its clock. All else is as it said.
#[test]
fn a_quiet_week_raises_no_alert() {
    let seeds = form(vec![SEED], vec![SEED, 2, 3]);
    for seed in seeds {
        let mut week = Machine::quiet(seed);
        week.every(form([120, 120], [15, 60]), form(300, 60));
        week.pass(7 * DAY, clock_is_set);
        assert_eq!(week.told(), [""; 0], "seed {seed}");
        assert!(week.pending().is_empty(), "seed {seed}: {:?}", week.pending());
        println!("seed {seed}: a week without an alert, and none was pending");
    }
}

#[test]
fn the_recorded_machine_is_told_that_nothing_sets_its_clock_and_nothing_else() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(4 * HOUR, |_, _| {});
    assert_eq!(machine.told(), ["HostTimeNotSynchronised warning: firing"]);
    machine.pass(HOUR, clock_is_set);
    assert_eq!(machine.told(), ["HostTimeNotSynchronised warning: firing, resolved"]);
}

/// The same through the real core, journal and store, at the intervals that were recorded.
#[test]
fn what_the_core_journals_of_a_recorded_machine_is_that_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let recording = repository().join("fixtures/recordings/quiet");
    let (from, data) = (recording.to_str().unwrap(), folder.path().to_str().unwrap());
    let span = ["--for", form("3h", "7d"), "--rules.interval", form("60s", "15s")];
    let arguments = ["simulate", "--from", from, "--data", data, "--rules"];
    let (said, complained, code) = farol(&[&arguments[..], &span].concat());
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert!(said.contains(" 1 alerts fire;"), "{said}");
    let told = events(&folder.path().join("logs")).into_iter().filter_map(|record| match record {
        Record::Alert(transition) => Some(transition),
        _ => None,
    });
    let told: Vec<String> = told
        .filter(|transition| transition.alert.fired_at.is_some())
        .map(|transition| format!("{} {}", transition.alert.name(), transition.turn.name()))
        .collect();
    assert_eq!(told, ["HostTimeNotSynchronised firing"]);
}

#[test]
fn a_disk_that_fills_is_told_in_time_and_level_by_level() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(8 * HOUR, clock_is_set);
    // From two thirds free to a hundredth within a day, and cleaned up an hour later.
    machine.pass(25 * HOUR, |snapshot, passed| {
        clock_is_set(snapshot, passed);
        let size = value(snapshot, "node_filesystem_size_bytes");
        let full = passed as f64 / (24 * HOUR) as f64;
        let left = (0.63 - 0.62 * full).max(0.01);
        set(snapshot, "node_filesystem_avail_bytes", |_| size * left);
        set(snapshot, "node_filesystem_free_bytes", |_| size * left);
    });
    assert_eq!(
        machine.told(),
        [
            "HostDiskFullSoon warning: firing",
            "HostDiskUsed warning: firing",
            "HostDiskUsed critical: firing",
        ]
    );
    machine.pass(8 * HOUR, clock_is_set);
    assert_eq!(
        machine.told(),
        [
            "HostDiskFullSoon warning: firing, resolved",
            "HostDiskUsed warning: firing, resolved",
            "HostDiskUsed critical: firing, resolved",
        ]
    );
}

#[test]
fn a_machine_that_swaps_is_told_of_and_so_is_who_was_killed() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(HOUR, clock_is_set);
    machine.pass(HOUR, |snapshot, passed| {
        clock_is_set(snapshot, passed);
        let total = value(snapshot, "node_memory_MemTotal_bytes");
        set(snapshot, "node_memory_MemAvailable_bytes", |_| total * 0.03);
        for counter in ["node_vmstat_pswpin", "node_vmstat_pswpout"] {
            set(snapshot, counter, |before| before + 2000.0 * passed as f64);
        }
        set(snapshot, "node_pressure_memory_stalled_seconds_total", |before| {
            before + 0.5 * passed as f64
        });
        let killed = if passed > 30 * MINUTE { 1.0 } else { 0.0 };
        set(snapshot, "node_vmstat_oom_kill", |before| before + killed);
    });
    // What counts does not go back.
    machine.pass(HOUR, |snapshot, passed| {
        clock_is_set(snapshot, passed);
        for counter in ["node_vmstat_pswpin", "node_vmstat_pswpout"] {
            set(snapshot, counter, |before| before + 2000.0 * HOUR as f64);
        }
        set(snapshot, "node_pressure_memory_stalled_seconds_total", |before| {
            before + 0.5 * HOUR as f64
        });
        set(snapshot, "node_vmstat_oom_kill", |before| before + 1.0);
    });
    assert_eq!(
        sorted(machine.told()),
        [
            "HostMemoryPressure critical: firing, resolved",
            "HostMemoryUsed critical: firing, resolved",
            "HostMemoryUsed warning: firing, resolved",
            "HostOomKill warning: firing, resolved",
            "HostSwapStorm critical: firing, resolved",
        ]
    );
}

/// Values swing about each bound for hours: that is one alert each, not one for each swing.
#[test]
fn packets_that_are_lost_now_more_and_now_less_are_one_alert_a_level() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(HOUR, clock_is_set);
    machine.pass(6 * HOUR, |snapshot, passed| {
        clock_is_set(snapshot, passed);
        set(snapshot, "monitoring_network_loss_percent", |_| 5.0 + swing(passed, HOUR));
        add(snapshot, "monitoring_latency_ms", 250.0 + 20.0 * swing(passed, HOUR));
    });
    machine.pass(HOUR, |snapshot, passed| {
        clock_is_set(snapshot, passed);
        add(snapshot, "monitoring_latency_ms", 20.0);
    });
    assert_eq!(
        sorted(machine.told()),
        [
            "HostLatencyHigh critical: firing, resolved",
            "HostLatencyHigh warning: firing, resolved",
            "HostPacketLoss critical: firing, resolved",
            "HostPacketLoss warning: firing, resolved",
        ]
    );
}

#[test]
fn processors_that_are_busy_for_hours_are_one_alert_a_level() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(HOUR, clock_is_set);
    let mut idle = 0.0;
    let mut busy = move |snapshot: &mut Snapshot, passed: u64| {
        clock_is_set(snapshot, passed);
        add(snapshot, "monitoring_temperature_celsius", 84.0 + 2.0 * swing(passed, HOUR));
        if snapshot.lane == Lane::Fast {
            // From 88 to 94 % busy, and less than 30 % in the end.
            let busy = if passed < 5 * HOUR { 0.91 + 0.03 * swing(passed, HOUR) } else { 0.3 };
            idle += (1.0 - busy) * MINUTE as f64;
            let counted = idle;
            let is_idle = |sample: &&mut Sample| {
                sample.name == "node_cpu_seconds_total" && sample.labels.get("mode") == Some("idle")
            };
            snapshot.samples.iter_mut().filter(is_idle).for_each(|sample| sample.value = counted);
        }
    };
    machine.pass(6 * HOUR, &mut busy);
    machine.pass(HOUR, |snapshot, passed| {
        add(snapshot, "monitoring_temperature_celsius", 50.0);
        busy(snapshot, 6 * HOUR + passed);
    });
    assert_eq!(
        sorted(machine.told()),
        [
            "HostCpuBusy critical: firing, resolved",
            "HostCpuBusy warning: firing, resolved",
            "HostTemperatureHigh critical: firing, resolved",
            "HostTemperatureHigh warning: firing, resolved",
        ]
    );
}

#[test]
fn a_file_system_that_its_disk_fails_is_told_until_it_can_be_written_again() {
    let mut machine = Machine::quiet(SEED);
    machine.pass(HOUR, clock_is_set);
    let failed = |snapshot: &mut Snapshot, passed| {
        clock_is_set(snapshot, passed);
        set(snapshot, "node_filesystem_readonly", |_| 1.0);
    };
    // Longer than the day that its rule looks back.
    machine.pass(30 * HOUR, failed);
    assert_eq!(machine.told(), ["HostFilesystemReadOnly critical: firing"]);
    machine.pass(HOUR, clock_is_set);
    assert_eq!(machine.told(), ["HostFilesystemReadOnly critical: firing, resolved"]);
}

#[test]
fn a_week_of_much_more_traffic_is_told_once_its_habit_is_known() {
    let mut machine = Machine::quiet(SEED);
    // Looked at rarely: it is about weeks.
    machine.every([20 * MINUTE, 20 * MINUTE], HOUR);
    machine.only("usage");
    let used = |habit: f64| {
        move |snapshot: &mut Snapshot, passed: u64| {
            let bytes = habit * passed as f64 / HOUR as f64;
            set(snapshot, "node_network_receive_bytes_total", |_| bytes);
        }
    };
    machine.pass(21 * DAY, used(GIB));
    assert_eq!(machine.told(), [""; 0]);
    machine.pass(7 * DAY, |snapshot, passed| {
        let hours = passed as f64 / HOUR as f64;
        set(snapshot, "node_network_receive_bytes_total", |_| (21.0 * 24.0 + 2.0 * hours) * GIB);
    });
    assert_eq!(machine.told(), ["HostNetworkUseUnusual warning: firing"]);
    // And once it has become a habit, it is no news.
    machine.pass(14 * DAY, |snapshot, passed| {
        let hours = passed as f64 / HOUR as f64;
        let before = (21.0 + 2.0 * 7.0) * 24.0;
        set(snapshot, "node_network_receive_bytes_total", |_| (before + 2.0 * hours) * GIB);
    });
    assert_eq!(machine.told(), ["HostNetworkUseUnusual warning: firing, resolved"]);
}

/// What has a bound has a level of recovery, below it; and nothing is said of a rule that is not there.
#[test]
fn each_stock_rule_with_a_bound_has_a_level_of_recovery() {
    // Over as soon as they hold no more: states, and what is counted.
    let without = [
        "HostOomKill",
        "HostUnitsFailed",
        "HostTimeNotSynchronised",
        "FarolJournalNotWritten",
        "FarolStoreDamaged",
        "FarolCollectorFailing",
    ];
    for (_, rule) in stock().rules() {
        let Rule::Alert(rule) = rule else { continue };
        assert_eq!(rule.recovery.is_none(), without.contains(&&*rule.name), "{}", rule.id);
        if let Some(Recovery::Level { text, .. }) = &rule.recovery {
            assert_ne!(*text, rule.text, "{}", rule.id);
        }
        assert_eq!(rule.remedy, None, "{}", rule.id);
    }
}

/// The journal's, to its end.
fn events(logs: &Path) -> Vec<Record> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut reader = Reader::open(disk, logs, Stream::Events, StartAt::Oldest).unwrap();
    let mut events = Vec::new();
    while let Some(item) = reader.next().unwrap() {
        let Item::Line(line) = item else { panic!("{item:?}") };
        events.push(line.record);
    }
    events
}

fn stock() -> RuleSet {
    let files: Vec<_> = farol::rule_files::stock().collect();
    RuleSet::parse(&files, &Defaults::default()).unwrap()
}

/// A machine whose time passes here, and the rules that watch it.
struct Machine {
    player: Player,
    host: Text,
    store: Store,
    upkeep: farol_store::Upkeep,
    lines: u64,
    rules: RuleSet,
    /// The names that the rules ask for; the others are left out, because a test is to be short.
    asked: HashSet<String>,
    states: Vec<GroupState>,
    alerts: BTreeMap<AlertKey, Arc<Alert>>,
    turns: Vec<Transition>,
    now: Timestamp,
    /// Seconds between the ticks of the lanes, and between evaluations.
    intervals: [u64; 2],
    evaluated_every: u64,
}

impl Machine {
    fn quiet(seed: u64) -> Machine {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let folder = repository().join("fixtures/recordings/quiet");
        let recording = Arc::new(Recording::read(&disk, &folder).unwrap());
        let store = Store::open(Arc::new(MemoryDisk::new()), Config::new(Path::new("/store")));
        let store = store.unwrap().store;
        let rules = stock();
        let texts = rules.rules().map(|(_, rule)| rule.expr().1.to_string());
        let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
        let asked = texts
            .flat_map(|text| {
                text.split(|char| !is_part(char)).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        Machine {
            player: Player::new(Arc::clone(&recording), seed),
            host: recording.host.clone(),
            upkeep: store.upkeep(),
            store,
            lines: 0,
            states: vec![GroupState::default(); rules.groups.len()],
            rules,
            asked,
            alerts: BTreeMap::new(),
            turns: Vec::new(),
            now: Timestamp::from_millis(recording.start.as_millis() / 3_600_000 * 3_600_000),
            intervals: [MINUTE; 2],
            evaluated_every: MINUTE,
        }
    }

    fn every(&mut self, intervals: [u64; 2], evaluated_every: u64) {
        (self.intervals, self.evaluated_every) = (intervals, evaluated_every);
        // Or the time between two evaluations counts as time in which nobody looked.
        for group in &mut self.rules.groups {
            let mut rarer = Group::clone(group);
            rarer.interval = rarer.interval.max(Duration::from_secs(evaluated_every));
            *group = Arc::new(rarer);
        }
    }

    fn only(&mut self, group: &str) {
        self.rules.groups.retain(|known| known.name == group);
        self.states.truncate(self.rules.groups.len());
    }

    /// Lets seconds pass, in which `change` is what is wrong; it is told how many have passed.
    fn pass(&mut self, seconds: u64, mut change: impl FnMut(&mut Snapshot, u64)) {
        let start = self.now;
        let least = self.intervals[0].min(self.evaluated_every);
        for passed in (0..seconds).step_by(usize::try_from(least).unwrap()) {
            self.now = start.plus(Duration::from_secs(passed));
            for lane in Lane::ALL {
                let interval = self.intervals[lane.index()];
                if self.is_due(interval) {
                    let interval = Duration::from_secs(interval);
                    let mut snapshot = self.player.tick(lane, self.now, interval);
                    change(&mut snapshot, passed);
                    if form(true, false) {
                        snapshot.samples.retain(|sample| self.asked.contains(&*sample.name));
                    }
                    self.append(Record::Snapshot(Arc::new(snapshot)));
                }
            }
            if self.is_due(self.evaluated_every) {
                self.evaluate();
            }
        }
        self.now = start.plus(Duration::from_secs(seconds));
    }

    fn is_due(&self, interval: u64) -> bool {
        self.now.as_millis() % (i64::try_from(interval).unwrap() * 1000) == 0
    }

    fn append(&mut self, record: Record) {
        append(&mut self.store, &mut self.upkeep, &mut self.lines, &record);
    }

    fn evaluate(&mut self) {
        let reader = self.store.reader();
        let (store, upkeep, lines) = (&mut self.store, &mut self.upkeep, &mut self.lines);
        let nothing = Labels::default();
        let options = EvalOptions {
            external_labels: &nothing,
            external_url: "",
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            now: Some(self.now),
            round: Duration::ZERO,
            limits: Limits { samples: 50_000_000, series: 100_000, steps: 11_000 },
            watch: &|| None,
            lap: &|| Duration::ZERO,
        };
        for (group, state) in self.rules.groups.iter().zip(&mut self.states) {
            let interval = i64::try_from(group.interval.as_millis()).unwrap();
            if self.now.as_millis() % interval.max(1) != 0 {
                continue;
            }
            let at = self.now;
            let mut record = |series| {
                let batch = Arc::new(Batch { at, series });
                append(store, upkeep, lines, &Record::Recorded(batch));
                Ok(())
            };
            let result = evaluate(group, &reader, &self.alerts, at, state, &mut record, &options);
            for (rule, result) in group.rules.iter().zip(&result.rules) {
                assert_eq!(result.found.as_ref().err(), None, "{}", rule.name());
                if let Rule::Alert(rule) = rule {
                    let turns =
                        step(&self.host, group, rule, &mut self.alerts, result, group.interval, at);
                    self.turns.extend(turns);
                }
            }
        }
    }

    /// Each alert in the order in which they fired, with what was to be told of it.
    fn told(&self) -> Vec<String> {
        let mut told: Vec<(AlertKey, String)> = Vec::new();
        for turn in &self.turns {
            let (alert, key) = (&turn.alert, turn.alert.key());
            if !matches!(turn.turn, Turn::Firing | Turn::Resolved | Turn::Flapping) {
                continue;
            }
            match told.iter_mut().find(|(known, _)| *known == key) {
                Some((_, told)) => told.push_str(&format!(", {}", turn.turn.name())),
                None => {
                    let severity = alert.severity().unwrap_or_default();
                    let text = format!("{} {severity}: {}", alert.name(), turn.turn.name());
                    told.push((key, text));
                }
            }
        }
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// The names of alerts that were pending at any time.
    fn pending(&self) -> BTreeSet<&str> {
        let pending = self.turns.iter().filter(|turn| turn.alert.phase == Phase::Pending);
        pending.map(|turn| turn.alert.name()).collect()
    }
}

fn append(store: &mut Store, upkeep: &mut farol_store::Upkeep, lines: &mut u64, record: &Record) {
    *lines += 1;
    store.apply(Position { stream: record.stream(), segment: 1, offset: *lines }, record, true);
    if upkeep.waiting() > 2 {
        let report = upkeep.round();
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
}

/// As on a machine with a time daemon.
fn clock_is_set(snapshot: &mut Snapshot, _: u64) {
    set(snapshot, "node_timex_sync_status", |_| 1.0);
    set(snapshot, "node_timex_maxerror_seconds", |_| 0.02);
}

/// From -1 to 1 and back within a period.
fn swing(passed: u64, period: u64) -> f64 {
    (passed as f64 / period as f64 * std::f64::consts::TAU).sin()
}

fn value(snapshot: &Snapshot, name: &str) -> f64 {
    snapshot.samples.iter().find(|sample| sample.name == name).map_or(f64::NAN, |found| found.value)
}

/// Changes each series of a name that is there.
fn set(snapshot: &mut Snapshot, name: &str, change: impl Fn(f64) -> f64) {
    for sample in snapshot.samples.iter_mut().filter(|sample| sample.name == name) {
        sample.value = change(sample.value);
    }
}

/// A sign that the recorded machine has not.
fn add(snapshot: &mut Snapshot, name: &str, value: f64) {
    if snapshot.lane == Lane::Slow && !snapshot.samples.iter().any(|sample| sample.name == name) {
        snapshot.samples.push(Sample { name: name.into(), labels: Labels::default(), value });
        snapshot.samples.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

fn sorted(mut told: Vec<String>) -> Vec<String> {
    told.sort();
    told
}
