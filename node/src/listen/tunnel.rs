//! Connections that have left HTTP: bytes from the client to the origin and back, until either side ends.
//!
//! Each way has one buffer of fixed size and is read again only when that is written out, so a slow reader slows its
//! sender and nothing piles up. What ends a tunnel: both sides said goodbye, one broke, nothing passed for too long, or
//! one side takes nothing for too long. When a drain begins, a tunnel closes at its first quiet second; one that is never
//! quiet ends with the grace period, as every connection does.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Method, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::metrics::ListenMetrics;
use super::serve::Core;
use crate::exchange::Tunnel;

/// Bytes on their way, each way.
const BUFFER_BYTES: usize = 16 * 1024;
/// While a node drains, a tunnel in which nothing passed for this long is closed.
const QUIET: Duration = Duration::from_secs(1);

/// The tunnels of a node: how many there may be, and are.
#[derive(Debug)]
pub(super) struct Tunnels {
    open: AtomicUsize,
    max: usize,
}

impl Tunnels {
    pub(super) fn new(max: usize) -> Self {
        let open = AtomicUsize::new(0);
        Self { open, max }
    }

    /// A place for one more; none when there are as many as may be.
    pub(super) fn enter(self: &Arc<Self>, metrics: &ListenMetrics) -> Option<Place> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        metrics.tunnels.inc();
        Some(Place {
            tunnels: Arc::clone(self),
            gauge: metrics.tunnels.clone(),
        })
    }
}

/// A tunnel's place, from the request that asks for it to its end.
#[derive(Debug)]
pub(super) struct Place {
    tunnels: Arc<Tunnels>,
    gauge: prometheus_client::metrics::gauge::Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tunnels.open.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

/// Does this request ask to leave HTTP for WebSocket (RFC 6455 §4.1)? Other protocols are not spoken by way of us, and
/// a request for one is answered as if it had not asked (RFC 9110 §7.8).
pub(super) fn asks_for_websocket<B: http_body::Body>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream()
        && names(request.headers(), &UPGRADE, "websocket")
        && names(request.headers(), &CONNECTION, "upgrade")
}

fn names(headers: &HeaderMap, name: &http::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// A connection that is about to leave HTTP.
pub(super) struct Switching {
    pub(super) origin: Tunnel,
    pub(super) place: Place,
}

/// Joins a client's connection with the origin's, and returns when both have ended. `early`: what the client sent
/// behind its request.
pub(super) async fn join<H, S>(core: &Rc<Core<H>>, client: S, early: Bytes, switching: Switching)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Switching { mut origin, place } = switching;
    let _held = place;
    let mut client = client;
    let _woken_by_drain = core.register().await;
    let (idle_timeout, progress_timeout) = (
        core.limits.tunnel_idle_timeout,
        core.limits.progress_timeout,
    );
    let (mut up, mut down) = (Way::new(early), Way::new(Bytes::new()));
    let mut armed = Instant::now() + idle_timeout;
    let mut timer = pin!(tokio::time::sleep_until(armed));
    let ended = poll_fn(|cx| {
        let now = Instant::now();
        let moved = up.poll(Pin::new(&mut client), origin.as_mut(), now, cx);
        core.metrics.tunnelled_up.inc_by(up.take_count());
        let answered = down.poll(origin.as_mut(), Pin::new(&mut client), now, cx);
        core.metrics.tunnelled_down.inc_by(down.take_count());
        match (moved, answered) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => {
                return Poll::Ready(End::Broken(error));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Finished),
            _ => {}
        }
        loop {
            let quiet = up.last.max(down.last);
            let idle = match core.draining.get() {
                true => (quiet + QUIET, End::Drained),
                false => (quiet + idle_timeout, End::Idle),
            };
            let stuck = [up.stuck, down.stuck].into_iter().flatten().min();
            let (at, end) = match stuck.map(|since| since + progress_timeout) {
                Some(at) if at < idle.0 => (at, End::Stuck),
                _ => idle,
            };
            if at <= Instant::now() {
                return Poll::Ready(end);
            }
            // Moved only when the deadline comes nearer or the timer fired too early: a byte costs no timer.
            if at < armed {
                armed = at;
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            armed = at;
            timer.as_mut().reset(at);
        }
    })
    .await;
    match ended {
        End::Finished => {}
        End::Drained => tracing::debug!("tunnel closed by a drain"),
        End::Broken(error) => tracing::debug!(%error, "tunnel broke"),
        End::Idle => {
            core.metrics.tunnel_idle.inc();
        }
        End::Stuck => {
            core.metrics.tunnel_stuck.inc();
        }
    }
    // What is left to say is that it is over; a side that takes no more is not waited for.
    let farewell = async {
        let shut = |cx: &mut Context<'_>| Pin::new(&mut client).poll_shutdown(cx);
        poll_fn(shut).await.ok();
        poll_fn(|cx| origin.as_mut().poll_shutdown(cx)).await.ok();
    };
    tokio::time::timeout(QUIET, farewell).await.ok();
}

