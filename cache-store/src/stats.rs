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

/// Counts of the disk tier; one per store.
#[derive(Debug, Default)]
pub(crate) struct DiskCounts {
    pub(crate) lookups: Counter,
    pub(crate) hits: Counter,
    pub(crate) deadlines: Counter,
    pub(crate) refused: Counter,
    pub(crate) chunks_read: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) chunks_written: Counter,
    pub(crate) bytes_written: Counter,
    pub(crate) gone: Counter,
    pub(crate) damaged: Counter,
    pub(crate) errors: Counter,
    pub(crate) forgotten: Counter,
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
    /// Bytes of the folder, as `du` counts them, a second ago.
    pub disk_bytes: u64,
    /// Bound of those bytes; 0 without a disk tier.
    pub disk_max_bytes: u64,
    /// Bound of the bodies' files, which gives way to metadata.
    pub disk_bodies_max_bytes: u64,
    /// Entries on disk, as RocksDB estimates it.
    pub disk_entries: u64,
    /// Lookups that memory could not answer.
    pub disk_lookups: u64,
    /// Those that the disk could.
    pub disk_hits: u64,
    /// Reads that were not answered in time.
    pub disk_deadlines: u64,
    /// Writes that were not taken because too many waited.
    pub disk_refused: u64,
    /// Writes waiting now.
    pub disk_queued: u64,
    /// Chunks read.
    pub disk_chunks_read: u64,
    /// Bytes of chunks read.
    pub disk_bytes_read: u64,
    /// Chunks written.
    pub disk_chunks_written: u64,
    /// Bytes of chunks written.
    pub disk_bytes_written: u64,
    /// Chunks whose file had been dropped or lost when they were asked for.
    pub disk_chunks_gone: u64,
    /// Records and chunks that were damaged.
    pub disk_damaged: u64,
    /// Errors of the disk other than damage.
    pub disk_errors: u64,
    /// Records of metadata forgotten because no body could be left to them.
    pub disk_forgotten: u64,
}

impl DiskCounts {
    pub(crate) fn report(&self, stats: &mut Stats) {
        stats.disk_lookups = self.lookups.value();
        stats.disk_hits = self.hits.value();
        stats.disk_deadlines = self.deadlines.value();
        stats.disk_refused = self.refused.value();
        stats.disk_chunks_read = self.chunks_read.value();
        stats.disk_bytes_read = self.bytes_read.value();
        stats.disk_chunks_written = self.chunks_written.value();
        stats.disk_bytes_written = self.bytes_written.value();
        stats.disk_chunks_gone = self.gone.value();
        stats.disk_damaged = self.damaged.value();
        stats.disk_errors = self.errors.value();
        stats.disk_forgotten = self.forgotten.value();
    }
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
