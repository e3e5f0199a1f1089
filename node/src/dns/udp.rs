//! One UDP socket: receive, answer, send.
//!
//! Datagrams are received in batches, one system call for many, and each answer leaves from the address that was
//! asked: on a wildcard socket the kernel would pick one by route, and a resolver drops what comes from elsewhere.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::answer::{Transport, answer};
use super::metrics::Metrics;
use super::world::World;

/// Datagrams, or trains of them that the kernel coupled, per system call.
const BATCH: usize = 16;

/// Room for the longest coupled train. Pages that no train reaches are never touched.
const TRAIN_BYTES_MAX: usize = 1 << 16;

/// Longest query looked at, bytes. A question with every option in use has some 400.
const QUERY_BYTES_MAX: usize = 4096;

/// Rest after an error, so that one that stays does not eat the core.
const ERROR_REST: Duration = Duration::from_millis(20);

/// Answers until `stop`. An error is counted and the socket goes on: on UDP errors tell of past sends, or pass.
pub(super) async fn run(
    socket: std::net::UdpSocket,
    world: Arc<World>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let ready = UdpSocketState::new((&socket).into())
        .and_then(|state| UdpSocket::from_std(socket).map(|socket| (state, socket)));
    let (state, socket) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            tracing::error!(%error, "a dns socket cannot be used");
            return;
        }
    };
    let mut buffers = vec![0; BATCH * TRAIN_BYTES_MAX];
    let mut metas = [RecvMeta::default(); BATCH];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = receive(&state, &socket, &mut buffers, &mut metas) => received,
        };
        match received {
            Ok(count) => {
                let trains = buffers.chunks(TRAIN_BYTES_MAX).zip(&metas).take(count);
                for (train, meta) in trains {
                    let train = &train[..meta.len];
                    for packet in train.chunks(meta.stride.max(1)) {
                        respond(&state, &socket, packet, meta, &world, &metrics);
                    }
                }
                // A flood never leaves the socket empty; the thread's other sockets want their turn.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                metrics.receive_errors.inc();
                tracing::debug!(%error, "dns receive failed");
                tokio::time::sleep(ERROR_REST).await;
            }
        }
    }
}

async fn receive(
    state: &UdpSocketState,
    socket: &UdpSocket,
    buffers: &mut [u8],
    metas: &mut [RecvMeta; BATCH],
) -> io::Result<usize> {
    let mut rooms = buffers.chunks_mut(TRAIN_BYTES_MAX).map(IoSliceMut::new);
    let mut rooms: [IoSliceMut<'_>; BATCH] =
        std::array::from_fn(|_| rooms.next().unwrap_or(IoSliceMut::new(&mut [])));
    socket
        .async_io(Interest::READABLE, || {
            state.recv(socket.into(), &mut rooms, metas)
        })
        .await
}

fn respond(
    state: &UdpSocketState,
    socket: &UdpSocket,
    packet: &[u8],
    meta: &RecvMeta,
    world: &World,
    metrics: &Metrics,
) {
    let client: SocketAddr = meta.addr;
    let packet = &packet[..packet.len().min(QUERY_BYTES_MAX)];
    let reply = answer(packet, Transport::Udp, client.ip(), &world.snapshot());
    metrics.count(Transport::Udp, reply.as_ref());
    let Some(reply) = reply else {
        return;
    };
    let transmit = Transmit {
        destination: client,
        ecn: None,
        contents: &reply.bytes,
        segment_size: None,
        src_ip: meta.dst_ip,
    };
    // A full send buffer loses the answer, as the network might; the resolver asks again.
    if let Err(error) = state.try_send(socket.into(), &transmit) {
        metrics.send_errors.inc();
        tracing::debug!(%error, "dns send failed");
    }
}
