//! A request's content as it comes from the client, with its two bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::exchange::BodyError;

/// Content that ends with an error when it grows past its limit, or when no piece comes for too long.
///
/// The timer is made when a piece is first waited for: content that came with the head never needs one.
pub(super) struct ClientBody<B> {
    inner: B,
    left_bytes: u64,
    limit_bytes: u64,
    progress_timeout: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    /// Somebody wants the content; only where the client waits to hear that.
    wanted: Option<Arc<AtomicBool>>,
}

impl<B> ClientBody<B> {
    pub(super) fn new(inner: B, limit_bytes: u64, progress_timeout: Duration) -> Self {
        Self {
            inner,
            left_bytes: limit_bytes,
            limit_bytes,
            progress_timeout,
            waiting: None,
            is_waiting: false,
            wanted: None,
        }
    }

    /// Tells whether anybody has asked for the content.
    pub(super) fn watched(mut self, wanted: Option<Arc<AtomicBool>>) -> Self {
        self.wanted = wanted;
        self
    }

    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = Instant::now() + self.progress_timeout;
        let sleep = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.is_waiting {
            sleep.as_mut().reset(deadline);
            self.is_waiting = true;
        }
        sleep.as_mut().poll(cx)
    }
}

impl<B> http_body::Body for ClientBody<B>
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(wanted) = &this.wanted {
            wanted.store(true, Ordering::Relaxed);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        if polled.is_pending() {
            ready!(this.poll_too_slow(cx));
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        }
        this.is_waiting = false;
        let Some(frame) = ready!(polled) else {
            return Poll::Ready(None);
        };
        let mut frame = frame.map_err(|error| BodyError::Client(error.to_string()))?;
        if let Some(trailers) = frame.trailers_mut() {
            remove_claims(trailers);
        }
        if let Some(data) = frame.data_ref() {
            match this.left_bytes.checked_sub(data.len() as u64) {
                Some(left) => this.left_bytes = left,
                None => {
                    return Poll::Ready(Some(Err(BodyError::TooLarge {
                        limit_bytes: this.limit_bytes,
                    })));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Takes out trailers that say where the request comes from, or what it wants: those places are heads (RFC 9110 §6.5.1),
/// and in heads the first are ours to write. `upstream` takes out what frames.
fn remove_claims(trailers: &mut HeaderMap) {
    const CLAIMS: [&str; 6] = [
        "x-forwarded",
        "x-real-ip",
        "forwarded",
        "via",
        "cdn-loop",
        "if-",
    ];
    let claims: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.contains('_') || CLAIMS.iter().any(|claim| name.starts_with(claim))
        })
        .cloned()
        .collect();
    for name in claims {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_trailer_says_nothing_of_the_way() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "x-forwarded-for",
            "x_forwarded_for",
            "via",
            "if-match",
        ] {
            trailers.append(name, HeaderValue::from_static("0"));
        }
        remove_claims(&mut trailers);
        assert_eq!(trailers.keys().count(), 1);
        assert!(trailers.contains_key("grpc-status"));
    }
}
