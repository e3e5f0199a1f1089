//! Response heads and bodies: from a stored entry, from a running fill, from the origin, or our own few words.
//! The only place of the proxy that knows what status a situation has.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION,
    RETRY_AFTER, VIA,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use nearside_cache_store::{BodyReader, FillEnd, Follower};

use super::Proxy;
use super::admit::{Ask, Turned};
use super::cache_status;
use super::conditions::{narrow_to_not_modified, not_modified};
use super::headers::{self, CACHE_STATUS};
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::{Own, Passage};
use super::range::{Part, part};
use crate::exchange::{Body, BodyError};

impl Proxy {
    /// Answers from a stored entry. `None` when its body turns out to be lost: the request is a miss then.
    pub(super) async fn send_entry(
        &self,
        ask: &Ask,
        entry: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        let meta = entry.meta();
        let (mut response, range) = self.head(ask, meta, Some(entry.body_bytes()), passage);
        let Some(range) = range else {
            return Some(response);
        };
        *response.body_mut() = match entry.body() {
            Some(pieces) => in_memory(pieces, range),
            None => from_reader(self.store.read(entry, range).await.ok()?),
        };
        Some(response)
    }

    /// Answers from a running fill, piece by piece as they arrive.
    pub(super) fn send_fill(
        &self,
        ask: &Ask,
        meta: &HttpMeta,
        mut follower: Follower<HttpMeta>,
        passage: &Passage,
    ) -> Response<Body> {
        let length = follower.length();
        let (mut response, range) = self.head(ask, meta, length, passage);
        if let Some(range) = range {
            follower.skip_to(range.start);
            let to_end = length.is_none_or(|length| range.end == length);
            *response.body_mut() = from_fill(follower, range.end - range.start, to_end);
        }
        response
    }

    /// The head of an answer out of `meta`, and which bytes of the body go with it; none when no body does.
    fn head(
        &self,
        ask: &Ask,
        meta: &HttpMeta,
        length: Option<u64>,
        passage: &Passage,
    ) -> (Response<Body>, Option<Range<u64>>) {
        let mut response = Response::new(Body::Empty);
        let mut fields = meta.head.clone();
        let age_s = meta.freshness.age_s(ask.now);
        fields.insert(AGE, HeaderValue::from(age_s));
        self.sign(&mut fields, passage);
        if not_modified(
            &ask.headers,
            meta.status,
            &meta.head,
            meta.freshness.response_time,
        ) {
            narrow_to_not_modified(&mut fields);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = fields;
            return (response, None);
        }
        *response.status_mut() = meta.status;
        let range = match length {
            None => Some(0..u64::MAX),
            Some(length) => {
                match part(&ask.method, &ask.headers, meta.status, &meta.head, length) {
                    Part::Whole => {
                        if may_have_content(meta.status) {
                            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
                        }
                        Some(0..length)
                    }
                    Part::Bytes(range) => {
                        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                        let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                        headers::set(&mut fields, CONTENT_RANGE, &text);
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
                        Some(range)
                    }
                    Part::Unsatisfiable => {
                        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                        narrow_to_not_modified(&mut fields);
                        headers::set(&mut fields, CONTENT_RANGE, &format!("bytes */{length}"));
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
                        None
                    }
                }
            }
        };
        *response.headers_mut() = fields;
        let sends_body = ask.method != Method::HEAD && may_have_content(meta.status);
        (response, range.filter(|_| sends_body))
    }

    /// Passes an answer on that is for this client only.
    pub(super) fn pass_on(
        &self,
        mut response: Response<Body>,
        passage: &Passage,
    ) -> Response<Body> {
        headers::towards_client(response.headers_mut());
        self.sign(response.headers_mut(), passage);
        response
    }

    /// An answer of our own: a few words, the request's id, and nothing about origins.
    pub(super) fn own(
        &self,
        turned: &Turned,
        method: &Method,
        request_id: u64,
        passage: &Passage,
    ) -> Response<Body> {
        let status = status_of(turned.own);
        self.own_with(status, turned, method, request_id, passage)
    }

