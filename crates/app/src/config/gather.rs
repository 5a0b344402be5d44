//! The sources, lowest first: defaults, file, environment, flags. Each yields (setting, node,
//! source); the last given wins, except for the lists of collectors, which add up.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use farol_wire::yaml::{self, Content, Mark, Node};

use super::{
    Inputs,
    flags::{FlagRow, Sets, flags},
    nearest,
    problem::{Problem, Source},
    quoted, reason,
    secret::Expander,
    settings::{SETTINGS, Setting},
    units,
    values::{self, Parsed, Value},
};

/// Where a configuration is looked for when nobody names one.
pub(super) const USUAL_FILE: &str = "/etc/farol/farol.yml";

/// Far more than anyone writes by hand.
const MOST_BYTES: u64 = 1024 * 1024;

/// A file of the wrong kind is given up after so many problems.
const MOST_PROBLEMS: usize = 200;

/// What all sources together say.
pub(super) struct Gathered {
    pub(super) values: BTreeMap<&'static str, Chosen>,
    /// In order of precedence: what was said later counts.
    pub(super) collectors: Vec<Switch>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    pub(super) file: Option<PathBuf>,
}

/// The value that won.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) value: Value,
    pub(super) shown: String,
    pub(super) source: Source,
}

/// One source's word on some collectors.
pub(super) struct Switch {
    pub(super) on: bool,
    pub(super) names: Vec<&'static str>,
    pub(super) source: Source,
}

pub(super) fn gather(inputs: &Inputs<'_>) -> Gathered {
    let expander = Expander {
        environment: &inputs.environment,
        read: inputs.facts.read,
        named: Default::default(),
    };
    let mut gathering = Gathering {
        inputs,
        expander,
        gathered: Gathered {
            values: BTreeMap::new(),
            collectors: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            file: None,
        },
    };
    gathering.defaults();
    gathering.file();
    gathering.environment();
    gathering.flags();
    gathering.misspelt_variables();
    gathering.gathered
}

struct Gathering<'a> {
    inputs: &'a Inputs<'a>,
    expander: Expander<'a>,
    gathered: Gathered,
}

