//! A member's moving parts: store, Raft, liveness, and the tasks around them, all owned here.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Inner;
use crate::identity::{Authority, ClusterKey, IdentityError, NodeKey, is_due};
use crate::liveness::{self, Datagram};
use crate::raft::{Parts, RaftNode, Store, StoreError};
use crate::{Change, Identity, NewMember, NodeId, StartError, State};

/// Liveness datagrams waiting at most; more are dropped as a network would.
const DATAGRAMS_MAX: usize = 1024;
/// Between looks at the certificate's age.
const RENEWAL_CHECK_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Between attempts to tell the cluster what this node is now.
const SELF_UPDATE_EVERY: Duration = Duration::from_secs(2);
/// For the last handle of the store to be let go of.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A node that belongs.
pub(crate) struct Membership {
    pub(crate) id: NodeId,
    pub(crate) cluster: [u8; 16],
    pub(crate) cluster_key: ClusterKey,
    pub(crate) raft: RaftNode,
    pub(crate) store: Store,
    pub(crate) datagrams: mpsc::Sender<Datagram>,
    /// True once this node takes no new clients.
    pub(crate) leave: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl Inner {
    /// Opens the store, restores the state (which the observer hears of), and starts to take part.
    pub(crate) async fn take_part(
        self: &Arc<Self>,
        identity: Identity,
        cluster_key: ClusterKey,
    ) -> Result<(), StartError> {
        let id = identity.id;
        let cluster = identity.cluster;
        let store = Store::open(&self.options.dir.join("raft"), self.hooks.clone())?;
        let generation = next_generation(&store)?;
        let (stop, stopped) = watch::channel(false);
        let parts = Parts {
            id,
            timing: self.options.timing,
            store: store.clone(),
            transport: Arc::clone(&self.transport),
            applied: self.applied.clone(),
            observer: Arc::clone(&self.observer),
        };
        let (leave, leaving) = watch::channel(false);
        let (raft, quorum_watch) = RaftNode::start(parts, stopped.clone()).await?;
        let (datagrams, arrivals) = mpsc::channel(DATAGRAMS_MAX);
        let membership = Arc::new(Membership {
            id,
            cluster,
            cluster_key,
            raft,
            store,
            datagrams,
            leave,
            stop,
            tasks: Mutex::new(JoinSet::new()),
        });
        self.identity.send_replace(Some(Arc::new(identity)));
        *self.membership.write() = Some(Arc::clone(&membership));

        let mut tasks = membership.tasks.lock();
        let start = liveness::Start {
            own: id,
            generation,
            timing: self.options.timing,
            transport: Arc::clone(&self.transport),
            applied: self.applied.clone(),
            liveness: self.liveness.clone(),
        };
        tasks.spawn(liveness::gossip(start, arrivals, leaving, stopped.clone()));
        tasks.spawn(quorum_watch);
        tasks.spawn(until_stopped(
            stopped.clone(),
            super::lead::lead(Arc::downgrade(self), Arc::downgrade(&membership)),
        ));
        tasks.spawn(until_stopped(
            stopped.clone(),
            keep_own_record_true(Arc::downgrade(self), id),
        ));
        tasks.spawn(until_stopped(
            stopped,
            keep_certificate_fresh(Arc::downgrade(self), Arc::downgrade(&membership)),
        ));
        drop(tasks);
        Ok(())
    }
}

impl Membership {
    /// The CA, from what is replicated and the cluster key.
    pub(crate) fn authority(&self, state: &State) -> Result<Authority, IdentityError> {
        Authority::open(
            self.cluster,
            &state.ca_certificate,
            &state.ca_key_sealed,
            &self.cluster_key,
        )
    }

