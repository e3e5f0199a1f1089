//! A request to the origins of a site, with its second and third tries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use nearside_geo::Point;
use rustls_pki_types::ServerName;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::dial::{Roots, Tls, dial};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::incoming::{OriginBody, settle};
use super::metrics::UpstreamMetrics;
use super::names::Names;
use super::outgoing::{Outgoing, Progress};
use super::pool::{Idle, Lanes, Wanted};
use super::select::{Choice, Here, choose};
use super::table::{OriginState, SiteOrigins, Table};
use crate::config::site::{HostHeader, Origin, Site};
use crate::exchange::{Body, OnInterim};
use crate::view::{View, Views};

/// Origins asked for one request, at most.
const ATTEMPTS_MAX: u32 = 3;

/// May a request be asked again after it was sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Yes: it changes nothing and its content, if any, is still here.
    Safe,
    /// Only while nothing of it was sent.
    Unsent,
}

impl Replay {
    /// What a request's method allows (RFC 9110 §9.2.1, the methods that proxies know).
    #[must_use]
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Safe,
            _ => Self::Unsent,
        }
    }
}

/// A response, and who gave it.
#[derive(Debug)]
pub struct Answer {
    /// As the origin sent it; its body comes as it is read.
    pub response: Response<Body>,
    /// The origin's name, as the operator calls it.
    pub origin: Box<str>,
    /// Origins that were asked, this one included.
    pub attempts: u32,
}

/// An origin as status pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginStatus {
    /// Its name.
    pub name: Box<str>,
    /// Believed to answer.
    pub healthy: bool,
}

/// What origins need to know of this node.
#[derive(Debug)]
pub struct Setup {
    /// Our region.
    pub region: String,
    /// Where we stand.
    pub point: Option<Point>,
    /// Every address we listen on: no origin may be one.
    pub listeners: Vec<SocketAddr>,
    /// Counters.
    pub metrics: UpstreamMetrics,
}

/// Why origins cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the resolver: {0}")]
pub struct SetupError(String);

/// The origins of all sites.
pub struct Origins {
    pub(super) table: Table,
    pub(super) names: Names,
    pub(super) roots: Roots,
    pub(super) tasks: TaskTracker,
    lanes: Lanes,
    region: String,
    point: Option<Point>,
    pub(super) views: Arc<Views>,
}

/// Why one origin did not answer.
struct Failed {
    kind: UpstreamErrorKind,
    /// The request, where nothing of it was sent.
    unsent: Option<Request<Outgoing>>,
    /// A kept-alive connection ended before the head: closed by the origin while idle, most likely, and no verdict on
    /// its health.
    stale: bool,
}

impl Failed {
    fn unsent(kind: UpstreamErrorKind, request: Request<Outgoing>) -> Self {
        Self {
            kind,
            unsent: Some(request),
            stale: false,
        }
    }
}

impl Origins {
    /// Must be called on the runtime that outlives the others: name lookups run there.
    ///
    /// # Errors
    ///
    /// The resolver cannot be made.
    pub fn new(setup: Setup, views: Arc<Views>) -> Result<Arc<Self>, SetupError> {
        let names = Names::new(Handle::current(), setup.listeners)
            .map_err(|error| SetupError(error.to_string()))?;
        let Setup {
            region,
            point,
            metrics,
            ..
        } = setup;
        Ok(Self::with_names(names, region, point, metrics, views))
    }

