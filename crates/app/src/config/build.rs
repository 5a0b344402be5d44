//! From the values that won to the typed [`Config`]: what was left open is found out, what must
//! fit together is compared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use farol_collect::{
    COLLECTORS, Compatibility, Host, TopCommand,
    view::{Found, Given},
};
use farol_model::Text;

use super::{
    Effective, Inputs, Row,
    gather::{Chosen, Gathered, Switch},
    places,
    problem::{Problem, Source},
    settings::SETTINGS,
    types::{
        Alerts, Collectors, Config, DoorFiles, Format, Group, Journal, Level, Log, Pattern, Probe,
        Probes, Retention, Rules, Store, Web,
    },
    units,
    values::{Draft, Value},
};

/// The configuration and its dump. `gathered.problems` must be empty before, and says after the
/// call whether the result counts.
pub(super) fn build(inputs: &Inputs<'_>, gathered: &mut Gathered) -> (Config, Effective) {
    let values = std::mem::take(&mut gathered.values);
    let mut values = Values { values, problems: Vec::new() };
    let on = values.switch_collectors(&gathered.collectors);
    let machine = values.find_machine(inputs);
    values.find_places(inputs);
    values.find_names(inputs, &machine);
    values.fit_times();
    values.fit_sizes();
    let config = values.config(on, machine.host);
    let effective = values.effective();
    gathered.problems.append(&mut values.problems);
    (config, effective)
}

struct Values {
    values: BTreeMap<&'static str, Chosen>,
    problems: Vec<Problem>,
}

/// The streams that may differ from `journal.retention`.
const STREAMS: [&str; 3] = ["events", "logs", "received"];

// What was left open, and what must fit together.
impl Values {
    fn find_machine(&mut self, inputs: &Inputs<'_>) -> Found {
        let given = |key: &str| (!self.is_open(key)).then(|| self.path(key));
        let found = (inputs.facts.find_machine)(&Given {
            proc: given("path.procfs"),
            sys: given("path.sysfs"),
            root: given("path.rootfs"),
            run: given("path.run"),
        });
        let host = &found.host;
        for (key, path, why) in [
            ("path.procfs", &host.proc, found.proc),
            ("path.sysfs", &host.sys, found.sys),
            ("path.rootfs", &host.root, found.root),
            ("path.run", &host.run, found.run),
        ] {
            if self.is_open(key) {
                self.find_path(key, path.clone(), why);
            }
        }
        found
    }

    fn find_places(&mut self, inputs: &Inputs<'_>) {
        if self.is_open("data") {
            match places::data(&inputs.environment, &inputs.facts) {
                Some((data, why)) => self.find_path("data", data, why),
                None => self.complain(
                    "data",
                    "there is no folder for data: HOME is not set; give one with --data".to_owned(),
                ),
            }
        }
        if self.is_open("logs") && !self.is_open("data") {
            let (logs, why) = places::logs(&self.path("data"), &inputs.facts);
            self.find_path("logs", logs, why);
        }
    }

    fn find_names(&mut self, inputs: &Inputs<'_>, machine: &Found) {
        if self.is_open("host_name") {
            let found = (inputs.facts.host_name)(&machine.host);
            let (name, why) = match found.filter(|name| !name.is_empty()) {
                Some(name) => (name, machine.name),
                None => ("localhost".to_owned(), "the machine says no name"),
            };
            self.find("host_name", Value::Text(name.clone()), name, why);
        }
    }

    fn fit_times(&mut self) {
        let interval = self.duration("interval");
        if self.duration("slow_interval") < interval {
            if self.is_default("slow_interval") {
                let shown = units::show_duration(interval);
                self.find("slow_interval", Value::Duration(interval), shown, "as interval");
            } else {
                let shown = units::show_duration(interval);
                self.complain("slow_interval", format!("is shorter than interval ({shown})"));
            }
        }
        for key in ["probes.icmp", "probes.tcp"] {
            for draft in self.drafts(key) {
                let interval = draft.interval.unwrap_or(self.duration("probes.interval"));
                if draft.timeout.is_some_and(|timeout| timeout > interval) {
                    let shown = units::show_duration(interval);
                    let why = format!("a timeout is longer than the probe's interval ({shown})");
                    self.complain(key, why);
                }
            }
        }
    }

