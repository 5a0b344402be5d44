//! A block: one immutable file with the columns of some windows, and the index to find them.
//!
//! `docs/formats/store.md` has it byte for byte: a header, the chunks, the index packed with zstd,
//! and a trailer. Every byte is under a checksum: those of the chunks are checked when they are
//! read, that of the rest when the file is opened.

mod index;
mod name;
mod write;

use std::{
    borrow::Cow,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use farol_disk::{Disk, File};
use farol_model::Position;

pub(crate) use index::{ChunkRef, ClockEntry, Index, IndexedSeries, MOST_ROWS, Times, push_run};
pub(crate) use name::{DAMAGED, Name, TEMPORARY, is_block};
pub(crate) use write::{Writer, with_suffix};

use crate::{
    StoreError, Tier,
    clock::{Clock, Runs},
    column,
};

const MAGIC: &[u8; 8] = b"FAROLBLK";
const END: &[u8; 4] = b"BLK\n";
const VERSION: u16 = 1;
/// Magic, version, two bytes of zero, the CRC-32 of these.
const HEADER_BYTES: usize = 16;
/// Packed and plain length of the index, the CRC-32 of index and lengths, the end mark.
const TRAILER_BYTES: usize = 16;
/// A larger index is no index of ours: it would be that of a million series.
const MOST_INDEX_BYTES: usize = 512 << 20;

/// What a block was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Window,
    Slot,
    Day,
    Import,
    FifteenSeconds,
    FiveMinutes,
    Received,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Window,
        Kind::Slot,
        Kind::Day,
        Kind::Import,
        Kind::FifteenSeconds,
        Kind::FiveMinutes,
        Kind::Received,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Kind::Window => "15m",
            Kind::Slot => "2h",
            Kind::Day => "24h",
            Kind::Import => "import",
            Kind::FifteenSeconds => "15s",
            Kind::FiveMinutes => "5m",
            Kind::Received => "received",
        }
    }

    /// Of the lanes' samples, by windows.
    pub(crate) const fn is_derived(self) -> bool {
        matches!(self, Kind::Window | Kind::Slot | Kind::Day)
    }

    /// Of figures about samples, not of samples.
    pub(crate) fn tier(self) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.kind() == self)
    }
}

/// An open block. Its file can be read as long as it is held, even when it was removed.
#[derive(Debug)]
pub(crate) struct Block {
    pub name: Name,
    pub path: PathBuf,
    pub bytes: u64,
    pub windows: Vec<(i64, u32)>,
    pub replay_from: Option<Position>,
    pub clocks: Vec<ClockEntry>,
    /// By number in the store's table, then clock.
    pub series: Vec<BlockSeries>,
    pub samples: u64,
    /// Of the first and the last row.
    pub start: i64,
    pub end: i64,
    file: Arc<dyn File>,
    /// A chunk of it could not be read: it is left as it is, for whoever wants to look.
    damaged: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct BlockSeries {
    pub number: u32,
    pub clock: u32,
    pub runs: Box<Runs>,
    pub chunks: Box<[ChunkRef]>,
}

impl Block {
    /// Opens a file whose index was read; `number` gives each series its number.
    pub(crate) fn new(
        opened: OpenedFile,
        name: Name,
        path: PathBuf,
        mut number: impl FnMut(crate::SeriesKey) -> u32,
    ) -> Block {
        let OpenedFile { file, bytes, index } = opened;
        let start = index.clocks.iter().map(|clock| clock.first).min().unwrap_or(0);
        let end = index.clocks.iter().map(|clock| clock.last).max().unwrap_or(0);
        let mut series: Vec<BlockSeries> = index
            .series
            .into_iter()
            .map(|IndexedSeries { key, clock, runs, chunks }| BlockSeries {
                number: number(key),
                clock,
                runs: runs.into(),
                chunks: chunks.into(),
            })
            .collect();
        let samples = series.iter().flat_map(|series| &*series.chunks).map(ChunkRef::count);
        let samples = samples.map(u64::from).sum();
        series.sort_by_key(|series| (series.number, series.clock));
        Block {
            name,
            path,
            bytes,
            windows: index.windows,
            replay_from: index.replay_from,
            clocks: index.clocks,
            series,
            samples,
            start,
            end,
            file,
            damaged: AtomicBool::new(false),
        }
    }

