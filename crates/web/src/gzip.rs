//! One gzip member made of parts that were compressed at different times.
//!
//! A part is raw deflate ended on a byte boundary by a flush, so parts can be put one after the
//! other; none refers back into another. The checksums are combined, not computed again.

use axum::body::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};

/// No name, no time, unknown system: the same text gives the same bytes.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Host metrics shrink to a sixth at the first level already; higher ones cost more than the
/// bytes are worth to a scrape.
const LEVEL: u32 = 1;

/// The member's beginning: its header and the first part, ready to be followed by [`Packer::end`].
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) bytes: Bytes,
    checksum: Hasher,
    /// Of the text, as gzip counts it: modulo 2^32.
    length: u32,
}

/// A compressor that is used again and again: making one costs more than a small part does.
pub(crate) struct Packer(Compress);

impl Packer {
    pub(crate) fn new() -> Packer {
        Packer(Compress::new(Compression::new(LEVEL), false))
    }

    pub(crate) fn begin(&mut self, text: &[u8]) -> Beginning {
        let mut bytes = Vec::with_capacity(HEAD.len() + text.len() / 4 + 256);
        bytes.extend_from_slice(&HEAD);
        self.deflate(text, FlushCompress::Sync, &mut bytes);
        Beginning { bytes: bytes.into(), checksum: checksum(text), length: length_of(text) }
    }

    /// The last part and the member's end.
    pub(crate) fn end(&mut self, beginning: &Beginning, text: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(text.len() / 2 + 256);
        self.deflate(text, FlushCompress::Finish, &mut bytes);
        let mut whole = beginning.checksum.clone();
        whole.combine(&checksum(text));
        let length = beginning.length.wrapping_add(length_of(text));
        bytes.extend_from_slice(&whole.finalize().to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.into()
    }

    /// A member made at once.
    pub(crate) fn whole(&mut self, text: &[u8]) -> [Bytes; 2] {
        let beginning = self.begin(text);
        let end = self.end(&beginning, b"");
        [beginning.bytes, end]
    }

    fn deflate(&mut self, text: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        self.0.reset();
        loop {
            let done = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = text.get(done..).unwrap_or_default();
            let status = self.0.compress_vec(rest, out, flush);
            let has_room = out.len() < out.capacity();
            match status {
                Ok(Status::StreamEnd) => return,
                // With room left, all input is taken and the flush is complete.
                Ok(_) if has_room && matches!(flush, FlushCompress::Sync) => return,
                Ok(_) => out.reserve(text.len() / 4 + 256),
                Err(error) => unreachable!("deflate without a dictionary cannot fail: {error}"),
            }
        }
    }
}

fn checksum(text: &[u8]) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(text);
    hasher
}

#[expect(clippy::cast_possible_truncation, reason = "gzip counts modulo 2^32")]
fn length_of(text: &[u8]) -> u32 {
    text.len() as u32
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut decoder = GzDecoder::new(bytes);
        decoder.read_to_end(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "bytes after the member");
        text
    }

    #[test]
    fn parts_make_one_member_that_a_plain_decoder_reads() {
        let mut packer = Packer::new();
        let noise: Vec<u8> =
            (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let firsts: [&[u8]; 4] = [b"", b"a 1\n", &b"node_x{cpu=\"0\"} 1\n".repeat(5000), &noise];
        for first in firsts {
            let beginning = packer.begin(first);
            for last in [&b""[..], b"# EOF\n", &noise] {
                let mut member = beginning.bytes.to_vec();
                member.extend_from_slice(&packer.end(&beginning, last));
                assert_eq!(unpacked(&member), [first, last].concat());
            }
        }
    }
}
