//! May this stored response answer this request now, and if not, what then (RFC 9111 §4, RFC 5861)?
//!
//! Pure: everything is given. The store holds what the response said; a site's defaults and rules are applied here,
//! at use, so that a changed site file counts for what is already stored.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::cache_control::{CacheControl, Scope};
use super::freshness::current_age;
use super::storable::ttl_applies;
use crate::config::policy::{Policy, Ttl};
use crate::view::PurgeVerdict;

/// The freshness data of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When it arrived.
    pub response_time: SystemTime,
    /// Its age on arrival, seconds.
    pub initial_age_s: u64,
    /// Its lifetime by its own fields, seconds.
    pub lifetime_s: u64,
    /// `no-cache` without field names: every use asks the origin first.
    pub no_cache: bool,
    /// `must-revalidate` or `proxy-revalidate`: never stale.
    pub must_revalidate: bool,
    /// `s-maxage` implies `proxy-revalidate` (RFC 9111 §5.2.2.10), but a window of RFC 5861 beside it is a word of
    /// its own: it forbids the site's default windows only.
    pub s_maxage: bool,
    /// It came by way of another cache. Of use to who asked for it only, and not stored.
    pub came_with_age: bool,
    /// `immutable`: while it is fresh, reloads do not ask about it (RFC 8246).
    pub immutable: bool,
    /// RFC 5861 §3, when the response says so.
    pub stale_while_revalidate_s: Option<u64>,
    /// RFC 5861 §4, when the response says so.
    pub stale_if_error_s: Option<u64>,
}

/// What to do with a stored response that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Send it. Seconds of freshness left.
    Fresh {
        /// Seconds; for `Cache-Status`.
        ttl_s: i64,
    },
    /// Send it though it is stale, as the client accepts it (`max-stale`).
    AcceptedStale {
        /// Negative or zero seconds.
        ttl_s: i64,
    },
    /// Send it and ask the origin in the background.
    WhileRevalidate {
        /// Negative or zero seconds.
        ttl_s: i64,
    },
    /// Ask the origin first.
    Revalidate {
        /// Why: it is stale, or the request wants it so.
        because: Because,
    },
}

/// Why the origin is asked although something is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// It is stale.
    Stale,
    /// The request says so: `no-cache`, `max-age`, `min-fresh`.
    Request,
}

/// What reuse is decided from, besides the stored response's freshness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'a> {
    /// The status that is stored.
    pub status: StatusCode,
    /// The request's `Cache-Control`.
    pub request: &'a CacheControl,
    /// What the site says.
    pub policy: &'a Policy,
    /// What purges say of it. `Gone` never gets here.
    pub purge: PurgeVerdict,
    /// The clock.
    pub now: SystemTime,
}

impl Freshness {
    /// Seconds since the response was generated, as `Age` says.
    #[must_use]
    pub fn age_s(&self, now: SystemTime) -> u64 {
        current_age(self.initial_age_s, self.response_time, now)
    }

    /// Seconds of freshness left; negative when stale. What a site says counts from arrival: the origin's
    /// own clock has no say in it.
    #[must_use]
    pub fn ttl_s(&self, status: StatusCode, policy: &Policy, now: SystemTime) -> i64 {
        let own = || signed(self.lifetime_s) - signed(self.age_s(now));
        if policy.ttl.is_none() && policy.ttl_min.is_none() && policy.ttl_max.is_none() {
            return own();
        }
        let here = signed(current_age(0, self.response_time, now));
        let ruled = |ttl: Option<Ttl>| {
            let ttl = ttl.filter(|ttl| ttl_applies(*ttl, status))?;
            Some(signed(ttl.lifetime.as_secs()) - here)
        };
        let mut left = ruled(policy.ttl).unwrap_or_else(own);
        if let Some(floor) = ruled(policy.ttl_min) {
            left = left.max(floor);
        }
        if let Some(ceiling) = policy.ttl_max {
            left = left.min(signed(ceiling.as_secs()) - here);
        }
        left
    }

