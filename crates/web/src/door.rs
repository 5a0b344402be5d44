//! The door: who may come in, and how the talk is kept private.
//!
//! A [`Door`] is plain values, made by whoever reads the configuration: TLS, users, tokens, added
//! headers, a rate. This crate enforces it. It is published whole in an [`Opening`]; a request is
//! judged by the one that is current when it comes, a connection by the one it began under.
//!
//! The shape and the limits are exporter-toolkit's (`prometheus/exporter-toolkit`, `web/handler.go`
//! and `web/tls_config.go`); bearer tokens are our own addition.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
pub use axum::http::{HeaderName, HeaderValue};
use tokio::time::{Instant, timeout};

use crate::guard::Refusal;

mod bcrypt;
mod bucket;
mod credentials;
mod passwords;
mod sans;
mod tls;
mod tokens;

pub use bcrypt::{Hash, HashFault};
pub use bucket::Rate;
pub use passwords::Users;
pub use tls::{
    CIPHER_SUITES, CURVES, ClientAuth, Fault, Part, Tls, TlsSettings, Version, certificates_in,
};
pub use tokens::Tokens;

use bucket::Bucket;
use credentials::Credentials;
use passwords::{Passwords, Wait};

/// Everything that is asked of who comes. The default asks nothing.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Without it connections are plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Set on every answer, in place of our own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub users: Users,
    pub tokens: Tokens,
    pub rate: Option<Rate>,
}

impl Door {
    /// Whether a request must say who sends it.
    pub fn wants_credentials(&self) -> bool {
        !self.users.is_empty() || !self.tokens.is_empty()
    }

    /// Whether a stranger who can reach the port is kept out. TLS alone does not: it says who we
    /// are, not who they are.
    pub fn keeps_strangers_out(&self) -> bool {
        self.wants_credentials() || self.tls.as_ref().is_some_and(|tls| tls.verifies_clients())
    }
}

/// The door as it stands now, and what is wrong with its files.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    pub door: Arc<Door>,
    /// Why the files as they are now are not taken; `door` is then from when they last were good.
    pub fault: Option<Arc<str>>,
    /// Whether there are files that `door` comes from.
    pub from_files: bool,
}

/// Why a request is refused at the door: for the counts, never for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoCredentials,
    WrongCredentials,
    TooManyChecks,
    RateLimit,
}

impl Reason {
    pub(crate) const ALL: [Reason; 4] =
        [Reason::NoCredentials, Reason::RateLimit, Reason::TooManyChecks, Reason::WrongCredentials];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Reason::NoCredentials => "no_credentials",
            Reason::WrongCredentials => "wrong_credentials",
            Reason::TooManyChecks => "too_many_checks",
            Reason::RateLimit => "rate_limit",
        }
    }

    pub(crate) fn refusal(self) -> Refusal {
        match self {
            // One answer for all that can be wrong: which part it was is nobody's concern.
            Reason::NoCredentials | Reason::WrongCredentials => {
                Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized")
            }
            Reason::TooManyChecks => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many passwords are waiting to be checked; try again in a moment",
            ),
            Reason::RateLimit => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "more requests than rate_limit allows; try again in a moment",
            ),
        }
    }
}

/// Stands at the door: what is remembered from one request to the next.
#[derive(Debug)]
pub(crate) struct Keeper {
    passwords: Passwords,
    bucket: Bucket,
    patience: Duration,
}

impl Keeper {
    /// `patience` is how long a request may wait for its password to be checked.
    pub(crate) fn new(patience: Duration) -> Keeper {
        Keeper { passwords: Passwords::new(), bucket: Bucket::default(), patience }
    }

    pub(crate) async fn admit(
        &self,
        door: &Door,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<(), Reason> {
        if let Some(rate) = door.rate
            && !self.bucket.take(rate, Instant::now())
        {
            return Err(Reason::RateLimit);
        }
        if !door.wants_credentials() {
            return Ok(());
        }
        let mut given = headers.get_all(AUTHORIZATION).into_iter();
        let (Some(header), None) = (given.next(), given.next()) else {
            return Err(Reason::NoCredentials);
        };
        match credentials::parse(header.as_bytes()) {
            Some(Credentials::Bearer(token)) if door.tokens.hold(token) => Ok(()),
            Some(Credentials::Basic { user, password }) if !door.users.is_empty() => {
                self.check_password(&door.users, user, password, peer).await
            }
            Some(Credentials::Bearer(_) | Credentials::Basic { .. }) => {
                Err(Reason::WrongCredentials)
            }
            None => Err(Reason::NoCredentials),
        }
    }

    async fn check_password(
        &self,
        users: &Users,
        user: Vec<u8>,
        password: Vec<u8>,
        peer: IpAddr,
    ) -> Result<(), Reason> {
        let checked = self.passwords.check(users, user, password, peer);
        match timeout(self.patience, checked).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Reason::WrongCredentials),
            Ok(Err(Wait::TooLong)) | Err(_) => Err(Reason::TooManyChecks),
        }
    }
}

/// Asks a client for what would let it in.
pub(crate) fn challenge(door: &Door, headers: &mut HeaderMap) {
    if !door.users.is_empty() {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"farol\""));
    }
    if !door.tokens.is_empty() {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"farol\""));
    }
}
