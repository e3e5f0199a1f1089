//! A stored response: its metadata, and where its body is.

use std::sync::Arc;

use bytes::Bytes;

use crate::chunk::CHUNK_BYTES;
use crate::disk::EntryRecord;
use crate::key::{FillId, Key};
use crate::meta::Meta;
use crate::read::{BodyReader, DiskBody};

/// Heap bytes of one piece beyond its bytes: the `Bytes` in the slice, its shared header, the allocator's share.
const PIECE_OVERHEAD_BYTES: usize = size_of::<Bytes>() + 48;

/// Bytes that the memory tier spends on an entry besides what the entry holds: slot, ghost, hash table, `Arc`.
const SLOT_OVERHEAD_BYTES: usize = 128;

/// Where a body is.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// In memory, whole.
    Memory(Arc<[Bytes]>),
    /// On disk, to be read chunk by chunk.
    Disk(Arc<DiskBody>),
}

/// A stored response. Immutable: freshening makes a new one that shares the body.
#[derive(Debug)]
pub struct Entry<M> {
    key: Key,
    meta: Arc<M>,
    tag: u64,
    fill: FillId,
    length: u64,
    body: Stored,
    weight: u64,
}

impl<M: Meta> Entry<M> {
    pub(crate) fn new(
        key: Key,
        meta: Arc<M>,
        tag: u64,
        fill: FillId,
        length: u64,
        body: Stored,
    ) -> Self {
        let pieces: usize = match &body {
            Stored::Memory(pieces) => pieces
                .iter()
                .map(|piece| piece.len() + crate::chunk::HEADER_BYTES + PIECE_OVERHEAD_BYTES)
                .sum(),
            Stored::Disk(_) => size_of::<DiskBody>(),
        };
        let weight = size_of::<Self>()
            + size_of::<M>()
            + SLOT_OVERHEAD_BYTES
            + key.whole().len()
            + meta.weigh()
            + pieces;
        Self {
            key,
            meta,
            tag,
            fill,
            length,
            body,
            weight: weight as u64,
        }
    }

    /// The same body under new metadata.
    pub(crate) fn touched(&self, meta: M, tag: u64) -> Self {
        Self::new(
            self.key.clone(),
            Arc::new(meta),
            tag,
            self.fill,
            self.length,
            self.body.clone(),
        )
    }

    /// The metadata.
    #[must_use]
    pub fn meta(&self) -> &M {
        &self.meta
    }

    /// The metadata, shared.
    #[must_use]
    pub fn shared_meta(&self) -> Arc<M> {
        self.meta.clone()
    }

    /// The key it is kept under.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What the filler gave as `tag`: the fill index.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// The body's name: entries of the same name hold the same bytes. Metadata may differ.
    #[must_use]
    pub fn body_id(&self) -> [u8; 16] {
        *self.fill.as_bytes()
    }

    /// Length of the body, in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.length
    }

    /// The whole body in memory as pieces in order; none where it has to be read from disk.
    #[must_use]
    pub fn body(&self) -> Option<&[Bytes]> {
        match &self.body {
            Stored::Memory(pieces) => Some(pieces),
            Stored::Disk(_) => None,
        }
    }

    /// Reads a range of the body; what lies beyond its end is left out. Nothing is loaded before the first
    /// [`BodyReader::next`]: before a response is promised, [`crate::Store::read`] is the call to make.
    #[must_use]
    pub fn read(self: &Arc<Self>, range: std::ops::Range<u64>) -> BodyReader {
        let end = range.end.min(self.length);
        let range = range.start.min(end)..end;
        match &self.body {
            Stored::Memory(pieces) => BodyReader::memory(pieces.clone(), range),
            Stored::Disk(body) => BodyReader::disk(body.clone(), range),
        }
    }

    /// Real bytes that this entry holds in memory.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weight
    }

    /// True when a reader has found that the body is not what it should be.
    pub(crate) fn is_broken(&self) -> bool {
        match &self.body {
            Stored::Memory(_) => false,
            Stored::Disk(body) => body.is_broken(),
        }
    }

    /// The record of this entry on disk.
    pub(crate) fn record(&self) -> Vec<u8> {
        EntryRecord {
            fill: self.fill,
            tag: self.tag,
            length: self.length,
            chunk_bytes: match &self.body {
                Stored::Memory(_) => CHUNK_BYTES as u32,
                Stored::Disk(body) => body.chunk_bytes(),
            },
            meta: self.meta.encode(),
        }
        .encode(&self.key)
    }

    pub(crate) fn fill(&self) -> FillId {
        self.fill
    }
}
