//! The values of one series, packed: constants need none, decimals become integers where that is
//! exact, and `pco` packs the rest.
//!
//! A chunk is a codec byte, the codec's own bytes, and a CRC-32 of both. Every bit of every value
//! comes back, NaNs and negative zeros included.

use std::borrow::Cow;

use pco::{
    ChunkConfig,
    data_types::Number,
    wrapped::{FileCompressor, FileDecompressor},
};

/// The most values in one chunk: what a reader of a single sample has to decode.
pub(crate) const MOST_VALUES: usize = 8192;
/// What a chunk has besides the codec's bytes.
const CODEC_BYTES: usize = 1;
const CRC_BYTES: usize = 4;
/// Beyond it the size hardly falls and the time doubles.
const LEVEL: usize = 8;
/// The most decimal places that are looked for. 10 to this power is exact as a float.
const MOST_PLACES: usize = 12;
/// Integers up to here are exact as floats.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

const POWERS: [f64; MOST_PLACES + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// The codec byte. 0 is kept for constants, which stand in the index and have no chunk.
const SCALED: u8 = 1;
const FLOAT: u8 = 2;
const INTEGER: u8 = 3;

/// Values as they are to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packed {
    /// All values have these bits.
    Constant(f64),
    Chunk(Vec<u8>),
}

/// Packs 1 to [`MOST_VALUES`] values.
pub(crate) fn pack(values: &[f64]) -> Packed {
    let first = values[0];
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        return Packed::Constant(first);
    }
    let mut bytes = Vec::with_capacity(values.len());
    match scaled(values) {
        Some((places, integers)) => {
            bytes.push(SCALED);
            bytes.push(places);
            pack_numbers(&integers, &mut bytes);
        }
        None => {
            bytes.push(FLOAT);
            pack_numbers(values, &mut bytes);
        }
    }
    Packed::Chunk(sealed(bytes))
}

/// Packs whole numbers, such as times.
pub(crate) fn pack_integers(values: &[i64]) -> Vec<u8> {
    let mut bytes = vec![INTEGER];
    pack_numbers(values, &mut bytes);
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The values of a chunk, which must be exactly `count`.
pub(crate) fn unpack(chunk: &[u8], count: usize) -> Result<Vec<f64>, Cow<'static, str>> {
    let (codec, body) = opened(chunk)?;
    match codec {
        FLOAT => unpack_numbers(body, count),
        SCALED => {
            let (&places, body) = body.split_first().ok_or("a chunk without its scale")?;
            let power = *POWERS.get(usize::from(places)).ok_or("a scale that is too large")?;
            let integers: Vec<i64> = unpack_numbers(body, count)?;
            Ok(integers.into_iter().map(|integer| integer as f64 / power).collect())
        }
        _ => Err("a codec that this version does not know".into()),
    }
}

pub(crate) fn unpack_integers(chunk: &[u8], count: usize) -> Result<Vec<i64>, Cow<'static, str>> {
    match opened(chunk)? {
        (INTEGER, body) => unpack_numbers(body, count),
        _ => Err("a codec that this version does not know".into()),
    }
}

/// Whether the bytes of a chunk are those that were written.
pub(crate) fn is_intact(chunk: &[u8]) -> bool {
    opened(chunk).is_ok()
}

/// Checks the checksum; the codec byte and what follows it.
fn opened(chunk: &[u8]) -> Result<(u8, &[u8]), Cow<'static, str>> {
    if chunk.len() < CODEC_BYTES + CRC_BYTES {
        return Err("a chunk that is too short".into());
    }
    let (body, crc) = chunk.split_at(chunk.len() - CRC_BYTES);
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Err("a checksum does not match".into());
    }
    Ok((body[0], &body[CODEC_BYTES..]))
}

/// The fewest decimal places with which every value is a whole number, and these numbers; none if a
/// value would not come back to the bit.
fn scaled(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut places = 0;
    for value in values {
        while integer_of(*value, POWERS[places]).is_none() {
            places += 1;
            if places > MOST_PLACES {
                return None;
            }
        }
    }
    let power = POWERS[places];
    let integers: Option<Vec<i64>> = values.iter().map(|value| integer_of(*value, power)).collect();
    Some((u8::try_from(places).ok()?, integers?))
}

