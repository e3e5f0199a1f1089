//! Ranges of a stored or streaming complete object (RFC 9110 §14).
//!
//! Several ranges in one request are answered in one `multipart/byteranges` (§14.6), in the order in which they were
//! asked, unless there are many of them, or they overlap: then the whole object is, as §14.2 allows against abuse.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, Method, StatusCode};

use super::date::date;

/// Ranges that one request may ask for; with more it gets the whole object.
const RANGES_MAX: usize = 16;

/// What part of an object a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes: never empty, within the object.
    Bytes(Range<u64>),
    /// Two or more such, none overlapping another.
    Several(Vec<Range<u64>>),
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
        Some(asked) => choose(&asked, length_bytes),
    }
}

/// Where the single range that a request asks for begins: none within for a suffix. None where it asks for no range,
/// or for several.
#[must_use]
pub(super) fn begin(request: &HeaderMap) -> Option<Option<u64>> {
    let asked = parse(request.get(RANGE)?.as_bytes())?;
    match asked[..] {
        [Asked::From(first, _)] => Some(Some(first)),
        [Asked::Last(_)] => Some(None),
        _ => None,
    }
}

/// Those of the ranges that exist.
fn choose(asked: &[Asked], length_bytes: u64) -> Part {
    let mut ranges: Vec<_> = asked
        .iter()
        .map(|asked| asked.within(length_bytes))
        .filter(|range| !range.is_empty())
        .collect();
    match ranges.len() {
        0 => Part::Unsatisfiable,
        1 => Part::Bytes(ranges.remove(0)),
        _ if overlap(&ranges) => Part::Whole,
        _ => Part::Several(ranges),
    }
}

/// Does any byte stand in two of them?
fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
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

/// `Content-Range` of a part.
#[must_use]
pub(super) fn content_range(range: &Range<u64>, length_bytes: u64) -> String {
    format!("bytes {}-{}/{length_bytes}", range.start, range.end - 1)
}

/// Several parts of an object in one body (§14.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Multipart {
    /// What stands before each part, and the part.
    pub parts: Vec<(Bytes, Range<u64>)>,
    /// What stands after the last.
    pub end: Bytes,
    /// Of all together.
    pub length_bytes: u64,
    /// Of the whole.
    pub content_type: String,
}

impl Multipart {
    /// `boundary` must not occur in the object: it is random and long.
    #[must_use]
    pub(super) fn new(
        boundary: &str,
        content_type: Option<&HeaderValue>,
        ranges: Vec<Range<u64>>,
        length_bytes: u64,
    ) -> Self {
        let mut all_bytes = 0;
        let parts = ranges
            .into_iter()
            .map(|range| {
                let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
                if let Some(content_type) = content_type {
                    head.extend_from_slice(b"Content-Type: ");
                    head.extend_from_slice(content_type.as_bytes());
                    head.extend_from_slice(b"\r\n");
                }
                let content_range = content_range(&range, length_bytes);
                head.extend_from_slice(
                    format!("Content-Range: {content_range}\r\n\r\n").as_bytes(),
                );
                all_bytes += head.len() as u64 + (range.end - range.start);
                (Bytes::from(head), range)
            })
            .collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self {
            parts,
            length_bytes: all_bytes + end.len() as u64,
            end,
            content_type: format!("multipart/byteranges; boundary={boundary}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    From(u64, Option<u64>),
    Last(u64),
}

impl Asked {
    /// The bytes of an object of this length; empty when there are none.
    fn within(self, length: u64) -> Range<u64> {
        match self {
            Self::From(first, last) => {
                first
                    ..last
                        .map_or(length, |last| last.saturating_add(1))
                        .min(length)
            }
            Self::Last(count) => length.saturating_sub(count)..length,
        }
    }
}

/// `bytes` ranges, one at least; `None` for other units, too many ranges and what does not parse: all are ignored.
fn parse(line: &[u8]) -> Option<Vec<Asked>> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    if !line[..equals].eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut asked = Vec::new();
    for spec in line[equals + 1..].split(|byte| *byte == b',') {
        let spec = spec.trim_ascii();
        if spec.is_empty() {
            continue;
        }
        if asked.len() == RANGES_MAX {
            return None;
        }
        asked.push(one(spec)?);
    }
    (!asked.is_empty()).then_some(asked)
}

fn one(spec: &[u8]) -> Option<Asked> {
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
            ("bytes=0-1,3-4", 10, Part::Several(vec![0..2, 3..5])),
            ("bytes=8-, ,0-1 , -1", 10, Part::Whole),
            ("bytes=9-,0-1", 10, Part::Several(vec![9..10, 0..2])),
            ("bytes=0-1,20-30", 10, Part::Bytes(0..2)),
            ("bytes=20-,30-40", 10, Part::Unsatisfiable),
            ("bytes=0-1,x", 10, Part::Whole),
            (
                "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,-1,-1,-1,-1,-1,-1,-1",
                10,
                Part::Whole,
            ),
            ("bytes=,", 10, Part::Whole),
            ("items=0-1", 10, Part::Whole),
            ("bytes =0-1", 10, Part::Whole),
            ("bytes=0 - 1", 10, Part::Whole),
            ("bytes=+0-1", 10, Part::Whole),
            ("bytes=0-1-2", 10, Part::Whole),
            ("bytes=5-6,2-3", 10, Part::Several(vec![5..7, 2..4])),
            ("bytes=0-4,2-8", 10, Part::Whole),
            ("bytes=0-,0-,0-,0-", 10, Part::Whole),
            ("bytes=-99999999999999999999999", 10, Part::Bytes(0..10)),
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
