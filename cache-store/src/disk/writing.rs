//! Writes: chunks, and changes of a key's record.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::record::{self, EntryRecord};
use super::rocks::{Rocks, RocksError, Table};
use super::{Disk, Job, Writing};
use crate::chunk::Sealed;
use crate::key::{FillId, Key};

/// Room for one chunk in the queue of writes, until it is written.
pub(crate) struct WriteRoom(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl Disk {
    pub(super) fn writing(&self, hash: u128) -> &Writing {
        &self.writes[(hash % self.writes.len() as u128) as usize]
    }

    /// Room for a chunk without waiting.
    pub(crate) fn try_room(&self, bytes: usize) -> Option<WriteRoom> {
        let room = self
            .write_room
            .clone()
            .try_acquire_many_owned(kib(bytes))
            .ok();
        if room.is_none() {
            self.counts.refused.add(1);
        }
        room.map(WriteRoom)
    }

    /// Room for a chunk, waited for up to the deadline.
    pub(crate) async fn room(&self, bytes: usize) -> Option<WriteRoom> {
        let room = self.write_room.clone().acquire_many_owned(kib(bytes));
        match tokio::time::timeout(self.options.write_deadline, room).await {
            Ok(Ok(room)) => Some(WriteRoom(room)),
            _ => {
                self.counts.refused.add(1);
                if self.rest() {
                    tracing::warn!("cache disk is slow, serving on without storing");
                }
                None
            }
        }
    }

    /// Queues a chunk; `done` hears whether it was written, on the writing thread. Without room the chunk's bytes are the
    /// caller's to bound.
    pub(crate) fn put_chunk(
        self: &Arc<Self>,
        hash: u128,
        fill: FillId,
        sealed: Sealed,
        room: Option<WriteRoom>,
        done: impl FnOnce(bool) + Send + 'static,
    ) -> bool {
        let disk = self.clone();
        let job: Job = Box::new(move |rocks| {
            let written = rocks.put_chunk(&fill, sealed.number, &sealed.framed);
            match &written {
                Ok(()) => {
                    disk.counts.chunks_written.add(1);
                    disk.counts.bytes_written.add(sealed.framed.len() as u64);
                    disk.upkeep.wrote();
                }
                Err(error) => disk.failing(error),
            }
            drop((sealed, room));
            done(written.is_ok());
        });
        let queued = self.writing(hash).queue.push(job).is_ok();
        if !queued {
            self.counts.refused.add(1);
        }
        queued
    }

    /// Queues a change of a key's record. Whatever comes of it, the disk is not believed before it is done.
    fn change(
        self: &Arc<Self>,
        hash: u128,
        change: impl FnOnce(&Rocks) -> Result<(), RocksError> + Send + 'static,
    ) -> bool {
        let writing = self.writing(hash);
        let queued = writing.pending.queue(hash, |number| {
            let disk = self.clone();
            let job: Job = Box::new(move |rocks| {
                let pending = &disk.writing(hash).pending;
                match change(rocks) {
                    Ok(()) => pending.done(hash, number),
                    Err(error) => {
                        pending.failed(hash, number);
                        disk.failing(&error);
                    }
                }
            });
            writing.queue.push(job).is_ok()
        });
        if !queued {
            self.counts.refused.add(1);
        }
        queued
    }

    /// Commits an entry behind its chunks. `ready` is asked on the writing thread, after them: none means that something
    /// of the body was not written, and then the key's older record goes too. `done` hears whether the entry is there.
    pub(crate) fn commit(
        self: &Arc<Self>,
        key: &Key,
        fill: FillId,
        ready: impl FnOnce() -> Option<Vec<u8>> + Send + 'static,
        done: impl FnOnce(bool) + Send + 'static,
    ) -> bool {
        let hash = key.hash();
        self.change(hash, move |rocks| {
            let Some(record) = ready() else {
                done(false);
                return rocks.remove_record(Table::Entries, hash);
            };
            let put = rocks.put_record(Table::Entries, hash, &fill, &record);
            done(put.is_ok());
            put
        })
    }

    /// Replaces an entry's metadata if the entry is still of this fill.
    pub(crate) fn touch(self: &Arc<Self>, key: &Key, fill: FillId, record: Vec<u8>) -> bool {
        let hash = key.hash();
        self.change(hash, move |rocks| {
            let current = rocks.record(Table::Entries, hash)?;
            if current.and_then(|current| EntryRecord::fill_of(&current)) == Some(fill) {
                rocks.replace_record(Table::Entries, hash, &record)?;
            }
            Ok(())
        })
    }

    /// Forgets an entry.
    pub(crate) fn remove(self: &Arc<Self>, key: &Key) -> bool {
        let hash = key.hash();
        self.change(hash, move |rocks| rocks.remove_record(Table::Entries, hash))
    }

    /// Forgets an entry whose body turned out to be gone, if it is still of this fill.
    pub(crate) fn remove_broken(self: &Arc<Self>, hash: u128, fill: FillId) -> bool {
        self.change(hash, move |rocks| {
            let current = rocks.record(Table::Entries, hash)?;
            if current.and_then(|current| EntryRecord::fill_of(&current)) == Some(fill) {
                rocks.remove_record(Table::Entries, hash)?;
            }
            Ok(())
        })
    }

    /// Keeps a directory.
    pub(crate) fn put_directory(self: &Arc<Self>, key: &Key, content: &[u8]) -> bool {
        let (hash, age) = (key.directory_hash(), FillId::random());
        let record = record::encode_directory(key, age, content);
        self.change(hash, move |rocks| {
            rocks.put_record(Table::Directories, hash, &age, &record)
        })
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
