//! Question + client + view → answer, pure; sockets around it.
//!
//! The node answers with authority for the zones that the cluster agreed on. Names of sites under a zone, and the
//! zone's pool name, are *steered*: their addresses are the nearest healthy nodes of whoever asks. All else in a zone
//! is answered as the operator wrote it.
//!
//! ```text
//! packet → query → catalog (names, from the view) ─┬ static ─→ reply
//!                  client subnet → place → steer ──┘
//! ```
//!
//! [`answer`] sees one snapshot of view, health and databases, reads no clock and keeps nothing. So a node that dies
//! is out of the very next answer, and every rule can be tested by a table of questions.

mod answer;
mod catalog;
mod explain;
mod metrics;
mod name;
mod query;
mod server;
mod steer;
mod subnet;
mod tcp;
mod udp;
mod world;
mod writer;

#[cfg(test)]
mod testing;

pub use answer::{Reply, Transport, answer};
pub use catalog::Catalog;
pub use explain::{PlaceReport, RouteNode, RouteReport, locate, route};
pub use metrics::{Metrics, Outcome};
pub use server::{BindError, Bound, Serving, bind, serve};
pub use tcp::TcpLimits;
pub use world::{Snapshot, World};

/// Where a node answers DNS unless its file says otherwise. 53 wants a privilege and is often taken by a stub
/// resolver; 5353 is multicast DNS's.
pub const DEFAULT_PORT: u16 = 8053;