impl Gathering<'_> {
    fn defaults(&mut self) {
        for setting in SETTINGS {
            let source = Source::Default("");
            if setting.default.is_empty() {
                let shown = "none".to_owned();
                let chosen = Chosen { value: Value::Nothing, shown, source };
                self.gathered.values.insert(setting.key, chosen);
            } else {
                self.give(setting, &values::node_of(setting, setting.default), source);
            }
        }
    }

    fn file(&mut self) {
        let (path, named_by) = self.which_file();
        let read = (self.inputs.facts.read)(&path, MOST_BYTES + 1);
        let missing = matches!(&read, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if missing && named_by.is_none() {
            return;
        }
        self.gathered.file = Some(path.clone());
        match content(read) {
            Ok(text) => self.tree(&path, &text),
            Err(fault) => {
                let by = named_by.map(|source| format!(" (named by {source})")).unwrap_or_default();
                self.fault(&path, fault.mark, "", format!("{}{by}", fault.sentence), None);
            }
        }
    }

    /// The file, and who named it.
    fn which_file(&self) -> (PathBuf, Option<Source>) {
        let is_file_flag = |name: &str| {
            flags().iter().any(|row| row.name == name && matches!(row.sets, Sets::ConfigFile))
        };
        let flag = self.inputs.flags.iter().rev().find(|(name, _)| is_file_flag(name));
        if let Some((name, path)) = flag {
            return (path.into(), Some(Source::Flag(name.clone())));
        }
        let variable = self.inputs.environment.get("FAROL_CONFIG").filter(|path| !path.is_empty());
        if let Some(path) = variable {
            return (path.into(), Some(Source::Environment("FAROL_CONFIG".into())));
        }
        (USUAL_FILE.into(), None)
    }

    fn tree(&mut self, path: &Path, text: &str) {
        let (root, faults) = yaml::parse(text);
        for fault in faults.into_iter().take(MOST_PROBLEMS) {
            self.fault(path, fault.mark, "", fault.sentence, None);
        }
        match &root.content {
            Content::Empty | Content::Refused => {}
            Content::Map(_) => self.section(path, "", &root),
            Content::Scalar(_) | Content::List(_) => {
                let sentence = "a configuration is made of \"key: value\" lines".to_owned();
                self.fault(path, root.mark, "", sentence, None);
            }
        }
        self.gathered.problems.sort();
    }

    fn section(&mut self, path: &Path, prefix: &str, node: &Node) {
        let pairs = match &node.content {
            Content::Map(pairs) => pairs,
            // Everything in it is commented out.
            Content::Empty | Content::Refused => return,
            Content::Scalar(_) | Content::List(_) => {
                let name = prefix.trim_end_matches('.');
                let sentence = format!("{name} is a section: its keys stand below it, indented");
                return self.fault(path, node.mark, name, sentence, None);
            }
        };
        for (key, value) in pairs {
            if self.gathered.problems.len() >= MOST_PROBLEMS {
                return;
            }
            let full = format!("{prefix}{}", key.text);
            if let Some(setting) = in_section(prefix, &key.text) {
                let Mark { line, column } = key.mark;
                let source = Source::File { path: path.to_owned(), line, column };
                self.give(setting, value, source);
            } else if is_section(prefix, &key.text) {
                self.section(path, &format!("{full}."), value);
            } else {
                self.unknown_key(path, key.mark, prefix, &full);
            }
        }
    }

    fn unknown_key(&mut self, path: &Path, mark: Mark, prefix: &str, full: &str) {
        let (sentence, nearest) = match Setting::of(full) {
            Some(_) => {
                let nested = full.replace('.', ": { ");
                (
                    format!(
                        "{} is a path of keys; write them below each other: {nested}: … {}",
                        quoted(full),
                        "}".repeat(full.matches('.').count())
                    ),
                    None,
                )
            }
            None => (format!("unknown key {}", quoted(full)), nearest_key(prefix, full)),
        };
        self.fault(path, mark, full, sentence, nearest);
    }

    fn environment(&mut self) {
        for setting in SETTINGS {
            let name = setting.variable();
            // Compose files pass `FAROL_X=${FAROL_X:-}`: empty is as good as not set.
            if let Some(text) = self.inputs.environment.get(&name).filter(|text| !text.is_empty()) {
                self.give(setting, &values::node_of(setting, text), Source::Environment(name));
            }
        }
    }

    fn flags(&mut self) {
        let inputs = self.inputs;
        // A list's flag may be repeated: its values add up, and then replace what lower sources said.
        let mut lists: BTreeMap<&'static str, (Vec<Node>, Source)> = BTreeMap::new();
        for (name, text) in &inputs.flags {
            let Some(row) = flags().iter().find(|row| row.name == *name) else {
                self.unknown_flag(name);
                continue;
            };
            self.note_deprecation(row);
            let source = Source::Flag(name.clone());
            match row.sets {
                Sets::ConfigFile => {}
                Sets::Collector(name, on) => self.switch_collector(name, on, text, source),
                Sets::Setting(setting) if setting.kind.is_list() => {
                    let node = values::node_of(setting, text);
                    let (items, _) = lists.entry(setting.key).or_insert((Vec::new(), source));
                    if let Content::List(more) = node.content {
                        items.extend(more);
                    }
                }
                Sets::Setting(setting) => {
                    self.give(setting, &values::node_of(setting, text), source);
                }
            }
        }
        for (key, (items, source)) in lists {
            if let Some(setting) = Setting::of(key) {
                self.give(setting, &Node::list(items), source);
            }
        }
    }

    /// `--collector.x=false` is `--no-collector.x`.
    fn switch_collector(&mut self, name: &'static str, on: bool, text: &str, source: Source) {
        match units::boolean(text) {
            Ok(meant) => {
                let on = on == meant;
                self.gathered.collectors.push(Switch { on, names: vec![name], source });
            }
            Err(wrong) => self.gathered.problems.push(Problem {
                source,
                key: String::new(),
                sentence: format!("{} {}", quoted(text), wrong.why),
                nearest: wrong.nearest,
            }),
        }
    }

    fn unknown_flag(&mut self, name: &str) {
        let nearest = nearest(name, flags().iter().map(|row| row.name.as_str()));
        self.gathered.problems.push(Problem {
            source: Source::Flag(name.to_owned()),
            key: String::new(),
            sentence: "unknown flag".to_owned(),
            nearest,
        });
    }

    fn note_deprecation(&mut self, row: &FlagRow) {
        if let (true, Sets::Setting(setting)) = (row.deprecated, row.sets)
            && let Some(flag) = setting.flag()
        {
            let warning = format!("flag --{} is deprecated; use --{flag}", row.name);
            self.gathered.warnings.push(warning);
        }
    }

    fn give(&mut self, setting: &'static Setting, node: &Node, source: Source) {
        let problems = &mut self.gathered.problems;
        let parsed = values::parse(setting, node, &source, &self.expander, problems);
        let Some(Parsed { value, shown }) = parsed else { return };
        if let Value::Collectors(names) = &value
            && source != Source::Default("")
        {
            let (on, names) = (setting.key == "collectors.enable", names.clone());
            return self.gathered.collectors.push(Switch { on, names, source });
        }
        self.gathered.values.insert(setting.key, Chosen { value, shown, source });
    }

    /// Variables of the name's pattern that are no setting are left alone (orchestrators make
    /// some), unless one looks like a slip of the finger.
    fn misspelt_variables(&mut self) {
        let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        let named = self.expander.named.borrow();
        for name in self.inputs.environment.keys() {
            let ours = name.starts_with("FAROL_") && name != "FAROL_CONFIG";
            if !ours || known.contains(name) || named.contains(name) {
                continue;
            }
            if let Some(nearest) = nearest(name, known.iter().map(String::as_str)) {
                let name = quoted(name);
                let warning = format!(
                    "environment variable {name} is not a setting; did you mean {nearest}?"
                );
                self.gathered.warnings.push(warning);
            }
        }
    }

    fn fault(
        &mut self,
        path: &Path,
        mark: Mark,
        key: &str,
        sentence: String,
        nearest: Option<String>,
    ) {
        let source = Source::File { path: path.to_owned(), line: mark.line, column: mark.column };
        self.gathered.problems.push(Problem { source, key: key.to_owned(), sentence, nearest });
    }
}

