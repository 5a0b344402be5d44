//! A full hour of the machine, from what the store has of it: its vital signs and its states.
//!
//! Hours are those of UTC, so that a day has 24 whatever the clocks on the wall do. What there is no
//! sample of is left out, and an hour of which there is nothing has no summary.

use std::time::Duration;

use farol_model::{Labels, SignSummary, State, Summary, Text, Timestamp};
use farol_store::{Matcher, Op, Point, Range, Reader};

const HOUR_MILLIS: i64 = 3_600_000;
/// Hours that were missed, as in a stop, are made up for so far back.
const MOST_MISSED: i64 = 48;
/// An hour's last samples may still be on their way to the store.
const GRACE: Duration = Duration::from_secs(30);
/// The vital signs are two dozen; no rule that records under their prefix makes it endless.
const MOST_SIGNS: usize = 100;

const PREFIX: &str = "monitoring_";
/// The store names what this machine has measured so.
const JOB: &str = "node";
const STATE: &str = "monitoring_state";
/// A state holds until the next sample, but for no longer than this many of the usual distances.
const PATIENCE: i64 = 3;

/// The beginnings of the full hours that are to be summarised, the oldest first: those after `last`,
/// which has its summary or was found to have none.
pub fn due_hours(last: Option<Timestamp>, now: Timestamp) -> Vec<Timestamp> {
    let settled = now.as_millis().saturating_sub(GRACE.as_millis() as i64);
    let running = settled.div_euclid(HOUR_MILLIS);
    let oldest = running - MOST_MISSED;
    let first = last.map_or(oldest, |last| {
        oldest.max(last.as_millis().div_euclid(HOUR_MILLIS).saturating_add(1))
    });
    (first..running).map(|hour| Timestamp::from_millis(hour * HOUR_MILLIS)).collect()
}

/// Sums up the hour that begins at `hour`; nothing if the store has nothing of it. What is NaN or
/// infinite is no sample here.
pub fn summarise(reader: &Reader, host: &Text, hour: Timestamp, at: Timestamp) -> Option<Summary> {
    let matcher = Matcher::new("__name__", Op::Matches, "monitoring_.+").ok()?;
    let end = Timestamp::from_millis(hour.as_millis().saturating_add(HOUR_MILLIS - 1));
    let mut selection = reader.select(&[matcher], Range { start: hour, end }, None);
    // Others may have sent theirs.
    let own = Labels::from([("instance", &**host), ("job", JOB)]);
    let ours: Vec<(usize, Text)> = (0..)
        .zip(selection.series())
        .filter(|(_, series)| series.labels == own)
        .map(|(place, series)| (place, series.name.clone()))
        .take(MOST_SIGNS)
        .collect();
    let mut signs = Vec::new();
    let mut states = Vec::new();
    let mut points: Vec<Point> = Vec::new();
    for (place, name) in ours {
        points.clear();
        selection.samples(place, &mut points);
        if name == STATE {
            states = seconds_in_states(&points, hour);
        } else if let Some(sign) = sign(&points) {
            let short = name.strip_prefix(PREFIX).unwrap_or(&name);
            signs.push((Text::from(short), sign));
        }
    }
    let is_empty = signs.is_empty() && states.is_empty();
    (!is_empty).then(|| Summary { at, host: host.clone(), hour, signs, states })
}

fn sign(points: &[Point]) -> Option<SignSummary> {
    let finite = points.iter().map(|point| point.value).filter(|value| value.is_finite());
    let mut values: Vec<f64> = finite.collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let (min, max) = (*values.first()?, *values.last()?);
    let sum: f64 = values.iter().sum();
    // A sum beyond all numbers, or one rounded beyond its parts, makes no mean of them.
    let mean = (sum / count as f64).clamp(min, max);
    // The nearest rank: the smallest value that at least 95 % of all do not exceed.
    let rank = (count * 95).div_ceil(100);
    let p95 = *values.get(rank.saturating_sub(1))?;
    Some(SignSummary { mean, min, max, p95, samples: u32::try_from(count).unwrap_or(u32::MAX) })
}

/// Whole seconds in each state, in the order of [`State::ALL`], only those that occurred.
fn seconds_in_states(points: &[Point], hour: Timestamp) -> Vec<(State, u32)> {
    let usual = usual_distance(points);
    let end = hour.as_millis().saturating_add(HOUR_MILLIS);
    let mut millis = [0_i64; State::ALL.len()];
    for (place, point) in points.iter().enumerate() {
        let Some(state) = state_of(point.value) else { continue };
        let at = point.at.as_millis();
        let held = match points.get(place + 1) {
            Some(next) => (next.at.as_millis() - at).min(usual * PATIENCE),
            None => usual,
        };
        let place = State::ALL.iter().position(|known| *known == state);
        if let Some(sum) = place.and_then(|place| millis.get_mut(place)) {
            *sum += held.min(end - at).max(0);
        }
    }
    State::ALL
        .into_iter()
        .zip(millis)
        .filter(|(_, millis)| *millis > 0)
        .map(|(state, millis)| (state, u32::try_from((millis + 500) / 1000).unwrap_or(u32::MAX)))
        .collect()
}

