//! What the metadata records look like on disk.
//!
//! Every record begins with a format byte and ends with a checksum (xxh3 of all before it, seeded by the hash it is
//! kept under). Numbers are little-endian. A record of an unknown format, or one that is damaged, is a miss; so is one
//! whose whole key is another's. Each format has a golden file beside the tests, and a change makes a new format.
//!
//! ```text
//! entry      1 · fill 16 · tag 8 · body length 8 · chunk bytes 4 · key length 4 · key · metadata · checksum 8
//! directory  1 · age 16 · key length 4 · key · content · checksum 8
//! ```

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chunk::CHUNK_BYTES_MAX;
use crate::key::{FillId, Key};

const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// What is kept of an entry beside its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryRecord {
    pub(crate) fill: FillId,
    pub(crate) tag: u64,
    pub(crate) length: u64,
    pub(crate) chunk_bytes: u32,
    /// The node's encoding.
    pub(crate) meta: Vec<u8>,
}

/// Why a record is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("unknown format")]
    Format,
    #[error("damaged")]
    Damaged,
    #[error("another key's")]
    OtherKey,
}

fn seed(hash: u128) -> u64 {
    (hash as u64) ^ (hash >> 64) as u64
}

fn sealed(mut bytes: Vec<u8>, hash: u128) -> Vec<u8> {
    let sum = xxh3_64_with_seed(&bytes, seed(hash));
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Takes fields from the front of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Checks format and checksum.
    fn open(bytes: &'a [u8], hash: u128) -> Result<Self, RecordError> {
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(_) => return Err(RecordError::Format),
            None => return Err(RecordError::Damaged),
        }
        let at = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .ok_or(RecordError::Damaged)?;
        let (content, sum) = bytes.split_at(at);
        if sum != xxh3_64_with_seed(content, seed(hash)).to_le_bytes() {
            return Err(RecordError::Damaged);
        }
        Ok(Self(content.get(1..).ok_or(RecordError::Damaged)?))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn key(&mut self, whole: &[u8]) -> Result<(), RecordError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if self.take(length)? == whole {
            Ok(())
        } else {
            Err(RecordError::OtherKey)
        }
    }
}

fn put_key(bytes: &mut Vec<u8>, whole: &[u8]) {
    let length = u32::try_from(whole.len()).expect("keys are far shorter than 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(whole);
}

impl EntryRecord {
    pub(crate) fn encode(&self, key: &Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + key.whole().len() + self.meta.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.fill.as_bytes());
        bytes.extend_from_slice(&self.tag.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.chunk_bytes.to_le_bytes());
        put_key(&mut bytes, key.whole());
        bytes.extend_from_slice(&self.meta);
        sealed(bytes, key.hash())
    }

    pub(crate) fn decode(bytes: &[u8], key: &Key) -> Result<Self, RecordError> {
        let mut fields = Fields::open(bytes, key.hash())?;
        let fill = FillId::from_bytes(fields.array()?);
        let tag = u64::from_le_bytes(fields.array()?);
        let length = u64::from_le_bytes(fields.array()?);
        let chunk_bytes = u32::from_le_bytes(fields.array()?);
        if chunk_bytes == 0 || chunk_bytes as usize > CHUNK_BYTES_MAX {
            return Err(RecordError::Damaged);
        }
        fields.key(key.whole())?;
        Ok(Self {
            fill,
            tag,
            length,
            chunk_bytes,
            meta: fields.0.to_vec(),
        })
    }

    /// The fill a record names, whatever its key: all that sweeping needs.
    pub(crate) fn fill_of(bytes: &[u8]) -> Option<FillId> {
        age_of(bytes)
    }
}

/// The age that a directory record or an entry record carries right behind its format byte.
pub(crate) fn age_of(bytes: &[u8]) -> Option<FillId> {
    let age = bytes.get(1..=FillId::BYTES)?;
    Some(FillId::from_bytes(age.try_into().ok()?))
}

/// A directory's record; `age` orders it among the fills, so that it is forgotten with the bodies of its time.
pub(crate) fn encode_directory(key: &Key, age: FillId, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48 + key.whole().len() + content.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(age.as_bytes());
    put_key(&mut bytes, key.whole());
    bytes.extend_from_slice(content);
    sealed(bytes, key.directory_hash())
}

/// A directory's content.
pub(crate) fn decode_directory(bytes: &[u8], key: &Key) -> Result<Bytes, RecordError> {
    let mut fields = Fields::open(bytes, key.directory_hash())?;
    fields.take(FillId::BYTES)?;
    fields.key(key.whole())?;
    Ok(Bytes::copy_from_slice(fields.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeySecret;

    fn key() -> Key {
        Key::new(
            &KeySecret::new(*b"0123456789abcdef"),
            "shop|GET|https://shop.example/a?b=c",
        )
    }

    fn record() -> EntryRecord {
        EntryRecord {
            fill: FillId::from_bytes(*b"\x65\x00\x00\x01twelve bytes"),
            tag: 77,
            length: 1_000_000,
            chunk_bytes: 262_144,
            meta: b"what the node keeps".to_vec(),
        }
    }

    // These files were written by the first version of each format and are never written again.
    #[test]
    fn golden_records_are_read_and_written_as_ever() {
        let entry = include_bytes!("../golden/entry.v1");
        assert_eq!(EntryRecord::decode(entry, &key()), Ok(record()));
        assert_eq!(record().encode(&key()), entry);
        let directory = include_bytes!("../golden/directory.v1");
        assert_eq!(
            decode_directory(directory, &key()).as_deref(),
            Ok(&b"accept-encoding"[..])
        );
        assert_eq!(
            encode_directory(&key(), record().fill, b"accept-encoding"),
            directory
        );
    }

    #[test]
    fn a_newer_format_a_flipped_bit_and_another_key_are_misses() {
        let good = record().encode(&key());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(EntryRecord::decode(&bad, &key()).is_err(), "byte {at}");
            assert!(
                EntryRecord::decode(&good[..at], &key()).is_err(),
                "cut at {at}"
            );
        }
        let mut newer = good.clone();
        newer[0] = FORMAT + 1;
        assert_eq!(
            EntryRecord::decode(&newer, &key()),
            Err(RecordError::Format)
        );
        let other = Key::new(&KeySecret::new([9; 16]), "other");
        assert!(EntryRecord::decode(&good, &other).is_err());
        assert_eq!(EntryRecord::fill_of(&good), Some(record().fill));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(bytes: Vec<u8>) {
            proptest::prop_assert!(EntryRecord::decode(&bytes, &key()).is_err());
            proptest::prop_assert!(decode_directory(&bytes, &key()).is_err());
            proptest::prop_assert_eq!(age_of(&bytes).is_some(), bytes.len() > FillId::BYTES);
        }
    }
}
