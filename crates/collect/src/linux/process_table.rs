//! All processes as the newest tick saw them: what the collectors `top`, `processes` and
//! `process_groups` share, so that `/proc` is read once a tick, by the first of them.
//!
//! `/proc/<pid>/stat` is read for each process at each tick; everything else only for those that
//! somebody asks about. A process is told from a later one of the same pid by its start time. What
//! is known of the processes lies in one list sorted by pid, merged with the folder's at each tick:
//! nothing is kept of a process that is gone.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, TryLockError},
};

use farol_model::{Text, Timestamp};
use rustix::{
    fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom},
    io::Errno,
};

use super::process_files::{self as files, Io, Stat};
use crate::{CollectError, Host, HotFile, TopCommand, Tree};

/// Processes beyond it are counted and not looked at.
const MOST_PROCESSES: usize = 100_000;
/// With more processes than this, `io` is read only of those that used CPU time since.
const MOST_WITH_IO: usize = 5000;
/// What changes seldom (user, unit, names of users) is looked at anew each so many ticks; of a
/// process in the one its pid falls on, so that no tick does it for all.
const TICKS_BETWEEN_REFRESHES: u64 = 12;

/// Made empty and shared by the options; collectors of one lane use it one after the other.
#[derive(Default)]
pub struct ProcessTable(Mutex<Table>);

impl fmt::Debug for ProcessTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTable").finish_non_exhaustive()
    }
}

impl ProcessTable {
    /// The processes as they are in the tick at `now`.
    pub(super) fn at(
        &self,
        host: &Host,
        now: Timestamp,
    ) -> Result<MutexGuard<'_, Table>, CollectError> {
        let mut table = match self.0.try_lock() {
            Ok(table) => table,
            Err(TryLockError::WouldBlock) => {
                let reason = "another collector still reads /proc; it hangs";
                return Err(CollectError::Failed(reason.into()));
            }
            Err(TryLockError::Poisoned(poisoned)) => {
                let mut table = poisoned.into_inner();
                *table = Table::default();
                self.0.clear_poison();
                table
            }
        };
        if table.now != Some(now) {
            table.scan(host, now)?;
        }
        match table.processes.is_empty() {
            true => Err(CollectError::Absent(format!(
                "{} shows no process that can be read",
                host.proc.display()
            ))),
            false => Ok(table),
        }
    }
}

#[derive(Default)]
pub(super) struct Table {
    /// Of the newest scan.
    now: Option<Timestamp>,
    /// Seconds since the scan before; none in the first and where the clock was set back.
    seconds: Option<f64>,
    /// Counts scans, from 1.
    round: u64,
    folder: Option<Folder>,
    pids: Vec<u32>,
    /// Sorted by pid.
    processes: Vec<Process>,
    /// Scratch for the merge.
    former: Vec<Process>,
    /// Whether somebody asks for all processes' disk traffic: then it is read right after `stat`,
    /// while the processor's caches still hold what the kernel keeps of the process.
    is_all_io_wanted: bool,
    unreadable: usize,
    left_out: usize,
    users: Users,
    boot: BootTime,
}

/// What a counter of a process has added since the tick before, and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grown {
    pub(super) total: u64,
    pub(super) fresh: u64,
}

impl Grown {
    /// From `since` to `total`; a counter that went back has added nothing.
    fn between(since: u64, total: u64) -> Grown {
        Grown { total, fresh: total.saturating_sub(since) }
    }
}

/// In the order in which they are kept.
pub(super) const COUNTERS: usize = 4;
pub(super) const USER_TICKS: usize = 0;
pub(super) const SYSTEM_TICKS: usize = 1;
pub(super) const MINOR_FAULTS: usize = 2;
pub(super) const MAJOR_FAULTS: usize = 3;

pub(super) struct Process {
    pub(super) pid: u32,
    start_ticks: u64,
    pub(super) name: Text,
    pub(super) state: u8,
    pub(super) threads: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_bytes: u64,
    pub(super) counters: [Grown; COUNTERS],
    /// Whether it began after the first scan: then all it ever did happened under our eyes.
    is_seen_from_birth: bool,
    /// The round of its first scan.
    first_round: u64,
    pub(super) io: IoSeen,
    pub(super) about: Option<About>,
    /// Which of the configured groups it is in, kept for their collector.
    pub(super) group: Option<usize>,
    /// Whether what a group goes by may have changed since it was put into one.
    pub(super) is_ungrouped: bool,
}

