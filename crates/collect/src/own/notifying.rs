//! What Farol says of its messages, by notifier.

use std::{collections::BTreeMap, time::Duration};

use farol_model::Text;

use crate::Scrape;

pub(super) const ATTEMPTS: &str = "farol_notifications_total";
pub(super) const DEAD: &str = "farol_notifications_dead_total";
pub(super) const QUEUED: &str = "farol_notifications_queued";
pub(super) const OLDEST: &str = "farol_notifications_oldest_seconds";
pub(super) const LATENCY: &str = "farol_notification_latency_seconds";
pub(super) const DISABLED: &str = "farol_notifications_disabled";

/// By the notifier's name.
pub type NotifyingFigures = BTreeMap<Text, ChannelFigures>;

#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelFigures {
    pub sent: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// The same, where the receiver has demanded a wait.
    pub throttled: u64,
    pub dead: u64,
    pub queued: u64,
    /// How long the oldest message has been due.
    pub oldest: Option<Duration>,
    /// Of the last message.
    pub latency: Option<Duration>,
    pub is_disabled: bool,
}

pub(super) fn push(out: &mut Scrape, figures: &NotifyingFigures) {
    for (channel, figures) in figures {
        for (outcome, value) in
            [("retried", figures.retried), ("sent", figures.sent), ("throttled", figures.throttled)]
        {
            out.push(ATTEMPTS, &[("channel", channel), ("outcome", outcome)], value as f64);
        }
    }
    for (channel, figures) in figures {
        out.push(DEAD, &[("channel", channel)], figures.dead as f64);
    }
    for (channel, figures) in figures {
        out.push(QUEUED, &[("channel", channel)], figures.queued as f64);
    }
    for (channel, figures) in figures {
        let disabled = f64::from(u8::from(figures.is_disabled));
        out.push(DISABLED, &[("channel", channel)], disabled);
    }
    for (name, value) in [
        (OLDEST, (|figures| figures.oldest) as fn(&ChannelFigures) -> Option<Duration>),
        (LATENCY, |figures| figures.latency),
    ] {
        for (channel, figures) in figures {
            if let Some(duration) = value(figures) {
                out.push(name, &[("channel", channel)], super::rounded(duration.as_secs_f64()));
            }
        }
    }
}
