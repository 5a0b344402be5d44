//! Questions about series that need no sample: which there are, their labels, and what they take.
//!
//! A series counts as being in a range when a block or a window in memory that touches the range
//! has it. That errs on the side of one block, and reads no file.

use std::cmp::Reverse;

use farol_model::{Text, Timestamp};

use crate::{
    Matcher, Range, Reader, SeriesKey,
    block::Block,
    head::Window,
    series::{NAME, Table},
    shared::View,
};

/// What the store holds, by label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    pub series: u64,
    /// Different pairs of a label and a value.
    pub label_pairs: u64,
    /// Pieces in which the samples are read: chunks in blocks, columns in memory.
    pub chunks: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// The largest first in each of these.
    pub series_by_name: Vec<(Text, u64)>,
    pub values_by_label: Vec<(Text, u64)>,
    /// Bytes of a label's values, each as often as it stands in a series.
    pub bytes_by_label: Vec<(Text, u64)>,
    /// `label=value`
    pub series_by_pair: Vec<(String, u64)>,
}

impl Reader {
    /// The series that match any of these sets of conditions and may have samples in the range,
    /// sorted by name, then labels; all of them if there is no set.
    pub fn series(&self, any_of: &[Vec<Matcher>], range: Range) -> Vec<SeriesKey> {
        self.within(range, |view| {
            let numbers = found(view, any_of, range);
            let keys = numbers.iter().filter_map(|number| view.table.key(*number));
            let mut keys: Vec<SeriesKey> = keys.map(|key| SeriesKey::clone(key)).collect();
            keys.sort();
            keys
        })
    }

    /// The labels of these series, `__name__` among them, sorted.
    pub fn label_names(&self, any_of: &[Vec<Matcher>], range: Range) -> Vec<Text> {
        self.within(range, |view| {
            let numbers = found(view, any_of, range);
            let labels = view.table.postings().filter(|(_, values)| {
                values.iter().any(|(_, of_value)| have_one_in_common(of_value, &numbers))
            });
            let mut names: Vec<Text> = labels.map(|(label, _)| label.clone()).collect();
            names.sort();
            names
        })
    }

    /// The values that a label has in these series, sorted.
    pub fn label_values(&self, label: &str, any_of: &[Vec<Matcher>], range: Range) -> Vec<Text> {
        self.within(range, |view| {
            let numbers = found(view, any_of, range);
            let values = view.table.values_of(label).into_iter().flatten();
            let values = values.filter(|(value, of_value)| {
                // A metric without a name has no label `__name__`.
                !value.is_empty() && have_one_in_common(of_value, &numbers)
            });
            values.map(|(value, _)| value.clone()).collect()
        })
    }

    /// What the raw store holds, with the `most` largest of each kind.
    pub fn overview(&self, most: usize) -> Overview {
        self.within(Range::ALL, |view| overview(view, most))
    }

    fn within<T>(&self, range: Range, ask: impl FnOnce(&View) -> T) -> T {
        match self.tier {
            None => ask(&self.shared.view()),
            // What is damaged is counted there, and told by who reads samples.
            Some(tier) => ask(&self.shared.days_of(tier, range, &mut Vec::new())),
        }
    }
}

/// The numbers of the series that are asked for, rising.
fn found(view: &View, any_of: &[Vec<Matcher>], range: Range) -> Vec<u32> {
    let matching = matching(&view.table, any_of);
    // Whatever the table holds is somewhere.
    if range == Range::ALL || matching.is_empty() {
        return matching;
    }
    let present = present(view, range);
    matching.into_iter().filter(|number| present.binary_search(number).is_ok()).collect()
}

fn matching(table: &Table, any_of: &[Vec<Matcher>]) -> Vec<u32> {
    match any_of {
        [] => table.matching(&[]),
        [one] => table.matching(one),
        several => {
            let mut numbers: Vec<u32> =
                several.iter().flat_map(|matchers| table.matching(matchers)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        }
    }
}

/// The numbers of all series in what touches the range, rising.
fn present(view: &View, range: Range) -> Vec<u32> {
    let (start, end) = (range.start.as_millis(), range.end.as_millis());
    let mut numbers = Vec::new();
    if start > end {
        return numbers;
    }
    for block in view.blocks.iter().filter(|block| block.start <= end && block.end >= start) {
        numbers.extend(block.series.iter().map(|series| series.number));
    }
    let touched =
        |window: &&Window| window.span().is_some_and(|(first, last)| first <= end && last >= start);
    for window in view.windows().filter(touched) {
        numbers.extend(window.columns.iter().map(|column| column.series));
    }
    for pool in view.pools() {
        numbers.extend(pool.numbers_within(range));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Of two rising lists; the shorter is looked up in the longer.
fn have_one_in_common(a: &[u32], b: &[u32]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    short.iter().any(|number| long.binary_search(number).is_ok())
}

fn overview(view: &View, most: usize) -> Overview {
    let (mut values_by_label, mut bytes_by_label) = (Vec::new(), Vec::new());
    let (mut series_by_name, mut series_by_pair) = (Vec::new(), Vec::new());
    let mut label_pairs = 0;
    for (label, values) in view.table.postings() {
        let bytes = values.iter().map(|(value, series)| (value.len() * series.len()) as u64).sum();
        label_pairs += values.len() as u64;
        values_by_label.push((label.clone(), values.len() as u64));
        bytes_by_label.push((label.clone(), bytes));
        let pairs = values.iter().map(|(value, series)| ((label, value), series.len() as u64));
        series_by_pair.extend(pairs);
        if label.as_str() == NAME {
            series_by_name
                .extend(values.iter().map(|(name, series)| (name.clone(), series.len() as u64)));
        }
    }
    let pairs = largest(series_by_pair, most);
    let chunks_of =
        |block: &Block| -> usize { block.series.iter().map(|series| series.chunks.len()).sum() };
    let in_blocks: usize = view.blocks.iter().map(|block| chunks_of(block)).sum();
    let in_memory: usize = view.windows().map(|window| window.columns.len()).sum();
    let pooled: usize = view.pools().map(|pool| pool.numbers().count()).sum();
    let spans = view.windows().filter_map(Window::span);
    let spans = spans.chain(view.pools().flat_map(|pool| pool.spans()));
    let spans: Vec<(i64, i64)> =
        spans.chain(view.blocks.iter().map(|block| (block.start, block.end))).collect();
    let at = Timestamp::from_millis;
    Overview {
        series: view.table.len() as u64,
        label_pairs,
        chunks: (in_blocks + in_memory + pooled) as u64,
        oldest: spans.iter().map(|span| span.0).min().map(at),
        newest: spans.iter().map(|span| span.1).max().map(at),
        series_by_name: largest(series_by_name, most),
        values_by_label: largest(values_by_label, most),
        bytes_by_label: largest(bytes_by_label, most),
        series_by_pair: pairs
            .into_iter()
            .map(|((label, value), count)| (format!("{label}={value}"), count))
            .collect(),
    }
}

/// Of equal ones the first by name.
fn largest<K: Ord>(mut counted: Vec<(K, u64)>, most: usize) -> Vec<(K, u64)> {
    let order = |a: &(K, u64), b: &(K, u64)| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0));
    if most < counted.len() && most > 0 {
        counted.select_nth_unstable_by(most - 1, order);
    }
    counted.truncate(most);
    counted.sort_by(order);
    counted
}
