//! One request: from hyper's hands to the handler's and back.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use ipnet::IpNet;
use tokio::sync::mpsc;

use super::address::told;
use super::body::ClientBody;
use super::head::{Refusal, Terms, settle};
use super::interim::{Outbox, poll_collect};
use super::metrics::ListenMetrics;
use super::pulse::Pulse;
use super::scan::{Chunked, HeadScan};
use super::tunnel::{Place, Switching, Tunnels, asks_for_websocket};
use crate::config::settings::Limits;
use crate::exchange::{Body, BodyError, Client, Handle, Interim, MaySwitch, Switched};

/// What requests of one connection share.
pub(super) struct Line<H> {
    pub(super) handler: Arc<H>,
    pub(super) client: Arc<Client>,
    pub(super) pulse: Rc<Pulse>,
    pub(super) http1: Option<Http1>,
    /// Set when the socket's peer is a trusted proxy: its word about the client is believed.
    pub(super) proxies: Option<Rc<[IpNet]>>,
    pub(super) limits: Rc<Limits>,
    pub(super) metrics: Arc<ListenMetrics>,
}

/// What an HTTP/1 connection has besides.
pub(super) struct Http1 {
    pub(super) scan: Rc<HeadScan>,
    pub(super) outbox: Rc<Outbox>,
    pub(super) interims: RefCell<mpsc::Receiver<Interim>>,
    pub(super) tunnels: Arc<Tunnels>,
    /// Set when the answer under way is the last of HTTP on this connection.
    pub(super) switching: RefCell<Option<Switching>>,
    /// A request was refused whose content may not have been read.
    pub(super) unread: Cell<bool>,
}

impl<H> Line<H> {
    fn note_unread(&self) {
        if let Some(http1) = &self.http1 {
            http1.unread.set(true);
        }
    }
}

