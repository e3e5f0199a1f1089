//! The end of a request: the head is counted when it leaves, the body when its last byte has gone or the client has.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Proxy;
use super::metrics::SiteMetrics;
use super::outcome::{Outcome, Passage};
use crate::config::site::Site;
use crate::exchange::{Body, BodyError, BodyStream, Client, Switched, Tunnel};
use crate::observe::access::{AccessLog, Record};
use crate::view::View;

/// What is noted of a request at its begin.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) request_id: u64,
    pub(super) site: Option<Arc<Site>>,
    begin: Instant,
    is_head: bool,
    /// Only when somebody reads it.
    record: Option<Box<Record<'static>>>,
}

impl Proxy {
    /// Notes what the access log will want to know; next to nothing when there is none.
    pub(super) fn receipt(
        &self,
        view: &View,
        client: &Client,
        parts: &Parts,
        begin: Instant,
        now: SystemTime,
    ) -> Receipt {
        let request_id = next_id();
        let record = self.access.is_on().then(|| {
            Box::new(Record {
                time: now,
                node: self.node.to_string().into(),
                site: None,
                method: parts.method.clone(),
                host: host(parts).into(),
                target: parts
                    .uri
                    .path_and_query()
                    .map_or_else(String::new, |target| target.as_str().to_owned())
                    .into(),
                status: 0,
                body_bytes: 0,
                complete: true,
                first_byte: begin.elapsed(),
                duration: begin.elapsed(),
                outcome: "",
                reason: None,
                collapsed: false,
                peer: None,
                origin: None,
                client: client.address,
                request_id,
                generation: view.generation,
            })
        });
        Receipt {
            request_id,
            site: None,
            begin,
            is_head: parts.method == Method::HEAD,
            record,
        }
    }

    /// Counts the head, and sees to it that the body is counted.
    pub(super) fn finish(
        &self,
        receipt: Receipt,
        mut response: Response<Body>,
        passage: Passage,
    ) -> Response<Body> {
        let Receipt {
            site,
            begin,
            is_head,
            mut record,
            ..
        } = receipt;
        let elapsed = begin.elapsed();
        if let Some(record) = &mut record {
            record.site = site.as_ref().map(|site| site.name.to_string().into());
            record.status = response.status().as_u16();
            record.first_byte = elapsed;
            record.outcome = passage.outcome.label();
            record.reason = passage.outcome.reason();
            record.collapsed = passage.collapsed;
            record.origin = passage.origin.map(|origin| String::from(origin).into());
        }
        let name = site.as_ref().map(|site| &*site.name);
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.metrics.at(name, |metrics| {
            metrics.answered(passage.outcome, elapsed);
            let end = |record| End {
                metrics: Arc::clone(metrics),
                outcome: passage.outcome,
                begin,
                access: self.access.clone(),
                record,
                body_bytes: 0,
                complete: false,
            };
            match response.body_mut() {
                Body::Empty if is_switch => count_tunnel(&mut response, end(record)),
                Body::Stream(_) if !is_head => {
                    count_stream(&mut response, end(record));
                }
                // What is in memory is as good as sent: wrapping it would cost every hit an allocation.
                in_memory => {
                    let body_bytes = in_memory.size_hint().exact().unwrap_or(0);
                    metrics.sent(passage.outcome, body_bytes);
                    if let Some(mut record) = record {
                        record.body_bytes = body_bytes;
                        record.complete = true;
                        record.duration = begin.elapsed();
                        self.access.write(&record);
                    }
                }
            }
        });
        response
    }
}

/// Puts the counting body around a response's stream.
fn count_stream(response: &mut Response<Body>, end: End) {
    let declared = || {
        let field = response.headers().get(CONTENT_LENGTH)?;
        field.to_str().ok()?.parse().ok()
    };
    let length = response.body().size_hint().exact().or_else(declared);
    if let Body::Stream(stream) = std::mem::take(response.body_mut()) {
        *response.body_mut() = Body::stream(Counted {
            stream,
            length,
            end,
        });
    }
}

/// Puts the counting end around the origin's side of a connection that leaves HTTP.
fn count_tunnel(response: &mut Response<Body>, end: End) {
    let switched = response.extensions_mut().remove::<Switched>();
    if let Some(tunnel) = switched.and_then(|switched| switched.take()) {
        let counted = CountedTunnel { tunnel, end };
        let switched = Switched::new(Box::pin(counted));
        response.extensions_mut().insert(switched);
    }
}

/// The next request's id. Random where each worker begins, spread from there (SplitMix64): told apart, not secret.
pub(super) fn next_id() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(rand::random());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn host(parts: &Parts) -> String {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let field = || parts.headers.get(http::header::HOST)?.to_str().ok();
    authority.or_else(field).unwrap_or_default().to_owned()
}

/// Reports once, when it is dropped: after the last byte, or when the client has gone.
struct End {
    metrics: Arc<SiteMetrics>,
    outcome: Outcome,
    begin: Instant,
    access: AccessLog,
    record: Option<Box<Record<'static>>>,
    body_bytes: u64,
    complete: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        self.metrics.sent(self.outcome, self.body_bytes);
        if let Some(mut record) = self.record.take() {
            record.body_bytes = self.body_bytes;
            record.complete = self.complete;
            record.duration = self.begin.elapsed();
            self.access.write(&record);
        }
    }
}

/// A tunnel that counts what passes to the client.
struct CountedTunnel {
    tunnel: Tunnel,
    end: End,
}

impl AsyncRead for CountedTunnel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = this.tunnel.as_mut().poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &polled {
            let bytes = buf.filled().len() - before;
            this.end.body_bytes += bytes as u64;
            this.end.complete |= bytes == 0;
        }
        polled
    }
}

impl AsyncWrite for CountedTunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tunnel.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tunnel.as_mut().poll_shutdown(cx)
    }
}

/// A body that counts what passes.
struct Counted {
    stream: BodyStream,
    /// What it will hold, where that is known. HTTP/1 asks for no more once it has that.
    length: Option<u64>,
    end: End,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.stream.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |piece| piece.len() as u64);
                this.end.body_bytes += bytes;
                this.end.complete |=
                    this.stream.is_end_stream() || this.length == Some(this.end.body_bytes);
            }
            Poll::Ready(None) => this.end.complete = true,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
