//! What an origin's word about a stored response does to it: a 304 (RFC 9111 §4.3.4), or an answer to HEAD (§4.3.5).
//!
//! Pure. The fields of the word replace the stored ones (§3.2), and the response is judged anew by what it says then:
//! how long it is fresh, and whether it may stay at all.

use std::time::SystemTime;

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, DATE, ETAG, HeaderName, LAST_MODIFIED,
    SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use super::cache_control::{CacheControl, Scope};
use super::encode::{self, Form};
use super::freshness::{initial_age, lifetime, negative};
use super::meta::{HttpMeta, Ready};
use super::reuse::Freshness;
use super::targeted::SURROGATE_CONTROL;
use super::variants::selection_after;
use super::{headers, tags};
use crate::config::policy::Policy;
use crate::config::site::SetCookie;
use crate::view::TagSet;

/// What an origin said of a stored response, and when.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) headers: HeaderMap,
    /// What its fields said.
    pub(super) tags: TagSet,
    pub(super) request_time: SystemTime,
    pub(super) response_time: SystemTime,
}

/// A stored response after such a word.
#[derive(Debug)]
pub(super) struct Freshened {
    /// Its metadata now.
    pub(super) meta: HttpMeta,
    /// Fields of the word for the client who asked, and for nobody else.
    pub(super) personal: HeaderMap,
    /// False when the updated fields forbid that it stays in a shared cache.
    pub(super) stays: bool,
}

/// Updates a stored response. `request` and `fill_index` are the question's.
#[must_use]
pub(super) fn freshened(
    old: &HttpMeta,
    request: &HeaderMap,
    word: &Word,
    set_cookie: SetCookie,
    policy: &Policy,
    fill_index: u64,
) -> Freshened {
    let mut head = old.head.clone();
    encode::unmark(&mut head, old);
    headers::freshen(&mut head, &word.headers);
    // Without a Date of its own the word is dated by its arrival (RFC 9110 §6.6.1).
    if is_undated(&word.headers) {
        headers::set_date(&mut head, word.response_time);
    }
    // Judged with what is never stored: the word's own Age, and fields meant for caches only.
    let mut judged = head.clone();
    for name in [AGE, SURROGATE_CONTROL] {
        for value in word.headers.get_all(&name) {
            judged.append(&name, value.clone());
        }
    }
    let directives = CacheControl::of_response(&judged);
    let mut excluded = directives.narrowed();
    if !directives.lets_cookies_in(set_cookie) {
        excluded.push(SET_COOKIE);
    }
    let mut personal = HeaderMap::new();
    for name in &excluded {
        head.remove(name);
        if *name == SET_COOKIE && set_cookie == SetCookie::Strip {
            continue;
        }
        for value in word.headers.get_all(name) {
            personal.append(name, value.clone());
        }
    }
    let life = lifetime(old.status, &judged, &directives, word.response_time);
    let life = negative(life, old.status, policy);
    let selection = selection_after(&headers::chosen_by(&head), &old.selection, request);
    let stays = (directives.must_understand || !directives.no_store)
        && directives.private != Scope::Whole
        && selection.is_some();
    let no_transform = CacheControl::of_field(&head, &CACHE_CONTROL).no_transform;
    let form = match old.form {
        Form::Encodable(_) if no_transform => Form::Plain,
        Form::Encodable(codings) => {
            encode::mark(&mut head);
            Form::Encodable(codings)
        }
        other => other,
    };
    Freshened {
        meta: HttpMeta {
            freshness: freshness(
                &judged,
                &directives,
                life.seconds,
                word.request_time,
                word.response_time,
            ),
            head,
            request_time: word.request_time,
            fill_index,
            form,
            ready: Ready::default(),
            tags: tags::updated(&old.tags, &word.tags),
            selection: selection.unwrap_or_default(),
            ..old.clone()
        },
        personal,
        stays,
    }
}