    /// Keeps of a down-sampled day only that it is there: years of them are held, and seldom asked
    /// for. Who asks opens the file anew.
    pub(crate) fn closed(opened: OpenedFile, name: Name, path: PathBuf) -> Block {
        let whole = Block::new(opened, name, path, |_| 0);
        // Its clock has the rows of a whole day, whatever was taken of it.
        let first_times = whole.series.iter().filter_map(|series| whole.first_time(series));
        let start = first_times.min().unwrap_or(whole.start);
        Block { series: Vec::new(), start, ..whole }
    }

    /// When a series begins, at the earliest.
    fn first_time(&self, series: &BlockSeries) -> Option<i64> {
        let clock = self.clocks.get(series.clock as usize)?;
        let (row, _) = series.runs.first()?;
        match clock.times {
            Times::Regular { step } => {
                Some(clock.first.saturating_add(step.saturating_mul(i64::from(*row))))
            }
            Times::Chunk { .. } => Some(clock.first),
        }
    }

    /// The entries of one series; it has several where it was in several lanes.
    pub(crate) fn of_series(&self, number: u32) -> &[BlockSeries] {
        let first = self.series.partition_point(|series| series.number < number);
        let rest = &self.series[first..];
        &rest[..rest.partition_point(|series| series.number == number)]
    }

    pub(crate) fn clock(&self, place: u32) -> Result<Clock, StoreError> {
        let entry = &self.clocks[place as usize];
        let times: Vec<i64> = match entry.times {
            Times::Regular { step } => {
                let time = |row: u32| entry.first.wrapping_add(step.wrapping_mul(i64::from(row)));
                return Ok(entry.with_times((0..entry.rows).map(time).collect()));
            }
            Times::Chunk { offset, len } => {
                let bytes = self.read(offset, len)?;
                let times = column::unpack_integers(&bytes, entry.rows as usize);
                self.told(times, "the times")?
            }
        };
        let rises = times.is_sorted_by(|a, b| a < b);
        if !rises || times.first() != Some(&entry.first) || times.last() != Some(&entry.last) {
            return self.told(Err("they do not rise as the index says".into()), "the times");
        }
        Ok(entry.with_times(times))
    }

    pub(crate) fn values(&self, chunk: &ChunkRef) -> Result<Cow<'_, [f64]>, StoreError> {
        match *chunk {
            ChunkRef::Constant { value, count } => Ok(vec![value; count as usize].into()),
            ChunkRef::Packed { offset, len, count } => {
                let bytes = self.read(offset, len)?;
                self.told(column::unpack(&bytes, count as usize), &format!("at {offset}"))
                    .map(Cow::from)
            }
        }
    }

    /// The bytes of a chunk as they stand in the file.
    pub(crate) fn raw(&self, offset: u64, len: u32) -> Result<Vec<u8>, StoreError> {
        let bytes = self.read(offset, len)?;
        let intact = column::is_intact(&bytes).then_some(bytes);
        self.told(intact.ok_or("a checksum does not match".into()), &format!("at {offset}"))
    }

