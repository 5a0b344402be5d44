//! The end of an evaluation: names that computing has taken away go, and the rest is put in order.

use std::collections::HashMap;

use crate::{Data, Metric, Series, eval::EvalError, is_absent};

/// In the order in which they came, which may be that of `sort`.
pub(super) fn vector(series: Vec<Series>, at: i64) -> Result<Data, EvalError> {
    let named = without_dropped_names(series)?;
    let present = named.into_iter().filter(|series| series.has_any());
    Ok(Data::Vector {
        at,
        samples: present.map(|series| (series.metric, series.values[0])).collect(),
    })
}

/// Sorted by name and labels.
pub(super) fn steps(series: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let mut named = without_dropped_names(series)?;
    named.retain(Series::has_any);
    named.sort_by(|a, b| a.metric.cmp(&b.metric));
    Ok(named)
}

/// Two series that are the same now become one, unless both have a value at one step.
fn without_dropped_names(series: Vec<Series>) -> Result<Vec<Series>, EvalError> {
    let mut places: HashMap<Metric, usize> = HashMap::with_capacity(series.len());
    let mut kept: Vec<Series> = Vec::with_capacity(series.len());
    for mut one in series {
        one.metric = one.metric.finished();
        match places.get(&one.metric) {
            Some(place) => join(&mut kept[*place], &one)?,
            None => {
                places.insert(one.metric.clone(), kept.len());
                kept.push(one);
            }
        }
    }
    Ok(kept)
}

pub(crate) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

fn join(held: &mut Series, other: &Series) -> Result<(), EvalError> {
    for (value, more) in held.values.iter_mut().zip(&other.values) {
        if is_absent(*more) {
            continue;
        }
        if !is_absent(*value) {
            return Err(EvalError::Failed(SAME_LABELS.to_owned()));
        }
        *value = *more;
    }
    Ok(())
}