fn integer_of(value: f64, power: f64) -> Option<i64> {
    let rounded = (value * power).round();
    // Also false for what is not a number.
    let is_small = rounded.abs() < LARGEST_EXACT;
    let integer = rounded as i64;
    // A negative zero does not come back as one.
    (is_small && (integer as f64 / power).to_bits() == value.to_bits()).then_some(integer)
}

fn pack_numbers<T: Number>(numbers: &[T], into: &mut Vec<u8>) {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    let compressor = FileCompressor::default();
    let why = "memory takes everything, and the numbers are at least one and not too many";
    compressor.write_header(&mut *into).expect(why);
    let mut chunk = compressor.chunk_compressor(numbers, &config).expect(why);
    chunk.write_meta(&mut *into).expect(why);
    chunk.write_page(0, &mut *into).expect(why);
}

fn unpack_numbers<T: Number + Default>(
    bytes: &[u8],
    count: usize,
) -> Result<Vec<T>, Cow<'static, str>> {
    let told = |error: pco::errors::PcoError| Cow::from(error.to_string());
    let (file, bytes) = FileDecompressor::new(bytes).map_err(told)?;
    let (chunk, bytes) = file.chunk_decompressor::<T, _>(bytes).map_err(told)?;
    let mut numbers = vec![T::default(); count];
    let mut scratch = pco::DecompressorScratch::default();
    let mut page =
        chunk.page_decompressor_with_scratch(bytes, count, &mut scratch).map_err(told)?;
    let progress = page.read(&mut numbers).map_err(told)?;
    match progress.n_processed == count {
        true => Ok(numbers),
        false => Err("fewer values than there should be".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[f64]) -> usize {
        match pack(values) {
            Packed::Constant(value) => {
                assert!(values.iter().all(|held| held.to_bits() == value.to_bits()));
                0
            }
            Packed::Chunk(bytes) => {
                let back = unpack(&bytes, values.len()).unwrap();
                let bits =
                    |values: &[f64]| -> Vec<u64> { values.iter().map(|v| v.to_bits()).collect() };
                assert_eq!(bits(&back), bits(values));
                bytes.len()
            }
        }
    }

    #[test]
    fn every_bit_of_every_kind_of_value_comes_back() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        round_trip(&[1.0]);
        round_trip(&[0.0, -0.0]);
        round_trip(&[f64::NAN, stale, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1e308]);
        round_trip(&[9_007_199_254_740_993.0, 1.0, -3.25]);
        round_trip(&(0..MOST_VALUES).map(|i| i as f64 * 0.01).collect::<Vec<_>>());
    }

    #[test]
    fn a_constant_takes_no_bytes_and_a_decimal_counter_few() {
        assert_eq!(round_trip(&[4096.0; 900]), 0);
        let hundredths: Vec<f64> = (0..900).map(|i| f64::from(100_000 + i * 97) / 100.0).collect();
        assert!(round_trip(&hundredths) < 64, "a line: its slope and nothing else");
    }

    #[test]
    fn a_flipped_bit_is_always_found() {
        let Packed::Chunk(bytes) = pack(&[1.0, 2.5, 7.0]) else { panic!("they differ") };
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack(&bad, 3).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bits_come_back(bits in prop::collection::vec(any::<u64>(), 1..300)) {
            round_trip(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn any_decimals_come_back(
            integers in prop::collection::vec(-1_000_000_i64..1_000_000, 1..300),
            places in 0..8_usize,
        ) {
            round_trip(&integers.into_iter().map(|i| i as f64 / POWERS[places]).collect::<Vec<_>>());
        }

        #[test]
        fn any_integers_come_back(integers in prop::collection::vec(any::<i64>(), 1..300)) {
            let bytes = pack_integers(&integers);
            prop_assert_eq!(unpack_integers(&bytes, integers.len()).unwrap(), integers);
        }
    }
}
