//! A body that goes out in one write, and holds its place among the scrapes until it did.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

#[derive(Debug)]
pub(crate) struct Whole {
    left: Option<Bytes>,
    /// Given back when the answer is written, not when it is made.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Whole {
    /// What many answers share and what is of this one, joined: a second write would wake the
    /// reader a second time, which costs more than copying 50 kB does.
    pub(crate) fn new(pieces: [Bytes; 2], permit: Option<OwnedSemaphorePermit>) -> Whole {
        let whole = pieces.concat();
        Whole { left: (!whole.is_empty()).then(|| whole.into()), _permit: permit }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.take().map(|whole| Ok(Frame::data(whole))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.as_ref().map_or(0, |whole| whole.len() as u64))
    }
}
