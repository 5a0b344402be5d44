//! Where the running Farol is, for the commands that ask it: the control socket in the data folder,
//! else the address it listens on.

use std::{fmt, net::SocketAddr, path::PathBuf};

use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::{
    config,
    control::{self, AskError},
    http_get,
};

/// Where to ask, in this order.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) socket: PathBuf,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Nobody answers. Its own type because it has an exit code of its own.
#[derive(Debug)]
pub(super) struct NotRunning(String);

impl fmt::Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotRunning {}

/// The flags by which a running instance is found: the same as those it was started with.
pub(super) fn configure(command: Command) -> Command {
    config::add_flags(command).mut_args(|arg| match arg.get_id().as_str() {
        "config" | "data" | "logs" | "listen" => arg,
        _ => arg.hide(true),
    })
}

pub(super) fn place(matches: &ArgMatches) -> anyhow::Result<Place> {
    let config = config::from_process(config::flags_from(matches))?.config;
    Ok(Place { socket: config.data.join("control.sock"), addresses: config.listen })
}

/// What `/health` says, however it can be reached.
pub(super) fn health(place: &Place) -> anyhow::Result<Value> {
    let not_there = match control::ask(&place.socket, control::Command::Health) {
        Ok(health) => return Ok(health),
        Err(AskError::Refused(reason)) => anyhow::bail!(reason),
        Err(AskError::NotRunning(error)) => error,
    };
    for address in &place.addresses {
        if let Ok((_, body)) = http_get::get(&address.to_string(), "/health")
            && let Ok(health) = serde_json::from_str(&body)
        {
            return Ok(health);
        }
    }
    let addresses: Vec<String> = place.addresses.iter().map(ToString::to_string).collect();
    let message = format!(
        "no farol answers at {} ({not_there}) nor at {}; is it running, with this --data and --listen?",
        place.socket.display(),
        addresses.join(", ")
    );
    Err(NotRunning(message).into())
}
