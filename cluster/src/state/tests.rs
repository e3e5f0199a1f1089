use std::collections::BTreeSet;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::samples::{document, joined, machine, new_member, purge, sites, token};
use super::{Change, Command, Machine, NodeId, Outcome, PurgeScope, Refusal};

/// Applies changes one after the other, from where the machine is.
fn apply(machine: &mut Machine, change: Change) -> Outcome {
    let index = machine.state.applied + 1;
    let mut id = [0xff; 16];
    id[..8].copy_from_slice(&index.to_be_bytes());
    let time_ms = 1_000_000 + index;
    let (outcome, new) = machine.apply(
        index,
        &Command {
            id,
            time_ms,
            change,
        },
    );
    assert!(new);
    outcome
}

fn refusal(machine: &mut Machine, change: Change) -> String {
    let before = machine.state.clone();
    let outcome = apply(machine, change);
    let mut after = machine.state.clone();
    (after.applied, after.time_ms) = (before.applied, before.time_ms);
    assert_eq!(before, after, "a refused change changes nothing");
    outcome.refusal.expect("it is refused").to_string()
}

fn accepted(machine: &mut Machine, change: Change) -> u64 {
    let outcome = apply(machine, change);
    assert_eq!(outcome.refusal, None);
    outcome.index
}

#[test]
fn a_host_belongs_to_one_site() {
    let mut machine = machine();
    let text = refusal(
        &mut machine,
        sites(vec![document("other", &["shop.example"])]),
    );
    for word in ["other", "shop", "shop.example"] {
        assert!(text.contains(word), "{text}");
    }
    // Two in one change clash as well.
    let both = vec![document("x", &["x.example"]), document("y", &["x.example"])];
    refusal(&mut machine, sites(both));
    // A host may move from one site to another in one change.
    let moved = vec![
        document("shop", &["new.example"]),
        document("other", &["shop.example"]),
    ];
    accepted(&mut machine, sites(moved));
}

#[test]
fn a_change_that_read_an_old_revision_is_refused() {
    let mut machine = machine();
    let revision = machine.state.sites["shop"].revision;
    let mut stale = document("shop", &["shop.example"]);
    stale.expected_revision = Some(revision - 1);
    let text = refusal(&mut machine, sites(vec![stale.clone()]));
    assert!(text.contains(&revision.to_string()), "{text}");
    stale.expected_revision = Some(0);
    refusal(&mut machine, sites(vec![stale.clone()]));
    stale.expected_revision = Some(revision);
    let index = accepted(&mut machine, sites(vec![stale]));
    assert_eq!(machine.state.sites["shop"].revision, index);
}

#[test]
fn a_document_keeps_ten_earlier_revisions() {
    let mut machine = machine();
    let mut revisions = vec![machine.state.sites["shop"].revision];
    for _ in 0..20 {
        let change = sites(vec![document("shop", &["shop.example"])]);
        revisions.push(accepted(&mut machine, change));
    }
    let shop = &machine.state.sites["shop"];
    let kept: Vec<u64> = shop.history.iter().map(|old| old.revision).collect();
    revisions.reverse();
    assert_eq!(kept, revisions[1..11]);
}

#[test]
fn the_state_stays_bounded() {
    let mut machine = machine();
    let of_bytes = |name: &str, bytes: usize| {
        let mut big = document(name, &[]);
        big.text = "#".repeat(bytes);
        big
    };
    let text = refusal(&mut machine, sites(vec![of_bytes("big", 256 * 1024 + 1)]));
    assert!(text.contains("at most"), "{text}");
    let batch = |batch: usize, count: usize| {
        let names = (0..count).map(|number| format!("big{batch}-{number}"));
        sites(names.map(|name| of_bytes(&name, 256 * 1024)).collect())
    };
    refusal(&mut machine, batch(0, 9));
    for number in 0..31 {
        accepted(&mut machine, batch(number, 8));
    }
    let text = refusal(&mut machine, batch(31, 8));
    assert!(text.contains("histories"), "{text}");
}

