//! What the store counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn take(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of fills; one per store.
#[derive(Debug, Default)]
pub(crate) struct FillCounts {
    pub(crate) led: Counter,
    pub(crate) joined: Counter,
    pub(crate) stored: Counter,
    pub(crate) declined: Counter,
    pub(crate) failed: Counter,
    pub(crate) running: Counter,
    pub(crate) running_bytes: Counter,
    pub(crate) laggards_failed: Counter,
    pub(crate) without_disk: Counter,
}

/// A look at the store. Counts are since it was opened, sizes are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries and directories in memory.
    pub memory_records: u64,
    /// Their real bytes.
    pub memory_bytes: u64,
    /// Bound of those bytes.
    pub memory_max_bytes: u64,
    /// Records that made room for others.
    pub memory_evictions: u64,
    /// Fills that were led.
    pub fills_led: u64,
    /// Readers that joined a running fill.
    pub fills_joined: u64,
    /// Fills that were stored, in either tier.
    pub fills_stored: u64,
    /// Fills whose answer was not to be stored.
    pub fills_declined: u64,
    /// Fills that broke off.
    pub fills_failed: u64,
    /// Fills running now.
    pub fills_running: u64,
    /// Body bytes that running fills hold now.
    pub fills_running_bytes: u64,
    /// Followers that were failed because they held others back.
    pub fills_laggards_failed: u64,
    /// Fills that were not written to disk because it was full, slow, failing or short of room.
    pub fills_without_disk: u64,
}

impl FillCounts {
    pub(crate) fn report(&self, stats: &mut Stats) {
        stats.fills_led = self.led.value();
        stats.fills_joined = self.joined.value();
        stats.fills_stored = self.stored.value();
        stats.fills_declined = self.declined.value();
        stats.fills_failed = self.failed.value();
        stats.fills_running = self.running.value();
        stats.fills_running_bytes = self.running_bytes.value();
        stats.fills_laggards_failed = self.laggards_failed.value();
        stats.fills_without_disk = self.without_disk.value();
    }
}
