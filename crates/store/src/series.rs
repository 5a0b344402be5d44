//! The series there are: each has a number here, and every label leads to its series.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use farol_model::{Labels, Text};

use crate::Matcher;

/// The label under which the metric's name is asked for.
pub(crate) const NAME: &str = "__name__";

/// A series as it is stored: with `job` and `instance`, without `__name__` among the labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub name: Text,
    pub labels: Labels,
}

impl SeriesKey {
    /// The value of a label, `""` where there is none.
    pub fn get(&self, label: &str) -> &str {
        if label == NAME { &self.name } else { self.labels.get(label).unwrap_or("") }
    }
}

/// All series that have samples anywhere in the store, and the index by label. A number is not used
/// again, so that whoever holds one can at worst find nothing.
#[derive(Debug, Default)]
pub(crate) struct Table {
    numbers: HashMap<Arc<SeriesKey>, u32>,
    series: BTreeMap<u32, Held>,
    /// By label name, then value: the numbers, rising.
    postings: HashMap<Text, BTreeMap<Text, Vec<u32>>>,
    next: u32,
    texts: HashSet<Text>,
    /// The lengths of `texts` together.
    text_bytes: usize,
}

#[derive(Debug)]
struct Held {
    key: Arc<SeriesKey>,
    /// Heads and blocks that have samples of it.
    holders: u32,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// The number of a series, with one more holder.
    pub(crate) fn hold(&mut self, key: SeriesKey) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            let number = *number;
            self.series.get_mut(&number).expect("a number that is known is held").holders += 1;
            return number;
        }
        let key = Arc::new(self.shared(key));
        let number = self.next;
        self.next = self.next.checked_add(1).expect("four billion series ago we were restarted");
        for (label, value) in key.labels.iter().chain([(&Text::from_static(NAME), &key.name)]) {
            let values = self.postings.entry(label.clone()).or_default();
            values.entry(value.clone()).or_default().push(number);
        }
        self.numbers.insert(Arc::clone(&key), number);
        self.series.insert(number, Held { key, holders: 1 });
        number
    }

    /// Series without a holder are forgotten.
    pub(crate) fn release(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let mut gone = Vec::new();
        for number in numbers {
            let Some(held) = self.series.get_mut(&number) else { continue };
            held.holders -= 1;
            if held.holders == 0 {
                gone.push(number);
            }
        }
        self.forget(&gone);
    }

    /// Bytes of names and values, each text once.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    pub(crate) fn number(&self, key: &SeriesKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(crate) fn key(&self, number: u32) -> Option<&Arc<SeriesKey>> {
        self.series.get(&number).map(|held| &held.key)
    }

    /// Every label with its values, and the numbers of each value's series, rising.
    pub(crate) fn postings(&self) -> impl Iterator<Item = (&Text, &BTreeMap<Text, Vec<u32>>)> {
        self.postings.iter()
    }

    pub(crate) fn values_of(&self, label: &str) -> Option<&BTreeMap<Text, Vec<u32>>> {
        self.postings.get(label)
    }

    /// The numbers of the series that match, rising.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        // The index answers what asks for a value; the rest is asked of what that leaves.
        let by_index = |matcher: &&Matcher| !matcher.is_match("");
        let mut lists: Vec<Vec<u32>> =
            matchers.iter().filter(by_index).map(|matcher| self.with_value(matcher)).collect();
        lists.sort_by_key(Vec::len);
        let mut lists = lists.into_iter();
        let mut found = match lists.next() {
            Some(shortest) => shortest,
            None => self.series.keys().copied().collect(),
        };
        for list in lists {
            found.retain(|number| list.binary_search(number).is_ok());
        }
        let rest: Vec<&Matcher> = matchers.iter().filter(|matcher| !by_index(matcher)).collect();
        found.retain(|number| {
            let key = &self.series[number].key;
            rest.iter().all(|matcher| matcher.is_match(key.get(&matcher.name)))
        });
        found
    }

    /// The series that have the label with a value that matches.
    fn with_value(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.postings.get(&matcher.name) else { return Vec::new() };
        let mut found: Vec<u32> = match matcher.values() {
            Some(wanted) => {
                wanted.iter().filter_map(|value| values.get(value)).flatten().copied().collect()
            }
            None => {
                let matching = values.iter().filter(|(value, _)| matcher.is_match(value));
                matching.flat_map(|(_, numbers)| numbers).copied().collect()
            }
        };
        found.sort_unstable();
        found
    }

    fn forget(&mut self, gone: &[u32]) {
        // Per label once, however many series go together.
        let mut touched: HashMap<(Text, Text), Vec<u32>> = HashMap::new();
        for number in gone {
            let Some(held) = self.series.remove(number) else { continue };
            self.numbers.remove(&held.key);
            let name = Text::from_static(NAME);
            for (label, value) in held.key.labels.iter().chain([(&name, &held.key.name)]) {
                touched.entry((label.clone(), value.clone())).or_default().push(*number);
            }
        }
        for ((label, value), mut numbers) in touched {
            numbers.sort_unstable();
            let Some(values) = self.postings.get_mut(&label) else { continue };
            if let Some(held) = values.get_mut(&value) {
                held.retain(|number| numbers.binary_search(number).is_err());
                if held.is_empty() {
                    values.remove(&value);
                }
            }
            if values.is_empty() {
                self.postings.remove(&label);
            }
        }
        if !gone.is_empty() {
            let text_bytes = &mut self.text_bytes;
            self.texts.retain(|text| {
                let is_held = text.holders().is_none_or(|holders| holders > 1);
                *text_bytes -= if is_held { 0 } else { text.len() };
                is_held
            });
        }
    }

    /// The same key, of texts that all series share.
    fn shared(&mut self, key: SeriesKey) -> SeriesKey {
        let name = self.share(&key.name);
        let pairs: Vec<(Text, Text)> = key
            .labels
            .iter()
            .map(|(label, value)| (self.share(label), self.share(value)))
            .collect();
        SeriesKey { name, labels: Labels::new(pairs) }
    }

    fn share(&mut self, text: &Text) -> Text {
        if let Some(held) = self.texts.get(text.as_str()) {
            return held.clone();
        }
        self.text_bytes += text.len();
        self.texts.insert(text.clone());
        text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Op;

    fn key(name: &str, device: &str) -> SeriesKey {
        SeriesKey { name: name.into(), labels: Labels::from([("device", device)]) }
    }

    #[test]
    fn matchers_select_by_index_and_by_what_is_missing() {
        let mut table = Table::default();
        let [a, b, c] =
            [key("read", "sda"), key("read", "sdb"), key("load", "")].map(|key| table.hold(key));
        let matching =
            |name: &str, op, value: &str| table.matching(&[Matcher::new(name, op, value).unwrap()]);
        assert_eq!(matching(NAME, Op::Equal, "read"), [a, b]);
        assert_eq!(matching("device", Op::Matches, "sd[b-z]"), [b]);
        assert_eq!(matching("device", Op::Matches, "(sdb|sdz)"), [b]);
        assert_eq!(matching("device", Op::NotEqual, "sda"), [b, c]);
        assert_eq!(matching("device", Op::Equal, ""), [c]);
        assert_eq!(matching("device", Op::MatchesNot, ".+"), [c]);
        assert_eq!(table.matching(&[]), [a, b, c]);
    }

    #[test]
    fn a_series_without_a_holder_is_forgotten_everywhere() {
        let mut table = Table::default();
        let number = table.hold(key("read", "sda"));
        assert_eq!(table.hold(key("read", "sda")), number);
        table.release([number]);
        assert_eq!(table.len(), 1);
        table.release([number]);
        assert_eq!((table.len(), table.postings.len()), (0, 0));
        assert!(table.texts.is_empty());
        assert_eq!(table.text_bytes(), 0);
    }
}
