//! What is asked of other nodes, by how it ended.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use bytes::Bytes;
use nearside_cluster::TransportError;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    kind: &'static str,
    outcome: &'static str,
}

/// Requests to other nodes. Both labels are closed lists.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerMetrics {
    requests: Family<Labels, Counter>,
}

impl PeerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "nearside_peer_requests",
            "Requests to other nodes, by kind and how they ended",
            self.requests.clone(),
        );
    }

    pub(super) fn ended(&self, kind: &'static str, end: &Result<Bytes, TransportError>) {
        let outcome = match end {
            Ok(_) => "answered",
            Err(TransportError::Unreachable { .. }) => "unreachable",
            Err(TransportError::NoAnswer { .. }) => "no-answer",
            Err(TransportError::Refused { .. }) => "refused",
        };
        self.requests.get_or_create(&Labels { kind, outcome }).inc();
    }
}
