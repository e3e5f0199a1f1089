//! Who is told of changes, inside their application.

use std::sync::Arc;

use crate::state::{Change, State};

/// Told synchronously: when a method returns, the change is visible on this node, and only then is it reported as
/// applied. Implementations must be quick and must not call back into the cluster.
pub trait Observer: Send + Sync + 'static {
    /// The state as a whole has changed: once at start (from local data, with or without a quorum), when this node
    /// becomes a member, and when a snapshot replaced what was known.
    fn restored(&self, state: &Arc<State>);

    /// The entry at `index` was applied. `change` is none for entries that change nothing (Raft's own, refused and
    /// repeated commands); `state` is as of this entry.
    fn applied(&self, index: u64, change: Option<&Change>, state: &Arc<State>);
}
