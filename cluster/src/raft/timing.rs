//! Raft's clock, from [`Timing`].

use openraft::{Config, SnapshotPolicy};

use crate::Timing;

/// Entries applied since the last snapshot before another is made.
const SNAPSHOT_AFTER_ENTRIES: u64 = 5000;
/// Entries kept behind a snapshot, for followers that are a little late.
const ENTRIES_KEPT: u64 = 1000;
/// Entries in one AppendEntries at most; with the bound on a change this bounds its bytes.
const ENTRIES_PER_APPEND_MAX: u64 = 32;
/// For sending and installing the whole state, milliseconds.
const SNAPSHOT_TIMEOUT_MS: u64 = 20_000;

/// openraft's settings.
pub(crate) fn config(timing: &Timing) -> Result<Config, String> {
    let ms =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election_max_ms = ms(timing.election_max);
    Config {
        cluster_name: "nearside".into(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: election_max_ms,
        // At least lease (the election maximum) and one election maximum: a leader cut off from its quorum falls
        // silent for that long, so that a follower it still reaches can vote for another.
        quorum_loss_probe_interval: Some(2 * election_max_ms + ms(timing.heartbeat)),
        enable_pre_vote: Some(true),
        // A restarted leader asks for votes like everybody else.
        enable_leader_restore: Some(false),
        // Replication of an entry runs beside the leader's own sync, not after it.
        broadcast_submitted_on_append: Some(true),
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_AFTER_ENTRIES),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        replication_lag_threshold: SNAPSHOT_AFTER_ENTRIES + ENTRIES_KEPT,
        max_payload_entries: ENTRIES_PER_APPEND_MAX,
        backoff: "100ms 200ms 400ms ...1s".into(),
        ..Config::default()
    }
    .validate()
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_hold_together() {
        for timing in [Timing::REGIONAL, Timing::GLOBAL] {
            let config = config(&timing).unwrap();
            assert_eq!(config.enable_pre_vote, Some(true));
            assert_eq!(config.enable_leader_restore, Some(false));
            let lease_and_election = 2 * config.election_timeout_max;
            assert!(config.quorum_loss_probe_interval.unwrap() >= lease_and_election);
            assert!(config.election_timeout_min > 2 * config.heartbeat_interval);
            assert!(timing.probe > 2 * timing.probe_round_trip);
        }
    }
}
