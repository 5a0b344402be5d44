//! A file system in memory, without trouble: for tests, and beneath [`crate::CrashDisk`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Access, Disk, Entry, File, Lock, locked_by_another};

/// A file system in memory. Clones share the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Puts a file there as it is, its folder too: how a test sets a scene.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut tree = self.tree();
        if let Some(folder) = path.parent() {
            tree.folders.insert(folder.to_path_buf());
        }
        tree.files.insert(path.to_path_buf(), Arc::new(MemoryFile::new(bytes)));
    }

    /// The whole content of a file.
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        self.tree().files.get(path).map(|file| file.bytes().clone())
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.tree().files.keys().cloned().collect()
    }

    /// The length of all files together.
    pub fn used(&self) -> u64 {
        self.tree().files.values().map(|file| file.bytes().len() as u64).sum()
    }

    pub(crate) fn create(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        let mut tree = self.tree();
        let folder = path.parent().unwrap_or(Path::new(""));
        if !tree.folders.contains(folder) {
            return Err(missing(folder));
        }
        if tree.files.contains_key(path) {
            let message = format!("{} exists", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        let file = Arc::new(MemoryFile::new(Vec::new()));
        tree.files.insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        self.tree().files.get(path).cloned().ok_or_else(|| missing(path))
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        self.tree().folders.iter().cloned().collect()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn create_new(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.create(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ReadOnly(self.find(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let tree = self.tree();
        if !tree.folders.contains(folder) {
            return Err(missing(folder));
        }
        let inside = tree.files.iter().filter(|(path, _)| path.parent() == Some(folder));
        Ok(inside
            .filter_map(|(path, file)| {
                let name = path.file_name()?.to_str()?.to_string();
                Some(Entry { name, len: file.bytes().len() as u64 })
            })
            .collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let file = tree.files.remove(from).ok_or_else(|| missing(from))?;
        tree.files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().files.remove(path).map(drop).ok_or_else(|| missing(path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.tree().folders.contains(folder) { Ok(()) } else { Err(missing(folder)) }
    }

    fn create_folder_all(&self, folder: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        for folder in folder.ancestors() {
            tree.folders.insert(folder.to_path_buf());
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.tree().locked.insert(path.to_path_buf()) {
            return Err(locked_by_another(path));
        }
        Ok(Box::new(MemoryLock { disk: self.clone(), path: path.to_path_buf() }))
    }

    fn free_space(&self, _folder: &Path) -> io::Result<u64> {
        Ok(1 << 50)
    }
}

#[derive(Debug)]
pub(crate) struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
}

impl MemoryFile {
    fn new(bytes: Vec<u8>) -> MemoryFile {
        MemoryFile { bytes: Mutex::new(bytes) }
    }

    pub(crate) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for MemoryFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let read = into.len().min(bytes.len() - start);
        into[..read].copy_from_slice(&bytes[start..start + read]);
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        let len = usize::try_from(len).map_err(io::Error::other)?.max(bytes.len());
        bytes.resize(len, 0);
        Ok(())
    }
}

/// What `open` hands out: a bug that writes through it must show in a test as it would on a machine.
#[derive(Debug)]
pub(crate) struct ReadOnly(pub(crate) Arc<MemoryFile>);

impl File for ReadOnly {
    fn append(&self, _bytes: &[u8]) -> io::Result<usize> {
        Err(read_only())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _len: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn preallocate(&self, _len: u64) -> io::Result<()> {
        Err(read_only())
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.tree().locked.remove(&self.path);
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the file is open for reading only")
}