    fn fit_sizes(&mut self) {
        for stream in STREAMS {
            for what in ["age", "size"] {
                let general = SETTINGS
                    .iter()
                    .find(|setting| setting.key == format!("journal.retention.{what}"));
                let own = SETTINGS
                    .iter()
                    .find(|setting| setting.key == format!("journal.{stream}.retention.{what}"));
                if let (Some(general), Some(own)) = (general, own)
                    && self.is_open(own.key)
                    && let Some(chosen) = self.values.get(general.key).cloned()
                {
                    self.find(own.key, chosen.value, chosen.shown, "as journal.retention");
                }
            }
        }
        let smallest = self.smallest_retention();
        let segment = self.number("journal.segment_size");
        let most = smallest / 4;
        if segment > most && self.is_default("journal.segment_size") {
            let shown = units::show_size(most);
            let why = "a quarter of the smallest retention";
            self.find("journal.segment_size", Value::Number(most), shown, why);
        } else if segment > smallest / 2 {
            let shown = units::show_size(smallest);
            let why = format!("is more than half of the smallest retention.size ({shown})");
            self.complain("journal.segment_size", why);
        }
    }

    fn smallest_retention(&self) -> u64 {
        let keys = SETTINGS.iter().map(|setting| setting.key);
        let sizes = keys.filter(|key| key.ends_with("retention.size"));
        sizes.map(|key| self.number(key)).min().unwrap_or(u64::MAX)
    }

    /// Decides for each collector, and notes in the two lists what had an effect.
    fn switch_collectors(&mut self, switches: &[Switch]) -> Vec<&'static str> {
        let off = self.bool("collectors.disable_defaults");
        let mut decided: BTreeMap<&str, (bool, &Source)> = BTreeMap::new();
        for switch in switches {
            for name in &switch.names {
                let before = decided.insert(name, (switch.on, &switch.source));
                if let Some((on, source)) = before
                    && on != switch.on
                    && same_source(source, &switch.source)
                {
                    let sentence = format!("{name:?} is both enabled and disabled");
                    self.problems.push(Problem {
                        source: switch.source.clone(),
                        key: "collectors.disable".to_owned(),
                        sentence,
                        nearest: None,
                    });
                }
            }
        }
        for (key, wanted) in [("collectors.enable", true), ("collectors.disable", false)] {
            self.note_switches(key, decided.iter().filter(|(_, (on, _))| *on == wanted));
        }
        if self.bool("collectors.none") {
            return Vec::new();
        }
        let is_on = |name: &str, on: bool| decided.get(name).map_or(on && !off, |(on, _)| *on);
        let on = COLLECTORS.iter().filter(|entry| is_on(entry.name, entry.on));
        on.map(|entry| entry.name).collect()
    }

    fn note_switches<'a>(
        &mut self,
        key: &'static str,
        decided: impl Iterator<Item = (&'a &'a str, &'a (bool, &'a Source))>,
    ) {
        let (names, sources): (Vec<&str>, Vec<&Source>) =
            decided.map(|(name, (_, source))| (*name, *source)).unzip();
        // One row has one origin: that of the highest source.
        let highest = sources.into_iter().max_by_key(|source| rank(source));
        if let (Some(source), Some(chosen)) = (highest, self.values.get_mut(key)) {
            chosen.shown = names.join(", ");
            chosen.source = source.clone();
        }
    }
}

/// Whether two words come from the same level, so that neither overrides the other. On the command
/// line the last word counts.
fn same_source(a: &Source, b: &Source) -> bool {
    rank(a) == rank(b) && !matches!(a, Source::Flag(_))
}

const fn rank(source: &Source) -> u8 {
    match source {
        Source::Default(_) => 0,
        Source::File { .. } => 1,
        Source::Environment(_) => 2,
        Source::Flag(_) => 3,
    }
}

// The typed configuration.
impl Values {
    fn config(&self, on: Vec<&'static str>, host: Host) -> Config {
        Config {
            interval: self.duration("interval"),
            slow_interval: self.duration("slow_interval"),
            collector_timeout: self.duration("collector_timeout"),
            listen: match self.value("listen") {
                Value::Addresses(addresses) => addresses.clone(),
                _ => Vec::new(),
            },
            data: self.path("data"),
            logs: self.path("logs"),
            group: self.group(),
            host_name: Text::from(self.text("host_name")),
            host,
            web: self.web(),
            door: self.door(),
            journal: self.journal(),
            store: Store {
                retention: self.duration("store.retention"),
                tier_retention: ["store.retention_15s", "store.retention_5m"]
                    .map(|key| self.duration(key)),
                max_size: self.number("store.max_size"),
                job: Text::from(self.text("store.job")),
            },
            query: self.query(),
            rules: Rules {
                files: self.paths("rules.files"),
                stock: self.bool("rules.stock"),
                interval: self.duration("rules.interval"),
                timeout: self.duration("rules.timeout"),
            },
            alerts: Alerts {
                group_by: match self.value("alerts.group_by") {
                    Value::Texts(names) => {
                        names.iter().map(|name| Text::from(name.as_str())).collect()
                    }
                    _ => Vec::new(),
                },
                group_wait: self.duration("alerts.group_wait"),
                group_interval: self.duration("alerts.group_interval"),
                repeat_interval: self.duration("alerts.repeat_interval"),
            },
            quiet_hours: match self.value("quiet_hours") {
                Value::QuietHours(windows) => windows.clone(),
                _ => Vec::new(),
            },
            collectors: self.collectors(on),
            process_groups: match self.value("process_groups") {
                Value::ProcessGroups(groups) => groups.clone(),
                _ => Vec::new(),
            },
            notifiers: match self.value("notify") {
                Value::Notifiers(notifiers) => notifiers.clone(),
                _ => Vec::new(),
            },
            remedies: match self.value("remedies") {
                Value::Remedies(remedies) => remedies.clone(),
                _ => Vec::new(),
            },
            probes: Probes { icmp: self.probes("probes.icmp"), tcp: self.probes("probes.tcp") },
            log: self.log(),
        }
    }