/// Answers one request of a connection.
///
/// The handler is called before the future is made, so that the request is not moved about in it.
pub(super) fn answer<H: Handle, B>(
    line: Rc<Line<H>>,
    mut request: Request<B>,
) -> impl Future<Output = Response<Reply>> + 'static
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Send + Unpin + 'static,
{
    let mut ticket = Ticket::new(Rc::clone(&line.pulse), request.version() == Version::HTTP_2);
    let mut close = false;
    let has_content = !request.body().is_end_stream();
    let framing = match &line.http1 {
        Some(http1) if request.headers().contains_key(TRANSFER_ENCODING) => http1.scan.chunked(),
        Some(http1) => {
            http1.scan.forget();
            Chunked::Fine
        }
        None => Chunked::Fine,
    };
    let settled = match framing {
        Chunked::Refuse => Err(Refusal::Malformed(
            "both Content-Length and Transfer-Encoding\n",
        )),
        Chunked::AnswerAndClose | Chunked::Fine => {
            close = framing == Chunked::AnswerAndClose;
            let terms = Terms {
                fields_max: line.limits.header_fields,
                body_bytes_max: line.limits.body_bytes,
                secured: line.client.tls || line.proxies.is_some(),
            };
            settle(&mut request, has_content, &terms)
        }
    };
    let mut place = None;
    let settled = settled.and_then(|()| {
        if let Some(http1) = &line.http1
            // What is left of `Upgrade` when the head is settled.
            && !request.extensions().is_empty()
            && asks_for_websocket(&request)
        {
            let entered = http1.tunnels.enter(&line.metrics);
            place = Some(entered.ok_or(Refusal::TunnelsFull)?);
            request.extensions_mut().insert(MaySwitch);
        }
        Ok(())
    });
    if let Err(refusal) = settled {
        line.metrics.refused(refusal);
        line.note_unread();
        let refused = refuse(refusal, request.version(), ticket);
        return Either::Left(ready(refused));
    }
    let client = match &line.proxies {
        None => Arc::clone(&line.client),
        Some(proxies) => {
            let told = told(proxies, line.client.address, request.headers());
            Arc::new(Client {
                address: told.address,
                tls: told.https.unwrap_or(line.client.tls),
                ..Client::clone(&line.client)
            })
        }
    };
    let (version, head_only) = (request.version(), request.method() == Method::HEAD);
    // The client waits to hear that its content is wanted (RFC 9110 §10.1.1).
    let expects =
        has_content && version == Version::HTTP_11 && request.headers().contains_key(EXPECT);
    let wanted = expects.then(Arc::<AtomicBool>::default);
    let request = request.map(|incoming| {
        if incoming.is_end_stream() {
            Body::Empty
        } else {
            let (limit_bytes, timeout) = (line.limits.body_bytes, line.limits.progress_timeout);
            let body = ClientBody::new(incoming, limit_bytes, timeout);
            Body::stream(body.watched(wanted.clone()))
        }
    });
    // Streams of HTTP/2 have numbers of their own, and see to it themselves.
    let interim = line
        .client
        .interim
        .as_ref()
        .filter(|_| line.http1.is_some());
    let exchange = interim.map(|interim| interim.begin());
    let handling = Arc::clone(&line.handler).handle(client, request);
    Either::Right(async move {
        let mut response = match (&line.http1, exchange) {
            (Some(http1), Some(exchange)) if version == Version::HTTP_11 => {
                with_interims(http1, exchange, handling).await
            }
            // An older client knows none (RFC 9110 §15.2).
            _ => handling.await,
        };
        // What the origin spoke is no word for this hop (RFC 9110 §2.5); for an older client hyper says 1.0 by itself.
        *response.version_mut() = Version::HTTP_11;
        // Whether it sends the content all the same cannot be told from its next request.
        close |= wanted.is_some_and(|wanted| !wanted.load(Ordering::Relaxed));
        if close && version < Version::HTTP_2 {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if has_content && response.status().as_u16() >= 400 {
            line.note_unread();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            switch(&line, place, &mut response);
        }
        ticket.whole = head_only || response.body().is_end_stream();
        response.map(|body| Reply { body, ticket })
    })
}

/// Notes that the connection leaves HTTP with this answer; without the two sides of a tunnel there is no such answer.
fn switch<H>(line: &Line<H>, place: Option<Place>, response: &mut Response<Body>) {
    let switched = response.extensions_mut().remove::<Switched>();
    let origin = switched.and_then(|switched| switched.take());
    match (&line.http1, place, origin) {
        (Some(http1), Some(place), Some(origin)) => {
            http1.switching.replace(Some(Switching { origin, place }));
        }
        _ => {
            *response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
    }
}

/// Sends interim responses while the final one is being made.
async fn with_interims(
    http1: &Http1,
    exchange: u64,
    handling: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let mut handling = pin!(handling);
    let mut waited = false;
    poll_fn(|cx| {
        let polled = handling.as_mut().poll(cx);
        // What is answered at once has asked no origin.
        if polled.is_pending() || waited {
            waited = true;
            let interims = &mut *http1.interims.borrow_mut();
            poll_collect(interims, exchange, &http1.outbox, cx);
        }
        polled
    })
    .await
}

fn refuse(refusal: Refusal, version: Version, ticket: Ticket) -> Response<Reply> {
    let mut response = Response::new(Reply {
        body: Body::from(refusal.text()),
        ticket,
    });
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if matches!(refusal, Refusal::NotAllowed | Refusal::LastHop) {
        let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        headers.insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An open request in the connection's pulse.
struct Ticket {
    pulse: Rc<Pulse>,
    stream: u64,
    /// HTTP/2: streams are reset and stall one by one. In HTTP/1 they do so with their connection, which its stream
    /// notices.
    h2: bool,
    /// The response was handed over to its end.
    whole: bool,
    /// Noted in the pulse as waiting for room.
    waiting: bool,
}

impl Ticket {
    fn new(pulse: Rc<Pulse>, h2: bool) -> Self {
        let stream = pulse.opened();
        Self {
            pulse,
            stream,
            h2,
            whole: false,
            waiting: false,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pulse.closed(self.stream, self.whole || !self.h2);
    }
}

/// A response's body on its way to the client: passes the pieces on as they are, and keeps the pulse.
pub(super) struct Reply {
    body: Body,
    ticket: Ticket,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.ticket.waiting {
            this.ticket.pulse.moving(this.ticket.stream);
            this.ticket.waiting = false;
        }
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => this.ticket.whole = true,
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.ticket.whole = true,
            Poll::Ready(Some(Ok(_))) if this.ticket.h2 => {
                this.ticket.pulse.waits(this.ticket.stream);
                this.ticket.waiting = true;
            }
            Poll::Ready(Some(_)) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
