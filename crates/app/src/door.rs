//! The door's files: read at the start, watched while running, and refused when nobody is kept out
//! of a port that others can reach.
//!
//! exporter-toolkit reads its file anew for every request and answers 500 while it is bad. Here a
//! change is looked for once a second; one that is bad, half written, or takes protection away is
//! not taken, and is told of in the log, on `/metrics` and in `/health`. What was good goes on.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use farol_web::door::{Door, Opening, Tokens};
use tokio::sync::watch;

use crate::{
    config::{Config, DoorFiles, Problem, Problems, Source, read_file, web_yml},
    upkeep::Repeating,
};

/// A door and where it came from.
#[derive(Debug)]
pub struct Opened {
    pub door: Arc<Door>,
    /// Sentences for the log.
    pub warnings: Vec<String>,
    look: Look,
}

/// Everything that `config` says of the door, checked whole; nothing is opened or bound.
pub fn open(config: &Config) -> Result<Opened, Problems> {
    let (look, read) = Look::take(&config.door);
    let door = read.door?;
    if let Some(problem) = exposed(config, &door) {
        return Err(Problems(vec![problem]));
    }
    let mut warnings = read.warnings;
    if let Some(address) = reachable(config)
        && door.wants_credentials()
        && door.tls.is_none()
    {
        warnings.push(format!(
            "listen: on the way to {address} passwords and tokens can be read by others; TLS \
             (tls_server_config in --web.config.file) hides them"
        ));
    }
    Ok(Opened { door: Arc::new(door), warnings, look })
}

/// The first address that other machines can reach.
fn reachable(config: &Config) -> Option<&SocketAddr> {
    config.listen.iter().find(|address| !address.ip().to_canonical().is_loopback())
}

/// What is wrong with listening where others can reach us without asking who they are.
fn exposed(config: &Config, door: &Door) -> Option<Problem> {
    if door.keeps_strangers_out() || config.door.allow_unauthenticated {
        return None;
    }
    let address = reachable(config)?;
    let tls = match door.tls {
        Some(_) => " (TLS alone tells who we are, not who they are)",
        None => "",
    };
    let port = address.port();
    let sentence = format!(
        "listen: {address} can be reached from other machines, and nobody is asked who they are{tls}; \
         listen on 127.0.0.1:{port}, or require a password or a client certificate \
         (--web.config.file) or a token (--web.bearer-token-files), or, where the network itself \
         keeps strangers out, say --web.allow-unauthenticated"
    );
    let key = "listen".to_owned();
    Some(Problem { source: Source::Default(""), key, sentence, nearest: None })
}

/// What the files said, whether it is good or not.
struct Said {
    door: Result<Door, Problems>,
    warnings: Vec<String>,
    files: Vec<PathBuf>,
}

fn read(files: &DoorFiles) -> Said {
    let mut said = Said { door: Ok(Door::default()), warnings: Vec::new(), files: Vec::new() };
    let mut problems = Vec::new();
    let mut door = Door::default();
    if let Some(path) = &files.config_file {
        let yml = web_yml::read(path, &read_plain_file);
        said.warnings = yml.warnings;
        said.files = yml.files;
        match yml.door {
            Ok(read) => door = read,
            Err(found) => problems.extend(found.0),
        }
    }
    let mut tokens = Vec::new();
    for path in &files.bearer_token_files {
        said.files.push(path.clone());
        match token(path) {
            Ok(token) => tokens.push(token),
            Err(why) => problems.push(token_problem(path, why)),
        }
    }
    match Tokens::new(tokens.iter().map(Vec::as_slice)) {
        Ok(tokens) => door.tokens = tokens,
        Err(why) => problems.push(token_problem(Path::new("web.bearer_token_files"), why.into())),
    }
    said.door = if problems.is_empty() { Ok(door) } else { Err(Problems(problems)) };
    said
}

fn token_problem(path: &Path, why: String) -> Problem {
    let source = Source::File { path: path.to_owned(), line: 0, column: 0 };
    let key = "web.bearer_token_files".to_owned();
    Problem { source, key, sentence: why, nearest: None }
}

