//! Programs that are started: by absolute path, without a shell, with a clean environment, in a process
//! group of their own that ends with them.
//!
//! To be called on a thread that ends afterwards: what the program is denied is first denied to it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{
            fs::MetadataExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions},
};

use super::{Leash, Outcome};

/// A program and what it is given.
#[derive(Clone, Default)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// Who it runs as; none is who Farol runs as.
    pub(super) user: Option<User>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) id: u32,
    pub(super) group: u32,
}

/// Of what it writes, so much is read; the rest is read and forgotten, so that it does not wait.
const MOST_READ: usize = 64 * 1024;
/// How long a look at the leash is put off.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Runs it to its end, or until the leash ends it, with all that it has started.
pub(super) fn run(program: &Program, leash: &Leash) -> Outcome {
    let name = program.path.display();
    match start(program) {
        Ok((child, reader)) => follow(child, &reader, leash).told(&name.to_string()),
        Err(error) => Outcome::bad(format!("{name} could not be started: {error}")),
    }
}

#[expect(clippy::disallowed_methods, reason = "here programs are started")]
fn start(program: &Program) -> io::Result<(Child, io::PipeReader)> {
    // Of this thread, and so of what it starts: no set-user-id program gives more than there is.
    rustix::thread::set_no_new_privs(true)?;
    if program.user.is_some() {
        // Else a program of another user would keep what Farol was given.
        rustix::thread::clear_ambient_capability_set().or_else(|error| match error {
            Errno::INVAL => Ok(()),
            error => Err(error),
        })?;
    }
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0);
    if let Some(user) = &program.user {
        // The standard library sets the groups to none as well, where the process is root's.
        command.gid(user.group).uid(user.id);
    }
    Ok((command.spawn()?, reader))
}

struct End {
    status: io::Result<ExitStatus>,
    output: Vec<u8>,
}

fn follow(mut child: Child, reader: &io::PipeReader, leash: &Leash) -> End {
    let mut output = Vec::new();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut is_asked = false;
    let mut is_open = true;
    while let Some(pid) = pid {
        if leash.is_pulled() {
            kill(pid, Signal::KILL);
        } else if leash.is_asked() && !is_asked {
            is_asked = true;
            kill(pid, Signal::TERM);
        }
        if has_ended(pid) {
            // It is not waited for yet, so that its number, and its group's, are still its own.
            kill(pid, Signal::KILL);
            break;
        }
        wait_for_output(reader, is_open);
        is_open &= read(reader, &mut output);
    }
    let status = child.wait();
    read(reader, &mut output);
    End { status, output }
}

fn kill(group: Pid, signal: Signal) {
    // That it is gone already is no fault.
    rustix::process::kill_process_group(group, signal).ok();
}

fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None) | Err(Errno::INTR))
}

/// Some moments, or until it has written.
fn wait_for_output(reader: &io::PipeReader, is_open: bool) {
    let mut open = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN)];
    let watched: &mut [PollFd<'_>] = if is_open { &mut open } else { &mut [] };
    rustix::event::poll(watched, Some(&LOOK)).ok();
}

/// Takes what is there; false once nobody can write any more.
fn read(mut reader: &io::PipeReader, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8192];
    // Bounded: one that writes without end must not keep us from the leash.
    for _ in 0..64 {
        match reader.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => {
                let room = MOST_READ.saturating_sub(output.len());
                output.extend(buffer.iter().take(read.min(room)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    true
}

impl End {
    fn told(self, name: &str) -> Outcome {
        let output = String::from_utf8_lossy(&self.output).into_owned();
        let (ok, summary) = match self.status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(0), _) => (true, format!("{name} has done it")),
                (Some(code), _) => (false, format!("{name} has failed with {code}")),
                (None, Some(signal)) => (false, format!("{name} was killed by signal {signal}")),
                (None, None) => (false, format!("{name} has ended oddly: {status}")),
            },
            Err(error) => (false, format!("nobody knows how {name} has ended: {error}")),
        };
        Outcome { ok, summary, output }
    }
}

/// The first of these programs that is there.
pub(super) fn find(paths: &[&str]) -> Option<PathBuf> {
    paths.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// A program of the system: with a fixed environment and who we are.
pub(super) fn of_system(path: PathBuf, arguments: &[&str]) -> Program {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Program { path, arguments, environment: environment(), user: None }
}

/// What every program is given, and nothing else of ours: our own may hold secrets.
pub(super) fn environment() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LC_ALL", "C.UTF-8"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Why this program is not run: another than its owner could put something else in its place.
pub(super) fn is_safe(path: &Path) -> Result<(), String> {
    let real = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    let metadata = real.metadata().map_err(|error| format!("{}: {error}", real.display()))?;
    if !metadata.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    if metadata.mode() & 0o111 == 0 {
        return Err(format!("{} is not executable", path.display()));
    }
    // The path as it was given, too: a link in a folder that others write can be turned elsewhere.
    let trusted = [0, rustix::process::geteuid().as_raw()];
    for part in path.ancestors().chain(real.ancestors()) {
        let metadata =
            part.symlink_metadata().map_err(|error| format!("{}: {error}", part.display()))?;
        let shown = part.display();
        if !trusted.contains(&metadata.uid()) {
            return Err(format!("{shown} belongs to another user, who could change it"));
        }
        // A sticky folder lets nobody replace what is another's.
        let is_open = metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0;
        if is_open && !metadata.is_symlink() {
            return Err(format!("{shown} may be written by others; chmod go-w {shown}"));
        }
    }
    Ok(())
}
