//! Reading a stored body, whole or in part.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// A stored body cannot be read on.
///
/// When it comes before the first byte of a response, the entry is a miss; afterwards the only honest thing left is to
/// break the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The body, or a part of it, is not on the disk any more.
    #[error("a chunk of the body is gone")]
    Gone,
    /// A chunk is there and is not what was written.
    #[error("a chunk of the body is damaged: {0}")]
    Damaged(String),
    /// The disk did not answer within the deadline.
    #[error("the disk did not answer in time")]
    Slow,
    /// The disk answered with an error.
    #[error("the disk failed: {0}")]
    Disk(String),
}

/// The pieces of a body's range, in order.
#[derive(Debug)]
pub struct BodyReader {
    range: Range<u64>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Memory {
        pieces: Arc<[Bytes]>,
        /// Piece to look at next, and the offset at which it begins.
        next: usize,
        offset: u64,
    },
}

impl BodyReader {
    pub(crate) fn memory(pieces: Arc<[Bytes]>, range: Range<u64>) -> Self {
        Self {
            range,
            source: Source::Memory {
                pieces,
                next: 0,
                offset: 0,
            },
        }
    }

    /// Bytes of the range that are still to come.
    #[must_use]
    pub fn left_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next piece; none at the end of the range. After an error there is nothing more to come.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.range.is_empty() {
            return None;
        }
        match &mut self.source {
            Source::Memory {
                pieces,
                next,
                offset,
            } => loop {
                let Some(piece) = pieces.get(*next) else {
                    self.range.start = self.range.end;
                    return Some(Err(ReadError::Gone));
                };
                let begin = *offset;
                *next += 1;
                *offset += piece.len() as u64;
                if let Some(part) = part_of(piece, begin, &self.range) {
                    self.range.start += part.len() as u64;
                    return Some(Ok(part));
                }
            },
        }
    }
}

/// What of a piece that begins at `begin` belongs to the range; none when nothing does.
pub(crate) fn part_of(piece: &Bytes, begin: u64, range: &Range<u64>) -> Option<Bytes> {
    let end = begin + piece.len() as u64;
    let (from, to) = (range.start.max(begin), range.end.min(end));
    if from >= to {
        return None;
    }
    let index = |at: u64| usize::try_from(at - begin).expect("an offset within a piece fits");
    Some(piece.slice(index(from)..index(to)))
}
