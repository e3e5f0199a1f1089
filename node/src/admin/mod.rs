//! The admin API: what operators ask a node and tell the cluster, over HTTP on a Unix socket (and, with a token, on a
//! loopback port).
//!
//! [`Control`] is the API without HTTP; `routes` gives it paths, `guard` decides who may ask, [`Server`] owns the
//! sockets. The answers in [`api`] are shared with the command line, which is the API's first user. Nothing here
//! changes the store or the proxy: a change is proposed to the cluster, and a purge is such a change. The proxy is only
//! asked what it would do ([`Running`]).

pub mod api;
mod clash;
mod control;
mod documents;
mod error;
mod explain;
mod guard;
mod metrics;
mod prefetch;
mod purge;
mod readiness;
mod routes;
mod server;
mod socket;
mod steer;

pub(crate) use clash::{own_listener, sites as clash};
pub use control::{Control, Parts};
pub use error::AdminError;
pub use explain::Running;
pub(crate) use guard::check_token;
pub use metrics::AdminMetrics;
pub use readiness::{Phase, Readiness};
pub use server::{ServeError, Server, Sockets, bind, serve, serve_metrics};

#[cfg(test)]
mod tests;
