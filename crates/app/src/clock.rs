//! The only place that reads the clock. Everything else is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use farol_model::Timestamp;

#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        Err(before) => {
            let millis = i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(-millis)
        }
    }
}

/// For measuring how long something took.
#[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock in app")]
pub fn lap() -> Instant {
    Instant::now()
}

/// The next multiple of `interval` after `now`. A clock that steps moves the grid with it: the
/// wait to the next tick is never longer than one interval.
pub fn next_on_grid(now: Timestamp, interval: Duration) -> Timestamp {
    let step = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_millis((now.as_millis().div_euclid(step) + 1).saturating_mul(step))
}

/// `2026-11-22T10:15:00.250Z`
pub fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) => format!("{at:.3}"),
        // Beyond the calendar: say the number rather than nothing.
        Err(_) => format!("{} ms", at.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_stands_on_multiples_of_the_interval_and_never_waits_longer_than_one() {
        let second = Duration::from_secs(1);
        let next = |millis| next_on_grid(Timestamp::from_millis(millis), second).as_millis();
        assert_eq!(next(10_000), 11_000);
        assert_eq!(next(10_001), 11_000);
        assert_eq!(next(-1), 0);
        assert_eq!(next(-1000), 0);
    }

    #[test]
    fn times_are_written_with_milliseconds_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_millis(1_700_000_000_050)), "2023-11-14T22:13:20.050Z");
        assert_eq!(rfc3339(Timestamp::from_millis(0)), "1970-01-01T00:00:00.000Z");
    }
}
