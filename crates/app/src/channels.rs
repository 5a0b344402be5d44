//! The configured notifiers as running tasks: senders made, followers started, changed ones replaced.
//!
//! A channel whose settings a reload does not change is not touched. What a channel was told is in the
//! memory, so that a new follower goes on where the old one stopped.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use farol_act::notify::{
    Alertmanager, Board, Discord, Email, Endpoint, Figures, Follower, Heartbeat, Http, Origin,
    Ping, RESEND, RecordFailed, Records, Resender, Sender, Server, Slack, Trust, Webhook, mailbox,
};
use farol_alert::{Matcher, Route, Routing};
use farol_collect::own;
use farol_model::{Memory, Record, Text, Timestamp};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    clock,
    config::{self, Alerts, Authorization, Config, Notifier, Receiver},
    remember::{Remember, Unremembered},
};

/// How long a channel that was stopped may still deliver what is due.
const DRAIN: Duration = Duration::from_secs(2);
const RECORD_AGAIN: Duration = Duration::from_secs(5);
const MOST_CA_BYTES: u64 = 4 * 1024 * 1024;

/// What the channels share with the rest of the program.
#[derive(Clone)]
pub struct Surroundings {
    pub memory: watch::Receiver<Arc<Memory>>,
    pub routing: watch::Receiver<Arc<Routing>>,
    pub records: Records,
    /// When all was last known to be well, while it is.
    pub well: watch::Receiver<Option<Timestamp>>,
    pub board: Arc<Board>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Records by way of the core. A disk that hangs is waited for: a message whose record is lost would
/// be told again.
pub fn records(remember: Remember) -> Records {
    Arc::new(move |delivery| {
        let remember = remember.clone();
        Box::pin(async move {
            loop {
                let recorded = remember.clone().record(Record::Delivery(delivery.clone())).await;
                match recorded {
                    Ok(()) => return Ok(()),
                    Err(Unremembered::Gone) => return Err(RecordFailed),
                    Err(Unremembered::Failed(reason)) => {
                        tracing::error!(%reason, "what became of a message cannot be recorded yet");
                        tokio::time::sleep(RECORD_AGAIN).await;
                    }
                }
            }
        })
    })
}

/// What the channels have done, for the metrics.
pub fn figures(board: &Board) -> own::NotifyingFigures {
    let one = |(name, figures): (Text, Figures)| {
        let figures = own::ChannelFigures {
            sent: figures.sent,
            retried: figures.retried,
            throttled: figures.throttled,
            dead: figures.dead,
            queued: figures.queued as u64,
            oldest: figures.oldest,
            latency: figures.latency,
            is_disabled: figures.is_disabled,
        };
        (name, figures)
    };
    board.read().into_iter().map(one).collect()
}

/// Shows on Farol's own board what the channels do, until it is told to stop.
pub async fn show(board: Arc<Board>, own: Arc<own::Board>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let shown = figures(&board);
        own.update(|figures| figures.notifying = shown);
    }
}

/// The routes of all notifiers that are told of alerts; a heartbeat has none.
pub fn routes(config: &Config) -> Vec<Route> {
    let told = config.notifiers.iter();
    let told = told.filter(|notifier| !notifier.is_heartbeat());
    told.map(|notifier| route(notifier, &config.alerts)).collect()
}

pub fn route(notifier: &Notifier, usual: &Alerts) -> Route {
    let channel = &notifier.channel;
    Route {
        channel: notifier.name.clone(),
        matchers: channel.matchers.iter().cloned().map(Matcher::trusted).collect(),
        group_by: channel.group_by.clone().unwrap_or_else(|| usual.group_by.clone()),
        group_wait: channel.group_wait.unwrap_or(usual.group_wait),
        group_interval: channel.group_interval.unwrap_or(usual.group_interval),
        repeat_interval: channel.repeat_interval.unwrap_or(usual.repeat_interval),
        send_resolved: channel.send_resolved,
    }
}

/// The channels that run. Dropped, they are stopped and not waited for.
#[derive(Debug)]
pub struct Channels {
    surroundings: Surroundings,
    running: BTreeMap<Text, Running>,
}

