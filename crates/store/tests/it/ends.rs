//! When a series ends, told in examples: each in memory, in blocks, and after a restart.

use farol_disk::MemoryDisk;
use farol_model::{Lane, Record, Sample};
use farol_store::is_stale;

use crate::{
    model::Answers,
    scene::{
        DAY, MINUTE, Pair, SECOND, WINDOW, all, config, numbered, reopen, sample, settle, snapshot,
    },
};

/// A snapshot: seconds since the day began, seconds of the interval, its series with their values; of
/// the fast lane and complete unless it says otherwise.
struct Tick {
    at: i64,
    interval: i64,
    lane: Lane,
    host: &'static str,
    complete: bool,
    samples: Vec<Sample>,
}

fn tick(at: i64, interval: i64, samples: &[(&'static str, f64)]) -> Tick {
    let samples = samples.iter().map(|(name, value)| sample(name, [], *value)).collect();
    Tick { at, interval, lane: Lane::Fast, host: "host", complete: true, samples }
}

impl Tick {
    fn slow(self) -> Tick {
        Tick { lane: Lane::Slow, ..self }
    }

    fn incomplete(self) -> Tick {
        Tick { complete: false, ..self }
    }

    fn host(self, host: &'static str) -> Tick {
        Tick { host, ..self }
    }

    fn record(&self) -> Record {
        let samples = self.samples.clone();
        let at = DAY + self.at * SECOND;
        snapshot(self.lane, at, self.interval * SECOND, self.host, samples)
    }
}

/// `a 0=1 60=2 180=end`, a series a line.
fn said(answers: &Answers) -> Vec<String> {
    let point = |(at, bits): (&i64, &u64)| {
        let value = f64::from_bits(*bits);
        let at = (at - DAY) as f64 / 1000.0;
        if is_stale(value) { format!(" {at}=end") } else { format!(" {at}={value}") }
    };
    let line = |(key, points): (&farol_store::SeriesKey, &std::collections::BTreeMap<i64, u64>)| {
        let host = key.labels.get("instance").unwrap();
        let host = if host == "host" { String::new() } else { format!("@{host}") };
        format!("{}{host}{}", key.name, points.iter().map(point).collect::<String>())
    };
    let own = |key: &farol_store::SeriesKey| key.name != "other" && key.name != "up";
    answers.iter().filter(|(key, _)| own(key)).map(line).collect()
}

/// Far from everything else, enough windows to close all others.
fn others() -> impl Iterator<Item = Record> {
    let other = |n: i64| {
        let at = DAY + 4000 * WINDOW + n * WINDOW;
        snapshot(Lane::Fast, at, 60 * MINUTE, "other", vec![sample("other", [], 1.0)])
    };
    (0..4).map(other)
}

fn check(ticks: &[Tick], expected: &[&str]) {
    check_at(ticks, None, expected);
}

fn check_at(ticks: &[Tick], now: Option<i64>, expected: &[&str]) {
    let now = now.map(|now| DAY + now * SECOND);
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for tick in ticks {
        pair.apply(tick.record(), tick.complete);
    }
    assert_eq!(said(&pair.model.all(now)), expected, "by the model");
    assert_eq!(said(&all(&pair.store, now)), expected, "in memory");
    let mut pair = pair.restart(&disk, &config());
    assert_eq!(said(&all(&pair.store, now)), expected, "restarted");
    for other in others() {
        pair.apply(other, true);
    }
    pair.round();
    assert_eq!(pair.store.stats().head_samples, 4 * 2, "all but the others is in blocks");
    pair.assert_equal("in blocks");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("in blocks, restarted");
}

#[test]
fn a_series_that_leaves_ends_at_the_next_snapshot_and_may_come_back() {
    check(
        &[
            tick(0, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(60, 60, &[("b", 2.0)]),
            tick(120, 60, &[("b", 3.0)]),
            tick(180, 60, &[("a", 4.0), ("b", 4.0)]),
        ],
        &["a 0=1 60=end 180=4", "b 0=1 60=2 120=3 180=4"],
    );
}

#[test]
fn all_series_end_three_intervals_after_the_last_before_a_gap() {
    check(&[tick(0, 60, &[("a", 1.0)]), tick(181, 60, &[("a", 2.0)])], &["a 0=1 180=end 181=2"]);
}

#[test]
fn a_gap_of_exactly_three_intervals_is_none() {
    check(&[tick(0, 60, &[("a", 1.0)]), tick(180, 60, &[("a", 2.0)])], &["a 0=1 180=2"]);
}

#[test]
fn it_is_the_interval_of_the_earlier_snapshot_that_counts() {
    check(
        &[
            tick(0, 60, &[("a", 1.0)]),
            // Within three minutes, though not within three of the new intervals.
            tick(120, 1, &[("a", 2.0)]),
            tick(124, 60, &[("a", 3.0)]),
        ],
        &["a 0=1 120=2 123=end 124=3"],
    );
}

#[test]
fn after_a_gap_a_series_that_does_not_come_back_has_ended_once() {
    check(
        &[
            tick(0, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(300, 60, &[("b", 2.0)]),
            tick(360, 60, &[("b", 3.0)]),
        ],
        &["a 0=1 180=end", "b 0=1 180=end 300=2 360=3"],
    );
}

#[test]
fn a_snapshot_that_is_not_complete_ends_nothing() {
    check(
        &[
            tick(0, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(60, 60, &[("b", 2.0)]).incomplete(),
            tick(120, 60, &[("a", 3.0), ("b", 3.0)]),
        ],
        &["a 0=1 120=3", "b 0=1 60=2 120=3"],
    );
}

#[test]
fn what_is_gone_behind_incomplete_snapshots_ends_at_the_next_complete_one() {
    check(
        &[
            tick(0, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(60, 60, &[("b", 2.0)]).incomplete(),
            tick(120, 60, &[]).incomplete(),
            tick(180, 60, &[("b", 4.0)]),
        ],
        &["a 0=1 180=end", "b 0=1 60=2 180=4"],
    );
}

#[test]
fn a_gap_after_an_incomplete_snapshot_ends_what_had_not_ended() {
    check(
        &[
            tick(0, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(60, 60, &[("b", 2.0)]).incomplete(),
            tick(600, 60, &[("b", 3.0)]),
        ],
        &["a 0=1 240=end", "b 0=1 60=2 240=end 600=3"],
    );
}

#[test]
fn lanes_end_apart() {
    check(
        &[
            tick(0, 60, &[("quick", 1.0)]),
            tick(10, 60, &[("slow", 1.0)]).slow(),
            tick(60, 60, &[("quick", 2.0)]),
            tick(120, 60, &[("quick", 3.0)]),
            tick(180, 60, &[("quick", 4.0)]),
            tick(240, 60, &[("quick", 5.0)]),
            tick(300, 60, &[("quick", 6.0)]),
            tick(310, 60, &[]).slow(),
        ],
        &["quick 0=1 60=2 120=3 180=4 240=5 300=6", "slow 10=1 190=end"],
    );
}

#[test]
fn a_lane_that_fell_silent_has_ended_by_now_and_the_other_has_not() {
    let ticks = || {
        [
            tick(0, 60, &[("quick", 1.0)]),
            tick(10, 60, &[("slow", 1.0)]).slow(),
            tick(60, 60, &[("quick", 2.0)]),
            tick(120, 60, &[("quick", 3.0)]),
        ]
    };
    check_at(&ticks(), Some(190), &["quick 0=1 60=2 120=3", "slow 10=1"]);
    check_at(&ticks(), Some(191), &["quick 0=1 60=2 120=3", "slow 10=1 190=end"]);
    check_at(&ticks(), Some(301), &["quick 0=1 60=2 120=3 300=end", "slow 10=1 190=end"]);
}

#[test]
fn what_had_ended_before_does_not_end_again_by_now() {
    check_at(
        &[tick(0, 60, &[("a", 1.0), ("b", 1.0)]), tick(60, 60, &[("b", 2.0)])],
        Some(100_000),
        &["a 0=1 60=end", "b 0=1 60=2 240=end"],
    );
}

#[test]
fn ends_are_found_across_windows() {
    check(
        &[
            // `a` leaves with the window, `b` stays; then a gap from one window into the next.
            tick(840, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(900, 60, &[("b", 2.0)]),
            tick(1740, 60, &[("b", 3.0)]),
            tick(1860, 60, &[("b", 4.0)]),
        ],
        &["a 840=1 900=end", "b 840=1 900=2 1080=end 1740=3 1860=4"],
    );
}

#[test]
fn an_incomplete_beginning_of_a_window_carries_the_question_on() {
    check(
        &[
            tick(840, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(900, 60, &[("b", 2.0)]).incomplete(),
            tick(960, 60, &[("b", 3.0)]),
        ],
        &["a 840=1 960=end", "b 840=1 900=2 960=3"],
    );
}

#[test]
fn a_whole_window_of_incomplete_snapshots_ends_nothing_either() {
    let between = (0..16).map(|n| tick(900 + n * 60, 60, &[("b", 2.0)]).incomplete());
    let first = tick(840, 60, &[("a", 1.0), ("b", 1.0)]);
    let last = tick(1860, 60, &[("a", 3.0), ("b", 3.0)]);
    let ticks: Vec<_> = [first].into_iter().chain(between).chain([last]).collect();
    let b: String = (0..16).map(|n| format!(" {}=2", 900 + n * 60)).collect();
    check(&ticks, &["a 840=1 1860=3", &format!("b 840=1{b} 1860=3")]);
}

#[test]
fn windows_are_read_in_order_of_time_whatever_order_they_came_in() {
    check(
        &[
            tick(1800, 60, &[("a", 3.0)]),
            // The clock is set back: what came later is earlier.
            tick(840, 60, &[("a", 1.0), ("b", 1.0)]),
            tick(900, 60, &[("a", 2.0)]),
        ],
        &["a 840=1 900=2 1080=end 1800=3", "b 840=1 900=end"],
    );
}

#[test]
fn a_renamed_host_is_another_instance() {
    check(
        &[
            tick(0, 60, &[("a", 1.0)]),
            tick(60, 60, &[("a", 2.0)]).host("new"),
            tick(120, 60, &[("a", 3.0)]).host("new"),
        ],
        &["a 0=1 60=end", "a@new 60=2 120=3"],
    );
}

#[test]
fn labels_that_a_scrape_would_set_are_set_and_those_that_were_there_are_kept() {
    let labelled = sample("x", [("instance", "db1"), ("job", "mysql"), ("kept", "yes")], 1.0);
    let history = numbered([snapshot(Lane::Fast, DAY, MINUTE, "host", vec![labelled])]);
    let store = reopen(&MemoryDisk::new(), &config(), &history);
    let found: Vec<_> = all(&store, None).into_keys().collect();
    let target = [("instance", "host"), ("job", "node")];
    let labels = [
        ("exported_instance", "db1"),
        ("exported_job", "mysql"),
        ("instance", "host"),
        ("job", "node"),
        ("kept", "yes"),
    ];
    assert_eq!(found, [crate::scene::key("up", target), crate::scene::key("x", labels)]);
}

/// `up` is what a scrape would add: of the fast lane, which is there or the machine is not.
#[test]
fn up_follows_the_fast_lane_alone() {
    let history = numbered([
        snapshot(Lane::Slow, DAY, MINUTE, "host", Vec::new()),
        snapshot(Lane::Fast, DAY + MINUTE, MINUTE, "host", Vec::new()),
        snapshot(Lane::Slow, DAY + 2 * MINUTE, MINUTE, "host", Vec::new()),
    ]);
    let store = reopen(&MemoryDisk::new(), &config(), &history);
    let found = all(&store, None);
    let points: Vec<_> = found.values().flatten().collect();
    assert_eq!(points, [(&(DAY + MINUTE), &1.0_f64.to_bits())]);
}

/// A hole between two windows that are one block by now, filled when the clock is set back into it.
#[test]
fn a_window_between_those_of_a_block_is_read_between_them() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    let window = |number: i64, minute: i64, samples: &[(&'static str, f64)]| {
        tick(number * 900 + minute * 60, 60, samples).record()
    };
    for number in [0, 7] {
        pair.apply(window(number, 13, &[("a", 1.0), ("b", 1.0)]), true);
        pair.apply(window(number, 14, &[("a", 2.0)]), true);
    }
    for number in 20..25 {
        pair.apply(window(number, 0, &[("c", 1.0)]), true);
    }
    pair.round();
    assert_eq!(pair.store.stats().blocks, 2, "one of both, and one more");
    pair.apply(window(1, 0, &[("b", 3.0)]), true);
    pair.apply(window(6, 14, &[("a", 3.0), ("b", 4.0)]), true);
    pair.assert_equal("in memory");
    let mut pair = pair.restart(&disk, &config());
    pair.assert_equal("restarted");
    for other in others() {
        pair.apply(other, true);
    }
    settle(&pair.store, "in blocks");
    pair.assert_equal("in blocks");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("in blocks, restarted");
}