    /// Whether a chunk can be read; a constant always can.
    pub(crate) fn check_values(&self, chunk: &ChunkRef) -> Result<(), StoreError> {
        match chunk {
            ChunkRef::Constant { .. } => Ok(()),
            ChunkRef::Packed { .. } => self.values(chunk).map(drop),
        }
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; len as usize];
        let read = farol_disk::read_full(&*self.file, offset, &mut bytes)
            .map_err(|source| StoreError::new("cannot read", &self.path, source))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn told<T>(&self, result: Result<T, Cow<'static, str>>, place: &str) -> Result<T, StoreError> {
        result.map_err(|what| {
            self.damaged.store(true, Ordering::Relaxed);
            StoreError::damaged(&self.path, format!("the chunk {place} is damaged: {what}"))
        })
    }
}

/// Runs of windows, in order, those that follow one another joined.
pub(crate) fn joined(windows: impl Iterator<Item = (i64, u32)>) -> Vec<(i64, u32)> {
    let mut windows: Vec<(i64, u32)> = windows.collect();
    windows.sort_unstable();
    windows.dedup_by(|later, first| {
        let is_next = first.0.saturating_add(i64::from(first.1)) == later.0;
        if is_next {
            first.1 += later.1;
        }
        is_next
    });
    windows
}

/// A block's file with its index, checked.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    file: Arc<dyn File>,
    pub bytes: u64,
    pub index: Index,
}

impl OpenedFile {
    /// Whether a chunk stands in the file as it was written.
    pub(crate) fn check_chunk(&self, path: &Path, offset: u64, len: u32) -> Result<(), StoreError> {
        let mut bytes = vec![0; len as usize];
        let read = farol_disk::read_full(&*self.file, offset, &mut bytes)
            .map_err(|source| StoreError::new("cannot read", path, source))?;
        match column::is_intact(&bytes[..read]) {
            true => Ok(()),
            false => Err(StoreError::damaged(path, format!("the chunk at {offset} is damaged"))),
        }
    }
}

/// Opens a file and reads its index.
pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<OpenedFile, StoreError> {
    let failed = |source| StoreError::new("cannot read", path, source);
    let damaged = |what: &str| StoreError::damaged(path, what);
    let file = disk.open(path).map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    let mut header = [0; HEADER_BYTES];
    let read = farol_disk::read_full(&*file, 0, &mut header).map_err(failed)?;
    let version = version(&header[..read]).map_err(damaged)?;
    if version != VERSION {
        return Err(StoreError::Newer { path: path.to_path_buf(), version });
    }
    let trailer_at = bytes
        .checked_sub(TRAILER_BYTES as u64)
        .filter(|at| *at >= HEADER_BYTES as u64)
        .ok_or_else(|| damaged("it ends too early"))?;
    let mut trailer = [0; TRAILER_BYTES];
    farol_disk::read_full(&*file, trailer_at, &mut trailer).map_err(failed)?;
    let trailer = Trailer::read(&trailer).map_err(damaged)?;
    let index_at = trailer_at
        .checked_sub(u64::from(trailer.packed))
        .filter(|at| *at >= HEADER_BYTES as u64)
        .ok_or_else(|| damaged("its index is longer than the file"))?;
    let mut packed = vec![0; trailer.packed as usize];
    farol_disk::read_full(&*file, index_at, &mut packed).map_err(failed)?;
    if trailer.crc != crc(&packed, trailer.packed, trailer.plain) {
        return Err(damaged("the checksum of its index does not match"));
    }
    let plain = unpacked(&packed, trailer.plain as usize).map_err(damaged)?;
    let index = Index::read(&plain, HEADER_BYTES as u64..index_at).map_err(damaged)?;
    Ok(OpenedFile { file, bytes, index })
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn version(header: &[u8]) -> Result<u16, &'static str> {
    let header: &[u8; HEADER_BYTES] = header.try_into().map_err(|_| "it ends too early")?;
    if !header.starts_with(MAGIC) {
        return Err("it is not a block");
    }
    if crc32fast::hash(&header[..12]).to_le_bytes() != header[12..] {
        return Err("the checksum of its header does not match");
    }
    Ok(u16::from_le_bytes([header[8], header[9]]))
}

struct Trailer {
    packed: u32,
    plain: u32,
    crc: u32,
}

