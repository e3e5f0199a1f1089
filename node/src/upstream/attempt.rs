//! One request to one origin: its way there, a connection, and the response's head.

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::authority::{host_field, server_name};
use super::dial::{Dialled, Sender, Speak, Tls, dial};
use super::error::UpstreamErrorKind;
use super::fetch::{Origins, Replay};
use super::incoming::{Back, OriginBody, settle};
use super::load::{Held, Slot};
use super::names::Route;
use super::outgoing::{Outgoing, again, for_http1, for_http2};
use super::pool::{Idle, Lane, Wanted};
use super::progress::Progress;
use super::shared::{Next, Shared, Stream};
use super::table::OriginState;
use crate::config::site::Origin;
use crate::exchange::{Body, MaySwitch, Switched};

/// Streams tried that turn out to be of a connection that is ending.
const STREAMS_TRIED_MAX: usize = 4;

/// One request to one origin.
pub(super) struct Attempt<'a> {
    pub(super) origins: &'a Origins,
    pub(super) origin: &'a Origin,
    pub(super) state: &'a Arc<OriginState>,
    pub(super) client_host: &'a str,
    /// The client's Host field.
    pub(super) client_field: Option<&'a HeaderValue>,
    pub(super) progress: Option<&'a Arc<Progress>>,
    /// May a connection be used that others used before?
    pub(super) reuse: bool,
    pub(super) replay: Replay,
    /// The request's place, until the response has been read.
    pub(super) slot: Mutex<Option<Slot>>,
}

/// The way to an origin.
struct Way {
    lane: Arc<Lane>,
    route: Arc<Route>,
    tls: Option<Tls>,
    speak: Speak,
    server_name: Option<Arc<str>>,
}

