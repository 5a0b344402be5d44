//! Compressed segments: `….jsonl.zst`.
//!
//! A plain zstd file to every other tool (`zstdcat` gives the lines back), and a little more to us:
//! each frame stands alone, has a checksum, and follows a *header*, a skippable frame that says
//! where in the uncompressed segment the frame begins and how long it is. So a damaged frame costs
//! only itself, and every later position stays right. See `docs/formats/journal.md`.

use std::{io, path::Path};

use farol_disk::{Access, Disk, File, read_full, write_all};
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::CParameter,
};

use crate::{LONGEST_LINE, segment::newline};

/// A frame ends after this many lines, or earlier when they are long.
const FRAME_LINES: usize = 300;
const FRAME_BYTES: usize = 4 << 20;
/// What a frame can hold at most: a long last line goes over the aim.
const LONGEST_FRAME: usize = FRAME_BYTES + LONGEST_LINE + READ;

/// No offset lies beyond it, so sums of offsets and lengths cannot overflow.
const LONGEST_SEGMENT: u64 = 1 << 60;

const READ: usize = 256 << 10;
const HEADER: usize = 40;
const SKIPPABLE: u32 = 0x184D_2A5F;
const TAG: &[u8; 8] = b"farolSG1";

/// Compresses a whole segment into a new file and syncs it.
pub(crate) fn pack(
    disk: &dyn Disk,
    from: &dyn File,
    to: &Path,
    access: Access,
    level: i32,
) -> io::Result<()> {
    let out = disk.create_new(to, access)?;
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    let mut offset = 0;
    let mut waiting = Vec::new();
    let mut scratch = vec![0; READ];
    loop {
        let read = read_full(from, offset + waiting.len() as u64, &mut scratch)?;
        waiting.extend_from_slice(&scratch[..read]);
        let end = read == 0;
        while let Some(len) = frame_len(&waiting, end) {
            let frame: Vec<u8> = waiting.drain(..len).collect();
            write_frame(out.as_ref(), &mut compressor, offset, &frame)?;
            offset += len as u64;
        }
        if end {
            break;
        }
    }
    write_all(out.as_ref(), &Header { offset, packed: 0, plain: 0 }.to_bytes())?;
    out.sync()
}

/// Whether a packed file gives back exactly the plain one.
pub(crate) fn same(packed: &dyn File, plain: &dyn File) -> io::Result<bool> {
    let mut frames = Frames::new();
    let mut offset = 0;
    loop {
        match frames.next(packed)? {
            Frame::Data(bytes) => {
                let mut expected = vec![0; bytes.len()];
                let read = read_full(plain, offset, &mut expected)?;
                if read < bytes.len() || expected != bytes {
                    return Ok(false);
                }
                offset += read as u64;
            }
            Frame::Hole { .. } => return Ok(false),
            Frame::End => return Ok(offset == plain.len()?),
        }
    }
}

/// The length of the next frame, if enough is there to know it.
fn frame_len(waiting: &[u8], end: bool) -> Option<usize> {
    let mut len = 0;
    for _ in 0..FRAME_LINES {
        let Some(at) = newline(&waiting[len..]) else {
            // A "line" longer than any line is: damage, which is kept as it is.
            let too_long = waiting.len() >= FRAME_BYTES + LONGEST_LINE;
            return (end || too_long).then_some(waiting.len()).filter(|len| *len > 0);
        };
        len += at + 1;
        if len >= FRAME_BYTES {
            break;
        }
    }
    Some(len)
}

fn write_frame(
    out: &dyn File,
    compressor: &mut Compressor<'_>,
    offset: u64,
    frame: &[u8],
) -> io::Result<()> {
    let packed = compressor.compress(frame)?;
    let header = Header { offset, packed: to_u32(packed.len())?, plain: to_u32(frame.len())? };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&packed);
    write_all(out, &bytes)
}

fn to_u32(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(io::Error::other)
}

