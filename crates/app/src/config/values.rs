//! One given value, read as its setting's type: from a node of text to a [`Value`], or to problems
//! that name the place, the key and the way out.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use farol_collect::COLLECTORS;
use farol_wire::yaml::{Content, Key, Node};
use regex::Regex;

use super::{
    nearest,
    problem::{Problem, Source},
    quoted,
    secret::{Expanded, Expander},
    settings::{GROUP_FIELDS, Kind, PROBE_FIELDS, Setting, TextRule},
    types::{Notifier, Pattern, ProcessGroup, QuietHours, Remedy, Target},
    units::{self, Wrong},
};

mod notifiers;
mod quiet_hours;
mod remedies;

/// A value of any kind; which one is decided by the setting's row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Not given, and no default: found out by `build`.
    Nothing,
    Text(String),
    Path(PathBuf),
    Paths(Vec<PathBuf>),
    Duration(Duration),
    Number(u64),
    Bool(bool),
    Pattern(Pattern),
    Addresses(Vec<SocketAddr>),
    Texts(Vec<String>),
    Collectors(Vec<&'static str>),
    Probes(Vec<Draft>),
    ProcessGroups(Vec<ProcessGroup>),
    QuietHours(Vec<QuietHours>),
    Notifiers(Vec<Notifier>),
    Remedies(Vec<Remedy>),
}

/// A probe that may leave its times to `probes.interval` and `probes.timeout`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) target: Target,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
}

/// A value and how `farol config` shows it: secrets redacted.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) shown: String,
}

