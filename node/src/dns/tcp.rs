//! DNS over connections (RFC 7766): a length before each message, as many queries as the client likes.
//!
//! Queries may be pipelined. Each is answered the moment it is read, so their order is the order of the answers, and
//! nothing queues up here: a client that does not read its answers stops being read, then being served.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::{Transport, answer};
use super::metrics::Metrics;
use super::world::World;

/// Longest query taken, bytes; a longer one ends the connection.
const QUERY_BYTES_MAX: usize = 4096;

/// Rest after a failed accept: mostly the process is out of file descriptors, which passes.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What a client may hold.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Connections at once, all listeners together; more are closed at once.
    pub connections: usize,
    /// Between two queries (RFC 7766 §6.2.3 asks for a few seconds).
    pub idle_timeout: Duration,
    /// For the rest of a query once it has begun, and for taking an answer.
    pub message_timeout: Duration,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            idle_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(5),
        }
    }
}

/// The connections there may be, shared by all listeners.
#[derive(Clone)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    limits: TcpLimits,
    metrics: Metrics,
}

impl Connections {
    pub(super) fn new(limits: &TcpLimits, metrics: &Metrics) -> Self {
        Self {
            free: Arc::new(Semaphore::new(limits.connections)),
            limits: *limits,
            metrics: metrics.clone(),
        }
    }

    fn admit(&self) -> Option<Admitted> {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => {
                self.metrics.tcp_connections.inc();
                Some(Admitted {
                    _permit: permit,
                    metrics: self.metrics.clone(),
                })
            }
            Err(_) => {
                self.metrics.tcp_rejections.inc();
                None
            }
        }
    }
}

/// One connection's place among all; given back when dropped.
struct Admitted {
    _permit: OwnedSemaphorePermit,
    metrics: Metrics,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.metrics.tcp_connections.dec();
    }
}

/// Accepts until `stop`; then ends with its connections.
pub(super) async fn run(
    listener: std::net::TcpListener,
    world: Arc<World>,
    connections: Connections,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a dns listener cannot be polled");
            return;
        }
    };
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Ok((stream, client)) => {
                let Some(admitted) = connections.admit() else {
                    continue;
                };
                let (world, connections) = (Arc::clone(&world), connections.clone());
                tasks.spawn(async move {
                    let ended = converse(stream, client.ip(), &world, &connections).await;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "dns connection ended");
                    }
                    drop(admitted);
                });
            }
            Err(error) => {
                connections.metrics.accept_errors.inc();
                tracing::debug!(%error, "dns accept failed");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    tasks.shutdown().await;
}

/// One connection, from its first query to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    world: &World,
    connections: &Connections,
) -> io::Result<()> {
    let limits = &connections.limits;
    let mut stream = BufReader::with_capacity(2 + QUERY_BYTES_MAX, stream);
    let mut query = [0; QUERY_BYTES_MAX];
    loop {
        let Ok(first) = timeout(limits.idle_timeout, stream.read_u8()).await else {
            return Ok(());
        };
        let first = match first {
            Ok(first) => first,
            // The client is done.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let rest = read_rest(&mut stream, first, &mut query);
        let length = timeout(limits.message_timeout, rest).await??;
        let reply = answer(&query[..length], Transport::Tcp, client, &world.snapshot());
        connections.metrics.count(Transport::Tcp, reply.as_ref());
        let Some(reply) = reply else {
            return Ok(());
        };
        let send = write(&mut stream, &reply.bytes);
        timeout(limits.message_timeout, send).await??;
    }
}

/// The second byte of the length, and the message.
async fn read_rest(
    stream: &mut (impl AsyncRead + Unpin),
    first: u8,
    query: &mut [u8],
) -> io::Result<usize> {
    let second = stream.read_u8().await?;
    let length = usize::from(u16::from_be_bytes([first, second]));
    let room = query.get_mut(..length).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "a query longer than any there is",
        )
    })?;
    stream.read_exact(room).await?;
    Ok(length)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), reply: &[u8]) -> io::Result<()> {
    // The writer never makes more than 65,535 bytes. One write, so that one packet goes out (RFC 7766 §8).
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(2 + reply.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(reply);
    stream.write_all(&framed).await?;
    stream.flush().await
}
