//! What listeners count.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::head::Refusal;
use super::pulse::Cut;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Scheme {
    scheme: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Direction {
    to: &'static str,
}

/// Counters of `listen`, each resolved once.
#[derive(Clone, Debug)]
pub struct ListenMetrics {
    /// Open now.
    pub(super) open: Gauge,
    /// Accepted, plain.
    pub(super) accepted_http: Counter,
    /// Accepted, TLS.
    pub(super) accepted_https: Counter,
    /// Turned away: `limits.connections`.
    pub(super) full_total: Counter,
    /// Tunnels open now.
    pub(super) tunnels: Gauge,
    /// Bytes from clients to origins in tunnels.
    pub(super) tunnelled_up: Counter,
    /// Bytes from origins to clients in tunnels.
    pub(super) tunnelled_down: Counter,
    /// Tunnels in which nothing passed for too long.
    pub(super) tunnel_idle: Counter,
    /// Tunnels of which one side took nothing for too long.
    pub(super) tunnel_stuck: Counter,
    /// Turned away: `limits.connections_per_client`.
    pub(super) full_client: Counter,
    /// TLS handshakes that failed.
    pub(super) handshake_failed: Counter,
    /// TLS handshakes that did not end in time.
    pub(super) handshake_slow: Counter,
    /// What hyper could not parse.
    pub(super) unparsable: Counter,
    /// A PROXY header that was none, from a trusted proxy.
    pub(super) introduction: Counter,
    /// accept(2) failed: out of descriptors or memory.
    pub(super) accept_failed: Counter,
    malformed: Counter,
    fields: Counter,
    too_large: Counter,
    not_allowed: Counter,
    long_method: Counter,
    unsecured: Counter,
    expectation: Counter,
    tunnels_full: Counter,
    slow_head: Counter,
    slow_reader: Counter,
    resets: Counter,
    flood: Counter,
    idle: Counter,
}

impl Default for ListenMetrics {
    /// Counters that nobody reads (tests).
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl ListenMetrics {
    /// Registers the counters under their names.
    pub fn register(registry: &mut Registry) -> Self {
        let open = Gauge::default();
        registry.register(
            "nearside_listen_connections",
            "Client connections open now",
            open.clone(),
        );
        let accepted = Family::<Scheme, Counter>::default();
        registry.register(
            "nearside_listen_accepted_connections",
            "Client connections accepted",
            accepted.clone(),
        );
        let tunnels = Gauge::default();
        registry.register(
            "nearside_listen_tunnels",
            "WebSocket connections that are open or being opened now",
            tunnels.clone(),
        );
        let tunnelled = Family::<Direction, Counter>::default();
        registry.register_with_unit(
            "nearside_listen_tunnelled",
            "Bytes passed in WebSocket connections, to clients and to origins",
            Unit::Bytes,
            tunnelled.clone(),
        );
        let direction = |to| tunnelled.get_or_create(&Direction { to }).clone();
        let rejections = Family::<Reason, Counter>::default();
        registry.register(
            "nearside_listen_rejections",
            "Connections and requests turned away or cut by a listener, by reason",
            rejections.clone(),
        );
        let scheme = |scheme| accepted.get_or_create(&Scheme { scheme }).clone();
        let reason = |reason| rejections.get_or_create(&Reason { reason }).clone();
        Self {
            open,
            accepted_http: scheme("http"),
            accepted_https: scheme("https"),
            full_total: reason("connections"),
            tunnels,
            tunnelled_up: direction("origin"),
            tunnelled_down: direction("client"),
            tunnel_idle: reason("tunnel_idle"),
            tunnel_stuck: reason("tunnel_stuck"),
            tunnels_full: reason("tunnels"),
            full_client: reason("connections_per_client"),
            handshake_failed: reason("handshake_failed"),
            handshake_slow: reason("handshake_slow"),
            unparsable: reason("unparsable"),
            introduction: reason("proxy_header"),
            accept_failed: reason("accept_failed"),
            malformed: reason("malformed"),
            fields: reason("header_fields"),
            too_large: reason("body_too_large"),
            not_allowed: reason("method_not_allowed"),
            long_method: reason("method_too_long"),
            unsecured: reason("https_on_plain"),
            expectation: reason("expectation"),
            slow_head: reason("slow_head"),
            slow_reader: reason("slow_reader"),
            resets: reason("h2_resets"),
            flood: reason("h2_flood"),
            idle: reason("idle"),
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::Malformed(_) => &self.malformed,
            Refusal::TooManyFields => &self.fields,
            Refusal::TooLarge => &self.too_large,
            Refusal::NotAllowed => &self.not_allowed,
            Refusal::LastHop => return,
            Refusal::Method => &self.long_method,
            Refusal::Unsecured => &self.unsecured,
            Refusal::Expectation => &self.expectation,
            Refusal::TunnelsFull => &self.tunnels_full,
        }
        .inc();
    }

    pub(super) fn cut(&self, cut: Cut) {
        match cut {
            Cut::Idle => &self.idle,
            Cut::Head => &self.slow_head,
            Cut::Write => &self.slow_reader,
            Cut::Resets => &self.resets,
            Cut::Flood => &self.flood,
        }
        .inc();
    }
}

#[cfg(test)]
impl ListenMetrics {
    /// Connections cut for a slow head, and for a stalled reader.
    pub(super) fn cuts(&self) -> (u64, u64) {
        (self.slow_head.get(), self.slow_reader.get())
    }

    /// Tunnels: open, ended for idleness, ended as one side took nothing; bytes up and down.
    pub(super) fn tunnels(&self) -> (i64, u64, u64, (u64, u64)) {
        let bytes = (self.tunnelled_up.get(), self.tunnelled_down.get());
        let (idle, stuck) = (self.tunnel_idle.get(), self.tunnel_stuck.get());
        (self.tunnels.get(), idle, stuck, bytes)
    }

    /// Connections turned away: in total, per client.
    pub(super) fn full(&self) -> (u64, u64) {
        (self.full_total.get(), self.full_client.get())
    }
}
