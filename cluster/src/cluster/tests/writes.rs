use std::time::{Duration, Instant};

use super::lab::{Node, Web, cluster_of, eventually, leader_of, purge, site, token};
use crate::{Change, Command, ProposeError, Refusal, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_is_made_on_any_node_and_seen_on_all() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c"]).await;
    for (number, node) in nodes.iter().enumerate() {
        let change = site(&format!("site{number}"));
        let committed = node.cluster.propose(change).await.unwrap();
        eventually("all apply it", || {
            nodes
                .iter()
                .all(|node| node.cluster.state().applied >= committed.index)
        })
        .await;
    }
    for node in &nodes {
        assert_eq!(node.cluster.state().sites.len(), 3);
        assert_eq!(
            *node.cluster.state(),
            *nodes[0].cluster.state(),
            "the same log gives the same state"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refusal_is_an_answer_and_names_both_sites() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b"]).await;
    nodes[0].cluster.propose(site("shop")).await.unwrap();
    let Change::SitesApplied {
        mut documents,
        author,
    } = site("shop")
    else {
        unreachable!()
    };
    documents[0].name = "other".into();
    let clash = Change::SitesApplied { documents, author };
    let error = nodes[1].cluster.propose(clash).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(
        error,
        ProposeError::Refused(Refusal::HostTaken { .. })
    ));
    for word in ["shop", "other", "shop.example"] {
        assert!(text.contains(word), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeated_command_applies_once_on_whatever_node_it_is_repeated() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c"]).await;
    let command = Command {
        id: [9; 16],
        time_ms: 1,
        change: site("shop"),
    };
    let mut indexes = Vec::new();
    for node in &nodes {
        let committed = node.cluster.inner.propose_command(command.clone()).await;
        indexes.push(committed.unwrap().index);
    }
    assert_eq!(indexes, vec![indexes[0]; 3]);
    let document = nodes[0].cluster.state().sites["shop"].clone();
    assert_eq!(document.revision, indexes[0]);
    assert!(document.history.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killing_the_leader_loses_no_acknowledged_write_and_it_catches_up_again() {
    let web = Web::default();
    let mut nodes = cluster_of(&web, &["a", "b", "c"]).await;
    let leader = leader_of(&nodes).await;
    for number in 0..20 {
        let change = site(&format!("before{number}"));
        nodes[leader].cluster.propose(change).await.unwrap();
    }
    let killed = nodes.remove(leader);
    killed.kill().await;
    let began = Instant::now();
    nodes[0].cluster.propose(site("after")).await.unwrap();
    println!("writes again after {:?}", began.elapsed());
    leader_of(&nodes).await;
    for node in &nodes {
        eventually("the survivors have everything", || {
            node.cluster.state().sites.len() == 21
        })
        .await;
    }
    let back = killed.restart().await;
    eventually("the killed node catches up", || {
        back.cluster.state().sites.len() == 21
    })
    .await;
    assert_eq!(back.told.restored.lock()[0].sites.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_comes_after_the_log_was_cut_gets_the_whole_state() {
    let web = Web::default();
    let mut nodes = cluster_of(&web, &["a", "b"]).await;
    for number in 0..20 {
        let change = site(&format!("site{number}"));
        nodes[number % 2].cluster.propose(change).await.unwrap();
    }
    let leader = leader_of(&nodes).await;
    let membership = nodes[leader].cluster.inner.member().unwrap();
    membership.raft.compact().await;
    drop(membership);
    let late = Node::new(&web, "late").await;
    let token = token(&nodes[leader]).await;
    late.cluster.join(&token).await.unwrap();
    eventually("it has everything", || {
        late.cluster.state().sites.len() == 20
    })
    .await;
    let restored = late.told.restored.lock().last().unwrap().clone();
    assert_eq!(restored.sites.len(), 20, "it came as a whole");
    // And a node whose own log was cut starts from its snapshot.
    let cut = nodes.remove(leader);
    let back = cut.restart().await;
    assert_eq!(back.told.restored.lock()[0].sites.len(), 20);
    back.cluster.propose(site("more")).await.unwrap();
    eventually("all go on together", || {
        late.cluster.state().sites.contains_key("more")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_off_node_says_so_and_keeps_its_view_across_its_own_restart() {
    let web = Web::default();
    let mut nodes = cluster_of(&web, &["a", "b", "c"]).await;
    nodes[0].cluster.propose(site("shop")).await.unwrap();
    let last = nodes[0]
        .cluster
        .propose(purge("shop", "shop.example/x"))
        .await
        .unwrap();
    eventually("all apply it", || {
        nodes
            .iter()
            .all(|node| node.cluster.state().applied >= last.index)
    })
    .await;
    web.isolate("c", &["a", "b"]);
    let cut = nodes.pop().unwrap().restart().await;
    // No quorum was asked: what it tells the data plane comes from its own folder.
    let restored = cut.told.restored.lock()[0].clone();
    assert!(restored.sites.contains_key("shop"));
    assert_eq!(
        restored.purges["shop"].urls["shop.example/x"].hard,
        last.index
    );
    let status = cut.cluster.status();
    assert!(!status.has_quorum, "{status:?}");
    assert_eq!(status.members.len(), 3);
    nodes[0].cluster.propose(site("news")).await.unwrap();
    web.heal();
    eventually("it catches up once it is back", || {
        cut.cluster.state().sites.len() == 2 && cut.cluster.status().has_quorum
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_cut_off_from_its_quorum_acknowledges_nothing() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c"]).await;
    let leader = leader_of(&nodes).await;
    let others: Vec<&Node> = nodes
        .iter()
        .enumerate()
        .filter(|(number, _)| *number != leader)
        .map(|(_, node)| node)
        .collect();
    let names: Vec<&str> = others.iter().map(|node| node.name.as_str()).collect();
    web.isolate(&nodes[leader].name, &names);
    let began = Instant::now();
    let (lost, made) = tokio::join!(nodes[leader].cluster.propose(site("lost")), async {
        let made = others[0].cluster.propose(site("made")).await;
        println!("the majority writes again after {:?}", began.elapsed());
        if made.is_err() {
            for node in &nodes {
                println!("{:?}", node.cluster.status());
            }
        }
        made
    });
    made.unwrap();
    assert!(
        matches!(
            lost,
            Err(ProposeError::Unknown { .. } | ProposeError::NoLeader { .. })
        ),
        "{lost:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(25));
    assert!(!nodes[leader].cluster.status().has_quorum);
    web.heal();
    eventually("the old leader follows", || {
        let status = nodes[leader].cluster.status();
        status.has_quorum
            && status.role == Role::Follower
            && nodes[leader].cluster.state().sites.contains_key("made")
    })
    .await;
    let state = |node: &Node| node.cluster.state();
    eventually("all agree", || {
        nodes.iter().all(|node| state(node) == state(others[0]))
    })
    .await;
}
