//! What has changed in a window: `rate`, `increase`, `delta` and their kin.

use crate::{ABSENT, eval::Windows};

pub(super) fn changes(windows: &mut Windows<'_, '_>) {
    count_pairs(windows, |before, value| value != before && !(value.is_nan() && before.is_nan()));
}

pub(super) fn delta(windows: &mut Windows<'_, '_>) {
    let limits = Limits { range: windows.range, is_counter: false, per_second: false };
    windows.each(|window| match Ends::of(window.times, window.values) {
        Some(ends) => limits.extrapolate(ends, ends.difference(), window.start, window.end),
        None => ABSENT,
    });
}

pub(super) fn idelta(windows: &mut Windows<'_, '_>) {
    last_two(windows, |before, value, _| value - before);
}

pub(super) fn increase(windows: &mut Windows<'_, '_>) {
    growth(windows, false);
}

pub(super) fn irate(windows: &mut Windows<'_, '_>) {
    last_two(windows, |before, value, millis| {
        let grown = if value < before { value } else { value - before };
        grown / (millis as f64 / 1000.0)
    });
}

pub(super) fn rate(windows: &mut Windows<'_, '_>) {
    growth(windows, true);
}

pub(super) fn resets(windows: &mut Windows<'_, '_>) {
    count_pairs(windows, |before, value| value < before);
}

/// How much a counter has grown. Where it began anew, what it had come to is added; most windows
/// have no such place, and in them only the two ends count.
fn growth(windows: &mut Windows<'_, '_>, per_second: bool) {
    let limits = Limits { range: windows.range, is_counter: true, per_second };
    let (times, values, ends) = (windows.times, windows.values, windows.ends);
    let resets: Vec<u32> = (1..values.len() as u32)
        .filter(|place| values[*place as usize] < values[*place as usize - 1])
        .collect();
    let mut first_reset = 0;
    let mut found = false;
    for (step, (from, to)) in windows.bounds.iter().enumerate() {
        let samples = *from as usize..*to as usize;
        let Some(sides) = Ends::of(&times[samples.clone()], &values[samples]) else { continue };
        while resets.get(first_reset).is_some_and(|reset| reset <= from) {
            first_reset += 1;
        }
        let mut grown = sides.difference();
        for reset in resets[first_reset..].iter().take_while(|reset| *reset < to) {
            grown += values[*reset as usize - 1];
        }
        let end = ends[step];
        let start = end.saturating_sub(limits.range);
        windows.out[step] = limits.extrapolate(sides, grown, start, end);
        found = true;
    }
    if found {
        remark_on_name(windows);
    }
}

fn remark_on_name(windows: &mut Windows<'_, '_>) {
    const COUNTERS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
    let name = windows.metric.name.as_str();
    if name.is_empty() || COUNTERS.iter().any(|ending| name.ends_with(ending)) {
        return;
    }
    let text = format!(
        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
    );
    windows.notes.inform(windows.span, &text);
}

/// The first and the last sample of a window, and how many steps lie between them: one at least.
#[derive(Clone, Copy)]
struct Ends {
    first: (i64, f64),
    last: (i64, f64),
    intervals: usize,
}

impl Ends {
    #[inline]
    fn of(times: &[i64], values: &[f64]) -> Option<Ends> {
        let intervals = times.len().checked_sub(1).filter(|intervals| *intervals > 0)?;
        Some(Ends {
            first: (times[0], values[0]),
            last: (times[intervals], values[intervals]),
            intervals,
        })
    }

    fn difference(&self) -> f64 {
        self.last.1 - self.first.1
    }
}

#[derive(Clone, Copy)]
struct Limits {
    range: i64,
    is_counter: bool,
    per_second: bool,
}

impl Limits {
    /// From the samples to the whole window. A series is taken to go on to the window's edge if the
    /// edge is about as near as the next sample would be; otherwise to begin or end half an interval
    /// beyond its samples. A counter does not begin before it would have been zero.
    #[inline]
    fn extrapolate(self, ends: Ends, difference: f64, start: i64, end: i64) -> f64 {
        let sampled = seconds(ends.last.0 - ends.first.0);
        let interval = sampled / ends.intervals as f64;
        let near = interval * 1.1;
        let mut to_start = seconds(ends.first.0 - start);
        let mut to_end = seconds(end - ends.last.0);
        if to_start >= near {
            to_start = interval / 2.0;
        }
        if self.is_counter && difference > 0.0 && ends.first.1 >= 0.0 {
            let to_zero = sampled * (ends.first.1 / difference);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= near {
            to_end = interval / 2.0;
        }
        let mut factor = (sampled + to_start + to_end) / sampled;
        if self.per_second {
            factor /= seconds(self.range);
        }
        difference * factor
    }
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// `value_of` the sample before the last, the last, and the milliseconds between them.
fn last_two(windows: &mut Windows<'_, '_>, value_of: impl Fn(f64, f64, i64) -> f64) {
    windows.each(|window| {
        let ([.., before, value], [.., earlier, time]) = (window.values, window.times) else {
            return ABSENT;
        };
        match time - earlier {
            0 => ABSENT,
            millis => value_of(*before, *value, millis),
        }
    });
}

/// How many neighbours in a window are such a pair.
fn count_pairs(windows: &mut Windows<'_, '_>, is_counted: impl Fn(f64, f64) -> bool) {
    let mut count = 0u32;
    let mut counts = Vec::with_capacity(windows.values.len());
    counts.push(0);
    for pair in windows.values.windows(2) {
        count += u32::from(is_counted(pair[0], pair[1]));
        counts.push(count);
    }
    windows.fill(|from, to| f64::from(counts[to as usize - 1] - counts[from as usize]));
}
