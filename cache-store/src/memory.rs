//! The memory tier: decoded entries and directories on `quick_cache`, bounded in real bytes.
//!
//! It admits every entry whose body is small enough to be kept whole, and evicts in the S3-FIFO family's way, so that a
//! scan does not wash out what is asked for again. A hit takes the read side of one shard's lock and counts one
//! reference; nothing is allocated, decoded or copied.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use crate::entry::Entry;
use crate::key::Key;
use crate::meta::Meta;

/// Bytes that a directory record costs besides its key and content.
const DIRECTORY_OVERHEAD_BYTES: usize = 192;

/// Each shard holds at least this many of the largest bodies.
const LARGEST_PER_SHARD: u64 = 4;

/// A directory as the memory tier keeps it; no content means that there is known to be none on disk.
#[derive(Debug)]
pub(crate) struct DirectoryRecord {
    pub(crate) whole: Bytes,
    pub(crate) content: Option<Arc<[u8]>>,
}

#[derive(Debug)]
enum Slot<M> {
    Entry(Arc<Entry<M>>),
    Directory(Arc<DirectoryRecord>),
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Entry(entry) => Self::Entry(entry.clone()),
            Self::Directory(record) => Self::Directory(record.clone()),
        }
    }
}

/// Keys are hashed already, with a secret; a part of the hash is hash enough.
#[derive(Clone, Default)]
struct Hashed;

#[derive(Default)]
struct HashedState(u64);

impl BuildHasher for Hashed {
    type Hasher = HashedState;

    fn build_hasher(&self) -> HashedState {
        HashedState::default()
    }
}

impl Hasher for HashedState {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = (hash as u64) ^ (hash >> 64) as u64;
    }
}

#[derive(Clone)]
struct Weigh;

impl<M: Meta> Weighter<u128, Slot<M>> for Weigh {
    fn weight(&self, _: &u128, slot: &Slot<M>) -> u64 {
        match slot {
            Slot::Entry(entry) => entry.weight_bytes(),
            Slot::Directory(record) => {
                let content = record.content.as_ref().map_or(0, |content| content.len());
                (DIRECTORY_OVERHEAD_BYTES + record.whole.len() + content) as u64
            }
        }
    }
}

/// Counts what is evicted. The evicted value is dropped outside the shard's lock.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl<M> Lifecycle<u128, Slot<M>> for Evictions {
    type RequestState = Vec<Slot<M>>;

    fn on_evict(&self, state: &mut Self::RequestState, _: u128, slot: Slot<M>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        state.push(slot);
    }
}

/// The memory tier.
pub(crate) struct Memory<M: Meta> {
    cache: Cache<u128, Slot<M>, Weigh, Hashed, Evictions>,
    evictions: Evictions,
}

impl<M: Meta> Memory<M> {
    pub(crate) fn new(bytes_max: u64, whole_max_bytes: u64) -> Self {
        let evictions = Evictions::default();
        let cores = std::thread::available_parallelism().map_or(4, std::num::NonZero::get);
        let shards = (cores as u64 * 4)
            .min(bytes_max / (LARGEST_PER_SHARD * whole_max_bytes).max(1))
            .max(1);
        // quick_cache rounds up to a power of two.
        let shards = 1 << shards.ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            // Only the ghost list and the first tables are sized by it: 16 KiB is a small mean body.
            .estimated_items_capacity(
                usize::try_from(bytes_max / (16 << 10))
                    .unwrap_or(usize::MAX)
                    .max(1024),
            )
            .weight_capacity(bytes_max)
            .build()
            .expect("both capacities are set");
        Self {
            cache: Cache::with_options(options, Weigh, Hashed, evictions.clone()),
            evictions,
        }
    }

    pub(crate) fn entry(&self, key: &Key) -> Option<Arc<Entry<M>>> {
        self.entry_at(key.hash(), key.whole())
    }

    pub(crate) fn entry_at(&self, hash: u128, whole: &[u8]) -> Option<Arc<Entry<M>>> {
        match self.cache.get(&hash)? {
            Slot::Entry(entry) if entry.key().whole() == whole && !entry.is_broken() => Some(entry),
            _ => None,
        }
    }

    pub(crate) fn insert(&self, entry: Arc<Entry<M>>) {
        self.cache.insert(entry.key().hash(), Slot::Entry(entry));
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.cache.remove(&key.hash());
    }

    /// Removes this very entry; one that has taken its place stays.
    pub(crate) fn remove_this(&self, entry: &Arc<Entry<M>>) {
        self.cache.remove_if(
            &entry.key().hash(),
            |slot| matches!(slot, Slot::Entry(current) if Arc::ptr_eq(current, entry)),
        );
    }

    /// Puts an entry in the place of this very one, or where there is none; another one that has come stays, and the
    /// answer is no.
    pub(crate) fn replace_this(&self, old: &Arc<Entry<M>>, new: Arc<Entry<M>>) -> bool {
        match self.cache.get(&old.key().hash()) {
            Some(Slot::Entry(current)) if !Arc::ptr_eq(&current, old) => false,
            _ => {
                self.insert(new);
                true
            }
        }
    }

    pub(crate) fn directory(&self, key: &Key) -> Option<Arc<DirectoryRecord>> {
        match self.cache.get(&key.directory_hash())? {
            Slot::Directory(record) if record.whole == *key.whole() => Some(record),
            _ => None,
        }
    }

    pub(crate) fn insert_directory(&self, key: &Key, content: Option<Arc<[u8]>>) {
        let record = DirectoryRecord {
            whole: key.whole().clone(),
            content,
        };
        self.cache
            .insert(key.directory_hash(), Slot::Directory(Arc::new(record)));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.cache.capacity()
    }

    pub(crate) fn records(&self) -> u64 {
        self.cache.len() as u64
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.0.load(Ordering::Relaxed)
    }
}
