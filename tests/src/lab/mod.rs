//! A cluster of real processes, its wires, and its folder.

mod node;
mod plan;
mod serve;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

pub use node::{Member, Node, Status, run_program, run_program_for};
pub use plan::{NodePlan, Plan};
pub use serve::Serve;

use crate::{Authority, Link, Said, Wire, eventually, patience};

/// Lines of each node's log that are printed when a scenario fails.
const LOG_LINES: usize = 25;
/// Longer lines are cut there.
const LOG_LINE_CHARS: usize = 300;

/// Nodes of one lab, wired through links that the lab owns.
pub struct Lab {
    /// Signs what nodes and origins of this lab show.
    pub authority: Authority,
    // Before the folder: processes end first.
    nodes: Vec<Arc<Node>>,
    links: BTreeMap<(String, String), Link>,
    folder: TempDir,
    _turn: Option<SemaphorePermit<'static>>,
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lab({})", self.folder.path().display())
    }
}

thread_local! {
    /// Nodes that this thread's scenario uses, for the logs of a failure.
    static IN_USE: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
}

/// Clusters at once: each is several processes, and their clocks tick in milliseconds. A scenario that starts a cluster
/// by other means waits for its turn, too.
pub async fn turn() -> Option<SemaphorePermit<'static>> {
    static TURNS: OnceCell<Semaphore> = OnceCell::const_new();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let turns = TURNS
        .get_or_init(|| async { Semaphore::new((cores / 2).clamp(1, 8)) })
        .await;
    turns.acquire().await.ok()
}

