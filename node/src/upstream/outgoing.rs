//! A request's content on its way to an origin, watched for progress.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::exchange::{Body, BodyError};

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
