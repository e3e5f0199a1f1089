//! How long a response is fresh, and how old it is (RFC 9111 §4.2).
//!
//! All times are wall-clock [`SystemTime`]s given by the caller, all durations whole seconds. Arithmetic saturates:
//! a response from a clock far away is stale or young, never a panic.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::cache_control::{AGE_MAX_S, CacheControl, delta_seconds};
use super::date::{date, parse};
use crate::config::policy::Policy;

/// A tenth of the time since the last modification (§4.2.2) …
const HEURISTIC_FRACTION: u64 = 10;
/// … but no more than a day: guesses should not outlive a working day.
const HEURISTIC_MAX_S: u64 = 24 * 60 * 60;

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `s-maxage`.
    SMaxAge,
    /// `max-age`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// The site says it of errors that say nothing themselves.
    Site,
    /// A guess from `Last-Modified`.
    Heuristic,
    /// Nothing in the response says so, and nothing may be guessed.
    Unknown,
}

/// A freshness lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// Seconds from the response's generation.
    pub seconds: u64,
    /// Where it comes from.
    pub source: Source,
}

impl Lifetime {
    /// True when it was said, and not guessed.
    #[must_use]
    pub(super) fn is_explicit(self) -> bool {
        !matches!(self.source, Source::Heuristic | Source::Unknown)
    }
}

/// The lifetime a shared cache gives a response (§4.2.1): `s-maxage`, else `max-age`, else `Expires` (unless a targeted
/// field governs), else a guess.
#[must_use]
pub(super) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &CacheControl,
    response_time: SystemTime,
) -> Lifetime {
    if let Some(seconds) = directives.s_maxage {
        return Lifetime {
            seconds,
            source: Source::SMaxAge,
        };
    }
    if let Some(seconds) = directives.max_age {
        return Lifetime {
            seconds,
            source: Source::MaxAge,
        };
    }
    let generated = date(headers, DATE).unwrap_or(response_time);
    if headers.contains_key(EXPIRES) && !directives.targeted {
        // Any date that cannot be read means "already expired" (§5.3); of several the earliest counts.
        let seconds = headers
            .get_all(EXPIRES)
            .iter()
            .map(|value| parse(value.as_bytes()))
            .map(|expires| expires.map_or(0, |expires| seconds_between(generated, expires)))
            .min()
            .unwrap_or(0);
        return Lifetime {
            seconds: seconds.min(AGE_MAX_S),
            source: Source::Expires,
        };
    }
    if (heuristic_status(status) || directives.public)
        && let Some(modified) = date(headers, LAST_MODIFIED)
    {
        let seconds =
            (seconds_between(modified, generated) / HEURISTIC_FRACTION).min(HEURISTIC_MAX_S);
        return Lifetime {
            seconds,
            source: Source::Heuristic,
        };
    }
    Lifetime {
        seconds: 0,
        source: Source::Unknown,
    }
}

/// An error's lifetime under a site's `negative_ttl`: that, where the answer gives none itself. The errors are those that
/// a cache may keep without being told to, and the origin's own failures.
#[must_use]
pub(super) fn negative(life: Lifetime, status: StatusCode, policy: &Policy) -> Lifetime {
    let code = status.as_u16();
    let is_negative = matches!(code, 404 | 405 | 410 | 414) || code >= 500;
    match policy.negative_ttl {
        Some(lifetime) if is_negative && !life.is_explicit() => Lifetime {
            seconds: lifetime.as_secs(),
            source: Source::Site,
        },
        _ => life,
    }
}

/// The statuses that may be given a guessed lifetime (RFC 9110 §15.1). 206 is left out: parts are not stored.
#[must_use]
pub(super) fn heuristic_status(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// The age a response had when it arrived, in seconds (§4.2.3, `corrected_initial_age`).
#[must_use]
pub(super) fn initial_age(
    headers: &HeaderMap,
    request_time: SystemTime,
    response_time: SystemTime,
) -> u64 {
    let apparent = date(headers, DATE).map_or(0, |date| seconds_between(date, response_time));
    let corrected = age_value(headers) + seconds_between(request_time, response_time);
    apparent.max(corrected).min(AGE_MAX_S)
}

/// The age now, in seconds (§4.2.3, `current_age`). `initial_age_s` is [`initial_age`] at `response_time`.
#[must_use]
pub(super) fn current_age(initial_age_s: u64, response_time: SystemTime, now: SystemTime) -> u64 {
    (initial_age_s + seconds_between(response_time, now)).min(AGE_MAX_S)
}

/// The Age field of a received response: the first member of the first line, ignored when it is no number (§5.1).
fn age_value(headers: &HeaderMap) -> u64 {
    headers
        .get(AGE)
        .and_then(|value| value.as_bytes().split(|byte| *byte == b',').next())
        .and_then(|first| delta_seconds(first.trim_ascii()))
        .unwrap_or(0)
}

/// Whole seconds from `earlier` to `later`; zero when they are the other way round.
#[must_use]
pub(super) fn seconds_between(earlier: SystemTime, later: SystemTime) -> u64 {
    later.duration_since(earlier).map_or(0, |gap| gap.as_secs())
}

/// Milliseconds since 1970; the form in which entries keep times.
#[must_use]
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX))
}

