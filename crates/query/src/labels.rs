//! What identifies a series while it is computed with.

use farol_model::{Labels, Text};

/// A metric's name (empty if it has none) and labels. Computing with a value takes the name away, but
/// only at the very end: until then `label_replace` or `by (__name__)` may still ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric {
    pub name: Text,
    pub labels: Labels,
    /// The name is to be taken away at the end.
    pub drops_name: bool,
}

pub(crate) const NAME: &str = "__name__";

impl Metric {
    pub fn new(name: Text, labels: Labels) -> Metric {
        Metric { name, labels, drops_name: false }
    }

    /// The value of a label, the name being `__name__`; `""` where there is none.
    pub fn get(&self, label: &str) -> &str {
        if label == NAME { &self.name } else { self.labels.get(label).unwrap_or("") }
    }

    /// As it stands in an answer.
    pub(crate) fn finished(self) -> Metric {
        match self.drops_name {
            true => Metric::new(Text::EMPTY, self.labels),
            false => self,
        }
    }

    /// The same with one label set to a value; an empty one takes it away.
    pub(crate) fn with(&self, label: &str, value: &str) -> Metric {
        if label == NAME {
            // A name that was put there on purpose stays.
            return Metric { name: value.into(), labels: self.labels.clone(), drops_name: false };
        }
        let mut pairs: Vec<(Text, Text)> =
            self.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        pairs.push((label.into(), value.into()));
        Metric { labels: Labels::new(pairs), ..self.clone() }
    }

    /// Of the labels those that `keep` says.
    pub(crate) fn only(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        let kept = self.labels.iter().filter(|(name, _)| keep(name));
        Labels::new(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}
