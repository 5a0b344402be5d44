//! A course of time in one line: `▁▂▃▅▇  MIN  MAX  LAST  SERIES`.

use farol_query::is_absent;

use super::number;

/// Gives a line for each series. The charts are as wide as the terminal leaves room for beside the
/// longest name, within limits: no wider than a column a step, and wide enough to be read even
/// where the names are too long for the line.
pub(super) fn lines(series: &[(&[f64], String)], width: usize, mut each: impl FnMut(&str)) {
    let rows: Vec<[String; 3]> = series.iter().map(|(values, _)| summary(values)).collect();
    if rows.is_empty() {
        return;
    }
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].len());
        cells.chain([HEADS[column].len()]).max().unwrap_or(0)
    };
    let widths = [0, 1, 2].map(widest);
    let names = series.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(0);
    let beside = widths.iter().sum::<usize>() + 4 * GAP.len() + names;
    let steps = series.iter().map(|(values, _)| values.len()).max().unwrap_or(0);
    let chart_width = width.saturating_sub(beside).max(LEAST_CHART).min(steps.max(1));
    let line = |chart: &str, cells: [&str; 3], name: &str| {
        // A chart may end in blanks, which must not move what follows.
        let cells = [0, 1, 2].map(|column| format!("{:>1$}", cells[column], widths[column]));
        format!("{chart:<chart_width$}{GAP}{}{GAP}{name}", cells.join(GAP))
    };
    each(&line("", HEADS, "SERIES"));
    for ((values, name), row) in series.iter().zip(&rows) {
        each(&line(&chart(values, chart_width), [&row[0], &row[1], &row[2]], name));
    }
}

const HEADS: [&str; 3] = ["MIN", "MAX", "LAST"];
const GAP: &str = "  ";
const LEAST_CHART: usize = 20;

/// The least, the greatest and the last value.
fn summary(values: &[f64]) -> [String; 3] {
    let there = || values.iter().copied().filter(|value| !is_absent(*value));
    // Of NaN alone both are NaN.
    let least = there().fold(f64::NAN, f64::min);
    let greatest = there().fold(f64::NAN, f64::max);
    let last = there().next_back();
    [Some(least), Some(greatest), last].map(|value| value.map(number).unwrap_or_default())
}

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Each column is the mean of its steps, on the scale of what is drawn; a blank where there is
/// none, or no number.
fn chart(values: &[f64], width: usize) -> String {
    let columns: Vec<Option<f64>> = (0..width)
        .map(|column| {
            let (from, to) = (column * values.len() / width, (column + 1) * values.len() / width);
            mean(&values[from..to.max(from)])
        })
        .collect();
    let finite = || columns.iter().flatten().copied().filter(|value| value.is_finite());
    let least = finite().fold(f64::INFINITY, f64::min);
    let greatest = finite().fold(f64::NEG_INFINITY, f64::max);
    columns.iter().map(|value| value.map_or(' ', |value| level(value, least, greatest))).collect()
}

/// What never changes is drawn as a line at the bottom.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of seven levels; a NaN becomes 0"
)]
fn level(value: f64, least: f64, greatest: f64) -> char {
    // Halves, since the difference of two large numbers may be no number.
    let share = (value / 2.0 - least / 2.0) / (greatest / 2.0 - least / 2.0);
    LEVELS[((share * 7.0).round().clamp(0.0, 7.0)) as usize]
}

fn mean(values: &[f64]) -> Option<f64> {
    let is_drawn = |value: &&f64| !is_absent(**value) && !value.is_nan();
    let count = values.iter().filter(is_drawn).count();
    let mean = values.iter().filter(is_drawn).map(|value| value / count as f64).sum::<f64>();
    // Infinities of both signs have none.
    (count > 0 && !mean.is_nan()).then_some(mean)
}

#[cfg(test)]
mod tests {
    use farol_query::ABSENT;

    use super::*;

    #[test]
    fn a_chart_has_its_own_scale_and_blanks_for_gaps() {
        assert_eq!(chart(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(chart(&[-5.0, ABSENT, f64::NAN, 5.0], 4), "▁  █");
        assert_eq!(chart(&[3.0, 3.0], 2), "▁▁");
        assert_eq!(chart(&[f64::NEG_INFINITY, 1.0, 2.0, f64::INFINITY], 4), "▁▁██");
        assert_eq!(chart(&[f64::MIN, 0.0, f64::MAX], 3), "▁▅█");
        assert_eq!(chart(&[ABSENT], 1), " ");
    }

    #[test]
    fn a_column_of_several_steps_is_their_mean() {
        assert_eq!(chart(&[0.0, 0.0, 3.0, 4.0, ABSENT, 7.0], 3), "▁▅█");
        assert_eq!(chart(&[1.0; 1000], 10).chars().count(), 10);
    }

    fn drawn(series: &[(&[f64], &str)], width: usize) -> String {
        let series: Vec<(&[f64], String)> =
            series.iter().map(|(values, name)| (*values, (*name).to_owned())).collect();
        let mut text = String::new();
        lines(&series, width, |line| {
            text.push_str(line);
            text.push('\n');
        });
        text
    }

    #[test]
    fn the_lines_fit_the_terminal_where_the_names_let_them() {
        let values: Vec<f64> = (0..200).map(f64::from).collect();
        let text = drawn(&[(&values, "up{job=\"node\"}"), (&[1.5, ABSENT], "b")], 80);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].chars().count(), 80, "{text}");
        assert!(lines[0].ends_with("  MIN  MAX  LAST  SERIES"), "{text}");
        assert!(lines[1].ends_with("█    0  199   199  up{job=\"node\"}"), "{text}");
        assert!(lines[2].ends_with(" 1.5  1.5   1.5  b"), "{text}");
        let long = drawn(&[(&values, &"x".repeat(100))], 80);
        assert!(long.lines().nth(1).unwrap().starts_with("▁▁▂▂"), "{long}");
    }

    #[test]
    fn there_is_no_line_where_there_is_no_series() {
        assert_eq!(drawn(&[], 80), "");
    }
}
