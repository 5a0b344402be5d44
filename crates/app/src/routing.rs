//! From what is configured to who is told of which alerts, and when.

use farol_alert::{Routing, dispatch::default_inhibitions};

use crate::config::Config;

pub fn routing(_config: &Config) -> Routing {
    Routing { routes: Vec::new(), inhibitions: default_inhibitions(), quiet: Vec::new() }
}
