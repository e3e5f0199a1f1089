//! How nodes reach each other: the one thing this crate asks of the program around it.
//!
//! The node implements [`Transport`] over mutual TLS and hands what arrives to [`crate::Cluster::handle`] (callers
//! with a certificate) or [`crate::Cluster::handle_stranger`] (callers without). Tests implement it in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::identity::Identity;
use crate::state::NodeId;

/// A node to call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Who must answer: the transport checks the id in the certificate.
    pub id: NodeId,
    /// Its name, for `[peer.route]`.
    pub name: String,
    /// `host:port` as it advertises it.
    pub address: String,
}

/// What is asked of a member by a member. Each kind is a path of the peer API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// Raft: log entries, and heartbeats.
    Append,
    /// Raft: a candidate asks for a vote.
    Vote,
    /// Raft: would you vote for me?
    PreVote,
    /// Raft: the whole state.
    Snapshot,
    /// Raft: take over the lead.
    TransferLeader,
    /// A command for the leader.
    Propose,
    /// Have you applied this index? Answered when it has, or when the time is up.
    Applied,
    /// Liveness: one datagram; the answer is empty.
    Liveness,
}

impl PeerKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Append,
        Self::Vote,
        Self::PreVote,
        Self::Snapshot,
        Self::TransferLeader,
        Self::Propose,
        Self::Applied,
        Self::Liveness,
    ];

    /// The kind's name, a path segment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Vote => "vote",
            Self::PreVote => "pre-vote",
            Self::Snapshot => "snapshot",
            Self::TransferLeader => "transfer-leader",
            Self::Propose => "propose",
            Self::Applied => "applied",
            Self::Liveness => "liveness",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is asked by a node without a certificate. Each kind is a path of the peer API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrangerKind {
    /// Are you a member of a cluster?
    Hello,
    /// Let me in; the caller has verified the cluster's CA before it sends this.
    Join,
}

impl StrangerKind {
    /// The kind's name, a path segment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Join => "join",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Hello, Self::Join]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A question to a peer. The body is this crate's, opaque to the transport.
#[derive(Clone, Debug)]
pub struct PeerRequest {
    /// What is asked.
    pub kind: PeerKind,
    /// The question.
    pub body: Bytes,
}

/// Why a call brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// The peer was not reached: it never saw the question, so it is safe to ask another.
    #[error("{peer} cannot be reached: {why}")]
    Unreachable {
        /// Name or address.
        peer: String,
        /// What the connection said.
        why: String,
    },
    /// The question may have arrived, and may have been acted upon.
    #[error("{peer} did not answer: {why}")]
    NoAnswer {
        /// Name or address.
        peer: String,
        /// What happened.
        why: String,
    },
    /// The peer answered that it will not.
    #[error("{peer} refused: {why}")]
    Refused {
        /// Name or address.
        peer: String,
        /// What it said.
        why: String,
    },
}

/// Carries calls between nodes.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Told once, before any call, where this node's certificate is found as it changes.
    fn use_identity(&self, identity: watch::Receiver<Option<Arc<Identity>>>) {
        drop(identity);
    }

    /// Asks a member; mutual TLS, and the certificate's id must be `target.id`. Gives up at the deadline.
    async fn call(
        &self,
        target: &PeerAddress,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<Bytes, TransportError>;

    /// Asks whoever listens at `address` (`host:port`), showing no certificate. With `ca_hash`, the server's chain
    /// must end in a CA certificate whose DER has this SHA-256, checked before a byte of `body` is sent; without,
    /// any certificate will do, so nothing secret may be in `body`.
    async fn call_as_stranger(
        &self,
        address: &str,
        ca_hash: Option<[u8; 32]>,
        kind: StrangerKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TransportError>;
}
