//! Questions and answers between nodes that are not Raft's own. All travel in the versioned codec.

use serde::{Deserialize, Serialize};

use crate::state::{NewMember, NodeId, Outcome};

/// To [`crate::StrangerKind::Hello`], whose question is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HelloAnswer {
    /// The answering node's cluster, hexadecimal; none: it belongs to none.
    pub(crate) cluster: Option<String>,
}

/// [`crate::StrangerKind::Join`].
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinQuestion {
    /// The same for each try of one joining.
    pub(crate) command: [u8; 16],
    pub(crate) token: String,
    pub(crate) secret: [u8; 32],
    /// PKCS #10, DER.
    pub(crate) signing_request: Vec<u8>,
    pub(crate) member: NewMember,
}

/// To [`crate::StrangerKind::Join`].
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum JoinAnswer {
    /// The node is a member now.
    Welcome {
        id: NodeId,
        certificate: Vec<u8>,
        ca_certificate: Vec<u8>,
        cluster_key: [u8; 32],
    },
    /// The cluster's answer is no.
    Refused(String),
    /// Ask again, here or elsewhere.
    NotNow(String),
}

/// To [`crate::PeerKind::Propose`], whose question is a [`crate::Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum ProposeAnswer {
    /// It is in the log and applied.
    Done(Outcome),
    /// The asked node does not lead; the log never saw the command. It may know who does.
    NotLeader(Option<NodeId>),
    /// The command was in this node's log when it lost the lead or its time was up.
    Unknown,
}

/// [`crate::PeerKind::Applied`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedQuestion {
    pub(crate) index: u64,
    pub(crate) wait_ms: u64,
}

/// To [`crate::PeerKind::Applied`]. Durations only, so that clocks need not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedAnswer {
    /// Whether the index is applied.
    pub(crate) applied: bool,
    /// How long ago it was, when answering; none if it was too long ago to remember.
    pub(crate) age_us: Option<u64>,
    /// How long the question waited here.
    pub(crate) waited_us: u64,
}
