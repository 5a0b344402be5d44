//! The file of `--web.config.file`, in the format that the exporters of Prometheus share
//! (`prometheus/exporter-toolkit`, `docs/web-configuration.md`): one that served node_exporter is
//! taken unchanged.
//!
//! Where this program cannot do what the file asks for, the narrower is chosen and a warning says
//! so; what would leave a door open that the file means to close is a problem. Unknown keys are
//! problems, there as here. No message holds a password's hash or a key.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use farol_web::door::{
    CIPHER_SUITES, CURVES, ClientAuth, Door, Hash, HeaderName, HeaderValue, Part, Rate, Tls,
    TlsSettings, Users, Version,
};
use farol_wire::yaml::{self, Content, Mark, Node};

use super::{
    nearest,
    problem::{Problem, Problems, Source},
    reason,
};

/// What the file and the files it names come to.
#[derive(Debug)]
pub struct WebYml {
    /// Without tokens, which the file does not know.
    pub door: Result<Door, Problems>,
    /// What could not be followed to the letter.
    pub warnings: Vec<String>,
    /// All that was read, or should have been: what to look at for changes.
    pub files: Vec<PathBuf>,
}

/// Reads a file, but no more than so many bytes of it.
pub type Read<'a> = &'a dyn Fn(&Path, u64) -> io::Result<Vec<u8>>;

pub fn read(path: &Path, read: Read<'_>) -> WebYml {
    let mut reading = Reading {
        path,
        read,
        problems: Vec::new(),
        warnings: Vec::new(),
        files: vec![path.to_owned()],
    };
    let door = reading.door();
    reading.problems.sort();
    WebYml {
        door: match reading.problems.is_empty() {
            true => Ok(door),
            false => Err(Problems(reading.problems)),
        },
        warnings: reading.warnings,
        files: reading.files,
    }
}

/// Far more than any such file, certificate or key has.
const MOST_BYTES: u64 = 1024 * 1024;
/// A file of the wrong kind is given up after so many problems.
const MOST_PROBLEMS: usize = 200;

const SECTIONS: &[&str] =
    &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];
const TLS: &str = "tls_server_config";
const TLS_KEYS: &[&str] = &[
    "cert",
    "cert_file",
    "key",
    "key_file",
    "client_auth_type",
    "client_ca",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];
const HTTP: &str = "http_server_config";
const HTTP_KEYS: &[&str] = &["http2", "headers"];
const USERS: &str = "basic_auth_users";
const RATE: &str = "rate_limit";
const RATE_KEYS: &[&str] = &["interval", "burst"];

/// The headers that may be set, and their values where only some are good.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// At a cost of 14 a check takes a second; each more doubles it.
const DEAREST_GOOD_COST: u32 = 14;
/// Beyond it a check takes minutes to days: nobody would ever come in, and whoever guesses once
/// would hold up all others for as long.
const DEAREST_COST: u32 = 20;

struct Reading<'a> {
    path: &'a Path,
    read: Read<'a>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    files: Vec<PathBuf>,
}

/// The values of a section whose keys are known.
struct Section<'a> {
    name: &'static str,
    pairs: Vec<(&'static str, Mark, &'a Node)>,
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.pairs.iter().find(|(known, _, _)| *known == key).map(|(_, _, node)| *node)
    }

    /// Where a key stands.
    fn mark(&self, key: &str) -> Mark {
        let found = self.pairs.iter().find(|(known, _, _)| *known == key);
        found.map(|(_, mark, _)| *mark).unwrap_or_default()
    }
}

/// A value that may stand in the file itself or in one that it names.
struct Given {
    key: &'static str,
    /// The file's name as it was written; "" for what stands in the file itself.
    file: String,
    bytes: Vec<u8>,
}

