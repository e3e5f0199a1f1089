//! Reads: lookups, chunks, directories. All that is wrong with what is found makes a miss of it, and forgets it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::record::{self, EntryRecord};
use super::rocks::{Rocks, Table};
use super::{Disk, Job};
use crate::chunk;
use crate::key::{FillId, Key};
use crate::read::ReadError;

/// An entry found on disk.
pub(crate) struct Found {
    pub(crate) record: EntryRecord,
    /// The whole body, where it is small enough for memory.
    pub(crate) body: Option<Vec<Bytes>>,
}

/// What a lookup on disk says.
pub(crate) enum Looked {
    Found(Found),
    /// There is none, and none is on its way to the disk.
    Absent,
    /// None that can be used now: it is being changed, cannot be read, or the disk did not answer in time.
    Unknown,
}

/// Where a body's chunks are and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) fill: FillId,
    pub(crate) length: u64,
    pub(crate) chunk_bytes: u32,
}

impl Place {
    fn of(record: &EntryRecord) -> Self {
        Self {
            fill: record.fill,
            length: record.length,
            chunk_bytes: record.chunk_bytes,
        }
    }
}

impl Disk {
    /// Runs a read on a reading thread and waits for it.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        deadline: Duration,
        read: impl FnOnce(&Rocks) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let slot = self.read_slots.clone().acquire_owned().await.ok()?;
            let job: Job = Box::new(move |rocks| {
                let _slot = slot;
                // Nobody waits any more: the deadline passed, or the client went.
                if !answer.is_closed() {
                    // The caller may go just now; then the answer goes nowhere.
                    drop(answer.send(read(rocks)));
                }
            });
            self.reads.push(job).ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(deadline, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                self.counts.deadlines.add(1);
                None
            }
        }
    }

    /// The entry under a key, with its whole body where that is at most `whole_max_bytes` long. All that is wrong is a
    /// miss. Of a longer body nothing is read: its reader checks the first chunk before anything is promised.
    pub(crate) async fn lookup(self: &Arc<Self>, key: &Key, whole_max_bytes: u64) -> Looked {
        self.counts.lookups.add(1);
        let hash = key.hash();
        if self.writing(hash).pending.covers(hash) {
            return Looked::Unknown;
        }
        let (disk, key) = (self.clone(), key.clone());
        let found = self
            .ask(self.options.lookup_deadline, move |rocks| {
                disk.find(rocks, &key, whole_max_bytes)
            })
            .await;
        // A change that came while the disk was read makes the answer one of before.
        if self.writing(hash).pending.covers(hash) {
            return Looked::Unknown;
        }
        match found {
            Some(Looked::Found(found)) => {
                self.counts.hits.add(1);
                Looked::Found(found)
            }
            Some(other) => other,
            None => Looked::Unknown,
        }
    }

    fn find(self: &Arc<Self>, rocks: &Rocks, key: &Key, whole_max_bytes: u64) -> Looked {
        match rocks.record(Table::Entries, key.hash()) {
            Ok(None) => Looked::Absent,
            Ok(Some(bytes)) => self
                .read(rocks, key, &bytes, whole_max_bytes)
                .map_or(Looked::Unknown, Looked::Found),
            Err(error) => {
                self.damaged(&error);
                self.remove(key);
                Looked::Unknown
            }
        }
    }

    fn read(
        self: &Arc<Self>,
        rocks: &Rocks,
        key: &Key,
        bytes: &[u8],
        whole_max_bytes: u64,
    ) -> Option<Found> {
        let record = match EntryRecord::decode(bytes, key) {
            Ok(record) => record,
            Err(record::RecordError::OtherKey) => return None,
            Err(error) => {
                self.damaged(&error);
                self.remove(key);
                return None;
            }
        };
        if record.length > whole_max_bytes {
            return Some(Found { record, body: None });
        }
        let chunks = record.length.div_ceil(u64::from(record.chunk_bytes));
        let place = Place::of(&record);
        match (0..chunks)
            .map(|number| self.read_chunk(rocks, &place, number))
            .collect()
        {
            Ok(body) => Some(Found {
                record,
                body: Some(body),
            }),
            Err(error) => {
                tracing::debug!(%error, "cached body is gone");
                self.remove_broken(key.hash(), record.fill);
                None
            }
        }
    }

    fn damaged(&self, error: &dyn std::fmt::Display) {
        self.counts.damaged.add(1);
        tracing::warn!(%error, "cached entry is damaged, dropping it");
    }

    fn read_chunk(&self, rocks: &Rocks, place: &Place, number: u64) -> Result<Bytes, ReadError> {
        let short = u32::try_from(number).map_err(|_| ReadError::Gone)?;
        let begin = number * u64::from(place.chunk_bytes);
        let expected = u64::from(place.chunk_bytes).min(place.length.saturating_sub(begin));
        match rocks.chunk(&place.fill, short) {
            Ok(None) => {
                self.counts.gone.add(1);
                Err(ReadError::Gone)
            }
            Ok(Some(framed)) => {
                self.counts.chunks_read.add(1);
                self.counts.bytes_read.add(framed.len() as u64);
                let expected = usize::try_from(expected).unwrap_or(usize::MAX);
                chunk::open(&place.fill, short, framed.into(), expected).map_err(|error| {
                    self.damaged(&error);
                    ReadError::Damaged(error.to_string())
                })
            }
            Err(error) => {
                self.damaged(&error);
                Err(ReadError::Disk(error.to_string()))
            }
        }
    }

    /// One chunk of a body, checked.
    pub(crate) async fn chunk(
        self: &Arc<Self>,
        place: Place,
        number: u64,
    ) -> Result<Bytes, ReadError> {
        let disk = self.clone();
        self.ask(self.options.read_deadline, move |rocks| {
            disk.read_chunk(rocks, &place, number)
        })
        .await
        .unwrap_or(Err(ReadError::Slow))
    }

    /// The directory under a primary key: its content, or that there is none. No answer in time is an error.
    pub(crate) async fn directory(self: &Arc<Self>, key: &Key) -> Result<Option<Bytes>, ReadError> {
        let hash = key.directory_hash();
        let pending = &self.writing(hash).pending;
        if pending.covers(hash) {
            return Ok(None);
        }
        let (disk, asked) = (self.clone(), key.clone());
        let found = self
            .ask(self.options.lookup_deadline, move |rocks| {
                match rocks.record(Table::Directories, asked.directory_hash()) {
                    Ok(bytes) => record::decode_directory(&bytes?, &asked)
                        .map_err(|error| disk.damaged(&error))
                        .ok(),
                    Err(error) => {
                        disk.damaged(&error);
                        None
                    }
                }
            })
            .await
            .ok_or(ReadError::Slow)?;
        Ok(found.filter(|_| !pending.covers(hash)))
    }
}
