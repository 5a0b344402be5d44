//! `POST /api/v1/write`: Prometheus' remote write 1.0, where it is switched on.
//!
//! A body is read and decoded within bounds, one for each body and one for all that are in flight.
//! What it holds goes to the journal in parts, one after the other, and the answer waits for the
//! last: 204 says that all of it is appended. Senders try again what is answered with 5xx, and give
//! up what is answered with 4xx; so what would fail again is the latter, and only that.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName},
    },
};
use farol_model::{Batch, Timestamp};
use farol_wire::remote_write::{self, BodyError, Limits, Skipped};
use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    answer::Shared,
    guard::Refusal,
    site::{Command, Receiver},
};

pub(crate) const PATH: &str = "/api/v1/write";

/// For who asks a process that only reads.
pub(crate) const READ_ONLY: &str = "this process only reads; send to the one that collects, started with `farol run --web.enable-remote-write-receiver`";
const OFF: &str = "remote write is not received here; start farol with --web.enable-remote-write-receiver, or set web.enable_remote_write_receiver";

/// How far ahead of this machine's clock a sample may be.
const AHEAD: Duration = Duration::from_secs(10 * 60);
/// A line of the journal: the core appends one between two ticks.
const PART_BYTES: usize = 1 << 20;
/// Bodies that are decoded at once.
const DECODERS: usize = 2;
/// How long a body may wait for others to be done.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bodies in flight have so many times what one may have.
const BODIES: usize = 2;
/// What a permit of `in_flight` stands for.
const UNIT: usize = 1024;

/// The bounds that all requests share.
pub(crate) struct Intake {
    /// Of bodies, as they came and decompressed.
    in_flight: Semaphore,
    decoding: Arc<Semaphore>,
    /// One part at a time is with the core, however many ask.
    appending: Arc<Semaphore>,
}

impl Intake {
    pub(crate) fn new(receiver: Option<&Receiver>) -> Intake {
        let units = receiver.map_or(0, |receiver| units(receiver.body_limit)) as usize;
        Intake {
            in_flight: Semaphore::new(units * BODIES),
            decoding: Arc::new(Semaphore::new(DECODERS)),
            appending: Arc::new(Semaphore::new(1)),
        }
    }

    /// Room for so many bytes, as long as the permit is held.
    async fn room(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        match timeout(PATIENCE, self.in_flight.acquire_many(units(bytes))).await {
            Ok(Ok(permit)) => Ok(permit),
            // Not 429: Prometheus throws away what is answered so, unless it is told otherwise.
            Ok(Err(_)) | Err(_) => {
                Err(failed("too many samples are on their way at once; send them again"))
            }
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// What became of a request, for the counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) stored: u64,
    pub(crate) too_old: u64,
    pub(crate) too_far_ahead: u64,
    pub(crate) skipped: Skipped,
}

pub(crate) async fn write(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let Some(receiver) = &shared.site.settings.receiver else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, OFF));
    };
    let answered = take(&shared, receiver, request).await;
    shared.counts.received_request(answered.as_ref().err().map(|refusal| refusal.status));
    answered.map(|()| StatusCode::NO_CONTENT)
}

async fn take(shared: &Shared, receiver: &Receiver, request: Request) -> Result<(), Refusal> {
    let (parts, body) = request.into_parts();
    check(&parts.headers)?;
    let limit = receiver.body_limit;
    // Who does not say how much it is has to be believed capable of all.
    let length = length(&parts.headers).unwrap_or(limit);
    if length > limit {
        return Err(too_large(limit));
    }
    let mut as_it_came = shared.intake.room(length).await?;
    let body = read(body, limit).await?;
    drop(as_it_came.split(units(length).saturating_sub(units(body.len())) as usize));
    let plain = remote_write::plain_len(&body).map_err(refused)?;
    let _decompressed = shared.intake.room(plain.min(limit)).await?;
    let now = (shared.site.now)();
    let decoded = decode(shared, receiver, body, now).await?;
    let Decoded { batch, mut received } = decoded;
    for part in batch.parts(PART_BYTES) {
        let samples = part.samples() as u64;
        append(shared, part).await.inspect_err(|_| shared.counts.received(received))?;
        received.stored += samples;
    }
    shared.counts.received(received);
    match received.too_old + received.too_far_ahead {
        0 => Ok(()),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, told(received, receiver))),
    }
}

fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let unsupported = |what: String| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Old senders send neither.
    let encoding = text(CONTENT_ENCODING).unwrap_or("snappy");
    if !encoding.eq_ignore_ascii_case("snappy") {
        return unsupported(format!("the body must be compressed with snappy, not {encoding:?}"));
    }
    let kind = text(CONTENT_TYPE).unwrap_or("application/x-protobuf");
    let mut words = kind.split(';').map(str::trim);
    if !words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-protobuf")) {
        return unsupported(format!("the body must be application/x-protobuf, not {kind:?}"));
    }
    match words.find_map(|word| word.strip_prefix("proto=")) {
        None | Some("prometheus.WriteRequest") => Ok(()),
        Some(message) => unsupported(format!(
            "remote write 1.0 (prometheus.WriteRequest) is spoken here, not {message:?}"
        )),
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    to_bytes(body, limit).await.map_err(|error| {
        // The only other reason is that the client has gone.
        match std::error::Error::source(&error) {
            Some(source) if source.is::<hyper::Error>() => {
                Refusal::new(StatusCode::BAD_REQUEST, "the body ends too early")
            }
            _ => too_large(limit),
        }
    })
}

