//! The writing side of a fill.

use std::sync::Arc;

use bytes::Bytes;

use super::state::{End, Room, Running};
use super::{FillEnd, Follower};
use crate::chunk::{Assembler, Sealed};
use crate::entry::{Entry, Stored};
use crate::meta::Meta;
use crate::store::Inner;

/// A fill cannot go on. The fill has failed, and its followers have been told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A body came before its head.
    #[error("a body without a head")]
    NoHead,
    /// The body is not as long as its head said. It is never stored as complete.
    #[error("the body has {written_bytes} bytes, and its head said {declared_bytes}")]
    Length {
        /// What the head said.
        declared_bytes: u64,
        /// What came.
        written_bytes: u64,
    },
    /// The body can be stored nowhere, and nobody reads it any more.
    #[error("nobody reads it and it cannot be stored")]
    Unwanted,
}

/// What became of a fill that was complete.
#[derive(Debug)]
pub enum Finished<M: Meta> {
    /// An entry of the memory tier, and on its way to the disk.
    InMemory(Arc<Entry<M>>),
    /// Too large for the memory tier: found on disk as soon as its last chunk is written there.
    OnDisk,
    /// Too large for the memory tier, and the disk did not take it.
    Nowhere,
}

/// How much of the body is kept.
#[derive(Debug)]
enum Keeping {
    /// All of it, in sealed chunks.
    Whole(Vec<Bytes>),
    /// A window only.
    Nothing,
}

/// The one who brings a body. Dropping it fails the fill.
pub struct Writer<M: Meta> {
    store: Arc<Inner<M>>,
    fill: Arc<Running<M>>,
    assembler: Assembler,
    keeping: Keeping,
    declared: Option<u64>,
    has_head: bool,
    ended: bool,
}

impl<M: Meta> std::fmt::Debug for Writer<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("keeping", &self.keeping)
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}

impl<M: Meta> Writer<M> {
    pub(crate) fn new(store: Arc<Inner<M>>, fill: Arc<Running<M>>) -> Self {
        fill.counts().led.add(1);
        Self {
            assembler: Assembler::new(fill.fill, None),
            store,
            fill,
            keeping: Keeping::Whole(Vec::new()),
            declared: None,
            has_head: false,
            ended: false,
        }
    }

    /// A follower for the leader's own client. Take it before the first [`Writer::write`]: later the window may have
    /// moved on.
    #[must_use]
    pub fn reader(&self) -> Follower<M> {
        Follower::new(self.fill.clone())
    }

    /// The tag this fill was begun with.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.fill.tag
    }

    /// The response head is known and may be stored; followers wake up with it. `length` is the body's, where known.
    pub fn head(&mut self, meta: M, length: Option<u64>) {
        self.has_head = true;
        self.declared = length;
        self.assembler = Assembler::new(self.fill.fill, length);
        if length.is_some_and(|length| length > self.fill.limits.whole_max_bytes) {
            self.keeping = Keeping::Nothing;
        }
        self.fill.set_head(meta, length);
    }

    /// The answer is not to be stored or shared: followers are released at once, to go on their own.
    pub fn decline(mut self) {
        self.fill.counts().declined.add(1);
        self.break_off(FillEnd::Declined);
    }

    /// The fill broke off; followers get the reason.
    pub fn fail(mut self, reason: impl Into<Arc<str>>) {
        self.fill.counts().failed.add(1);
        self.break_off(FillEnd::Failed(reason.into()));
    }

    /// Appends to the body. Waits while the window is full.
    ///
    /// # Errors
    /// When the body is longer than its head said, or nobody has a use for it; the fill has then failed.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), WriteError> {
        if !self.has_head {
            return Err(self.failed(WriteError::NoHead));
        }
        let written_bytes = self.fill.written() + piece.len() as u64;
        if let Some(declared_bytes) = self.declared
            && written_bytes > declared_bytes
        {
            return Err(self.failed(WriteError::Length {
                declared_bytes,
                written_bytes,
            }));
        }
        self.append(piece);
        if matches!(self.keeping, Keeping::Whole(_)) {
            return Ok(());
        }
        self.wait_for_room().await
    }

    fn append(&mut self, mut piece: Bytes) {
        while !piece.is_empty() {
            if matches!(self.keeping, Keeping::Nothing) {
                self.fill.push(piece);
                return;
            }
            let (taken, sealed) = self.assembler.push(&piece);
            self.fill.push(piece.split_to(taken));
            if let Some(sealed) = sealed {
                self.seal(sealed);
            }
        }
    }

    fn seal(&mut self, sealed: Sealed) {
        let payload = sealed.payload();
        self.fill.seal(payload.clone());
        if let Keeping::Whole(chunks) = &mut self.keeping {
            chunks.push(payload);
            let over = self.fill.counts().running_bytes.value() > self.fill.limits.fills_bytes;
            if over || self.fill.written() > self.fill.limits.whole_max_bytes {
                self.keeping = Keeping::Nothing;
            }
        }
    }

    async fn wait_for_room(&mut self) -> Result<(), WriteError> {
        let fill = self.fill.clone();
        loop {
            let room = fill.room().notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match fill.has_room() {
                Room::Free => return Ok(()),
                Room::Unwanted => return Err(self.failed(WriteError::Unwanted)),
                Room::Full => {}
            }
            if tokio::time::timeout(fill.limits.laggard_patience, room)
                .await
                .is_err()
            {
                fill.fail_laggards();
            }
        }
    }

    /// The body is complete. Its metadata is committed last.
    ///
    /// # Errors
    /// When the body is shorter than its head said; the fill has then failed.
    pub fn finish(mut self) -> Result<Finished<M>, WriteError> {
        let Some((meta, _)) = self.fill.head() else {
            return Err(self.failed(WriteError::NoHead));
        };
        let written_bytes = self.fill.written();
        if let Some(declared_bytes) = self.declared
            && written_bytes != declared_bytes
        {
            return Err(self.failed(WriteError::Length {
                declared_bytes,
                written_bytes,
            }));
        }
        if let Some(last) = self.assembler.seal() {
            self.seal(last);
        }
        self.ended = true;
        let finished = match std::mem::replace(&mut self.keeping, Keeping::Nothing) {
            Keeping::Whole(chunks) => {
                let entry = Arc::new(Entry::new(
                    self.fill.key.clone(),
                    meta,
                    self.fill.tag,
                    self.fill.fill,
                    written_bytes,
                    Stored::Memory(chunks.into()),
                ));
                self.store.memory.insert(entry.clone());
                self.fill.counts().stored.add(1);
                Finished::InMemory(entry)
            }
            Keeping::Nothing => Finished::Nowhere,
        };
        self.fill.end(End::Complete);
        self.leave();
        Ok(finished)
    }

    fn failed(&mut self, error: WriteError) -> WriteError {
        self.fill.counts().failed.add(1);
        self.break_off(FillEnd::Failed(error.to_string().into()));
        error
    }

    fn break_off(&mut self, end: FillEnd) {
        self.ended = true;
        if self.fill.end(End::Broken(end)) {
            self.leave();
        }
    }

    fn leave(&self) {
        self.store.fills.remove(&self.fill);
        self.fill.counts().running.take(1);
    }
}

impl<M: Meta> Drop for Writer<M> {
    fn drop(&mut self) {
        if !self.ended {
            self.fill.counts().failed.add(1);
            self.break_off(FillEnd::Failed("abandoned".into()));
        }
    }
}
