//! The control socket `<data>/control.sock` (0600): how commands on the same machine reach a running
//! `run` or `collect`. One JSON line asks, one JSON line answers; described in
//! `docs/formats/control.md`.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::fs::Mode;
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::Semaphore,
};

/// In the data folder: that of the one process that collects.
pub const SOCKET: &str = "control.sock";
/// And that of a process that serves what the other collects.
pub const SERVERS_SOCKET: &str = "serve.sock";

/// A request is one line.
const LONGEST_REQUEST: u64 = 64 * 1024;
const LONGEST_ANSWER: u64 = 4 << 20;
const CONNECTIONS: usize = 8;
const BACKLOG: i32 = 128;
const PATIENCE: Duration = Duration::from_secs(5);

/// What the program answers to a request; called on the runtime.
pub type Answer = Arc<dyn Fn(Request) -> AnswerFuture + Send + Sync>;
pub type AnswerFuture =
    std::pin::Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'static>>;

/// A command and the object that it came in: its members are the command's arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub command: Command,
    pub arguments: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Health,
    Reload,
    SilenceAdd,
    SilenceList,
    SilenceExpire,
    RemedyList,
    RemedyRun,
}

impl Command {
    const ALL: &[Command] = &[
        Command::Health,
        Command::Reload,
        Command::SilenceAdd,
        Command::SilenceList,
        Command::SilenceExpire,
        Command::RemedyList,
        Command::RemedyRun,
    ];

    fn from_name(name: &str) -> Option<Command> {
        Command::ALL.iter().copied().find(|command| command.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Command::Health => "health",
            Command::Reload => "reload",
            Command::SilenceAdd => "silence_add",
            Command::SilenceList => "silence_list",
            Command::SilenceExpire => "silence_expire",
            Command::RemedyList => "remedy_list",
            Command::RemedyRun => "remedy_run",
        }
    }
}

/// Binds the socket. One left behind by a process that is gone is taken over.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another farol answers there; stop it, or give this one its own folder with --data",
            ));
        }
        remove(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before it is bound: Linux gives the file the socket's mode, so that there is no moment in
    // which another user could connect. The umask can only take from it.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

#[expect(clippy::disallowed_methods, reason = "a socket is no data: there is nothing to sync")]
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

pub async fn serve(listener: UnixListener, answer: Answer) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: a pause, not a spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let talk = talk(stream, answer);
            if tokio::time::timeout(PATIENCE, talk).await.is_err() {
                tracing::debug!("a client of the control socket took too long");
            }
            drop(place);
        });
    }
}

async fn talk(stream: tokio::net::UnixStream, answer: Answer) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new(read.take(LONGEST_REQUEST));
    if read.read_line(&mut line).await.is_err() {
        return;
    }
    let reply = match parse(&line) {
        Ok(request) => answer(request).await,
        Err(reason) => Err(reason),
    };
    let reply = match reply {
        Ok(value) => json!({ "ok": true, "answer": value }),
        Err(reason) => json!({ "ok": false, "error": reason }),
    };
    // The client may be gone; there is nobody else to tell.
    write.write_all(format!("{reply}\n").as_bytes()).await.ok();
}

fn parse(line: &str) -> Result<Request, String> {
    if line.len() as u64 >= LONGEST_REQUEST {
        return Err(format!("a request may have {LONGEST_REQUEST} bytes"));
    }
    let arguments: Value =
        serde_json::from_str(line).map_err(|error| format!("not a JSON line: {error}"))?;
    let name = arguments.get("command").and_then(Value::as_str).unwrap_or_default();
    let Some(command) = Command::from_name(name) else {
        let shown: String = name.chars().take(40).collect();
        let known: Vec<String> =
            Command::ALL.iter().map(|command| format!("{:?}", command.name())).collect();
        return Err(format!("unknown command {shown:?}; known: {}", known.join(", ")));
    };
    Ok(Request { command, arguments })
}

/// Asks a running process; for the command line.
#[derive(Debug)]
pub enum AskError {
    /// Nobody answers at the socket.
    NotRunning(io::Error),
    Refused(String),
}

pub fn ask(path: &Path, command: Command) -> Result<Value, AskError> {
    ask_with(path, command, json!({}))
}

/// `arguments` is an object.
pub fn ask_with(path: &Path, command: Command, mut arguments: Value) -> Result<Value, AskError> {
    arguments["command"] = command.name().into();
    let line = ask_line(path, &arguments).map_err(AskError::NotRunning)?;
    let mut reply: Value = serde_json::from_str(&line)
        .map_err(|error| AskError::Refused(format!("{}: {error}", path.display())))?;
    match reply.get("ok") {
        Some(Value::Bool(true)) => Ok(reply["answer"].take()),
        _ => Err(AskError::Refused(reply["error"].as_str().unwrap_or("no reason given").into())),
    }
}

fn ask_line(path: &Path, request: &Value) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_request_is_a_json_line_and_a_bad_one_is_told_what_is_known() {
        let request = parse("{\"command\":\"silence_expire\",\"id\":\"a\"}\n").unwrap();
        assert_eq!(
            (request.command, &request.arguments["id"]),
            (Command::SilenceExpire, &json!("a"))
        );
        assert!(parse("{\"command\":\"dance\"}\n").unwrap_err().contains("\"health\""));
        assert!(parse("hello").unwrap_err().starts_with("not a JSON line"));
        let long = format!("{{\"command\":\"{}\"}}", "x".repeat(70_000));
        assert!(parse(&long).unwrap_err().contains("65536 bytes"));
    }

    #[tokio::test]
    async fn the_socket_answers_is_private_and_a_dead_one_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(bind(&path).unwrap());
        let listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        let answer: Answer = Arc::new(|request| {
            Box::pin(async move {
                match request.command {
                    Command::Health => Ok(json!({ "status": "ok" })),
                    _ => Err("no".into()),
                }
            })
        });
        let server = tokio::spawn(serve(listener, answer));
        let (health, reload) = tokio::task::spawn_blocking(move || {
            (ask(&path, Command::Health), ask(&path, Command::Reload))
        })
        .await
        .unwrap();
        server.abort();
        assert_eq!(health.unwrap()["status"], "ok");
        assert!(matches!(reload, Err(AskError::Refused(reason)) if reason == "no"));
    }
}
