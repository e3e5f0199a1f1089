//! The harness: nodes, wires between them, and patience.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::identity::hash_of;
use crate::raft::StoreHooks;
use crate::{
    Change, NewDocument, NewMember, NodeId, Observer, Options, PeerAddress, PeerRequest, Purge,
    PurgeScope, State, StrangerKind, Timing, Transport, TransportError,
};

/// How long any fact may take to become true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Quick, so that tests are; the ratios are those of `Timing::REGIONAL`.
pub(crate) const QUICK: Timing = Timing {
    heartbeat: Duration::from_millis(150),
    election_min: Duration::from_millis(450),
    election_max: Duration::from_millis(800),
    probe: Duration::from_millis(200),
    probe_round_trip: Duration::from_millis(80),
    suspicion: Duration::from_millis(500),
};

#[derive(Default)]
struct Wires {
    listening: HashMap<String, Cluster>,
    cut: HashSet<(String, String)>,
    one_way: HashMap<(String, String), Duration>,
}

/// Everything between the nodes.
#[derive(Clone, Default)]
pub(crate) struct Web(Arc<Mutex<Wires>>);

/// A node's end of the web.
struct Line {
    web: Web,
    own: String,
}

impl Line {
    fn one_way(&self, to: &str) -> Duration {
        let wires = self.web.0.lock();
        let key = (self.own.clone(), to.to_owned());
        wires.one_way.get(&key).copied().unwrap_or_default()
    }

    fn is_cut(&self, to: &str) -> bool {
        let wires = self.web.0.lock();
        wires.cut.contains(&(self.own.clone(), to.to_owned()))
            || wires.cut.contains(&(to.to_owned(), self.own.clone()))
    }

    fn own_id(&self) -> Option<NodeId> {
        let wires = self.web.0.lock();
        let own = wires.listening.get(&self.own)?;
        own.identity().borrow().as_ref().map(|identity| identity.id)
    }

    async fn exchange<F>(
        &self,
        to: &str,
        deadline: Duration,
        ask: impl FnOnce(Cluster) -> F,
    ) -> Result<Bytes, TransportError>
    where
        F: Future<Output = Result<Bytes, crate::HandleError>>,
    {
        let peer = to.to_owned();
        let silent = |why: &str| TransportError::NoAnswer {
            peer: peer.clone(),
            why: why.into(),
        };
        let travel = async {
            if self.is_cut(to) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.one_way(to)).await;
            let Some(target) = self.web.0.lock().listening.get(to).cloned() else {
                return Err(TransportError::Unreachable {
                    peer: peer.clone(),
                    why: "connection refused".into(),
                });
            };
            let answer = ask(target).await.map_err(|error| TransportError::Refused {
                peer: peer.clone(),
                why: error.to_string(),
            })?;
            if self.is_cut(to) {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(self.one_way(to)).await;
            Ok(answer)
        };
        tokio::time::timeout(deadline, travel)
            .await
            .unwrap_or_else(|_| Err(silent("deadline")))
    }
}

#[async_trait]
impl Transport for Line {
    async fn call(
        &self,
        target: &PeerAddress,
        request: PeerRequest,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        let id = target.id;
        let own = self.own_id();
        self.exchange(&target.address, deadline, |cluster| async move {
            let actual = cluster
                .identity()
                .borrow()
                .as_ref()
                .map(|identity| identity.id);
            if actual != Some(id) {
                return Err(crate::HandleError::Unavailable("wrong certificate".into()));
            }
            let own = own.ok_or(crate::HandleError::Outside)?;
            cluster.handle(own, request).await
        })
        .await
    }

    async fn call_as_stranger(
        &self,
        address: &str,
        ca_hash: Option<[u8; 32]>,
        kind: StrangerKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TransportError> {
        self.exchange(address, deadline, |cluster| async move {
            let ca = cluster
                .identity()
                .borrow()
                .as_ref()
                .map(|identity| hash_of(&identity.ca_certificate));
            if ca_hash.is_some() && ca != ca_hash {
                return Err(crate::HandleError::Unavailable("wrong CA".into()));
            }
            cluster.handle_stranger(kind, body).await
        })
        .await
    }
}

impl Web {
    /// Cuts a node off from all others.
    pub(crate) fn isolate(&self, name: &str, others: &[&str]) {
        let mut wires = self.0.lock();
        for other in others {
            wires.cut.insert((address(name), address(other)));
        }
    }

    /// Mends every wire.
    pub(crate) fn heal(&self) {
        self.0.lock().cut.clear();
    }

    /// Sets the delay between two nodes, each way.
    pub(crate) fn slow(&self, one: &str, other: &str, one_way: Duration) {
        let mut wires = self.0.lock();
        wires
            .one_way
            .insert((address(one), address(other)), one_way);
        wires
            .one_way
            .insert((address(other), address(one)), one_way);
    }
}

fn address(name: &str) -> String {
    format!("{name}.test:7443")
}

/// What an observer was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) restored: Mutex<Vec<Arc<State>>>,
    pub(crate) applied: Mutex<Vec<(u64, Instant, Option<Change>)>>,
}

impl Observer for Told {
    fn restored(&self, state: &Arc<State>) {
        self.restored.lock().push(Arc::clone(state));
    }

    fn applied(&self, index: u64, change: Option<&Change>, _: &Arc<State>) {
        self.applied
            .lock()
            .push((index, Instant::now(), change.cloned()));
    }
}

