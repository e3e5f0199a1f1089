//! How a store is set up, and how its memory is shared out.

use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Least memory that a store works with.
pub const MEMORY_MIN_BYTES: u64 = 32 * MIB;

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
/// Memtables, block cache and queues are part of the memory bound, and RocksDB's logs and metadata part of the disk
/// bound. Pure arithmetic, so that the tests can look at it for every size.
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
    /// One memtable of the bodies; there are up to three. On disk it is the size of a file, and so the step in which
    /// bodies are dropped.
    pub(crate) bodies_memtable_bytes: u64,
    /// One memtable of the metadata; there are up to two.
    pub(crate) entries_memtable_bytes: u64,
    /// Index, filter and small data blocks of both instances.
    pub(crate) block_cache_bytes: u64,
    /// Chunks waiting for a thread to write them.
    pub(crate) writes_bytes: u64,
    /// Bound of the folder.
    pub(crate) disk_max_bytes: u64,
    /// Bound of the bodies' files while the metadata is small.
    pub(crate) bodies_bound_bytes: u64,
}

impl Budget {
    pub(crate) fn new(memory: u64, disk: u64) -> Self {
        let fills_bytes = memory / 8;
        let mut budget = Self {
            tier_bytes: memory - fills_bytes,
            whole_max_bytes: 0,
            fills_bytes,
            window_bytes: (memory / 64).clamp(MIB, 4 * MIB),
            bodies_memtable_bytes: (disk / 64).min(memory / 8).clamp(4 * MIB, 64 * MIB),
            entries_memtable_bytes: (memory / 64).min(disk / 256).clamp(MIB / 2, 8 * MIB),
            block_cache_bytes: (memory / 32).clamp(MIB, 64 * MIB),
            writes_bytes: (memory / 16).clamp(4 * MIB, 32 * MIB),
            disk_max_bytes: disk,
            bodies_bound_bytes: 0,
        };
        if disk > 0 {
            let taken = 3 * budget.bodies_memtable_bytes
                + 2 * budget.entries_memtable_bytes
                + budget.block_cache_bytes
                + budget.writes_bytes;
            budget.tier_bytes = budget.tier_bytes.saturating_sub(taken).max(memory / 4);
            budget.bodies_bound_bytes = budget.bodies_bound(0);
        }
        budget.whole_max_bytes = (budget.tier_bytes / 64).min(64 * MIB);
        budget
    }

    /// Bound of the bodies' files beside `other_bytes` of metadata, logs and RocksDB's own.
    ///
    /// Measured, the files of a FIFO store exceed their bound by up to three and a half memtables for a moment; 8 % less
    /// two memtables leaves room for that at every size. Metadata counts with at least a sixty-fourth, so that the bound
    /// does not move while it is small.
    pub(crate) fn bodies_bound(&self, other_bytes: u64) -> u64 {
        let floor = (self.disk_max_bytes / 64).clamp(2 * MIB, 256 * MIB);
        (self.disk_max_bytes / 100 * 92)
            .saturating_sub(2 * self.bodies_memtable_bytes)
            .saturating_sub(other_bytes.max(floor))
            .max(2 * self.bodies_memtable_bytes)
    }

    /// Largest body that goes to disk. One that took more of the bound would push out its own beginning, and most of
    /// what others are served from, before it is complete.
    pub(crate) fn body_max(&self) -> u64 {
        self.bodies_bound_bytes / 4
    }

    /// Metadata beyond this is forgotten, oldest first, whatever bodies there are.
    pub(crate) fn entries_bound(&self) -> u64 {
        self.disk_max_bytes / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_stay_within_the_bounds_at_every_size() {
        for memory in [MEMORY_MIN_BYTES, 100 * MIB, 256 * MIB, 1024 * MIB, 64 << 30] {
            for disk in [0, DISK_MIN_BYTES, 512 * MIB, 50 << 30, 2 << 40] {
                let budget = Budget::new(memory, disk);
                let rocks = 3 * budget.bodies_memtable_bytes
                    + 2 * budget.entries_memtable_bytes
                    + budget.block_cache_bytes
                    + budget.writes_bytes;
                let all = budget.tier_bytes + budget.fills_bytes + if disk > 0 { rocks } else { 0 };
                assert!(all <= memory + memory / 20, "{memory} {disk}: {all}");
                if disk > 0 {
                    let peak = budget.bodies_bound_bytes + 7 * budget.bodies_memtable_bytes / 2;
                    let over = (disk / 20).max(2 * budget.bodies_memtable_bytes);
                    assert!(peak + 2 * MIB <= disk + over, "{memory} {disk}: {peak}");
                    assert!(budget.bodies_bound_bytes >= disk / 4, "{memory} {disk}");
                }
            }
        }
    }
}
