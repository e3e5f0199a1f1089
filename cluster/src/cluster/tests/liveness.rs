use std::time::Instant;

use super::lab::{Node, Web, cluster_timed, eventually};
use crate::{NodeId, Timing};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_node_is_seen_down_by_all_and_up_again_at_once_when_it_is_back() {
    let web = Web::default();
    let mut nodes = cluster_timed(&web, &["a", "b", "c", "d", "e"], Timing::REGIONAL).await;
    let everybody: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    let killed = nodes.pop().unwrap();
    let began = Instant::now();
    killed.kill().await;
    let survivors = &everybody[..4];
    eventually("all see it down", || {
        nodes.iter().all(|node| node.sees_up(survivors))
    })
    .await;
    println!("seen down by all after {:?}", began.elapsed());
    let began = Instant::now();
    let back = killed.restart().await;
    nodes.push(back);
    eventually("all see it up", || {
        nodes.iter().all(|node| node.sees_up(&everybody))
    })
    .await;
    println!("seen up by all after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_off_node_distrusts_its_own_verdicts() {
    let web = Web::default();
    let nodes = cluster_timed(&web, &["a", "b", "c"], Timing::REGIONAL).await;
    let everybody: Vec<NodeId> = nodes.iter().map(Node::id).collect();
    web.isolate("c", &["a", "b"]);
    eventually("the many see it down", || {
        nodes[..2].iter().all(|node| node.sees_up(&everybody[..2]))
    })
    .await;
    eventually("the one distrusts itself", || {
        !nodes[2].cluster.liveness().borrow().trusted
    })
    .await;
    let believed = nodes[2].cluster.liveness().borrow().clone();
    assert!(believed.healthy.len() >= 2, "{believed:?}");
    web.heal();
    eventually("all trust and see all", || {
        nodes.iter().all(|node| node.sees_up(&everybody))
    })
    .await;
}
