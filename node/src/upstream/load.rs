//! How many requests and connections an origin has, and may have. Counted on this node, over all its cores.
//!
//! A request that finds an origin full waits in a queue of its own where no other origin has room: at most `queue_max`
//! wait, each for `queue_timeout`. Connections have a limit beside that of requests; a request that would need one more
//! waits in the same way, and connections that come back meanwhile are closed to make room.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::OriginMetrics;
use crate::config::site::OriginLimits;

/// The load of one origin.
pub(super) struct Load {
    open: AtomicUsize,
    waiting: AtomicUsize,
    requests: Option<Arc<Semaphore>>,
    connections: Option<Arc<Semaphore>>,
    queue_max: usize,
    queue_timeout: Duration,
    gauges: Gauges,
}

struct Gauges {
    open: Gauge,
    waiting: Gauge,
    connections: Gauge,
}

/// A request's place at an origin, until its response has been read.
pub(super) struct Slot {
    load: Arc<Load>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.open.fetch_sub(1, Ordering::Relaxed);
        self.load.gauges.open.dec();
    }
}

/// A connection's place at an origin, for as long as it is open.
pub(super) struct Berth {
    open: Gauge,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// One who waits.
struct Waiting<'a>(&'a Load);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.gauges.waiting.dec();
    }
}

impl Load {
    pub(super) fn new(limits: &OriginLimits, metrics: &OriginMetrics) -> Arc<Self> {
        let semaphore = |max: Option<usize>| max.map(|max| Arc::new(Semaphore::new(max)));
        Arc::new(Self {
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            requests: semaphore(limits.requests_max),
            connections: semaphore(limits.connections_max),
            queue_max: limits.queue_max,
            queue_timeout: limits.queue_timeout,
            gauges: Gauges {
                open: metrics.open_requests.clone(),
                waiting: metrics.waiting_requests.clone(),
                connections: metrics.open_connections.clone(),
            },
        })
    }

    /// Requests under way.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Requests that wait for a place.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Would one more request have to wait?
    pub(super) fn is_full(&self) -> bool {
        let requests = self.requests.as_ref();
        requests.is_some_and(|requests| requests.available_permits() == 0)
    }

    /// A place for a request; none when the queue is full, or was waited in for too long.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Slot> {
        let permit = self.permit(self.requests.as_ref()).await?;
        self.open.fetch_add(1, Ordering::Relaxed);
        self.gauges.open.inc();
        Some(Slot {
            load: Arc::clone(self),
            _permit: permit,
        })
    }

    /// A place for a connection, in the same way.
    pub(super) async fn connect(&self) -> Option<Berth> {
        let permit = self.permit(self.connections.as_ref()).await?;
        self.gauges.connections.inc();
        Some(Berth {
            open: self.gauges.connections.clone(),
            _permit: permit,
        })
    }

    /// A place for a connection that no limit counts.
    pub(super) fn berth_beside(&self) -> Berth {
        self.gauges.connections.inc();
        Berth {
            open: self.gauges.connections.clone(),
            _permit: None,
        }
    }

    /// Is there somebody who could use the place of a connection that has nothing to do?
    pub(super) fn wants_connections(&self) -> bool {
        let connections = self.connections.as_ref();
        connections.is_some_and(|connections| connections.available_permits() == 0)
            && self.waiting.load(Ordering::Relaxed) > 0
    }

    async fn permit(
        &self,
        semaphore: Option<&Arc<Semaphore>>,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        let Some(semaphore) = semaphore else {
            return Some(None);
        };
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
            return Some(Some(permit));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        self.gauges.waiting.inc();
        let _waiting = Waiting(self);
        let acquired = Arc::clone(semaphore).acquire_owned();
        let permit = tokio::time::timeout(self.queue_timeout, acquired).await;
        permit.ok()?.ok().map(Some)
    }
}

/// A stream that keeps its place at the origin as long as it lives.
pub(super) struct Held<S> {
    pub(super) stream: S,
    pub(super) _slot: Option<Slot>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
