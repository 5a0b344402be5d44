//! Arbitrary bytes as a journal line, as a segment and as a compressed segment: nothing may panic,
//! and reading must come to an end.

#![no_main]

use std::{path::Path, sync::Arc};

use farol_disk::MemoryDisk;
use farol_journal::{Decoder, Item, Reader, StartAt, full_line};
use farol_model::Stream;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    as_lines(bytes);
    as_segment("/j/metrics-2026-11-22-0000000001.jsonl", bytes);
    as_segment("/j/metrics-2026-11-22-0000000001.jsonl.zst", bytes);
});

/// Each line with a checksum that is right, or the fuzzer would never get past it.
fn as_lines(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"}").unwrap_or(line);
        let mut sealed = body.to_vec();
        let crc = crc32fast::hash(body);
        sealed.extend_from_slice(format!(r#","crc":"{crc:08x}"}}"#).as_bytes());
        let Ok(Some(decoded)) = decoder.decode(&sealed) else { continue };
        if decoded.complete {
            let line = full_line(&decoded.record, 0);
            let again = Decoder::new().decode(&line[..line.len() - 1]);
            assert!(matches!(again, Ok(Some(_))), "what was read can be written and read again");
        }
    }
}

fn as_segment(name: &str, bytes: &[u8]) {
    let disk = MemoryDisk::new();
    disk.put(Path::new(name), bytes.to_vec());
    let reader = Reader::open(Arc::new(disk), "/j", Stream::Metrics, StartAt::Oldest);
    let mut reader = reader.expect("memory cannot fail");
    while let Some(item) = reader.next().expect("memory cannot fail") {
        if let Item::Line(line) = item {
            assert!(!line.raw.is_empty());
        }
    }
}
