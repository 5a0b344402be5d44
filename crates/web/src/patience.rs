//! A stream that waits for its client, but not for ever.
//!
//! A head that has begun must come within its time, so must a connection's first; between two
//! requests a connection may rest for longer (a scraper comes back every minute at most). A reader
//! who does not read is given up: it would keep its connection and its scrape's permit.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) rest: Duration,
    pub(crate) write: Duration,
}

/// Where a connection is between two requests; set by the stream and by who answers.
#[derive(Clone, Debug)]
pub(crate) struct Phase(Arc<AtomicU8>);

/// The head of a request is awaited and must come soon.
const HEAD: u8 = 0;
/// A request is being answered: its own deadline holds.
const BUSY: u8 = 1;
const REST: u8 = 2;

impl Phase {
    pub(crate) fn begin_answer(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    pub(crate) fn end_answer(&self) {
        self.0.store(REST, Ordering::Relaxed);
    }

    /// Whether a head is awaited that has begun, or is the connection's first.
    pub(crate) fn is_head(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }
}

#[derive(Debug)]
pub(crate) struct Patient<S> {
    /// TCP, or TLS over it.
    stream: S,
    patience: Patience,
    phase: Phase,
    /// Runs while a read waits, and of which phase it is.
    reading: Option<(u8, Pin<Box<Sleep>>)>,
    /// Runs while a write waits for the reader.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, patience: Patience) -> Patient<S> {
        let phase = Phase(Arc::new(AtomicU8::new(HEAD)));
        Patient { stream, patience, phase, reading: None, deadline: None }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.clone()
    }

    /// A read that has nothing yet fails once its phase has lasted too long.
    fn wait_to_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.phase.0.load(Ordering::Relaxed);
        let patience = match phase {
            HEAD => self.patience.head,
            REST => self.patience.rest,
            _ => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        if self.reading.as_ref().is_none_or(|(timed, _)| *timed != phase) {
            self.reading = Some((phase, Box::pin(sleep(patience))));
        }
        let Some((_, deadline)) = &mut self.reading else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A write fails when nothing of it could be sent for too long.
    fn bounded<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience.write;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.stream).poll_read(context, buffer)?.is_pending() {
            return self.wait_to_read(context);
        }
        // The first bytes after a rest begin a head; later ones do not give it more time.
        let begun = self.phase.0.compare_exchange(REST, HEAD, Ordering::Relaxed, Ordering::Relaxed);
        if begun.is_ok() {
            self.reading = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
