//! Arbitrary bytes as text for back-fill, of both formats: nothing panics, where the text is cut
//! into chunks changes nothing, and what is accepted is what `parse` makes of it.

#![no_main]

use farol_model::{Labels, Text, Timestamp};
use farol_wire::exposition::{Backfill, BackfillLimits, Format, Limits, ParseError, parse};
use libfuzzer_sys::fuzz_target;

type Samples = Vec<(Text, Labels, Timestamp, u64)>;

fuzz_target!(|input: (&[u8], Vec<u8>)| {
    let (text, cuts) = input;
    for format in Format::ALL {
        let whole = read(&[text], format);
        assert_eq!(whole, read(&cut(text, &cuts), format), "however it is cut");
        let parsed = parse(text, format, &Limits { samples: usize::MAX, ..Limits::default() });
        let samples = match (whole, &parsed) {
            (Ok(samples), _) => samples,
            (Err(wrong), Err(expected)) => {
                // Back-fill asks for more: a time stamp in each line, no label `__name__`.
                assert!(wrong.line <= expected.line);
                continue;
            }
            (Err(_), Ok(_)) => continue,
        };
        let parsed = parsed.expect("back-fill is not the more lenient one").samples.into_iter();
        let expected = parsed.map(|scraped| {
            let sample = scraped.sample;
            (sample.name, sample.labels, scraped.at.expect("it was asked for"), bits(sample.value))
        });
        assert!(samples.into_iter().eq(expected));
    }
});

/// Pieces as long as `lengths` say, again and again.
fn cut<'a>(mut text: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle().take(text.len()) {
        let (piece, rest) = text.split_at(usize::from(*length).min(text.len()));
        pieces.push(piece);
        text = rest;
    }
    pieces.push(text);
    pieces
}

fn read(pieces: &[&[u8]], format: Format) -> Result<Samples, ParseError> {
    let mut backfill = Backfill::new(format, BackfillLimits::default());
    let mut samples = Vec::new();
    for piece in pieces {
        backfill.push(piece, &mut samples)?;
    }
    backfill.finish(&mut samples)?;
    let named = samples.iter().map(|sample| {
        let series = &backfill.series()[sample.series as usize];
        (series.name.clone(), series.labels.clone(), sample.at, bits(sample.value))
    });
    Ok(named.collect())
}

/// NaN equals NaN here, and -0 is not 0.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}
