//! Which series are found, in which order, and what belongs to a range.

use std::sync::atomic::{AtomicBool, Ordering};

use farol_disk::MemoryDisk;
use farol_model::{Lane, Record};
use farol_store::{Matcher, Op};

use crate::{
    model::Answers,
    scene::{
        DAY, HOUR, MINUTE, Pair, SECOND, WINDOW, all, ask, assert_same, config, ordinary, range,
        sample, snapshot, whole,
    },
};

fn scene() -> Record {
    let samples = vec![
        sample("disk_read_total", [("device", "sda")], 1.0),
        sample("disk_read_total", [("device", "sdb")], 2.0),
        sample("disk_read_total", [], 3.0),
        sample("disk_written_total", [("device", "sda")], 4.0),
        sample("job_total", [("job", "backup")], 5.0),
        sample("note", [("text", "two\nlines")], 6.0),
        sample("note", [("text", "a.c")], 7.0),
    ];
    snapshot(Lane::Fast, DAY, 10 * SECOND, "host", samples)
}

/// The names and the one label that tells them apart.
fn found(pair: &Pair, matchers: &[Matcher]) -> Vec<String> {
    let answers = ask(&pair.store.reader(), matchers, whole(), None);
    let label = |key: &farol_store::SeriesKey| {
        let telling = ["device", "exported_job", "text"];
        telling.into_iter().find_map(|name| key.labels.get(name).map(str::to_string))
    };
    answers
        .keys()
        .map(|key| match label(key) {
            Some(label) => format!("{} {label}", key.name),
            None => key.name.to_string(),
        })
        .collect()
}

fn matcher(name: &str, op: Op, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

/// In the head and in a block alike.
fn pairs() -> [Pair; 2] {
    let in_head = {
        let mut pair = Pair::new(&MemoryDisk::new(), &config());
        pair.apply(scene(), true);
        pair
    };
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    pair.apply(scene(), true);
    // Others pass the window by, and it becomes a block.
    for n in 1..=4 {
        let empty = snapshot(Lane::Slow, DAY + n * WINDOW, SECOND, "other", Vec::new());
        pair.apply(empty, true);
    }
    assert_eq!(pair.round().written.len(), 1);
    assert_eq!(pair.store.stats().block_samples, 8);
    [in_head, pair]
}

#[test]
fn matchers_choose_by_name_and_labels_and_a_missing_label_is_empty() {
    let all = [
        "disk_read_total",
        "disk_read_total sda",
        "disk_read_total sdb",
        "disk_written_total sda",
        "job_total backup",
        "note a.c",
        "note two\nlines",
        "up",
    ];
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    use Op::{Equal, Matches, MatchesNot, NotEqual};
    let cases: Vec<(Vec<Matcher>, Vec<&str>)> = vec![
        (vec![], all.to_vec()),
        (vec![matcher("__name__", Equal, "up")], vec!["up"]),
        (vec![matcher("__name__", Equal, "u")], vec![]),
        (vec![matcher("__name__", Equal, "")], vec![]),
        (vec![matcher("__name__", NotEqual, "")], all.to_vec()),
        (vec![matcher("__name__", Matches, "disk_.*")], all[..4].to_vec()),
        (vec![matcher("__name__", Matches, "disk_")], vec![]),
        (vec![matcher("__name__", MatchesNot, "disk_.*|note|up")], vec!["job_total backup"]),
        (vec![matcher("device", Equal, "sda")], vec![all[1], all[3]]),
        (
            vec![matcher("device", Equal, "sda"), matcher("__name__", Matches, ".*read.*")],
            vec![all[1]],
        ),
        (vec![matcher("device", NotEqual, "")], all[1..4].to_vec()),
        (vec![matcher("device", Equal, ""), matcher("__name__", Matches, "disk.*")], vec![all[0]]),
        (
            vec![matcher("device", NotEqual, "sda"), matcher("__name__", Matches, "disk.*")],
            vec![all[0], all[2]],
        ),
        (vec![matcher("device", Matches, "sd[ab]")], all[1..4].to_vec()),
        (vec![matcher("device", Matches, "")], {
            let without = |name: &&str| !name.contains(" sd");
            all.into_iter().filter(without).collect()
        }),
        (
            vec![matcher("device", Matches, "sda|"), matcher("__name__", Matches, "disk.*")],
            vec![all[0], all[1], all[3]],
        ),
        (vec![matcher("device", MatchesNot, "")], all[1..4].to_vec()),
        (vec![matcher("device", MatchesNot, "s.*"), matcher("__name__", Equal, "up")], vec!["up"]),
        (vec![matcher("nowhere", Equal, "")], all.to_vec()),
        (vec![matcher("nowhere", Equal, "x")], vec![]),
        (vec![matcher("nowhere", NotEqual, "x")], all.to_vec()),
        (vec![matcher("job", Equal, "node")], all.to_vec()),
        (vec![matcher("job", Equal, "backup")], vec![]),
        (vec![matcher("exported_job", Equal, "backup")], vec!["job_total backup"]),
        (vec![matcher("instance", Equal, "host")], all.to_vec()),
        (vec![matcher("instance", NotEqual, "host")], vec![]),
        (vec![matcher("text", Matches, "two.lines")], vec!["note two\nlines"]),
        (vec![matcher("text", Matches, "a.c")], vec!["note a.c"]),
        (vec![matcher("text", Equal, "a.c")], vec!["note a.c"]),
        (
            vec![matcher("text", NotEqual, "a.c"), matcher("text", NotEqual, "")],
            vec!["note two\nlines"],
        ),
        // Anchored as a whole, not alternative by alternative.
        (vec![matcher("device", Matches, "a|sdb")], vec![all[2]]),
    ];
    for (place, pair) in pairs().iter().enumerate() {
        for (matchers, expected) in &cases {
            let expected: Vec<_> = expected.iter().map(|name| (*name).to_string()).collect();
            assert_eq!(sorted(found(pair, matchers)), sorted(expected), "{place}: {matchers:?}");
        }
    }
}

#[test]
fn a_pattern_that_is_none_is_refused_in_words() {
    let error = Matcher::new("device", Op::Matches, "sd(a").unwrap_err();
    assert!(error.to_string().contains("sd(a"), "{error}");
    // What would close our own anchors and open others.
    assert!(Matcher::new("device", Op::Matches, "a)|(b").is_err());
}

#[test]
fn a_range_whose_ends_are_samples_has_both_and_nothing_beyond() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for n in 0..360 {
        pair.apply(ordinary(DAY + n * MINUTE, MINUTE), true);
    }
    pair.round();
    assert!(pair.store.stats().blocks > 0 && pair.store.stats().head_samples > 0);
    let edges: Vec<_> = [0, 1, 14, 15, 16, 119, 120, 121, 240, 359]
        .into_iter()
        .flat_map(|n| [-1, 0, 1].map(|off| DAY + n * MINUTE + off))
        .collect();
    for start in &edges {
        for end in &edges {
            let found = ask(&pair.store.reader(), &[], range(*start, *end), None);
            let story = format!("from {start} to {end}");
            assert_same(&found, &pair.model.answers(*start, *end, None), &story);
        }
    }
}

