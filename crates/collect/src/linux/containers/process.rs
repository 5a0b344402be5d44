//! The first process of a container, which tells when the container started and which network it
//! is on. Sources: `cgroup.procs`, `/proc/<pid>/{cgroup,stat}` (fs/proc/array.c).
//!
//! The times of a group's folder do not tell its start: the kernel makes them up again whenever it
//! forgets and finds the folder.

use std::{
    collections::VecDeque,
    fs::File,
    os::{linux::fs::MetadataExt, unix::fs::DirEntryExt},
    path::{Path, PathBuf},
};

use super::super::cgroup_path;
use crate::host::{open, read_records, read_small};

/// Ordered by age, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    /// Clock ticks since boot.
    pub(super) started: u64,
    pub(super) pid: u32,
}

/// More groups inside a container, and more processes, are not looked at.
const MOST_GROUPS: usize = 64;
const MOST_PROCESSES: usize = 512;

impl Process {
    /// The oldest process of the container whose group `folder` is: that which the engine started.
    /// An init system puts itself into a group inside.
    ///
    /// The numbers in the file are those of the reader's process namespace. Where `proc` shows
    /// another one (a machine's, seen from a container), they are other processes': so the one that
    /// is found must say that it is in this container.
    pub(super) fn first_of(container: &str, folder: &Path, proc: &Path) -> Option<Process> {
        let mut oldest = None;
        let mut seen = 0;
        for folder in groups(folder) {
            let Ok(text) = read_small(&folder.join("cgroup.procs")) else { continue };
            for pid in text.lines().take(MOST_PROCESSES - seen).filter_map(parse_pid) {
                seen += 1;
                let stat = read_small(&proc.join(pid.to_string()).join("stat"));
                let Some(started) = stat.ok().and_then(|stat| parse_start(&stat)) else { continue };
                let process = Process { started, pid };
                oldest = Some(oldest.map_or(process, |oldest: Process| oldest.min(process)));
            }
        }
        oldest.filter(|process| process.is_in(container, proc))
    }

    fn is_in(self, container: &str, proc: &Path) -> bool {
        let groups = read_small(&proc.join(self.pid.to_string()).join("cgroup"));
        groups.is_ok_and(|groups| names_container(&groups, container))
    }

    /// Its network's table of devices. The descriptor must not be kept: it would keep the network
    /// alive, with its devices, after the container is gone.
    pub(super) fn devices(self, proc: &Path) -> PathBuf {
        proc.join(self.pid.to_string()).join("net/dev")
    }
}

/// Each network makes its own table of devices, so the same file is the same network: readable
/// without privileges, unlike `/proc/<pid>/ns/net`.
pub(super) fn network(devices: &Path) -> Option<u64> {
    std::fs::metadata(devices).ok().map(|metadata| metadata.st_ino())
}

/// The table, if it is still that of the network of this number.
pub(super) fn read_devices<'a>(
    devices: &Path,
    network: u64,
    buffer: &'a mut Vec<u8>,
) -> Option<&'a str> {
    let file: File = open(devices).ok()?;
    if file.metadata().ok()?.st_ino() != network {
        return None;
    }
    let length = read_records(&file, buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()
}

/// Seconds since 1970. The kernel's own sum of clock and time since boot.
pub(super) fn boot_time(proc: &Path) -> Option<u64> {
    parse_boot_time(&read_small(&proc.join("stat")).ok()?)
}

/// How many processes a group has. None where none shows: all are in another process namespace.
pub(super) fn count(procs: &[u8]) -> Option<usize> {
    let count = procs.iter().filter(|byte| **byte == b'\n').count();
    (count > 0).then_some(count)
}

pub(super) fn has_groups(folder: &Path) -> bool {
    inner(folder).next().is_some()
}

/// The group and those inside, the outer first.
fn groups(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = VecDeque::from([folder.to_owned()]);
    while let Some(folder) = left.pop_front() {
        let room = MOST_GROUPS.saturating_sub(found.len() + left.len() + 1);
        left.extend(inner(&folder).take(room));
        found.push(folder);
    }
    found
}

fn inner(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    // In one order, whatever the folder's: the bound then cuts the same ones each time.
    let mut folders: Vec<_> = folders.map(|entry| (entry.ino(), entry.path())).collect();
    folders.sort_unstable();
    folders.into_iter().map(|(_, path)| path)
}

