//! Connections over HTTP/2: few, each for many requests at once.
//!
//! A request takes a stream of the connection that has most room, or makes another connection while there are fewer
//! than may be, or waits for a stream to end. One connection is made at a time; those who wait for it share it, or its
//! failure. Windows are so large that every stream may be full at once: a client that reads slowly stops its own stream
//! and nobody else's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::UpstreamErrorKind;
use super::outgoing::Outgoing;
use super::pool::Wanted;

/// Requests at once on one connection, also where the origin would take more.
pub(super) const STREAMS_MAX: usize = 100;
/// Connections of one runtime to one origin.
const CONNECTIONS_MAX: usize = 8;
/// A connection without requests is closed after this.
const IDLE_MAX: Duration = Duration::from_secs(55);

/// A connection that is shared.
#[derive(Clone)]
struct Connection {
    sender: SendRequest<Outgoing>,
    /// Requests at once that the origin takes.
    takes: Arc<AtomicUsize>,
    remote: IpAddr,
    server_name: Option<Arc<str>>,
    streams: Arc<AtomicUsize>,
    used: Arc<Mutex<Instant>>,
}

impl Connection {
    fn fits(&self, wanted: &Wanted<'_>) -> bool {
        self.server_name.as_deref() == wanted.server_name
    }

    fn room(&self) -> usize {
        let most = self.takes.load(Ordering::Relaxed).min(STREAMS_MAX);
        most.saturating_sub(self.streams.load(Ordering::Relaxed))
    }
}

/// The shared connections of one runtime to one origin.
#[derive(Default)]
pub(super) struct Shared {
    connections: Mutex<Vec<Connection>>,
    /// A stream has ended, or a connection was made.
    freed: Arc<Notify>,
    /// Held while a connection is made.
    dialling: tokio::sync::Mutex<()>,
    /// How the last attempt to make one failed.
    failed: Mutex<Option<(Instant, UpstreamErrorKind)>>,
}

/// A stream of a shared connection, from before the request to the end of the response.
pub(super) struct Stream {
    pub(super) sender: SendRequest<Outgoing>,
    streams: Arc<AtomicUsize>,
    used: Arc<Mutex<Instant>>,
    freed: Arc<Notify>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
        *self.used.lock() = Instant::now();
        self.freed.notify_one();
    }
}

/// What a request that wants a stream does next.
pub(super) enum Next<'a> {
    /// Uses this one.
    Take(Stream),
    /// Makes a connection, while it holds this.
    Dial(tokio::sync::MutexGuard<'a, ()>),
}

impl Shared {
    /// A stream, or the right to make a connection. Waits while as many are open as may be.
    ///
    /// # Errors
    ///
    /// Another's attempt to connect, that began after this request did, failed.
    pub(super) async fn next(&self, wanted: &Wanted<'_>) -> Result<Next<'_>, UpstreamErrorKind> {
        let began = Instant::now();
        loop {
            let freed = self.freed.notified();
            if let Some(stream) = self.take(wanted) {
                return Ok(Next::Take(stream));
            }
            if self.connections.lock().len() >= CONNECTIONS_MAX {
                freed.await;
                continue;
            }
            let dialling = self.dialling.lock().await;
            if let Some(stream) = self.take(wanted) {
                return Ok(Next::Take(stream));
            }
            match &*self.failed.lock() {
                Some((at, kind)) if *at >= began => return Err(kind.clone()),
                _ => {}
            }
            return Ok(Next::Dial(dialling));
        }
    }

    /// A stream of the connection that has most room. Forgets those that are closed, or lead where the origin's name
    /// no longer leads; what runs on them ends in peace.
    pub(super) fn take(&self, wanted: &Wanted<'_>) -> Option<Stream> {
        let mut connections = self.connections.lock();
        connections.retain(|connection| {
            !connection.sender.is_closed() && wanted.addresses.contains(&connection.remote)
        });
        let roomy = connections
            .iter()
            .filter(|connection| connection.fits(wanted) && connection.room() > 0)
            .max_by_key(|connection| connection.room())?;
        Some(self.stream(roomy))
    }

    fn stream(&self, connection: &Connection) -> Stream {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Stream {
            sender: connection.sender.clone(),
            streams: Arc::clone(&connection.streams),
            used: Arc::clone(&connection.used),
            freed: Arc::clone(&self.freed),
        }
    }

    /// Shares a new connection. Its first stream is the caller's.
    pub(super) fn add(
        &self,
        (sender, takes): (SendRequest<Outgoing>, Arc<AtomicUsize>),
        remote: IpAddr,
        server_name: Option<Arc<str>>,
    ) -> Stream {
        let connection = Connection {
            sender,
            takes,
            remote,
            server_name,
            streams: Arc::default(),
            used: Arc::new(Mutex::new(Instant::now())),
        };
        let stream = self.stream(&connection);
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.sender.is_closed());
        if connections.len() < CONNECTIONS_MAX {
            connections.push(connection);
        }
        self.freed.notify_waiters();
        stream
    }

    /// Tells those who wait that no connection could be made.
    pub(super) fn failed(&self, kind: &UpstreamErrorKind) {
        *self.failed.lock() = Some((Instant::now(), kind.clone()));
    }

    /// Closes what was idle for too long. Returns how many are left.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        let mut connections = self.connections.lock();
        connections.retain(|connection| {
            let busy = connection.streams.load(Ordering::Relaxed) > 0;
            let fresh = now.saturating_duration_since(*connection.used.lock()) < IDLE_MAX;
            !connection.sender.is_closed() && (busy || fresh)
        });
        connections.len()
    }

    pub(super) fn count(&self) -> usize {
        self.connections.lock().len()
    }
}
