//! A notifier: a name, what speaks to its receiver, and which alerts it is told when.

use std::{path::PathBuf, time::Duration};

use farol_act::notify::{Endpoint, Protection, RESEND, mailbox};
use farol_alert::Matcher;
use farol_model::{SilenceMatcher, Text};
use farol_wire::yaml::{Content, Key, Node};

use super::{
    super::{
        secret::Secret,
        types::{Authorization, Channel, Mail, Notifier, Receiver},
        units::{self, Wrong},
    },
    Reading, TextRule, bounded, checked, path,
};

/// Besides the kind, of which there is exactly one.
const FIELDS: &[&str] = &[
    "name",
    "match",
    "group_by",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "send_resolved",
    "timeout",
    "ca_file",
];

/// The kinds, and the fields of each.
const KINDS: &[(&str, &[&str])] = &[
    ("discord", &["webhook_url"]),
    ("slack", &["webhook_url", "channel"]),
    ("email", &["smarthost", "tls", "username", "password", "from", "to"]),
    ("webhook", &["url", "username", "password", "bearer_token", "headers"]),
    ("alertmanager", &["urls", "resend_delay", "username", "password", "bearer_token", "headers"]),
    (
        "heartbeat",
        &["url", "method", "interval", "username", "password", "bearer_token", "headers"],
    ),
];

/// A mapping's fields, and its full name for messages.
struct Fields<'n> {
    node: &'n Node,
    name: String,
    pairs: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    fn get(&self, field: &str) -> Option<(&'n Node, String)> {
        let (key, node) = self.pairs.iter().find(|(key, _)| key.text == field)?;
        Some((node, format!("{}.{}", self.name, key.text)))
    }
}

