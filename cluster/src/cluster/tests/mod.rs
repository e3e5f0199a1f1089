//! Whole clusters in one process: real stores, real Raft, real liveness; only the wires are in memory, so that they
//! can be cut and slowed.

mod crash;
mod golden;
mod lab;
mod liveness;
mod membership;
mod receipts;
mod writes;
