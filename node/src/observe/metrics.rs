//! The registry, and its exposition as text.
//!
//! Each room registers counters of its own at start and keeps them resolved, so that counting is an atomic add. What
//! others count or hold already (Raft's state, the store's sizes) is read when somebody asks.

use nearside_cluster::Cluster;
use nearside_geo::Atlas;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The media type of what [`Metrics::exposition`] says.
pub const EXPOSITION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of this node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A registry with what is true of every node.
    #[must_use]
    pub fn new(node: &str, region: &str) -> Self {
        let mut registry = Registry::default();
        registry.register(
            "nearside_node",
            "What this node is",
            Info::new(vec![
                ("name", node.to_owned()),
                ("region", region.to_owned()),
                ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ]),
        );
        Self { registry }
    }

    /// Where rooms register, before the node serves.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Reads the cluster's state whenever somebody asks.
    pub fn watch_cluster(&mut self, cluster: Cluster) {
        let collector = ClusterCollector(cluster);
        self.registry.register_collector(Box::new(collector));
    }

    /// Says which geo databases this node uses, and how old they are.
    pub fn watch_atlas(&mut self, atlas: &Atlas) {
        let built = atlas.databases().map(|about| about.built).min();
        if let Some(built) = built {
            self.registry.register(
                "nearside_geo_database_built_timestamp_seconds",
                "When the oldest geo database in use was built",
                ConstGauge::new(i64::try_from(built).unwrap_or(i64::MAX)),
            );
        }
    }

    /// Numbers that are read by `read` whenever somebody asks.
    pub fn watch(&mut self, read: impl Fn() -> Vec<Sample> + Send + Sync + 'static) {
        self.registry
            .register_collector(Box::new(SampleCollector(read)));
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            // Only a metric that fails to write itself into a string can bring us here.
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }
}

/// One number that is counted elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// `nearside_<part>_<noun>_<unit>`; the exposition adds `_total` to counters.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// How much.
    pub value: Value,
}

/// A number, and whether it only grows.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// Goes both ways.
    Gauge(f64),
}

fn encode(samples: &[Sample], mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
    for sample in samples {
        match sample.value {
            Value::Counter(count) => {
                let counter = ConstCounter::new(count);
                let kind = counter.metric_type();
                counter.encode(encoder.encode_descriptor(
                    sample.name,
                    sample.help,
                    None,
                    kind,
                )?)?;
            }
            Value::Gauge(value) => {
                let gauge = ConstGauge::new(value);
                let kind = gauge.metric_type();
                gauge.encode(encoder.encode_descriptor(sample.name, sample.help, None, kind)?)?;
            }
        }
    }
    Ok(())
}

struct SampleCollector<F>(F);

impl<F> std::fmt::Debug for SampleCollector<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SampleCollector")
    }
}

impl<F: Fn() -> Vec<Sample> + Send + Sync + 'static> Collector for SampleCollector<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        encode(&(self.0)(), encoder)
    }
}

struct ClusterCollector(Cluster);

impl std::fmt::Debug for ClusterCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterCollector")
    }
}

impl Collector for ClusterCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.0.status();
        let healthy = status
            .members
            .iter()
            .filter(|member| member.healthy)
            .count();
        let gauge = |name, help, value: f64| Sample {
            name,
            help,
            value: Value::Gauge(value),
        };
        let age_ms = status.quorum_age_ms;
        let samples = [
            gauge("nearside_raft_term", "Raft's term", status.term as f64),
            gauge(
                "nearside_raft_last_log_index",
                "The last index in this node's log",
                status.last_log as f64,
            ),
            gauge(
                "nearside_raft_applied_index",
                "The index this node has applied",
                status.applied as f64,
            ),
            gauge(
                "nearside_raft_leader",
                "1 while this node leads",
                f64::from(u8::from(status.id.is_some() && status.leader == status.id)),
            ),
            gauge(
                "nearside_raft_quorum",
                "1 while this node knows of a quorum, so that changes can be made",
                f64::from(u8::from(status.has_quorum)),
            ),
            gauge(
                "nearside_raft_quorum_age_seconds",
                "Since this node last had word of a quorum; infinite before the first",
                age_ms.map_or(f64::INFINITY, |age| age as f64 / 1e3),
            ),
            Sample {
                name: "nearside_raft_syncs",
                help: "Durable syncs of the Raft store",
                value: Value::Counter(status.syncs),
            },
            gauge(
                "nearside_cluster_members",
                "Members of the cluster",
                status.members.len() as f64,
            ),
            gauge(
                "nearside_cluster_members_healthy",
                "Members believed to be up",
                healthy as f64,
            ),
        ];
        encode(&samples, encoder)
    }
}
