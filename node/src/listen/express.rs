//! Plain requests that are answered in front of hyper (0701).
//!
//! hyper parses a head into a `Request`, hands it over, takes a `Response` apart and keeps account of both bodies. For a
//! GET that is answered out of memory all of that costs more than the answer. So this stream, which sits below hyper,
//! looks at what comes while hyper is between two exchanges. Bytes that are exactly one plain head ([`PlainHead`]) are
//! shown to the handler; if it has the answer at once, that is written here, and hyper never hears of the request. All
//! else goes up to hyper as it came.
//!
//! It works in two stages. A connection begins at the [`Lane`], which has no hyper at all: while only plain requests come,
//! and while nothing comes, that is all a connection is. With the first bytes that are something else hyper is set up for
//! good, and [`Express`], the stream below it, still looks at what comes between two exchanges.
//!
//! What makes that sound: a head is only looked at where hyper surely begins to read a new one. That is known while all
//! that went up so far were whole heads without content, each in one read, and hyper has answered them and written all
//! of it. From the first bytes of another kind on, everything on the connection is hyper's.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::address::{trusted, valid_host};
use super::interim::Outbox;
use super::pulse::Pulse;
use super::serve::Core;
use crate::exchange::{Body, Client, Handle, PlainHead, RawField};

/// A head with more fields goes to hyper.
const FIELDS_MAX: usize = 48;
/// Content up to this is copied behind its head: one piece to send costs less than two.
const COPIED_MAX: u64 = 2048;
/// Pieces that are given to the socket in one call.
const SLICES_MAX: usize = 32;
/// A lane reads so much at a time: what it does not answer has to fit into hyper's first buffer.
const READ_BYTES: usize = 8 * 1024;
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

/// Who asks on a connection, and who answers.
pub(super) struct Desk<H> {
    core: Rc<Core<H>>,
    client: Client,
    /// The socket's peer is a trusted proxy, and the client is whom it names.
    behind: bool,
}

/// A stream, and what is left of an answer that it did not take at once.
struct Outward<S> {
    stream: S,
    pulse: Rc<Pulse>,
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

impl<H: Handle> Desk<H> {
    pub(super) fn new(core: Rc<Core<H>>, client: Client) -> Self {
        Self {
            behind: trusted(&core.trusted_proxies, client.address),
            core,
            client,
        }
    }

    /// What was received where a head may begin.
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
            && !self.behind
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
        if fields.iter().any(barred) || !is_known_or_valid(host) {
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
        match self.core.handler.at_once(&self.client, &head, out) {
            Some(body) => Seen::Answered(body),
            None => Seen::Head,
        }
    }
}

impl<S: AsyncWrite + Unpin> Outward<S> {
    fn new(stream: S, pulse: Rc<Pulse>) -> Self {
        Self {
            stream,
            pulse,
            unsent: None,
        }
    }

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
            if let Poll::Ready(sent) = Pin::new(&mut self.stream).poll_write(cx, out) {
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
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.pulse.answered();
        Poll::Ready(Ok(()))
    }

