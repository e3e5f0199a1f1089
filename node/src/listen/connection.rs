//! One connection, from accept to close.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::address::trusted;
use super::census::Seat;
use super::express::{Desk, Express, Lane};
use super::guard::{HeadGuard, WriteGuard};
use super::interim::Outbox;
use super::introduction;
use super::pulse::{Cut, Patience, Pulse};
use super::scan::HeadScan;
use super::serve::Core;
use super::service::{Http1, Line, Reply, answer};
use super::streams::{Content, Post, Streams};
use super::tunnel;
use super::watch::FrameWatch;
use crate::exchange::{Client, Handle, InterimLine};

/// How long a connection may take to say goodbye after it was idle for too long.
const FAREWELL: Duration = Duration::from_secs(1);
/// Taken of what a client goes on to send after it was refused.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Both ends of a connection, and how the client came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) socket: SocketAddr,
    pub(super) local: SocketAddr,
    /// By TLS, to a proxy before us.
    pub(super) tls: bool,
}

/// Who is at the other end: the socket says it, or the PROXY header that a trusted proxy begins with. None where the
/// connection must end.
pub(super) async fn introduce<H: Handle>(
    core: &Core<H>,
    stream: &mut TcpStream,
    socket: SocketAddr,
    seat: &mut Seat,
) -> Option<Ends> {
    let local = stream.local_addr().ok()?;
    let mut ends = Ends {
        socket,
        local,
        tls: false,
    };
    if !core.proxy_protocol || !trusted(&core.trusted_proxies, socket.ip().to_canonical()) {
        return Some(ends);
    }
    let introduced = introduction::read(stream);
    let said = match tokio::time::timeout(core.limits.head_timeout, introduced).await {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => {
            tracing::debug!(%error, proxy = %socket, "connection refused");
            core.metrics.introduction.inc();
            return None;
        }
        Err(_) => {
            core.metrics.cut(Cut::Head);
            return None;
        }
    };
    ends.tls = said.tls;
    if let Some((source, destination)) = said.ends {
        (ends.socket, ends.local) = (source, destination);
        let client = source.ip().to_canonical();
        if !trusted(&core.trusted_proxies, client) && seat.of(client).is_err() {
            core.metrics.full_client.inc();
            return None;
        }
    }
    Some(ends)
}

/// Serves a plain connection until it ends.
pub(super) async fn plain<H: Handle>(core: Rc<Core<H>>, stream: TcpStream, ends: Ends) {
    let pulse = new_pulse(&core);
    let client = Client {
        address: ends.socket.ip().to_canonical(),
        socket: ends.socket,
        local: ends.local,
        tls: ends.tls,
        server_name: None,
        interim: None,
    };
    let stream = WriteGuard::new(stream, Rc::clone(&pulse));
    http1(&core, stream, client, pulse).await;
}

/// Serves a TLS connection: handshake, then the protocol that ALPN chose.
pub(super) async fn tls<H: Handle>(core: Rc<Core<H>>, stream: TcpStream, ends: Ends) {
    let Some(acceptor) = core.tls.clone() else {
        return;
    };
    let pulse = new_pulse(&core);
    let stream = WriteGuard::new(stream, Rc::clone(&pulse));
    let handshake = tokio::time::timeout(core.limits.head_timeout, acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "tls handshake failed");
            core.metrics.handshake_failed.inc();
            return;
        }
        Err(_) => {
            core.metrics.handshake_slow.inc();
            return;
        }
    };
    let session = stream.get_ref().1;
    let h2 = session.alpn_protocol() == Some(b"h2");
    let client = Client {
        address: ends.socket.ip().to_canonical(),
        socket: ends.socket,
        local: ends.local,
        tls: true,
        server_name: session
            .server_name()
            .map(|name| name.to_ascii_lowercase().into()),
        interim: None,
    };
    if h2 {
        Box::pin(http2(&core, stream, client, pulse)).await;
    } else {
        http1(&core, stream, client, pulse).await;
    }
}

