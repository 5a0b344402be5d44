//! The times at which an expression is evaluated.

/// `start`, `start + step`, … up to `end`, in milliseconds. An instant question has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub start: i64,
    /// As it was asked for, though no step may fall on it.
    pub end: i64,
    /// Above 0, unless there is one step only.
    pub step: i64,
    pub count: usize,
}

impl Steps {
    pub const fn one(at: i64) -> Steps {
        Steps { start: at, end: at, step: 0, count: 1 }
    }

    /// Up to `end`, which belongs to it if a step falls on it. `step` must be above 0.
    pub fn new(start: i64, end: i64, step: i64) -> Steps {
        let count = match end.checked_sub(start) {
            Some(span) if span >= 0 => usize::try_from(span / step.max(1)).unwrap_or(usize::MAX),
            Some(_) => return Steps { start, end, step, count: 0 },
            None => usize::MAX - 1,
        };
        Steps { start, end, step, count: count.saturating_add(1) }
    }

    pub fn at(&self, place: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(place as i64))
    }

    pub fn last(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    pub fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |place| self.at(place))
    }
}
