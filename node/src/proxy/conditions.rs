//! Conditional requests, answered from what is stored (RFC 9110 §13, RFC 9111 §4.3.2), and asked of the origin
//! (§4.3.1).

use std::time::SystemTime;

use http::header::{
    DATE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, StatusCode};

use super::date::date;

/// True when the client already has what a stored response with `stored` fields says.
///
/// `If-None-Match` comes first and, when present, alone (RFC 9110 §13.2.2). Only a stored 200 is compared: a 304 for
/// anything else would tell the client that its copy of another answer is good.
#[must_use]
pub(super) fn not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    response_time: SystemTime,
) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let tag = stored.get(ETAG).map(HeaderValue::as_bytes);
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|line| any_tag_matches(line.as_bytes(), tag));
    }
    let Some(since) = date(request, IF_MODIFIED_SINCE) else {
        return false;
    };
    // Without Last-Modified the Date stands in, and without that the time of receipt (RFC 9111 §4.3.2).
    let modified = date(stored, LAST_MODIFIED)
        .or_else(|| date(stored, DATE))
        .unwrap_or(response_time);
    modified <= since
}

/// Weak comparison (RFC 9110 §8.8.3.2) against a list of tags or `*`.
fn any_tag_matches(list: &[u8], stored: Option<&[u8]>) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(stored) = stored else { return false };
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let wanted = opaque(stored.trim_ascii());
    tags(list).any(|tag| opaque(tag) == wanted)
}

/// The entity tags of a list: a comma may stand inside the quotes, a quote may not.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            match rest.split_first() {
                None => return None,
                Some((b',', after)) => rest = after,
                Some(_) => break,
            }
        }
        let open = rest.iter().position(|byte| *byte == b'"');
        let comma = rest
            .iter()
            .position(|byte| *byte == b',')
            .unwrap_or(rest.len());
        let end = match open {
            Some(open) if open < comma => rest[open + 1..]
                .iter()
                .position(|byte| *byte == b'"')
                .map_or(rest.len(), |close| open + 1 + close + 1),
            _ => comma,
        };
        let (tag, after) = rest.split_at(end);
        rest = after;
        Some(tag.trim_ascii())
    })
}

/// Does the request ask for something only the origin may judge (RFC 9110 §13.1.1, §13.1.4)? Then the cache stays
/// out of it.
#[must_use]
pub(super) fn needs_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Takes the client's own conditions and ranges out of a request that fetches the whole object for the cache.
pub(super) fn remove(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// Asks the origin whether a stored response is still good.
pub(super) fn ask(request: &mut HeaderMap, stored: &HeaderMap) {
    remove(request);
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// True when there is anything to ask with.
#[must_use]
pub(super) fn has_validator(stored: &HeaderMap) -> bool {
    stored.contains_key(ETAG) || date(stored, LAST_MODIFIED).is_some()
}

/// Does a 304 speak of this stored response (§4.3.4)? A strong tag in it must be equal; a weak one or a date must
/// agree; a 304 without validators answers the one question that was asked.
#[must_use]
pub(super) fn validates(fresh: &HeaderMap, stored: &HeaderMap) -> bool {
    match (fresh.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) => {
            let opaque = |tag: &HeaderValue| {
                let bytes = tag.as_bytes().trim_ascii();
                bytes.strip_prefix(b"W/").unwrap_or(bytes).to_vec()
            };
            return opaque(new) == opaque(old);
        }
        (Some(_), None) => return false,
        (None, _) => {}
    }
    match (fresh.get(LAST_MODIFIED), stored.get(LAST_MODIFIED)) {
        (Some(new), Some(old)) => {
            new == old || date(fresh, LAST_MODIFIED) == date(stored, LAST_MODIFIED)
        }
        _ => true,
    }
}

/// Representation metadata: what a 304 leaves out (RFC 9110 §15.4.5).
pub(super) const REPRESENTATION: [HeaderName; 5] = [
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_TYPE,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_LANGUAGE,
    http::header::CONTENT_RANGE,
];

/// Makes the fields of a 304 out of those of a stored 200.
pub(super) fn narrow_to_not_modified(headers: &mut HeaderMap) {
    for name in &REPRESENTATION {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
}

/// Does a field of a stored 200 stay in the 304 made of it? The same rule, field by field.
#[must_use]
pub(super) fn stays_in_not_modified(name: &HeaderName, has_tag: bool) -> bool {
    !REPRESENTATION.contains(name) && (!has_tag || *name != LAST_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    #[test]
    fn tags_come_before_dates_and_compare_weakly() {
        let tagged = [("etag", "\"a,b\""), ("last-modified", OLD)];
        let dated = [("last-modified", OLD)];
        for (request, stored, expected) in [
            (vec![("if-none-match", "\"a,b\"")], &tagged[..], true),
            (vec![("if-none-match", "W/\"a,b\"")], &tagged[..], true),
            (vec![("if-none-match", "\"x\", \"a,b\"")], &tagged[..], true),
            (
                vec![("if-none-match", "\"x\",,W/\"a,b\" , \"y\"")],
                &tagged[..],
                true,
            ),
            (
                vec![("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")],
                &tagged[..],
                true,
            ),
            (vec![("if-none-match", "*")], &tagged[..], true),
            (vec![("if-none-match", "\"a\"")], &tagged[..], false),
            (vec![("if-none-match", "a,b")], &tagged[..], false),
            (
                vec![("if-none-match", "\"x\""), ("if-modified-since", NEW)],
                &tagged[..],
                false,
            ),
            (vec![("if-none-match", "\"x\"")], &dated[..], false),
            (vec![("if-modified-since", OLD)], &dated[..], true),
            (vec![("if-modified-since", NEW)], &dated[..], true),
            (
                vec![("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")],
                &dated[..],
                false,
            ),
            (vec![("if-modified-since", "nonsense")], &dated[..], false),
            (vec![("if-modified-since", NEW)], &[("date", OLD)][..], true),
            (vec![], &tagged[..], false),
        ] {
            let stored = headers(stored);
            let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let answer = not_modified(&headers(&request), StatusCode::OK, &stored, later);
            assert_eq!(answer, expected, "{request:?}");
            assert!(!not_modified(
                &headers(&request),
                StatusCode::NOT_FOUND,
                &stored,
                later
            ));
        }
    }

    #[test]
    fn a_304_speaks_of_what_has_its_validator() {
        for (fresh, stored, expected) in [
            (vec![], vec![("etag", "\"a\"")], true),
            (vec![("etag", "\"a\"")], vec![("etag", "\"a\"")], true),
            (vec![("etag", "\"b\"")], vec![("etag", "\"a\"")], false),
            (vec![("etag", "\"b\"")], vec![], false),
            (
                vec![("last-modified", OLD)],
                vec![("last-modified", OLD)],
                true,
            ),
            (
                vec![("last-modified", NEW)],
                vec![("last-modified", OLD)],
                false,
            ),
        ] {
            assert_eq!(
                validates(&headers(&fresh), &headers(&stored)),
                expected,
                "{fresh:?}"
            );
        }
    }

    #[test]
    fn the_origin_is_asked_with_the_stored_validators_only() {
        let mut request = headers(&[
            ("if-none-match", "\"mine\""),
            ("range", "bytes=0-1"),
            ("accept", "*/*"),
        ]);
        ask(
            &mut request,
            &headers(&[("etag", "\"ours\""), ("last-modified", OLD)]),
        );
        let expected = headers(&[
            ("accept", "*/*"),
            ("if-none-match", "\"ours\""),
            ("if-modified-since", OLD),
        ]);
        assert_eq!(request, expected);
    }
}
