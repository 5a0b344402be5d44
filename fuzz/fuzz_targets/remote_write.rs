//! Arbitrary bytes as the body of a remote write, compressed and not: decoding never panics, and what
//! it made of them is encoded and decoded the same.

#![no_main]

use farol_model::{Labels, Series, Text};
use farol_wire::remote_write::{Limits, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    // As it stands, and as the message itself: the fuzzer would hardly find what snappy makes.
    let packed = snap::raw::Encoder::new().compress_vec(bytes).expect("the fuzzer's are few");
    for body in [bytes, &packed] {
        let Ok(request) = decode(body, &limits) else { continue };
        let again = decode(&encode(&request.series), &limits).expect("our own body is well formed");
        assert_eq!(all(&again.series), all(&request.series));
    }
});

/// To the bit: a stale marker is no other NaN.
fn all(series: &[Series]) -> Vec<(&Text, &Labels, Vec<(i64, u64)>)> {
    let points = |series: &Series| {
        series.points.iter().map(|(at, value)| (at.as_millis(), value.to_bits())).collect()
    };
    series.iter().map(|series| (&series.name, &series.labels, points(series))).collect()
}
