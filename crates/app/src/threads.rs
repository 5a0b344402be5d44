//! Ending threads: each wait has a deadline, because what a thread waits for may never come (a disk
//! that hangs, a mount whose server is gone). A thread that is left behind ends with the process.

use std::{
    sync::mpsc::{SyncSender, TrySendError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::clock;

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Whether the thread ended in time.
pub fn join_within(thread: JoinHandle<()>, patience: Duration) -> bool {
    let ended = within(patience, || thread.is_finished().then_some(())).is_some();
    if ended {
        // An error is a panic, which has told of itself.
        thread.join().ok();
    }
    ended
}

/// Whether the message was taken, or nobody is there any more to take it.
pub fn send_within<T>(to: &SyncSender<T>, message: T, patience: Duration) -> bool {
    let mut waiting = Some(message);
    let taken = within(patience, || match to.try_send(waiting.take()?) {
        Ok(()) | Err(TrySendError::Disconnected(_)) => Some(()),
        Err(TrySendError::Full(message)) => {
            waiting = Some(message);
            None
        }
    });
    taken.is_some()
}

fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = clock::lap() + patience;
    loop {
        let found = look();
        if found.is_some() || clock::lap() >= deadline {
            return found;
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_thread_that_ends_is_joined_and_one_that_hangs_is_left() {
        let (release, held) = sync_channel::<()>(0);
        let hanging = thread::spawn(move || held.recv().unwrap_or(()));
        assert!(!join_within(hanging, SHORT));
        drop(release);
        assert!(join_within(thread::spawn(|| {}), LONG));
    }

    #[test]
    fn a_full_mailbox_is_waited_for_but_not_for_ever() {
        let (sender, mailbox) = sync_channel(1);
        assert!(send_within(&sender, 1, SHORT));
        assert!(!send_within(&sender, 2, SHORT));
        assert_eq!(mailbox.recv(), Ok(1));
        assert!(send_within(&sender, 3, SHORT));
        drop(mailbox);
        assert!(send_within(&sender, 4, SHORT), "there is nobody to wait for");
    }
}
