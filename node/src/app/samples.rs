//! What the store counts, in metrics' words.

use nearside_cache_store::Stats;

use crate::observe::Sample;

/// The store's numbers as samples.
pub(super) fn of_store(stats: &Stats) -> Vec<Sample> {
    vec![
        gauge(
            "nearside_cache_memory_records",
            "Entries and directories in memory",
            stats.memory_records,
        ),
        gauge(
            "nearside_cache_memory_bytes",
            "Their real bytes",
            stats.memory_bytes,
        ),
        gauge(
            "nearside_cache_memory_max_bytes",
            "Bound of those bytes",
            stats.memory_max_bytes,
        ),
        counter(
            "nearside_cache_memory_evictions",
            "Records that made room for others",
            stats.memory_evictions,
        ),
        counter(
            "nearside_cache_fills_led",
            "Fills that were led",
            stats.fills_led,
        ),
        counter(
            "nearside_cache_fills_joined",
            "Readers that joined a running fill",
            stats.fills_joined,
        ),
        counter(
            "nearside_cache_fills_stored",
            "Fills that were stored, in either tier",
            stats.fills_stored,
        ),
        counter(
            "nearside_cache_fills_declined",
            "Fills whose answer was not to be stored",
            stats.fills_declined,
        ),
        counter(
            "nearside_cache_fills_failed",
            "Fills that broke off",
            stats.fills_failed,
        ),
        gauge(
            "nearside_cache_fills_running",
            "Fills running now",
            stats.fills_running,
        ),
        gauge(
            "nearside_cache_fills_running_bytes",
            "Body bytes that running fills hold now",
            stats.fills_running_bytes,
        ),
        counter(
            "nearside_cache_fills_laggards_failed",
            "Followers that were failed because they held others back",
            stats.fills_laggards_failed,
        ),
        counter(
            "nearside_cache_fills_without_disk",
            "Fills that were not written to disk because it was full, slow, failing or short of room",
            stats.fills_without_disk,
        ),
        gauge(
            "nearside_cache_disk_bytes",
            "Bytes of the folder, as `du` counts them, a second ago",
            stats.disk_bytes,
        ),
        gauge(
            "nearside_cache_disk_max_bytes",
            "Bound of those bytes; 0 without a disk tier",
            stats.disk_max_bytes,
        ),
        gauge(
            "nearside_cache_disk_bodies_max_bytes",
            "Bound of the bodies' files, which gives way to metadata",
            stats.disk_bodies_max_bytes,
        ),
        gauge(
            "nearside_cache_disk_entries",
            "Entries on disk, as RocksDB estimates it",
            stats.disk_entries,
        ),
        counter(
            "nearside_cache_disk_lookups",
            "Lookups that memory could not answer",
            stats.disk_lookups,
        ),
        counter(
            "nearside_cache_disk_hits",
            "Those that the disk could",
            stats.disk_hits,
        ),
        counter(
            "nearside_cache_disk_deadlines",
            "Reads that were not answered in time",
            stats.disk_deadlines,
        ),
        counter(
            "nearside_cache_disk_refused",
            "Writes that were not taken because too many waited",
            stats.disk_refused,
        ),
        gauge(
            "nearside_cache_disk_queued",
            "Writes waiting now",
            stats.disk_queued,
        ),
        counter(
            "nearside_cache_disk_chunks_read",
            "Chunks read",
            stats.disk_chunks_read,
        ),
        counter(
            "nearside_cache_disk_bytes_read",
            "Bytes of chunks read",
            stats.disk_bytes_read,
        ),
        counter(
            "nearside_cache_disk_chunks_written",
            "Chunks written",
            stats.disk_chunks_written,
        ),
        counter(
            "nearside_cache_disk_bytes_written",
            "Bytes of chunks written",
            stats.disk_bytes_written,
        ),
        counter(
            "nearside_cache_disk_chunks_gone",
            "Chunks whose file had been dropped or lost when they were asked for",
            stats.disk_chunks_gone,
        ),
        counter(
            "nearside_cache_disk_damaged",
            "Records and chunks that were damaged",
            stats.disk_damaged,
        ),
        counter(
            "nearside_cache_disk_errors",
            "Errors of the disk other than damage",
            stats.disk_errors,
        ),
        counter(
            "nearside_cache_disk_forgotten",
            "Records of metadata forgotten because no body could be left to them",
            stats.disk_forgotten,
        ),
    ]
}

fn counter(name: &'static str, help: &'static str, count: u64) -> Sample {
    Sample::counter(name, help, count)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "metrics are f64; counts this large are read by people"
)]
fn gauge(name: &'static str, help: &'static str, value: u64) -> Sample {
    Sample::gauge(name, help, value as f64)
}
