//! The one writer: appends records, begins new segments, and copes with a disk that is full.
//!
//! Synchronous and single-threaded; only [`Syncer`] may be used from another thread. After any
//! error the files end at their last good line, and the next append simply tries again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use farol_disk::{Disk, File, Lock};
use farol_model::{Position, Record, Stream, Timestamp};

use crate::{
    JournalError, LONGEST_LINE, OpenSegments, Settings, UpkeepReport,
    encode::Encoder,
    names::{self, Segment},
    time::Day,
    upkeep,
};

/// A record this far before its segment's day belongs to a clock that was set back: the segment's
/// date would be wrong for all that follows. (Less is two lanes around midnight.)
const SET_BACK: Duration = Duration::from_secs(3600);
/// How many names that are taken already are stepped over before giving up.
const TAKEN_NAMES: u32 = 100;

#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    settings: Settings,
    /// In the order of [`Stream::ALL`].
    writers: [Writer; Stream::ALL.len()],
    shared: Arc<Mutex<Shared>>,
    /// The disk was full and the events were given the reserve: the other streams wait until there is
    /// room for another, else they would use up what was set aside.
    reserve_is_spent: bool,
    /// Held, not used: dropping it lets the next writer in.
    _lock: Box<dyn Lock>,
}

#[derive(Debug)]
struct Writer {
    stream: Stream,
    encoder: Encoder,
    open: Option<Open>,
    /// The number of the next segment.
    next_number: u64,
    lines: u64,
    failed_appends: u64,
}

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    number: u64,
    day: Day,
    path: PathBuf,
    file: Arc<dyn File>,
    /// Up to the last good line.
    len: u64,
    /// The last line is the sum of all before: what it is the sum for comes behind it, however long
    /// it is itself.
    after_state: bool,
    /// Whether the folder was synced since the file was created.
    named: bool,
}

/// What the syncing thread needs to know, owned by the journal and its syncers.
#[derive(Debug)]
struct Shared {
    streams: [SharedStream; Stream::ALL.len()],
    failed_syncs: u64,
}

#[derive(Debug, Default)]
struct SharedStream {
    file: Option<(PathBuf, Arc<dyn File>)>,
    /// Something was appended since the last sync began.
    dirty: bool,
    /// A sync failed: what the file holds is uncertain, so the writer begins another.
    suspect: bool,
    /// The open segment, or the one to come.
    number: u64,
}

/// Figures about the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// In the order of [`Stream::ALL`].
    pub streams: [StreamStats; Stream::ALL.len()],
    pub failed_appends: u64,
    pub failed_syncs: u64,
    /// Whether the reserve for a full disk is there.
    pub reserve: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// On disk, all segments.
    pub bytes: u64,
    /// On disk, all segments.
    pub segments: u64,
    /// Written since the journal was opened.
    pub lines: u64,
    /// Since the journal was opened.
    pub failed_appends: u64,
}