/// What stands before each frame; one with lengths of 0 ends the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Where the frame begins in the uncompressed segment.
    offset: u64,
    packed: u32,
    plain: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
        bytes[4..8].copy_from_slice(&(HEADER as u32 - 8).to_le_bytes());
        bytes[8..16].copy_from_slice(TAG);
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.packed.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.plain.to_le_bytes());
        // Four bytes are kept for later and written as zeros.
        let crc = crc32fast::hash(&bytes[8..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let number = |at: usize| -> u32 {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let right = number(0) == SKIPPABLE
            && number(4) as usize == HEADER - 8
            && bytes[8..16] == *TAG
            && number(36) == crc32fast::hash(&bytes[8..36]);
        let offset = u64::from(number(16)) | (u64::from(number(20)) << 32);
        let right = right && offset <= LONGEST_SEGMENT;
        right.then(|| Header { offset, packed: number(24), plain: number(28) })
    }
}

/// What is next in a packed file.
#[derive(Debug)]
pub(crate) enum Frame {
    Data(Vec<u8>),
    /// Damage: so many bytes of the uncompressed segment cannot be read. 0 when it is not known
    /// how many, because it is the end that is missing.
    Hole {
        bytes: u64,
        what: &'static str,
    },
    End,
}

/// Walks the frames of a packed file.
#[derive(Debug)]
pub(crate) struct Frames {
    /// In the packed file.
    at: u64,
    /// In the uncompressed segment.
    offset: u64,
    /// The frame whose header was found beyond a hole.
    found: Option<Header>,
    ended: bool,
}

impl Frames {
    pub(crate) fn new() -> Frames {
        Frames { at: 0, offset: 0, found: None, ended: false }
    }

    pub(crate) fn next(&mut self, file: &dyn File) -> io::Result<Frame> {
        if self.ended {
            return Ok(Frame::End);
        }
        let Some(header) = self.header(file)? else {
            self.ended = true;
            return Ok(Frame::Hole { bytes: 0, what: "the end of the compressed file is missing" });
        };
        if header.offset > self.offset {
            self.found = Some(header);
            let bytes = header.offset - self.offset;
            self.offset = header.offset;
            return Ok(Frame::Hole { bytes, what: "the header of a compressed frame is damaged" });
        }
        if header.plain == 0 {
            self.ended = true;
            return Ok(Frame::End);
        }
        self.at += HEADER as u64;
        self.data(file, header)
    }

    /// The next good header at or after `at`, which moves there.
    fn header(&mut self, file: &dyn File) -> io::Result<Option<Header>> {
        if let Some(found) = self.found.take() {
            return Ok(Some(found));
        }
        let mut window = vec![0; HEADER];
        let read = read_full(file, self.at, &mut window)?;
        // One that lies behind what was already read can only be rubbish.
        let good = |header: &Header| header.offset >= self.offset;
        if let Some(header) = Header::parse(&window[..read]).filter(good) {
            return Ok(Some(header));
        }
        window.resize(64 << 10, 0);
        loop {
            let read = read_full(file, self.at, &mut window)?;
            let starts = read.saturating_sub(HEADER - 1);
            for start in 0..starts {
                if let Some(header) = Header::parse(&window[start..read]).filter(good) {
                    self.at += start as u64;
                    return Ok(Some(header));
                }
            }
            if read < window.len() {
                return Ok(None);
            }
            self.at += starts as u64;
        }
    }

    fn data(&mut self, file: &dyn File, header: Header) -> io::Result<Frame> {
        let (packed, plain) = (header.packed as usize, header.plain as usize);
        let what = "a compressed frame is damaged";
        let hole = Frame::Hole { bytes: plain as u64, what };
        self.offset += plain as u64;
        if plain > LONGEST_FRAME || packed > 2 * LONGEST_FRAME {
            return Ok(hole);
        }
        let at = self.at;
        if at + packed as u64 > file.len()? {
            // Cut off; what follows the header may still hold other headers.
            return Ok(hole);
        }
        let mut bytes = vec![0; packed];
        if read_full(file, at, &mut bytes)? < packed {
            return Ok(hole);
        }
        match Decompressor::new()?.decompress(&bytes, plain) {
            Ok(data) if data.len() == plain => {
                self.at += packed as u64;
                Ok(Frame::Data(data))
            }
            _ => {
                self.at += packed as u64;
                Ok(hole)
            }
        }
    }
}
