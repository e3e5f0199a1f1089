//! May this answer be stored (RFC 9111 §3), and may it be shared by the readers that wait for it?

use http::header::{AUTHORIZATION, HeaderName, RANGE, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use super::cache_control::{CacheControl, Scope};
use super::conditions::has_validator;
use super::freshness::{Lifetime, Source, heuristic_status};
use super::headers::chosen_by;
use super::outcome::Refusal;
use super::query::is_query;
use super::vary::Vary;
use crate::config::policy::Ttl;
use crate::config::site::SetCookie;

/// What storing is decided from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The client's fields.
    pub request: &'a HeaderMap,
    /// The request's `Cache-Control`.
    pub request_directives: &'a CacheControl,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's fields.
    pub answer: &'a HeaderMap,
    /// The answer's `Cache-Control`.
    pub directives: &'a CacheControl,
    /// Its lifetime, before a site's rule.
    pub lifetime: Lifetime,
    /// A 206 that can be kept as a part.
    pub part: bool,
    /// True when a rule of the site gives this answer a lifetime.
    pub site_ttl: bool,
    /// The site's policy.
    pub set_cookie: SetCookie,
}

/// How an answer may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storable {
    /// Fields that are left out of what is stored.
    pub excluded: Vec<HeaderName>,
    /// Those of them that the client who asked gets nevertheless.
    pub personal: Vec<HeaderName>,
    /// What chooses between variants.
    pub vary: Vec<HeaderName>,
}

/// Decides (RFC 9111 §3). The error says why not, for the log and `Cache-Status`.
pub(super) fn storable(exchange: Exchange<'_>) -> Result<Storable, Refusal> {
    let Exchange {
        directives,
        status,
        answer,
        ..
    } = exchange;
    if exchange.method != Method::GET && !is_query(exchange.method) {
        return Err(Refusal::Method);
    }
    let partial = status == StatusCode::PARTIAL_CONTENT;
    let never = status.is_informational() || status == StatusCode::NOT_MODIFIED;
    if never || forbids_storing(status) || partial && !exchange.part {
        return Err(Refusal::Status);
    }
    if speaks_of_the_request(status) && is_odd(exchange.request) {
        return Err(Refusal::OddRequest);
    }
    // What does not satisfy one range says nothing to those who ask for another, or for all; ranges are in no key.
    if status == StatusCode::RANGE_NOT_SATISFIABLE && exchange.request.contains_key(RANGE) {
        return Err(Refusal::Status);
    }
    if directives.must_understand && !understood(status) {
        return Err(Refusal::Status);
    }
    // A response that asks to be understood, and is, is exempt from its own no-store (§5.2.2.3).
    if directives.no_store && !directives.must_understand {
        return Err(Refusal::NoStore);
    }
    if exchange.request_directives.no_store {
        return Err(Refusal::RequestNoStore);
    }
    if directives.private == Scope::Whole {
        return Err(Refusal::Private);
    }
    if exchange.request.contains_key(AUTHORIZATION) && !directives.allows_credentials() {
        return Err(Refusal::Authorization);
    }
    let personal = directives.narrowed();
    let mut excluded = personal.clone();
    if answer.contains_key(SET_COOKIE)
        && !excluded.contains(&SET_COOKIE)
        && !directives.lets_cookies_in(exchange.set_cookie)
    {
        if exchange.set_cookie != SetCookie::Strip {
            return Err(Refusal::SetCookie);
        }
        excluded.push(SET_COOKIE);
    }
    let vary = match chosen_by(answer) {
        Vary::Nothing => Vec::new(),
        Vary::Fields(fields) => fields,
        Vary::Anything => return Err(Refusal::VaryAnything),
    };
    let may = exchange.lifetime.is_explicit()
        || directives.public
        || exchange.site_ttl
        || heuristic_status(status);
    if !may {
        return Err(Refusal::Status);
    }
    // What could never be used again, not even after asking the origin, is not worth a place.
    let stale_use = exchange.lifetime.is_explicit()
        && (directives.stale_if_error.unwrap_or(0) > 0
            || directives.stale_while_revalidate.unwrap_or(0) > 0);
    // Nor is what must be asked about at every use, and cannot be.
    let usable = exchange.lifetime.seconds > 0 || exchange.site_ttl || stale_use;
    let useful = has_validator(answer) || usable && directives.no_cache != Scope::Whole;
    if !useful {
        return Err(match exchange.lifetime.source {
            Source::Unknown | Source::Heuristic => Refusal::NoFreshness,
            _ => Refusal::Expired,
        });
    }
    Ok(Storable {
        excluded,
        personal,
        vary,
    })
}