    /// May the readers that waited for this response share it? Only where a request coming a moment later could have
    /// had it from the cache: fresh, and without a duty to ask first. So a page that is made for one user, but not
    /// marked so, is not handed to those who happened to wait beside them.
    #[must_use]
    pub(super) fn shareable(&self, status: StatusCode, policy: &Policy, now: SystemTime) -> bool {
        !self.no_cache && self.ttl_s(status, policy, now) > 0
    }

    /// Decides.
    #[must_use]
    pub(super) fn reuse(&self, at: Circumstances<'_>) -> Reuse {
        let ttl_s = self.ttl_s(at.status, at.policy, at.now);
        let fresh = ttl_s > 0 && !self.no_cache && at.purge == PurgeVerdict::Usable;
        if at.request.no_cache != Scope::Absent {
            return Reuse::Revalidate {
                because: Because::Request,
            };
        }
        if fresh {
            // A reload says max-age=0; what is immutable need not be asked about for that (RFC 8246 §2).
            let young = self.immutable || !self.is_too_old(at);
            let lasting = at.request.min_fresh.is_none_or(|min| ttl_s >= signed(min));
            if young && lasting {
                return Reuse::Fresh { ttl_s };
            }
            return Reuse::Revalidate {
                because: Because::Request,
            };
        }
        let staleness_s = (-ttl_s).max(0).unsigned_abs();
        if self.no_cache || self.must_revalidate {
            return Reuse::Revalidate {
                because: Because::Stale,
            };
        }
        if at.request.min_fresh.is_some() || self.is_too_old(at) {
            return Reuse::Revalidate {
                because: Because::Request,
            };
        }
        let accepted = at.request.max_stale.is_some_and(|max| staleness_s <= max);
        if accepted && !self.s_maxage && at.purge == PurgeVerdict::Usable {
            return Reuse::AcceptedStale { ttl_s };
        }
        let window = self.window_s(
            self.stale_while_revalidate_s,
            at.policy.stale_while_revalidate,
        );
        if window > 0 && staleness_s <= window {
            return Reuse::WhileRevalidate { ttl_s };
        }
        Reuse::Revalidate {
            because: Because::Stale,
        }
    }

    /// May it be sent because no origin gave a good answer (RFC 5861 §4)? The request may widen or narrow the window
    /// by a `stale-if-error` of its own.
    #[must_use]
    pub(super) fn stale_if_error(&self, at: Circumstances<'_>) -> bool {
        if self.no_cache || self.must_revalidate || at.request.no_cache != Scope::Absent {
            return false;
        }
        let ttl_s = self.ttl_s(at.status, at.policy, at.now);
        let staleness_s = (-ttl_s).max(0).unsigned_abs();
        let window = match at.request.stale_if_error {
            Some(asked) if !self.s_maxage || self.stale_if_error_s.is_some() => asked,
            _ => self.window_s(self.stale_if_error_s, at.policy.stale_if_error),
        };
        // Not stale at all: fresh, but the request had wanted better.
        window > 0 && staleness_s <= window || ttl_s > 0 && at.purge == PurgeVerdict::Usable
    }

    /// Is it older than the request wants? `max-age=0` asks the origin, even about what has come within this second.
    fn is_too_old(&self, at: Circumstances<'_>) -> bool {
        at.request
            .max_age
            .is_some_and(|max| max == 0 || self.age_s(at.now) > max)
    }

    fn window_s(&self, own: Option<u64>, site_default: Option<Duration>) -> u64 {
        match own {
            Some(own) => own,
            None if self.s_maxage => 0,
            None => site_default.map_or(0, |window| window.as_secs()),
        }
    }
}

/// Answers that count as the origin being broken (RFC 5861 §4).
#[must_use]
pub(super) fn is_broken(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
