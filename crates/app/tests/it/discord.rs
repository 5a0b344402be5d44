//! A Discord webhook as a real HTTP server, with the limits that the real one has: the sizes of a
//! message, its rate, and the ids by which a message is changed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The part of the address that nobody may see.
pub(crate) const TOKEN: &str = "s3cret-t0ken-of-the-webhook";
/// So many requests in so long; beyond it 429.
const RATE: (usize, Duration) = (5, Duration::from_secs(2));

#[derive(Clone)]
pub(crate) struct Discord {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By id, as they are now.
    messages: Vec<Value>,
    /// Method and status of each request, in order.
    requests: Vec<(String, u16)>,
    /// What was wrong with requests, in words.
    faults: Vec<String>,
    /// Of the requests in the window.
    lately: Vec<Instant>,
    is_down: bool,
}

impl Discord {
    pub(crate) fn start() -> Discord {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let discord = Discord { port, state: Arc::default() };
        let server = discord.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        discord
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/webhooks/123/{TOKEN}", self.port)
    }

    pub(crate) fn messages(&self) -> Vec<Value> {
        self.state.lock().unwrap().messages.clone()
    }

    /// As long as it is down every request is answered 503.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    pub(crate) fn requests(&self) -> Vec<(String, u16)> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.state.lock().unwrap().faults.clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((method, path, body)) = read(&mut reader) {
            let (status, headers, answer) = self.answer(&method, &path, &body);
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
                answer.len()
            );
            if stream.write_all((head + &answer).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, String, Value) {
        let mut state = self.state.lock().unwrap();
        if state.is_down {
            state.requests.push((method.to_owned(), 503));
            return (
                503,
                String::new(),
                json!({ "message": "503: Service Unavailable", "code": 0 }),
            );
        }
        let now = Instant::now();
        state.lately.retain(|at| now.duration_since(*at) < RATE.1);
        if state.lately.len() >= RATE.0 {
            let wait = RATE.1.saturating_sub(now.duration_since(state.lately[0])).as_secs_f64();
            state.requests.push((method.to_owned(), 429));
            let headers = format!("Retry-After: {}\r\nX-RateLimit-Scope: user\r\n", wait.ceil());
            let body = json!({ "message": "You are being rate limited.", "retry_after": wait, "global": false });
            return (429, headers, body);
        }
        state.lately.push(now);
        let left = RATE.0 - state.lately.len();
        let headers = format!(
            "X-RateLimit-Limit: {}\r\nX-RateLimit-Remaining: {left}\r\nX-RateLimit-Reset-After: {}\r\nX-RateLimit-Bucket: abc\r\n",
            RATE.0,
            RATE.1.as_secs_f64()
        );
        let (status, answer) = state.take(method, path, body);
        state.requests.push((method.to_owned(), status));
        (status, headers, answer)
    }
}

impl State {
    fn take(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(rest) = path.strip_prefix(&format!("/api/webhooks/123/{TOKEN}")) else {
            return (404, json!({ "message": "Unknown Webhook", "code": 10015 }));
        };
        if let Some(fault) = fault_of(body) {
            self.faults.push(fault.clone());
            return (400, json!({ "message": fault, "code": 50035 }));
        }
        match (method, rest.strip_prefix("/messages/")) {
            ("POST", None) => {
                let id = (1_000_000 + self.messages.len()).to_string();
                let mut message = body.clone();
                message["id"] = id.into();
                self.messages.push(message.clone());
                if query.contains("wait=true") { (200, message) } else { (204, Value::Null) }
            }
            ("PATCH", Some(id)) => {
                let Some(message) = self.messages.iter_mut().find(|held| held["id"] == *id) else {
                    return (404, json!({ "message": "Unknown Message", "code": 10008 }));
                };
                for (key, value) in body.as_object().into_iter().flatten() {
                    message[key] = value.clone();
                }
                (200, message.clone())
            }
            _ => (405, json!({ "message": "405: Method Not Allowed", "code": 0 })),
        }
    }
}

/// What the real one refuses a message for.
fn fault_of(body: &Value) -> Option<String> {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    if length(&body["content"]) > 2000 {
        return Some("content is longer than 2000".into());
    }
    let none = Vec::new();
    let embeds = body["embeds"].as_array().unwrap_or(&none);
    if embeds.is_empty() && length(&body["content"]) == 0 {
        return Some("an empty message".into());
    }
    if embeds.len() > 10 {
        return Some(format!("{} embeds", embeds.len()));
    }
    let mut all = 0;
    for embed in embeds {
        let fields = embed["fields"].as_array().unwrap_or(&none);
        if fields.len() > 25 {
            return Some(format!("{} fields", fields.len()));
        }
        let mut parts = vec![
            ("title", &embed["title"], 256),
            ("description", &embed["description"], 4096),
            ("footer", &embed["footer"]["text"], 2048),
            ("author", &embed["author"]["name"], 256),
        ];
        for field in fields {
            parts.push(("field name", &field["name"], 256));
            parts.push(("field value", &field["value"], 1024));
            if length(&field["name"]) == 0 || length(&field["value"]) == 0 {
                return Some("an empty field".into());
            }
        }
        for (what, value, most) in parts {
            all += length(value);
            if length(value) > most {
                return Some(format!("{what} is longer than {most}"));
            }
        }
    }
    (all > 6000).then(|| format!("{all} characters over all embeds"))
}

/// Method, path and body of a request; null for a body that is no JSON.
pub(crate) fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, String, Value)> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, serde_json::from_slice(&body).unwrap_or_default()))
}
