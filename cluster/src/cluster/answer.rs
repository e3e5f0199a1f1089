//! Answering other nodes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::raft::{AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Inner;
use super::member::Membership;
use super::wire::{AppliedQuestion, HelloAnswer, JoinAnswer, JoinQuestion};
use crate::raft::{AppendQuestion, Snapshot, SnapshotQuestion, TypeConfig, decode, encode};
use crate::{Command, HandleError, NodeId, PeerKind, PeerRequest, StrangerKind};

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HandleError> {
    decode(body).map_err(|error| HandleError::Malformed(error.to_string()))
}

fn write<T: Serialize>(answer: &T) -> Result<Bytes, HandleError> {
    encode(answer)
        .map(Bytes::from)
        .map_err(|error| HandleError::Unavailable(error.to_string()))
}

fn unavailable<E: std::fmt::Display>(error: E) -> HandleError {
    HandleError::Unavailable(error.to_string())
}

impl Inner {
    pub(crate) async fn handle(
        &self,
        caller: NodeId,
        request: PeerRequest,
    ) -> Result<Bytes, HandleError> {
        let membership = self.member().ok_or(HandleError::Outside)?;
        self.admit(&membership, caller)?;
        let body = &request.body[..];
        match request.kind {
            PeerKind::Append => membership.append(read(body)?).await,
            PeerKind::Vote => {
                let rpc: VoteRequest<TypeConfig> = read(body)?;
                write(&membership.raft.vote(rpc).await.map_err(unavailable)?)
            }
            PeerKind::PreVote => {
                let rpc: VoteRequest<TypeConfig> = read(body)?;
                write(&membership.raft.pre_vote(rpc).await.map_err(unavailable)?)
            }
            PeerKind::Snapshot => membership.install(read(body)?).await,
            PeerKind::TransferLeader => {
                let rpc: TransferLeaderRequest<TypeConfig> = read(body)?;
                let answer = membership.raft.handle_transfer_leader(rpc).await;
                write(&answer.map_err(unavailable)?)
            }
            PeerKind::Propose => {
                let command: Command = read(body)?;
                write(&self.answer_propose(&membership, command).await)
            }
            PeerKind::Applied => {
                let question: AppliedQuestion = read(body)?;
                write(&membership.answer_applied(&self.applied, question).await)
            }
            PeerKind::Liveness => {
                // A full queue drops it, as a network would.
                if membership.datagrams.try_send(request.body).is_err() {
                    tracing::debug!("a liveness datagram was dropped");
                }
                Ok(Bytes::new())
            }
        }
    }

    /// Members only. A node that has not applied its own joining yet knows nobody, and takes its cluster's
    /// certificate, which the transport checked, for enough: the leader is who calls it first.
    fn admit(&self, membership: &Membership, caller: NodeId) -> Result<(), HandleError> {
        let state = self.applied.state();
        let known = state.members.contains_key(&caller)
            || !state.members.contains_key(&membership.id)
            || membership
                .metrics()
                .membership_config
                .membership()
                .get_node(&caller)
                .is_some();
        if known {
            Ok(())
        } else {
            Err(HandleError::NotAMember { caller: caller.0 })
        }
    }

    pub(crate) async fn handle_stranger(
        &self,
        kind: StrangerKind,
        body: &[u8],
    ) -> Result<Bytes, HandleError> {
        match (kind, self.member()) {
            (StrangerKind::Hello, membership) => write(&HelloAnswer {
                cluster: membership.map(|membership| hex::encode(membership.cluster)),
            }),
            (StrangerKind::Join, Some(membership)) => {
                let question: JoinQuestion = read(body)?;
                write(&self.let_in(&membership, &question).await)
            }
            (StrangerKind::Join, None) => write(&JoinAnswer::NotNow(
                "this node belongs to no cluster itself".into(),
            )),
        }
    }
}

impl Membership {
    async fn append(&self, question: AppendQuestion) -> Result<Bytes, HandleError> {
        let arrived = Instant::now();
        let answer = self
            .raft
            .append_entries(question.rpc)
            .await
            .map_err(unavailable)?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_))
            && let Some(age_ms) = question.quorum_age_ms
            && let Some(heard) = arrived.checked_sub(Duration::from_millis(age_ms))
        {
            let mut last = self.heard_of_quorum.lock();
            *last = (*last).max(Some(heard));
        }
        write(&answer)
    }

    async fn install(&self, question: SnapshotQuestion) -> Result<Bytes, HandleError> {
        let snapshot = Snapshot {
            meta: question.meta,
            snapshot: question.data,
        };
        let answer = self
            .raft
            .install_full_snapshot(question.vote, snapshot)
            .await
            .map_err(unavailable)?;
        write(&answer)
    }
}