/// A process's disk traffic as far as it was read.
#[derive(Default)]
pub(super) struct IoSeen {
    /// The round in which it was last tried.
    round: u64,
    last: Option<(Timestamp, Io)>,
    is_denied: bool,
    /// Since the reading before; nothing when not read in this round.
    pub(super) fresh: Io,
    /// Bytes a second, where this round and an earlier one have read it.
    pub(super) rate: Option<Io>,
}

impl IoSeen {
    pub(super) fn is_known(&self) -> bool {
        self.last.is_some()
    }

    pub(super) fn is_denied(&self) -> bool {
        self.is_denied
    }
}

/// Whose a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    round: u64,
    pub(super) user: Option<Text>,
    pub(super) unit: Option<Text>,
    pub(super) container: Option<Text>,
}

impl Process {
    /// CPU time in clock ticks since the tick before.
    pub(super) fn fresh_cpu_ticks(&self) -> u64 {
        self.counters[USER_TICKS].fresh.saturating_add(self.counters[SYSTEM_TICKS].fresh)
    }

    fn new(pid: u32, stat: &Stat<'_>, round: u64) -> Process {
        let is_seen_from_birth = round > 1;
        let mut process = Process {
            pid,
            start_ticks: stat.start_ticks,
            name: Text::EMPTY,
            state: stat.state,
            threads: stat.threads,
            virtual_bytes: 0,
            resident_bytes: 0,
            counters: [Grown::default(); COUNTERS],
            is_seen_from_birth,
            first_round: round,
            io: IoSeen::default(),
            about: None,
            group: None,
            is_ungrouped: true,
        };
        if !is_seen_from_birth {
            let totals = totals(stat);
            process.counters = totals.map(|total| Grown { total, fresh: 0 });
        }
        process
    }

    fn take(&mut self, stat: &Stat<'_>, page_bytes: u64) {
        if !self.is_named(stat.name) {
            self.name = Text::from(name(stat.name));
            // Another program runs now, perhaps as another user.
            self.about = None;
            self.is_ungrouped = true;
        }
        self.state = stat.state;
        self.threads = stat.threads;
        self.virtual_bytes = stat.virtual_bytes;
        self.resident_bytes = stat.resident_pages.saturating_mul(page_bytes);
        for (counter, total) in self.counters.iter_mut().zip(totals(stat)) {
            *counter = Grown::between(counter.total, total);
        }
    }

    fn is_named(&self, bytes: &[u8]) -> bool {
        // Only odd names are kept otherwise than the kernel has them.
        self.name.as_bytes() == bytes || *self.name == *name(bytes)
    }

    /// Once in a round.
    fn read_io(&mut self, folder: &mut Folder, now: Timestamp, round: u64, is_crowded: bool) {
        if self.io.round == round {
            return;
        }
        self.io.round = round;
        (self.io.fresh, self.io.rate) = (Io::default(), None);
        let is_idle = self.fresh_cpu_ticks() == 0;
        if (is_crowded && is_idle) || (self.io.is_denied && !self.is_due(round)) {
            return;
        }
        match folder.read(self.pid, "io") {
            Ok(text) => {
                let Some(io) = files::io(text) else { return };
                self.io.take(io, now, self.is_seen_from_birth);
            }
            Err(Errno::ACCESS | Errno::PERM) => self.io.is_denied = true,
            // It just ended, or the kernel keeps no such accounts.
            Err(_) => {}
        }
    }

    fn is_due(&self, round: u64) -> bool {
        (round + u64::from(self.pid)).is_multiple_of(TICKS_BETWEEN_REFRESHES)
    }
}

fn totals(stat: &Stat<'_>) -> [u64; COUNTERS] {
    let mut totals = [0; COUNTERS];
    totals[USER_TICKS] = stat.user_ticks;
    totals[SYSTEM_TICKS] = stat.system_ticks;
    totals[MINOR_FAULTS] = stat.minor_faults;
    totals[MAJOR_FAULTS] = stat.major_faults;
    totals
}

/// As label values have it: text without control characters.
fn name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

