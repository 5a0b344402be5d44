//! Any history of a machine, asked at any moment, cut and merged at any moment, restarted at any
//! moment: the answers are those of the plain model.

use std::sync::Arc;

use farol_disk::MemoryDisk;
use farol_model::{Labels, Lane, Record, Sample, Text};
use farol_store::{STALE, Store, is_stale};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    model::Answers,
    scene::{
        DAY, DAYS, HOUR, MINUTE, Pair, SECOND, WINDOW, all, ask, assert_same, assert_tidy, cases,
        config, event, files, key, open, range, received, reopen, replay, settle, snapshot,
    },
};

/// Enough for some days at an interval of minutes, and few enough to try many histories.
const MOST_RECORDS: usize = 1500;

/// One thing that happens to the machine or to the store.
#[derive(Clone, Debug)]
enum Step {
    /// Both lanes tick, each at its interval, so often altogether.
    Ticks(usize),
    Interval(Lane, i64),
    /// A series comes, goes or comes back.
    Toggle(usize),
    /// So many of the lane's next snapshots miss their full line.
    Incomplete(Lane, usize),
    /// The clock (or the time without power) jumps by so many milliseconds.
    Jump(i64),
    /// The clock says something else altogether, from 1970 to 2040 …
    Away(i64),
    /// … and is set right.
    Home,
    /// Snapshots come up to so many milliseconds off the grid.
    Jitter(i64),
    Rename(usize),
    Event,
    /// Another program sends samples.
    Received(Vec<Sent>),
    Round,
    Look(Look),
    Restart,
}

/// So many samples of one of the other program's series, each so much later than the last: up to now
/// or up to long ago, in order or backwards.
#[derive(Clone, Debug)]
struct Sent {
    series: usize,
    count: i64,
    every: i64,
    ago: i64,
    is_backwards: bool,
    values: Kind,
}

/// A question: from one sample's time to another's, perhaps a millisecond off, and as of when.
#[derive(Clone, Debug)]
struct Look {
    ends: [(Index, i64); 2],
    now: Option<Now>,
}

/// Measured from the newest snapshot of a lane.
#[derive(Clone, Debug)]
struct Now {
    lane: Lane,
    intervals: i64,
    beyond: i64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let every = proptest::sample::select(vec![1, SECOND, 15 * SECOND, MINUTE, 7 * HOUR]);
    let ago = prop_oneof![
        6 => Just(0), 2 => 0..HOUR, 2 => 0..5 * DAYS, 1 => -10 * MINUTE..0, 1 => Just(3 * DAYS)
    ];
    let values = prop_oneof![Just(Kind::Odd), Just(Kind::Counter), Just(Kind::Constant(STALE))];
    (0..4_usize, 1..40_i64, every, ago, any::<bool>(), values).prop_map(
        |(series, count, every, ago, is_backwards, values)| Sent {
            series,
            count,
            every,
            ago,
            is_backwards,
            values,
        },
    )
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![2 => Just(Lane::Fast), 1 => Just(Lane::Slow)]
}

fn interval() -> impl Strategy<Value = i64> {
    let seconds = [1, 7, 15, 30, 30, 60, 60, 120, 300, 300, 900];
    prop_oneof![
        9 => proptest::sample::select(seconds.map(|seconds| seconds * SECOND).to_vec()),
        1 => Just(500),
    ]
}

fn jump() -> impl Strategy<Value = i64> {
    let scale = prop_oneof![
        3 => Just(SECOND), 5 => Just(MINUTE), 3 => Just(WINDOW), 3 => Just(HOUR), 2 => Just(DAYS),
        1 => Just(365 * DAYS),
    ];
    (scale, -4.0..8.0_f64, any::<bool>()).prop_map(|(scale, times, round)| {
        if round { scale * times as i64 } else { (scale as f64 * times) as i64 }
    })
}

fn away() -> impl Strategy<Value = i64> {
    // 1970 to the millisecond and a little before it, 2000, 2040.
    proptest::sample::select(vec![0, -50 * SECOND, 946_684_800_000, 2_208_988_800_000])
}

fn look() -> impl Strategy<Value = Look> {
    let end = || (any::<Index>(), -1..=1_i64);
    let now = (lane(), 0..6_i64, -1..=1_i64);
    let now = now.prop_map(|(lane, intervals, beyond)| Now { lane, intervals, beyond });
    (end(), end(), proptest::option::of(now))
        .prop_map(|(start, end, now)| Look { ends: [start, end], now })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..12_usize).prop_map(Step::Ticks),
        5 => (10..130_usize).prop_map(Step::Ticks),
        2 => (lane(), interval()).prop_map(|(lane, interval)| Step::Interval(lane, interval)),
        6 => (0..universe().len()).prop_map(Step::Toggle),
        2 => (lane(), 1..40_usize).prop_map(|(lane, n)| Step::Incomplete(lane, n)),
        4 => jump().prop_map(Step::Jump),
        1 => away().prop_map(Step::Away),
        1 => Just(Step::Home),
        1 => prop_oneof![Just(0), 1..20_000_i64].prop_map(Step::Jitter),
        1 => (0..HOSTS.len()).prop_map(Step::Rename),
        1 => Just(Step::Event),
        5 => vec(sent(), 1..4).prop_map(Step::Received),
        5 => Just(Step::Round),
        3 => look().prop_map(Step::Look),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..120)
}

