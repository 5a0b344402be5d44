//! Arbitrary bytes as exposition text of both formats: the parser never panics, and what it made
//! of them is written and read back the same.

#![no_main]

use farol_model::{Labels, Sample, Text};
use farol_wire::exposition::{Format, Limits, encode, end, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in Format::ALL {
        let limits = Limits::default();
        let Ok(parsed) = parse(bytes, format, &limits) else { continue };
        let samples: Vec<Sample> = parsed.samples.into_iter().map(|s| s.sample).collect();
        let mut text = Vec::new();
        encode(&samples, format, &|_| None, &mut text);
        end(format, &mut text);
        let again = parse(&text, format, &limits).expect("our own text is well formed");
        assert!(again.samples.iter().map(|s| bits(&s.sample)).eq(samples.iter().map(bits)));
    }
});

/// NaN equals NaN here, and -0 is not 0.
fn bits(sample: &Sample) -> (Text, Labels, u64) {
    let value = if sample.value.is_nan() { f64::NAN } else { sample.value };
    (sample.name.clone(), sample.labels.clone(), value.to_bits())
}
