//! The Nearside program. The only crate with policy in it; the leaves (`geo`, `cache-store`, `cluster`) hold mechanism.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod dns;
pub mod exchange;
pub mod listen;
pub mod observe;
pub mod peer;
pub mod protect;
pub mod proxy;
pub mod upstream;
pub mod view;
