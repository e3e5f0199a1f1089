//! Workers: a thread, a runtime and a set of sockets per core, and how they stop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::address::trusted;
use super::census::{Census, Full, Seat};
use super::certificates::Certificates;
use super::connection;
use super::metrics::ListenMetrics;
use super::sockets::{Sockets, WorkerSockets};
use super::tunnel::Tunnels;
use crate::config::settings::Limits;
use crate::exchange::Handle;

/// How long a worker rests when the system has no descriptor or memory for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// At most one log line about that in this time.
const ACCEPT_LOG_EVERY: Duration = Duration::from_secs(10);

/// What listeners need.
pub struct Setup {
    /// Bound sockets.
    pub sockets: Sockets,
    /// `[limits]`.
    pub limits: Limits,
    /// `[listen] trusted_proxies`.
    pub trusted_proxies: Vec<IpNet>,
    /// `[listen] proxy_protocol`: what comes from them begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Needed where there are HTTPS sockets.
    pub certificates: Option<Arc<Certificates>>,
    /// Counters.
    pub metrics: ListenMetrics,
    /// How long open requests may go on once a drain began.
    pub grace: Duration,
}

/// Why listeners could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A thread or a runtime could not be had.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// HTTPS sockets, but no certificates.
    #[error("https is listened for, but there are no certificates")]
    NoCertificates,
}

/// Running listeners.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<std::thread::JoinHandle<()>>,
    ended: mpsc::Receiver<()>,
}

impl Serving {
    /// Waits until every worker has stopped: after the drain signal, when the last open request ended, or when the
    /// grace period is over.
    pub async fn done(mut self) {
        // No message is ever sent: this returns when the last worker dropped its sender.
        while self.ended.recv().await.is_some() {}
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a listener's worker panicked");
            }
        }
    }
}

/// What one worker's connections share.
pub(super) struct Core<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Rc<Limits>,
    pub(super) trusted_proxies: Rc<[IpNet]>,
    pub(super) proxy_protocol: bool,
    pub(super) metrics: Arc<ListenMetrics>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) draining: Cell<bool>,
    pub(super) tunnels: Arc<Tunnels>,
    census: Arc<Census>,
    connections: Rc<Connections>,
}

/// The connections of one core: how many, and how to wake those that may be asleep when a drain begins.
#[derive(Debug, Default)]
struct Connections {
    open: Cell<usize>,
    emptied: Notify,
    next: Cell<u64>,
    wakers: RefCell<HashMap<u64, Waker>>,
}

/// Counts a connection until it is dropped.
struct Open(Rc<Connections>);

/// Registered to be woken by a drain until it is dropped.
pub(super) struct Registered(Rc<Connections>, u64);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.emptied.notify_waiters();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.wakers.borrow_mut().remove(&self.1);
    }
}

impl<H> Core<H> {
    /// Has the calling task woken once when a drain begins.
    pub(super) async fn register(&self) -> Registered {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let number = self.connections.next.get();
        self.connections.next.set(number + 1);
        self.connections.wakers.borrow_mut().insert(number, waker);
        Registered(Rc::clone(&self.connections), number)
    }
}

/// Starts one worker per set of sockets. When this returns, all of them accept.
///
/// `drain` stops them: sockets close, idle connections too, open requests may end within the grace period.
///
/// # Errors
///
/// No TLS, no thread, no runtime. Nothing runs then.
pub fn serve<H: Handle>(
    setup: Setup,
    handler: Arc<H>,
    drain: &CancellationToken,
) -> Result<Serving, ServeError> {
    let tls = match &setup.certificates {
        Some(certificates) => {
            let config = certificates.server_config().map_err(ServeError::Tls)?;
            Some(TlsAcceptor::from(Arc::new(config)))
        }
        None if setup.sockets.https().is_empty() => None,
        None => return Err(ServeError::NoCertificates),
    };
    let seed = Seed {
        handler,
        limits: setup.limits.clone(),
        trusted_proxies: setup.trusted_proxies,
        proxy_protocol: setup.proxy_protocol,
        metrics: Arc::new(setup.metrics),
        tls,
        census: Arc::new(Census::new(
            setup.limits.connections,
            setup.limits.connections_per_client,
        )),
        tunnels: Arc::new(Tunnels::new(setup.limits.tunnels)),
        grace: setup.grace,
    };
    let (ended_sender, ended) = mpsc::channel(1);
    let workers = setup.sockets.workers.len();
    let (ready_sender, ready) = std::sync::mpsc::sync_channel(workers);
    // Cancelled if a worker fails to start, so that the others do not outlive the error.
    let stop = drain.child_token();
    let abandon = stop.clone().drop_guard();
    let mut threads = Vec::with_capacity(workers);
    for (index, sockets) in setup.sockets.workers.into_iter().enumerate() {
        // A child per worker: waiting on a token takes its lock.
        let (seed, drain) = (seed.clone(), stop.child_token());
        let (ready, ended) = (ready_sender.clone(), ended_sender.clone());
        let thread = std::thread::Builder::new()
            .name(format!("edge-{index}"))
            .spawn(move || {
                work(seed, sockets, &drain, &ready);
                drop(ended);
            })
            .map_err(ServeError::Worker)?;
        threads.push(thread);
    }
    drop(ready_sender);
    for _ in 0..workers {
        let started = ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("a worker ended before it was ready")));
        started.map_err(ServeError::Worker)?;
    }
    // All run: from here on only the caller's token stops them.
    drop(abandon.disarm());
    Ok(Serving { threads, ended })
}

