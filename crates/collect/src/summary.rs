//! The vital signs of the machine: the one table where rates and percentages are made from raw
//! samples before the store. Each row becomes a `monitoring_*` gauge and, under its short name, a
//! member of the journal's and `/health`'s `metrics`.
//!
//! What cannot be measured is absent; there is no row that falls back to 0 or -1.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use farol_model::{Labels, Lane, Metric, Sample, Text};

/// What a row may look at: this tick's samples and the same lane's previous ones.
#[derive(Clone, Copy, Debug)]
pub struct Ticks<'a> {
    current: &'a [Sample],
    previous: Option<(&'a [Sample], Duration)>,
}

/// One vital sign.
#[derive(Debug)]
pub struct Row {
    pub metric: Metric,
    pub lane: Lane,
    pub compute: fn(&Ticks<'_>) -> Option<f64>,
}

impl Row {
    /// The name in `metrics`: without `monitoring_`.
    pub fn short_name(&self) -> &'static str {
        self.metric.name.strip_prefix(PREFIX).expect("each row's name begins with the prefix")
    }
}

const PREFIX: &str = "monitoring_";

/// In order of their names.
pub const ROWS: &[Row] = &[];

impl<'a> Ticks<'a> {
    /// The samples of one family, now.
    pub fn family(&self, name: &str) -> &'a [Sample] {
        family(self.current, name)
    }

    /// The value of the unlabelled series `name`.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.family(name).iter().find(|sample| sample.labels.is_empty()).map(|s| s.value)
    }

    /// The sum of `name` over the series that `keep` accepts; `None` when there is none.
    pub fn sum(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        sum(self.family(name), keep)
    }

    /// How much that sum grew since the previous tick; `None` without one, and when a series
    /// came, went or was reset in between (the sum then says nothing about the machine).
    pub fn increase(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        let (previous, _) = self.previous?;
        let now = self.family(name).iter().filter(|sample| keep(&sample.labels));
        let before = family(previous, name).iter().filter(|sample| keep(&sample.labels));
        let mut total = None;
        let mut before = before.peekable();
        for sample in now {
            let earlier = before.next()?;
            if earlier.labels != sample.labels || sample.value < earlier.value {
                return None;
            }
            *total.get_or_insert(0.0) += sample.value - earlier.value;
        }
        if before.peek().is_some() {
            return None;
        }
        total
    }

    /// [`Ticks::increase`] per second.
    pub fn rate(&self, name: &str, keep: fn(&Labels) -> bool) -> Option<f64> {
        let (_, elapsed) = self.previous?;
        let seconds = elapsed.as_secs_f64();
        (seconds > 0.0).then_some(self.increase(name, keep)? / seconds)
    }
}

fn family<'a>(samples: &'a [Sample], name: &str) -> &'a [Sample] {
    let from = samples.partition_point(|sample| sample.name.as_str() < name);
    let rest = &samples[from..];
    &rest[..rest.partition_point(|sample| sample.name.as_str() == name)]
}

fn sum(samples: &[Sample], keep: fn(&Labels) -> bool) -> Option<f64> {
    samples
        .iter()
        .filter(|sample| keep(&sample.labels))
        .map(|sample| sample.value)
        .reduce(|total, value| total + value)
}

/// The rows' metrics, for help texts and the reference.
pub fn metrics() -> &'static [Metric] {
    static METRICS: LazyLock<Vec<Metric>> =
        LazyLock::new(|| ROWS.iter().map(|row| row.metric).collect());
    &METRICS
}

/// Computes one lane's rows; keeps the lane's previous samples for the rates.
#[derive(Debug)]
pub struct Summary {
    lane: Lane,
    previous: Option<(Vec<Sample>, Instant)>,
}

impl Summary {
    pub fn new(lane: Lane) -> Summary {
        Summary { lane, previous: None }
    }

    /// Adds the lane's gauges to `samples` (which are and stay sorted by name), taken at `when`,
    /// and returns them by short name.
    pub fn extend(&mut self, when: Instant, samples: &mut Vec<Sample>) -> Vec<(Text, f64)> {
        let previous = self
            .previous
            .as_ref()
            .map(|(samples, then)| (samples.as_slice(), when.duration_since(*then)));
        let ticks = Ticks { current: samples, previous };
        let rows = ROWS.iter().filter(|row| row.lane == self.lane);
        let computed: Vec<(&Row, f64)> = rows
            .filter_map(|row| Some((row, (row.compute)(&ticks).filter(|value| value.is_finite())?)))
            .collect();

        let kept = self.previous.take().map(|(kept, _)| kept);
        self.previous = Some((keep_copy(samples, kept), when));

        let at = samples.partition_point(|sample| sample.name.as_str() < PREFIX);
        let gauges = computed.iter().map(|(row, value)| Sample {
            name: Text::from_static(row.metric.name),
            labels: Labels::empty(),
            value: *value,
        });
        samples.splice(at..at, gauges);
        computed
            .into_iter()
            .map(|(row, value)| (Text::from_static(row.short_name()), value))
            .collect()
    }
}

/// A copy of the samples in the previous copy's memory.
fn keep_copy(samples: &[Sample], reuse: Option<Vec<Sample>>) -> Vec<Sample> {
    let mut copy = reuse.unwrap_or_default();
    copy.clear();
    copy.extend_from_slice(samples);
    copy
}
