//! Two small facts about keys that all workers share: "its answers are not for storing" and "it was invalidated".
//!
//! Both are tables of a fixed number of slots, one atomic word each: no lock, no allocation, no growth. A slot holds
//! the latest key that fell into it, known by a fingerprint; the one before is forgotten. That costs little: a
//! forgotten solo key makes some readers wait once more, and an invalidated entry has also been removed from the
//! store, so that its mark matters only to fetches that were under way. The hash is keyed, so that a client cannot
//! aim at another's slot.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

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
    /// High half: fingerprint. Low half: seconds since `begin` until which the mark holds.
    solo: Box<[AtomicU64]>,
    /// High 24 bits: fingerprint. Low 40: milliseconds since 2020; what was asked for before is unusable.
    invalidated: Box<[AtomicU64]>,
    /// The latest of those times. What was asked for later needs no look at the table.
    newest_ms: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        let table = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self {
            seed: (rand::random(), rand::random()),
            begin: Instant::now(),
            solo: table(),
            invalidated: table(),
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
    pub(super) fn invalidate(&self, identity: &str, now: SystemTime) {
        let hash = self.hash(identity.as_bytes());
        let now_ms = compact(unix_ms(now));
        // First: who finds the old value here would not look at the table.
        self.newest_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.invalidated[slot(hash)].store((hash & !TIME_MASK) | now_ms, Ordering::Release);
    }

    /// May a response that was asked for at this time be used?
    #[must_use]
    pub(super) fn is_valid(&self, identity: &str, request_time: SystemTime) -> bool {
        let asked_ms = compact(unix_ms(request_time));
        if self.newest_ms.load(Ordering::Acquire) < asked_ms {
            return true;
        }
        let hash = self.hash(identity.as_bytes());
        let mark = self.invalidated[slot(hash)].load(Ordering::Acquire);
        mark & !TIME_MASK != hash & !TIME_MASK || (mark & TIME_MASK) < asked_ms
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(bytes);
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
        assert!(marks.is_valid("h/a", before));
        marks.invalidate("h/a", now);
        assert!(!marks.is_valid("h/a", before));
        assert!(!marks.is_valid("h/a", now));
        assert!(marks.is_valid("h/a", after));
        assert!(marks.is_valid("h/b", before));
    }
}
