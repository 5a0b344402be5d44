//! What a question is answered with.

use farol_model::Text;
use farol_store::Point;

use crate::{Metric, Note, Steps};

#[derive(Clone, Debug)]
pub struct Answer {
    pub data: Data,
    /// Warnings first.
    pub notes: Vec<Note>,
    pub stats: Stats,
}

#[derive(Clone, Debug)]
pub enum Data {
    /// Of an instant question: milliseconds and value.
    Scalar {
        at: i64,
        value: f64,
    },
    Text {
        at: i64,
        text: Text,
    },
    /// Of an instant question: each series has its value at `at`.
    Vector {
        at: i64,
        samples: Vec<(Metric, f64)>,
    },
    /// Of an instant question about a range: samples with the times at which they were taken.
    Matrix(Vec<(Metric, Vec<Point>)>),
    /// Of a range question: for each series a value a step, [`ABSENT`](crate::ABSENT) where it has
    /// none; sorted by name and labels. No series is without any.
    Steps {
        steps: Steps,
        series: Vec<Series>,
    },
}

/// A series over all steps.
#[derive(Clone, Debug)]
pub struct Series {
    pub metric: Metric,
    /// One for each step, [`ABSENT`](crate::ABSENT) where there is none.
    pub values: Vec<f64>,
}

/// What a question has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Samples that windows and look-backs went over.
    pub samples: u64,
    /// The most values that were in memory at once.
    pub peak_samples: u64,
    /// Series that selectors found.
    pub series: u64,
}
