//! What the server counts of itself. Shown on `/metrics`, live: never journaled or stored.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use farol_model::{Description, Labels, Metric, Sample, Text};

const REQUESTS: &str = "farol_http_requests_total";
const REFUSED: &str = "farol_http_connections_refused_total";

/// In order of their names.
pub const METRICS: &[Metric] = &[
    Metric::counter(REFUSED, "", "Connections turned away because there were too many."),
    Metric::counter(REQUESTS, "", "Requests answered, by handler and status code."),
];

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    refused: u64,
    /// Bounded: both halves of the key come from our own code.
    requests: BTreeMap<(&'static str, u16), Requests>,
}

#[derive(Debug)]
struct Requests {
    /// Made once, not at each scrape.
    labels: Labels,
    count: u64,
}

impl Counts {
    pub(crate) fn refused_connection(&self) {
        self.kept().refused += 1;
    }

    pub(crate) fn answered(&self, handler: &'static str, code: u16) {
        let mut kept = self.kept();
        let requests = kept.requests.entry((handler, code)).or_insert_with(|| Requests {
            labels: Labels::from([("handler", handler), ("code", code.to_string().as_str())]),
            count: 0,
        });
        requests.count += 1;
    }

    /// Sorted by name.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let kept = self.kept();
        let refused = (REFUSED, Labels::empty(), kept.refused);
        let requests = kept.requests.values().map(|r| (REQUESTS, r.labels.clone(), r.count));
        std::iter::once(refused).chain(requests).map(sample).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample((name, labels, count): (&'static str, Labels, u64)) -> Sample {
    Sample { name: Text::from_static(name), labels, value: count as f64 }
}

pub(crate) fn describe(name: &str) -> Option<Description> {
    let metric = METRICS.iter().find(|metric| metric.name == name)?;
    let help = metric.help.to_owned();
    Some(Description { collector: "http", kind: metric.kind, unit: metric.unit, help })
}