#[test]
fn a_member_gets_the_index_as_its_id_and_uses_the_token_up() {
    let mut machine = machine();
    let uses = machine.state.join_tokens["aa11"].uses_left;
    let index = accepted(&mut machine, joined("d"));
    assert_eq!(machine.state.members[&NodeId(index)].name, "d");
    assert_eq!(machine.state.join_tokens["aa11"].uses_left, uses - 1);
    let text = refusal(&mut machine, joined("d"));
    assert!(text.contains("exists already"), "{text}");

    let token_refused = |machine: &mut Machine, token: &str, hash: u8, word: &str| {
        let change = Change::MemberJoined {
            token: token.into(),
            secret_hash: [hash; 32],
            member: new_member("e"),
            replaces: None,
        };
        let text = refusal(machine, change);
        assert!(text.contains(word), "{text}");
    };
    token_refused(&mut machine, "cc33", 5, "unknown");
    token_refused(&mut machine, "aa11", 6, "wrong");
    accepted(&mut machine, Change::JoinTokenMade(token("once", 0)));
    token_refused(&mut machine, "once", 5, "used up");
    // State time decides, and it comes from the commands alone.
    machine.state.time_ms = 3_000_000;
    token_refused(&mut machine, "aa11", 5, "expired");
}

#[test]
fn a_namesake_that_is_replaced_is_gone() {
    let mut machine = machine();
    let old = machine.state.member_named("b").unwrap().id;
    let Change::MemberJoined {
        token,
        secret_hash,
        member,
        ..
    } = joined("b")
    else {
        unreachable!()
    };
    let replaces = |id| Change::MemberJoined {
        token: token.clone(),
        secret_hash,
        member: member.clone(),
        replaces: Some(id),
    };
    refusal(&mut machine, replaces(NodeId(999)));
    let new = accepted(&mut machine, replaces(old));
    assert_eq!(machine.state.member_named("b").unwrap().id, NodeId(new));
    assert!(!machine.state.members.contains_key(&old));
}

#[test]
fn state_time_never_runs_backwards() {
    let mut machine = machine();
    let before = machine.state.time_ms;
    let early = Command {
        id: [0xaa; 16],
        time_ms: 5,
        change: Change::JoinTokenMade(token("early", 1)),
    };
    machine.apply(machine.state.applied + 1, &early);
    assert_eq!(machine.state.time_ms, before);
}

#[test]
fn a_removed_site_leaves_a_floor_for_its_return() {
    let mut machine = machine();
    let purged = accepted(
        &mut machine,
        purge("shop", PurgeScope::Url("shop.example/x".into()), false),
    );
    let removed = accepted(
        &mut machine,
        Change::SiteRemoved {
            name: "shop".into(),
            expected_revision: None,
            author: "ops".into(),
        },
    );
    let purges = &machine.state.purges["shop"];
    assert!(purges.floor.hard == removed && removed > purged);
    let text = refusal(&mut machine, purge("shop", PurgeScope::All, false));
    assert!(text.contains("no site"), "{text}");
    accepted(
        &mut machine,
        sites(vec![document("shop", &["shop.example"])]),
    );
    assert_eq!(machine.state.purges["shop"].floor.hard, removed);
}

#[test]
fn too_many_purged_urls_are_absorbed_by_the_floor() {
    let mut machine = machine();
    let mut last = 0;
    for number in 0..10_000 {
        let url = PurgeScope::Url(format!("shop.example/{number}"));
        last = accepted(&mut machine, purge("shop", url, false));
    }
    let purges = &machine.state.purges["shop"];
    assert!(purges.urls.len() <= 4096);
    assert_eq!(purges.urls["shop.example/9999"].hard, last);
    // Nothing purged lives: whatever is not kept apart is below the floor.
    for number in 0..10_000_u64 {
        let url = format!("shop.example/{number}");
        let purged_at = last - (9_999 - number);
        let apart = purges
            .urls
            .get(&url)
            .is_some_and(|marks| marks.hard == purged_at);
        assert!(apart || purges.floor.hard >= purged_at, "{url}");
    }
}