impl Reading<'_> {
    fn door(&mut self) -> Door {
        let Some(text) = self.own_text() else { return Door::default() };
        let (root, faults) = yaml::parse(&text);
        for fault in faults.into_iter().take(MOST_PROBLEMS) {
            self.fault(fault.mark, "", fault.sentence);
        }
        let Some(top) = self.section("", &root, SECTIONS) else { return Door::default() };
        let mut door = Door::default();
        if let Some(tls) = self.subsection(&top, TLS, TLS_KEYS) {
            door.tls = self.tls(&tls).map(Into::into);
        }
        if let Some(http) = self.subsection(&top, HTTP, HTTP_KEYS) {
            // HTTP/2 may be spoken; a server that has only HTTP/1.1 is right as well.
            self.boolean(&http, "http2");
            door.headers = self.headers(&http);
        }
        if let Some(users) = top.get(USERS) {
            door.users = self.users(users);
        }
        if let Some(rate) = self.subsection(&top, RATE, RATE_KEYS) {
            door.rate = self.rate(&rate);
        }
        door
    }

    fn own_text(&mut self) -> Option<String> {
        let mark = Mark::default();
        let bytes = match (self.read)(self.path, MOST_BYTES + 1) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fault(mark, "", format!("cannot be read: {}", reason(&error)));
                return None;
            }
        };
        if bytes.len() as u64 > MOST_BYTES {
            self.fault(mark, "", "is larger than 1 MiB; that is no configuration".to_owned());
            return None;
        }
        let text = String::from_utf8(bytes);
        if text.is_err() {
            self.fault(mark, "", "is not UTF-8".to_owned());
        }
        text.ok()
    }

    fn subsection<'n>(
        &mut self,
        top: &Section<'n>,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Option<Section<'n>> {
        self.section(name, top.get(name)?, keys)
    }

    /// A mapping with these keys alone. `None` when there is nothing in it.
    fn section<'n>(
        &mut self,
        name: &'static str,
        node: &'n Node,
        keys: &'static [&'static str],
    ) -> Option<Section<'n>> {
        let mut pairs = Vec::new();
        for (key, value) in self.pairs(name, node)? {
            if self.problems.len() >= MOST_PROBLEMS {
                return None;
            }
            match keys.iter().find(|known| **known == key.text) {
                Some(known) => pairs.push((*known, key.mark, value)),
                None => self.unknown_key(name, key, keys),
            }
        }
        Some(Section { name, pairs })
    }

    fn pairs<'n>(
        &mut self,
        name: &str,
        node: &'n Node,
    ) -> Option<impl Iterator<Item = (&'n yaml::Key, &'n Node)> + use<'n>> {
        match &node.content {
            Content::Map(pairs) => Some(pairs.iter().map(|(key, value)| (key, value))),
            Content::Empty | Content::Refused => None,
            Content::Scalar(_) | Content::List(_) => {
                let sentence = match name {
                    "" => "a web configuration is made of sections: \"tls_server_config:\" \
                           and the like"
                        .to_owned(),
                    _ => format!("{name} is a section: its keys stand below it, indented"),
                };
                self.fault(node.mark, name, sentence);
                None
            }
        }
    }

    fn unknown_key(&mut self, section: &'static str, key: &yaml::Key, keys: &[&str]) {
        let full = joined(section, &key.text);
        let nearest = nearest(&key.text, keys.iter().copied()).or_else(|| misplaced(&key.text));
        let sentence = match (&nearest, section) {
            (Some(_), _) => format!("unknown key {}", quoted(&full)),
            (None, "") => {
                format!("unknown key {}; the sections are {}", quoted(&full), keys.join(", "))
            }
            (None, _) => {
                format!("unknown key {}; {section} has {}", quoted(&full), keys.join(", "))
            }
        };
        self.problem(key.mark, &full, sentence, nearest);
    }

    // Values.

    /// `None` for what is not there, empty or wrong.
    fn text(&mut self, section: &Section<'_>, key: &'static str) -> Option<String> {
        let node = section.get(key)?;
        let why = match &node.content {
            Content::Scalar(text) => return (!text.is_empty()).then(|| text.clone()),
            Content::Empty | Content::Refused => return None,
            Content::List(_) => "wants one value, not a list",
            Content::Map(_) => "wants a value, not further keys",
        };
        self.complain(section, key, why);
        None
    }

    fn list(&mut self, section: &Section<'_>, key: &'static str) -> Option<Vec<(Mark, String)>> {
        let node = section.get(key)?;
        let items = match &node.content {
            Content::List(items) => items,
            Content::Empty | Content::Refused => return None,
            Content::Scalar(_) | Content::Map(_) => {
                self.complain(section, key, "wants a list: one \"- item\" a line");
                return None;
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.content {
                Content::Scalar(text) => texts.push((item.mark, text.clone())),
                Content::Refused => {}
                Content::Empty | Content::List(_) | Content::Map(_) => {
                    let full = joined(section.name, key);
                    self.fault(item.mark, &full, format!("{full}: an item is no plain word"));
                }
            }
        }
        Some(texts)
    }

    /// In the words of YAML 1.1, which exporters read.
    fn boolean(&mut self, section: &Section<'_>, key: &'static str) -> Option<bool> {
        let text = self.text(section, key)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                self.complain(section, key, &format!("{} is not true or false", quoted(&text)));
                None
            }
        }
    }

    fn choice<T: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        table: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(section, key)?;
        let found = table.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let (mark, full) = (section.mark(key), joined(section.name, key));
            self.unknown_word(mark, &full, &text, table.iter().map(|(name, _)| *name));
        }
        found.map(|(_, value)| *value)
    }

    /// The names of a list that a table has.
    fn choices<T>(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        table: &[(&'static str, T)],
    ) -> Vec<&'static str> {
        let full = joined(section.name, key);
        let mut found = Vec::new();
        for (mark, text) in self.list(section, key).unwrap_or_default() {
            match table.iter().find(|(name, _)| *name == text) {
                Some((name, _)) => found.push(*name),
                None => self.unknown_word(mark, &full, &text, table.iter().map(|(name, _)| *name)),
            }
        }
        found
    }

    fn unknown_word<'n>(
        &mut self,
        mark: Mark,
        key: &str,
        text: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) {
        let nearest = nearest(text, known.clone());
        let names: Vec<&str> = known.collect();
        let sentence = match nearest {
            Some(_) => format!("{key}: {} is not known", quoted(text)),
            None => format!("{key}: {} is none of {}", quoted(text), names.join(", ")),
        };
        self.problem(mark, key, sentence, nearest);
    }

    /// `key`, or the content of the file named by `key_file`.
    fn given(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Given> {
        let inline = self.text(section, key);
        let file = self.text(section, file_key);
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.complain(section, file_key, &format!("stands beside {key}; give one of them"));
                None
            }
            (Some(text), None) => Some(Given { key, file: String::new(), bytes: text.into() }),
            (None, Some(file)) if is_secret(&file) => {
                let why = format!("wants a file's name; the text itself is given as {key}");
                self.complain(section, file_key, &why);
                None
            }
            (None, Some(file)) => {
                let bytes = self.file(section, file_key, &file)?;
                Some(Given { key: file_key, file, bytes })
            }
            (None, None) => None,
        }
    }

    /// A relative path is relative to the folder of the file that names it.
    fn file(&mut self, section: &Section<'_>, key: &'static str, name: &str) -> Option<Vec<u8>> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        self.files.push(path.clone());
        let why = match (self.read)(&path, MOST_BYTES + 1) {
            Ok(bytes) if bytes.len() as u64 <= MOST_BYTES => return Some(bytes),
            Ok(_) => "is larger than 1 MiB".to_owned(),
            Err(error) => format!("cannot be read: {}", reason(&error)),
        };
        self.complain(section, key, &format!("{} {why}", quoted(name)));
        None
    }

    // Sections.

    fn tls(&mut self, section: &Section<'_>) -> Option<Tls> {
        let faults = self.problems.len();
        let certificates = self.given(section, "cert", "cert_file");
        let key = self.given(section, "key", "key_file");
        let authorities = self.given(section, "client_ca", "client_ca_file");
        let client_auth = self.choice(section, "client_auth_type", &ClientAuth::NAMES);
        let sans = self.list(section, "client_allowed_sans");
        let least = self.choice(section, "min_version", &Version::NAMES);
        let most = self.choice(section, "max_version", &Version::NAMES);
        let cipher_suites = self.choices(section, "cipher_suites", CIPHER_SUITES);
        let server_order = self.boolean(section, "prefer_server_cipher_suites");
        let curves = self.choices(section, "curve_preferences", CURVES);
        if self.problems.len() > faults || is_blank(section) {
            return None;
        }
        let client_auth = client_auth.unwrap_or_default();
        // Left empty by a template, for example: a list that was to let a few in must not let in all.
        let is_left_empty = section.get("client_allowed_sans").is_some() && sans.is_none();
        let sans = if is_left_empty && client_auth.requires() { Some(Vec::new()) } else { sans };
        // exporter-toolkit would serve without TLS when nothing but a version is given, for example.
        if certificates.is_none() {
            self.lacks(section, "cert or cert_file");
        }
        if key.is_none() {
            self.lacks(section, "key or key_file");
        }
        let (certificates, key) = (certificates?, key?);
        let made = Tls::new(&TlsSettings {
            certificates: certificates.bytes.clone(),
            key: key.bytes.clone(),
            client_auth,
            client_authorities: authorities.as_ref().map(|given| given.bytes.clone()),
            client_names: sans.map(|sans| sans.into_iter().map(|(_, name)| name).collect()),
            least: least.unwrap_or(Version::Tls12),
            most: most.unwrap_or(Version::Tls13),
            cipher_suites,
            server_order: server_order.unwrap_or(true),
            curves,
        });
        let fault = match made {
            Ok((tls, warnings)) => {
                let name = self.path.display();
                self.warnings.extend(warnings.iter().map(|why| format!("{name}: {TLS}.{why}")));
                return Some(tls);
            }
            Err(fault) => fault,
        };
        let (key, file) = match (fault.part, &authorities) {
            (Part::Certificates, _) => (certificates.key, certificates.file.as_str()),
            (Part::Key, _) => (key.key, key.file.as_str()),
            (Part::ClientAuthorities, Some(given)) => (given.key, given.file.as_str()),
            (Part::ClientAuthorities, None) => ("client_ca_file", ""),
            (Part::ClientAuth, _) => ("client_auth_type", ""),
            (Part::ClientNames, _) => ("client_allowed_sans", ""),
            (Part::LeastVersion, _) => ("min_version", ""),
            (Part::MostVersion, _) => ("max_version", ""),
            (Part::CipherSuites, _) => ("cipher_suites", ""),
            (Part::Curves, _) => ("curve_preferences", ""),
        };
        let shown = if file.is_empty() { String::new() } else { format!("{} ", quoted(file)) };
        self.complain(section, key, &format!("{shown}{}", fault.why));
        None
    }

    fn lacks(&mut self, section: &Section<'_>, what: &str) {
        let mark = section.pairs.iter().map(|(_, mark, _)| *mark).min().unwrap_or_default();
        self.fault(mark, section.name, format!("{} has no {what}", section.name));
    }

    fn headers(&mut self, http: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let full = joined(HTTP, "headers");
        let mut headers = Vec::new();
        let Some(node) = http.get("headers") else { return headers };
        for (key, value) in self.pairs(&full, node).into_iter().flatten() {
            let name = joined(&full, &key.text);
            let Some((known, good)) = HEADERS.iter().find(|(known, _)| *known == key.text) else {
                let nearest = nearest(&key.text, HEADERS.iter().map(|(known, _)| *known));
                let sentence = format!("{full}: {} cannot be set", quoted(&key.text));
                self.problem(key.mark, &name, sentence, nearest);
                continue;
            };
            let text = match &value.content {
                Content::Scalar(text) => text.as_str(),
                // A blank header is not set.
                Content::Empty | Content::Refused => continue,
                Content::List(_) | Content::Map(_) => {
                    self.fault(key.mark, &name, format!("{name} wants one value"));
                    continue;
                }
            };
            if text.is_empty() {
                continue;
            }
            if !good.is_empty() && !good.contains(&text) {
                let good = good.join(" or ");
                let sentence = format!("{name}: {} is not {good}", quoted(text));
                self.fault(value.mark, &name, sentence);
                continue;
            }
            match (known.parse(), text.parse()) {
                (Ok(header), Ok(value)) => headers.push((header, value)),
                _ => {
                    let sentence = format!("{name}: {} is no header's value", quoted(text));
                    self.fault(value.mark, &name, sentence);
                }
            }
        }
        headers
    }

    fn users(&mut self, node: &Node) -> Users {
        let mut users = Vec::new();
        for (key, value) in self.pairs(USERS, node).into_iter().flatten() {
            if self.problems.len() >= MOST_PROBLEMS {
                break;
            }
            let name = quoted(&key.text);
            let text = match &value.content {
                Content::Scalar(text) => text.as_str(),
                Content::Refused => continue,
                Content::Empty => {
                    self.fault(key.mark, USERS, format!("{USERS}: {name} has no hash"));
                    continue;
                }
                Content::List(_) | Content::Map(_) => {
                    self.fault(value.mark, USERS, format!("{USERS}: {name} wants one hash"));
                    continue;
                }
            };
            match Hash::parse(text) {
                Ok(hash) if hash.cost() > DEAREST_COST => {
                    let cost = hash.cost();
                    let why = format!(
                        "has a cost of {cost}: a check would take minutes to days; use 10 to 12"
                    );
                    self.fault(value.mark, USERS, format!("{USERS}: the hash of {name} {why}"));
                }
                Ok(hash) => {
                    self.doubt_user(&key.text, &hash);
                    users.push((key.text.clone(), hash));
                }
                Err(why) => {
                    self.fault(value.mark, USERS, format!("{USERS}: the hash of {name} {why}"));
                }
            }
        }
        Users::new(users)
    }

    fn doubt_user(&mut self, name: &str, hash: &Hash) {
        let (file, user) = (self.path.display(), quoted(name));
        if name.contains(':') {
            self.warnings.push(format!(
                "{file}: {USERS}: {user} holds a colon, which no client can send in a name"
            ));
        }
        let cost = hash.cost();
        if cost > DEAREST_GOOD_COST {
            self.warnings.push(format!(
                "{file}: {USERS}: the hash of {user} has a cost of {cost}: each check takes seconds"
            ));
        }
    }

    fn rate(&mut self, section: &Section<'_>) -> Option<Rate> {
        let interval = match self.text(section, "interval").map(|text| (go_duration(&text), text)) {
            Some((Some(interval), _)) => interval,
            None => Duration::ZERO,
            Some((None, text)) => {
                let why = format!("{} is not a duration like 100ms, 1s or 1m30s", quoted(&text));
                self.complain(section, "interval", &why);
                return None;
            }
        };
        let burst = match self.text(section, "burst").map(|text| (text.parse::<u32>(), text)) {
            Some((Ok(burst), _)) => burst,
            None => 0,
            Some((Err(_), text)) => {
                let why = format!("{} is not a whole number of requests", quoted(&text));
                self.complain(section, "burst", &why);
                return None;
            }
        };
        if interval.is_zero() {
            return None;
        }
        if burst == 0 {
            let at = if section.get("burst").is_some() { "burst" } else { "interval" };
            let full = joined(RATE, "burst");
            let why = "no request would ever be let through; give 1 or more";
            self.fault(section.mark(at), &full, format!("{full} is 0: {why}"));
            return None;
        }
        Some(Rate { interval, burst })
    }

    // Problems.

    fn complain(&mut self, section: &Section<'_>, key: &str, why: &str) {
        let full = joined(section.name, key);
        self.fault(section.mark(key), &full, format!("{full}: {why}"));
    }

    fn fault(&mut self, mark: Mark, key: &str, sentence: String) {
        self.problem(mark, key, sentence, None);
    }

    fn problem(&mut self, mark: Mark, key: &str, sentence: String, nearest: Option<String>) {
        let Mark { line, column } = mark;
        let source = Source::File { path: self.path.to_owned(), line, column };
        let key = if is_secret(key) { String::new() } else { key.to_owned() };
        self.problems.push(Problem { source, key, sentence, nearest });
    }
}

