//! Folders held by handle: what is read and removed here lies in the folder that was opened, whatever
//! becomes of its name meanwhile.
//!
//! A folder is opened one name at a time and never through a link, a folder of another file system or
//! of another mount is none of ours, and a file goes only when it is still the one that was looked at.

use std::{
    collections::HashSet,
    ffi::{CStr, CString, OsStr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Component, Path, PathBuf},
    time::Duration,
};

use farol_model::Timestamp;
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, StatxFlags},
    io::Errno,
};

use super::{Leash, show_size};

/// What is known of a file, of its name or of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) kind: FileType,
    pub(super) place: Place,
    /// None before Linux 5.8.
    mount: Option<u64>,
    /// When it was read, written or changed last.
    pub(super) touched: Timestamp,
    /// When it was written or changed last.
    pub(super) changed: Timestamp,
    pub(super) written: Timestamp,
    pub(super) links: u32,
    /// Of the blocks that it takes.
    pub(super) bytes: u64,
}

/// By which a file is told from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    device: (u32, u32),
    inode: u64,
}

fn stat(folder: impl AsFd, name: &CStr) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let found = rustix::fs::statx(folder, name, flags, wanted)?;
    let at = |seconds: i64, nanos: u32| {
        Timestamp::from_millis(
            seconds.saturating_mul(1000).saturating_add(i64::from(nanos) / 1_000_000),
        )
    };
    let read = at(found.stx_atime.tv_sec, found.stx_atime.tv_nsec);
    let written = at(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
    let changed = at(found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec).max(written);
    let knows_mount = found.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Ok(Stat {
        kind: FileType::from_raw_mode(u32::from(found.stx_mode)),
        place: Place { device: (found.stx_dev_major, found.stx_dev_minor), inode: found.stx_ino },
        mount: knows_mount.then_some(found.stx_mnt_id),
        touched: changed.max(read),
        changed,
        written,
        links: found.stx_nlink,
        bytes: found.stx_blocks.saturating_mul(512),
    })
}

/// A folder that is held open.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    pub(super) stat: Stat,
    /// As it was called when it was opened; for people, nothing is done by it.
    pub(super) path: PathBuf,
}

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// No part of the path may be a link.
    pub(super) fn open(path: &Path) -> Result<Folder, Errno> {
        let mut handle = rustix::fs::openat(CWD, c"/", OPEN, Mode::empty())?;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    handle = rustix::fs::openat(&handle, name, OPEN, Mode::empty())?;
                }
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
            }
        }
        let stat = stat(&handle, c"")?;
        Ok(Folder { handle, stat, path: path.to_owned() })
    }

    /// One level deeper; `XDEV` where another file system or another mount begins.
    pub(super) fn inside(&self, name: &CStr) -> Result<Folder, Errno> {
        let handle = rustix::fs::openat(&self.handle, name, OPEN, Mode::empty())?;
        let stat = stat(&handle, c"")?;
        if stat.place.device != self.stat.place.device || stat.mount != self.stat.mount {
            return Err(Errno::XDEV);
        }
        Ok(Folder { handle, stat, path: self.path_of(name) })
    }

    pub(super) fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }

    /// Its names in order, at most so many, and whether there are more.
    pub(super) fn names(&self, most: usize) -> Result<(Vec<CString>, bool), Errno> {
        let mut names = Vec::new();
        let mut is_cut = false;
        for entry in Dir::read_from(&self.handle)? {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if names.len() >= most {
                is_cut = true;
                break;
            }
            names.push(entry.file_name().to_owned());
        }
        names.sort_unstable();
        Ok((names, is_cut))
    }

    pub(super) fn stat_of(&self, name: &CStr) -> Result<Stat, Errno> {
        stat(&self.handle, name)
    }

    /// Another program holds it for itself, as one does who wants it left alone.
    fn is_locked(&self) -> bool {
        is_locked(&self.handle)
    }
}

/// A lock that is had is let go with the handle.
fn is_locked(handle: impl AsFd) -> bool {
    rustix::fs::flock(handle, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// What a folder's name or a bound has kept from being looked at.
const MOST_DEPTH: usize = 32;
const MOST_NAMES: usize = 100_000;
const MOST_LOOKS: u64 = 1_000_000;
const MOST_LISTED: usize = 40;

/// A file of a folder, as those who choose see it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: CString,
    pub(super) stat: Stat,
}

/// What goes.
pub(super) struct Sweep<'a> {
    pub(super) now: Timestamp,
    pub(super) older_than: Duration,
    pub(super) leash: &'a Leash,
    /// Folders that are left out with all that is in them.
    pub(super) spared: &'a [Place],
    /// Which of a folder's regular files may go, by their index.
    pub(super) choose: &'a dyn Fn(&[File]) -> Vec<usize>,
    /// Names of folders that are left alone.
    pub(super) is_left: &'a dyn Fn(&CStr) -> bool,
    /// Whether a folder goes too once it is empty and old.
    pub(super) with_folders: bool,
    /// Only counts.
    pub(super) is_dry: bool,
    /// Files that a process holds open.
    pub(super) in_use: &'a HashSet<PathBuf>,
}

