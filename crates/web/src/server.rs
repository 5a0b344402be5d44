//! Connections: accepted by our own loop, so that each has a bound.
//!
//! At most `max_connections` are served; one more is told so with a 503 and closed. A handshake and
//! a head must come within their time (`patience` sees to the head's) and a head within its size
//! (hyper does). At the end the listeners close first, then requests in flight may finish, for at
//! most the request's own deadline. When TLS changes, connections made under what it was end after
//! the request in flight: a client that would not get in again does not stay in.

use std::{
    future::{Future, pending},
    io,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use crate::{
    answer::{Answerer, Ends},
    counts::Handshake,
    door::{Opening, Tls},
    patience::{Patience, Patient},
    site::Site,
};

/// Hyper answers 431 when a request's head is larger.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// How many connections beyond the limit are told so at once; further ones are just closed.
const MAX_REFUSALS: usize = 16;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection may rest between two requests: longer than scrapers do.
const REST: Duration = Duration::from_secs(150);
/// How long a head that has begun may still take when the server stops.
const HEAD_AT_STOP: Duration = Duration::from_secs(1);
/// When accepting fails (no file descriptors left), trying again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then lets requests in flight finish.
pub async fn serve(
    listeners: Vec<TcpListener>,
    site: Site,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let patience = site.settings.request_timeout;
    let (stopping, is_stopping) = watch::channel(false);
    let server = Arc::new(Server {
        connections: Arc::new(Semaphore::new(site.settings.max_connections)),
        refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        patience: Patience { head: site.settings.header_timeout, rest: REST, write: patience },
        door: site.door.clone(),
        answerer: Arc::new(Answerer::new(site)?),
        is_stopping,
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept_until_stopped(Arc::clone(&server), listener));
    }
    stop.await;
    stopping.send_replace(true);
    // Each task ends with its last connection; dropping the set ends those that take too long.
    let finished = async { while accepting.join_next().await.is_some() {} };
    if timeout(patience, finished).await.is_err() {
        tracing::warn!("some requests did not finish within {patience:?} and were cut off");
    }
    Ok(())
}

struct Server {
    answerer: Arc<Answerer>,
    door: watch::Receiver<Opening>,
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    patience: Patience,
    is_stopping: watch::Receiver<bool>,
}

async fn accept_until_stopped(server: Arc<Server>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    let mut is_stopping = server.is_stopping.clone();
    // Said once, not at every try.
    let mut has_complained = false;
    loop {
        tokio::select! {
            () = until_stopping(&mut is_stopping) => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    has_complained = false;
                    admit(&server, stream, peer.ip(), &mut tasks);
                }
                Err(error) => {
                    if !std::mem::replace(&mut has_complained, true) {
                        tracing::warn!("could not accept a connection, trying on: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

fn admit(server: &Arc<Server>, stream: TcpStream, peer: IpAddr, tasks: &mut JoinSet<()>) {
    if let Ok(permit) = Arc::clone(&server.connections).try_acquire_owned() {
        tasks.spawn(connection(Arc::clone(server), stream, peer, permit));
        return;
    }
    server.answerer.counts().refused_connection();
    // Under TLS it could not be read.
    let is_plain = server.door.borrow().door.tls.is_none();
    if is_plain && let Ok(permit) = Arc::clone(&server.refusals).try_acquire_owned() {
        tasks.spawn(async move {
            tell(stream, TOO_MANY).await;
            drop(permit);
        });
    }
}

async fn connection(
    server: Arc<Server>,
    stream: TcpStream,
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are written whole; without this the last packet waits for an acknowledgement.
    stream.set_nodelay(true).ok();
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { local: local.ip().to_canonical(), peer: peer.to_canonical() };
    let tls = server.door.borrow().door.tls.clone();
    let Some(tls) = tls else { return talk(&server, stream, ends, None).await };
    // Boxed, so that a plain connection is no larger for it.
    Box::pin(async {
        if let Some(stream) = shake_hands(&server, stream, &tls).await {
            talk(&server, stream, ends, Some(&tls)).await;
        }
    })
    .await;
}

/// A handshake begins with the record type 22; HTTP with a letter.
const HANDSHAKE_RECORD: u8 = 22;

async fn shake_hands(
    server: &Server,
    stream: TcpStream,
    tls: &Tls,
) -> Option<TlsStream<TcpStream>> {
    let counts = server.answerer.counts();
    let shake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE_RECORD] {
            tell(stream, NOT_PLAIN).await;
            return Ok(None);
        }
        tls.acceptor().accept(stream).await.map(Some)
    };
    let mut is_stopping = server.is_stopping.clone();
    let shaken = tokio::select! {
        shaken = timeout(server.patience.head, shake) => shaken,
        () = until_stopping(&mut is_stopping) => return None,
    };
    match shaken {
        Ok(Ok(Some(stream))) => return Some(stream),
        Ok(Ok(None)) => counts.failed_handshake(Handshake::Plain),
        Ok(Err(error)) => {
            counts.failed_handshake(Handshake::Failed);
            tracing::debug!("a TLS handshake failed: {error}");
        }
        Err(_) => counts.failed_handshake(Handshake::Slow),
    }
    None
}

/// HTTP over a stream, until either side ends it.
async fn talk<S>(server: &Server, stream: S, ends: Ends, tls: Option<&Arc<Tls>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answerer = Arc::clone(&server.answerer);
    let stream = Patient::new(stream, server.patience);
    let phase = stream.phase();
    let awaited = phase.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (answerer, phase) = (Arc::clone(&answerer), phase.clone());
        async move {
            phase.begin_answer();
            let response = answerer.answer(request, ends).await;
            phase.end_answer();
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            // The stream sees to it: hyper's own would end a connection at rest as well.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut is_stopping = server.is_stopping.clone();
    let mut door = server.door.clone();
    let is_over = async {
        tokio::select! {
            () = until_stopping(&mut is_stopping) => {}
            () = until_other_tls(&mut door, tls) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = is_over => {
            connection.as_mut().graceful_shutdown();
            match timeout(HEAD_AT_STOP, connection.as_mut()).await {
                Ok(ended) => ended,
                // Half a head is no request in flight.
                Err(_) if awaited.is_head() => return,
                Err(_) => connection.await,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended early: {error}");
    }
}

async fn until_other_tls(door: &mut watch::Receiver<Opening>, held: Option<&Arc<Tls>>) {
    let is_other = |opening: &Opening| match (&opening.door.tls, held) {
        (Some(current), Some(held)) => !Arc::ptr_eq(current, held),
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    };
    if door.wait_for(is_other).await.is_err() {
        // Nobody is left who could change it.
        pending::<()>().await;
    }
}

async fn until_stopping(is_stopping: &mut watch::Receiver<bool>) {
    // An error means that the server itself is gone: stop all the same.
    is_stopping.wait_for(|stopping| *stopping).await.ok();
}

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: 53\r\n\r\nthis port speaks TLS: ask with https:// and not http\n";

/// Tells a client what is the matter, so that it sees a status and not a reset.
async fn tell(mut stream: TcpStream, answer: &[u8]) {
    let tell = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        // Closing with the request unread would reset the connection and lose the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that does not listen is none of our concern.
    timeout(REFUSAL_PATIENCE, tell).await.ok();
}
