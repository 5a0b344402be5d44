//! What the server counts of itself. Shown on `/metrics`, live: never journaled or stored.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::http::StatusCode;
use farol_model::{Description, Labels, Metric, Sample, Text};

use crate::{
    api::write::Received,
    door::{Opening, Reason},
};

const REFUSED: &str = "farol_http_connections_refused_total";
const HANDSHAKES: &str = "farol_http_handshakes_failed_total";
const AT_THE_DOOR: &str = "farol_http_requests_refused_total";
const REQUESTS: &str = "farol_http_requests_total";
const QUERY_REFUSED: &str = "farol_query_refused_total";
const QUERY_RUNNING: &str = "farol_query_running";
const QUERY_SAMPLES: &str = "farol_query_samples_total";
const QUERY_SECONDS: &str = "farol_query_seconds_total";
const QUERY_WAITING: &str = "farol_query_waiting";
const RECEIVED_DROPPED: &str = "farol_received_dropped_samples_total";
const RECEIVED_REQUESTS: &str = "farol_received_requests_total";
const RECEIVED_SAMPLES: &str = "farol_received_samples_total";
const RECEIVED_SKIPPED: &str = "farol_received_skipped_total";
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
    Metric::counter(
        QUERY_REFUSED,
        "",
        "Queries that had no answer: too many at once (busy), client gone (canceled), over a limit (too_large), out of time (timeout).",
    ),
    Metric::gauge(QUERY_RUNNING, "", "Queries being worked on."),
    Metric::counter(QUERY_SAMPLES, "", "Samples that queries went over."),
    Metric::counter(QUERY_SECONDS, "seconds", "Time spent on queries, waiting not included."),
    Metric::gauge(QUERY_WAITING, "", "Queries waiting for their turn."),
    Metric::counter(
        RECEIVED_DROPPED,
        "",
        "Samples sent by remote write that were not stored, by reason: older than the store keeps any (too_old), more than ten minutes ahead (too_far_ahead).",
    ),
    Metric::counter(
        RECEIVED_REQUESTS,
        "",
        "Remote-write requests, by result: stored, refused (in part or whole; not to be sent again), failed (to be sent again).",
    ),
    Metric::counter(RECEIVED_SAMPLES, "", "Samples sent by remote write that were journaled."),
    Metric::counter(
        RECEIVED_SKIPPED,
        "",
        "What was sent by remote write beside samples and stepped over, by kind.",
    ),
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

/// Why a query had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    Busy,
    Canceled,
    TooLarge,
    TimedOut,
}

impl Unanswered {
    const ALL: [(Unanswered, &'static str); 4] = [
        (Unanswered::Busy, "busy"),
        (Unanswered::Canceled, "canceled"),
        (Unanswered::TimedOut, "timeout"),
        (Unanswered::TooLarge, "too_large"),
    ];
}

/// What a query has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) seconds: f64,
    pub(crate) samples: u64,
}

/// What became of a remote write.
const RESULTS: [&str; 3] = ["stored", "refused", "failed"];

/// Queries at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AtWork {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    refused: u64,
    /// In the order of their `ALL`.
    handshakes: [u64; Handshake::ALL.len()],
    at_the_door: [u64; Reason::ALL.len()],
    unanswered: [u64; Unanswered::ALL.len()],
    received: Received,
    /// Requests that were stored, refused, failed.
    received_requests: [u64; RESULTS.len()],
    query_seconds: f64,
    query_samples: u64,
    /// Bounded: both halves of the key come from our own code.
    requests: BTreeMap<(&'static str, u16), Requests>,
}

#[derive(Debug)]
struct Requests {
    /// Made once, not at each scrape.
    labels: Labels,
    count: u64,
}

impl Kept {
    /// Sorted by name; nothing where nobody has ever sent anything.
    fn received_samples(&self) -> Vec<Sample> {
        if self.received_requests == [0; RESULTS.len()] {
            return Vec::new();
        }
        let Received { stored, too_old, too_far_ahead, skipped } = self.received;
        let dropped = [("too_far_ahead", too_far_ahead), ("too_old", too_old)];
        let mut samples: Vec<Sample> = dropped
            .into_iter()
            .map(|(word, n)| sample(RECEIVED_DROPPED, Labels::from([("reason", word)]), n))
            .collect();
        let requests = RESULTS.iter().zip(self.received_requests);
        samples.extend(
            requests
                .map(|(word, n)| sample(RECEIVED_REQUESTS, Labels::from([("result", *word)]), n)),
        );
        samples.push(sample(RECEIVED_SAMPLES, Labels::empty(), stored));
        let kinds = [
            ("exemplars", skipped.exemplars),
            ("histograms", skipped.histograms),
            ("metadata", skipped.metadata),
        ];
        samples.extend(
            kinds.map(|(word, n)| sample(RECEIVED_SKIPPED, Labels::from([("kind", word)]), n)),
        );
        samples
    }
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

    pub(crate) fn unanswered(&self, why: Unanswered) {
        let mut kept = self.kept();
        for ((reason, _), count) in Unanswered::ALL.iter().zip(&mut kept.unanswered) {
            *count += u64::from(*reason == why);
        }
    }

    pub(crate) fn question_ended(&self, ended: Ended) {
        let mut kept = self.kept();
        kept.query_seconds += ended.seconds;
        kept.query_samples = kept.query_samples.saturating_add(ended.samples);
    }

    /// `refused` is the status, if it is not that of success.
    pub(crate) fn received_request(&self, refused: Option<StatusCode>) {
        let place = match refused {
            None => 0,
            Some(status) => 1 + usize::from(status.is_server_error()),
        };
        self.kept().received_requests[place] += 1;
    }

    pub(crate) fn received(&self, more: Received) {
        let held = &mut self.kept().received;
        held.stored += more.stored;
        held.too_old += more.too_old;
        held.too_far_ahead += more.too_far_ahead;
        held.skipped.exemplars += more.skipped.exemplars;
        held.skipped.histograms += more.skipped.histograms;
        held.skipped.metadata += more.skipped.metadata;
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
    pub(crate) fn samples(&self, opening: &Opening, queries: AtWork) -> Vec<Sample> {
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
        let unanswered = Unanswered::ALL.iter().zip(kept.unanswered);
        samples.extend(unanswered.map(|((_, word), n)| sample(QUERY_REFUSED, reason(word), n)));
        samples.push(sample(QUERY_RUNNING, Labels::empty(), queries.running as u64));
        samples.push(sample(QUERY_SAMPLES, Labels::empty(), kept.query_samples));
        let seconds = Text::from_static(QUERY_SECONDS);
        let value = kept.query_seconds;
        samples.push(Sample { name: seconds, labels: Labels::empty(), value });
        samples.push(sample(QUERY_WAITING, Labels::empty(), queries.waiting as u64));
        samples.extend(kept.received_samples());
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