impl Reading<'_> {
    /// Two notifiers of one name would share what they are told.
    pub(super) fn notifier(&mut self, node: &Node) -> Option<(Notifier, String, String)> {
        let faults = self.problems.len();
        let key = self.setting.key;
        let fields = self.fields(node, key.to_owned(), "a notifier")?;
        let known: Vec<&str> =
            FIELDS.iter().copied().chain(KINDS.iter().map(|(kind, _)| *kind)).collect();
        self.only(&fields, "a notifier", &known);
        let name = self.required(&fields, "name", "the notifier", Self::label);
        let kinds: Vec<&(&str, &[&str])> =
            KINDS.iter().filter(|(kind, _)| fields.get(kind).is_some()).collect();
        let receiver = match kinds.as_slice() {
            [(kind, known)] => self.receiver(&fields, kind, known),
            [] => {
                let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
                let why =
                    format!("the notifier has no receiver; give it one of {}", kinds.join(", "));
                self.complain(node, key, why);
                None
            }
            several => {
                let kinds: Vec<&str> = several.iter().map(|(kind, _)| *kind).collect();
                let why = format!("a notifier has one receiver, not {}", kinds.join(" and "));
                self.complain(node, key, why);
                None
            }
        };
        let channel = self.channel(&fields);
        if self.problems.len() > faults {
            return None;
        }
        let (name, receiver) = (name?, receiver?);
        let shown = format!("{name} {}", receiver.kind());
        Some((Notifier { name: name.as_str().into(), receiver, channel }, shown, name))
    }

    fn channel(&mut self, fields: &Fields<'_>) -> Channel {
        let usual = Channel::default();
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(24 * 3600);
        let mut time = |field: &str, least: Duration, most: Duration| {
            fields.get(field).and_then(|(node, key)| self.span(node, &key, least, most))
        };
        Channel {
            group_wait: time("group_wait", Duration::ZERO, day),
            group_interval: time("group_interval", second, day),
            repeat_interval: time("repeat_interval", second * 60, day * 365),
            timeout: time("timeout", second, second * 120).unwrap_or(usual.timeout),
            matchers: self.optional(fields, "match", Self::matchers).unwrap_or_default(),
            group_by: self.optional(fields, "group_by", Self::labels_of),
            send_resolved: self.optional(fields, "send_resolved", Self::flag).unwrap_or(true),
            ca_file: self.optional(fields, "ca_file", Self::file),
        }
    }

    fn receiver(&mut self, fields: &Fields<'_>, kind: &str, known: &[&str]) -> Option<Receiver> {
        let (node, name) = fields.get(kind)?;
        let what = format!("`{kind}`");
        let own = self.fields(node, name, &what)?;
        self.only(&own, &what, known);
        match kind {
            "discord" => {
                let webhook_url = self.required(&own, "webhook_url", &what, Self::secret_url)?;
                Some(Receiver::Discord { webhook_url })
            }
            "slack" => {
                let channel = self.optional(&own, "channel", Self::label);
                let webhook_url = self.required(&own, "webhook_url", &what, Self::secret_url)?;
                Some(Receiver::Slack { webhook_url, channel })
            }
            "email" => self.email(&own, &what).map(Receiver::Email),
            "webhook" => {
                let authorization = self.authorization(&own);
                let url = self.required(&own, "url", &what, Self::url)?;
                Some(Receiver::Webhook { url, authorization })
            }
            "alertmanager" => {
                let authorization = self.authorization(&own);
                let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
                let delay = own.get("resend_delay");
                let delay = delay.and_then(|(node, key)| self.span(node, &key, second, hour));
                let resend_delay = delay.unwrap_or(RESEND);
                let urls = self.required(&own, "urls", &what, Self::urls)?;
                Some(Receiver::Alertmanager { urls, resend_delay, authorization })
            }
            _ => {
                let authorization = self.authorization(&own);
                let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
                let interval = own.get("interval");
                let interval = interval.and_then(|(node, key)| self.span(node, &key, second, day));
                let is_post = self.optional(&own, "method", Self::method).unwrap_or(false);
                let url = self.required(&own, "url", &what, Self::url)?;
                let interval = interval.unwrap_or(second * 60);
                Some(Receiver::Heartbeat { url, is_post, interval, authorization })
            }
        }
    }

    fn email(&mut self, own: &Fields<'_>, what: &str) -> Option<Mail> {
        let protection = self.optional(own, "tls", Self::protection).unwrap_or_default();
        let user = self.optional(own, "username", Self::any);
        let password = self.optional(own, "password", Self::secret);
        let login = self.both(own, user, password);
        let from = self.required(own, "from", what, Self::address);
        let to = self.required(own, "to", what, Self::addresses);
        let (host, port) = self.required(own, "smarthost", what, Self::smarthost)?;
        if protection == Protection::None && login.is_some() {
            let why = "a password is not sent without TLS".to_owned();
            self.complain(own.node, &own.name, why);
        }
        Some(Mail { host, port, protection, login, from: from?, to: to? })
    }

    fn authorization(&mut self, own: &Fields<'_>) -> Authorization {
        let user = self.optional(own, "username", Self::any);
        let password = self.optional(own, "password", Self::secret);
        let bearer_token = self.optional(own, "bearer_token", Self::secret);
        let headers = self.optional(own, "headers", Self::headers).unwrap_or_default();
        let login = self.both(own, user, password);
        if login.is_some() && bearer_token.is_some() {
            let why = "a receiver takes a password or a bearer_token, not both".to_owned();
            self.complain(own.node, &own.name, why);
        }
        Authorization { login, bearer_token, headers }
    }

    fn both(
        &mut self,
        own: &Fields<'_>,
        user: Option<String>,
        password: Option<Secret>,
    ) -> Option<(String, Secret)> {
        let has_user = user.is_some();
        let both = user.zip(password);
        let given = |field: &str| own.get(field).is_some();
        if both.is_none() && given("username") != given("password") {
            let missing = if has_user { "password" } else { "username" };
            let why = format!("username and password belong together; {missing} is missing");
            self.complain(own.node, &own.name, why);
        }
        both
    }
}

