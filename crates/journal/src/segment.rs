//! One segment as lines with their offsets, whether it is plain or packed.
//!
//! Nothing here judges a line; that is the decoder's part.

use std::{
    io::{self, BufRead},
    ops::Range,
    sync::Arc,
};

use farol_disk::File;

use crate::{
    LONGEST_LINE,
    archive::{Frame, Frames},
    tail,
};

const READ: usize = 64 << 10;

/// What is next in a segment. Offsets are those in the uncompressed segment.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A line without its newline; see [`Lines::bytes`].
    Line { offset: u64, range: Range<usize> },
    /// So many bytes that cannot be read.
    Hole { offset: u64, bytes: u64, what: &'static str },
    /// Nothing more for now; `leftover` bytes have no newline yet.
    End { leftover: u64 },
}

/// How many parts of a closed plain segment are no good line: bad checksums, holes, a torn end.
pub(crate) fn damaged_parts(file: Arc<dyn File>) -> io::Result<u64> {
    let mut lines = Lines::plain(file);
    let mut damaged = 0;
    loop {
        match lines.next()? {
            Piece::Line { range, .. } => {
                damaged += u64::from(tail::check(lines.bytes(range)).is_err());
            }
            Piece::Hole { .. } => damaged += 1,
            Piece::End { leftover } => return Ok(damaged + u64::from(leftover > 0)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lines {
    file: Arc<dyn File>,
    /// None for a plain file.
    frames: Option<Frames>,
    /// What the file is read into; kept, so that it is zeroed only once.
    scratch: Box<[u8]>,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte.
    buffer_offset: u64,
    /// Up to here the buffer was given out.
    start: usize,
    /// Up to here there is no newline after `start`.
    searched: usize,
    /// Within a line that is too long: how much of it was thrown away.
    skipping: Option<u64>,
}

impl Lines {
    pub(crate) fn plain(file: Arc<dyn File>) -> Lines {
        Lines {
            file,
            frames: None,
            scratch: vec![0; READ].into(),
            buffer: Vec::new(),
            buffer_offset: 0,
            start: 0,
            searched: 0,
            skipping: None,
        }
    }

    pub(crate) fn packed(file: Arc<dyn File>) -> Lines {
        Lines { frames: Some(Frames::new()), ..Lines::plain(file) }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.frames.is_none()
    }

    /// Where the next piece begins.
    pub(crate) fn offset(&self) -> u64 {
        self.buffer_offset + self.start as u64 - self.skipping.unwrap_or(0)
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    pub(crate) fn file_len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// The end of the last whole line that is buffered.
    pub(crate) fn whole_lines_until(&self) -> u64 {
        let newline = self.buffer.iter().rposition(|byte| *byte == b'\n');
        self.buffer_offset + newline.map_or(0, |at| at as u64 + 1)
    }

    /// Forgets what is buffered and reads a plain file again from this offset.
    pub(crate) fn reread(&mut self, offset: u64) {
        self.buffer.clear();
        self.buffer_offset = offset;
        self.start = 0;
        self.searched = 0;
        self.skipping = None;
    }

    pub(crate) fn next(&mut self) -> io::Result<Piece> {
        loop {
            if let Some(piece) = self.buffered() {
                return Ok(piece);
            }
            self.drop_given_out();
            match self.more()? {
                More::Some => {}
                More::Hole { bytes, what } => return Ok(self.hole(bytes, what)),
                More::End => return Ok(self.end()),
            }
        }
    }

    fn buffered(&mut self) -> Option<Piece> {
        let newline = newline(&self.buffer[self.searched..]);
        let Some(newline) = newline.map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            self.shed_too_long();
            return None;
        };
        let offset = self.offset();
        let range = self.start..newline;
        self.start = newline + 1;
        self.searched = self.start;
        match self.skipping.take() {
            None if range.len() <= LONGEST_LINE => Some(Piece::Line { offset, range }),
            skipped => {
                let bytes = skipped.unwrap_or(0) + range.len() as u64 + 1;
                Some(Piece::Hole { offset, bytes, what: "longer than any line" })
            }
        }
    }

    /// A line without end must not fill the memory.
    fn shed_too_long(&mut self) {
        let pending = self.buffer.len() - self.start;
        if pending > LONGEST_LINE {
            self.skipping = Some(self.skipping.unwrap_or(0) + pending as u64);
            self.start = self.buffer.len();
        }
    }

    fn drop_given_out(&mut self) {
        self.buffer.drain(..self.start);
        self.buffer_offset += self.start as u64;
        self.searched -= self.start;
        self.start = 0;
    }

    fn more(&mut self) -> io::Result<More> {
        let Some(frames) = &mut self.frames else {
            return self.more_plain();
        };
        Ok(match frames.next(self.file.as_ref())? {
            Frame::Data(bytes) if self.buffer.is_empty() => {
                self.buffer = bytes;
                More::Some
            }
            Frame::Data(bytes) => {
                self.buffer.extend_from_slice(&bytes);
                More::Some
            }
            Frame::Hole { bytes, what } => More::Hole { bytes, what },
            Frame::End => More::End,
        })
    }

    fn more_plain(&mut self) -> io::Result<More> {
        let end = self.buffer_offset + self.buffer.len() as u64;
        let read = self.file.read_at(end, &mut self.scratch)?;
        self.buffer.extend_from_slice(&self.scratch[..read]);
        Ok(if read == 0 { More::End } else { More::Some })
    }

    /// What stood before a hole without a newline belongs to the damage.
    fn hole(&mut self, bytes: u64, what: &'static str) -> Piece {
        let offset = self.offset();
        let end = self.buffer_offset + self.buffer.len() as u64 + bytes;
        self.reread(end);
        Piece::Hole { offset, bytes: end - offset, what }
    }

    fn end(&mut self) -> Piece {
        let leftover = self.buffer_offset + self.buffer.len() as u64 - self.offset();
        if self.is_plain() {
            // A line that is not finished may yet be cut back and written anew, so it is not kept.
            self.reread(self.offset());
        }
        Piece::End { leftover }
    }
}

/// Where the first newline is. (`skip_until` is the standard library's way to its fast search.)
pub(crate) fn newline(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let skipped = rest.skip_until(b'\n').expect("memory can always be read");
    let last = skipped.checked_sub(1)?;
    (bytes[last] == b'\n').then_some(last)
}

enum More {
    Some,
    Hole { bytes: u64, what: &'static str },
    End,
}
