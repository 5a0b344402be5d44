//! Sums that do not lose what is small beside what is large.

use std::cmp::Ordering;

/// A sum after Kahan and Neumaier: what rounding lost is kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Kahan {
    pub sum: f64,
    /// What the sum lacks.
    pub lost: f64,
}

impl Kahan {
    pub(crate) fn of(value: f64) -> Kahan {
        Kahan { sum: value, lost: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - total) + value;
        } else {
            self.lost += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(crate) fn value(self) -> f64 {
        self.sum + self.lost
    }
}

/// A mean as Prometheus takes it: of the sum, and only once that would be too large for a float of
/// each value as it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    count: f64,
    /// Of the sum, then of the mean.
    kahan: Kahan,
    is_incremental: bool,
}

impl Mean {
    pub(crate) fn of(value: f64) -> Mean {
        Mean { count: 1.0, kahan: Kahan::of(value), is_incremental: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.is_incremental {
            let mut sum = self.kahan;
            sum.add(value);
            if !sum.sum.is_infinite() {
                self.kahan = sum;
                return;
            }
            self.is_incremental = true;
            self.kahan.sum /= self.count - 1.0;
            self.kahan.lost /= self.count - 1.0;
        }
        self.add_to_mean(value);
    }

    fn add_to_mean(&mut self, value: f64) {
        let mean = self.kahan.sum;
        if mean.is_infinite() {
            // Infinities of one sign stay; a finite value does not move them.
            let same = value.is_infinite() && (mean > 0.0) == (value > 0.0);
            if same || value.is_finite() {
                return;
            }
        }
        let current = self.kahan.value();
        self.kahan.add(value / self.count - current / self.count);
    }

    pub(crate) fn value(self) -> f64 {
        match self.is_incremental {
            true => self.kahan.value(),
            false => self.kahan.sum / self.count + self.kahan.lost / self.count,
        }
    }
}

/// A quantile of these values, interpolated between its neighbours; what is not a number sorts first.
pub(crate) fn quantile(quantile: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = quantile * last as f64;
    let weight = rank - rank.floor();
    let (_, lower, above) = values.select_nth_unstable_by(rank.floor() as usize, nan_first);
    let lower = *lower;
    let upper = above.iter().copied().min_by(nan_first).unwrap_or(lower);
    lower * (1.0 - weight) + upper * weight
}

fn nan_first(a: &f64, b: &f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.total_cmp(b),
    }
}
