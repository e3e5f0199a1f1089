use std::time::Duration;

use super::lab::{Node, Web, cluster_of, eventually, leader_of, options, site, token};
use crate::{Change, InitError, JoinError, NodeId};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_five_vote_and_later_ones_learn() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c", "d", "e", "f", "g"]).await;
    let state = nodes[6].cluster.state();
    let voters: Vec<&str> = state
        .members
        .values()
        .filter(|member| member.voter)
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(voters, ["a", "b", "c", "d", "e"]);
    assert_eq!(nodes[0].id(), NodeId::FOUNDER);
    let committed = nodes[6]
        .cluster
        .propose(site("by-a-learner"))
        .await
        .unwrap();
    eventually("learners follow too", || {
        nodes
            .iter()
            .all(|node| node.cluster.state().applied >= committed.index)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_removed_member_is_out_and_its_vote_passes_on() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a", "b", "c", "d", "e", "f"]).await;
    let gone = nodes[4].id();
    nodes[0]
        .cluster
        .propose(Change::MemberRemoved { id: gone })
        .await
        .unwrap();
    eventually("the sixth votes", || {
        let state = nodes[0].cluster.state();
        !state.members.contains_key(&gone)
            && state.members[&nodes[5].id()].voter
            && state.members.values().filter(|member| member.voter).count() == 5
    })
    .await;
    let refused = nodes[0]
        .cluster
        .handle(
            gone,
            crate::PeerRequest {
                kind: crate::PeerKind::Liveness,
                body: bytes::Bytes::new(),
            },
        )
        .await;
    assert!(matches!(
        refused,
        Err(crate::HandleError::NotAMember { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn init_is_refused_twice_and_beside_a_cluster() {
    let web = Web::default();
    let first = Node::new(&web, "a").await;
    first.cluster.init().await.unwrap();
    assert!(matches!(
        first.cluster.init().await,
        Err(InitError::AlreadyMember { .. })
    ));
    let dir = tempfile::tempdir().unwrap();
    let mut beside = options("b", dir.path().to_owned(), super::lab::QUICK);
    beside.join = vec!["a.test:7443".into()];
    let second = Node::with_options(&web, "b", beside).await;
    match second.cluster.init().await {
        Err(InitError::JoinAddressAnswers { address, .. }) => assert_eq!(address, "a.test:7443"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_is_needed_and_is_used_up() {
    let web = Web::default();
    let nodes = cluster_of(&web, &["a"]).await;
    let once = nodes[0]
        .cluster
        .make_join_token(Duration::from_secs(60), 1, "test")
        .await
        .unwrap();
    let second = Node::new(&web, "b").await;
    second.cluster.join(&once).await.unwrap();
    let third = Node::new(&web, "c").await;
    match third.cluster.join(&once).await {
        Err(JoinError::Refused(why)) => assert!(why.contains("used up"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        third.cluster.join("nonsense").await,
        Err(JoinError::Token(_))
    ));
    third.cluster.join(&token(&nodes[0]).await).await.unwrap();
    assert!(matches!(
        third.cluster.join(&once).await,
        Err(JoinError::AlreadyMember { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_is_taken_while_its_node_lives_and_passes_to_a_new_id_when_it_is_down() {
    let web = Web::default();
    let mut nodes = cluster_of(&web, &["a", "b", "c"]).await;
    let lost = nodes.pop().unwrap();
    let lost_id = lost.id();
    lost.kill().await;
    let token = token(&nodes[0]).await;
    let reborn = Node::new(&web, "c").await;
    let early = reborn.cluster.join(&token).await;
    if let Err(JoinError::Refused(why)) = &early {
        assert!(why.contains("exists already"), "{why}");
        eventually("the old one is seen down", || {
            nodes
                .iter()
                .all(|node| !node.cluster.liveness().borrow().healthy.contains(&lost_id))
        })
        .await;
        reborn.cluster.join(&token).await.unwrap();
    }
    assert_ne!(reborn.id(), lost_id);
    eventually("three voters again", || {
        let state = reborn.cluster.state();
        state.members.len() == 3 && state.members.values().all(|member| member.voter)
    })
    .await;
    leader_of(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restarted_node_tells_the_cluster_what_it_is_now() {
    let web = Web::default();
    let mut nodes = cluster_of(&web, &["a", "b", "c"]).await;
    let old = nodes.pop().unwrap();
    old.kill().await;
    let mut changed = options("c", old.dir.path().to_owned(), super::lab::QUICK);
    changed.member.region = "us".into();
    changed.member.version = "2".into();
    let _moved = Node::with_options(&web, "c", changed).await;
    eventually("the cluster knows", || {
        let state = nodes[0].cluster.state();
        let member = state.member_named("c").unwrap();
        member.region == "us" && member.version == "2" && member.voter
    })
    .await;
}
