//! How a store is set up, and how its memory is shared out.

use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Least memory that a store works with.
pub const MEMORY_MIN_BYTES: u64 = 16 * MIB;

/// Least disk that a store works with.
pub const DISK_MIN_BYTES: u64 = 32 * MIB;

/// What the operator allows the store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's folder; made when it is not there. Nothing else should live in it.
    pub dir: PathBuf,
    /// Bound of everything the store holds in memory: entries, RocksDB's memtables and block cache, queues of writes.
    pub memory_max_bytes: u64,
    /// Bound of the folder. 0: no disk tier at all, and nothing survives a restart.
    pub disk_max_bytes: u64,
    /// The disk tier stops storing while less than this is free on the file system.
    pub disk_free_min_bytes: u64,
    /// A lookup that the disk has not answered after this long is a miss.
    pub lookup_deadline: Duration,
    /// A chunk of a response under way that the disk has not given after this long breaks the response.
    pub read_deadline: Duration,
    /// A fill that waited this long for the disk to take a chunk goes on without storing.
    pub write_deadline: Duration,
    /// A follower that holds a fill back for this long, while others wait for bytes, is failed.
    pub laggard_patience: Duration,
}

impl Options {
    /// Defaults for a folder and two bounds.
    pub fn new(dir: impl Into<PathBuf>, memory_max_bytes: u64, disk_max_bytes: u64) -> Self {
        Self {
            dir: dir.into(),
            memory_max_bytes,
            disk_max_bytes,
            disk_free_min_bytes: 0,
            lookup_deadline: Duration::from_millis(250),
            read_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(2),
            laggard_patience: Duration::from_secs(10),
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.memory_max_bytes, self.disk_max_bytes)
    }
}

/// How the two bounds are shared out among the parts.
///
/// Memtables and the block cache are part of the memory bound, and RocksDB's logs and metadata part of the disk bound.
/// Pure arithmetic, so that the tests can look at it for every size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Weight of the memory tier.
    pub(crate) tier_bytes: u64,
    /// Largest body that the memory tier keeps whole.
    pub(crate) whole_max_bytes: u64,
    /// Bytes of running fills, all together, beyond which fills stop keeping whole bodies.
    pub(crate) fills_bytes: u64,
    /// Bytes that a fill keeps for its followers once it does not keep its whole body.
    pub(crate) window_bytes: u64,
}

impl Budget {
    pub(crate) fn new(memory_max_bytes: u64, _disk_max_bytes: u64) -> Self {
        let memory = memory_max_bytes.max(MEMORY_MIN_BYTES);
        let fills_bytes = memory / 8;
        Self {
            tier_bytes: memory - fills_bytes,
            whole_max_bytes: memory / 64,
            fills_bytes,
            window_bytes: (memory / 64).clamp(MIB, 4 * MIB),
        }
    }
}