/// Between the steps; where a test does what another process might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    OpenFolder,
    ReadNames,
    OpenFile,
    RemoveFile,
    RemoveFolder,
}

/// What went, or would.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) bytes: u64,
    pub(super) in_use: u64,
    pub(super) failed: u64,
    pub(super) is_cut: bool,
    looks: u64,
    /// The largest files, and the first failures.
    largest: Vec<(u64, PathBuf)>,
    failures: Vec<String>,
}

impl Swept {
    fn took(&mut self, path: PathBuf, stat: &Stat) {
        // One of several names gives nothing back.
        let bytes = if stat.links == 1 { stat.bytes } else { 0 };
        self.files += 1;
        self.bytes += bytes;
        self.largest.push((bytes, path));
        if self.largest.len() >= 2 * MOST_LISTED {
            self.keep_largest();
        }
    }

    fn keep_largest(&mut self) {
        self.largest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        self.largest.truncate(MOST_LISTED);
    }

    pub(super) fn could_not(&mut self, path: &Path, why: Errno) {
        self.failed += 1;
        if self.failures.len() < MOST_LISTED / 2 {
            self.failures.push(format!("{}: {why}", path.display()));
        }
    }

    pub(super) fn list(&mut self) -> String {
        self.keep_largest();
        let mut lines: Vec<String> = self
            .largest
            .iter()
            .map(|(bytes, path)| format!("{:>10}  {}", show_size(*bytes), path.display()))
            .collect();
        lines.extend(self.failures.iter().map(|failure| format!("could not: {failure}")));
        lines.join("\n")
    }

    pub(super) fn say(&self, is_dry: bool) -> String {
        let verb = if is_dry { "would delete" } else { "deleted" };
        let Swept { files, folders, bytes, in_use, failed, .. } = self;
        let counted = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        let mut done = Vec::new();
        if *files > 0 {
            done.push(format!("{} of {}", counted(*files, "file"), show_size(*bytes)));
        }
        if *folders > 0 {
            done.push(counted(*folders, "empty folder"));
        }
        let mut text = match done.is_empty() {
            true => format!("{verb} nothing: no file is old enough"),
            false => format!("{verb} {}", done.join(" and ")),
        };
        for (count, what) in [(in_use, "in use"), (failed, "could not be looked at or deleted")] {
            if *count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        if self.is_cut {
            text.push_str(", and did not look at everything");
        }
        text
    }
}

impl Sweep<'_> {
    /// The folder itself stays.
    pub(super) fn sweep(&self, path: &Path, swept: &mut Swept, step: &mut dyn FnMut(Step)) {
        step(Step::OpenFolder);
        match Folder::open(path) {
            Ok(folder) => self.folder(&folder, 0, swept, step),
            Err(Errno::NOENT) => {}
            Err(error) => swept.could_not(path, error),
        }
    }

    fn folder(&self, folder: &Folder, depth: usize, swept: &mut Swept, step: &mut dyn FnMut(Step)) {
        if self.spared.contains(&folder.stat.place) {
            return;
        }
        step(Step::ReadNames);
        let (names, is_cut) = match folder.names(MOST_NAMES) {
            Ok(found) => found,
            Err(error) => return swept.could_not(&folder.path, error),
        };
        swept.is_cut |= is_cut;
        let mut files = Vec::new();
        for name in names {
            swept.looks += 1;
            if self.leash.is_asked() || swept.looks > MOST_LOOKS {
                swept.is_cut = true;
                return;
            }
            match folder.stat_of(&name) {
                Ok(stat) if stat.kind == FileType::Directory => {
                    self.child(folder, &name, depth, swept, step);
                }
                Ok(stat) if stat.kind == FileType::RegularFile => files.push(File { name, stat }),
                // A link, a socket, a pipe, a device: left alone.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => swept.could_not(&folder.path_of(&name), error),
            }
        }
        for index in (self.choose)(&files) {
            if self.leash.is_asked() {
                swept.is_cut = true;
                return;
            }
            if let Some(file) = files.get(index).filter(|file| self.is_old(file.stat.touched)) {
                self.file(folder, file, swept, step);
            }
        }
    }

