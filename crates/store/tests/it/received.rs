//! What other programs send: gathered whatever its times are, written by day, merged, bounded; and in
//! nobody's way.

use std::time::Duration;

use farol_disk::MemoryDisk;
use farol_model::{Stream, Timestamp};
use farol_store::{Config, Matcher, Point, STALE, SeriesKey, Store, Tier, verify};

use crate::scene::{
    DAY, DAYS, DIR, HOUR, MINUTE, Pair, SECOND, all, assert_same, config, files, key, open,
    ordinary, position, received, reopen, round, settle,
};

fn sent(number: i64) -> SeriesKey {
    let job = number.to_string();
    key("sent_total", [("instance", "other"), ("job", job.as_str())])
}

/// The blocks of received samples, by the day they are of.
fn blocks(disk: &MemoryDisk) -> Vec<i64> {
    let names = files(disk).into_iter().map(|(path, _)| path);
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let days = names.filter_map(|name| {
        let start: i64 = name.strip_prefix("received-")?.split('-').next()?.parse().unwrap();
        Some((start * 1000 - DAY) / DAYS)
    });
    let mut days: Vec<i64> = days.collect();
    days.sort_unstable();
    days
}

fn block_samples(disk: &MemoryDisk) -> u64 {
    let reports = verify(disk, std::path::Path::new(DIR)).unwrap();
    reports.iter().filter(|report| report.kind == "received").map(|report| report.samples).sum()
}

#[test]
fn a_day_is_written_in_few_parts_and_then_is_one() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for minute in 0..27 * 60 {
        let now = DAY + minute * MINUTE;
        let series = (0..20).map(|n| (sent(n), vec![(now - n % 2, (minute * n) as f64)]));
        pair.apply(received(now, series.collect()), true);
        if minute % 10 == 9 {
            pair.round();
            let of_today = blocks(&disk).into_iter().filter(|day| *day == minute / 1440).count();
            assert!(of_today <= 8, "{of_today} blocks at minute {minute}");
        }
    }
    settle(&pair.store, "the end");
    pair.assert_equal("written and merged");
    let days = blocks(&disk);
    assert_eq!(days.iter().filter(|day| **day == 0).count(), 1, "{days:?}");
    // Twenty series of two clocks, most of them linear: far less than the times of each would take.
    let bytes: usize = files(&disk).iter().map(|(_, bytes)| bytes.len()).sum();
    let samples = block_samples(&disk);
    assert!(samples > 20 * 25 * 60 && (bytes as u64) < samples, "{bytes} of {samples}");
    let pair = pair.restart(&disk, &config());
    pair.assert_equal("opened again");
}

#[test]
fn what_is_sent_again_is_held_once_and_counted_wherever_it_meets() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    let points: Vec<(i64, f64)> = (0..50).map(|n| (DAY + n * SECOND, n as f64)).collect();
    let batch = |now: i64| received(now, vec![(sent(1), points.clone())]);
    // In one pool, and again in another when the first was written.
    for now in [DAY, DAY + MINUTE, DAY + HOUR] {
        pair.apply(batch(now), true);
    }
    assert_eq!(pair.store.stats().repeated, 50);
    pair.round();
    // Days later both are over and become one.
    pair.apply(received(DAY + 2 * DAYS, vec![(sent(1), vec![(DAY + 2 * DAYS, 1.0)])]), true);
    settle(&pair.store, "merged");
    assert_eq!(pair.store.stats().repeated, 100);
    assert_eq!((blocks(&disk), block_samples(&disk)), (vec![0], 50));
    pair.assert_equal("merged");
}

#[test]
fn of_two_values_at_one_time_the_same_is_kept_in_memory_on_disk_and_merged() {
    let values = [STALE, f64::NAN, -1.0, 3.5];
    for first in values {
        for second in values {
            for later in [0, HOUR] {
                let disk = MemoryDisk::new();
                let mut pair = Pair::new(&disk, &config());
                for (now, value) in [(DAY, first), (DAY + later, second)] {
                    pair.apply(received(now, vec![(sent(1), vec![(DAY, value)])]), true);
                }
                let story = format!("{first} and {second}, {later} later");
                pair.assert_equal(&story);
                pair.apply(received(DAY + 2 * DAYS, vec![(sent(2), vec![(DAY, 1.0)])]), true);
                pair.assert_equal(&story);
                settle(&pair.store, &story);
                pair.assert_equal(&format!("{story}, written"));
            }
        }
    }
}