impl Journal {
    /// Takes the folder's lock and finds where to go on. Segments are created when the first
    /// record comes; what is there is never appended to.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        settings: Settings,
    ) -> Result<Journal, JournalError> {
        let dir = dir.into();
        disk.create_folder_all(&dir)
            .map_err(|source| JournalError::new("cannot create", &dir, source))?;
        let lock = take_lock(disk.as_ref(), &dir)?;
        let mut numbers = [0; Stream::ALL.len()];
        for stream in Stream::ALL {
            let newest = names::segments(disk.as_ref(), &dir, stream)?.into_keys().next_back();
            numbers[names::index(stream)] = newest.map_or(1, |newest| newest.saturating_add(1));
        }
        // A disk without room for the reserve is no reason not to start.
        drop(upkeep::take_reserve(disk.as_ref(), &dir, &settings));
        let writers = Stream::ALL.map(|stream| Writer::new(stream, numbers[names::index(stream)]));
        let streams = numbers.map(|number| SharedStream { number, ..SharedStream::default() });
        let shared = Arc::new(Mutex::new(Shared { streams, failed_syncs: 0 }));
        Ok(Journal { disk, dir, settings, writers, shared, reserve_is_spent: false, _lock: lock })
    }

    /// Appends one record and returns where its line begins. After an error nothing was appended.
    pub fn append(&mut self, record: &Record) -> Result<Position, JournalError> {
        let result = match self.may_append(record).and_then(|()| self.try_append(record)) {
            Err(error) if error.is_full() => self.append_on_full_disk(record, error),
            other => other,
        };
        let writer = &mut self.writers[names::index(record.stream())];
        writer.failed_appends += u64::from(result.is_err());
        result
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.syncer().sync()
    }

    /// A handle that does the same from another thread.
    pub fn syncer(&self) -> Syncer {
        Syncer { shared: self.shared.clone() }
    }

    /// Where the stream's next line will begin (unless a new segment is begun for it).
    pub fn head(&self, stream: Stream) -> Position {
        let writer = &self.writers[names::index(stream)];
        match &writer.open {
            Some(open) => Position { stream, segment: open.number, offset: open.len },
            None => Position { stream, segment: writer.next_number, offset: 0 },
        }
    }

    /// Whether a record of this time would be the first of a new segment.
    pub fn begins_segment(&self, stream: Stream, at: Timestamp) -> bool {
        let writer = &self.writers[names::index(stream)];
        let place = Place {
            disk: self.disk.as_ref(),
            dir: &self.dir,
            settings: &self.settings,
            shared: &self.shared,
        };
        writer.open.as_ref().is_none_or(|open| open.len == 0) || writer.must_rotate(&place, at)
    }

    /// For [`crate::upkeep()`]; also to be had from a [`Syncer`].
    pub fn open_segments(&self) -> OpenSegments {
        self.syncer().open_segments()
    }

    /// Lists the folder for the sizes: not for every tick.
    pub fn stats(&self) -> Result<Stats, JournalError> {
        let disk = self.disk.as_ref();
        let mut stats = Stats {
            failed_appends: self.writers.iter().map(|writer| writer.failed_appends).sum(),
            failed_syncs: lock(&self.shared).failed_syncs,
            reserve: upkeep::has_reserve(disk, &self.dir, &self.settings)?,
            ..Stats::default()
        };
        for (writer, stats) in self.writers.iter().zip(&mut stats.streams) {
            let segments = names::segments(disk, &self.dir, writer.stream)?;
            stats.bytes = segments.values().map(Segment::bytes).sum();
            stats.segments = segments.len() as u64;
            stats.lines = writer.lines;
            stats.failed_appends = writer.failed_appends;
        }
        Ok(stats)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the events were given is theirs.
    fn may_append(&mut self, record: &Record) -> Result<(), JournalError> {
        if !self.reserve_is_spent || record.stream() == Stream::Events {
            return Ok(());
        }
        let retaken = upkeep::retake_reserve(self.disk.as_ref(), &self.dir, &self.settings)?;
        self.reserve_is_spent = !retaken;
        if retaken { Ok(()) } else { Err(left_to_the_events(&self.dir)) }
    }

    fn try_append(&mut self, record: &Record) -> Result<Position, JournalError> {
        let writer = &mut self.writers[names::index(record.stream())];
        let place = Place {
            disk: self.disk.as_ref(),
            dir: &self.dir,
            settings: &self.settings,
            shared: &self.shared,
        };
        writer.append(&place, record)
    }

    /// Retention first; then, for the events alone, the reserve.
    fn append_on_full_disk(
        &mut self,
        record: &Record,
        mut error: JournalError,
    ) -> Result<Position, JournalError> {
        if self.removed_something() && self.may_append(record).is_ok() {
            match self.try_append(record) {
                Err(again) if again.is_full() => error = again,
                other => return other,
            }
        }
        let released = record.stream() == Stream::Events
            && self.disk.remove(&self.dir.join(names::RESERVE)).is_ok();
        self.reserve_is_spent |= released;
        if released { self.try_append(record) } else { Err(error) }
    }

    fn removed_something(&self) -> bool {
        let mut report = UpkeepReport::default();
        let open = self.open_segments();
        for stream in Stream::ALL {
            let disk = self.disk.as_ref();
            upkeep::retain(disk, &self.dir, &self.settings, open, stream, &mut report);
        }
        !report.removed.is_empty()
    }
}

/// What a writer needs of its journal.
struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    settings: &'a Settings,
    shared: &'a Mutex<Shared>,
}

impl Place<'_> {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(self.shared)
    }
}

impl Writer {
    fn new(stream: Stream, next_number: u64) -> Writer {
        let encoder = Encoder::default();
        Writer { stream, encoder, open: None, next_number, lines: 0, failed_appends: 0 }
    }

    fn append(&mut self, place: &Place<'_>, record: &Record) -> Result<Position, JournalError> {
        if self.must_rotate(place, record.at()) {
            self.close(place);
        }
        if self.open.is_none() {
            self.create(place, Day::of(record.at()))?;
        }
        self.make_name_durable(place)?;
        let open = self.open.as_mut().expect("created above");
        let line = self.encoder.encode(record);
        if line.len() > LONGEST_LINE {
            return Err(JournalError::new("cannot append to", &open.path, too_long(line.len())));
        }
        let failure = match open.file.append(line) {
            Ok(written) if written == line.len() => None,
            Ok(written) => Some(short_write(written, line.len())),
            Err(error) => Some(error),
        };
        if let Some(source) = failure {
            let error = JournalError::new("cannot append to", &open.path, source);
            self.cut_back(place);
            return Err(error);
        }
        let position = Position { stream: self.stream, segment: open.number, offset: open.len };
        open.len += line.len() as u64;
        open.after_state = matches!(record, Record::State(_));
        self.encoder.commit();
        self.lines += 1;
        place.shared().streams[names::index(self.stream)].dirty = true;
        Ok(position)
    }

