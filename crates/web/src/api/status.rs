//! `status/*`, `targets`: what the server says of itself.

use std::fmt::Write as _;

use farol_model::Timestamp;
use serde_json::{Value, json};

use super::{Asked, error::ApiError, json as written};

/// The level of Prometheus' API that this is: clients compare it with when something came.
const API_LEVEL: &str = "3.5.0";
const MOST_OF_A_KIND: usize = 10;

/// Never with `features`: Grafana would take us for a Mimir.
pub(super) fn buildinfo(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let about = &asked.site.about;
    Ok(success(&json!({
        "version": API_LEVEL,
        "revision": about.revision,
        "branch": format!("farol {}", about.version),
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "farolVersion": about.version,
    })))
}

pub(super) fn runtimeinfo(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let site = asked.site;
    let held = (site.history)();
    let shown = (site.configuration)();
    let retention = shown.iter().find(|row| row.key == "store.retention");
    Ok(success(&json!({
        "startTime": rfc3339(site.about.started),
        "serverTime": rfc3339(asked.now),
        "hostname": site.current.borrow().host.as_str(),
        "storageRetention": retention.map_or("", |row| row.value.as_str()),
        "timeSeriesCount": held.as_ref().map(|held| held.series),
        "blockCount": held.as_ref().map(|held| held.blocks),
        "storageBytes": held.as_ref().map(|held| held.bytes),
        "storageMaxBytes": held.as_ref().map(|held| held.max_bytes),
    })))
}

/// By the names of the command line; what has no flag is left out.
pub(super) fn flags(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let rows = (asked.site.configuration)();
    let flags = rows.into_iter().filter_map(|row| Some((row.flag?, Value::from(row.value))));
    Ok(success(&Value::Object(flags.collect())))
}

/// As a file would have it; secrets are not shown.
pub(super) fn config(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let mut yaml = String::new();
    let mut section: Vec<&str> = Vec::new();
    let rows = (asked.site.configuration)();
    for row in &rows {
        let parts: Vec<&str> = row.key.split('.').collect();
        let Some((name, parents)) = parts.split_last() else { continue };
        let shared = section.iter().zip(parents).take_while(|(a, b)| a == b).count();
        section.truncate(shared);
        for parent in parents.iter().skip(shared) {
            yaml.push_str(&"  ".repeat(section.len()));
            yaml.push_str(parent);
            yaml.push_str(":\n");
            section.push(parent);
        }
        let indent = "  ".repeat(section.len());
        writeln!(yaml, "{indent}{name}: {}", scalar(&row.value))
            .expect("writing to a string cannot fail");
    }
    Ok(success(&json!({ "yaml": yaml })))
}

/// Plain where YAML reads it as the same text.
fn scalar(value: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._".contains(char);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut quoted = Vec::new();
    written::string(value, &mut quoted);
    String::from_utf8(quoted).expect("a quoted text is a text")
}

pub(super) fn tsdb(asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    let most = match asked.params.limit("limit")? {
        0 => MOST_OF_A_KIND,
        most => most,
    };
    let overview = asked.reader()?.overview(most);
    fn rows<K: ToString>(counted: Vec<(K, u64)>) -> Value {
        let row = |(name, value): (K, u64)| json!({ "name": name.to_string(), "value": value });
        counted.into_iter().map(row).collect()
    }
    Ok(success(&json!({
        "headStats": {
            "numSeries": overview.series,
            "numLabelPairs": overview.label_pairs,
            "chunkCount": overview.chunks,
            "minTime": overview.oldest.map(Timestamp::as_millis),
            "maxTime": overview.newest.map(Timestamp::as_millis),
        },
        "seriesCountByMetricName": rows(overview.series_by_name),
        "labelValueCountByLabelName": rows(overview.values_by_label),
        "memoryInBytesByLabelName": rows(overview.bytes_by_label),
        "seriesCountByLabelValuePair": rows(overview.series_by_pair),
    })))
}

/// Nothing is scraped: what is collected here is collected by ourselves.
pub(super) fn targets(_asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
    Ok(success(&json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })))
}

pub(super) fn success(data: &Value) -> Vec<u8> {
    written::success(|out| out.extend_from_slice(data.to_string().as_bytes()))
}

pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    Some(format!("{at:.3}"))
}