    /// The same with another status than the usual one of its kind.
    pub(super) fn own_with(
        &self,
        status: StatusCode,
        turned: &Turned,
        method: &Method,
        request_id: u64,
        passage: &Passage,
    ) -> Response<Body> {
        let reason = status.canonical_reason().unwrap_or("Error");
        let text = format!("{} {reason}\nrequest {request_id:016x}\n", status.as_str());
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        if let Some(seconds) = turned.retry_after_s {
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(location) = &turned.location {
            headers::set(fields, LOCATION, location);
        }
        if matches!(turned.own, Own::NoOrigin | Own::OnlyIfCached) {
            self.sign(fields, passage);
        }
        if method != Method::HEAD {
            *response.body_mut() = text.into();
        }
        response
    }

    /// Our lines in `Via` and `Cache-Status`.
    fn sign(&self, fields: &mut HeaderMap, passage: &Passage) {
        fields.append(VIA, self.via.clone());
        headers::append(
            fields,
            CACHE_STATUS,
            &cache_status::member(&self.node, passage),
        );
    }
}

fn status_of(own: Own) -> StatusCode {
    match own {
        Own::BadRequest => StatusCode::BAD_REQUEST,
        Own::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Own::Denied => StatusCode::FORBIDDEN,
        Own::Limited => StatusCode::TOO_MANY_REQUESTS,
        Own::Redirect => StatusCode::PERMANENT_REDIRECT,
        Own::Loop => StatusCode::LOOP_DETECTED,
        Own::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
        Own::NoOrigin => StatusCode::BAD_GATEWAY,
    }
}

/// RFC 9110 §6.4.1: these have none, whatever is stored.
fn may_have_content(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 204 | 304)
}

/// A range of pieces in memory: references are counted, bytes are not copied.
fn in_memory(pieces: &[Bytes], range: Range<u64>) -> Body {
    let (mut parts, mut begin) = (Vec::with_capacity(pieces.len()), 0_u64);
    for piece in pieces {
        let end = begin + piece.len() as u64;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            // Both are within the piece, whose length is a usize.
            parts.push(piece.slice((from - begin) as usize..(to - begin) as usize));
        }
        begin = end;
    }
    match parts.len() {
        1 => parts.remove(0).into(),
        _ => Body::pieces(parts),
    }
}

/// A body from disk.
fn from_reader(reader: BodyReader) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::unfold(
        Some(reader),
        |reader| async move {
            let mut reader = reader?;
            match reader.next().await? {
                Ok(piece) => Some((Ok(Frame::data(piece)), Some(reader))),
                Err(error) => Some((Err(BodyError::Store(error.to_string())), None)),
            }
        },
    )))
}

/// The next `left` bytes of a fill.
///
/// Where they reach to the body's end, the last piece is held back until the fill has ended well: so a client never
/// takes for complete what the origin broke off, and whoever has read it all finds it stored.
fn from_fill(follower: Follower<HttpMeta>, left: u64, to_end: bool) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::unfold(
        Some((follower, left)),
        move |state| async move {
            let (mut follower, left) = state?;
            if left == 0 && !to_end {
                return None;
            }
            match follower.next().await? {
                Ok(mut piece) => {
                    if let Ok(left) = usize::try_from(left) {
                        piece.truncate(left);
                    }
                    let left = left - piece.len() as u64;
                    if left == 0
                        && to_end
                        && let Some(Err(end)) = follower.next().await
                    {
                        return Some((Err(broken(end)), None));
                    }
                    Some((Ok(Frame::data(piece)), Some((follower, left))))
                }
                Err(end) => Some((Err(broken(end)), None)),
            }
        },
    )))
}

fn broken(end: FillEnd) -> BodyError {
    match end {
        FillEnd::Failed(reason) => BodyError::Upstream(reason.to_string()),
        FillEnd::Declined => BodyError::Upstream("declined".to_owned()),
    }
}
