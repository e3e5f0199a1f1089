//! Everything this crate writes to disk or to a peer: MessagePack with field names, behind a version byte.
//!
//! Names cost some bytes and buy room: a field added with `#[serde(default)]` is readable both ways, anything else
//! raises the version. `golden/` holds one file of each kind, and a test reads them all.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::HandleError;

/// The version written, and the newest that can be read.
pub(crate) const VERSION: u8 = 1;

/// Why bytes cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("it is empty")]
    Empty,
    #[error("it has version {found}; this program reads up to {VERSION}")]
    Version { found: u8 },
    #[error("{0}")]
    Malformed(String),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error.to_string())
    }
}

/// Writes a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    rmp_serde::encode::write_named(&mut bytes, value)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(bytes)
}

/// Reads a value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (&version, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version { found: version });
    }
    rmp_serde::from_slice(rest).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// Reads a peer's question.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, HandleError> {
    decode(body).map_err(|error| HandleError::Malformed(error.to_string()))
}

/// Writes the answer to a peer.
pub(crate) fn write<T: Serialize>(answer: &T) -> Result<Bytes, HandleError> {
    encode(answer)
        .map(Bytes::from)
        .map_err(|error| HandleError::Unavailable(error.to_string()))
}
