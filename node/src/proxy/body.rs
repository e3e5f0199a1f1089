//! Response bodies: out of memory, off the disk, out of a running fill; whole or in part.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use nearside_cache_store::{BodyReader, FillEnd, Follower, Store};

use super::lookup::Stored;
use super::meta::HttpMeta;
use super::range::Multipart;
use crate::exchange::{Body, BodyError};

/// A range of pieces in memory: references are counted, bytes are not copied.
pub(super) fn in_memory(pieces: &[Bytes], range: Range<u64>) -> Body {
    if let [piece] = pieces {
        let length = piece.len() as u64;
        // Both are within the piece, whose length is a usize.
        let (from, to) = (range.start.min(length), range.end.min(length));
        return match from < to {
            true => piece.slice(from as usize..to as usize).into(),
            false => Body::Empty,
        };
    }
    let mut parts = Vec::with_capacity(pieces.len());
    cut(pieces, range, &mut parts);
    match parts.len() {
        1 => parts.remove(0).into(),
        _ => Body::pieces(parts),
    }
}

/// Several ranges of pieces in memory, each behind its part's head.
pub(super) fn parts_in_memory(pieces: &[Bytes], multipart: Multipart) -> Body {
    let mut out = Vec::with_capacity(multipart.parts.len() * 2 + 1);
    for (head, range) in multipart.parts {
        out.push(head);
        cut(pieces, range, &mut out);
    }
    out.push(multipart.end);
    Body::pieces(out)
}

/// Adds a range of pieces to others.
pub(super) fn cut(pieces: &[Bytes], range: Range<u64>, out: &mut Vec<Bytes>) {
    let mut begin = 0_u64;
    for piece in pieces {
        let end = begin + piece.len() as u64;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            // Both are within the piece, whose length is a usize.
            out.push(piece.slice((from - begin) as usize..(to - begin) as usize));
        }
        begin = end;
    }
}

/// A body from disk.
pub(super) fn from_reader(reader: BodyReader) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::unfold(
        Some(reader),
        |reader| async move {
            let mut reader = reader?;
            match reader.next().await? {
                Ok(piece) => Some((Ok(Frame::data(piece)), Some(reader))),
                Err(error) => Some((Err(BodyError::Store(error.to_string())), None)),
            }
        },
    )))
}

/// What is left of a multipart body from disk.
struct Parts {
    store: Store<HttpMeta>,
    entry: Stored,
    /// The part that is being read.
    reader: Option<BodyReader>,
    /// The range of the part whose head went out last.
    next: Option<Range<u64>>,
    /// The first part, which was looked at before anything was sent.
    first: Option<BodyReader>,
    parts: VecDeque<(Bytes, Range<u64>)>,
    end: Option<Bytes>,
}

impl Parts {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if let Some(range) = self.next.take() {
            self.reader = match self.first.take() {
                Some(first) => Some(first),
                None => match self.store.read(&self.entry, range).await {
                    Ok(reader) => Some(reader),
                    Err(error) => return Some(Err(BodyError::Store(error.to_string()))),
                },
            };
        }
        if let Some(reader) = &mut self.reader {
            if let Some(piece) = reader.next().await {
                return Some(piece.map_err(|error| BodyError::Store(error.to_string())));
            }
            self.reader = None;
        }
        let Some((head, range)) = self.parts.pop_front() else {
            return self.end.take().map(Ok);
        };
        self.next = Some(range);
        Some(Ok(head))
    }
}

/// Several ranges from disk. `None` when the body turns out to be lost.
pub(super) async fn parts_on_disk(
    store: &Store<HttpMeta>,
    entry: &Stored,
    multipart: Multipart,
) -> Option<Body> {
    let (_, first) = multipart.parts.first()?;
    let first = store.read(entry, first.clone()).await.ok()?;
    let parts = Parts {
        store: store.clone(),
        entry: Stored::clone(entry),
        reader: None,
        next: None,
        first: Some(first),
        parts: multipart.parts.into(),
        end: Some(multipart.end),
    };
    Some(Body::stream(StreamBody::new(futures_util::stream::unfold(
        Some(parts),
        |parts| async move {
            let mut parts = parts?;
            match parts.next().await? {
                Ok(piece) => Some((Ok(Frame::data(piece)), Some(parts))),
                Err(error) => Some((Err(error), None)),
            }
        },
    ))))
}

/// The next `left` bytes of a fill.
///
/// Where they reach to the body's end, the last piece is held back until the fill has ended well: so a client never
/// takes for complete what the origin broke off, and whoever has read it all finds it stored.
pub(super) fn from_fill(follower: Follower<HttpMeta>, left: u64, to_end: bool) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::unfold(
        Some((follower, left)),
        move |state| async move {
            let (mut follower, left) = state?;
            if left == 0 && !to_end {
                return None;
            }
            match follower.next().await? {
                Ok(mut piece) => {
                    if let Ok(left) = usize::try_from(left) {
                        piece.truncate(left);
                    }
                    let left = left - piece.len() as u64;
                    if left == 0
                        && to_end
                        && let Some(Err(end)) = follower.next().await
                    {
                        return Some((Err(broken(end)), None));
                    }
                    Some((Ok(Frame::data(piece)), Some((follower, left))))
                }
                Err(end) => Some((Err(broken(end)), None)),
            }
        },
    )))
}

fn broken(end: FillEnd) -> BodyError {
    match end {
        FillEnd::Failed(reason) => BodyError::Upstream(reason.to_string()),
        FillEnd::Declined => BodyError::Upstream("declined".to_owned()),
    }
}