/// Reads one node; what is wrong is added to `problems`, and then there is no value.
pub(super) fn parse(
    setting: &'static Setting,
    node: &Node,
    source: &Source,
    expander: &Expander<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Parsed> {
    Reading { setting, source, expander, problems }.parse(node)
}

/// A text from a variable or a flag as the node it would be in a file: lists are comma-separated,
/// `none` is the empty one.
pub(super) fn node_of(setting: &Setting, text: &str) -> Node {
    if !setting.kind.is_list() {
        return Node::scalar(text);
    }
    if text.trim() == "none" {
        return Node::list(Vec::new());
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Node::list(items.map(Node::scalar).collect())
}

/// Far more than anyone lists by hand.
const MOST_ITEMS: usize = 1000;
/// Each is a family of series, and each process is matched against all.
const MOST_GROUPS: usize = 100;
/// Each is a task of its own.
const MOST_NOTIFIERS: usize = 100;

struct Reading<'a> {
    setting: &'static Setting,
    /// Where the whole value stands; a node with a mark of its own is more exact.
    source: &'a Source,
    expander: &'a Expander<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn parse(&mut self, node: &Node) -> Option<Parsed> {
        let key = self.setting.key;
        match self.setting.kind {
            Kind::Text(rule) => {
                self.one(node, key, |text| checked(rule, text), Clone::clone, Value::Text)
            }
            Kind::Path => self.one(node, key, path, |path| path.display().to_string(), Value::Path),
            Kind::Paths => self.many(node, path, |path| path.display().to_string(), Value::Paths),
            Kind::Duration { least, most } => self.one(
                node,
                key,
                |text| bounded(units::duration(text)?, least, most, units::show_duration),
                |duration| units::show_duration(*duration),
                Value::Duration,
            ),
            Kind::Size { least, most } => self.one(
                node,
                key,
                |text| bounded(units::size(text)?, least, most, units::show_size),
                |size| units::show_size(*size),
                Value::Number,
            ),
            Kind::Count { least, most } => self.one(
                node,
                key,
                |text| bounded(units::count(text)?, least, most, |count| count.to_string()),
                u64::to_string,
                Value::Number,
            ),
            Kind::Bool => self.one(node, key, units::boolean, bool::to_string, Value::Bool),
            Kind::Choice(words) => {
                self.one(node, key, |text| choice(words, text), Clone::clone, Value::Text)
            }
            Kind::Pattern => self.one(
                node,
                key,
                pattern,
                |pattern| pattern.0.as_str().to_owned(),
                Value::Pattern,
            ),
            Kind::Addresses => {
                self.many(node, units::address, SocketAddr::to_string, Value::Addresses)
            }
            Kind::Hosts => self.many(node, host, Clone::clone, Value::Texts),
            Kind::Labels => self.labels(node),
            Kind::Collectors => {
                self.many(node, collector, |name| (*name).to_owned(), Value::Collectors)
            }
            Kind::IcmpProbes => self.probes(node, units::icmp_target),
            Kind::TcpProbes => self.probes(node, units::tcp_target),
            Kind::ProcessGroups => self.items(node, MOST_GROUPS, Self::group, Value::ProcessGroups),
            Kind::LabelNames => self.many(node, label_name, Clone::clone, Value::Texts),
            Kind::QuietHours => self.items(node, MOST_GROUPS, Self::quiet_hours, Value::QuietHours),
            Kind::Notifiers => self.items(node, MOST_NOTIFIERS, Self::notifier, Value::Notifiers),
            Kind::Remedies => self.items(node, MOST_GROUPS, Self::remedy, Value::Remedies),
        }
    }

    fn one<T>(
        &mut self,
        node: &Node,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
        wrap: impl Fn(T) -> Value,
    ) -> Option<Parsed> {
        let (value, shown) = self.scalar(node, key, read, show)?;
        Some(Parsed { value: wrap(value), shown })
    }

    /// A list; one value without a list is a list of one. All items are looked at before giving up.
    fn many<T>(
        &mut self,
        node: &Node,
        read: impl Fn(&str) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
        wrap: impl Fn(Vec<T>) -> Value,
    ) -> Option<Parsed> {
        let key = self.setting.key;
        let read = |reading: &mut Self, item: &Node| {
            let (value, shown) = reading.scalar(item, key, &read, &show)?;
            let identity = show(&value);
            Some((value, shown, identity))
        };
        self.items(node, MOST_ITEMS, read, wrap)
    }

    /// Each is one more label of every series of a container.
    fn labels(&mut self, node: &Node) -> Option<Parsed> {
        const MOST: usize = 32;
        let read = |text: &str| checked(TextRule::Label, text);
        let parsed = self.many(node, read, Clone::clone, Value::Texts)?;
        if matches!(&parsed.value, Value::Texts(labels) if labels.len() > MOST) {
            self.complain(node, self.setting.key, format!("has more than {MOST} items"));
            return None;
        }
        Some(parsed)
    }

    fn probes(
        &mut self,
        node: &Node,
        read: impl Fn(&str) -> Result<Target, Wrong>,
    ) -> Option<Parsed> {
        let read = |reading: &mut Self, item: &Node| reading.probe(item, &read);
        self.items(node, MOST_ITEMS, read, Value::Probes)
    }

    /// `read` yields the value, how it is shown, and what no other item may equal.
    fn items<T>(
        &mut self,
        node: &Node,
        most: usize,
        mut read: impl FnMut(&mut Self, &Node) -> Option<(T, String, String)>,
        wrap: impl Fn(Vec<T>) -> Value,
    ) -> Option<Parsed> {
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            Content::Empty | Content::Refused | Content::Scalar(_) | Content::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        if items.len() > most {
            let why = format!("has more than {most} items");
            self.complain(node, self.setting.key, why);
            return None;
        }
        let mut values = Vec::new();
        let mut shown = Vec::new();
        let mut seen = HashSet::new();
        for item in items {
            let Some((value, text, identity)) = read(self, item) else { continue };
            if !seen.insert(identity) {
                self.complain(item, self.setting.key, format!("{} stands twice", quoted(&text)));
            }
            values.push(value);
            shown.push(text);
        }
        let whole = values.len() == items.len() && seen.len() == items.len();
        let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
        whole.then(|| Parsed { value: wrap(values), shown })
    }

    /// A target alone, or a mapping of [`PROBE_FIELDS`]. Two probes of one target would be one
    /// series, so the target alone must be unique.
    fn probe(
        &mut self,
        node: &Node,
        read: &impl Fn(&str) -> Result<Target, Wrong>,
    ) -> Option<(Draft, String, String)> {
        let key = self.setting.key;
        let Content::Map(pairs) = &node.content else {
            let (target, shown) = self.scalar(node, key, read, units::show_target)?;
            let identity = units::show_target(&target);
            return Some((Draft { target, interval: None, timeout: None }, shown, identity));
        };
        let faults = self.problems.len();
        let (mut target, mut interval, mut timeout) = (None, None, None);
        for (field, value) in pairs {
            let name = format!("{key}.{}", field.text);
            match field.text.as_str() {
                "target" => target = self.scalar(value, &name, read, units::show_target),
                "interval" => interval = self.time(value, &name, "probes.interval"),
                "timeout" => timeout = self.time(value, &name, "probes.timeout"),
                _ => self.unknown_field(field, name, "a probe", PROBE_FIELDS),
            }
        }
        if self.problems.len() > faults {
            return None;
        }
        let Some((target, mut shown)) = target else {
            self.complain(node, key, "the probe has no target".to_owned());
            return None;
        };
        for (name, time) in [("every", interval), ("within", timeout)] {
            if let Some(time) = time {
                shown.push_str(&format!(" {name} {}", units::show_duration(time)));
            }
        }
        let identity = units::show_target(&target);
        Some((Draft { target, interval, timeout }, shown, identity))
    }

    fn unknown_field(&mut self, field: &Key, key: String, what: &str, known: &[&str]) {
        let source = self.place(field.mark.line, field.mark.column);
        let nearest = nearest(&field.text, known.iter().copied());
        let given = quoted(&field.text);
        let sentence = match nearest {
            Some(_) => format!("{what} has no {given}"),
            None => format!("{what} has no {given}, only {}", known.join(", ")),
        };
        self.problems.push(Problem { source, key, sentence, nearest });
    }

    /// A name alone, or a mapping of [`GROUP_FIELDS`]. Two groups of one name would be one series.
    fn group(&mut self, node: &Node) -> Option<(ProcessGroup, String, String)> {
        let key = self.setting.key;
        let named = |text: &str| checked(TextRule::Label, text);
        let Content::Map(pairs) = &node.content else {
            let (name, shown) = self.scalar(node, key, named, Clone::clone)?;
            let process = Some(Pattern(just(&name)));
            let group = ProcessGroup { name: name.clone(), process, unit: None, user: None };
            return Some((group, shown, name));
        };
        let faults = self.problems.len();
        let (mut name, mut process, mut unit, mut user) = (None, None, None, None);
        for (field, value) in pairs {
            let full = format!("{key}.{}", field.text);
            let slot = match field.text.as_str() {
                "name" => {
                    name = self.scalar(value, &full, named, Clone::clone);
                    continue;
                }
                "process" => &mut process,
                "unit" => &mut unit,
                "user" => &mut user,
                _ => {
                    self.unknown_field(field, full, "a process group", GROUP_FIELDS);
                    continue;
                }
            };
            *slot = self.scalar(value, &full, pattern, |pattern| pattern.0.as_str().to_owned());
        }
        if self.problems.len() > faults {
            return None;
        }
        let Some((name, mut shown)) = name else {
            self.complain(node, key, "the process group has no name".to_owned());
            return None;
        };
        let given = [("process", &process), ("unit", &unit), ("user", &user)];
        if given.iter().all(|(_, pattern)| pattern.is_none()) {
            let why = format!(
                "the process group {} has no pattern; give it a process, a unit or a user",
                quoted(&name)
            );
            self.complain(node, key, why);
            return None;
        }
        for (word, pattern) in given {
            if let Some((_, pattern)) = pattern {
                shown.push_str(&format!(" {word} {pattern}"));
            }
        }
        let [process, unit, user] =
            [process, unit, user].map(|given| given.map(|(pattern, _)| pattern));
        Some((ProcessGroup { name: name.clone(), process, unit, user }, shown, name))
    }

    /// A duration with the bounds of the setting it stands in for.
    fn time(&mut self, node: &Node, key: &str, like: &str) -> Option<Duration> {
        let (least, most) = match Setting::of(like).map(|setting| setting.kind) {
            Some(Kind::Duration { least, most }) => (least, most),
            _ => (Duration::ZERO, Duration::MAX),
        };
        let read = |text: &str| bounded(units::duration(text)?, least, most, units::show_duration);
        Some(self.scalar(node, key, read, |time| units::show_duration(*time))?.0)
    }

    fn scalar<T>(
        &mut self,
        node: &Node,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
    ) -> Option<(T, String)> {
        let text = self.text(node, key)?;
        let expanded = match self.expander.expand(&text) {
            Ok(expanded) => expanded,
            Err(why) => {
                self.complain(node, key, why);
                return None;
            }
        };
        match read(expanded.text.expose()) {
            Ok(value) if expanded.secret => Some((value, expanded.shown)),
            Ok(value) => {
                let shown = show(&value);
                Some((value, shown))
            }
            Err(wrong) => {
                self.wrong(node, key, &expanded, wrong);
                None
            }
        }
    }

    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        let why = match &node.content {
            Content::Scalar(text) if text.contains(char::REPLACEMENT_CHARACTER) => {
                "is not UTF-8".to_owned()
            }
            Content::Scalar(text) => return Some(text.clone()),
            Content::Refused => return None,
            Content::Empty => "has no value; leave it out for the default".to_owned(),
            Content::List(_) => "wants one value, not a list".to_owned(),
            Content::Map(_) => "wants a value, not further keys".to_owned(),
        };
        let sentence = format!("{key} {why}");
        let source = self.place(node.mark.line, node.mark.column);
        self.problems.push(Problem { source, key: key.to_owned(), sentence, nearest: None });
        None
    }

    fn wrong(&mut self, node: &Node, key: &str, expanded: &Expanded, wrong: Wrong) {
        let sentence = format!("{key}: {} {}", quoted(&expanded.shown), wrong.why);
        let source = self.place(node.mark.line, node.mark.column);
        // The nearest valid word would tell most of a secret.
        let nearest = wrong.nearest.filter(|_| !expanded.secret);
        self.problems.push(Problem { source, key: key.to_owned(), sentence, nearest });
    }

    fn complain(&mut self, node: &Node, key: &str, why: String) {
        let source = self.place(node.mark.line, node.mark.column);
        let sentence = format!("{key}: {why}");
        self.problems.push(Problem { source, key: key.to_owned(), sentence, nearest: None });
    }

    fn place(&self, line: usize, column: usize) -> Source {
        match self.source {
            Source::File { path, .. } => Source::File { path: path.clone(), line, column },
            source => source.clone(),
        }
    }
}

