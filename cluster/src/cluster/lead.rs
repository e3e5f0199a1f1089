//! What a leader does beside replicating: it makes Raft's membership follow the members that were agreed on, one
//! change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;

use super::Inner;
use super::member::Membership;
use crate::liveness::Liveness;
use crate::raft::{Metrics, PeerNode};
use crate::state::{NodeId, State};

/// Voters at most; the other members learn.
pub(crate) const VOTERS_MAX: usize = 5;
/// A learner within this many entries of the leader's log may become a voter.
const CAUGHT_UP_ENTRIES: u64 = 100;
/// Between looks when nothing seems to change.
const LOOK_EVERY: Duration = Duration::from_millis(500);

type Change = ChangeMembers<NodeId, PeerNode>;

/// Runs for as long as the node is a member; idle unless it leads.
pub(crate) async fn lead(inner: Weak<Inner>, membership: Weak<Membership>) {
    let (mut state, mut metrics) = {
        let (Some(inner), Some(membership)) = (inner.upgrade(), membership.upgrade()) else {
            return;
        };
        (inner.applied.watch(), membership.raft.server_metrics())
    };
    loop {
        {
            let (Some(inner), Some(membership)) = (inner.upgrade(), membership.upgrade()) else {
                return;
            };
            while membership.raft.is_leader() {
                let liveness = inner.liveness.borrow().clone();
                let now = inner.applied.state();
                let Some(change) = next_change(&membership.metrics(), &now, &liveness) else {
                    break;
                };
                tracing::info!(?change, "changing raft's membership");
                let retain = matches!(change, ChangeMembers::ReplaceAllVoters(_));
                if let Err(error) = membership.raft.change_membership(change, retain).await {
                    tracing::debug!(%error, "raft's membership was not changed yet");
                    break;
                }
            }
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            changed = metrics.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The next single change that brings Raft's membership nearer to the agreed members; pure.
fn next_change(metrics: &Metrics, state: &State, liveness: &Liveness) -> Option<Change> {
    let effective = &metrics.membership_config;
    if effective.log_id() != metrics.committed_membership_config.log_id()
        || state.members.is_empty()
    {
        return None;
    }
    let membership = effective.membership();
    if let [.., last] = &membership.get_joint_config()[..]
        && membership.get_joint_config().len() > 1
    {
        // A leader died between the two steps of a change: its second step is all that is left to do.
        return Some(ChangeMembers::ReplaceAllVoters(last.clone()));
    }
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let nodes: BTreeMap<NodeId, PeerNode> = membership
        .nodes()
        .map(|(id, node)| (*id, node.clone()))
        .collect();

    if let Some(gone) = nodes.keys().find(|id| !state.members.contains_key(id)) {
        let gone = BTreeSet::from([*gone]);
        if voters.is_subset(&gone) {
            return None;
        }
        return Some(if voters.is_disjoint(&gone) {
            ChangeMembers::RemoveNodes(gone)
        } else {
            ChangeMembers::RemoveVoters(gone)
        });
    }
    for member in state.members.values() {
        let node = PeerNode::from(member);
        match nodes.get(&member.id) {
            None => return Some(ChangeMembers::AddNodes(BTreeMap::from([(member.id, node)]))),
            Some(known) if *known != node => {
                return Some(ChangeMembers::SetNodes(BTreeMap::from([(member.id, node)])));
            }
            Some(_) => {}
        }
    }
    if voters.len() >= VOTERS_MAX {
        return None;
    }
    let last_log = metrics.last_log_index.unwrap_or(0);
    let candidate = state.members.keys().find(|id| {
        !voters.contains(id)
            && liveness.healthy.contains(id)
            && matched(metrics, **id).is_some_and(|index| index + CAUGHT_UP_ENTRIES >= last_log)
    })?;
    Some(ChangeMembers::AddVoterIds(BTreeSet::from([*candidate])))
}

fn matched(metrics: &Metrics, id: NodeId) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    replication.get(&id)?.as_ref().map(|log_id| log_id.index)
}
