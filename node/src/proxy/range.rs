//! Ranges of a stored or streaming complete object (RFC 9110 §14).
//!
//! One range is served. Several in one request are answered with the whole object, as §14.2 allows.

use std::ops::Range;
use std::time::Duration;

use http::header::{DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method, StatusCode};

use super::freshness::date;

/// What part of an object a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes: never empty, within the object.
    Bytes(Range<u64>),
    /// 416: no byte of it exists.
    Unsatisfiable,
}

/// Decides what part of an object of `length_bytes` a request gets. Ranges are for GET and for a complete 200.
#[must_use]
pub(super) fn part(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    length_bytes: u64,
) -> Part {
    if method != Method::GET || status != StatusCode::OK {
        return Part::Whole;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Part::Whole;
    };
    if !if_range_holds(request, stored) {
        return Part::Whole;
    }
    match parse(line.as_bytes()) {
        None => Part::Whole,
        Some(asked) => asked.within(length_bytes),
    }
}

/// `If-Range` needs a strong match (§13.1.5): an equal strong tag, or the very date, which is strong only when the
/// object was not changed within a minute of being served.
fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") {
        return stored
            .get(ETAG)
            .is_some_and(|tag| tag.as_bytes() == condition);
    }
    if condition.starts_with(b"W/") {
        return false;
    }
    let Some(modified) = date(stored, LAST_MODIFIED) else {
        return false;
    };
    let strong =
        date(stored, DATE).is_some_and(|served| modified + Duration::from_secs(60) <= served);
    strong && date(request, IF_RANGE) == Some(modified)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    From(u64, Option<u64>),
    Last(u64),
}

impl Asked {
    fn within(self, length: u64) -> Part {
        let range = match self {
            Self::From(first, last) => {
                first
                    ..last
                        .map_or(length, |last| last.saturating_add(1))
                        .min(length)
            }
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        if range.start >= range.end {
            Part::Unsatisfiable
        } else {
            Part::Bytes(range)
        }
    }
}

/// One `bytes` range; `None` for other units, several ranges and what does not parse: all are ignored.
fn parse(line: &[u8]) -> Option<Asked> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    if !line[..equals].trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let spec = line[equals + 1..].trim_ascii();
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Asked::Last(number(last)?)),
        (false, true) => Some(Asked::From(number(first)?, None)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From(first, Some(last)))
        }
    }
}

/// Digits, saturating.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn of(range: &'static str, length: u64) -> Part {
        let request = headers(&[("range", range)]);
        part(
            &Method::GET,
            &request,
            StatusCode::OK,
            &HeaderMap::new(),
            length,
        )
    }

    #[test]
    fn one_range_is_cut_to_the_object() {
        for (range, length, expected) in [
            ("bytes=0-0", 10, Part::Bytes(0..1)),
            ("bytes=2-5", 10, Part::Bytes(2..6)),
            ("Bytes=2-", 10, Part::Bytes(2..10)),
            ("bytes=5-99", 10, Part::Bytes(5..10)),
            ("bytes=-3", 10, Part::Bytes(7..10)),
            ("bytes=-99", 10, Part::Bytes(0..10)),
            ("bytes=0-18446744073709551615", 10, Part::Bytes(0..10)),
            ("bytes=0-99999999999999999999999", 10, Part::Bytes(0..10)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("items=0-1", 10, Part::Whole),
            ("bytes", 10, Part::Whole),
        ] {
            assert_eq!(of(range, length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        let stored = headers(&[
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("date", "Sun, 06 Nov 1994 09:49:37 GMT"),
        ]);
        for (condition, expected) in [
            ("\"a\"", Part::Bytes(0..2)),
            ("\"b\"", Part::Whole),
            ("W/\"a\"", Part::Whole),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Part::Bytes(0..2)),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Part::Whole),
            ("nonsense", Part::Whole),
        ] {
            let request = headers(&[("range", "bytes=0-1"), ("if-range", condition)]);
            let got = part(&Method::GET, &request, StatusCode::OK, &stored, 10);
            assert_eq!(got, expected, "{condition}");
        }
    }

    #[test]
    fn only_get_of_a_complete_object_has_ranges() {
        let request = headers(&[("range", "bytes=0-1")]);
        let none = HeaderMap::new();
        assert_eq!(
            part(&Method::HEAD, &request, StatusCode::OK, &none, 10),
            Part::Whole
        );
        assert_eq!(
            part(&Method::GET, &request, StatusCode::NOT_FOUND, &none, 10),
            Part::Whole
        );
    }
}
