//! What is remembered of each origin, across requests and across changes of its site.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ClientConfig;

use super::affinity::Marker;
use super::dial::{Roots, Speak};
use super::error::UpstreamErrorKind;
use super::health::Health;
use super::load::Load;
use super::metrics::{OriginMetrics, UpstreamMetrics};
use super::names::{Names, Route};
use crate::config::site::{Origin, OriginLimits, OriginProtocol, Site};

/// How long an outdated route may still be used while one request renews it.
const ROUTE_GRACE: Duration = Duration::from_secs(10);

/// One origin: its health, its route, its TLS. Shared by all runtimes.
pub(super) struct OriginState {
    /// Unique in this process.
    pub(super) id: u64,
    pub(super) site: Box<str>,
    pub(super) name: Box<str>,
    tls: bool,
    host: Box<str>,
    port: u16,
    tls_ca: Option<Box<str>>,
    pub(super) health: Health,
    pub(super) metrics: OriginMetrics,
    route: ArcSwapOption<Route>,
    renewing: AtomicBool,
    /// For HTTP/1.1 alone, and for what the origin's protocol says.
    tls_configs: [OnceLock<Arc<ClientConfig>>; 2],
    protocol: OriginProtocol,
    limits: OriginLimits,
    pub(super) load: Arc<Load>,
    /// What the cookie of a client says who belongs to it.
    pub(super) mark: Box<str>,
    /// TLS has agreed on HTTP/1.1 the last time, where either would do.
    chose_http1: AtomicBool,
}

impl OriginState {
    fn new(site: &Site, origin: &Origin, metrics: &UpstreamMetrics, marker: &Marker) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let metrics = metrics.of(&site.name, &origin.name);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            site: site.name.clone(),
            name: origin.name.clone(),
            tls: origin.tls,
            host: origin.host.clone(),
            port: origin.port,
            tls_ca: origin.tls_ca.clone(),
            health: Health::new(Instant::now()),
            limits: origin.limits,
            load: Load::new(&origin.limits, &metrics),
            mark: marker.mark(&site.name, &origin.name),
            metrics,
            route: ArcSwapOption::empty(),
            renewing: AtomicBool::new(false),
            tls_configs: Default::default(),
            protocol: origin.protocol,
            chose_http1: AtomicBool::new(false),
        }
    }

    /// Is this what is known of `origin`? Weights, places and timeouts may change without losing it.
    fn is_of(&self, site: &Site, origin: &Origin) -> bool {
        self.site == site.name
            && self.name == origin.name
            && self.tls == origin.tls
            && self.host == origin.host
            && self.port == origin.port
            && self.tls_ca == origin.tls_ca
            && self.protocol == origin.protocol
            && self.limits == origin.limits
    }

    /// Where it is now. Renewed by one request when DNS's time is over; the others go on with the old answer.
    pub(super) async fn route(&self, names: &Names) -> Result<Arc<Route>, UpstreamErrorKind> {
        let now = Instant::now();
        let known = self.route.load_full();
        if let Some(route) = &known {
            if now < route.valid_until {
                return Ok(Arc::clone(route));
            }
            if now < route.valid_until + ROUTE_GRACE && self.renewing.swap(true, Ordering::AcqRel) {
                return Ok(Arc::clone(route));
            }
        }
        let renewal = Renewal(&self.renewing);
        let route = Arc::new(names.resolve(&self.host, self.port).await?);
        self.route.store(Some(Arc::clone(&route)));
        drop(renewal);
        Ok(route)
    }

    /// What is spoken with it.
    pub(super) fn speak(&self) -> Speak {
        match (self.protocol, self.tls) {
            (OriginProtocol::Http2, _) => Speak::Http2,
            (OriginProtocol::Auto, true) => Speak::Either,
            (OriginProtocol::Http1, _) | (OriginProtocol::Auto, false) => Speak::Http1,
        }
    }

    /// Has TLS agreed on HTTP/1.1 the last time, where either would do?
    pub(super) fn chose_http1(&self) -> bool {
        self.chose_http1.load(Ordering::Relaxed)
    }

    pub(super) fn set_chose_http1(&self, http1: bool) {
        if self.chose_http1() != http1 {
            self.chose_http1.store(http1, Ordering::Relaxed);
        }
    }

    /// TLS towards it; none for plain HTTP.
    pub(super) fn tls(
        &self,
        roots: &Roots,
        speak: Speak,
    ) -> Result<Option<Arc<ClientConfig>>, UpstreamErrorKind> {
        if !self.tls {
            return Ok(None);
        }
        let known = &self.tls_configs[usize::from(speak != Speak::Http1)];
        if let Some(config) = known.get() {
            return Ok(Some(Arc::clone(config)));
        }
        let config = match &self.tls_ca {
            Some(pem) => Roots::from_pem(pem)?,
            None => roots.system()?,
        };
        let offering = || match speak {
            Speak::Http1 => config,
            other => {
                let mut config = ClientConfig::clone(&config);
                config.alpn_protocols = other.alpn();
                Arc::new(config)
            }
        };
        Ok(Some(Arc::clone(known.get_or_init(offering))))
    }

    /// It answered.
    pub(super) fn succeeded(&self) {
        self.metrics.ok.inc();
        if self.health.succeeded() {
            self.metrics.healthy.set(1);
            tracing::info!(site = %self.site, origin = %self.name, "origin answers again");
        }
    }

    /// It failed a request, with this outcome. `why` is for the log: nothing but that tells a name that a certificate
    /// lacks from one that has expired.
    pub(super) fn failed(&self, outcome: &'static str, why: &dyn std::fmt::Display) {
        self.metrics.failed(outcome);
        self.mark_failed(outcome, why);
    }

    /// It answered with a status that says it is broken.
    pub(super) fn failed_with_status(&self) {
        self.metrics.status_5xx.inc();
        self.mark_failed("status", &"it answers with a status of 5xx");
    }

    fn mark_failed(&self, outcome: &'static str, why: &dyn std::fmt::Display) {
        if let Some(time) = self.health.failed(Instant::now()) {
            self.metrics.healthy.set(0);
            tracing::warn!(site = %self.site, origin = %self.name, outcome, %why, seconds = time.as_secs(),
                "origin taken out after failed requests");
        }
    }

    /// A check of it ended: none, or why it was not good.
    pub(super) fn checked(&self, why: Option<&str>, fall: u32, rise: u32) {
        match self.health.checked(why.is_none(), fall, rise) {
            Some(true) => {
                tracing::info!(site = %self.site, origin = %self.name, "origin passes its checks");
            }
            Some(false) => {
                tracing::warn!(site = %self.site, origin = %self.name, why, "origin fails its checks");
            }
            None => {}
        }
        let up = self.health.is_up(Instant::now());
        self.metrics.healthy.set(i64::from(up));
    }
}