    pub(super) fn with_names(
        names: Names,
        region: String,
        point: Option<Point>,
        metrics: UpstreamMetrics,
        views: Arc<Views>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table: Table::new(metrics),
            names,
            roots: Roots::default(),
            tasks: TaskTracker::new(),
            lanes: Lanes::default(),
            region,
            point,
            views,
        })
    }

    /// Asks the origins of `site`, nearest healthy one first.
    ///
    /// Of `request`, path and query go out byte for byte and fields as they are but for those of framing; it must
    /// carry `Host`. May run on any runtime; connections stay with the one it runs on.
    ///
    /// # Errors
    ///
    /// No origin gave an answer. A status of 500 and above is an answer.
    pub async fn fetch(
        &self,
        site: &Arc<Site>,
        request: Request<Body>,
        replay: Replay,
    ) -> Result<Answer, UpstreamError> {
        let origins = self.table.of(site);
        let client_host = host_name(&request);
        let client_field = request.headers().get(HOST).cloned();
        let (request, progress) = prepare(request);
        let mut pending = Some(request);
        let mut tried = vec![false; site.origins.len()];
        let mut attempts = 0;
        let mut reuse = true;
        let mut last: Option<Result<Answer, UpstreamError>> = None;
        while attempts < ATTEMPTS_MAX {
            // A broken status is only worth another try where somebody healthy is left.
            let need_healthy = matches!(last, Some(Ok(_)));
            let Some(index) = self.pick(site, &origins, &tried, need_healthy) else {
                break;
            };
            let Some(request) = pending.take() else {
                break;
            };
            tried[index] = true;
            attempts += 1;
            let (origin, state) = (&site.origins[index], &origins.origins[index]);
            if replay == Replay::Safe {
                pending = again(&request);
            }
            let exchange = Exchange {
                origins: self,
                origin,
                state,
                client_host: &client_host,
                client_field: client_field.as_ref(),
                progress: progress.as_deref(),
                reuse,
            };
            match exchange.run(request, replay).await {
                Ok(response) => {
                    let broken = is_broken(response.status());
                    let answer = Answer {
                        response,
                        origin: origin.name.clone(),
                        attempts,
                    };
                    if !broken {
                        state.succeeded();
                        return Ok(answer);
                    }
                    state.failed_with_status();
                    last = Some(Ok(answer));
                }
                Err(failed) => {
                    if failed.kind.side() == super::Side::Client {
                        return Err(self.error(failed.kind, Some(origin), attempts));
                    }
                    if failed.stale && pending.is_some() {
                        // Once more, on connections that are new for certain.
                        reuse = false;
                        tried[index] = false;
                        attempts -= 1;
                        continue;
                    }
                    state.failed(failed.kind.label(), &failed.kind);
                    tracing::debug!(site = %site.name, origin = %origin.name, kind = %failed.kind, attempts,
                        "an origin did not answer");
                    pending = pending.or(failed.unsent);
                    if !matches!(last, Some(Ok(_))) {
                        last = Some(Err(self.error(failed.kind, Some(origin), attempts)));
                    }
                }
            }
        }
        last.unwrap_or_else(|| Err(self.error(UpstreamErrorKind::Connect, None, attempts)))
    }

    /// What this node believes of a site's origins.
    #[must_use]
    pub fn status(&self, site: &Arc<Site>) -> Vec<OriginStatus> {
        let now = Instant::now();
        let origins = self.table.of(site);
        let states = origins.origins.iter();
        states
            .map(|state| OriginStatus {
                name: state.name.clone(),
                healthy: state.health.is_up(now),
            })
            .collect()
    }

    /// Kept-alive connections of all runtimes.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.lanes.count()
    }

    pub(super) fn sweep(&self) {
        self.lanes.sweep(Instant::now());
    }

    fn pick(
        &self,
        site: &Site,
        origins: &SiteOrigins,
        tried: &[bool],
        need_healthy: bool,
    ) -> Option<usize> {
        let now = Instant::now();
        let choices: Vec<Choice<'_>> = site
            .origins
            .iter()
            .zip(&origins.origins)
            .zip(tried)
            .map(|((origin, state), tried)| Choice {
                region: origin.region.as_deref(),
                point: origin.point,
                weight: origin.weight,
                backup: origin.backup,
                healthy: !tried && state.health.admits(now),
                tried: *tried,
            })
            .collect();
        let here = Here {
            region: &self.region,
            point: self.point,
        };
        let view = self.views.load();
        let index = choose(
            &choices,
            here,
            |region| region_point(&view, region),
            rand::random(),
        )?;
        (!need_healthy || choices[index].healthy).then_some(index)
    }

    fn error(
        &self,
        kind: UpstreamErrorKind,
        origin: Option<&Origin>,
        attempts: u32,
    ) -> UpstreamError {
        UpstreamError {
            side: kind.side(),
            retry_safe: kind.before_sending(),
            kind,
            origin: origin.map(|origin| origin.name.clone()),
            attempts,
        }
    }
}