/// What is around it is an editor's, not the token's.
fn token(path: &Path) -> Result<Vec<u8>, String> {
    const MOST_BYTES: u64 = 4096;
    let bytes = read_plain_file(path, MOST_BYTES + 1).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "the token cannot be read: there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "the token cannot be read: permission denied".to_owned(),
        _ => format!("the token cannot be read: {error}"),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err("is larger than 4 KiB; a token file holds one token".to_owned());
    }
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err("is empty; a token file holds one token".to_owned());
    }
    // RFC 6750 allows less; a client could not send more.
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(
            "holds more than one word of plain characters; a token file holds one token".to_owned()
        );
    }
    Ok(token.to_owned())
}

/// Files are read again and again, so each must say the same twice: a pipe is empty the second
/// time, and an empty `web.yml` asks nothing of anybody.
fn read_plain_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let data = std::fs::metadata(path)?;
    // A folder has its own sentence.
    if !data.is_file() && !data.is_dir() {
        return Err(io::Error::other("it is a pipe or a device; only a plain file can be watched"));
    }
    read_file(path, most)
}

/// Which file it is and when it last changed, or that there is none.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// The files as they were when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Look {
    /// Reads, and knows of which state of the files it was: those that name others are read until
    /// the list stands still.
    fn take(files: &DoorFiles) -> (Look, Said) {
        const ROUNDS: usize = 3;
        let own = files.config_file.iter().chain(&files.bearer_token_files).cloned();
        let mut look = Look::at(own.collect());
        let mut said = read(files);
        for _ in 1..ROUNDS {
            if look.stamps.iter().map(|(path, _)| path).eq(&said.files) {
                break;
            }
            look = Look::at(std::mem::take(&mut said.files));
            said = read(files);
        }
        (look, said)
    }

    fn at(paths: Vec<PathBuf>) -> Look {
        let stamp = |path: &Path| {
            let data = std::fs::metadata(path).ok()?;
            let changed = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
            let (mtime, mtime_nsec, ctime, ctime_nsec) = changed;
            Some((data.dev(), data.ino(), data.size(), mtime, mtime_nsec, ctime, ctime_nsec))
        };
        Look { stamps: paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect() }
    }

    fn again(&self) -> Look {
        Look::at(self.stamps.iter().map(|(path, _)| path.clone()).collect())
    }
}

/// How often the files are looked at. A change is taken when it was there twice, so that one half
/// written is not.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the door as its files have it. The server holds what it publishes.
#[derive(Debug)]
pub struct Watch {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    files: DoorFiles,
    /// As they were when they were last read, for better or worse.
    read: Look,
    /// Seen once since then.
    seen: Option<Look>,
    opening: watch::Sender<Opening>,
}

impl Watch {
    pub fn new(files: &DoorFiles, opened: Opened) -> (Watch, watch::Receiver<Opening>) {
        let Opened { door, look, .. } = opened;
        let first = Opening { door, fault: None, from_files: !files.is_empty() };
        let (opening, watched) = watch::channel(first);
        let kept = Kept { files: files.clone(), read: look, seen: None, opening };
        (Watch { kept: Arc::new(Mutex::new(kept)) }, watched)
    }

    /// The thread that looks.
    pub fn start(&self) -> io::Result<Repeating> {
        let kept = Arc::clone(&self.kept);
        Repeating::start("door", LOOK_INTERVAL, move |_| lock(&kept).look())
    }

    /// Whether the door may become that of `config`, and a way to let it.
    pub fn prepare(&self, config: &Config) -> anyhow::Result<Opened> {
        let opened = open(config).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let current = Arc::clone(&lock(&self.kept).opening.borrow().door);
        match loss(&current, &opened.door) {
            None => Ok(opened),
            Some(lost) => anyhow::bail!("{lost}"),
        }
    }

