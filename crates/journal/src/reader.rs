//! Reading and following a stream, from any position, in any process.
//!
//! A reader takes no lock and never writes. It owes its answers to the files alone, so it can be
//! dropped at any time and opened again at its [`Reader::position`].

use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Bound::{Excluded, Unbounded},
    path::{Path, PathBuf},
    sync::Arc,
};

use farol_disk::Disk;
use farol_model::{Position, Record, Stream, Timestamp};

use crate::{
    Decoder, JournalError,
    names::{self, Segment},
    segment::{Lines, Piece},
    time::Day,
};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest line there is.
    Oldest,
    /// The start of the newest segment that holds anything: enough to find each lane's newest
    /// snapshot, unless the writer has just begun it.
    NewestSegment,
    /// The first segment of that time's day: the lines before the time are given too, but no
    /// earlier day is read. For a person's question, not for a cursor.
    Day(Timestamp),
    /// A position that a reader gave. The lines before it in its segment are gone through
    /// silently, for the full lines that later ones need.
    Position(Position),
    /// What is appended from now on.
    End,
}

/// What a reader finds.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Line(Line),
    Damage(Damage),
    Gap(Gap),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub position: Position,
    pub record: Record,
    /// Whether the record is whole. If not, it is a snapshot whose full line is missing or
    /// damaged: it holds what the line names and states nothing about the other series, neither
    /// that they went on nor that they ended.
    pub complete: bool,
    /// The line as it stands in the file, its checksum verified, without the newline.
    pub raw: Vec<u8>,
}

/// Bytes that are not a good line. They are skipped; nothing that follows is affected, except that
/// snapshots which need a damaged full line are not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Of the first bad byte's line, in the uncompressed segment.
    pub position: Position,
    pub bytes: u64,
    pub file: String,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { position, bytes, file, what } = self;
        write!(f, "{file}: {bytes} bytes at offset {} skipped: {what}", position.offset)
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, last) = (self.stream.name(), self.found.saturating_sub(1));
        if self.found < self.expected {
            return write!(f, "{stream}: begun anew with segment {}", self.found);
        }
        match self.expected == last {
            true => write!(f, "{stream}: segment {last} is missing"),
            false => write!(f, "{stream}: segments {} to {last} are missing", self.expected),
        }
    }
}

/// Segments that are not there (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub stream: Stream,
    /// The first number that is missing, and the one at which reading goes on.
    pub expected: u64,
    pub found: u64,
}

/// What a reader has met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    pub lines: u64,
    /// Lines dropped because their number was not above the last one's.
    pub repeats: u64,
    pub damaged: u64,
    pub gaps: u64,
    /// Snapshots that were not complete.
    pub incomplete: u64,
}

#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    stream: Stream,
    decoder: Decoder,
    current: Option<Current>,
    /// Where to go on while there is no current segment; none is at the oldest.
    wanted: Option<Position>,
    /// Lines of the current segment before this offset are gone through silently.
    silent_until: u64,
    stats: ReaderStats,
    unfinished: u64,
    /// How often a listed file was not there when it was to be opened.
    vanished: u32,
}

#[derive(Debug)]
struct Current {
    number: u64,
    name: String,
    lines: Lines,
    /// There is a higher segment, so what the file holds now is all it will ever hold.
    closed: bool,
    /// Lines that end up to here were read a second time already.
    rechecked_until: u64,
    /// How many times in a row the held file did not look like the one of its name.
    replaced: u32,
}