    /// Stops everything, in the order in which nothing is missed, and lets go of the store.
    pub(crate) async fn stop(self: Arc<Self>) {
        self.stop.send_replace(true);
        self.raft.shutdown().await;
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while let Some(ended) = tasks.join_next().await {
            // Those that wait for a peer are cut short: nothing is missed by that.
            if let Err(error) = ended
                && !error.is_cancelled()
            {
                tracing::error!(%error, "a cluster task failed");
            }
        }
        if let Err(error) = self.store.synced().await {
            tracing::error!(%error, "the raft store was not synced at stop");
        }
        let store = self.store.clone();
        drop(self);
        let deadline = Instant::now() + CLOSE_PATIENCE;
        while !store.is_last_handle() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Closing joins the sync thread and RocksDB's own work.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(store)).await {
            tracing::error!(%error, "the raft store did not close");
        }
    }
}

/// A number greater than in any earlier run of this node, whatever its clock does.
fn next_generation(store: &Store) -> Result<u64, StoreError> {
    const KEY: &str = "generation";
    let last = store
        .meta(KEY)?
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    let next = super::now_ms().max(last + 1);
    store.set_meta(KEY, &next.to_be_bytes())?;
    Ok(next)
}

async fn until_stopped(mut stopped: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// True when the cluster's record says of this node what its own file does.
fn is_current(state: &State, id: NodeId, own: &NewMember) -> Option<bool> {
    let member = state.members.get(&id)?;
    let recorded = NewMember {
        name: member.name.clone(),
        region: member.region.clone(),
        latitude: member.latitude,
        longitude: member.longitude,
        ipv4: member.ipv4,
        ipv6: member.ipv6,
        peer: member.peer.clone(),
        version: member.version.clone(),
    };
    Some(recorded == *own)
}

/// After a restart with another file or version, tells the cluster what this node is now. Ends once it is told.
async fn keep_own_record_true(inner: std::sync::Weak<Inner>, id: NodeId) {
    loop {
        let Some(inner) = inner.upgrade() else { return };
        let own = inner.options.member.clone();
        match is_current(&inner.applied.state(), id, &own) {
            Some(true) => return,
            None => {}
            Some(false) => {
                let change = Change::MemberUpdated { id, member: own };
                match inner.propose(change).await {
                    Ok(_) => {}
                    Err(crate::ProposeError::Refused(refusal)) => {
                        tracing::error!(%refusal, "the cluster keeps this node's old record");
                        return;
                    }
                    Err(error) => tracing::debug!(%error, "own record not updated yet"),
                }
            }
        }
        drop(inner);
        tokio::time::sleep(SELF_UPDATE_EVERY).await;
    }
}

/// Renews this node's certificate once two thirds of its life are over. Every member can open the CA's key, so an
/// expired node renews itself without asking anybody.
async fn keep_certificate_fresh(
    inner: std::sync::Weak<Inner>,
    membership: std::sync::Weak<Membership>,
) {
    loop {
        {
            let (Some(inner), Some(membership)) = (inner.upgrade(), membership.upgrade()) else {
                return;
            };
            let state = inner.applied.state();
            let now = SystemTime::now();
            let current = inner.identity.borrow().clone();
            if let Some(current) = current
                && !state.ca_key_sealed.is_empty()
                && is_due(&current.certificate, now)
                && let Err(error) = inner.renew(&membership, &state, &current, now)
            {
                tracing::error!(%error, "the node's certificate was not renewed");
            }
        }
        tokio::time::sleep(RENEWAL_CHECK_EVERY).await;
    }
}

impl Inner {
    fn renew(
        &self,
        membership: &Membership,
        state: &State,
        current: &Identity,
        now: SystemTime,
    ) -> Result<(), IdentityError> {
        let key = NodeKey::from_pkcs8(&current.key_pkcs8)?;
        let certificate = membership
            .authority(state)?
            .sign_own(current.id, &key, now)?;
        self.files.save_certificate(&certificate)?;
        self.identity.send_replace(Some(Arc::new(Identity {
            id: current.id,
            cluster: current.cluster,
            certificate,
            ca_certificate: current.ca_certificate.clone(),
            key_pkcs8: current.key_pkcs8.clone(),
        })));
        tracing::info!("the node's certificate was renewed");
        Ok(())
    }
}