#[test]
fn a_pool_waits_for_nobody_when_its_sender_has_gone() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    let record = received(DAY, vec![(sent(1), vec![(DAY - DAYS, 1.0), (DAY, 2.0)])]);
    pair.apply(record, true);
    let oldest = Timestamp::from_millis(DAY - DAYS);
    assert_eq!(pair.store.reader().oldest(), Some(oldest), "of what is in memory alone too");
    for minute in 0..14 {
        pair.apply(ordinary(DAY + minute * MINUTE, MINUTE), true);
    }
    pair.round();
    assert_eq!(blocks(&disk), [] as [i64; 0]);
    pair.apply(ordinary(DAY + 15 * MINUTE, MINUTE), true);
    pair.round();
    assert_eq!(blocks(&disk), [-1, 0]);
    let opened = open_again(pair, &disk, &config());
    let from = opened.replays_from(Stream::Received).unwrap();
    assert_eq!((from.stream, from.offset), (Stream::Received, 1), "behind the only line");
}

fn open_again(pair: Pair, disk: &MemoryDisk, config: &Config) -> farol_store::Opened {
    drop(pair);
    open(disk, config)
}

/// A sender that has been away for days sends what it has kept: the days between have nothing, and
/// what else there is has not become older for it.
#[test]
fn old_samples_make_nothing_else_old() {
    let disk = MemoryDisk::new();
    let config = Config { retention: Duration::from_secs(3 * 86_400), ..config() };
    let mut pair = Pair::new(&disk, &config);
    for hour in 0..2 * 24 {
        for minute in [0, 20, 40] {
            pair.apply(ordinary(DAY + hour * HOUR + minute * MINUTE, 20 * MINUTE), true);
        }
    }
    let now = DAY + 2 * DAYS;
    let late = vec![(now - 3 * DAYS + 2 * HOUR, 1.0), (now, 2.0)];
    pair.apply(received(now, vec![(sent(1), late)]), true);
    let report = pair.round();
    assert!(report.removed.is_empty(), "while it is in memory: {:?}", report.removed);
    pair.apply(ordinary(now + HOUR, 20 * MINUTE), true);
    settle(&pair.store, "written");
    pair.assert_equal("nothing has gone");
}

/// What is beyond the retention goes; the block that has the journal's position stays, or all would be
/// read again at every start.
#[test]
fn what_is_beyond_the_retention_goes_and_the_position_stays() {
    let disk = MemoryDisk::new();
    let config = Config { retention: Duration::from_secs(2 * 86_400), ..config() };
    let mut pair = Pair::new(&disk, &config);
    for hour in 0..6 * 24 {
        let now = DAY + hour * HOUR;
        pair.apply(received(now, vec![(sent(1), vec![(now, hour as f64)])]), true);
        pair.round();
    }
    let days = blocks(&disk);
    assert!(days.iter().all(|day| *day >= 3), "{days:?}");
    let found = all(&pair.store, None);
    let points = &found[&sent(1)];
    assert!(*points.first_key_value().unwrap().0 <= DAY + 4 * DAYS);
    assert_eq!(points.len() as i64, (DAY + 6 * DAYS - points.first_key_value().unwrap().0) / HOUR);
    let history = pair.history.clone();
    let last = history.last().unwrap().position;
    let opened = open_again(pair, &disk, &config);
    assert!(opened.replays_from(Stream::Received).unwrap() <= last);
    assert!(opened.replays_from(Stream::Received).unwrap() > history[history.len() - 3].position);
    drop(opened);
    let again = reopen(&disk, &config, &history);
    assert_same(&all(&again, None), &found, "opened again");
}

#[test]
fn series_beyond_the_limit_are_counted_and_take_nothing_from_the_lanes() {
    let disk = MemoryDisk::new();
    let limited = Config { max_series: 3, ..config() };
    let mut store = open(&disk, &limited).store;
    let batch = |now: i64| {
        let series = (0..5).map(|n| (sent(n), vec![(now, 1.0), (now + 1, 2.0)]));
        received(now, series.collect())
    };
    let at = |offset| farol_model::Position { stream: Stream::Received, segment: 1, offset };
    store.apply(at(0), &batch(DAY), true);
    store.apply(at(9), &batch(DAY + MINUTE), true);
    assert_eq!(store.stats().over_limit, 2 * 2 * 2);
    assert_eq!((store.stats().series, store.stats().head_samples), (3, 3 * 4));
    // A time that no clock says is no reason to panic.
    let far = vec![(i64::MAX, 1.0), (i64::MIN, 1.0), (DAY, 1.0)];
    store.apply(at(20), &received(i64::MAX, vec![(sent(1), far)]), true);
    assert_eq!(store.stats().over_limit, 2 * 2 * 2 + 2);
    settle(&store, "the end");
    assert_eq!(all(&store, None)[&sent(0)].len(), 4);
    // Nor does the whole grow without end, of a sender that names its series ever anew.
    for number in 10..30 {
        let now = DAY + number * HOUR;
        let fresh =
            received(now, vec![(sent(number), vec![(now, 1.0)]), (sent(0), vec![(now, 1.0)])]);
        store.apply(at(100 * number as u64), &fresh, true);
    }
    settle(&store, "later");
    assert_eq!((store.stats().series, store.stats().over_limit), (6, 2 * 2 * 2 + 2 + 17));
    assert_eq!(all(&store, None)[&sent(0)].len(), 4 + 20, "those there are go on");
}

