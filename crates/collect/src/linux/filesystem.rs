//! `filesystem`: size, free space and inodes of each mounted file system. Source: the mount table
//! `/proc/1/mountinfo` (fs/proc_namespace.c) and statfs(2) on each mount point.
//!
//! PID 1's table is the host's, also when this process is in a container that sees the host's
//! `/proc`; where it cannot be read, this process's own is taken. What PID 1 has mounted is asked
//! only where this process has the same file system at that place.
//!
//! statfs on a dead network mount never returns. So it is asked on a thread of its own: a mount
//! that does not answer in time is reported as `mountpoint timeout`, its thread is left alone,
//! and it is not asked again until that thread comes back. All others are served in the same tick.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use farol_model::{Lane, Metric};
use regex::Regex;

use crate::{
    CollectError, Collector, Entry, Host, HotFile, Options, OptionsError, Scope, Scrape, Tree,
    mount_table::{self, Mount},
    runner::start_lap,
};

const SIZE: &str = "node_filesystem_size_bytes";
const FREE: &str = "node_filesystem_free_bytes";
const AVAILABLE: &str = "node_filesystem_avail_bytes";
const FILES: &str = "node_filesystem_files";
const FILES_FREE: &str = "node_filesystem_files_free";
const READ_ONLY: &str = "node_filesystem_readonly";
const DEVICE_ERROR: &str = "node_filesystem_device_error";
const MOUNT_INFO: &str = "node_filesystem_mount_info";

pub(crate) const ENTRY: Entry = Entry {
    name: "filesystem",
    about: "size, free space and inodes of each mounted file system",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Mounts,
    reads: &["/proc/1/mountinfo"],
    metrics: &[
        Metric::gauge(SIZE, "bytes", "Filesystem size in bytes."),
        Metric::gauge(FREE, "bytes", "Filesystem free space in bytes."),
        Metric::gauge(AVAILABLE, "bytes", "Filesystem space available to non-root users in bytes."),
        Metric::gauge(FILES, "", "Filesystem total file nodes."),
        Metric::gauge(FILES_FREE, "", "Filesystem total free file nodes."),
        Metric::gauge(READ_ONLY, "", "Filesystem read-only status."),
        Metric::gauge(
            DEVICE_ERROR,
            "",
            "Whether an error occurred while getting statistics for the given device.",
        ),
        Metric::gauge(MOUNT_INFO, "", "Filesystem mount information."),
    ],
    build,
};

/// How long all mounts of a tick together may keep it waiting: less than the collector itself is
/// given, so that a dead mount is named and the others are served. (node_exporter waits five
/// seconds for one mount, but its scrape waits with it.)
const MOUNT_TIMEOUT: Duration = Duration::from_millis(1500);
/// What a mount gets at least, when others have used that time up.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// How many threads may hang in statfs at once.
const MOST_STUCK: usize = 8;
/// Of those, how many are kept for local disks: one dead file server with many mounts must not
/// cost the sight of `/`.
const STUCK_KEPT_FOR_LOCAL: usize = 2;

const TIMED_OUT: &str = "mountpoint timeout";
const NOT_ASKED: &str = "not asked: too many other mounts hang";

fn build(options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Filesystem::new(options, Arc::new(statfs), MOUNT_TIMEOUT)))
}

/// What a file system says of itself, in bytes and inodes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Space {
    size: f64,
    free: f64,
    available: f64,
    files: f64,
    files_free: f64,
}

/// Asks one file system: statfs(2), or what a test puts in its place.
type Ask = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

