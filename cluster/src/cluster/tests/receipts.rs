use std::time::Duration;

use super::lab::{Node, Web, cluster_of, cluster_timed, eventually, leader_of, purge, site};
use crate::{Receipt, ReceiptOutcome, Timing};

fn outcome_of(receipts: &[Receipt], node: &Node) -> ReceiptOutcome {
    let id = node.id();
    receipts
        .iter()
        .find(|receipt| receipt.id == id)
        .unwrap()
        .outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receipts_name_who_is_missing_and_who_is_down() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c", "d", "e"]).await;
    nodes[0].cluster.propose(site("shop")).await.unwrap();
    let submit = async |node: &Node| {
        let change = purge("shop", "shop.example/x");
        let committed = node.cluster.propose(change).await.unwrap();
        let timeout = Duration::from_secs(3);
        node.cluster.wait_applied(&committed, timeout).await
    };
    let receipts = submit(&nodes[1]).await;
    assert_eq!(receipts.len(), 5);
    for receipt in &receipts {
        assert!(
            matches!(receipt.outcome, ReceiptOutcome::Applied { ms } if ms < 2000.0),
            "{receipt:?}"
        );
    }

    let leader = leader_of(&nodes).await;
    let away = (leader + 1) % 5;
    let asked = (leader + 2) % 5;
    nodes[away].kill().await;
    eventually("it is seen down", || {
        let liveness = nodes[asked].cluster.liveness().borrow().clone();
        !liveness.healthy.contains(&nodes[away].id())
    })
    .await;
    let receipts = submit(&nodes[asked]).await;
    assert_eq!(outcome_of(&receipts, &nodes[away]), ReceiptOutcome::Down);
    let applied = receipts
        .iter()
        .filter(|receipt| matches!(receipt.outcome, ReceiptOutcome::Applied { .. }));
    assert_eq!(applied.count(), 4);
}

/// Three voters, 60 ms round trip between any two. What the leader commits must be visible elsewhere half a round
/// trip later, not at the next heartbeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purge_is_applied_everywhere_a_round_trip_and_a_half_after_it_is_submitted() {
    let web = Web::default();
    let names = ["a", "b", "c"];
    let nodes = cluster_timed(&web, &names, Timing::REGIONAL).await;
    let one_way = Duration::from_millis(30);
    for one in names {
        for other in names.iter().filter(|other| **other != one) {
            web.slow(one, other, one_way);
        }
    }
    let leader = leader_of(&nodes).await;
    nodes[leader].cluster.propose(site("shop")).await.unwrap();
    let mut slowest = Vec::new();
    let mut said = Vec::new();
    for number in 0..50 {
        let change = purge("shop", &format!("shop.example/{number}"));
        let committed = nodes[leader].cluster.propose(change).await.unwrap();
        let receipts = nodes[leader]
            .cluster
            .wait_applied(&committed, Duration::from_secs(5))
            .await;
        let times = nodes.iter().map(|node| {
            let at = node.told.time_of(committed.index).unwrap();
            at.duration_since(committed.submitted)
        });
        slowest.push(times.max().unwrap());
        let ms = receipts.iter().map(|receipt| match receipt.outcome {
            ReceiptOutcome::Applied { ms } => ms,
            other => panic!("{other:?}"),
        });
        said.push(ms.fold(0.0, f64::max));
    }
    slowest.sort_unstable();
    said.sort_by(f64::total_cmp);
    println!(
        "applied everywhere: p50 {:?}, p95 {:?}; receipts say p50 {:.1} ms, p95 {:.1} ms",
        slowest[25], slowest[47], said[25], said[47]
    );
    // 60 + 30 ms on the way, syncs, and a busy machine; a heartbeat would be 300.
    assert!(
        slowest[25] < Duration::from_millis(150),
        "{:?}",
        slowest[25]
    );
    assert!((said[25] - slowest[25].as_secs_f64() * 1e3).abs() < 20.0);
}
