//! The store: what the node calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::disk::{Disk, Found, Looked};
use crate::entry::{Entry, Stored};
use crate::fill::{Fill, Follower, Limits, Registry, Running, Writer};
use crate::key::{Key, KeySecret};
use crate::memory::Memory;
use crate::meta::Meta;
use crate::options::{DISK_MIN_BYTES, MEMORY_MIN_BYTES, Options};
use crate::read::{BodyReader, DiskBody, ReadError};
use crate::stats::{FillCounts, Stats};

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder holds data of a version of the store that is newer than this program. Nothing was touched.
    #[error(
        "{dir} holds a cache of format {found}, and this program knows {known}: use a newer program, or an empty folder"
    )]
    Newer {
        /// The folder.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Another process has the folder open.
    #[error("{dir} is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// A bound is too small to work with.
    #[error("{what} is {given} bytes, and the least is {least}")]
    TooSmall {
        /// Which bound.
        what: &'static str,
        /// What was asked for.
        given: u64,
        /// The least.
        least: u64,
    },
    /// The folder cannot be made, read or written.
    #[error("cannot use {path}")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk tier's database cannot be opened.
    #[error("cannot open the disk tier: {0}")]
    Database(String),
}

/// What memory knows of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// Its content.
    Known(Arc<[u8]>),
    /// There is none, also not on disk.
    Absent,
    /// Only [`Store::directory`] can tell.
    NotInMemory,
}

pub(crate) struct Inner<M: Meta> {
    memory: Memory<M>,
    disk: Option<Arc<Disk>>,
    fills: Registry<M>,
    counts: Arc<FillCounts>,
    secret: KeySecret,
    limits: Limits,
    disk_max_bytes: u64,
    /// Raised, under its lock, by each change of a key that falls here. What a lookup brought from disk goes into memory
    /// only if nothing has changed since it began; and compare-and-set of a directory is one step.
    changes: Box<[Mutex<u64>]>,
    /// Keys that are known to have no entry, as a word that is made of the key and of the count of changes it was
    /// found at: any change makes it another. A slot holds the latest key that fell into it.
    absent: Box<[AtomicU64]>,
}

/// Enough that two keys at work at the same moment rarely meet.
const CHANGE_STRIPES: usize = 1024;
/// Keys whose absence is remembered, at most.
const ABSENT_SLOTS: usize = 1 << 14;

impl<M: Meta> Inner<M> {
    fn changes(&self, key: &Key) -> MutexGuard<'_, u64> {
        self.changes[(key.hash() % CHANGE_STRIPES as u128) as usize].lock()
    }

    /// A key has changed, or is about to.
    pub(crate) fn changed(&self, key: &Key) {
        *self.changes(key) += 1;
    }

    fn absence(&self, key: &Key, changes: u64) -> (&AtomicU64, u64) {
        let high = (key.hash() >> 64) as u64;
        let slot = &self.absent[high as usize % ABSENT_SLOTS];
        // An odd number of the golden ratio: each count gives another word. Zero is what nobody wrote.
        (
            slot,
            (high ^ changes.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
        )
    }

    /// Makes a new entry visible.
    pub(crate) fn publish(&self, entry: Arc<Entry<M>>) {
        let mut changes = self.changes(entry.key());
        *changes += 1;
        self.memory.insert(entry);
    }

    /// A fill has ended: nobody joins it any more.
    pub(crate) fn leave(&self, fill: &Arc<Running<M>>) {
        self.fills.remove(fill);
        self.counts.running.take(1);
    }
}

impl<M: Meta> Drop for Inner<M> {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.shut_down();
        }
    }
}

/// Bytes by key, in memory and on disk. Clones share one store.
pub struct Store<M: Meta> {
    inner: Arc<Inner<M>>,
}

impl<M: Meta> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<M: Meta> std::fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("stats", &self.stats())
            .finish()
    }
}