fn steps_with_restarts() -> impl Strategy<Value = Vec<Step>> {
    vec(prop_oneof![12 => step(), 1 => Just(Step::Restart)], 1..120)
}

const HOSTS: [&str; 3] = ["farol-host", "renamed", "h\u{f6}st"];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Constant(f64),
    Counter,
    Decimals,
    Huge,
    Odd,
    Noise,
    Seldom,
}

/// Series of several shapes; those at even places are of the fast lane.
fn universe() -> Vec<(&'static str, Labels, Kind)> {
    vec![
        ("a_total", Labels::from([("cpu", "0"), ("mode", "idle")]), Kind::Counter),
        ("a_total", Labels::from([("cpu", "0"), ("mode", "user")]), Kind::Counter),
        ("a_total", Labels::from([("cpu", "1"), ("mode", "idle")]), Kind::Decimals),
        ("both", Labels::empty(), Kind::Constant(0.0)),
        ("both", Labels::from([("x", "y")]), Kind::Seldom),
        ("both", Labels::from([("a", "y"), ("x", "y")]), Kind::Noise),
        ("load1", Labels::empty(), Kind::Decimals),
        ("od\"d\\name", Labels::from([("quo\"ted", "a\"b\\c\nd,e=\"f\"")]), Kind::Odd),
        ("of_another_job", Labels::from([("job", "mysql")]), Kind::Constant(-0.0)),
        ("of_another_job", Labels::from([("instance", "db1:9104")]), Kind::Huge),
        ("size_bytes", Labels::from([("mountpoint", "/")]), Kind::Constant(1e12)),
        ("size_bytes", Labels::from([("mountpoint", "/\u{1F525}")]), Kind::Huge),
        ("temp", Labels::from([("chip", "{}[],:\t\u{1}")]), Kind::Odd),
        ("temp", Labels::from([("chip", "k10"), ("sensor", "1")]), Kind::Noise),
        ("unknown", Labels::empty(), Kind::Constant(f64::NAN)),
        ("unlimited", Labels::empty(), Kind::Constant(f64::INFINITY)),
    ]
}

impl Kind {
    fn value(self, tick: u64) -> f64 {
        match self {
            Kind::Constant(value) => value,
            // Of a kernel that counts in hundredths, and wraps.
            Kind::Counter => (tick % 400 * 17) as f64 / 100.0,
            Kind::Decimals => (mixed(tick) % 10_000) as f64 / 100.0,
            Kind::Huge => (9_007_199_254_740_993_u64 + tick * 1024) as f64 * 1e3,
            Kind::Odd => {
                let values = [
                    0.0,
                    -0.0,
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    f64::MIN_POSITIVE / 2.0,
                    f64::MAX,
                    0.1 + 0.2,
                    -1e15,
                    9_007_199_254_740_993.0,
                ];
                values[(mixed(tick) % values.len() as u64) as usize]
            }
            Kind::Noise => f64::from_bits(mixed(tick) >> 2),
            Kind::Seldom => (tick / 30) as f64,
        }
    }
}

/// Repeatable chance (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A machine with two lanes.
struct Machine {
    /// What its clock says.
    clock: i64,
    /// What it said before it went astray.
    home: Option<i64>,
    lanes: [Ticking; 2],
    present: Vec<bool>,
    jitter: i64,
    host: &'static str,
    ticks: u64,
}

struct Ticking {
    interval: i64,
    due: i64,
    /// So many of the next snapshots are not complete.
    incomplete: usize,
}

impl Machine {
    fn new() -> Machine {
        let clock = DAY + 10 * HOUR;
        let lane = |interval| Ticking { interval, due: clock, incomplete: 0 };
        Machine {
            clock,
            home: None,
            lanes: [lane(30 * SECOND), lane(2 * MINUTE)],
            present: vec![true; universe().len()],
            jitter: 0,
            host: HOSTS[0],
            ticks: 0,
        }
    }

    fn set_clock(&mut self, clock: i64) {
        self.clock = clock;
        for lane in &mut self.lanes {
            lane.due = next_on_grid(clock, lane.interval);
        }
    }

