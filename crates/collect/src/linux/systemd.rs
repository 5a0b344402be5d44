//! `systemd`: how many units are in which state, the state of each unit that is watched, and what
//! sockets, timers and services count. Source: the manager itself, by D-Bus
//! (`org.freedesktop.systemd1`, systemd's man page org.freedesktop.systemd1(5)).
//!
//! The system bus is open to everyone; where there is none, root can ask the manager at its own
//! socket. Both lie below the machine's `/run`. The connection is kept from tick to tick.

use std::{collections::HashMap, io, path::Path};

use farol_model::{Lane, Metric};
use regex::Regex;

use super::dbus::{Answer, Body, Call, Connection, Reader, Value};
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const UNITS_BY_STATE: &str = "node_systemd_units";
const UNIT_STATE: &str = "node_systemd_unit_state";
const RUNNING: &str = "node_systemd_system_running";
const VERSION: &str = "node_systemd_version";
const VIRTUALIZATION: &str = "node_systemd_virtualization_info";
const ACCEPTED: &str = "node_systemd_socket_accepted_connections_total";
const CONNECTIONS: &str = "node_systemd_socket_current_connections";
const REFUSED: &str = "node_systemd_socket_refused_connections_total";
const LAST_TRIGGER: &str = "node_systemd_timer_last_trigger_seconds";
const RESTARTS: &str = "node_systemd_service_restart_total";
const START_TIME: &str = "node_systemd_unit_start_time_seconds";
const TASKS: &str = "node_systemd_unit_tasks_current";
const MOST_TASKS: &str = "node_systemd_unit_tasks_max";

pub(crate) const ENTRY: Entry = Entry {
    name: "systemd",
    about: "state of systemd's units, sockets, timers and services",
    on: false,
    lane: Lane::Slow,
    scope: Scope::Root,
    reads: &["/run/dbus/system_bus_socket", "/run/systemd/private"],
    metrics: &[
        Metric::gauge(UNITS_BY_STATE, "", "Summary of systemd unit states"),
        Metric::gauge(UNIT_STATE, "", "Systemd unit"),
        Metric::gauge(
            RUNNING,
            "",
            "Whether the system is operational (see 'systemctl is-system-running')",
        ),
        Metric::gauge(VERSION, "", "Detected systemd version"),
        Metric::gauge(VIRTUALIZATION, "", "Detected virtualization technology"),
        Metric::counter(ACCEPTED, "", "Total number of accepted socket connections"),
        Metric::gauge(CONNECTIONS, "", "Current number of socket connections"),
        // A gauge, as node_exporter has it.
        Metric::gauge(REFUSED, "", "Total number of refused socket connections"),
        Metric::gauge(LAST_TRIGGER, "seconds", "Seconds since epoch of last trigger."),
        Metric::counter(RESTARTS, "", "Service unit count of Restart triggers"),
        Metric::gauge(START_TIME, "seconds", "Start time of the unit since unix epoch in seconds."),
        Metric::gauge(TASKS, "", "Current number of tasks per Systemd unit"),
        Metric::gauge(MOST_TASKS, "", "Maximum number of tasks per Systemd unit"),
    ],
    build,
};

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Systemd {
        include: whole(&options.systemd_unit_include)?,
        exclude: whole(&options.systemd_unit_exclude)?,
        wanted: PROPERTIES.iter().filter(|property| property.group.is_on(options)).collect(),
        manager: None,
    }))
}

/// node_exporter's patterns for units match the whole name.
fn whole(pattern: &Regex) -> Result<Regex, OptionsError> {
    let whole = format!("^(?:{})$", pattern.as_str());
    Regex::new(&whole).map_err(|error| OptionsError(format!("{whole}: {error}")))
}

struct Systemd {
    include: Regex,
    exclude: Regex,
    wanted: Vec<&'static Property>,
    manager: Option<Manager>,
}

/// A property of some units that becomes a metric.
struct Property {
    group: Group,
    /// Of the units' names.
    suffix: &'static str,
    interface: &'static str,
    name: &'static str,
    metric: &'static str,
    meaning: Meaning,
}

/// What is asked for, and what by an option only, since it costs a question per unit.
#[derive(Clone, Copy)]
enum Group {
    Always,
    StartTimes,
    Restarts,
    Tasks,
}

