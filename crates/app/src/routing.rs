//! From what is configured to who is told of which alerts, and when.

use farol_alert::{Matcher, Quiet, Routing, dispatch::default_inhibitions};

use crate::{
    channels,
    config::{Config, QuietHours},
};

pub fn routing(config: &Config) -> Routing {
    Routing {
        routes: channels::routes(config),
        inhibitions: default_inhibitions(),
        quiet: config.quiet_hours.iter().filter_map(quiet).collect(),
    }
}

/// Nothing only for what the configuration would have refused.
fn quiet(hours: &QuietHours) -> Option<Quiet> {
    let matchers = hours.matchers.iter().map(|text| Matcher::read(text));
    Some(Quiet { window: hours.window().ok()?, matchers: matchers.collect::<Result<_, _>>().ok()? })
}
