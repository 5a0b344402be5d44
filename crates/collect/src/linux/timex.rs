//! `timex`: how well the machine's clock is kept. Source: the system call adjtimex(2)
//! (kernel/time/ntp.c), asked in a way that changes nothing.
//!
//! There is no file of it, so a recorded machine has none: the clock of the machine that runs the
//! test is not its.

use std::io;

use farol_model::{Lane, Metric};

use super::adjtimex;
use crate::{CollectError, Collector, Entry, Host, Options, OptionsError, Scope, Scrape};

const SYNC_STATUS: Metric = Metric::gauge(
    "node_timex_sync_status",
    "",
    "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
);
const OFFSET: Metric = Metric::gauge(
    "node_timex_offset_seconds",
    "seconds",
    "Time offset in between local system and reference clock.",
);
const FREQUENCY: Metric = Metric::gauge(
    "node_timex_frequency_adjustment_ratio",
    "ratio",
    "Local clock frequency adjustment.",
);
const MAXERROR: Metric =
    Metric::gauge("node_timex_maxerror_seconds", "seconds", "Maximum error in seconds.");
const ESTERROR: Metric =
    Metric::gauge("node_timex_estimated_error_seconds", "seconds", "Estimated error in seconds.");
const STATUS: Metric = Metric::gauge("node_timex_status", "", "Value of the status array bits.");
const CONSTANT: Metric =
    Metric::gauge("node_timex_loop_time_constant", "", "Phase-locked loop time constant.");
const TICK: Metric =
    Metric::gauge("node_timex_tick_seconds", "seconds", "Seconds between clock ticks.");
const PPS_FREQUENCY: Metric =
    Metric::gauge("node_timex_pps_frequency_hertz", "hertz", "Pulse per second frequency.");
const PPS_JITTER: Metric =
    Metric::gauge("node_timex_pps_jitter_seconds", "seconds", "Pulse per second jitter.");
const PPS_SHIFT: Metric =
    Metric::gauge("node_timex_pps_shift_seconds", "seconds", "Pulse per second interval duration.");
const PPS_STABILITY: Metric = Metric::gauge(
    "node_timex_pps_stability_hertz",
    "hertz",
    "Pulse per second stability, average of recent frequency changes.",
);
const PPS_JITTERS: Metric = Metric::counter(
    "node_timex_pps_jitter_total",
    "",
    "Pulse per second count of jitter limit exceeded events.",
);
const PPS_CALIBRATIONS: Metric = Metric::counter(
    "node_timex_pps_calibration_total",
    "",
    "Pulse per second count of calibration intervals.",
);
const PPS_ERRORS: Metric = Metric::counter(
    "node_timex_pps_error_total",
    "",
    "Pulse per second count of calibration errors.",
);
const PPS_INSTABILITIES: Metric = Metric::counter(
    "node_timex_pps_stability_exceeded_total",
    "",
    "Pulse per second count of stability limit exceeded events.",
);
const TAI: Metric = Metric::gauge(
    "node_timex_tai_offset_seconds",
    "seconds",
    "International Atomic Time (TAI) offset.",
);

pub(crate) const ENTRY: Entry = Entry {
    name: "timex",
    about: "how well the machine's clock is kept",
    on: true,
    lane: Lane::Slow,
    scope: Scope::Kernel,
    reads: &["adjtimex(2)"],
    metrics: &[
        SYNC_STATUS,
        OFFSET,
        FREQUENCY,
        MAXERROR,
        ESTERROR,
        STATUS,
        CONSTANT,
        TICK,
        PPS_FREQUENCY,
        PPS_JITTER,
        PPS_SHIFT,
        PPS_STABILITY,
        PPS_JITTERS,
        PPS_CALIBRATIONS,
        PPS_ERRORS,
        PPS_INSTABILITIES,
        TAI,
    ],
    build,
};

fn build(_options: &Options) -> Result<Box<dyn Collector>, OptionsError> {
    Ok(Box::new(Timex))
}

struct Timex;

impl Collector for Timex {
    fn collect(&mut self, host: &Host, out: &mut Scrape) -> Result<(), CollectError> {
        if !host.is_this_kernel() {
            return Err(CollectError::Absent("a recorded machine has no clock to ask".into()));
        }
        let (state, clock) = adjtimex::read().map_err(|error| match error.kind() {
            // A container may be denied the call, although it would change nothing.
            io::ErrorKind::PermissionDenied => {
                CollectError::Absent(format!("adjtimex is not allowed here: {error}"))
            }
            _ => CollectError::Failed(format!("adjtimex: {error}")),
        })?;
        push(state, &clock, out);
        Ok(())
    }
}

fn push(state: i32, clock: &adjtimex::Clock, out: &mut Scrape) {
    const TIME_ERROR: i32 = 5;
    const STA_NANO: f64 = 8192.0;
    const MICROSECOND: f64 = 1e-6;
    /// Frequencies are in parts per million, with 16 bits of fraction.
    const SCALED_PPM: f64 = 65_536.0 * 1e6;
    let is_nano = (clock.status / STA_NANO) as i64 % 2 == 1;
    let unit = if is_nano { 1e9 } else { 1e6 };
    let values = [
        (SYNC_STATUS, f64::from(u8::from(state != TIME_ERROR))),
        (OFFSET, clock.offset / unit),
        (FREQUENCY, 1.0 + clock.freq / SCALED_PPM),
        (MAXERROR, clock.maxerror * MICROSECOND),
        (ESTERROR, clock.esterror * MICROSECOND),
        (STATUS, clock.status),
        (CONSTANT, clock.constant),
        (TICK, clock.tick * MICROSECOND),
        (PPS_FREQUENCY, clock.ppsfreq / SCALED_PPM),
        (PPS_JITTER, clock.jitter / unit),
        (PPS_SHIFT, clock.shift),
        (PPS_STABILITY, clock.stabil / SCALED_PPM),
        (PPS_JITTERS, clock.jitcnt),
        (PPS_CALIBRATIONS, clock.calcnt),
        (PPS_ERRORS, clock.errcnt),
        (PPS_INSTABILITIES, clock.stbcnt),
        (TAI, clock.tai),
    ];
    for (metric, value) in values {
        out.push(metric.name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(out: &Scrape, metric: Metric) -> f64 {
        out.samples().iter().find(|sample| sample.name == *metric.name).unwrap().value
    }

    #[test]
    fn the_unit_of_the_offset_is_in_the_status() {
        let clock =
            adjtimex::Clock { offset: 1500.0, freq: 65_536.0, ..adjtimex::Clock::default() };
        let mut out = Scrape::new();
        push(5, &clock, &mut out);
        assert_eq!(value(&out, OFFSET), 0.0015);
        assert_eq!(value(&out, FREQUENCY), 1.000_001);
        assert_eq!(value(&out, SYNC_STATUS), 0.0);
        let mut out = Scrape::new();
        push(0, &adjtimex::Clock { status: 8193.0, ..clock }, &mut out);
        assert_eq!(value(&out, OFFSET), 0.000_001_5);
        assert_eq!(value(&out, SYNC_STATUS), 1.0);
    }

    #[test]
    fn a_recorded_machine_has_no_clock_of_ours() {
        let place = tempfile::tempdir().unwrap();
        let result = Timex.collect(&Host::recorded(place.path()), &mut Scrape::new());
        assert!(matches!(result, Err(CollectError::Absent(_))));
    }

    #[test]
    fn this_machine_ticks() {
        let (_, clock) = adjtimex::read().unwrap();
        assert!((9_000.0..=11_000.0).contains(&clock.tick), "{}", clock.tick);
    }
}
