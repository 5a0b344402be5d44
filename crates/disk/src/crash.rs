//! A disk that breaks on request: it remembers what was synced, can lose the rest, fill up, and
//! fail at any operation.
//!
//! It is as unkind as POSIX allows. What was appended and not synced survives a crash as any
//! prefix, perhaps with a last sector of rubbish; a creation, renaming or removal whose folder was
//! not synced may or may not have happened, each independently of the others. A file's sync does
//! not make its name durable.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Access, Disk, Entry, File, Lock, MemoryDisk,
    memory::{MemoryFile, ReadOnly},
};

const SECTOR: usize = 512;

/// A disk for tests that crash. Clones share the same files.
#[derive(Clone, Debug)]
pub struct CrashDisk {
    memory: MemoryDisk,
    state: Arc<Mutex<Story>>,
}

/// What a failing operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one operation fails with an input/output error; an append has written half.
    Io,
    /// From this operation on nothing works any more: the machine has stopped. The operation
    /// itself may or may not have been carried out, as far as the disk later shows.
    Stop,
}

/// Everything that has to be known to tell what a crash leaves.
#[derive(Debug, Default)]
struct Story {
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    stopped: bool,
    capacity: Option<u64>,
    /// The names that are durable, and what each file holds that is.
    durable: BTreeMap<PathBuf, Arc<Tracked>>,
    /// The names as a running program sees them.
    current: BTreeMap<PathBuf, Arc<Tracked>>,
    /// Changes of names since their folder was last synced, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(PathBuf, Arc<Tracked>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Arc<Tracked>),
}

/// A file and its content at the last sync.
#[derive(Debug)]
struct Tracked {
    memory: Arc<MemoryFile>,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    bytes: Vec<u8>,
    /// Up to here the current content is the synced one (a cut since then lowers it).
    shared: usize,
}

impl CrashDisk {
    /// An empty disk that has these folders.
    pub fn new() -> CrashDisk {
        CrashDisk { memory: MemoryDisk::new(), state: Arc::default() }
    }

    /// How many operations that change or sync anything there were so far.
    pub fn operations(&self) -> u64 {
        self.story().operations
    }

