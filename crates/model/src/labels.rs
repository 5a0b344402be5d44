//! A label set: sorted by name, names unique, values never empty.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use crate::Text;

/// The labels of one series, without the metric's name.
///
/// Sorted by name and unique, so equal sets compare equal pair by pair. A label with an empty
/// value is the same as no label (Prometheus' rule) and is never held.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Text, Text)]>);

static EMPTY: LazyLock<Arc<[(Text, Text)]>> = LazyLock::new(|| Arc::from([]));

impl Labels {
    pub fn empty() -> Labels {
        Labels(EMPTY.clone())
    }

    /// Sorts, drops empty values, and keeps the last of two values given for one name.
    pub fn new(mut pairs: Vec<(Text, Text)>) -> Labels {
        if pairs.is_empty() {
            return Labels::empty();
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs.reverse();
        pairs.dedup_by(|later, first| later.0 == first.0);
        pairs.reverse();
        pairs.retain(|(_, value)| !value.is_empty());
        Labels(pairs.into())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(held, _)| held.as_str().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are the same allocation: a cheap "certainly equal".
    pub fn same_place(&self, other: &Labels) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many holders share this set; an interner drops what only it still holds.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Labels {
    fn from(pairs: [(&str, &str); N]) -> Labels {
        Labels::new(pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_unique_and_never_empty_valued() {
        let labels = Labels::from([("mode", "idle"), ("cpu", "0"), ("mode", "user"), ("x", "")]);
        let pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("cpu", "0"), ("mode", "user")]);
        assert_eq!(labels.get("mode"), Some("user"));
        assert_eq!(labels.get("x"), None);
    }
}