    fn web(&self) -> Web {
        Web {
            telemetry_path: self.text("web.telemetry_path").to_owned(),
            external_url: (!self.is_open("web.external_url"))
                .then(|| Text::from(self.text("web.external_url"))),
            allowed_hosts: self.allowed_hosts(),
            allowed_origin: (!self.is_open("web.allowed_origin"))
                .then(|| self.text("web.allowed_origin").to_owned()),
            max_connections: self.count("web.max_connections"),
            max_requests: self.count("web.max_requests"),
            header_timeout: self.duration("web.header_timeout"),
            request_timeout: self.duration("web.request_timeout"),
            body_limit: self.number("web.body_limit"),
            enable_remote_write_receiver: self.bool("web.enable_remote_write_receiver"),
            remote_write_body_limit: self.number("web.remote_write_body_limit"),
        }
    }

    fn door(&self) -> DoorFiles {
        let config_file = match self.value("web.config_file") {
            Value::Path(path) => Some(path.clone()),
            _ => None,
        };
        let bearer_token_files = self.paths("web.bearer_token_files");
        let allow_unauthenticated = self.bool("web.allow_unauthenticated");
        DoorFiles { config_file, bearer_token_files, allow_unauthenticated }
    }

    /// The machine's own name is what scrapers and people on the same network know it by. It opens
    /// no door: a stranger's page cannot be served under it.
    fn allowed_hosts(&self) -> Vec<String> {
        let mut hosts = self.texts("web.allowed_hosts");
        let own = self.text("host_name");
        // It may be any text, `*` too.
        if units::is_host(own) {
            hosts.push(own.to_owned());
        }
        hosts
    }

    fn journal(&self) -> Journal {
        let retention = |age, size| Retention { age: self.duration(age), size: self.number(size) };
        Journal {
            segment_size: self.number("journal.segment_size"),
            sync_interval: self.duration("journal.sync_interval"),
            reserve: self.number("journal.reserve"),
            compress: self.bool("journal.compress"),
            metrics: retention("journal.retention.age", "journal.retention.size"),
            events: retention("journal.events.retention.age", "journal.events.retention.size"),
            logs: retention("journal.logs.retention.age", "journal.logs.retention.size"),
            received: retention(
                "journal.received.retention.age",
                "journal.received.retention.size",
            ),
        }
    }

    fn query(&self) -> farol_web::Queries {
        farol_web::Queries {
            max_concurrency: self.count("query.max_concurrency"),
            timeout: self.duration("query.timeout"),
            max_samples: self.number("query.max_samples"),
            max_series: self.count("query.max_series"),
            lookback_delta: self.duration("query.lookback_delta"),
            log_slower_than: self.duration("query.log_slower_than"),
        }
    }

    fn collectors(&self, on: Vec<&'static str>) -> Collectors {
        Collectors {
            none: self.bool("collectors.none"),
            on,
            filesystem_mount_points_exclude: self
                .pattern("collectors.filesystem.mount_points_exclude"),
            filesystem_types_exclude: self.pattern("collectors.filesystem.fs_types_exclude"),
            diskstats_device_exclude: self.pattern("collectors.diskstats.device_exclude"),
            netdev_device_exclude: self.pattern("collectors.netdev.device_exclude"),
            netclass_ignored_devices: self.pattern("collectors.netclass.ignored_devices"),
            powersupply_ignored_supplies: self.pattern("collectors.powersupply.ignored_supplies"),
            systemd_unit_include: self.pattern("collectors.systemd.unit_include"),
            systemd_unit_exclude: self.pattern("collectors.systemd.unit_exclude"),
            systemd_start_times: self.bool("collectors.systemd.enable_start_time_metrics"),
            systemd_restarts: self.bool("collectors.systemd.enable_restarts_metrics"),
            systemd_tasks: self.bool("collectors.systemd.enable_task_metrics"),
            vmstat_fields: self.pattern("collectors.vmstat.fields"),
            netstat_fields: self.pattern("collectors.netstat.fields"),
            top_command: match self.text("collectors.top.command") {
                "full" => TopCommand::Full,
                "none" => TopCommand::None,
                _ => TopCommand::Program,
            },
            containers_socket: (!self.is_open("collectors.containers.socket"))
                .then(|| self.path("collectors.containers.socket")),
            containers_labels: self.texts("collectors.containers.labels"),
            cpu_info: self.bool("collectors.cpu.info"),
            textfile_directories: self.paths("collectors.textfile.directory"),
            compatibility: match self.text("collectors.compatibility") {
                "exact" => Compatibility::Exact,
                "labels" => Compatibility::Labels,
                _ => Compatibility::Names,
            },
        }
    }

