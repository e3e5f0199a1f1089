//! Answering other nodes' Raft.

use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::raft::{AppendEntriesResponse, TransferLeaderRequest, VoteRequest};

use super::network::{AppendQuestion, SnapshotQuestion};
use super::node::RaftNode;
use super::{Snapshot, TypeConfig, read, write};
use crate::HandleError;

fn unavailable<E: std::fmt::Display>(error: E) -> HandleError {
    HandleError::Unavailable(error.to_string())
}

impl RaftNode {
    pub(crate) async fn answer_append(&self, body: &[u8]) -> Result<Bytes, HandleError> {
        let question: AppendQuestion = read(body)?;
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
            let mut last = self.followed.lock();
            *last = (*last).max(Some(heard));
        }
        write(&answer)
    }

    pub(crate) async fn answer_vote(&self, body: &[u8]) -> Result<Bytes, HandleError> {
        let rpc: VoteRequest<TypeConfig> = read(body)?;
        write(&self.raft.vote(rpc).await.map_err(unavailable)?)
    }

    pub(crate) async fn answer_pre_vote(&self, body: &[u8]) -> Result<Bytes, HandleError> {
        let rpc: VoteRequest<TypeConfig> = read(body)?;
        write(&self.raft.pre_vote(rpc).await.map_err(unavailable)?)
    }

    pub(crate) async fn answer_transfer(&self, body: &[u8]) -> Result<Bytes, HandleError> {
        let rpc: TransferLeaderRequest<TypeConfig> = read(body)?;
        let answer = self.raft.handle_transfer_leader(rpc).await;
        write(&answer.map_err(unavailable)?)
    }

    pub(crate) async fn answer_snapshot(&self, body: &[u8]) -> Result<Bytes, HandleError> {
        let question: SnapshotQuestion = read(body)?;
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