fn bounded<T: PartialOrd>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Result<T, Wrong> {
    if value < least {
        return Err(Wrong::new(format!("is less than {}", show(least))));
    }
    if value > most {
        return Err(Wrong::new(format!("is more than {}", show(most))));
    }
    Ok(value)
}

fn checked(rule: TextRule, text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("is empty"));
    }
    if text.len() > 255 {
        return Err(Wrong::new("is longer than 255 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("holds a control character"));
    }
    match rule {
        TextRule::Label => Ok(text.to_owned()),
        TextRule::Group => group(text),
        TextRule::UrlPath => url_path(text),
        TextRule::Origin => origin(text),
        TextRule::Url => url(text),
    }
}

fn group(text: &str) -> Result<String, Wrong> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && text.parse::<u32>().is_err() {
        return Err(Wrong::new("is too large for a group's number"));
    }
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_-.$".contains(c);
    match text.chars().all(is_inner) && !text.starts_with('-') {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("is not a group's name or number")),
    }
}

/// As a browser sends it: a scheme, a host, perhaps a port, and nothing after them.
fn origin(text: &str) -> Result<String, Wrong> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    let is_origin = host.is_some_and(|host| !host.is_empty() && host.chars().all(is_inner));
    match text == "*" || is_origin {
        true => Ok(text.to_owned()),
        false => Err(Wrong {
            why: "is not an origin: http:// or https:// and a host in lower case, or *".into(),
            nearest: text.strip_suffix('/').filter(|text| origin(text).is_ok()).map(str::to_owned),
        }),
    }
}

