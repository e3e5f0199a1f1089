//! Who is up: observations, gossiped between members and never written to the log.

use std::collections::BTreeSet;

use crate::state::NodeId;

/// Which members are believed to be up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// The members believed to be up, this node included. While the view is not trusted, the last set that was.
    pub healthy: BTreeSet<NodeId>,
    /// False while this node sees no majority of the members: it then distrusts its own verdicts.
    pub trusted: bool,
}
