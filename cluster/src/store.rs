//! The Raft store (placeholder module order).

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder was written by a newer version of the program. Nothing was touched.
    #[error(
        "{path} was written in format {found} by a newer version; this one reads up to {known}. Nothing was changed"
    )]
    Newer {
        /// The folder.
        path: String,
        /// Its format.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// What is stored cannot be read.
    #[error("the raft store is damaged: {0}")]
    Damaged(String),
    /// The system or RocksDB failed.
    #[error("the raft store failed: {0}")]
    Io(#[from] std::io::Error),
}
