//! Bodies in pieces of a fixed size, each with its checksum.
//!
//! A chunk as stored: format byte, three zero bytes, payload length (u32), xxh3 of the payload (u64), payload; numbers
//! are little-endian. The checksum is seeded by the fill's name and the chunk's number, so that a chunk read from the
//! wrong place is as damaged as one with a flipped bit. The frame is built in place while the body arrives: the same
//! buffer goes to RocksDB whole and to the memory tier without its header, and neither copies it again.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::key::FillId;

/// Bytes of body in a full chunk. Small enough that hundreds of readers of stored bodies, each holding one, stay small;
/// large enough that a read is dominated by the copy.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Largest chunk that a record may name; what is larger was not written by us.
pub(crate) const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 16;

const FORMAT: u8 = 1;

/// A chunk that is complete.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) number: u32,
    /// Header and payload, as RocksDB gets it.
    pub(crate) framed: Bytes,
}

impl Sealed {
    pub(crate) fn payload(&self) -> Bytes {
        self.framed.slice(HEADER_BYTES..)
    }
}

/// A stored chunk is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    #[error("chunk of unknown format")]
    Format,
    #[error("chunk of the wrong length")]
    Length,
    #[error("chunk with a wrong checksum")]
    Checksum,
}

fn checksum(fill: &FillId, number: u32, payload: &[u8]) -> u64 {
    let id = fill.as_bytes();
    let mut seed = u64::from(number).rotate_left(32);
    for half in id.chunks_exact(8) {
        let mut word = [0; 8];
        word.copy_from_slice(half);
        seed = seed.rotate_left(17) ^ u64::from_le_bytes(word);
    }
    xxh3_64_with_seed(payload, seed)
}

/// The payload of a stored chunk, without a copy.
pub(crate) fn open(
    fill: &FillId,
    number: u32,
    framed: Bytes,
    expected: usize,
) -> Result<Bytes, ChunkError> {
    let Some((header, payload)) = framed.split_at_checked(HEADER_BYTES) else {
        return Err(ChunkError::Length);
    };
    if header[0] != FORMAT {
        return Err(ChunkError::Format);
    }
    let (mut length, mut sum) = ([0; 4], [0; 8]);
    length.copy_from_slice(&header[4..8]);
    sum.copy_from_slice(&header[8..16]);
    if payload.len() != expected || u32::from_le_bytes(length) as usize != expected {
        return Err(ChunkError::Length);
    }
    if u64::from_le_bytes(sum) != checksum(fill, number, payload) {
        return Err(ChunkError::Checksum);
    }
    Ok(framed.slice(HEADER_BYTES..))
}

/// Puts a body that arrives in pieces of any size into chunks.
#[derive(Debug)]
pub(crate) struct Assembler {
    fill: FillId,
    number: u32,
    buffer: Vec<u8>,
    /// Body bytes still to come, where the length is known: the last chunk then gets a buffer of its exact size.
    left: Option<u64>,
}

impl Assembler {
    pub(crate) fn new(fill: FillId, length: Option<u64>) -> Self {
        Self {
            fill,
            number: 0,
            buffer: Vec::new(),
            left: length,
        }
    }

