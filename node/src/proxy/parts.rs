//! Parts of objects: 206 answers that are stored, joined, and used for requests that they hold all bytes of
//! (RFC 9111 §3.3, §3.4).
//!
//! A URL has one stored part at a time, under a key of its own beside the complete object's. A new part that touches
//! or overlaps it, of the same object by a strong tag, is joined with it; joined parts that are all there is become the
//! complete object. Only what does not vary is kept so.

use std::ops::Range;
use std::sync::Arc;

use http::header::{CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};
use nearside_cache_store::{Fill, Key};

use super::Proxy;
use super::admit::Ask;
use super::answer::{Answered, circumstances};
use super::headers;
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::{Outcome, Passage};
use super::range::{Part, content_range, part};
use super::reuse::Reuse;

/// Which bytes of an object a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Never empty, within the object.
    pub(super) range: Range<u64>,
    /// Of the whole object.
    pub(super) total_bytes: u64,
}

impl Span {
    /// What the `Content-Range` of an answer says; none when it is missing, several, of another unit, without the
    /// object's length, or impossible.
    #[must_use]
    pub(super) fn of_answer(answer: &HeaderMap) -> Option<Self> {
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

    fn length_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// This one and another together, where no byte is missing between them.
    #[must_use]
    fn joined(&self, other: &Self) -> Option<Self> {
        let (a, b) = (&self.range, &other.range);
        let touch = a.start <= b.end && b.start <= a.end && self.total_bytes == other.total_bytes;
        touch.then(|| Self {
            range: a.start.min(b.start)..a.end.max(b.end),
            total_bytes: self.total_bytes,
        })
    }
}

/// The tag that makes parts parts of one object: a strong one (RFC 9110 §15.3.7.3).
#[must_use]
fn strong_tag(head: &HeaderMap) -> Option<&[u8]> {
    let tag = head.get(ETAG)?.as_bytes();
    tag.starts_with(b"\"").then_some(tag)
}

/// Is this answer a part that can be kept: one range, all of it, of an object with a name?
#[must_use]
pub(super) fn is_part(status: StatusCode, answer: &HeaderMap, length: Option<u64>) -> bool {
    status == StatusCode::PARTIAL_CONTENT
        && strong_tag(answer).is_some()
        && Span::of_answer(answer).is_some_and(|span| length == Some(span.length_bytes()))
}

impl Proxy {
    /// The key of a URL's stored part.
    pub(super) fn part_key(&self, primary: &Key) -> Key {
        let mut whole = primary.whole().to_vec();
        whole.extend_from_slice(b"\0part");
        self.store.key(whole)
    }

    /// Answers from a stored part that is fresh and holds what is asked for.
    pub(super) async fn answer_part(&self, ask: &Ask, primary: &Key) -> Option<Answered> {
        let conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| ask.headers.contains_key(name));
        if ask.method != Method::GET || !ask.headers.contains_key(RANGE) || conditional {
            return None;
        }
        let entry = self.store.lookup(&self.part_key(primary)).await?;
        let (entry, purge) = self.usable(ask, entry)?;
        let meta = entry.meta();
        let span = Span::of_answer(&meta.head)?;
        let ruling = ask.ruling_for(meta.status, &meta.head);
        let at = circumstances(ask, &ruling, meta.status, purge);
        let Reuse::Fresh { ttl_s } = meta.freshness.reuse(at) else {
            return None;
        };
        // What the complete object would give: the same range, or another condition than a part can meet.
        let (status, total_bytes) = (StatusCode::OK, span.total_bytes);
        let Part::Bytes(range) = part(&ask.method, &ask.headers, status, &meta.head, total_bytes)
        else {
            return None;
        };
        if range.start < span.range.start || range.end > span.range.end {
            return None;
        }
        let passage = Passage {
            ttl_s: Some(ttl_s),
            ..Passage::new(Outcome::Hit)
        };
        let within = range.start - span.range.start..range.end - span.range.start;
        let text = content_range(&range, total_bytes);
        let response = self
            .send_slice(ask, &entry, within, &text, &passage)
            .await?;
        Some((response, passage))
    }

    /// Joins a part that has just been stored with the one that was there before it.
    pub(super) async fn join_parts(&self, primary: &Key, old: Stored, new: Stored, max_bytes: u64) {
        let (Some(before), Some(span)) = (
            Span::of_answer(&old.meta().head),
            Span::of_answer(&new.meta().head),
        ) else {
            return;
        };
        let Some(joined) = before.joined(&span) else {
            return;
        };
        let same = strong_tag(&old.meta().head) == strong_tag(&new.meta().head);
        if !same || joined.length_bytes() > max_bytes || joined == span {
            return;
        }
        let (meta, key) = as_joined(new.meta(), &joined);
        let key = if key {
            primary.clone()
        } else {
            self.part_key(primary)
        };
        let Fill::Lead(mut writer) = self.store.fill(&key, None, |_| false, meta.fill_index) else {
            return;
        };
        writer.head(meta, Some(joined.length_bytes()));
        // Of the older one what lies before and behind the newer one.
        let front = joined.range.start..span.range.start;
        let back = span.range.end..joined.range.end;
        let own =
            |range: Range<u64>, of: &Span| range.start - of.range.start..range.end - of.range.start;
        let pieces = [
            (!front.is_empty()).then(|| (&old, own(front, &before))),
            Some((&new, 0..span.length_bytes())),
            (!back.is_empty()).then(|| (&old, own(back, &before))),
        ];
        for (entry, range) in pieces.into_iter().flatten() {
            let Ok(mut reader) = self.store.read(entry, range).await else {
                return;
            };
            while let Some(piece) = reader.next().await {
                let Ok(piece) = piece else { return };
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
        }
        if let Err(error) = writer.finish() {
            tracing::debug!(%error, "parts were not joined");
        }
    }
}

/// The metadata of joined parts, after that of the newest (§3.4), and whether they are the complete object.
fn as_joined(newest: &HttpMeta, joined: &Span) -> (HttpMeta, bool) {
    let mut meta = newest.clone();
    let complete = joined.range == (0..joined.total_bytes);
    if complete {
        meta.status = StatusCode::OK;
        meta.head.remove(CONTENT_RANGE);
    } else {
        let text = content_range(&joined.range, joined.total_bytes);
        headers::set(&mut meta.head, CONTENT_RANGE, &text);
    }
    (meta, complete)
}

/// What a fill of a part needs to know: the part that was there before.
pub(super) async fn before(proxy: &Proxy, primary: &Key, meta: &HttpMeta) -> Option<Stored> {
    if meta.status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let old = proxy.store.lookup(&proxy.part_key(primary)).await?;
    let asked = old.meta().request_time;
    let valid = proxy.marks.is_valid(&meta.site, &meta.url, asked);
    let verdict = proxy
        .purges
        .verdict(old.meta().identity(), old.meta().fill_index);
    (valid && verdict == crate::view::PurgeVerdict::Usable).then(|| Arc::clone(&old))
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
    fn parts_join_where_nothing_is_missing() {
        let of = |range: Range<u64>, total_bytes| Span { range, total_bytes };
        for (a, b, joined) in [
            (of(0..4, 10), of(4..10, 10), Some(of(0..10, 10))),
            (of(6..8, 10), of(2..7, 10), Some(of(2..8, 10))),
            (of(2..8, 10), of(3..4, 10), Some(of(2..8, 10))),
            (of(0..4, 10), of(5..10, 10), None),
            (of(0..4, 10), of(4..10, 11), None),
        ] {
            assert_eq!(a.joined(&b), joined);
            assert_eq!(b.joined(&a), joined);
        }
    }
}
