//! Reading a stored body, whole or in part.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::disk::{Disk, Place};
use crate::key::FillId;

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

/// A body on disk. A reader that finds it broken marks it, so that its entry is a miss from then on.
#[derive(Debug)]
pub(crate) struct DiskBody {
    disk: Arc<Disk>,
    hash: u128,
    place: Place,
    broken: AtomicBool,
}

impl DiskBody {
    pub(crate) fn new(
        disk: Arc<Disk>,
        hash: u128,
        fill: FillId,
        length: u64,
        chunk_bytes: u32,
    ) -> Self {
        Self {
            disk,
            hash,
            place: Place {
                fill,
                length,
                chunk_bytes,
            },
            broken: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn chunk_bytes(&self) -> u32 {
        self.place.chunk_bytes
    }

    /// The chunk that holds this offset, and the offset at which it begins.
    async fn chunk_at(&self, offset: u64) -> Result<(u64, Bytes), ReadError> {
        let number = offset / u64::from(self.place.chunk_bytes);
        let chunk = self.disk.chunk(self.place, number).await;
        // A slow disk says nothing about the body.
        if chunk.as_ref().is_err_and(|error| *error != ReadError::Slow)
            && !self.broken.swap(true, Ordering::Relaxed)
        {
            self.disk.remove_broken(self.hash, self.place.fill);
        }
        Ok((number * u64::from(self.place.chunk_bytes), chunk?))
    }
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
    Disk {
        body: Arc<DiskBody>,
        /// A chunk that was loaded ahead, and the offset at which it begins.
        loaded: Option<(u64, Bytes)>,
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

    pub(crate) fn disk(body: Arc<DiskBody>, range: Range<u64>) -> Self {
        Self {
            range,
            source: Source::Disk { body, loaded: None },
        }
    }

    /// Loads and checks the first piece, so that [`BodyReader::next`] gives it at once.
    pub(crate) async fn load(&mut self) -> Result<(), ReadError> {
        match &mut self.source {
            Source::Disk { body, loaded } if loaded.is_none() && !self.range.is_empty() => {
                *loaded = Some(body.chunk_at(self.range.start).await?);
                Ok(())
            }
            _ => Ok(()),
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
            Source::Disk { body, loaded } => {
                let chunk = match loaded.take() {
                    Some(chunk) => Ok(chunk),
                    None => body.chunk_at(self.range.start).await,
                };
                let part = chunk.and_then(|(begin, chunk)| {
                    part_of(&chunk, begin, &self.range).ok_or(ReadError::Gone)
                });
                match &part {
                    Ok(part) => self.range.start += part.len() as u64,
                    Err(_) => self.range.start = self.range.end,
                }
                Some(part)
            }
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