/// A row by section and name. A name with a dot is no name: it would hide a second notation.
fn in_section(prefix: &str, name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| {
        setting.key.strip_prefix(prefix).is_some_and(|rest| rest == name && !rest.contains('.'))
    })
}

fn is_section(prefix: &str, name: &str) -> bool {
    !name.is_empty()
        && !name.contains('.')
        && SETTINGS.iter().any(|setting| {
            let rest = setting.key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with('.'))
        })
}

/// A key of that very name in another section; else the nearest key of the same section.
fn nearest_key(prefix: &str, full: &str) -> Option<String> {
    let name = full.strip_prefix(prefix)?;
    let mut keys = SETTINGS.iter().map(|setting| setting.key);
    if let Some(misplaced) = keys.find(|key| key.rsplit('.').next() == Some(name)) {
        return Some(misplaced.to_owned());
    }
    let siblings = SETTINGS.iter().filter_map(|setting| {
        let rest = setting.key.strip_prefix(prefix)?;
        Some(rest.split('.').next().unwrap_or(rest))
    });
    let sibling = nearest(name, siblings).map(|sibling| format!("{prefix}{sibling}"));
    sibling.or_else(|| misplaced_section(name))
}

/// `journal.retention` for `retention`.
fn misplaced_section(name: &str) -> Option<String> {
    let inner = format!(".{name}.");
    let key = SETTINGS.iter().find(|setting| setting.key.contains(&inner))?.key;
    let (before, _) = key.split_once(&inner)?;
    Some(format!("{before}.{name}"))
}

fn content(read: io::Result<Vec<u8>>) -> Result<String, yaml::Fault> {
    let whole = |sentence: String| yaml::Fault { mark: Mark::default(), sentence };
    let bytes = read.map_err(|error| whole(format!("cannot be read: {}", reason(&error))))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(whole("is larger than 1 MiB; that is no configuration".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        yaml::Fault { mark: Mark { line, column: 1 }, sentence: "is not UTF-8".to_owned() }
    })
}
