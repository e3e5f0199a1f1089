use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearside_cluster::{
    Change, Cluster, JoinError, NewDocument, NewMember, NodeId, Observer, Options, PeerAddress,
    PeerKind, PeerRequest, Purge, PurgeScope, ReceiptOutcome, State, StrangerKind, Timing,
    Transport, TransportError,
};
use tempfile::TempDir;

use super::{Ear, NewsMetrics, PeerClient, PeerServer, serve};

struct Nobody;

impl Observer for Nobody {
    fn restored(&self, _: &Arc<State>) {}
    fn applied(&self, _: u64, _: Option<&Change>, _: &Arc<State>) {}
}

struct Node {
    cluster: Cluster,
    client: Arc<PeerClient>,
    server: PeerServer,
    address: String,
    _dir: TempDir,
}

impl Node {
    async fn start(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let client = Arc::new(PeerClient::new(BTreeMap::new()));
        let options = Options {
            dir: dir.path().to_owned(),
            member: NewMember {
                name: name.into(),
                region: "eu".into(),
                peer: address.clone(),
                version: "1".into(),
                ..NewMember::default()
            },
            join: Vec::new(),
            timing: Timing::REGIONAL,
        };
        let ear = Ear::new(dir.path().to_owned(), NewsMetrics::default());
        let transport = Arc::clone(&client) as Arc<dyn Transport>;
        let cluster = Cluster::start(options, transport, Arc::new(Nobody))
            .await
            .unwrap();
        let server = serve(vec![socket], cluster.clone(), ear).unwrap();
        Self {
            cluster,
            client,
            server,
            address,
            _dir: dir,
        }
    }

    async fn stop(self) {
        self.server.stop().await;
        self.cluster.stop().await;
    }
}

async fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn three() -> Vec<Node> {
    let first = Node::start("a").await;
    first.cluster.init().await.unwrap();
    let mut nodes = vec![first];
    for name in ["b", "c"] {
        let token = nodes[0]
            .cluster
            .make_join_token(Duration::from_secs(60), 1, "test")
            .await
            .unwrap();
        let node = Node::start(name).await;
        node.cluster.join(&token).await.unwrap();
        nodes.push(node);
    }
    eventually("three voters, all seen up by all", || {
        nodes.iter().all(|node| {
            let status = node.cluster.status();
            let voters = status.members.iter().filter(|member| member.voter);
            voters.count() == 3 && status.members.iter().all(|member| member.healthy)
        })
    })
    .await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_join_over_tls_agree_and_purge_within_milliseconds() {
    let nodes = three().await;
    let site = NewDocument {
        name: "shop".into(),
        hosts: vec!["shop.example".into()],
        text: "name = \"shop\"".into(),
        expected_revision: None,
    };
    let applied = Change::SitesApplied {
        documents: vec![site],
        author: "test".into(),
    };
    nodes[1].cluster.propose(applied).await.unwrap();
    let mut slowest = Vec::new();
    for number in 0..50 {
        let purge = Change::Purged(Purge {
            site: "shop".into(),
            scope: PurgeScope::Url(format!("shop.example/{number}")),
            soft: false,
            author: "test".into(),
        });
        let node = &nodes[number % 3];
        let committed = node.cluster.propose(purge).await.unwrap();
        let receipts = node
            .cluster
            .wait_applied(&committed, Duration::from_secs(5))
            .await;
        let times = receipts.iter().map(|receipt| match receipt.outcome {
            ReceiptOutcome::Applied { ms } => ms,
            other => panic!("{other:?}"),
        });
        slowest.push(times.fold(0.0, f64::max));
    }
    slowest.sort_by(f64::total_cmp);
    println!(
        "purge applied on all three over TLS: p50 {:.1} ms, p95 {:.1} ms",
        slowest[25], slowest[47]
    );
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn certificates_decide_who_is_who() {
    let nodes = three().await;
    let outsider = Node::start("x").await;
    let question = || PeerRequest {
        kind: PeerKind::Liveness,
        body: Bytes::from_static(b"?"),
    };
    let target = |id: u64, address: &str| PeerAddress {
        id: NodeId(id),
        name: "b".into(),
        address: address.to_owned(),
    };
    let deadline = Duration::from_secs(5);
    let second = nodes[1].cluster.status().id.unwrap();

    let ask = async |client: &PeerClient, target: PeerAddress| {
        client.call(&target, question(), deadline).await
    };
    let right = target(second.0, &nodes[1].address);
    ask(&nodes[0].client, right.clone()).await.unwrap();
    // The right address, but another node answers there.
    let wrong = target(second.0, &nodes[2].address);
    let mut fresh = PeerClient::new(BTreeMap::new());
    fresh.use_identity(nodes[0].cluster.identity());
    assert!(matches!(
        ask(&fresh, wrong.clone()).await,
        Err(TransportError::Unreachable { .. })
    ));
    // A route leads to it after all.
    fresh = PeerClient::new(BTreeMap::from([("b".into(), nodes[1].address.clone())]));
    fresh.use_identity(nodes[0].cluster.identity());
    ask(&fresh, wrong).await.unwrap();
    // Without a certificate there is nothing to ask with.
    assert!(ask(&outsider.client, right).await.is_err());

    // Anybody may ask whether a node is a member; a join with another cluster's token ends before its secret is said.
    let other = Node::start("other").await;
    other.cluster.init().await.unwrap();
    let hello = async |address: &str| {
        let nothing = Bytes::new();
        let hello = StrangerKind::Hello;
        outsider
            .client
            .call_as_stranger(address, None, hello, nothing, deadline)
            .await
    };
    hello(&nodes[0].address).await.unwrap();
    let wrong_ca = outsider
        .client
        .call_as_stranger(
            &nodes[0].address,
            Some([1; 32]),
            StrangerKind::Join,
            Bytes::from_static(b"secret"),
            deadline,
        )
        .await;
    assert!(
        matches!(wrong_ca, Err(TransportError::Unreachable { .. })),
        "{wrong_ca:?}"
    );
    let token = other
        .cluster
        .make_join_token(Duration::from_secs(60), 1, "test")
        .await
        .unwrap();
    other.stop().await;
    assert!(matches!(
        outsider.cluster.join(&token).await,
        Err(JoinError::Unavailable { tried: 1, .. })
    ));
    outsider.stop().await;
    for node in nodes {
        node.stop().await;
    }
}