/// The freshness data of a response that has just come.
#[must_use]
pub(super) fn freshness(
    answer: &HeaderMap,
    directives: &CacheControl,
    lifetime_s: u64,
    request_time: SystemTime,
    response_time: SystemTime,
) -> Freshness {
    Freshness {
        response_time,
        initial_age_s: initial_age(answer, request_time, response_time),
        lifetime_s,
        no_cache: directives.no_cache == Scope::Whole,
        must_revalidate: directives.must_revalidate || directives.proxy_revalidate,
        s_maxage: directives.s_maxage.is_some(),
        came_with_age: answer.contains_key(AGE),
        immutable: directives.immutable,
        stale_while_revalidate_s: directives.stale_while_revalidate,
        stale_if_error_s: directives.stale_if_error,
    }
}

/// What an answer to HEAD says of the stored GET response that could have answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadSays {
    /// Nothing that a cache could use.
    Nothing,
    /// It is that one: update it.
    Same,
    /// It is another one by now.
    Another,
}

/// Compares (§4.3.5): each validator that was received must be the stored one, and so must the length.
///
/// An answer to credentials, or one that must not be stored, says something about its own client at most.
#[must_use]
pub(super) fn head_says(
    request: &HeaderMap,
    status: StatusCode,
    answer: &HeaderMap,
    stored: &HttpMeta,
    stored_bytes: u64,
) -> HeadSays {
    let directives = CacheControl::of_response(answer);
    let personal = directives.no_store
        || directives.private == Scope::Whole
        || request.contains_key(AUTHORIZATION) && !directives.allows_credentials();
    if personal {
        return HeadSays::Nothing;
    }
    match status.as_u16() {
        404 | 410 if stored.status == StatusCode::OK => return HeadSays::Another,
        200 if stored.status == StatusCode::OK => {}
        _ => return HeadSays::Nothing,
    }
    let same = |name: HeaderName| {
        answer
            .get(&name)
            .is_none_or(|value| stored.head.get(&name) == Some(value))
    };
    let length = answer.get(CONTENT_LENGTH).is_none_or(|length| {
        length.to_str().ok().and_then(|text| text.parse().ok()) == Some(stored_bytes)
    });
    if same(ETAG) && same(LAST_MODIFIED) && length {
        HeadSays::Same
    } else {
        HeadSays::Another
    }
}

/// May a stored response be asked about on behalf of a request with credentials? Only where the answer's fields could
/// be stored in turn (§3.5).
#[must_use]
pub(super) fn may_be_asked_about(request: &HeaderMap, stored: &HttpMeta) -> bool {
    !request.contains_key(AUTHORIZATION)
        || CacheControl::of_response(&stored.head).allows_credentials()
}

