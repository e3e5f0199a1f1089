//! Listening sockets, one per address and core.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for us until they are accepted; it lowers this to `somaxconn` by itself.
const BACKLOG: i32 = 4096;

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address from the settings.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Bound sockets, ready to be served: per worker, one for each address.
#[derive(Debug)]
pub struct Sockets {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    pub(super) workers: Vec<WorkerSockets>,
}

/// The sockets of one worker.
#[derive(Debug, Default)]
pub(super) struct WorkerSockets {
    pub(super) http: Vec<std::net::TcpListener>,
    pub(super) https: Vec<std::net::TcpListener>,
}

impl Sockets {
    /// Binds every address once per worker. Port 0 picks a free port, the same for all workers.
    ///
    /// # Errors
    ///
    /// The first address that cannot be had; nothing stays bound then.
    pub fn bind(
        http: &[SocketAddr],
        https: &[SocketAddr],
        workers: NonZeroUsize,
    ) -> Result<Self, BindError> {
        let mut sockets = Self {
            http: Vec::new(),
            https: Vec::new(),
            workers: Vec::new(),
        };
        sockets
            .workers
            .resize_with(workers.get(), WorkerSockets::default);
        for &address in http {
            let bound =
                bind_all(address, workers).map_err(|source| BindError { address, source })?;
            sockets.http.push(bound.address);
            for (worker, socket) in sockets.workers.iter_mut().zip(bound.sockets) {
                worker.http.push(socket);
            }
        }
        for &address in https {
            let bound =
                bind_all(address, workers).map_err(|source| BindError { address, source })?;
            sockets.https.push(bound.address);
            for (worker, socket) in sockets.workers.iter_mut().zip(bound.sockets) {
                worker.https.push(socket);
            }
        }
        Ok(sockets)
    }

    /// Where plain HTTP is listened for, with the real ports.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where HTTPS is listened for, with the real ports.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }
}

struct Bound {
    address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

fn bind_all(address: SocketAddr, workers: NonZeroUsize) -> io::Result<Bound> {
    // With SO_REUSEPORT a second program of the same user would silently take half of our connections. A socket
    // without it is refused where somebody listens already, so try one first.
    if address.port() != 0 {
        drop(bind(address, false)?);
    }
    let first = bind(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers.get() {
        sockets.push(bind(address, true)?);
    }
    Ok(Bound { address, sockets })
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_somebody_listens_on_is_refused() {
        let two = NonZeroUsize::new(2).unwrap();
        let first = Sockets::bind(&["127.0.0.1:0".parse().unwrap()], &[], two).unwrap();
        let taken = first.http()[0];
        let refused = Sockets::bind(&[taken], &[], two).unwrap_err();
        assert_eq!(refused.address, taken);
        drop(first);
        Sockets::bind(&[taken], &[], two).unwrap();
    }
}
