//! What can go wrong at this crate's border.

use std::path::PathBuf;
use std::time::Duration;

use crate::state::Refusal;
use crate::transport::TransportError;

/// Why a node's cluster part did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("cannot use the data folder {}: {source}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] crate::raft::StoreError),
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// Raft did not start.
    #[error("raft did not start: {0}")]
    Raft(String),
}

/// Why `init` made no cluster.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// This node belongs already.
    #[error("this node already belongs to the cluster {cluster}")]
    AlreadyMember {
        /// Its id.
        cluster: String,
    },
    /// A configured join address is a member of a cluster.
    #[error(
        "{address} is already a member of the cluster {cluster}: join it with a token instead of making a second one"
    )]
    JoinAddressAnswers {
        /// The address.
        address: String,
        /// Its cluster.
        cluster: String,
    },
    /// The new cluster's first write failed.
    #[error("the cluster was not made: {0}")]
    Failed(String),
    /// The node's cluster part failed.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is malformed.
    #[error(transparent)]
    Token(#[from] crate::identity::TokenError),
    /// This node belongs already.
    #[error("this node already belongs to the cluster {cluster}")]
    AlreadyMember {
        /// Its id.
        cluster: String,
    },
    /// The cluster does not want it.
    #[error("the cluster refused: {0}")]
    Refused(String),
    /// No member could be asked, or none answered; the same token may be tried again.
    #[error("no member let this node in ({tried} asked): {last}")]
    Unavailable {
        /// How many addresses were tried.
        tried: usize,
        /// What the last one said.
        last: String,
    },
    /// The node's cluster part failed.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a change was not made, or is not known to be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// The cluster's answer is no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This node belongs to no cluster.
    #[error("this node belongs to no cluster yet")]
    Outside,
    /// Nothing was changed: no leader was found within the time.
    #[error(
        "the cluster has no leader this node can reach, so nothing was changed (waited {} ms)",
        waited.as_millis()
    )]
    NoLeader {
        /// How long.
        waited: Duration,
    },
    /// The change may yet be made: it was handed over, and no answer came within the time.
    #[error(
        "no answer within {} ms: the change may or may not be made; look before trying again",
        waited.as_millis()
    )]
    Unknown {
        /// How long.
        waited: Duration,
    },
}

/// Why a peer's question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandleError {
    /// This node belongs to no cluster yet.
    #[error("this node belongs to no cluster yet")]
    Outside,
    /// The caller is not, or no longer, a member.
    #[error("node {caller} is not a member of this cluster")]
    NotAMember {
        /// Its id.
        caller: u64,
    },
    /// The question cannot be read.
    #[error("malformed question: {0}")]
    Malformed(String),
    /// It cannot be answered now.
    #[error("not now: {0}")]
    Unavailable(String),
}

impl From<TransportError> for HandleError {
    fn from(error: TransportError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
