//! The configuration as the program uses it: every value parsed, checked and of its own type.
//!
//! The user's shape (one key, one text) is in `settings`; nothing here knows a key's name.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use farol_act::{notify::Protection, remedy::Fields};
use farol_alert::{
    Window,
    windows::{Recurring, Spans},
};
use farol_collect::{COLLECTORS, Compatibility, Entry, Host, TopCommand};
use farol_model::{SilenceMatcher, Stream, Text, Timestamp};
use regex::Regex;

use super::secret::Secret;
use crate::clock;

/// Everything Farol can be told. Two configurations compare equal exactly when a reload from one
/// to the other changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Of the fast lane.
    pub interval: Duration,
    /// Of the slow lane; never shorter than `interval`.
    pub slow_interval: Duration,
    /// How long one collector may take before it is set aside.
    pub collector_timeout: Duration,
    /// Empty: nothing is listened on.
    pub listen: Vec<SocketAddr>,
    pub data: PathBuf,
    /// Where the journal and Farol's own log are.
    pub logs: PathBuf,
    /// The group that may read the journal, if not the process' own.
    pub group: Option<Group>,
    pub host_name: Text,
    /// The machine looked at.
    pub host: Host,
    pub web: Web,
    pub door: DoorFiles,
    pub journal: Journal,
    pub store: Store,
    /// What a query may take, over HTTP and at the terminal alike.
    pub query: farol_web::Queries,
    pub rules: Rules,
    pub alerts: Alerts,
    pub quiet_hours: Vec<QuietHours>,
    pub collectors: Collectors,
    pub process_groups: Vec<ProcessGroup>,
    /// Their names are unique.
    pub notifiers: Vec<Notifier>,
    /// Their names are unique.
    pub remedies: Vec<Remedy>,
    pub probes: Probes,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    Id(u32),
    Name(String),
}

/// Where the rules are, and how often they are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The last part and those before may hold `*` and `?`.
    pub files: Vec<PathBuf>,
    /// Whether those that are part of the program are evaluated too.
    pub stock: bool,
    /// Of groups that say none.
    pub interval: Duration,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Starts with `/`.
    pub telemetry_path: String,
    /// Where people find the pages, without a slash at its end.
    pub external_url: Option<Text>,
    /// Names, in lower case, that a request's `Host` may carry besides the obvious ones.
    pub allowed_hosts: Vec<String>,
    /// Whose pages may ask and read the API, or `*`.
    pub allowed_origin: Option<String>,
    pub max_connections: usize,
    /// Scrapes answered at the same time.
    pub max_requests: usize,
    pub header_timeout: Duration,
    pub request_timeout: Duration,
    pub body_limit: u64,
    pub enable_remote_write_receiver: bool,
    /// Of one body, once it is decompressed.
    pub remote_write_body_limit: u64,
}

/// Where it is said who may come in. Unlike the rest of `web.*`, a reload takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoorFiles {
    /// exporter-toolkit's `web.yml`.
    pub config_file: Option<PathBuf>,
    /// One token in each.
    pub bearer_token_files: Vec<PathBuf>,
    /// Whether to listen beyond loopback all the same when they ask nothing of anybody.
    pub allow_unauthenticated: bool,
}

impl DoorFiles {
    pub fn is_empty(&self) -> bool {
        self.config_file.is_none() && self.bearer_token_files.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub segment_size: u64,
    pub sync_interval: Duration,
    pub reserve: u64,
    pub compress: bool,
    pub metrics: Retention,
    pub events: Retention,
    pub logs: Retention,
    pub received: Retention,
}

impl Journal {
    pub const fn retention(&self, stream: Stream) -> Retention {
        match stream {
            Stream::Metrics => self.metrics,
            Stream::Events => self.events,
            Stream::Logs => self.logs,
            Stream::Received => self.received,
        }
    }
}

/// What is older or beyond the size is removed, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    pub size: u64,
}

/// The history derived from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// In recorded time.
    pub retention: Duration,
    /// Of what is down-sampled, by `farol_store::Tier`.
    pub tier_retention: [Duration; 2],
    pub max_size: u64,
    /// The label `job` of the machine's series.
    pub job: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Collectors {
    /// No lane ticks at all; `on` is empty.
    pub none: bool,
    /// Names of `farol_collect::COLLECTORS` that are on, in that order.
    pub on: Vec<&'static str>,
    pub filesystem_mount_points_exclude: Pattern,
    pub filesystem_types_exclude: Pattern,
    pub diskstats_device_exclude: Pattern,
    pub netdev_device_exclude: Pattern,
    pub netclass_ignored_devices: Pattern,
    pub powersupply_ignored_supplies: Pattern,
    pub systemd_unit_include: Pattern,
    pub systemd_unit_exclude: Pattern,
    pub systemd_start_times: bool,
    pub systemd_restarts: bool,
    pub systemd_tasks: bool,
    pub vmstat_fields: Pattern,
    pub netstat_fields: Pattern,
    pub top_command: TopCommand,
    /// Where a container engine is asked for names, if one is.
    pub containers_socket: Option<PathBuf>,
    pub containers_labels: Vec<String>,
    pub cpu_info: bool,
    /// May hold `*` and `?`.
    pub textfile_directories: Vec<PathBuf>,
    pub compatibility: Compatibility,
}

impl Collectors {
    pub fn is_on(&self, name: &str) -> bool {
        self.on.contains(&name)
    }

    /// The rows of those that are on, as the runner wants them.
    pub fn entries(&self) -> Vec<&'static Entry> {
        COLLECTORS.iter().filter(|entry| self.is_on(entry.name)).collect()
    }
}