fn statfs(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let block = stat.f_frsize as f64;
    Ok(Space {
        size: stat.f_blocks as f64 * block,
        free: stat.f_bfree as f64 * block,
        available: stat.f_bavail as f64 * block,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

struct Filesystem {
    /// In order of preference.
    tables: [HotFile; 3],
    exclude_mount_points: Regex,
    exclude_types: Regex,
    asker: Asker,
}

impl Filesystem {
    fn new(options: &Options, ask: Ask, timeout: Duration) -> Filesystem {
        let table = |path: &str| HotFile::new(Tree::Proc, path);
        Filesystem {
            tables: [table("1/mountinfo"), table("self/mountinfo"), table("mounts")],
            exclude_mount_points: options.filesystem_mount_points_exclude.clone(),
            exclude_types: options.filesystem_types_exclude.clone(),
            asker: Asker { ask, timeout, worker: None, stuck: Vec::new() },
        }
    }

    /// What is mounted on the machine, and which of it cannot be asked from here.
    fn mounts(&mut self, host: &Host, out: &mut Scrape) -> Result<Vec<Mount>, CollectError> {
        let mut result = Err(CollectError::Absent("no mount table".into()));
        let mut is_first_process_s = false;
        for (table, file) in self.tables.iter_mut().enumerate() {
            const LAST: usize = 2;
            let parse = if table == LAST { Mount::from_mounts } else { Mount::from_mountinfo };
            result = file.read(host).map(|bytes| {
                String::from_utf8_lossy(bytes).lines().filter_map(parse).collect::<Vec<Mount>>()
            });
            if result.as_ref().is_ok_and(|mounts| !mounts.is_empty()) {
                is_first_process_s = table == 0;
                break;
            }
        }
        let mut mounts = result?;
        if !is_first_process_s {
            mounts = below_root(mounts, &host.root);
        }
        mounts = topmost(mounts);
        mounts.retain(|mount| {
            !self.exclude_mount_points.is_match(&mount.point)
                && !self.exclude_types.is_match(&mount.kind)
        });
        if is_first_process_s {
            // A recorded machine has no table of ours: there its folders are the mounts.
            let own = self.tables[1].read(host).map(mount_table::parse).unwrap_or_default();
            mounts.retain(|mount| {
                let seen = own.is_empty() || is_seen_below(&host.root, &own, mount);
                if !seen {
                    out.problem(unseen(&host.root, mount));
                }
                seen
            });
        }
        Ok(mounts)
    }
}

/// Whether the machine's mount is what we see below its root too. In a mount namespace of our own
/// another file system may stand at that place, or none: its figures would come under a false name.
fn is_seen_below(root: &Path, own: &[Mount], mount: &Mount) -> bool {
    let here = root.join(mount.point.trim_start_matches('/'));
    own.iter()
        .rev()
        .find(|own| Path::new(&own.point) == here)
        .is_some_and(|own| own.number == mount.number && own.root == mount.root)
}

fn unseen(root: &Path, mount: &Mount) -> String {
    let here = root.join(mount.point.trim_start_matches('/'));
    format!(
        "{}: not visible at {}; it was mounted later (rslave shows such mounts) or is hidden from Farol",
        mount.point,
        here.display()
    )
}

impl Collector for Filesystem {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        let mounts = self.mounts(host, out)?;
        let answers = self.asker.ask_all(&host.root, &mounts);
        for (mount, answer) in mounts.iter().zip(answers) {
            push(out, mount, &answer);
        }
        Ok(())
    }
}

fn push(out: &mut Scrape, mount: &Mount, answer: &Result<Space, String>) {
    let error = answer.as_ref().err().map_or("", String::as_str);
    let labels = [
        ("device", mount.device.as_str()),
        ("device_error", error),
        ("fstype", mount.kind.as_str()),
        ("mountpoint", mount.point.as_str()),
    ];
    out.push(DEVICE_ERROR, &labels, f64::from(u8::from(answer.is_err())));
    out.push(READ_ONLY, &labels, f64::from(u8::from(mount.read_only)));
    push_info(out, mount);
    match answer {
        Ok(space) => {
            out.push(SIZE, &labels, space.size);
            out.push(FREE, &labels, space.free);
            out.push(AVAILABLE, &labels, space.available);
            out.push(FILES, &labels, space.files);
            out.push(FILES_FREE, &labels, space.files_free);
        }
        Err(reason) => out.problem(format!("{}: {reason}", mount.point)),
    }
}

/// The numbers by which `/proc/diskstats` and the kernel's log know the device.
fn push_info(out: &mut Scrape, mount: &Mount) {
    if let Some((major, minor)) = mount.number.split_once(':') {
        let labels = [
            ("device", mount.device.as_str()),
            ("major", major),
            ("minor", minor),
            ("mountpoint", mount.point.as_str()),
        ];
        out.push(MOUNT_INFO, &labels, 1.0);
    }
}

/// Whether asking it can mean asking another machine or program.
fn is_remote(mount: &Mount) -> bool {
    const KINDS: [&str; 9] =
        ["9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3"];
    KINDS.contains(&mount.kind.as_str()) || mount.kind.starts_with("fuse")
}

/// The host's mounts, as the host names them. A table that shows the host's root below a folder
/// (`/host`, `/host/home`) is a container's: what is not below that folder is the container's
/// own. Any other table is the host's and names its mounts as they are.
fn below_root(mounts: Vec<Mount>, root: &Path) -> Vec<Mount> {
    let Some(root) = root.to_str().filter(|root| *root != "/") else { return mounts };
    let stripped = |mount: &Mount| {
        let rest = mount.point.strip_prefix(root.trim_end_matches('/'))?;
        match rest {
            "" => Some("/".to_owned()),
            _ => rest.starts_with('/').then(|| rest.to_owned()),
        }
    };
    if !mounts.iter().any(|mount| stripped(mount).is_some()) {
        return mounts;
    }
    mounts
        .into_iter()
        .filter_map(|mount| Some(Mount { point: stripped(&mount)?, ..mount }))
        .collect()
}

/// Where one file system was mounted over another, only the upper can be asked.
fn topmost(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut last = HashMap::new();
    for (index, mount) in mounts.iter().enumerate() {
        last.insert(mount.point.clone(), index);
    }
    let is_last = |(index, mount): &(usize, Mount)| last.get(&mount.point) == Some(index);
    mounts.into_iter().enumerate().filter(is_last).map(|(_, mount)| mount).collect()
}

/// Asks mounts on a thread that can be given up.
struct Asker {
    ask: Ask,
    timeout: Duration,
    worker: Option<Worker>,
    stuck: Vec<Stuck>,
}

/// A mount whose thread has not come back yet.
struct Stuck {
    id: String,
    point: String,
    is_remote: bool,
    answers: Receiver<Answer>,
}

struct Answer {
    index: usize,
    result: Result<Space, String>,
}

impl Asker {
    /// One answer per mount, in their order.
    fn ask_all(&mut self, root: &Path, mounts: &[Mount]) -> Vec<Result<Space, String>> {
        // What its thread sent, or that it is gone, says that the mount answers again.
        self.stuck.retain(|stuck| matches!(stuck.answers.try_recv(), Err(TryRecvError::Empty)));
        let mut answers: Vec<Result<Space, String>> = mounts
            .iter()
            .map(|mount| Err(if self.is_stuck(mount) { TIMED_OUT } else { NOT_ASKED }.to_owned()))
            .collect();
        let began = start_lap();
        let mut from = 0;
        while let Some(job) = self.next_job(root, mounts, from) {
            from = match self.run(job, began, &mut answers) {
                Ok(()) => mounts.len(),
                Err(late) => {
                    self.give_up(&mounts[late]);
                    answers[late] = Err(TIMED_OUT.to_owned());
                    late + 1
                }
            };
        }
        answers
    }

    fn is_stuck(&self, mount: &Mount) -> bool {
        self.stuck.iter().any(|stuck| stuck.id == mount.id && stuck.point == mount.point)
    }

    /// The mounts from `from` on that may be asked.
    fn next_job(&self, root: &Path, mounts: &[Mount], from: usize) -> Option<Job> {
        let remote_stuck = self.stuck.iter().filter(|stuck| stuck.is_remote).count();
        let may_ask = |mount: &Mount| {
            let room = self.stuck.len() < MOST_STUCK;
            let room_for_remote = remote_stuck < MOST_STUCK - STUCK_KEPT_FOR_LOCAL;
            room && (room_for_remote || !is_remote(mount)) && !self.is_stuck(mount)
        };
        let paths: Vec<(usize, PathBuf)> = mounts
            .iter()
            .enumerate()
            .skip(from)
            .filter(|(_, mount)| may_ask(mount))
            .map(|(index, mount)| (index, root.join(mount.point.trim_start_matches('/'))))
            .collect();
        (!paths.is_empty()).then_some(Job { paths })
    }

    /// Fills in the answers; the mount that does not answer in time is the error.
    fn run(
        &mut self,
        job: Job,
        began: Instant,
        answers: &mut [Result<Space, String>],
    ) -> Result<(), usize> {
        let expected: Vec<usize> = job.paths.iter().map(|(index, _)| *index).collect();
        let worker = match self.worker.take().or_else(|| Worker::start(&self.ask)) {
            Some(worker) => self.worker.insert(worker),
            None => {
                no_thread(&expected, answers);
                return Ok(());
            }
        };
        // A closed channel shows in `receive`.
        worker.jobs.send(job).ok();
        for index in &expected {
            let patience = self.timeout.saturating_sub(began.elapsed()).max(LEAST_PATIENCE);
            match worker.receive(patience) {
                Received::Answer(answer) => answers[answer.index] = answer.result,
                Received::Nothing => return Err(*index),
                Received::ThreadIsGone => {
                    self.worker = None;
                    no_thread(&[*index], answers);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Leaves the worker alone with the mount it hangs in.
    fn give_up(&mut self, mount: &Mount) {
        let Some(worker) = self.worker.take() else { return };
        worker.given_up.store(true, Ordering::Relaxed);
        self.stuck.push(Stuck {
            id: mount.id.clone(),
            point: mount.point.clone(),
            is_remote: is_remote(mount),
            answers: worker.answers,
        });
    }
}

fn no_thread(indices: &[usize], answers: &mut [Result<Space, String>]) {
    for index in indices {
        answers[*index] = Err("not asked: no thread to ask with".to_owned());
    }
}

struct Job {
    paths: Vec<(usize, PathBuf)>,
}

/// A thread that answers jobs, one mount after the other. It ends when this is dropped.
struct Worker {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    given_up: Arc<AtomicBool>,
}

enum Received {
    Answer(Answer),
    Nothing,
    ThreadIsGone,
}

impl Worker {
    const STACK_BYTES: usize = 64 * 1024;
    const ANSWERS_WAITING: usize = 64;

    fn start(ask: &Ask) -> Option<Worker> {
        let (jobs, next_job) = sync_channel::<Job>(1);
        let (answer, answers) = sync_channel(Worker::ANSWERS_WAITING);
        let given_up = Arc::new(AtomicBool::new(false));
        let (ask, stop) = (Arc::clone(ask), Arc::clone(&given_up));
        let work = move || {
            while let Ok(job) = next_job.recv() {
                for (index, path) in job.paths {
                    let result = ask(&path).map_err(|error| reason(&error));
                    let is_closed = answer.send(Answer { index, result }).is_err();
                    if is_closed || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("statfs".into()).stack_size(Worker::STACK_BYTES);
        thread.spawn(work).ok()?;
        Some(Worker { jobs, answers, given_up })
    }

    fn receive(&self, patience: Duration) -> Received {
        match self.answers.recv_timeout(patience) {
            Ok(answer) => Received::Answer(answer),
            Err(RecvTimeoutError::Disconnected) => Received::ThreadIsGone,
            // The whole machine may have been asleep meanwhile: then the answer is there.
            Err(RecvTimeoutError::Timeout) => match self.answers.try_recv() {
                Ok(answer) => Received::Answer(answer),
                Err(_) => Received::Nothing,
            },
        }
    }
}

/// In node_exporter's words, so that a label's value is the same: lower case, no number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

/// For the fuzzer.
pub(super) fn parse_everything(text: &str) {
    let mounts = text.lines().filter_map(Mount::from_mountinfo);
    let older = text.lines().filter_map(Mount::from_mounts);
    drop(topmost(below_root(mounts.chain(older).collect(), Path::new("/host"))));
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::laid_out::write;

    #[test]
    fn a_containers_table_is_cut_down_to_the_host_below_its_prefix() {
        let table = ["/", "/etc/hosts", "/host", "/host/home", "/hostile"].map(at).to_vec();
        let points: Vec<_> =
            below_root(table, Path::new("/host")).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, ["/", "/home"]);
        let hosts_own = ["/", "/home"].map(at).to_vec();
        assert_eq!(below_root(hosts_own.clone(), Path::new("/host")), hosts_own);
        assert_eq!(below_root(hosts_own.clone(), Path::new("/")), hosts_own);
    }

    #[test]
    fn of_two_mounts_at_one_place_the_upper_counts() {
        let upper = Mount { kind: "nfs4".into(), ..at("/srv") };
        let mounts = topmost(vec![Mount { kind: "autofs".into(), ..at("/srv") }, at("/"), upper]);
        let kinds: Vec<_> = mounts.iter().map(|mount| mount.kind.as_str()).collect();
        assert_eq!(kinds, ["ext4", "nfs4"]);
    }

    #[test]
    fn a_hung_mount_is_late_alone_and_is_asked_again_once_its_thread_returns() {
        let hung = Hung::new("/mnt/nfs");
        let mut asker = hung.asker();
        let mounts = [at("/"), at("/mnt/nfs"), at("/home")];
        let late = Err(TIMED_OUT.to_owned());
        let expected = [Ok(SPACE), late, Ok(SPACE)];
        assert_eq!(asker.ask_all(Path::new("/"), &mounts), expected);
        assert_eq!(hung.times_asked(), 1);
        assert_eq!(asker.ask_all(Path::new("/"), &mounts), expected);
        assert_eq!(hung.times_asked(), 1, "not asked while its thread is out");
        hung.answer(&asker);
        assert_eq!(asker.ask_all(Path::new("/"), &mounts), [Ok(SPACE), Ok(SPACE), Ok(SPACE)]);
        assert_eq!(hung.times_asked(), 2);
    }

    #[test]
    fn a_dead_file_server_takes_six_threads_at_most_and_local_disks_are_still_served() {
        let hung = Hung::new("/mnt/");
        let mut asker = hung.asker();
        let remote = |number: usize| Mount { kind: "nfs4".into(), ..at(&format!("/mnt/{number}")) };
        let mut mounts: Vec<Mount> = (0..10).map(remote).collect();
        mounts.push(at("/"));
        for _ in 0..2 {
            let answers = asker.ask_all(Path::new("/"), &mounts);
            assert_eq!(answers[10], Ok(SPACE));
            assert_eq!(answers[5], Err(TIMED_OUT.to_owned()));
            assert_eq!(answers[6], Err(NOT_ASKED.to_owned()));
            assert_eq!(hung.times_asked(), 6);
        }
        hung.answer(&asker);
    }

    #[test]
    fn an_error_is_a_label_and_the_other_mounts_have_none() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        std::fs::create_dir_all(host.proc.join("1")).unwrap();
        write(
            &host.proc.join("1/mountinfo"),
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /gone ro - ext4 /dev/sda2 ro\n3 1 0:4 / /proc rw - proc proc rw\n",
        );
        let ask: Ask = Arc::new(|path: &Path| match path.ends_with("gone") {
            true => Err(io::Error::from_raw_os_error(2)),
            false => Ok(SPACE),
        });
        let mut out = Scrape::new();
        let mut collector = Filesystem::new(&Options::default(), ask, MOUNT_TIMEOUT);
        collector.collect(&host, &mut out).unwrap();
        let of = |point: &str, name: &str| {
            let mut samples = out.samples().iter();
            let found =
                samples.find(|s| s.name == name && s.labels.get("mountpoint") == Some(point));
            found.map(|s| (s.value, s.labels.get("device_error").map(str::to_owned)))
        };
        assert_eq!(of("/", SIZE), Some((SPACE.size, None)));
        assert_eq!(of("/", DEVICE_ERROR), Some((0.0, None)));
        let error = Some("no such file or directory".to_owned());
        assert_eq!(of("/gone", DEVICE_ERROR), Some((1.0, error.clone())));
        assert_eq!(of("/gone", READ_ONLY), Some((1.0, error)));
        assert_eq!(of("/gone", SIZE), None);
        assert_eq!(of("/proc", DEVICE_ERROR), None);
    }

    #[test]
    fn a_place_where_we_have_another_file_system_than_the_machine_is_not_asked() {
        let place = tempfile::tempdir().unwrap();
        let host = Host::recorded(place.path());
        for process in ["1", "self"] {
            std::fs::create_dir_all(host.proc.join(process)).unwrap();
        }
        write(
            &host.proc.join("1/mountinfo"),
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /home rw - ext4 /dev/sda2 rw\n\
             3 1 8:3 / /late rw - ext4 /dev/sda3 rw\n",
        );
        let root = host.root.display();
        let own = format!(
            "7 6 8:1 / {root} ro - ext4 /dev/sda1 rw\n8 7 8:2 / {root}/home ro - ext4 /dev/sda2 rw\n\
             9 7 0:70 / {root}/home ro - tmpfs tmpfs rw\n"
        );
        write(&host.proc.join("self/mountinfo"), &own);
        let mut out = Scrape::new();
        let ask: Ask = Arc::new(|_| Ok(SPACE));
        let mut collector = Filesystem::new(&Options::default(), ask, MOUNT_TIMEOUT);
        collector.collect(&host, &mut out).unwrap();
        let sizes = out.samples().iter().filter(|sample| sample.name == SIZE);
        let points: Vec<_> = sizes.map(|sample| sample.labels.get("mountpoint")).collect();
        assert_eq!(points, [Some("/")]);
        let problems = out.take_problems();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("/home: not visible at "), "{problems:?}");
        assert!(problems[1].starts_with("/late: not visible at "), "{problems:?}");
    }

    const SPACE: Space =
        Space { size: 100.0, free: 50.0, available: 40.0, files: 10.0, files_free: 5.0 };

    fn at(point: &str) -> Mount {
        Mount {
            id: String::new(),
            number: "8:1".into(),
            root: "/".into(),
            device: "/dev/sda1".into(),
            point: point.into(),
            kind: "ext4".into(),
            options: "rw".into(),
            read_only: false,
        }
    }

    /// Mounts below a path that do not answer until told to: whoever asks waits on a channel.
    struct Hung {
        below: &'static str,
        gate: Mutex<Option<SyncSender<()>>>,
        wait: Arc<Mutex<Receiver<()>>>,
        asked: Arc<std::sync::atomic::AtomicUsize>,
    }

    impl Hung {
        fn new(below: &'static str) -> Hung {
            let (gate, wait) = sync_channel(0);
            let wait = Arc::new(Mutex::new(wait));
            Hung { below, gate: Mutex::new(Some(gate)), wait, asked: Arc::default() }
        }

        fn asker(&self) -> Asker {
            let (below, wait, asked) =
                (self.below, Arc::clone(&self.wait), Arc::clone(&self.asked));
            let ask: Ask = Arc::new(move |path: &Path| {
                if path.to_str().unwrap().starts_with(below) {
                    asked.fetch_add(1, Ordering::SeqCst);
                    // Ends when the gate is dropped.
                    wait.lock().unwrap().recv().ok();
                }
                Ok(SPACE)
            });
            let timeout = Duration::from_millis(200);
            Asker { ask, timeout, worker: None, stuck: Vec::new() }
        }

        fn times_asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        /// Lets all who wait go, and waits until their threads have answered.
        fn answer(&self, asker: &Asker) {
            self.gate.lock().unwrap().take();
            for stuck in &asker.stuck {
                while stuck.answers.recv().is_ok() {}
            }
        }
    }
}
