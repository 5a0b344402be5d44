//! From what is configured to who is told of which alerts, and when.

use farol_alert::{Matcher, Quiet, Route, Routing, dispatch::default_inhibitions};
use farol_model::Text;

use crate::config::{Config, QuietHours};

/// The routing of this configuration; its routes are those of the notifiers.
pub fn routing(config: &Config) -> Routing {
    Routing {
        routes: Vec::new(),
        inhibitions: default_inhibitions(),
        quiet: config.quiet_hours.iter().filter_map(quiet).collect(),
    }
}

/// The route of a channel that says nothing of its own.
pub fn default_route(config: &Config, channel: impl Into<Text>) -> Route {
    Route {
        group_by: config.alerts.group_by.clone(),
        group_wait: config.alerts.group_wait,
        group_interval: config.alerts.group_interval,
        repeat_interval: config.alerts.repeat_interval,
        ..Route::new(channel)
    }
}

/// Nothing only for what the configuration would have refused.
fn quiet(hours: &QuietHours) -> Option<Quiet> {
    let matchers = hours.matchers.iter().map(|text| Matcher::read(text));
    Some(Quiet { window: hours.window().ok()?, matchers: matchers.collect::<Result<_, _>>().ok()? })
}
