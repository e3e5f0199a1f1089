//! What the product promises, as scenarios: real nodes, real bytes, sentence names.
//!
//! Those that only read, or change a site of their own, share one cluster ([`stage`]); those that kill, cut or pause
//! have one each. The library of this crate is the lab they use.
#![expect(
    clippy::unwrap_used,
    reason = "a scenario's helpers are tests too; clippy exempts only the functions marked as such"
)]

mod balance;
mod caching;
mod content;
mod crash;
mod demo;
mod durability;
mod forwarding;
mod frames;
mod grpc;
mod interims;
mod invalidation;
mod leader;
mod membership;
mod messages;
mod mutations;
mod operator;
mod origins;
mod outage;
mod partition;
mod prefetch;
mod protection;
mod proxies;
mod purge;
mod purging;
mod ranges;
mod robust;
mod rules;
mod serve;
mod smuggling;
mod stage;
mod standards;
mod steering;
mod tls;
mod trailers;
mod validation;
mod websocket;
mod wire;
