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
    let closeness = |known: &str| (strsim::osa_distance(&name, known), !known.starts_with(&name));
    let ((steps, _), nearest) = names.map(|known| (closeness(known), known)).min()?;
    (steps <= name.len().div_ceil(4).min(3)).then_some(nearest)
}
