//! The state machine as Raft drives it: restores from local data, applies, makes and installs snapshots, and tells
//! the observer before anything counts as applied.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, TryStreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Entry, LogId, LogStore, Snapshot, SnapshotMeta, Store, StoreError, StoredMembership,
    TypeConfig, decode, encode,
};
use crate::observer::Observer;
use crate::state::{Change, Machine, NodeId, Outcome, State};

/// How many applied indexes are remembered with their time, for receipts.
const TIMES_MAX: usize = 4096;

/// A snapshot on its way: the encoded [`Stored`].
pub(crate) type SnapshotData = Vec<u8>;

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(super) machine: Machine,
    pub(super) last_applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// What this node has applied, published.
#[derive(Clone)]
pub(crate) struct Applied {
    state: watch::Sender<Arc<State>>,
    times: Arc<Mutex<VecDeque<(u64, Instant)>>>,
}

impl Applied {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(Arc::default()),
            times: Arc::default(),
        }
    }

    /// The state as of now.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// The state as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    /// When `index` was applied here, if it was lately and one by one.
    pub(crate) fn time_of(&self, index: u64) -> Option<Instant> {
        let times = self.times.lock();
        let at = times.partition_point(|(applied, _)| *applied < index);
        times
            .get(at)
            .filter(|(applied, _)| *applied == index)
            .map(|(_, time)| *time)
    }

    fn publish(&self, state: Arc<State>) {
        {
            let mut times = self.times.lock();
            if times.len() == TIMES_MAX {
                times.pop_front();
            }
            times.push_back((state.applied, Instant::now()));
        }
        self.state.send_replace(state);
    }

    fn publish_whole(&self, state: Arc<State>) {
        self.times.lock().clear();
        self.state.send_replace(state);
    }
}

/// The state machine.
pub(crate) struct MachineStore {
    stored: Stored,
    store: Store,
    applied: Applied,
    observer: Arc<dyn Observer>,
}

impl MachineStore {
    /// Restores the state from the snapshot and the entries known to be committed, without asking anybody, and
    /// tells the observer.
    pub(crate) fn restore(
        store: Store,
        applied: Applied,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let damaged = |error: &dyn std::fmt::Display| StoreError::Damaged(error.to_string());
        let mut stored = match store.snapshot()? {
            Some((_, data)) => decode::<Stored>(&data).map_err(|error| damaged(&error))?,
            None => Stored::default(),
        };
        let log = LogStore::new(store.clone());
        if let Some(committed) = log.committed()? {
            let start = stored.last_applied.map_or(0, |log_id| log_id.index + 1);
            let entries = log.entries(start, committed.index + 1)?;
            if entries
                .first()
                .is_some_and(|first| first.log_id.index != start)
            {
                return Err(damaged(&format!("entries from {start} on are missing")));
            }
            for entry in entries {
                stored.apply(&entry);
            }
        }
        let machine = Self {
            stored,
            store,
            applied,
            observer,
        };
        machine.tell_whole();
        Ok(machine)
    }

    fn tell_whole(&self) {
        let state = Arc::new(self.stored.machine.state().clone());
        self.observer.restored(&state);
        self.applied.publish_whole(state);
    }

    /// Applies an entry and makes it visible on this node.
    fn apply_and_tell(&mut self, entry: &Entry) -> Outcome {
        let (outcome, change) = self.stored.apply(entry);
        let state = Arc::new(self.stored.machine.state().clone());
        self.observer.applied(entry.log_id.index, change, &state);
        self.applied.publish(state);
        outcome
    }
}

impl Stored {
    /// The outcome, and the change if it was made just now.
    fn apply<'a>(&mut self, entry: &'a Entry) -> (Outcome, Option<&'a Change>) {
        let index = entry.log_id.index;
        self.last_applied = Some(entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => self.machine.pass(index),
            EntryPayload::Normal(command) => {
                let (outcome, new) = self.machine.apply(index, command);
                let made = new && outcome.refusal.is_none();
                return (outcome, made.then_some(&command.change));
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
                self.machine.vote(index, &voters);
            }
        }
        (
            Outcome {
                index,
                refusal: None,
            },
            None,
        )
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        }
    }
}

/// Makes a snapshot of the state as it was when it was created.
pub(crate) struct SnapshotBuilder {
    stored: Stored,
    store: Store,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let meta = self.stored.meta();
        let data = encode(&self.stored)?;
        self.store.set_snapshot(&encode(&meta)?, &data)?;
        self.store.synced().await?;
        Ok(Snapshot {
            meta,
            snapshot: data,
        })
    }
}

impl RaftStateMachine<TypeConfig> for MachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.stored.last_applied, self.stored.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = self.apply_and_tell(&entry);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            stored: self.stored.clone(),
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let stored: Stored = decode(&snapshot)?;
        self.store.set_snapshot(&encode(meta)?, &snapshot)?;
        self.store.synced().await?;
        self.stored = stored;
        self.tell_whole();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some((meta, snapshot)) = self.store.snapshot()? else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            meta: decode(&meta)?,
            snapshot,
        }))
    }
}
