//! Response heads: from a stored entry, from a running fill, from the origin, or our own few words.
//! The only place of the proxy that knows what status a situation has.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPIRES, HeaderValue,
    LOCATION, RETRY_AFTER, VIA, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Response, StatusCode};
use nearside_cache_store::Follower;

use super::admit::{Ask, Turned};
use super::cache_status;
use super::conditions::{narrow_to_not_modified, not_modified};
use super::headers::{self, CACHE_STATUS};
use super::lookup::Stored;
use super::meta::HttpMeta;
use super::outcome::{Outcome, Own, Passage};
use super::parts::{Parts, Step};
use super::range::{Multipart, Part, content_range, part};
use super::{Proxy, body, slices};
use crate::exchange::Body;

/// What of a body is sent.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Bytes(Range<u64>),
    Parts(Multipart),
}

impl Proxy {
    /// Answers from a stored entry as it is. `None` when its body turns out to be lost.
    pub(super) async fn send_as_stored(
        self: &Arc<Self>,
        ask: &Ask,
        entry: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        if entry.meta().status == StatusCode::PARTIAL_CONTENT {
            if slices::is_about(entry.key().whole()) {
                let slice_bytes = ask.slice_bytes()?;
                let sent = self.send_slices(ask, entry, passage.clone(), slice_bytes);
                return Box::pin(sent).await.map(|(response, _)| response);
            }
            return self.send_parts(ask, entry, passage).await;
        }
        if let Some(response) = self.send_as_in_memory(ask, entry, passage) {
            return Some(response);
        }
        let length = Some(entry.body_bytes());
        let (mut response, content) = self.head(ask, entry.meta(), (length, true), passage);
        *response.body_mut() = match content {
            Content::Nothing => Body::Empty,
            Content::Bytes(range) => body::from_reader(self.store.read(entry, range).await.ok()?),
            Content::Parts(parts) => body::parts_on_disk(&self.store, entry, parts).await?,
        };
        Some(response)
    }

    /// The same without waiting; none where the body has to be read from disk.
    pub(super) fn send_as_in_memory(
        &self,
        ask: &Ask,
        entry: &Stored,
        passage: &Passage,
    ) -> Option<Response<Body>> {
        let pieces = entry.body()?;
        let length = Some(entry.body_bytes());
        let (mut response, content) = self.head(ask, entry.meta(), (length, true), passage);
        *response.body_mut() = in_memory(pieces, content);
        Some(response)
    }

    /// The head of an answer out of parts, and the steps to its body. `meta` is that of the object.
    pub(super) fn head_of_parts(
        &self,
        ask: &Ask,
        meta: &HttpMeta,
        parts: &Parts,
        passage: &Passage,
    ) -> Option<(Response<Body>, Vec<Step>)> {
        let length = Some(parts.total_bytes);
        let (response, content) = self.head(ask, meta, (length, true), passage);
        let steps = match content {
            Content::Nothing => Vec::new(),
            Content::Bytes(range) => parts.steps(&range)?,
            Content::Parts(several) => {
                let mut steps = Vec::new();
                for (head, range) in several.parts {
                    steps.push(Step::Text(head));
                    steps.extend(parts.steps(&range)?);
                }
                steps.push(Step::Text(several.end));
                steps
            }
        };
        Some((response, steps))
    }

    /// Answers from a running fill as it is, piece by piece as they arrive. The length is the body's, where it is known.
    pub(super) fn send_running(
        &self,
        ask: &Ask,
        meta: &HttpMeta,
        (length, mut follower): (Option<u64>, Follower<HttpMeta>),
        passage: &Passage,
    ) -> Response<Body> {
        // Several parts of what is still arriving could be far apart: then the whole object comes sooner.
        let (mut response, content) = self.head(ask, meta, (length, false), passage);
        if let Content::Bytes(range) = content {
            follower.skip_to(range.start);
            let to_end = length.is_none_or(|length| range.end == length);
            *response.body_mut() = body::from_fill(follower, range.end - range.start, to_end);
        }
        response
    }

