//! Making changes, from any node.
//!
//! A command carries an id, and the state machine applies an id once. So a try without an answer can be repeated,
//! and only when the time is up without any answer is the outcome reported as unknown.

use std::time::{Duration, Instant};

use super::member::Membership;
use super::wire::ProposeAnswer;
use super::{Inner, now_ms};
use crate::raft::{Written, decode, encode};
use crate::state::Outcome;
use crate::transport::{PeerKind, PeerRequest, TransportError};
use crate::{Change, Command, Committed, NodeId, ProposeError};

/// How long a change may take: two elections and a round trip.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one try at another node may take before the same command is tried again.
const TRY_PATIENCE: Duration = Duration::from_secs(3);
/// Between looks for a leader.
const PAUSE: Duration = Duration::from_millis(50);

/// What one try brought.
enum Try {
    /// The answer.
    Done(Outcome),
    /// The log never saw the command; somebody may know who leads.
    NotLeader(Option<NodeId>),
    /// The command may be in a log.
    Unknown,
    /// The node was not reached.
    Unreached,
}

impl From<Written> for Try {
    fn from(written: Written) -> Self {
        match written {
            Written::Done(outcome) => Self::Done(outcome),
            Written::NotLeader(leader) => Self::NotLeader(leader),
            Written::Unknown => Self::Unknown,
        }
    }
}

impl Inner {
    pub(crate) async fn propose(&self, change: Change) -> Result<Committed, ProposeError> {
        self.propose_command(Command {
            id: rand::random(),
            time_ms: now_ms(),
            change,
        })
        .await
    }

    pub(crate) async fn propose_command(
        &self,
        command: Command,
    ) -> Result<Committed, ProposeError> {
        let membership = self.member().ok_or(ProposeError::Outside)?;
        let submitted = Instant::now();
        let mut may_be_made = false;
        let mut told: Option<NodeId> = None;
        loop {
            let left = PATIENCE.saturating_sub(submitted.elapsed());
            if left.is_zero() {
                break;
            }
            let leader = told.take().or_else(|| membership.raft.leader());
            let outcome = match leader {
                Some(leader) if leader == membership.id => {
                    membership.raft.write(command.clone(), left).await.into()
                }
                Some(leader) => {
                    self.forward(&membership, leader, &command, left.min(TRY_PATIENCE))
                        .await
                }
                None => Try::NotLeader(None),
            };
            match outcome {
                Try::Done(outcome) => {
                    return match outcome.refusal {
                        None => Ok(Committed {
                            index: outcome.index,
                            submitted,
                        }),
                        Some(refusal) => Err(refusal.into()),
                    };
                }
                Try::NotLeader(Some(leader)) if Some(leader) != told => {
                    told = Some(leader);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                Try::NotLeader(_) | Try::Unreached => {}
                Try::Unknown => may_be_made = true,
            }
            tokio::time::sleep(PAUSE.min(left)).await;
        }
        let waited = submitted.elapsed();
        Err(if may_be_made {
            ProposeError::Unknown { waited }
        } else {
            ProposeError::NoLeader { waited }
        })
    }

    /// Hands a command to the node that is said to lead.
    async fn forward(
        &self,
        membership: &Membership,
        leader: NodeId,
        command: &Command,
        deadline: Duration,
    ) -> Try {
        let Some(target) = membership.raft.address(leader) else {
            return Try::Unreached;
        };
        let Ok(body) = encode(command) else {
            return Try::Unreached;
        };
        let request = PeerRequest {
            kind: PeerKind::Propose,
            body: body.into(),
        };
        let answer = tokio::select! {
            answer = self.transport.call(&target, request, deadline) => answer,
            // Another leads now: it has the command in its log, or can be asked for it.
            () = membership.raft.until_not_led_by(leader) => return Try::Unknown,
        };
        match answer {
            Ok(answer) => match decode(&answer) {
                Ok(ProposeAnswer::Done(outcome)) => Try::Done(outcome),
                Ok(ProposeAnswer::NotLeader(leader)) => Try::NotLeader(leader),
                Ok(ProposeAnswer::Unknown) | Err(_) => Try::Unknown,
            },
            Err(TransportError::Unreachable { .. }) => Try::Unreached,
            Err(error) => {
                tracing::debug!(%error, "a forwarded change has no answer yet");
                Try::Unknown
            }
        }
    }

    /// Answers a forwarded command: only a try here, never a second hop.
    pub(crate) async fn answer_propose(
        &self,
        membership: &Membership,
        command: Command,
    ) -> ProposeAnswer {
        match membership.raft.write(command, TRY_PATIENCE).await {
            Written::Done(outcome) => ProposeAnswer::Done(outcome),
            Written::NotLeader(leader) => ProposeAnswer::NotLeader(leader),
            Written::Unknown => ProposeAnswer::Unknown,
        }
    }
}
