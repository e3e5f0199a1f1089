//! One request to one origin: its way there, a connection, and the response's head.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;

use super::authority::{host_field, server_name};
use super::dial::{Tls, dial};
use super::error::UpstreamErrorKind;
use super::fetch::{Origins, Replay};
use super::incoming::{OriginBody, settle};
use super::names::Route;
use super::outgoing::{Outgoing, Progress};
use super::pool::{Idle, Lane, Wanted};
use super::table::OriginState;
use crate::config::site::Origin;
use crate::exchange::{Body, MaySwitch, Switched};

/// One request to one origin.
pub(super) struct Attempt<'a> {
    pub(super) origins: &'a Origins,
    pub(super) origin: &'a Origin,
    pub(super) state: &'a Arc<OriginState>,
    pub(super) client_host: &'a str,
    /// The client's Host field.
    pub(super) client_field: Option<&'a HeaderValue>,
    pub(super) progress: Option<&'a Progress>,
    /// May a kept-alive connection be used?
    pub(super) reuse: bool,
}

impl Attempt<'_> {
    /// Sends the request on a kept-alive connection, or else a new one.
    pub(super) async fn run(
        &self,
        mut request: Request<Outgoing>,
        replay: Replay,
    ) -> Result<Response<Body>, Failed> {
        // Always, as the request may come back from another origin unsent.
        if let Some(host) = host_field(self.origin, self.client_field) {
            request.headers_mut().insert(HOST, host);
        }
        // What may leave HTTP does so on a connection of its own.
        let switches = request.extensions().get::<MaySwitch>().is_some();
        let lane = self.origins.lanes.here();
        let (route, tls) = match self.way().await {
            Ok(way) => way,
            Err(kind) => return Err(Failed::unsent(kind, request)),
        };
        let server_name: Option<Arc<str>> = tls
            .as_ref()
            .map(|tls| Arc::from(&*tls.server_name.to_str()));
        let wanted = Wanted {
            origin: self.state.id,
            server_name: server_name.as_deref(),
            addresses: &route.addresses,
            fresh: replay != Replay::Safe,
        };
        // Kept-alive connections first. One that turns out to be closed gives the request back.
        while self.reuse
            && !switches
            && let Some(mut idle) = lane.take(&wanted).await
        {
            self.state.metrics.reused.inc();
            match self.send(&mut idle.sender, request).await {
                Ok(response) => {
                    let idle = Idle::new(idle.sender, idle.remote, idle.server_name);
                    return Ok(self.body(response, (lane, idle)));
                }
                Err(Failed {
                    unsent: Some(unsent),
                    ..
                }) => request = unsent,
                Err(failed) => {
                    let stale = matches!(failed.kind, UpstreamErrorKind::Reset);
                    return Err(Failed { stale, ..failed });
                }
            }
        }
        let timeout = self.origin.connect_timeout;
        let dialled = dial(
            &route.addresses,
            self.origin.port,
            tls,
            timeout,
            &self.origins.tasks,
        );
        let mut dialled = match dialled.await {
            Ok(dialled) => dialled,
            Err(kind) => return Err(Failed::unsent(kind, request)),
        };
        self.state.metrics.new.inc();
        let mut response = self.send(&mut dialled.sender, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Its connection's task gives the stream out once the head is read, so there is nothing to wait for.
            let Ok(upgraded) = hyper::upgrade::on(&mut response).await else {
                return Err(Failed::after_sending(UpstreamErrorKind::Reset));
            };
            let tunnel = Switched::new(Box::pin(TokioIo::new(upgraded)));
            response.extensions_mut().insert(tunnel);
            return Ok(response.map(|_| Body::Empty));
        }
        let idle = Idle::new(dialled.sender, dialled.remote, server_name);
        Ok(self.body(response, (lane, idle)))
    }

    /// Where to, and with which TLS.
    async fn way(&self) -> Result<(Arc<Route>, Option<Tls>), UpstreamErrorKind> {
        let route = self.state.route(&self.origins.names).await?;
        let tls = match self.state.tls(&self.origins.roots)? {
            None => None,
            Some(config) => Some(Tls {
                config,
                server_name: server_name(self.origin, self.client_host)?,
            }),
        };
        Ok((route, tls))
    }

    /// Sends, and waits for the head as long as the origin makes progress.
    async fn send(
        &self,
        sender: &mut SendRequest<Outgoing>,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Failed> {
        let switches = request.extensions().get::<MaySwitch>().is_some();
        let sending = sender.try_send_request(request);
        tokio::pin!(sending);
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
        let kind = match self.progress.and_then(Progress::failure) {
            Some(failure) => UpstreamErrorKind::Content(failure.clone()),
            None if error.is_parse() => UpstreamErrorKind::Malformed,
            None if error.is_user() => UpstreamErrorKind::Request,
            None => UpstreamErrorKind::Reset,
        };
        Failed {
            kind,
            unsent,
            stale: false,
        }
    }

    /// The response with a body that returns its connection.
    fn body(
        &self,
        response: Response<Incoming>,
        (lane, idle): (Arc<Lane>, Idle),
    ) -> Response<Body> {
        response.map(|incoming| {
            if incoming.is_end_stream() {
                lane.put(self.state.id, idle);
                return Body::Empty;
            }
            Body::stream(OriginBody::new(
                incoming,
                self.origin.response_timeout,
                (lane, idle),
                Arc::clone(self.state),
            ))
        })
    }
}

/// Why one origin did not answer.
pub(super) struct Failed {
    pub(super) kind: UpstreamErrorKind,
    /// The request, where nothing of it was sent.
    pub(super) unsent: Option<Request<Outgoing>>,
    /// A kept-alive connection ended before the head: closed by the origin while idle, most likely, and no verdict on
    /// its health.
    pub(super) stale: bool,
}

impl Failed {
    fn unsent(kind: UpstreamErrorKind, request: Request<Outgoing>) -> Self {
        Self {
            kind,
            unsent: Some(request),
            stale: false,
        }
    }

    /// An origin may have acted on the request.
    fn after_sending(kind: UpstreamErrorKind) -> Self {
        Self {
            kind,
            unsent: None,
            stale: false,
        }
    }
}
