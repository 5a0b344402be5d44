//! Writes a block: chunks as they come, then the index. Nothing of it is seen before `finish`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::{Access, Disk, File};
use farol_model::Position;

use super::{
    END, TEMPORARY,
    index::{self, ChunkRef, ClockEntry, Index, IndexedSeries, Times},
    name::Name,
};
use crate::{
    SeriesKey, StoreError,
    clock::Clock,
    column::{self, Packed},
};

/// Bytes gathered before each write.
const BUFFER: usize = 128 << 10;
const INDEX_LEVEL: i32 = 6;

#[derive(Debug)]
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    access: Access,
    /// Made when there is something to write.
    file: Option<Arc<dyn File>>,
    temporary: PathBuf,
    path: PathBuf,
    buffer: Vec<u8>,
    /// How much is gathered before it is written.
    gathered: usize,
    written: u64,
    /// The most bytes the file may have.
    budget: u64,
    index: Index,
    /// There is a file to remove if it comes to nothing.
    is_created: bool,
    /// The file stands under its name, and is no longer ours to remove.
    finished: bool,
}

impl Writer {
    /// Writes as it goes, at most `budget` bytes.
    pub(crate) fn streaming(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: Name,
        access: Access,
        budget: u64,
    ) -> Result<Writer, StoreError> {
        Writer::with(disk, dir, name, access, BUFFER, budget)
    }

    /// Writes nothing before `publish`, so that its size is known by then.
    pub(crate) fn in_memory(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: Name,
        access: Access,
    ) -> Result<Writer, StoreError> {
        Writer::with(disk, dir, name, access, usize::MAX, u64::MAX)
    }

    fn with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: Name,
        access: Access,
        gathered: usize,
        budget: u64,
    ) -> Result<Writer, StoreError> {
        let path = dir.join(name.file());
        let index = Index {
            kind: name.kind,
            windows: Vec::new(),
            replay_from: None,
            clocks: Vec::new(),
            series: Vec::new(),
        };
        let mut writer = Writer {
            disk,
            access,
            file: None,
            temporary: with_suffix(&path, TEMPORARY),
            path,
            buffer: Vec::new(),
            gathered,
            written: 0,
            budget,
            index,
            is_created: false,
            finished: false,
        };
        writer.put(&super::header())?;
        Ok(writer)
    }

    /// The number of the clock, for its series. Clocks come before series.
    pub(crate) fn clock(&mut self, clock: &Clock) -> Result<u32, StoreError> {
        let times = match step(&clock.times) {
            Some(step) => Times::Regular { step },
            None => {
                let chunk = column::pack_integers(&clock.times);
                let (offset, len) = self.chunk(&chunk)?;
                Times::Chunk { offset, len }
            }
        };
        self.index.clocks.push(ClockEntry::new(clock, times));
        Ok(count(self.index.clocks.len() - 1))
    }

    pub(crate) fn series(&mut self, key: SeriesKey, clock: u32, runs: Vec<(u32, u32)>) {
        self.index.series.push(IndexedSeries { key, clock, runs, chunks: Vec::new() });
    }

    /// The next values of the series begun last.
    pub(crate) fn values(&mut self, values: &[f64]) -> Result<(), StoreError> {
        for part in values.chunks(column::MOST_VALUES) {
            match column::pack(part) {
                Packed::Constant(value) => self.constant(value, count(part.len())),
                Packed::Chunk(bytes) => self.packed(&bytes, count(part.len()))?,
            }
        }
        Ok(())
    }

    pub(crate) fn constant(&mut self, value: f64, count: u32) {
        let chunks = self.chunks();
        if let Some(ChunkRef::Constant { value: held, count: counted }) = chunks.last_mut()
            && held.to_bits() == value.to_bits()
        {
            *counted += count;
            return;
        }
        chunks.push(ChunkRef::Constant { value, count });
    }

    /// A chunk that is packed already.
    pub(crate) fn packed(&mut self, bytes: &[u8], count: u32) -> Result<(), StoreError> {
        let (offset, len) = self.chunk(bytes)?;
        self.chunks().push(ChunkRef::Packed { offset, len, count });
        Ok(())
    }

    /// Adds the index: nothing more comes. The bytes of the file.
    pub(crate) fn complete(
        &mut self,
        windows: Vec<(i64, u32)>,
        replay_from: Option<Position>,
    ) -> Result<u64, StoreError> {
        self.index.windows = windows;
        self.index.replay_from = replay_from;
        let plain = self.index.write();
        let packed = zstd::bulk::compress(&plain, INDEX_LEVEL)
            .map_err(|source| StoreError::new("cannot pack the index of", &self.path, source))?;
        let (packed_len, plain_len) = (count(packed.len()), count(plain.len()));
        let crc = super::crc(&packed, packed_len, plain_len);
        self.put(&packed)?;
        for number in [packed_len, plain_len, crc] {
            self.put(&number.to_le_bytes())?;
        }
        self.put(END)?;
        Ok(self.written())
    }

    /// Makes the whole file durable, still under its temporary name.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let file = self.file.take().expect("a file was made for the header at least");
        file.sync().map_err(|source| self.failed("cannot sync", source))?;
        // An import holds many that only wait for their names.
        self.buffer = Vec::new();
        self.index.series = Vec::new();
        Ok(())
    }

    /// Gives the file its name, durably.
    pub(crate) fn publish(mut self) -> Result<PathBuf, StoreError> {
        let renamed = self.disk.rename(&self.temporary, &self.path);
        renamed.map_err(|source| self.failed("cannot rename", source))?;
        self.finished = true;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = self.disk.sync_folder(folder);
        synced.map_err(|source| StoreError::new("cannot sync", folder, source))?;
        Ok(self.path.clone())
    }

    /// Where the file stands until it is published.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    fn written(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn chunks(&mut self) -> &mut Vec<ChunkRef> {
        &mut self.index.series.last_mut().expect("values belong to a series begun").chunks
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(u64, u32), StoreError> {
        let offset = self.written();
        self.put(bytes)?;
        Ok((offset, count(bytes.len())))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.written() + bytes.len() as u64 > self.budget {
            return Err(StoreError::NoRoom { path: self.path.clone() });
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.gathered { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => self.create()?,
        };
        farol_disk::write_all(&*file, &self.buffer)
            .map_err(|source| self.failed("cannot write", source))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn create(&mut self) -> Result<Arc<dyn File>, StoreError> {
        match self.disk.remove(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("cannot replace", error));
            }
            // Either it was not there or it was a leftover of an interrupted attempt.
            Ok(()) | Err(_) => {}
        }
        let file = self.disk.create_new(&self.temporary, self.access);
        let file = file.map_err(|source| self.failed("cannot create", source))?;
        self.is_created = true;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::new(action, &self.temporary, source)
    }
}

impl Drop for Writer {
    /// What was begun and not finished leaves nothing; where that fails, the next start removes it.
    fn drop(&mut self) {
        if !self.finished && self.is_created {
            self.disk.remove(&self.temporary).ok();
        }
    }
}

fn step(times: &[i64]) -> Option<i64> {
    if times.len() == 1 {
        return Some(0);
    }
    let span = times.last()?.checked_sub(*times.first()?)?;
    let step = index::regular_step(count(times.len()), span)?;
    times.windows(2).all(|pair| pair[1] - pair[0] == step).then_some(step)
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a block is far smaller than 4 GiB")
}
