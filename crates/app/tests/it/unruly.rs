//! A receiver of Alertmanager's webhook body that misbehaves by a seed: it answers 429 with
//! `Retry-After`, 500 and 404, hangs and closes, in turn, at uneven distances. It keeps what it was told
//! and what was asked of it while it had forbidden that, whoever asks and however often that was killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::discord;

/// What `Retry-After` says.
const WINDOW: Duration = Duration::from_secs(1);
/// Longer than anybody waits for an answer here.
const HANG: Duration = Duration::from_secs(2);
/// What was under way when a window began is in nobody's hands.
const UNDER_WAY: Duration = Duration::from_millis(50);

/// xorshift: the same each time.
#[derive(Clone, Copy)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    TooMany,
    Broken,
    Hangs,
    NotThere,
    Closes,
}

const FAULTS: [Fault; 5] =
    [Fault::TooMany, Fault::Broken, Fault::Hangs, Fault::NotThere, Fault::Closes];

/// One alert in one message that was answered with 200.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) item: String,
    pub(crate) fires: bool,
    pub(crate) began: String,
}

/// A time in which a channel may not be spoken to.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    until: Instant,
    /// When it was demanded, by the clock; milliseconds.
    at: i64,
    /// How many kills there had been.
    life: usize,
}

/// A request in a window, and whether the one who was told of it had been killed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inside {
    pub(crate) after_a_kill: bool,
    /// When the window was demanded, and when it was asked all the same; milliseconds.
    pub(crate) demanded_at: i64,
    pub(crate) asked_at: i64,
}

#[derive(Default)]
pub(crate) struct Heard {
    /// By channel, the last part of the path: the messages in order.
    pub(crate) messages: BTreeMap<String, Vec<BTreeSet<Line>>>,
    pub(crate) faults: BTreeMap<Fault, usize>,
    pub(crate) inside: BTreeMap<String, Vec<Inside>>,
    pub(crate) requests: u64,
}

impl Heard {
    /// How each item stands by what the channel was told last.
    pub(crate) fn standing(&self, channel: &str) -> BTreeMap<&str, bool> {
        let messages = self.messages.get(channel).into_iter().flatten();
        messages.flatten().map(|line| (line.item.as_str(), line.fires)).collect()
    }

    pub(crate) fn inside(&self, after_a_kill: bool) -> usize {
        let all = self.inside.values().flatten();
        all.filter(|inside| inside.after_a_kill == after_a_kill).count()
    }

    pub(crate) fn told(&self, channel: &str) -> usize {
        self.messages.get(channel).map_or(0, Vec::len)
    }

    /// Messages that say nothing that was not said: the same as an earlier one about the same items.
    pub(crate) fn duplicates(&self, channel: &str) -> usize {
        let mut last: BTreeMap<&str, (bool, &str)> = BTreeMap::new();
        let mut count = 0;
        for message in self.messages.get(channel).into_iter().flatten() {
            let mut is_new = false;
            for line in message {
                let now = (line.fires, line.began.as_str());
                is_new |= last.insert(&line.item, now) != Some(now);
            }
            count += usize::from(!is_new);
        }
        count
    }
}

struct State {
    heard: Heard,
    chance: Chance,
    /// The request at which the next fault is due, and which.
    fault: (u64, usize),
    windows: BTreeMap<String, Window>,
    kills: usize,
    /// At which request somebody is to be killed, and whether before it is answered.
    kill: Option<(u64, bool)>,
}

#[derive(Clone)]
pub(crate) struct Unruly {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// Asks for a kill; taken when it was done.
    ask: SyncSender<SyncSender<()>>,
}

