//! The reading side of a fill.

use std::sync::Arc;

use bytes::Bytes;

use super::FillEnd;
use super::state::{Next, Running};
use crate::chunk::CHUNK_BYTES;
use crate::key::Key;
use crate::meta::Meta;

/// One reader of a fill, at its own place and pace. It holds no more than the piece it was given last.
pub struct Follower<M: Meta> {
    fill: Arc<Running<M>>,
    seat: usize,
    at: u64,
    done: bool,
}

impl<M: Meta> std::fmt::Debug for Follower<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<M: Meta> Follower<M> {
    pub(crate) fn new(fill: Arc<Running<M>>) -> Self {
        let seat = fill.sit();
        Self {
            fill,
            seat,
            at: 0,
            done: false,
        }
    }

    /// The tag that the leader gave: its fill index.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.fill.tag
    }

    /// The key that is filled.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.fill.key
    }

    /// The name of the body that comes, as the entry that it becomes will say it ([`crate::Entry::body_id`]).
    #[must_use]
    pub fn body_id(&self) -> [u8; 16] {
        *self.fill.fill.as_bytes()
    }

    /// Waits for the response head.
    ///
    /// # Errors
    /// When the leader declined or failed before, or since.
    pub async fn head(&mut self) -> Result<Arc<M>, FillEnd> {
        loop {
            let changed = self.fill.changed().notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(head) = self.fill.head_or_end() {
                return head;
            }
            changed.await;
        }
    }

    /// Length of the body, where the head said it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.fill.head().and_then(|(_, length)| length)
    }

    /// Goes on reading at this offset; only forwards.
    pub fn skip_to(&mut self, offset: u64) {
        if offset > self.at {
            self.at = offset;
            self.fill.move_to(self.seat, offset);
        }
    }

    /// The next piece as soon as it has arrived; none at the end of the body. After an error nothing more comes.
    pub async fn next(&mut self) -> Option<Result<Bytes, FillEnd>> {
        while !self.done {
            let fill = self.fill.clone();
            let changed = fill.changed().notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match fill.next(self.seat, self.at) {
                Next::Piece(piece) => {
                    self.at += piece.len() as u64;
                    return Some(Ok(piece));
                }
                Next::Wait => changed.await,
                Next::Finished => self.done = true,
                Next::OnDisk(stored_to) => return Some(self.read_back(stored_to).await),
                Next::Broken(end) => return Some(Err(self.broken(end))),
            }
        }
        None
    }

    /// Reads behind the window, from the chunks that are on the disk already.
    async fn read_back(&mut self, stored_to: u64) -> Result<Bytes, FillEnd> {
        let Some(disk) = &self.fill.disk else {
            return Err(self.broken(FillEnd::Failed("the window has moved on".into())));
        };
        let number = self.at / CHUNK_BYTES as u64;
        let begin = number * CHUNK_BYTES as u64;
        match disk.chunk(self.fill.place(stored_to), number).await {
            Ok(chunk) => {
                let skip = usize::try_from(self.at - begin).expect("an offset within a chunk fits");
                let piece = chunk.slice(skip.min(chunk.len())..);
                self.at += piece.len() as u64;
                self.fill.move_to(self.seat, self.at);
                Ok(piece)
            }
            Err(error) => Err(self.broken(FillEnd::Failed(error.to_string().into()))),
        }
    }

    fn broken(&mut self, end: FillEnd) -> FillEnd {
        self.done = true;
        end
    }
}

impl<M: Meta> Drop for Follower<M> {
    fn drop(&mut self) {
        self.fill.leave(self.seat);
    }
}
