//! What a node says at start, and how patient it is.

use std::path::PathBuf;
use std::time::Duration;

use crate::state::NewMember;

/// Everything [`crate::Cluster::start`] needs.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[data] dir`: the folder that holds the identity and the Raft store. Made if it does not exist.
    pub dir: PathBuf,
    /// What this node says of itself. `peer` is where others reach it.
    pub member: NewMember,
    /// `[cluster] join`: `host:port` of members.
    pub join: Vec<String>,
    /// How patient Raft is.
    pub timing: Timing,
}

/// Raft's clock. Settings that belong together, so that no combination can be wrong.
///
/// A follower waits for the lease, which is the election maximum, and then for its own timeout before it asks for
/// votes; so writes come back about 2–3 s after a leader's death with `REGIONAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats; also the deadline of one AppendEntries.
    pub heartbeat: Duration,
    /// Least wait before a candidacy.
    pub election_min: Duration,
    /// Greatest wait before a candidacy, and the leader's lease.
    pub election_max: Duration,
    /// Between liveness probes.
    pub probe: Duration,
    /// How long a probed node may take before others are asked to probe it.
    pub probe_round_trip: Duration,
    /// How long a suspect may take to refute.
    pub suspicion: Duration,
}

impl Timing {
    /// Nodes on one continent, or two with good links.
    pub const REGIONAL: Self = Self {
        heartbeat: Duration::from_millis(300),
        election_min: Duration::from_millis(800),
        election_max: Duration::from_millis(1400),
        probe: Duration::from_millis(600),
        probe_round_trip: Duration::from_millis(250),
        suspicion: Duration::from_millis(1200),
    };

    /// Nodes anywhere.
    pub const GLOBAL: Self = Self {
        heartbeat: Duration::from_millis(1000),
        election_min: Duration::from_millis(2500),
        election_max: Duration::from_millis(4000),
        probe: Duration::from_millis(1500),
        probe_round_trip: Duration::from_millis(700),
        suspicion: Duration::from_millis(3000),
    };
}
