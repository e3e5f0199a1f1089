//! Raft's log and vote on the [`Store`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};

use super::{Entry, LogId, Store, TypeConfig, Vote, decode, encode};

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
/// Bytes of entries read at once for replication, beyond which fewer are sent.
const READ_BYTES_MAX: usize = 8 << 20;

/// The log.
#[derive(Clone)]
pub(crate) struct LogStore {
    store: Store,
}

impl LogStore {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    fn read_meta<T: serde::de::DeserializeOwned>(&self, key: &str) -> io::Result<Option<T>> {
        match self.store.meta(key)? {
            Some(bytes) => Ok(Some(decode(&bytes)?)),
            None => Ok(None),
        }
    }

    fn write_meta<T: serde::Serialize>(&self, key: &str, value: &T) -> io::Result<()> {
        self.store.set_meta(key, &encode(value)?)
    }

    /// What was known to be committed; survives a kill, but the last moments of it not a power loss.
    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(self.read_meta::<Option<LogId>>(COMMITTED)?.flatten())
    }

    /// Entries from `start` to before `end`; a hole in them is an error.
    pub(crate) fn entries(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        for bytes in self.store.entries(start, end)? {
            let entry: Entry = decode(&bytes)?;
            if let Some(before) = entries.last()
                && before.log_id.index + 1 != entry.log_id.index
            {
                return Err(io::Error::other(format!(
                    "the log has a hole after {}",
                    before.log_id.index
                )));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.read_meta(VOTE)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut entries = Vec::new();
        let mut bytes_read = 0;
        for index in start..end {
            let Some(bytes) = self.store.entries(index, index + 1)?.pop() else {
                break;
            };
            bytes_read += bytes.len();
            entries.push(decode(&bytes)?);
            if bytes_read > READ_BYTES_MAX {
                break;
            }
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id: Option<LogId> = self.read_meta(PURGED)?;
        let last_log_id = match self.store.last_entry()? {
            Some(bytes) => Some(decode::<Entry>(&bytes)?.log_id()),
            None => last_purged_log_id,
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_meta(VOTE, vote)?;
        self.store.synced().await
    }

    /// Not synced: a kill loses nothing, a power loss only how far this node knew, which the leader tells again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.write_meta(COMMITTED, &committed)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.committed()
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.store.append(
            entries
                .into_iter()
                .map(|entry| Ok((entry.log_id.index, encode(&entry)?))),
        )?;
        self.store
            .sync(Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.store
            .truncate(last_log_id.map_or(0, |log_id| log_id.index + 1))?;
        self.store.synced().await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.store.purge(log_id.index, PURGED, &encode(&log_id)?)
    }
}
