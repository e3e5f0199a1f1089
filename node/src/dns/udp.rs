//! One UDP socket: receive, answer, send.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::answer::{Transport, answer};
use super::metrics::Metrics;
use super::world::World;

/// Longest query looked at, bytes. A question with every option in use has some 400; what is cut is malformed.
const QUERY_BYTES_MAX: usize = 4096;

/// Datagrams answered before the thread looks at its other tasks.
const BURST_MAX: usize = 64;

/// Rest after an error, so that one that stays does not eat the core.
const ERROR_REST: Duration = Duration::from_millis(20);

/// Answers until `stop`. An error is counted and the socket goes on: on UDP errors tell of past sends, or pass.
pub(super) async fn run(
    socket: std::net::UdpSocket,
    world: Arc<World>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a dns socket cannot be polled");
            return;
        }
    };
    let mut buffer = [0; QUERY_BYTES_MAX];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let mut received = received;
        for _ in 0..BURST_MAX {
            match received {
                Ok((length, client)) => {
                    respond(&socket, &buffer[..length], client, &world, &metrics).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    metrics.receive_errors.inc();
                    tracing::debug!(%error, "dns receive failed");
                    tokio::time::sleep(ERROR_REST).await;
                    break;
                }
            }
            received = socket.try_recv_from(&mut buffer);
        }
    }
}

async fn respond(
    socket: &UdpSocket,
    packet: &[u8],
    client: SocketAddr,
    world: &World,
    metrics: &Metrics,
) {
    let reply = answer(packet, Transport::Udp, client.ip(), &world.snapshot());
    metrics.count(Transport::Udp, reply.as_ref());
    if let Some(reply) = reply
        && let Err(error) = socket.send_to(&reply.bytes, client).await
    {
        metrics.send_errors.inc();
        tracing::debug!(%error, "dns send failed");
    }
}
