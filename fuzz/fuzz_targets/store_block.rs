//! Arbitrary bytes as a block of a store, and good blocks with changes beneath right checksums, or the
//! fuzzer would never get past them: nothing may panic, and whatever is read ends.

#![no_main]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use farol_disk::{Disk, MemoryDisk};
use farol_model::{
    Labels, Lane, Position, Record, Sample, Snapshot, State, Stream, Text, Timestamp,
};
use farol_store::{Config, Importer, Range, Reader, Store, Tier, verify};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/s";
const HEADER_BYTES: usize = 16;
const TRAILER_BYTES: usize = 16;
/// What may be asked for in memory follows from what the index says, not from the file's length: enough
/// is left out of the questions to stay within a fuzzer's bounds.
const MOST_SAMPLES: u64 = 1 << 21;

fuzz_target!(|bytes: &[u8]| {
    let files = good_files();
    let [which, way, changes @ ..] = bytes else { return };
    let place = usize::from(*which) % files.len();
    let (path, good) = &files[place];
    let block = match way % 3 {
        0 => changes.to_vec(),
        1 => with_index(good, changes),
        _ => with_chunks(good, changes),
    };
    let disk = MemoryDisk::new();
    // One neighbour, to be merged with.
    let (other, good) = &files[(place + 1) % files.len()];
    disk.put(other, good.clone());
    disk.put(path, block);
    look(&disk);
});

/// All that is ever done with a file.
fn look(disk: &MemoryDisk) {
    let reports = verify(disk, Path::new(DIR)).expect("memory cannot fail");
    if reports.iter().any(|report| report.samples > MOST_SAMPLES) {
        return;
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let opened = Store::open_read_only(shared.clone(), config()).expect("memory cannot fail");
    read(&opened.store.reader());
    let Ok(mut opened) = Store::open(shared, config()) else { return };
    // In a day after all others, which are over by that.
    opened.store.apply(position(5000), &snapshot(Lane::Fast, 10_000, 0), true);
    opened.store.upkeep().round();
    read(&opened.store.reader());
    opened.store.stats();
}

fn read(reader: &Reader) {
    let tiers = Tier::ALL.map(|tier| reader.tier(tier));
    for reader in [reader].into_iter().chain(&tiers) {
        let at = |minute: i64| Timestamp::from_millis(minute * 60_000);
        for range in [Range::ALL, Range { start: at(20), end: at(200) }] {
            let mut selection = reader.select(&[], range, Some(at(10_000)));
            let mut points = Vec::new();
            for index in 0..selection.series().len() {
                points.clear();
                selection.samples(index, &mut points);
                assert!(points.is_sorted_by(|a, b| a.at < b.at));
                assert!(
                    points.iter().all(|point| range.start <= point.at && point.at <= range.end)
                );
            }
        }
    }
}

fn config() -> Config {
    let forever = Duration::from_secs(1000 * 365 * 24 * 60 * 60);
    Config { retention: forever, tier_retention: [forever; 2], ..Config::new(DIR) }
}

/// One of every kind: made by the store itself, once.
fn good_files() -> &'static [(PathBuf, Vec<u8>)] {
    static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut importer = Importer::new(shared.clone(), &config()).expect("memory cannot fail");
        for name in ["a", "old"] {
            let series = importer.series(Text::from(name), Labels::empty());
            for n in 0..50 {
                let at = Timestamp::from_millis(n * 61_000);
                importer.push(series, at, (n * n) as f64 / 8.0).expect("memory cannot fail");
            }
        }
        importer.finish().expect("memory cannot fail");
        let mut store = Store::open(shared, config()).expect("memory cannot fail").store;
        let minutes = (0..60).step_by(2).chain((300..1440).step_by(300)).chain(1440..1640);
        for (n, minute) in minutes.enumerate() {
            let n = n as i64;
            let lane = if n % 5 == 4 { Lane::Slow } else { Lane::Fast };
            store.apply(position(n), &snapshot(lane, minute, n % 7), n % 11 != 5);
        }
        let mut upkeep = store.upkeep();
        for _ in 0..4 {
            assert!(upkeep.round().errors.is_empty());
        }
        let blocks = disk.paths().into_iter().filter(|path| path.extension().is_some());
        let files: Vec<_> =
            blocks.map(|path| (path.clone(), disk.get(&path).expect("it is there"))).collect();
        assert!(files.len() >= 6, "{files:?}");
        files
    })
}