impl Attempt<'_> {
    /// Sends the request on a connection that is there, or else on a new one.
    pub(super) async fn run(&self, request: Request<Outgoing>) -> Result<Response<Body>, Failed> {
        // What may leave HTTP does so on a connection of its own, and there is such a thing in HTTP/1.1 only.
        let switches = request.extensions().get::<MaySwitch>().is_some();
        let speak = match switches {
            true => Speak::Http1,
            false => self.state.speak(),
        };
        let way = match self.way(speak).await {
            Ok(way) => way,
            Err(kind) => return Err(Failed::unsent(kind, request)),
        };
        let shares = match speak {
            Speak::Http1 => false,
            Speak::Http2 => true,
            Speak::Either => !self.state.chose_http1(),
        };
        if shares && self.reuse {
            return self.run_shared(way, request).await;
        }
        let request = match self.run_kept(&way, request, switches).await {
            Ok(unsent) => unsent,
            Err(done) => return *done,
        };
        let Dialled { sender, remote } = match self.dial(&way).await {
            Ok(dialled) => dialled,
            Err(kind) => return Err(Failed::unsent(kind, request)),
        };
        match sender {
            Sender::Http1(sender) => {
                let idle = Idle::new(sender, remote, way.server_name);
                self.on_http1(idle, way.lane, request).await
            }
            Sender::Http2(sender, takes) => {
                let shared = way.lane.shared(self.state.id);
                let stream = shared.add((sender, takes), remote, way.server_name);
                self.on_stream(stream, request).await
            }
        }
    }

    /// Where to, with which TLS, and from which pool.
    async fn way(&self, speak: Speak) -> Result<Way, UpstreamErrorKind> {
        let route = self.state.route(&self.origins.names).await?;
        let tls = match self.state.tls(&self.origins.roots, speak)? {
            None => None,
            Some(config) => Some(Tls {
                config,
                server_name: server_name(self.origin, self.client_host)?,
            }),
        };
        let server_name = tls
            .as_ref()
            .map(|tls| Arc::from(&*tls.server_name.to_str()));
        Ok(Way {
            lane: self.origins.lanes.here(),
            route,
            tls,
            speak,
            server_name,
        })
    }

    fn wanted<'a>(&self, way: &'a Way) -> Wanted<'a> {
        Wanted {
            origin: self.state.id,
            server_name: way.server_name.as_deref(),
            addresses: &way.route.addresses,
            fresh: self.replay != Replay::Safe,
        }
    }

    async fn dial(&self, way: &Way) -> Result<Dialled, UpstreamErrorKind> {
        let (addresses, port) = (&way.route.addresses, self.origin.port);
        let timeout = self.origin.connect_timeout;
        let how = (way.tls.clone(), way.speak);
        let berth = self.state.load.connect().await;
        let berth = berth.ok_or(UpstreamErrorKind::Full)?;
        let kept = (&self.origins.tasks, berth);
        let dialled = dial(addresses, port, how, timeout, kept).await?;
        self.state.metrics.new.inc();
        if way.speak == Speak::Either {
            let http1 = matches!(dialled.sender, Sender::Http1(_));
            self.state.set_chose_http1(http1);
        }
        Ok(dialled)
    }

    /// On a kept-alive connection. One that turns out to be closed gives the request back, as does an empty pool.
    async fn run_kept(
        &self,
        way: &Way,
        mut request: Request<Outgoing>,
        switches: bool,
    ) -> Result<Request<Outgoing>, Box<Result<Response<Body>, Failed>>> {
        while self.reuse
            && !switches
            && let Some(idle) = way.lane.take(&self.wanted(way)).await
        {
            self.state.metrics.reused.inc();
            let lane = Arc::clone(&way.lane);
            match self.on_http1(idle, lane, request).await {
                Err(Failed {
                    unsent: Some(unsent),
                    ..
                }) => request = unsent,
                Err(failed) => {
                    let stale = matches!(failed.kind, UpstreamErrorKind::Reset);
                    return Err(Box::new(Err(Failed { stale, ..failed })));
                }
                answered => return Err(Box::new(answered)),
            }
        }
        Ok(request)
    }

    /// On a stream of a shared connection, which is made where there is none with room.
    async fn run_shared(
        &self,
        way: Way,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Body>, Failed> {
        let shared = way.lane.shared(self.state.id);
        for _ in 0..STREAMS_TRIED_MAX {
            let wanted = self.wanted(&way);
            let waiting = shared.next(&wanted);
            let next = match tokio::time::timeout(self.origin.connect_timeout, waiting).await {
                Ok(Ok(next)) => next,
                Ok(Err(kind)) => return Err(Failed::unsent(kind, request)),
                Err(_) => return Err(Failed::unsent(UpstreamErrorKind::Full, request)),
            };
            let stream = match next {
                Next::Take(stream) => {
                    self.state.metrics.reused.inc();
                    stream
                }
                Next::Dial(dialling) => {
                    let dialled = self.dial_shared(&way, &shared).await;
                    drop(dialling);
                    match dialled {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(idle)) => return self.on_http1(idle, way.lane, request).await,
                        Err(kind) => return Err(Failed::unsent(kind, request)),
                    }
                }
            };
            match self.on_stream(stream, request).await {
                Err(Failed {
                    unsent: Some(unsent),
                    stale: false,
                    ..
                }) => request = unsent,
                done => return done,
            }
        }
        Err(Failed::unsent(UpstreamErrorKind::Reset, request))
    }

    /// Makes a connection for many; or for this request alone, where the origin would have HTTP/1.1.
    async fn dial_shared(
        &self,
        way: &Way,
        shared: &Shared,
    ) -> Result<Result<Stream, Idle>, UpstreamErrorKind> {
        let name = way.server_name.clone();
        match self.dial(way).await {
            Err(kind) => {
                shared.failed(&kind);
                Err(kind)
            }
            Ok(Dialled { sender, remote }) => Ok(match sender {
                Sender::Http1(sender) => Err(Idle::new(sender, remote, name)),
                Sender::Http2(sender, takes) => Ok(shared.add((sender, takes), remote, name)),
            }),
        }
    }

    async fn on_http1(
        &self,
        idle: Idle,
        lane: Arc<Lane>,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Body>, Failed> {
        let switches = request.extensions().get::<MaySwitch>().is_some();
        for_http1(
            &mut request,
            host_field(self.origin, self.client_field),
            switches,
        );
        let Idle {
            mut sender,
            remote,
            server_name,
            ..
        } = idle;
        let sending = http1::SendRequest::try_send_request(&mut sender, request);
        let mut response = self.send(sending, switches).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Its connection's task gives the stream out once the head is read, so there is nothing to wait for.
            let Ok(upgraded) = hyper::upgrade::on(&mut response).await else {
                return Err(Failed::after_sending(UpstreamErrorKind::Reset));
            };
            let tunnel = Switched::new(Box::pin(Held {
                stream: TokioIo::new(upgraded),
                _slot: self.slot.lock().take(),
            }));
            response.extensions_mut().insert(tunnel);
            return Ok(response.map(|_| Body::Empty));
        }
        let back = match self.progress.and_then(Progress::unwanted) {
            // What was announced and never sent is in the way of a next request.
            Some(unwanted) => Back::Nowhere(unwanted),
            None => Back::Pool(lane, Idle::new(sender, remote, server_name)),
        };
        Ok(self.body(response, back))
    }

    async fn on_stream(
        &self,
        mut stream: Stream,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Body>, Failed> {
        // What the origin refuses to look at may be sent again, whatever it is, where its content is still here.
        let copy = match self.replay {
            Replay::Safe => None,
            Replay::Unsent => again(&request),
        };
        let host = host_field(self.origin, self.client_field);
        if for_http2(&mut request, host, self.origin.tls).is_err() {
            return Err(Failed::after_sending(UpstreamErrorKind::Request));
        }
        let sending = http2::SendRequest::try_send_request(&mut stream.sender, request);
        match self.send(sending, false).await {
            Ok(response) => {
                let unwanted = self.progress.and_then(Progress::unwanted);
                Ok(self.body(response, Back::Stream(stream, unwanted)))
            }
            Err(failed) if failed.unsent.is_some() => Err(failed),
            Err(failed) => Err(Failed {
                unsent: copy.filter(|_| failed.refused),
                stale: self.reuse && matches!(failed.kind, UpstreamErrorKind::Reset),
                ..failed
            }),
        }
    }

    /// Waits for the head as long as the origin makes progress.
    async fn send(
        &self,
        sending: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>>,
        switches: bool,
    ) -> Result<Response<Incoming>, Failed> {
        let mut sending = pin!(sending);
        let mut pieces = 0;
        loop {
            match tokio::time::timeout(self.origin.response_timeout, sending.as_mut()).await {
                Ok(Ok(mut response)) => {
                    return match settle(&mut response, switches) {
                        Ok(()) => Ok(response),
                        Err(kind) => Err(Failed::after_sending(kind)),
                    };
                }
                Ok(Err(mut error)) => {
                    let unsent = error.take_message();
                    return Err(self.failure(&error.into_error(), unsent));
                }
                Err(_) => {
                    let moved = self.progress.is_some_and(|progress| {
                        let before = std::mem::replace(&mut pieces, progress.pieces());
                        progress.awaits_client() || progress.pieces() != before
                    });
                    if !moved {
                        return Err(Failed::after_sending(UpstreamErrorKind::HeadTimeout));
                    }
                }
            }
        }
    }

    fn failure(&self, error: &hyper::Error, unsent: Option<Request<Outgoing>>) -> Failed {
        let kind = match self.progress.and_then(|progress| progress.failure()) {
            Some(failure) => UpstreamErrorKind::Content(failure.clone()),
            None if error.is_parse() => UpstreamErrorKind::Malformed,
            None if error.is_user() => UpstreamErrorKind::Request,
            None => UpstreamErrorKind::Reset,
        };
        Failed {
            kind,
            unsent,
            stale: false,
            refused: is_refused(error),
        }
    }

    /// The response with a body that returns its connection.
    fn body(&self, response: Response<Incoming>, back: Back) -> Response<Body> {
        response.map(|incoming| {
            if incoming.is_end_stream() {
                back.give(self.state);
                return Body::Empty;
            }
            Body::stream(OriginBody::new(
                incoming,
                self.origin.response_timeout,
                back,
                self.progress.map(Arc::clone),
                Arc::clone(self.state),
                self.slot.lock().take(),
            ))
        })
    }
}

/// Has the origin said that it did not look at the request (RFC 9113 §8.7, and §6.8: streams behind the last one that a
/// GOAWAY names)?
fn is_refused(error: &hyper::Error) -> bool {
    use std::error::Error as _;

    let source = error.source().and_then(|source| source.downcast_ref());
    source.is_some_and(|error: &h2::Error| {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || gone)
    })
}

/// Why one origin did not answer.
pub(super) struct Failed {
    pub(super) kind: UpstreamErrorKind,
    /// The request, where nothing of it was sent, or the origin said that it did nothing about it.
    pub(super) unsent: Option<Request<Outgoing>>,
    /// A connection that others used before ended before the head: closed by the origin in between, most likely, and
    /// no verdict on its health.
    pub(super) stale: bool,
    /// The origin said that it did nothing about the request.
    refused: bool,
}

impl Failed {
    pub(super) fn unsent(kind: UpstreamErrorKind, request: Request<Outgoing>) -> Self {
        Self {
            unsent: Some(request),
            ..Self::after_sending(kind)
        }
    }

    /// An origin may have acted on the request.
    fn after_sending(kind: UpstreamErrorKind) -> Self {
        Self {
            kind,
            unsent: None,
            stale: false,
            refused: false,
        }
    }
}
