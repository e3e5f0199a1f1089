//! One node's part in the cluster: the face of this crate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    Change, Committed, HandleError, Identity, InitError, JoinError, Liveness, NodeId, Observer,
    Options, PeerRequest, ProposeError, Receipt, StartError, State, Status, StrangerKind,
    Transport,
};

/// A node's part in its cluster. Cheap to clone; every clone is the same node.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    state: watch::Sender<Arc<State>>,
    liveness: watch::Sender<Arc<Liveness>>,
    identity: watch::Sender<Option<Arc<Identity>>>,
}

impl Cluster {
    /// Opens the folder and takes part, if the node belongs to a cluster; otherwise waits for [`Self::init`] or
    /// [`Self::join`]. A member's last state is given to `observer` before this returns, with or without a quorum.
    pub async fn start(
        options: Options,
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        let _ = (options, transport, observer);
        todo!("in the next commit")
    }

    /// Makes a cluster of this one node: id, CA, cluster key, certificate. Refused where the node belongs already
    /// or a configured join address answers as a member.
    pub async fn init(&self) -> Result<(), InitError> {
        todo!("in the next commit")
    }

    /// Joins through the members the token and `[cluster] join` name.
    pub async fn join(&self, token: &str) -> Result<NodeId, JoinError> {
        let _ = token;
        todo!("in the next commit")
    }

    /// Leaves Raft and liveness, syncs and closes the store. The members notice the absence; intent stays.
    pub async fn stop(&self) {}

    /// What is agreed, as far as this node has applied it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.inner.state.borrow())
    }

    /// The same, as it changes. A slow receiver sees the latest, not each.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.inner.state.subscribe()
    }

    /// Who is believed to be up, as it changes.
    #[must_use]
    pub fn liveness(&self) -> watch::Receiver<Arc<Liveness>> {
        self.inner.liveness.subscribe()
    }

    /// This node's certificate and key as they change; none while it belongs to no cluster.
    #[must_use]
    pub fn identity(&self) -> watch::Receiver<Option<Arc<Identity>>> {
        self.inner.identity.subscribe()
    }

    /// Makes a change, from any node: forwarded to the leader, tried again until an answer or about ten seconds.
    /// A retried try carries the same command id, so it applies once.
    pub async fn propose(&self, change: Change) -> Result<Committed, ProposeError> {
        let _ = change;
        todo!("in the next commit")
    }

    /// Makes a join token and returns its text; this is the only time its secret is seen.
    pub async fn make_join_token(
        &self,
        ttl: Duration,
        uses: u32,
        author: &str,
    ) -> Result<String, ProposeError> {
        let _ = (ttl, uses, author);
        todo!("in the next commit")
    }

    /// Waits until every member believed up has applied what was committed, or until the time is up.
    pub async fn wait_applied(&self, committed: &Committed, timeout: Duration) -> Vec<Receipt> {
        let _ = (committed, timeout);
        todo!("in the next commit")
    }

    /// Answers a member. `caller` is the id in its certificate, which the transport has verified.
    pub async fn handle(&self, caller: NodeId, request: PeerRequest) -> Result<Bytes, HandleError> {
        let _ = (caller, request);
        todo!("in the next commit")
    }

    /// Answers a caller without a certificate.
    pub async fn handle_stranger(
        &self,
        kind: StrangerKind,
        body: Bytes,
    ) -> Result<Bytes, HandleError> {
        let _ = (kind, body);
        todo!("in the next commit")
    }

    /// What this node knows of the cluster, without asking anybody.
    #[must_use]
    pub fn status(&self) -> Status {
        todo!("in the next commit")
    }
}
