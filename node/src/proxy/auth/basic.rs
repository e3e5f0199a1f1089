//! Names and passwords (RFC 7617), checked against bcrypt hashes.
//!
//! A check takes a processor some tenth of a second, by design, so it is done on threads that serve nobody, a few at a
//! time and with a bounded queue; and what was right is remembered for a minute. What was wrong is not: who guesses
//! waits for each guess.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use siphasher::sip128::SipHasher13;
use tokio::sync::Semaphore;

use super::super::Proxy;
use super::super::admit::{Ask, Turned};
use super::super::outcome::Own;

/// How long a right password is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Right passwords that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Checks at once.
const AT_ONCE_MAX: usize = 2;
/// Checks that may wait; beyond this clients are told to come back.
const WAITING_MAX: usize = 64;
/// For names that are not on the list: the check takes as long as for those that are. Of no password.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuYjleuZs6vRn82cgSMLlom9bPzFcu6iW";

/// What is remembered of passwords, and who is being checked.
pub(in super::super) struct Passwords {
    /// A keyed hash of site, name, password and the hash they were right for: until when.
    right: Mutex<HashMap<u128, Instant>>,
    secret: [u8; 16],
    checks: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            right: Mutex::default(),
            secret: rand::random(),
            checks: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    Right,
    Wrong,
    /// Too many wait.
    Busy,
}

impl Passwords {
    async fn check(&self, site: &str, name: &str, password: &str, hash: &str) -> Checked {
        let mut text = Vec::new();
        for part in [site, name, password, hash] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let fingerprint = SipHasher13::new_with_key(&self.secret)
            .hash(&text)
            .as_u128();
        let now = Instant::now();
        if self
            .right
            .lock()
            .get(&fingerprint)
            .is_some_and(|until| now < *until)
        {
            return Checked::Right;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Checked::Busy;
        }
        let waiting = Waiting(&self.waiting);
        let permit = Arc::clone(&self.checks).acquire_owned().await;
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let check = tokio::task::spawn_blocking(move || {
            let right = bcrypt::verify(password, &hash).unwrap_or(false);
            drop(permit);
            right
        });
        let right = check.await.unwrap_or(false);
        drop(waiting);
        if !right {
            return Checked::Wrong;
        }
        let mut kept = self.right.lock();
        if kept.len() >= REMEMBERED_MAX {
            kept.retain(|_, until| now < *until);
            if kept.len() >= REMEMBERED_MAX {
                kept.clear();
            }
        }
        kept.insert(fingerprint, now + REMEMBERED);
        Checked::Right
    }
}

/// A place in the queue, given back also when the client goes.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Proxy {
    /// Lets pass who is on the site's list of users.
    pub(super) async fn check_password(&self, ask: &Ask) -> Result<(), Turned> {
        let Some(basic) = &ask.site.auth.basic else {
            return Err(Turned::at(Own::AuthUnavailable, &ask.site));
        };
        let challenge = || Turned {
            challenge: Some(basic.challenge.clone()),
            ..Turned::at(Own::Unauthorized, &ask.site)
        };
        let (name, password) = credentials(ask).ok_or_else(challenge)?;
        let Some(users) = self.secrets.of(&basic.users).await else {
            return Err(Turned::at(Own::AuthUnavailable, &ask.site));
        };
        let hash = hash_of(&users, &name);
        let known = hash.is_some();
        let site = &ask.site.name;
        match self
            .passwords
            .check(site, &name, &password, hash.unwrap_or(NOBODY))
            .await
        {
            Checked::Right if known => Ok(()),
            Checked::Right | Checked::Wrong => Err(challenge()),
            Checked::Busy => Err(Turned {
                retry_after_s: Some(1),
                ..Turned::at(Own::AuthUnavailable, &ask.site)
            }),
        }
    }
}

/// Name and password of a request. Only one `Authorization` counts.
fn credentials(ask: &Ask) -> Option<(String, String)> {
    let mut lines = ask.headers.get_all(AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else {
        return None;
    };
    parse(line.to_str().ok()?)
}

fn parse(line: &str) -> Option<(String, String)> {
    let (scheme, rest) = line.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// The hash in a user's line; other forms than bcrypt's count as none.
fn hash_of<'a>(users: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(users).ok()?;
    let lines = text.lines().map(str::trim);
    let mut hashes = lines.filter_map(|line| {
        let (user, hash) = line.split_once(':')?;
        (user == name && !line.starts_with('#')).then_some(hash)
    });
    hashes.next().filter(|hash| {
        ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|kind| hash.starts_with(kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_the_standard_says() {
        let given = |line: &str| parse(line).map(|(name, password)| format!("{name}|{password}"));
        for (line, expected) in [
            ("Basic dGVzdDoxMjPCow==", Some("test|123\u{a3}")),
            ("basic  YTpiOmM=", Some("a|b:c")),
            ("Basic YTo=", Some("a|")),
            ("Basic YQ==", None),
            ("Basic !!", None),
            ("Bearer YTpi", None),
            ("Basic", None),
        ] {
            assert_eq!(given(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn users_are_lines_with_bcrypt_hashes() {
        let users = b"# staff\nann:$2b$04$xyz\nbob:{SHA}abc\n cy:$2y$04$uvw \n";
        assert_eq!(hash_of(users, "ann"), Some("$2b$04$xyz"));
        assert_eq!(hash_of(users, "bob"), None);
        assert_eq!(hash_of(users, "cy"), Some("$2y$04$uvw"));
        assert_eq!(hash_of(users, "dan"), None);
        assert_eq!(hash_of(users, "# staff\nann"), None);
    }

    #[tokio::test]
    async fn what_is_right_is_remembered_for_its_hash_only() {
        let passwords = Passwords::default();
        let hash = bcrypt::hash("right", 4).unwrap();
        let check = async |password, hash| passwords.check("shop", "ann", password, hash).await;
        assert_eq!(check("right", &hash).await, Checked::Right);
        assert_eq!(check("right", &hash).await, Checked::Right);
        assert_eq!(check("wrong", &hash).await, Checked::Wrong);
        // A hash like any other, so that it takes as long.
        assert!(!bcrypt::verify("right", NOBODY).unwrap());
        assert_eq!(check("right", NOBODY).await, Checked::Wrong);
        assert_eq!(passwords.right.lock().len(), 1);
        passwords.waiting.store(WAITING_MAX, Ordering::Relaxed);
        assert_eq!(check("wrong", &hash).await, Checked::Busy);
    }
}