/// Where people find a page: without a slash at its end, so that paths can be added.
fn url(text: &str) -> Result<String, Wrong> {
    match farol_act::notify::Endpoint::new(text) {
        Ok(_) if !text.contains(['?', '#', '@']) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(Wrong::new("is not a URL: http:// or https://, a host, perhaps a path")),
    }
}

fn url_path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong {
            why: "does not start with /".into(),
            nearest: Some(format!("/{text}")),
        });
    }
    // The server's fixed answers; it would refuse to start.
    let is_taken = matches!(text, "/" | "/health" | "/ready" | "/api/v1" | "/api/v2")
        || ["/-/", "/api/v1/", "/api/v2/"].iter().any(|taken| text.starts_with(taken));
    if is_taken {
        return Err(Wrong::new("is the path of another answer"));
    }
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    match text.chars().all(is_inner) {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("is not a plain path: letters, digits and / - _ . ~ only")),
    }
}

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("is empty"));
    }
    if text.starts_with('~') {
        return Err(Wrong::new("starts with ~, which only a shell expands; write the whole path"));
    }
    if text.contains('\0') {
        return Err(Wrong::new("holds a NUL character"));
    }
    Ok(PathBuf::from(text))
}

fn choice(words: &[&str], text: &str) -> Result<String, Wrong> {
    // node_exporter's word for what is neither JSON nor meant for a machine alone.
    let text = if text == "logfmt" && words.contains(&"human") { "human" } else { text };
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    let why = format!("is none of {}", words.join(", "));
    Err(Wrong { why, nearest: nearest(text, words.iter().copied()) })
}

