//! Samples that somebody sent, each with a time of its own.

use crate::{Labels, Text, Timestamp};

/// What one request brought, or a part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// When it came, not when its samples were taken.
    pub at: Timestamp,
    pub series: Vec<Series>,
}

/// Samples of one series, in any order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: Text,
    /// As they were sent, without the name.
    pub labels: Labels,
    pub points: Vec<(Timestamp, f64)>,
}

/// The value of a stale marker: the NaN by which Prometheus says that a series has ended.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// Of all the NaNs there are, two mean something: the stale marker, and any other.
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() && !is_stale(value) { f64::NAN } else { value }
}

/// What a series weighs in a journal line besides its points, and a point: estimates that bound it.
const SERIES_BYTES: usize = 32;
const POINT_BYTES: usize = 36;

impl Batch {
    pub fn samples(&self) -> usize {
        self.series.iter().map(|series| series.points.len()).sum()
    }

    /// The same in parts that are each written in about so many bytes at most, so that none holds up
    /// who appends it. Their order is that of the whole.
    pub fn parts(self, bytes: usize) -> Vec<Batch> {
        let at = self.at;
        let mut parts = Vec::new();
        let mut part = Batch { at, series: Vec::new() };
        let mut room = bytes;
        for series in self.series {
            let named = SERIES_BYTES + series.text_bytes();
            let mut points = &series.points[..];
            while !points.is_empty() {
                if room < named + POINT_BYTES && !part.series.is_empty() {
                    parts.push(std::mem::replace(&mut part, Batch { at, series: Vec::new() }));
                    room = bytes;
                }
                let fit = (room.saturating_sub(named) / POINT_BYTES).clamp(1, points.len());
                let (taken, rest) = points.split_at(fit);
                part.series.push(Series { points: taken.to_vec(), ..series.named_alike() });
                room = room.saturating_sub(named + fit * POINT_BYTES);
                points = rest;
            }
        }
        if !part.series.is_empty() {
            parts.push(part);
        }
        parts
    }
}

impl Series {
    /// The same series without a point.
    fn named_alike(&self) -> Series {
        Series { name: self.name.clone(), labels: self.labels.clone(), points: Vec::new() }
    }

    fn text_bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(name, value)| name.len() + value.len() + 6);
        self.name.len() + labels.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: i64) -> Series {
        let point = |at| (Timestamp::from_millis(at), at as f64);
        Series {
            name: name.into(),
            labels: Labels::from([("a", "b")]),
            points: (0..points).map(point).collect(),
        }
    }

    #[test]
    fn the_parts_of_a_batch_are_small_and_together_the_whole() {
        let at = Timestamp::from_millis(7);
        let whole = Batch { at, series: vec![series("a", 3), series("b", 100), series("c", 0)] };
        let parts = whole.clone().parts(1000);
        assert!(parts.len() > 3);
        let most = parts.iter().map(Batch::samples).max().unwrap();
        assert!(most <= 1000 / POINT_BYTES, "{most}");
        for name in ["a", "b"] {
            let of = |batch: &Batch| -> Vec<(Timestamp, f64)> {
                let named = batch.series.iter().filter(|series| series.name == *name);
                named.flat_map(|series| series.points.clone()).collect()
            };
            assert_eq!(parts.iter().flat_map(of).collect::<Vec<_>>(), of(&whole));
        }
        assert_eq!(whole.clone().parts(0).len(), 103, "a point at least");
        assert_eq!(whole.clone().parts(1 << 20).len(), 1);
        assert!(Batch { at, series: Vec::new() }.parts(10).is_empty());
    }

    #[test]
    fn a_nan_is_either_a_stale_marker_or_any() {
        assert!(is_stale(canonical(STALE)));
        let of_prometheus = f64::from_bits(0x7ff8_0000_0000_0001);
        assert_eq!(canonical(of_prometheus).to_bits(), f64::NAN.to_bits());
        assert_eq!(canonical(-0.0).to_bits(), (-0.0_f64).to_bits());
    }
}