/// 0 stands for a process of a namespace that cannot be seen from here.
fn parse_pid(line: &str) -> Option<u32> {
    line.parse().ok().filter(|pid| *pid > 0)
}

fn parse_start(stat: &str) -> Option<u64> {
    // The name in parentheses can hold anything. The start is the 22nd field, the state the third.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

fn parse_boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim_ascii().parse().ok()
}

/// `0::/system.slice/docker-4c….scope`, a line for each hierarchy.
fn names_container(groups: &str, container: &str) -> bool {
    groups.lines().any(|line| {
        // The path may hold colons.
        let path = line.splitn(3, ':').nth(2).unwrap_or_default();
        cgroup_path::containers(path).any(|found| found == container)
    })
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    parse_pid(text);
    parse_start(text);
    parse_boot_time(text);
    names_container(text, "a");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laid_out::write;

    const ID: &str = "4c0f0b7d4f9a1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899aab";

    #[test]
    fn a_start_is_found_behind_a_name_with_parentheses() {
        let stat = "31 (a) b (c) S 1 1 1 0 -1 4194560 3 0 0 0 1677 44 0 0 20 0 1 0 82375 1 2 3";
        assert_eq!(parse_start(stat), Some(82_375));
        assert_eq!(parse_start("31 (sleep) S 1"), None);
        assert_eq!(
            parse_boot_time("cpu 1 2\nbtime 1700000000\nprocesses 5\n"),
            Some(1_700_000_000)
        );
    }

    #[test]
    fn a_process_says_which_container_it_is_in() {
        let groups = format!("4:memory:/docker/{ID}\n0::/docker/{ID}/init\n");
        assert!(names_container(&groups, ID));
        assert!(!names_container("0::/init.scope\n", ID));
        assert!(
            names_container(&format!("0::/../docker-{ID}.scope"), ID),
            "from another namespace"
        );
        let nested = format!("0::/lxc.payload.box/docker/{ID}");
        assert!(names_container(&nested, "box") && names_container(&nested, ID));
    }

    struct Machine {
        place: tempfile::TempDir,
        proc: PathBuf,
        folder: PathBuf,
    }

    impl Machine {
        fn new() -> Machine {
            let place = tempfile::tempdir().unwrap();
            let (proc, folder) = (place.path().join("proc"), place.path().join("group"));
            Machine { place, proc, folder }
        }

        fn process(&self, pid: u32, started: u64, groups: &str) {
            let folder = self.proc.join(pid.to_string());
            let fields = "0 ".repeat(18);
            write(&folder.join("stat"), &format!("{pid} (x) S {fields}{started} 0 0\n"));
            write(&folder.join("cgroup"), groups);
        }
    }

    #[test]
    fn the_oldest_process_is_the_first_and_may_be_in_a_group_inside() {
        let machine = Machine::new();
        let groups = format!("0::/docker/{ID}/init\n");
        machine.process(70, 100, &groups);
        machine.process(30, 900, &groups);
        write(&machine.folder.join("cgroup.procs"), "30\n");
        write(&machine.folder.join("init/cgroup.procs"), "70\n0\n71\n");
        let first = Process::first_of(ID, &machine.folder, &machine.proc);
        assert_eq!(first, Some(Process { started: 100, pid: 70 }));
        assert!(has_groups(&machine.folder));
        assert_eq!((count(b"1\n22\n"), count(b"")), (Some(2), None));
    }

    #[test]
    fn a_number_of_another_namespace_is_nobody_s() {
        let machine = Machine::new();
        machine.process(1, 5, "0::/init.scope\n");
        write(&machine.folder.join("cgroup.procs"), "1\n");
        assert_eq!(Process::first_of(ID, &machine.folder, &machine.proc), None);
    }

    #[test]
    fn a_table_of_another_network_is_not_taken() {
        let machine = Machine::new();
        let devices = Process { started: 0, pid: 7 }.devices(&machine.proc);
        write(&devices, "head\n");
        let inode = network(&devices).unwrap();
        assert_eq!(read_devices(&devices, inode, &mut Vec::new()), Some("head\n"));
        assert_eq!(read_devices(&devices, inode + 1, &mut Vec::new()), None);
        assert_eq!(network(&machine.place.path().join("nothing")), None);
    }
}
