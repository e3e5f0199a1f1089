//! `[auth]` of a site's file, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::units::{OneOrMore, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Auth {
    pub(in crate::config) require: Option<Demand>,
    pub(in crate::config) signed: Option<Signed>,
    pub(in crate::config) basic: Option<Basic>,
    pub(in crate::config) forward: Option<Forward>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Demand {
    None,
    Signed,
    Basic,
    Forward,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Forward {
    pub(in crate::config) url: String,
    pub(in crate::config) timeout: Option<Span>,
    pub(in crate::config) send: Option<OneOrMore>,
    pub(in crate::config) copy: Option<OneOrMore>,
}
