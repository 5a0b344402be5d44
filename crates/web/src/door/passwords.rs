//! Whether a user's password is right, without letting those who guess hold up those who know.
//!
//! A check costs tens of milliseconds of one core, so answers are remembered, one check runs at a
//! time off the network's threads, and few may wait for it. Right answers are remembered apart from
//! wrong ones, and each client may wait only so often: however many wrong passwords come, whoever
//! has the right one keeps coming in.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::hmac;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use super::{bcrypt::Hash, tokens::random_key};

/// As many as exporter-toolkit remembers, of the right and of the wrong each.
const MOST_REMEMBERED: usize = 100;
/// At a cost of 10 the last of them waits two seconds, well within a scrape's ten.
const MOST_WAITING: usize = 32;
/// Few enough that one client cannot take all the places.
const MOST_WAITING_OF_ONE: usize = 8;

/// Names and the hashes of their passwords.
#[derive(Clone, Default)]
pub struct Users {
    hashes: BTreeMap<Vec<u8>, Hash>,
    /// Checked for a name that is not there, so that it takes the same time; the dearest there is.
    decoy: Option<Hash>,
}

impl Users {
    pub fn new(users: impl IntoIterator<Item = (String, Hash)>) -> Users {
        let hashes: BTreeMap<_, _> =
            users.into_iter().map(|(name, hash)| (name.into_bytes(), hash)).collect();
        let decoy = hashes.values().max_by_key(|hash| hash.cost()).cloned();
        Users { hashes, decoy }
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// Neither names nor hashes.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.hashes.len())
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    TooLong,
}

#[derive(Debug)]
pub(super) struct Passwords {
    /// Of this process: what is remembered means nothing elsewhere. `None` when the system gave no
    /// randomness; then nothing is remembered.
    key: Option<hmac::Key>,
    memory: Arc<Mutex<Memory>>,
    one_at_a_time: Arc<Semaphore>,
    waiting: Arc<Waiting>,
}

/// Who, with what, against which hash: digested, so that no password stays in memory.
type Digest = [u8; 32];

#[derive(Debug, Default)]
struct Memory {
    right: Recent,
    wrong: Recent,
}

impl Memory {
    fn remember(&mut self, digest: Digest, right: bool) {
        if right { self.right.add(digest) } else { self.wrong.add(digest) }
    }
}

/// The newest so many.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Recent {
    fn add(&mut self, digest: Digest) {
        if !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > MOST_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl Passwords {
    pub(super) fn new() -> Passwords {
        Passwords {
            key: random_key().ok(),
            memory: Arc::default(),
            one_at_a_time: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Waiting(Mutex::default())),
        }
    }

    pub(super) async fn check(
        &self,
        users: &Users,
        user: Vec<u8>,
        password: Vec<u8>,
        peer: IpAddr,
    ) -> Result<bool, Wait> {
        let known = users.hashes.get(&user);
        let Some(hash) = known.or(users.decoy.as_ref()) else { return Ok(false) };
        let digest = self.digest(&user, known.is_some(), &password, hash);
        if let Some(remembered) = digest.and_then(|digest| self.remembered(&digest)) {
            return Ok(remembered);
        }
        let place = Waiting::enter(&self.waiting, peer).ok_or(Wait::TooLong)?;
        let one = Arc::clone(&self.one_at_a_time).acquire_owned().await;
        let one: OwnedSemaphorePermit = one.map_err(|_| Wait::TooLong)?;
        // Whoever waited with the same password has the answer by now.
        if let Some(remembered) = digest.and_then(|digest| self.remembered(&digest)) {
            return Ok(remembered);
        }
        let (hash, is_known) = (hash.clone(), known.is_some());
        let dearest = users.decoy.as_ref().map_or(0, Hash::cost);
        let memory = Arc::clone(&self.memory);
        let checked = spawn_blocking(move || {
            let right = hash.fits(&password) && is_known;
            if !right {
                hash.make_up_to(dearest, &password);
            }
            // Here, as who asked may have gone: what took longer than a scrape's patience would
            // otherwise never be known.
            if let Some(digest) = digest {
                lock(&memory).remember(digest, right);
            }
            // Held to the end even when nobody waits for it any more.
            drop((one, place));
            right
        });
        checked.await.map_err(|_| Wait::TooLong)
    }

    /// `is_known`: what was said of a stranger does not hold once the name is a user's.
    fn digest(&self, user: &[u8], is_known: bool, password: &[u8], hash: &Hash) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(&[is_known.into()]);
        // A length before each part: "ab" and "c" are not "a" and "bc".
        for part in [user, password].into_iter().chain(hash.identity()) {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn remembered(&self, digest: &Digest) -> Option<bool> {
        let memory = self.memory();
        match (memory.right.known.contains(digest), memory.wrong.known.contains(digest)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who counts as one client: an address, or the 64 bits of IPv6 that are given to one place, which
/// has all the addresses below them.
fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// How many wait, by who they are. Bounded by [`MOST_WAITING`]: who does not wait is not in it.
#[derive(Debug)]
struct Waiting(Mutex<HashMap<IpAddr, usize>>);

/// A place in the queue, given back when dropped.
#[derive(Debug)]
struct Place {
    waiting: Arc<Waiting>,
    client: IpAddr,
}

impl Waiting {
    fn enter(waiting: &Arc<Waiting>, peer: IpAddr) -> Option<Place> {
        let client = client(peer);
        let mut places = waiting.places();
        let own = places.get(&client).copied().unwrap_or(0);
        if own >= MOST_WAITING_OF_ONE || places.values().sum::<usize>() >= MOST_WAITING {
            return None;
        }
        places.insert(client, own + 1);
        drop(places);
        Some(Place { waiting: Arc::clone(waiting), client })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.waiting.places();
        match places.get_mut(&self.client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(places.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "U*U" and "U*U*", at a cost of 5.
    const ALICE: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    const BOB: &str = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK";
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users() -> Users {
        let user = |name: &str, hash: &str| (name.to_owned(), Hash::parse(hash).unwrap());
        Users::new([user("alice", ALICE), user("bob", BOB)])
    }

    async fn check(passwords: &Passwords, user: &str, password: &str) -> Result<bool, Wait> {
        passwords.check(&users(), user.into(), password.into(), PEER).await
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_own_user_only() {
        let passwords = Passwords::new();
        for _ in ["checked", "remembered"] {
            for (user, password, expected) in [
                ("alice", "U*U", true),
                ("bob", "U*U*", true),
                ("bob", "U*U", false),
                ("alice", "", false),
                ("Alice", "U*U", false),
                ("", "U*U", false),
                // The decoy's own password opens nothing to a name that is not there.
                ("eve", "U*U", false),
                ("eve", "U*U*", false),
            ] {
                let checked = check(&passwords, user, password).await;
                assert_eq!(checked, Ok(expected), "{user} {password}");
            }
        }
    }

    #[tokio::test]
    async fn a_changed_hash_is_checked_anew() {
        let passwords = Passwords::new();
        assert_eq!(check(&passwords, "alice", "U*U").await, Ok(true));
        let changed = Users::new([("alice".to_owned(), Hash::parse(BOB).unwrap())]);
        let checked = passwords.check(&changed, b"alice".to_vec(), b"U*U".to_vec(), PEER).await;
        assert_eq!(checked, Ok(false));
    }

    #[tokio::test]
    async fn a_name_that_becomes_a_user_s_is_checked_anew() {
        let passwords = Passwords::new();
        // Against the decoy, which is bob's or alice's own hash.
        assert_eq!(check(&passwords, "eve", "U*U").await, Ok(false));
        for hash in [ALICE, BOB] {
            let changed = Users::new([("eve".to_owned(), Hash::parse(hash).unwrap())]);
            let checked = passwords.check(&changed, b"eve".to_vec(), b"U*U".to_vec(), PEER).await;
            assert_eq!(checked, Ok(hash == ALICE));
        }
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_does_not_make_a_right_one_forgotten() {
        let passwords = Passwords::new();
        assert_eq!(check(&passwords, "alice", "U*U").await, Ok(true));
        for guess in 0..MOST_REMEMBERED + 20 {
            assert_eq!(check(&passwords, "alice", &format!("guess {guess}")).await, Ok(false));
        }
        assert_eq!(passwords.memory().wrong.known.len(), MOST_REMEMBERED);
        assert_eq!(passwords.memory().wrong.order.len(), MOST_REMEMBERED);
        // Nobody may check: what is remembered needs no check.
        let _busy = Arc::clone(&passwords.one_at_a_time).try_acquire_owned().unwrap();
        assert_eq!(check(&passwords, "alice", "U*U").await, Ok(true));
    }

    #[tokio::test]
    async fn what_was_checked_is_remembered_even_when_who_asked_has_gone() {
        let passwords = Passwords::new();
        tokio::select! {
            biased;
            _ = check(&passwords, "alice", "U*U") => {}
            () = std::future::ready(()) => {}
        }
        // Free again only when the check is over, and then held: nobody may check anew.
        let _busy = passwords.one_at_a_time.acquire().await.unwrap();
        assert_eq!(passwords.memory().right.known.len(), 1);
        assert_eq!(check(&passwords, "alice", "U*U").await, Ok(true));
    }

    #[tokio::test]
    async fn one_client_cannot_take_all_the_places() {
        let passwords = Passwords::new();
        let place = |last: u8| Waiting::enter(&passwords.waiting, IpAddr::from([192, 0, 2, last]));
        let taken: Vec<Place> = (0..20).filter_map(|_| place(1)).collect();
        assert_eq!(taken.len(), MOST_WAITING_OF_ONE);
        let others: Vec<Place> = (2..200).filter_map(place).collect();
        assert_eq!(taken.len() + others.len(), MOST_WAITING);
        assert_eq!(check(&passwords, "alice", "U*U").await, Err(Wait::TooLong));
        drop((taken, others));
        assert!(passwords.waiting.places().is_empty());
        assert_eq!(check(&passwords, "alice", "U*U").await, Ok(true));
        assert!(passwords.waiting.places().is_empty());
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_client() {
        let waiting = Arc::new(Waiting(Mutex::default()));
        let place = |address: String| Waiting::enter(&waiting, address.parse().unwrap());
        let one: Vec<Place> =
            (0..20).filter_map(|last| place(format!("2001:db8:0:1:{last}::7"))).collect();
        assert_eq!(one.len(), MOST_WAITING_OF_ONE);
        assert!(place("2001:db8:0:2::7".into()).is_some());
        let mapped: Vec<Place> =
            (0..4).filter_map(|last| place(format!("::ffff:192.0.2.{last}"))).collect();
        assert_eq!(mapped.len(), 4, "IPv4 in IPv6 is IPv4");
    }
}
