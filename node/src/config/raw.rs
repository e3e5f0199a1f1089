//! The files as written: every key optional unless a file makes no sense without it, and no key unknown. What the
//! values mean together is for `node_file`, `site_file` and `zone_file` to check.

mod auth;
mod content;
mod node;
mod rule;
mod site;
mod zone;

pub(super) use auth::*;
pub(super) use content::*;
pub(super) use node::*;
pub(super) use rule::*;
pub(super) use site::*;
pub(super) use zone::*;
