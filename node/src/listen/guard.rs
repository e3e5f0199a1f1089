//! Streams that tell the [`Pulse`] what passes through them.
//!
//! `WriteGuard` sits on the socket, below TLS, where a byte that was taken is a byte the client's system has room
//! for. `HeadGuard` sits above TLS, on the plain HTTP/1 bytes, where a head begins.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::interim::Outbox;
use super::pulse::Pulse;
use super::scan::HeadScan;

/// Watches what the socket takes.
#[derive(Debug)]
pub(super) struct WriteGuard<S> {
    inner: S,
    pulse: Rc<Pulse>,
}

impl<S> WriteGuard<S> {
    pub(super) fn new(inner: S, pulse: Rc<Pulse>) -> Self {
        Self { inner, pulse }
    }

    fn watch<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &poll {
            Poll::Pending => self.pulse.write_blocked(),
            Poll::Ready(_) => self.pulse.write_moved(),
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Notices where an HTTP/1 head begins, and looks at its framing fields as they pass. The other way, puts interim
/// responses before final ones.
#[derive(Debug)]
pub(super) struct HeadGuard<S> {
    inner: S,
    pulse: Rc<Pulse>,
    scan: Rc<HeadScan>,
    outbox: Rc<Outbox>,
}

impl<S> HeadGuard<S> {
    pub(super) fn new(inner: S, pulse: Rc<Pulse>, scan: Rc<HeadScan>, outbox: Rc<Outbox>) -> Self {
        Self {
            inner,
            pulse,
            scan,
            outbox,
        }
    }

    /// The stream below: its bytes are no longer HTTP.
    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            let continued = self.pulse.in_head();
            self.pulse.received();
            if self.pulse.in_head() {
                self.scan.look(received, continued);
            } else {
                self.scan.unsure();
            }
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outbox.poll_send(&mut this.inner, cx))?;
        this.outbox.writes();
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outbox.poll_send(&mut this.inner, cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.outbox.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outbox.poll_send(&mut this.inner, cx))?;
        this.outbox.writes();
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