// One field.
impl Reading<'_> {
    fn label(&mut self, node: &Node, key: &str) -> Option<String> {
        Some(self.scalar(node, key, |text| checked(TextRule::Label, text), Clone::clone)?.0)
    }

    fn any(&mut self, node: &Node, key: &str) -> Option<String> {
        Some(self.scalar(node, key, |text| Ok(text.to_owned()), Clone::clone)?.0)
    }

    fn flag(&mut self, node: &Node, key: &str) -> Option<bool> {
        Some(self.scalar(node, key, units::boolean, bool::to_string)?.0)
    }

    fn file(&mut self, node: &Node, key: &str) -> Option<PathBuf> {
        Some(self.scalar(node, key, path, |path| path.display().to_string())?.0)
    }

    fn span(
        &mut self,
        node: &Node,
        key: &str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let read = |text: &str| bounded(units::duration(text)?, least, most, units::show_duration);
        Some(self.scalar(node, key, read, |time| units::show_duration(*time))?.0)
    }

    fn method(&mut self, node: &Node, key: &str) -> Option<bool> {
        let read = |text: &str| Ok(super::choice(&["GET", "POST"], text)? == "POST");
        Some(self.scalar(node, key, read, bool::to_string)?.0)
    }

    fn protection(&mut self, node: &Node, key: &str) -> Option<Protection> {
        let read = |text: &str| match super::choice(&["starttls", "tls", "none"], text)?.as_str() {
            "tls" => Ok(Protection::Tls),
            "none" => Ok(Protection::None),
            _ => Ok(Protection::StartTls),
        };
        Some(self.scalar(node, key, read, |protection| format!("{protection:?}"))?.0)
    }

    fn smarthost(&mut self, node: &Node, key: &str) -> Option<(String, u16)> {
        let read = |text: &str| match units::tcp_target(text)? {
            super::Target::Port(host, port) => Ok((host, port)),
            super::Target::Gateway | super::Target::Host(_) => {
                Err(Wrong::new("is not host:port, as mail.example.org:587"))
            }
        };
        Some(self.scalar(node, key, read, |(host, port)| format!("{host}:{port}"))?.0)
    }

    fn address(&mut self, node: &Node, key: &str) -> Option<String> {
        let read = |text: &str| match mailbox(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(why) => Err(Wrong::new(why)),
        };
        Some(self.scalar(node, key, read, Clone::clone)?.0)
    }

    fn addresses(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        self.several(node, key, Self::address)
    }

    fn labels_of(&mut self, node: &Node, key: &str) -> Option<Vec<Text>> {
        if matches!(&node.content, Content::List(items) if items.is_empty()) {
            return Some(Vec::new());
        }
        let labels = self.several(node, key, Self::label)?;
        Some(labels.into_iter().map(Text::from).collect())
    }

    fn matchers(&mut self, node: &Node, key: &str) -> Option<Vec<SilenceMatcher>> {
        let read = |text: &str| match Matcher::read_all(text) {
            Ok(matchers) => Ok(matchers.iter().map(|matcher| matcher.written().clone()).collect()),
            // The engine draws where a pattern is wrong; its last line is the reason.
            Err(why) => {
                let reason = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(Wrong::new(format!("is no matcher: {reason}")))
            }
        };
        let one = |reading: &mut Self, node: &Node, key: &str| {
            Some(reading.scalar(node, key, read, |matchers: &Vec<_>| matchers.len().to_string())?.0)
        };
        Some(self.several(node, key, one)?.into_iter().flatten().collect())
    }

    /// A text that is a secret, and so may not stand in the file itself.
    fn secret(&mut self, node: &Node, key: &str) -> Option<Secret> {
        let (secret, is_placeholder) = self.hidden(node, key)?;
        if !is_placeholder {
            let why = "is a secret and does not belong into this file; \
                       write ${env:NAME}, ${file:/path} or ${cred:NAME}";
            self.complain(node, key, why.to_owned());
            return None;
        }
        Some(secret)
    }

    fn secret_url(&mut self, node: &Node, key: &str) -> Option<Secret> {
        let url = self.secret(node, key)?;
        self.checked_url(node, key, url)
    }

    /// A URL that may be a secret, and is treated as one.
    fn url(&mut self, node: &Node, key: &str) -> Option<Secret> {
        let (url, _) = self.hidden(node, key)?;
        self.checked_url(node, key, url)
    }

    fn urls(&mut self, node: &Node, key: &str) -> Option<Vec<Secret>> {
        self.several(node, key, Self::url)
    }

    fn checked_url(&mut self, node: &Node, key: &str, url: Secret) -> Option<Secret> {
        match Endpoint::new(url.expose()) {
            Ok(_) => Some(url),
            Err(why) => {
                self.complain(node, key, why);
                None
            }
        }
    }

    /// Whether it was a placeholder, too.
    fn hidden(&mut self, node: &Node, key: &str) -> Option<(Secret, bool)> {
        let text = self.text(node, key)?;
        match self.expander.expand(&text) {
            Ok(expanded) if expanded.text.expose().is_empty() => {
                self.complain(node, key, "is empty".to_owned());
                None
            }
            Ok(expanded) => Some((expanded.text, expanded.secret)),
            Err(why) => {
                self.complain(node, key, why);
                None
            }
        }
    }

    fn headers(&mut self, node: &Node, key: &str) -> Option<Vec<(String, Secret)>> {
        let fields = self.fields(node, key.to_owned(), "`headers`")?;
        let mut headers = Vec::new();
        for (name, value) in fields.pairs {
            let full = format!("{key}.{}", name.text);
            let Some((secret, _)) = self.hidden(value, &full) else { continue };
            let endpoint = Endpoint::new("http://localhost/").ok();
            match endpoint.map(|endpoint| endpoint.with_header(&name.text, secret.expose())) {
                Some(Err(why)) => self.complain(value, &full, why),
                _ => headers.push((name.text.clone(), secret)),
            }
        }
        Some(headers)
    }
}

