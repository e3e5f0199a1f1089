//! Two small facts about keys that all workers share: "its answers are not for storing" and "it was invalidated".
//!
//! Both are tables of a fixed number of slots, one atomic word each: no lock, no allocation, no growth. A slot holds
//! the latest key that fell into it, known by a fingerprint; the one before is forgotten. That costs little: a
//! forgotten solo key makes some readers wait once more, and an invalidated entry has also been removed from the
//! store, so that its mark matters only to fetches that were under way. The hash is keyed, so that a client cannot
//! aim at another's slot.
//!
//! Where single URLs were too many to be told by another node, a site has a mark as a whole. Those are kept apart, in
//! a map that loses none: nothing was removed from the store for them. There are as many as there are sites.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::freshness::unix_ms;

const SLOTS: usize = 1 << 14;

/// 2020-01-01, from which invalidation times count so that 40 bits last until 2054.
const EPOCH_MS: u64 = 1_577_836_800_000;
const TIME_MASK: u64 = (1 << 40) - 1;

/// How long a key is remembered as not worth waiting for.
const SOLO: Duration = Duration::from_secs(10);

/// The tables.
#[derive(Debug)]
pub(super) struct Marks {
    seed: (u64, u64),
    begin: Instant,
    /// The same moment, in milliseconds since 2020.
    begin_ms: u64,
    /// High half: fingerprint. Low half: seconds since `begin` until which the mark holds.
    solo: Box<[AtomicU64]>,
    /// High 24 bits: fingerprint. Low 40: milliseconds since 2020; what was asked for before is unusable.
    invalidated: Box<[AtomicU64]>,
    /// Site → milliseconds since 2020: the same for everything of the site.
    sites: ArcSwap<HashMap<Box<str>, u64>>,
    /// The latest of those times. What was asked for later needs no look at the table.
    newest_ms: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        let table = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self {
            seed: (rand::random(), rand::random()),
            begin: Instant::now(),
            begin_ms: compact(unix_ms(SystemTime::now())),
            solo: table(),
            invalidated: table(),
            sites: ArcSwap::default(),
            newest_ms: AtomicU64::new(0),
        }
    }
}

impl Marks {
    /// Remembers for a while that readers of this key should not wait for each other, as the answer to one cannot be
    /// shared with the next. (Varnish calls it hit-for-miss.)
    pub(super) fn set_solo(&self, key: &[u8], now: Instant) {
        let hash = self.hash(key);
        let until = self.seconds(now) + SOLO.as_secs();
        self.solo[slot(hash)].store(fingerprint(hash) | (until & 0xffff_ffff), Ordering::Relaxed);
    }

    /// Forgets it: the last answer could be shared.
    pub(super) fn clear_solo(&self, key: &[u8], now: Instant) {
        if self.is_solo(key, now) {
            self.solo[slot(self.hash(key))].store(0, Ordering::Relaxed);
        }
    }

    /// Is it remembered?
    #[must_use]
    pub(super) fn is_solo(&self, key: &[u8], now: Instant) -> bool {
        let hash = self.hash(key);
        let mark = self.solo[slot(hash)].load(Ordering::Relaxed);
        mark & !0xffff_ffff == fingerprint(hash) && (mark & 0xffff_ffff) > self.seconds(now)
    }

    /// Makes everything unusable that was asked of the origin up to `now` under this purge identity (RFC 9111 §4.4).
    pub(super) fn invalidate(&self, site: &str, identity: &str, now: SystemTime) {
        let hash = self.hash_in(site, identity);
        let now_ms = compact(unix_ms(now));
        // First: who finds the old value here would not look at the table.
        self.newest_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.invalidated[slot(hash)].store((hash & !TIME_MASK) | now_ms, Ordering::Release);
    }

    /// The same for everything of a site.
    pub(super) fn invalidate_site(&self, site: &str, now: SystemTime) {
        let now_ms = compact(unix_ms(now));
        self.newest_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            let mark = sites.entry(site.into()).or_default();
            *mark = now_ms.max(*mark);
            sites
        });
    }

    /// May a response that was asked for at this time be used?
    #[must_use]
    pub(super) fn is_valid(&self, site: &str, identity: &str, request_time: SystemTime) -> bool {
        let asked_ms = compact(unix_ms(request_time));
        if self.newest_ms.load(Ordering::Acquire) < asked_ms {
            return true;
        }
        if self
            .sites
            .load()
            .get(site)
            .is_some_and(|mark| asked_ms <= *mark)
        {
            return false;
        }
        let hash = self.hash_in(site, identity);
        let mark = self.invalidated[slot(hash)].load(Ordering::Acquire);
        mark & !TIME_MASK != hash & !TIME_MASK || (mark & TIME_MASK) < asked_ms
    }

    /// Was this asked for so late that no write can have come since, neither in this life of the node nor before?
    #[must_use]
    pub(super) fn is_newest(&self, request_time: SystemTime) -> bool {
        let asked_ms = compact(unix_ms(request_time));
        self.newest_ms.load(Ordering::Acquire).max(self.begin_ms) < asked_ms
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(bytes);
        hasher.finish()
    }

    fn hash_in(&self, site: &str, identity: &str) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(site.as_bytes());
        // Stands in neither.
        hasher.write(&[0]);
        hasher.write(identity.as_bytes());
        hasher.finish()
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begin).as_secs()
    }
}

fn slot(hash: u64) -> usize {
    (hash as usize) & (SLOTS - 1)
}

fn compact(unix_ms: u64) -> u64 {
    unix_ms.saturating_sub(EPOCH_MS) & TIME_MASK
}

fn fingerprint(hash: u64) -> u64 {
    hash & !0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_solo_for_a_while() {
        let marks = Marks::default();
        let now = Instant::now();
        assert!(!marks.is_solo(b"a", now));
        marks.set_solo(b"a", now);
        assert!(marks.is_solo(b"a", now));
        assert!(!marks.is_solo(b"b", now));
        assert!(!marks.is_solo(b"a", now + SOLO + Duration::from_secs(1)));
        marks.clear_solo(b"a", now);
        assert!(!marks.is_solo(b"a", now));
    }

    #[test]
    fn what_was_asked_before_an_invalidation_is_not_used() {
        let marks = Marks::default();
        let now = SystemTime::now();
        let (before, after) = (now - Duration::from_secs(1), now + Duration::from_millis(2));
        assert!(marks.is_valid("s", "h/a", before));
        marks.invalidate("s", "h/a", now);
        assert!(!marks.is_valid("s", "h/a", before));
        assert!(!marks.is_valid("s", "h/a", now));
        assert!(marks.is_valid("s", "h/a", after));
        assert!(marks.is_valid("s", "h/b", before));
        assert!(marks.is_valid("t", "h/a", before));
        marks.invalidate_site("s", now);
        assert!(!marks.is_valid("s", "h/b", now));
        assert!(marks.is_valid("s", "h/b", after));
        assert!(marks.is_valid("t", "h/b", before));
        // An earlier mark takes nothing back.
        marks.invalidate_site("s", before);
        assert!(!marks.is_valid("s", "h/b", now));
    }
}
