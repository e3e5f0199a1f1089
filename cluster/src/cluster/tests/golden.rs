//! Golden files of what nodes say to each other beside Raft.

use crate::cluster::wire::{
    AppliedAnswer, AppliedQuestion, HelloAnswer, JoinAnswer, JoinQuestion, ProposeAnswer,
};
use crate::golden::check;
use crate::identity::{MakingFile, Token};
use crate::state::samples;
use crate::{NodeId, Outcome, Refusal};

#[test]
fn questions_and_answers_are_written_as_ever() {
    check("hello-outside", &HelloAnswer { cluster: None });
    let member = Some("01".repeat(16));
    check("hello-member", &HelloAnswer { cluster: member });
    check(
        "join-question",
        &JoinQuestion {
            command: [3; 16],
            token: "aa11".into(),
            secret: [4; 32],
            signing_request: vec![0x30, 0],
            member: samples::new_member("d"),
        },
    );
    check(
        "join-welcome",
        &JoinAnswer::Welcome {
            id: NodeId(42),
            certificate: vec![0x30, 1],
            ca_certificate: vec![0x30, 2],
            cluster_key: [6; 32],
        },
    );
    check("join-refused", &JoinAnswer::Refused("no".into()));
    check("join-not-now", &JoinAnswer::NotNow("later".into()));
    check("propose-question", &samples::commands().remove(7));
    let outcome = |refusal| ProposeAnswer::Done(Outcome { index: 9, refusal });
    check("propose-done", &outcome(None));
    let refusals = [
        Refusal::HostTaken {
            site: "a".into(),
            other: "b".into(),
            host: "c".into(),
        },
        Refusal::RevisionMismatch {
            kind: "site".into(),
            name: "a".into(),
            expected: 1,
            actual: 2,
        },
        Refusal::Unknown {
            kind: "site".into(),
            name: "a".into(),
        },
        Refusal::NameTaken {
            name: "a".into(),
            id: NodeId(1),
        },
        Refusal::TokenRefused {
            token: "aa11".into(),
            why: "is wrong".into(),
        },
        Refusal::TooMany {
            what: "sites".into(),
            limit: 5,
        },
        Refusal::Invalid("x".into()),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        check(
            &format!("propose-refused-{number}"),
            &outcome(Some(refusal)),
        );
    }
    check(
        "propose-not-leader",
        &ProposeAnswer::NotLeader(Some(NodeId(7))),
    );
    check("propose-unknown", &ProposeAnswer::Unknown);
    check(
        "applied-question",
        &AppliedQuestion {
            index: 9,
            wait_ms: 5000,
        },
    );
    check(
        "applied-answer",
        &AppliedAnswer {
            applied: true,
            age_us: Some(120),
            waited_us: 30_000,
        },
    );
}

#[test]
fn tokens_and_files_are_written_as_ever() {
    check(
        "join-token",
        &Token {
            addresses: vec!["a.example:7443".into()],
            id: "aa11".into(),
            secret: [4; 32],
            ca_hash: [8; 32],
        },
    );
    check(
        "making",
        &MakingFile {
            command: [2; 16],
            cluster: [1; 16],
            ca_certificate: vec![0x30, 1],
            ca_key_sealed: vec![9],
        },
    );
}
