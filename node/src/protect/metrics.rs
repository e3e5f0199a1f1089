//! What is counted of clients that were kept out.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters of `protect`, each resolved once.
#[derive(Clone, Debug)]
pub struct ProtectMetrics {
    pub(super) network: Counter,
    pub(super) country: Counter,
    pub(super) rate: Counter,
}

impl Default for ProtectMetrics {
    /// Counters that nobody reads (tests).
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl ProtectMetrics {
    /// Registers the counters under their names.
    pub fn register(registry: &mut Registry) -> Self {
        let refusals = Family::<Reason, Counter>::default();
        registry.register(
            "nearside_protect_refused_requests",
            "Requests refused before anything was looked up, by reason",
            refusals.clone(),
        );
        let reason = |reason| refusals.get_or_create(&Reason { reason }).clone();
        Self {
            network: reason("network"),
            country: reason("country"),
            rate: reason("rate"),
        }
    }
}
