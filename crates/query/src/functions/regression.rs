//! Lines through the samples of a window.

use crate::eval::Windows;

pub(super) fn deriv(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn double_exponential_smoothing(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn predict_linear(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}