/// What a worker is made from; it crosses to the worker's thread.
struct Seed<H> {
    handler: Arc<H>,
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    proxy_protocol: bool,
    metrics: Arc<ListenMetrics>,
    tls: Option<TlsAcceptor>,
    census: Arc<Census>,
    tunnels: Arc<Tunnels>,
    grace: Duration,
}

impl<H> Clone for Seed<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            limits: self.limits.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.proxy_protocol,
            metrics: Arc::clone(&self.metrics),
            tls: self.tls.clone(),
            census: Arc::clone(&self.census),
            tunnels: Arc::clone(&self.tunnels),
            grace: self.grace,
        }
    }
}

fn work<H: Handle>(
    seed: Seed<H>,
    sockets: WorkerSockets,
    drain: &CancellationToken,
    ready: &std::sync::mpsc::SyncSender<io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(seed, sockets, drain, ready)),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        // Nobody listens any more when `serve` has given up already.
        ready.send(Err(error)).ok();
    }
}

async fn run<H: Handle>(
    seed: Seed<H>,
    sockets: WorkerSockets,
    drain: &CancellationToken,
    ready: &std::sync::mpsc::SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let grace = seed.grace;
    let core = Rc::new(Core {
        handler: seed.handler,
        limits: Rc::new(seed.limits),
        trusted_proxies: seed.trusted_proxies.into(),
        proxy_protocol: seed.proxy_protocol,
        metrics: seed.metrics,
        tls: seed.tls,
        draining: Cell::new(false),
        tunnels: seed.tunnels,
        census: seed.census,
        connections: Rc::default(),
    });
    let mut acceptors = tokio::task::JoinSet::new();
    for socket in sockets.http {
        let listener = TcpListener::from_std(socket)?;
        acceptors.spawn_local(accept(Rc::clone(&core), listener, false));
    }
    for socket in sockets.https {
        let listener = TcpListener::from_std(socket)?;
        acceptors.spawn_local(accept(Rc::clone(&core), listener, true));
    }
    ready.send(Ok(())).ok();
    drain.cancelled().await;
    acceptors.shutdown().await;
    core.draining.set(true);
    for (_, waker) in core.connections.wakers.borrow().iter() {
        waker.wake_by_ref();
    }
    let emptied = async {
        loop {
            let notified = core.connections.emptied.notified();
            if core.connections.open.get() == 0 {
                return;
            }
            notified.await;
        }
    };
    if tokio::time::timeout(grace, emptied).await.is_err() {
        let left = core.connections.open.get();
        tracing::warn!(
            connections = left,
            "grace period is over, connections are cut"
        );
    }
    Ok(())
}

/// Accepts for ever. Nothing that goes wrong with one connection, nor a lack of descriptors, ends it.
async fn accept<H: Handle>(core: Rc<Core<H>>, listener: TcpListener, tls: bool) {
    let mut logged_at: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, socket)) => admit(&core, stream, socket, tls),
            Err(error) if gone_already(&error) => {}
            Err(error) => {
                core.metrics.accept_failed.inc();
                if logged_at.is_none_or(|at| at.elapsed() > ACCEPT_LOG_EVERY) {
                    tracing::warn!(%error, "cannot accept connections, resting");
                    logged_at = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Errors that Linux reports from accept(2) about a connection that broke before it was accepted.
fn gone_already(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::Interrupted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::TimedOut
    )
}

/// Gives a connection its seat and its task; without a seat it is closed at once.
fn admit<H: Handle>(core: &Rc<Core<H>>, stream: TcpStream, socket: SocketAddr, tls: bool) {
    let address = socket.ip().to_canonical();
    let counted = (!trusted(&core.trusted_proxies, address)).then_some(address);
    let seat = match core.census.enter(counted) {
        Ok(seat) => seat,
        Err(Full::Total) => {
            core.metrics.full_total.inc();
            return;
        }
        Err(Full::Client) => {
            core.metrics.full_client.inc();
            return;
        }
    };
    let accepted = if tls {
        &core.metrics.accepted_https
    } else {
        &core.metrics.accepted_http
    };
    accepted.inc();
    core.connections.open.set(core.connections.open.get() + 1);
    let open = Open(Rc::clone(&core.connections));
    let present = Present::new(seat, core.metrics.open.clone());
    let core = Rc::clone(core);
    // Owned by the core: `run` waits for `open` to reach zero, and the runtime's end drops what is left.
    drop(tokio::task::spawn_local(async move {
        let (mut stream, _open, mut present) = (stream, open, present);
        let ends = connection::introduce(&core, &mut stream, socket, &mut present.seat).await;
        match ends {
            // Boxed: what a handshake needs, plain connections do not carry along.
            Some(ends) if tls => Box::pin(connection::tls(core, stream, ends)).await,
            Some(ends) => connection::plain(core, stream, ends).await,
            None => {}
        }
    }));
}

/// A connection in the node's own count and in the gauge.
struct Present {
    seat: Seat,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Present {
    fn new(seat: Seat, gauge: prometheus_client::metrics::gauge::Gauge) -> Self {
        gauge.inc();
        Self { seat, gauge }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