impl Table {
    pub(super) fn processes(&self) -> &[Process] {
        &self.processes
    }

    pub(super) fn processes_mut(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Why not all processes are in the table, if they are not.
    pub(super) fn shortcoming(&self) -> Option<String> {
        if self.left_out > 0 {
            let all = self.left_out + MOST_PROCESSES;
            return Some(format!("of {all} processes only {MOST_PROCESSES} are looked at"));
        }
        let count = self.unreadable;
        (count > 0).then(|| format!("/proc/<pid>/stat of {count} processes cannot be read"))
    }

    /// The share of one core that a process has used since the tick before; none at first sight.
    pub(super) fn cpu_ratio(&self, process: &Process, ticks_per_second: f64) -> Option<f64> {
        let seconds = self.seconds.filter(|_| process.first_round < self.round)?;
        Some(process.fresh_cpu_ticks() as f64 / ticks_per_second / seconds)
    }

    /// Seconds since the epoch at which a process began, when the boot's time is known.
    pub(super) fn start_seconds(&self, process: &Process, ticks_per_second: f64) -> Option<f64> {
        Some(self.boot.seconds? + process.start_ticks as f64 / ticks_per_second)
    }

    fn scan(&mut self, host: &Host, now: Timestamp) -> Result<(), CollectError> {
        let last = self.now.take();
        self.list(host)?;
        let Some(folder) = &mut self.folder else { return Ok(()) };
        // A machine that does not tell it is a recording of which too little was kept.
        let Some(page_bytes) = host.page_bytes() else {
            let reason = "the recorded machine does not tell the size of a page (self/smaps)";
            return Err(CollectError::Absent(reason.into()));
        };
        let is_crowded = self.pids.len() > MOST_WITH_IO;
        self.round += 1;
        self.seconds = last.map(|last| now.since(last).as_secs_f64()).filter(|span| *span > 0.0);
        self.unreadable = 0;
        self.former.clear();
        std::mem::swap(&mut self.former, &mut self.processes);
        let mut former = self.former.drain(..).peekable();
        for pid in &self.pids {
            let stat = match folder.read(*pid, "stat") {
                Ok(text) => files::stat(text),
                Err(Errno::NOENT | Errno::SRCH) => continue,
                Err(_) => None,
            };
            let Some(stat) = stat else {
                self.unreadable += 1;
                continue;
            };
            while former.next_if(|process| process.pid < *pid).is_some() {}
            let is_same =
                |process: &Process| process.pid == *pid && process.start_ticks == stat.start_ticks;
            let known = former.next_if(is_same);
            let mut process = known.unwrap_or_else(|| Process::new(*pid, &stat, self.round));
            process.take(&stat, page_bytes);
            if self.is_all_io_wanted {
                process.read_io(folder, now, self.round, is_crowded);
            }
            self.processes.push(process);
        }
        drop(former);
        // A burst of processes must not cost its memory for good.
        self.processes.shrink_to(self.processes.len() * 4);
        if self.round % TICKS_BETWEEN_REFRESHES == 1 {
            self.users.read(host);
            self.boot.read(host);
        }
        self.now = Some(now);
        Ok(())
    }

    /// The pids there are, in order.
    fn list(&mut self, host: &Host) -> Result<(), CollectError> {
        self.pids.clear();
        self.left_out = 0;
        if let Some(folder) = &mut self.folder
            && folder.pids(&mut self.pids).is_err()
        {
            // Mounted anew, perhaps.
            self.folder = None;
            self.pids.clear();
        }
        if self.folder.is_none() {
            let failed = |error: Errno| CollectError::reading(&host.proc, &io::Error::from(error));
            let mut folder = Folder::open(host).map_err(failed)?;
            folder.pids(&mut self.pids).map_err(failed)?;
            self.folder = Some(folder);
        }
        // procfs lists them in order; a recorded machine's folder need not.
        if !self.pids.is_sorted() {
            self.pids.sort_unstable();
        }
        self.left_out = self.pids.len().saturating_sub(MOST_PROCESSES);
        self.pids.truncate(MOST_PROCESSES);
        Ok(())
    }

    /// Makes sure of the disk traffic of the process at `index`, as far as the rules have it read.
    pub(super) fn read_io(&mut self, index: usize) {
        let is_crowded = self.pids.len() > MOST_WITH_IO;
        if let (Some(process), Some(folder), Some(now)) =
            (self.processes.get_mut(index), &mut self.folder, self.now)
        {
            process.read_io(folder, now, self.round, is_crowded);
        }
    }

    /// The same for all processes, now and in the scans to come.
    pub(super) fn read_all_io(&mut self) {
        self.is_all_io_wanted = true;
        for index in 0..self.processes.len() {
            self.read_io(index);
        }
    }

    /// Makes sure of the user, unit and container of the process at `index`.
    pub(super) fn find_about(&mut self, index: usize) {
        let (Some(process), Some(folder)) = (self.processes.get_mut(index), &mut self.folder)
        else {
            return;
        };
        let is_fresh = process
            .about
            .as_ref()
            .is_some_and(|about| about.round == self.round || !process.is_due(self.round));
        if is_fresh {
            return;
        }
        let mut about = About { round: self.round, ..About::default() };
        if let Some(text) = folder.text(process.pid, "status") {
            about.user = files::effective_user(text).map(|number| self.users.name(number));
        }
        if let Some(text) = folder.text(process.pid, "cgroup") {
            let place = files::place_of(text);
            about.unit = place.unit.map(Text::from);
            about.container = place.container.map(Text::from);
        }
        let is_as_before = process.about.as_ref().is_some_and(|before| {
            (&before.user, &before.unit, &before.container)
                == (&about.user, &about.unit, &about.container)
        });
        process.is_ungrouped |= !is_as_before;
        process.about = Some(about);
    }

    pub(super) fn command(&mut self, pid: u32, wanted: TopCommand) -> Option<Text> {
        if wanted == TopCommand::None {
            return None;
        }
        let cmdline = self.folder.as_mut()?.read(pid, "cmdline").ok()?;
        files::command(cmdline, wanted).map(Text::from)
    }

    /// How many descriptors a process has open: newer kernels (6.2) say so as its folder's size.
    pub(super) fn open_descriptors(&mut self, pid: u32) -> Option<u64> {
        self.folder.as_mut()?.descriptors(pid)
    }

    /// Counts the states of a process's threads, at most `most` of them, and says how many it saw.
    pub(super) fn thread_states(&mut self, pid: u32, most: u64, count: impl FnMut(u8)) -> u64 {
        let Some(folder) = &mut self.folder else { return 0 };
        // A process that ends meanwhile has no threads.
        folder.thread_states(pid, most, count).unwrap_or(0)
    }
}

impl IoSeen {
    fn take(&mut self, io: Io, now: Timestamp, is_seen_from_birth: bool) {
        self.is_denied = false;
        let last = self.last.replace((now, io));
        let since = match last {
            Some((_, before)) => before,
            None if is_seen_from_birth => Io::default(),
            None => io,
        };
        self.fresh = Io {
            read: io.read.saturating_sub(since.read),
            written: io.written.saturating_sub(since.written),
        };
        let seconds = last.map(|(at, _)| now.since(at).as_secs_f64()).filter(|span| *span > 0.0);
        let a_second = |bytes: u64, seconds: f64| (bytes as f64 / seconds).round() as u64;
        self.rate = seconds.map(|seconds| Io {
            read: a_second(self.fresh.read, seconds),
            written: a_second(self.fresh.written, seconds),
        });
    }
}

/// `/proc`, held open: a walk from the root for each of thousands of files would cost more than
/// reading them.
struct Folder {
    handle: OwnedFd,
    /// A recorded folder's sizes mean nothing.
    is_procfs: bool,
    path: String,
    text: Box<[u8]>,
    entries: Vec<u8>,
}

impl Folder {
    const ENTRIES_BYTES: usize = 32 * 1024;
    /// The kernel makes each of the files whole in one read of a page.
    const TEXT_BYTES: usize = 4096;

