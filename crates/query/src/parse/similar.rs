//! Which function was probably meant.

use crate::{Aggregation, FUNCTIONS};

/// What functions were called before, or are called elsewhere.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("average", "avg"),
    ("derivative", "deriv"),
    ("holt_winters", "double_exponential_smoothing"),
    ("mean", "avg"),
    ("median", "quantile"),
    ("now", "time"),
    ("percentile", "quantile"),
    ("stddev_pop", "stddev"),
];

pub(super) fn similar(name: &str) -> Option<&'static str> {
    const LONGEST: usize = 40;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    if let Some((_, known)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
        return Some(known);
    }
    let functions = FUNCTIONS.iter().map(|function| function.name);
    let names = functions.chain(Aggregation::ALL.iter().map(|(name, _)| *name));
    let closeness = |known: &str| (distance(&name, known), !known.starts_with(&name));
    let ((steps, _), nearest) = names.map(|known| (closeness(known), known)).min()?;
    (steps <= name.len().div_ceil(4).min(3)).then_some(nearest)
}

/// How many letters to add, take away, change or swap with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = last[column] + usize::from(letter != other);
            let mut best = changed.min(last[column + 1] + 1).min(next[column] + 1);
            let is_swap =
                row > 0 && column > 0 && from[row - 1] == *other && *letter == to[column - 1];
            if is_swap {
                best = best.min(before[column - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last[to.len()]
}