    fn probes(&self, key: &str) -> Vec<Probe> {
        let finish = |draft: Draft| {
            let interval = draft.interval.unwrap_or(self.duration("probes.interval"));
            let timeout = draft.timeout.unwrap_or(self.duration("probes.timeout")).min(interval);
            Probe { target: draft.target, interval, timeout }
        };
        self.drafts(key).into_iter().map(finish).collect()
    }

    fn log(&self) -> Log {
        Log {
            level: match self.text("log.level") {
                "error" => Level::Error,
                "warn" => Level::Warn,
                "debug" => Level::Debug,
                "trace" => Level::Trace,
                _ => Level::Info,
            },
            format: match self.text("log.format") {
                "human" => Format::Human,
                "json" => Format::Json,
                _ => Format::Auto,
            },
            file: self.bool("log.file"),
            max_size: self.number("log.max_size"),
            keep: self.count("log.keep"),
        }
    }

    fn group(&self) -> Option<Group> {
        match self.value("group") {
            Value::Text(text) => Some(match text.parse() {
                Ok(id) => Group::Id(id),
                Err(_) => Group::Name(text.clone()),
            }),
            _ => None,
        }
    }

    fn effective(&self) -> Effective {
        let row = |key: &'static str| {
            let chosen = self.values.get(key)?;
            Some(Row { key, shown: chosen.shown.clone(), origin: chosen.source.to_string() })
        };
        Effective { rows: SETTINGS.iter().filter_map(|setting| row(setting.key)).collect() }
    }
}

// One value. A key of another kind than asked for yields an empty value; a test of the defaults
// keeps the two lists, the table's and this file's, equal.
impl Values {
    fn value(&self, key: &str) -> &Value {
        self.values.get(key).map_or(&Value::Nothing, |chosen| &chosen.value)
    }

    fn is_open(&self, key: &str) -> bool {
        *self.value(key) == Value::Nothing
    }

    fn is_default(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|chosen| matches!(chosen.source, Source::Default(_)))
    }

    fn duration(&self, key: &str) -> Duration {
        match self.value(key) {
            Value::Duration(duration) => *duration,
            _ => Duration::ZERO,
        }
    }

    fn number(&self, key: &str) -> u64 {
        match self.value(key) {
            Value::Number(number) => *number,
            _ => 0,
        }
    }

    fn count(&self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    fn bool(&self, key: &str) -> bool {
        *self.value(key) == Value::Bool(true)
    }

    fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Value::Text(text) => text,
            _ => "",
        }
    }

    fn texts(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Value::Texts(texts) => texts.clone(),
            _ => Vec::new(),
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        match self.value(key) {
            Value::Path(path) => path.clone(),
            _ => PathBuf::new(),
        }
    }

    fn paths(&self, key: &str) -> Vec<PathBuf> {
        match self.value(key) {
            Value::Paths(paths) => paths.clone(),
            _ => Vec::new(),
        }
    }

    fn pattern(&self, key: &str) -> Pattern {
        match self.value(key) {
            Value::Pattern(pattern) => pattern.clone(),
            _ => Pattern(regex::Regex::new("").expect("the empty pattern is a pattern")),
        }
    }

    fn drafts(&self, key: &str) -> Vec<Draft> {
        match self.value(key) {
            Value::Probes(drafts) => drafts.clone(),
            _ => Vec::new(),
        }
    }

    fn find_path(&mut self, key: &'static str, path: PathBuf, why: &'static str) {
        let shown = Path::display(&path).to_string();
        self.find(key, Value::Path(path), shown, why);
    }

    fn find(&mut self, key: &'static str, value: Value, shown: String, why: &'static str) {
        self.values.insert(key, Chosen { value, shown, source: Source::Default(why) });
    }

    fn complain(&mut self, key: &'static str, why: String) {
        let given = self.values.get(key).map(|chosen| chosen.source.clone());
        let source = given.unwrap_or(Source::Default(""));
        let sentence = match source {
            Source::Default(_) => why,
            _ => format!("{key}: {why}"),
        };
        self.problems.push(Problem { source, key: key.to_owned(), sentence, nearest: None });
    }
}