#[derive(Debug)]
struct Running {
    /// What it was made from; it is replaced when this differs.
    made_from: (Notifier, Origin),
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Channels {
    pub fn new(surroundings: Surroundings) -> Channels {
        Channels { surroundings, running: BTreeMap::new() }
    }

    /// Brings what runs to what is configured. All senders are made first: an error changes
    /// nothing. To be called inside the runtime.
    pub async fn apply(&mut self, config: &Config) -> anyhow::Result<()> {
        let origin = origin(config);
        let mut new = Vec::new();
        for notifier in &config.notifiers {
            let made_from = (notifier.clone(), origin.clone());
            let running = self.running.get(&notifier.name);
            if running.is_none_or(|running| running.made_from != made_from) {
                new.push((made_from, Made::of(notifier, &origin)?));
            }
        }
        let is_kept = |name: &Text, running: &Running| {
            let mut notifiers = config.notifiers.iter();
            let same = notifiers.find(|notifier| notifier.name == *name);
            same.is_some_and(|notifier| running.made_from == (notifier.clone(), origin.clone()))
        };
        let gone: Vec<Text> = self
            .running
            .iter()
            .filter(|(name, running)| !is_kept(name, running))
            .map(|(name, _)| name.clone())
            .collect();
        // Two followers of one channel would tell everything twice.
        for running in gone.iter().filter_map(|name| self.running.remove(name)) {
            running.stop(Duration::ZERO).await;
        }
        for (made_from, made) in new {
            let name = made_from.0.name.clone();
            self.running.insert(name, self.start(made_from, made));
        }
        let names: Vec<Text> = self.running.keys().cloned().collect();
        self.surroundings.board.keep(&names);
        Ok(())
    }

    /// Lets each deliver what is due, for a short time.
    pub async fn stop(mut self) {
        let running = std::mem::take(&mut self.running);
        for running in running.values() {
            running.stop.send(true).ok();
        }
        for running in running.into_values() {
            running.stop(DRAIN + Duration::from_millis(500)).await;
        }
    }

    fn start(&self, made_from: (Notifier, Origin), made: Made) -> Running {
        let (stop, stopped) = watch::channel(false);
        let name = made_from.0.name.clone();
        let Surroundings { memory, routing, records, well, board } = self.surroundings.clone();
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(clock::now);
        let seed = seed(&name);
        let tasks = match made {
            Made::Follows(sender) => {
                let follower = Follower {
                    channel: name,
                    host: made_from.1.host.clone(),
                    sender,
                    memory,
                    routing,
                    clock,
                    records,
                    board,
                    settings: identity(&made_from.0),
                    seed,
                    stop: stopped,
                    drain: DRAIN,
                };
                vec![tokio::spawn(follower.run())]
            }
            Made::Resends(alertmanagers) => {
                let resender = |alertmanager| Resender {
                    channel: name.clone(),
                    alertmanager,
                    memory: memory.clone(),
                    routing: routing.clone(),
                    clock: Arc::clone(&clock),
                    board: Arc::clone(&board),
                    seed,
                    stop: stopped.clone(),
                };
                alertmanagers
                    .into_iter()
                    .map(|alertmanager| tokio::spawn(resender(alertmanager).run()))
                    .collect()
            }
            Made::Beats(ping, interval) => {
                let fresh = interval.max(RESEND) + interval;
                let heartbeat = Heartbeat {
                    channel: name,
                    ping: *ping,
                    interval,
                    well,
                    fresh,
                    clock,
                    board,
                    stop: stopped,
                };
                vec![tokio::spawn(heartbeat.run())]
            }
        };
        Running { made_from, stop, tasks }
    }
}

impl Running {
    async fn stop(self, patience: Duration) {
        self.stop.send(true).ok();
        for mut task in self.tasks {
            if tokio::time::timeout(patience, &mut task).await.is_err() {
                task.abort();
                // It has ended when this returns, whichever way.
                task.await.ok();
            }
        }
    }
}

/// A notifier that can speak.
enum Made {
    Follows(Box<dyn Sender>),
    Resends(Vec<Alertmanager>),
    Beats(Box<Ping>, Duration),
}

impl Made {
    fn of(notifier: &Notifier, origin: &Origin) -> anyhow::Result<Made> {
        let name = &notifier.name;
        make(notifier, origin).with_context(|| format!("the notifier {name:?} cannot be made"))
    }
}

/// One sender for each receiver that a notifier has, for a test message or a preview.
pub fn senders(config: &Config, notifier: &Notifier) -> anyhow::Result<Vec<Box<dyn Sender>>> {
    Ok(match Made::of(notifier, &origin(config))? {
        Made::Follows(sender) => vec![sender],
        Made::Resends(alertmanagers) => {
            alertmanagers.into_iter().map(|one| Box::new(one) as Box<dyn Sender>).collect()
        }
        Made::Beats(ping, _) => vec![ping],
    })
}

/// Whether all notifiers can be made: for `farol check`, and before a reload.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let origin = origin(config);
    config.notifiers.iter().try_for_each(|notifier| Made::of(notifier, &origin).map(drop))
}

