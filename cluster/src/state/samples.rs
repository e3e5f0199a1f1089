//! One command of each kind, and a state in which every table has something: for golden files and tests.

use std::net::Ipv4Addr;

use super::{
    Change, Command, JoinToken, Machine, NewDocument, NewMember, NodeId, Purge, PurgeScope,
};

pub(crate) fn new_member(name: &str) -> NewMember {
    NewMember {
        name: name.into(),
        region: "eu".into(),
        latitude: Some(51.5),
        longitude: Some(-0.1),
        ipv4: Some(Ipv4Addr::new(203, 0, 113, 10)),
        ipv6: Some("2001:db8::10".parse().unwrap()),
        peer: format!("{name}.example:7443"),
        version: "0.1.0".into(),
    }
}

pub(crate) fn document(name: &str, hosts: &[&str]) -> NewDocument {
    NewDocument {
        name: name.into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        text: format!("name = \"{name}\"\n"),
        expected_revision: None,
    }
}

pub(crate) fn sites(documents: Vec<NewDocument>) -> Change {
    Change::SitesApplied {
        documents,
        author: "ops".into(),
    }
}

pub(crate) fn purge(site: &str, scope: PurgeScope, soft: bool) -> Change {
    Change::Purged(Purge {
        site: site.into(),
        scope,
        soft,
        author: "ops".into(),
    })
}

pub(crate) fn token(id: &str, uses_left: u32) -> JoinToken {
    JoinToken {
        id: id.into(),
        secret_hash: [5; 32],
        expires_ms: 2_000_000,
        uses_left,
        author: "ops".into(),
    }
}

pub(crate) fn joined(name: &str) -> Change {
    Change::MemberJoined {
        token: "aa11".into(),
        secret_hash: [5; 32],
        member: new_member(name),
        replaces: None,
    }
}

/// In an order in which each is accepted, but for two. New kinds come at the end.
fn changes() -> Vec<Change> {
    vec![
        Change::ClusterMade {
            cluster: [1; 16],
            ca_certificate: vec![0x30, 1, 2],
            ca_key_sealed: vec![9, 9, 9],
            founder: new_member("a"),
        },
        Change::JoinTokenMade(token("aa11", 9)),
        joined("b"),
        joined("c"),
        Change::MemberUpdated {
            id: NodeId::FOUNDER,
            member: new_member("a"),
        },
        Change::DrainSet {
            id: NodeId::FOUNDER,
            draining: true,
        },
        Change::MemberRemoved { id: NodeId(13) },
        sites(vec![
            document("shop", &["shop.example", "www.shop.example"]),
            document("news", &["news.example"]),
        ]),
        sites(vec![document("shop", &["shop.example"])]),
        Change::SiteRemoved {
            name: "news".into(),
            expected_revision: Some(17),
            author: "ops".into(),
        },
        Change::ZonesApplied {
            documents: vec![document("edge.example.net", &[])],
            author: "ops".into(),
        },
        purge("shop", PurgeScope::Url("shop.example/a?b=c".into()), false),
        purge("shop", PurgeScope::All, true),
        Change::ZoneRemoved {
            name: "other.example.net".into(),
            expected_revision: None,
            author: "ops".into(),
        },
        Change::JoinTokenRevoked { id: "bb22".into() },
        purge("shop", PurgeScope::Prefix("/a/".into()), false),
        purge("shop", PurgeScope::Tag("article-7".into()), true),
    ]
}

/// One command of each kind.
pub(crate) fn commands() -> Vec<Command> {
    (0_u8..)
        .zip(changes())
        .map(|(number, change)| Command {
            id: [number; 16],
            time_ms: 1_000_000 + u64::from(number),
            change,
        })
        .collect()
}

/// What the first of these commands make from index 10 on: those that there were in the first version.
pub(crate) fn machine() -> Machine {
    machine_of(15)
}

/// What all of them make.
pub(crate) fn machine_of_all() -> Machine {
    machine_of(usize::MAX)
}

fn machine_of(first: usize) -> Machine {
    let mut machine = Machine::default();
    for (index, command) in (10..).zip(commands()).take(first) {
        machine.apply(index, &command);
    }
    machine
}