// Mappings and lists.
impl Reading<'_> {
    fn fields<'n>(&mut self, node: &'n Node, name: String, what: &str) -> Option<Fields<'n>> {
        match &node.content {
            Content::Map(pairs) => Some(Fields { node, name, pairs }),
            Content::Refused => None,
            Content::Empty | Content::Scalar(_) | Content::List(_) => {
                self.complain(node, &name, format!("{what} is a mapping of fields"));
                None
            }
        }
    }

    fn only(&mut self, fields: &Fields<'_>, what: &str, known: &[&str]) {
        for (field, _) in fields.pairs.iter().filter(|(field, _)| !known.contains(&&*field.text)) {
            let full = format!("{}.{}", fields.name, field.text);
            self.unknown_field(field, full, what, known);
        }
    }

    fn optional<T>(
        &mut self,
        fields: &Fields<'_>,
        field: &str,
        read: impl FnOnce(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<T> {
        let (node, key) = fields.get(field)?;
        read(self, node, &key)
    }

    fn required<T>(
        &mut self,
        fields: &Fields<'_>,
        field: &str,
        what: &str,
        read: impl FnOnce(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<T> {
        if fields.get(field).is_none() {
            self.complain(fields.node, &fields.name, format!("{what} has no {field}"));
            return None;
        }
        self.optional(fields, field, read)
    }

    /// A list, or one value alone.
    fn several<T>(
        &mut self,
        node: &Node,
        key: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        const MOST: usize = 100;
        let items = match &node.content {
            Content::List(items) => items.as_slice(),
            Content::Empty | Content::Refused | Content::Scalar(_) | Content::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        if items.is_empty() || items.len() > MOST {
            let why = format!("has {} items; it may have 1 to {MOST}", items.len());
            self.complain(node, key, why);
            return None;
        }
        let values: Vec<T> = items.iter().filter_map(|item| read(self, item, key)).collect();
        (values.len() == items.len()).then_some(values)
    }
}
