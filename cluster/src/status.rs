//! What a node says of itself and its cluster; answers without quorum.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::state::NodeId;

/// What this node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It belongs to no cluster yet.
    Outside,
    /// It follows the log without a vote.
    Learner,
    /// It votes and follows.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
    /// Its storage failed: it serves from its last view and takes part in nothing.
    Halted,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id, hexadecimal; none while outside.
    pub cluster: Option<String>,
    /// The epoch.
    pub epoch: u64,
    /// This node's id; none while outside.
    pub id: Option<NodeId>,
    /// This node's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// That node's name.
    pub leader_name: Option<String>,
    /// Raft's term.
    pub term: u64,
    /// The last index in this node's log.
    pub last_log: u64,
    /// The index it has applied.
    pub applied: u64,
    /// True while it knows of a leader that a quorum heard of lately: changes can be made.
    pub has_quorum: bool,
    /// Milliseconds since this node last had word of a quorum; none if never since it started.
    pub quorum_age_ms: Option<u64>,
    /// Durable syncs of this node's Raft store since it started.
    pub syncs: u64,
    /// True while liveness verdicts are believed: a majority of members is seen up.
    pub liveness_trusted: bool,
    /// Every member.
    pub members: Vec<MemberStatus>,
}

/// A member as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where its peer listener is.
    pub peer: String,
    /// True when it votes.
    pub voter: bool,
    /// True when it is believed to be up.
    pub healthy: bool,
    /// Being emptied by the operator.
    pub draining: bool,
    /// The program's version.
    pub version: String,
    /// The log index it holds as far as this node knows: its own, or any member's on the leader.
    pub matched: Option<u64>,
}

/// A change that a quorum holds and the leader applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its log index: a document's revision, a purge's index, a joining member's id.
    pub index: u64,
    /// When it was submitted here.
    pub submitted: Instant,
}

/// Whether one member has applied a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The member's id.
    pub id: NodeId,
    /// Its name.
    pub node: String,
    /// What is known of it.
    pub outcome: ReceiptOutcome,
}

/// What is known of one member and one change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptOutcome {
    /// It is visible to the member's next request.
    Applied {
        /// Milliseconds from its submission to its application there. The member says how long ago it applied it,
        /// and half the question's way is taken off, so clocks need not agree.
        ms: f64,
    },
    /// The member is up and has not said so in time.
    Missing,
    /// The member is believed to be down.
    Down,
}

impl ReceiptOutcome {
    /// The receipt of a change applied this long after its submission.
    #[must_use]
    pub fn applied(after: Duration) -> Self {
        Self::Applied {
            ms: after.as_secs_f64() * 1e3,
        }
    }
}
