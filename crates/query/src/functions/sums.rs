//! Sums over many windows at once: faster than one after the other where that comes to the same, bit
//! for bit.

use crate::{eval::Windows, sum::Kahan};

const LANES: usize = 4;

/// So many samples are gone over before it is asked whether to go on.
const WORK: usize = 1 << 16;

/// The sum of each window, given to `result` with the count, over values of which no sum can
/// overflow: four windows side by side, each in its own order, so that the processor need not wait
/// for one addition before it begins the next. What a rounded addition loses is exactly
/// representable; Neumaier's comparison and the branchless way here both find exactly that.
pub(super) fn side_by_side(windows: &mut Windows<'_, '_>, result: impl Fn(Kahan, f64) -> f64) {
    let mut work = 0;
    for (outs, bounds) in windows.out.chunks_mut(LANES).zip(windows.bounds.chunks(LANES)) {
        let mut four = [&windows.values[..0]; LANES];
        for (window, (from, to)) in four.iter_mut().zip(bounds) {
            *window = &windows.values[*from as usize..*to as usize];
            work += window.len();
        }
        if work > WORK {
            if !(windows.goes_on)() {
                return;
            }
            work = 0;
        }
        for ((out, sum), window) in outs.iter_mut().zip(four_sums(four)).zip(four) {
            if !window.is_empty() {
                *out = result(sum, window.len() as f64);
            }
        }
    }
}

fn four_sums(windows: [&[f64]; LANES]) -> [Kahan; LANES] {
    let common = windows.iter().map(|window| window.len()).min().unwrap_or(0);
    let mut sums = [0.0; LANES];
    let mut lost = [0.0; LANES];
    let [a, b, c, d] = windows.map(|window| &window[..common]);
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        let values = [*a, *b, *c, *d];
        for lane in 0..LANES {
            let (before, value) = (sums[lane], values[lane]);
            let sum = before + value;
            let added = sum - before;
            lost[lane] += (before - (sum - added)) + (value - added);
            sums[lane] = sum;
        }
    }
    let mut lane = 0;
    windows.map(|window| {
        let mut sum = Kahan { sum: sums[lane], lost: lost[lane] };
        lane += 1;
        for value in &window[common..] {
            sum.add(*value);
        }
        sum
    })
}

/// Sums from the beginning up to each place, if every sum of neighbours is exact: all values are
/// multiples of one power of two, and so few of it that 53 bits hold their sum. Then the difference
/// of two is what adding up one by one comes to, bit for bit.
pub(super) struct PrefixSums(Vec<f64>);

impl PrefixSums {
    pub(super) fn exact(values: &[f64]) -> Option<PrefixSums> {
        let mut sums = Vec::with_capacity(values.len() + 1);
        let mut sum = 0.0;
        let mut absolute = 0.0;
        let mut unit = i32::MAX;
        sums.push(sum);
        for value in values {
            if !value.is_finite() {
                return None;
            }
            unit = unit.min(exponent_of_lowest_bit(*value));
            sum += value;
            absolute += value.abs();
            sums.push(sum);
        }
        // `absolute` may itself be rounded, but then it is far above the limit.
        let fits = unit == i32::MAX || absolute < exp2(unit.saturating_add(53));
        fits.then_some(PrefixSums(sums))
    }

    pub(super) fn between(&self, from: u32, to: u32) -> f64 {
        self.0[to as usize] - self.0[from as usize]
    }
}

/// Of what power of two a finite value is a whole multiple; zero is one of each.
fn exponent_of_lowest_bit(value: f64) -> i32 {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let fraction = bits & FRACTION;
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    if exponent == 0 {
        return if fraction == 0 { i32::MAX } else { -1074 + fraction.trailing_zeros() as i32 };
    }
    // The bit that is not written stands above the 52 that are.
    exponent - 1075 + (fraction | (1 << 52)).trailing_zeros() as i32
}

/// Two to a power, infinite or zero beyond what there is.
fn exp2(power: i32) -> f64 {
    2f64.powi(power.clamp(-1074, 1024))
}

/// Whether every sum of these is finite.
pub(super) fn never_overflows(values: &[f64]) -> bool {
    values.iter().map(|value| value.abs()).sum::<f64>().is_finite()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One after the other.
    fn slow(values: &[f64]) -> Kahan {
        let mut sum = Kahan::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[test]
    fn prefix_sums_are_refused_where_they_would_round() {
        assert!(PrefixSums::exact(&[0.1, 0.2]).is_none());
        assert!(PrefixSums::exact(&[9_007_199_254_740_991.0, 1.0]).is_none());
        assert!(PrefixSums::exact(&[1.0, f64::NAN]).is_none());
        assert!(PrefixSums::exact(&[1.0, f64::INFINITY]).is_none());
        assert!(PrefixSums::exact(&[5e-324, 1.0]).is_none());
        for exact in [&[0.5, 1024.25, -3.0][..], &[1e300, 0.0][..], &[-0.0][..], &[5e-324, 5e-324]]
        {
            let sums = PrefixSums::exact(exact).expect("these have room");
            let all = sums.between(0, exact.len() as u32);
            assert_eq!(all.to_bits(), slow(exact).value().to_bits(), "{exact:?}");
        }
    }

    proptest! {
        #[test]
        fn four_side_by_side_are_what_one_after_the_other_comes_to(
            values in prop::collection::vec(-1e200..1e200f64, 0..60),
            cuts in prop::array::uniform4((0usize..60, 0usize..60)),
        ) {
            prop_assert!(never_overflows(&values));
            let windows = cuts.map(|(a, b)| {
                &values[a.min(b).min(values.len())..a.max(b).min(values.len())]
            });
            for (sum, window) in four_sums(windows).into_iter().zip(windows) {
                prop_assert_eq!(sum.sum.to_bits(), slow(window).sum.to_bits());
                prop_assert_eq!(sum.lost.to_bits(), slow(window).lost.to_bits());
            }
        }

        #[test]
        fn exact_prefix_sums_are_kahan_sums(
            values in prop::collection::vec((-1_000_000i64..1_000_000).prop_map(|n| n as f64 / 8.0), 1..60),
            from in 0usize..60,
        ) {
            let from = from % values.len();
            let sums = PrefixSums::exact(&values).expect("eighths are exact");
            let slow = slow(&values[from..]).value();
            prop_assert_eq!(sums.between(from as u32, values.len() as u32).to_bits(), slow.to_bits());
        }
    }
}
