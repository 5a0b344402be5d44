//! Names and images of containers, asked of the container engine, where the user granted its
//! socket. Source: Docker's API, `GET /containers/json` (Podman answers the same).
//!
//! Whoever may write to that socket is as good as root, so what is written there is one constant:
//! nothing but this question can be asked. A thread of its own asks, because an engine can hang:
//! the figures then go on without names, and the tick waits for an answer only while the engine is
//! known to answer.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use farol_model::{Text, Timestamp};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use serde::Deserialize;

use crate::runner::start_lap;

/// HTTP/1.0: the body ends where the connection does, so there are no chunks to put together.
pub(super) const REQUEST: &[u8] =
    b"GET /containers/json HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n";
const LARGEST_ANSWER: u64 = 4 << 20;
/// For all of it: connecting, asking, and the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the engine says of one container, as label pairs: `name`, `image`, `container_label_*`.
pub(super) type Pairs = Arc<[(Text, Text)]>;
type Answer = Result<HashMap<String, Pairs>, String>;

pub(super) struct Engine {
    socket: PathBuf,
    /// Label of a container, and the name under which it becomes one of ours.
    labels: Arc<[(String, Text)]>,
    known: HashMap<String, Pairs>,
    /// The containers there were when it was last asked: unknown ones among them are not its own.
    asked_about: HashSet<String>,
    asked_at: Option<Timestamp>,
    /// An answer that is still to come. Its thread ends by itself.
    pending: Option<Receiver<Answer>>,
    /// It once let a tick wait for nothing.
    is_slow: bool,
    problem: Option<String>,
}

impl Engine {
    const EVERY: Duration = Duration::from_secs(60);
    /// How long a tick waits for the names of a container it has not seen before; without them its
    /// series would begin nameless and be others at the next tick.
    const WAIT: Duration = Duration::from_millis(300);

    /// `labels` are the containers' labels that become ours.
    pub(super) fn new(socket: PathBuf, labels: &[String]) -> Engine {
        let named = labels.iter().map(|label| (label.clone(), Text::from(label_name(label))));
        Engine {
            socket,
            labels: named.collect(),
            known: HashMap::new(),
            asked_about: HashSet::new(),
            asked_at: None,
            pending: None,
            is_slow: false,
            problem: None,
        }
    }

    /// Once a tick, with all containers there are.
    pub(super) fn update<'a>(
        &mut self,
        now: Timestamp,
        containers: impl Iterator<Item = &'a str> + Clone,
    ) {
        self.take(Duration::ZERO);
        if self.pending.is_some() {
            return;
        }
        let is_new = containers.clone().any(|container| !self.asked_about.contains(container));
        let is_due = self.asked_at.is_none_or(|at| now < at || now.since(at) >= Engine::EVERY);
        if !is_new && !is_due {
            return;
        }
        self.asked_at = Some(now);
        self.asked_about = containers.map(str::to_owned).collect();
        self.ask();
        if is_new && !self.is_slow {
            self.take(Engine::WAIT);
            self.is_slow = self.pending.is_some();
        }
    }

    /// Waits for the answer that is still to come.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.take(PATIENCE);
    }

    pub(super) fn known(&self, container: &str) -> Option<&Pairs> {
        self.known.get(container)
    }

    /// Why there are no names, or only old ones.
    pub(super) fn problem(&self) -> Option<String> {
        let why = match (&self.problem, self.is_slow) {
            (Some(problem), _) => problem,
            (None, true) if self.pending.is_some() => "no answer yet",
            (None, _) => return None,
        };
        Some(format!("no names of containers from {}: {why}", self.socket.display()))
    }

    fn ask(&mut self) {
        let (answers, pending) = sync_channel::<Answer>(1);
        let (socket, labels) = (self.socket.clone(), Arc::clone(&self.labels));
        const STACK_BYTES: usize = 256 * 1024;
        let spawned = thread::Builder::new()
            .name("container-names".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let answer = ask(&socket).and_then(|body| parse(&body, &labels));
                // Nobody may be waiting any more.
                answers.send(answer).ok();
            });
        match spawned {
            Ok(_) => self.pending = Some(pending),
            Err(error) => self.problem = Some(error.to_string()),
        }
    }

    fn take(&mut self, wait: Duration) {
        let Some(pending) = &self.pending else { return };
        let taken = match wait {
            Duration::ZERO => pending.try_recv(),
            wait => pending.recv_timeout(wait).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            }),
        };
        match taken {
            Err(TryRecvError::Empty) => return,
            Ok(Ok(known)) => {
                self.known = known;
                self.problem = None;
                self.is_slow = false;
            }
            Ok(Err(problem)) => self.problem = Some(problem),
            Err(TryRecvError::Disconnected) => {
                self.problem = Some("the thread that asks ended".to_owned());
            }
        }
        self.pending = None;
    }
}