impl Reader {
    /// Opens a stream of the journal in `dir`; a folder that is not there yet is empty.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: impl Into<PathBuf>,
        stream: Stream,
        from: StartAt,
    ) -> Result<Reader, JournalError> {
        let mut reader = Reader {
            disk,
            dir: dir.into(),
            stream,
            decoder: Decoder::new(),
            current: None,
            wanted: None,
            silent_until: 0,
            stats: ReaderStats::default(),
            unfinished: 0,
            vanished: 0,
        };
        reader.wanted = reader.first_wanted(from)?;
        Ok(reader)
    }

    /// The next item, or `None` when there is nothing more for now: ask again later.
    #[expect(clippy::should_implement_trait, reason = "an iterator ends; this one only waits")]
    pub fn next(&mut self) -> Result<Option<Item>, JournalError> {
        loop {
            let item = match &self.current {
                None => match self.open_next()? {
                    Step::Wait => return Ok(None),
                    Step::Go => None,
                    Step::Give(item) => Some(item),
                },
                Some(_) => match self.read()? {
                    Step::Wait => return Ok(None),
                    Step::Go => None,
                    Step::Give(item) => Some(item),
                },
            };
            if let Some(item) = item {
                self.count(&item);
                return Ok(Some(item));
            }
        }
    }

    /// Where the next item begins: what a follower saves to go on from later. None as long as
    /// nothing was ever there to read.
    pub fn position(&self) -> Option<Position> {
        let Some(current) = &self.current else {
            return self.wanted;
        };
        let offset = current.lines.offset().max(self.silent_until);
        Some(Position { stream: self.stream, segment: current.number, offset })
    }

    pub fn stats(&self) -> ReaderStats {
        self.stats
    }

    /// Bytes after the last line that have no newline yet, as of the last `None`.
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }

    fn first_wanted(&self, from: StartAt) -> Result<Option<Position>, JournalError> {
        let at = |segment: u64, offset: u64| Position { stream: self.stream, segment, offset };
        let segments = self.segments()?;
        let newest = segments.values().next_back();
        Ok(match from {
            StartAt::Oldest => None,
            StartAt::NewestSegment => {
                let with_lines = segments.values().rfind(|segment| segment.bytes() > 0);
                with_lines.or(newest).map(|segment| at(segment.number, 0))
            }
            StartAt::Day(time) => {
                let first = segments.values().find(|segment| segment.day >= Day::of(time));
                // Nothing that young: what comes next is.
                let next = newest.map_or(0, |segment| segment.number + 1);
                Some(at(first.map_or(next, |segment| segment.number), 0))
            }
            StartAt::Position(position) => Some(at(position.segment, position.offset)),
            StartAt::End => newest.map(|segment| match segment.plain {
                Some(len) => at(segment.number, len),
                // Only closed segments are packed: the next line is in the next one.
                None => at(segment.number.saturating_add(1), 0),
            }),
        })
    }

    /// Opens the segment that is wanted, or the next one there is.
    fn open_next(&mut self) -> Result<Step, JournalError> {
        let Some(segment) = self.find_next()? else {
            return Ok(Step::Wait);
        };
        let expected = self.wanted.map_or(segment.number, |wanted| wanted.segment);
        if segment.number != expected {
            self.wanted =
                Some(Position { stream: self.stream, segment: segment.number, offset: 0 });
            return Ok(Step::Give(Item::Gap(Gap {
                stream: self.stream,
                expected,
                found: segment.number,
            })));
        }
        let Some(lines) = self.open_lines(&segment)? else {
            // Packed or removed since the listing: list again, but not for ever.
            self.vanished = self.vanished.wrapping_add(1);
            return if self.vanished.is_multiple_of(8) { Ok(Step::Wait) } else { Ok(Step::Go) };
        };
        self.silent_until = self.wanted.map_or(0, |wanted| wanted.offset);
        self.decoder.start_segment();
        self.current = Some(Current {
            number: segment.number,
            name: segment.name(),
            lines,
            closed: false,
            rechecked_until: 0,
            replaced: 0,
        });
        Ok(Step::Go)
    }

    fn find_next(&self) -> Result<Option<Segment>, JournalError> {
        let first = self.segments()?;
        let Some(wanted) = self.wanted else {
            return Ok(first.into_values().next());
        };
        if let Some(segment) = first.get(&wanted.segment) {
            return Ok(Some(segment.clone()));
        }
        // A listing taken while files are renamed can miss one: believe only the second.
        let mut second = self.segments()?;
        let higher = second.range(wanted.segment..).next().map(|(_, segment)| segment.clone());
        if higher.is_some() {
            return Ok(higher);
        }
        // All numbers are far below: the folder was emptied and begun anew.
        let begun_anew = second
            .keys()
            .next_back()
            .is_some_and(|newest| newest.saturating_add(1) < wanted.segment);
        Ok(if begun_anew { second.pop_first().map(|(_, segment)| segment) } else { None })
    }

    fn open_lines(&self, segment: &Segment) -> Result<Option<Lines>, JournalError> {
        let path = self.dir.join(segment.name());
        match self.disk.open(&path) {
            Ok(file) if segment.plain.is_some() => Ok(Some(Lines::plain(file))),
            Ok(file) => Ok(Some(Lines::packed(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(JournalError::new("cannot open", &path, source)),
        }
    }

    fn read(&mut self) -> Result<Step, JournalError> {
        let current = self.current.as_mut().expect("read is called with a segment");
        let piece = current.lines.next().map_err(|source| {
            JournalError::new("cannot read", &self.dir.join(&current.name), source)
        })?;
        match piece {
            Piece::Line { offset, range } => Ok(self.line(offset, range)),
            Piece::Hole { offset, bytes, what } => Ok(self.damage(offset, bytes, what.to_string())),
            Piece::End { leftover } => self.end(leftover),
        }
    }

    fn line(&mut self, offset: u64, range: std::ops::Range<usize>) -> Step {
        let current = self.current.as_mut().expect("a line comes from a segment");
        let silent = offset < self.silent_until;
        let line = current.lines.bytes(range);
        if silent && !may_be_full(line) {
            return Step::Go;
        }
        match self.decoder.decode(line) {
            Ok(_) if silent => Step::Go,
            Ok(None) => {
                self.stats.repeats += 1;
                Step::Go
            }
            Ok(Some(decoded)) => Step::Give(Item::Line(Line {
                position: Position { stream: self.stream, segment: current.number, offset },
                record: decoded.record,
                complete: decoded.complete,
                raw: line.to_vec(),
            })),
            Err(_) if current.lines.is_plain() && current.rechecked_until <= offset => {
                // The writer may have cut this line back and written another while it was being
                // read in pieces. Only what is bad twice is bad.
                let end = offset + line.len() as u64 + 1;
                current.rechecked_until = current.lines.whole_lines_until().max(end);
                current.lines.reread(offset);
                Step::Go
            }
            Err(what) => {
                let bytes = line.len() as u64 + 1;
                self.damage(offset, bytes, what)
            }
        }
    }

    fn damage(&self, offset: u64, bytes: u64, what: String) -> Step {
        // A reader that went past this before has reported it then.
        if offset < self.silent_until {
            return Step::Go;
        }
        let current = self.current.as_ref().expect("damage is in a segment");
        Step::Give(Item::Damage(Damage {
            position: Position { stream: self.stream, segment: current.number, offset },
            bytes,
            file: current.name.clone(),
            what,
        }))
    }

    /// Nothing more in this file: wait, or go on to the next segment.
    fn end(&mut self, leftover: u64) -> Result<Step, JournalError> {
        let current = self.current.as_ref().expect("an end is that of a segment");
        let number = current.number;
        if !current.closed {
            let len_before = self.held_len()?;
            let segments = self.segments()?;
            let has_higher = segments.range((Excluded(number), Unbounded)).next().is_some();
            if !has_higher {
                self.unfinished = leftover;
                return self.wait_or_begin_anew(&segments, len_before);
            }
            // The writer has finished this file before it created the next: read it once more.
            self.current.as_mut().expect("held above").closed = true;
            return Ok(Step::Go);
        }
        let offset = current.lines.offset();
        let torn = (leftover > 0)
            .then(|| self.damage(offset, leftover, "torn: the line has no end".to_string()));
        self.current = None;
        self.want(number.saturating_add(1));
        Ok(torn.unwrap_or(Step::Go))
    }

    /// At the end of the newest segment: wait, unless the folder was emptied and begun anew. Then
    /// the file that is held gets no more lines, and the one of its name (if there is one) is
    /// another, of another length.
    fn wait_or_begin_anew(
        &mut self,
        segments: &BTreeMap<u64, Segment>,
        len_before: u64,
    ) -> Result<Step, JournalError> {
        let len_after = self.held_len()?;
        let current = self.current.as_mut().expect("an end is that of a segment");
        let number = current.number;
        let listed = segments.get(&number).and_then(|segment| segment.plain);
        let is_held = listed.is_some_and(|len| (len_before..=len_after).contains(&len));
        if is_held || segments.is_empty() || !current.lines.is_plain() {
            current.replaced = 0;
            return Ok(Step::Wait);
        }
        // Once may be a line that the writer has just cut back.
        current.replaced += 1;
        if current.replaced < 3 {
            return Ok(Step::Wait);
        }
        self.current = None;
        self.want(if listed.is_some() { number } else { number.saturating_add(1) });
        Ok(Step::Go)
    }

    fn held_len(&self) -> Result<u64, JournalError> {
        let current = self.current.as_ref().expect("asked about a segment");
        current.lines.file_len().map_err(|source| {
            JournalError::new("cannot read", &self.dir.join(&current.name), source)
        })
    }

    /// Goes on at the start of this segment.
    fn want(&mut self, segment: u64) {
        self.wanted = Some(Position { stream: self.stream, segment, offset: 0 });
        self.silent_until = 0;
    }

    fn segments(&self) -> Result<BTreeMap<u64, Segment>, JournalError> {
        names::segments(self.disk.as_ref(), &self.dir, self.stream)
    }

    fn count(&mut self, item: &Item) {
        match item {
            Item::Line(line) => {
                self.stats.lines += 1;
                self.stats.incomplete += u64::from(!line.complete);
            }
            Item::Damage(_) => self.stats.damaged += 1,
            Item::Gap(_) => self.stats.gaps += 1,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

#[expect(clippy::large_enum_variant, reason = "it is handed on at once and never kept")]
enum Step {
    Give(Item),
    Go,
    Wait,
}

/// A cheap look at the line's start: only full lines matter to those that come after them.
fn may_be_full(line: &[u8]) -> bool {
    let start = &line[..line.len().min(96)];
    start.windows(14).any(|window| window == br#""kind":"full","#)
}
