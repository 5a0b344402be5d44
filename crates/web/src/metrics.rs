//! `/metrics`: what is current, as text for Prometheus.
//!
//! A scrape collects nothing. The snapshots' text is made once for each set of snapshots, and
//! compressed once; what is live (the process, the server's counts) is appended at each scrape.
//! A lane whose snapshot is stale is left out entirely, so a dead writer shows as missing series.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{
        Response, StatusCode, Uri,
        header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY},
    },
    response::IntoResponse,
};
use farol_collect::textfile;
use farol_model::{Current, Description, Sample, Snapshot, Timestamp};
use farol_wire::exposition::{Encoder, Format, encode, end};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    answer::Shared,
    body::whole,
    counts,
    guard::Refusal,
    gzip::{Beginning, Packer},
    negotiate,
};

pub(crate) struct Scrapes {
    cache: Mutex<Cache>,
    /// `None` when there is no limit.
    permits: Option<Arc<Semaphore>>,
}

pub(crate) async fn metrics(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> axum::response::Response {
    match scrape(&shared, &request) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

fn scrape(shared: &Shared, request: &Request) -> Result<Response<Body>, Refusal> {
    let permit = shared.scrapes.permit()?;
    let choice = Choice::from_query(request.uri())?;
    let format = negotiate::format(request.headers());
    let packed = negotiate::takes_gzip(request.headers());
    let now = (shared.site.now)();
    let current = Arc::clone(&shared.site.current.borrow());
    let lanes = fresh_lanes(&current, now);

    let mut cache = shared.scrapes.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let pieces = match choice {
        Choice::All => {
            let live = live_text(shared, now, format);
            cache.pieces(lanes, format, packed, live)
        }
        choice => {
            let text = chosen_text(&lanes, format, &choice, &shared.site.texts);
            if packed { cache.packer.whole(&text) } else { [text.into(), Bytes::new()] }
        }
    };
    drop(cache);
    Ok(respond(format, packed, whole(pieces, permit)))
}

fn respond(format: Format, packed: bool, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

impl Scrapes {
    pub(crate) fn new(max_requests: usize, texts: Arc<textfile::Board>) -> Scrapes {
        let permits = (max_requests > 0).then(|| Arc::new(Semaphore::new(max_requests)));
        Scrapes { cache: Mutex::new(Cache::new(texts)), permits }
    }

    fn permit(&self) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(permits) = &self.permits else { return Ok(None) };
        Arc::clone(permits)
            .try_acquire_owned()
            .map(Some)
            .map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once"))
    }
}

/// By `Lane::index`, as in `Current`.
type Lanes = [Option<Arc<Snapshot>>; 2];

fn fresh_lanes(current: &Current, now: Timestamp) -> Lanes {
    current.lanes.each_ref().map(|lane| lane.clone().filter(|snapshot| !snapshot.is_stale(now)))
}

/// The text of the newest set of snapshots that was asked for; no older one is kept.
struct Cache {
    /// Held, so that their addresses stay theirs and are enough to compare.
    lanes: Lanes,
    /// By format.
    pages: [Option<Page>; 2],
    encoder: Encoder,
    texts: Arc<textfile::Board>,
    /// Of `texts`, when the encoder last asked it.
    texts_version: u64,
    packer: Packer,
}

struct Page {
    text: Bytes,
    packed: Option<Beginning>,
}

impl Cache {
    fn new(texts: Arc<textfile::Board>) -> Cache {
        let told = Arc::clone(&texts);
        Cache {
            lanes: [None, None],
            pages: [None, None],
            encoder: Encoder::new(move |name| describe(name, &told)),
            texts,
            texts_version: 0,
            packer: Packer::new(),
        }
    }

    fn pieces(&mut self, lanes: Lanes, format: Format, packed: bool, live: Vec<u8>) -> [Bytes; 2] {
        if !are_same(&self.lanes, &lanes) {
            self.pages = [None, None];
            self.lanes = lanes;
            let version = self.texts.version();
            if self.texts_version != version {
                self.texts_version = version;
                self.encoder.forget();
            }
        }
        let index = match format {
            Format::Text => 0,
            Format::OpenMetrics => 1,
        };
        let page = self.pages[index].get_or_insert_with(|| Page {
            text: snapshot_text(&self.lanes, format, &mut self.encoder).into(),
            packed: None,
        });
        if !packed {
            return [page.text.clone(), live.into()];
        }
        let beginning = page.packed.get_or_insert_with(|| self.packer.begin(&page.text));
        [beginning.bytes.clone(), self.packer.end(beginning, &live)]
    }
}

/// What is not ours comes from text files.
fn describe(name: &str, texts: &textfile::Board) -> Option<Description> {
    farol_collect::describe(name).or_else(|| texts.describe(name))
}

fn are_same(held: &Lanes, given: &Lanes) -> bool {
    held.iter().zip(given).all(|pair| match pair {
        (None, None) => true,
        (Some(held), Some(given)) => Arc::ptr_eq(held, given),
        _ => false,
    })
}

fn snapshot_text(lanes: &Lanes, format: Format, encoder: &mut Encoder) -> Vec<u8> {
    let mut text = text_buffer(lanes);
    encoder.encode(merged(lanes, |_| true), format, &mut text);
    text
}

fn text_buffer(lanes: &Lanes) -> Vec<u8> {
    let samples: usize = lanes.iter().flatten().map(|lane| lane.samples.len()).sum();
    Vec::with_capacity(samples * 128 + 1024)
}

/// The lanes' samples that `keep` accepts, sorted by name.
fn merged(lanes: &Lanes, keep: impl Fn(&Sample) -> bool) -> Vec<&Sample> {
    let all = lanes.iter().flatten().flat_map(|lane| &lane.samples);
    let mut samples: Vec<&Sample> = all.filter(|sample| keep(sample)).collect();
    // Each lane is sorted already: this only finds the runs and merges them.
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

fn live_text(shared: &Shared, now: Timestamp, format: Format) -> Vec<u8> {
    let mut text = Vec::with_capacity(4096);
    let queries =
        counts::AtWork { running: shared.questions.running(), waiting: shared.questions.waiting() };
    encode(
        &shared.counts.samples(&shared.site.door.borrow(), queries),
        format,
        &counts::describe,
        &mut text,
    );
    encode(&(shared.site.live)(), format, &farol_collect::describe, &mut text);
    // Where there is no /proc of our own, the scrape is no worse for the rest.
    if let Ok(figures) = farol_collect::process::read(now) {
        let samples = farol_collect::process::samples(&figures);
        encode(&samples, format, &farol_collect::describe, &mut text);
    }
    end(format, &mut text);
    text
}

fn chosen_text(lanes: &Lanes, format: Format, choice: &Choice, texts: &textfile::Board) -> Vec<u8> {
    let mut text = text_buffer(lanes);
    let samples = merged(lanes, |sample| choice.keeps(sample));
    encode(samples, format, &|name: &str| describe(name, texts), &mut text);
    end(format, &mut text);
    text
}

/// Whose samples a scrape wants: node_exporter's `collect[]` and `exclude[]`.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    All,
    Only(Vec<String>),
    Without(Vec<String>),
}

/// The collectors' health stands under the name of the collector it is about.
const HEALTH: &str = "scrape";
const SUMMARY: &str = "summary";

impl Choice {
    fn from_query(uri: &Uri) -> Result<Choice, Refusal> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(Choice::All);
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| bad_request(format!("the query cannot be read: {error}")))?;
        let (mut only, mut without) = (Vec::new(), Vec::new());
        for (key, collector) in pairs {
            let list = match key.as_str() {
                "collect[]" => &mut only,
                "exclude[]" => &mut without,
                _ => continue,
            };
            if !is_known(&collector) {
                return Err(bad_request(format!("there is no collector {collector:?}")));
            }
            list.push(collector);
        }
        match (only.is_empty(), without.is_empty()) {
            (true, true) => Ok(Choice::All),
            (false, true) => Ok(Choice::Only(only)),
            (true, false) => Ok(Choice::Without(without)),
            (false, false) => Err(bad_request("collect[] and exclude[] cannot be combined")),
        }
    }

    fn keeps(&self, sample: &Sample) -> bool {
        match self {
            Choice::All => true,
            Choice::Only(names) => is_in(names, collector(sample)),
            Choice::Without(names) => !is_in(names, collector(sample)),
        }
    }
}

