//! Interim responses (1xx, RFC 9110 §15.2) on their way to the client: a proxy forwards them.
//!
//! They come while an origin is being asked, on whatever runtime that is, and go out on the connection of the client
//! who waits. One bounded queue belongs to each connection; what does not fit is dropped, as is what comes after the
//! final response has gone: each is marked with the exchange it was for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

/// Interim responses of one connection that may wait at a time.
const WAITING_MAX: usize = 8;

/// An interim response.
#[derive(Debug)]
pub struct Interim {
    /// Which exchange of its connection it is for.
    pub exchange: u64,
    /// 102 to 199.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
}

/// The end of a connection that takes interim responses. Of several exchanges at a time (HTTP/2), the one that is being
/// worked on is the open one: all of them are on one core.
#[derive(Debug)]
pub struct InterimLine {
    exchange: AtomicU64,
    sender: mpsc::Sender<Interim>,
}

impl InterimLine {
    /// The line of a new connection, and what comes out of it.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Interim>) {
        Self::with_room(WAITING_MAX)
    }

    /// One in which so many may wait.
    #[must_use]
    pub fn with_room(waiting_max: usize) -> (Arc<Self>, mpsc::Receiver<Interim>) {
        let (sender, receiver) = mpsc::channel(waiting_max);
        let exchange = AtomicU64::new(0);
        (Arc::new(Self { exchange, sender }), receiver)
    }

    /// Begins the next exchange, and says which it is.
    pub fn begin(&self) -> u64 {
        self.exchange.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Work on this exchange goes on: it is the open one from now.
    pub fn resume(&self, exchange: u64) {
        self.exchange.store(exchange, Ordering::Relaxed);
    }

    /// For whoever asks on behalf of the exchange that is open now.
    #[must_use]
    pub fn ticket(self: &Arc<Self>) -> InterimTicket {
        InterimTicket {
            exchange: self.exchange.load(Ordering::Relaxed),
            line: Arc::clone(self),
        }
    }
}

/// The right to send interim responses in one exchange.
#[derive(Clone, Debug)]
pub struct InterimTicket {
    exchange: u64,
    line: Arc<InterimLine>,
}

impl InterimTicket {
    /// Sends one, if there is room.
    pub fn tell(&self, status: StatusCode, headers: HeaderMap) {
        let interim = Interim {
            exchange: self.exchange,
            status,
            headers,
        };
        // Full or closed: nobody waits for it any more, or nobody reads.
        drop(self.line.sender.try_send(interim));
    }
}

/// Hears of an interim response.
pub type HearInterim = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

/// In a request's extensions: who wants to hear of interim responses to it.
#[derive(Clone)]
pub struct OnInterim(pub Arc<HearInterim>);
