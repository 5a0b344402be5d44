//! Follows what is remembered and tells one channel what is due: oldest first, at least once.
//!
//! The only state that outlives the process is what the records say. A message counts as told once
//! its record is on the disk; a program that ends between the receiver's answer and that record tells
//! it again. A wait that the receiver demands is recorded before it begins, so that no restart speaks
//! into it. What fails is tried again with a growing, uneven pause; what cannot be delivered is given
//! up after a bound and recorded as dead.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use farol_alert::{Notice, Routing, dispatch};
use farol_model::{Delivered, Delivery, Memory, Text, Timestamp};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{BoxFuture, SendError, Sender, Sent, http::LONGEST_DEMAND, is_ended, words};

/// Takes a record in. It resolves once the record is appended and synced (or held, while the disk is
/// full) and the memory that holds it is published.
pub type Records =
    Arc<dyn Fn(Delivery) -> BoxFuture<'static, Result<(), RecordFailed>> + Send + Sync>;

/// Nobody takes records any more: the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFailed;

impl fmt::Display for RecordFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody takes records any more")
    }
}

impl std::error::Error for RecordFailed {}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A pause of our own that is shorter is not worth a record.
const RECORDED_PAUSE: Duration = Duration::from_secs(5);
/// A message is given up after this.
const LONGEST_TRY: Duration = Duration::from_secs(24 * 3600);
/// Or after so many attempts, where others went through meanwhile: then it is the message.
const MOST_ATTEMPTS: u32 = 20;
/// After so many attempts a message lets others go first.
const PATIENCE: u32 = 3;
/// However slow a sender is by itself.
const LONGEST_SEND: Duration = Duration::from_secs(120);
/// A clock may be set meanwhile: it is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One channel's follower. [`run`](Follower::run) ends when `stop` turns true or its sender is gone.
pub struct Follower {
    /// The notifier's name.
    pub channel: Text,
    pub host: Text,
    pub sender: Box<dyn Sender>,
    pub memory: watch::Receiver<Arc<Memory>>,
    pub routing: watch::Receiver<Arc<Routing>>,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub records: Records,
    pub board: Arc<Board>,
    /// Names the settings it was made with: a channel that was disabled is asked again once these differ.
    pub settings: Text,
    /// Of the uneven pauses; another for each channel.
    pub seed: u64,
    pub stop: watch::Receiver<bool>,
    /// How long, once stopped, it may still deliver what is due.
    pub drain: Duration,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Follower {
    pub async fn run(self) {
        let random = Random(self.seed);
        let mut following = Following {
            follower: self,
            random,
            failures: 0,
            delivered: 0,
            tried: BTreeMap::new(),
            pause: None,
            deadline: None,
        };
        // An error is the end of the program, which others tell.
        following.run().await.ok();
    }
}

struct Following {
    follower: Follower,
    random: Random,
    /// In a row, of the channel.
    failures: u32,
    delivered: u64,
    /// Messages that were tried and not delivered, by group.
    tried: BTreeMap<Text, Tried>,
    /// Nothing is sent before; with the time by the clock, where that is recorded.
    pause: Option<(Instant, Option<Timestamp>)>,
    /// Set once stopped.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Tried {
    attempts: u32,
    since: Timestamp,
    /// How many others had been delivered by the first attempt.
    delivered: u64,
}

/// Why a wait ended.
enum Woken {
    Look,
    Over,
}

impl Following {
    async fn run(&mut self) -> Result<(), RecordFailed> {
        if let Some(lifted) = self.lifted() {
            self.record(lifted).await?;
        }
        loop {
            self.note_stop();
            let memory = Arc::clone(&self.follower.memory.borrow_and_update());
            let routing = Arc::clone(&self.follower.routing.borrow_and_update());
            let now = (self.follower.clock)();
            let forbidden = self.forbidden(&memory, now);
            let memory = self.without_window(memory, now);
            let due = dispatch::due(&memory, &routing, &self.follower.channel, now);
            self.show(&due, now);
            let woken = if let Some(left) = forbidden {
                self.pause_for(left).await
            } else {
                match self.choose(due.notices) {
                    Some(notice) => self.tell(&notice).await?,
                    None => self.wait(due.next.map(|next| next.since(now))).await,
                }
            };
            if matches!(woken, Woken::Over) {
                return Ok(());
            }
        }
    }