    fn set_interval(&mut self, lane: Lane, interval: i64) {
        let lane = &mut self.lanes[lane.index()];
        lane.interval = interval;
        lane.due = next_on_grid(self.clock, interval);
    }

    /// The next snapshot, and whether it is complete.
    fn tick(&mut self) -> (Record, bool) {
        let lane = Lane::ALL.into_iter().min_by_key(|lane| self.lanes[lane.index()].due).unwrap();
        self.ticks += 1;
        let ticking = &mut self.lanes[lane.index()];
        let late = mixed(self.ticks).cast_signed().rem_euclid(self.jitter + 1);
        let at = ticking.due + late;
        ticking.due = next_on_grid(ticking.due, ticking.interval);
        self.clock = self.clock.max(at);
        let complete = ticking.incomplete == 0;
        ticking.incomplete = ticking.incomplete.saturating_sub(1);
        let interval = ticking.interval;
        let samples = self.samples(lane, complete);
        (snapshot(lane, at, interval, self.host, samples), complete)
    }

    /// A grid that is none of the clock's, so that much is sent twice.
    fn receive(&mut self, sent: &[Sent]) -> Record {
        let mut all = Vec::new();
        for sent in sent {
            self.ticks += 1;
            let end = (self.clock - sent.ago).div_euclid(sent.every) * sent.every;
            let point = |n: i64| {
                let value = sent.values.value(self.ticks + n.unsigned_abs() % 3);
                (end - n * sent.every, value)
            };
            let mut points: Vec<(i64, f64)> = (0..sent.count).map(point).collect();
            if !sent.is_backwards {
                points.reverse();
            }
            let [job, instance] = [["a", "b"], ["c", "d"]].map(|of| of[sent.series % 2]);
            let labels = [("instance", instance), ("job", job)];
            all.push((key(["sent_total", "sent"][sent.series / 2], labels), points));
        }
        received(self.clock, all)
    }

    /// Of one that is not complete only what has changed is known: say every third series.
    fn samples(&self, lane: Lane, complete: bool) -> Vec<Sample> {
        let all = universe().into_iter().enumerate();
        let ours = all.filter(|(place, _)| place % 2 == lane.index() && self.present[*place]);
        let named = ours.filter(|(place, _)| {
            complete || mixed(self.ticks ^ (*place as u64) << 32).is_multiple_of(3)
        });
        named
            .map(|(_, (name, labels, kind))| Sample {
                name: Text::from_static(name),
                labels,
                value: kind.value(self.ticks),
            })
            .collect()
    }
}

fn next_on_grid(after: i64, interval: i64) -> i64 {
    (after.div_euclid(interval) + 1) * interval
}

/// Plays a history on a store and on the model; whenever it is asked, both say the same.
fn play(steps: &[Step], disk: &MemoryDisk) -> Pair {
    let mut machine = Machine::new();
    let mut pair = Pair::new(disk, &config());
    let mut restarted = false;
    for step in steps {
        match step {
            Step::Ticks(ticks) => {
                let left = MOST_RECORDS.saturating_sub(pair.history.len());
                for _ in 0..left.min(*ticks) {
                    let (record, complete) = machine.tick();
                    pair.apply(record, complete);
                }
            }
            Step::Interval(lane, interval) => machine.set_interval(*lane, *interval),
            Step::Toggle(series) => machine.present[*series] ^= true,
            Step::Incomplete(lane, ticks) => machine.lanes[lane.index()].incomplete = *ticks,
            Step::Jump(by) => machine.set_clock(machine.clock + by),
            Step::Away(to) => {
                machine.home.get_or_insert(machine.clock);
                machine.set_clock(*to);
            }
            Step::Home => {
                if let Some(home) = machine.home.take() {
                    machine.set_clock(home + 10 * SECOND);
                }
            }
            Step::Jitter(jitter) => machine.jitter = *jitter,
            Step::Rename(host) => machine.host = HOSTS[*host],
            Step::Event => pair.apply(event(machine.clock), true),
            Step::Received(sent) => pair.apply(machine.receive(sent), true),
            Step::Round => drop(pair.round()),
            Step::Look(question) => look_at(&pair, question),
            Step::Restart => {
                pair = pair.restart(disk, &config());
                restarted = true;
            }
        }
    }
    pair.assert_equal("at the end");
    if !restarted {
        assert_counted(&pair);
    }
    pair
}

