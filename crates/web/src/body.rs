//! A scrape's body: it goes out in one write, and holds its place among the scrapes until it did.

use axum::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;

struct Held {
    text: Vec<u8>,
    /// Given back when the answer is written, not when it is made.
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// What many answers share and what is of this one, joined: a second write would wake the reader a
/// second time, which costs more than copying 50 kB does.
pub(crate) fn whole(pieces: [Bytes; 2], permit: Option<OwnedSemaphorePermit>) -> Bytes {
    Bytes::from_owner(Held { text: pieces.concat(), _permit: permit })
}