impl Group {
    fn is_on(self, options: &Options) -> bool {
        match self {
            Group::Always => true,
            Group::StartTimes => options.systemd_start_times,
            Group::Restarts => options.systemd_restarts,
            Group::Tasks => options.systemd_tasks,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Count,
    /// Microseconds since 1970; 0 is never.
    Moment,
}

const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const TIMER: &str = "org.freedesktop.systemd1.Timer";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

const PROPERTIES: &[Property] = &[
    of_sockets("NAccepted", ACCEPTED),
    of_sockets("NConnections", CONNECTIONS),
    of_sockets("NRefused", REFUSED),
    Property {
        group: Group::Always,
        suffix: ".timer",
        interface: TIMER,
        name: "LastTriggerUSec",
        metric: LAST_TRIGGER,
        meaning: Meaning::Moment,
    },
    Property {
        group: Group::StartTimes,
        suffix: "",
        interface: UNIT,
        name: "ActiveEnterTimestamp",
        metric: START_TIME,
        meaning: Meaning::Moment,
    },
    of_services(Group::Restarts, "NRestarts", RESTARTS),
    of_services(Group::Tasks, "TasksCurrent", TASKS),
    of_services(Group::Tasks, "TasksMax", MOST_TASKS),
];

const fn of_sockets(name: &'static str, metric: &'static str) -> Property {
    let (group, meaning) = (Group::Always, Meaning::Count);
    Property { group, suffix: ".socket", interface: SOCKET, name, metric, meaning }
}

const fn of_services(group: Group, name: &'static str, metric: &'static str) -> Property {
    let (suffix, meaning) = (".service", Meaning::Count);
    Property { group, suffix, interface: SERVICE, name, metric, meaning }
}

impl Property {
    fn is_of(&self, unit: &Unit) -> bool {
        let runs = self.metric != START_TIME || unit.state == "active";
        unit.name.ends_with(self.suffix) && runs
    }

    /// What the manager does not count it gives as the largest number.
    fn value(&self, answer: &Answer) -> Option<f64> {
        let number = match answer.as_ref().ok()?.property().ok()? {
            Value::Number(number) if number != u64::MAX => number,
            Value::Number(_) | Value::Text(_) => return None,
        };
        match self.meaning {
            Meaning::Count => Some(number as f64),
            Meaning::Moment => (number > 0).then_some(number as f64 / 1e6),
        }
    }
}

impl Collector for Systemd {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        // A kept connection breaks when the bus or the manager starts anew: then it is made again.
        if let Some(mut manager) = self.manager.take()
            && let Ok(survey) = self.survey(&mut manager)
        {
            push(out, &manager, &survey);
            self.manager = Some(manager);
            return Ok(());
        }
        let mut manager = Manager::connect(host)?;
        let survey = self.survey(&mut manager).map_err(|error| failed(&error))?;
        push(out, &manager, &survey);
        self.manager = Some(manager);
        Ok(())
    }
}

fn failed(error: &io::Error) -> CollectError {
    CollectError::Failed(format!("systemd: {error}"))
}

/// What is asked for at every tick.
struct Survey {
    /// Units by state, in order of the states' names.
    units_by_state: Vec<(String, usize)>,
    running: Option<bool>,
    watched: Vec<Unit>,
    /// Index into `watched`, metric and value.
    values: Vec<(usize, &'static str, f64)>,
}

impl Systemd {
    fn survey(&self, manager: &mut Manager) -> io::Result<Survey> {
        let units = manager.units()?;
        let units_by_state = count(&units);
        let running = manager.property("SystemState")?.map(|state| state == "running");
        let mut watched: Vec<Unit> =
            units.into_iter().filter(|unit| self.is_watched(unit)).collect();
        watched.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        manager.learn_kinds(&watched)?;
        let values = self.values(manager, &watched)?;
        Ok(Survey { units_by_state, running, watched, values })
    }

    fn is_watched(&self, unit: &Unit) -> bool {
        unit.is_loaded && self.include.is_match(&unit.name) && !self.exclude.is_match(&unit.name)
    }

