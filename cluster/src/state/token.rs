//! Join tokens, as the state holds them: never their secrets.

use serde::{Deserialize, Serialize};

/// Permission for some nodes to join for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Public part: what `list` and `revoke` say.
    pub id: String,
    /// SHA-256 of the secret part, which has 256 random bits; so a plain hash does.
    pub secret_hash: [u8; 32],
    /// Unusable from here on, by state time: milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// How many nodes may still join with it.
    pub uses_left: u32,
    /// Who made it.
    pub author: String,
}
