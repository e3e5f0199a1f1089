//! What the store keeps beside a body without understanding it.

/// The bytes of a metadata record do not say what they should. The entry is then a miss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("undecodable metadata: {reason}")]
pub struct DecodeError {
    /// What was wrong.
    pub reason: String,
}

impl DecodeError {
    /// Says what was wrong.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// Metadata of an entry, as the node defines it: response head, times, purge identity, fill index.
///
/// The memory tier keeps it decoded, so that a hit decodes nothing. The encoding should carry a version of its own:
/// the store's version covers only what the store writes around it.
pub trait Meta: Send + Sync + 'static + Sized {
    /// The bytes that go to disk.
    fn encode(&self) -> Vec<u8>;

    /// What [`Meta::encode`] wrote. An error makes the entry a miss.
    ///
    /// # Errors
    /// When the bytes are of an unknown version or damaged.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// Bytes that this value holds in memory beyond its own size (`size_of`): heap blocks, strings, maps.
    fn weigh(&self) -> usize;
}