    /// The oldest one among those that were tried least.
    fn choose(&mut self, notices: Vec<Notice>) -> Option<Notice> {
        let tried = &mut self.tried;
        tried.retain(|group, _| notices.iter().any(|notice| notice.group == *group));
        let rounds =
            |notice: &Notice| tried.get(&notice.group).map_or(0, |tried| tried.attempts / PATIENCE);
        notices.into_iter().min_by_key(rounds)
    }

    async fn tell(&mut self, notice: &Notice) -> Result<Woken, RecordFailed> {
        let started = (self.follower.clock)();
        let Some(result) = self.attempt(notice).await else { return Ok(Woken::Over) };
        let now = (self.follower.clock)();
        let tried = self.tried.entry(notice.group.clone()).or_insert(Tried {
            attempts: 0,
            since: started,
            delivered: self.delivered,
        });
        tried.attempts += 1;
        let tried = *tried;
        match result {
            Ok(sent) => self.sent(notice, sent, tried, now).await?,
            Err(SendError::Retry { after, reason }) => {
                self.failed(notice, after, reason, tried, now).await?;
            }
            Err(SendError::Refused { reason }) => {
                self.failures = 0;
                self.give_up(notice, reason, tried, now).await?;
            }
            Err(SendError::Disabled { reason }) => {
                tracing::error!(channel = %*self.follower.channel, %reason, "a notifier is disabled");
                self.follower.board.update(&self.follower.channel, |figures| {
                    figures.disabled += 1;
                    figures.is_disabled = true;
                });
                let reason = format!("{reason} {}", self.mark()).into();
                let outcome = Delivered::Disabled { reason };
                self.record(self.of_channel(notice, tried, now, outcome)).await?;
            }
        }
        Ok(Woken::Look)
    }

    /// `None` when the deadline after a stop was over first.
    async fn attempt(&mut self, notice: &Notice) -> Option<Result<Sent, SendError>> {
        let Following { follower, deadline, .. } = self;
        let mut sending = Box::pin(timeout(LONGEST_SEND, follower.sender.send(notice)));
        let result = loop {
            match *deadline {
                Some(deadline) => break timeout_at(deadline, &mut sending).await.ok()?,
                None => tokio::select! {
                    result = &mut sending => break result,
                    () = stopped(&mut follower.stop) => {
                        *deadline = Some(Instant::now() + follower.drain);
                    }
                },
            }
        };
        Some(result.unwrap_or_else(|_| Err(SendError::retry("the attempt took too long"))))
    }

    async fn sent(
        &mut self,
        notice: &Notice,
        sent: Sent,
        tried: Tried,
        now: Timestamp,
    ) -> Result<(), RecordFailed> {
        if let Some(quiet) = sent.quiet {
            let reason = Text::from_static("the receiver's rate is used up");
            self.forbid(notice, quiet, reason, tried, now).await?;
        }
        self.failures = 0;
        self.delivered += 1;
        self.tried.remove(&notice.group);
        self.follower.board.update(&self.follower.channel, |figures| {
            figures.sent += 1;
            figures.latency = words::newest(notice).map(|newest| now.since(newest));
        });
        let outcome = Delivered::Sent { message: sent.message };
        self.record(self.of_message(notice, tried, now, outcome)).await
    }

    async fn failed(
        &mut self,
        notice: &Notice,
        after: Option<Duration>,
        reason: Text,
        tried: Tried,
        now: Timestamp,
    ) -> Result<(), RecordFailed> {
        self.failures = self.failures.saturating_add(1);
        let own = self.random.pause(self.failures);
        let pause = after.map_or(own, |after| after.min(LONGEST_DEMAND).max(own));
        tracing::warn!(
            channel = %*self.follower.channel, attempts = tried.attempts, %reason, ?pause,
            "a message was not delivered and is tried again"
        );
        self.follower.board.update(&self.follower.channel, |figures| match after {
            Some(_) => figures.throttled += 1,
            None => figures.retried += 1,
        });
        if after.is_some() || pause >= RECORDED_PAUSE {
            self.forbid(notice, pause, reason.clone(), tried, now).await?;
        } else {
            self.pause = Some((Instant::now() + pause, None));
        }
        let others = self.delivered > tried.delivered;
        let is_hopeless =
            now.since(tried.since) >= LONGEST_TRY || others && tried.attempts >= MOST_ATTEMPTS;
        match is_hopeless {
            true => self.give_up(notice, reason, tried, now).await,
            false => Ok(()),
        }
    }

