//! Completing what is stored in part: the origin is asked for what is missing, and its answer read as if it were one for
//! all of it (RFC 9111 §3.3, §3.4, RFC 9110 §15.3.7.3).

use std::ops::Range;

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, HeaderValue,
};
use http::{HeaderMap, Response, StatusCode};
use nearside_cache_store::Store;

use super::Parts;
use super::assembly::{Asker, Assembly, Step, ask_for};
use super::held::{Piece, divide};
use super::span::{Span, strong_tag};
use crate::exchange::Body;
use crate::proxy::meta::HttpMeta;
use crate::proxy::ports::Answer;
use crate::proxy::range::content_range;
use crate::view::TagSet;

/// What is held of an object, and what more of it is wanted.
#[derive(Debug)]
pub(in crate::proxy) struct Rest {
    parts: Parts,
    /// The range of the object that the answer shall be: all of it, or what the client asked for.
    wanted: Range<u64>,
    pieces: Vec<Piece>,
    /// The first piece that is missing.
    hole: Range<u64>,
    tag: HeaderValue,
}

/// What came of asking for the rest.
#[derive(Debug)]
pub(in crate::proxy) enum Joined {
    /// All that was wanted; or the origin's own word about the whole, if that is another object or none.
    Answer(Box<Answer>),
    /// Something that neither completes what is held nor is of use by itself.
    Useless,
}

impl Rest {
    /// None where nothing is missing, or nothing of what is wanted is held.
    pub(in crate::proxy) fn new(parts: Parts, wanted: Range<u64>) -> Option<Self> {
        let tag = parts.lead.meta().head.get(ETAG)?.clone();
        let pieces = divide(&parts.ranges(), &wanted);
        pieces.iter().find(|piece| piece.part.is_some())?;
        let hole = pieces
            .iter()
            .find(|piece| piece.part.is_none())?
            .range
            .clone();
        Some(Self {
            parts,
            wanted,
            pieces,
            hole,
            tag,
        })
    }

    /// Asks for the first range that is missing, in place of the client's own conditions and ranges.
    pub(in crate::proxy) fn ask(&self, request: &mut HeaderMap) {
        ask_for(request, &self.hole, &self.tag);
    }

    /// The tags that what is held came with: an answer to a conditional range may leave them out.
    pub(in crate::proxy) fn tags(&self) -> TagSet {
        self.parts.lead.meta().tags.clone()
    }

    /// Reads the answer to [`Rest::ask`]. A 206 for the same object becomes an answer for all that was wanted: its fields
    /// are the stored ones updated by those that have just come, its body is joined as it is read.
    pub(in crate::proxy) fn join(
        &self,
        answer: Answer,
        store: &Store<HttpMeta>,
        mut asker: Asker,
    ) -> Joined {
        let Answer { response, origin } = answer;
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Joined::Useless;
        }
        if status != StatusCode::PARTIAL_CONTENT {
            return Joined::Answer(Box::new(Answer { response, origin }));
        }
        let total_bytes = self.parts.total_bytes;
        let expected = Span {
            range: self.hole.clone(),
            total_bytes,
        };
        let fits = Span::of_answer(response.headers()) == Some(expected)
            && strong_tag(response.headers()) == Some(self.tag.as_bytes());
        if !fits {
            return Joined::Useless;
        }
        let (head, body) = response.into_parts();
        let mut fields = updated(&self.parts.lead.meta().head, &head.headers);
        let whole = self.wanted == (0..total_bytes);
        let mut joined = Response::new(Body::Empty);
        if whole {
            fields.remove(CONTENT_RANGE);
        } else {
            *joined.status_mut() = StatusCode::PARTIAL_CONTENT;
            let text = content_range(&self.wanted, total_bytes);
            crate::proxy::headers::set(&mut fields, CONTENT_RANGE, &text);
        }
        let length = self.wanted.end - self.wanted.start;
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        *joined.headers_mut() = fields;
        asker.tag.clone_from(&self.tag);
        asker.total_bytes = total_bytes;
        let steps = self.steps();
        let assembly = Assembly::new(store.clone(), steps, Some(body), Some(asker));
        *joined.body_mut() = assembly.into_body();
        Joined::Answer(Box::new(Answer {
            response: joined,
            origin,
        }))
    }

    fn steps(&self) -> Vec<Step> {
        let step = |piece: &Piece| match piece.part {
            Some(part) => self.parts.step(part, &piece.range),
            None => Step::Missing(piece.range.clone()),
        };
        self.pieces.iter().map(step).collect()
    }
}

/// The stored fields, updated by those of an answer for a part of the same object. The answer's own account of its age
/// and date counts, also where it gives none.
fn updated(stored: &HeaderMap, answer: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    for name in [AGE, DATE] {
        fields.remove(name);
    }
    let excepted = [CONTENT_ENCODING, CONTENT_RANGE, CONTENT_LENGTH];
    let names = answer.keys().filter(|name| !excepted.contains(name));
    for name in names.cloned().collect::<Vec<HeaderName>>() {
        fields.remove(&name);
        for value in answer.get_all(&name) {
            fields.append(&name, value.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_fields_count_but_for_how_to_read_the_body() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let stored = headers(&[
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("content-type", "text/plain"),
            ("content-encoding", "br"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]);
        let answer = headers(&[
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/2"),
            ("x-a", "3"),
            ("cache-control", "max-age=9"),
        ]);
        let expected = headers(&[
            ("content-type", "text/plain"),
            ("content-encoding", "br"),
            ("x-a", "3"),
            ("cache-control", "max-age=9"),
        ]);
        assert_eq!(updated(&stored, &answer), expected);
    }
}
