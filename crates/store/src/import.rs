//! Back-fill: samples from elsewhere, written as blocks of their own that a store then takes in.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::{Disk, Lock};
use farol_model::{Labels, Text, Timestamp};

use crate::{
    Config, SeriesKey, StoreError,
    block::{Kind, MOST_ROWS, Name, Writer},
    clock::Clock,
    shared::incoming,
    store::{list, remove_temporary},
};

/// Gathers samples and writes them as blocks into the store's folder for incoming ones. A running
/// store takes them in with its next round of upkeep, another when it is opened.
#[derive(Debug)]
pub struct Importer {
    disk: Arc<dyn Disk>,
    config: Config,
    series: Vec<Gathered>,
    numbers: HashMap<SeriesKey, u32>,
    gathered: usize,
    /// Whole but not visible yet.
    files: Vec<Writer>,
    next_file: u64,
    done: Imported,
    /// One import at a time: what another leaves half written can then be told from what is at work.
    _lock: Box<dyn Lock>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub files: Vec<PathBuf>,
    pub series: u64,
    pub samples: u64,
    /// Samples left out because their series had another at the same time.
    pub repeated: u64,
    pub bytes: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

#[derive(Debug)]
struct Gathered {
    key: SeriesKey,
    times: Vec<i64>,
    values: Vec<f64>,
    is_sorted: bool,
    /// Whether a file has samples of it.
    is_written: bool,
}

/// Samples in memory before they are written: 16 bytes each.
const MOST_GATHERED: usize = 8 << 20;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
const LOCK: &str = "lock";
/// The clock of samples that no lane of ours took.
const KEY: Text = Text::from_static("import");

impl Importer {
    pub fn new(disk: Arc<dyn Disk>, config: &Config) -> Result<Importer, StoreError> {
        let folder = incoming(&config.dir);
        let failed = |source| StoreError::new("cannot create", &folder, source);
        disk.create_folder_all(&folder).map_err(failed)?;
        let lock = lock(&*disk, &folder)?;
        remove_temporary(&*disk, &folder)?;
        let mut next_file = 0;
        for entry in list(&*disk, &folder)? {
            if let Some(name) = Name::parse(&entry.name) {
                next_file = next_file.max(name.number.saturating_add(1));
            }
        }
        Ok(Importer {
            disk,
            config: config.clone(),
            series: Vec::new(),
            numbers: HashMap::new(),
            gathered: 0,
            files: Vec::new(),
            next_file,
            done: Imported::default(),
            _lock: lock,
        })
    }

    /// The number of a series for `push`; the same series has the same number.
    pub fn series(&mut self, name: Text, labels: Labels) -> u32 {
        let key = SeriesKey { name, labels };
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.series.len()).expect("memory ends before four billion");
        self.numbers.insert(key.clone(), number);
        self.series.push(Gathered {
            key,
            times: Vec::new(),
            values: Vec::new(),
            is_sorted: true,
            is_written: false,
        });
        number
    }

    /// In any order; what memory cannot hold is written in between.
    pub fn push(&mut self, series: u32, at: Timestamp, value: f64) -> Result<(), StoreError> {
        let gathered = &mut self.series[series as usize];
        let at = at.as_millis();
        gathered.is_sorted &= gathered.times.last().is_none_or(|last| *last < at);
        gathered.times.push(at);
        gathered.values.push(value);
        self.gathered += 1;
        if self.gathered >= MOST_GATHERED { self.write() } else { Ok(()) }
    }

    /// Writes the rest, and only then makes all of it visible. Dropped before, it leaves nothing.
    pub fn finish(mut self) -> Result<Imported, StoreError> {
        self.write()?;
        self.done.series = self.series.iter().filter(|gathered| gathered.is_written).count() as u64;
        for writer in std::mem::take(&mut self.files) {
            self.done.files.push(writer.publish()?);
        }
        Ok(self.done)
    }

    /// One block a day of what was gathered.
    fn write(&mut self) -> Result<(), StoreError> {
        let mut days: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (place, gathered) in self.series.iter_mut().enumerate() {
            self.done.repeated += gathered.sort();
            let mut last = None;
            for time in &gathered.times {
                let day = time.div_euclid(DAY_MILLIS);
                if last.replace(day) != Some(day) {
                    days.entry(day).or_default().push(place);
                }
            }
        }
        for (day, places) in days {
            self.write_day(day, places)?;
        }
        for gathered in &mut self.series {
            gathered.clear();
        }
        self.gathered = 0;
        Ok(())
    }

