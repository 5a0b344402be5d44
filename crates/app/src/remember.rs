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

/// Why a record is not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unremembered {
    /// The program is stopping: nobody takes records any more.
    Gone,
    /// The disk's fault.
    Failed(String),
}

impl fmt::Display for Unremembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unremembered::Gone => f.write_str("the program is stopping"),
            Unremembered::Failed(why) => f.write_str(why),
        }
    }
}

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
    pub async fn record(self, record: Record) -> Result<(), Unremembered> {
        let (ack, answer) = oneshot::channel();
        let taken = tokio::time::timeout(PATIENCE, self.hand_over(Event::Remember { record, ack }));
        match taken.await {
            Ok(Ok(())) => match answer.await {
                Ok(result) => result.map_err(Unremembered::Failed),
                Err(_) => Err(Unremembered::Gone),
            },
            Ok(Err(gone)) => Err(gone),
            Err(_) => Err(Unremembered::Failed("the journal's disk hangs".to_owned())),
        }
    }

    async fn hand_over(&self, mut event: Event) -> Result<(), Unremembered> {
        loop {
            event = match self.0.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(event)) => event,
                Err(TrySendError::Disconnected(_)) => return Err(Unremembered::Gone),
            };
            tokio::time::sleep(PAUSE).await;
        }
    }
}