    /// The head of an answer out of `meta`, and what of the body goes with it. Of the body its length is given, where it
    /// is known, and whether several parts of it may be sent.
    pub(super) fn head(
        &self,
        ask: &Ask,
        meta: &HttpMeta,
        (length, in_parts): (Option<u64>, bool),
        passage: &Passage,
    ) -> (Response<Body>, Content) {
        let mut response = Response::new(Body::Empty);
        let mut fields = meta.head.clone();
        if let Some(age_s) = age(meta, ask, passage) {
            fields.insert(AGE, HeaderValue::from(age_s));
        }
        self.sign(&mut fields, passage);
        let not_modified = ask.choosing.conditions
            && not_modified(
                &ask.headers,
                meta.status,
                &meta.head,
                meta.freshness.response_time,
            );
        if not_modified {
            narrow_to_not_modified(&mut fields);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = fields;
            return (response, Content::Nothing);
        }
        *response.status_mut() = meta.status;
        let content = match length {
            None => Content::Bytes(0..u64::MAX),
            Some(length) => {
                let asked = match ask.choosing.range {
                    true => part(&ask.method, &ask.headers, meta.status, &meta.head, length),
                    false => Part::Whole,
                };
                match asked {
                    Part::Several(ranges) if in_parts => {
                        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                        let boundary = format!("{:032x}", rand::random::<u128>());
                        let parts =
                            Multipart::new(&boundary, fields.get(CONTENT_TYPE), ranges, length);
                        headers::set(&mut fields, CONTENT_TYPE, &parts.content_type);
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(parts.length_bytes));
                        Content::Parts(parts)
                    }
                    Part::Whole | Part::Several(_) => {
                        if may_have_content(meta.status) {
                            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
                        }
                        Content::Bytes(0..length)
                    }
                    Part::Bytes(range) => {
                        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                        headers::set(&mut fields, CONTENT_RANGE, &content_range(&range, length));
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
                        Content::Bytes(range)
                    }
                    Part::Unsatisfiable => {
                        *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                        narrow_to_not_modified(&mut fields);
                        // What is said of the object's freshness does not hold for this answer.
                        fields.remove(EXPIRES);
                        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                        headers::set(&mut fields, CONTENT_RANGE, &format!("bytes */{length}"));
                        fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
                        Content::Nothing
                    }
                }
            }
        };
        *response.headers_mut() = fields;
        if ask.method == Method::HEAD || !may_have_content(meta.status) {
            return (response, Content::Nothing);
        }
        (response, content)
    }

    /// Passes an answer on that is for this client only.
    pub(super) fn pass_on(
        &self,
        ask: &Ask,
        mut response: Response<Body>,
        passage: &Passage,
    ) -> Response<Body> {
        headers::towards_client(response.headers_mut());
        match self.encode_on_the_way(ask, &mut response) {
            None => self.sign(response.headers_mut(), passage),
            Some(detail) => self.sign(response.headers_mut(), &passage.with_detail(detail)),
        }
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
        let status = turned.status.unwrap_or(status_of(turned.own));
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
        if let Some(challenge) = &turned.challenge {
            fields.insert(WWW_AUTHENTICATE, challenge.clone());
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

    /// The same for a program that asked.
    pub(super) fn own_json(&self, own: Own, said: &serde_json::Value) -> Response<Body> {
        let text = format!("{said}\n");
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status_of(own);
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        match own {
            Own::NoPurge => {
                let methods = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";
                fields.insert(ALLOW, HeaderValue::from_static(methods));
            }
            Own::NoQuorum => drop(fields.insert(RETRY_AFTER, HeaderValue::from(1))),
            _ => {}
        }
        *response.body_mut() = text.into();
        response
    }

    /// Writes our line in `Cache-Status` anew, as more is known of the passage by now.
    pub(super) fn sign_anew(&self, fields: &mut HeaderMap, passage: &Passage) {
        let lines: Vec<HeaderValue> = fields.get_all(CACHE_STATUS).iter().cloned().collect();
        fields.remove(CACHE_STATUS);
        for line in lines.iter().rev().skip(1).rev() {
            fields.append(CACHE_STATUS, line.clone());
        }
        let mut text = String::new();
        cache_status::write(&mut text, &self.name, passage);
        headers::append(fields, CACHE_STATUS, &text);
    }

    /// Our lines in `Via` and `Cache-Status`.
    fn sign(&self, fields: &mut HeaderMap, passage: &Passage) {
        thread_local! {
            static TEXT: Cell<String> = const { Cell::new(String::new()) };
        }
        fields.append(VIA, self.via.clone());
        let mut text = TEXT.take();
        text.clear();
        cache_status::write(&mut text, &self.name, passage);
        headers::append(fields, CACHE_STATUS, &text);
        TEXT.set(text);
    }
}

/// What is sent of a body in memory.
fn in_memory(pieces: &[Bytes], content: Content) -> Body {
    match content {
        Content::Nothing => Body::Empty,
        Content::Bytes(range) => body::in_memory(pieces, range),
        Content::Parts(parts) => body::parts_in_memory(pieces, parts),
    }
}

/// What `Age` says. It says that the origin has not made or validated the answer for this request (RFC 9111 §5.1), so an
/// answer that it has just given goes without, unless it came by way of another cache.
fn age(meta: &HttpMeta, ask: &Ask, passage: &Passage) -> Option<u64> {
    let given = matches!(passage.outcome, Outcome::Miss | Outcome::Revalidated);
    let from_here = given && !passage.collapsed && !meta.freshness.came_with_age;
    (!from_here).then(|| meta.freshness.age_s(ask.now))
}

fn status_of(own: Own) -> StatusCode {
    match own {
        Own::BadRequest => StatusCode::BAD_REQUEST,
        Own::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Own::Denied => StatusCode::FORBIDDEN,
        Own::Limited => StatusCode::TOO_MANY_REQUESTS,
        Own::Redirect => StatusCode::PERMANENT_REDIRECT,
        Own::Unsigned | Own::Refused => StatusCode::FORBIDDEN,
        Own::Unauthorized => StatusCode::UNAUTHORIZED,
        Own::AuthUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Own::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        Own::Loop => StatusCode::LOOP_DETECTED,
        Own::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
        Own::NoOrigin => StatusCode::BAD_GATEWAY,
        Own::Purged => StatusCode::OK,
        Own::NoPurge => StatusCode::METHOD_NOT_ALLOWED,
        Own::NoQuorum => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// RFC 9110 §6.4.1: these have none, whatever is stored.
fn may_have_content(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 204 | 304)
}