/// Nothing in the section but values left empty.
fn is_blank(section: &Section<'_>) -> bool {
    section.pairs.iter().all(|(_, _, node)| match &node.content {
        Content::Empty => true,
        Content::Scalar(text) => text.is_empty(),
        Content::List(_) | Content::Map(_) | Content::Refused => false,
    })
}

/// A word of the file in a message.
fn quoted(text: &str) -> String {
    if is_secret(text) { "(a secret)".to_owned() } else { super::quoted(text) }
}

/// A key or a hash, whole or cut, that stands where something else belongs.
fn is_secret(text: &str) -> bool {
    ["-----BEGIN ", "$2$", "$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|sign| text.contains(sign))
}

fn joined(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        _ => format!("{section}.{key}"),
    }
}

/// The key of that very name in another section.
fn misplaced(name: &str) -> Option<String> {
    let sections = [(TLS, TLS_KEYS), (HTTP, HTTP_KEYS), (RATE, RATE_KEYS)];
    let (section, _) = sections.into_iter().find(|(_, keys)| keys.contains(&name))?;
    Some(joined(section, name))
}

/// Go's notation: `1.5h`, `1m30s`, `100us`; a bare number is nanoseconds. Negative spans are not.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: &[(&str, f64)] = &[
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    if let Ok(nanoseconds) = text.parse() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = after;
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        let millis = |millis| Some(Duration::from_millis(millis));
        for (text, expected) in [
            ("0", millis(0)),
            ("0s", millis(0)),
            ("1s", millis(1000)),
            ("1.5h", millis(5_400_000)),
            ("1m30s", millis(90_000)),
            ("250ms", millis(250)),
            ("1000us", millis(1)),
            ("1000µs", millis(1)),
            ("1000000", millis(1)),
            ("", None),
            ("-1s", None),
            ("1", Some(Duration::from_nanos(1))),
            ("s", None),
            ("1d", None),
            ("1 s", None),
            ("1s1", None),
            ("1..s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(go_duration(text), expected, "{text:?}");
        }
    }
}
