//! What operators write, and what the program uses: as written (unknown keys refused) → checked, complete.
//!
//! Each file is read twice. First as TOML against the types in `raw`, so that whatever is wrong has a line; then the
//! node file once more through the `config` crate, which lays `NEARSIDE__SECTION__KEY` over it but knows no lines.
//! Only then do the checked types exist, and nothing else makes them.

mod address;
mod error;
mod nearest;
mod raw;
mod restart;
mod sockets;
mod text;
mod units;

pub mod auth;
pub mod compression;
pub mod edits;
pub mod node_file;
pub mod page;
pub mod pattern;
pub mod policy;
pub mod route;
pub mod rule;
pub mod settings;
pub mod site;
pub mod site_file;
pub mod zone;
pub mod zone_file;

pub use address::client_network;
pub use error::ConfigError;
pub use nearest::nearest;
pub use restart::waiting_for_restart;
