//! `[auth]` of a site's file, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Auth {
    pub(in crate::config) require: Option<Demand>,
    pub(in crate::config) signed: Option<Signed>,
    pub(in crate::config) basic: Option<Basic>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Demand {
    None,
    Signed,
    Basic,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Signed {
    pub(in crate::config) keys: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Basic {
    pub(in crate::config) realm: Option<String>,
    pub(in crate::config) users: String,
    #[serde(default)]
    pub(in crate::config) forward: bool,
}
