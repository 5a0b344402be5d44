//! What can be said of a treatment, by name and kind: the configuration reads the fields of any
//! treatment without knowing it.

use std::{collections::BTreeMap, fmt, time::Duration};

/// One row of a treatment's fields.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    /// None where it must be given.
    pub default: Option<Default>,
    /// One sentence, for the reference.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Texts,
    Duration,
    Bool,
}

/// What holds when nothing is said.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    Text(&'static str),
    Texts(&'static [&'static str]),
    Duration(Duration),
    Bool(bool),
}

/// Without `Debug`: see [`Fields`].
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "it may hold a secret")]
pub enum Given {
    Text(String),
    Texts(Vec<String>),
    Duration(Duration),
    Bool(bool),
}

impl From<Default> for Given {
    fn from(default: Default) -> Given {
        match default {
            Default::Text(text) => Given::Text(text.to_owned()),
            Default::Texts(texts) => {
                Given::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
            }
            Default::Duration(duration) => Given::Duration(duration),
            Default::Bool(bool) => Given::Bool(bool),
        }
    }
}

/// The fields of one treatment. One of another kind than asked for is as one that is not there; a
/// test keeps each table and what is asked of it equal.
#[derive(Clone, std::default::Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<&'static str, Given>);

/// A program's arguments may hold secrets: values are not shown.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Fields {
    pub fn defaults(rows: &'static [Field]) -> Fields {
        let known = rows.iter().filter_map(|row| Some((row.name, row.default?.into())));
        Fields(known.collect())
    }

    pub fn set(&mut self, name: &'static str, given: Given) {
        self.0.insert(name, given);
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Given::Text(text)) => text,
            _ => "",
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Given::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub fn duration(&self, name: &str) -> Duration {
        match self.0.get(name) {
            Some(Given::Duration(duration)) => *duration,
            _ => Duration::ZERO,
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Given::Bool(true))
    }
}