impl<M: Meta> Store<M> {
    /// Opens the store, and makes it where there is none. `stamp` says to which history the entries belong (cluster id
    /// and epoch): a folder stamped otherwise is emptied.
    ///
    /// # Errors
    /// When the folder is of a newer format (nothing is touched then), in use, or unusable.
    pub fn open(options: Options, stamp: [u8; 24]) -> Result<Self, OpenError> {
        let too_small = |what, given, least| OpenError::TooSmall { what, given, least };
        let (memory, disk) = (options.memory_max_bytes, options.disk_max_bytes);
        if memory < MEMORY_MIN_BYTES {
            return Err(too_small(
                "the bound of the cache's memory",
                memory,
                MEMORY_MIN_BYTES,
            ));
        }
        if disk > 0 && disk < DISK_MIN_BYTES {
            return Err(too_small(
                "the bound of the cache's disk",
                disk,
                DISK_MIN_BYTES,
            ));
        }
        let budget = options.budget();
        let limits = Limits {
            whole_max_bytes: budget.whole_max_bytes,
            fills_bytes: budget.fills_bytes,
            disk_body_max_bytes: budget.body_max(),
            window_bytes: budget.window_bytes,
            laggard_patience: options.laggard_patience,
            write_deadline: options.write_deadline,
        };
        let (disk, secret) = match disk {
            0 => (None, KeySecret::random()),
            _ => {
                let (disk, secret) = Disk::open(options, stamp)?;
                (Some(disk), secret)
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                memory: Memory::new(budget.tier_bytes, budget.whole_max_bytes),
                disk,
                fills: Registry::new(),
                counts: Arc::default(),
                secret,
                limits,
                disk_max_bytes: budget.disk_max_bytes,
                changes: (0..CHANGE_STRIPES).map(|_| Mutex::new(0)).collect(),
                absent: (0..ABSENT_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            }),
        })
    }

    /// The name of an entry.
    #[must_use]
    pub fn key(&self, whole: impl Into<Bytes>) -> Key {
        Key::new(&self.inner.secret, whole)
    }

    /// The entry, if it is in memory: the hit path. No wait, no allocation, one reference counted.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.inner.memory.entry(key)
    }

    /// The same by a whole key that the caller keeps: no key is made.
    #[must_use]
    pub fn peek_whole(&self, whole: &[u8]) -> Option<Arc<Entry<M>>> {
        let hash = crate::key::hash(&self.inner.secret, whole);
        self.inner.memory.entry_at(hash, whole)
    }

    /// The entry, from memory or from disk. A disk that is slow, full of work or failing is a miss.
    pub async fn lookup(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.find(key, true).await
    }

    /// The same, and what is found on disk stays there: for those who only want to know.
    pub async fn look(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.find(key, false).await
    }

    async fn find(&self, key: &Key, keep: bool) -> Option<Arc<Entry<M>>> {
        if let Some(entry) = self.peek(key) {
            return Some(entry);
        }
        let disk = self.inner.disk.as_ref()?;
        let before = *self.inner.changes(key);
        let (slot, absent) = self.inner.absence(key, before);
        if slot.load(Ordering::Relaxed) == absent {
            // What cannot be stored is asked for again and again, and the disk would be asked each time.
            return None;
        }
        let looked = disk.lookup(key, self.inner.limits.whole_max_bytes).await;
        let entry = match looked {
            Looked::Found(found) => self.entry_of(disk, key, found),
            Looked::Absent => {
                slot.store(absent, Ordering::Relaxed);
                None
            }
            Looked::Unknown => None,
        };
        // Somebody else may have brought it meanwhile, from disk or from its origin.
        let changes = self.inner.changes(key);
        if let Some(entry) = self.peek(key) {
            return Some(entry);
        }
        if keep
            && *changes == before
            && let Some(entry) = &entry
        {
            self.inner.memory.insert(entry.clone());
        }
        entry
    }

    fn entry_of(&self, disk: &Arc<Disk>, key: &Key, found: Found) -> Option<Arc<Entry<M>>> {
        let Found { record, body } = found;
        let meta = match M::decode(&record.meta) {
            Ok(meta) => Arc::new(meta),
            Err(error) => {
                tracing::debug!(%error, "cached metadata cannot be read, dropping it");
                disk.remove_broken(key.hash(), record.fill);
                return None;
            }
        };
        let body = match body {
            Some(pieces) => Stored::Memory(pieces.into()),
            None => Stored::Disk(Arc::new(DiskBody::new(
                disk.clone(),
                key.hash(),
                record.fill,
                record.length,
                record.chunk_bytes,
            ))),
        };
        let key = key.clone();
        let entry = Entry::new(key, meta, record.tag, record.fill, record.length, body);
        Some(Arc::new(entry))
    }

    /// Reads a range of an entry's body after making sure that it can be read: the first piece is loaded and checked.
    ///
    /// # Errors
    /// When the body is not there any more or is damaged: the entry has been removed, and the request is a miss. A disk
    /// that is only slow is an error too, and the entry stays.
    pub async fn read(
        &self,
        entry: &Arc<Entry<M>>,
        range: std::ops::Range<u64>,
    ) -> Result<BodyReader, ReadError> {
        let mut reader = entry.read(range);
        match reader.load().await {
            Ok(()) => Ok(reader),
            Err(error) => {
                if error != ReadError::Slow {
                    self.inner.memory.remove_this(entry);
                }
                Err(error)
            }
        }
    }

    /// Brings a missing or unusable entry: the caller leads, or follows one who does.
    ///
    /// `seen` is what the caller's lookup gave; if another entry has come since and `joins` accepts its tag, that one is
    /// given. `tag` is the fill index of a fill led by the caller; a reader follows a running fill only if `joins` accepts
    /// its leader's tag, and otherwise leads one that replaces it for later readers.
    pub fn fill(
        &self,
        key: &Key,
        seen: Option<&Arc<Entry<M>>>,
        joins: impl Fn(u64) -> bool,
        tag: u64,
    ) -> Fill<M> {
        let mut stripe = self.inner.fills.stripe(key);
        if let Some(running) = stripe.get(&key.hash())
            && running.key.whole() == key.whole()
            && joins(running.tag)
            && running.joinable()
            // Complete, but not gone yet, and what it brought is what the caller has and wants brought anew.
            && seen.is_none_or(|seen| seen.fill() != running.fill)
        {
            self.inner.counts.joined.add(1);
            return Fill::Follow(Follower::new(running.clone()));
        }
        if let Some(entry) = self.inner.memory.entry(key)
            && !seen.is_some_and(|seen| Arc::ptr_eq(seen, &entry))
            && joins(entry.tag())
        {
            return Fill::Stored(entry);
        }
        let running = Arc::new(Running::new(
            key.clone(),
            tag,
            self.inner.limits.clone(),
            self.inner.disk.clone(),
            self.inner.counts.clone(),
        ));
        stripe.insert(key.hash(), running.clone());
        drop(stripe);
        Fill::Lead(Writer::new(self.inner.clone(), running))
    }

    /// Puts new metadata over an entry's body (a 304 freshened it). An entry that has come in its place meanwhile stays.
    pub fn touch(&self, entry: &Arc<Entry<M>>, meta: M, tag: u64) -> Arc<Entry<M>> {
        let touched = Arc::new(entry.touched(meta, tag));
        let mut changes = self.inner.changes(entry.key());
        *changes += 1;
        if self.inner.memory.replace_this(entry, touched.clone())
            && let Some(disk) = &self.inner.disk
        {
            disk.touch(entry.key(), entry.fill(), touched.record());
        }
        touched
    }

    /// Forgets an entry, in both tiers.
    pub fn remove(&self, key: &Key) {
        let mut changes = self.inner.changes(key);
        *changes += 1;
        self.inner.memory.remove(key);
        if let Some(disk) = &self.inner.disk {
            disk.remove(key);
        }
    }

    /// The directory under a primary key, if memory knows.
    #[must_use]
    pub fn peek_directory(&self, key: &Key) -> Directory {
        match self.inner.memory.directory(key) {
            Some(record) => record
                .content
                .clone()
                .map_or(Directory::Absent, Directory::Known),
            None if self.inner.disk.is_none() => Directory::Absent,
            None => Directory::NotInMemory,
        }
    }

    /// The directory under a primary key, from memory or disk. A disk that does not answer in time has none: that costs
    /// misses, and the next [`Store::set_directory`] begins a new one.
    pub async fn directory(&self, key: &Key) -> Option<Arc<[u8]>> {
        match self.peek_directory(key) {
            Directory::Known(content) => return Some(content),
            Directory::Absent => return None,
            Directory::NotInMemory => {}
        }
        let disk = self.inner.disk.as_ref()?;
        let before = *self.inner.changes(key);
        let content = disk.directory(key).await.unwrap_or(None);
        let content: Option<Arc<[u8]>> = content.map(|content| Arc::from(content.as_ref()));
        let changes = self.inner.changes(key);
        match self.peek_directory(key) {
            Directory::Known(content) => Some(content),
            Directory::Absent => None,
            Directory::NotInMemory => {
                if *changes == before {
                    self.inner.memory.insert_directory(key, content.clone());
                }
                content
            }
        }
    }

    /// Replaces a directory if it still is what `expected` says; says whether it did. Where memory does not know what
    /// there is, it does not: call [`Store::directory`] and try again.
    ///
    /// Directories are forgotten with the bodies of their time, so a node sets one again, as it is, when it stores a
    /// variant long after.
    pub fn set_directory(&self, key: &Key, expected: Option<&[u8]>, new: Vec<u8>) -> bool {
        let mut changes = self.inner.changes(key);
        let current = match self.peek_directory(key) {
            Directory::Known(content) => Some(content),
            Directory::Absent => None,
            Directory::NotInMemory => return false,
        };
        if current.as_deref() != expected {
            return false;
        }
        *changes += 1;
        if let Some(disk) = &self.inner.disk {
            disk.put_directory(key, &new);
        }
        self.inner.memory.insert_directory(key, Some(new.into()));
        true
    }

    /// Counts and sizes.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            memory_records: self.inner.memory.records(),
            memory_bytes: self.inner.memory.bytes(),
            memory_max_bytes: self.inner.memory.bytes_max(),
            memory_evictions: self.inner.memory.evictions(),
            ..Stats::default()
        };
        self.inner.counts.report(&mut stats);
        if let Some(disk) = &self.inner.disk {
            stats.disk_max_bytes = self.inner.disk_max_bytes;
            disk.report(&mut stats);
        }
        stats
    }

    /// Waits until all that was written before is in files, and safe from a kill.
    pub async fn flush(&self) {
        if let Some(disk) = &self.inner.disk {
            disk.flush().await;
        }
    }

    /// Writes what is queued, flushes, and closes the folder; other clones go on with memory alone. Blocks until done,
    /// some hundred milliseconds. Dropping the last clone does the same.
    pub fn close(self) {
        if let Some(disk) = &self.inner.disk {
            disk.shut_down();
        }
    }
}
