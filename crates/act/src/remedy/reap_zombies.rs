//! Tells the parents of zombies that a child of theirs has ended.
//!
//! Nothing else can remove a zombie than its parent, or the parent's end. Nothing is killed: the parent is
//! sent the signal that the kernel has sent it already, in case it was lost on it.

use std::{collections::BTreeMap, sync::Arc};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

use super::{BuiltIn, Fault, Fields, HOUR, Job, NotGranted, Outcome, Surroundings, Treatment};

pub(super) const BUILT_IN: BuiltIn = BuiltIn {
    name: "reap_zombies",
    about: "Lists the zombies and sends SIGCHLD to their parents, so that they take notice. Kills nothing, \
            and lets process 1 alone, which needs no telling.",
    cooldown: HOUR,
    is_default: true,
    fields: &[],
    build,
};

#[derive(Clone, Debug, PartialEq, Eq)]
struct ReapZombies;

fn build(_fields: &Fields) -> Result<Arc<dyn Treatment>, Fault> {
    Ok(Arc::new(ReapZombies))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    name: String,
    is_zombie: bool,
    /// In ticks since the boot; with its number it names the process.
    begun: u64,
}

/// A line of `/proc/<pid>/stat`; the name may hold anything, a `)` too.
fn parse(line: &str) -> Option<Process> {
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    // The 22nd of all, of which four are taken.
    let begun = fields.nth(17)?.parse().ok()?;
    Some(Process { pid: pid.parse().ok()?, parent, name: name.to_owned(), is_zombie, begun })
}

fn read(pid: i32) -> Option<Process> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// Our own `/proc`: only of what is there can anybody be told.
fn zombies(job: &Job<'_>) -> Result<Vec<Process>, String> {
    let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pids = pids.take_while(|_| !job.leash.is_asked());
    let mut zombies: Vec<Process> =
        pids.filter_map(read).filter(|process| process.is_zombie).collect();
    zombies.sort_by_key(|process| process.pid);
    Ok(zombies)
}

enum Told {
    Yes,
    /// Nobody has to tell it, or it is ourselves.
    NeedsNone,
    Gone,
    NotAllowed,
}

/// By handle, so that the number cannot become another process' meanwhile.
fn tell(parent: &Process) -> Told {
    let Some(pid) = Pid::from_raw(parent.pid).filter(|pid| *pid != Pid::INIT) else {
        return Told::NeedsNone;
    };
    if pid == rustix::process::getpid() {
        return Told::NeedsNone;
    }
    let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return Told::Gone;
    };
    if read(parent.pid).is_none_or(|now| now.begun != parent.begun) {
        return Told::Gone;
    }
    match rustix::process::pidfd_send_signal(&handle, Signal::CHILD) {
        Ok(()) => Told::Yes,
        Err(Errno::PERM) => Told::NotAllowed,
        Err(_) => Told::Gone,
    }
}

impl Treatment for ReapZombies {
    fn what(&self) -> String {
        "tell the parents of zombies that a child has ended".to_owned()
    }

    /// One's own processes can always be told; of which the zombies are shows when it is tried.
    fn granted(&self, _surroundings: &Surroundings) -> Result<(), NotGranted> {
        Ok(())
    }

    fn rehearse(&self, job: &Job<'_>) -> Outcome {
        self.perform(job, true)
    }

    fn run(&self, job: &Job<'_>) -> Outcome {
        self.perform(job, false)
    }
}

impl ReapZombies {
    fn perform(&self, job: &Job<'_>, is_dry: bool) -> Outcome {
        let zombies = match zombies(job) {
            Ok(zombies) => zombies,
            Err(why) => return Outcome::bad(why),
        };
        if zombies.is_empty() {
            return Outcome::good("there are no zombies");
        }
        let mut by_parent: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
        for zombie in &zombies {
            by_parent.entry(zombie.parent).or_default().push(zombie);
        }
        let parents: Vec<(Process, Vec<&Process>)> =
            by_parent.into_iter().filter_map(|(pid, of)| Some((read(pid)?, of))).collect();
        let output: Vec<String> = parents.iter().map(|(parent, of)| line(parent, of)).collect();
        let output = output.join("\n");
        let (count, of) = (zombies.len(), parents.len());
        if is_dry {
            let summary = format!("{count} zombies; would send SIGCHLD to their {of} parents");
            return Outcome::good(summary).with(output);
        }
        let told: Vec<Told> = parents.iter().map(|(parent, _)| tell(parent)).collect();
        let yes = told.iter().filter(|told| matches!(told, Told::Yes)).count();
        let denied = told.iter().filter(|told| matches!(told, Told::NotAllowed)).count();
        let summary = format!("{count} zombies; {yes} of their {of} parents were sent SIGCHLD");
        if denied == 0 {
            return Outcome::good(summary).with(output);
        }
        let missing = NotGranted::new(
            format!("{denied} parents belong to other users"),
            "run farol as root, or give its unit AmbientCapabilities=CAP_KILL",
        );
        Outcome { ok: yes > 0, summary: format!("{summary}; {missing}"), output }
    }
}

fn line(parent: &Process, zombies: &[&Process]) -> String {
    const MOST: usize = 10;
    let shown: Vec<String> =
        zombies.iter().take(MOST).map(|zombie| format!("{} {}", zombie.pid, zombie.name)).collect();
    let more = match zombies.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {}: {}{more}", parent.pid, parent.name, shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::remedy::Leash;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line = "77 (a) b (c) Z 5 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let expected =
            Process { pid: 77, parent: 5, name: "a) b (c".into(), is_zombie: true, begun: 4711 };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("77 (cut"), None);
    }

    /// Ends and is not waited for; the shell that leaves it behind goes on.
    #[expect(clippy::disallowed_methods, reason = "a test starts what it looks at")]
    fn parent_of_a_zombie() -> (Child, i32) {
        // The shell that becomes `sleep` has started `true`, and `sleep` waits for nobody.
        let mut child =
            Command::new("/bin/sh").args(["-c", "true & exec sleep 60"]).spawn().unwrap();
        let parent = i32::try_from(child.id()).unwrap();
        let leash = Leash::default();
        let surroundings = Surroundings::default();
        let job = Job {
            name: "x",
            now: farol_model::Timestamp::from_millis(0),
            alert: None,
            leash: &leash,
            surroundings: &surroundings,
        };
        loop {
            let found = zombies(&job).unwrap();
            if found.iter().any(|zombie| zombie.parent == parent) {
                return (child, parent);
            }
            assert_eq!(child.try_wait().unwrap(), None, "the parent has ended");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_parent_that_pays_no_heed_is_told_and_lives() {
        let (mut child, parent) = parent_of_a_zombie();
        let leash = Leash::default();
        let surroundings = Surroundings::default();
        let now = farol_model::Timestamp::from_millis(0);
        let job = Job { name: "x", now, alert: None, leash: &leash, surroundings: &surroundings };
        let rehearsed = ReapZombies.rehearse(&job);
        assert!(rehearsed.output.contains(&format!("{parent} sleep: ")), "{rehearsed:?}");
        let outcome = ReapZombies.run(&job);
        assert!(outcome.output.contains(&format!("{parent} sleep: ")), "{outcome:?}");
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn process_one_is_never_told() {
        let init = Process { pid: 1, parent: 0, name: "init".into(), is_zombie: false, begun: 0 };
        assert!(matches!(tell(&init), Told::NeedsNone));
    }
}
