//! The files as written: every key optional unless a file makes no sense without it, and no key unknown. What the
//! values mean together is for `node_file`, `site_file` and `zone_file` to check.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::units::{List, OneOrMore, PerSecond, Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NodeFile {
    pub(super) node: Node,
    pub(super) listen: Listen,
    pub(super) advertise: Advertise,
    pub(super) cluster: Cluster,
    pub(super) peer: Peer,
    pub(super) data: Data,
    pub(super) cache: NodeCache,
    pub(super) certificates: BTreeMap<String, Certificate>,
    pub(super) geo: Geo,
    pub(super) admin: Admin,
    pub(super) log: Log,
    pub(super) limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    pub(super) region: Option<String>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) http: Option<List>,
    pub(super) https: Option<List>,
    pub(super) dns: Option<List>,
    pub(super) peer: Option<List>,
    pub(super) admin: Option<List>,
    pub(super) metrics: Option<List>,
    pub(super) trusted_proxies: Option<List>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Advertise {
    pub(super) ipv4: Option<String>,
    pub(super) ipv6: Option<String>,
    pub(super) peer: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) join: Option<List>,
    pub(super) timing: Option<Timing>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Timing {
    Regional,
    Global,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) route: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Data {
    pub(super) dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NodeCache {
    pub(super) dir: Option<String>,
    pub(super) memory_max: Option<Size>,
    pub(super) disk_max: Option<Size>,
    pub(super) disk_free_min: Option<Size>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) chain: String,
    pub(super) key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Geo {
    pub(super) databases: Option<List>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) token_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) access: Option<Access>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
    Off,
    Json,
    Human,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: Option<u32>,
    pub(super) connections_per_client: Option<u32>,
    pub(super) header_max: Option<Size>,
    pub(super) header_fields: Option<u32>,
    pub(super) body_max: Option<Size>,
    pub(super) head_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) progress_timeout: Option<Span>,
    pub(super) h2_streams: Option<u32>,
    pub(super) h2_resets: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteFile {
    pub(super) name: String,
    pub(super) hosts: OneOrMore,
    #[serde(default)]
    pub(super) origin: Vec<Origin>,
    #[serde(default)]
    pub(super) origins: Origins,
    #[serde(default)]
    pub(super) cache: SiteCache,
    #[serde(default)]
    pub(super) rule: Vec<Rule>,
    #[serde(default)]
    pub(super) tls: SiteTls,
    #[serde(default)]
    pub(super) headers: Headers,
    #[serde(default)]
    pub(super) protect: Protect,
    #[serde(default)]
    pub(super) steering: Steering,
}

/// What an origin says for itself; what it does not say comes from `[origins]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    pub(super) url: String,
    pub(super) name: Option<String>,
    pub(super) region: Option<String>,
    pub(super) latitude: Option<f64>,
    pub(super) longitude: Option<f64>,
    pub(super) weight: Option<i64>,
    #[serde(default)]
    pub(super) backup: bool,
    pub(super) host: Option<String>,
    pub(super) health: Option<Health>,
    pub(super) tls: Option<OriginTls>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) response_timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Origins {
    pub(super) host: Option<String>,
    pub(super) health: Option<Health>,
    pub(super) tls: Option<OriginTls>,
    pub(super) connect_timeout: Option<Span>,
    pub(super) response_timeout: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) path: String,
    pub(super) interval: Option<Span>,
    pub(super) timeout: Option<Span>,
    pub(super) fall: Option<u32>,
    pub(super) rise: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OriginTls {
    pub(super) ca: Option<String>,
    pub(super) client_certificate: Option<toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SiteCache {
    pub(super) consistency: Option<Consistency>,
    pub(super) stale_if_error: Option<Span>,
    pub(super) stale_while_revalidate: Option<Span>,
    pub(super) set_cookie: Option<SetCookie>,
    pub(super) key: CacheKey,
    pub(super) body_max: Option<Size>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Consistency {
    Available,
    Strict,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SetCookie {
    Explicit,
    Standard,
    Strip,
    Bypass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CacheKey {
    pub(super) query_drop: Option<OneOrMore>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(default, rename = "match")]
    pub(super) matches: Match,
    pub(super) ttl: Option<Span>,
    pub(super) cache: Option<RuleCache>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Match {
    pub(super) path: Option<OneOrMore>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RuleCache {
    Bypass,
    Standard,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SiteTls {
    pub(super) certificate: Option<String>,
    pub(super) redirect_http: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Headers {
    pub(super) origin: OriginHeaders,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OriginHeaders {
    pub(super) set: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Protect {
    pub(super) deny: Option<OneOrMore>,
    pub(super) rate: Option<Rate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    pub(super) requests: PerSecond,
    pub(super) burst: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Steering {
    pub(super) pins: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneFile {
    pub(super) name: String,
    pub(super) nameservers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) ttl: ZoneTtl,
    #[serde(default)]
    pub(super) record: Vec<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ZoneTtl {
    pub(super) min: Option<Span>,
    pub(super) max: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
    pub(super) ttl: Option<Span>,
}
