//! A request on its way to an origin: its shape, and its content, watched for progress.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};

use crate::exchange::{Body, BodyError, MaySwitch, OnInterim};

/// Origin-form, HTTP/1.1, and framing left to hyper, which knows the body.
pub(super) fn prepare(request: Request<Body>) -> (Request<Outgoing>, Option<Arc<Progress>>) {
    let (mut parts, body) = request.into_parts();
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    parts.version = Version::HTTP_11;
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    // RFC 9110 §8.6: a method that is expected to have content says so when there is none.
    if body.is_end_stream() && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if parts.extensions.get::<MaySwitch>().is_some() {
        for (name, value) in [(CONNECTION, "upgrade"), (UPGRADE, "websocket")] {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
    }
    let on_interim = parts.extensions.remove::<OnInterim>();
    let (body, progress) = Outgoing::new(body);
    let mut request = Request::from_parts(parts, body);
    if let Some(OnInterim(tell)) = on_interim {
        hyper::ext::on_informational(&mut request, move |interim| {
            tell(interim.status(), interim.headers());
        });
    }
    (request, progress)
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

/// What the sender of a request knows of its content's way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Pieces the connection took.
    pieces: AtomicU64,
    /// The next piece is the client's to send: the origin need not hurry.
    awaits_client: AtomicBool,
    failed: OnceLock<BodyError>,
}

impl Progress {
    pub(super) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.awaits_client.load(Ordering::Relaxed)
    }

    /// Why the content broke off, if it did.
    pub(super) fn failure(&self) -> Option<&BodyError> {
        self.failed.get()
    }
}

/// The content. What is in memory already needs no watching.
pub(super) struct Outgoing {
    body: Body,
    progress: Option<Arc<Progress>>,
}

impl Outgoing {
    /// Takes a body; a stream is watched.
    pub(super) fn new(body: Body) -> (Self, Option<Arc<Progress>>) {
        let progress = matches!(body, Body::Stream(_)).then(Arc::<Progress>::default);
        let watched = progress.clone();
        (Self { body, progress }, watched)
    }

    /// The same content again, where all of it is still here.
    pub(super) fn again(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Full(bytes) => Body::Full(bytes.clone()),
            Body::Pieces(pieces, left) => Body::Pieces(pieces.clone(), *left),
            Body::Stream(_) => return None,
        };
        Some(Self {
            body,
            progress: None,
        })
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
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Some(progress) = &this.progress {
            progress
                .awaits_client
                .store(polled.is_pending(), Ordering::Relaxed);
            match &polled {
                Poll::Ready(Some(Err(error))) => {
                    // Only the first failure counts; a body is not polled after one.
                    progress.failed.get_or_init(|| error.clone());
                }
                Poll::Ready(_) => {
                    progress.pieces.fetch_add(1, Ordering::Relaxed);
                }
                Poll::Pending => {}
            }
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