/// How a tunnel ended.
enum End {
    /// Both sides said goodbye.
    Finished,
    Broken(io::Error),
    /// Nothing passed for too long.
    Idle,
    /// One side took nothing for too long.
    Stuck,
    /// The node stops.
    Drained,
}

/// One way of a tunnel.
struct Way {
    /// Read and not written yet.
    waiting: Bytes,
    buffer: BytesMut,
    /// The reading side said goodbye.
    ended: bool,
    /// And so was told the writing side.
    closed: bool,
    needs_flush: bool,
    /// When the last byte passed.
    last: Instant,
    /// Since when the writing side takes nothing.
    stuck: Option<Instant>,
    /// Bytes passed and not counted yet.
    passed: u64,
}

impl Way {
    fn new(early: Bytes) -> Self {
        Self {
            waiting: early,
            buffer: BytesMut::new(),
            ended: false,
            closed: false,
            needs_flush: false,
            last: Instant::now(),
            stuck: None,
            passed: 0,
        }
    }

    fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.passed)
    }

    /// Moves what can be moved. Ready when this way has ended.
    fn poll<R, W>(
        &mut self,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + ?Sized,
        W: AsyncWrite + ?Sized,
    {
        if self.closed {
            return Poll::Ready(Ok(()));
        }
        // A few rounds, then the other way has its turn.
        for _ in 0..8 {
            while !self.waiting.is_empty() {
                match to.as_mut().poll_write(cx, &self.waiting) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    Poll::Ready(Ok(written)) => {
                        self.waiting.advance(written);
                        self.passed += written as u64;
                        self.last = now;
                        self.stuck = None;
                        self.needs_flush = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.stuck.get_or_insert(now);
                        return Poll::Pending;
                    }
                }
            }
            if self.ended {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.closed = true;
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(from.as_mut(), cx)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    // Only now: what comes in one go goes out in one go.
                    if self.needs_flush {
                        ready!(to.as_mut().poll_flush(cx))?;
                        self.needs_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read<R: AsyncRead + ?Sized>(
        &mut self,
        from: Pin<&mut R>,
        cx: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        self.buffer.reserve(BUFFER_BYTES);
        match poll_read_buf(from, cx, &mut self.buffer) {
            Poll::Pending => {
                // An idle tunnel keeps no buffer.
                self.buffer = BytesMut::new();
                Ok(Poll::Pending)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(length)) => {
                self.ended = length == 0;
                self.waiting = self.buffer.split().freeze();
                Ok(Poll::Ready(()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_request_for_websocket_asks_for_it() {
        let get = |connection: &str, upgrade: &str| {
            Request::get("/chat")
                .header(CONNECTION, connection)
                .header(UPGRADE, upgrade)
                .body(http_body_util::Empty::<Bytes>::new())
                .unwrap()
        };
        assert!(asks_for_websocket(&get("Upgrade", "websocket")));
        assert!(asks_for_websocket(&get(
            "keep-alive, upgrade",
            "h2c, WebSocket"
        )));
        for (connection, upgrade) in [
            ("keep-alive", "websocket"),
            ("upgrade", "h2c"),
            ("upgrade", "websockets"),
            ("upgrade", "TLS/1.0"),
        ] {
            assert!(!asks_for_websocket(&get(connection, upgrade)), "{upgrade}");
        }
        let mut post = get("upgrade", "websocket");
        *post.method_mut() = Method::POST;
        assert!(!asks_for_websocket(&post));
        let mut old = get("upgrade", "websocket");
        *old.version_mut() = Version::HTTP_10;
        assert!(!asks_for_websocket(&old));
        let full = get("upgrade", "websocket").map(|_| http_body_util::Full::new(Bytes::from("x")));
        assert!(!asks_for_websocket(&full));
    }

    #[test]
    fn there_are_only_so_many_places() {
        let (tunnels, metrics) = (Arc::new(Tunnels::new(2)), ListenMetrics::default());
        let first = tunnels.enter(&metrics).unwrap();
        let _second = tunnels.enter(&metrics).unwrap();
        assert!(tunnels.enter(&metrics).is_none());
        drop(first);
        assert!(tunnels.enter(&metrics).is_some());
        assert_eq!(metrics.tunnels.get(), 1);
    }

    #[tokio::test]
    async fn a_way_carries_all_bytes_and_the_end() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        // Room for less than is sent: the writer waits for the reader.
        let (mut source, mut from) = tokio::io::duplex(1000);
        let (mut to, mut sink) = tokio::io::duplex(777);
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let expected = [b"early".as_slice(), &sent].concat();
        let mut way = Way::new(Bytes::from_static(b"early"));
        let mut passed = 0;
        let carrying = poll_fn(|cx| {
            let now = Instant::now();
            let polled = way.poll(Pin::new(&mut from), Pin::new(&mut to), now, cx);
            passed += way.take_count();
            polled
        });
        let sending = async {
            source.write_all(&sent).await.unwrap();
            source.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let receiving = sink.read_to_end(&mut received);
        let (carried, (), read) = tokio::join!(carrying, sending, receiving);
        carried.unwrap();
        read.unwrap();
        assert!(received == expected);
        assert_eq!(passed, expected.len() as u64);
    }
}
