//! Any program: Alertmanager's webhook body, version 4, by POST.
//!
//! As Alertmanager does it, 2xx is success; 5xx and 429 are tried again, any other answer is final.

use farol_alert::Notice;
use farol_model::{Alert, Labels, fingerprint};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    BoxFuture, Origin, SendError, Sender, Sent,
    http::{Endpoint, Http},
    is_ended, words,
};

/// When something ends that has not ended, as Go writes its zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug)]
pub struct Webhook {
    http: Http,
    endpoint: Endpoint,
    origin: Origin,
}

impl Webhook {
    pub fn new(http: Http, endpoint: Endpoint, origin: Origin) -> Webhook {
        Webhook { http, endpoint, origin }
    }

    async fn tell(&self, notice: &Notice) -> Result<Sent, SendError> {
        let body = body(notice, &self.origin);
        let path = self.endpoint.whole_path();
        let answer = self.http.ask(Method::POST, &self.endpoint, path, Some(&body)).await?;
        match answer.status.is_success() {
            true => Ok(Sent::default()),
            false => Err(answer.failure()),
        }
    }
}

impl Sender for Webhook {
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.tell(notice))
    }

    fn preview(&self, notice: &Notice) -> Value {
        body(notice, &self.origin)
    }
}

/// Version 4. `routeLabels` and `notification_reason` are those of newer Alertmanagers.
pub fn body(notice: &Notice, origin: &Origin) -> Value {
    let alerts = &notice.alerts;
    json!({
        "receiver": notice.channel.as_str(),
        "status": status(notice.is_firing()),
        "alerts": alerts.iter().map(|alert| one(alert, origin)).collect::<Vec<_>>(),
        "groupLabels": object(pairs(&notice.group_labels)),
        "commonLabels": object(words::common(alerts.iter().map(|alert| &alert.labels))),
        "commonAnnotations": object(words::common(alerts.iter().map(|alert| &alert.annotations))),
        "routeLabels": {},
        "externalURL": origin.external_url.as_deref().unwrap_or_default(),
        "version": "4",
        "groupKey": notice.group.as_str(),
        "truncatedAlerts": notice.truncated,
        "notification_reason": notice.reason.name(),
    })
}

fn one(alert: &Alert, origin: &Origin) -> Value {
    let ended = alert.ended_at.filter(|_| is_ended(alert));
    json!({
        "status": status(!is_ended(alert)),
        "labels": object(pairs(&alert.labels)),
        "annotations": object(pairs(&alert.annotations)),
        "startsAt": words::rfc3339(words::began(alert)),
        "endsAt": ended.map_or(NEVER.to_owned(), words::rfc3339),
        "generatorURL": generator(origin),
        "fingerprint": format!("{:016x}", fingerprint(&alert.labels)),
    })
}

pub(super) fn generator(origin: &Origin) -> String {
    origin.external_url.as_ref().map(|url| format!("{url}/alerts")).unwrap_or_default()
}

fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

fn pairs(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn object(pairs: Vec<(&str, &str)>) -> Value {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect::<Map<_, _>>()
        .into()
}
