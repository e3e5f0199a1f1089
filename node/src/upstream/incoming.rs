//! A response's body as it comes from an origin, with a deadline for every piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::error::UpstreamErrorKind;
use super::load::Slot;
use super::pool::{Idle, Lane};
use super::progress::{Progress, Unwanted};
use super::shared::Stream;
use super::table::OriginState;
use super::trailers;
use crate::exchange::BodyError;

/// Checks how an answer is framed (RFC 9112 §6.1, §6.3) and whether it is one to a request of ours.
///
/// `Transfer-Encoding` goes before `Content-Length`, which then is not the body's and does not travel on. Codings other
/// than `chunked` were not asked for. Nor is another protocol, but where a request said so: 101 would hand the client's
/// connection to the origin.
pub(super) fn settle<B>(
    response: &mut Response<B>,
    may_switch: bool,
) -> Result<(), UpstreamErrorKind> {
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let protocol = headers.get(UPGRADE).map(HeaderValue::as_bytes);
        if !may_switch || !protocol.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket")) {
            return Err(UpstreamErrorKind::Malformed);
        }
        // RFC 9110 §8.6, RFC 9112 §6.1: it has neither.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let only = codings
            .next()
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !only || codings.next().is_some() {
            return Err(UpstreamErrorKind::Malformed);
        }
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Where a connection goes when its response has been read.
pub(super) enum Back {
    /// HTTP/1.1: to the pool, for the next request.
    Pool(Arc<Lane>, Idle),
    /// HTTP/2: its stream ends, the connection is there for others.
    Stream(Stream, Option<Unwanted>),
    /// It closes.
    Nowhere(Unwanted),
}

impl Back {
    pub(super) fn give(self, origin: &OriginState) {
        match self {
            // Somebody waits for a place that this connection has: it makes room.
            Self::Pool(_, idle) if origin.load.wants_connections() => drop(idle),
            Self::Pool(lane, idle) => lane.put(origin.id, idle),
            Self::Stream(stream, unwanted) => drop((stream, unwanted)),
            Self::Nowhere(unwanted) => drop(unwanted),
        }
    }
}

/// The body. At its end the connection goes back to its pool; dropped before, the connection closes.
pub(super) struct OriginBody {
    inner: Incoming,
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    back: Option<Back>,
    /// Of the request's content, which may still be on its way.
    progress: Option<Arc<Progress>>,
    origin: Arc<OriginState>,
    _slot: Option<Slot>,
}

impl OriginBody {
    pub(super) fn new(
        inner: Incoming,
        timeout: Duration,
        back: Back,
        progress: Option<Arc<Progress>>,
        origin: Arc<OriginState>,
        slot: Option<Slot>,
    ) -> Self {
        Self {
            inner,
            timeout,
            sleep: None,
            is_waiting: false,
            back: Some(back),
            progress,
            origin,
            _slot: slot,
        }
    }

    fn give_back(&mut self) {
        if let Some(back) = self.back.take() {
            back.give(&self.origin);
        }
    }

    fn broke(&mut self, why: &str) -> BodyError {
        self.back = None;
        self.origin.failed("body", &why);
        BodyError::Upstream(why.to_owned())
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.timeout;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.is_waiting {
            sleep.as_mut().reset(deadline);
            self.is_waiting = true;
        }
        sleep.as_mut().poll(cx)
    }
}

impl http_body::Body for OriginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending() {
            loop {
                ready!(this.poll_timeout(cx));
                // In a conversation it may be the client who has nothing to say; how long, its own deadline tells.
                let progress = this.progress.as_ref();
                if !progress.is_some_and(|progress| progress.awaits_client()) {
                    break;
                }
                this.is_waiting = false;
            }
            let error = this.broke("no piece came in time");
            return Poll::Ready(Some(Err(error)));
        }
        this.is_waiting = false;
        match ready!(polled) {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::settle(trailers);
                }
                if this.inner.is_end_stream() {
                    this.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let error = this.broke(&error.to_string());
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.give_back();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
