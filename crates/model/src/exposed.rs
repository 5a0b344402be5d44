//! What a text in somebody's exposition format says, in plain values: what `wire` reads and
//! `collect` takes, without the one knowing the other.

use crate::{Kind, Sample, Text};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposed {
    /// In the order of the text.
    pub samples: Vec<ExposedSample>,
    /// By the names that samples have. A histogram's or summary's are several, and untyped.
    pub families: Vec<ExposedFamily>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExposedSample {
    pub sample: Sample,
    /// From 1.
    pub line: usize,
    /// Whether the text says of which time it is.
    pub has_time: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedFamily {
    pub name: Text,
    pub kind: Kind,
    /// Empty when the text has none.
    pub help: String,
}
