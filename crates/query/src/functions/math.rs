//! Of one value by itself.

use std::f64::consts::PI;

use crate::ABSENT;

pub(super) fn abs(value: f64, _: &[f64]) -> f64 {
    value.abs()
}

pub(super) fn acos(value: f64, _: &[f64]) -> f64 {
    value.acos()
}

pub(super) fn acosh(value: f64, _: &[f64]) -> f64 {
    value.acosh()
}

pub(super) fn asin(value: f64, _: &[f64]) -> f64 {
    value.asin()
}

pub(super) fn asinh(value: f64, _: &[f64]) -> f64 {
    value.asinh()
}

pub(super) fn atan(value: f64, _: &[f64]) -> f64 {
    value.atan()
}

pub(super) fn atanh(value: f64, _: &[f64]) -> f64 {
    value.atanh()
}

pub(super) fn ceil(value: f64, _: &[f64]) -> f64 {
    value.ceil()
}

pub(super) fn clamp(value: f64, scalars: &[f64]) -> f64 {
    between(value, scalars[0], scalars[1])
}

pub(super) fn clamp_max(value: f64, scalars: &[f64]) -> f64 {
    between(value, f64::NEG_INFINITY, scalars[0])
}

pub(super) fn clamp_min(value: f64, scalars: &[f64]) -> f64 {
    between(value, scalars[0], f64::INFINITY)
}

pub(super) fn cos(value: f64, _: &[f64]) -> f64 {
    value.cos()
}

pub(super) fn cosh(value: f64, _: &[f64]) -> f64 {
    value.cosh()
}

pub(super) fn deg(value: f64, _: &[f64]) -> f64 {
    value * 180.0 / PI
}

pub(super) fn exp(value: f64, _: &[f64]) -> f64 {
    value.exp()
}

pub(super) fn floor(value: f64, _: &[f64]) -> f64 {
    value.floor()
}

pub(super) fn ln(value: f64, _: &[f64]) -> f64 {
    value.ln()
}

pub(super) fn log10(value: f64, _: &[f64]) -> f64 {
    value.log10()
}

pub(super) fn log2(value: f64, _: &[f64]) -> f64 {
    value.log2()
}

pub(super) fn rad(value: f64, _: &[f64]) -> f64 {
    value * PI / 180.0
}

/// To a multiple of the scalar, 1 if there is none; halves go up. Divided by the inverse, since that
/// loses less.
pub(super) fn round(value: f64, scalars: &[f64]) -> f64 {
    let inverse = 1.0 / scalars.first().copied().unwrap_or(1.0);
    (value * inverse + 0.5).floor() / inverse
}

/// -1, 1, or the value itself: zeros keep their sign.
pub(super) fn sgn(value: f64, _: &[f64]) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

pub(super) fn sin(value: f64, _: &[f64]) -> f64 {
    value.sin()
}

pub(super) fn sinh(value: f64, _: &[f64]) -> f64 {
    value.sinh()
}

pub(super) fn sqrt(value: f64, _: &[f64]) -> f64 {
    value.sqrt()
}

pub(super) fn tan(value: f64, _: &[f64]) -> f64 {
    value.tan()
}

pub(super) fn tanh(value: f64, _: &[f64]) -> f64 {
    value.tanh()
}

fn between(value: f64, lowest: f64, highest: f64) -> f64 {
    if highest < lowest { ABSENT } else { greater(lowest, lesser(highest, value)) }
}

/// Unlike Rust's `max`: what is not a number wins, except against infinity.
fn greater(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

fn lesser(a: f64, b: f64) -> f64 {
    -greater(-a, -b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    /// Equal, or both not numbers; zeros with their sign.
    fn same(a: f64, b: f64) -> bool {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
    }

    #[test]
    fn limits_hold_and_are_passed_by_nothing_but_nan() {
        for (value, lowest, highest, expected) in [
            (5.0, 0.0, 3.0, 3.0),
            (-5.0, 0.0, 3.0, 0.0),
            (2.0, 0.0, 3.0, 2.0),
            (2.0, 2.5, 2.5, 2.5),
            (NAN, 0.0, 3.0, NAN),
            (2.0, NAN, 3.0, NAN),
            (2.0, 0.0, NAN, NAN),
            (NAN, INF, INF, INF),
            (NAN, -INF, -INF, -INF),
            (-0.0, -INF, 0.0, -0.0),
            (-0.0, 0.0, INF, 0.0),
        ] {
            let got = clamp(value, &[lowest, highest]);
            assert!(same(got, expected), "{value} in {lowest}..{highest}: {got}");
        }
        assert!(crate::is_absent(clamp(1.0, &[3.0, 2.0])));
        assert!(!crate::is_absent(clamp_max(1.0, &[NAN])));
    }

    #[test]
    fn halves_go_up_to_a_multiple() {
        for (value, to, expected) in [
            (2.5, 1.0, 3.0),
            (-2.5, 1.0, -2.0),
            (5.015, 0.1, 5.0),
            (-0.2, 1.0, 0.0),
            (7.0, 5.0, 5.0),
            (INF, 1.0, INF),
            (1.0, 0.0, NAN),
            (1.0, NAN, NAN),
        ] {
            let got = round(value, &[to]);
            assert!(same(got, expected), "round({value}, {to}) = {got}");
        }
        assert!(same(round(0.5, &[]), 1.0));
    }

    #[test]
    fn signs_are_kept_where_there_is_nothing_else() {
        for (value, sign) in [(-INF, -1.0), (3.0, 1.0), (-0.0, -0.0), (0.0, 0.0), (NAN, NAN)] {
            assert!(same(sgn(value, &[]), sign));
        }
    }
}
