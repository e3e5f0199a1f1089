//! One node's part in the cluster: the face of this crate.

mod answer;
mod founding;
mod joining;
mod lead;
mod member;
mod propose;
mod receipts;
mod status;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::identity::{Files, Token};
use crate::liveness::Liveness;
use crate::raft::{Applied, StoreHooks};
use crate::{
    Change, Committed, HandleError, Identity, InitError, JoinError, JoinToken, NodeId, Observer,
    Options, PeerRequest, ProposeError, Receipt, StartError, State, Status, StrangerKind,
    Transport,
};

use member::Membership;

/// Addresses a join token carries at most; its text is to be pasted.
const TOKEN_ADDRESSES_MAX: usize = 3;

/// A node's part in its cluster. Cheap to clone; every clone is the same node.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    options: Options,
    transport: Arc<dyn Transport>,
    observer: Arc<dyn Observer>,
    files: Files,
    applied: Applied,
    liveness: watch::Sender<Arc<Liveness>>,
    identity: watch::Sender<Option<Arc<Identity>>>,
    /// None while the node belongs to no cluster.
    membership: RwLock<Option<Arc<Membership>>>,
    /// Held while the node becomes a member or stops, so that it does one thing at a time.
    becoming: tokio::sync::Mutex<()>,
    hooks: StoreHooks,
}

/// This node's clock; it only goes into commands.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

impl Cluster {
    /// Opens the folder and takes part, if the node belongs to a cluster; otherwise waits for [`Self::init`] or
    /// [`Self::join`]. A member's last state is given to `observer` before this returns, with or without a quorum.
    pub async fn start(
        options: Options,
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        Self::start_with(options, transport, observer, StoreHooks::default()).await
    }

    async fn start_with(
        options: Options,
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
        hooks: StoreHooks,
    ) -> Result<Self, StartError> {
        let files = Files::open(options.dir.join("identity"))?;
        let inner = Arc::new(Inner {
            options,
            transport,
            observer,
            files,
            applied: Applied::new(),
            liveness: watch::Sender::new(Arc::default()),
            identity: watch::Sender::new(None),
            membership: RwLock::new(None),
            becoming: tokio::sync::Mutex::new(()),
            hooks,
        });
        inner.transport.use_identity(inner.identity.subscribe());
        if let Some((identity, cluster_key)) = inner.files.load()? {
            inner.take_part(identity, cluster_key).await?;
            if let Some(making) = inner.files.making()? {
                inner.found(&making).await.map_err(StartError::Raft)?;
            }
        }
        Ok(Self { inner })
    }

    /// Makes a cluster of this one node: id, CA, cluster key, certificate. Refused where the node belongs already
    /// or a configured join address answers as a member.
    pub async fn init(&self) -> Result<(), InitError> {
        self.inner.init().await
    }

    /// Joins through the members that the token and `[cluster] join` name. A failed attempt may be repeated with the
    /// same token: the cluster gives the same id.
    pub async fn join(&self, token: &str) -> Result<NodeId, JoinError> {
        self.inner.join(token).await
    }

    /// Tells the others to count this node as down, while it still takes part in Raft: the first step of a stop, so
    /// that clients are sent elsewhere before the last requests end.
    pub fn leave(&self) {
        if let Some(membership) = self.inner.membership.read().as_ref() {
            membership.leave.send_replace(true);
        }
    }

    /// Leaves Raft and liveness, syncs and closes the store. The members notice the absence; intent stays.
    pub async fn stop(&self) {
        let _becoming = self.inner.becoming.lock().await;
        let membership = self.inner.membership.write().take();
        if let Some(membership) = membership {
            membership.stop().await;
        }
    }

    /// A secret that the members share and nobody else, one for each purpose. None while the node belongs to no cluster.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> Option<[u8; 32]> {
        let membership = self.inner.membership.read();
        let membership = membership.as_ref()?;
        Some(membership.cluster_key.secret_for(purpose))
    }

    /// What is agreed, as far as this node has applied it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.inner.applied.state()
    }

    /// The same, as it changes. A slow receiver sees the latest, not each.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.inner.applied.watch()
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
    /// Every try carries the same command id, so the change is made once.
    pub async fn propose(&self, change: Change) -> Result<Committed, ProposeError> {
        self.inner.propose(change).await
    }

    /// Makes a join token and returns its text; this is the only time its secret is seen.
    pub async fn make_join_token(
        &self,
        ttl: Duration,
        uses: u32,
        author: &str,
    ) -> Result<String, ProposeError> {
        let state = self.state();
        let own = self.inner.member().ok_or(ProposeError::Outside)?.id;
        let mut addresses: Vec<String> = Vec::new();
        let own_first = state
            .members
            .get(&own)
            .into_iter()
            .chain(state.members.values());
        for member in own_first {
            if addresses.len() < TOKEN_ADDRESSES_MAX && !addresses.contains(&member.peer) {
                addresses.push(member.peer.clone());
            }
        }
        let failed = |error: crate::IdentityError| {
            ProposeError::Refused(crate::Refusal::Invalid(error.to_string()))
        };
        let token = Token::generate(addresses, &state.ca_certificate).map_err(failed)?;
        let text = token.text().map_err(failed)?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.propose(Change::JoinTokenMade(JoinToken {
            id: token.id.clone(),
            secret_hash: crate::identity::hash_of(&token.secret),
            expires_ms: now_ms().saturating_add(ttl_ms),
            uses_left: uses,
            author: author.to_owned(),
        }))
        .await?;
        Ok(text)
    }

    /// Waits until every member believed up has applied what was committed, or until the time is up.
    pub async fn wait_applied(&self, committed: &Committed, timeout: Duration) -> Vec<Receipt> {
        self.inner.wait_applied(committed, timeout).await
    }

    /// Answers a member. `caller` is the id in its certificate, which the transport has verified.
    pub async fn handle(&self, caller: NodeId, request: PeerRequest) -> Result<Bytes, HandleError> {
        self.inner.handle(caller, request).await
    }

    /// Answers a caller without a certificate.
    pub async fn handle_stranger(
        &self,
        kind: StrangerKind,
        body: Bytes,
    ) -> Result<Bytes, HandleError> {
        self.inner.handle_stranger(kind, &body).await
    }

    /// What this node knows of the cluster, without asking anybody.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.status()
    }
}

impl Inner {
    fn member(&self) -> Option<Arc<Membership>> {
        self.membership.read().clone()
    }
}
