//! Answering other nodes.

use bytes::Bytes;

use super::Inner;
use super::member::Membership;
use super::wire::{AppliedQuestion, HelloAnswer, JoinAnswer, JoinQuestion};
use crate::raft::{read, write};
use crate::{Command, HandleError, NodeId, PeerKind, PeerRequest, StrangerKind};

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
            PeerKind::Append => membership.raft.answer_append(body).await,
            PeerKind::Vote => membership.raft.answer_vote(body).await,
            PeerKind::PreVote => membership.raft.answer_pre_vote(body).await,
            PeerKind::Snapshot => membership.raft.answer_snapshot(body).await,
            PeerKind::TransferLeader => membership.raft.answer_transfer(body).await,
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
            || membership.raft.knows(caller);
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
