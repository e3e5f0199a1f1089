//! Raft's calls over the program's [`Transport`].

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Applied, CodecError, PeerNode, Snapshot, SnapshotData, SnapshotMeta, TypeConfig, Vote, decode,
    encode,
};
use crate::state::NodeId;
use crate::transport::{PeerAddress, PeerKind, PeerRequest, Transport, TransportError};

/// What a leader sends: entries, and how long ago it last heard of a quorum, so that followers can say how old their
/// word of a quorum is.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct AppendQuestion {
    pub(crate) rpc: AppendEntriesRequest<TypeConfig>,
    pub(crate) quorum_age_ms: Option<u64>,
}

/// The whole state, from a leader.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct SnapshotQuestion {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    #[serde(with = "bytes_field")]
    pub(crate) data: SnapshotData,
}

/// A byte string rather than a list of numbers.
mod bytes_field {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(input: D) -> Result<Vec<u8>, D::Error> {
        bytes::Bytes::deserialize(input).map(Vec::from)
    }
}

/// Makes clients; one for each peer and purpose.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) applied: Applied,
    /// When a quorum last vouched for this node's lead.
    pub(crate) led: watch::Receiver<Option<Instant>>,
}

impl Network {
    /// Where a node is: as the state says, or as Raft's membership does.
    pub(crate) fn address(&self, id: NodeId, node: &PeerNode) -> PeerAddress {
        let state = self.applied.state();
        let (name, address) = match state.members.get(&id) {
            Some(member) => (member.name.clone(), member.peer.clone()),
            None => (node.name.clone(), node.address.clone()),
        };
        PeerAddress { id, name, address }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: NodeId, node: &PeerNode) -> PeerClient {
        PeerClient {
            network: self.clone(),
            target,
            node: node.clone(),
        }
    }
}

/// Raft's way to one peer.
pub(crate) struct PeerClient {
    network: Network,
    target: NodeId,
    node: PeerNode,
}

/// A peer that was not reached is left alone for a moment (backoff); an answer that did not come is asked for again.
fn rpc_error(error: &TransportError) -> RPCError<TypeConfig> {
    match error {
        TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
            RPCError::Unreachable(Unreachable::new(error))
        }
        TransportError::NoAnswer { .. } => RPCError::Network(NetworkError::new(error)),
    }
}

impl From<CodecError> for RPCError<TypeConfig> {
    fn from(error: CodecError) -> Self {
        Self::Unreachable(Unreachable::new(&error))
    }
}

impl PeerClient {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: PeerKind,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, RPCError<TypeConfig>> {
        let body = encode(question)?.into();
        let target = self.network.address(self.target, &self.node);
        let answer = self
            .network
            .transport
            .call(&target, PeerRequest { kind, body }, deadline)
            .await
            .map_err(|error| rpc_error(&error))?;
        Ok(decode(&answer)?)
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let quorum_age_ms = self.network.led.borrow().map(|acknowledged| {
            u64::try_from(acknowledged.elapsed().as_millis()).unwrap_or(u64::MAX)
        });
        let question = AppendQuestion { rpc, quorum_age_ms };
        self.call(PeerKind::Append, &question, option.soft_ttl())
            .await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(PeerKind::Vote, &rpc, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(PeerKind::PreVote, &rpc, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let question = SnapshotQuestion {
            vote,
            meta: snapshot.meta,
            data: snapshot.snapshot,
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = self.call(PeerKind::Snapshot, &question, option.soft_ttl()) => Ok(answer?),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(PeerKind::TransferLeader, &req, option.soft_ttl())
            .await
    }
}