/// Lets the next request renew a route, also when this one is given up.
struct Renewal<'a>(&'a AtomicBool);

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The origins of one version of a site, in the order of its file.
pub(super) struct SiteOrigins {
    site: Arc<Site>,
    pub(super) origins: Vec<Arc<OriginState>>,
}

/// By site.
pub(super) struct Table {
    sites: ArcSwap<HashMap<Box<str>, Arc<SiteOrigins>>>,
    metrics: UpstreamMetrics,
    marker: Marker,
}

impl Table {
    pub(super) fn new(metrics: UpstreamMetrics, secret: &[u8; 32]) -> Self {
        Self {
            sites: ArcSwap::from_pointee(HashMap::new()),
            metrics,
            marker: Marker::new(secret),
        }
    }

    /// The origins of `site`. A new version of a site keeps what is known of the origins it did not change.
    pub(super) fn of(&self, site: &Arc<Site>) -> Arc<SiteOrigins> {
        if let Some(known) = self.sites.load().get(&site.name)
            && Arc::ptr_eq(&known.site, site)
        {
            return Arc::clone(known);
        }
        // Made at most once per origin, however often the swap is tried.
        let mut made: Vec<Arc<OriginState>> = Vec::new();
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            let known = sites.get(&site.name);
            let known: Vec<_> = known.map(|known| known.origins.clone()).unwrap_or_default();
            let origins = site.origins.iter().map(|origin| {
                let same = |state: &&Arc<OriginState>| state.is_of(site, origin);
                if let Some(state) = known.iter().chain(&made).find(same) {
                    return Arc::clone(state);
                }
                let state = Arc::new(OriginState::new(site, origin, &self.metrics, &self.marker));
                made.push(Arc::clone(&state));
                state
            });
            let entry = SiteOrigins {
                site: Arc::clone(site),
                origins: origins.collect(),
            };
            sites.insert(site.name.clone(), Arc::new(entry));
            sites
        });
        match self.sites.load().get(&site.name) {
            Some(entry) if Arc::ptr_eq(&entry.site, site) => Arc::clone(entry),
            // Another version was put in between: two views are in flight. Serve this one from what it knows.
            _ => Arc::new(SiteOrigins {
                site: Arc::clone(site),
                origins: site
                    .origins
                    .iter()
                    .map(|origin| {
                        let made = made.iter().find(|state| state.is_of(site, origin));
                        made.map_or_else(
                            || {
                                Arc::new(OriginState::new(
                                    site,
                                    origin,
                                    &self.metrics,
                                    &self.marker,
                                ))
                            },
                            Arc::clone,
                        )
                    })
                    .collect(),
            }),
        }
    }

    /// Forgets sites that are not in `names`.
    pub(super) fn keep(&self, names: &[&str]) {
        let gone = |sites: &HashMap<Box<str>, Arc<SiteOrigins>>| {
            sites.keys().any(|name| !names.contains(&&**name))
        };
        if !gone(&self.sites.load()) {
            return;
        }
        for (name, site) in self.sites.load().iter() {
            if !names.contains(&&**name) {
                for origin in &site.origins {
                    self.metrics.forget(&origin.site, &origin.name);
                }
            }
        }
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            sites.retain(|name, _| names.contains(&&**name));
            sites
        });
    }
}