impl Trailer {
    fn read(bytes: &[u8; TRAILER_BYTES]) -> Result<Trailer, &'static str> {
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
        if &bytes[12..] != END {
            return Err("it has no end: it was cut short or written over");
        }
        Ok(Trailer { packed: number(0), plain: number(4), crc: number(8) })
    }
}

/// The checksum of the index and of the lengths that lead to it.
fn crc(packed_index: &[u8], packed: u32, plain: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(packed_index);
    hasher.update(&packed.to_le_bytes());
    hasher.update(&plain.to_le_bytes());
    hasher.finalize()
}

/// Grows as the bytes come, so that a length that lies costs nothing.
fn unpacked(packed: &[u8], plain: usize) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "its index cannot be unpacked";
    if plain > MOST_INDEX_BYTES {
        return Err(WRONG);
    }
    let mut bytes = Vec::new();
    let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| WRONG)?;
    decoder.take(plain as u64 + 1).read_to_end(&mut bytes).map_err(|_| WRONG)?;
    if bytes.len() == plain { Ok(bytes) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use farol_disk::MemoryDisk;
    use farol_model::{
        Labels, Lane, Position, Record, Sample, Snapshot, State, Stream, Text, Timestamp,
    };

    use crate::{Config, Store};

    /// Reads as `docs/formats/store.md` says, and with nothing of this crate.
    struct Page<'a>(&'a [u8]);

    impl<'a> Page<'a> {
        fn bytes(&mut self, count: usize) -> &'a [u8] {
            let (taken, rest) = self.0.split_at(count);
            self.0 = rest;
            taken
        }

        fn u32(&mut self) -> u32 {
            u32::from_le_bytes(self.bytes(4).try_into().unwrap())
        }

        fn varint(&mut self) -> u64 {
            let mut number = 0;
            for shift in (0..).step_by(7) {
                let byte = self.bytes(1)[0];
                number |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    return number;
                }
            }
            unreachable!()
        }

        fn signed(&mut self) -> i64 {
            let zigzag = self.varint();
            (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
        }

        fn text(&mut self) -> &'a str {
            let len = self.varint() as usize;
            std::str::from_utf8(self.bytes(len)).unwrap()
        }
    }

    fn block() -> Vec<u8> {
        let disk = std::sync::Arc::new(MemoryDisk::new());
        let mut opened = Store::open(disk.clone(), Config::new("/store")).unwrap();
        for second in 0..1100_i64 {
            let sample = |name: &'static str, value| Sample {
                name: Text::from_static(name),
                labels: Labels::empty(),
                value,
            };
            let mut samples = vec![sample("a", second as f64 / 4.0)];
            if second < 2 {
                samples.push(sample("b", 7.5));
            }
            let snapshot = Snapshot {
                at: Timestamp::from_millis(900_000 + second * 1000),
                interval: Duration::from_secs(1),
                lane: Lane::Fast,
                host: "pi".into(),
                state: State::Unknown,
                summary: Vec::new(),
                samples,
                top: Vec::new(),
                outcomes: Vec::new(),
            };
            let at = Position { stream: Stream::Metrics, segment: 3, offset: second as u64 * 10 };
            opened.store.apply(at, &Record::Snapshot(snapshot.into()), true);
        }
        assert_eq!(opened.store.upkeep().round().written, ["15m-900-0.block"]);
        let path = std::path::Path::new("/store/15m-900-0.block");
        farol_disk::read_all(&*disk, path, u64::MAX).unwrap()
    }

    #[test]
    fn a_block_is_what_the_format_says_byte_for_byte() {
        let file = block();
        let mut header = Page(&file[..16]);
        assert_eq!(header.bytes(8), b"FAROLBLK");
        assert_eq!(header.bytes(4), [1, 0, 0, 0]);
        assert_eq!(header.u32(), crc32fast::hash(&file[..12]));
        let mut trailer = Page(&file[file.len() - 16..]);
        let (packed, plain, crc) = (trailer.u32(), trailer.u32(), trailer.u32());
        assert_eq!(trailer.bytes(4), b"BLK\n");
        let index_at = file.len() - 16 - packed as usize;
        let under_crc = [&file[index_at..file.len() - 16], &file[file.len() - 16..][..8]].concat();
        assert_eq!(crc, crc32fast::hash(&under_crc));
        let index = zstd::decode_all(&file[index_at..file.len() - 16]).unwrap();
        assert_eq!(index.len(), plain as usize);

        let mut index = Page(&index);
        let texts: Vec<&str> = (0..index.varint()).map(|_| index.text()).collect();
        let mut text = |index: &mut Page<'_>| texts[index.varint() as usize].to_owned();
        assert_eq!(index.varint(), 0, "15m");
        assert_eq!(
            (index.varint(), index.signed(), index.varint()),
            (1, 1, 1),
            "one window, the 1st"
        );
        // The first record of the window that is open: 900 of them went before.
        assert_eq!(
            (index.varint(), index.varint(), index.varint()),
            (1, 3, 9000),
            "metrics, 3, 9000"
        );
        assert_eq!(index.varint(), 1, "clocks");
        assert_eq!((text(&mut index).as_str(), index.varint(), index.varint()), ("fast", 1, 900));
        assert_eq!((index.signed(), index.signed()), (900_000, 1_799_000));
        assert_eq!(index.varint(), 0, "at equal distances");
        assert_eq!((index.varint(), index.varint(), index.signed()), (1, 0, 1000), "intervals");
        assert_eq!(index.varint(), 0, "partial rows");
        assert_eq!(index.varint(), 3, "series");
        let labels = |index: &mut Page<'_>, text: &mut dyn FnMut(&mut Page<'_>) -> String| {
            let count = index.varint();
            (0..count * 2).map(|_| text(index)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(&mut index), "a");
        assert_eq!(labels(&mut index, &mut text), "instance pi job node");
        assert_eq!((index.varint(), index.varint()), (0, 0), "the first clock, in every row");
        assert_eq!((index.varint(), index.varint()), (1, 900), "one chunk");
        let len = index.varint() as usize;
        assert_eq!(text(&mut index), "b");
        assert_eq!(labels(&mut index, &mut text), "instance pi job node");
        assert_eq!((index.varint(), index.varint()), (0, 1), "the first clock, one run");
        assert_eq!((index.varint(), index.varint()), (0, 2), "the first two rows");
        assert_eq!((index.varint(), index.varint(), index.varint()), (1, 2, 0), "a constant");
        assert_eq!(index.bytes(8), 7.5_f64.to_le_bytes());
        assert_eq!(text(&mut index), "up");
        assert_eq!(labels(&mut index, &mut text), "instance pi job node");
        assert_eq!((index.varint(), index.varint()), (0, 0));
        assert_eq!((index.varint(), index.varint(), index.varint()), (1, 900, 0));
        assert_eq!(index.bytes(8), 1_f64.to_le_bytes());
        assert!(index.0.is_empty());

        let chunk = &file[16..16 + len];
        assert_eq!(16 + len, index_at, "no gap");
        let (body, crc) = chunk.split_at(len - 4);
        assert_eq!(crc, crc32fast::hash(body).to_le_bytes());
        assert_eq!(body[..2], [1, 2], "two decimal places");
        let (reader, rest) = pco::wrapped::FileDecompressor::new(&body[2..]).unwrap();
        let (mut chunk, rest) = reader.chunk_decompressor::<i64, _>(rest).unwrap();
        let mut values = [0; 900];
        chunk.page_decompressor(rest, 900).unwrap().read(&mut values).unwrap();
        assert_eq!(values, std::array::from_fn(|second| second as i64 * 25));
    }
}
