//! Password hashes of the bcrypt kind, `$2y$10$…`: Provos and Mazières, "A Future-Adaptable Password
//! Scheme", 1999; the notation is OpenBSD's.
//!
//! The cipher comes from a crate, the hash around it is this page: checking is all that is needed,
//! and a crate for it would bring a source of randomness and a second base64.

use std::{fmt, ops::Range};

use blowfish::Blowfish;

use super::credentials::from_base64;

/// The alphabet of `crypt`, not that of mail.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SALT_DIGITS: usize = 22;
const DIGEST_DIGITS: usize = 31;
/// The last of the 24 bytes is not kept: a mistake of the first implementation, by now the format.
const DIGEST_BYTES: usize = 23;
const CLEARTEXT: [u32; 6] =
    [0x4f72_7068, 0x6561_6e42, 0x6568_6f6c, 0x6465_7253, 0x6372_7944, 0x6f75_6274];

/// A hash that a password can be compared with.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    cost: u32,
    salt: [u8; 16],
    digest: [u8; DIGEST_BYTES],
}

/// What a text lacks that should be a hash. Says nothing of the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFault {
    NotBcrypt,
    Length,
    Cost,
    Digits,
}

impl fmt::Display for HashFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashFault::NotBcrypt => {
                "is not a bcrypt hash, which starts with $2y$; make one with `htpasswd -nBC 10 \"\"`"
            }
            HashFault::Length => "is not a whole bcrypt hash: it has 53 characters after the cost",
            HashFault::Cost => "has no cost between 04 and 31 after $2y$",
            HashFault::Digits => "holds a character that no bcrypt hash has",
        })
    }
}

impl std::error::Error for HashFault {}

impl Hash {
    /// `$2a$`, `$2b$`, `$2x$`, `$2y$` and `$2$`, which differ only in the bugs of who made them.
    pub fn parse(text: &str) -> Result<Hash, HashFault> {
        let mut parts = text.split('$');
        let (Some(""), Some("2" | "2a" | "2b" | "2x" | "2y")) = (parts.next(), parts.next()) else {
            return Err(HashFault::NotBcrypt);
        };
        let cost = parts.next().filter(|cost| cost.len() == 2).and_then(|cost| cost.parse().ok());
        let cost = cost.filter(|cost| (4..=31).contains(cost)).ok_or(HashFault::Cost)?;
        let (digits, end) = (parts.next().unwrap_or_default().as_bytes(), parts.next());
        if digits.len() != SALT_DIGITS + DIGEST_DIGITS || end.is_some() {
            return Err(HashFault::Length);
        }
        let (salt, digest) = digits.split_at(SALT_DIGITS);
        let bytes = |digits| from_base64(digits, ALPHABET, false).ok_or(HashFault::Digits);
        let salt = bytes(salt)?.try_into().map_err(|_| HashFault::Length)?;
        let digest = bytes(digest)?.try_into().map_err(|_| HashFault::Length)?;
        Ok(Hash { cost, salt, digest })
    }

    /// The base-two logarithm of the rounds: one more takes twice the time.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Takes its time, by design: about 50 ms at a cost of 10.
    pub(super) fn fits(&self, password: &[u8]) -> bool {
        let made = digest(self.cost, &self.salt, password);
        // All bytes are compared, whichever differs first.
        made.iter().zip(&self.digest).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }

    /// Takes the time by which a check of `dearest` cost is longer than one of this: how long it
    /// takes to refuse must not tell whose hash it was.
    pub(super) fn make_up_to(&self, dearest: u32, password: &[u8]) {
        for cost in missing(self.cost, dearest) {
            std::hint::black_box(digest(cost, &self.salt, password));
        }
    }

    /// What tells it from any other.
    pub(super) fn identity(&self) -> [&[u8]; 2] {
        [&self.salt, &self.digest]
    }
}

/// Each cost has twice the rounds of the one before, so all from this one on make up the next.
fn missing(cost: u32, dearest: u32) -> Range<u32> {
    cost..dearest
}

/// Even a hash is a secret: it can be guessed at.
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash(cost {})", self.cost)
    }
}

fn digest(cost: u32, salt: &[u8; 16], password: &[u8]) -> [u8; DIGEST_BYTES] {
    // As in C, the end of the string belongs to it. The cipher takes 72 bytes and no more.
    let key: Vec<u8> = password.iter().copied().chain([0]).collect();
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1_u64 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut digest = [0; DIGEST_BYTES];
    let mut left = digest.as_mut_slice();
    for pair in CLEARTEXT.chunks_exact(2) {
        let mut block = [pair[0], pair[1]];
        for _ in 0..64 {
            block = state.bc_encrypt(block);
        }
        for byte in block.iter().flat_map(|half| half.to_be_bytes()) {
            if let Some((first, rest)) = std::mem::take(&mut left).split_first_mut() {
                *first = byte;
                left = rest;
            }
        }
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors that go round with every implementation (crypt_blowfish's `wrapper.c`).
    #[test]
    fn known_hashes_fit_their_passwords() {
        for (hash, password) in [
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*"),
            ("$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a", "U*U*U"),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
            (
                "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
                "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\
                 chars after 72 are ignored",
            ),
        ] {
            let hash = Hash::parse(hash).unwrap();
            assert!(hash.fits(password.as_bytes()), "{password}");
            assert!(!hash.fits(format!("x{password}").as_bytes()), "{password}");
        }
    }

    #[test]
    fn a_refusal_has_as_many_rounds_whatever_the_cost_of_the_hash() {
        for cost in 4..=12 {
            let rounds: u64 = missing(cost, 12).map(|cost| 1 << cost).sum();
            assert_eq!((1 << cost) + rounds, 1 << 12, "{cost}");
        }
    }

    #[test]
    fn what_is_no_hash_is_told_why_without_being_shown() {
        let good = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        assert_eq!(Hash::parse(good).map(|hash| hash.cost()), Ok(10));
        assert_eq!(format!("{:?}", Hash::parse(good).unwrap()), "Hash(cost 10)");
        for (text, fault) in [
            ("", HashFault::NotBcrypt),
            ("hunter2", HashFault::NotBcrypt),
            ("$apr1$x$y", HashFault::NotBcrypt),
            ("$3y$10$", HashFault::NotBcrypt),
            ("$2y$1$", HashFault::Cost),
            ("$2y$03$", HashFault::Cost),
            ("$2y$32$", HashFault::Cost),
            ("$2y$+9$", HashFault::Length),
            ("$2y$10$X0h1gDsPszWURQaxFh", HashFault::Length),
            (&format!("{good}x"), HashFault::Length),
            (&good.replace('.', "!"), HashFault::Digits),
        ] {
            assert_eq!(Hash::parse(text), Err(fault), "{text}");
        }
    }
}
