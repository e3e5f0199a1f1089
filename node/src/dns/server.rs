//! Sockets and threads around [`super::answer`].
//!
//! DNS has threads of its own, one per core, each with one UDP socket per address: a node that is busy with fills still
//! says where its neighbours are. The kernel spreads clients over the sockets (SO_REUSEPORT).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::tcp::{self, TcpLimits};
use super::udp;
use super::world::World;

/// Datagrams that wait in the kernel while a thread is busy, bytes.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Connections that wait to be accepted.
const TCP_BACKLOG: i32 = 256;

/// Tries to find a port that is free for TCP as well, when the kernel chooses it.
const ANY_PORT_TRIES: usize = 16;

/// Why the sockets could not be had.
#[derive(Debug, Error)]
#[error("cannot listen for DNS on {address} ({protocol})")]
pub struct BindError {
    address: SocketAddr,
    protocol: &'static str,
    source: io::Error,
}

/// Sockets bound, nobody answering yet.
#[derive(Debug)]
pub struct Bound {
    /// One list per thread.
    udp: Vec<Vec<UdpSocket>>,
    tcp: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Bound {
    /// Where it listens; ports that the kernel chose are filled in.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Binds UDP and TCP on each address, UDP once per thread.
///
/// # Errors
/// An address that is taken or not ours. Nothing stays bound then.
pub fn bind(addresses: &[SocketAddr], threads: usize) -> Result<Bound, BindError> {
    let mut bound = Bound {
        udp: (0..threads.max(1)).map(|_| Vec::new()).collect(),
        tcp: Vec::new(),
        addresses: Vec::new(),
    };
    for &address in addresses {
        // TCP first: it is bound exclusively, so that two nodes never share a port unnoticed, as UDP would let them.
        let mut tries = if address.port() == 0 {
            ANY_PORT_TRIES
        } else {
            1
        };
        let (listener, first) = loop {
            tries -= 1;
            let listener = tcp_listener(address).map_err(failed(address, "tcp"))?;
            let address = listener.local_addr().map_err(failed(address, "tcp"))?;
            match udp_socket(address) {
                Ok(socket) => break (listener, socket),
                Err(_) if tries > 0 => {}
                Err(source) => return Err(failed(address, "udp")(source)),
            }
        };
        let address = first.local_addr().map_err(failed(address, "udp"))?;
        bound.udp[0].push(first);
        for sockets in &mut bound.udp[1..] {
            sockets.push(udp_socket(address).map_err(failed(address, "udp"))?);
        }
        bound.tcp.push(listener);
        bound.addresses.push(address);
    }
    Ok(bound)
}

fn failed(address: SocketAddr, protocol: &'static str) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError {
        address,
        protocol,
        source,
    }
}

fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(socket.into())
}

fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
        // The system's own size does too, with less patience for bursts.
        tracing::debug!(%error, "dns receive buffer left as it is");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<(thread::JoinHandle<()>, oneshot::Receiver<()>)>,
}

impl Serving {
    /// Ends when every thread has, after the stop signal.
    pub async fn join(self) {
        for (thread, done) in self.threads {
            // An error says that the thread is gone, which is what is waited for.
            drop(done.await);
            if thread.join().is_err() {
                tracing::error!("a dns thread panicked");
            }
        }
    }
}

/// Answers on the bound sockets until `stop`. No error of a socket ends a listener.
///
/// # Errors
/// The system gives no thread, or no event queue.
pub fn serve(
    bound: Bound,
    world: &Arc<World>,
    metrics: &Metrics,
    limits: &TcpLimits,
    stop: &CancellationToken,
) -> io::Result<Serving> {
    let threads = bound.udp.len();
    let mut listeners: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, listener) in bound.tcp.into_iter().enumerate() {
        listeners[index % threads].push(listener);
    }
    let connections = tcp::Connections::new(limits, metrics);
    let mut serving = Serving {
        threads: Vec::new(),
    };
    for (index, (sockets, listeners)) in bound.udp.into_iter().zip(listeners).enumerate() {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (world, metrics) = (Arc::clone(world), metrics.clone());
        let (connections, stop) = (connections.clone(), stop.clone());
        let (ended, done) = oneshot::channel();
        let work = move || {
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for socket in sockets {
                    tasks.spawn(udp::run(
                        socket,
                        Arc::clone(&world),
                        metrics.clone(),
                        stop.clone(),
                    ));
                }
                for listener in listeners {
                    let (world, stop) = (Arc::clone(&world), stop.clone());
                    tasks.spawn(tcp::run(listener, world, connections.clone(), stop));
                }
                while let Some(ended) = tasks.join_next().await {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a dns listener ended");
                    }
                }
            });
            drop(ended);
        };
        let thread = thread::Builder::new()
            .name(format!("dns-{index}"))
            .spawn(work)?;
        serving.threads.push((thread, done));
    }
    Ok(serving)
}

#[cfg(test)]
mod tests;
