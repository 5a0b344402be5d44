//! What the tests need of the world: folders, processes that end with the test, plain HTTP, and
//! waiting for a condition with a deadline.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) const FAROL: &str = env!("CARGO_BIN_EXE_farol");

/// Long enough for a busy two-core machine; reached only when something is wrong.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running Farol with folders of its own; killed with the test.
pub(crate) struct Farol {
    pub(crate) child: Child,
    /// `127.0.0.1:PORT`; empty for `collect`.
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
    _owner: Option<tempfile::TempDir>,
}

impl Farol {
    /// `farol SHAPE` on a port of its choice, with `<folder>/{data,logs}`.
    pub(crate) fn start(shape: &str, flags: &[&str]) -> Farol {
        let owner = tempfile::tempdir().unwrap();
        let folder = owner.path().to_owned();
        let mut farol = Farol::start_in(&folder, shape, flags);
        farol._owner = Some(owner);
        farol
    }

    pub(crate) fn start_in(folder: &Path, shape: &str, flags: &[&str]) -> Farol {
        let mut command = Command::new(FAROL);
        command.arg(shape);
        Farol::spawn(command, folder, flags)
    }

    /// The same with a command of the test's making (another user, a tracer around it).
    pub(crate) fn spawn(mut command: Command, folder: &Path, flags: &[&str]) -> Farol {
        command.arg("--data").arg(folder.join("data")).arg("--logs").arg(folder.join("logs"));
        command.args(flags);
        Farol::spawn_with_own_folders(command, folder)
    }

    /// For a command that names its folders itself.
    pub(crate) fn spawn_with_own_folders(mut command: Command, folder: &Path) -> Farol {
        command
            .args(["--listen", "127.0.0.1:0"])
            .env_remove("FAROL_CONFIG")
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(at) = line.strip_prefix("farol listening on ") {
                let (_, at) = at.split_once("://").unwrap();
                address = at.to_owned();
                break;
            }
            if line.starts_with("farol collecting") {
                break;
            }
        }
        // Nobody reads the rest, but a full pipe must not hold the program up.
        std::thread::spawn(move || lines.for_each(drop));
        Farol { child, address, folder: folder.to_owned(), _owner: None }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(&self.address, path, &[])
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(crate) fn health(&self) -> serde_json::Value {
        serde_json::from_str(&self.get("/health").text()).unwrap()
    }

    pub(crate) fn wait_until_ready(&self) {
        eventually("ready", || self.get("/-/ready").status == 200);
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        let mut code = None;
        eventually("stopped", || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
        code
    }
}

impl Drop for Farol {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (held, value) = line.split_once(':')?;
            held.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) fn get(address: &str, path: &str, headers: &[&str]) -> Answer {
    try_get(address, path, headers).unwrap()
}

pub(crate) fn try_get(address: &str, path: &str, headers: &[&str]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut answer = Answer { status, head, body: answer[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    }
    Ok(answer)
}

/// As Go answers when it does not know the length beforehand.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        let chunk = rest.get(end + 2..)?;
        body.extend_from_slice(chunk.get(..length)?);
        rest = chunk.get(length + 2..)?;
    }
}

/// A text in a query of a URL.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
}

/// Polls until `condition` holds; panics when it does not within the deadline.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A peer that must be there: `make test` installs it.
pub(crate) fn needs(program: &str) -> &str {
    let found = std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .any(|folder| Path::new(folder).join(program).exists());
    assert!(found, "{program} is not installed; `make tools` installs what the tests need");
    program
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs to its end; standard output, standard error, exit code.
pub(crate) fn run(command: &mut Command) -> (String, String, Option<i32>) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// `farol ARGUMENTS`, to its end.
pub(crate) fn farol(arguments: &[&str]) -> (String, String, Option<i32>) {
    run(Command::new(FAROL).args(arguments).env_remove("FAROL_CONFIG"))
}

/// The value of a series in an exposition text.
pub(crate) fn value_of(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(series)?.strip_prefix(' ')?;
        rest.split(' ').next()?.parse().ok()
    })
}

/// All good lines of a stream, as JSON, read by the program itself.
pub(crate) fn journal_lines(logs: &Path, stream: &str, full: bool) -> Vec<serde_json::Value> {
    let logs = logs.to_str().unwrap();
    let mut arguments = vec!["journal", "cat", "--logs", logs, "--stream", stream];
    if full {
        arguments.push("--full");
    }
    let (lines, _, _) = farol(&arguments);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A number of rounds: the short form in `make test`, the full one in `make torture`.
pub(crate) fn rounds(short: usize, full: usize) -> usize {
    form(short, full)
}

/// What holds in `make test`, or what holds in `make torture`.
pub(crate) fn form<T>(short: T, full: T) -> T {
    if std::env::var_os("FAROL_TORTURE").is_some() { full } else { short }
}
