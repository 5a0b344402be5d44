//! `metadata`: what a metric is, as its collector or its text file says.

use std::collections::{BTreeMap, BTreeSet};

use farol_model::{Description, Kind, Text};
use farol_store::Range;

use super::{Asked, error::ApiError, json};

/// Of every metric that there is now or in the store.
pub(super) fn metadata(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let limit = asked.params.limit("limit")?;
    // There is one description of each: a limit leaves it in.
    asked.params.limit("limit_per_metric")?;
    let wanted = asked.params.get("metric");
    let names = match wanted {
        Some(name) => BTreeSet::from([Text::from(name)]),
        None => names(asked),
    };
    let described: BTreeMap<Text, Description> = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), describe(asked, &name)?)))
        .take(if limit == 0 { usize::MAX } else { limit })
        .collect();
    Ok(json::success(|out| {
        out.push(b'{');
        for (place, (name, description)) in described.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            json::string(name, out);
            out.extend_from_slice(b":[{\"type\":");
            json::string(word(description.kind), out);
            out.extend_from_slice(b",\"help\":");
            json::string(&description.help, out);
            out.extend_from_slice(b",\"unit\":");
            json::string(description.unit, out);
            out.extend_from_slice(b"}]");
        }
        out.push(b'}');
    }))
}

fn names(asked: &Asked<'_>) -> BTreeSet<Text> {
    let current = std::sync::Arc::clone(&asked.site.current.borrow());
    let samples = current.lanes.iter().flatten().flat_map(|lane| &lane.samples);
    let mut names: BTreeSet<Text> = samples.map(|sample| sample.name.clone()).collect();
    // Without a store there is still what is current.
    if let Ok(reader) = asked.reader() {
        names.extend(reader.label_values("__name__", &[], Range::ALL));
    }
    names
}

fn describe(asked: &Asked<'_>, name: &str) -> Option<Description> {
    farol_collect::describe(name).or_else(|| asked.site.texts.describe(name))
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Untyped => "unknown",
    }
}