fn look_at(pair: &Pair, look: &Look) {
    let times = pair.model.times();
    if times.is_empty() {
        return;
    }
    let mut ends = look.ends.map(|(index, off)| times[index.index(times.len())] + off);
    ends.sort_unstable();
    let [start, end] = ends;
    let now = look.now.as_ref().and_then(|now| {
        let (newest, interval) = pair.model.newest(now.lane)?;
        Some(newest + now.intervals * interval + now.beyond)
    });
    let found = ask(&pair.store.reader(), &[], range(start, end), now);
    let expected = pair.model.answers(start, end, now);
    let story = format!("from {start} to {end}, now {now:?}");
    assert_same(
        &without_lone_markers(&found, &expected),
        &without_lone_markers(&expected, &expected),
        &story,
    );
    assert_same(&all(&pair.store, now), &pair.model.all(now), &format!("all, now {now:?}"));
}

/// A marker that comes before all samples of the range ends one from before it. It says nothing that
/// the range does not say by itself, and is promised only when that sample was shortly before: here it
/// may be missing, but not be wrong.
fn without_lone_markers(found: &Answers, expected: &Answers) -> Answers {
    let mut kept = found.clone();
    for (key, points) in &mut kept {
        if let Some(first) = points.first_entry()
            && is_stale(f64::from_bits(*first.get()))
        {
            let (at, _) = first.remove_entry();
            let truth = expected.get(key).and_then(|points| points.get(&at));
            assert_eq!(truth, Some(&STALE.to_bits()), "{key:?} did not end at {at}");
        }
    }
    kept.retain(|_, points| !points.is_empty());
    kept
}

fn assert_counted(pair: &Pair) {
    let stats = pair.store.stats();
    let times = pair.model.times();
    assert_eq!(stats.held, pair.model.held());
    let (held, lanes) = (stats.head_samples + stats.block_samples, pair.model.samples());
    // What two pools have both is there twice until their blocks are merged.
    assert!(held >= lanes + pair.model.received());
    assert!(held == lanes || pair.model.received() > 0);
    assert_eq!(stats.damaged, 0);
    assert_eq!(stats.series, pair.model.all(None).len() as u64);
    assert!(stats.oldest.is_none_or(|oldest| times.contains(&oldest.as_millis())));
    assert!(stats.newest.is_none_or(|newest| times.contains(&newest.as_millis())));
    assert_eq!(stats.oldest.is_none(), held == 0);
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn any_history_answers_as_the_plain_model_does_at_any_moment(steps in steps()) {
        let disk = MemoryDisk::new();
        let pair = play(&steps, &disk);
        settle(&pair.store, "the end");
        pair.assert_equal("cut and merged");
        assert_tidy(&disk, "cut and merged");
    }

    #[test]
    fn a_restart_at_any_moment_changes_no_answer(steps in steps_with_restarts()) {
        let disk = MemoryDisk::new();
        let pair = play(&steps, &disk).restart(&disk, &config());
        pair.assert_equal("restarted");
        settle(&pair.store, "the end");
        pair.assert_equal("restarted, cut and merged");
        let pair = pair.restart(&disk, &config());
        pair.assert_equal("restarted again");
        assert_tidy(&disk, "restarted again");
    }

    /// Deleting the store costs nothing that the journal still has.
    #[test]
    fn a_store_derived_anew_answers_the_same(steps in steps()) {
        let pair = play(&steps, &MemoryDisk::new());
        let anew = reopen(&MemoryDisk::new(), &config(), &pair.history);
        assert_same(&all(&anew, None), &all(&pair.store, None), "derived anew");
        assert_eq!(anew.stats().held, pair.store.stats().held);
    }

    /// Blocks are not read again, and what is applied twice is there once.
    #[test]
    fn applying_everything_again_changes_nothing(steps in steps()) {
        let disk = MemoryDisk::new();
        let Pair { store, upkeep, model, history } = play(&steps, &disk);
        drop((store, upkeep));
        let mut opened = open(&disk, &config());
        (opened.replay_from, opened.received_from) = (None, None);
        let mut store = replay(opened, &history);
        assert_same(&all(&store, None), &model.all(None), "from the beginning");
        for applied in &history {
            crate::scene::apply(&mut store, applied);
        }
        assert_same(&all(&store, None), &model.all(None), "twice");
    }

    #[test]
    fn a_read_only_store_answers_the_same_and_touches_nothing(steps in steps()) {
        let disk = MemoryDisk::new();
        let pair = play(&steps, &disk);
        let before = files(&disk);
        let opened = Store::open_read_only(Arc::new(disk.clone()), config()).unwrap();
        prop_assert!(opened.set_aside.is_empty());
        let beside = replay(opened, &pair.history);
        assert_same(&all(&beside, None), &pair.model.all(None), "beside the writer");
        drop(pair);
        let opened = Store::open_read_only(Arc::new(disk.clone()), config()).unwrap();
        assert_same(&all(&replay(opened, &[]), None), &all(&open(&disk, &config()).store, None), "blocks");
        drop(beside);
        prop_assert_eq!(files(&disk), before);
    }
}
