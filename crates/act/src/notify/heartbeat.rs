//! A heartbeat: a URL is asked regularly while all is well, so that its owner notices silence.
//!
//! It says nothing when it does not know: what was well too long ago is not well now. One that could
//! not be told is not told later, as the next one says more.

use std::{fmt, sync::Arc, time::Duration};

use farol_alert::Notice;
use farol_model::{Text, Timestamp};
use hyper::Method;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{
    Board, BoxFuture, SendError, Sender, Sent,
    follow::stopped,
    http::{Endpoint, Http},
};

#[derive(Debug)]
pub struct Ping {
    http: Http,
    endpoint: Endpoint,
    method: Method,
}

impl Ping {
    /// By GET, or by an empty POST.
    pub fn new(http: Http, endpoint: Endpoint, is_post: bool) -> Ping {
        let method = if is_post { Method::POST } else { Method::GET };
        Ping { http, endpoint, method }
    }

    async fn tell(&self) -> Result<Sent, SendError> {
        let path = self.endpoint.whole_path();
        let answer = self.http.ask(self.method.clone(), &self.endpoint, path, None).await?;
        match answer.status.is_success() {
            true => Ok(Sent::default()),
            false => Err(answer.failure()),
        }
    }
}

/// For a test; it tells of no alert.
impl Sender for Ping {
    fn send<'a>(&'a mut self, _notice: &'a Notice) -> BoxFuture<'a, Result<Sent, SendError>> {
        Box::pin(self.tell())
    }

    fn preview(&self, _notice: &Notice) -> Value {
        json!({ "method": self.method.as_str() })
    }
}

/// [`run`](Heartbeat::run) ends when `stop` turns true or its sender is gone.
pub struct Heartbeat {
    pub channel: Text,
    pub ping: Ping,
    pub interval: Duration,
    /// When the core last ticked and all rules were evaluated without a fault; none while they are not.
    pub well: watch::Receiver<Option<Timestamp>>,
    /// What was well longer ago is not well.
    pub fresh: Duration,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub board: Arc<Board>,
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Heartbeat {
    pub async fn run(mut self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stopped(&mut self.stop) => return,
            }
            if !self.is_well() {
                continue;
            }
            let told = tokio::select! {
                told = self.ping.tell() => told,
                () = stopped(&mut self.stop) => return,
            };
            let failed = told.err();
            if let Some(error) = &failed {
                tracing::warn!(channel = %*self.channel, reason = %error, "a heartbeat was not heard");
            }
            self.board.update(&self.channel, |figures| match failed {
                None => figures.sent += 1,
                Some(_) => figures.dead += 1,
            });
        }
    }

    /// A time ahead of the clock was written before the clock was set back.
    fn is_well(&self) -> bool {
        let now = (self.clock)();
        let well = *self.well.borrow();
        well.is_some_and(|at| now.since(at) <= self.fresh && at.since(now) <= self.fresh)
    }
}
