//! A token bucket: a request takes one, and one comes back each interval, up to the burst.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// One request each `interval`, and `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub interval: Duration,
    pub burst: u32,
}

#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<Level>>);

/// How full it was, of which rate, and when that was so.
#[derive(Clone, Copy, Debug)]
struct Level {
    rate: Rate,
    tokens: u32,
    at: Instant,
}

impl Bucket {
    /// A bucket of another rate begins full.
    pub(super) fn take(&self, rate: Rate, now: Instant) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let level = match *held {
            Some(level) if level.rate == rate => level.filled(now),
            _ => Level { rate, tokens: rate.burst, at: now },
        };
        let taken = level.tokens.checked_sub(1);
        *held = Some(Level { tokens: taken.unwrap_or(0), ..level });
        taken.is_some()
    }
}

impl Level {
    /// Whole tokens only; what is left of an interval counts on.
    fn filled(self, now: Instant) -> Level {
        let Rate { interval, burst } = self.rate;
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        let came = elapsed / interval.as_nanos().max(1);
        let tokens = u128::from(self.tokens).saturating_add(came);
        if tokens >= u128::from(burst) {
            // Nothing is saved up while it is full.
            return Level { tokens: burst, at: now, ..self };
        }
        let whole = u32::try_from(came).unwrap_or(u32::MAX);
        let tokens = u32::try_from(tokens).unwrap_or(burst);
        Level { tokens, at: self.at + interval * whole, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { interval: Duration::from_millis(100), burst: 3 };

    /// How many of ten are let through at once.
    fn at_once(bucket: &Bucket, now: Instant) -> usize {
        (0..10).filter(|_| bucket.take(RATE, now)).count()
    }

    #[test]
    fn a_burst_then_one_an_interval() {
        let bucket = Bucket::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(at_once(&bucket, start), 3);
        assert_eq!(at_once(&bucket, after(99)), 0);
        assert_eq!(at_once(&bucket, after(100)), 1);
        // The half interval that passed unused is not lost.
        assert_eq!(at_once(&bucket, after(250)), 1);
        assert_eq!(at_once(&bucket, after(300)), 1);
        assert_eq!(at_once(&bucket, after(510)), 2);
        assert_eq!(at_once(&bucket, after(60_000)), 3);
    }

    #[test]
    fn neither_a_long_rest_nor_a_clock_behind_breaks_it() {
        let bucket = Bucket::default();
        let late = Instant::now() + Duration::from_secs(1 << 30);
        assert_eq!(at_once(&bucket, Instant::now()), 3);
        assert_eq!(at_once(&bucket, late), 3);
        assert_eq!(at_once(&bucket, Instant::now()), 0);
    }

    #[test]
    fn a_changed_rate_begins_anew() {
        let bucket = Bucket::default();
        let now = Instant::now();
        assert_eq!(at_once(&bucket, now), 3);
        assert!(bucket.take(Rate { burst: 1, ..RATE }, now));
        assert_eq!(at_once(&bucket, now), 3);
    }
}