#[test]
fn prefixes_and_tags_are_bounded_each_by_the_floor() {
    type Scope = fn(String) -> PurgeScope;
    let mut machine = machine();
    for (scope, max) in [(PurgeScope::Prefix as Scope, 256), (PurgeScope::Tag, 4096)] {
        let first = accepted(&mut machine, purge("shop", scope("/0".into()), false));
        assert!(machine.state.purges["shop"].floor.hard < first);
        for number in 1..=max {
            let scope = scope(format!("/{number}"));
            accepted(&mut machine, purge("shop", scope, false));
        }
        let purges = &machine.state.purges["shop"];
        assert!(purges.prefixes.len() <= 256 && purges.tags.len() <= 4096);
        assert!(purges.floor.hard >= first);
    }
    let purges = &machine.state.purges["shop"];
    assert!(!purges.prefixes.is_empty() && !purges.tags.is_empty());
    let text = refusal(
        &mut machine,
        purge("shop", PurgeScope::Tag("x".repeat(1025)), false),
    );
    assert!(text.contains("bytes of a purged tag"), "{text}");
    accepted(&mut machine, purge("shop", PurgeScope::All, false));
    let purges = &machine.state.purges["shop"];
    assert!(purges.prefixes.is_empty() && purges.tags.is_empty());
}

#[test]
fn membership_says_who_votes() {
    let mut machine = machine();
    let b = machine.state.member_named("b").unwrap().id;
    machine.vote(100, &BTreeSet::from([b]));
    let voters: Vec<NodeId> = machine
        .state
        .members
        .values()
        .filter(|member| member.voter)
        .map(|member| member.id)
        .collect();
    assert_eq!(voters, [b]);
    let text = Refusal::Invalid("x".into()).to_string();
    assert_eq!(text, "x");
}

/// A change out of a small world, so that it meets what others left.
fn some_change(kind: u8, name: u8, other: u8) -> Change {
    let names = ["shop", "news", "blog"];
    let hosts = ["shop.example", "news.example", "blog.example"];
    let site = names[usize::from(name % 3)];
    let host = hosts[usize::from(other % 3)];
    match kind % 10 {
        0 | 1 => sites(vec![document(site, &[host])]),
        2 => Change::SiteRemoved {
            name: site.into(),
            expected_revision: None,
            author: "ops".into(),
        },
        3 => purge(site, PurgeScope::Url(host.into()), other.is_multiple_of(2)),
        4 => purge(site, PurgeScope::All, other.is_multiple_of(2)),
        5 => joined(site),
        6 => Change::JoinTokenMade(token("aa11", 2)),
        8 => purge(site, PurgeScope::Tag(host.into()), other.is_multiple_of(2)),
        9 => purge(site, PurgeScope::Prefix("/".into()), false),
        _ => Change::MemberRemoved {
            id: NodeId(u64::from(name)),
        },
    }
}

proptest! {
    /// Invariant 4: the same log gives the same state, byte for byte, also when it went through a snapshot, and a
    /// command that reached the log twice applied once.
    #[test]
    fn the_same_log_gives_the_same_bytes(
        log in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0_u64..1000, 0_u8..40), 1..60),
        cut in 0_usize..60,
    ) {
        let commands: Vec<Command> = log
            .iter()
            .map(|(kind, name, other, time_ms, id)| Command {
                id: [*id; 16],
                time_ms: *time_ms,
                change: some_change(*kind, *name, *other),
            })
            .collect();
        let (mut one, mut other) = (machine(), machine());
        let mut seen = BTreeSet::new();
        for (number, command) in commands.iter().enumerate() {
            let index = 100 + number as u64;
            let before = one.state.time_ms;
            let (outcome, new) = one.apply(index, command);
            prop_assert_eq!(new, seen.insert(command.id) && command.id[0] >= 15);
            prop_assert!(one.state.time_ms >= before);
            prop_assert_eq!(other.apply(index, command), (outcome, new));
            if number == cut {
                other = crate::raft::decode(&crate::raft::encode(&other).unwrap()).unwrap();
            }
        }
        prop_assert_eq!(
            crate::raft::encode(&one).unwrap(),
            crate::raft::encode(&other).unwrap()
        );
        let mut hosts = BTreeSet::new();
        for host in one.state.sites.values().flat_map(|site| &site.hosts) {
            prop_assert!(hosts.insert(host), "two sites have {}", host);
        }
    }
}
