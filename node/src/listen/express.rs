//! Plain requests that are answered in front of hyper (0701).
//!
//! hyper parses a head into a `Request`, hands it over, takes a `Response` apart and keeps account of both bodies. For a
//! GET that is answered out of memory all of that costs more than the answer. So this stream, which sits below hyper,
//! looks at what comes while hyper is between two exchanges. Bytes that are exactly one plain head ([`PlainHead`]) are
//! shown to the handler; if it has the answer at once, that is written here, and hyper never hears of the request. All
//! else goes up to hyper as it came.
//!
//! What makes that sound: a head is only looked at where hyper surely begins to read a new one. That is known while all
//! that went up so far were whole heads without content, each in one read, and hyper has answered them and written all
//! of it. From the first bytes of another kind on, everything on the connection is hyper's.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::address::valid_host;
use super::interim::Outbox;
use super::serve::Core;
use super::service::Line;
use crate::exchange::{Body, Handle, PlainHead, RawField};

/// A head with more fields goes to hyper.
const FIELDS_MAX: usize = 48;
/// Content up to this is copied behind its head: one piece to send costs less than two.
const COPIED_MAX: u64 = 2048;
/// Pieces that are given to the socket in one call.
const SLICES_MAX: usize = 32;
/// A buffer for heads that has grown beyond this is not kept.
const KEPT_MAX: usize = 16 * 1024;

/// Fields that say how the message goes on, or what becomes of the connection: with one of these it is not plain.
const BARRED: [&str; 9] = [
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "proxy-authorization",
];

/// See the [module](self).
pub(super) struct Express<S, H> {
    inner: S,
    core: Rc<Core<H>>,
    line: Rc<Line<H>>,
    outbox: Rc<Outbox>,
    /// hyper holds no byte that it has not read as part of a whole head.
    clean: bool,
    unsent: Option<Box<Unsent>>,
}

/// What is left of an answer.
#[derive(Default)]
struct Unsent {
    head: Bytes,
    first: Bytes,
    rest: std::vec::IntoIter<Bytes>,
}

/// What some bytes are.
enum Seen {
    /// Not exactly one whole head without content.
    Other,
    /// One, for hyper to answer.
    Head,
    /// One whose answer this is.
    Answered(Body),
}

impl<S, H: Handle> Express<S, H> {
    pub(super) fn new(inner: S, core: Rc<Core<H>>, line: Rc<Line<H>>, outbox: Rc<Outbox>) -> Self {
        Self {
            inner,
            core,
            line,
            outbox,
            clean: true,
            unsent: None,
        }
    }

    /// The stream, for whoever takes the connection over: that is after a request to switch protocols, which makes all
    /// that follows hyper's.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// What was received while hyper is between two exchanges.
    fn look(&self, received: &[u8], out: &mut Vec<u8>) -> Seen {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(received, &mut room);
        // An empty line before the head, and lines that end without CR, are read by hyper; here they are no head.
        let whole = parsed == Ok(httparse::Status::Complete(received.len()))
            && received[0].is_ascii_alphabetic()
            && memchr::memchr_iter(b'\n', received).all(|at| received[at - 1] == b'\r');
        if !whole {
            return Seen::Other;
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Seen::Other;
        };
        let is = |field: &RawField<'_>, name: &str| field.name.eq_ignore_ascii_case(name);
        let goes_on = |field: &RawField<'_>| match field.name.len() {
            7 => is(field, "upgrade"),
            14 => is(field, "content-length"),
            17 => is(field, "transfer-encoding"),
            _ => false,
        };
        if method == "CONNECT" || request.headers.iter().any(goes_on) {
            return Seen::Other;
        }
        let limits = &self.core.limits;
        let plain = method == "GET"
            && version == 1
            && target.starts_with('/')
            && self.line.proxies.is_none()
            && !self.core.draining.get()
            && received.len() <= limits.header_bytes
            && request.headers.len() <= limits.header_fields;
        if !plain {
            return Seen::Head;
        }
        // The Host field goes first, then what the handler sees.
        let fields = request.headers;
        let Some(host_at) = fields.iter().position(|field| is(field, "host")) else {
            return Seen::Head;
        };
        fields.swap(0, host_at);
        let mut begin = 1;
        let keep_alive = |field: &RawField<'_>| {
            is(field, "connection") && field.value.eq_ignore_ascii_case(b"keep-alive")
        };
        if let Some(at) = fields.iter().position(keep_alive) {
            fields.swap(1, at);
            begin = 2;
        }
        let (named, fields) = fields.split_at(begin);
        let barred =
            |field: &RawField<'_>| is(field, "host") || BARRED.iter().any(|name| is(field, name));
        let host = named[0].value;
        if fields.iter().any(barred) || !valid_host(host) {
            return Seen::Head;
        }
        let Ok(host) = std::str::from_utf8(host) else {
            return Seen::Head;
        };
        let head = PlainHead {
            target,
            host,
            fields,
        };
        match self.line.handler.at_once(&self.line.client, &head, out) {
            Some(body) => Seen::Answered(body),
            None => Seen::Head,
        }
    }
}

