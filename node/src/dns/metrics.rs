//! What DNS counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::answer::{Reply, Transport};
use super::query::kind;

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There are records.
    Answer,
    /// The name is there, the type is not.
    NoData,
    /// The name is not there.
    NxDomain,
    /// Not our zone, or not for this client.
    Refused,
    /// It breaks the format.
    FormErr,
    /// An opcode that this server does not have.
    NotImp,
    /// An EDNS version that this server does not have.
    BadVers,
}

const OUTCOMES: [Outcome; 7] = [
    Outcome::Answer,
    Outcome::NoData,
    Outcome::NxDomain,
    Outcome::Refused,
    Outcome::FormErr,
    Outcome::NotImp,
    Outcome::BadVers,
];

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Refused => "refused",
            Self::FormErr => "formerr",
            Self::NotImp => "notimp",
            Self::BadVers => "badvers",
        }
    }
}

/// Types with a label of their own; a client may ask for 65,536 others, which share one.
const KINDS: [(u16, &str); 9] = [
    (kind::A, "A"),
    (kind::AAAA, "AAAA"),
    (kind::HTTPS, "HTTPS"),
    (kind::NS, "NS"),
    (kind::SOA, "SOA"),
    (kind::CNAME, "CNAME"),
    (kind::TXT, "TXT"),
    (kind::MX, "MX"),
    (kind::ANY, "ANY"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    r#type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// Counters, looked up once: an answer only adds to them.
#[derive(Clone, Debug)]
pub struct Metrics {
    queries: Vec<[Counter; OUTCOMES.len()]>,
    udp: Counter,
    tcp: Counter,
    ignored: Counter,
    truncated: Counter,
    fail_open: Counter,
    pub(super) receive_errors: Counter,
    pub(super) send_errors: Counter,
    pub(super) accept_errors: Counter,
    pub(super) tcp_connections: Gauge,
    pub(super) tcp_rejections: Counter,
}

impl Metrics {
    /// Makes the counters and gives them to the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let queries = Family::<QueryLabels, Counter>::default();
        let packets = Family::<TransportLabels, Counter>::default();
        let errors = Family::<OperationLabels, Counter>::default();
        let of = |r#type| {
            OUTCOMES.map(|outcome| {
                let outcome = outcome.label();
                let labels = QueryLabels { r#type, outcome };
                queries.get_or_create_owned(&labels)
            })
        };
        let kinds = KINDS.iter().map(|&(_, name)| name).chain(["other"]);
        let transport = |transport| packets.get_or_create_owned(&TransportLabels { transport });
        let error = |operation| errors.get_or_create_owned(&OperationLabels { operation });
        let metrics = Self {
            queries: kinds.map(of).collect(),
            udp: transport("udp"),
            tcp: transport("tcp"),
            receive_errors: error("receive"),
            send_errors: error("send"),
            accept_errors: error("accept"),
            ignored: Counter::default(),
            truncated: Counter::default(),
            fail_open: Counter::default(),
            tcp_connections: Gauge::default(),
            tcp_rejections: Counter::default(),
        };
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "nearside_dns_ignored",
            "Packets that are no queries",
            &metrics.ignored,
        );
        counter(
            "nearside_dns_truncated",
            "Answers that did not fit into a datagram",
            &metrics.truncated,
        );
        counter(
            "nearside_dns_fail_open",
            "Answers given while no node was believed to be healthy",
            &metrics.fail_open,
        );
        counter(
            "nearside_dns_tcp_rejections",
            "Connections refused because there were too many",
            &metrics.tcp_rejections,
        );
        registry.register(
            "nearside_dns_queries",
            "Queries by type and outcome",
            queries,
        );
        registry.register("nearside_dns_packets", "Messages by transport", packets);
        registry.register("nearside_dns_errors", "Socket errors by operation", errors);
        let connections = metrics.tcp_connections.clone();
        registry.register(
            "nearside_dns_tcp_connections",
            "Open connections",
            connections,
        );
        metrics
    }

    /// Counts a message and what became of it; no reply: it was ignored.
    pub(super) fn count(&self, transport: Transport, reply: Option<&Reply>) {
        match transport {
            Transport::Udp => self.udp.inc(),
            Transport::Tcp => self.tcp.inc(),
        };
        let Some(reply) = reply else {
            self.ignored.inc();
            return;
        };
        let known = KINDS.iter().position(|&(kind, _)| kind == reply.kind);
        self.queries[known.unwrap_or(KINDS.len())][reply.outcome as usize].inc();
        if reply.truncated {
            self.truncated.inc();
        }
        if reply.fail_open {
            self.fail_open.inc();
        }
    }
}
