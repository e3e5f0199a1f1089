//! What can be asked of the cluster, and what it answers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::member::NodeId;
use super::purge::Purge;
use super::token::JoinToken;

/// A change with what makes its application a function of the log: when, and which request it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Random, the same for each try of one request: a command that reaches the log twice applies once.
    pub id: [u8; 16],
    /// The proposer's clock, milliseconds since the Unix epoch. State time is the maximum of all seen.
    pub time_ms: u64,
    /// What to do.
    pub change: Change,
}

/// A change of the replicated state: the payload of a log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// The first change of every cluster.
    ClusterMade {
        /// The cluster's random id.
        cluster: [u8; 16],
        /// CA certificate, DER.
        ca_certificate: Vec<u8>,
        /// CA key, sealed by the cluster key.
        ca_key_sealed: Vec<u8>,
        /// The node that made it; its id is [`NodeId::FOUNDER`].
        founder: NewMember,
    },
    /// A node joins; its id is this entry's log index.
    MemberJoined {
        /// The token's public part.
        token: String,
        /// SHA-256 of the secret it showed.
        secret_hash: [u8; 32],
        /// Who joins.
        member: NewMember,
        /// A member of the same name that is down and gives way, as its log was lost.
        replaces: Option<NodeId>,
    },
    /// A member says what it is now.
    MemberUpdated {
        /// Which.
        id: NodeId,
        /// Everything it says of itself.
        member: NewMember,
    },
    /// A member is removed for good.
    MemberRemoved {
        /// Which.
        id: NodeId,
    },
    /// A member is drained or taken back.
    DrainSet {
        /// Which.
        id: NodeId,
        /// True: be emptied.
        draining: bool,
    },
    /// Sites are set, all or none.
    SitesApplied {
        /// In order; no name twice.
        documents: Vec<NewDocument>,
        /// Who asks.
        author: String,
    },
    /// A site is removed.
    SiteRemoved {
        /// Its name.
        name: String,
        /// Refused unless the site's revision is this.
        expected_revision: Option<u64>,
        /// Who asks.
        author: String,
    },
    /// Zones are set, all or none.
    ZonesApplied {
        /// In order; no name twice. Their hosts are empty.
        documents: Vec<NewDocument>,
        /// Who asks.
        author: String,
    },
    /// A zone is removed.
    ZoneRemoved {
        /// Its name.
        name: String,
        /// Refused unless the zone's revision is this.
        expected_revision: Option<u64>,
        /// Who asks.
        author: String,
    },
    /// Entries become unusable.
    Purged(Purge),
    /// A join token is made.
    JoinTokenMade(JoinToken),
    /// A join token is revoked.
    JoinTokenRevoked {
        /// Its public part.
        id: String,
    },
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.change.name(), hex::encode(self.id))
    }
}

impl Change {
    /// What it is called in logs; never its content, which may be an operator's.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClusterMade { .. } => "cluster made",
            Self::MemberJoined { .. } => "member joined",
            Self::MemberUpdated { .. } => "member updated",
            Self::MemberRemoved { .. } => "member removed",
            Self::DrainSet { .. } => "drain set",
            Self::SitesApplied { .. } => "sites applied",
            Self::SiteRemoved { .. } => "site removed",
            Self::ZonesApplied { .. } => "zones applied",
            Self::ZoneRemoved { .. } => "zone removed",
            Self::Purged(_) => "purged",
            Self::JoinTokenMade(_) => "join token made",
            Self::JoinTokenRevoked { .. } => "join token revoked",
        }
    }
}

/// A document to set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDocument {
    /// Its name.
    pub name: String,
    /// The hosts it claims, lower case (sites); empty for zones.
    pub hosts: Vec<String>,
    /// TOML, as written.
    pub text: String,
    /// Refused unless the document's revision is this; `Some(0)`: unless it does not exist.
    pub expected_revision: Option<u64>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewMember {
    /// `[node] name`.
    pub name: String,
    /// `[node] region`.
    pub region: String,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// What A answers say.
    pub ipv4: Option<Ipv4Addr>,
    /// What AAAA answers say.
    pub ipv6: Option<Ipv6Addr>,
    /// `host:port` of its peer listener.
    pub peer: String,
    /// The program's version.
    pub version: String,
}

/// Why a change was not made. The change is in the log all the same: a refusal is an answer, the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Two sites claim one host.
    #[error(
        "sites \"{site}\" and \"{other}\" both claim the host {host}: a host belongs to one site"
    )]
    HostTaken {
        /// The site that was to be set.
        site: String,
        /// The one that has the host.
        other: String,
        /// The host.
        host: String,
    },
    /// The document is not at the expected revision.
    #[error(
        "{kind} \"{name}\" is at revision {actual}, not {expected}: somebody changed it in between"
    )]
    RevisionMismatch {
        /// `site` or `zone`.
        kind: String,
        /// Its name.
        name: String,
        /// What the proposer had read; 0: that it does not exist.
        expected: u64,
        /// What is; 0: it does not exist.
        actual: u64,
    },
    /// There is nothing of this name.
    #[error("there is no {kind} \"{name}\"")]
    Unknown {
        /// `site`, `zone`, `member` or `join token`.
        kind: String,
        /// Its name or id.
        name: String,
    },
    /// The name is taken by a member.
    #[error("a member named \"{name}\" exists already (id {id}): choose another name or remove it")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        id: NodeId,
    },
    /// The token does not let anybody in.
    #[error("the join token {token} {why}")]
    TokenRefused {
        /// Its public part.
        token: String,
        /// `is unknown…`, `is wrong`, `has expired` or `is used up`.
        why: String,
    },
    /// A limit of the state would be passed.
    #[error("{what}: at most {limit}")]
    TooMany {
        /// What there would be too many of.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The change is malformed.
    #[error("{0}")]
    Invalid(String),
}
