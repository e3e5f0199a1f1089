//! What happened to the cluster, told to the system log: one line per fact, in the operator's names.
//!
//! [`Known`] is what this node knew at one moment; the facts are what differs between two of them. So nothing is told
//! twice, and a node that was away tells what changed in the meantime rather than each step of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nearside_cluster::{Cluster, Document, Liveness, State, Status};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two looks at what no channel tells of: the leader and the quorum.
const EVERY: Duration = Duration::from_secs(1);
/// Looks without a quorum before it is called lost: an election takes about as long.
const LOST_AFTER: u32 = 4;

/// A member, as far as the log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MemberKnown {
    name: String,
    region: String,
    peer: String,
    version: String,
    voter: bool,
    draining: bool,
}

/// What one node knows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    leader: Option<String>,
    term: u64,
    without_quorum: bool,
    distrusts: bool,
    members: BTreeMap<u64, MemberKnown>,
    up: BTreeSet<u64>,
    sites: BTreeMap<String, (u64, String)>,
    zones: BTreeMap<String, (u64, String)>,
}

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
enum Fact<'a> {
    Leader(&'a str, u64),
    QuorumLost,
    QuorumBack,
    Blind,
    SeesAgain,
    Joined(u64, &'a MemberKnown),
    Removed(u64, &'a MemberKnown),
    Changed(u64, &'a MemberKnown),
    Votes(&'a str, bool),
    Drains(&'a str, bool),
    Up(&'a str),
    Down(&'a str),
    Applied(&'static str, &'a str, u64, &'a str),
    Withdrawn(&'static str, &'a str),
}

impl Fact<'_> {
    fn tell(&self) {
        match self {
            Self::Leader(leader, term) => tracing::info!(leader, term, "the cluster has a leader"),
            Self::QuorumLost => tracing::warn!(
                "no quorum: nothing can be changed, everything is served from the last view"
            ),
            Self::QuorumBack => tracing::info!("there is a quorum again"),
            Self::Blind => tracing::warn!(
                "most members are out of sight: the last agreed set of healthy ones stays in force"
            ),
            Self::SeesAgain => tracing::info!("a majority of the members is in sight"),
            Self::Joined(id, member) => {
                let MemberKnown {
                    name,
                    region,
                    peer,
                    version,
                    ..
                } = member;
                tracing::info!(member = name, id, region, peer, version, "a member joined");
            }
            Self::Removed(id, member) => {
                tracing::info!(member = member.name, id, "a member was removed");
            }
            Self::Changed(id, member) => {
                let MemberKnown {
                    name,
                    region,
                    peer,
                    version,
                    ..
                } = member;
                tracing::info!(
                    member = name,
                    id,
                    region,
                    peer,
                    version,
                    "a member's record changed"
                );
            }
            Self::Votes(member, true) => tracing::info!(member, "a member votes now"),
            Self::Votes(member, false) => tracing::info!(member, "a member votes no more"),
            Self::Drains(member, true) => tracing::info!(member, "a member is drained"),
            Self::Drains(member, false) => tracing::info!(member, "a member takes clients again"),
            Self::Up(member) => tracing::info!(member, "a member is up"),
            Self::Down(member) => tracing::warn!(member, "a member is down"),
            Self::Applied(kind, name, revision, author) => {
                tracing::info!(name, revision, author, "a {kind} was applied");
            }
            Self::Withdrawn(kind, name) => tracing::info!(name, "a {kind} was removed"),
        }
    }
}

/// What differs, in the order in which it reads best.
fn facts<'a>(before: &'a Known, after: &'a Known) -> Vec<Fact<'a>> {
    let mut facts = Vec::new();
    match (before.without_quorum, after.without_quorum) {
        (false, true) => facts.push(Fact::QuorumLost),
        (true, false) => facts.push(Fact::QuorumBack),
        _ => {}
    }
    if let Some(leader) = &after.leader
        && (before.leader.as_ref(), before.term) != (Some(leader), after.term)
    {
        facts.push(Fact::Leader(leader, after.term));
    }
    for (id, old) in &before.members {
        if !after.members.contains_key(id) {
            facts.push(Fact::Removed(*id, old));
        }
    }
    for (id, new) in &after.members {
        let Some(old) = before.members.get(id) else {
            facts.push(Fact::Joined(*id, new));
            continue;
        };
        let same = (&old.name, &old.region, &old.peer, &old.version)
            == (&new.name, &new.region, &new.peer, &new.version);
        if !same {
            facts.push(Fact::Changed(*id, new));
        }
        if old.voter != new.voter {
            facts.push(Fact::Votes(&new.name, new.voter));
        }
        if old.draining != new.draining {
            facts.push(Fact::Drains(&new.name, new.draining));
        }
    }
    for (id, member) in &after.members {
        match (before.up.contains(id), after.up.contains(id)) {
            (false, true) => facts.push(Fact::Up(&member.name)),
            (true, false) => facts.push(Fact::Down(&member.name)),
            _ => {}
        }
    }
    match (before.distrusts, after.distrusts) {
        (false, true) => facts.push(Fact::Blind),
        (true, false) => facts.push(Fact::SeesAgain),
        _ => {}
    }
    documents("site", &before.sites, &after.sites, &mut facts);
    documents("zone", &before.zones, &after.zones, &mut facts);
    facts
}

fn documents<'a>(
    kind: &'static str,
    before: &'a BTreeMap<String, (u64, String)>,
    after: &'a BTreeMap<String, (u64, String)>,
    facts: &mut Vec<Fact<'a>>,
) {
    for name in before.keys() {
        if !after.contains_key(name) {
            facts.push(Fact::Withdrawn(kind, name));
        }
    }
    for (name, (revision, author)) in after {
        if before.get(name).is_none_or(|old| old.0 != *revision) {
            facts.push(Fact::Applied(kind, name, *revision, author));
        }
    }
}

fn known(state: &State, liveness: &Liveness, status: &Status, without_quorum: bool) -> Known {
    let revisions = |documents: &BTreeMap<String, std::sync::Arc<Document>>| {
        let revision = |document: &Document| (document.revision, document.author.clone());
        documents
            .iter()
            .map(|(name, document)| (name.clone(), revision(document)))
            .collect()
    };
    Known {
        leader: status.leader_name.clone(),
        term: status.term,
        without_quorum,
        distrusts: !liveness.trusted && state.members.len() > 1,
        members: state
            .members
            .values()
            .map(|member| {
                let known = MemberKnown {
                    name: member.name.clone(),
                    region: member.region.clone(),
                    peer: member.peer.clone(),
                    version: member.version.clone(),
                    voter: member.voter,
                    draining: member.draining,
                };
                (member.id.0, known)
            })
            .collect(),
        up: liveness.healthy.iter().map(|id| id.0).collect(),
        sites: revisions(&state.sites),
        zones: revisions(&state.zones),
    }
}

/// Tells what happens to the cluster until `stop`. What is known when it starts is told as one line.
pub(super) fn begin(cluster: &Cluster, stop: CancellationToken) -> JoinHandle<()> {
    let cluster = cluster.clone();
    tokio::spawn(async move {
        let (mut states, mut liveness) = (cluster.watch(), cluster.liveness());
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut missing: u32 = 0;
        let mut before: Option<Known> = None;
        loop {
            tokio::select! {
                _ = every.tick() => {
                    missing = if cluster.status().has_quorum { 0 } else { missing.saturating_add(1) };
                }
                changed = states.changed() => if changed.is_err() { return },
                changed = liveness.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            let status = cluster.status();
            let Some(id) = status.id else { continue };
            let state = std::sync::Arc::clone(&states.borrow_and_update());
            let seen = std::sync::Arc::clone(&liveness.borrow_and_update());
            // The state may lead the quorum's news by a tick, so that a look is not judged by what it just learned.
            let now = known(&state, &seen, &status, missing >= LOST_AFTER);
            match &before {
                Some(before) => facts(before, &now).iter().for_each(Fact::tell),
                // A node that has just joined reads the cluster's past first: that is no news.
                None if state.applied < id.0 || now.members.is_empty() => continue,
                None => tracing::info!(
                    cluster = status.cluster,
                    %id,
                    applied = state.applied,
                    members = state.members.len(),
                    sites = state.sites.len(),
                    zones = state.zones.len(),
                    "a member of a cluster"
                ),
            }
            before = Some(now);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> MemberKnown {
        MemberKnown {
            name: name.to_owned(),
            region: "eu".to_owned(),
            peer: format!("{name}:7443"),
            version: "1".to_owned(),
            voter: true,
            draining: false,
        }
    }

    #[test]
    fn each_difference_is_one_fact_and_the_same_is_none() {
        let before = Known {
            leader: Some("lon1".to_owned()),
            term: 3,
            members: [(1, member("lon1")), (2, member("nyc1"))].into(),
            up: [1, 2].into(),
            sites: [("shop".to_owned(), (4, "ann".to_owned()))].into(),
            ..Known::default()
        };
        assert_eq!(facts(&before, &before), []);
        let mut after = before.clone();
        after.leader = Some("nyc1".to_owned());
        after.term = 4;
        after.up = [2, 7].into();
        after.members.insert(7, member("sin1"));
        after.sites = [("blog".to_owned(), (9, "bob".to_owned()))].into();
        let sin = member("sin1");
        assert_eq!(
            facts(&before, &after),
            [
                Fact::Leader("nyc1", 4),
                Fact::Joined(7, &sin),
                Fact::Down("lon1"),
                Fact::Up("sin1"),
                Fact::Withdrawn("site", "shop"),
                Fact::Applied("site", "blog", 9, "bob"),
            ]
        );
    }

    #[test]
    fn a_leader_that_is_lost_is_told_by_the_next_one() {
        let before = Known {
            leader: Some("lon1".to_owned()),
            term: 3,
            ..Known::default()
        };
        let mut after = before.clone();
        after.leader = None;
        after.without_quorum = true;
        assert_eq!(facts(&before, &after), [Fact::QuorumLost]);
        assert_eq!(
            facts(&after, &before),
            [Fact::QuorumBack, Fact::Leader("lon1", 3)]
        );
    }
}
