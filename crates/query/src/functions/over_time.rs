//! Aggregations of the samples in a window.

use std::collections::VecDeque;

use super::{
    remark,
    sums::{PrefixSums, never_overflows, side_by_side},
};
use crate::{
    ABSENT,
    eval::Windows,
    sum::{Kahan, Mean, quantile as quantile_of},
};

pub(super) fn avg(windows: &mut Windows<'_, '_>) {
    if let Some(sums) = PrefixSums::exact(windows.values) {
        windows.fill(|from, to| sums.between(from, to) / f64::from(to - from));
    } else if never_overflows(windows.values) {
        side_by_side(windows, |sum, count| sum.sum / count + sum.lost / count);
    } else {
        windows.each(|window| {
            let mut mean = Mean::of(window.values[0]);
            window.values[1..].iter().for_each(|value| mean.add(*value));
            mean.value()
        });
    }
}

pub(super) fn count(windows: &mut Windows<'_, '_>) {
    windows.fill(|from, to| f64::from(to - from));
}

pub(super) fn first(windows: &mut Windows<'_, '_>) {
    let values = windows.values;
    windows.fill(|from, _| values[from as usize]);
}

pub(super) fn last(windows: &mut Windows<'_, '_>) {
    let values = windows.values;
    windows.fill(|_, to| values[to as usize - 1]);
}

pub(super) fn mad(windows: &mut Windows<'_, '_>) {
    let mut scratch = Vec::new();
    windows.each(|window| {
        scratch.clear();
        scratch.extend_from_slice(window.values);
        let median = quantile_of(0.5, &mut scratch);
        scratch.clear();
        scratch.extend(window.values.iter().map(|value| (value - median).abs()));
        quantile_of(0.5, &mut scratch)
    });
}

pub(super) fn max(windows: &mut Windows<'_, '_>) {
    let values = windows.values;
    foremost(windows, |new, old| new > old, |place| values[place]);
}

pub(super) fn min(windows: &mut Windows<'_, '_>) {
    let values = windows.values;
    foremost(windows, |new, old| new < old, |place| values[place]);
}

pub(super) fn present(windows: &mut Windows<'_, '_>) {
    windows.fill(|_, _| 1.0);
}

pub(super) fn quantile(windows: &mut Windows<'_, '_>) {
    for (step, (from, to)) in windows.bounds.iter().enumerate() {
        let quantile = windows.scalar(0, step);
        if from < to && !(0.0..=1.0).contains(&quantile) {
            windows.notes.warn(windows.scalar_spans[0], &remark::quantile_out_of_range(quantile));
        }
    }
    let quantiles = &windows.scalars[0];
    let mut scratch = Vec::new();
    windows.each(|window| {
        scratch.clear();
        scratch.extend_from_slice(window.values);
        quantile_of(quantiles[window.step], &mut scratch)
    });
}

pub(super) fn stddev(windows: &mut Windows<'_, '_>) {
    windows.each(|window| variance(window.values).sqrt());
}

pub(super) fn stdvar(windows: &mut Windows<'_, '_>) {
    windows.each(|window| variance(window.values));
}

pub(super) fn sum(windows: &mut Windows<'_, '_>) {
    if let Some(sums) = PrefixSums::exact(windows.values) {
        windows.fill(|from, to| sums.between(from, to));
    } else if never_overflows(windows.values) {
        side_by_side(windows, |sum, _| sum.value());
    } else {
        windows.each(|window| {
            let mut sum = Kahan::default();
            window.values.iter().for_each(|value| sum.add(*value));
            sum.value()
        });
    }
}

pub(super) fn ts_of_first(windows: &mut Windows<'_, '_>) {
    let times = windows.times;
    windows.fill(|from, _| seconds(times[from as usize]));
}

pub(super) fn ts_of_last(windows: &mut Windows<'_, '_>) {
    let times = windows.times;
    windows.fill(|_, to| seconds(times[to as usize - 1]));
}

pub(super) fn ts_of_max(windows: &mut Windows<'_, '_>) {
    let times = windows.times;
    foremost(windows, |new, old| new >= old, |place| seconds(times[place]));
}

pub(super) fn ts_of_min(windows: &mut Windows<'_, '_>) {
    let times = windows.times;
    foremost(windows, |new, old| new <= old, |place| seconds(times[place]));
}

/// Welford's, with compensated sums.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = Kahan::default();
    let mut squares = Kahan::default();
    for value in values {
        count += 1.0;
        let distance = value - (mean.sum + mean.lost);
        mean.add(distance / count);
        squares.add(distance * (value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / count
}

/// For each window the value that none other `beats`, the earliest of them; where all are NaN, the
/// last. A queue holds who may still become it: one that comes later and is better makes those
/// before it pointless, so each sample is put in and taken out once, however many windows it is in.
fn foremost(
    windows: &mut Windows<'_, '_>,
    beats: impl Fn(f64, f64) -> bool,
    result: impl Fn(usize) -> f64,
) {
    let values = windows.values;
    let mut candidates: VecDeque<u32> = VecDeque::new();
    let mut next = 0;
    windows.fill(|from, to| {
        if from > next {
            candidates.clear();
            next = from;
        }
        while next < to {
            let value = values[next as usize];
            if !value.is_nan() {
                while candidates.pop_back_if(|last| beats(value, values[*last as usize])).is_some()
                {
                }
                candidates.push_back(next);
            }
            next += 1;
        }
        while candidates.pop_front_if(|first| *first < from).is_some() {}
        result(candidates.front().map_or(to as usize - 1, |place| *place as usize))
    });
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

impl Windows<'_, '_> {
    /// Like [`Windows::each`], for what needs only the places of a window's first sample and of the
    /// one after its last.
    pub(super) fn fill(&mut self, mut value_of: impl FnMut(u32, u32) -> f64) {
        for (out, (from, to)) in self.out.iter_mut().zip(self.bounds) {
            *out = if from < to { value_of(*from, *to) } else { ABSENT };
        }
    }
}
