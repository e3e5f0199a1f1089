//! Who has applied a change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Inner;
use super::member::Membership;
use super::wire::{AppliedAnswer, AppliedQuestion};
use crate::liveness::Liveness;
use crate::raft::{Applied, decode, encode};
use crate::transport::{PeerAddress, PeerKind, PeerRequest, Transport};
use crate::{Committed, NodeId, Receipt, ReceiptOutcome};

/// Longest one question waits at the asked node before it is asked again.
const QUESTION_PATIENCE: Duration = Duration::from_secs(5);
/// What a question may take beyond its waiting.
const ROUND_TRIP_PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts at a node that does not answer.
const PAUSE: Duration = Duration::from_millis(100);

impl Inner {
    pub(crate) async fn wait_applied(
        &self,
        committed: &Committed,
        timeout: Duration,
    ) -> Vec<Receipt> {
        let Some(membership) = self.member() else {
            return Vec::new();
        };
        let deadline = Instant::now() + timeout;
        let state = self.applied.state();
        let mut receipts: Vec<Receipt> = state
            .members
            .values()
            .map(|member| Receipt {
                id: member.id,
                node: member.name.clone(),
                outcome: ReceiptOutcome::Missing,
            })
            .collect();
        let mut questions = JoinSet::new();
        for receipt in &receipts {
            let (id, committed) = (receipt.id, *committed);
            if id == membership.id {
                let applied = self.applied.clone();
                questions.spawn(async move {
                    let at = applied_here(&applied, committed.index, deadline).await;
                    (
                        id,
                        at.map(|at| at.saturating_duration_since(committed.submitted)),
                    )
                });
            } else if let Some(target) = membership.raft.address(id) {
                let transport = Arc::clone(&self.transport);
                questions.spawn(async move {
                    (
                        id,
                        ask_until(&*transport, &target, committed, deadline).await,
                    )
                });
            }
        }
        let mut liveness = self.liveness.subscribe();
        while !questions.is_empty() && !all_settled(&receipts, &liveness.borrow()) {
            tokio::select! {
                answered = questions.join_next() => {
                    if let Some(Ok((id, Some(after)))) = answered {
                        note(&mut receipts, id, ReceiptOutcome::applied(after));
                    }
                }
                changed = liveness.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(deadline.into()) => break,
            }
        }
        questions.shutdown().await;
        let liveness = Arc::clone(&liveness.borrow());
        for receipt in &mut receipts {
            if receipt.outcome == ReceiptOutcome::Missing && is_down(&liveness, receipt.id) {
                receipt.outcome = ReceiptOutcome::Down;
            }
        }
        receipts
    }
}

fn is_down(liveness: &Liveness, id: NodeId) -> bool {
    !liveness.healthy.contains(&id)
}

fn note(receipts: &mut [Receipt], id: NodeId, outcome: ReceiptOutcome) {
    for receipt in receipts {
        if receipt.id == id {
            receipt.outcome = outcome;
        }
    }
}

/// True when nobody who is believed up is missing.
fn all_settled(receipts: &[Receipt], liveness: &Liveness) -> bool {
    receipts
        .iter()
        .all(|receipt| receipt.outcome != ReceiptOutcome::Missing || is_down(liveness, receipt.id))
}

/// Waits until this node has applied `index`; when that was.
async fn applied_here(applied: &Applied, index: u64, deadline: Instant) -> Option<Instant> {
    let mut state: watch::Receiver<_> = applied.watch();
    let waited = tokio::time::timeout_at(
        deadline.into(),
        state.wait_for(|state| state.applied >= index),
    )
    .await;
    match waited {
        Ok(Ok(_)) => Some(applied.time_of(index).unwrap_or_else(Instant::now)),
        _ => None,
    }
}

/// Asks one member until it has applied the change; how long after its submission that was.
///
/// The member says how long the question waited and how long ago it applied the change. Half of what remains of the
/// round trip is the answer's way back.
async fn ask_until(
    transport: &dyn Transport,
    target: &PeerAddress,
    committed: Committed,
    deadline: Instant,
) -> Option<Duration> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let wait = left.min(QUESTION_PATIENCE);
        let question = AppliedQuestion {
            index: committed.index,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let request = PeerRequest {
            kind: PeerKind::Applied,
            body: encode(&question).ok()?.into(),
        };
        let asked = Instant::now();
        let answer = transport
            .call(target, request, wait + ROUND_TRIP_PATIENCE)
            .await;
        let answered = Instant::now();
        let answer = answer
            .ok()
            .and_then(|answer| decode::<AppliedAnswer>(&answer).ok());
        if let Some(answer) = answer.filter(|answer| answer.applied) {
            let travelled =
                (answered - asked).saturating_sub(Duration::from_micros(answer.waited_us));
            let ago = travelled / 2 + Duration::from_micros(answer.age_us.unwrap_or(0));
            let after = answered.saturating_duration_since(committed.submitted);
            return Some(after.saturating_sub(ago));
        }
        tokio::time::sleep(PAUSE.min(left)).await;
    }
}

impl Membership {
    /// Answers a member that asks for a receipt.
    pub(crate) async fn answer_applied(
        &self,
        applied: &Applied,
        question: AppliedQuestion,
    ) -> AppliedAnswer {
        let arrived = Instant::now();
        let wait = Duration::from_millis(question.wait_ms).min(QUESTION_PATIENCE);
        let at = applied_here(applied, question.index, arrived + wait).await;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        AppliedAnswer {
            applied: at.is_some(),
            age_us: at.map(|at| micros(at.elapsed())),
            waited_us: micros(arrived.elapsed()),
        }
    }
}