impl Unruly {
    /// And what asks for kills: each time with whom to tell that it was done.
    pub(crate) fn start(seed: u64) -> (Unruly, Receiver<SyncSender<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ask, asked) = sync_channel(1);
        let state = State {
            heard: Heard::default(),
            chance: Chance(seed),
            fault: (3, 0),
            windows: BTreeMap::new(),
            kills: 0,
            kill: None,
        };
        let unruly = Unruly { port, state: Arc::new(Mutex::new(state)), ask };
        let server = unruly.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        (unruly, asked)
    }

    pub(crate) fn url(&self, channel: &str) -> String {
        format!("http://127.0.0.1:{}/{channel}", self.port)
    }

    /// So many requests from now on a kill is asked for, before or after that one's answer.
    pub(crate) fn kill_within(&self, least: u64, most: u64) {
        let mut state = self.state.lock().unwrap();
        let at = state.heard.requests + state.chance.between(least, most);
        let is_before = state.chance.between(0, 1) == 0;
        state.kill = Some((at, is_before));
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Heard) -> T) -> T {
        at(&self.state.lock().unwrap().heard)
    }

    fn serve(&self, stream: TcpStream) {
        let accepted = Instant::now();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((_, path, body)) = discord::read(&mut reader) {
            let channel = path.trim_start_matches('/').to_owned();
            if self.answer(&mut stream, accepted, &channel, &body).is_none() {
                return;
            }
        }
    }

    /// `None` closes the connection.
    fn answer(
        &self,
        stream: &mut TcpStream,
        accepted: Instant,
        channel: &str,
        body: &Value,
    ) -> Option<()> {
        let (answer, kill) = self.decide(accepted, channel);
        if kill == Some(true) {
            self.let_kill();
            return None;
        }
        match answer {
            Answer::Yes => {
                say(stream, "200 OK", "")?;
                let mut state = self.state.lock().unwrap();
                state.heard.messages.entry(channel.to_owned()).or_default().push(lines(body));
            }
            Answer::Wait(left) => {
                let seconds = left.as_secs_f64().ceil();
                say(stream, "429 Too Many Requests", &format!("Retry-After: {seconds}\r\n"))?;
            }
            Answer::Fault(Fault::Broken) => say(stream, "500 Internal Server Error", "")?,
            Answer::Fault(Fault::NotThere) => say(stream, "404 Not Found", "")?,
            Answer::Fault(Fault::Hangs) => {
                std::thread::sleep(HANG);
                return None;
            }
            Answer::Fault(Fault::Closes | Fault::TooMany) => return None,
        }
        if kill.is_some() {
            self.let_kill();
            return None;
        }
        Some(())
    }

    fn decide(&self, accepted: Instant, channel: &str) -> (Answer, Option<bool>) {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        state.heard.requests += 1;
        let number = state.heard.requests;
        let kill = state.kill.filter(|(at, _)| *at == number).map(|(_, is_before)| is_before);
        if kill.is_some() {
            state.kill = None;
        }
        if let Some(window) = state.windows.get(channel).copied()
            && now < window.until
        {
            let began = accepted.max(window.from);
            if began > window.from + UNDER_WAY {
                let after_a_kill = window.life < state.kills;
                let since = i64::try_from(began.duration_since(window.from).as_millis()).unwrap();
                let (demanded_at, asked_at) = (window.at, window.at + since);
                let inside = Inside { after_a_kill, demanded_at, asked_at };
                state.heard.inside.entry(channel.to_owned()).or_default().push(inside);
            }
            return (Answer::Wait(window.until - now), kill);
        }
        if number < state.fault.0 {
            return (Answer::Yes, kill);
        }
        let mut fault = FAULTS[state.fault.1 % FAULTS.len()];
        // One that is refused is given up at once: with it a message of everything.
        if fault == Fault::NotThere && channel == "one" {
            fault = Fault::Broken;
        }
        let next = number + state.chance.between(6, 18);
        state.fault = (next, state.fault.1 + 1);
        *state.heard.faults.entry(fault).or_default() += 1;
        if fault == Fault::TooMany {
            let at = jiff::Timestamp::now().as_millisecond();
            let window = Window { from: now, until: now + WINDOW, at, life: state.kills };
            state.windows.insert(channel.to_owned(), window);
            return (Answer::Wait(WINDOW), kill);
        }
        (Answer::Fault(fault), kill)
    }

    /// Returns when it is done.
    fn let_kill(&self) {
        let (done, is_done) = sync_channel(1);
        if self.ask.send(done).is_ok() {
            is_done.recv().ok();
        }
        self.state.lock().unwrap().kills += 1;
    }
}

enum Answer {
    Yes,
    Wait(Duration),
    Fault(Fault),
}

fn say(stream: &mut TcpStream, status: &str, headers: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()
}

fn lines(body: &Value) -> BTreeSet<Line> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = body["alerts"].as_array().into_iter().flatten();
    let line = |alert: &Value| Line {
        item: text(&alert["labels"]["item"]),
        fires: alert["status"] == "firing",
        began: text(&alert["startsAt"]),
    };
    alerts.map(line).collect()
}