    fn values(
        &self,
        manager: &mut Manager,
        watched: &[Unit],
    ) -> io::Result<Vec<(usize, &'static str, f64)>> {
        let mut asked: Vec<(usize, &'static Property)> = Vec::new();
        for (index, unit) in watched.iter().enumerate() {
            let wanted = self.wanted.iter().filter(|property| property.is_of(unit));
            asked.extend(wanted.map(|property| (index, *property)));
        }
        let questions: Vec<Question<'_>> = asked
            .iter()
            .map(|(index, property)| Question {
                path: &watched[*index].path,
                words: [property.interface, property.name],
            })
            .collect();
        // A unit can go in between, and old managers do not know every property.
        let answers = manager.ask(&questions)?;
        let values = asked.iter().zip(&answers).filter_map(|((index, property), answer)| {
            Some((*index, property.metric, property.value(answer)?))
        });
        Ok(values.collect())
    }
}

const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// These states are always told; others (`reloading`, `maintenance`) when a unit is in one.
fn count(units: &[Unit]) -> Vec<(String, usize)> {
    let mut counts: HashMap<&str, usize> = STATES.into_iter().map(|state| (state, 0)).collect();
    for unit in units {
        *counts.entry(&unit.state).or_default() += 1;
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|(state, count)| (state.to_owned(), count)).collect();
    counts.sort_unstable();
    counts
}

fn push(out: &mut Scrape, manager: &Manager, survey: &Survey) {
    if let Some(number) = version_number(&manager.version) {
        out.push(VERSION, &[("version", &manager.version)], number);
    }
    if let Some(kind) = &manager.virtualization {
        out.push(VIRTUALIZATION, &[("virtualization_type", kind)], 1.0);
    }
    if let Some(running) = survey.running {
        out.push(RUNNING, &[], f64::from(u8::from(running)));
    }
    for (state, count) in &survey.units_by_state {
        out.push(UNITS_BY_STATE, &[("state", state)], *count as f64);
    }
    for unit in &survey.watched {
        let kind = manager.kinds.get(&unit.path).map_or("", |kind| kind.name.as_str());
        for state in STATES {
            let labels = [("name", unit.name.as_str()), ("state", state), ("type", kind)];
            out.push(UNIT_STATE, &labels, f64::from(u8::from(unit.state == state)));
        }
    }
    for (index, metric, value) in &survey.values {
        out.push(metric, &[("name", &survey.watched[*index].name)], *value);
    }
}

/// `252.38-1~deb12u1` → 252.38: three digits and more, and what follows a dot.
fn version_number(version: &str) -> Option<f64> {
    let runs = version.split(|character: char| !character.is_ascii_digit() && character != '.');
    runs.filter_map(|run| {
        let (whole, fraction) = run.split_once('.').unwrap_or((run, ""));
        let fraction = fraction.split('.').next().unwrap_or_default();
        (whole.len() >= 3).then(|| format!("{whole}.{fraction}0").parse().ok())?
    })
    .next()
}

/// The manager, and what is remembered of it.
struct Manager {
    connection: Connection,
    version: String,
    virtualization: Option<String>,
    /// Of services and mounts, by path. A unit's file can be changed while it runs, so they are
    /// asked for again now and then.
    kinds: HashMap<String, Kind>,
    ticks: u64,
}

struct Kind {
    /// `oneshot`, `ext4`; empty where the unit says none.
    name: String,
    asked_at: u64,
}

const TICKS_BETWEEN_KINDS: u64 = 60;

const DESTINATION: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A property of the object at `path`: its interface and its name.
struct Question<'a> {
    path: &'a str,
    words: [&'a str; 2],
}

impl Manager {
    fn connect(host: &Host) -> Result<Manager, CollectError> {
        let bus = host.run.join("dbus/system_bus_socket");
        let private = host.run.join("systemd/private");
        let connection = match Connection::to_bus(&bus) {
            Err(error) if is_nobody(&error) => match Connection::to_service(&private) {
                // Containers and machines of another init have neither.
                Err(error) if is_nobody(&error) => return Err(absent(&bus)),
                other => other.map_err(|error| CollectError::reading(&private, &error))?,
            },
            other => other.map_err(|error| CollectError::reading(&bus, &error))?,
        };
        let mut manager = Manager {
            connection,
            version: String::new(),
            virtualization: None,
            kinds: HashMap::new(),
            ticks: 0,
        };
        let version = manager.property("Version").map_err(|error| failed(&error))?;
        manager.version = version.ok_or_else(|| {
            CollectError::Absent("the bus knows no systemd: another init runs here".into())
        })?;
        let kind = manager.property("Virtualization").map_err(|error| failed(&error))?;
        // On bare metal it is empty.
        manager.virtualization =
            kind.map(|kind| if kind.is_empty() { "none".to_owned() } else { kind });
        Ok(manager)
    }

    fn units(&mut self) -> io::Result<Vec<Unit>> {
        self.ticks += 1;
        let call = Call {
            destination: DESTINATION,
            path: OBJECT,
            interface: MANAGER,
            member: "ListUnits",
            arguments: &[],
        };
        match self.connection.call(&call)? {
            Ok(body) => units_of(&body),
            Err(error) => Err(io::Error::other(format!("ListUnits is refused: {error}"))),
        }
    }

    /// A text that the manager says of itself; `None` where it knows no such property.
    fn property(&mut self, name: &str) -> io::Result<Option<String>> {
        let question = Question { path: OBJECT, words: [MANAGER, name] };
        let answers = self.ask(&[question])?;
        match answers.first() {
            Some(Ok(body)) => match body.property()? {
                Value::Text(text) => Ok(Some(text.to_owned())),
                Value::Number(_) => Ok(None),
            },
            Some(Err(_)) | None => Ok(None),
        }
    }