impl<S: AsyncWrite + Unpin, H> Express<S, H> {
    /// Sends an answer, or keeps what the socket does not take of it.
    fn send(
        &mut self,
        out: &mut Vec<u8>,
        body: Body,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let small = body
            .size_hint()
            .exact()
            .is_some_and(|length| length <= COPIED_MAX);
        let mut unsent = Unsent::default();
        match body {
            Body::Full(bytes) if small => out.extend_from_slice(&bytes),
            Body::Full(bytes) => unsent.first = bytes,
            Body::Pieces(pieces, _) => unsent.rest = pieces,
            // Content of an answer at once is in memory.
            Body::Empty | Body::Stream(_) => {}
        }
        let mut written = 0;
        if !unsent.has_content() {
            // The common case: all of it in one call.
            if let Poll::Ready(sent) = Pin::new(&mut self.inner).poll_write(cx, out) {
                written = sent?;
            }
            if written == out.len() && self.poll_sent(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        unsent.head = Bytes::copy_from_slice(&out[written..]);
        self.unsent = Some(Box::new(unsent));
        self.poll_unsent(cx)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.line.pulse.answered();
        Poll::Ready(Ok(()))
    }

    /// Sends what is left of an answer. Nothing else may be written before.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = &mut self.unsent {
            if !unsent.is_empty() {
                let written = ready!(unsent.poll_write(Pin::new(&mut self.inner), cx))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                continue;
            }
            ready!(self.poll_sent(cx))?;
            self.unsent = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl Unsent {
    fn has_content(&self) -> bool {
        !self.first.is_empty() || !self.rest.as_slice().is_empty()
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && !self.has_content()
    }

    fn poll_write<S: AsyncWrite>(
        &mut self,
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let pieces = [&self.head, &self.first]
            .into_iter()
            .chain(self.rest.as_slice());
        let mut count = 0;
        for (slice, piece) in slices
            .iter_mut()
            .zip(pieces.filter(|piece| !piece.is_empty()))
        {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let written = ready!(stream.poll_write_vectored(cx, &slices[..count]))?;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        for piece in [&mut self.head, &mut self.first] {
            let taken = written.min(piece.len());
            piece.advance(taken);
            written -= taken;
        }
        while written > 0 {
            let Some(mut piece) = self.rest.next() else {
                return;
            };
            let taken = written.min(piece.len());
            piece.advance(taken);
            written -= taken;
            self.first = piece;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handle> AsyncRead for Express<S, H> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        thread_local! {
            static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let this = self.get_mut();
        loop {
            if this.unsent.is_some() {
                ready!(this.poll_unsent(cx))?;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let received = &buf.filled()[before..];
            if !this.clean || received.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !this.line.pulse.is_idle() || !this.outbox.is_between() {
                this.clean = false;
                return Poll::Ready(Ok(()));
            }
            let mut out = OUT.take();
            out.clear();
            match this.look(received, &mut out) {
                Seen::Answered(body) => {
                    buf.set_filled(before);
                    let sent = this.send(&mut out, body, cx);
                    keep(&OUT, out);
                    ready!(sent)?;
                }
                Seen::Head => {
                    keep(&OUT, out);
                    return Poll::Ready(Ok(()));
                }
                Seen::Other => {
                    keep(&OUT, out);
                    this.clean = false;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

fn keep(room: &'static std::thread::LocalKey<Cell<Vec<u8>>>, out: Vec<u8>) {
    if out.capacity() <= KEPT_MAX {
        room.set(out);
    }
}

impl<S: AsyncWrite + Unpin, H: Handle> AsyncWrite for Express<S, H> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_unsent(cx))?;
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
