//! A site's file as written, but its rules.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::auth::Auth;
use super::content::{Headers, Hsts, Maintenance, Page};
use super::rule::{CacheKey, ClientDirectives, Rule};
use crate::config::units::{OneOrMore, PerSecond, Size, Span};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SiteFile {
    pub(in crate::config) name: String,
    pub(in crate::config) hosts: OneOrMore,
    #[serde(default)]
    pub(in crate::config) origin: Vec<Origin>,
    #[serde(default)]
    pub(in crate::config) origins: Origins,
    #[serde(default)]
    pub(in crate::config) cache: SiteCache,
    #[serde(default)]
    pub(in crate::config) compression: Compression,
    #[serde(default)]
    pub(in crate::config) rule: Vec<Rule>,
    #[serde(default)]
    pub(in crate::config) tls: SiteTls,
    #[serde(default)]
    pub(in crate::config) headers: Headers,
    #[serde(default)]
    pub(in crate::config) protect: Protect,
    #[serde(default)]
    pub(in crate::config) auth: Auth,
    #[serde(default)]
    pub(in crate::config) error_pages: BTreeMap<String, Page>,
    pub(in crate::config) maintenance: Option<Maintenance>,
    #[serde(default)]
    pub(in crate::config) steering: Steering,
}

/// What an origin says for itself; what it does not say comes from `[origins]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Origin {
    pub(in crate::config) url: String,
    pub(in crate::config) name: Option<String>,
    pub(in crate::config) region: Option<String>,
    pub(in crate::config) latitude: Option<f64>,
    pub(in crate::config) longitude: Option<f64>,
    pub(in crate::config) weight: Option<i64>,
    #[serde(default)]
    pub(in crate::config) backup: bool,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) health: Option<Health>,
    pub(in crate::config) tls: Option<OriginTls>,
    pub(in crate::config) requests_max: Option<u32>,
    pub(in crate::config) connections_max: Option<u32>,
    pub(in crate::config) queue_max: Option<u32>,
    pub(in crate::config) queue_timeout: Option<Span>,
    pub(in crate::config) protocol: Option<OriginProtocol>,
    pub(in crate::config) connect_timeout: Option<Span>,
    pub(in crate::config) response_timeout: Option<Span>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Balance {
    Random,
    LeastConnections,
    Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum OriginProtocol {
    Http1,
    H2,
    Auto,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Origins {
    pub(in crate::config) balance: Option<Balance>,
    pub(in crate::config) hash_by: Option<String>,
    pub(in crate::config) sticky_cookie: Option<String>,
    pub(in crate::config) requests_max: Option<u32>,
    pub(in crate::config) connections_max: Option<u32>,
    pub(in crate::config) queue_max: Option<u32>,
    pub(in crate::config) queue_timeout: Option<Span>,
    pub(in crate::config) protocol: Option<OriginProtocol>,
    pub(in crate::config) host: Option<String>,
    pub(in crate::config) health: Option<Health>,
    pub(in crate::config) tls: Option<OriginTls>,
    pub(in crate::config) connect_timeout: Option<Span>,
    pub(in crate::config) response_timeout: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Health {
    pub(in crate::config) path: String,
    pub(in crate::config) interval: Option<Span>,
    pub(in crate::config) timeout: Option<Span>,
    pub(in crate::config) fall: Option<u32>,
    pub(in crate::config) rise: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct OriginTls {
    pub(in crate::config) ca: Option<String>,
    pub(in crate::config) client_certificate: Option<toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SiteCache {
    pub(in crate::config) consistency: Option<Consistency>,
    pub(in crate::config) stale_if_error: Option<Span>,
    pub(in crate::config) stale_while_revalidate: Option<Span>,
    pub(in crate::config) set_cookie: Option<SetCookie>,
    pub(in crate::config) ttl_min: Option<Span>,
    pub(in crate::config) ttl_max: Option<Span>,
    pub(in crate::config) negative_ttl: Option<Span>,
    pub(in crate::config) client_directives: Option<ClientDirectives>,
    pub(in crate::config) development_until: Option<toml::value::Datetime>,
    pub(in crate::config) key: CacheKey,
    pub(in crate::config) body_max: Option<Size>,
    pub(in crate::config) slice: Option<Size>,
    pub(in crate::config) query_content: Option<Size>,
    pub(in crate::config) tags: CacheTags,
    pub(in crate::config) purge_from: Option<OneOrMore>,
    pub(in crate::config) status_key_for: Option<OneOrMore>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CacheTags {
    pub(in crate::config) fields: Option<OneOrMore>,
    pub(in crate::config) send: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Consistency {
    Available,
    Strict,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SetCookie {
    Explicit,
    Standard,
    Strip,
    Bypass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Compression {
    pub(in crate::config) codings: Option<Codings>,
    pub(in crate::config) min_size: Option<Size>,
    pub(in crate::config) types: Option<OneOrMore>,
    pub(in crate::config) levels: Levels,
}

/// `true`, `false` or a list of content codings.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "write true, false or a list such as [\"zstd\", \"br\", \"gzip\"]"
)]
pub(in crate::config) enum Codings {
    Usual(bool),
    These(OneOrMore),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Levels {
    pub(in crate::config) zstd: Option<i64>,
    pub(in crate::config) br: Option<i64>,
    pub(in crate::config) gzip: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct SiteTls {
    pub(in crate::config) certificate: Option<String>,
    pub(in crate::config) redirect_http: bool,
    pub(in crate::config) hsts: Option<Hsts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Protect {
    pub(in crate::config) deny: Option<OneOrMore>,
    pub(in crate::config) rate: Option<Rate>,
    pub(in crate::config) deception: Option<Deception>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Deception {
    Off,
    Refuse,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rate {
    pub(in crate::config) requests: PerSecond,
    pub(in crate::config) burst: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Steering {
    pub(in crate::config) pins: toml::Table,
}
