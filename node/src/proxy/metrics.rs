//! What the proxy counts: by site and outcome, both bounded in number.
//!
//! Each worker counts on cache lines of its own, and a scrape adds them up. So a hit costs a few additions that no other
//! core waits for: the library's histogram takes a lock at every observation, and its counters share their lines.

mod site;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::outcome::{LABELS, Own};
pub(super) use site::SiteMetrics;

/// Sites that are counted apart; more than any view holds, and a bound should sites come and go for years.
const SITES_MAX: usize = 4096;
/// What the rest is counted under.
const OTHER: &str = "other";
/// What is counted for no site: unknown hosts and bad requests.
const NONE: &str = "none";

/// The proxy's counters.
#[derive(Clone, Debug)]
pub struct ProxyMetrics {
    /// Fetches for the cache.
    pub(super) fills: Counter,
    /// Requests that joined another's fetch.
    pub(super) collapsed: Counter,
    /// Bodies that were given to an encoder.
    pub(super) encoded: Counter,
    /// Bodies that went out as they are because too many were being encoded.
    pub(super) encoders_busy: Counter,
    purges: Family<PurgeLabels, Counter>,
    sites: Arc<Sites>,
}

/// How a PURGE request ended: [`Own::word`], a closed list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PurgeLabels {
    outcome: &'static str,
}

/// The counters of every site seen so far.
#[derive(Debug, Default)]
struct Sites(ArcSwap<HashMap<Box<str>, Arc<SiteMetrics>>>);

impl ProxyMetrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            fills: Counter::default(),
            collapsed: Counter::default(),
            encoded: Counter::default(),
            encoders_busy: Counter::default(),
            purges: Family::default(),
            sites: Arc::default(),
        };
        registry.register(
            "nearside_proxy_purge_requests",
            "PURGE requests of clients, by how they ended",
            metrics.purges.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&metrics.sites)));
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
        registry.register(
            "nearside_proxy_encoded",
            "Bodies given to an encoder (gzip, br, zstd), stored or on their way",
            metrics.encoded.clone(),
        );
        registry.register(
            "nearside_proxy_encoders_busy",
            "Bodies sent as they are because 64 others were being encoded",
            metrics.encoders_busy.clone(),
        );
        metrics
    }

    /// Counts a PURGE request.
    pub(super) fn purged(&self, own: Own) {
        let outcome = own.word();
        self.purges.get_or_create(&PurgeLabels { outcome }).inc();
    }

    /// Counts at a site. A hit counts no reference: all workers would count it at one place.
    pub(super) fn at<R>(
        &self,
        site: Option<&str>,
        count: impl FnOnce(&Arc<SiteMetrics>) -> R,
    ) -> R {
        let name = site.unwrap_or(NONE);
        let sites = self.sites.0.load();
        if let Some(site) = sites.get(name).or_else(|| sites.get(bounded(&sites, name))) {
            return count(site);
        }
        count(&self.first_seen(name))
    }

    fn first_seen(&self, name: &str) -> Arc<SiteMetrics> {
        let sites = &self.sites.0;
        sites.rcu(|sites| {
            let name = bounded(sites, name);
            let mut sites = HashMap::clone(sites);
            sites.entry(name.into()).or_default();
            sites
        });
        let sites = sites.load();
        let site = sites.get(bounded(&sites, name));
        // A site once seen stays.
        site.map_or_else(Arc::default, Arc::clone)
    }
}

/// The name that a site is counted under.
fn bounded<'a>(sites: &HashMap<Box<str>, Arc<SiteMetrics>>, name: &'a str) -> &'a str {
    if sites.contains_key(name) || sites.len() < SITES_MAX {
        name
    } else {
        OTHER
    }
}

impl Collector for Sites {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sites = self.0.load();
        let counts: Vec<_> = sites
            .iter()
            .map(|(name, site)| (&**name, site.read()))
            .collect();
        let mut requests = encoder.encode_descriptor(
            "nearside_proxy_requests",
            "Client requests answered, by where the answer came from",
            None,
            MetricType::Counter,
        )?;
        for (site, counts) in &counts {
            for (outcome, count) in LABELS.into_iter().zip(&counts.requests) {
                requests
                    .encode_family(&[("site", *site), ("outcome", outcome)])?
                    .encode_counter::<NoLabelSet, u64, u64>(count, None)?;
            }
        }
        let mut bytes = encoder.encode_descriptor(
            "nearside_proxy_body",
            "Body sent to clients, by where the answer came from",
            Some(&Unit::Bytes),
            MetricType::Counter,
        )?;
        for (site, counts) in &counts {
            for (outcome, count) in LABELS.into_iter().zip(&counts.bytes) {
                bytes
                    .encode_family(&[("site", *site), ("outcome", outcome)])?
                    .encode_counter::<NoLabelSet, u64, u64>(count, None)?;
            }
        }
        let mut first_byte = encoder.encode_descriptor(
            "nearside_proxy_first_byte",
            "From a request's head to its response's",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (site, counts) in &counts {
            let (sum_s, count, buckets) = counts.first_byte();
            first_byte
                .encode_family(&[("site", *site)])?
                .encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn counters_are_exposed_under_their_promised_names() {
        let mut registry = Registry::default();
        let metrics = ProxyMetrics::register(&mut registry);
        let shop = metrics.at(Some("shop"), Arc::clone);
        shop.answered(Outcome::Hit, Duration::from_millis(2));
        shop.sent(Outcome::Hit, 10);
        // Another worker's share is added to the first one's.
        std::thread::spawn(move || {
            shop.answered(Outcome::Hit, Duration::from_secs(60));
            shop.sent(Outcome::Hit, 5);
        })
        .join()
        .unwrap();
        metrics.collapsed.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "nearside_proxy_requests_total{site=\"shop\",outcome=\"hit\"} 2",
            "nearside_proxy_requests_total{site=\"shop\",outcome=\"miss\"} 0",
            "nearside_proxy_body_bytes_total{site=\"shop\",outcome=\"hit\"} 15",
            "nearside_proxy_first_byte_seconds_sum{site=\"shop\"} 60.002",
            "nearside_proxy_first_byte_seconds_count{site=\"shop\"} 2",
            "nearside_proxy_first_byte_seconds_bucket{le=\"0.001\",site=\"shop\"} 0",
            "nearside_proxy_first_byte_seconds_bucket{le=\"0.005\",site=\"shop\"} 1",
            "nearside_proxy_first_byte_seconds_bucket{le=\"30.0\",site=\"shop\"} 1",
            "nearside_proxy_first_byte_seconds_bucket{le=\"+Inf\",site=\"shop\"} 2",
            "nearside_proxy_collapsed_total 1",
            "nearside_proxy_fills_total 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_flood_of_sites_is_counted_together() {
        let metrics = ProxyMetrics::register(&mut Registry::default());
        for number in 0..SITES_MAX {
            metrics.at(Some(&number.to_string()), |_| ());
        }
        let site = |name| metrics.at(Some(name), Arc::clone);
        let (one, two, known) = (site("x"), site("y"), site("7"));
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &known));
    }
}
