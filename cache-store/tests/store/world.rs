//! What the tests share: a metadata type, bodies that can be told apart, a store in a temporary folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearside_cache_store::{
    DecodeError, Entry, Fill, FillEnd, Finished, Follower, Key, Meta, Options, ReadError, Store,
    Writer,
};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const STAMP: [u8; 24] = [7; 24];

/// Metadata of a test's entry: some text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note(pub(crate) String);

impl Meta for Note {
    fn encode(&self) -> Vec<u8> {
        self.0.clone().into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => Ok(Self(text)),
            Err(error) => Err(DecodeError::new(error.to_string())),
        }
    }

    fn weigh(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn options(dir: &Path, memory_mib: u64, disk_mib: u64) -> Options {
    let mut options = Options::new(dir, memory_mib * MIB, disk_mib * MIB);
    // The machine may be busy; what is tested is not how fast it is.
    options.lookup_deadline = Duration::from_secs(20);
    options.read_deadline = Duration::from_secs(30);
    options.write_deadline = Duration::from_secs(30);
    options
}

pub(crate) fn open(dir: &Path, memory_mib: u64, disk_mib: u64) -> Store<Note> {
    Store::open(options(dir, memory_mib, disk_mib), STAMP).unwrap()
}

/// A body that depends on every bit of its seed, so that no other can be taken for it.
pub(crate) fn body(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

pub(crate) fn lead(store: &Store<Note>, key: &Key) -> Writer<Note> {
    match store.fill(key, None, |_| false, 1) {
        Fill::Lead(writer) => writer,
        other => panic!("led by somebody else: {other:?}"),
    }
}

/// Fills a key with a body in pieces of 64 KiB.
pub(crate) async fn put(
    store: &Store<Note>,
    key: &Key,
    note: &str,
    body: &Bytes,
) -> Finished<Note> {
    let mut writer = lead(store, key);
    writer.head(Note(note.into()), Some(body.len() as u64));
    for piece in body.chunks(64 << 10) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) async fn read_all(
    store: &Store<Note>,
    entry: &Arc<Entry<Note>>,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, ReadError> {
    let mut reader = store.read(entry, range).await?;
    let mut whole = Vec::new();
    while let Some(piece) = reader.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// The body under a key, whole, or a miss.
pub(crate) async fn get(store: &Store<Note>, key: &Key) -> Option<Vec<u8>> {
    let entry = store.lookup(key).await?;
    read_all(store, &entry, 0..u64::MAX).await.ok()
}

pub(crate) async fn follow_all(follower: &mut Follower<Note>) -> Result<Vec<u8>, FillEnd> {
    let mut whole = Vec::new();
    while let Some(piece) = follower.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// Waits for a fact, for as long as anybody is willing to.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