fn new_pulse<H>(core: &Core<H>) -> Rc<Pulse> {
    Rc::new(Pulse::new(
        Patience {
            head: core.limits.head_timeout,
            idle: core.limits.idle_timeout,
            progress: core.limits.progress_timeout,
        },
        core.limits.h2_resets,
    ))
}

fn line<H: Handle>(
    core: &Rc<Core<H>>,
    client: Client,
    pulse: Rc<Pulse>,
    http1: Option<Http1>,
) -> Rc<Line<H>> {
    let behind = trusted(&core.trusted_proxies, client.address);
    Rc::new(Line {
        handler: Arc::clone(&core.handler),
        client: Arc::new(client),
        pulse,
        http1,
        proxies: behind.then(|| Rc::clone(&core.trusted_proxies)),
        limits: Rc::clone(&core.limits),
        metrics: Arc::clone(&core.metrics),
    })
}

/// HTTP/1 begins without hyper, in a lane. Boxed is what the many that are idle do not need.
async fn http1<H: Handle, S>(core: &Rc<Core<H>>, stream: S, client: Client, pulse: Rc<Pulse>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let desk = Desk::new(Rc::clone(core), client.clone());
    let mut lane = Lane::new(stream, desk, Rc::clone(&pulse));
    drive(core, Pin::new(&mut lane), Rc::clone(&pulse)).await;
    let outbox = Rc::<Outbox>::default();
    if let Some(stream) = lane.into_express(Rc::clone(&outbox)) {
        Box::pin(http1_by_hyper(core, stream, outbox, client, pulse)).await;
    }
}

async fn http1_by_hyper<H: Handle, S>(
    core: &Rc<Core<H>>,
    stream: Express<S, H>,
    outbox: Rc<Outbox>,
    client: Client,
    pulse: Rc<Pulse>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let scan = Rc::<HeadScan>::default();
    let (interim, interims) = InterimLine::new();
    let client = Client {
        interim: Some(interim),
        ..client
    };
    let http1 = Http1 {
        scan: Rc::clone(&scan),
        outbox: Rc::clone(&outbox),
        interims: RefCell::new(interims),
        tunnels: Arc::clone(&core.tunnels),
        switching: RefCell::new(None),
        unread: Cell::new(false),
    };
    let line = line(core, client, Rc::clone(&pulse), Some(http1));
    let stream = HeadGuard::new(stream, Rc::clone(&pulse), scan, outbox);
    let answering = Rc::clone(&line);
    let service =
        service_fn(move |request| answer(Rc::clone(&answering), request).map(Ok::<_, Infallible>));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The pulse times heads and idleness, with one timer per connection in place of one per request.
        .header_read_timeout(None)
        .half_close(false)
        .keep_alive(!core.draining.get())
        .max_header_size(core.limits.header_bytes);
    // hyper's own default is this number, parsed on the stack; any other costs an allocation per request.
    if core.limits.header_fields != 100 {
        builder.max_headers(core.limits.header_fields);
    }
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let ended = drive(core, Pin::new(&mut connection), pulse).await;
    let Some(http1) = &line.http1 else {
        return;
    };
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().into_inner().into_inner();
    if let Some(switching) = http1.switching.take() {
        tunnel::join(core, stream, parts.read_buf, switching).await;
    } else if ended == Ended::Malformed || ended == Ended::Finished && http1.unread.get() {
        linger(stream).await;
    }
}

async fn http2<H: Handle, S>(core: &Rc<Core<H>>, stream: S, client: Client, pulse: Rc<Pulse>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (post, interim) = Post::new();
    let client = Client {
        interim: Some(interim),
        ..client
    };
    let line = line(core, client, Rc::clone(&pulse), None);
    let answering = move |request| answer(Rc::clone(&line), request);
    let stream = FrameWatch::new(stream, Rc::clone(&pulse));
    let mut connection = Streams::new(stream, &core.limits, post, answering);
    drive(core, Pin::new(&mut connection), pulse).await;
}