    pub fn replace(&self, files: &DoorFiles, opened: Opened) {
        let mut kept = lock(&self.kept);
        kept.files = files.clone();
        kept.seen = None;
        kept.read = opened.look;
        let from_files = !files.is_empty();
        kept.opening.send_replace(Opening { door: opened.door, fault: None, from_files });
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn look(&mut self) {
        let now = self.read.again();
        if now == self.read {
            self.seen = None;
        } else if self.seen.as_ref() == Some(&now) {
            self.read_again();
        } else {
            self.seen = Some(now);
        }
    }

    fn read_again(&mut self) {
        let (look, said) = Look::take(&self.files);
        self.read = look;
        self.seen = None;
        let current = Arc::clone(&self.opening.borrow().door);
        let judged = match said.door {
            Ok(door) => match loss(&current, &door) {
                None => Ok(door),
                Some(lost) => Err(lost.to_owned()),
            },
            Err(problems) => Err(problems.to_string().replace('\n', "; ")),
        };
        match judged {
            Ok(door) => {
                for warning in said.warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("the web configuration was read again");
                let door = Arc::new(door);
                self.opening.send_replace(Opening { door, fault: None, from_files: true });
            }
            Err(why) => {
                tracing::error!(
                    "the web configuration as it is now is not taken, the last good one goes on: {why}"
                );
                let fault = format!("the web configuration as it is now is not taken: {why}");
                self.opening.send_modify(|opening| opening.fault = Some(fault.into()));
            }
        }
    }
}

/// A file cut short or emptied by a slip must not open what was closed. Each lock counts by itself:
/// who has a certificate must not come in without a password because the file's end is missing.
fn loss(old: &Door, new: &Door) -> Option<&'static str> {
    let verifies = |door: &Door| door.tls.as_ref().is_some_and(|tls| tls.verifies_clients());
    if old.tls.is_some() && new.tls.is_none() {
        return Some("it would end TLS; if that is meant, restart farol");
    }
    if old.keeps_strangers_out() && !new.keeps_strangers_out() {
        return Some("it would let everybody in; if that is meant, restart farol");
    }
    if old.wants_credentials() && !new.wants_credentials() {
        return Some("it would ask for no password or token; if that is meant, restart farol");
    }
    if verifies(old) && !verifies(new) {
        return Some("it would ask for no client certificate; if that is meant, restart farol");
    }
    None
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes the files that are watched")]
mod tests {
    use std::{fs, io::Write, os::fd::AsRawFd};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Of "U*U", at a cost of 5.
    const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    struct Trial {
        _folder: tempfile::TempDir,
        files: DoorFiles,
        yml: PathBuf,
        token: PathBuf,
    }

    fn trial() -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let (yml, token) = (folder.path().join("web.yml"), folder.path().join("token"));
        fs::write(&yml, format!("basic_auth_users: {{ana: {HASH}}}\n")).unwrap();
        fs::write(&token, "first\n").unwrap();
        let files = DoorFiles {
            config_file: Some(yml.clone()),
            bearer_token_files: vec![token.clone()],
            allow_unauthenticated: false,
        };
        Trial { _folder: folder, files, yml, token }
    }

    fn watch(trial: &Trial) -> (Watch, watch::Receiver<Opening>) {
        let (look, said) = Look::take(&trial.files);
        let door = Arc::new(said.door.unwrap());
        Watch::new(&trial.files, Opened { door, warnings: said.warnings, look })
    }

    fn look(watch: &Watch) {
        lock(&watch.kept).look();
    }

    #[test]
    fn a_change_is_taken_when_it_has_stood_still() {
        let trial = trial();
        let (watch, opening) = watch(&trial);
        let first = Arc::clone(&opening.borrow().door);
        look(&watch);
        assert!(Arc::ptr_eq(&first, &opening.borrow().door), "nothing has changed");

        fs::write(&trial.token, "second-token\n").unwrap();
        look(&watch);
        assert!(Arc::ptr_eq(&first, &opening.borrow().door), "seen once");
        fs::write(&trial.token, "second-token-whole\n").unwrap();
        look(&watch);
        assert!(Arc::ptr_eq(&first, &opening.borrow().door), "it was still being written");
        look(&watch);
        assert!(!Arc::ptr_eq(&first, &opening.borrow().door));
        assert!(opening.borrow().fault.is_none());
    }

