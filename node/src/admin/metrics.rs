//! What the admin API counts: how long purges take that were submitted here.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::api::{Outcome, Receipt};

/// Seconds; from one machine to three continents with a node that has to be waited for.
const BUCKETS_S: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0,
];

/// Purges that were submitted to this node.
#[derive(Clone, Debug)]
pub struct AdminMetrics {
    committed: Histogram,
    applied: Histogram,
    incomplete: Counter,
}

impl AdminMetrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            committed: Histogram::new(BUCKETS_S),
            applied: Histogram::new(BUCKETS_S),
            incomplete: Counter::default(),
        };
        registry.register_with_unit(
            "nearside_purge_committed",
            "From a purge's arrival at this node until a quorum held it",
            Unit::Seconds,
            metrics.committed.clone(),
        );
        registry.register_with_unit(
            "nearside_purge_applied",
            "From a purge's arrival at this node until every live node had applied it",
            Unit::Seconds,
            metrics.applied.clone(),
        );
        registry.register(
            "nearside_purge_incomplete",
            "Purges submitted here that a live node had not applied in the time given",
            metrics.incomplete.clone(),
        );
        metrics
    }

    /// A purge was made; no receipts: nobody waited for any.
    pub(super) fn purged(&self, committed_ms: f64, receipts: &[Receipt]) {
        self.committed.observe(committed_ms / 1e3);
        if receipts.is_empty() {
            return;
        }
        if receipts
            .iter()
            .any(|receipt| receipt.outcome == Outcome::Missing)
        {
            self.incomplete.inc();
            return;
        }
        let slowest_ms = receipts.iter().filter_map(|receipt| receipt.ms);
        self.applied.observe(slowest_ms.fold(0.0, f64::max) / 1e3);
    }
}
