//! What a server answers from: all of its inputs.

use std::{fmt, sync::Arc, time::Duration};

use farol_alert::{
    Board, Routing,
    silences::{Draft, SilenceError},
};
use farol_collect::textfile;
use farol_model::{Batch, Current, Memory, Sample, Text, Timestamp};
use farol_query::Limits;
use tokio::sync::{mpsc, oneshot, watch};

use crate::door::Opening;

/// The inputs of a server. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    /// What is true now; published whole by its owner after every change.
    pub current: watch::Receiver<Arc<Current>>,
    /// What is remembered of alerts, silences, messages and treatments; published whole as well.
    pub memory: watch::Receiver<Arc<Memory>>,
    /// Who is told of which alerts, as it is configured.
    pub routing: watch::Receiver<Arc<Routing>>,
    /// The rules that are loaded, and how evaluating them went.
    pub rules: Arc<dyn Fn() -> Board + Send + Sync>,
    /// False while the journal is being replayed.
    pub ready: watch::Receiver<bool>,
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Where what is asked for goes. Bounded by whoever receives.
    pub commands: mpsc::Sender<Command>,
    /// What only this process knows of itself, read at each scrape; sorted by name.
    pub live: Arc<dyn Fn() -> Vec<Sample> + Send + Sync>,
    /// What text files say of their families. Nothing where another process collects.
    pub texts: Arc<textfile::Board>,
    /// What this process keeps of the past; nothing where it keeps none.
    pub history: Arc<dyn Fn() -> Option<History> + Send + Sync>,
    /// What questions about the past are answered from; nothing while the store is not there yet.
    pub reader: Arc<dyn Fn() -> Option<farol_store::Reader> + Send + Sync>,
    /// Every setting as it is now, in the order of the reference page.
    pub configuration: Arc<dyn Fn() -> Vec<Configured> + Send + Sync>,
    /// Who may come in; published whole whenever its files have changed for the better.
    pub door: watch::Receiver<Opening>,
    pub about: About,
    pub settings: Arc<Settings>,
}

/// Something a request asks the program to do.
#[derive(Debug)]
pub enum Command {
    /// Read the configuration again; an error is a text for the person who asked.
    Reload { reply: oneshot::Sender<Result<(), String>> },
    /// Journal samples that another program has sent; the answer says that they are, or why not.
    Write { batch: Batch, reply: oneshot::Sender<Result<(), String>> },
    /// Make or change a silence; the answer is its id, once it is remembered.
    Silence { draft: Draft, reply: oneshot::Sender<Result<Text, SilenceError>> },
    /// End one.
    Expire { id: Text, reply: oneshot::Sender<Result<(), SilenceError>> },
}

/// The store, as far as people ask about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub series: u64,
    pub blocks: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    /// When its oldest sample was taken.
    pub oldest: Option<Timestamp>,
    /// Why nothing is stored at the moment.
    pub fault: Option<String>,
}

/// One setting with the value it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The path of keys in the file, joined by dots.
    pub key: &'static str,
    /// On the command line, without dashes.
    pub flag: Option<String>,
    /// As people are shown it: no secret's.
    pub value: String,
}

/// Which program answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub version: &'static str,
    pub revision: &'static str,
    /// The subcommand: `run` or `serve`.
    pub command: &'static str,
    pub started: Timestamp,
    /// Nothing is collected, and so nothing is missing.
    pub without_collectors: bool,
}

/// What is allowed, and how much of it at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub telemetry_path: String,
    /// Names or addresses (without a port) that a `Host` header may carry besides loopback and the
    /// address that was connected to. `*` allows all.
    pub allowed_hosts: Vec<String>,
    /// Beyond it a connection is answered 503 and closed.
    pub max_connections: usize,
    /// Scrapes answered at once; beyond it 503. 0 means no limit, as in node_exporter.
    pub max_requests: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a request may take once its head is read (a query has its own deadline, and this for
    /// its body), how long a client may leave its answer
    /// unread, and how long requests in flight are waited for at the end.
    pub request_timeout: Duration,
    /// Bytes.
    pub body_limit: usize,
    /// The origin whose pages may ask and read here, or `*`.
    pub allowed_origin: Option<String>,
    pub queries: Queries,
    /// Nothing where remote write is not received.
    pub receiver: Option<Receiver>,
    /// When set, all that would change something is refused with 403 and this text.
    pub read_only: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            telemetry_path: "/metrics".into(),
            allowed_hosts: Vec::new(),
            max_connections: 128,
            max_requests: 40,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            body_limit: 64 * 1024,
            allowed_origin: None,
            queries: Queries::default(),
            receiver: None,
            read_only: None,
        }
    }
}

/// What is received by remote write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Bytes of one body, once it is decompressed.
    pub body_limit: usize,
    /// How old a sample may be.
    pub retention: Duration,
}

/// What a query may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queries {
    /// Answered at once; some more wait.
    pub max_concurrency: usize,
    /// How long one may take, waiting included. `request_timeout` is not for queries.
    pub timeout: Duration,
    /// Values in memory at once.
    pub max_samples: u64,
    /// Series that one selector may find.
    pub max_series: usize,
    /// How far back a selector looks for a sample.
    pub lookback_delta: Duration,
    /// What takes longer is logged.
    pub log_slower_than: Duration,
}

impl Queries {
    /// Prometheus' bound on the points of a series.
    pub const MOST_STEPS: usize = 11_000;
    /// The step of a subquery that names none, in milliseconds: Prometheus' default for it.
    pub const SUBQUERY_STEP: i64 = 60_000;

    pub fn limits(&self) -> Limits {
        Limits { samples: self.max_samples, series: self.max_series, steps: Queries::MOST_STEPS }
    }
}

impl Default for Queries {
    fn default() -> Queries {
        Queries {
            max_concurrency: 4,
            timeout: Duration::from_secs(30),
            max_samples: 10_000_000,
            max_series: 50_000,
            lookback_delta: Duration::from_secs(5 * 60),
            log_slower_than: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("about", &self.about)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