/// The body of the engine's answer.
fn ask(socket: &Path) -> Result<Vec<u8>, String> {
    let answer = exchange(socket).map_err(|error| error.to_string())?;
    body(&answer).map(<[u8]>::to_vec)
}

fn exchange(socket: &Path) -> io::Result<Vec<u8>> {
    let lap = start_lap();
    let mut stream = open(socket)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        // A byte now and then must not stretch it.
        let left = PATIENCE.saturating_sub(lap.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LARGEST_ANSWER {
            return Err(io::Error::other("the answer is larger than 4 MiB"));
        }
    }
}

/// A full queue of connections would block for good; the timeout of sending bounds that too.
fn open(socket: &Path) -> io::Result<UnixStream> {
    let handle = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&handle, Timeout::Send, Some(PATIENCE))?;
    connect(&handle, &SocketAddrUnix::new(socket)?)?;
    Ok(handle.into())
}

fn body(answer: &[u8]) -> Result<&[u8], String> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    const LONGEST_HEAD: usize = 16 * 1024;
    let searched = answer.get(..LONGEST_HEAD).unwrap_or(answer);
    let end = searched.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let not_http = || "the answer is not HTTP".to_owned();
    let (head, rest) = answer.split_at(end.ok_or_else(not_http)?);
    let status_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status_line = std::str::from_utf8(status_line).map_err(|_| not_http())?;
    let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    match status {
        Some("200") => Ok(rest.get(END_OF_HEAD.len()..).unwrap_or_default()),
        Some(status) if status.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("the engine answers with status {status}"))
        }
        _ => Err(not_http()),
    }
}

/// What is wanted of a container in the engine's list. Podman says null for an empty list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

fn parse(body: &[u8], labels: &[(String, Text)]) -> Answer {
    let listed: Vec<Listed> = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is no list of containers: {error}"))?;
    Ok(listed.into_iter().map(|container| pairs_of(container, labels)).collect())
}

fn pairs_of(container: Listed, labels: &[(String, Text)]) -> (String, Pairs) {
    let mut pairs = Vec::new();
    let mut push = |name: Text, value: &str| {
        if is_value(value) {
            pairs.push((name, Text::from(value)));
        }
    };
    let given = container.labels.unwrap_or_default();
    for (label, name) in labels {
        if let Some(value) = given.get(label) {
            push(name.clone(), value);
        }
    }
    push(Text::from_static("name"), own_name(container.names.as_deref().unwrap_or_default()));
    push(Text::from_static("image"), container.image.as_deref().unwrap_or_default());
    (container.id, pairs.into())
}

/// `/web`; with links there are also names that others call it by: `/proxy/web`.
fn own_name(names: &[String]) -> &str {
    let without_slash = |name: &'_ String| name.trim_start_matches('/').len();
    let own = names.iter().find(|name| !name.trim_start_matches('/').contains('/'));
    let name = own.or_else(|| names.iter().min_by_key(|name| without_slash(name)));
    name.map_or("", |name| name.trim_start_matches('/'))
}