    fn ask(&mut self, questions: &[Question<'_>]) -> io::Result<Vec<Answer>> {
        let calls: Vec<Call<'_>> = questions
            .iter()
            .map(|question| Call {
                destination: DESTINATION,
                path: question.path,
                interface: "org.freedesktop.DBus.Properties",
                member: "Get",
                arguments: &question.words,
            })
            .collect();
        self.connection.call_all(&calls)
    }

    fn learn_kinds(&mut self, watched: &[Unit]) -> io::Result<()> {
        let now = self.ticks;
        self.kinds.retain(|_, kind| now - kind.asked_at < TICKS_BETWEEN_KINDS);
        let unknown: Vec<&Unit> = watched
            .iter()
            .filter(|unit| unit.interface_of_kind().is_some())
            .filter(|unit| !self.kinds.contains_key(&unit.path))
            .collect();
        let questions: Vec<Question<'_>> = unknown
            .iter()
            .filter_map(|unit| {
                Some(Question { path: &unit.path, words: [unit.interface_of_kind()?, "Type"] })
            })
            .collect();
        let answers = self.ask(&questions)?;
        for (unit, answer) in unknown.iter().zip(answers) {
            let body = answer.unwrap_or_default();
            let name = match body.property() {
                Ok(Value::Text(kind)) => kind.to_owned(),
                _ => String::new(),
            };
            self.kinds.insert(unit.path.clone(), Kind { name, asked_at: now });
        }
        Ok(())
    }
}

/// Whether nobody listens there: no socket, or one that its owner left behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn absent(bus: &Path) -> CollectError {
    CollectError::Absent(format!("nobody listens at {}", bus.display()))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    name: String,
    is_loaded: bool,
    state: String,
    path: String,
}

impl Unit {
    /// Where to ask for its type, if such units have one.
    fn interface_of_kind(&self) -> Option<&'static str> {
        match self.name.rsplit_once('.')?.1 {
            "service" => Some(SERVICE),
            "mount" => Some("org.freedesktop.systemd1.Mount"),
            _ => None,
        }
    }
}

/// Name, description, load state, active state, sub state, followed unit, path, and three of a
/// job.
pub(super) const UNITS: &str = "a(ssssssouso)";

pub(super) fn units_of(body: &Body) -> io::Result<Vec<Unit>> {
    body.structures(UNITS, Unit::read)
}

impl Unit {
    fn read(reader: &mut Reader<'_>) -> io::Result<Unit> {
        let name = reader.string()?.to_owned();
        let _description = reader.string()?;
        let is_loaded = reader.string()? == "loaded";
        let state = reader.string()?.to_owned();
        let _sub_state = reader.string()?;
        let _following = reader.string()?;
        let path = reader.string()?.to_owned();
        let _job = reader.u32()?;
        let _job_type = reader.string()?;
        let _job_path = reader.string()?;
        Ok(Unit { name, is_loaded, state, path })
    }
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    for line in text.lines() {
        version_number(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_of_three_digits_and_its_fraction() {
        assert_eq!(version_number("252.38-1~deb12u1"), Some(252.38));
        assert_eq!(version_number("systemd 219"), Some(219.0));
        assert_eq!(version_number("255.4.1"), Some(255.4));
        assert_eq!(version_number("v257-rc1"), Some(257.0));
        assert_eq!(version_number("12.1"), None);
        assert_eq!(version_number(""), None);
    }

    #[test]
    fn every_state_is_counted_also_when_no_unit_is_in_it() {
        let unit = |state: &str| Unit {
            name: "a.service".into(),
            is_loaded: true,
            state: state.into(),
            path: "/a".into(),
        };
        let counts = count(&[unit("active"), unit("active"), unit("reloading")]);
        let counts: Vec<_> = counts.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        assert_eq!(
            counts,
            [
                ("activating", 0),
                ("active", 2),
                ("deactivating", 0),
                ("failed", 0),
                ("inactive", 0),
                ("reloading", 1),
            ]
        );
    }

    #[test]
    fn patterns_match_the_whole_name() {
        let options = Options::default();
        let exclude = whole(&options.systemd_unit_exclude).unwrap();
        assert!(exclude.is_match("dev-sda.device"));
        assert!(!exclude.is_match("dev-sda.device.service"));
    }

    #[test]
    fn a_machine_without_systemd_is_absent_with_a_reason() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        let result = build(&Options::default()).unwrap().collect(&host, &mut Scrape::new());
        assert!(
            matches!(&result, Err(CollectError::Absent(reason)) if reason.contains("dbus")),
            "{result:?}"
        );
    }
}
