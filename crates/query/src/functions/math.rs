//! Of one value by itself.

pub(super) fn abs(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn acos(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn acosh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn asin(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn asinh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn atan(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn atanh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn ceil(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn clamp(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn clamp_max(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn clamp_min(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn cos(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn cosh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn deg(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn exp(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn floor(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn ln(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn log10(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn log2(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn rad(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn round(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn sgn(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn sin(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn sinh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn sqrt(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn tan(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}

pub(super) fn tanh(value: f64, scalars: &[f64]) -> f64 {
    let _ = (value, scalars);
    todo!()
}
