//! What the server counts of itself. Shown on `/metrics`, live: never journaled or stored.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use farol_model::{Description, Labels, Metric, Sample, Text};

use crate::door::{Opening, Reason};

const REFUSED: &str = "farol_http_connections_refused_total";
const HANDSHAKES: &str = "farol_http_handshakes_failed_total";
const AT_THE_DOOR: &str = "farol_http_requests_refused_total";
const REQUESTS: &str = "farol_http_requests_total";
const DOOR_GOOD: &str = "farol_web_config_reload_success";

/// In order of their names.
pub const METRICS: &[Metric] = &[
    Metric::counter(REFUSED, "", "Connections turned away because there were too many."),
    Metric::counter(HANDSHAKES, "", "TLS connections that did not come about, by reason."),
    Metric::counter(
        AT_THE_DOOR,
        "",
        "Requests refused for their credentials or for being too many, by reason.",
    ),
    Metric::counter(REQUESTS, "", "Requests answered, by handler and status code."),
    Metric::gauge(
        DOOR_GOOD,
        "",
        "Whether web.config_file and the token files are in use as they are now; 0 means that those read last go on.",
    ),
];

/// Why a TLS connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Plain HTTP was spoken.
    Plain,
    /// It took too long.
    Slow,
    /// The two could not agree, or the client's certificate was refused.
    Failed,
}

impl Handshake {
    const ALL: [(Handshake, &'static str); 3] = [
        (Handshake::Failed, "failed"),
        (Handshake::Plain, "plain_http"),
        (Handshake::Slow, "slow"),
    ];
}

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    refused: u64,
    /// In the order of their `ALL`.
    handshakes: [u64; Handshake::ALL.len()],
    at_the_door: [u64; Reason::ALL.len()],
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

    pub(crate) fn failed_handshake(&self, why: Handshake) {
        let mut kept = self.kept();
        for ((reason, _), count) in Handshake::ALL.iter().zip(&mut kept.handshakes) {
            *count += u64::from(*reason == why);
        }
    }

    pub(crate) fn refused_at_the_door(&self, why: Reason) {
        let mut kept = self.kept();
        for (reason, count) in Reason::ALL.iter().zip(&mut kept.at_the_door) {
            *count += u64::from(*reason == why);
        }
    }

    pub(crate) fn answered(&self, handler: &'static str, code: u16) {
        let mut kept = self.kept();
        let requests = kept.requests.entry((handler, code)).or_insert_with(|| Requests {
            labels: Labels::from([("handler", handler), ("code", code.to_string().as_str())]),
            count: 0,
        });
        requests.count += 1;
    }

    /// Sorted by name. What belongs to a door that asks nothing is left out.
    pub(crate) fn samples(&self, opening: &Opening) -> Vec<Sample> {
        let kept = self.kept();
        let mut samples = vec![sample(REFUSED, Labels::empty(), kept.refused)];
        let reason = |word: &'static str| Labels::from([("reason", word)]);
        if opening.door.tls.is_some() {
            let handshakes = Handshake::ALL.iter().zip(kept.handshakes);
            samples.extend(handshakes.map(|((_, word), n)| sample(HANDSHAKES, reason(word), n)));
        }
        if opening.door.wants_credentials() || opening.door.rate.is_some() {
            let refused = Reason::ALL.iter().zip(kept.at_the_door);
            samples.extend(refused.map(|(why, n)| sample(AT_THE_DOOR, reason(why.word()), n)));
        }
        let requests = kept.requests.values();
        samples.extend(requests.map(|r| sample(REQUESTS, r.labels.clone(), r.count)));
        if opening.from_files {
            let good = u64::from(opening.fault.is_none());
            samples.push(sample(DOOR_GOOD, Labels::empty(), good));
        }
        samples
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(name: &'static str, labels: Labels, count: u64) -> Sample {
    Sample { name: Text::from_static(name), labels, value: count as f64 }
}

pub(crate) fn describe(name: &str) -> Option<Description> {
    let metric = METRICS.iter().find(|metric| metric.name == name)?;
    let help = metric.help.to_owned();
    Some(Description { collector: "http", kind: metric.kind, unit: metric.unit, help })
}