/// Where a region is: where the first of its nodes that says so stands.
fn region_point(view: &View, region: &str) -> Option<Point> {
    let mut nodes = view.nodes.iter();
    nodes.find_map(|node| node.point.filter(|_| *node.region == *region))
}

/// Statuses that another origin may do better (RFC 9110 §15.6.3–5).
fn is_broken(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The name in the request's Host, without port: what TLS asks for where the site says `host = "client"`.
fn host_name(request: &Request<Body>) -> String {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
        _ => host.to_owned(),
    }
}

/// Origin-form, HTTP/1.1, and framing left to hyper, which knows the body.
fn prepare(request: Request<Body>) -> (Request<Outgoing>, Option<Arc<Progress>>) {
    let (mut parts, body) = request.into_parts();
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    parts.version = Version::HTTP_11;
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    // RFC 9110 §8.6: a method that is expected to have content says so when there is none.
    if body.is_end_stream() && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let on_interim = parts.extensions.remove::<OnInterim>();
    let (body, progress) = Outgoing::new(body);
    let mut request = Request::from_parts(parts, body);
    if let Some(OnInterim(tell)) = on_interim {
        hyper::ext::on_informational(&mut request, move |interim| {
            tell(interim.status(), interim.headers());
        });
    }
    (request, progress)
}

/// The same request once more, where its content is still here.
fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let body = request.body().again()?;
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// One request to one origin.
struct Exchange<'a> {
    origins: &'a Origins,
    origin: &'a Origin,
    state: &'a Arc<OriginState>,
    client_host: &'a str,
    /// The client's Host field.
    client_field: Option<&'a HeaderValue>,
    progress: Option<&'a Progress>,
    /// May a kept-alive connection be used?
    reuse: bool,
}

impl Exchange<'_> {
    async fn run(
        &self,
        mut request: Request<Outgoing>,
        replay: Replay,
    ) -> Result<Response<Body>, Failed> {
        // Always, as the request may come back from another origin unsent.
        if let Some(host) = host_field(self.origin, self.client_field) {
            request.headers_mut().insert(HOST, host);
        }
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
        let response = self.send(&mut dialled.sender, request).await?;
        let idle = Idle::new(dialled.sender, dialled.remote, server_name);
        Ok(self.body(response, (lane, idle)))
    }

    /// Where to, and with which TLS.
    async fn way(&self) -> Result<(Arc<super::names::Route>, Option<Tls>), UpstreamErrorKind> {
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
        let sending = sender.try_send_request(request);
        tokio::pin!(sending);
        let mut pieces = 0;
        loop {
            match tokio::time::timeout(self.origin.response_timeout, sending.as_mut()).await {
                Ok(Ok(mut response)) => {
                    return match settle(&mut response) {
                        Ok(()) => Ok(response),
                        Err(kind) => Err(Failed {
                            kind,
                            unsent: None,
                            stale: false,
                        }),
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
                        return Err(Failed {
                            kind: UpstreamErrorKind::HeadTimeout,
                            unsent: None,
                            stale: false,
                        });
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
        (lane, idle): (Arc<super::pool::Lane>, Idle),
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

/// What Host says towards an origin. `client` is the field as the client sent it.
fn host_field(origin: &Origin, client: Option<&HeaderValue>) -> Option<HeaderValue> {
    let name = match &origin.host_header {
        HostHeader::Client => return client.cloned(),
        HostHeader::Origin => own_host(origin),
        HostHeader::Name(name) => name.to_string(),
    };
    HeaderValue::try_from(name).ok()
}

/// An origin's own name, with the port where it is not the usual one.
pub(super) fn own_host(origin: &Origin) -> String {
    let usual = if origin.tls { 443 } else { 80 };
    if origin.port == usual {
        origin.host.to_string()
    } else {
        format!("{}:{}", origin.host, origin.port)
    }
}

/// The name an origin's certificate must be for.
pub(super) fn server_name(
    origin: &Origin,
    client_host: &str,
) -> Result<ServerName<'static>, UpstreamErrorKind> {
    let name = match &origin.host_header {
        HostHeader::Client => client_host,
        HostHeader::Origin => &origin.host,
        HostHeader::Name(name) => name,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    ServerName::try_from(name.to_owned())
        .map_err(|_| UpstreamErrorKind::Tls("the host is no name for a certificate".to_owned()))
}
