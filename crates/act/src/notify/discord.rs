//! Discord: embeds within its limits, one message a group, edited to its end.
//!
//! A webhook is asked to tell the id of what it posted (`?wait=true`). When everything that a message
//! told is over, that message is changed; one that people have deleted is posted anew. The rates are
//! Discord's to set: its headers are obeyed, no number is known here. A webhook that is gone (404,
//! 401) is not asked again: such requests count towards a ban of the whole address.

use std::{sync::Arc, time::Duration};

use farol_alert::Notice;
use farol_model::{Alert, Text};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    BoxFuture, Origin, SendError, Sender, Sent,
    http::{Answer, Endpoint, Http, seconds},
    is_ended, words,
};

const MOST_EMBEDS: usize = 10;
/// Over all embeds of a message: titles, descriptions, fields, footers.
const MOST_TOGETHER: usize = 6000;
const MOST_CONTENT: usize = 2000;
const MOST_TITLE: usize = 256;
const MOST_DESCRIPTION: usize = 4096;
const MOST_VALUE: usize = 1024;
const MOST_FOOTER: usize = 2048;
/// Of one alert's text where there are several, so that more of them find room.
const FAIR_DESCRIPTION: usize = 1024;
/// Kept for the embed that counts what found no room.
const REST: usize = 600;

const FIRING: u32 = 0x0099_2D22;
const WARNING: u32 = 0x00E6_7E22;
const RESOLVED: u32 = 0x002E_CC71;
const OTHER: u32 = 0x0095_A5A6;

const UNKNOWN_WEBHOOK: u64 = 10_015;

#[derive(Debug)]
pub struct Discord {
    http: Http,
    endpoint: Endpoint,
    origin: Origin,
}

impl Discord {
    pub fn new(http: Http, endpoint: Endpoint, origin: Origin) -> Discord {
        Discord { http, endpoint, origin }
    }

    async fn tell(&self, notice: &Notice) -> Result<Sent, SendError> {
        let body = body(notice, &self.origin);
        if let Some(message) = editable(notice) {
            let path = self.path(&format!("/messages/{message}"), &[]);
            let answer = self.http.ask(Method::PATCH, &self.endpoint, &path, Some(&body)).await?;
            // Only the message is gone: people should hear of the end all the same.
            let only_message = answer.status == 404 && code(&answer) != Some(UNKNOWN_WEBHOOK);
            if !only_message {
                return outcome(&answer);
            }
        }
        let path = self.path("", &["wait=true"]);
        let answer = self.http.ask(Method::POST, &self.endpoint, &path, Some(&body)).await?;
        outcome(&answer)
    }

    /// Below the webhook's own path; its query (`thread_id`) is kept.
    fn path(&self, below: &str, more: &[&str]) -> String {
        let (path, query) = self.endpoint.path();
        let query = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let query: Vec<&str> =
            query.filter(|part| !part.starts_with("wait=")).chain(more.iter().copied()).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{below}{mark}{}", path.trim_end_matches('/'), query.join("&"))
    }
}

impl Sender for Discord {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.tell(notice))
    }

    fn preview(&self, notice: &Notice) -> Value {
        body(notice, &self.origin)
    }
}

/// The message to change: one about which nothing fires any more. A new firing is a new message, as
/// nobody is told of a change.
fn editable(notice: &Notice) -> Option<&Text> {
    let message = notice.message.as_ref()?;
    let is_id = !message.is_empty() && message.bytes().all(|byte| byte.is_ascii_digit());
    (is_id && notice.alerts.iter().all(|alert| is_ended(alert))).then_some(message)
}

fn outcome(answer: &Answer) -> Result<Sent, SendError> {
    if answer.status.is_success() {
        let told = answer.json();
        let message = told.get("id").and_then(Value::as_str).map(Text::from);
        return Ok(Sent { message, quiet: quiet(answer) });
    }
    Err(match answer.status.as_u16() {
        404 => SendError::disabled("the webhook does not exist (any more)"),
        401 => SendError::disabled("the webhook's token is wrong"),
        403 => SendError::retry(answer.reason()),
        429 => SendError::Retry { after: Some(demanded(answer)), reason: throttled(answer) },
        _ => answer.failure(),
    })
}

