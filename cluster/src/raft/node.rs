//! A node's Raft as the rest of the crate sees it: writes, facts, and who heard of a quorum when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::network::Network;
use super::{Applied, LogStore, MachineStore, Metrics, PeerNode, Raft, Store, TypeConfig, config};
use crate::observer::Observer;
use crate::state::{Command, NodeId, Outcome};
use crate::status::Role;
use crate::transport::{PeerAddress, Transport};
use crate::{StartError, Timing};

/// What one try to write brought.
pub(crate) enum Written {
    /// The command is in the log and applied.
    Done(Outcome),
    /// This node does not lead, so the log never saw the command. It may know who does.
    NotLeader(Option<NodeId>),
    /// The command may be in a log.
    Unknown,
}

/// What Raft says of itself, as of now.
pub(crate) struct Facts {
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: u64,
    pub(crate) last_log: u64,
    /// The index each node holds; on the leader only.
    pub(crate) matched: BTreeMap<NodeId, u64>,
}

/// What a node's Raft works with.
pub(crate) struct Parts {
    pub(crate) id: NodeId,
    pub(crate) timing: Timing,
    pub(crate) store: Store,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) applied: Applied,
    pub(crate) observer: Arc<dyn Observer>,
}

/// A node's Raft.
pub(crate) struct RaftNode {
    pub(crate) id: NodeId,
    pub(super) raft: Raft,
    network: Network,
    /// When a quorum last vouched for this node's lead.
    led: watch::Receiver<Option<Instant>>,
    /// When a quorum last vouched for a leader, as that leader said.
    pub(super) followed: Mutex<Option<Instant>>,
}

impl RaftNode {
    /// Restores the state (the observer hears of it) and takes part. The second value is a task to be run until it
    /// ends, which it does when `stopped` says so.
    pub(crate) async fn start(
        parts: Parts,
        stopped: watch::Receiver<bool>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), StartError> {
        let machine =
            MachineStore::restore(parts.store.clone(), parts.applied.clone(), parts.observer)?;
        let (led_sender, led) = watch::channel(None);
        let network = Network {
            transport: parts.transport,
            applied: parts.applied,
            led: led.clone(),
        };
        let raft = Raft::new(
            parts.id,
            Arc::new(config(&parts.timing).map_err(StartError::Raft)?),
            network.clone(),
            LogStore::new(parts.store),
            machine,
        )
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;
        let task = follow_quorum(raft.clone(), led_sender, stopped);
        let node = Self {
            id: parts.id,
            raft,
            network,
            led,
            followed: Mutex::new(None),
        };
        Ok((node, task))
    }

    /// Makes this node the only voter of a new log; harmless when done before.
    pub(crate) async fn found(&self, own: PeerNode) -> Result<(), String> {
        let initialized = self.raft.is_initialized().await;
        if initialized.map_err(|error| error.to_string())? {
            return Ok(());
        }
        self.raft
            .initialize(BTreeMap::from([(self.id, own)]))
            .await
            .map_err(|error| error.to_string())
    }

