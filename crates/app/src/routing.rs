//! From what is configured to who is told of which alerts, and when.

use farol_alert::{Routing, dispatch::default_inhibitions};

use crate::{channels, config::Config};

pub fn routing(config: &Config) -> Routing {
    Routing {
        routes: channels::routes(config),
        inhibitions: default_inhibitions(),
        quiet: Vec::new(),
    }
}
