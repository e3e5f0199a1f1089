//! What is told, and how well.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    event: &'static str,
}

/// News of writes, by what became of them: a closed list.
#[derive(Clone, Debug, Default)]
pub struct NewsMetrics {
    events: Family<Labels, Counter>,
    pub(super) waiting: Gauge,
}

impl NewsMetrics {
    /// Has them counted.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "nearside_invalidations",
            "Invalidations by writes of clients, each for each other node: queued, coalesced with one that waits, \
             widened to the whole site as the queue was full, delivered, sent again, received from others",
            metrics.events.clone(),
        );
        registry.register(
            "nearside_invalidations_waiting",
            "Invalidations that other nodes have not heard yet, over all nodes",
            metrics.waiting.clone(),
        );
        for event in EVENTS {
            metrics.count(event, 0);
        }
        metrics
    }

    pub(super) fn count(&self, event: &'static str, by: usize) {
        self.events
            .get_or_create(&Labels { event })
            .inc_by(by as u64);
    }
}

pub(super) const QUEUED: &str = "queued";
pub(super) const COALESCED: &str = "coalesced";
pub(super) const WIDENED: &str = "widened";
pub(super) const DELIVERED: &str = "delivered";
pub(super) const RETRIED: &str = "retried";
pub(super) const RECEIVED: &str = "received";
const EVENTS: [&str; 6] = [QUEUED, COALESCED, WIDENED, DELIVERED, RETRIED, RECEIVED];