    async fn give_up(
        &mut self,
        notice: &Notice,
        reason: Text,
        tried: Tried,
        now: Timestamp,
    ) -> Result<(), RecordFailed> {
        tracing::error!(
            channel = %*self.follower.channel, group = %*notice.group, attempts = tried.attempts,
            %reason, "a message is given up"
        );
        self.tried.remove(&notice.group);
        self.follower.board.update(&self.follower.channel, |figures| figures.dead += 1);
        let outcome = Delivered::Dead { reason };
        self.record(self.of_message(notice, tried, now, outcome)).await
    }

    /// On the disk before anything else is sent.
    async fn forbid(
        &mut self,
        notice: &Notice,
        pause: Duration,
        reason: Text,
        tried: Tried,
        now: Timestamp,
    ) -> Result<(), RecordFailed> {
        let until = now.plus(pause + Duration::from_millis(1));
        self.pause = Some((Instant::now() + pause, Some(until)));
        let outcome = Delivered::Later { until, reason };
        self.record(self.of_channel(notice, tried, now, outcome)).await
    }

    fn of_message(
        &self,
        notice: &Notice,
        tried: Tried,
        at: Timestamp,
        outcome: Delivered,
    ) -> Delivery {
        let episodes = notice.alerts.iter();
        let episodes =
            episodes.filter_map(|alert| Some((alert.episode()?, is_ended(alert)))).collect();
        Delivery {
            at,
            host: self.follower.host.clone(),
            channel: self.follower.channel.clone(),
            group: notice.group.clone(),
            episodes,
            attempts: tried.attempts,
            outcome,
        }
    }

    fn of_channel(
        &self,
        notice: &Notice,
        tried: Tried,
        at: Timestamp,
        outcome: Delivered,
    ) -> Delivery {
        let delivery = self.of_message(notice, tried, at, outcome);
        Delivery { group: Text::EMPTY, episodes: Vec::new(), ..delivery }
    }

    /// Holds nothing of `self`, which threads may not share.
    fn record(&self, delivery: Delivery) -> BoxFuture<'static, Result<(), RecordFailed>> {
        (self.follower.records)(delivery)
    }
}

// When it may speak.
impl Following {
    fn mark(&self) -> String {
        format!("[settings {}]", self.follower.settings)
    }

    /// A channel that was disabled with other settings is free again; this record says so.
    fn lifted(&self) -> Option<Delivery> {
        let follower = &self.follower;
        let memory = Arc::clone(&follower.memory.borrow());
        let reason = memory.channels.get(&follower.channel)?.disabled.clone()?;
        let is_same = reason.ends_with(&self.mark());
        follower.board.update(&follower.channel, |figures| figures.is_disabled = is_same);
        if is_same {
            tracing::warn!(
                channel = %*follower.channel, %reason,
                "a notifier stays disabled until its settings change"
            );
            return None;
        }
        let at = (follower.clock)();
        let reason = Text::from_static("its settings have changed");
        Some(Delivery {
            at,
            host: follower.host.clone(),
            channel: follower.channel.clone(),
            group: Text::EMPTY,
            episodes: Vec::new(),
            attempts: 0,
            outcome: Delivered::Later { until: at, reason },
        })
    }

    /// How long nothing may be sent yet. A recorded time that this process knows is measured by
    /// the clock that nobody sets; one from before the start can only be compared. One that lies
    /// further ahead than any that is obeyed was written under a clock since set back.
    fn forbidden(&mut self, memory: &Memory, now: Timestamp) -> Option<Duration> {
        let channel = memory.channels.get(&self.follower.channel);
        let recorded = channel.and_then(|channel| channel.not_before);
        let own = self.pause.map(|(until, at)| (until.duration_since(Instant::now()), at));
        let known = own.and_then(|(_, at)| at);
        let foreign = recorded.filter(|until| known.is_none_or(|known| *until > known));
        let foreign = foreign.map(|until| until.since(now)).filter(|left| *left <= LONGEST_DEMAND);
        let left = own.map(|(left, _)| left).max(foreign).filter(|left| !left.is_zero());
        if left.is_none() && self.pause.is_some_and(|(_, at)| at.is_none()) {
            self.pause = None;
        }
        left
    }