    fn must_rotate(&self, place: &Place<'_>, at: Timestamp) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        Day::of(at) > open.day
            || open.day.start().since(at) > SET_BACK
            || (open.len >= place.settings.segment_bytes && !open.after_state)
            || place.shared().streams[names::index(self.stream)].suspect
    }

    /// Ends the segment: it is synced, and never written again.
    fn close(&mut self, place: &Place<'_>) {
        let Some(open) = self.open.take() else {
            return;
        };
        let synced = open.file.sync();
        let mut shared = place.shared();
        // A failure cannot be mended; the new segment is what can still be done right.
        shared.failed_syncs += u64::from(synced.is_err());
        let number = self.next_number;
        shared.streams[names::index(self.stream)] =
            SharedStream { number, ..SharedStream::default() };
    }

    fn create(&mut self, place: &Place<'_>, day: Day) -> Result<(), JournalError> {
        let mut taken = 0;
        let (number, path, file) = loop {
            let number = self.next_number;
            let path = place.dir.join(names::plain_name(self.stream, day, number));
            match place.disk.create_new(&path, place.settings.access) {
                Ok(file) => break (number, path, file),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && taken < TAKEN_NAMES =>
                {
                    taken += 1;
                    self.next_number = number.saturating_add(1);
                }
                Err(source) => return Err(JournalError::new("cannot create", &path, source)),
            }
        };
        self.next_number = number.saturating_add(1);
        self.encoder.start_segment();
        place.shared().streams[names::index(self.stream)] = SharedStream {
            file: Some((path.clone(), file.clone())),
            number,
            ..SharedStream::default()
        };
        self.open =
            Some(Open { number, day, path, file, len: 0, after_state: false, named: false });
        Ok(())
    }

    /// A line in a file whose name a crash could take away would not be durable when synced.
    fn make_name_durable(&mut self, place: &Place<'_>) -> Result<(), JournalError> {
        let open = self.open.as_mut().expect("called with a segment");
        if !open.named {
            place
                .disk
                .sync_folder(place.dir)
                .map_err(|source| JournalError::new("cannot sync", place.dir, source))?;
            open.named = true;
        }
        Ok(())
    }

    /// Takes a half-written line off the file; if that cannot be done the segment ends.
    fn cut_back(&mut self, place: &Place<'_>) {
        let open = self.open.as_ref().expect("called with a segment");
        if open.file.truncate(open.len).is_err() {
            self.close(place);
        }
    }
}

/// Makes the journal durable from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Syncer {
    shared: Arc<Mutex<Shared>>,
}

impl Syncer {
    /// Makes durable what was appended before the call. On an error the journal begins a new
    /// segment with its next line, because what the old one holds is no longer certain.
    pub fn sync(&self) -> Result<(), JournalError> {
        let mut result = Ok(());
        for index in 0..Stream::ALL.len() {
            let outcome = self.sync_stream(index);
            result = result.and(outcome);
        }
        result
    }

    /// Whether anything was appended since the last sync began.
    pub fn is_dirty(&self) -> bool {
        lock(&self.shared).streams.iter().any(|stream| stream.dirty)
    }

    /// For [`crate::upkeep()`] on its own thread.
    pub fn open_segments(&self) -> OpenSegments {
        let shared = lock(&self.shared);
        OpenSegments(std::array::from_fn(|index| shared.streams[index].number))
    }

    fn sync_stream(&self, index: usize) -> Result<(), JournalError> {
        let (path, file) = {
            let mut shared = lock(&self.shared);
            let stream = &mut shared.streams[index];
            if !std::mem::take(&mut stream.dirty) {
                return Ok(());
            }
            let Some(held) = stream.file.clone() else {
                return Ok(());
            };
            held
        };
        // Without the lock: the core must be able to append meanwhile.
        file.sync().map_err(|source| {
            self.mark_suspect(index, &file);
            JournalError::new("cannot sync", &path, source)
        })
    }

    fn mark_suspect(&self, index: usize, file: &Arc<dyn File>) {
        let mut shared = lock(&self.shared);
        shared.failed_syncs += 1;
        let stream = &mut shared.streams[index];
        if stream.file.as_ref().is_some_and(|(_, held)| Arc::ptr_eq(held, file)) {
            stream.suspect = true;
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>, JournalError> {
    let path = dir.join(names::LOCK);
    disk.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => JournalError::Locked { lock: path.clone() },
        _ => JournalError::new("cannot lock", &path, source),
    })
}

/// A line that no reader would take.
fn too_long(len: usize) -> io::Error {
    let message = format!("a line of {len} bytes is longer than a journal may have");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn left_to_the_events(dir: &Path) -> JournalError {
    let message = "what is left is for the events";
    JournalError::new("cannot append in", dir, io::Error::new(io::ErrorKind::StorageFull, message))
}

/// The kernel's way of saying that the disk has just become full.
fn short_write(written: usize, wanted: usize) -> io::Error {
    let message = format!("the disk took only {written} of {wanted} bytes");
    io::Error::new(io::ErrorKind::StorageFull, message)
}
