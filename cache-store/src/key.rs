//! What names an entry.
//!
//! A client chooses URLs, so what the tables hash is hashed with a key that no client knows (SipHash-1-3, 128 bits),
//! and every entry carries the whole key, which is compared on lookup: a collision is a miss, never another's bytes.

use bytes::Bytes;
use siphasher::sip128::SipHasher13;

/// The secret that keys are hashed with; it lives in the store's folder and is made at the first open.
#[derive(Clone)]
pub struct KeySecret([u8; 16]);

impl KeySecret {
    /// A secret read back from where it was kept.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// A new secret.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeySecret")
    }
}

/// The name of an entry: the whole key and its keyed hash. Cloning counts a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    hash: u128,
    whole: Bytes,
}

impl Key {
    /// Hashes a whole key.
    #[must_use]
    pub fn new(secret: &KeySecret, whole: impl Into<Bytes>) -> Self {
        let whole = whole.into();
        Self {
            hash: hash(secret, &whole),
            whole,
        }
    }

    /// The key as the caller gave it.
    #[must_use]
    pub fn whole(&self) -> &Bytes {
        &self.whole
    }

    pub(crate) fn hash(&self) -> u128 {
        self.hash
    }

    /// Where the directory kept under this key stands in the same tables as entries.
    pub(crate) fn directory_hash(&self) -> u128 {
        !self.hash
    }
}

/// The keyed hash of a whole key.
pub(crate) fn hash(secret: &KeySecret, whole: &[u8]) -> u128 {
    SipHasher13::new_with_key(&secret.0).hash(whole).as_u128()
}

/// Random name of one fill; its chunks are stored under it, never under a hash of the URL.
///
/// It begins with the second in which the fill began, so that the files of the body store are ordered by age and what
/// RocksDB dropped can be told from the oldest name that is left. The other twelve bytes are random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FillId([u8; 16]);

impl FillId {
    pub(crate) const BYTES: usize = 16;

    /// A new name. A clock before 1970 counts as 1970: only the order of what is evicted first depends on it.
    pub(crate) fn random() -> Self {
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        let mut id: [u8; 16] = rand::random();
        id[..4].copy_from_slice(&seconds.to_be_bytes());
        Self(id)
    }

    /// The smallest name of the same second.
    pub(crate) fn second(&self) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&self.0[..4]);
        Self(id)
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_secret_and_on_every_byte() {
        let (one, two) = (KeySecret::new([1; 16]), KeySecret::new([2; 16]));
        let key = Key::new(&one, "GET http://a/x");
        assert_eq!(key, Key::new(&one, "GET http://a/x"));
        assert_ne!(key.hash(), Key::new(&two, "GET http://a/x").hash());
        assert_ne!(key.hash(), Key::new(&one, "GET http://a/y").hash());
        assert_ne!(key.hash(), key.directory_hash());
    }

    #[test]
    fn fill_names_are_ordered_by_their_second() {
        let early = FillId::from_bytes([0; 16]);
        assert!(early < FillId::random());
        assert_ne!(FillId::random(), FillId::random());
    }
}