    /// For [`dispatch::due`], which compares the recorded time with the clock alone: when it is over
    /// is decided here, and what is due meanwhile is shown.
    fn without_window(&self, memory: Arc<Memory>, now: Timestamp) -> Arc<Memory> {
        let channel = memory.channels.get(&self.follower.channel);
        if channel.and_then(|channel| channel.not_before).is_none_or(|until| until <= now) {
            return memory;
        }
        let mut memory = Memory::clone(&memory);
        if let Some(channel) = memory.channels.get_mut(&self.follower.channel) {
            channel.not_before = None;
        }
        Arc::new(memory)
    }

    async fn pause_for(&mut self, left: Duration) -> Woken {
        if self.deadline.is_some() {
            // Whoever forbids it now is asked again after the next start.
            return Woken::Over;
        }
        tokio::select! {
            () = sleep(left.min(LOOK_AGAIN)) => Woken::Look,
            () = stopped(&mut self.follower.stop) => Woken::Look,
        }
    }

    /// Until anything may have become due.
    async fn wait(&mut self, next: Option<Duration>) -> Woken {
        if self.deadline.is_some() {
            return Woken::Over;
        }
        let Follower { memory, routing, stop, .. } = &mut self.follower;
        let next = next.map_or(LOOK_AGAIN, |next| next.clamp(Duration::from_millis(1), LOOK_AGAIN));
        tokio::select! {
            () = sleep(next) => Woken::Look,
            changed = memory.changed() => or_over(changed),
            changed = routing.changed() => or_over(changed),
            () = stopped(stop) => Woken::Look,
        }
    }

    fn note_stop(&mut self) {
        let stop = &self.follower.stop;
        if self.deadline.is_none() && (*stop.borrow() || stop.has_changed().is_err()) {
            self.deadline = Some(Instant::now() + self.follower.drain);
        }
    }

    fn show(&self, due: &dispatch::Due, now: Timestamp) {
        let oldest = due.notices.first().and_then(words::newest);
        self.follower.board.update(&self.follower.channel, |figures| {
            figures.queued = due.notices.len();
            figures.oldest = oldest.map(|oldest| now.since(oldest));
        });
    }
}

/// Until it is stopped, or nobody can stop it any more.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

fn or_over(changed: Result<(), watch::error::RecvError>) -> Woken {
    if changed.is_ok() { Woken::Look } else { Woken::Over }
}

/// SplitMix64: enough to spread pauses.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Twice as long after each failure up to the ceiling, then between half of that and all of it.
    pub(super) fn pause(&mut self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let whole = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
        whole / 2 + (whole / 2).mul_f64(self.fraction())
    }

    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What each channel did, for the metrics.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<Text, Figures>>);

/// Since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub sent: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Attempts after which the receiver demanded a wait.
    pub throttled: u64,
    /// Messages given up.
    pub dead: u64,
    /// Times that the receiver said that it does not exist.
    pub disabled: u64,
    pub is_disabled: bool,
    /// Of the last message: from the evaluation that made it due to the receiver's yes.
    pub latency: Option<Duration>,
    /// Messages due now.
    pub queued: usize,
    /// How long the oldest of them has been due.
    pub oldest: Option<Duration>,
}

impl Board {
    pub fn read(&self) -> BTreeMap<Text, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A channel that is no more has no figures.
    pub fn keep(&self, channels: &[Text]) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.retain(|name, _| channels.contains(name));
    }

    pub(super) fn update(&self, channel: &Text, change: impl FnOnce(&mut Figures)) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(board.entry(channel.clone()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_ceiling_and_are_uneven() {
        let mut random = Random(7);
        for failures in 1..60 {
            let whole = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(failures.min(10) - 1));
            let pause = random.pause(failures);
            assert!(whole / 2 <= pause && pause <= whole, "{failures}: {pause:?}");
        }
        assert_ne!(random.pause(9), random.pause(9));
    }
}
