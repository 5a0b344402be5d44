//! How fast text for back-fill is read, on one core, from the memory: standard input is taken whole,
//! then read a few times.
//!
//! `cargo run --release -p farol-wire --example backfill_speed openmetrics <FILE`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures with the real clock, prints, and stops where it fails"
)]

use std::{
    io::{Read, stdin},
    time::Instant,
};

use farol_wire::exposition::{Backfill, BackfillLimits, Format};

const CHUNK: usize = 256 * 1024;

fn main() {
    let format = match std::env::args().nth(1).as_deref() {
        Some("prometheus") => Format::Text,
        _ => Format::OpenMetrics,
    };
    let mut text = Vec::new();
    stdin().read_to_end(&mut text).unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let (samples, series) = read(&text, format);
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{samples} samples of {series} series: {:.1} M samples/s, {:.0} MB/s",
            samples as f64 / seconds / 1e6,
            text.len() as f64 / seconds / 1e6
        );
    }
}

fn read(text: &[u8], format: Format) -> (usize, usize) {
    let mut backfill = Backfill::new(format, BackfillLimits::default());
    let mut samples = Vec::new();
    let mut count = 0;
    for chunk in text.chunks(CHUNK) {
        samples.clear();
        backfill.push(chunk, &mut samples).unwrap();
        count += samples.len();
    }
    samples.clear();
    backfill.finish(&mut samples).unwrap();
    (count + samples.len(), backfill.series().len())
}