/// The time `ms` milliseconds after 1970.
#[must_use]
pub(super) fn from_unix_ms(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NOW_S: u64 = 1_700_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn text(seconds: u64) -> String {
        httpdate::fmt_http_date(at(seconds))
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn life(status: u16, fields: &[(&'static str, &str)]) -> (u64, Source) {
        let headers = headers(fields);
        let directives = CacheControl::of_response(&headers);
        let status = StatusCode::from_u16(status).unwrap();
        let lifetime = lifetime(status, &headers, &directives, at(NOW_S));
        (lifetime.seconds, lifetime.source)
    }

    #[test]
    fn shared_directives_come_before_private_ones_and_dates() {
        let expires = text(NOW_S + 500);
        let all = [
            ("cache-control", "max-age=20, s-maxage=10"),
            ("expires", expires.as_str()),
        ];
        assert_eq!(life(200, &all), (10, Source::SMaxAge));
        let no_shared = [
            ("cache-control", "max-age=20"),
            ("expires", expires.as_str()),
        ];
        assert_eq!(life(200, &no_shared), (20, Source::MaxAge));
        assert_eq!(life(200, &[("expires", &expires)]), (500, Source::Expires));
    }

    #[test]
    fn expires_counts_from_date_and_broken_dates_mean_stale() {
        let (date, later) = (text(NOW_S - 100), text(NOW_S + 200));
        assert_eq!(
            life(200, &[("date", &date), ("expires", &later)]),
            (300, Source::Expires)
        );
        assert_eq!(
            life(200, &[("date", "nonsense"), ("expires", &later)]),
            (200, Source::Expires)
        );
        for broken in ["0", "-1", "tomorrow", "", "Thu, 99 Foo 2040 00:00:00 GMT"] {
            assert_eq!(
                life(200, &[("expires", broken)]),
                (0, Source::Expires),
                "{broken}"
            );
        }
        assert_eq!(
            life(200, &[("expires", &later), ("expires", "0")]),
            (0, Source::Expires)
        );
        for form in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(
                life(200, &[("expires", form)]),
                (0, Source::Expires),
                "{form}"
            );
        }
    }

    #[test]
    fn guesses_need_a_modification_date_and_a_status_that_allows_them() {
        let modified = text(NOW_S - 1000);
        assert_eq!(
            life(200, &[("last-modified", &modified)]),
            (100, Source::Heuristic)
        );
        assert_eq!(
            life(500, &[("last-modified", &modified)]),
            (0, Source::Unknown)
        );
        let public = [
            ("last-modified", modified.as_str()),
            ("cache-control", "public"),
        ];
        assert_eq!(life(500, &public), (100, Source::Heuristic));
        assert_eq!(life(200, &[]), (0, Source::Unknown));
        let ancient = text(1000);
        assert_eq!(
            life(200, &[("last-modified", &ancient)]),
            (HEURISTIC_MAX_S, Source::Heuristic)
        );
        let future = text(NOW_S + 1000);
        assert_eq!(
            life(200, &[("last-modified", &future)]),
            (0, Source::Heuristic)
        );
    }

    #[test]
    fn age_counts_what_upstream_says_and_the_time_on_the_way() {
        let check = |fields: &[(&'static str, &str)], asked: u64, expected: u64| {
            assert_eq!(
                initial_age(&headers(fields), at(asked), at(NOW_S)),
                expected,
                "{fields:?}"
            );
        };
        check(&[], NOW_S, 0);
        check(&[("age", "10")], NOW_S - 3, 13);
        check(&[("age", "10, 99")], NOW_S, 10);
        check(&[("age", "10"), ("age", "99")], NOW_S, 10);
        check(&[("age", "x")], NOW_S, 0);
        check(&[("age", "-5")], NOW_S, 0);
        check(&[("age", "99999999999999999999")], NOW_S, AGE_MAX_S);
        check(&[("date", &text(NOW_S - 50))], NOW_S - 1, 50);
        check(&[("date", &text(NOW_S + 50))], NOW_S - 1, 1);
        assert_eq!(current_age(13, at(NOW_S), at(NOW_S + 7)), 20);
        assert_eq!(current_age(13, at(NOW_S), at(NOW_S - 7)), 13);
    }
}
