//! Is an origin worth asking? From two observers: requests that fail (passive) and checks (active).
//!
//! Passive: some failures in a row take an origin out for a second, then two, four… up to a minute. When the time is
//! over one request tries it; success brings it back, failure doubles the time. Active: `fall` failures and `rise`
//! successes in a row, as the site says. An origin is asked when neither is against it, and, if that leaves none, all
//! the same: a wrong verdict must not take a site down.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Failed requests in a row that take an origin out.
const FAILURES_MAX: u32 = 3;
const DOWN_FIRST: Duration = Duration::from_secs(1);
const DOWN_MAX: Duration = Duration::from_secs(60);
/// While one request tries an origin that was out, the others wait this long for what it finds.
const TRIAL: Duration = Duration::from_secs(1);

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// The health of one origin, shared by all cores. Written on failures, and on a success only after one.
#[derive(Debug)]
pub(super) struct Health {
    /// Times below are milliseconds since then.
    born: Instant,
    failures: AtomicU32,
    /// 0: not out.
    down_until_ms: AtomicU64,
    /// How many times it was taken out without a success in between.
    downs: AtomicU32,
    /// One request was let through to try it.
    trying: AtomicBool,
    active: AtomicU8,
    /// Results of checks in a row that contradict `active`.
    checks_against: AtomicU32,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            born: now,
            failures: AtomicU32::new(0),
            down_until_ms: AtomicU64::new(0),
            downs: AtomicU32::new(0),
            trying: AtomicBool::new(false),
            active: AtomicU8::new(UNKNOWN),
            checks_against: AtomicU32::new(0),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.born).as_millis();
        // 0 means "not out".
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Is it believed to answer? Changes nothing.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.active.load(Ordering::Relaxed) != DOWN
            && self.down_until_ms.load(Ordering::Relaxed) <= self.millis(now)
    }

    /// May a request be sent to it? Where its time out has just ended, only the first who asks is told yes.
    pub(super) fn admits(&self, now: Instant) -> bool {
        if self.active.load(Ordering::Relaxed) == DOWN {
            return false;
        }
        let until = self.down_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = self.millis(now);
        let trial_until = now.saturating_add(TRIAL.as_millis() as u64);
        let first = until <= now
            && self
                .down_until_ms
                .compare_exchange(until, trial_until, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if first {
            self.trying.store(true, Ordering::Relaxed);
        }
        first
    }

    /// A request was answered. Returns true when that brought it back.
    pub(super) fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.down_until_ms.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.downs.store(0, Ordering::Relaxed);
        self.down_until_ms.swap(0, Ordering::Relaxed) != 0
    }

    /// A request failed. Returns for how long it is taken out, if it is.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let is_out = self.down_until_ms.load(Ordering::Relaxed) != 0;
        if is_out {
            // Requests that were under way when it was taken out do not make it worse; the one that tries it does.
            if !self.trying.swap(false, Ordering::Relaxed) {
                return None;
            }
        } else if failures < FAILURES_MAX {
            return None;
        }
        let downs = self.downs.fetch_add(1, Ordering::Relaxed).min(16);
        let time = DOWN_FIRST.saturating_mul(1 << downs).min(DOWN_MAX);
        let until = self.millis(now).saturating_add(time.as_millis() as u64);
        self.down_until_ms.store(until, Ordering::Relaxed);
        Some(time)
    }

    /// A check ended. Returns the new state when it changed.
    pub(super) fn checked(&self, good: bool, fall: u32, rise: u32) -> Option<bool> {
        let before = self.active.load(Ordering::Relaxed);
        let against = match (before, good) {
            (UP, true) | (DOWN, false) => {
                self.checks_against.store(0, Ordering::Relaxed);
                return None;
            }
            // The first success of an origin nobody knows is enough.
            (UNKNOWN, true) => rise,
            _ => self.checks_against.fetch_add(1, Ordering::Relaxed) + 1,
        };
        if against < if good { rise } else { fall } {
            return None;
        }
        self.checks_against.store(0, Ordering::Relaxed);
        self.active
            .store(if good { UP } else { DOWN }, Ordering::Relaxed);
        if good {
            // Whoever answers checks again is asked at once.
            self.failures.store(0, Ordering::Relaxed);
            self.downs.store(0, Ordering::Relaxed);
            self.down_until_ms.store(0, Ordering::Relaxed);
        }
        (before != UNKNOWN || !good).then_some(good)
    }

    /// Checks were switched off.
    pub(super) fn unchecked(&self) {
        self.active.store(UNKNOWN, Ordering::Relaxed);
        self.checks_against.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_take_it_out_for_a_growing_while() {
        let start = Instant::now();
        let health = Health::new(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(health.failed(at(0)), None);
        assert!(!health.succeeded());
        assert_eq!(health.failed(at(0)), None);
        assert_eq!(health.failed(at(0)), None);
        assert!(health.admits(at(0)));
        assert_eq!(health.failed(at(0)), Some(Duration::from_secs(1)));
        assert!(!health.admits(at(900)));
        // One request tries it, the others stay away until it has found out.
        assert!(health.admits(at(1100)));
        assert!(!health.admits(at(1101)));
        assert_eq!(health.failed(at(1200)), Some(Duration::from_secs(2)));
        assert!(!health.admits(at(3000)));
        assert!(health.admits(at(3300)));
        assert!(health.succeeded());
        assert!(health.admits(at(3301)) && health.admits(at(3301)));
    }

    #[test]
    fn requests_already_under_way_do_not_make_it_worse() {
        let start = Instant::now();
        let health = Health::new(start);
        for _ in 0..50 {
            health.failed(start);
        }
        assert!(health.is_up(start + Duration::from_millis(5_000)));
    }

    #[test]
    fn checks_need_fall_and_rise_in_a_row() {
        let now = Instant::now();
        let health = Health::new(now);
        assert_eq!(health.checked(true, 2, 3), None);
        assert_eq!(health.checked(false, 2, 3), None);
        assert_eq!(health.checked(true, 2, 3), None);
        assert_eq!(health.checked(false, 2, 3), None);
        assert!(health.is_up(now));
        assert_eq!(health.checked(false, 2, 3), Some(false));
        assert!(!health.is_up(now) && !health.admits(now));
        assert_eq!(health.checked(true, 2, 3), None);
        assert_eq!(health.checked(true, 2, 3), None);
        assert_eq!(health.checked(true, 2, 3), Some(true));
        assert!(health.is_up(now));
    }
}
