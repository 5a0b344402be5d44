//! Notifiers: one follower for each channel, one sender for each kind of receiver.
//!
//! A [`Sender`] knows one receiver's format, limits and answers, and nothing of time or of what was
//! told before. The [`Follower`] knows what is due, what the receiver forbids, and how long to try.
//! To add a kind: a file here with a `Sender`, and its row in `app`'s configuration.

use std::{fmt, pin::Pin, time::Duration};

use farol_alert::Notice;
use farol_model::{Alert, Text};

mod alertmanager;
mod discord;
mod email;
mod follow;
mod heartbeat;
mod http;
mod slack;
mod webhook;
mod words;

pub use alertmanager::{Alertmanager, RESEND, Resender};
pub use discord::Discord;
pub use email::{Email, Protection, Server, mailbox};
pub use follow::{Board, Figures, Follower, RecordFailed, Records};
pub use heartbeat::{Heartbeat, Ping};
pub use http::{Endpoint, Http, Trust};
pub use slack::Slack;
pub use webhook::{Webhook, body as webhook_body};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Speaks to one receiver.
pub trait Sender: Send {
    /// One attempt, bounded in time by the sender itself.
    fn send<'a>(&'a mut self, notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>>;

    /// What [`send`](Sender::send) would hand over, for people to look at. Holds no secret.
    fn preview(&self, notice: &Notice) -> serde_json::Value;
}

/// The receiver has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// The id that it gave the message, by which it can be changed.
    pub message: Option<Text>,
    /// So long it wants to be left alone, although it took this one.
    pub quiet: Option<Duration>,
}

/// Why the receiver has it not. No reason holds a secret.
#[derive(Clone, Debug, PartialEq)]
pub enum SendError {
    /// It may work later; not before `after` where the receiver has said so.
    Retry { after: Option<Duration>, reason: Text },
    /// This message will never be taken.
    Refused { reason: Text },
    /// No message will ever be taken with these settings.
    Disabled { reason: Text },
}

impl SendError {
    pub fn reason(&self) -> &Text {
        match self {
            SendError::Retry { reason, .. }
            | SendError::Refused { reason }
            | SendError::Disabled { reason } => reason,
        }
    }

    fn retry(reason: impl Into<Text>) -> SendError {
        SendError::Retry { after: None, reason: reason.into() }
    }

    fn refused(reason: impl Into<Text>) -> SendError {
        SendError::Refused { reason: reason.into() }
    }

    fn disabled(reason: impl Into<Text>) -> SendError {
        SendError::Disabled { reason: reason.into() }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for SendError {}

/// What every message says of where it comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    pub host: Text,
    /// Where people find Farol's page, without a slash at its end.
    pub external_url: Option<Text>,
}

fn is_ended(alert: &Alert) -> bool {
    alert.phase == farol_model::Phase::Ended
}