#[test]
fn a_day_that_gets_late_samples_is_down_sampled_again() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for now in [DAY + HOUR, DAY + 30 * HOUR] {
        pair.apply(received(now, vec![(sent(1), vec![(now, 4.0)])]), true);
    }
    settle(&pair.store, "a day over");
    assert_eq!(counted(&pair.store), [1.0]);
    let late = vec![(DAY + HOUR + 30, 2.0), (DAY + HOUR + 60, STALE), (DAY + 5 * HOUR, 1.0)];
    pair.apply(received(DAY + 30 * HOUR, vec![(sent(1), late)]), true);
    settle(&pair.store, "not written yet");
    assert_eq!(counted(&pair.store), [1.0]);
    pair.apply(received(DAY + 31 * HOUR, vec![(sent(2), vec![(DAY + 31 * HOUR, 1.0)])]), true);
    settle(&pair.store, "written");
    assert_eq!(counted(&pair.store), [2.0, 1.0]);
    pair.assert_equal("the samples themselves");
}

/// So that nobody opens its files for what was before.
#[test]
fn a_tier_begins_with_its_first_figures_and_not_with_the_day() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for now in [DAY + HOUR, DAY + 30 * HOUR] {
        pair.apply(received(now, vec![(sent(1), vec![(now, 4.0)])]), true);
    }
    settle(&pair.store, "a day over");
    let oldest = |tier: Tier| pair.store.reader().tier(tier).oldest().map(Timestamp::as_millis);
    assert_eq!(oldest(Tier::FifteenSeconds), Some(DAY + HOUR + 15_000));
    assert_eq!(oldest(Tier::FiveMinutes), Some(DAY + HOUR + 5 * MINUTE));
}

/// How many samples the received series had in each bucket of five minutes.
fn counted(store: &Store) -> Vec<f64> {
    let reader = store.reader().tier(Tier::FiveMinutes);
    let wanted =
        [Matcher::equal("__name__", "sent_total"), Matcher::equal("__aggregate__", "count")];
    let mut selection = reader.select(&wanted, farol_store::Range::ALL, None);
    let mut points: Vec<Point> = Vec::new();
    for index in 0..selection.series().len() {
        selection.samples(index, &mut points);
    }
    let before = Timestamp::from_millis(DAY + DAYS);
    points.iter().filter(|point| point.at < before).map(|point| point.value).collect()
}

/// A kept block and the same lines read again, as after `farol store rebuild`.
#[test]
fn what_a_rebuild_keeps_and_reads_again_is_there_once() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for hour in 0..30 {
        let now = DAY + hour * HOUR;
        let points = (0..10).map(|n| (now + n * MINUTE, (hour * n) as f64)).collect();
        pair.apply(received(now, vec![(sent(hour % 3), points)]), true);
        pair.round();
    }
    drop(pair);
    let mut store = open(&disk, &config()).store;
    let mut upkeep = store.upkeep();
    let mut expected = all(&store, None);
    assert!(!expected.is_empty());
    for hour in 0..30 {
        let now = DAY + hour * HOUR;
        let points: Vec<(i64, f64)> =
            (0..10).map(|n| (now + n * MINUTE, (hour * n) as f64)).collect();
        let held = expected.entry(sent(hour % 3)).or_default();
        held.extend(points.iter().map(|(at, value)| (*at, value.to_bits())));
        let record = received(now, vec![(sent(hour % 3), points)]);
        store.apply(position(&record, hour as usize), &record, true);
        round(&mut upkeep);
    }
    settle(&store, "read again");
    assert_same(&all(&store, None), &expected, "read again");
    let day = 24 * 10;
    assert!(block_samples(&disk) >= day && block_samples(&disk) <= 2 * 300, "merged");
}