#[test]
fn a_range_before_after_or_the_wrong_way_round_is_empty() {
    let mut pair = Pair::new(&MemoryDisk::new(), &config());
    for n in 0..360 {
        pair.apply(ordinary(DAY + n * MINUTE, MINUTE), true);
    }
    pair.round();
    let outside =
        [(i64::MIN, DAY - 1), (DAY + 6 * HOUR, i64::MAX), (DAY + HOUR, DAY), (i64::MAX, i64::MIN)];
    for (start, end) in outside {
        let found = ask(&pair.store.reader(), &[], range(start, end), None);
        assert_same(&found, &Answers::new(), &format!("from {start} to {end}"));
    }
}

#[test]
fn a_marker_is_found_though_no_sample_is_in_the_range() {
    let mut pair = Pair::new(&MemoryDisk::new(), &config());
    let ends = DAY + 3 * MINUTE;
    pair.apply(ordinary(DAY, MINUTE), true);
    for story in ["by now", "by the next snapshot"] {
        let found = ask(&pair.store.reader(), &[], range(DAY + 1, DAY + HOUR), Some(DAY + HOUR));
        assert_eq!(found.len(), 5, "{story}");
        for points in found.values() {
            let points: Vec<_> = points.iter().collect();
            assert_eq!(points, [(&ends, &farol_store::STALE.to_bits())], "{story}");
        }
        pair.apply(ordinary(DAY + 20 * HOUR, MINUTE), true);
    }
    // It is three intervals and no more that are waited.
    let found = ask(&pair.store.reader(), &[], range(DAY + 1, ends - 1), Some(DAY + HOUR));
    assert_same(&found, &Answers::new(), "before the marker");
}

#[test]
fn a_lane_that_is_young_enough_at_now_has_not_ended() {
    let mut pair = Pair::new(&MemoryDisk::new(), &config());
    pair.apply(ordinary(DAY, MINUTE), true);
    for now in [DAY - HOUR, DAY, DAY + 3 * MINUTE, DAY + 3 * MINUTE + 1, i64::MAX] {
        let found = all(&pair.store, Some(now));
        assert_same(&found, &pair.model.all(Some(now)), &format!("now {now}"));
    }
}

/// A reader, and a selection already made, see one and the same while windows become blocks and blocks
/// are merged and removed beneath them.
#[test]
fn what_is_asked_while_windows_are_cut_and_merged_is_answered_whole() {
    let disk = MemoryDisk::new();
    let mut pair = Pair::new(&disk, &config());
    for n in 0..30 * 12 {
        pair.apply(ordinary(DAY + n * 5 * MINUTE, 5 * MINUTE), true);
    }
    let truth = pair.model.all(None);
    let Pair { store, mut upkeep, .. } = pair;
    let reader = store.reader();
    let begun = reader.select(&[], whole(), None);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !finished.load(Ordering::Acquire) {
                assert_same(&ask(&reader, &[], whole(), None), &truth, "while it is cut");
                asked += 1;
            }
            asked
        });
        let finish = Finish(&finished);
        let mut work = 0;
        for _ in 0..20 {
            let report = crate::scene::round(&mut upkeep);
            work += report.written.len() + report.merged.len();
        }
        drop(finish);
        assert!(work > 90, "only {work} blocks");
        assert!(asking.join().unwrap() > 0);
    });
    let mut begun = begun;
    let found = crate::scene::answers(&mut begun, whole());
    assert!(begun.damage().is_empty(), "{:?}", begun.damage());
    assert_same(&found, &truth, "selected before, read after");
    assert_same(&all(&store, None), &truth, "afterwards");
}

/// Ends the other thread also when this one fails.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
