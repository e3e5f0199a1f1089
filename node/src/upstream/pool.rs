//! Kept-alive connections, one pool per runtime.
//!
//! A connection's task lives on the runtime that made it. A core that used another core's connection would wake that
//! core for every piece, so each runtime keeps its own: the cores for what is passed through, the fills' for fills.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};

use super::outgoing::Outgoing;
use super::shared::Shared;

/// Longer than a connection is likely to be kept by the origin only costs a failed try.
const IDLE_MAX: Duration = Duration::from_secs(55);
/// A request that must not be sent twice takes only a connection that was used this recently, else a new one: an
/// origin that closes an idle connection while we write cannot be told from one that acted and died.
const FRESH: Duration = Duration::from_secs(1);
const PER_ORIGIN_MAX: usize = 64;
const PER_LANE_MAX: usize = 1024;
/// Runtimes with a pool of their own; further ones share the first.
const LANES_MAX: usize = 256;
/// How long the previous exchange may take to let go of its connection.
const HANDOVER: Duration = Duration::from_millis(20);

/// A connection between two requests.
pub(super) struct Idle {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) remote: IpAddr,
    /// What the certificate was checked for; none without TLS.
    pub(super) server_name: Option<Arc<str>>,
    since: Instant,
}

impl Idle {
    pub(super) fn new(
        sender: SendRequest<Outgoing>,
        remote: IpAddr,
        server_name: Option<Arc<str>>,
    ) -> Self {
        Self {
            sender,
            remote,
            server_name,
            since: Instant::now(),
        }
    }
}

/// The pool of one runtime: only its threads lock it.
#[derive(Default)]
pub(super) struct Lane {
    shelf: Mutex<Shelf>,
    /// Connections that many requests share, by the origin's id.
    shared: Mutex<HashMap<u64, Arc<Shared>>>,
}

#[derive(Default)]
struct Shelf {
    /// By the origin's id, oldest first.
    idle: HashMap<u64, Vec<Idle>>,
    count: usize,
}

/// What a request needs of a connection.
pub(super) struct Wanted<'a> {
    pub(super) origin: u64,
    pub(super) server_name: Option<&'a str>,
    /// Where the origin's name leads now: a connection to where it led before is closed.
    pub(super) addresses: &'a [IpAddr],
    pub(super) fresh: bool,
}

impl Lane {
    /// The most recently used connection that fits and is ready.
    pub(super) async fn take(&self, wanted: &Wanted<'_>) -> Option<Idle> {
        loop {
            let mut idle = self.pop(wanted)?;
            if idle.sender.is_ready() {
                return Some(idle);
            }
            // The body of the last response was read to its end, but the connection's task has not noticed yet.
            let ready = poll_fn(|cx| idle.sender.poll_ready(cx));
            if let Ok(Ok(())) = tokio::time::timeout(HANDOVER, ready).await {
                return Some(idle);
            }
        }
    }

    /// The shared connections to an origin.
    pub(super) fn shared(&self, origin: u64) -> Arc<Shared> {
        Arc::clone(self.shared.lock().entry(origin).or_default())
    }

    fn pop(&self, wanted: &Wanted<'_>) -> Option<Idle> {
        let now = Instant::now();
        let mut shelf = self.shelf.lock();
        let kept = shelf.idle.get_mut(&wanted.origin)?;
        let before = kept.len();
        kept.retain(|idle| {
            !idle.sender.is_closed()
                && now.duration_since(idle.since) < IDLE_MAX
                && wanted.addresses.contains(&idle.remote)
        });
        let at = kept.iter().rposition(|idle| {
            idle.server_name.as_deref() == wanted.server_name
                && (!wanted.fresh || now.duration_since(idle.since) < FRESH)
        });
        let taken = at.map(|at| kept.remove(at));
        let gone = before - kept.len();
        shelf.count -= gone;
        taken
    }

    /// Keeps a connection for later, or closes it where there are enough.
    pub(super) fn put(&self, origin: u64, idle: Idle) {
        if idle.sender.is_closed() {
            return;
        }
        let mut shelf = self.shelf.lock();
        if shelf.count >= PER_LANE_MAX {
            return;
        }
        let kept = shelf.idle.entry(origin).or_default();
        if kept.len() >= PER_ORIGIN_MAX {
            // The oldest is the least useful.
            kept.remove(0);
            kept.push(idle);
        } else {
            kept.push(idle);
            shelf.count += 1;
        }
    }

    /// Closes what is too old, and forgets origins without connections.
    pub(super) fn sweep(&self, now: Instant) {
        self.shared.lock().retain(|_, shared| {
            // Whoever holds it is about to use it.
            shared.sweep(now) > 0 || Arc::strong_count(shared) > 1
        });
        let mut shelf = self.shelf.lock();
        let mut count = 0;
        shelf.idle.retain(|_, kept| {
            kept.retain(|idle| {
                !idle.sender.is_closed() && now.saturating_duration_since(idle.since) < IDLE_MAX
            });
            count += kept.len();
            !kept.is_empty()
        });
        shelf.count = count;
    }

    pub(super) fn count(&self) -> usize {
        let shared = self.shared.lock();
        let shared: usize = shared.values().map(|shared| shared.count()).sum();
        self.shelf.lock().count + shared
    }
}

/// All pools.
pub(super) struct Lanes(ArcSwap<Vec<(Id, Arc<Lane>)>>);

impl Default for Lanes {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(Vec::new()))
    }
}

impl Lanes {
    /// The pool of the runtime that runs the caller. No lock but for the first call of each runtime.
    pub(super) fn here(&self) -> Arc<Lane> {
        let id = Handle::current().id();
        let find = |lanes: &[(Id, Arc<Lane>)]| {
            let own = lanes.iter().find(|(lane, _)| *lane == id);
            own.or_else(|| lanes.first().filter(|_| lanes.len() >= LANES_MAX))
                .map(|(_, lane)| Arc::clone(lane))
        };
        if let Some(lane) = find(&self.0.load()) {
            return lane;
        }
        let new = Arc::new(Lane::default());
        self.0.rcu(|lanes| {
            let mut lanes = Vec::clone(lanes);
            if find(&lanes).is_none() {
                lanes.push((id, Arc::clone(&new)));
            }
            lanes
        });
        find(&self.0.load()).unwrap_or(new)
    }

    pub(super) fn sweep(&self, now: Instant) {
        for (_, lane) in self.0.load().iter() {
            lane.sweep(now);
        }
    }

    /// Idle connections of all runtimes.
    pub(super) fn count(&self) -> usize {
        self.0.load().iter().map(|(_, lane)| lane.count()).sum()
    }
}
