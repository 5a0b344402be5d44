//! The configuration: defaults < file < environment < flags, read once and checked whole.
//!
//! `settings` is the one table from which the keys, the environment variables, the flags, the
//! reference page and the example file all come. [`load`] is a function of its [`Inputs`]; only
//! [`environment`] and [`read_file`] touch the process and the disk. All problems of all sources
//! are reported at once, each with its place; no message and no dump holds a secret's value.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_collect::{
    Host, Laps, own, probe, textfile,
    view::{self, Found, Given},
};
use farol_model::Exposed;
use farol_wire::{
    exposition::{Limits, exposed},
    yaml::{nearest, quoted},
};

pub use flags::{FlagRow, Sets, add_flags, flags, flags_from};
pub use problem::{Problem, Problems, Source};
pub use secret::{REDACTED, Secret};
pub use settings::{Alias, Kind, SETTINGS, Setting, TextRule};
pub use types::{
    Alerts, Authorization, Channel, Collectors, Config, DoorFiles, Format, Group, Journal, Level,
    Log, Mail, Notifier, Pattern, Probe, Probes, ProcessGroup, QuietHours, Receiver, Remedy,
    Retention, Rules, Store, Target, Web,
};

mod build;
pub mod docs;
mod flags;
mod gather;
mod places;
mod problem;
mod secret;
mod settings;
mod types;
mod units;
mod values;
pub mod web_yml;

/// All that a configuration depends on.
pub struct Inputs<'a> {
    /// Flag names without dashes and their values, in the order of the command line.
    pub flags: Vec<(String, String)>,
    pub environment: BTreeMap<String, String>,
    pub facts: Facts<'a>,
}

/// Says nothing: the environment may hold secrets.
impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// What the machine says; passed in so that a test can be any machine.
pub struct Facts<'a> {
    /// Whether the process is root.
    pub root: bool,
    /// Reads a file, but no more than so many bytes of it.
    pub read: &'a dyn Fn(&Path, u64) -> io::Result<Vec<u8>>,
    /// Whether this is a folder that the process may write into.
    pub writable: &'a dyn Fn(&Path) -> bool,
    /// Where the machine's trees are, apart from what is configured.
    pub find_machine: &'a dyn Fn(&Given) -> Found,
    /// The name the machine calls itself.
    pub host_name: &'a dyn Fn(&Host) -> Option<String>,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A configuration that is whole and right.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub effective: Effective,
    /// Sentences for the log: names going away, variables that look like a typing mistake.
    pub warnings: Vec<String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Every setting with the value it has and where that came from: `farol config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: &'static str,
    /// Secrets are shown as `<redacted>`.
    pub shown: String,
    /// `default`, `farol.yml:12`, `environment FAROL_INTERVAL`, `flag --listen`.
    pub origin: String,
}

/// Reads and checks everything. Nothing is opened, created or changed.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, Problems> {
    let mut gathered = gather::gather(inputs);
    if !gathered.problems.is_empty() {
        return Err(Problems(gathered.problems));
    }
    let (config, effective) = build::build(inputs, &mut gathered);
    if !gathered.problems.is_empty() {
        return Err(Problems(gathered.problems));
    }
    Ok(Loaded { config, effective, warnings: gathered.warnings, file: gathered.file })
}

/// [`load`] with this process' own environment and machine.
pub fn from_process(flags: Vec<(String, String)>) -> Result<Loaded, Problems> {
    load(&Inputs { flags, environment: environment(), facts: facts() })
}

/// A span as the configuration writes it (`1h30m`), for flags that are no settings.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|wrong| wrong.why)
}

/// The same the other way.
pub fn show_duration(duration: std::time::Duration) -> String {
    units::show_duration(duration)
}

/// The number of a group by its name in `/etc/group`.
pub fn group_by_name(name: &str) -> Option<u32> {
    const MOST_BYTES: u64 = 1024 * 1024;
    let bytes = read_file(Path::new("/etc/group"), MOST_BYTES).ok()?;
    String::from_utf8_lossy(&bytes).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// What the collectors are told; the boards are `app`'s.
pub fn collect_options(
    config: &Config,
    own: Arc<own::Board>,
    probes: Arc<probe::Board>,
    texts: Arc<textfile::Board>,
) -> farol_collect::Options {
    let collectors = &config.collectors;
    farol_collect::Options {
        filesystem_mount_points_exclude: collectors.filesystem_mount_points_exclude.0.clone(),
        filesystem_types_exclude: collectors.filesystem_types_exclude.0.clone(),
        diskstats_device_exclude: collectors.diskstats_device_exclude.0.clone(),
        netdev_device_exclude: collectors.netdev_device_exclude.0.clone(),
        netclass_ignored_devices: collectors.netclass_ignored_devices.0.clone(),
        powersupply_ignored_supplies: collectors.powersupply_ignored_supplies.0.clone(),
        systemd_unit_include: collectors.systemd_unit_include.0.clone(),
        systemd_unit_exclude: collectors.systemd_unit_exclude.0.clone(),
        systemd_start_times: collectors.systemd_start_times,
        systemd_restarts: collectors.systemd_restarts,
        systemd_tasks: collectors.systemd_tasks,
        vmstat_fields: collectors.vmstat_fields.0.clone(),
        netstat_fields: collectors.netstat_fields.0.clone(),
        top_command: collectors.top_command,
        process_groups: config.process_groups.iter().map(process_group).collect(),
        processes: Arc::default(),
        containers_socket: collectors.containers_socket.clone(),
        containers_labels: collectors.containers_labels.clone(),
        cpu_info: collectors.cpu_info,
        compatibility: collectors.compatibility,
        textfile: textfile::Settings {
            directories: collectors.textfile_directories.clone(),
            parse: parse_textfile,
            board: texts,
        },
        own,
        probes,
        laps: Laps::default(),
    }
}

fn process_group(group: &ProcessGroup) -> farol_collect::ProcessGroup {
    let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.0.clone());
    farol_collect::ProcessGroup {
        name: group.name.clone(),
        process: pattern(&group.process),
        unit: pattern(&group.unit),
        user: pattern(&group.user),
    }
}

/// `collect` and `wire` do not know each other: the format is brought to the collector here.
fn parse_textfile(text: &[u8]) -> Result<Exposed, String> {
    exposed(text, &Limits::default()).map_err(|error| error.to_string())
}

/// The process' environment, read once at start. Bytes that are not UTF-8 become U+FFFD, which no
/// setting and no secret accepts.
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The machine this process runs on.
pub fn facts() -> Facts<'static> {
    Facts {
        root: rustix::process::geteuid().is_root(),
        read: &read_file,
        writable: &is_writable_folder,
        find_machine: &view::find,
        host_name: &Host::host_name,
    }
}

/// A file, but no more than `most` bytes of it: `/dev/zero` is a file too.
#[expect(
    clippy::disallowed_methods,
    reason = "the configuration names the disk; it is read before there is one"
)]
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_writable_folder(path: &Path) -> bool {
    path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// An I/O error in words without a number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