impl Lab {
    /// The one cluster of this process that scenarios may share: three nodes in three regions, five milliseconds
    /// apart. Those that use it leave nodes and links as they found them, and bring sites of their own.
    ///
    /// # Panics
    /// When it did not come up; the scenario that tried first says why, the others do not try again.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Lab> = OnceCell::const_new();
        static TRIED: AtomicBool = AtomicBool::new(false);
        let lab = SHARED
            .get_or_init(|| async {
                let tried = TRIED.swap(true, Ordering::Relaxed);
                assert!(!tried, "the shared cluster did not come up");
                let plan = Plan::three_regions()
                    .apart(Duration::from_millis(5))
                    .certificate("web", &["web.example", "www.web.example", "other.example"])
                    .section("[limits]\nhead_timeout = \"2s\"\nprogress_timeout = \"3s\"");
                let lab = Self::prepare(plan, None).await;
                lab.form().await;
                lab
            })
            .await;
        lab.note_use();
        lab
    }

    /// A cluster of its own.
    pub async fn start(plan: Plan) -> Self {
        let lab = Self::apart(plan).await;
        lab.form().await;
        lab
    }

    /// Nodes that nobody has started, each with its file and wires.
    pub async fn apart(plan: Plan) -> Self {
        let turn = turn().await;
        Self::prepare(plan, turn).await
    }

    async fn prepare(plan: Plan, turn: Option<SemaphorePermit<'static>>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("nearside-lab-")
            .tempdir()
            .expect("a temporary folder can be made");
        crate::process::watch_folder(folder.path());
        let (authority, nodes, links) = plan.build(folder.path()).await;
        let lab = Self {
            authority,
            nodes,
            links,
            folder,
            _turn: turn,
        };
        lab.note_use();
        lab
    }

    /// Makes a cluster of all nodes, as an operator would: the first one begins it, the others join with a token.
    pub async fn form(&self) {
        let first = &self.nodes[0];
        first.start().await;
        first.run(&["cluster", "init"]).await.ok();
        self.admit(&self.nodes[1..]).await;
    }

    /// Starts nodes with a join token from the first one, and waits until every running node knows them as healthy
    /// members.
    pub async fn admit(&self, joining: &[Arc<Node>]) {
        let uses = (joining.len() + 1).to_string();
        let made = self.nodes[0]
            .run(&["join-token", "new", "--ttl", "1h", "--uses", &uses])
            .await;
        let token = made.ok().json()["token"]
            .as_str()
            .expect("`join-token new --json` gives a token")
            .to_owned();
        join_all(joining.iter().map(|node| {
            node.give_token(&token);
            node.start()
        }))
        .await;
        self.settled().await;
    }

    /// Waits until every running node sees every running node as a healthy member, up to five of them voting, all have
    /// applied the same, and changes can be made.
    pub async fn settled(&self) {
        let running: Vec<_> = self.running().collect();
        eventually("the cluster settles", patience() * 2, async || {
            let mut applied = Vec::new();
            for node in &running {
                let status = node.status().await?;
                applied.push(status.applied);
                let up = status
                    .members
                    .iter()
                    .filter(|member| member.healthy)
                    .count();
                let voters = status.members.iter().filter(|member| member.voter).count();
                if up < running.len() || voters < running.len().min(5) || !status.has_quorum {
                    return Err(format!("{}: {status:?}", node.name));
                }
            }
            applied.dedup();
            if applied.len() > 1 {
                return Err(format!("applied {applied:?}"));
            }
            Ok(())
        })
        .await;
    }

    /// The lab's folder, for files of a scenario.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All nodes, in the order of the plan.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Those that run and are not paused.
    pub fn running(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// A node by its name.
    ///
    /// # Panics
    /// When the plan has none of that name.
    #[must_use]
    #[track_caller]
    pub fn node(&self, name: &str) -> &Arc<Node> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.unwrap_or_else(|| panic!("no node {name} in this lab"))
    }

    /// The node that leads, as a majority of the running ones sees it.
    pub async fn leader(&self) -> &Arc<Node> {
        eventually("a leader is known", patience(), async || {
            let running: Vec<_> = self.running().collect();
            for node in &running {
                let status = node.status().await?;
                if let (true, Some(name)) = (status.has_quorum, status.leader_name) {
                    let leader = self.node(&name);
                    if leader.is_running() && leader.status().await?.role == "leader" {
                        return Ok(leader);
                    }
                }
            }
            Err("nobody knows one".to_owned())
        })
        .await
    }

    /// A running node that does not lead.
    pub async fn follower(&self) -> &Arc<Node> {
        let leader = self.leader().await;
        self.running()
            .find(|node| node.name != leader.name)
            .expect("a lab has more than one node")
    }

    /// Sets the wires between two nodes, both ways.
    pub fn wire(&self, one: &str, other: &str, wire: Wire) {
        for (from, to) in [(one, other), (other, one)] {
            self.links[&(from.to_owned(), to.to_owned())].set(wire);
        }
    }

    /// Sets every wire of one node.
    pub fn isolate(&self, name: &str, wire: Wire) {
        for ((from, to), link) in &self.links {
            if from == name || to == name {
                link.set(wire);
            }
        }
    }

    /// All wires whole.
    pub fn heal(&self) {
        for link in self.links.values() {
            link.set(Wire::Whole);
        }
    }

    /// Applies a site or zone (`what`) from its text, through a running node, and waits until every running node has
    /// it.
    pub async fn apply(&self, what: &str, name: &str, text: &str) {
        let node = self.running().next().expect("a node runs");
        self.apply_on(node, what, name, text).await.ok();
        let running: Vec<_> = self.running().collect();
        eventually("every node has the document", patience(), async || {
            for node in &running {
                let shown = node.run(&[what, "show", name]).await;
                if shown.code != Some(0) {
                    return Err(shown.told());
                }
            }
            Ok(())
        })
        .await;
    }

    /// Applies a document on one node and says what came of it.
    pub async fn apply_on(&self, node: &Node, what: &str, name: &str, text: &str) -> Said {
        let file = self.folder().join(format!("{what}-{name}.toml"));
        std::fs::write(&file, text).expect("the lab's folder can be written");
        node.run(&[what, "apply", &file.to_string_lossy()]).await
    }

    fn note_use(&self) {
        IN_USE.with_borrow_mut(|in_use| {
            in_use.retain(|node| node.strong_count() > 0);
            in_use.extend(self.nodes.iter().map(Arc::downgrade));
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_logs_of_this_thread();
            IN_USE.with_borrow_mut(Vec::clear);
        }
    }
}

/// Prints the ends of the logs of the nodes in use here, where the test's output goes.
pub(crate) fn print_logs_of_this_thread() {
    let nodes = IN_USE.with_borrow(Clone::clone);
    let mut seen = Vec::new();
    for node in nodes.iter().filter_map(Weak::upgrade) {
        if !seen.contains(&node.address) {
            seen.push(node.address);
            let log = node.log_end(LOG_LINES);
            let lines = log
                .lines()
                .map(|line| line.chars().take(LOG_LINE_CHARS).collect());
            let lines: Vec<String> = lines.collect();
            let log = lines.join("\n");
            eprintln!("--- log of {} ({})\n{log}", node.name, node.address);
        }
    }
}
