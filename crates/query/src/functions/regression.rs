//! Lines through the samples of a window.

use super::remark::go_g;
use crate::{ABSENT, eval::Windows, sum::Kahan};

pub(super) fn deriv(windows: &mut Windows<'_, '_>) {
    // Near the samples, for the sake of precision.
    windows.each(|window| match window.times.len() {
        0 | 1 => ABSENT,
        _ => Line::through(window.times, window.values, window.times[0]).slope,
    });
}

pub(super) fn double_exponential_smoothing(windows: &mut Windows<'_, '_>) {
    for (place, what) in ["smoothing factor", "trend factor"].into_iter().enumerate() {
        let short = if place == 0 { "sf" } else { "tf" };
        for (factor, (from, to)) in windows.scalars[place].iter().zip(windows.bounds) {
            if from < to && (*factor <= 0.0 || *factor >= 1.0) {
                let shown = if factor.is_finite() { format!("{factor:.6}") } else { go_g(*factor) };
                return windows
                    .fail(format!("invalid {what}. Expected: 0 < {short} < 1, got: {shown}"));
            }
        }
    }
    let scalars = windows.scalars;
    windows
        .each(|window| smoothed(window.values, scalars[0][window.step], scalars[1][window.step]));
}

pub(super) fn predict_linear(windows: &mut Windows<'_, '_>) {
    let ahead = &windows.scalars[0];
    windows.each(|window| match window.times.len() {
        0 | 1 => ABSENT,
        _ => {
            let line = Line::through(window.times, window.values, window.at);
            line.slope * ahead[window.step] + line.height
        }
    });
}

/// By least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    /// Per second.
    slope: f64,
    /// At the time that was asked for.
    height: f64,
}

impl Line {
    fn through(times: &[i64], values: &[f64], at: i64) -> Line {
        let first = values[0];
        if values.iter().all(|value| *value == first) {
            return match first.is_infinite() {
                true => Line { slope: f64::NAN, height: f64::NAN },
                false => Line { slope: 0.0, height: first },
            };
        }
        let (mut x_sum, mut y_sum) = (Kahan::default(), Kahan::default());
        let (mut xy_sum, mut xx_sum) = (Kahan::default(), Kahan::default());
        for (time, y) in times.iter().zip(values) {
            let x = time.saturating_sub(at) as f64 / 1000.0;
            x_sum.add(x);
            y_sum.add(*y);
            xy_sum.add(x * y);
            xx_sum.add(x * x);
        }
        let count = times.len() as f64;
        let (x, y) = (x_sum.value(), y_sum.value());
        let covariance = xy_sum.value() - x * y / count;
        let variance = xx_sum.value() - x * x / count;
        let slope = covariance / variance;
        Line { slope, height: y / count - slope * x / count }
    }
}

/// The last of the smoothed values. The trend of the first step is the step itself.
fn smoothed(values: &[f64], factor: f64, trend_factor: f64) -> f64 {
    let [first, second, ..] = values else { return ABSENT };
    let mut before = 0.0;
    let mut level = *first;
    let mut trend = second - first;
    for (place, value) in values.iter().enumerate().skip(1) {
        if place > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = factor * value + (1.0 - factor) * (level + trend);
        (before, level) = (level, next);
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_its_own_points_is_that_line() {
        let line = Line::through(&[0, 1000, 2000, 3000], &[1.0, 3.0, 5.0, 7.0], 10_000);
        assert_eq!(line, Line { slope: 2.0, height: 21.0 });
    }

    #[test]
    fn what_never_changes_has_no_slope_and_infinity_none_to_speak_of() {
        let flat = Line::through(&[0, 7, 11], &[0.1, 0.1, 0.1], 5);
        assert_eq!(flat, Line { slope: 0.0, height: 0.1 });
        assert!(Line::through(&[0, 7], &[f64::INFINITY; 2], 5).slope.is_nan());
        assert!(Line::through(&[0, 7], &[f64::NAN; 2], 5).slope.is_nan());
    }

    #[test]
    fn smoothing_follows_a_straight_line_exactly() {
        assert_eq!(smoothed(&[1.0, 2.0, 3.0, 4.0], 0.5, 0.5), 4.0);
        assert_eq!(smoothed(&[8.0, 8.0], 0.25, 0.75), 8.0);
        assert!(crate::is_absent(smoothed(&[8.0], 0.25, 0.75)));
    }
}