/// Statuses that no cache may store, whatever stands beside them (RFC 6585 §3 to §6).
fn forbids_storing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 428 | 429 | 431 | 511)
}

/// Statuses that say what is wrong with the request's fields or connection, rather than with what its URL names.
fn speaks_of_the_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 406 | 408 | 411 | 413 | 415..=417 | 421 | 425 | 426
    )
}

/// More bytes of fields than this is what makes some origins refuse a request that we let pass.
const PLAIN_BYTES: usize = 4096;

/// Has a request more in its fields than a plain one? Then an error about it may be for its client alone, and stored,
/// with a lifetime that the origin gives to all its answers, it would be everyone's.
fn is_odd(request: &HeaderMap) -> bool {
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
    let bytes: usize = request
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    bytes > PLAIN_BYTES
        || !request
            .values()
            .all(|value| value.as_bytes().iter().all(is_text))
}

/// Statuses whose meaning for caching this cache implements (RFC 9110 §15).
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 201 | 202 | 203 | 204 | 205 | 300 | 301 | 302 | 303 | 307 | 308
            | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// Does a site's `ttl` speak of answers with this status? It does not turn an error page into a month of errors, unless
/// its rule names the status.
#[must_use]
pub(super) fn ttl_applies(ttl: Ttl, status: StatusCode) -> bool {
    ttl.names_status || matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    use http::HeaderValue;

    use super::super::freshness::lifetime;

    const CC: &str = "cache-control";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    struct Case {
        request: HeaderMap,
        status: u16,
        set_cookie: SetCookie,
        site_ttl: bool,
    }

    impl Case {
        fn check(
            &self,
            answer: &[(&'static str, &'static str)],
            expected: Result<&[&str], Refusal>,
        ) {
            let answer = headers(answer);
            let status = StatusCode::from_u16(self.status).unwrap();
            let directives = CacheControl::of_response(&answer);
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let verdict = storable(Exchange {
                method: &Method::GET,
                request: &self.request,
                request_directives: &CacheControl::of_request(&self.request),
                status,
                answer: &answer,
                directives: &directives,
                lifetime: lifetime(status, &answer, &directives, now),
                part: true,
                site_ttl: self.site_ttl,
                set_cookie: self.set_cookie,
            });
            let excluded = verdict.map(|storable| {
                storable
                    .excluded
                    .iter()
                    .map(|name| name.as_str().to_owned())
                    .collect::<Vec<_>>()
            });
            let expected =
                expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(excluded, expected, "{} {answer:?}", self.status);
        }
    }

    fn case() -> Case {
        Case {
            request: HeaderMap::new(),
            status: 200,
            set_cookie: SetCookie::Explicit,
            site_ttl: false,
        }
    }

    #[test]
    fn an_answer_needs_leave_and_a_use() {
        let plain = case();
        plain.check(&[(CC, "max-age=1")], Ok(&[]));
        plain.check(&[("etag", "\"a\"")], Ok(&[]));
        plain.check(&[(CC, "no-cache"), ("etag", "\"a\"")], Ok(&[]));
        plain.check(&[(CC, "no-cache, max-age=1")], Err(Refusal::Expired));
        plain.check(&[(CC, "no-cache=\"x-a\", max-age=1")], Ok(&["x-a"]));
        plain.check(&[(CC, "max-age=0, stale-if-error=9")], Ok(&[]));
        plain.check(&[], Err(Refusal::NoFreshness));
        plain.check(&[(CC, "max-age=0")], Err(Refusal::Expired));
        plain.check(&[("expires", "0")], Err(Refusal::Expired));
        plain.check(&[(CC, "max-age=1, no-store")], Err(Refusal::NoStore));
        plain.check(&[(CC, "max-age=1, private")], Err(Refusal::Private));
        plain.check(
            &[(CC, "max-age=1"), ("vary", "*")],
            Err(Refusal::VaryAnything),
        );
        plain.check(
            &[(CC, "max-age=1"), ("vary", "x-forwarded-for")],
            Err(Refusal::VaryAnything),
        );
        plain.check(
            &[(CC, "max-age=1"), ("vary", "x-forwarded-proto, host")],
            Ok(&[]),
        );
        plain.check(
            &[(CC, "max-age=1, private=\"x-a\", no-cache=\"x-b\"")],
            Ok(&["x-a", "x-b"]),
        );
        Case {
            site_ttl: true,
            ..case()
        }
        .check(&[], Ok(&[]));
        Case {
            site_ttl: true,
            ..case()
        }
        .check(&[(CC, "private")], Err(Refusal::Private));
    }

    #[test]
    fn any_final_status_with_explicit_freshness_is_stored() {
        for status in [200, 201, 302, 404, 418, 499, 500, 503, 599] {
            Case { status, ..case() }.check(&[(CC, "max-age=1")], Ok(&[]));
        }
        for status in [428, 429, 431, 511] {
            Case { status, ..case() }.check(&[(CC, "max-age=1")], Err(Refusal::Status));
        }
        let not_modified = Case {
            status: 304,
            ..case()
        };
        not_modified.check(&[(CC, "max-age=1")], Err(Refusal::Status));
        let part = Case {
            status: 206,
            ..case()
        };
        part.check(&[(CC, "max-age=1")], Ok(&[]));
        part.check(&[(CC, "max-age=0"), ("etag", "\"a\"")], Ok(&[]));
        part.check(&[(CC, "max-age=1"), ("vary", "accept")], Ok(&[]));
        Case {
            status: 302,
            ..case()
        }
        .check(&[("etag", "\"a\"")], Err(Refusal::Status));
        Case {
            status: 499,
            ..case()
        }
        .check(&[(CC, "max-age=1, must-understand")], Err(Refusal::Status));
        Case {
            status: 404,
            ..case()
        }
        .check(&[(CC, "max-age=1, must-understand, no-store")], Ok(&[]));
    }

    #[test]
    fn an_error_about_an_odd_request_is_for_its_client() {
        let long: &'static str = "a".repeat(PLAIN_BYTES).leak();
        let plain: &'static str = "a".repeat(PLAIN_BYTES / 2).leak();
        for (value, status, is_stored) in [
            (long, 400, false),
            ("\u{e4}", 400, false),
            ("a\tb ~", 400, true),
            (plain, 413, true),
            (long, 414, true),
            (long, 404, true),
            (long, 200, true),
        ] {
            let case = Case {
                status,
                request: headers(&[("x-a", value)]),
                ..case()
            };
            let expected: Result<&[&str], _> = match is_stored {
                true => Ok(&[]),
                false => Err(Refusal::OddRequest),
            };
            case.check(&[(CC, "max-age=1")], expected);
        }
    }

    #[test]
    fn credentials_need_an_explicit_word() {
        let with = Case {
            request: headers(&[("authorization", "Bearer x")]),
            ..case()
        };
        with.check(&[(CC, "max-age=1")], Err(Refusal::Authorization));
        with.check(&[(CC, "max-age=1, public")], Ok(&[]));
        with.check(&[(CC, "s-maxage=1")], Ok(&[]));
        with.check(&[(CC, "max-age=1, must-revalidate")], Ok(&[]));
        let private = Case {
            request: headers(&[(CC, "no-store")]),
            ..case()
        };
        private.check(&[(CC, "max-age=1")], Err(Refusal::RequestNoStore));
    }

    #[test]
    fn cookies_are_stored_as_the_site_says() {
        let cookie = ("set-cookie", "a=b");
        for (set_cookie, silent, spoken) in [
            (SetCookie::Explicit, Err(Refusal::SetCookie), Ok(&[][..])),
            (SetCookie::Standard, Ok(&[][..]), Ok(&[][..])),
            (
                SetCookie::Strip,
                Ok(&["set-cookie"][..]),
                Ok(&["set-cookie"][..]),
            ),
            (
                SetCookie::Bypass,
                Err(Refusal::SetCookie),
                Err(Refusal::SetCookie),
            ),
        ] {
            let case = Case {
                set_cookie,
                ..case()
            };
            case.check(&[(CC, "max-age=1"), cookie], silent);
            case.check(&[(CC, "public, max-age=1"), cookie], spoken);
            case.check(
                &[(CC, "max-age=1, private=\"set-cookie\""), cookie],
                Ok(&["set-cookie"]),
            );
        }
    }
}
