//! Interim responses on an HTTP/1.1 connection.
//!
//! hyper's server has no call to send them. They may stand between two final responses, and nowhere else; so they wait
//! here, and the stream below hyper writes them when all that hyper has written is out: then the next byte of hyper's is
//! the first of the final response that they precede. While a response before them is still on its way (pipelining),
//! they are dropped.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

use crate::exchange::Interim;

/// More than this does not wait for the socket, in bytes.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// Heads of interim responses that wait for the socket.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: RefCell<Vec<u8>>,
    /// hyper's bytes are all out.
    between: Cell<bool>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: RefCell::default(),
            between: Cell::new(true),
        }
    }
}

impl Outbox {
    /// hyper is about to write.
    pub(super) fn writes(&self) {
        self.between.set(false);
    }

    /// All that hyper wrote is out.
    pub(super) fn flushed(&self) {
        self.between.set(true);
    }

    /// Is all out that was to be written?
    pub(super) fn is_between(&self) -> bool {
        self.between.get() && self.bytes.borrow().is_empty()
    }

    fn put(&self, status: StatusCode, headers: &HeaderMap) {
        let mut bytes = self.bytes.borrow_mut();
        if !self.between.get() || bytes.len() > WAITING_BYTES_MAX {
            return;
        }
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
    }

    /// Writes what waits. Called before hyper's own bytes, and when hyper flushes.
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        while !self.bytes.borrow().is_empty() {
            let mut bytes = self.bytes.borrow_mut();
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &bytes))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            bytes.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Takes what has come for the exchange that is open. Registers for more.
pub(super) fn poll_collect(
    receiver: &mut mpsc::Receiver<Interim>,
    exchange: u64,
    outbox: &Outbox,
    cx: &mut Context<'_>,
) {
    while let Poll::Ready(Some(interim)) = receiver.poll_recv(cx) {
        if interim.exchange == exchange {
            outbox.put(interim.status, &interim.headers);
        }
    }
}
