//! A wire from one node to another, owned by the lab: it takes its time, and it can be cut in two ways.
//!
//! `Refused` is what a dead host's kernel or a firewall that rejects does: connections break and new ones fail at
//! once. `Silent` is what a lost route does: nothing arrives, nothing fails, and what was under way arrives after
//! healing, as TCP would deliver it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::patience::runtime;

/// Read at once, bytes.
const PIECE_BYTES: usize = 32 * 1024;
/// Pieces under way in one direction: at most 32 MiB, far more than a window.
const PIECES_MAX: usize = 1024;

/// What a wire does with bytes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// They arrive after the delay.
    Whole,
    /// Connections break, new ones are refused.
    Refused,
    /// Nothing arrives and nothing is said.
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct State {
    wire: Wire,
    one_way: Duration,
}

/// One direction of dialling between two nodes (bytes go both ways on it).
#[derive(Debug)]
pub struct Link {
    /// Where the dialling node connects to.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// Listens on `local` and carries everything to `target`, which need not listen yet.
    ///
    /// # Errors
    /// When the listener cannot be bound.
    pub async fn start(
        local: Ipv4Addr,
        target: SocketAddr,
        one_way: Duration,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((local, 0)).await?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(State {
            wire: Wire::Whole,
            one_way,
        });
        let task = runtime().spawn(carry(listener, target, watched));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Cuts or heals.
    pub fn set(&self, wire: Wire) {
        self.state.send_modify(|state| state.wire = wire);
    }

    /// Makes the way longer or shorter, from the next piece on.
    pub fn set_one_way(&self, one_way: Duration) {
        self.state.send_modify(|state| state.one_way = one_way);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(listener: TcpListener, target: SocketAddr, mut state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let wire = state.borrow().wire;
                if let (Ok((stream, _)), true) = (accepted, wire != Wire::Refused) {
                    connections.spawn(connection(stream, target, state.clone()));
                }
                // A refused stream is dropped with its bytes unread: the dialler sees a reset.
            }
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                if state.borrow().wire == Wire::Refused {
                    connections.abort_all();
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    // The dialler's SYN takes one way, the answer another.
    let round_trip = state.borrow().one_way * 2;
    tokio::time::sleep(round_trip).await;
    if whole(&mut state).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        pump(near_read, far_write, state.clone()),
        pump(far_read, near_write, state)
    );
}

/// Waits until bytes may pass.
async fn whole(state: &mut watch::Receiver<State>) -> Result<(), watch::error::RecvError> {
    state
        .wait_for(|state| state.wire == Wire::Whole)
        .await
        .map(drop)
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Bytes)>(PIECES_MAX);
    let reader_state = state.clone();
    let read = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + reader_state.borrow().one_way;
            let piece = Bytes::copy_from_slice(&buffer[..length]);
            if sender.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = under_way.recv().await {
            tokio::time::sleep_until(due).await;
            if whole(&mut state).await.is_err() || to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The peer's end of stream travels too; a socket that is gone needs none.
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{eventually, run};

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn round(stream: &mut TcpStream) -> std::io::Result<Duration> {
        let start = Instant::now();
        stream.write_all(b"x").await?;
        stream.read_u8().await?;
        Ok(start.elapsed())
    }

    #[test]
    fn a_link_takes_its_time_can_fall_silent_and_can_refuse() {
        run(async {
            let way = Duration::from_millis(20);
            let link = Link::start(Ipv4Addr::LOCALHOST, echo().await, way)
                .await
                .unwrap();
            let mut stream = TcpStream::connect(link.address).await.unwrap();
            round(&mut stream).await.unwrap();
            let took = round(&mut stream).await.unwrap();
            assert!(took >= way * 2, "{took:?}");

            link.set(Wire::Silent);
            stream.write_all(b"y").await.unwrap();
            let quiet = tokio::time::timeout(way * 8, stream.read_u8()).await;
            assert!(quiet.is_err(), "a silent wire carried something");
            link.set(Wire::Whole);
            assert_eq!(stream.read_u8().await.unwrap(), b'y');

            link.set(Wire::Refused);
            eventually(
                "the connection breaks",
                Duration::from_secs(5),
                async || {
                    let Ok(mut stream) = TcpStream::connect(link.address).await else {
                        return Ok(());
                    };
                    match round(&mut stream).await {
                        Ok(_) => Err("it answers".to_owned()),
                        Err(_) => Ok(()),
                    }
                },
            )
            .await;
            assert!(round(&mut stream).await.is_err());
        });
    }
}
