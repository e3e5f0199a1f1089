//! A request to the origins of a site, with its second and third tries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::HOST;
use http::{Method, Request, Response, StatusCode};
use nearside_geo::Point;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::attempt::Attempt;
use super::authority::host_name;
use super::dial::Roots;
use super::error::{UpstreamError, UpstreamErrorKind};
use super::metrics::UpstreamMetrics;
use super::names::Names;
use super::outgoing::{again, prepare};
use super::pool::Lanes;
use super::select::{Choice, Here, choose};
use super::steering::Steering;
use super::table::{SiteOrigins, Table};
use crate::config::site::{Origin, Site};
use crate::exchange::Body;
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
            _ if method.as_str() == "QUERY" => Self::Safe,
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
    /// Known to the nodes of the cluster and nobody else: makes what cookies say.
    pub secret: [u8; 32],
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
    pub(super) lanes: Lanes,
    region: String,
    point: Option<Point>,
    pub(super) views: Arc<Views>,
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
            secret,
            ..
        } = setup;
        let table = Table::new(metrics, &secret);
        Ok(Self::with_names(names, region, point, table, views))
    }

    pub(super) fn with_names(
        names: Names,
        region: String,
        point: Option<Point>,
        table: Table,
        views: Arc<Views>,
    ) -> Arc<Self> {
        Arc::new(Self {
            table,
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
        mut request: Request<Body>,
        replay: Replay,
    ) -> Result<Answer, UpstreamError> {
        let origins = self.table.of(site);
        let client_host = host_name(&request);
        let client_field = request.headers().get(HOST).cloned();
        let steering = Steering::of(site, &origins, &mut request);
        let (request, progress) = prepare(request);
        let mut pending = Some(request);
        let mut tried = vec![false; site.origins.len()];
        let mut attempts = 0;
        let mut reuse = true;
        let mut last: Option<Result<Answer, UpstreamError>> = None;
        while attempts < ATTEMPTS_MAX {
            // A broken status is only worth another try where somebody healthy is left.
            let need_healthy = matches!(last, Some(Ok(_)));
            let Some(index) = self.pick(site, &origins, &tried, need_healthy, &steering) else {
                break;
            };
            let Some(request) = pending.take() else {
                break;
            };
            tried[index] = true;
            attempts += 1;
            let (origin, state) = (&site.origins[index], &origins.origins[index]);
            let Some(slot) = state.load.enter().await else {
                state.metrics.failed(UpstreamErrorKind::Full.label());
                pending = Some(request);
                if !matches!(last, Some(Ok(_))) {
                    let full = self.error(UpstreamErrorKind::Full, Some(origin), attempts);
                    last = Some(Err(full));
                }
                continue;
            };
            if replay == Replay::Safe {
                pending = again(&request);
            }
            let attempt = Attempt {
                origins: self,
                origin,
                state,
                client_host: &client_host,
                client_field: client_field.as_ref(),
                progress: progress.as_ref(),
                reuse,
                replay,
                slot: Mutex::new(Some(slot)),
            };
            match attempt.run(request).await {
                Ok(mut response) => {
                    if let Some(cookie) = steering.cookie(index, state) {
                        response.extensions_mut().insert(cookie);
                    }
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
                    pending = pending.or(failed.unsent);
                    if failed.stale && reuse && pending.is_some() {
                        // Once more, on connections that are new for certain.
                        reuse = false;
                        tried[index] = false;
                        attempts -= 1;
                        continue;
                    }
                    match failed.kind {
                        // No verdict on its health: it is we who keep requests from it.
                        UpstreamErrorKind::Full => state.metrics.failed(failed.kind.label()),
                        _ => state.failed(failed.kind.label(), &failed.kind),
                    }
                    tracing::debug!(site = %site.name, origin = %origin.name, kind = %failed.kind, attempts,
                        "an origin did not answer");
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

    pub(super) fn here(&self) -> Here<'_> {
        Here {
            region: &self.region,
            point: self.point,
        }
    }

    fn pick(
        &self,
        site: &Site,
        origins: &SiteOrigins,
        tried: &[bool],
        need_healthy: bool,
        steering: &Steering,
    ) -> Option<usize> {
        let now = Instant::now();
        // The common case.
        if let ([state], [tried]) = (&*origins.origins, tried) {
            let asked = !tried && (!need_healthy || state.health.admits(now));
            return asked.then_some(0);
        }
        if let Some(home) = steering.home
            && !tried[home]
            && origins.origins[home].health.is_up(now)
        {
            return Some(home);
        }
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
                full: state.load.is_full(),
                tried: *tried,
                open: state.load.open(),
                rank: steering.rank(origin),
            })
            .collect();
        let view = self.views.load();
        let index = choose(
            &choices,
            self.here(),
            |region| region_point(&view, region),
            (steering.among, rand::random()),
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
pub(super) fn region_point(view: &View, region: &str) -> Option<Point> {
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
