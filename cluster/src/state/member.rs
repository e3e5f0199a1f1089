//! Who belongs to the cluster.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A node's id: the log index at which it joined, so never reused. The founder is 1, an index that always holds the
/// first leader's blank entry and thus no join.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The node that made the cluster.
    pub const FOUNDER: Self = Self(1);
}

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node that belongs to the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// `[node] name`; no two members share one.
    pub name: String,
    /// `[node] region`.
    pub region: String,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// What A answers say.
    pub ipv4: Option<Ipv4Addr>,
    /// What AAAA answers say.
    pub ipv6: Option<Ipv6Addr>,
    /// `host:port` of its peer listener, as it advertises it.
    pub peer: String,
    /// True when it votes; otherwise it learns.
    pub voter: bool,
    /// Being emptied by the operator.
    pub draining: bool,
    /// The program's version it last said.
    pub version: String,
}