/// How alerts become messages, where a notifier does not say it otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    pub group_by: Vec<Text>,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
}

/// A window in which alerts are not told, as it was written; it is known to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    pub name: String,
    pub times: Vec<Times>,
    pub weekdays: Vec<String>,
    pub days_of_month: Vec<String>,
    pub months: Vec<String>,
    pub time_zone: String,
    /// Once, and not again and again.
    pub once: Option<(Timestamp, Timestamp)>,
    pub matchers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    pub from: String,
    pub to: String,
}

impl QuietHours {
    pub fn window(&self) -> Result<Window, String> {
        let name = Text::from(self.name.as_str());
        if let Some((from, to)) = self.once {
            return Ok(Window { name, spans: Spans::Once { from, to } });
        }
        let times: Vec<(&str, &str)> =
            self.times.iter().map(|times| (times.from.as_str(), times.to.as_str())).collect();
        let recurring = Recurring::read(
            &times,
            &borrowed(&self.weekdays),
            &borrowed(&self.days_of_month),
            &borrowed(&self.months),
            &self.time_zone,
        )?;
        Ok(Window { name, spans: Spans::Recurring(recurring) })
    }
}

/// As `farol config` shows it.
impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some((from, to)) = self.once {
            return write!(f, " from {} to {}", clock::rfc3339(from), clock::rfc3339(to));
        }
        for times in &self.times {
            write!(f, " {}-{}", times.from, times.to)?;
        }
        for word in [&self.weekdays, &self.days_of_month, &self.months].into_iter().flatten() {
            write!(f, " {word}")?;
        }
        write!(f, " {}", self.time_zone)
    }
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A compiled pattern; equal when its text is.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// At least one of the patterns is given.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessGroup {
    pub name: String,
    pub process: Option<Pattern>,
    pub unit: Option<Pattern>,
    pub user: Option<Pattern>,
}

/// What may be run against an alert, as it was written; its treatment is known to take its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// By which a rule calls for it.
    pub name: Text,
    /// A row of `farol_act::remedy::BUILT_INS`.
    pub kind: &'static str,
    pub fields: Fields,
    pub dry_run: bool,
    pub sustained: Duration,
    pub cooldown: Duration,
    pub per_day: usize,
    /// Always, if none.
    pub hours: Option<QuietHours>,
    pub wait: Duration,
    pub deadline: Duration,
}

/// As `farol config` shows it; its fields may hold secrets.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.dry_run { "in dry run" } else { "for real" };
        write!(f, "{} {} {mode}", self.name, self.kind)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notifier {
    pub name: Text,
    pub receiver: Receiver,
    pub channel: Channel,
}

impl Notifier {
    /// It is told of no alert.
    pub const fn is_heartbeat(&self) -> bool {
        matches!(self.receiver, Receiver::Heartbeat { .. })
    }
}

/// What it is told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// All must match; none is every alert.
    pub matchers: Vec<SilenceMatcher>,
    /// What is none is as [`Alerts`] has it.
    pub group_by: Option<Vec<Text>>,
    pub group_wait: Option<Duration>,
    pub group_interval: Option<Duration>,
    pub repeat_interval: Option<Duration>,
    pub send_resolved: bool,
    /// Of one attempt.
    pub timeout: Duration,
    /// Whom to trust in place of the system's certificates.
    pub ca_file: Option<PathBuf>,
}

impl Default for Channel {
    fn default() -> Channel {
        Channel {
            matchers: Vec::new(),
            group_by: None,
            group_wait: None,
            group_interval: None,
            repeat_interval: None,
            send_resolved: true,
            timeout: Duration::from_secs(10),
            ca_file: None,
        }
    }
}

/// URLs are secrets: most of them let in who knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    Discord { webhook_url: Secret },
    Slack { webhook_url: Secret, channel: Option<String> },
    Email(Mail),
    Webhook { url: Secret, authorization: Authorization },
    Alertmanager { urls: Vec<Secret>, resend_delay: Duration, authorization: Authorization },
    Heartbeat { url: Secret, is_post: bool, interval: Duration, authorization: Authorization },
}

impl Receiver {
    pub const fn kind(&self) -> &'static str {
        match self {
            Receiver::Discord { .. } => "discord",
            Receiver::Slack { .. } => "slack",
            Receiver::Email(_) => "email",
            Receiver::Webhook { .. } => "webhook",
            Receiver::Alertmanager { .. } => "alertmanager",
            Receiver::Heartbeat { .. } => "heartbeat",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub protection: Protection,
    pub login: Option<(String, Secret)>,
    pub from: String,
    pub to: Vec<String>,
}

/// At most one of login and token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    pub login: Option<(String, Secret)>,
    pub bearer_token: Option<Secret>,
    pub headers: Vec<(String, Secret)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// Their targets are `Gateway` or `Host`.
    pub icmp: Vec<Probe>,
    /// Their targets are `Port`.
    pub tcp: Vec<Probe>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub target: Target,
    pub interval: Duration,
    /// Never longer than `interval`.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The default gateway, whichever it is when the probe runs.
    Gateway,
    /// A name or an address.
    Host(String),
    /// A name or an address (without brackets), and a TCP port.
    Port(String, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: Level,
    pub format: Format,
    /// Whether Farol's own log is also kept in a file below `logs`.
    pub file: bool,
    pub max_size: u64,
    /// How many full log files are kept besides the one being written.
    pub keep: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    Human,
    Json,
}
