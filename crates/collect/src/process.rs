//! The process's own figures, by the standard `process_*` names: read live when asked for, never
//! journaled or stored. Always of this process, whatever host the collectors look at.

use farol_model::{Metric, Sample, Timestamp};

use crate::CollectError;

pub const METRICS: &[Metric] = &[];

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    pub cpu_seconds: f64,
    pub resident_bytes: f64,
    pub virtual_bytes: f64,
    pub threads: f64,
    pub start_time_seconds: f64,
    pub uptime_seconds: f64,
    pub open_fds: Option<f64>,
    /// `None` when there is no limit.
    pub max_fds: Option<f64>,
    pub virtual_max_bytes: Option<f64>,
}

pub fn read(_now: Timestamp) -> Result<Figures, CollectError> {
    Err(CollectError::Failed("not read yet".into()))
}

/// The figures as samples, sorted by name.
pub fn samples(_figures: &Figures) -> Vec<Sample> {
    Vec::new()
}
