//! The way to the core for those that tell and treat: they run where nothing may block.

use std::{
    fmt,
    sync::mpsc::{SyncSender, TrySendError},
    time::Duration,
};

use farol_model::Record;
use tokio::sync::oneshot;

use crate::core::Event;

/// Between two looks at a mailbox that is full.
const PAUSE: Duration = Duration::from_millis(20);
/// A core that takes nothing for so long hangs with its disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Cheap to clone.
#[derive(Clone)]
pub struct Remember(SyncSender<Event>);

impl fmt::Debug for Remember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remember")
    }
}

impl Remember {
    pub fn new(core: SyncSender<Event>) -> Remember {
        Remember(core)
    }

    /// Resolves once the record is durable, or held while the disk is full; what it changes is
    /// published by then.
    pub async fn record(self, record: Record) -> Result<(), String> {
        let (ack, answer) = oneshot::channel();
        let taken = tokio::time::timeout(PATIENCE, self.hand_over(Event::Remember { record, ack }));
        match taken.await {
            Ok(Ok(())) => answer.await.unwrap_or_else(|_| Err(gone())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the journal's disk hangs".to_owned()),
        }
    }

    async fn hand_over(&self, mut event: Event) -> Result<(), String> {
        loop {
            event = match self.0.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(event)) => event,
                Err(TrySendError::Disconnected(_)) => return Err(gone()),
            };
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn gone() -> String {
    "the program is stopping".to_owned()
}
