//! The lab: real `nearside` processes in named regions, scripted origins, clients that come from a place, and links
//! between nodes that can be slow, refused or silent.
//!
//! Nothing here stands in for a part of the product. A node is the shipped binary with its own folder and its own
//! loopback address; it is told what to do through the command line, and it is asked through HTTP, DNS and its admin
//! socket, as anybody would. What the lab owns is the world around it: the wires between nodes (through
//! `[peer.route]`), the origins, the clients, and when a process dies.
//!
//! Whatever is dropped is stopped by its process id. A watch process outlives the tests by a moment and ends what a
//! killed test run left behind.

mod authority;
mod binary;
mod content;
mod dns;
pub mod frames;
mod http;
pub mod lab;
mod link;
mod load;
mod origin;
mod patience;
pub mod places;
mod process;
mod said;
mod strict;
mod synced;

pub use authority::{Authority, PemFiles};
pub use binary::{Binary, BinaryError};
pub use content::{content, content_fault, hash};
pub use dns::{DnsReply, DnsRequest};
pub use http::{Got, Request};
pub use lab::{Lab, Node, Plan, Serve, run_program, run_program_for};
pub use link::{Link, Wire};
pub use load::{Load, Tally};
pub use origin::{Mode, Origin, Reply, Seen};
pub use patience::{eventually, never, patience, run};
pub use said::Said;
pub use strict::{Strict, StrictOrigin};
