//! Who is up: observations, gossiped between members and never written to the log.
//!
//! SWIM by `foca`: every node probes one other at a time, asks others to probe when it hears nothing, suspects, and
//! after a while believes. Its datagrams travel as calls of the program's transport, so they need no second port and
//! no second key, and whatever cuts the links between nodes cuts them too.
//!
//! A verdict counts only while this node sees a majority of the members: the few that are cut off would otherwise
//! believe the many to be down. Without a majority the last set that was agreed with one stays.

mod gossip;
mod verdict;

pub(crate) use gossip::{Datagram, Start, gossip};
pub use verdict::Liveness;
