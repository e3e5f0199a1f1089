//! Replicated intent: what the cluster agreed on, how it agrees, and who belongs to it.
//!
//! Only intent is here: members, sites, zones, tokens, purges, drains. Health is observed, gossiped and never
//! written to the log. This crate opens no socket: the program gives it a [`Transport`] and hands it what arrives.
//!
//! # A node's life
//!
//! ```text
//! let cluster = Cluster::start(options, transport, observer).await?;
//!     // reads the folder; a member calls observer.restored(..) with its last state, quorum or not, before this returns
//! peer server up, handing requests to cluster.handle(..) and cluster.handle_stranger(..)
//! cluster.init().await?            // once, on one node; or
//! cluster.join("token…").await?    // on every other one; a node that belongs already says AlreadyMember
//! …
//! peer server down; cluster.stop().await
//! ```

mod cluster;
mod error;
#[cfg(test)]
mod golden;
pub mod identity;
mod liveness;
mod observer;
mod options;
mod raft;
mod state;
mod status;
mod transport;

pub use cluster::Cluster;
pub use error::{HandleError, InitError, JoinError, ProposeError, StartError};
pub use identity::{Identity, IdentityError, TokenError};
pub use liveness::Liveness;
pub use observer::Observer;
pub use options::{Options, Timing};
pub use raft::StoreError;
pub use state::{
    Change, Command, Document, JoinToken, Machine, Marks, Member, NewDocument, NewMember, NodeId,
    Outcome, Purge, PurgeScope, Refusal, Revision, SitePurges, Stamp, State,
};
pub use status::{Committed, MemberStatus, Receipt, ReceiptOutcome, Role, Status};
pub use transport::{PeerAddress, PeerKind, PeerRequest, StrangerKind, Transport, TransportError};
