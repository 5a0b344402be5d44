//! A body of two pieces: what many answers share, and what is of this one.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// Sent without being joined: the shared piece is not copied.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// In reverse; the last one goes first.
    left: Vec<Bytes>,
    /// Given back when the answer is written, not when it is made.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    pub(crate) fn new(pieces: [Bytes; 2], permit: Option<OwnedSemaphorePermit>) -> Pieces {
        let left = pieces.into_iter().rev().filter(|piece| !piece.is_empty()).collect();
        Pieces { left, _permit: permit }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.pop().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.iter().map(|piece| piece.len() as u64).sum())
    }
}
