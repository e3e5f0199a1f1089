//! Tells the other nodes what writes here have made unusable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nearside_cluster::{Change, Cluster, NodeId, PeerAddress, ProposeError, Purge, PurgeScope};
use parking_lot::Mutex;
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::{COALESCED, DELIVERED, NewsMetrics, QUEUED, RETRIED, WIDENED};
use super::outbox::{Outbox, Put};
use super::{Batch, KIND};
use crate::peer::PeerClient;
use crate::proxy::{Invalidation, Neighbours, NotPurged, Purging};

/// For one batch to be answered. A link that was cut takes no longer than this to be noticed.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// For this node to apply a purge that was agreed on.
const APPLY_PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries at a node that does not answer; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Knows the other nodes, and what each has not heard yet.
#[derive(Clone)]
pub struct Herald {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    client: Arc<PeerClient>,
    runtime: Runtime,
    boxes: Mutex<HashMap<NodeId, Waiting>>,
    metrics: NewsMetrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct Waiting {
    outbox: Outbox,
    /// A task is emptying it.
    on_its_way: bool,
}

impl Herald {
    /// Tells the members of `cluster`, through `client`. Tasks run on the runtime that this is called on.
    #[must_use]
    pub fn new(cluster: Cluster, client: Arc<PeerClient>, metrics: NewsMetrics) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster,
                client,
                runtime: Runtime::current(),
                boxes: Mutex::default(),
                metrics,
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
        }
    }

    /// Waits until everything is told, at most for `patience`, and ends. What is not told then is lost.
    pub async fn stop(&self, patience: Duration) {
        self.inner.tasks.close();
        let told = tokio::time::timeout(patience, self.inner.tasks.wait()).await;
        self.inner.stop.cancel();
        self.inner.tasks.wait().await;
        if told.is_err() {
            let boxes = self.inner.boxes.lock();
            let lost: usize = boxes.values().map(|waiting| waiting.outbox.len()).sum();
            let nodes = boxes.values().filter(|waiting| !waiting.outbox.is_empty());
            tracing::warn!(
                invalidations = lost,
                nodes = nodes.count(),
                "stopped before every node had heard of this node's writes"
            );
        }
    }
}

#[async_trait]
impl Neighbours for Herald {
    fn tell(&self, news: Invalidation) {
        self.inner.tell(&Arc::new(news));
    }

    async fn purge(
        &self,
        site: &str,
        what: Purging,
        soft: bool,
        author: String,
    ) -> Result<u64, NotPurged> {
        let purge = Purge {
            site: site.to_owned(),
            scope: match what {
                Purging::Url(url) => PurgeScope::Url(url),
                Purging::Prefix(prefix) => PurgeScope::Prefix(prefix),
                Purging::Tag(tag) => PurgeScope::Tag(tag),
            },
            soft,
            author,
        };
        let cluster = &self.inner.cluster;
        let committed = match cluster.propose(Change::Purged(purge)).await {
            Ok(committed) => committed,
            Err(ProposeError::Refused(why)) => return Err(NotPurged::Refused(why.to_string())),
            Err(error) => return Err(NotPurged::Unavailable(error.to_string())),
        };
        let mut state = cluster.watch();
        let applied = state.wait_for(|state| state.applied >= committed.index);
        match tokio::time::timeout(APPLY_PATIENCE, applied).await {
            Ok(Ok(_)) => Ok(committed.index),
            _ => Err(NotPurged::Unavailable(format!(
                "agreed on at index {}, and not in force here yet",
                committed.index
            ))),
        }
    }
}

impl Inner {
    fn tell(self: &Arc<Self>, news: &Arc<Invalidation>) {
        let Some(own) = self.own_id() else { return };
        let state = self.cluster.state();
        let mut boxes = self.boxes.lock();
        for id in state.members.keys().copied().filter(|id| *id != own) {
            let waiting = boxes.entry(id).or_default();
            let before = waiting.outbox.len();
            let event = match waiting.outbox.put(news) {
                Put::Queued => QUEUED,
                Put::Coalesced => COALESCED,
                Put::Widened => WIDENED,
            };
            self.metrics.count(event, 1);
            self.count_waiting(before, waiting.outbox.len());
            if !waiting.on_its_way && !self.stop.is_cancelled() {
                waiting.on_its_way = true;
                self.tasks
                    .spawn_on(Arc::clone(self).deliver(id), &self.runtime);
            }
        }
    }

    /// Empties one node's outbox. Ends when it is empty, or the node is no member any more.
    async fn deliver(self: Arc<Self>, id: NodeId) {
        let mut pause = PAUSE;
        while let Some((target, batch)) = self.next(id) {
            let body = batch.encode().into();
            let answer = tokio::select! {
                answer = self.client.ask(&target, KIND, body, ANSWER_PATIENCE) => answer,
                () = self.stop.cancelled() => return self.put_back(id, batch),
            };
            match answer {
                Ok(_) => {
                    let told = batch.targets.len() + batch.sites.len();
                    self.metrics.count(DELIVERED, told);
                    pause = PAUSE;
                }
                Err(error) => {
                    tracing::debug!(%error, "news of writes were not delivered");
                    self.metrics.count(RETRIED, 1);
                    self.put_back(id, batch);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// What goes next to that node, and where it is. None ends the delivery.
    fn next(&self, id: NodeId) -> Option<(PeerAddress, Batch)> {
        let state = self.cluster.state();
        let mut boxes = self.boxes.lock();
        let waiting = boxes.get_mut(&id)?;
        let before = waiting.outbox.len();
        let Some(member) = state.members.get(&id) else {
            boxes.remove(&id);
            self.count_waiting(before, 0);
            return None;
        };
        let batch = waiting.outbox.take();
        if batch.is_empty() {
            waiting.on_its_way = false;
            return None;
        }
        self.count_waiting(before, waiting.outbox.len());
        let target = PeerAddress {
            id,
            name: member.name.clone(),
            address: member.peer.clone(),
        };
        Some((target, batch))
    }

    fn put_back(&self, id: NodeId, batch: Batch) {
        let mut boxes = self.boxes.lock();
        let waiting = boxes.entry(id).or_default();
        let before = waiting.outbox.len();
        if waiting.outbox.put_back(batch) == Put::Widened {
            self.metrics.count(WIDENED, 1);
        }
        self.count_waiting(before, waiting.outbox.len());
    }

    fn count_waiting(&self, before: usize, after: usize) {
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.waiting.inc_by(signed(after) - signed(before));
    }

    fn own_id(&self) -> Option<NodeId> {
        let identity = self.cluster.identity();
        identity.borrow().as_ref().map(|identity| identity.id)
    }
}
