//! The writing side of a fill.

use std::sync::Arc;

use bytes::Bytes;

use super::state::{End, Room, Running};
use super::{FillEnd, Follower};
use crate::chunk::{Assembler, CHUNK_BYTES, Sealed};
use crate::disk::{Disk, WriteRoom};
use crate::entry::{Entry, Stored};
use crate::meta::Meta;
use crate::read::DiskBody;
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

/// What came of a body before it broke off.
#[derive(Debug)]
pub struct Broken<M> {
    /// The head's metadata.
    pub meta: Arc<M>,
    /// The length that the head said.
    pub length: Option<u64>,
    /// From the first byte on.
    pub body: Vec<Bytes>,
}

/// How much of the body is kept.
#[derive(Debug)]
enum Keeping {
    /// All of it, in sealed chunks.
    Whole(Vec<Bytes>),
    /// A window, and all of it on disk.
    OnDisk,
    /// A window only.
    Nothing,
}

/// The one who brings a body. Dropping it fails the fill.
pub struct Writer<M: Meta> {
    store: Arc<Inner<M>>,
    fill: Arc<Running<M>>,
    assembler: Assembler,
    keeping: Keeping,
    /// The disk, while it takes this body.
    disk: Option<Arc<Disk>>,
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
            disk: None,
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
        self.disk = self.fill.disk.clone();
        let too_long = length.is_some_and(|length| length > self.fill.limits.disk_body_max_bytes);
        if too_long || self.disk.as_ref().is_some_and(|disk| !disk.accepts()) {
            self.give_disk_up();
        }
        if length.is_some_and(|length| length > self.fill.limits.whole_max_bytes) {
            self.keep_a_window();
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

    /// The fill broke off, as with [`Writer::fail`]; gives back what came of the body, where all of that is still in
    /// memory. What to do with half a body is for the caller to know: it is no entry of this key.
    pub fn break_off_with(mut self, reason: impl Into<Arc<str>>) -> Option<Broken<M>> {
        let head = self.fill.head();
        let last = self.assembler.seal();
        let body = match std::mem::replace(&mut self.keeping, Keeping::Nothing) {
            Keeping::Whole(mut chunks) => {
                chunks.extend(last.map(|last| last.payload()));
                Some(chunks)
            }
            Keeping::OnDisk | Keeping::Nothing => None,
        };
        self.fail(reason);
        let ((meta, length), body) = (head?, body?);
        Some(Broken { meta, length, body })
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
        self.append(piece).await;
        if matches!(self.keeping, Keeping::Whole(_)) {
            let over = self.fill.counts().running_bytes.value() > self.fill.limits.fills_bytes;
            if !over && written_bytes <= self.fill.limits.whole_max_bytes {
                return Ok(());
            }
            self.keep_a_window();
        }
        self.wait_for_room().await
    }

    async fn append(&mut self, mut piece: Bytes) {
        while !piece.is_empty() {
            if matches!(self.keeping, Keeping::Nothing) {
                self.fill.push(piece);
                return;
            }
            let (taken, sealed) = self.assembler.push(&piece);
            self.fill.push(piece.split_to(taken));
            // A body that is complete is sealed here, where its last chunk can still wait for room.
            let complete = self.declared == Some(self.fill.written());
            if let Some(sealed) =
                sealed.or_else(|| complete.then(|| self.assembler.seal()).flatten())
            {
                self.keep(&sealed);
                if self.fill.written() > self.fill.limits.disk_body_max_bytes {
                    self.give_disk_up();
                }
                if let Some(disk) = self.disk.clone() {
                    match disk.room(sealed.framed.len()).await {
                        Some(room) => self.store_chunk(&disk, sealed, Some(room)),
                        None => self.give_disk_up(),
                    }
                }
            }
        }
    }

    fn keep(&mut self, sealed: &Sealed) {
        let payload = sealed.payload();
        if payload.is_empty() {
            return;
        }
        self.fill.seal(payload.clone());
        if let Keeping::Whole(chunks) = &mut self.keeping {
            chunks.push(payload);
        }
    }

    fn store_chunk(&mut self, disk: &Arc<Disk>, sealed: Sealed, room: Option<WriteRoom>) {
        let end = u64::from(sealed.number) * CHUNK_BYTES as u64 + sealed.payload().len() as u64;
        let fill = self.fill.clone();
        let stored = move |written: bool| fill.stored(written.then_some(end));
        if !disk.put_chunk(self.fill.key.hash(), self.fill.fill, sealed, room, stored)
            || self.fill.disk_failed()
        {
            self.give_disk_up();
        }
    }

    fn keep_a_window(&mut self) {
        self.keeping = match self.disk {
            Some(_) => Keeping::OnDisk,
            None => Keeping::Nothing,
        };
    }

    fn give_disk_up(&mut self) {
        if self.disk.take().is_some() {
            self.fill.counts().without_disk.add(1);
        }
        if matches!(self.keeping, Keeping::OnDisk) {
            self.keeping = Keeping::Nothing;
        }
    }

    async fn wait_for_room(&mut self) -> Result<(), WriteError> {
        let fill = self.fill.clone();
        loop {
            let room = fill.room().notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.disk.is_some() && fill.disk_failed() {
                self.give_disk_up();
            }
            let storing = self.disk.is_some();
            match fill.has_room(storing) {
                Room::Free => return Ok(()),
                Room::Unwanted => return Err(self.failed(WriteError::Unwanted)),
                Room::Full => {}
            }
            let patience = if storing {
                fill.limits.write_deadline
            } else {
                fill.limits.laggard_patience
            };
            if tokio::time::timeout(patience, room).await.is_err() {
                if storing {
                    self.give_disk_up();
                } else {
                    fill.fail_laggards();
                }
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
        self.ended = true;
        if written_bytes > self.fill.limits.whole_max_bytes
            && matches!(self.keeping, Keeping::Whole(_))
        {
            self.keep_a_window();
        }
        self.store_last();
        Ok(
            match std::mem::replace(&mut self.keeping, Keeping::Nothing) {
                Keeping::Whole(chunks) => self.finish_whole(meta, written_bytes, chunks),
                Keeping::OnDisk => self.finish_on_disk(meta, written_bytes),
                Keeping::Nothing => {
                    self.end();
                    Finished::Nowhere
                }
            },
        )
    }

    /// What is left of the body goes to disk without waiting, if there is room. The end of a body that is on disk
    /// otherwise goes past the bound of the queue: its bytes were bounded by the fill's window until now.
    fn store_last(&mut self) {
        let Some(last) = self.assembler.finish() else {
            return;
        };
        self.keep(&last);
        let Some(disk) = self.disk.clone() else {
            return;
        };
        let goes_past = last.number > 0 && matches!(self.keeping, Keeping::OnDisk);
        match disk.try_room(last.framed.len()) {
            None if !goes_past => self.give_disk_up(),
            room => self.store_chunk(&disk, last, room),
        }
    }

    fn entry(&self, meta: Arc<M>, length: u64, body: Stored) -> Arc<Entry<M>> {
        let (key, tag, fill) = (self.fill.key.clone(), self.fill.tag, self.fill.fill);
        Arc::new(Entry::new(key, meta, tag, fill, length, body))
    }

    fn finish_whole(&self, meta: Arc<M>, length: u64, chunks: Vec<Bytes>) -> Finished<M> {
        let entry = self.entry(meta, length, Stored::Memory(chunks.into()));
        self.store.publish(entry.clone());
        self.fill.counts().stored.add(1);
        if let Some(disk) = &self.disk {
            let (record, fill) = (entry.record(), self.fill.clone());
            let ready = move || (!fill.disk_failed()).then_some(record);
            disk.commit(&self.fill.key, self.fill.fill, ready, drop);
            // Who found none on disk until here must not remember it.
            self.store.changed(&self.fill.key);
        } else if let Some(disk) = &self.fill.disk {
            // What the disk has is older than what memory has now.
            disk.remove(&self.fill.key);
        }
        self.end();
        Finished::InMemory(entry)
    }

    /// The entry is there once its last chunk is; until then the fill stays open to newcomers.
    fn finish_on_disk(&self, meta: Arc<M>, length: u64) -> Finished<M> {
        let Some(disk) = &self.disk else {
            self.end();
            return Finished::Nowhere;
        };
        let (hash, fill) = (self.fill.key.hash(), self.fill.clone());
        let body = DiskBody::new(
            disk.clone(),
            hash,
            self.fill.fill,
            length,
            CHUNK_BYTES as u32,
        );
        let entry = self.entry(meta, length, Stored::Disk(Arc::new(body)));
        let record = entry.record();
        let ready = {
            let fill = fill.clone();
            move || (!fill.disk_failed()).then_some(record)
        };
        let store = self.store.clone();
        let done = move |committed| {
            if committed {
                store.publish(entry);
                fill.counts().stored.add(1);
            }
            store.leave(&fill);
        };
        self.fill.end(End::Complete);
        if disk.commit(&self.fill.key, self.fill.fill, ready, done) {
            Finished::OnDisk
        } else {
            self.store.leave(&self.fill);
            Finished::Nowhere
        }
    }

    fn end(&self) {
        self.fill.end(End::Complete);
        self.store.leave(&self.fill);
    }

    fn failed(&mut self, error: WriteError) -> WriteError {
        self.fill.counts().failed.add(1);
        self.break_off(FillEnd::Failed(error.to_string().into()));
        error
    }

    fn break_off(&mut self, end: FillEnd) {
        self.ended = true;
        if self.fill.end(End::Broken(end)) {
            self.store.leave(&self.fill);
        }
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
