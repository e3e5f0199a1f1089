//! Bytes by key: a memory tier over RocksDB, and fills that many can follow.
//!
//! The store knows keys, bodies, tags and an opaque [`Meta`]; it knows no HTTP, no freshness and no network. What an
//! entry means is the node's business, and so is when it may be used.
//!
//! In reading order:
//!
//! * [`key`]: what names an entry; [`meta`]: what the node keeps beside a body.
//! * [`chunk`]: bodies in pieces with checksums; [`entry`]: a stored response; [`read`]: its body, whole or in part.
//! * [`memory`]: the tier that hits are served from.
//! * [`fill`]: one writer, many followers.
//! * [`disk`]: the tier that survives: RocksDB behind the store's own threads.
//! * [`store`]: the face; [`options`]: its bounds and how they are shared out; [`stats`]: what it counts.

mod chunk;
mod disk;
mod entry;
mod fill;
mod key;
mod memory;
mod meta;
mod options;
mod read;
mod stats;
mod store;

pub use entry::Entry;
pub use fill::{Broken, Fill, FillEnd, Finished, Follower, WriteError, Writer};
pub use key::{Key, KeySecret};
pub use meta::{DecodeError, Meta};
pub use options::{DISK_MIN_BYTES, MEMORY_MIN_BYTES, Options};
pub use read::{BodyReader, ReadError};
pub use stats::Stats;
pub use store::{Directory, OpenError, Store};