    /// Lets the operation with this number (from 0) fail.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.story().faults.insert(operation, fault);
    }

    /// From now on there is room for this many more bytes (or endless room again).
    pub fn set_room(&self, room: Option<u64>) {
        let capacity = room.map(|room| self.memory.used() + room);
        self.story().capacity = capacity;
    }

    /// The files as a running program sees them.
    pub fn memory(&self) -> &MemoryDisk {
        &self.memory
    }

    /// What a machine finds that lost its power now. The same seed gives the same answer; the
    /// old disk is not changed.
    pub fn crash(&self, seed: u64) -> CrashDisk {
        let mut dice = Dice(seed);
        let after = CrashDisk::new();
        for folder in self.memory.folders() {
            after.memory.create_folder_all(&folder).expect("memory folders cannot fail");
        }
        for (path, file) in self.story().surviving_names(&mut dice) {
            after.put(&path, file.surviving_bytes(&mut dice));
        }
        after
    }

    /// Puts a file there, durable, with its folder.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.memory.put(path, bytes.clone());
        let memory = self.memory.find(path).expect("the file was just put there");
        let shared = bytes.len();
        let file = Arc::new(Tracked { memory, synced: Mutex::new(Synced { bytes, shared }) });
        let mut story = self.story();
        story.durable.insert(path.to_path_buf(), file.clone());
        story.current.insert(path.to_path_buf(), file);
    }

    /// Counts an operation; `Err` when it is to fail without having happened.
    fn begin(&self) -> io::Result<Option<Fault>> {
        let mut story = self.story();
        if story.stopped {
            return Err(stopped());
        }
        let fault = story.faults.get(&story.operations).copied();
        story.operations += 1;
        story.stopped = fault == Some(Fault::Stop);
        Ok(fault)
    }

    /// For operations that either happen or do not: with a fault they are done when `Stop` (the
    /// crash decides whether anybody will know) and not done when `Io`.
    fn whole(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.begin()? {
            None => act(),
            Some(Fault::Io) => Err(broken()),
            Some(Fault::Stop) => act().and(Err(stopped())),
        }
    }

    fn room(&self) -> u64 {
        let capacity = self.story().capacity;
        capacity.map_or(1 << 50, |capacity| capacity.saturating_sub(self.memory.used()))
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for CrashDisk {
    fn default() -> CrashDisk {
        CrashDisk::new()
    }
}

impl Disk for CrashDisk {
    fn create_new(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn File>> {
        let fault = self.begin()?;
        if fault == Some(Fault::Io) {
            return Err(broken());
        }
        if self.room() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let memory = self.memory.create(path)?;
        let file = Arc::new(Tracked { memory, synced: Mutex::default() });
        {
            let mut story = self.story();
            story.current.insert(path.to_path_buf(), file.clone());
            story.unsynced.push(Change::Create(path.to_path_buf(), file.clone()));
        }
        if fault.is_some() {
            return Err(stopped());
        }
        Ok(Arc::new(CrashFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ReadOnly(self.memory.find(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.memory.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole(|| {
            self.memory.rename(from, to)?;
            let mut story = self.story();
            let file = story.current.remove(from).expect("the story follows the memory");
            story.current.insert(to.to_path_buf(), file.clone());
            story.unsynced.push(Change::Rename(from.to_path_buf(), to.to_path_buf(), file));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.whole(|| {
            self.memory.remove(path)?;
            let mut story = self.story();
            story.current.remove(path);
            story.unsynced.push(Change::Remove(path.to_path_buf()));
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // A sync that the power failure interrupts has reached nothing: the worst case.
        match self.begin()? {
            None => self.memory.sync_folder(folder)?,
            Some(Fault::Io) => return Err(broken()),
            Some(Fault::Stop) => return Err(stopped()),
        }
        self.story().folder_synced(folder);
        Ok(())
    }

    fn create_folder_all(&self, folder: &Path) -> io::Result<()> {
        self.memory.create_folder_all(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.memory.lock(path)
    }

    fn free_space(&self, _folder: &Path) -> io::Result<u64> {
        Ok(self.room())
    }
}

impl Story {
    fn folder_synced(&mut self, folder: &Path) {
        let inside = |path: &Path| path.parent() == Some(folder);
        self.durable.retain(|path, _| !inside(path));
        for (path, file) in self.current.iter().filter(|(path, _)| inside(path)) {
            self.durable.insert(path.clone(), file.clone());
        }
        self.unsynced.retain(|change| !inside(change.path()));
    }

    fn surviving_names(&self, dice: &mut Dice) -> BTreeMap<PathBuf, Arc<Tracked>> {
        let mut names = self.durable.clone();
        // One crash in three carries out all of them, one none: the extremes find most bugs.
        let mood = dice.below(3);
        for change in &self.unsynced {
            let happened = match mood {
                0 => false,
                1 => true,
                _ => dice.below(2) == 1,
            };
            if happened {
                change.apply(&mut names);
            }
        }
        names
    }
}

impl Change {
    fn path(&self) -> &Path {
        match self {
            Change::Create(path, _) | Change::Remove(path) | Change::Rename(path, _, _) => path,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Arc<Tracked>>) {
        match self {
            Change::Create(path, file) => {
                names.insert(path.clone(), file.clone());
            }
            Change::Remove(path) => {
                names.remove(path);
            }
            Change::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), file.clone());
            }
        }
    }
}

impl Tracked {
    fn synced(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn surviving_bytes(&self, dice: &mut Dice) -> Vec<u8> {
        let synced = self.synced();
        let current = self.memory.bytes();
        if synced.shared < synced.bytes.len() && dice.below(2) == 0 {
            // The cut never reached the disk, so nothing after it did.
            return synced.bytes.clone();
        }
        let shared = synced.shared.min(current.len());
        let kept = shared + dice.below(current.len() - shared + 1);
        let mut bytes = current[..kept].to_vec();
        let at_risk = kept - shared;
        if at_risk > 0 {
            let sector = at_risk.min(1 + dice.below(SECTOR));
            let tail = &mut bytes[kept - sector..];
            match dice.below(4) {
                0 => tail.fill(0),
                1 => tail.iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
                _ => {}
            }
        }
        bytes
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    file: Arc<Tracked>,
}

impl File for CrashFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let fault = self.disk.begin()?;
        let room = usize::try_from(self.disk.room()).unwrap_or(usize::MAX);
        if room == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = bytes.len().min(room);
        match fault {
            None => self.file.memory.append(&bytes[..fits]),
            Some(Fault::Io) => {
                self.file.memory.append(&bytes[..fits / 2])?;
                Err(broken())
            }
            Some(Fault::Stop) => {
                self.file.memory.append(&bytes[..fits])?;
                Err(stopped())
            }
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.memory.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.memory.len()
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.begin()? {
            None => {}
            Some(Fault::Io) => return Err(broken()),
            Some(Fault::Stop) => return Err(stopped()),
        }
        let mut synced = self.file.synced();
        let current = self.file.memory.bytes();
        let shared = synced.shared;
        synced.bytes.truncate(shared);
        synced.bytes.extend_from_slice(&current[shared..]);
        synced.shared = current.len();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.whole(|| {
            self.file.memory.truncate(len)?;
            let mut synced = self.file.synced();
            synced.shared = synced.shared.min(usize::try_from(len).unwrap_or(usize::MAX));
            Ok(())
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.disk.whole(|| {
            let more = len.saturating_sub(self.file.memory.len()?);
            if more > self.disk.room() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.file.memory.preallocate(len)
        })
    }
}

/// Small repeatable chance (splitmix64): tests must be able to name the crash that failed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound as u64)).expect("smaller than a usize")
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}
