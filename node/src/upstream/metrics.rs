//! What is counted of origins, by site, origin's name and outcome.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OriginLabels {
    site: String,
    origin: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    site: String,
    origin: String,
    outcome: &'static str,
}

/// Counters of `upstream`. Families, since origins come and go; asked on misses only.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    requests: Family<OutcomeLabels, Counter>,
    healthy: Family<OriginLabels, Gauge>,
    connections: Family<OutcomeLabels, Counter>,
    open: [Family<OriginLabels, Gauge>; 3],
}

impl Default for UpstreamMetrics {
    /// Counters that nobody reads (tests).
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl UpstreamMetrics {
    /// Registers the counters under their names.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register(
            "nearside_origin_requests",
            "Requests sent to origins, by outcome: ok, status_5xx or what failed",
            requests.clone(),
        );
        let healthy = Family::default();
        registry.register(
            "nearside_origin_healthy",
            "1 while this node believes that the origin answers",
            healthy.clone(),
        );
        let connections = Family::default();
        registry.register(
            "nearside_origin_connections",
            "Connections used for requests to origins, new or reused",
            connections.clone(),
        );
        let gauge = |registry: &mut Registry, name, help: &str| {
            let family = Family::<OriginLabels, Gauge>::default();
            registry.register(name, help, family.clone());
            family
        };
        let open = [
            gauge(
                registry,
                "nearside_origin_open_requests",
                "Requests under way to an origin, until their responses have been read",
            ),
            gauge(
                registry,
                "nearside_origin_waiting_requests",
                "Requests that wait because an origin has as many requests or connections as it may",
            ),
            gauge(
                registry,
                "nearside_origin_open_connections",
                "Connections to an origin that are open now",
            ),
        ];
        Self {
            requests,
            healthy,
            connections,
            open,
        }
    }

    /// The counters of one origin.
    pub(super) fn of(&self, site: &str, origin: &str) -> OriginMetrics {
        let outcome = |family: &Family<OutcomeLabels, Counter>, outcome| {
            let (site, origin) = (site.to_owned(), origin.to_owned());
            let labels = OutcomeLabels {
                site,
                origin,
                outcome,
            };
            family.get_or_create(&labels).clone()
        };
        let labels = OriginLabels {
            site: site.to_owned(),
            origin: origin.to_owned(),
        };
        let healthy = self.healthy.get_or_create(&labels).clone();
        healthy.set(1);
        let [open_requests, waiting_requests, open_connections] = self
            .open
            .each_ref()
            .map(|family| family.get_or_create(&labels).clone());
        OriginMetrics {
            ok: outcome(&self.requests, "ok"),
            status_5xx: outcome(&self.requests, "status_5xx"),
            new: outcome(&self.connections, "new"),
            reused: outcome(&self.connections, "reused"),
            healthy,
            open_requests,
            waiting_requests,
            open_connections,
            requests: self.requests.clone(),
            site: site.to_owned(),
            origin: origin.to_owned(),
        }
    }

    /// Forgets an origin that is no longer in any site.
    pub(super) fn forget(&self, site: &str, origin: &str) {
        let labels = OriginLabels {
            site: site.to_owned(),
            origin: origin.to_owned(),
        };
        for family in self.open.iter().chain([&self.healthy]) {
            family.remove(&labels);
        }
    }
}

/// Counters of one origin, resolved once but for the rare failures.
#[derive(Debug)]
pub(super) struct OriginMetrics {
    pub(super) ok: Counter,
    pub(super) status_5xx: Counter,
    pub(super) new: Counter,
    pub(super) reused: Counter,
    pub(super) healthy: Gauge,
    pub(super) open_requests: Gauge,
    pub(super) waiting_requests: Gauge,
    pub(super) open_connections: Gauge,
    requests: Family<OutcomeLabels, Counter>,
    site: String,
    origin: String,
}

impl OriginMetrics {
    pub(super) fn failed(&self, outcome: &'static str) {
        let labels = OutcomeLabels {
            site: self.site.clone(),
            origin: self.origin.clone(),
            outcome,
        };
        self.requests.get_or_create(&labels).inc();
    }
}
