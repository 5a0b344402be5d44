//! The machine's own file system.

use std::{
    fs::{self, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
    sync::Arc,
};

use rustix::{fs::FallocateFlags, io::Errno};

use crate::{Access, Disk, Entry, File, Lock, locked_by_another};

/// The machine's own file system. Holds nothing; all of them are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.create_new(true).append(true).read(true).mode(access.mode);
        let file = open_with(&options, path)?;
        match grant(&file, access) {
            Ok(()) => Ok(Arc::new(RealFile(file))),
            Err(error) => {
                // Nobody has seen the empty file yet; leaving it would block the next attempt.
                self.remove(path)?;
                Err(error)
            }
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(open_with(OpenOptions::new().read(true), path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    entries.push(Entry { name, len: metadata.len() });
                }
                Ok(_) => {}
                // Removed between the listing and the question.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the disk that the others go through")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the disk that the others go through")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match open_with(OpenOptions::new().read(true), folder)?.sync_all() {
            // Some file systems (of FUSE, of networks) cannot sync a folder and say so in these
            // ways: there is nothing to be done, and nothing gained by not writing at all.
            Err(error) if cannot_sync_folders(&error) => Ok(()),
            other => other,
        }
    }

    fn create_folder_all(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o640);
        let file = open_with(&options, path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _held: file })),
            Err(TryLockError::WouldBlock) => Err(locked_by_another(path)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        let answer = rustix::fs::statvfs(folder)?;
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: it covers the length, and spares the journal of ext4 a time stamp.
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => fill_with_zeros(self, len),
            Err(error) => Err(error.into()),
        }
    }
}

/// `flock` belongs to the open file: closing it is what unlocks.
#[derive(Debug)]
struct RealLock {
    _held: fs::File,
}

impl Lock for RealLock {}

#[expect(clippy::disallowed_methods, reason = "this is the disk that the others go through")]
fn open_with(options: &OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.open(path)
}

/// Sets the mode past the umask, and the group when one is asked for.
fn grant(file: &fs::File, access: Access) -> io::Result<()> {
    if let Some(group) = access.group {
        fchown(file, None, Some(group))?;
    }
    if file.metadata()?.permissions().mode() & 0o7777 == access.mode {
        return Ok(());
    }
    match file.set_permissions(Permissions::from_mode(access.mode)) {
        // FAT and some network file systems keep one mode for all files: not ours to refuse.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

fn cannot_sync_folders(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::BADF | Errno::NOSYS | Errno::OPNOTSUPP)
    )
}

fn fill_with_zeros(file: &RealFile, len: u64) -> io::Result<()> {
    let zeros = [0_u8; 64 * 1024];
    let mut missing = len.saturating_sub(file.len()?);
    while missing > 0 {
        let step = usize::try_from(missing).map_or(zeros.len(), |missing| missing.min(zeros.len()));
        crate::write_all(file, &zeros[..step])?;
        missing -= step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_file_has_its_mode_whatever_the_umask_and_is_never_opened_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = RealDisk.create_new(&path, Access::default()).unwrap();
        assert_eq!(file.append(b"one").unwrap(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let again = RealDisk.create_new(&path, Access::default()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_is_preallocated_takes_its_space() {
        let folder = tempfile::tempdir().unwrap();
        let file = RealDisk.create_new(&folder.path().join("a"), Access::default()).unwrap();
        file.preallocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        let zeros = RealDisk.create_new(&folder.path().join("b"), Access::default()).unwrap();
        drop(zeros);
        let options = OpenOptions::new().append(true).read(true).clone();
        let plain = RealFile(open_with(&options, &folder.path().join("b")).unwrap());
        fill_with_zeros(&plain, 100_000).unwrap();
        assert_eq!(plain.len().unwrap(), 100_000);
    }
}
