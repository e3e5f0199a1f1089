//! Raft's membership follows the members that were agreed on, one change at a time.

use std::collections::{BTreeMap, BTreeSet};

use openraft::ChangeMembers;

use super::node::{RaftNode, matched};
use super::{Metrics, PeerNode};
use crate::liveness::Liveness;
use crate::state::{NodeId, State};

/// Voters at most; the other members learn.
const VOTERS_MAX: usize = 5;
/// A learner within this many entries of the leader's log may become a voter.
const CAUGHT_UP_ENTRIES: u64 = 100;

type Change = ChangeMembers<NodeId, PeerNode>;

impl RaftNode {
    /// Makes the next change, if there is one to make and this node leads. True when it was made, so that there may
    /// be another.
    pub(crate) async fn follow_members(&self, state: &State, liveness: &Liveness) -> bool {
        if !self.raft.is_leader() {
            return false;
        }
        let Some(change) = next_change(&self.metrics(), state, liveness) else {
            return false;
        };
        tracing::debug!(?change, "changing raft's membership");
        // Voters that a change replaces stay as learners, but for those that are removed.
        let retain = matches!(change, ChangeMembers::ReplaceAllVoters(_));
        match self.raft.change_membership(change, retain).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "raft's membership was not changed yet");
                false
            }
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
    if let [_, .., last] = &membership.get_joint_config()[..] {
        // A leader died between the two steps of a change: its second step is all that is left to do.
        return Some(ChangeMembers::ReplaceAllVoters(last.clone()));
    }
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let nodes: BTreeMap<NodeId, PeerNode> = membership
        .nodes()
        .map(|(id, node)| (*id, node.clone()))
        .collect();
    if let Some(gone) = nodes.keys().find(|id| !state.members.contains_key(id)) {
        return remove(*gone, &voters);
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
    let matched = matched(metrics);
    let is_ready = |id: &NodeId| {
        let behind = matched.get(id).map(|index| last_log.saturating_sub(*index));
        !voters.contains(id)
            && liveness.healthy.contains(id)
            && behind.is_some_and(|behind| behind <= CAUGHT_UP_ENTRIES)
    };
    let candidate = state.members.keys().find(|id| is_ready(id))?;
    Some(ChangeMembers::AddVoterIds(BTreeSet::from([*candidate])))
}

fn remove(gone: NodeId, voters: &BTreeSet<NodeId>) -> Option<Change> {
    let is_voter = voters.contains(&gone);
    if is_voter && voters.len() == 1 {
        // Its seat passes on when another member is ready.
        return None;
    }
    let gone = BTreeSet::from([gone]);
    Some(if is_voter {
        ChangeMembers::RemoveVoters(gone)
    } else {
        ChangeMembers::RemoveNodes(gone)
    })
}
