//! How many questions are answered at once, how many may wait, and when one is given up.
//!
//! A question is worked on on the blocking pool and holds its permit until that work has ended,
//! even when nobody waits for it any more: so permits bound the work, whatever clients do. Nobody
//! ends a thread from outside; a question asks its [`Ticket`] again and again whether to go on.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use farol_query::Stop;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// So many may wait for each that is worked on; Grafana asks for all panels of a board together.
const WAITING_EACH: usize = 32;

#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    most: usize,
    seats: Semaphore,
    most_waiting: usize,
}

/// Why a question was not even begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// As many wait as may.
    Full,
    /// Its time was over before it was its turn.
    Late,
}

impl Gate {
    pub(crate) fn new(most: usize) -> Gate {
        let most = most.clamp(1, Semaphore::MAX_PERMITS / WAITING_EACH);
        let most_waiting = most * WAITING_EACH;
        Gate {
            permits: Arc::new(Semaphore::new(most)),
            most,
            seats: Semaphore::new(most_waiting),
            most_waiting,
        }
    }

    /// In the order in which they come.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Turned> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let Ok(_seat) = self.seats.try_acquire() else { return Err(Turned::Full) };
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => Ok(permit.expect("nobody closes the gate")),
            Err(_) => Err(Turned::Late),
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.most.saturating_sub(self.permits.available_permits())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.most_waiting.saturating_sub(self.seats.available_permits())
    }
}

/// Whether a question is to go on; asked where it is worked on, told by who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU8);

const GO_ON: u8 = 0;
const TIMED_OUT: u8 = 1;
const CANCELED: u8 = 2;

impl Ticket {
    pub(crate) fn watch(&self) -> Option<Stop> {
        match self.0.load(Ordering::Relaxed) {
            GO_ON => None,
            TIMED_OUT => Some(Stop::TimedOut),
            _ => Some(Stop::Canceled),
        }
    }

    /// The first reason stays.
    pub(crate) fn give_up(&self, why: Stop) {
        let why = match why {
            Stop::TimedOut => TIMED_OUT,
            Stop::Canceled => CANCELED,
        };
        self.0.compare_exchange(GO_ON, why, Ordering::Relaxed, Ordering::Relaxed).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_no_more() {
        let gate = Arc::new(Gate::new(2));
        let late = Instant::now() + Duration::from_secs(60);
        let first = gate.enter(late).await.unwrap();
        let _second = gate.enter(late).await.unwrap();
        assert_eq!((gate.running(), gate.waiting()), (2, 0));
        let wait = |gate: &Arc<Gate>, deadline| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move { gate.enter(deadline).await.map(drop) })
        };
        let waiting: Vec<_> = (0..2 * WAITING_EACH).map(|_| wait(&gate, late)).collect();
        while gate.waiting() < 2 * WAITING_EACH {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.running(), 2);
        assert_eq!(gate.enter(late).await.unwrap_err(), Turned::Full);
        // One goes, and all that wait pass one after the other.
        drop(first);
        for waiting in waiting {
            waiting.await.unwrap().unwrap();
        }
        assert_eq!((gate.running(), gate.waiting()), (1, 0));
    }

    #[tokio::test]
    async fn who_waits_too_long_or_goes_away_leaves_the_seat() {
        let gate = Arc::new(Gate::new(1));
        let _running = gate.enter(Instant::now()).await.unwrap();
        let soon = Instant::now();
        assert_eq!(gate.enter(soon).await.unwrap_err(), Turned::Late);
        assert_eq!(gate.waiting(), 0);
        let gone = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(Instant::now() + Duration::from_secs(3600)).await.map(drop) }
        });
        while gate.waiting() < 1 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn the_first_reason_to_give_up_stays() {
        let ticket = Ticket::default();
        assert_eq!(ticket.watch(), None);
        ticket.give_up(Stop::TimedOut);
        ticket.give_up(Stop::Canceled);
        assert_eq!(ticket.watch(), Some(Stop::TimedOut));
    }
}