fn pattern(text: &str) -> Result<Pattern, Wrong> {
    Regex::new(text).map(Pattern).map_err(|error| Wrong::new(pattern_fault(&error)))
}

/// Matches the processes of a program of this name, of which the kernel keeps 15 bytes.
fn just(program: &str) -> Regex {
    const KEPT: usize = 15;
    let kept = program.get(..program.floor_char_boundary(KEPT)).unwrap_or(program);
    let pattern = format!("^{}$", regex::escape(kept));
    Regex::new(&pattern).expect("an escaped text is a pattern")
}

/// The last line of the engine's drawing is its reason: `error: unclosed group`.
fn pattern_fault(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("is not a pattern: {reason}")
}

/// A name, an address, or `*` for all.
fn host(text: &str) -> Result<String, Wrong> {
    if text == "*" || units::is_host(text) || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    let why = match text.contains(':') {
        true => "is not a host name; leave out the scheme and the port",
        false => "is not a host name",
    };
    Err(Wrong::new(why))
}

/// Of a label, or `...` for all there are.
fn label_name(text: &str) -> Result<String, Wrong> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = text.chars().all(is_word)
        && text.chars().next().is_some_and(|first| !first.is_ascii_digit());
    match is_name || text == "..." {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("is not a label's name, nor `...` for all")),
    }
}

fn collector(text: &str) -> Result<&'static str, Wrong> {
    let mut names = COLLECTORS.iter().map(|entry| entry.name);
    names.find(|name| *name == text).ok_or_else(|| Wrong {
        why: "is not a collector".into(),
        nearest: nearest(text, COLLECTORS.iter().map(|entry| entry.name)),
    })
}