/// Nothing is left of the rate: the next request before its reset would be refused.
fn quiet(answer: &Answer) -> Option<Duration> {
    let left = answer.number("x-ratelimit-remaining")?;
    (left < 1.0).then(|| seconds(answer.number("x-ratelimit-reset-after")?))?
}

/// The longest wait that any part of the answer names; where none does, a minute.
fn demanded(answer: &Answer) -> Duration {
    const UNKNOWN: Duration = Duration::from_secs(60);
    let told = answer.json();
    let body = told.get("retry_after").and_then(Value::as_f64).and_then(seconds);
    body.max(answer.retry_after()).unwrap_or(UNKNOWN)
}

fn throttled(answer: &Answer) -> Text {
    let scope = answer.headers.get("x-ratelimit-scope").and_then(|scope| scope.to_str().ok());
    match scope {
        Some(scope @ ("user" | "global" | "shared")) => {
            format!("answered 429: too many requests ({scope})").into()
        }
        _ => Text::from_static("answered 429: too many requests"),
    }
}

fn code(answer: &Answer) -> Option<u64> {
    answer.json().get("code")?.as_u64()
}

fn body(notice: &Notice, origin: &Origin) -> Value {
    json!({
        "content": words::cut(&escaped(&words::title(notice)), MOST_CONTENT),
        "embeds": embeds(notice, origin),
        "allowed_mentions": { "parse": [] },
    })
}

fn embeds(notice: &Notice, origin: &Origin) -> Vec<Value> {
    let alerts = &notice.alerts;
    let fair = if alerts.len() == 1 { MOST_DESCRIPTION } else { FAIR_DESCRIPTION };
    let mut embeds = Vec::new();
    let mut left = MOST_TOGETHER;
    for (told, alert) in alerts.iter().enumerate() {
        let others = alerts.len() - told - 1 + notice.truncated;
        let is_last = others == 0;
        let has_place = embeds.len() + usize::from(!is_last) < MOST_EMBEDS;
        let room = if is_last { left } else { left.saturating_sub(REST) };
        let embed = Embed::of(alert, origin, fair);
        let embed = if told == 0 { embed.within(room) } else { embed };
        if !has_place || embed.length() > room {
            embeds.push(rest(alerts.get(told..).unwrap_or_default(), notice.truncated).json());
            return embeds;
        }
        left -= embed.length();
        embeds.push(embed.json());
    }
    if notice.truncated > 0 {
        embeds.push(rest(&[], notice.truncated).json());
    }
    embeds
}

/// What found no room: how many, and which as far as there is room.
fn rest(alerts: &[Arc<Alert>], truncated: usize) -> Embed {
    let ended = alerts.iter().filter(|alert| is_ended(alert)).count();
    let names: Vec<&str> = alerts.iter().map(|alert| words::headline(alert)).collect();
    let title = format!("… and {} more", alerts.len() + truncated);
    let counted = match alerts.len() {
        0 => String::new(),
        all => format!("{} firing, {ended} resolved: ", all - ended),
    };
    let most = REST - words::length(&title);
    Embed {
        description: words::cut(&format!("{counted}{}", escaped(&names.join("; "))), most),
        title,
        color: if ended == alerts.len() && truncated == 0 { RESOLVED } else { OTHER },
        fields: Vec::new(),
        footer: String::new(),
        timestamp: None,
        url: None,
    }
}