fn make(notifier: &Notifier, origin: &Origin) -> anyhow::Result<Made> {
    let channel = &notifier.channel;
    let trust = trust(channel.ca_file.as_deref())?;
    let http = Http::new(trust.clone(), channel.timeout);
    let origin = origin.clone();
    Ok(match &notifier.receiver {
        Receiver::Discord { webhook_url } => {
            let endpoint = endpoint(webhook_url, &Authorization::default())?;
            Made::Follows(Box::new(Discord::new(http, endpoint, origin)))
        }
        Receiver::Slack { webhook_url, channel } => {
            let endpoint = endpoint(webhook_url, &Authorization::default())?;
            Made::Follows(Box::new(Slack::new(http, endpoint, origin, channel.clone())))
        }
        Receiver::Email(mail) => {
            let login = mail.login.as_ref();
            let server = Server {
                host: mail.host.clone(),
                port: mail.port,
                protection: mail.protection,
                login: login.map(|(user, password)| (user.clone(), password.expose().to_owned())),
                timeout: channel.timeout,
            };
            let parsed = |text: &String| mailbox(text).map_err(|why| anyhow!("{text:?} {why}"));
            let to = mail.to.iter().map(parsed).collect::<anyhow::Result<_>>()?;
            let email = Email::new(&trust, server, parsed(&mail.from)?, to, origin);
            Made::Follows(Box::new(email.map_err(anyhow::Error::msg)?))
        }
        Receiver::Webhook { url, authorization } => {
            let endpoint = endpoint(url, authorization)?;
            Made::Follows(Box::new(Webhook::new(http, endpoint, origin)))
        }
        Receiver::Alertmanager { urls, resend_delay, authorization } => {
            let one = |url| {
                let endpoint = endpoint(url, authorization)?;
                let one = Alertmanager::new(http.clone(), endpoint, origin.clone());
                anyhow::Ok(one.with_resend(*resend_delay))
            };
            Made::Resends(urls.iter().map(one).collect::<anyhow::Result<_>>()?)
        }
        Receiver::Heartbeat { url, is_post, interval, authorization } => Made::Beats(
            Box::new(Ping::new(http, endpoint(url, authorization)?, *is_post)),
            *interval,
        ),
    })
}

fn endpoint(url: &config::Secret, authorization: &Authorization) -> anyhow::Result<Endpoint> {
    let mut endpoint = Endpoint::new(url.expose()).map_err(|why| anyhow!("its URL {why}"))?;
    if let Some((user, password)) = &authorization.login {
        endpoint = endpoint.with_basic(user, password.expose());
    }
    if let Some(token) = &authorization.bearer_token {
        endpoint = endpoint
            .with_bearer(token.expose())
            .map_err(|why| anyhow!("its bearer_token {why}"))?;
    }
    for (name, value) in &authorization.headers {
        endpoint = endpoint
            .with_header(name, value.expose())
            .map_err(|why| anyhow!("its header {name:?} {why}"))?;
    }
    Ok(endpoint)
}

fn origin(config: &Config) -> Origin {
    Origin { host: config.host_name.clone(), external_url: config.web.external_url.clone() }
}

/// The certificates of a file, else the system's, else those that Farol brings along: a small
/// container has none.
fn trust(ca_file: Option<&Path>) -> anyhow::Result<Trust> {
    if let Some(path) = ca_file {
        return Ok(Trust::new(certificates(path)?));
    }
    let system = rustls_native_certs::load_native_certs().certs;
    match system.is_empty() {
        false => Ok(Trust::new(system)),
        true => Ok(Trust::bundled()),
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = config::read_file(path, MOST_CA_BYTES);
    let bytes = bytes.with_context(|| format!("ca_file: cannot read {}", path.display()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = read.unwrap_or_default();
    match certificates.is_empty() {
        true => {
            Err(anyhow!("ca_file: {} holds no certificate in PEM", PathBuf::from(path).display()))
        }
        false => Ok(certificates),
    }
}

/// Names the settings that decide whether a receiver exists, without telling them.
fn identity(notifier: &Notifier) -> Text {
    let url = match &notifier.receiver {
        Receiver::Discord { webhook_url } | Receiver::Slack { webhook_url, .. } => {
            webhook_url.expose()
        }
        Receiver::Webhook { url, .. } | Receiver::Heartbeat { url, .. } => url.expose(),
        Receiver::Email(_) | Receiver::Alertmanager { .. } => "",
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
    let digits = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}"));
    digits.collect::<String>().into()
}

/// Any number that differs from channel to channel and from start to start.
fn seed(name: &str) -> u64 {
    let now = clock::now().as_millis().unsigned_abs();
    name.bytes().fold(now, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
