//! What people are told is what DNS answers.

use hickory_proto::rr::RecordType;

use super::super::testing::{Ask, atlas, ids, nodes, scope, world, world_of};
use super::super::world::Snapshot;
use super::*;

fn routed(world: &Snapshot, client: &str, host: Option<&str>) -> RouteReport {
    let client = client.parse().expect("a network");
    route(&world.catalog, &world.healthy, &world.atlas, client, host)
}

#[test]
fn the_report_names_the_nodes_of_the_answer_and_its_scope() {
    for healthy in [&[1, 2, 3, 4, 5][..], &[2, 5], &[]] {
        let world = world_of(nodes(), healthy.iter().copied());
        for client in [
            "81.2.69.0/24",
            "133.242.0.0/24",
            "200.160.2.0/24",
            "2a02:8071::/56",
        ] {
            let report = routed(&world, client, Some("shop.edge.example.net"));
            let answered = report.nodes.iter().filter(|node| node.answered);
            let told: Vec<_> = answered
                .filter_map(|node| node.ipv4)
                .map(|address| u16::from(address.octets()[3]))
                .collect();
            let (address, source) = client.split_once('/').expect("a network");
            let source = source.parse().expect("a length");
            let reply = Ask::new("shop.edge.example.net.", RecordType::A)
                .subnet(address, source)
                .ask(&world);
            assert_eq!(told, ids(&reply), "{client}");
            assert_eq!(Some(report.ecs_scope), scope(&reply));
            assert_eq!(report.ttl_seconds, Some(20));
            assert_eq!(report.nodes.len(), 5, "every node, with its reason");
            assert!(report.nodes.iter().all(|node| !node.reason.is_empty()));
            assert_eq!(report.fail_open, healthy.is_empty());
        }
    }
}

#[test]
fn a_host_is_told_apart_by_how_it_is_answered() {
    let world = world();
    let told = |host| {
        let report = routed(&world, "81.2.69.160/32", host);
        (report.zone, report.steered)
    };
    let zone = || Some("edge.example.net".to_owned());
    assert_eq!(told(None), (None, true));
    assert_eq!(told(Some("pool.edge.example.net")), (zone(), true));
    assert_eq!(told(Some("fixed.edge.example.net")), (zone(), false));
    assert_eq!(told(Some("none.edge.example.net")), (zone(), false));
    assert_eq!(told(Some("www.shop.example")), (None, false));
}

#[test]
fn planned_nodes_are_ranked_without_addresses_and_silent_ones_come_last() {
    let silent = |id: u64| {
        let mut nodes = nodes();
        for node in nodes.iter_mut().filter(|node| id == 0 || node.id == id) {
            (node.ipv4, node.ipv6) = (None, None);
        }
        nodes
    };
    let report = routed(&world_of(silent(0), 1..=5), "81.2.69.160/32", None);
    assert_eq!(
        (&*report.nodes[0].name, report.nodes[0].answered),
        ("lon1", true)
    );
    let report = routed(&world_of(silent(1), 1..=5), "81.2.69.160/32", None);
    assert_eq!(&*report.nodes[0].name, "fra1");
    let last = report.nodes.last().expect("five");
    assert_eq!(
        (&*last.name, &*last.reason),
        ("lon1", "advertises no address")
    );
}

#[test]
fn a_place_says_how_it_is_known() {
    let report = locate(&atlas(), "81.2.69.160".parse().expect("an address"));
    assert_eq!(report.country.as_deref(), Some("GB"));
    assert_eq!(
        (&*report.known, report.database.as_deref()),
        ("by country", Some("embedded"))
    );
    let report = locate(&atlas(), "10.0.0.1".parse().expect("an address"));
    assert_eq!(
        (&*report.known, report.database),
        ("private address, no place", None)
    );
}