/// A label of a container can hold a whole document; that is no label of a series.
fn is_value(text: &str) -> bool {
    const LONGEST: usize = 256;
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// As cAdvisor does it, so that boards find it.
fn label_name(label: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("container_label_{}", label.chars().map(plain).collect::<String>())
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    let labels = [(text.to_owned(), Text::from(label_name(text)))];
    drop((body(text.as_bytes()), parse(text.as_bytes(), &labels), own_name(&[text.to_owned()])));
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const ID: &str = "ab34aa3652d0fc3526c546122e00b49d9e513604f79383c2ea5b4f00fad7a353";
    /// What Docker 20.10 answered for two containers, and nothing changed in it.
    const DOCKER: &[u8] = include_bytes!("engine_answer.http");

    /// An engine that answers each question with the same bytes, or with none at all.
    struct Listening {
        _place: tempfile::TempDir,
        socket: PathBuf,
        listener: UnixListener,
    }

    impl Listening {
        fn new() -> Listening {
            let place = tempfile::tempdir().unwrap();
            let socket = place.path().join("engine.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            Listening { _place: place, socket, listener }
        }

        fn engine(&self) -> Engine {
            let labels = ["com.docker.compose.project", "com.docker.compose.service"];
            Engine::new(self.socket.clone(), &labels.map(str::to_owned))
        }

        /// What it was asked.
        fn answer(&self, answer: &[u8]) -> Vec<u8> {
            let (mut stream, _) = self.listener.accept().unwrap();
            let mut question = [0; REQUEST.len()];
            stream.read_exact(&mut question).unwrap();
            // The asker may hang up before the end.
            stream.write_all(answer).ok();
            question.to_vec()
        }
    }

    fn answered(answer: &[u8]) -> (Engine, Vec<u8>) {
        let listening = Listening::new();
        let mut engine = listening.engine();
        let question = thread::scope(|scope| {
            let question = scope.spawn(|| listening.answer(answer));
            engine.update(Timestamp::from_millis(0), [ID].into_iter());
            question.join().unwrap()
        });
        // The answer may have come after the tick's wait.
        engine.settle();
        (engine, question)
    }

    fn pairs(engine: &Engine) -> Vec<(String, String)> {
        let pairs = engine.known(ID).expect("a name").iter();
        pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_recorded_answer_yields_name_image_and_the_wanted_labels() {
        let (engine, question) = answered(DOCKER);
        assert!(question.starts_with(b"GET /containers/json HTTP/1.0\r\n"));
        let expected = [
            ("container_label_com_docker_compose_project", "shop"),
            ("container_label_com_docker_compose_service", "web"),
            ("name", "plain"),
            ("image", "bb:1"),
        ];
        assert_eq!(pairs(&engine), expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(engine.problem(), None);
    }

    #[test]
    fn what_is_no_answer_is_a_problem_and_no_name() {
        for (answer, problem) in [
            (&b"garbage"[..], "not HTTP"),
            (b"HTTP/1.0 500 Internal Server Error\r\n\r\n[]", "status 500"),
            (b"HTTP/1.0 200 OK\r\n\r\n{\"message\":\"hm\"}", "no list of containers"),
            (b"HTTP/1.0 200 OK\r\n\r\n[{\"Id\":\"a\",\"Names\"", "no list of containers"),
            (b"", "not HTTP"),
        ] {
            let (engine, _) = answered(answer);
            let said = engine.problem().expect("a problem");
            assert!(said.contains(problem), "{said}");
            assert!(engine.known(ID).is_none());
        }
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let mut answer = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
        answer.resize(5 << 20, b' ');
        let (engine, _) = answered(&answer);
        assert!(engine.problem().unwrap().contains("larger than 4 MiB"));
    }

    #[test]
    fn an_engine_that_hangs_costs_one_wait_and_no_figures() {
        let listening = Listening::new();
        let mut engine = listening.engine();
        engine.update(Timestamp::from_millis(0), [ID].into_iter());
        assert!(engine.is_slow && engine.pending.is_some());
        assert!(engine.problem().unwrap().contains("no answer yet"));
        // While it is still to come nobody asks again, and nobody waits.
        engine.update(Timestamp::from_millis(10_000), [ID, "other"].into_iter());
        assert!(!engine.asked_about.contains("other"));
    }

    #[test]
    fn it_is_asked_again_for_a_new_container_and_each_minute() {
        let missing = tempfile::tempdir().unwrap().path().join("none.sock");
        let mut engine = Engine::new(missing, &[]);
        let mut asked = |seconds: i64, containers: &[&str]| {
            let now = Timestamp::from_millis(seconds * 1000);
            engine.update(now, containers.iter().copied());
            engine.settle();
            engine.asked_at == Some(now)
        };
        assert!(asked(0, &["a"]));
        assert!(!asked(10, &["a"]), "it is not this engine's");
        assert!(asked(20, &["a", "b"]));
        assert!(!asked(79, &["b"]));
        assert!(asked(80, &["b"]));
        assert!(asked(5, &["b"]), "the clock was set back");
        assert!(engine.problem().is_some());
    }

    #[test]
    fn names_of_links_and_of_documents_are_not_taken() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(own_name(&names(&["/proxy/web", "/web"])), "web");
        assert_eq!(own_name(&names(&["podman"])), "podman");
        assert_eq!(own_name(&[]), "");
        assert!(is_value("a b") && !is_value("") && !is_value("a\nb"));
        assert!(!is_value(&"x".repeat(257)));
        assert_eq!(label_name("org.Example-x/y"), "container_label_org_Example_x_y");
    }

    #[test]
    fn podman_s_nulls_are_empty() {
        let body = br#"[{"Id":"a","Names":null,"Image":"i","Labels":null,"Ports":[1]}]"#;
        let known = parse(body, &[]).unwrap();
        assert_eq!(known["a"].len(), 1);
    }
}
