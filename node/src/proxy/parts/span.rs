//! Which bytes of which object a response holds. Pure.

use std::ops::Range;

use http::header::{CONTENT_RANGE, ETAG};
use http::{HeaderMap, StatusCode};

/// Which bytes of an object a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Span {
    /// Never empty, within the object.
    pub(in crate::proxy) range: Range<u64>,
    /// Of the whole object.
    pub(in crate::proxy) total_bytes: u64,
}

impl Span {
    /// What the `Content-Range` of an answer says; none when it is missing, several, of another unit, without the
    /// object's length, or impossible.
    #[must_use]
    pub(in crate::proxy) fn of_answer(answer: &HeaderMap) -> Option<Self> {
        let mut lines = answer.get_all(CONTENT_RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return None;
        };
        let (unit, rest) = line.to_str().ok()?.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten()
        };
        let (first, last, total_bytes) = (number(first)?, number(last)?, number(total)?);
        let good = unit.eq_ignore_ascii_case("bytes") && first <= last && last < total_bytes;
        good.then(|| Self {
            range: first..last + 1,
            total_bytes,
        })
    }

    /// Bytes that it holds.
    #[must_use]
    pub(in crate::proxy) fn length_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The tag that makes parts parts of one object: a strong one (RFC 9110 §15.3.7.3).
#[must_use]
pub(in crate::proxy) fn strong_tag(head: &HeaderMap) -> Option<&[u8]> {
    let tag = head.get(ETAG)?.as_bytes();
    tag.starts_with(b"\"").then_some(tag)
}

/// Is this answer a part that can be kept: one range, all of it, of an object with a name?
#[must_use]
pub(in crate::proxy) fn is_part(
    status: StatusCode,
    answer: &HeaderMap,
    length: Option<u64>,
) -> bool {
    status == StatusCode::PARTIAL_CONTENT
        && strong_tag(answer).is_some()
        && Span::of_answer(answer).is_some_and(|span| length == Some(span.length_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn span(line: &'static str) -> Option<(Range<u64>, u64)> {
        let mut answer = HeaderMap::new();
        answer.insert(CONTENT_RANGE, HeaderValue::from_static(line));
        Span::of_answer(&answer).map(|span| (span.range, span.total_bytes))
    }

    #[test]
    fn a_part_says_which_bytes_it_holds() {
        assert_eq!(span("bytes 2-5/10"), Some((2..6, 10)));
        assert_eq!(span("Bytes 0-0/1"), Some((0..1, 1)));
        for line in [
            "bytes 2-5/*",
            "bytes */10",
            "bytes 5-2/10",
            "bytes 2-10/10",
            "items 2-5/10",
            "bytes=2-5/10",
            "bytes -5/10",
            "bytes +2-5/10",
            "bytes 2-18446744073709551615/18446744073709551615",
            "bytes 2-99999999999999999999/99999999999999999999",
            "",
        ] {
            assert_eq!(span(line), None, "{line}");
        }
    }

    #[test]
    fn a_part_without_a_name_or_of_another_length_is_not_kept() {
        let answer = |tag: &'static str| {
            let mut answer = HeaderMap::new();
            answer.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 2-5/10"));
            answer.insert(ETAG, HeaderValue::from_static(tag));
            answer
        };
        let partial = StatusCode::PARTIAL_CONTENT;
        assert!(is_part(partial, &answer("\"a\""), Some(4)));
        assert!(!is_part(partial, &answer("W/\"a\""), Some(4)));
        assert!(!is_part(partial, &answer("\"a\""), Some(5)));
        assert!(!is_part(partial, &answer("\"a\""), None));
        assert!(!is_part(StatusCode::OK, &answer("\"a\""), Some(4)));
    }
}
