//! Where the running Farol is, for the commands that ask it: the control socket in the data folder,
//! else the address it listens on.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, Id};
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

/// The flags by which a running instance is found: the same as those it was started with. What the
/// command has of its own stays in its help.
pub(super) fn configure(command: Command) -> Command {
    let own: Vec<Id> = command.get_arguments().map(|arg| arg.get_id().clone()).collect();
    config::add_flags(command).mut_args(|arg| match arg.get_id().as_str() {
        "config" | "data" | "logs" | "listen" => arg,
        _ if own.contains(arg.get_id()) => arg,
        _ => arg.hide(true),
    })
}

pub(super) fn place(matches: &ArgMatches) -> anyhow::Result<Place> {
    let config = config::from_process(config::flags_from(matches))?.config;
    let addresses = config.listen.iter().flat_map(|address| reachable(*address)).collect();
    Ok(Place { socket: config.data.join(control::SOCKET), addresses })
}

/// "Every address" is none that one can ask at (and no name that is answered to): this machine's
/// own addresses stand for it. The socket for IPv6 takes IPv4 too; a container may have only that.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, address.port());
    let (v4, v6) = (at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into()));
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![v4],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![v4, v6],
        _ => vec![address],
    }
}

/// What `/health` says, however it can be reached.
pub(super) fn health(place: &Place) -> anyhow::Result<Value> {
    let not_there = match ask(place, control::Command::Health) {
        Ok(health) => return Ok(health),
        Err(AskError::Refused(reason)) => anyhow::bail!(reason),
        Err(AskError::NotRunning(error)) => error,
    };
    let mut closed = None;
    for address in &place.addresses {
        let Ok((status, body)) = http_get::get(&address.to_string(), "/health") else { continue };
        match serde_json::from_str(&body) {
            Ok(health) => return Ok(health),
            Err(_) => closed = closed.or(closed_door(*address, status, &body)),
        }
    }
    if let Some(closed) = closed {
        anyhow::bail!("{closed}; {}", ask_at_the_socket(&place.socket, &not_there));
    }
    Err(NotRunning(no_answer(&place.socket, &not_there, &place.addresses)).into())
}

/// What keeps a plain question out, where something does.
fn closed_door(address: SocketAddr, status: u16, body: &str) -> Option<String> {
    match status {
        401 => Some(format!("{address} answers, but wants a password or a token")),
        429 => Some(format!("{address} answers, but has too much to do: {}", body.trim())),
        400 if body.contains("TLS") => Some(format!("{address} answers, but under TLS only")),
        _ => None,
    }
}

/// The way in that needs neither a password nor a certificate.
fn ask_at_the_socket(socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "{socket} asks for neither, and is for root and the user that farol runs as: ask as \
             one of them"
        ),
        _ => format!(
            "the control socket asks for neither, but none answers at {socket}: give the \
                      --data that farol runs with"
        ),
    }
}

/// Asks the process that collects, else the one that serves its journal.
pub(super) fn ask(place: &Place, command: control::Command) -> Result<Value, AskError> {
    ask_with(place, command, &serde_json::json!({}))
}

/// The same with arguments, an object.
pub(super) fn ask_with(
    place: &Place,
    command: control::Command,
    arguments: &Value,
) -> Result<Value, AskError> {
    let first = control::ask_with(&place.socket, command, arguments.clone());
    let Err(AskError::NotRunning(_)) = &first else { return first };
    let second = place.socket.with_file_name(control::SERVERS_SOCKET);
    match control::ask_with(&second, command, arguments.clone()) {
        Err(AskError::NotRunning(_)) => first,
        answer => answer,
    }
}

/// Asks the process that the flags name, for a command that needs nothing but its answer.
pub(super) fn ask_by(
    matches: &ArgMatches,
    command: control::Command,
    arguments: &Value,
) -> anyhow::Result<Value> {
    let place = place(matches)?;
    ask_with(&place, command, arguments).map_err(|error| match error {
        AskError::Refused(reason) => anyhow::anyhow!("{reason}"),
        AskError::NotRunning(error) => {
            anyhow::anyhow!("{}", no_answer(&place.socket, &error, &[]))
        }
    })
}

/// Where nobody answered, and what to try. A socket that may not be opened is another matter than
/// one that is not there: then Farol may well be running.
pub(super) fn no_answer(socket: &Path, error: &io::Error, addresses: &[SocketAddr]) -> String {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        _ => error.to_string(),
    };
    let mut message = format!("no farol answers at {} ({why})", socket.display());
    for address in addresses {
        message.push_str(&format!(" nor at {address}"));
    }
    let flags = if addresses.is_empty() { "--data" } else { "--data and --listen" };
    message.push_str(&match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the socket is for root and the user that farol runs as: ask as one of them"
                .to_owned()
        }
        _ => format!("; is it running, with this {flags}?"),
    });
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_command_names_its_own_flags_and_few_settings() {
        let own = clap::Arg::new("match").long("match").help("The series");
        let help = configure(Command::new("export").arg(own)).render_help().to_string();
        for expected in ["--match", "The series", "--data", "--logs"] {
            assert!(help.contains(expected), "{expected} is not in\n{help}");
        }
        assert!(!help.contains("--store.retention"), "{help}");
    }

    #[test]
    fn every_address_is_asked_at_the_machine_s_own() {
        let asked = |listen: &str| {
            let found = reachable(listen.parse().unwrap());
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(asked("[::]:8000"), ["127.0.0.1:8000", "[::1]:8000"]);
        assert_eq!(asked("0.0.0.0:8000"), ["127.0.0.1:8000"]);
        assert_eq!(asked("10.0.0.7:8000"), ["10.0.0.7:8000"]);
    }

    #[test]
    fn a_server_is_asked_where_nobody_collects() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(control::SOCKET);
        let place = Place { socket, addresses: Vec::new() };
        let asked = || ask(&place, control::Command::Health);
        assert!(matches!(asked(), Err(AskError::NotRunning(_))));
        let path = folder.path().join(control::SERVERS_SOCKET);
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::Write::write_all(&mut stream, b"{\"ok\":true,\"answer\":7}\n").unwrap();
            // Open until the question was put.
            io::Read::read(&mut stream, &mut [0; 64]).unwrap();
        });
        assert_eq!(asked().unwrap(), Value::from(7));
        server.join().unwrap();
    }

    #[test]
    fn a_door_that_wants_a_password_is_said_to_be_one() {
        let address = "127.0.0.1:8000".parse().unwrap();
        let said = |status, body| closed_door(address, status, body);
        let expected = "127.0.0.1:8000 answers, but wants a password or a token".to_owned();
        assert_eq!(said(401, "unauthorized\n"), Some(expected));
        assert!(said(400, "this port speaks TLS: ask with https://").is_some());
        assert_eq!(said(400, "a request needs one Host header"), None);
        assert_eq!(said(200, "not farol"), None);
    }

    #[test]
    fn a_closed_door_is_not_taken_for_an_empty_house() {
        let socket = Path::new("/d/control.sock");
        let said = |kind: io::ErrorKind, addresses: &[SocketAddr]| {
            no_answer(socket, &io::Error::from(kind), addresses)
        };
        assert_eq!(
            said(io::ErrorKind::NotFound, &["127.0.0.1:8000".parse().unwrap()]),
            "no farol answers at /d/control.sock (there is no such socket) nor at 127.0.0.1:8000; \
             is it running, with this --data and --listen?"
        );
        let denied = said(io::ErrorKind::PermissionDenied, &[]);
        assert!(denied.ends_with("ask as one of them"), "{denied}");
    }
}
