//! What a site's file says of content, as written: fields, redirects, pages.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::units::{OneOrMore, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Headers {
    pub(in crate::config) origin: Edits,
    pub(in crate::config) client: Edits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Edits {
    pub(in crate::config) set: BTreeMap<String, toml::Value>,
    pub(in crate::config) add: BTreeMap<String, toml::Value>,
    pub(in crate::config) remove: Option<OneOrMore>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Redirect {
    pub(in crate::config) from: Option<String>,
    pub(in crate::config) to: String,
    pub(in crate::config) status: Option<i64>,
    pub(in crate::config) query: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Rewrite {
    pub(in crate::config) from: Option<String>,
    pub(in crate::config) to: Option<String>,
    pub(in crate::config) strip_prefix: Option<String>,
    pub(in crate::config) add_prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Page {
    pub(in crate::config) body: String,
    #[serde(rename = "type")]
    pub(in crate::config) kind: Option<String>,
    #[serde(default)]
    pub(in crate::config) intercept: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Maintenance {
    #[serde(default = "yes")]
    pub(in crate::config) enabled: bool,
    pub(in crate::config) retry_after: Option<Span>,
    #[serde(default)]
    pub(in crate::config) allow: Option<OneOrMore>,
    pub(in crate::config) page: Option<Page>,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Hsts {
    pub(in crate::config) max_age: Span,
    #[serde(default)]
    pub(in crate::config) include_subdomains: bool,
    #[serde(default)]
    pub(in crate::config) preload: bool,
}