    fn open(host: &Host) -> Result<Folder, Errno> {
        let handle = rustix::fs::open(&host.proc, FOLDER, Mode::empty())?;
        Ok(Folder {
            is_procfs: crate::host::is_in_procfs(&handle),
            handle,
            path: String::new(),
            text: vec![0; Folder::TEXT_BYTES].into(),
            entries: Vec::with_capacity(Folder::ENTRIES_BYTES),
        })
    }

    fn pids(&mut self, into: &mut Vec<u32>) -> Result<(), Errno> {
        rustix::fs::seek(&self.handle, SeekFrom::Start(0))?;
        numbers(&self.handle, self.entries.spare_capacity_mut(), |pid| {
            into.push(pid);
            true
        })
    }

    /// One of a process's files, as far as it fits a page.
    fn read(&mut self, pid: u32, file: &str) -> Result<&[u8], Errno> {
        set_path(&mut self.path, pid, file);
        read_at(&self.handle, &self.path, &mut self.text)
    }

    fn text(&mut self, pid: u32, file: &str) -> Option<&str> {
        let bytes = self.read(pid, file).ok()?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            // A group's name may be any bytes; what stands before it is still good.
            Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok(),
        }
    }

    fn descriptors(&mut self, pid: u32) -> Option<u64> {
        if !self.is_procfs {
            return None;
        }
        set_path(&mut self.path, pid, "fd");
        let stat = rustix::fs::statat(&self.handle, self.path.as_str(), AtFlags::empty()).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    fn thread_states(
        &mut self,
        pid: u32,
        most: u64,
        mut count: impl FnMut(u8),
    ) -> Result<u64, Errno> {
        set_path(&mut self.path, pid, "task");
        let tasks = rustix::fs::openat(&self.handle, self.path.as_str(), FOLDER, Mode::empty())?;
        let mut seen = 0;
        let (path, text) = (&mut self.path, &mut self.text);
        numbers(&tasks, self.entries.spare_capacity_mut(), |thread| {
            set_path(path, thread, "stat");
            if let Some(state) = read_at(&tasks, path, text).ok().and_then(files::state) {
                count(state);
                seen += 1;
            }
            seen < most
        })?;
        Ok(seen)
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn set_path(path: &mut String, number: u32, file: &str) {
    path.clear();
    write!(path, "{number}/{file}").expect("a String takes all text");
}

fn read_at<'a>(folder: &OwnedFd, path: &str, text: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    // Recorded machines may hold anything: a FIFO must not block the open.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(folder, path, flags, Mode::empty())?;
    loop {
        match rustix::io::read(&file, &mut *text) {
            Ok(length) => return Ok(text.get(..length).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The entries that are numbers, until `take` has had enough.
fn numbers(
    folder: impl AsFd,
    buffer: &mut [MaybeUninit<u8>],
    mut take: impl FnMut(u32) -> bool,
) -> Result<(), Errno> {
    let mut entries = RawDir::new(folder, buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        if let Some(number) = number
            && !take(number)
        {
            break;
        }
    }
    Ok(())
}

/// Users' names by number, from the machine's own list.
#[derive(Default)]
struct Users {
    names: HashMap<u32, Text>,
    /// Numbers as text, for those without a name.
    numbers: HashMap<u32, Text>,
}

impl Users {
    const MOST_BYTES: usize = 1024 * 1024;

    fn read(&mut self, host: &Host) {
        self.numbers.clear();
        let read = crate::host::read_at_most(&host.root.join("etc/passwd"), Users::MOST_BYTES);
        self.names = read.map(|text| files::user_names(&text)).unwrap_or_default();
    }

    fn name(&mut self, number: u32) -> Text {
        if let Some(name) = self.names.get(&number) {
            return name.clone();
        }
        self.numbers.entry(number).or_insert_with(|| Text::from(number.to_string())).clone()
    }
}

struct BootTime {
    file: HotFile,
    seconds: Option<f64>,
}

impl Default for BootTime {
    fn default() -> BootTime {
        BootTime { file: HotFile::new(Tree::Proc, "stat"), seconds: None }
    }
}

impl BootTime {
    fn read(&mut self, host: &Host) {
        self.seconds = self.file.read_str(host).ok().and_then(files::boot_time);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::laid_out::write;

    fn machine(processes: &[u32]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::recorded(folder.path());
        say_page_size(&host);
        for pid in processes {
            let path = host.proc.join(pid.to_string());
            std::fs::create_dir_all(&path).unwrap();
            let stat = format!("{pid} (p) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 8192 1 0\n");
            write(&path.join("stat"), &stat);
        }
        (folder, host)
    }

    fn say_page_size(host: &Host) {
        std::fs::create_dir_all(host.proc.join("self")).unwrap();
        write(&host.proc.join("self/smaps"), "KernelPageSize: 4 kB\n");
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_400_000_000 + 1000 * seconds)
    }

    fn pids(table: &Table) -> Vec<u32> {
        table.processes().iter().map(|process| process.pid).collect()
    }

    #[test]
    fn one_tick_reads_the_folder_once_and_the_next_one_again() {
        let (_folder, host) = machine(&[2, 10, 1]);
        let table = ProcessTable::default();
        assert_eq!(pids(&table.at(&host, at(0)).unwrap()), [1, 2, 10]);
        std::fs::remove_dir_all(host.proc.join("2")).unwrap();
        assert_eq!(pids(&table.at(&host, at(0)).unwrap()), [1, 2, 10], "of the same tick");
        let later = table.at(&host, at(10)).unwrap();
        assert_eq!(pids(&later), [1, 10]);
        assert!(later.former.is_empty() && later.shortcoming().is_none());
    }

    #[test]
    fn a_stat_that_cannot_be_understood_is_counted_and_the_others_stand() {
        let (_folder, host) = machine(&[1, 2, 3]);
        write(&host.proc.join("2/stat"), "2 (cut) S 1");
        let table = ProcessTable::default();
        let table = table.at(&host, at(0)).unwrap();
        assert_eq!(pids(&table), [1, 3]);
        let said = table.shortcoming().unwrap();
        assert!(said.contains("of 1 processes"), "{said}");
    }

    #[test]
    fn an_odd_name_is_made_presentable_once_and_figures_without_bound_are_no_reason_to_panic() {
        let (_folder, host) = machine(&[7]);
        let most = u64::MAX;
        let stat = format!(
            "7 (a\n\u{1b}b) S 1 1 1 0 -1 0 {most} 0 {most} 0 {most} {most} 0 0 20 0 {most} 0 {most} {most} {most} 0\n"
        );
        write(&host.proc.join("7/stat"), &stat);
        let table = ProcessTable::default();
        let first = table.at(&host, at(0)).unwrap().processes()[0].name.clone();
        assert_eq!(first.as_str(), "a??b");
        let again = table.at(&host, at(10)).unwrap();
        assert!(again.processes()[0].name.same_place(&first));
        assert_eq!(again.processes()[0].fresh_cpu_ticks(), 0);
    }

    #[test]
    fn who_finds_the_table_held_by_one_that_hangs_fails_at_once() {
        let (_folder, host) = machine(&[1]);
        let table = ProcessTable::default();
        let hung = table.0.lock().unwrap();
        assert!(
            matches!(table.at(&host, at(0)), Err(CollectError::Failed(reason)) if reason.contains("hangs"))
        );
        drop(hung);
        assert!(table.at(&host, at(0)).is_ok());
    }

    #[test]
    fn a_panic_over_the_table_costs_what_it_held_and_nothing_more() {
        let (_folder, host) = machine(&[1]);
        let table = Arc::new(ProcessTable::default());
        let shared = Arc::clone(&table);
        let panicking = move || {
            let _table = shared.0.lock().unwrap();
            panic!("as a collector might");
        };
        std::thread::spawn(panicking).join().unwrap_err();
        assert_eq!(table.at(&host, at(0)).unwrap().round, 1);
        assert_eq!(table.at(&host, at(10)).unwrap().round, 2, "and it goes on from there");
    }

    #[test]
    fn a_folder_that_was_replaced_is_opened_anew_once_it_cannot_be_listed() {
        let (folder, host) = machine(&[1]);
        let table = ProcessTable::default();
        drop(table.at(&host, at(0)).unwrap());
        std::fs::remove_dir_all(folder.path().join("proc")).unwrap();
        assert!(matches!(table.at(&host, at(10)), Err(CollectError::Absent(_))));
        say_page_size(&host);
        std::fs::create_dir_all(host.proc.join("5")).unwrap();
        let stat = "5 (p) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 8192 1 0\n";
        write(&host.proc.join("5/stat"), stat);
        assert_eq!(pids(&table.at(&host, at(20)).unwrap()), [5]);
    }
}