/// As `monitoring_state` has it; a stale marker is none.
fn state_of(value: f64) -> Option<State> {
    match value {
        0.0 => Some(State::Stable),
        1.0 => Some(State::Warning),
        2.0 => Some(State::Critical),
        _ => None,
    }
}

/// The median; 0 where one sample alone says nothing of how long it holds.
fn usual_distance(points: &[Point]) -> i64 {
    let pairs = points.windows(2);
    let mut distances: Vec<i64> =
        pairs.map(|pair| pair[1].at.as_millis() - pair[0].at.as_millis()).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f64]) -> Vec<Point> {
        let at = |place: usize| Timestamp::from_millis(place as i64 * 1000);
        values
            .iter()
            .enumerate()
            .map(|(place, value)| Point { at: at(place), value: *value })
            .collect()
    }

    #[test]
    fn the_95th_percentile_is_the_nearest_rank() {
        for (count, expected) in
            [(1, 1.0), (10, 10.0), (19, 19.0), (20, 19.0), (21, 20.0), (100, 95.0)]
        {
            let values: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            let sign = sign(&points(&values)).unwrap();
            assert_eq!(sign.p95, expected, "of {count}");
            assert_eq!((sign.min, sign.max), (1.0, f64::from(count)));
            assert_eq!(sign.mean, f64::from(count + 1) / 2.0, "of {count}");
        }
    }

    #[test]
    fn what_is_no_number_is_no_sample() {
        let sign_of = |values: &[f64]| sign(&points(values));
        assert_eq!(sign_of(&[f64::NAN, farol_model::STALE, f64::INFINITY]), None);
        assert_eq!(sign_of(&[f64::NAN, 4.0, f64::NEG_INFINITY]).unwrap().samples, 1);
        let huge = sign_of(&[f64::MAX, f64::MAX]).unwrap();
        assert_eq!(huge.mean, f64::MAX);
    }

    proptest::proptest! {
        #[test]
        fn the_figures_stand_in_their_order(values in proptest::collection::vec(-1e6..1e6_f64, 1..200)) {
            let sign = sign(&points(&values)).unwrap();
            proptest::prop_assert!(sign.min <= sign.mean && sign.mean <= sign.max);
            proptest::prop_assert!(sign.min <= sign.p95 && sign.p95 <= sign.max);
            proptest::prop_assert_eq!(sign.samples as usize, values.len());
        }

        #[test]
        fn the_states_of_an_hour_are_never_longer_than_it(
            steps in proptest::collection::vec((1..400_000_i64, 0..4_u8), 0..200),
        ) {
            let mut at = 0;
            let mut found = Vec::new();
            for (step, value) in steps {
                if at < HOUR_MILLIS {
                    let value = f64::from(value);
                    found.push(Point { at: Timestamp::from_millis(at), value });
                }
                at += step;
            }
            let states = seconds_in_states(&found, Timestamp::from_millis(0));
            let sum: u32 = states.iter().map(|(_, seconds)| seconds).sum();
            proptest::prop_assert!(sum <= 3602, "{:?}", states);
        }

        #[test]
        fn an_hour_is_due_once_however_often_one_asks(
            start in 0..10_000_000_000_000_i64, steps in proptest::collection::vec(0..40_000_000_i64, 0..40),
        ) {
            let (mut now, mut last, mut all) = (start, None, Vec::new());
            for step in steps {
                now += step;
                for hour in due_hours(last, Timestamp::from_millis(now)) {
                    proptest::prop_assert!(hour.as_millis() + HOUR_MILLIS <= now);
                    last = Some(hour);
                    all.push(hour);
                }
            }
            proptest::prop_assert!(all.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn full_hours_are_due_half_a_minute_after_their_end_and_missed_ones_two_days_back() {
        let at =
            |hour: i64, seconds: i64| Timestamp::from_millis(hour * HOUR_MILLIS + seconds * 1000);
        let hours = |last: Option<i64>, now| {
            let due = due_hours(last.map(|last| at(last, 0)), now);
            due.into_iter().map(|hour| hour.as_millis() / HOUR_MILLIS).collect::<Vec<_>>()
        };
        assert_eq!(hours(Some(99), at(101, 29)), [] as [i64; 0]);
        assert_eq!(hours(Some(99), at(101, 30)), [100]);
        assert_eq!(hours(Some(96), at(101, 30)), [97, 98, 99, 100]);
        assert_eq!(hours(None, at(101, 30)), (53..=100).collect::<Vec<_>>());
        assert_eq!(hours(Some(7), at(101, 30)), (53..=100).collect::<Vec<_>>());
        assert_eq!(hours(Some(500), at(101, 30)), [] as [i64; 0], "the clock was set back");
    }
}
