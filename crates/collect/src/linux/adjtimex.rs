//! The system call adjtimex(2), asked and never told: the one place of this crate with unsafe code.
//! No safe wrapper of it exists among the program's dependencies.

use std::io;

/// What the kernel says of its clock, in its own units (`struct timex`, include/uapi/linux/timex.h).
/// The fields' widths differ between machines; all of them fit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Clock {
    pub(super) offset: f64,
    pub(super) freq: f64,
    pub(super) maxerror: f64,
    pub(super) esterror: f64,
    pub(super) status: f64,
    pub(super) constant: f64,
    pub(super) tick: f64,
    pub(super) ppsfreq: f64,
    pub(super) jitter: f64,
    pub(super) shift: f64,
    pub(super) stabil: f64,
    pub(super) jitcnt: f64,
    pub(super) calcnt: f64,
    pub(super) errcnt: f64,
    pub(super) stbcnt: f64,
    pub(super) tai: f64,
}

/// The clock's state (`TIME_OK` … `TIME_ERROR`) and its figures.
pub(super) fn read() -> io::Result<(i32, Clock)> {
    let (state, timex) = call();
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    let clock = Clock {
        offset: timex.offset as f64,
        freq: timex.freq as f64,
        maxerror: timex.maxerror as f64,
        esterror: timex.esterror as f64,
        status: f64::from(timex.status),
        constant: timex.constant as f64,
        tick: timex.tick as f64,
        ppsfreq: timex.ppsfreq as f64,
        jitter: timex.jitter as f64,
        shift: f64::from(timex.shift),
        stabil: timex.stabil as f64,
        jitcnt: timex.jitcnt as f64,
        calcnt: timex.calcnt as f64,
        errcnt: timex.errcnt as f64,
        stbcnt: timex.stbcnt as f64,
        tai: f64::from(timex.tai),
    };
    Ok((state, clock))
}

#[expect(unsafe_code, reason = "adjtimex has no safe wrapper among the dependencies")]
fn call() -> (i32, libc::timex) {
    // SAFETY: `timex` is plain integers, for which zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex` behind the pointer, which is valid and ours for the
    // length of the call, and keeps no copy of it. `modes` is 0, so nothing is set.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state, timex)
}
