//! What the proxy counts: by site and outcome, both bounded in number. A request costs a few atomic adds on counters
//! that were resolved when the site was first seen.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::outcome::{LABELS, Outcome};

/// Sites that are counted apart; more than any view holds, and a bound should sites come and go for years.
const SITES_MAX: usize = 4096;
/// What the rest is counted under.
const OTHER: &str = "other";
/// What is counted for no site: unknown hosts and bad requests.
const NONE: &str = "none";

/// Seconds; from a hit in memory to an origin far away.
const BUCKETS_S: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    site: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SiteLabel {
    site: String,
}

/// Counters of one site.
#[derive(Debug)]
pub(super) struct SiteMetrics {
    requests: [Counter; LABELS.len()],
    bytes: [Counter; LABELS.len()],
    first_byte: Histogram,
}

impl SiteMetrics {
    /// A response head is on its way.
    pub(super) fn answered(&self, outcome: Outcome, first_byte_s: f64) {
        self.requests[outcome.index()].inc();
        self.first_byte.observe(first_byte_s);
    }

    /// A body has gone, or as much of it as the client took.
    pub(super) fn sent(&self, outcome: Outcome, bytes: u64) {
        self.bytes[outcome.index()].inc_by(bytes);
    }
}

/// The proxy's counters.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    requests: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
    first_byte: Family<SiteLabel, Histogram, fn() -> Histogram>,
    /// Fetches for the cache.
    pub(super) fills: Counter,
    /// Requests that joined another's fetch.
    pub(super) collapsed: Counter,
    sites: Arc<ArcSwap<HashMap<Box<str>, Arc<SiteMetrics>>>>,
}

impl ProxyMetrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            bytes: Family::default(),
            first_byte: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            fills: Counter::default(),
            collapsed: Counter::default(),
            sites: Arc::default(),
        };
        registry.register(
            "nearside_proxy_requests",
            "Client requests answered, by where the answer came from",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "nearside_proxy_body",
            "Body sent to clients, by where the answer came from",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        registry.register_with_unit(
            "nearside_proxy_first_byte",
            "From a request's head to its response's",
            Unit::Seconds,
            metrics.first_byte.clone(),
        );
        registry.register(
            "nearside_proxy_fills",
            "Fetches from upstream whose answer was meant for the cache",
            metrics.fills.clone(),
        );
        registry.register(
            "nearside_proxy_collapsed",
            "Requests that waited for another's fetch of the same object",
            metrics.collapsed.clone(),
        );
        metrics
    }

    /// The counters of a site.
    pub(super) fn site(&self, name: Option<&str>) -> Arc<SiteMetrics> {
        let name = name.unwrap_or(NONE);
        if let Some(site) = self.sites.load().get(name) {
            return Arc::clone(site);
        }
        let name = if self.sites.load().len() < SITES_MAX {
            name
        } else {
            OTHER
        };
        let site = Arc::new(SiteMetrics {
            requests: LABELS
                .map(|outcome| self.requests.get_or_create_owned(&labels(name, outcome))),
            bytes: LABELS.map(|outcome| self.bytes.get_or_create_owned(&labels(name, outcome))),
            first_byte: self.first_byte.get_or_create_owned(&SiteLabel {
                site: name.to_owned(),
            }),
        });
        self.sites.rcu(|sites| {
            let mut sites = HashMap::clone(sites);
            sites.insert(name.into(), Arc::clone(&site));
            sites
        });
        site
    }
}

fn labels(site: &str, outcome: &'static str) -> Labels {
    Labels {
        site: site.to_owned(),
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_exposed_under_their_promised_names() {
        let mut registry = Registry::default();
        let metrics = ProxyMetrics::register(&mut registry);
        metrics.site(Some("shop")).answered(Outcome::Hit, 0.002);
        metrics.site(Some("shop")).sent(Outcome::Hit, 10);
        metrics.collapsed.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "nearside_proxy_requests_total{site=\"shop\",outcome=\"hit\"} 1",
            "nearside_proxy_body_bytes_total{site=\"shop\",outcome=\"hit\"} 10",
            "nearside_proxy_first_byte_seconds_count{site=\"shop\"} 1",
            "nearside_proxy_collapsed_total 1",
            "nearside_proxy_fills_total 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
