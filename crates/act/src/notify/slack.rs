//! Slack, and what speaks its incoming webhooks (Mattermost, Rocket.Chat): one coloured attachment an
//! alert.
//!
//! An incoming webhook gives its messages no id: the end of an episode is a message of its own.

use farol_alert::Notice;
use farol_model::Alert;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    BoxFuture, Origin, SendError, Sender, Sent,
    http::{Answer, Endpoint, Http},
    is_ended, words,
};

/// Slack's own advice; beyond it a message is a wall.
const MOST_ATTACHMENTS: usize = 20;
const MOST_TITLE: usize = 150;
const MOST_TEXT: usize = 3000;
const MOST_VALUE: usize = 1000;

#[derive(Debug)]
pub struct Slack {
    http: Http,
    endpoint: Endpoint,
    origin: Origin,
    /// In place of the webhook's own, where it permits that.
    channel: Option<String>,
}

impl Slack {
    pub fn new(http: Http, endpoint: Endpoint, origin: Origin, channel: Option<String>) -> Slack {
        Slack { http, endpoint, origin, channel }
    }

    fn body(&self, notice: &Notice) -> Value {
        let mut body = json!({
            "text": words::cut(&escaped(&words::title(notice)), MOST_TEXT),
            "attachments": attachments(notice, &self.origin),
        });
        if let Some(channel) = &self.channel {
            body["channel"] = channel.as_str().into();
        }
        body
    }

    async fn tell(&self, notice: &Notice) -> Result<Sent, SendError> {
        let body = self.body(notice);
        let path = self.endpoint.whole_path();
        let answer = self.http.ask(Method::POST, &self.endpoint, path, Some(&body)).await?;
        outcome(&answer)
    }
}

impl Sender for Slack {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.tell(notice))
    }

    fn preview(&self, notice: &Notice) -> Value {
        self.body(notice)
    }
}

fn outcome(answer: &Answer) -> Result<Sent, SendError> {
    match answer.status.as_u16() {
        200..=299 => Ok(Sent::default()),
        // The team, the channel or the webhook is gone; it answers so for ever.
        404 | 410 => Err(SendError::disabled(answer.reason())),
        _ => Err(answer.failure()),
    }
}

fn attachments(notice: &Notice, origin: &Origin) -> Vec<Value> {
    let told = match notice.alerts.len() + notice.truncated {
        all if all > MOST_ATTACHMENTS => MOST_ATTACHMENTS - 1,
        all => all,
    };
    let mut attachments: Vec<Value> =
        notice.alerts.iter().take(told).map(|alert| attachment(alert, origin)).collect();
    let rest = notice.alerts.get(told..).unwrap_or_default();
    let more = rest.len() + notice.truncated;
    if more > 0 {
        let names: Vec<&str> = rest.iter().map(|alert| words::headline(alert)).collect();
        let title = format!("… and {more} more");
        attachments.push(json!({
            "fallback": title, "title": title, "color": "#95A5A6",
            "text": words::cut(&escaped(&names.join("; ")), MOST_TEXT),
        }));
    }
    attachments
}

fn attachment(alert: &Alert, origin: &Origin) -> Value {
    let title = words::cut(&escaped(words::headline(alert)), MOST_TITLE);
    let state = if is_ended(alert) { "resolved" } else { "firing" };
    let field = |title: &str, value: String, short: bool| json!({ "title": title, "value": words::cut(&escaped(&value), MOST_VALUE), "short": short });
    let mut fields = vec![
        field("State", state.to_owned(), true),
        field("Severity", alert.severity().unwrap_or("none").to_owned(), true),
        field("Value", words::value(alert), true),
        field("Since", words::moment(words::began(alert)), true),
    ];
    if let Some(ended) = alert.ended_at.filter(|_| is_ended(alert)) {
        fields.push(field("Lasted", words::span(ended.since(words::began(alert))), true));
    }
    fields.push(field("Labels", words::labels(alert), false));
    let mut attachment = json!({
        "fallback": format!("{state}: {title}"),
        "title": title,
        "text": words::cut(&escaped(words::description(alert)), MOST_TEXT),
        "color": color(alert),
        "fields": fields,
        "footer": words::cut(&escaped(&origin.host), MOST_TITLE),
        "ts": words::began(alert).as_millis().div_euclid(1000),
        // Foreign text is shown as it is.
        "mrkdwn_in": [],
    });
    let link = alert.annotations.get("runbook_url").map(str::to_owned);
    let link = link.or_else(|| Some(format!("{}/alerts", origin.external_url.as_ref()?)));
    if let Some(link) = link {
        attachment["title_link"] = link.into();
    }
    attachment
}

fn color(alert: &Alert) -> &'static str {
    match (is_ended(alert), alert.state()) {
        (true, _) => "#2ECC71",
        (false, farol_model::State::Critical) => "#992D22",
        (false, farol_model::State::Warning) => "#E67E22",
        (false, farol_model::State::Stable | farol_model::State::Unknown) => "#95A5A6",
    }
}

/// The three characters by which Slack marks links and mentions.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
