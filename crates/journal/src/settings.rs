//! What can be configured about the journal.

use farol_disk::Access;
use farol_model::Stream;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A segment that has reached this length is followed by a new one.
    pub segment_bytes: u64,
    /// Space set aside on the disk, given to the events stream when the disk is full; 0 for none.
    pub reserve_bytes: u64,
    /// Mode and group of the files.
    pub access: Access,
    /// The zstd level for closed segments; none leaves them as they are.
    pub compression: Option<i32>,
    /// In the order of [`Stream::ALL`]; see [`Settings::retention`].
    pub retention: [Retention; Stream::ALL.len()],
}

/// How long and how much of a stream is kept. The newest segment always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days on which something was recorded, before the newest one.
    pub days: u64,
    /// Bytes on disk, compressed where it is.
    pub bytes: u64,
}

impl Settings {
    pub fn retention(&self, stream: Stream) -> Retention {
        self.retention[crate::names::index(stream)]
    }

    pub fn retention_mut(&mut self, stream: Stream) -> &mut Retention {
        &mut self.retention[crate::names::index(stream)]
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let bulk = Retention { days: 7, bytes: 512 << 20 };
        let events = Retention { days: 365, bytes: 64 << 20 };
        Settings {
            segment_bytes: 64 << 20,
            reserve_bytes: 16 << 20,
            access: Access::default(),
            compression: Some(3),
            retention: [bulk, events, bulk, bulk],
        }
    }
}
