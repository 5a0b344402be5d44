//! The file seam: everything that the journal (and later the store) asks of a file system.
//!
//! A trait because the promises that matter, that nothing synced is ever lost and that a full disk
//! does no harm, can only be tested on a disk that breaks on request: [`CrashDisk`].
//! [`RealDisk`] is the machine's; [`MemoryDisk`] is for tests that need files but no trouble.
//!
//! This crate knows no file format and reads no clock. Errors are plain [`io::Error`]s: the caller
//! knows what the file is for and names it.

mod crash;
mod memory;
mod real;

use std::{
    ffi::OsString,
    fmt::Debug,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use crash::{CrashDisk, Fault};
pub use memory::MemoryDisk;
pub use real::RealDisk;

/// A file system, as far as we need one. Shared by all threads as `Arc<dyn Disk>`.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file that must not exist yet, for appending and reading.
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading; appending to it fails.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// The files directly in a folder, in no particular order. Sub-folders, and names that are
    /// not UTF-8 (so not ours), are left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// Replaces `to` if it exists. Durable only after `sync_folder`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Durable only after `sync_folder`. Who holds the file open can go on reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the creations, renames and removals in this folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    fn create_folder_all(&self, folder: &Path) -> io::Result<()>;

    /// Takes the advisory lock of the file at `path`, creating it when needed, and holds it until
    /// the guard is dropped or the process ends. When somebody else holds it, the error has the
    /// kind `WouldBlock` and names the path.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// The bytes that an ordinary user may still write on the folder's file system.
    fn free_space(&self, folder: &Path) -> io::Result<u64>;

    /// Writes a whole file so that, whatever happens, either the old or the new content is there:
    /// written aside, synced, renamed, folder synced.
    fn replace(&self, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
        let aside = aside(path);
        match self.remove(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Either it was not there or it was a leftover of an interrupted attempt.
            Ok(()) | Err(_) => {}
        }
        let file = self.create_new(&aside, access)?;
        write_all(file.as_ref(), bytes)?;
        file.sync()?;
        self.rename(&aside, path)?;
        self.sync_folder(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file. All methods take `&self`, so that a clone of the `Arc` can sync from another
/// thread than the one that appends.
pub trait File: Send + Sync + Debug {
    /// One write at the end of the file. Returns how much of `bytes` was written: less than all
    /// of it when the disk is full, and it is then the caller's to cut the file back.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Reads at an offset; 0 is the end of the file. May read less than asked for.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the content and the length durable, though not the file's name: see `sync_folder`.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file (or extends it with zeros) to exactly this length.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the file at least this long with its space really taken, by writing zeros where the
    /// file system has no better way.
    fn preallocate(&self, len: u64) -> io::Result<()>;
}

/// Holds an advisory lock until dropped.
pub trait Lock: Send + Sync + Debug {}

/// Who may read a file that we create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub mode: u32,
    /// The group to give the file to, so that another user's process may read it.
    pub group: Option<u32>,
}

impl Default for Access {
    fn default() -> Access {
        Access { mode: 0o640, group: None }
    }
}

/// One file in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub len: u64,
}

/// Appends all of `bytes`; a short write is tried on, so that the disk's own reason comes out.
pub fn write_all(file: &dyn File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = file.append(bytes)?;
        if written == 0 {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                "the disk took none of the bytes",
            ));
        }
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; returns how much was read.
pub fn read_full(file: &dyn File, mut offset: u64, mut into: &mut [u8]) -> io::Result<usize> {
    let mut total = 0;
    while !into.is_empty() {
        let read = file.read_at(offset, into)?;
        if read == 0 {
            break;
        }
        total += read;
        offset += read as u64;
        into = &mut into[read..];
    }
    Ok(total)
}

/// Reads a whole file that the caller knows to be small; refuses one longer than `limit`.
pub fn read_all(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = file.len()?;
    if len > limit {
        let message = format!("{} has {len} bytes, more than the {limit} allowed", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let read = read_full(file.as_ref(), 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Whether an error says that no more can be stored: no space, or a quota that is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}

fn locked_by_another(path: &Path) -> io::Error {
    let message = format!("{} is locked by another process", path.display());
    io::Error::new(io::ErrorKind::WouldBlock, message)
}
