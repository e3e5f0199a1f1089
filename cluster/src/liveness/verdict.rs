//! From what is seen to what is believed; pure.

use std::collections::BTreeSet;

use crate::state::NodeId;

/// Which members are believed to be up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// The members believed to be up, this node included. While the view is not trusted, the last set that was.
    pub healthy: BTreeSet<NodeId>,
    /// False while this node sees no majority of the members: it then distrusts its own verdicts.
    pub trusted: bool,
}

impl Liveness {
    /// What to believe when this node sees `seen` up, out of `members`, and believed `self` before. Of `unheard` it
    /// has heard neither good nor bad yet: they pass for healthy, but vouch for nobody.
    #[must_use]
    pub(crate) fn next(
        &self,
        own: NodeId,
        seen: &BTreeSet<NodeId>,
        unheard: &BTreeSet<NodeId>,
        members: &BTreeSet<NodeId>,
    ) -> Self {
        let mut healthy: BTreeSet<NodeId> = seen.intersection(members).copied().collect();
        healthy.insert(own);
        let given_time = unheard.intersection(members);
        if 2 * healthy.len() > members.len() {
            healthy.extend(given_time);
            return Self {
                healthy,
                trusted: true,
            };
        }
        // A node that has never seen a majority (it just started) has no agreed set: everybody is given the benefit.
        let mut agreed: BTreeSet<NodeId> = if self.healthy.is_empty() {
            members.clone()
        } else {
            self.healthy.intersection(members).copied().collect()
        };
        agreed.insert(own);
        agreed.extend(given_time);
        Self {
            healthy: agreed,
            trusted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn check(before: &[u64], seen: &[u64], members: &[u64], healthy: &[u64], trusted: bool) {
        let before = Liveness {
            healthy: ids(before),
            trusted: true,
        };
        let expected = Liveness {
            healthy: ids(healthy),
            trusted,
        };
        let next = before.next(NodeId(1), &ids(seen), &BTreeSet::new(), &ids(members));
        assert_eq!(next, expected, "seen {seen:?} of {members:?}");
    }

    #[test]
    fn a_verdict_needs_a_majority() {
        check(&[1, 2, 3], &[2], &[1, 2, 3], &[1, 2], true);
        check(&[1, 2], &[], &[1, 2, 3], &[1, 2], false);
        check(&[1, 2, 3], &[], &[1, 2, 3], &[1, 2, 3], false);
        check(&[], &[], &[1, 2, 3], &[1, 2, 3], false);
        check(&[1, 2], &[], &[1, 2], &[1, 2], false);
        check(&[], &[], &[1], &[1], true);
    }

    #[test]
    fn a_member_not_heard_of_yet_passes_for_healthy_but_vouches_for_nobody() {
        let (members, unheard) = (ids(&[1, 2, 3, 4, 5]), ids(&[4, 5, 9]));
        let first = Liveness::default().next(NodeId(1), &ids(&[2, 3]), &unheard, &members);
        assert_eq!(
            (first.healthy.clone(), first.trusted),
            (members.clone(), true)
        );
        let alone = first.next(NodeId(1), &ids(&[2]), &unheard, &members);
        assert!(
            !alone.trusted,
            "two of five are no majority, whoever else may be up"
        );
    }

    #[test]
    fn who_is_no_member_is_not_healthy() {
        check(&[1, 2, 9], &[2, 3, 9], &[1, 2, 3], &[1, 2, 3], true);
        check(&[1, 9], &[], &[1, 2, 3], &[1], false);
    }
}
