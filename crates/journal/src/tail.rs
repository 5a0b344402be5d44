//! The last 19 bytes of every line: `,"crc":"xxxxxxxx"}` and a newline.
//!
//! The checksum is CRC-32 (IEEE) of all bytes before them, in lower-case hex. It is checked before
//! anything is parsed, so that a damaged line can never state a value.

const START: &[u8] = br#","crc":""#;
const END: &[u8] = br#""}"#;
/// Without the newline.
const LEN: usize = START.len() + 8 + END.len();

/// Ends the line that `line[from..]` holds so far.
pub(crate) fn seal(line: &mut Vec<u8>, from: usize) {
    let crc = crc32fast::hash(&line[from..]);
    line.extend_from_slice(START);
    line.extend_from_slice(&hex(crc));
    line.extend_from_slice(END);
    line.push(b'\n');
}

/// Checks a line (without its newline).
pub(crate) fn check(line: &[u8]) -> Result<(), &'static str> {
    let body = line.len().checked_sub(LEN).ok_or("too short to hold a checksum")?;
    let (body, tail) = line.split_at(body);
    let (start, rest) = tail.split_at(START.len());
    let (crc, end) = rest.split_at(8);
    if start != START || end != END {
        return Err("does not end in a checksum");
    }
    if crc != hex(crc32fast::hash(body)) {
        return Err("the checksum does not match");
    }
    Ok(())
}

fn hex(crc: u32) -> [u8; 8] {
    let mut text = [0; 8];
    for (place, shift) in text.iter_mut().zip((0..8).rev()) {
        *place = b"0123456789abcdef"[(crc >> (shift * 4)) as usize & 15];
    }
    text
}