    /// Tries to write a command as the leader.
    pub(crate) async fn write(&self, command: Command, deadline: Duration) -> Written {
        match tokio::time::timeout(deadline, self.raft.client_write(command)).await {
            Ok(Ok(answer)) => Written::Done(answer.data),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Written::NotLeader(forward.leader_id)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a change has no outcome yet");
                Written::Unknown
            }
            Err(_) => Written::Unknown,
        }
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader
    }

    /// Waits until somebody else leads, as far as this node knows.
    pub(crate) async fn until_not_led_by(&self, leader: NodeId) {
        let mut changes = self.changes();
        loop {
            // Asked of the same channel that is waited on: the metrics as a whole may be a moment behind it.
            if changes.leader().is_some_and(|now| now != leader) {
                return;
            }
            if !changes.next().await {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        let metrics = self.metrics();
        Facts {
            role: role(&metrics),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index.unwrap_or(0),
            matched: matched(&metrics),
        }
    }

    /// True for a node of Raft's own membership, agreed or about to be.
    pub(crate) fn knows(&self, id: NodeId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics
            .membership_config
            .membership()
            .get_node(&id)
            .is_some()
    }

    /// How to reach a node, by the state or by Raft's own membership.
    pub(crate) fn address(&self, id: NodeId) -> Option<PeerAddress> {
        let metrics = self.metrics();
        let node = metrics
            .membership_config
            .membership()
            .get_node(&id)
            .cloned();
        let known = self.network.applied.state().members.contains_key(&id);
        (known || node.is_some()).then(|| self.network.address(id, &node.unwrap_or_default()))
    }

    /// The last word of a quorum: given to this node as leader, or passed on by the one it follows.
    pub(crate) fn quorum_heard(&self) -> Option<Instant> {
        (*self.led.borrow()).max(*self.followed.lock())
    }

    /// For waiting until something about the server itself changes: its role, its leader, its membership.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.raft.server_metrics())
    }

    /// Makes a snapshot and drops the log up to it, as happens by itself after thousands of entries.
    #[cfg(test)]
    pub(crate) async fn compact(&self) {
        let applied = self.network.applied.state().applied;
        self.raft.trigger().snapshot().await.unwrap();
        let patience = Some(Duration::from_secs(10));
        let wait = self.raft.wait(patience);
        let is_made = |metrics: &Metrics| {
            metrics
                .snapshot
                .is_some_and(|log_id| log_id.index >= applied)
        };
        wait.metrics(is_made, "a snapshot").await.unwrap();
        self.raft.trigger().purge_log(applied).await.unwrap();
        let is_purged =
            |metrics: &Metrics| metrics.purged.is_some_and(|log_id| log_id.index >= applied);
        wait.metrics(is_purged, "a shorter log").await.unwrap();
    }

    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "raft did not stop cleanly");
        }
    }
}

/// Changes of a node's role, leader or membership.
pub(crate) struct Changes(WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>);

impl Changes {
    fn leader(&self) -> Option<NodeId> {
        self.0.borrow_watched().current_leader
    }

    /// Waits for the next; false: Raft has ended.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

fn role(metrics: &Metrics) -> Role {
    if metrics.running_state.is_err() {
        return Role::Halted;
    }
    match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
    }
}

/// The index each node holds, as the leader knows it.
pub(super) fn matched(metrics: &Metrics) -> BTreeMap<NodeId, u64> {
    metrics
        .replication
        .iter()
        .flatten()
        .filter_map(|(id, log_id)| Some((*id, log_id.as_ref()?.index)))
        .collect()
}

/// Notes when a quorum last acknowledged this node as leader, and says in the log who leads.
async fn follow_quorum(
    raft: Raft,
    led: watch::Sender<Option<Instant>>,
    mut stopped: watch::Receiver<bool>,
) {
    use openraft::Instant as _;
    let mut metrics = raft.metrics();
    drop(raft);
    let mut known = (0, None);
    loop {
        let acknowledged = {
            let metrics = metrics.borrow_watched();
            let now = (metrics.current_term, metrics.current_leader);
            if now != known {
                known = now;
                match now {
                    (term, Some(leader)) => {
                        tracing::debug!(term, leader = leader.0, "a leader is known");
                    }
                    (term, None) => tracing::debug!(term, "no leader is known"),
                }
            }
            if let Err(error) = &metrics.running_state
                && !*stopped.borrow()
            {
                tracing::error!(%error, "raft has halted on this node");
            }
            let sole_voter = metrics.membership_config.membership().voter_ids().count() == 1;
            if sole_voter && metrics.state.is_leader() {
                Some(Instant::now())
            } else {
                metrics
                    .last_quorum_acked
                    .and_then(|at| Instant::now().checked_sub(at.elapsed()))
            }
        };
        if acknowledged.is_some() {
            led.send_replace(acknowledged);
        }
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}
