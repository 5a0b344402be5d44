//! An HTTP server that answers as it is told to, and keeps what it was asked.

use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    head: String,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Reads the request and never answers.
    Hang,
    /// Closes without a word.
    Close,
    /// Closes in the middle of the body.
    Torn,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: body.to_string() }
    }

    pub(crate) fn text(status: u16, body: &str) -> Reply {
        Reply::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }
}

pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Handler = Arc<Mutex<dyn FnMut(&Request) -> Reply + Send>>;

impl Server {
    pub(crate) async fn start(handle: impl FnMut(&Request) -> Reply + Send + 'static) -> Server {
        Server::begin(handle, None).await
    }

    /// With a certificate for `localhost`, which is returned for those who shall trust it.
    pub(crate) async fn start_tls(
        handle: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> (Server, rustls::pki_types::CertificateDer<'static>) {
        let (acceptor, certificate) = acceptor();
        (Server::begin(handle, Some(acceptor)).await, certificate)
    }

    async fn begin(
        handle: impl FnMut(&Request) -> Reply + Send + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let handler: Handler = Arc::new(Mutex::new(handle));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, handler, tls) = (Arc::clone(&kept), Arc::clone(&handler), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &kept, &handler).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => answer(stream, &kept, &handler).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Server { port, requests, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn acceptor() -> (TlsAcceptor, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}

/// One request and its answer; a client that goes away ends it.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    kept: &Mutex<Vec<Request>>,
    handler: &Handler,
) -> Option<()> {
    let request = read(&mut stream).await?;
    kept.lock().unwrap().push(request.clone());
    let reply = (handler.lock().unwrap())(&request);
    match reply {
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()?;
        }
        Reply::Hang => std::future::pending::<()>().await,
        Reply::Close => {}
        Reply::Torn => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{\"id\"").await.ok()?;
        }
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        (stream.read_buf(&mut bytes).await.ok()? > 0).then_some(())?;
    };
    let head = String::from_utf8(bytes.get(..end)?.to_vec()).ok()?;
    let mut words = head.lines().next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request { method, path, head, body: Value::Null };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        (stream.read_buf(&mut body).await.ok()? > 0).then_some(())?;
    }
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(request)
}