impl Told {
    /// When the change at an index was made visible here.
    pub(crate) fn time_of(&self, index: u64) -> Option<Instant> {
        let applied = self.applied.lock();
        let found = applied.iter().find(|(at, ..)| *at == index);
        found.map(|(_, at, _)| *at)
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) cluster: Cluster,
    pub(crate) told: Arc<Told>,
    pub(crate) dir: Arc<TempDir>,
    web: Web,
    timing: Timing,
}

pub(crate) fn options(name: &str, dir: PathBuf, timing: Timing) -> Options {
    Options {
        dir,
        member: NewMember {
            name: name.into(),
            region: "eu".into(),
            peer: address(name),
            version: "1".into(),
            ..NewMember::default()
        },
        join: Vec::new(),
        timing,
    }
}

impl Node {
    /// Starts a node in a new folder; it belongs to no cluster.
    pub(crate) async fn new(web: &Web, name: &str) -> Self {
        Self::timed(web, name, QUICK).await
    }

    pub(crate) async fn timed(web: &Web, name: &str, timing: Timing) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start(web, name, dir, timing, StoreHooks::default()).await
    }

    pub(crate) async fn start(
        web: &Web,
        name: &str,
        dir: Arc<TempDir>,
        timing: Timing,
        hooks: StoreHooks,
    ) -> Self {
        let options = options(name, dir.path().to_owned(), timing);
        Self::start_options(web, name, dir, options, hooks).await
    }

    /// Starts a node that says something else of itself; its folder outlives it.
    pub(crate) async fn with_options(web: &Web, name: &str, options: Options) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_options(web, name, dir, options, StoreHooks::default()).await
    }

    async fn start_options(
        web: &Web,
        name: &str,
        dir: Arc<TempDir>,
        options: Options,
        hooks: StoreHooks,
    ) -> Self {
        let timing = options.timing;
        let told = Arc::new(Told::default());
        let line = Line {
            web: web.clone(),
            own: address(name),
        };
        let observer = Arc::clone(&told) as Arc<dyn Observer>;
        let cluster = Cluster::start_with(options, Arc::new(line), observer, hooks)
            .await
            .unwrap();
        web.0
            .lock()
            .listening
            .insert(address(name), cluster.clone());
        Self {
            name: name.into(),
            cluster,
            told,
            dir,
            web: web.clone(),
            timing,
        }
    }

    /// Ends a node; nothing of its last words gets out.
    pub(crate) async fn kill(&self) {
        self.web.0.lock().listening.remove(&address(&self.name));
        self.cluster.stop().await;
    }

    /// Starts a killed node from its folder.
    pub(crate) async fn restart(self) -> Self {
        self.kill().await;
        let (web, name, dir) = (self.web.clone(), self.name.clone(), Arc::clone(&self.dir));
        let timing = self.timing;
        drop(self);
        Self::start(&web, &name, dir, timing, StoreHooks::default()).await
    }

    pub(crate) fn id(&self) -> NodeId {
        self.cluster.identity().borrow().as_ref().unwrap().id
    }

    pub(crate) fn sees_up(&self, expected: &[NodeId]) -> bool {
        let liveness = self.cluster.liveness().borrow().clone();
        liveness.trusted && liveness.healthy == expected.iter().copied().collect()
    }
}

/// A cluster of nodes with these names, all of them members and known to be up.
pub(crate) async fn cluster_of(web: &Web, names: &[&str]) -> Vec<Node> {
    cluster_timed(web, names, QUICK).await
}

pub(crate) async fn cluster_timed(web: &Web, names: &[&str], timing: Timing) -> Vec<Node> {
    let founder = Node::timed(web, names[0], timing).await;
    founder.cluster.init().await.unwrap();
    let mut nodes = vec![founder];
    for name in &names[1..] {
        let token = token(&nodes[0]).await;
        let node = Node::timed(web, name, timing).await;
        node.cluster.join(&token).await.unwrap();
        nodes.push(node);
    }
    let voters = names.len().min(5);
    eventually("everybody knows all voters and sees everybody up", || {
        let ids: Vec<NodeId> = nodes.iter().map(Node::id).collect();
        nodes.iter().all(|node| {
            let state = node.cluster.state();
            let voting = state.members.values().filter(|member| member.voter).count();
            state.members.len() == nodes.len() && voting == voters && node.sees_up(&ids)
        })
    })
    .await;
    nodes
}

pub(crate) async fn token(node: &Node) -> String {
    node.cluster
        .make_join_token(Duration::from_secs(600), 10, "test")
        .await
        .unwrap()
}

/// Waits until a fact holds.
pub(crate) async fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The position of the node that all of these agree leads.
pub(crate) async fn leader_of(nodes: &[Node]) -> usize {
    let mut found = None;
    eventually("one leader, with a quorum", || {
        let leaders: HashSet<_> = nodes
            .iter()
            .map(|node| {
                let status = node.cluster.status();
                status.has_quorum.then_some(status.leader).flatten()
            })
            .collect();
        let leader = leaders.iter().next().copied().flatten();
        found = nodes.iter().position(|node| Some(node.id()) == leader);
        leaders.len() == 1 && found.is_some()
    })
    .await;
    found.unwrap()
}

pub(crate) fn site(name: &str) -> Change {
    Change::SitesApplied {
        documents: vec![NewDocument {
            name: name.into(),
            hosts: vec![format!("{name}.example")],
            text: format!("name = \"{name}\""),
            expected_revision: None,
        }],
        author: "test".into(),
    }
}

pub(crate) fn purge(site: &str, url: &str) -> Change {
    Change::Purged(Purge {
        site: site.into(),
        scope: PurgeScope::Url(url.into()),
        soft: false,
        author: "test".into(),
    })
}
