//! The node file as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::units::{List, Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct NodeFile {
    pub(in crate::config) node: Node,
    pub(in crate::config) listen: Listen,
    pub(in crate::config) advertise: Advertise,
    pub(in crate::config) cluster: Cluster,
    pub(in crate::config) peer: Peer,
    pub(in crate::config) data: Data,
    pub(in crate::config) cache: NodeCache,
    pub(in crate::config) certificates: BTreeMap<String, Certificate>,
    pub(in crate::config) geo: Geo,
    pub(in crate::config) admin: Admin,
    pub(in crate::config) log: Log,
    pub(in crate::config) limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Node {
    pub(in crate::config) name: Option<String>,
    pub(in crate::config) region: Option<String>,
    pub(in crate::config) latitude: Option<f64>,
    pub(in crate::config) longitude: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Listen {
    pub(in crate::config) http: Option<List>,
    pub(in crate::config) https: Option<List>,
    pub(in crate::config) dns: Option<List>,
    pub(in crate::config) peer: Option<List>,
    pub(in crate::config) admin: Option<List>,
    pub(in crate::config) metrics: Option<List>,
    pub(in crate::config) trusted_proxies: Option<List>,
    pub(in crate::config) proxy_protocol: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Advertise {
    pub(in crate::config) ipv4: Option<String>,
    pub(in crate::config) ipv6: Option<String>,
    pub(in crate::config) peer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cluster {
    pub(in crate::config) join: Option<List>,
    pub(in crate::config) timing: Option<Timing>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Timing {
    Regional,
    Global,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Peer {
    pub(in crate::config) route: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Data {
    pub(in crate::config) dir: Option<String>,
    pub(in crate::config) secrets: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct NodeCache {
    pub(in crate::config) dir: Option<String>,
    pub(in crate::config) memory_max: Option<Size>,
    pub(in crate::config) disk_max: Option<Size>,
    pub(in crate::config) disk_free_min: Option<Size>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Certificate {
    pub(in crate::config) chain: String,
    pub(in crate::config) key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Geo {
    pub(in crate::config) databases: Option<List>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Admin {
    pub(in crate::config) token_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Log {
    pub(in crate::config) level: Option<String>,
    pub(in crate::config) access: Option<Access>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Access {
    Off,
    Json,
    Human,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Limits {
    pub(in crate::config) connections: Option<u32>,
    pub(in crate::config) connections_per_client: Option<u32>,
    pub(in crate::config) header_max: Option<Size>,
    pub(in crate::config) header_fields: Option<u32>,
    pub(in crate::config) body_max: Option<Size>,
    pub(in crate::config) head_timeout: Option<Span>,
    pub(in crate::config) idle_timeout: Option<Span>,
    pub(in crate::config) progress_timeout: Option<Span>,
    pub(in crate::config) h2_streams: Option<u32>,
    pub(in crate::config) h2_resets: Option<u32>,
    pub(in crate::config) tunnels: Option<u32>,
    pub(in crate::config) tunnel_idle_timeout: Option<Span>,
}
