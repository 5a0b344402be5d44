//! What the system says to the program (signals) and what the program says to the service manager.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) struct Signals {
    pub(crate) terminate: Signal,
    pub(crate) interrupt: Signal,
    pub(crate) hang_up: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// A second signal to stop exits at once: the journal survives that as it survives a power cut.
pub(crate) fn exit_on_a_second(mut signals: Signals) {
    tokio::spawn(async move {
        tokio::select! {
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        }
        exit_now();
    });
}

#[expect(clippy::exit, reason = "the second signal asks for exactly this")]
fn exit_now() -> ! {
    std::process::exit(130)
}

pub(crate) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    sd_notify::notify(state).ok();
}

/// Half of what the service manager allows; without one, a tick that does nothing.
pub(crate) fn watchdog_interval() -> Duration {
    let half = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
    half.unwrap_or(Duration::from_secs(3600)).max(Duration::from_millis(1))
}