    #[test]
    fn a_bad_file_leaves_the_last_good_one_in_use_and_says_so_until_it_is_mended() {
        let trial = trial();
        let (watch, opening) = watch(&trial);
        let first = Arc::clone(&opening.borrow().door);
        let twice = || [0, 1].map(|_| look(&watch));
        for (text, told) in [
            ("basic_auth_users: {ana: oops}\n", "the hash of \"ana\" is not a bcrypt hash"),
            ("", ""),
            ("basic_auth_userz: {}\n", "unknown key \"basic_auth_userz\""),
        ] {
            fs::write(&trial.yml, text).unwrap();
            twice();
            let fault = opening.borrow().fault.clone();
            // With the token, an empty web.yml is still a closed door.
            match told {
                "" => assert_eq!(fault, None),
                _ => assert!(fault.as_ref().is_some_and(|why| why.contains(told)), "{fault:?}"),
            }
            assert!(opening.borrow().door.wants_credentials());
        }
        fs::write(&trial.yml, format!("basic_auth_users: {{eva: {HASH}}}\n")).unwrap();
        twice();
        assert_eq!(opening.borrow().fault, None);
        assert!(!Arc::ptr_eq(&first, &opening.borrow().door));

        fs::remove_file(&trial.token).unwrap();
        twice();
        let fault = opening.borrow().fault.clone().unwrap();
        assert!(fault.contains("token: the token cannot be read"), "{fault}");
    }

    #[test]
    fn an_emptied_file_does_not_open_the_door() {
        let mut trial = trial();
        trial.files.bearer_token_files.clear();
        let (watch, opening) = watch(&trial);
        fs::write(&trial.yml, "").unwrap();
        look(&watch);
        look(&watch);
        let opening = opening.borrow();
        assert!(opening.door.wants_credentials());
        let fault = opening.fault.as_deref().unwrap();
        assert!(fault.ends_with("it would let everybody in; if that is meant, restart farol"));
    }

    #[test]
    fn a_file_that_loses_one_of_two_locks_is_not_taken() {
        let mut trial = trial();
        trial.files.bearer_token_files.clear();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        fs::write(trial.yml.with_file_name("server.crt"), certificate).unwrap();
        fs::write(trial.yml.with_file_name("server.key"), key.serialize_pem()).unwrap();
        let tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
        let clients =
            "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.crt\n";
        let users = format!("basic_auth_users: {{ana: {HASH}}}\n");
        fs::write(&trial.yml, format!("{tls}{clients}{users}")).unwrap();
        let (watch, opening) = watch(&trial);
        for (cut, told) in [
            (format!("{tls}{clients}"), "it would ask for no password or token"),
            (format!("{tls}{users}"), "it would ask for no client certificate"),
            (tls.to_owned(), "it would let everybody in"),
            (users.clone(), "it would end TLS"),
        ] {
            fs::write(&trial.yml, cut).unwrap();
            look(&watch);
            look(&watch);
            let fault = opening.borrow().fault.clone().unwrap();
            assert!(fault.contains(told), "{fault}");
            assert!(opening.borrow().door.wants_credentials());
        }
    }

    /// As of a shell's `<(…)`: what it holds can be read once.
    #[test]
    fn a_pipe_is_refused_and_not_read_a_second_time_as_empty() {
        let (reader, mut writer) = io::pipe().unwrap();
        let trial = trial();
        // Naming a further file makes it be read twice.
        let key = trial.yml.with_file_name("server.key");
        let text = format!(
            "tls_server_config: {{cert_file: {key}, key_file: {key}}}\n\
             basic_auth_users: {{ana: {HASH}}}\n",
            key = key.display()
        );
        writer.write_all(text.as_bytes()).unwrap();
        drop(writer);
        let pipe = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        for (config_file, token_files) in [(Some(pipe.clone()), vec![]), (None, vec![pipe])] {
            let files = DoorFiles {
                config_file,
                bearer_token_files: token_files,
                allow_unauthenticated: false,
            };
            let problems = Look::take(&files).1.door.unwrap_err().to_string();
            assert!(problems.contains("it is a pipe or a device"), "{problems}");
        }
    }

    #[test]
    fn a_token_file_holds_one_token() {
        let trial = trial();
        let said = |text: &[u8]| {
            fs::write(&trial.token, text).unwrap();
            token(&trial.token)
        };
        assert_eq!(said(b"  abc-123_x\r\n\n"), Ok(b"abc-123_x".to_vec()));
        for (text, why) in [
            (&b""[..], "is empty"),
            (b" \n\n", "is empty"),
            (b"one two", "holds more than one word"),
            ("tök".as_bytes(), "holds more than one word"),
            (&[b'x'; 5000], "is larger than 4 KiB"),
        ] {
            let told = said(text).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
    }
}