    fn write_day(&mut self, day: i64, mut places: Vec<usize>) -> Result<(), StoreError> {
        places.sort_by(|a, b| self.series[*a].key.cmp(&self.series[*b].key));
        let start = day.saturating_mul(DAY_MILLIS / 1000);
        let name = Name { kind: Kind::Import, start, number: self.next_file };
        self.next_file += 1;
        let folder = incoming(&self.config.dir);
        let disk = Arc::clone(&self.disk);
        let mut writer = Writer::in_memory(disk, &folder, name, self.config.access)?;
        let days_parts: Vec<(&Gathered, std::ops::Range<usize>)> = places
            .iter()
            .map(|place| &self.series[*place])
            .flat_map(|gathered| gathered.parts_of(day).map(move |part| (gathered, part)))
            .collect();
        let clocks = write_clocks(&days_parts, &mut writer)?;
        for ((gathered, part), clock) in days_parts.iter().zip(clocks) {
            let rows = u32::try_from(part.len()).expect("a part is cut to fit");
            writer.series(gathered.key.clone(), clock, vec![(0, rows)]);
            writer.values(&gathered.values[part.clone()])?;
        }
        let samples: usize = days_parts.iter().map(|(_, part)| part.len()).sum();
        let firsts = days_parts.iter().map(|(gathered, part)| gathered.times[part.start]);
        let lasts = days_parts.iter().map(|(gathered, part)| gathered.times[part.end - 1]);
        let (oldest, newest) = (firsts.min(), lasts.max());
        let bytes = writer.complete(Vec::new(), None)?;
        self.has_room(bytes)?;
        writer.sync()?;
        self.files.push(writer);
        let done = &mut self.done;
        done.bytes += bytes;
        done.samples += samples as u64;
        let oldest = oldest.map(Timestamp::from_millis);
        let newest = newest.map(Timestamp::from_millis);
        done.oldest = done.oldest.into_iter().chain(oldest).min();
        done.newest = done.newest.into_iter().chain(newest).max();
        Ok(())
    }

    /// The store's bound is for all it has; to make room is for its writer alone.
    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        let dir = &self.config.dir;
        let folder = incoming(dir);
        let mut used = bytes;
        for listed in [dir, &folder] {
            used += list(&*self.disk, listed)?.iter().map(|entry| entry.len).sum::<u64>();
        }
        match used <= self.config.max_bytes {
            true => Ok(()),
            false => Err(StoreError::NoRoom { path: folder }),
        }
    }
}

fn lock(disk: &dyn Disk, folder: &Path) -> Result<Box<dyn Lock>, StoreError> {
    let path = folder.join(LOCK);
    disk.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked { lock: path.clone() },
        _ => StoreError::new("cannot lock", &path, source),
    })
}

/// What an import has left that did not come to its end; one that is at work is left in peace.
pub(crate) fn remove_interrupted(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let folder = incoming(dir);
    match lock(disk, &folder) {
        Ok(_held) => remove_temporary(disk, &folder),
        Err(StoreError::Locked { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Series that were taken at the same times share a clock. The clock of each part.
fn write_clocks(
    parts: &[(&Gathered, std::ops::Range<usize>)],
    writer: &mut Writer,
) -> Result<Vec<u32>, StoreError> {
    let mut known: HashMap<&[i64], u32> = HashMap::new();
    let mut clocks = Vec::with_capacity(parts.len());
    for (gathered, part) in parts {
        let times = &gathered.times[part.clone()];
        let clock = match known.get(times) {
            Some(clock) => *clock,
            None => {
                let mut clock = Clock::new(KEY, false);
                clock.times = times.to_vec();
                let number = writer.clock(&clock)?;
                known.insert(times, number);
                number
            }
        };
        clocks.push(clock);
    }
    Ok(clocks)
}

impl Gathered {
    /// In order of time, each time once; how many were left out.
    fn sort(&mut self) -> u64 {
        if self.is_sorted {
            return 0;
        }
        let mut order: Vec<usize> = (0..self.times.len()).collect();
        order.sort_by_key(|place| self.times[*place]);
        let before = order.len();
        order.dedup_by_key(|place| self.times[*place]);
        self.times = order.iter().map(|place| self.times[*place]).collect();
        self.values = order.iter().map(|place| self.values[*place]).collect();
        self.is_sorted = true;
        (before - order.len()) as u64
    }

    /// Where the samples of a day stand, in parts that a clock can hold.
    fn parts_of(&self, day: i64) -> impl Iterator<Item = std::ops::Range<usize>> {
        let first = self.times.partition_point(|time| time.div_euclid(DAY_MILLIS) < day);
        let last = self.times.partition_point(|time| time.div_euclid(DAY_MILLIS) <= day);
        let most = MOST_ROWS as usize;
        (first..last).step_by(most).map(move |start| start..last.min(start + most))
    }

    fn clear(&mut self) {
        self.is_written |= !self.times.is_empty();
        // With their memory: of many series, one after the other, each would keep what it had most.
        self.times = Vec::new();
        self.values = Vec::new();
        self.is_sorted = true;
    }
}

#[cfg(test)]
mod tests {
    use farol_disk::MemoryDisk;

    use super::*;

    #[test]
    fn what_was_written_takes_no_more_memory() {
        let mut importer =
            Importer::new(Arc::new(MemoryDisk::new()), &Config::new("/store")).unwrap();
        let series = importer.series("a".into(), Labels::empty());
        for second in 0..1000 {
            importer.push(series, Timestamp::from_millis(second * 1000), 1.0).unwrap();
        }
        importer.write().unwrap();
        let Gathered { times, values, .. } = &importer.series[0];
        assert_eq!((times.capacity(), values.capacity()), (0, 0));
    }
}
