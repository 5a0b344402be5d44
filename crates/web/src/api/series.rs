//! `labels`, `label/<name>/values`, `series`: which series there are, without their samples.

use super::{Asked, error::ApiError, json};

pub(super) fn labels(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let limit = asked.params.limit("limit")?;
    let range = asked.params.range()?;
    let any_of = asked.params.selectors(asked.ticket)?;
    let names = asked.reader()?.label_names(&any_of, range);
    Ok(limited(names, limit, |name, out| json::string(&name, out)))
}

pub(super) fn label_values(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let label = super::params::label_name(asked.segment)?;
    let limit = asked.params.limit("limit")?;
    let range = asked.params.range()?;
    let any_of = asked.params.selectors(asked.ticket)?;
    let values = asked.reader()?.label_values(&label, &any_of, range);
    Ok(limited(values, limit, |value, out| json::string(&value, out)))
}

pub(super) fn series(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let limit = asked.params.limit("limit")?;
    let range = asked.params.range()?;
    let any_of = asked.params.selectors(asked.ticket)?;
    if any_of.is_empty() {
        return Err(ApiError::bad("no match[] parameter provided"));
    }
    let series = asked.reader()?.series(&any_of, range);
    Ok(limited(series, limit, |key, out| json::key(&key, out)))
}

fn limited<T>(mut items: Vec<T>, limit: usize, write: impl FnMut(T, &mut Vec<u8>)) -> Vec<u8> {
    let is_cut = limit > 0 && items.len() > limit;
    if is_cut {
        items.truncate(limit);
    }
    let warning = [json::TRUNCATED.to_owned()];
    let warnings = if is_cut { &warning[..] } else { &[] };
    json::success_with(warnings, |out| json::list(items, out, write))
}