/// The n-th of a series of decimals, one that comes and goes, and one that stands; off the grid.
fn snapshot(lane: Lane, minute: i64, late: i64) -> Record {
    let sample = |name: &'static str, value: f64| Sample {
        name: Text::from_static(name),
        labels: Labels::from([("lane", lane.name())]),
        value,
    };
    let mut samples = vec![sample("a", minute as f64 / 100.0), sample("b", 7.0)];
    if minute % 3 == 0 {
        samples.push(sample("c", (minute as f64).sqrt()));
    }
    Record::Snapshot(Arc::new(Snapshot {
        at: Timestamp::from_millis(minute * 60_000 + late * 100),
        interval: Duration::from_secs(if late == 3 { 30 } else { 120 }),
        lane,
        host: Text::from_static("host"),
        state: State::Unknown,
        summary: Vec::new(),
        samples,
        top: Vec::new(),
        outcomes: Vec::new(),
    }))
}

fn position(number: i64) -> Position {
    Position { stream: Stream::Metrics, segment: 1, offset: number.unsigned_abs() }
}

/// Three bytes a change: what is done, where (one of the last or of the first 128), with which byte.
fn changed(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes.chunks_exact(3) {
        let from = usize::from(change[1]) + usize::from(change[0] >> 2) * 256;
        let at = from % (bytes.len() + 1);
        match change[0] % 4 {
            0 if at < bytes.len() => bytes[at] = change[2],
            1 => bytes.insert(at, change[2]),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(change[2]),
            _ => {}
        }
    }
    bytes
}

/// The block with changes in its plain index, packed again.
fn with_index(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let (chunks, plain) = parts(good);
    let plain = changed(&plain, changes);
    assemble(chunks, &plain)
}

/// The block with changes in its chunks, each with a checksum that is right.
fn with_chunks(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let (chunks, plain) = parts(good);
    let (header, mut rest) = chunks.split_at(HEADER_BYTES);
    let mut bytes = header.to_vec();
    for changes in changes.chunks(6).chain(std::iter::repeat(&[][..])) {
        // A chunk is as long as its checksum says.
        let sealed = |len: &usize| {
            let (body, crc) = rest[..*len].split_at(*len - 4);
            crc32fast::hash(body).to_le_bytes() == crc
        };
        let Some(len) = (5..=rest.len()).find(sealed) else { break };
        let mut body = changed(&rest[..len - 4], changes);
        body.resize(len - 4, 0);
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        rest = &rest[len..];
    }
    assemble(&bytes, &plain)
}

/// What comes before the index, and the plain index.
fn parts(good: &[u8]) -> (&[u8], Vec<u8>) {
    let trailer = &good[good.len() - TRAILER_BYTES..];
    let number = |at: usize| u32::from_le_bytes(trailer[at..at + 4].try_into().expect("four"));
    let index_at = good.len() - TRAILER_BYTES - number(0) as usize;
    let packed = &good[index_at..good.len() - TRAILER_BYTES];
    let plain = zstd::bulk::decompress(packed, number(4) as usize).expect("a good block");
    (&good[..index_at], plain)
}

fn assemble(before: &[u8], plain: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(plain, 1).expect("memory cannot fail");
    let mut bytes = before.to_vec();
    let mut index = packed;
    let len = (index.len() as u32).to_le_bytes();
    index.extend_from_slice(&len);
    index.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    let crc = crc32fast::hash(&index);
    bytes.append(&mut index);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(b"BLK\n");
    bytes
}
