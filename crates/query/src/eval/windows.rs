//! The windows of a range over one series: what functions over a range work with.

use crate::{Metric, Span, Steps, is_absent, notes::Notes};

/// The samples of one series, and its windows at all steps.
pub(crate) struct Windows<'w, 'q> {
    /// Rising, without stale markers.
    pub times: &'w [i64],
    pub values: &'w [f64],
    /// In milliseconds.
    pub range: i64,
    pub metric: &'w Metric,
    /// Where the range is written.
    pub span: Span,
    /// For each step the samples in its window.
    pub bounds: &'w [(u32, u32)],
    /// The steps as they are asked for, before `offset` and `@`.
    pub steps: Steps,
    /// When each window ends: the end belongs to it, its start does not.
    pub ends: &'w [i64],
    /// The arguments besides the range, in their order, a value for each step.
    pub scalars: &'w [Vec<f64>],
    /// Where they are written.
    pub scalar_spans: &'w [Span],
    /// For each step; ABSENT at first.
    pub out: &'w mut [f64],
    pub notes: &'w mut Notes<'q>,
    /// Whether to go on, asked from time to time.
    pub goes_on: &'w mut dyn FnMut() -> bool,
    /// Why there can be no answer.
    pub failure: Option<String>,
}

/// One window that has samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'w> {
    /// Which step.
    pub step: usize,
    /// The time of the evaluation, in milliseconds.
    pub at: i64,
    /// Excluded.
    pub start: i64,
    /// Included.
    pub end: i64,
    pub times: &'w [i64],
    pub values: &'w [f64],
}

/// So many samples are gone over before it is asked whether to go on.
const WORK: usize = 1 << 16;

impl Windows<'_, '_> {
    /// Fills in `out` for each window that has samples; ABSENT leaves a step without a value.
    #[inline]
    pub(crate) fn each(&mut self, mut value_of: impl FnMut(Window<'_>) -> f64) {
        let mut work = 0;
        for (step, (first, end)) in self.bounds.iter().enumerate() {
            let samples = *first as usize..*end as usize;
            if samples.is_empty() {
                continue;
            }
            work += samples.len();
            if work > WORK {
                if !(self.goes_on)() {
                    return;
                }
                work = 0;
            }
            let end = self.ends[step];
            self.out[step] = value_of(Window {
                step,
                at: self.steps.at(step),
                start: end.saturating_sub(self.range),
                end,
                times: &self.times[samples.clone()],
                values: &self.values[samples],
            });
        }
    }

    /// There can be no answer.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        self.failure = Some(why.into());
    }

    /// An argument besides the range, at a step.
    pub(crate) fn scalar(&self, argument: usize, step: usize) -> f64 {
        self.scalars[argument][step]
    }

    /// Whether there is anything for this series.
    pub(super) fn has_any(&self) -> bool {
        self.out.iter().any(|value| !is_absent(*value))
    }
}

/// The samples in the window of each step, `(end - range, end]`; `times` and `ends` rise.
pub(super) fn bounds_of(times: &[i64], ends: &[i64], range: i64, into: &mut Vec<(u32, u32)>) {
    into.clear();
    let (mut first, mut after) = (0, 0);
    for end in ends {
        let start = end.saturating_sub(range);
        while times.get(after).is_some_and(|time| time <= end) {
            after += 1;
        }
        while first < after && times[first] <= start {
            first += 1;
        }
        into.push((first as u32, after as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_end_and_not_its_start() {
        let mut bounds = Vec::new();
        bounds_of(&[0, 10, 20, 30], &[0, 10, 25, 30, 90], 20, &mut bounds);
        assert_eq!(bounds, [(0, 1), (0, 2), (1, 3), (2, 4), (4, 4)]);
    }
}
