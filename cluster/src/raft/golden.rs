//! Golden files of Raft: what is stored, and what nodes say to each other.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId as _;
use openraft::{EntryPayload, Membership};

use super::machine::Stored;
use super::network::{AppendQuestion, SnapshotQuestion};
use super::{Entry, LogId, PeerNode, SnapshotMeta, StoredMembership, TypeConfig, Vote, encode};
use crate::golden::check;
use crate::state::samples;
use crate::{Command, NodeId};

type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;

fn vote() -> Vote {
    Vote::new_committed(3, NodeId(7))
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId::new(3, NodeId(7)).to_committed(), index)
}

fn membership() -> Membership<NodeId, PeerNode> {
    let node = |name: &str| PeerNode {
        name: name.into(),
        address: format!("{name}.example:7443"),
    };
    Membership::new(
        vec![BTreeSet::from([NodeId(1), NodeId(7)])],
        BTreeMap::from([
            (NodeId(1), node("a")),
            (NodeId(7), node("b")),
            (NodeId(9), node("c")),
        ]),
    )
    .unwrap()
}

fn entry(index: u64, payload: EntryPayload<Command, NodeId, PeerNode>) -> Entry {
    Entry {
        log_id: log_id(index),
        payload,
    }
}

#[test]
fn stored_values_are_written_as_ever() {
    check("vote", &vote());
    check("vote-asked", &Vote::new(4, NodeId(9)));
    check("log-id", &Some(log_id(12)));
    check("entry-blank", &entry(1, EntryPayload::Blank));
    check(
        "entry-membership",
        &entry(2, EntryPayload::Membership(membership())),
    );
    for (number, command) in samples::commands().into_iter().enumerate() {
        let kind = command.change.name().replace(' ', "-");
        let name = format!("entry-{number:02}-{kind}");
        check(&name, &entry(3, EntryPayload::Normal(command)));
    }
}

#[test]
fn snapshots_are_written_as_ever() {
    let stored = Stored {
        machine: samples::machine(),
        last_applied: Some(log_id(40)),
        membership: StoredMembership::new(Some(log_id(2)), membership()),
    };
    check("snapshot", &stored);
    let all = Stored {
        machine: samples::machine_of_all(),
        last_applied: Some(log_id(40)),
        membership: StoredMembership::new(Some(log_id(2)), membership()),
    };
    check("snapshot-prefixes-tags", &all);
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(40)),
        last_membership: StoredMembership::new(Some(log_id(2)), membership()),
    };
    check("snapshot-meta", &meta);
    let question = SnapshotQuestion {
        vote: vote(),
        meta,
        data: encode(&stored).unwrap(),
    };
    check("snapshot-question", &question);
    check(
        "snapshot-answer",
        &SnapshotResponse::<TypeConfig>::new(vote()),
    );
}

#[test]
fn rafts_messages_are_written_as_ever() {
    let command = samples::commands().remove(0);
    check(
        "append-question",
        &AppendQuestion {
            rpc: AppendEntriesRequest {
                vote: vote(),
                prev_log_id: Some(log_id(2)),
                entries: vec![entry(3, EntryPayload::Normal(command))],
                leader_commit: Some(log_id(2)),
            },
            quorum_age_ms: Some(17),
        },
    );
    type Answer = AppendEntriesResponse<TypeConfig>;
    check("append-answer-success", &Answer::Success);
    check(
        "append-answer-partial",
        &Answer::PartialSuccess(Some(log_id(2))),
    );
    check("append-answer-conflict", &Answer::Conflict);
    check("append-answer-higher", &Answer::HigherVote(vote()));
    check(
        "vote-question",
        &VoteRequest::<TypeConfig>::new(vote(), Some(log_id(5))),
    );
    check(
        "vote-answer",
        &VoteResponse::<TypeConfig>::new(vote(), Some(log_id(5)), true),
    );
    check(
        "transfer-question",
        &TransferLeaderRequest::<TypeConfig>::new(vote(), NodeId(1), Some(log_id(5))),
    );
    check(
        "transfer-answer",
        &TransferLeaderResponse::<TypeConfig>::Ok(()),
    );
}
