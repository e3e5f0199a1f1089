//! What this node knows, put together without asking anybody.

use std::time::Duration;

use super::Inner;
use super::member::Membership;
use crate::status::{MemberStatus, Role, Status};

impl Inner {
    pub(crate) fn status(&self) -> Status {
        let name = self.options.member.name.clone();
        match self.member() {
            Some(membership) => self.status_of(name, &membership),
            None => Status::outside(name),
        }
    }

    fn status_of(&self, name: String, membership: &Membership) -> Status {
        let state = self.applied.state();
        let facts = membership.raft.facts();
        let liveness = self.liveness.borrow().clone();
        let quorum_age = membership.raft.quorum_heard().map(|heard| heard.elapsed());
        let members = state
            .members
            .values()
            .map(|member| MemberStatus {
                healthy: liveness.healthy.contains(&member.id),
                matched: if member.id == membership.id {
                    Some(state.applied)
                } else {
                    facts.matched.get(&member.id).copied()
                },
                id: member.id,
                name: member.name.clone(),
                region: member.region.clone(),
                peer: member.peer.clone(),
                voter: member.voter,
                draining: member.draining,
                version: member.version.clone(),
            })
            .collect();
        let leader = facts.leader;
        Status {
            cluster: Some(hex::encode(membership.cluster)),
            epoch: state.stamp.epoch,
            id: Some(membership.id),
            name,
            role: facts.role,
            leader,
            leader_name: leader
                .and_then(|leader| state.members.get(&leader))
                .map(|member| member.name.clone()),
            term: facts.term,
            last_log: facts.last_log,
            applied: state.applied,
            has_quorum: leader.is_some()
                && quorum_age.is_some_and(|age| age <= self.quorum_age_max()),
            quorum_age_ms: quorum_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            syncs: membership.store.syncs(),
            liveness_trusted: liveness.trusted,
            members,
        }
    }

    /// A quorum not heard of for a lease and a heartbeat is one that cannot be counted on.
    fn quorum_age_max(&self) -> Duration {
        self.options.timing.election_max + self.options.timing.heartbeat
    }
}

impl Status {
    fn outside(name: String) -> Self {
        Self {
            cluster: None,
            epoch: 0,
            id: None,
            name,
            role: Role::Outside,
            leader: None,
            leader_name: None,
            term: 0,
            last_log: 0,
            applied: 0,
            has_quorum: false,
            quorum_age_ms: None,
            syncs: 0,
            liveness_trusted: false,
            members: Vec::new(),
        }
    }
}