fn too_large(limit: usize) -> Refusal {
    let reason = format!(
        "a body may have {limit} bytes; send fewer samples at once, or raise web.remote_write_body_limit"
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

fn refused(error: BodyError) -> Refusal {
    let status = match error {
        BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Malformed(_) => StatusCode::BAD_REQUEST,
    };
    Refusal::new(status, error.to_string())
}

struct Decoded {
    batch: Batch,
    received: Received,
}

async fn decode(
    shared: &Shared,
    receiver: &Receiver,
    body: Bytes,
    now: Timestamp,
) -> Result<Decoded, Refusal> {
    let gone = |_| failed("the program is stopping");
    let permit = Arc::clone(&shared.intake.decoding).acquire_owned().await.map_err(|_| gone(()))?;
    let limits = Limits { bytes: receiver.body_limit, ..Limits::default() };
    let retention = receiver.retention;
    let decoding = spawn_blocking(move || {
        let decoded = remote_write::decode(&body, &limits).map_err(refused);
        drop(permit);
        decoded.map(|request| sifted(request, now, retention))
    });
    decoding.await.map_err(|_| failed("the body could not be decoded: an error of Farol's own"))?
}

/// Without what the store would not keep, or cannot be true.
fn sifted(request: remote_write::Request, now: Timestamp, retention: Duration) -> Decoded {
    let mut received = Received { skipped: request.skipped, ..Received::default() };
    let latest = now.plus(AHEAD);
    let mut series = request.series;
    for series in &mut series {
        series.points.retain(|(at, _)| {
            let (is_old, is_ahead) = (now.since(*at) > retention, *at > latest);
            received.too_old += u64::from(is_old);
            received.too_far_ahead += u64::from(is_ahead);
            !is_old && !is_ahead
        });
    }
    Decoded { batch: Batch { at: now, series }, received }
}

async fn append(shared: &Shared, batch: Batch) -> Result<(), Refusal> {
    let stopping = || failed("the program is stopping; send the samples again");
    let one_at_a_time = Arc::clone(&shared.intake.appending).acquire_owned().await;
    let one_at_a_time = one_at_a_time.map_err(|_| stopping())?;
    // A client that goes meanwhile is not to let the next one's part in beside its own.
    let asked = tokio::spawn({
        let answer = ask(shared.site.commands.clone(), batch);
        async move {
            let answered = answer.await;
            drop(one_at_a_time);
            answered
        }
    });
    match asked.await.ok().flatten() {
        Some(Ok(())) => Ok(()),
        Some(Err(reason)) => Err(failed(format!("the samples could not be journaled: {reason}"))),
        None => Err(stopping()),
    }
}

async fn ask(commands: mpsc::Sender<Command>, batch: Batch) -> Option<Result<(), String>> {
    let (reply, answer) = oneshot::channel();
    commands.send(Command::Write { batch, reply }).await.ok()?;
    answer.await.ok()
}

/// Nothing is wrong with the request: it may be sent again.
fn failed(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

fn told(received: Received, receiver: &Receiver) -> String {
    let Received { stored, too_old, too_far_ahead, .. } = received;
    let mut reasons = Vec::new();
    if too_old > 0 {
        let hours = receiver.retention.as_secs() / 3600;
        reasons.push(format!("{too_old} are older than the store keeps any ({hours} h)"));
    }
    if too_far_ahead > 0 {
        let minutes = AHEAD.as_secs() / 60;
        reasons.push(format!(
            "{too_far_ahead} are more than {minutes} minutes ahead of this machine's clock"
        ));
    }
    format!("samples were dropped: {}; the other {stored} are stored", reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use farol_model::{Labels, Series};

    use super::*;

    #[test]
    fn what_is_too_old_or_too_far_ahead_is_dropped_and_told() {
        let now = Timestamp::from_millis(100_000_000);
        let hour = 3_600_000;
        let times = [0, 100_000_000 - hour - 1, 100_000_000 - hour, 100_600_000, 100_600_001];
        let point = |at: i64| (Timestamp::from_millis(at), 1.0);
        let series =
            Series { name: "a".into(), labels: Labels::empty(), points: times.map(point).to_vec() };
        let skipped = Skipped { metadata: 1, exemplars: 2, histograms: 3 };
        let request = remote_write::Request { series: vec![series], skipped };
        let retention = Duration::from_secs(3600);
        let Decoded { batch, received } = sifted(request, now, retention);
        assert_eq!(batch.at, now);
        assert_eq!(batch.series[0].points, [point(times[2]), point(times[3])]);
        assert_eq!((received.too_old, received.too_far_ahead), (2, 1));
        assert_eq!(received.skipped, skipped);
        let receiver = Receiver { body_limit: 1, retention };
        assert_eq!(
            told(Received { stored: 2, ..received }, &receiver),
            "samples were dropped: 2 are older than the store keeps any (1 h), 1 are more than 10 minutes ahead of this machine's clock; the other 2 are stored"
        );
    }

    #[test]
    fn only_remote_write_of_the_first_version_is_taken() {
        let cases = [
            (None, None, true),
            (Some("application/x-protobuf"), Some("snappy"), true),
            (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some("Snappy"), true),
            (Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), None, false),
            (Some("application/json"), None, false),
            (None, Some("gzip"), false),
        ];
        for (kind, encoding, is_taken) in cases {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            }
            if let Some(encoding) = encoding {
                headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            }
            let status = check(&headers).err().map(|refusal| refusal.status.as_u16());
            assert_eq!(status, (!is_taken).then_some(415), "{kind:?} {encoding:?}");
        }
    }
}