fn is_known(collector: &str) -> bool {
    collector == SUMMARY || farol_collect::COLLECTORS.iter().any(|entry| entry.name == collector)
}

fn is_in(names: &[String], name: &str) -> bool {
    names.iter().any(|held| held == name)
}

/// A name that is none of ours comes from a text file.
fn collector(sample: &Sample) -> &str {
    match farol_collect::collector_of(&sample.name) {
        Some(HEALTH) => sample.labels.get("collector").unwrap_or(HEALTH),
        Some(collector) => collector,
        None => textfile::ENTRY.name,
    }
}

fn bad_request(reason: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_chooses_collectors_by_name() {
        let choice = |query: &str| {
            let uri: Uri = format!("/metrics{query}").parse().unwrap();
            Choice::from_query(&uri).map_err(|refusal| (refusal.status.as_u16(), refusal.reason))
        };
        let name = farol_collect::COLLECTORS[0].name;
        let names = || vec![name.to_owned()];
        assert_eq!(choice(""), Ok(Choice::All));
        assert_eq!(choice("?"), Ok(Choice::All));
        assert_eq!(choice("?target=x"), Ok(Choice::All));
        assert_eq!(choice(&format!("?collect[]={name}")), Ok(Choice::Only(names())));
        assert_eq!(choice(&format!("?collect%5B%5D={name}")), Ok(Choice::Only(names())));
        assert_eq!(choice(&format!("?exclude[]={name}")), Ok(Choice::Without(names())));
        let both = choice(&format!("?collect[]={name}&exclude[]={name}"));
        assert_eq!(both, Err((400, "collect[] and exclude[] cannot be combined".into())));
        let unknown = choice("?collect[]=cpuu");
        assert_eq!(unknown, Err((400, "there is no collector \"cpuu\"".into())));
    }

    #[test]
    fn the_names_this_file_relies_on_are_collect_s() {
        let of = farol_collect::collector_of;
        assert_eq!(of("node_scrape_collector_success"), Some(HEALTH));
        if let Some(row) = farol_collect::summary::ROWS.first() {
            assert_eq!(of(row.metric.name), Some(SUMMARY));
        }
    }
}
