//! What has changed in a window: `rate`, `increase`, `delta` and their kin.

use crate::eval::Windows;

pub(super) fn changes(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn delta(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn idelta(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn increase(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn irate(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn rate(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn resets(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}
