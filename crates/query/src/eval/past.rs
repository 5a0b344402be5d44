//! The samples of a selector as far back as there are any: raw ones, and before them what was kept of
//! each 15 s, and before that of each 5 min.
//!
//! A down-sampled bucket stands for a sample at its end. Which of its figures, depends on the
//! question: the largest for `max_over_time`, the smallest for `min_over_time`, else the last one, which
//! was a sample.

use std::collections::BTreeMap;

use farol_model::{Labels, Text, Timestamp};
use farol_store::{
    AGGREGATE, Matcher, Range, Reader, Samples, Selection, SeriesKey, StoreError, Tier,
};

/// What is asked of a down-sampled bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Last,
    Max,
    Min,
}

impl Figure {
    pub(super) fn for_function(name: &str) -> Figure {
        match name {
            "max_over_time" => Figure::Max,
            "min_over_time" => Figure::Min,
            _ => Figure::Last,
        }
    }

    const fn word(self) -> Text {
        Text::from_static(match self {
            Figure::Last => "last",
            Figure::Max => "max",
            Figure::Min => "min",
        })
    }
}

/// Series from all parts of the past that a question touches.
pub(super) struct Stored {
    /// In order of time; nearly always the raw ones alone.
    parts: Vec<Selection>,
    keys: Keys,
    scratch: Samples,
}

enum Keys {
    /// Those of the only part.
    Own,
    /// Sorted, each with its place in the parts that have it.
    Joined { keys: Vec<SeriesKey>, places: Vec<Vec<(usize, usize)>> },
}

impl Stored {
    pub(super) fn select(
        reader: &Reader,
        matchers: &[Matcher],
        range: Range,
        now: Option<Timestamp>,
        figure: Figure,
    ) -> Stored {
        let older = older_parts(reader, range);
        // All of the range: what was received or imported may be older than the lanes' samples.
        let raw = reader.select(matchers, range, now);
        if older.is_empty() {
            return Stored { parts: vec![raw], keys: Keys::Own, scratch: Samples::default() };
        }
        let mut of_figure = matchers.to_vec();
        of_figure.push(Matcher::equal(AGGREGATE, figure.word()));
        let mut parts: Vec<Selection> = older
            .into_iter()
            .map(|(tier, part)| reader.tier(tier).select(&of_figure, part, None))
            .collect();
        parts.push(raw);
        let keys = joined(&parts);
        Stored { parts, keys, scratch: Samples::default() }
    }

    /// Sorted by name, then labels.
    pub(super) fn series(&self) -> &[SeriesKey] {
        match &self.keys {
            Keys::Own => self.parts[0].series(),
            Keys::Joined { keys, .. } => keys,
        }
    }

    pub(super) fn columns(&mut self, index: usize, into: &mut Samples) {
        let Keys::Joined { places, .. } = &self.keys else {
            return self.parts[0].columns(index, into);
        };
        into.clear();
        for (part, place) in &places[index] {
            self.parts[*part].columns(*place, &mut self.scratch);
            // From a series' first sample on its buckets say nothing new.
            let next = self.scratch.times.first().copied().unwrap_or(i64::MAX);
            while into.times.pop_if(|time| *time >= next).is_some() {
                into.values.pop();
            }
            into.times.extend_from_slice(&self.scratch.times);
            into.values.extend_from_slice(&self.scratch.values);
        }
    }

    pub(super) fn damage(&self) -> impl Iterator<Item = &StoreError> {
        self.parts.iter().flat_map(Selection::damage)
    }
}

/// What of the range is before the oldest raw sample, in order of time. A part ends where the next one
/// begins: its last bucket ends with that very moment.
fn older_parts(reader: &Reader, range: Range) -> Vec<(Tier, Range)> {
    let mut parts = Vec::new();
    let mut end = match reader.oldest() {
        Some(oldest) => range.end.min(oldest),
        None => range.end,
    };
    for tier in Tier::ALL {
        if end <= range.start {
            break;
        }
        let Some(oldest) = reader.tier(tier).oldest() else { continue };
        let start = range.start.max(oldest);
        if start < end {
            parts.push((tier, Range { start, end }));
            end = start;
        }
    }
    parts.reverse();
    parts
}

/// The series of all parts under the names that they have among the raw ones.
fn joined(parts: &[Selection]) -> Keys {
    let mut all: BTreeMap<SeriesKey, Vec<(usize, usize)>> = BTreeMap::new();
    for (part, selection) in parts.iter().enumerate() {
        for (place, key) in selection.series().iter().enumerate() {
            all.entry(without_figure(key)).or_default().push((part, place));
        }
    }
    let (keys, places) = all.into_iter().unzip();
    Keys::Joined { keys, places }
}

fn without_figure(key: &SeriesKey) -> SeriesKey {
    let labels = key.labels.iter().filter(|(name, _)| **name != AGGREGATE);
    let labels = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
    SeriesKey { name: key.name.clone(), labels: Labels::new(labels) }
}
