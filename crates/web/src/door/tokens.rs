//! Bearer tokens: kept as keyed digests, and compared in constant time.

use std::fmt;

use ring::{hmac, rand::SystemRandom};

/// The tokens that open the door.
#[derive(Clone, Default)]
pub struct Tokens(Option<Kept>);

#[derive(Clone)]
struct Kept {
    /// Of this value alone: a digest means nothing elsewhere.
    key: hmac::Key,
    digests: Vec<hmac::Tag>,
}

impl Tokens {
    /// Fails only when the system has no randomness to give.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a [u8]>) -> Result<Tokens, &'static str> {
        let key = random_key()?;
        let digests: Vec<_> = tokens.into_iter().map(|token| hmac::sign(&key, token)).collect();
        Ok(Tokens((!digests.is_empty()).then_some(Kept { key, digests })))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes the same time whichever it is, and for none.
    pub(super) fn hold(&self, token: &[u8]) -> bool {
        let Some(Kept { key, digests }) = &self.0 else { return false };
        let is = |digest: &hmac::Tag| hmac::verify(key, token, digest.as_ref()).is_ok();
        digests.iter().fold(false, |found, digest| found | is(digest))
    }
}

pub(super) fn random_key() -> Result<hmac::Key, &'static str> {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
        .map_err(|_| "the system gives no random numbers")
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.as_ref().map_or(0, |kept| kept.digests.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_opens() {
        let tokens = Tokens::new([&b"first"[..], b"second"]).unwrap();
        for (token, expected) in [
            ("first", true),
            ("second", true),
            ("secret", false),
            ("second ", false),
            ("FIRST", false),
            ("", false),
        ] {
            assert_eq!(tokens.hold(token.as_bytes()), expected, "{token:?}");
        }
        assert_eq!(format!("{tokens:?}"), "Tokens(2)");
        assert!(!Tokens::default().hold(b""));
        assert!(Tokens::new([]).unwrap().is_empty());
    }
}
