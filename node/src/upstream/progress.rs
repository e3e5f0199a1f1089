//! How far a request's content has come, and whether it is wanted at all.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Sleep;

use crate::exchange::BodyError;

/// How long an origin that was asked whether it wants the content may say nothing, before it gets it all the same: one
/// that knows no expectations waits for it (RFC 9110 §10.1.1).
pub(super) const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// What the sender of a request knows of its content's way.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Pieces the connection took.
    pieces: AtomicU64,
    /// The next piece is the client's to send: the origin need not hurry.
    awaits_client: AtomicBool,
    failed: OnceLock<BodyError>,
    /// Only where the client expects to be told whether its content is wanted.
    gate: Option<Gate>,
}

/// Holds content back until the origin wants it.
#[derive(Debug, Default)]
struct Gate {
    state: AtomicU8,
    waker: AtomicWaker,
}

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const REFUSED: u8 = 2;

/// May content go?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    /// The origin has answered without it.
    No,
}

impl Progress {
    /// `expects`: the content waits until it is wanted.
    pub(super) fn new(expects: bool) -> Self {
        Self {
            gate: expects.then(Gate::default),
            ..Self::default()
        }
    }

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

    /// A piece was taken, is waited for, or will not come.
    pub(super) fn note<T>(&self, polled: &Poll<Option<Result<T, BodyError>>>) {
        self.awaits_client
            .store(polled.is_pending(), Ordering::Relaxed);
        match polled {
            Poll::Ready(Some(Err(error))) => {
                // Only the first failure counts; a body is not polled after one.
                self.failed.get_or_init(|| error.clone());
            }
            Poll::Ready(_) => {
                self.pieces.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Pending => {}
        }
    }

    /// Whether it waits for the origin's word.
    pub(super) fn is_gated(&self) -> bool {
        let state = self.gate.as_ref().map(|gate| &gate.state);
        state.is_some_and(|state| state.load(Ordering::Acquire) != OPEN)
    }

    /// Waits for the origin's word; at once where nobody asked for it.
    fn poll_wanted(&self, cx: &Context<'_>) -> Poll<Wanted> {
        let Some(gate) = &self.gate else {
            return Poll::Ready(Wanted::Yes);
        };
        gate.waker.register(cx.waker());
        match gate.state.load(Ordering::Acquire) {
            OPEN => Poll::Ready(Wanted::Yes),
            REFUSED => Poll::Ready(Wanted::No),
            _ => Poll::Pending,
        }
    }

    /// The origin wants the content, or has had time enough to say so.
    pub(super) fn wanted(&self) {
        self.settle(OPEN);
    }

    fn settle(&self, state: u8) {
        if let Some(gate) = &self.gate {
            let (from, relaxed) = (CLOSED, Ordering::Relaxed);
            gate.state
                .compare_exchange(from, state, Ordering::AcqRel, relaxed)
                .ok();
            gate.waker.wake();
        }
    }

    /// The origin has answered before it wanted the content, if it has: the content is given up when this is dropped.
    pub(super) fn unwanted(self: &Arc<Self>) -> Option<Unwanted> {
        self.is_gated().then(|| Unwanted(Arc::clone(self)))
    }
}

/// How long the origin has left to say that it wants the content; runs from when that would go.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Pin<Box<Sleep>>>);

impl Patience {
    /// Waits until the content is wanted, or the origin has had time enough to say so.
    pub(super) fn poll_wanted(
        &mut self,
        progress: &Progress,
        cx: &mut Context<'_>,
    ) -> Poll<Wanted> {
        if !progress.is_gated() {
            self.0 = None;
            return Poll::Ready(Wanted::Yes);
        }
        let patience = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE_WAIT)));
        if patience.as_mut().poll(cx).is_ready() {
            progress.wanted();
        }
        progress.poll_wanted(cx)
    }
}

/// Content that no origin wants. Not given up before the response has been read: on an HTTP/1.1 connection, that would
/// break the response off too.
#[derive(Debug)]
pub(super) struct Unwanted(Arc<Progress>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.settle(REFUSED);
    }
}
