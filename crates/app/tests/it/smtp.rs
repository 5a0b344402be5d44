//! A mail server that takes everything, with STARTTLS or with TLS from the first byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::world::write;

pub(crate) struct Smtp {
    pub(crate) port: u16,
    /// Each line that a client said, with `tls ` before it where nobody could listen.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    /// Writes down whom to trust.
    pub(crate) fn start(tls_at_once: bool, certificate: &Path) -> Smtp {
        let config = server_config(certificate);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let ears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let secured = || ServerConnection::new(Arc::clone(&config)).unwrap();
                if tls_at_once {
                    talk(&mut StreamOwned::new(secured(), stream), &ears, "tls ", true);
                } else if talk(&mut stream, &ears, "", true) == Some(End::StartTls) {
                    talk(&mut StreamOwned::new(secured(), stream), &ears, "tls ", false);
                }
            }
        });
        Smtp { port, heard }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The lines that begin so, where nobody could listen.
    pub(crate) fn heard_in_secret(&self, beginning: &str) -> Vec<String> {
        let beginning = format!("tls {beginning}");
        self.heard().into_iter().filter(|line| line.starts_with(&beginning)).collect()
    }
}

fn server_config(certificate: &Path) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(certificate, &made.cert.pem());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

#[derive(PartialEq)]
enum End {
    StartTls,
    Quit,
}

/// Nothing when the client goes away.
fn talk(
    stream: &mut (impl Read + Write),
    heard: &Mutex<Vec<String>>,
    mark: &str,
    greets: bool,
) -> Option<End> {
    if greets {
        stream.write_all(b"220 fake\r\n").ok()?;
    }
    let mut stream = BufReader::new(stream);
    let mut is_data = false;
    loop {
        let mut line = String::new();
        (stream.read_line(&mut line).ok()? > 0).then_some(())?;
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push(format!("{mark}{line}"));
        if is_data && line != "." {
            continue;
        }
        let word = line.split(' ').next().unwrap_or_default();
        is_data = word == "DATA";
        let answer = match word {
            "EHLO" if mark.is_empty() => "250-fake\r\n250 STARTTLS",
            "EHLO" => "250-fake\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "STARTTLS" => "220 go on",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).ok()?;
        stream.get_mut().flush().ok()?;
        match word {
            "STARTTLS" => return Some(End::StartTls),
            "QUIT" => return Some(End::Quit),
            _ => {}
        }
    }
}
