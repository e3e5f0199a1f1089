//! The registry, and its exposition as text.
//!
//! Each room registers counters of its own at start and keeps them resolved, so that counting is an atomic add. What
//! others count or hold already (Raft's state, the store's sizes) is read when somebody asks.

use nearside_cluster::Cluster;
use nearside_geo::Atlas;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
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
#[derive(Clone, Debug)]
pub struct Sample {
    /// `nearside_<part>_<noun>_<unit>`; the exposition adds `_total` to counters.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// A label and its value; samples of one name stand side by side.
    pub label: Option<(&'static str, String)>,
    /// How much.
    pub value: Value,
}

impl Sample {
    /// A number that only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, count: u64) -> Self {
        let value = Value::Counter(count);
        Self {
            name,
            help,
            label: None,
            value,
        }
    }

    /// A number that goes both ways.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        let value = Value::Gauge(value);
        Self {
            name,
            help,
            label: None,
            value,
        }
    }

    /// The same number of something that has a name.
    #[must_use]
    pub fn of(mut self, label: &'static str, value: String) -> Self {
        self.label = Some((label, value));
        self
    }
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
    // Samples of one name are one metric: its description is written once.
    for same in samples.chunk_by(|one, next| one.name == next.name) {
        let Some(first) = same.first() else { continue };
        let kind = match first.value {
            Value::Counter(_) => MetricType::Counter,
            Value::Gauge(_) => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(first.name, first.help, None, kind)?;
        if first.label.is_none() {
            encode_value(first.value, metric)?;
            continue;
        }
        for sample in same {
            let labels = sample
                .label
                .iter()
                .map(|(label, value)| (*label, value.as_str()));
            let labels: Vec<(&str, &str)> = labels.collect();
            encode_value(sample.value, metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn encode_value(value: Value, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    match value {
        Value::Counter(count) => ConstCounter::new(count).encode(encoder),
        Value::Gauge(value) => ConstGauge::new(value).encode(encoder),
    }
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
        let gauge = Sample::gauge;
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
            Sample::counter(
                "nearside_raft_syncs",
                "Durable syncs of the Raft store",
                status.syncs,
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_share_a_description() {
        let mut metrics = Metrics::new("lon1", "eu");
        let of = |name: &str, value| {
            Sample::gauge("x_expiry_seconds", "when", value).of("name", name.to_owned())
        };
        metrics.watch(move || {
            vec![
                Sample::counter("x_lost", "how many", 3),
                of("a\"b", 1.0),
                of("c", 2.0),
            ]
        });
        let text = metrics.exposition();
        let expected = "# HELP x_lost how many\n# TYPE x_lost counter\nx_lost_total 3\n\
            # HELP x_expiry_seconds when\n# TYPE x_expiry_seconds gauge\n\
            x_expiry_seconds{name=\"a\\\"b\"} 1.0\nx_expiry_seconds{name=\"c\"} 2.0\n";
        assert!(text.contains(expected), "{text}");
    }
}
