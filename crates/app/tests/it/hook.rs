//! Any program that is told of alerts: an HTTP server that keeps what it is sent, by path.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::discord::read;

#[derive(Clone)]
pub(crate) struct Hook {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hook {
    pub(crate) fn start() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let hook = Hook { port, requests: Arc::default() };
        let server = hook.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        hook
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The bodies sent to this path, in order.
    pub(crate) fn told(&self, path: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let sent = requests.iter().filter(|(asked, _)| asked == path);
        sent.map(|(_, body)| body.clone()).collect()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((_, path, body)) = read(&mut reader) {
            self.requests.lock().unwrap().push((path, body));
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