/// True when a field map has no `Date` that can be read.
#[must_use]
pub(super) fn is_undated(answer: &HeaderMap) -> bool {
    super::date::date(answer, DATE).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::ACCEPT;
    use std::time::Duration;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn stored(fields: &[(&'static str, &'static str)]) -> HttpMeta {
        let head = headers(fields);
        let directives = CacheControl::of_response(&head);
        HttpMeta {
            status: StatusCode::OK,
            request_time: at(0),
            freshness: freshness(&head, &directives, 0, at(0), at(0)),
            head,
            fill_index: 1,
            site: "shop".into(),
            url: "shop.example/".into(),
            tags: TagSet::default(),
            checked: crate::view::Checked::default(),
            selection: Vec::new(),
            form: Form::Plain,
            ready: Ready::default(),
        }
    }

    fn after(
        old: &HttpMeta,
        fields: &[(&'static str, &'static str)],
        cookies: SetCookie,
    ) -> Freshened {
        let word = Word {
            tags: TagSet::default(),
            headers: headers(fields),
            request_time: at(100),
            response_time: at(102),
        };
        let request = headers(&[("accept", "*/*")]);
        freshened(old, &request, &word, cookies, &Policy::default(), 7)
    }

    #[test]
    fn a_word_updates_fields_and_times() {
        let old = stored(&[
            ("cache-control", "max-age=1"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        let new = after(
            &old,
            &[("cache-control", "max-age=60"), ("age", "5")],
            SetCookie::Explicit,
        );
        assert!(new.stays);
        assert_eq!(new.meta.freshness.lifetime_s, 60);
        assert_eq!(new.meta.freshness.initial_age_s, 7);
        assert_eq!(new.meta.head["date"], "Tue, 14 Nov 2023 22:15:02 GMT");
        assert!(!new.meta.head.contains_key("age"));
        assert_eq!((new.meta.fill_index, new.meta.request_time), (7, at(100)));
    }

    #[test]
    fn a_cookie_in_a_304_is_for_who_asked() {
        let old = stored(&[("cache-control", "max-age=1")]);
        let cookie = ("set-cookie", "a=b");
        for (policy, control, kept, given) in [
            (SetCookie::Explicit, "max-age=1", false, true),
            (SetCookie::Explicit, "public, max-age=1", true, false),
            (SetCookie::Standard, "max-age=1", true, false),
            (SetCookie::Strip, "public", false, false),
            (SetCookie::Bypass, "public", false, true),
        ] {
            let new = after(&old, &[("cache-control", control), cookie], policy);
            assert_eq!(
                new.meta.head.contains_key("set-cookie"),
                kept,
                "{policy:?} {control}"
            );
            assert_eq!(
                new.personal.contains_key("set-cookie"),
                given,
                "{policy:?} {control}"
            );
        }
        let named = [
            ("cache-control", "max-age=1, private=\"x-a\""),
            ("x-a", "1"),
        ];
        let new = after(&old, &named, SetCookie::Standard);
        assert!(!new.meta.head.contains_key("x-a") && new.personal["x-a"] == "1");
    }

    #[test]
    fn what_must_not_be_shared_any_more_goes() {
        let old = stored(&[("cache-control", "max-age=1")]);
        for (fields, stays) in [
            (("cache-control", "private"), false),
            (("cache-control", "no-store"), false),
            (("vary", "accept"), true),
            (("vary", "*"), false),
            (("cache-control", "max-age=1"), true),
        ] {
            assert_eq!(
                after(&old, &[fields], SetCookie::Standard).stays,
                stays,
                "{fields:?}"
            );
        }
        let chosen = HttpMeta {
            selection: vec![(ACCEPT, None)],
            ..stored(&[("vary", "accept")])
        };
        let alike = after(&chosen, &[], SetCookie::Standard);
        assert!(alike.stays && alike.meta.selection == chosen.selection);
        let otherwise = after(&chosen, &[("vary", "accept, x-b")], SetCookie::Standard);
        let expected = [
            (ACCEPT, Some(b"*/*".to_vec())),
            (HeaderName::from_static("x-b"), None),
        ];
        assert!(otherwise.stays && otherwise.meta.selection == expected);
    }

    #[test]
    fn head_speaks_of_what_has_its_validators_and_length() {
        let old = stored(&[("etag", "\"a\"")]);
        let none = HeaderMap::new();
        for (status, fields, says) in [
            (
                200,
                vec![("etag", "\"a\""), ("content-length", "4")],
                HeadSays::Same,
            ),
            (200, vec![], HeadSays::Same),
            (200, vec![("etag", "\"b\"")], HeadSays::Another),
            (
                200,
                vec![("etag", "\"a\""), ("content-length", "5")],
                HeadSays::Another,
            ),
            (
                200,
                vec![("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
                HeadSays::Another,
            ),
            (
                200,
                vec![("etag", "\"b\""), ("cache-control", "private")],
                HeadSays::Nothing,
            ),
            (410, vec![], HeadSays::Another),
            (500, vec![], HeadSays::Nothing),
            (302, vec![], HeadSays::Nothing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                head_says(&none, status, &headers(&fields), &old, 4),
                says,
                "{fields:?}"
            );
        }
        let with = headers(&[("authorization", "x")]);
        assert_eq!(
            head_says(&with, StatusCode::OK, &none, &old, 4),
            HeadSays::Nothing
        );
    }
}