    fn child(
        &self,
        folder: &Folder,
        name: &CStr,
        depth: usize,
        swept: &mut Swept,
        step: &mut dyn FnMut(Step),
    ) {
        if (self.is_left)(name) {
            return;
        }
        if depth >= MOST_DEPTH {
            swept.is_cut = true;
            return;
        }
        step(Step::OpenFolder);
        let child = match folder.inside(name) {
            Ok(child) => child,
            // Another file system, or it has become something else: not ours.
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(error) => return swept.could_not(&folder.path_of(name), error),
        };
        if child.is_locked() {
            swept.in_use += 1;
            return;
        }
        self.folder(&child, depth + 1, swept, step);
        // Its time before anything was removed from it.
        if self.with_folders && !self.is_dry && self.is_old(child.stat.changed) {
            step(Step::RemoveFolder);
            let is_same = folder.stat_of(name).is_ok_and(|now| now.place == child.stat.place);
            // The kernel removes none that is not empty, and no link.
            if is_same && rustix::fs::unlinkat(&folder.handle, name, AtFlags::REMOVEDIR).is_ok() {
                swept.folders += 1;
            }
        }
    }

    fn file(&self, folder: &Folder, file: &File, swept: &mut Swept, step: &mut dyn FnMut(Step)) {
        let path = folder.path_of(&file.name);
        if self.in_use.contains(&path) {
            swept.in_use += 1;
            return;
        }
        if self.is_dry {
            return swept.took(path, &file.stat);
        }
        step(Step::OpenFile);
        match self.remove(folder, file, step) {
            Ok(Removal::Done) => swept.took(path, &file.stat),
            Ok(Removal::InUse) => swept.in_use += 1,
            Ok(Removal::NotThisOne) => {}
            Err(error) => swept.could_not(&path, error),
        }
    }

    fn remove(
        &self,
        folder: &Folder,
        file: &File,
        step: &mut dyn FnMut(Step),
    ) -> Result<Removal, Errno> {
        let (handle, is_readable) = match open_file(folder, &file.name) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(Removal::NotThisOne),
            Err(error) => return Err(error),
        };
        let is_it = |now: &Stat| now.place == file.stat.place && self.is_old(now.touched);
        if !is_it(&stat(&handle, c"")?) {
            return Ok(Removal::NotThisOne);
        }
        if is_readable && is_locked(&handle) {
            return Ok(Removal::InUse);
        }
        step(Step::RemoveFile);
        // The name may stand for another file by now: a program writes a new one and renames it.
        if !folder.stat_of(&file.name).is_ok_and(|now| is_it(&now)) {
            return Ok(Removal::NotThisOne);
        }
        rustix::fs::unlinkat(&folder.handle, &*file.name, AtFlags::empty())?;
        Ok(Removal::Done)
    }

    fn is_old(&self, at: Timestamp) -> bool {
        self.now.since(at) > self.older_than
    }
}

enum Removal {
    Done,
    InUse,
    /// It has gone, or another bears its name.
    NotThisOne,
}

/// Reading is not needed to remove it, only to see a lock. Nothing blocks: no pipe, no lease.
fn open_file(folder: &Folder, name: &CStr) -> Result<(OwnedFd, bool), Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let open = |flags| rustix::fs::openat(&folder.handle, name, flags, Mode::empty());
    match open(flags | OFlags::RDONLY) {
        Ok(handle) => Ok((handle, true)),
        Err(Errno::ACCESS | Errno::PERM) => Ok((open(flags | OFlags::PATH)?, false)),
        Err(error) => Err(error),
    }
}

/// The places of folders that are to be spared; one that is not there needs no sparing.
pub(super) fn places(paths: &[PathBuf]) -> Vec<Place> {
    let place = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(CWD, path.as_path(), flags, Mode::empty()).ok()?;
        Some(stat(handle, c"").ok()?.place)
    };
    paths.iter().filter_map(place).collect()
}

/// What the processes that may be seen hold open below these folders. Their links are read and not
/// followed: a file on a dead network drive must not hold us up.
pub(super) fn open_files(folders: &[PathBuf], leash: &Leash) -> HashSet<PathBuf> {
    const MOST: usize = 100_000;
    let mut found = HashSet::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let is_process = process.file_name().as_bytes().first().is_some_and(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let Ok(handles) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for handle in handles.flatten() {
            if leash.is_asked() || found.len() >= MOST {
                return found;
            }
            let Ok(target) = rustix::fs::readlinkat(CWD, handle.path(), Vec::new()) else {
                continue;
            };
            let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
            if folders.iter().any(|folder| target.starts_with(folder)) {
                found.insert(target);
            }
        }
    }
    found
}
