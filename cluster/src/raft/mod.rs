//! Agreement: openraft on its own RocksDB store, over the program's transport. No other room names openraft.

mod answer;
mod codec;
#[cfg(test)]
mod golden;
mod log;
mod machine;
mod membership;
mod network;
mod node;
mod store;
#[cfg(test)]
mod tests;
mod timing;

use serde::{Deserialize, Serialize};

use crate::state::{Command, Member, NodeId, Outcome};

pub(crate) use codec::{CodecError, VERSION, decode, encode, read, write};
pub(crate) use log::LogStore;
pub(crate) use machine::{Applied, MachineStore, SnapshotData};
pub(crate) use node::{Parts, RaftNode, Written};
pub use store::StoreError;
pub(crate) use store::{Store, StoreHooks};
use timing::config;

openraft::declare_raft_types!(
    /// What Raft is about here.
    pub(crate) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = NodeId,
        Node = PeerNode,
);

/// A node with its log and state machine.
pub(crate) type Raft = openraft::Raft<TypeConfig, MachineStore>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>;
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// How to reach a node that the state does not know yet: the membership entry carries it, so that an election never
/// depends on what a restarted node has applied. The state's member, which follows changes at once, comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerNode {
    /// `[node] name`.
    pub(crate) name: String,
    /// `host:port` of its peer listener.
    pub(crate) address: String,
}

impl From<&Member> for PeerNode {
    fn from(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            address: member.peer.clone(),
        }
    }
}