/// Takes what the client still sends of what it was refused: closing a socket with unread bytes would take the answer
/// back (RFC 9112 §9.6).
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let lingering = async {
        stream.shutdown().await?;
        let mut heard = vec![0; 16 * 1024];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut heard).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    // It goes, one way or another.
    drop(tokio::time::timeout(FAREWELL, lingering).await);
}

/// A connection of either protocol.
trait Conversation: Future<Output = Result<(), Self::Error>> {
    type Error: std::fmt::Display;

    fn goodbye(self: Pin<&mut Self>);

    /// Did it end because of what the client wrote?
    fn is_malformed(error: &Self::Error) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handle> Conversation for Lane<S, H> {
    type Error = std::io::Error;

    fn goodbye(self: Pin<&mut Self>) {
        self.get_mut().part();
    }

    fn is_malformed(_: &std::io::Error) -> bool {
        false
    }
}

impl<I, S> Conversation for http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = Reply>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    type Error = hyper::Error;

    fn goodbye(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    fn is_malformed(error: &hyper::Error) -> bool {
        error.is_parse()
    }
}

impl<S, A, F> Conversation for Streams<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: FnMut(http::Request<Content>) -> F + Unpin,
    F: Future<Output = http::Response<Reply>> + 'static,
{
    type Error = h2::Error;

    fn goodbye(self: Pin<&mut Self>) {
        self.get_mut().goodbye();
    }

    fn is_malformed(error: &h2::Error) -> bool {
        error.is_go_away() && error.is_library()
    }
}

/// Polls a connection to its end, against the pulse's deadline and the core's drain.
async fn drive<H, C: Conversation>(
    core: &Rc<Core<H>>,
    mut conversation: Pin<&mut C>,
    pulse: Rc<Pulse>,
) -> Ended {
    let _woken_by_drain = core.register().await;
    let mut armed = pulse.deadline().map_or_else(far, |(at, _)| at);
    let mut timer = pin!(tokio::time::sleep_until(armed.into()));
    let mut parting = false;
    let mut farewell_by = None;
    let ended = poll_fn(|cx| {
        if core.draining.get() && !parting {
            parting = true;
            conversation.as_mut().goodbye();
        }
        if let Poll::Ready(result) = conversation.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        loop {
            let deadline = match (pulse.deadline(), farewell_by) {
                (Some((_, Cut::Idle)), Some(by)) => Some((by, Cut::Idle)),
                (deadline, _) => deadline,
            };
            // The timer moves only when the deadline comes nearer, or when it fired too early. So a request costs
            // neither a timer nor, here, a look at the clock.
            if let Some((at, _)) = deadline
                && at < armed
            {
                armed = at;
                timer.as_mut().reset(at.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match deadline {
                Some((at, cut)) if at <= Instant::now() => {
                    if cut != Cut::Idle || farewell_by.is_some() {
                        return Poll::Ready(Err(cut));
                    }
                    // Idle is no offence: say goodbye (HTTP/2: GOAWAY), with a moment for it to arrive.
                    core.metrics.cut(Cut::Idle);
                    parting = true;
                    armed = Instant::now() + FAREWELL;
                    farewell_by = Some(armed);
                    conversation.as_mut().goodbye();
                    if let Poll::Ready(result) = conversation.as_mut().poll(cx) {
                        return Poll::Ready(Ok(result));
                    }
                }
                Some((at, _)) => armed = at,
                None => armed = far(),
            }
            timer.as_mut().reset(armed.into());
        }
    })
    .await;
    match ended {
        Ok(Ok(())) if farewell_by.is_none() => return Ended::Finished,
        Ok(Ok(())) => {}
        Ok(Err(error)) if C::is_malformed(&error) => {
            tracing::debug!(%error, "request refused by the parser");
            core.metrics.unparsable.inc();
            return Ended::Malformed;
        }
        Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
        Err(Cut::Idle) => {}
        Err(cut) => {
            tracing::debug!(?cut, "connection cut");
            core.metrics.cut(cut);
        }
    }
    Ended::Otherwise
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// After its last answer.
    Finished,
    /// With something that could not be read.
    Malformed,
    /// It was idle, broke, or was cut.
    Otherwise,
}

/// No deadline: looked at again in an hour.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