    /// Sends what is left of an answer. Nothing else may be written before.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = &mut self.unsent {
            if !unsent.is_empty() {
                let written = ready!(unsent.poll_write(Pin::new(&mut self.stream), cx))?;
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

thread_local! {
    /// Where heads are written: one at a time per worker.
    static HEAD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Where lanes read: what is there is used up before the next reads.
    static ROOM: Cell<Box<[u8]>> = Cell::new(vec![0; READ_BYTES].into());
}

impl<H: Handle> Desk<H> {
    /// Looks at what was received, and sends the answer if there is one at once. Else says what it is.
    fn serve<S: AsyncWrite + Unpin>(
        &self,
        received: &[u8],
        outward: &mut Outward<S>,
        cx: &mut Context<'_>,
    ) -> Served {
        let mut out = HEAD.take();
        out.clear();
        let served = match self.look(received, &mut out) {
            Seen::Answered(body) => Served::Here(outward.send(&mut out, body, cx)),
            Seen::Head => Served::Not { clean: true },
            Seen::Other => Served::Not { clean: false },
        };
        if out.capacity() <= KEPT_MAX {
            HEAD.set(out);
        }
        served
    }
}

/// [`valid_host`], with the last one that was remembered: most requests name the one before theirs.
fn is_known_or_valid(host: &[u8]) -> bool {
    thread_local! {
        static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LAST.with_borrow_mut(|last| {
        if last == host {
            return !host.is_empty();
        }
        let valid = valid_host(host);
        if valid {
            last.clear();
            last.extend_from_slice(host);
        }
        valid
    })
}

/// What became of some bytes.
enum Served {
    /// Answered here.
    Here(Poll<io::Result<()>>),
    /// They are for hyper, which will then hold nothing unread, if they are clean.
    Not { clean: bool },
}

/// A connection without hyper: see the [module](self).
pub(super) struct Lane<S, H> {
    outward: Outward<S>,
    desk: Desk<H>,
    parting: bool,
    /// What is for hyper, and whether it is clean.
    ahead: Option<(Bytes, bool)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handle> Lane<S, H> {
    pub(super) fn new(stream: S, desk: Desk<H>, pulse: Rc<Pulse>) -> Self {
        Self {
            outward: Outward::new(stream, pulse),
            desk,
            parting: false,
            ahead: None,
        }
    }

    /// Once it has ended: the stream for hyper, with what was received for it; none when the connection is over.
    pub(super) fn into_express(self, outbox: Rc<Outbox>) -> Option<Express<S, H>> {
        let (ahead, clean) = self.ahead?;
        Some(Express {
            outward: self.outward,
            desk: self.desk,
            outbox,
            clean,
            ahead,
        })
    }

    /// Ends as soon as nothing is left to be sent.
    pub(super) fn part(&mut self) {
        self.parting = true;
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.outward.poll_unsent(cx))?;
            if self.parting {
                return Pin::new(&mut self.outward.stream).poll_shutdown(cx);
            }
            let mut room = ROOM.take();
            if room.is_empty() {
                room = vec![0; READ_BYTES].into();
            }
            let mut buf = ReadBuf::new(&mut room);
            let read = Pin::new(&mut self.outward.stream).poll_read(cx, &mut buf);
            let step = match read {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                    self.parting = true;
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Ok(())) => match self.desk.serve(buf.filled(), &mut self.outward, cx) {
                    Served::Here(sent) => sent,
                    Served::Not { clean } => {
                        self.ahead = Some((Bytes::copy_from_slice(buf.filled()), clean));
                        Poll::Ready(Ok(()))
                    }
                },
                other => other,
            };
            ROOM.set(room);
            ready!(step)?;
            if self.ahead.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handle> Future for Lane<S, H> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_lane(cx)
    }
}

/// The stream below hyper: see the [module](self).
pub(super) struct Express<S, H> {
    outward: Outward<S>,
    desk: Desk<H>,
    outbox: Rc<Outbox>,
    /// hyper holds no byte that it has not read as part of a whole head.
    clean: bool,
    /// What was received before hyper was set up.
    ahead: Bytes,
}

impl<S, H> Express<S, H> {
    /// The stream, for whoever takes the connection over: that is after a request to switch protocols, which makes all
    /// that follows hyper's.
    pub(super) fn into_inner(self) -> S {
        self.outward.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, H: Handle> AsyncRead for Express<S, H> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.outward.poll_unsent(cx))?;
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.outward.stream).poll_read(cx, buf))?;
            let received = &buf.filled()[before..];
            if !this.clean || received.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !this.outward.pulse.is_idle() || !this.outbox.is_between() {
                this.clean = false;
                return Poll::Ready(Ok(()));
            }
            match this.desk.serve(received, &mut this.outward, cx) {
                Served::Here(sent) => {
                    buf.set_filled(before);
                    ready!(sent)?;
                }
                Served::Not { clean } => {
                    this.clean = clean;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin, H: Handle> AsyncWrite for Express<S, H> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.outward.poll_unsent(cx))?;
        Pin::new(&mut this.outward.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outward.poll_unsent(cx))?;
        Pin::new(&mut this.outward.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outward.poll_unsent(cx))?;
        Pin::new(&mut this.outward.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.outward.poll_unsent(cx))?;
        Pin::new(&mut this.outward.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.outward.stream.is_write_vectored()
    }
}
