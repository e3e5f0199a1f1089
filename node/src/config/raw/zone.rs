//! A zone's file as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::units::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ZoneFile {
    pub(in crate::config) name: String,
    pub(in crate::config) nameservers: BTreeMap<String, String>,
    #[serde(default)]
    pub(in crate::config) ttl: ZoneTtl,
    #[serde(default)]
    pub(in crate::config) record: Vec<Record>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct ZoneTtl {
    pub(in crate::config) min: Option<Span>,
    pub(in crate::config) max: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Record {
    pub(in crate::config) name: String,
    #[serde(rename = "type")]
    pub(in crate::config) kind: String,
    pub(in crate::config) value: String,
    pub(in crate::config) ttl: Option<Span>,
}