    /// Takes from the front of `piece` what the current chunk has room for; says how much that was, and gives the chunk
    /// when it is full.
    pub(crate) fn push(&mut self, piece: &[u8]) -> (usize, Option<Sealed>) {
        if self.buffer.is_empty() {
            let payload = match self.left {
                Some(left) => usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES),
                None => piece.len().min(CHUNK_BYTES),
            };
            self.buffer.reserve_exact(HEADER_BYTES + payload);
            self.buffer.resize(HEADER_BYTES, 0);
        }
        let room = CHUNK_BYTES + HEADER_BYTES - self.buffer.len();
        let taken = piece.len().min(room);
        self.buffer.extend_from_slice(&piece[..taken]);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(taken as u64);
        }
        let full = taken == room;
        (taken, if full { self.seal() } else { None })
    }

    /// The last chunk, if a part of one is there. An empty body has one empty chunk, so that it grows old and is dropped
    /// with the bodies of its time as any other.
    pub(crate) fn finish(&mut self) -> Option<Sealed> {
        if self.number == 0 && self.buffer.is_empty() {
            self.buffer.resize(HEADER_BYTES, 0);
        }
        self.seal()
    }

    /// The current chunk as it is, unless it was not begun.
    pub(crate) fn seal(&mut self) -> Option<Sealed> {
        if self.buffer.is_empty() {
            return None;
        }
        let mut framed = std::mem::take(&mut self.buffer);
        framed.shrink_to_fit();
        let (header, payload) = framed.split_at_mut(HEADER_BYTES);
        let length = u32::try_from(payload.len()).expect("a chunk is at most CHUNK_BYTES long");
        header[0] = FORMAT;
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&checksum(&self.fill, self.number, payload).to_le_bytes());
        let number = self.number;
        self.number += 1;
        Some(Sealed {
            number,
            framed: framed.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks_of(body: &[u8], piece: usize, length: Option<u64>) -> Vec<Sealed> {
        let mut assembler = Assembler::new(FillId::from_bytes([7; 16]), length);
        let mut chunks = Vec::new();
        for piece in body.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (taken, sealed) = assembler.push(rest);
                chunks.extend(sealed);
                rest = &rest[taken..];
            }
        }
        chunks.extend(assembler.finish());
        chunks
    }

    #[test]
    fn a_body_comes_back_whatever_the_size_of_its_pieces() {
        let body: Vec<u8> = (0..CHUNK_BYTES * 2 + 77).map(|i| (i % 251) as u8).collect();
        for piece in [1 << 10, 65_537, CHUNK_BYTES, body.len()] {
            for length in [None, Some(body.len() as u64)] {
                let chunks = chunks_of(&body, piece, length);
                assert_eq!(chunks.len(), 3);
                let mut whole = Vec::new();
                for chunk in chunks {
                    let payload = chunk.payload();
                    let id = FillId::from_bytes([7; 16]);
                    assert_eq!(
                        open(&id, chunk.number, chunk.framed, payload.len()).unwrap(),
                        payload
                    );
                    whole.extend_from_slice(&payload);
                }
                assert_eq!(whole, body);
            }
        }
    }

    #[test]
    fn an_empty_body_has_one_empty_chunk() {
        let chunks = chunks_of(b"", 1, Some(0));
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].payload().is_empty());
        let id = FillId::from_bytes([7; 16]);
        assert!(open(&id, 0, chunks[0].framed.clone(), 0).is_ok());
    }

    // Written by the first version of the format and never written again.
    #[test]
    fn the_golden_chunk_is_read_and_written_as_ever() {
        let golden = include_bytes!("golden/chunk.v1");
        let chunk = chunks_of(b"the body of a response", 5, None).remove(0);
        assert_eq!(chunk.framed, golden[..]);
        let id = FillId::from_bytes([7; 16]);
        assert!(open(&id, 0, Bytes::from_static(golden), 22).is_ok());
    }

    #[test]
    fn any_flipped_bit_and_any_other_place_is_noticed() {
        let chunk = chunks_of(b"hello world", 4, None).remove(0);
        let id = FillId::from_bytes([7; 16]);
        for byte in (0..chunk.framed.len()).filter(|byte| !(1..4).contains(byte)) {
            let mut damaged = chunk.framed.to_vec();
            damaged[byte] ^= 0x10;
            assert!(open(&id, 0, damaged.into(), 11).is_err(), "byte {byte}");
        }
        assert_eq!(
            open(&id, 1, chunk.framed.clone(), 11),
            Err(ChunkError::Checksum)
        );
        assert_eq!(
            open(&FillId::from_bytes([8; 16]), 0, chunk.framed.clone(), 11),
            Err(ChunkError::Checksum)
        );
        assert_eq!(
            open(&id, 0, chunk.framed.slice(..20), 11),
            Err(ChunkError::Length)
        );
        assert_eq!(
            open(&id, 0, chunk.framed.slice(..5), 11),
            Err(ChunkError::Length)
        );
    }
}
