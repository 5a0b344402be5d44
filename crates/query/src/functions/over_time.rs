//! Aggregations of the samples in a window.

use crate::eval::Windows;

pub(super) fn avg(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn count(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn first(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn last(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn mad(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn max(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn min(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn present(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn quantile(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn stddev(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn stdvar(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn sum(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn ts_of_first(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn ts_of_last(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn ts_of_max(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}

pub(super) fn ts_of_min(windows: &mut Windows<'_, '_>) {
    let _ = windows;
    todo!()
}
