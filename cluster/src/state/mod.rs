//! What the cluster agreed on, and how it changes.
//!
//! [`State`] is plain data. [`Machine::apply`] is the only way it changes, and it is a function of the log alone:
//! no clock, no random number, no IO. Time and chance come inside the [`Command`].

mod apply;
mod change;
mod document;
mod member;
mod purge;
mod recent;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use apply::{Machine, Outcome};
pub use change::{Change, Command, NewDocument, NewMember, Refusal};
pub use document::{Document, Revision};
pub use member::{Member, NodeId};
pub use purge::{Marks, Purge, PurgeScope, SitePurges};
pub use token::JoinToken;

pub(crate) use recent::Recent;

/// Which history an index belongs to: a cluster, and its epoch (which `recover` and `restore` raise).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The cluster's random id.
    pub cluster: [u8; 16],
    /// Raised when history may have been rewritten.
    pub epoch: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", hex::encode(self.cluster), self.epoch)
    }
}

/// Everything the cluster agreed on, as of one log index. Immutable once published; share it in an `Arc`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which history this belongs to.
    pub stamp: Stamp,
    /// The log index up to which changes are in here.
    pub applied: u64,
    /// Milliseconds since the Unix epoch, from the commands; never runs backwards.
    pub time_ms: u64,
    /// The cluster's CA certificate, DER.
    pub ca_certificate: Vec<u8>,
    /// The CA's private key (PKCS #8), sealed by the cluster key.
    pub ca_key_sealed: Vec<u8>,
    /// Who belongs.
    pub members: BTreeMap<NodeId, Member>,
    /// Site documents by name.
    pub sites: BTreeMap<String, Arc<Document>>,
    /// Zone documents by name.
    pub zones: BTreeMap<String, Arc<Document>>,
    /// Tokens that let nodes join, by id. Only hashes of their secrets.
    pub join_tokens: BTreeMap<String, JoinToken>,
    /// Purges by site; a removed site keeps a floor, so that its old entries stay unusable when it comes back.
    pub purges: BTreeMap<String, Arc<SitePurges>>,
    /// Entries of any site filled at a lower index are unusable: absorbs the floors of sites removed long ago.
    pub purge_floor: u64,
}

impl State {
    /// The member with this name.
    #[must_use]
    pub fn member_named(&self, name: &str) -> Option<&Member> {
        self.members.values().find(|member| member.name == name)
    }
}