struct Embed {
    title: String,
    description: String,
    color: u32,
    /// Name and value; short ones stand beside each other.
    fields: Vec<(&'static str, String, bool)>,
    footer: String,
    timestamp: Option<String>,
    url: Option<String>,
}

impl Embed {
    fn of(alert: &Alert, origin: &Origin, most: usize) -> Embed {
        let severity = alert.severity().unwrap_or("none");
        let mut fields = vec![
            ("State", state(alert), true),
            ("Severity", escaped(severity), true),
            ("Value", words::value(alert), true),
            ("Since", words::moment(words::began(alert)), true),
        ];
        if let Some(ended) = alert.ended_at.filter(|_| is_ended(alert)) {
            fields.push(("Lasted", words::span(ended.since(words::began(alert))), true));
        }
        fields.push(("Labels", escaped(&words::labels(alert)), false));
        if let Some(runbook) = alert.annotations.get("runbook_url") {
            fields.push(("Runbook", escaped(runbook), false));
        }
        let cut = |(name, value, inline): (_, String, _)| {
            (name, words::cut(&value, MOST_VALUE.min(most)), inline)
        };
        Embed {
            title: words::cut(&escaped(words::headline(alert)), MOST_TITLE),
            description: words::cut(&escaped(words::description(alert)), most),
            color: color(alert),
            // An empty field would be refused.
            fields: fields.into_iter().filter(|(_, value, _)| !value.is_empty()).map(cut).collect(),
            footer: words::cut(&origin.host, MOST_FOOTER.min(MOST_TITLE)),
            timestamp: Some(words::rfc3339(words::began(alert))),
            url: origin.external_url.as_ref().map(|url| format!("{url}/alerts")),
        }
    }

    /// Gives up some of its description, so that it fits.
    fn within(mut self, room: usize) -> Embed {
        if let Some(over) = self.length().checked_sub(room) {
            let kept = words::length(&self.description).saturating_sub(over);
            self.description = words::cut(&self.description, kept);
        }
        self
    }

    /// As Discord counts.
    fn length(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value, _)| name.len() + words::length(value));
        let texts = [&self.title, &self.description, &self.footer];
        fields.sum::<usize>() + texts.map(|text| words::length(text)).iter().sum::<usize>()
    }

    fn json(self) -> Value {
        let fields = self.fields.into_iter();
        let fields: Vec<Value> = fields
            .map(|(name, value, inline)| json!({ "name": name, "value": value, "inline": inline }))
            .collect();
        let mut embed = json!({
            "title": self.title, "description": self.description, "color": self.color,
            "fields": fields,
        });
        if !self.footer.is_empty() {
            embed["footer"] = json!({ "text": self.footer });
        }
        if let Some(timestamp) = self.timestamp {
            embed["timestamp"] = timestamp.into();
        }
        if let Some(url) = self.url {
            embed["url"] = url.into();
        }
        embed
    }
}

fn state(alert: &Alert) -> String {
    let state = if is_ended(alert) { "resolved" } else { "firing" };
    if alert.is_flapping { format!("{state} (flapping)") } else { state.to_owned() }
}

fn color(alert: &Alert) -> u32 {
    match (is_ended(alert), alert.state()) {
        (true, _) => RESOLVED,
        (false, farol_model::State::Critical) => FIRING,
        (false, farol_model::State::Warning) => WARNING,
        (false, farol_model::State::Stable | farol_model::State::Unknown) => OTHER,
    }
}

/// Foreign text as text: no formatting, no mention. A URL alone stays as it is, to be clicked on.
fn escaped(text: &str) -> String {
    let mut plain = String::new();
    for part in text.split_inclusive(char::is_whitespace) {
        let word = part.trim_end_matches(char::is_whitespace);
        if is_url(word) {
            plain.push_str(part);
            continue;
        }
        for c in part.chars() {
            match c {
                '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '#' | '[' | ']' | '(' | ')'
                | '-' | '+' => plain.extend(['\\', c]),
                // A mention needs the sign right before the name.
                '@' => plain.push_str("@\u{200b}"),
                c if c.is_control() && c != '\n' => plain.push(' '),
                c => plain.push(c),
            }
        }
    }
    plain
}

fn is_url(word: &str) -> bool {
    let rest = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"));
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#&=%+,;".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_neither_formats_nor_mentions() {
        assert_eq!(
            escaped("**a** @everyone <@1>"),
            "\\*\\*a\\*\\* @\u{200b}everyone \\<@\u{200b}1\\>"
        );
        assert_eq!(
            escaped("see https://x.example/a_b?c=1 _d_"),
            "see https://x.example/a_b?c=1 \\_d\\_"
        );
        assert_eq!(escaped("[a](https://evil)"), "\\[a\\]\\(https://evil\\)");
        assert_eq!(escaped("a\tb\u{7}\nc"), "a b \nc");
    }
}
