//! A request on its way to an origin: its shape, and its content, watched for progress.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};

use super::progress::{Patience, Progress, Wanted};
use super::trailers;
use crate::exchange::{Body, BodyError, OnInterim};

/// What is the same for every origin and protocol: framing is left to hyper, which knows the body.
pub(super) fn prepare(request: Request<Body>) -> (Request<Outgoing>, Option<Arc<Progress>>) {
    let (mut parts, body) = request.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, UPGRADE] {
        parts.headers.remove(name);
    }
    if body.is_end_stream() {
        parts.headers.remove(EXPECT);
        // RFC 9110 §8.6: a method that is expected to have content says so when there is none.
        if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            parts
                .headers
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
    let expects = parts.headers.contains_key(EXPECT);
    let on_interim = parts.extensions.remove::<OnInterim>();
    let (body, progress) = Outgoing::new(body, expects);
    let mut request = Request::from_parts(parts, body);
    let gate = progress.clone().filter(|_| expects);
    if on_interim.is_some() || gate.is_some() {
        hyper::ext::on_informational(&mut request, move |interim| {
            if interim.status() == StatusCode::CONTINUE
                && let Some(gate) = &gate
            {
                gate.wanted();
            }
            if let Some(OnInterim(tell)) = &on_interim {
                tell(interim.status(), interim.headers());
            }
        });
    }
    (request, progress)
}

/// Origin-form, with `Host` and what concerns the connection. The request may have been on its way to another origin
/// before.
pub(super) fn for_http1(
    request: &mut Request<Outgoing>,
    host: Option<HeaderValue>,
    switches: bool,
) {
    let path = request.uri().path_and_query().cloned();
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    *request.version_mut() = Version::HTTP_11;
    // Of unknown length: hyper would take GET and HEAD for requests without content.
    let framed = request.body().size_hint().exact().is_some();
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    if switches {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if !framed {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    join_cookies(headers);
}

/// RFC 9113 §8.2.3: HTTP/2 may have cut the field into several, HTTP/1.1 has one.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // Joined field values are a field value.
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Absolute-form, from which `:scheme`, `:authority` and `:path` are made (RFC 9113 §8.3.1), and nothing of what
/// concerns a connection (§8.2.2).
///
/// # Errors
///
/// The host is none that a URI can have.
pub(super) fn for_http2(
    request: &mut Request<Outgoing>,
    host: Option<HeaderValue>,
    tls: bool,
) -> Result<(), http::Error> {
    let headers = request.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    let own = headers.remove(HOST);
    let host = host.or(own);
    let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(host)
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// The same request once more, where its content is still here.
pub(super) fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let body = request.body().again()?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// The content. What is in memory already needs no watching.
pub(super) struct Outgoing {
    body: Body,
    progress: Option<Arc<Progress>>,
    /// Runs while the origin has not said that it wants the content.
    patience: Patience,
}

impl Outgoing {
    /// Takes a body; a stream is watched. `expects`: it waits until the origin wants it.
    pub(super) fn new(body: Body, expects: bool) -> (Self, Option<Arc<Progress>>) {
        let watched = matches!(body, Body::Stream(_)) || (expects && !body.is_end_stream());
        let progress = watched.then(|| Arc::new(Progress::new(expects)));
        let outgoing = Self {
            body,
            progress: progress.clone(),
            patience: Patience::default(),
        };
        (outgoing, progress)
    }

    /// The same content again, where all of it is still here.
    fn again(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Pieces(pieces, left) => Body::Pieces(pieces.clone(), *left),
            Body::Stream(_) => return None,
        };
        Some(Self {
            body,
            progress: None,
            patience: Patience::default(),
        })
    }

    /// Waits until the content is wanted, or the origin has had time enough to say so.
    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<Wanted> {
        match &self.progress {
            Some(progress) => self.patience.poll_wanted(progress, cx),
            None => Poll::Ready(Wanted::Yes),
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if ready!(this.poll_wanted(cx)) == Wanted::No {
            let what = "the origin answered without it".to_owned();
            return Poll::Ready(Some(Err(BodyError::Client(what))));
        }
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Some(progress) = &this.progress {
            progress.note(&polled);
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            trailers::settle(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_one_line_in_http1() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "b=2; c=3", "d=4"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let lines: Vec<&HeaderValue> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(lines, ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn a_request_takes_the_shape_of_either_protocol_and_back() {
        let (mut request, _) = prepare(
            Request::get("/a/../b?q=%2F")
                .header(HOST, "shop.example:8080")
                .header(TE, "trailers")
                .header("connection", "x")
                .body(Body::Empty)
                .unwrap(),
        );
        for_http2(&mut request, None, true).unwrap();
        assert_eq!(*request.uri(), "https://shop.example:8080/a/../b?q=%2F");
        assert!(!request.headers().contains_key(CONNECTION));
        let host = HeaderValue::from_static("other.example");
        for_http1(&mut request, Some(host), false);
        assert_eq!(*request.uri(), "/a/../b?q=%2F");
        assert_eq!(request.headers()[HOST], "other.example");
        assert_eq!(request.headers()[CONNECTION], "te");
        assert_eq!(request.version(), Version::HTTP_11);
    }
}
