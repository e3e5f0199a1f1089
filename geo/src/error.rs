//! Why a database was not taken.

use std::path::PathBuf;

use thiserror::Error;

/// One line each: what is wrong, with which file.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file is not there or may not be read.
    #[error("geo database {}: cannot be read", file.display())]
    Read {
        /// As the operator named it.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged, or not about places.
    #[error("geo database {}: refused: {why}", file.display())]
    Refused {
        /// As the operator named it.
        file: PathBuf,
        /// In words.
        why: String,
    },
    /// More files than are asked for one address.
    #[error("{named} geo databases are named, at most {most} are used")]
    TooMany {
        /// How many the operator named.
        named: usize,
        /// How many there may be.
        most: usize,
    },
    /// The program itself was built from a damaged file.
    #[error("the embedded geo database is damaged: {0}")]
    Embedded(String),
}
